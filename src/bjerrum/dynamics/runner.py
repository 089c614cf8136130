"""Run one trajectory in chunks: reproducible bit by bit, resumable after ``kill -9``.

Each chunk is one file, written atomically, that holds its frames and the exact state at its end.
A run continues from its last complete chunk. Random numbers depend on (seed, replica, chunk)
alone and neighbour lists are searched anew at the start of every chunk, so an interrupted run
and an undisturbed one give the same bits on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from bjerrum.dynamics.chunks import (
    Chunk,
    completed_chunks,
    read_chunk,
    read_chunks,
    remove_chunks,
    write_chunk,
)
from bjerrum.dynamics.integrators import (
    State,
    langevin_step,
    maxwell_boltzmann,
    start,
    verlet_step,
)
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path
from bjerrum.frames import write_frames
from bjerrum.potential.protocol import ForceFunction, Resettable
from bjerrum.trajectory import TrajectoryChunk, write_trajectory
from bjerrum.units import BOLTZMANN, PS_IN_FS

TEMPERATURE_LIMIT = 3.0
"""Kinetic temperature over the target's at which a run is stopped. The temperature of N atoms has
a relative standard deviation of sqrt(2 / 3N): for 248 atoms the limit is 38 of them away."""

BLOWN_UP = "blown-up.extxyz"
TRAJECTORY = "trajectory.h5"
END = "end.npz"


@dataclass(frozen=True)
class Dynamics:
    """What to integrate. Without friction the energy is conserved (velocity Verlet).

    timestep_fs       time step
    n_steps           length of the run; it ends with its last whole frame
    temperature       K, of the thermostat and of the first velocities
    friction_per_ps   Langevin friction; None for constant energy
    frame_stride      steps between frames that are kept
    chunk_frames      frames between restart points
    seed, replica     choose the random numbers
    Raises InputError for numbers that mean nothing.
    """

    timestep_fs: float
    n_steps: int
    temperature: float
    friction_per_ps: float | None
    frame_stride: int
    chunk_frames: int
    seed: int
    replica: int = 0

    def __post_init__(self) -> None:
        for name in ("timestep_fs", "temperature"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"dynamics: expected {name} > 0, got {getattr(self, name)}")
        for name in ("frame_stride", "chunk_frames"):
            if getattr(self, name) < 1:
                raise InputError(f"dynamics: expected {name} >= 1, got {getattr(self, name)}")
        if self.friction_per_ps is not None and not 0 <= self.friction_per_ps < np.inf:
            raise InputError(f"dynamics: expected friction >= 0, got {self.friction_per_ps}")
        if min(self.seed, self.replica) < 0:
            raise InputError(f"dynamics: expected a seed >= 0, got {self.seed}, {self.replica}")

    @property
    def n_frames(self) -> int:
        """Number of frames that the run keeps."""
        return self.n_steps // self.frame_stride

    @property
    def n_chunks(self) -> int:
        """Number of files that the run writes."""
        return -(-self.n_frames // self.chunk_frames)


@dataclass(frozen=True)
class _Run:
    """What does not change along a run."""

    atoms: Atoms
    forces: ForceFunction
    dynamics: Dynamics
    folder: Path
    on_step: Callable[[int], None]

    @property
    def masses(self) -> FloatArray:
        return self.atoms.get_masses()


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
    The kinetic temperature of a frame is 2 K / (3 N k_B).
    Raises InputError if not a single frame would be kept, PhysicsCheckFailed if the trajectory
    blows up; the last frame is then left in the folder.
    """
    if dynamics.n_frames < 1:
        raise InputError(
            f"dynamics: expected at least {dynamics.frame_stride} steps, so that one frame is "
            f"kept, got {dynamics.n_steps}"
        )
    if not (folder / END).exists():
        _integrate(_Run(atoms, forces, dynamics, folder, on_step), velocities)
    on_step(dynamics.n_steps)
    remove_chunks(folder)
    return folder / TRAJECTORY


