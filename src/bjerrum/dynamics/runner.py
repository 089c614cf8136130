"""Run one trajectory in chunks: reproducible bit by bit, resumable after ``kill -9``.

Each chunk is one file, written atomically, that holds its frames and the exact state at its end.
A run continues from its last complete chunk. Random numbers depend on (seed, replica, chunk)
alone and neighbour lists are searched anew at the start of every chunk, so an interrupted run
and an undisturbed one give the same bits on the same machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from ase import Atoms

from bjerrum.dynamics.barostat import volume_step
from bjerrum.dynamics.chunks import (
    Chunk,
    End,
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
from bjerrum.dynamics.multiple import multiple_step
from bjerrum.dynamics.recording import Recorder, write_record
from bjerrum.dynamics.settings import Dynamics, masses_of
from bjerrum.dynamics.stopping import BLOWN_UP, TEMPERATURE_LIMIT, blown_up, stopped
from bjerrum.dynamics.watchdog import Observer, Watch
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path
from bjerrum.potential.protocol import ForceFunction, Resettable
from bjerrum.trajectory import TrajectoryChunk, write_trajectory
from bjerrum.units import BOLTZMANN, PS_IN_FS

__all__ = [
    "BLOWN_UP",
    "END",
    "STOPPED",
    "TRAJECTORY",
    "Dynamics",
    "Extras",
    "read_end",
    "run_dynamics",
]

TRAJECTORY = "trajectory.h5"
STOPPED = "stopped.h5"
END = "end.npz"

Binder = Callable[[FloatArray], ForceFunction]
"""From a cell to the force function in it."""


@dataclass(frozen=True)
class Extras:
    """What a run may need beside forces in a fixed cell.

    rebind  the forces in another cell, for constant pressure
    inner   the cheap forces in a cell, for multiple time steps
    watch   what is looked at
    facts   of the model and its evaluation, for the trajectory's metadata
    """

    rebind: Binder | None = None
    inner: Binder | None = None
    watch: Watch | None = None
    facts: tuple[tuple[str, str | int | float], ...] = ()


@dataclass(frozen=True)
class _Run:
    """What does not change along a run."""

    atoms: Atoms
    forces: ForceFunction
    dynamics: Dynamics
    folder: Path
    on_step: Callable[[int], None]
    extras: Extras
    masses: FloatArray
    observer: Observer | None


@dataclass
class _Box:
    """The cell and the forces in it; both change at constant pressure."""

    cell: FloatArray
    forces: ForceFunction
    inner: ForceFunction | None


def run_dynamics(
    atoms: Atoms,
    forces: ForceFunction,
    dynamics: Dynamics,
    folder: Path,
    *,
    velocities: FloatArray | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    extras: Extras | None = None,
) -> Path:
    """Integrate to the end, continuing what ``folder`` already holds; return the trajectory.

    ``folder`` then holds ``trajectory.h5`` (H5MD) and ``end.npz``, the exact last state; with a
    watch also ``watchdog.json`` and, if something was seen, ``flagged.extxyz``.

    atoms       the first configuration
    forces      a bound potential for these atoms and this cell
    velocities  first velocities, angstrom/fs; drawn at the temperature if absent
    on_step     called with the number of steps done
    The kinetic temperature of a frame is 2 K / (3 N k_B).
    Raises InputError if not a single frame would be kept, PhysicsCheckFailed if the trajectory
    blows up or the watch is to stop it; the folder then holds the last configuration and, in
    ``stopped.h5``, the trajectory up to there.
    """
    extras = extras or Extras()
    _require_sense(dynamics, extras)
    if not (folder / END).exists():
        observer = None
        if extras.watch is not None:
            observer = Observer(extras.watch, atoms, dynamics.temperature)
        masses = masses_of(atoms, dynamics.hydrogen_mass)
        run = _Run(atoms, forces, dynamics, folder, on_step, extras, masses, observer)
        _integrate(run, velocities)
    on_step(dynamics.n_steps)
    remove_chunks(folder)
    return folder / TRAJECTORY


def _require_sense(dynamics: Dynamics, extras: Extras) -> None:
    if dynamics.n_frames < 1:
        raise InputError(
            f"dynamics: expected at least {dynamics.frame_stride} steps, so that one frame is "
            f"kept, got {dynamics.n_steps}"
        )
    if dynamics.pressure_bar is not None and extras.rebind is None:
        raise InputError("dynamics: constant pressure needs forces for any cell (rebind)")
    if dynamics.inner_steps > 1 and extras.inner is None:
        raise InputError("dynamics: multiple time steps need an inner potential")


def _integrate(run: _Run, velocities: FloatArray | None) -> None:
    done = completed_chunks(run.folder)
    if done:
        point = read_chunk(done[-1]).end
        if point.positions.shape != run.atoms.positions.shape:
            raise InputError(f"{done[-1]}: belongs to another run of {len(point.positions)} atoms")
    else:
        first = _first_velocities(run) if velocities is None else velocities
        point = End(run.atoms.positions.copy(), first, run.atoms.cell.array.copy())
    for index in range(len(done), run.dynamics.n_chunks):
        recorder = Recorder(run.dynamics.keep_velocities, run.dynamics.pressure_bar is not None)
        try:
            chunk = _integrate_chunk(run, point, index, recorder)
        except PhysicsCheckFailed as error:
            raise _keep_until_stop(run, recorder, error) from error
        write_chunk(run.folder, index, chunk)
        point = chunk.end
    _write_trajectory(run, TRAJECTORY, [], {})
    with atomic_path(run.folder / END) as temporary, temporary.open("wb") as file:
        np.savez(file, positions=point.positions, velocities=point.velocities)


def _write_trajectory(
    run: _Run, name: str, unfinished: list[Chunk], facts: dict[str, str | int | float]
) -> None:
    """Write all chunks, and one that is not on disk, as one file, with what the watch saw."""
    facts |= run.dynamics.metadata | dict(run.extras.facts)
    if run.observer is not None:
        record = write_record(
            run.folder, run.atoms, run.observer.watch, run.dynamics.timestep_fs, unfinished
        )
        facts |= {"watchdog_events": record["n_events"], "watchdog": json.dumps(record)}
    chunks = (_as_trajectory(run, chunk) for chunk in chain(read_chunks(run.folder), unfinished))
    write_trajectory(run.folder / name, chunks, facts)


def _keep_until_stop(
    run: _Run, recorder: Recorder, error: PhysicsCheckFailed
) -> PhysicsCheckFailed:
    """Write the trajectory up to the stop; the chunks stay as they are, to be run again from."""
    unfinished = [recorder.so_far()] if recorder.steps else []
    if not unfinished and not completed_chunks(run.folder):
        return error
    _write_trajectory(run, STOPPED, unfinished, {"stopped": str(error)})
    return PhysicsCheckFailed(f"{error}; trajectory up to there: {run.folder / STOPPED}")


def _as_trajectory(run: _Run, chunk: Chunk) -> TrajectoryChunk:
    return TrajectoryChunk(
        symbols=tuple(run.atoms.symbols),
        cell=run.atoms.cell.array if chunk.cells is None else chunk.cells,
        steps=chunk.steps,
        times_ps=chunk.steps * np.float64(run.dynamics.timestep_fs / PS_IN_FS),
        positions=chunk.positions,
        velocities=chunk.velocities,
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


def _open_box(run: _Run, cell: FloatArray) -> _Box:
    """Return the forces in a cell, with nothing remembered of earlier configurations."""
    same = bool((cell == run.atoms.cell.array).all())
    forces = run.forces if same or run.extras.rebind is None else run.extras.rebind(cell)
    if isinstance(forces, Resettable):
        forces.reset()
    inner = None if run.extras.inner is None else run.extras.inner(cell)
    return _Box(cell, forces, inner)


def _integrate_chunk(run: _Run, point: End, index: int, recorder: Recorder) -> Chunk:
    dynamics, box = run.dynamics, _open_box(run, point.cell)
    state = start(point.positions, point.velocities, run.masses, box.forces)
    if run.observer is not None:
        run.observer.reset()
    random = np.random.default_rng([dynamics.seed, dynamics.replica, index + 1])
    per_chunk = dynamics.chunk_frames * dynamics.frame_stride
    first = index * per_chunk
    last = min(first + per_chunk, dynamics.n_frames * dynamics.frame_stride)
    if index == 0 and run.observer is not None:
        _look(run, box, state, 0, recorder)
        run.observer.reset()  # a first configuration need not be one of the model's liquid
    for step in range(first + 1, last + 1):
        before, state = state, _step(run, box, state, random)
        temperature = 2 * state.kinetic_energy / (3 * len(run.masses) * BOLTZMANN)
        if not _is_sound(state, temperature, dynamics):
            raise blown_up(run.atoms, run.folder, dynamics, before, state, temperature, step)
        if dynamics.pressure_bar is not None and step % dynamics.barostat_stride == 0:
            state = _change_volume(run, box, state, random)
        _look(run, box, state, step, recorder)
        if step % dynamics.frame_stride == 0:
            watched = run.observer is not None
            recorder.add(step, state, temperature, box.cell, watched=watched)
        run.on_step(step)
    _look_for_ice(run, box, state, last, recorder)
    return recorder.close(state, box.cell)


def _step(run: _Run, box: _Box, state: State, random: np.random.Generator) -> State:
    dynamics, masses = run.dynamics, run.masses
    friction = None if dynamics.friction_per_ps is None else dynamics.friction_per_ps / PS_IN_FS
    shape = state.positions.shape
    if box.inner is not None and dynamics.inner_steps > 1:
        return multiple_step(
            state, masses, box.forces, box.inner, timestep=dynamics.timestep_fs,
            n_inner=dynamics.inner_steps, friction=friction, temperature=dynamics.temperature,
            noise=random.standard_normal((dynamics.inner_steps, *shape)),
        )  # fmt: skip
    if friction is None:
        return verlet_step(state, masses, box.forces, timestep=dynamics.timestep_fs)
    return langevin_step(
        state, masses, box.forces, timestep=dynamics.timestep_fs, friction=friction,
        temperature=dynamics.temperature, noise=random.standard_normal(shape),
    )  # fmt: skip


def _change_volume(run: _Run, box: _Box, state: State, random: np.random.Generator) -> State:
    """Scale the box and the positions; new forces, the same velocities."""
    dynamics, virial = run.dynamics, state.evaluation.virial
    if virial is None or dynamics.pressure_bar is None or run.extras.rebind is None:
        raise InputError("dynamics: constant pressure needs a potential that gives its virial")
    factor = volume_step(
        abs(float(np.linalg.det(box.cell))), virial, len(run.masses),
        temperature=dynamics.temperature, pressure_bar=dynamics.pressure_bar,
        time_ps=dynamics.barostat_time_ps,
        interval_fs=dynamics.barostat_stride * dynamics.timestep_fs,
        noise=float(random.standard_normal()),
    )  # fmt: skip
    box.cell = factor * box.cell
    box.forces = run.extras.rebind(box.cell)
    box.inner = None if run.extras.inner is None else run.extras.inner(box.cell)
    positions = factor * state.positions
    return replace(state, positions=positions, evaluation=box.forces(positions), inner=None)


def _look(run: _Run, box: _Box, state: State, step: int, recorder: Recorder) -> None:
    observer = run.observer
    if observer is None or step % observer.watch.stride:
        return
    spread = None
    if getattr(box.forces, "n_members", 1) > 1:
        spread = box.forces.with_spread(state.positions)[1]  # type: ignore[attr-defined]
        recorder.spread(float(spread.max()))
    events = observer.look(step, state.positions, box.cell, state.evaluation.energy, spread)
    recorder.saw(events, state, box.cell)
    if events and observer.watch.on_event == "stop":
        raise stopped(run.atoms, run.folder, box.cell, state, events)


def _look_for_ice(run: _Run, box: _Box, state: State, step: int, recorder: Recorder) -> None:
    """Compare with the first chunk that ended ``frozen_time_ps`` ago or earlier."""
    if run.observer is None:
        return
    steps = run.observer.watch.frozen_time_ps * PS_IN_FS / run.dynamics.timestep_fs
    per_chunk = run.dynamics.chunk_frames * run.dynamics.frame_stride
    earlier = int((step - steps) // per_chunk) - 1
    if earlier < 0:
        return
    then = read_chunk(completed_chunks(run.folder)[earlier]).end.positions
    events = run.observer.frozen(step, state.positions, then)
    recorder.saw(events, state, box.cell)
    if events and run.observer.watch.on_event == "stop":
        raise stopped(run.atoms, run.folder, box.cell, state, events)


def _is_sound(state: State, temperature: float, dynamics: Dynamics) -> bool:
    return (
        temperature < TEMPERATURE_LIMIT * dynamics.temperature
        and np.isfinite(state.evaluation.energy)
        and bool(np.isfinite(state.evaluation.forces).all())
    )
