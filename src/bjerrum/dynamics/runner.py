"""Run one trajectory in chunks: reproducible bit by bit, resumable after ``kill -9``.

Each chunk is one file, written atomically, that holds its frames and the exact state at its end.
A run continues from its last complete chunk. Random numbers depend on (seed, replica, chunk)
alone and neighbour lists are searched anew at the start of every chunk, so an interrupted run
and an undisturbed one give the same bits on the same machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from ase import Atoms

from bjerrum.dynamics.chunks import (
    Chunk,
    End,
    Identity,
    completed_chunks,
    identity_of,
    read_chunk,
    read_chunks,
    remove_chunks,
    verified_chunks,
    write_chunk,
)
from bjerrum.dynamics.integrators import State, start
from bjerrum.dynamics.recording import Recorder, write_record
from bjerrum.dynamics.settings import Dynamics
from bjerrum.dynamics.stepping import (
    Binder,
    Box,
    Extras,
    Motion,
    change_volume,
    changes_volume,
    first_velocities,
    is_sound,
    kinetic_temperature,
    motion_of,
    open_box,
    take_step,
)
from bjerrum.dynamics.stopping import BLOWN_UP, blown_up, stopped
from bjerrum.dynamics.watchdog import Event, Observer
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path
from bjerrum.potential.protocol import Doubtful, ForceFunction
from bjerrum.trajectory import TrajectoryChunk, write_trajectory
from bjerrum.units import PS_IN_FS

__all__ = [
    "BLOWN_UP",
    "END",
    "STOPPED",
    "TRAJECTORY",
    "Binder",
    "Dynamics",
    "Extras",
    "read_end",
    "run_dynamics",
]

TRAJECTORY = "trajectory.h5"
STOPPED = "stopped.h5"
END = "end.npz"


@dataclass(frozen=True)
class _Run:
    """A motion on disk, watched or not."""

    motion: Motion
    folder: Path
    on_step: Callable[[int], None]
    observer: Observer | None
    identity: Identity

    @property
    def dynamics(self) -> Dynamics:
        return self.motion.dynamics


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
    Raises InputError if not a single frame would be kept or the folder holds chunks of another run
    or damaged ones (nothing is touched then), PhysicsCheckFailed if the trajectory
    blows up or the watch is to stop it; the folder then holds the last configuration and, in
    ``stopped.h5``, the trajectory up to there.
    """
    if dynamics.n_frames < 1:
        raise InputError(
            f"dynamics: expected at least {dynamics.frame_stride} steps, so that one frame is "
            f"kept, got {dynamics.n_steps}"
        )
    extras = extras or Extras()
    motion = motion_of(atoms, forces, dynamics, extras)
    if not (folder / END).exists():
        observer = None
        if extras.watch is not None:
            observer = Observer(extras.watch, atoms, dynamics.temperature)
        facts = {**dict(extras.facts), "watched": observer is not None}
        identity = identity_of(atoms, dynamics, facts, velocities)
        _integrate(_Run(motion, folder, on_step, observer, identity), velocities)
    on_step(dynamics.n_steps)
    for name in (STOPPED, BLOWN_UP):  # of an earlier call, which this one went on from
        (folder / name).unlink(missing_ok=True)
    remove_chunks(folder)
    return folder / TRAJECTORY


def _integrate(run: _Run, velocities: FloatArray | None) -> None:
    done = verified_chunks(run.folder, run.identity)
    if done:
        point = read_chunk(done[-1]).end
    else:
        atoms = run.motion.atoms
        first = first_velocities(run.motion) if velocities is None else velocities
        point = End(atoms.positions.copy(), first, atoms.cell.array.copy())
    for index in range(len(done), run.dynamics.n_chunks):
        recorder = Recorder(run.dynamics.keep_velocities, run.dynamics.pressure_bar is not None)
        try:
            chunk = _integrate_chunk(run, point, index, recorder)
        except PhysicsCheckFailed as error:
            raise _keep_until_stop(run, recorder, error) from error
        write_chunk(run.folder, index, chunk, run.identity.run)
        point = chunk.end
    _write_trajectory(run, TRAJECTORY, {})
    with atomic_path(run.folder / END) as temporary, temporary.open("wb") as file:
        np.savez(file, positions=point.positions, velocities=point.velocities)