def _integrate(run: _Run, velocities: FloatArray | None) -> None:
    done = completed_chunks(run.folder)
    if done:
        point = read_chunk(done[-1]).end
    else:
        first = _first_velocities(run) if velocities is None else velocities
        point = (run.atoms.positions.copy(), first)
    for index in range(len(done), run.dynamics.n_chunks):
        if isinstance(run.forces, Resettable):
            run.forces.reset()
        chunk = _integrate_chunk(run, start(*point, run.masses, run.forces), index)
        write_chunk(run.folder, index, chunk)
        point = chunk.end
    chunks = (_as_trajectory(run, chunk) for chunk in read_chunks(run.folder))
    write_trajectory(run.folder / TRAJECTORY, chunks)
    with atomic_path(run.folder / END) as temporary, temporary.open("wb") as file:
        np.savez(file, positions=point[0], velocities=point[1])


def _as_trajectory(run: _Run, chunk: Chunk) -> TrajectoryChunk:
    return TrajectoryChunk(
        symbols=tuple(run.atoms.symbols),
        cell=run.atoms.cell.array,
        steps=chunk.steps,
        times_ps=chunk.steps * np.float64(run.dynamics.timestep_fs / PS_IN_FS),
        positions=chunk.positions,
        observables=chunk.observables,
    )


def read_end(folder: Path) -> tuple[FloatArray, FloatArray]:
    """Return the last positions (angstrom) and velocities (angstrom/fs) of a finished run."""
    with np.load(folder / END, allow_pickle=False) as data:
        return data["positions"], data["velocities"]


def _first_velocities(run: _Run) -> FloatArray:
    random = np.random.default_rng([run.dynamics.seed, run.dynamics.replica])
    velocities = maxwell_boltzmann(run.masses, run.dynamics.temperature, random)
    return velocities - run.masses @ velocities / run.masses.sum()


def _integrate_chunk(run: _Run, state: State, index: int) -> Chunk:
    dynamics = run.dynamics
    random = np.random.default_rng([dynamics.seed, dynamics.replica, index + 1])
    per_chunk = dynamics.chunk_frames * dynamics.frame_stride
    first = index * per_chunk
    last = min(first + per_chunk, dynamics.n_frames * dynamics.frame_stride)
    frames = _Frames()
    for step in range(first + 1, last + 1):
        before, state = state, _step(run, state, random)
        temperature = 2 * state.kinetic_energy / (3 * len(run.masses) * BOLTZMANN)
        if not _is_sound(state, temperature, dynamics):
            raise _blown_up(run, before, state, temperature, step)
        if step % dynamics.frame_stride == 0:
            frames.add(step, state, temperature)
        run.on_step(step)
    return frames.close(state)


def _step(run: _Run, state: State, random: np.random.Generator) -> State:
    dynamics = run.dynamics
    if dynamics.friction_per_ps is None:
        return verlet_step(state, run.masses, run.forces, timestep=dynamics.timestep_fs)
    return langevin_step(
        state,
        run.masses,
        run.forces,
        timestep=dynamics.timestep_fs,
        friction=dynamics.friction_per_ps / PS_IN_FS,
        temperature=dynamics.temperature,
        noise=random.standard_normal(state.positions.shape),
    )


def _is_sound(state: State, temperature: float, dynamics: Dynamics) -> bool:
    return (
        temperature < TEMPERATURE_LIMIT * dynamics.temperature
        and np.isfinite(state.evaluation.energy)
        and bool(np.isfinite(state.evaluation.forces).all())
    )


def _blown_up(
    run: _Run, before: State, state: State, temperature: float, step: int
) -> PhysicsCheckFailed:
    """Leave the frame that shows why, the last one with finite positions; return the error."""
    frame = run.atoms.copy()
    frame.positions = state.positions if np.isfinite(state.positions).all() else before.positions
    path = run.folder / BLOWN_UP
    write_frames(path, [frame])
    size = np.nan_to_num(np.abs(state.evaluation.forces), nan=np.inf).max(axis=1)
    culprit = int(np.argmax(size))
    limit = TEMPERATURE_LIMIT * run.dynamics.temperature
    return PhysicsCheckFailed(
        f"dynamics: the run blew up at step {step}: {temperature:.0f} K (limit {limit:.0f} K), "
        f"largest force {size[culprit]:.3g} eV/angstrom on atom {culprit} "
        f"({frame.symbols[culprit]}); frame in {path}; use a smaller time step than "
        f"{run.dynamics.timestep_fs:g} fs or a better potential"
    )
