"""One step of a run, of whatever kind: with a thermostat or none, inner steps, a moving volume."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from bjerrum.dynamics.barostat import volume_step
from bjerrum.dynamics.integrators import (
    State,
    langevin_step,
    maxwell_boltzmann,
    start,
    verlet_step,
)
from bjerrum.dynamics.multiple import multiple_step
from bjerrum.dynamics.settings import Dynamics, masses_of
from bjerrum.dynamics.stopping import TEMPERATURE_LIMIT
from bjerrum.dynamics.watchdog import Observer, Watch
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.potential.protocol import ForceFunction, Resettable
from bjerrum.units import BOLTZMANN, PS_IN_FS

TIMED_STEPS = 20

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
class Motion:
    """What moves and how; nothing of it changes along a run."""

    atoms: Atoms
    forces: ForceFunction
    dynamics: Dynamics
    extras: Extras
    masses: FloatArray


@dataclass
class Box:
    """The cell and the forces in it; both change at constant pressure."""

    cell: FloatArray
    forces: ForceFunction
    inner: ForceFunction | None


def motion_of(atoms: Atoms, forces: ForceFunction, dynamics: Dynamics, extras: Extras) -> Motion:
    """Return the motion; raises InputError if something that it needs is missing."""
    if dynamics.pressure_bar is not None and extras.rebind is None:
        raise InputError("dynamics: constant pressure needs forces for any cell (rebind)")
    if dynamics.inner_steps > 1 and extras.inner is None:
        raise InputError("dynamics: multiple time steps need an inner potential")
    masses = masses_of(atoms, dynamics.hydrogen_mass)
    return Motion(atoms, forces, dynamics, extras, masses)


def first_velocities(motion: Motion) -> FloatArray:
    """Draw velocities without a net momentum, angstrom/fs."""
    random = np.random.default_rng([motion.dynamics.seed, motion.dynamics.replica])
    velocities = maxwell_boltzmann(motion.masses, motion.dynamics.temperature, random)
    return velocities - motion.masses @ velocities / motion.masses.sum()


def open_box(motion: Motion, cell: FloatArray) -> Box:
    """Return the forces in a cell, with nothing remembered of earlier configurations."""
    same = bool((cell == motion.atoms.cell.array).all())
    rebind = motion.extras.rebind
    forces = motion.forces if same or rebind is None else rebind(cell)
    if isinstance(forces, Resettable):
        forces.reset()
    inner = None if motion.extras.inner is None else motion.extras.inner(cell)
    return Box(cell, forces, inner)


def take_step(motion: Motion, box: Box, state: State, random: np.random.Generator) -> State:
    """Advance by one time step in a fixed cell."""
    dynamics, masses = motion.dynamics, motion.masses
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


def changes_volume(dynamics: Dynamics, step: int) -> bool:
    """Whether the volume changes after this step."""
    return dynamics.pressure_bar is not None and step % dynamics.barostat_stride == 0


def change_volume(motion: Motion, box: Box, state: State, random: np.random.Generator) -> State:
    """Scale the box and the positions; new forces, the same velocities."""
    dynamics, virial = motion.dynamics, state.evaluation.virial
    if virial is None or dynamics.pressure_bar is None or motion.extras.rebind is None:
        raise InputError("dynamics: constant pressure needs a potential that gives its virial")
    factor = volume_step(
        abs(float(np.linalg.det(box.cell))), virial, len(motion.masses),
        temperature=dynamics.temperature, pressure_bar=dynamics.pressure_bar,
        time_ps=dynamics.barostat_time_ps,
        interval_fs=dynamics.barostat_stride * dynamics.timestep_fs,
        noise=float(random.standard_normal()),
    )  # fmt: skip
    box.cell = factor * box.cell
    box.forces = motion.extras.rebind(box.cell)
    box.inner = None if motion.extras.inner is None else motion.extras.inner(box.cell)
    positions = factor * state.positions
    return replace(state, positions=positions, evaluation=box.forces(positions), inner=None)


def kinetic_temperature(motion: Motion, state: State) -> float:
    """Return 2 K / (3 N k_B) in K."""
    return 2 * state.kinetic_energy / (3 * len(motion.masses) * BOLTZMANN)


def is_sound(state: State, temperature: float, dynamics: Dynamics) -> bool:
    """Whether the numbers are finite and the temperature is one."""
    return (
        temperature < TEMPERATURE_LIMIT * dynamics.temperature
        and np.isfinite(state.evaluation.energy)
        and bool(np.isfinite(state.evaluation.forces).all())
    )


def seconds_per_step(
    motion: Motion, on_step: Callable[[int], None] = lambda step: None
) -> float:  # fmt: skip
    """Return the mean wall seconds of 20 steps of this very motion, its watch included.

    A first step is not counted. Steps that go wrong are left for the run itself to tell.
    """
    dynamics, box = motion.dynamics, open_box(motion, motion.atoms.cell.array)
    watch = motion.extras.watch
    observer = None if watch is None else Observer(watch, motion.atoms, dynamics.temperature)
    random = np.random.default_rng([dynamics.seed, dynamics.replica])
    state = start(
        motion.atoms.positions.copy(), first_velocities(motion), motion.masses, box.forces
    )
    state = take_step(motion, box, state, random)
    begin = time.perf_counter()
    for step in range(1, TIMED_STEPS + 1):
        state = take_step(motion, box, state, random)
        if not is_sound(state, kinetic_temperature(motion, state), dynamics):
            break
        if changes_volume(dynamics, step):
            state = change_volume(motion, box, state, random)
        if observer is not None and step % observer.watch.stride == 0:
            observer.look(step, state.positions, box.cell, state.evaluation.energy)
        on_step(step)
    return (time.perf_counter() - begin) / step