def _write_trajectory(
    run: _Run, name: str, facts: dict[str, str | int | float], unfinished: Chunk | None = None
) -> bool:
    """Write all chunks, and one that is not on disk, as one file, with what the watch saw.

    Returns whether there was a frame to write.
    """
    facts |= run.dynamics.metadata | dict(run.motion.extras.facts)
    if run.observer is not None:
        record = write_record(
            run.folder, run.motion.atoms, run.observer.watch, run.dynamics.timestep_fs, unfinished
        )
        facts |= {"watchdog_events": record["n_events"], "watchdog": json.dumps(record)}
    rest = [unfinished] if unfinished is not None and len(unfinished.steps) else []
    if not rest and not completed_chunks(run.folder):
        return False
    chunks = (_as_trajectory(run, chunk) for chunk in chain(read_chunks(run.folder), rest))
    write_trajectory(run.folder / name, chunks, facts)
    return True


def _keep_until_stop(
    run: _Run, recorder: Recorder, error: PhysicsCheckFailed
) -> PhysicsCheckFailed:
    """Write the trajectory up to the stop; the chunks stay as they are, to be run again from."""
    if not _write_trajectory(run, STOPPED, {"stopped": str(error)}, recorder.so_far()):
        return error
    return PhysicsCheckFailed(f"{error}; trajectory up to there: {run.folder / STOPPED}")


def _as_trajectory(run: _Run, chunk: Chunk) -> TrajectoryChunk:
    atoms = run.motion.atoms
    return TrajectoryChunk(
        symbols=tuple(atoms.symbols),
        cell=atoms.cell.array if chunk.cells is None else chunk.cells,
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


def _integrate_chunk(run: _Run, point: End, index: int, recorder: Recorder) -> Chunk:
    motion, dynamics, observer = run.motion, run.dynamics, run.observer
    box = open_box(motion, point.cell)
    state = start(point.positions, point.velocities, motion.masses, box.forces)
    random = np.random.default_rng([dynamics.seed, dynamics.replica, index + 1])
    per_chunk = dynamics.chunk_frames * dynamics.frame_stride
    first = index * per_chunk
    last = min(first + per_chunk, dynamics.n_frames * dynamics.frame_stride)
    if observer is not None:
        observer.reset(point.seen_energy)
        if index == 0:
            _look(run, box, state, 0, recorder)
            observer.reset()  # a first configuration need not be one of the model's liquid
    for step in range(first + 1, last + 1):
        before, state = state, take_step(motion, box, state, random)
        temperature = kinetic_temperature(motion, state)
        if not is_sound(state, temperature, dynamics):
            raise blown_up(
                motion.atoms, run.folder, dynamics, box.cell, before, state, temperature, step
            )
        if changes_volume(dynamics, step):
            state = change_volume(motion, box, state, random)
        _look(run, box, state, step, recorder)
        if step % dynamics.frame_stride == 0:
            recorder.add(step, state, temperature, box.cell, watched=observer is not None)
        run.on_step(step)
    _look_for_ice(run, box, state, last, recorder)
    return recorder.close(state, box.cell, None if observer is None else observer.energy)


def _look(run: _Run, box: Box, state: State, step: int, recorder: Recorder) -> None:
    observer = run.observer
    if observer is None or step % observer.watch.stride:
        return
    spread = None
    if isinstance(box.forces, Doubtful) and box.forces.n_members > 1:
        spread = box.forces.with_spread(state.positions)[1]
        recorder.spread(float(spread.max()))
    events = observer.look(step, state.positions, box.cell, state.evaluation.energy, spread)
    recorder.saw(events, state, box.cell)
    _stop_if_asked(run, observer, box, state, events)


def _look_for_ice(run: _Run, box: Box, state: State, step: int, recorder: Recorder) -> None:
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
    recorder.saw_in_all(events, state, box.cell)
    _stop_if_asked(run, run.observer, box, state, events)


def _stop_if_asked(
    run: _Run, observer: Observer, box: Box, state: State, events: list[Event]
) -> None:
    if events and observer.watch.on_event == "stop":
        raise stopped(run.motion.atoms, run.folder, box.cell, state, events)
