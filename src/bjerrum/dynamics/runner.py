"""Run one trajectory in chunks: reproducible bit by bit, resumable after ``kill -9``.

Each chunk is one file, written atomically, that holds its frames and the exact state at its end.
A run continues from its last complete chunk. Random numbers depend on (seed, replica, chunk)
alone and neighbour lists are searched anew at the start of every chunk, so an interrupted run
and an undisturbed one give the same bits on the same machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from bjerrum.dynamics.integrators import (
    State,
    langevin_step,
    maxwell_boltzmann,
    start,
    verlet_step,
)
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path
from bjerrum.potential.protocol import ForceFunction, Resettable
from bjerrum.trajectory import TrajectoryChunk, write_trajectory
from bjerrum.units import BOLTZMANN, PS_IN_FS

TEMPERATURE_LIMIT = 3.0
"""Kinetic temperature over the target's at which a run is stopped: hundreds of standard
deviations for a few hundred atoms, so only a trajectory that is blowing up reaches it."""


TRAJECTORY = "trajectory.h5"
END = "end.npz"


@dataclass(frozen=True)
class Dynamics:
    """What to integrate. Without friction the energy is conserved (velocity Verlet).

    timestep_fs       time step
    n_steps           length of the run
    temperature       K, of the thermostat and of the first velocities
    friction_per_ps   Langevin friction; None for constant energy
    frame_stride      steps between frames that are kept
    chunk_frames      frames between restart points
    seed, replica     choose the random numbers
    """

    timestep_fs: float
    n_steps: int
    temperature: float
    friction_per_ps: float | None
    frame_stride: int
    chunk_frames: int
    seed: int
    replica: int = 0

    @property
    def n_frames(self) -> int:
        """Number of frames that the run keeps."""
        return self.n_steps // self.frame_stride

    @property
    def n_chunks(self) -> int:
        """Number of files that the run writes."""
        return -(-self.n_frames // self.chunk_frames)


@dataclass(frozen=True)
class Chunk:
    """Frames of one stretch of a trajectory and the state at its end.

    steps         step number of each frame, shape (n_frames,)
    positions     unwrapped, shape (n_frames, n_atoms, 3), angstrom
    observables   potential_energy, coulomb_energy, total_energy (eV) and kinetic_temperature (K) of
                  each frame
    end           positions and velocities after the last step, each shape (n_atoms, 3)
    """

    steps: np.ndarray
    positions: FloatArray
    observables: dict[str, FloatArray]
    end: tuple[FloatArray, FloatArray]


@dataclass
class _Frames:
    steps: list[int] = field(default_factory=list)
    positions: list[FloatArray] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, step: int, state: State, temperature: float) -> None:
        self.steps.append(step)
        self.positions.append(state.positions)
        self.rows.append(
            {
                "potential_energy": state.evaluation.energy,
                "coulomb_energy": state.evaluation.terms.get("coulomb", 0.0),
                "total_energy": state.total_energy,
                "kinetic_temperature": temperature,
            }
        )

    def close(self, state: State) -> Chunk:
        return Chunk(
            np.array(self.steps),
            np.array(self.positions),
            {name: np.array([row[name] for row in self.rows]) for name in self.rows[0]},
            (state.positions, state.velocities),
        )


def run_dynamics(
    atoms: Atoms,
    forces: ForceFunction,
    dynamics: Dynamics,
    folder: Path,
    *,
    velocities: FloatArray | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Path:
    """Integrate to the end, continuing what ``folder`` already holds; return the trajectory.

    ``folder`` then holds ``trajectory.h5`` (H5MD) and ``end.npz``, the exact last state.

    atoms       the first configuration
    forces      a bound potential for these atoms and this cell
    velocities  first velocities, angstrom/fs; drawn at the temperature if absent
    on_step     called with the number of steps done
    Raises PhysicsCheckFailed if the trajectory blows up; the last frame is left in the folder.
    """
    if (folder / END).exists():
        on_step(dynamics.n_steps)
        return folder / TRAJECTORY
    folder.mkdir(parents=True, exist_ok=True)
    masses = atoms.get_masses()
    done = completed_chunks(folder)
    if done:
        point = read_chunk(done[-1]).end
    else:
        first = _first_velocities(masses, dynamics) if velocities is None else velocities
        point = (atoms.positions.copy(), first)
    for index in range(len(done), dynamics.n_chunks):
        if isinstance(forces, Resettable):
            forces.reset()
        state = start(*point, masses, forces)
        chunk = _integrate_chunk(atoms, state, masses, forces, dynamics, index, folder, on_step)
        _write_chunk(folder, index, chunk)
        point = chunk.end
    _finish(atoms, dynamics, folder, point)
    return folder / TRAJECTORY


def _finish(
    atoms: Atoms, dynamics: Dynamics, folder: Path, end: tuple[FloatArray, FloatArray]
) -> None:
    """Join the chunks into one H5MD file, write the last state, then remove the chunks."""
    write_trajectory(
        folder / TRAJECTORY,
        (_as_trajectory(atoms, dynamics, chunk) for chunk in read_chunks(folder)),
    )
    with atomic_path(folder / END) as temporary, temporary.open("wb") as file:
        np.savez(file, positions=end[0], velocities=end[1])
    for path in completed_chunks(folder):
        path.unlink()


def _as_trajectory(atoms: Atoms, dynamics: Dynamics, chunk: Chunk) -> TrajectoryChunk:
    return TrajectoryChunk(
        symbols=tuple(atoms.symbols),
        cell=atoms.cell.array,
        steps=chunk.steps,
        times_ps=chunk.steps * dynamics.timestep_fs / PS_IN_FS,
        positions=chunk.positions,
        observables=chunk.observables,
    )


def read_end(folder: Path) -> tuple[FloatArray, FloatArray]:
    """Return the last positions (angstrom) and velocities (angstrom/fs) of a finished run."""
    with np.load(folder / END, allow_pickle=False) as data:
        return data["positions"], data["velocities"]


def _first_velocities(masses: FloatArray, dynamics: Dynamics) -> FloatArray:
    random = np.random.default_rng([dynamics.seed, dynamics.replica])
    velocities = maxwell_boltzmann(masses, dynamics.temperature, random)
    return velocities - masses @ velocities / masses.sum()


def _integrate_chunk(
    atoms: Atoms,
    state: State,
    masses: FloatArray,
    forces: ForceFunction,
    dynamics: Dynamics,
    index: int,
    folder: Path,
    on_step: Callable[[int], None],
) -> Chunk:
    random = np.random.default_rng([dynamics.seed, dynamics.replica, index + 1])
    per_chunk = dynamics.chunk_frames * dynamics.frame_stride
    first = index * per_chunk
    last = min(first + per_chunk, dynamics.n_frames * dynamics.frame_stride)
    frames = _Frames()
    parent = os.getppid()
    for step in range(first + 1, last + 1):
        state = _step(state, masses, forces, dynamics, random)
        temperature = 2 * state.kinetic_energy / (3 * len(masses) * BOLTZMANN)
        _watch(atoms, state, temperature, step, dynamics, folder)
        if step % dynamics.frame_stride == 0:
            frames.add(step, state, temperature)
        on_step(step)
        if os.getppid() != parent:
            raise SystemExit(1)  # the process that waits for this run was killed
    return frames.close(state)


def _step(
    state: State,
    masses: FloatArray,
    forces: ForceFunction,
    dynamics: Dynamics,
    random: np.random.Generator,
) -> State:
    if dynamics.friction_per_ps is None:
        return verlet_step(state, masses, forces, timestep=dynamics.timestep_fs)
    return langevin_step(
        state,
        masses,
        forces,
        timestep=dynamics.timestep_fs,
        friction=dynamics.friction_per_ps / PS_IN_FS,
        temperature=dynamics.temperature,
        noise=random.standard_normal(state.positions.shape),
    )


def _watch(
    atoms: Atoms, state: State, temperature: float, step: int, dynamics: Dynamics, folder: Path
) -> None:
    """Stop a run that is blowing up, and leave the frame that shows why."""
    limit = TEMPERATURE_LIMIT * dynamics.temperature
    if temperature < limit and np.isfinite(state.evaluation.energy):
        return
    frame = atoms.copy()
    frame.positions = np.nan_to_num(state.positions)
    culprit = int(np.argmax(np.nan_to_num(np.abs(state.evaluation.forces), nan=np.inf).max(axis=1)))
    path = folder / "blown-up.extxyz"
    with atomic_path(path) as temporary:
        ase.io.write(temporary, frame, format="extxyz")
    raise PhysicsCheckFailed(
        f"dynamics: the run blew up at step {step}: {temperature:.0f} K (limit {limit:.0f} K), "
        f"largest force on atom {culprit} ({atoms.symbols[culprit]}); frame in {path}; use a "
        f"smaller time step than {dynamics.timestep_fs:g} fs or a better potential"
    )


def _chunk_path(folder: Path, index: int) -> Path:
    return folder / f"chunk-{index:06d}.npz"


def completed_chunks(folder: Path) -> list[Path]:
    """Return the files of the chunks that are done, in order, up to the first gap."""
    paths: list[Path] = []
    while (path := _chunk_path(folder, len(paths))).exists():
        paths.append(path)
    return paths


def _write_chunk(folder: Path, index: int, chunk: Chunk) -> None:
    arrays: dict[str, Any] = {
        "steps": chunk.steps,
        "positions": chunk.positions,
        "end_positions": chunk.end[0],
        "end_velocities": chunk.end[1],
    }
    arrays |= {f"observable_{name}": series for name, series in chunk.observables.items()}
    with atomic_path(_chunk_path(folder, index)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_chunk(path: Path) -> Chunk:
    """Read a chunk file."""
    with np.load(path, allow_pickle=False) as data:
        observables = {
            name.removeprefix("observable_"): data[name]
            for name in data.files
            if name.startswith("observable_")
        }
        end = (data["end_positions"], data["end_velocities"])
        return Chunk(data["steps"], data["positions"], observables, end)


def read_chunks(folder: Path) -> Iterator[Chunk]:
    """Read all chunks of a folder, one at a time."""
    for path in completed_chunks(folder):
        yield read_chunk(path)
