"""Langevin (BAOAB) and constant-energy (velocity Verlet) dynamics as functions of a state.

| symbol | here |
|---|---|
| x, v | ``state.positions`` (angstrom), ``state.velocities`` (angstrom/fs) |
| F, m | ``state.evaluation.forces`` (eV/angstrom), ``masses`` (amu) |
| h, gamma | ``timestep`` (fs), ``friction`` (1/fs) |

BAOAB (Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34): half a kick B, half a drift A, an
exact Ornstein-Uhlenbeck step O, A, B. Its configurations are exact for harmonic forces at any
stable time step, which is why 1 fs serves for flexible water. Its end-of-step velocities are too
cold by the factor 1 - (omega h)^2 / 4, but the velocities between the first kick and the second
are exact for harmonic forces too: the kinetic temperature reported is that of the mid-step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.protocol import ForceFunction
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2, thermal_energy


@dataclass(frozen=True)
class State:
    """A point of phase space with its forces.

    positions         shape (n_atoms, 3), angstrom, unwrapped
    velocities        shape (n_atoms, 3), angstrom/fs
    evaluation        energy and forces at ``positions``
    kinetic_tensor    sum m v (x) v in eV, shape (3, 3), of the mid-step velocities where the
                      integrator has such
    inner             what the fast part of the forces is, where time steps are multiple
    """

    positions: FloatArray
    velocities: FloatArray
    evaluation: Evaluation
    kinetic_tensor: FloatArray
    inner: Evaluation | None = None

    @property
    def kinetic_energy(self) -> float:
        """Half the trace of the kinetic tensor, eV."""
        return 0.5 * float(np.trace(self.kinetic_tensor))

    @property
    def total_energy(self) -> float:
        """Potential and kinetic energy in eV."""
        return self.evaluation.energy + self.kinetic_energy


def kinetic_energy(velocities: FloatArray, masses: FloatArray) -> float:
    """Return sum m v^2 / 2 in eV for velocities in angstrom/fs and masses in amu."""
    return 0.5 * float(np.trace(kinetic_tensor(velocities, masses)))


def kinetic_tensor(velocities: FloatArray, masses: FloatArray) -> FloatArray:
    """Return sum m v (x) v in eV, shape (3, 3)."""
    return AMU_IN_EV_FS2_PER_ANGSTROM2 * (velocities.T @ (masses[:, None] * velocities))


def maxwell_boltzmann(
    masses: FloatArray, temperature: float, random: np.random.Generator
) -> FloatArray:
    """Draw velocities at ``temperature``, angstrom/fs, shape (n_atoms, 3)."""
    return random.standard_normal((len(masses), 3)) * _thermal_speeds(masses, temperature)


def _thermal_speeds(masses: FloatArray, temperature: float) -> FloatArray:
    variance = thermal_energy(temperature) / (masses * AMU_IN_EV_FS2_PER_ANGSTROM2)
    return np.sqrt(variance)[:, None]


def start(
    positions: FloatArray, velocities: FloatArray, masses: FloatArray, forces: ForceFunction
) -> State:
    """Evaluate the forces at the first point."""
    return State(positions, velocities, forces(positions), kinetic_tensor(velocities, masses))


def langevin_step(
    state: State,
    masses: FloatArray,
    forces: ForceFunction,
    *,
    timestep: float,
    friction: float,
    temperature: float,
    noise: FloatArray,
) -> State:
    """Advance by one BAOAB step.

    noise  standard normal numbers, shape (n_atoms, 3)
    """
    half_kick = timestep / (2 * masses[:, None] * AMU_IN_EV_FS2_PER_ANGSTROM2)
    keep = math.exp(-friction * timestep)
    velocities = state.velocities + half_kick * state.evaluation.forces
    positions = state.positions + 0.5 * timestep * velocities
    velocities = keep * velocities + math.sqrt(1 - keep**2) * noise * _thermal_speeds(
        masses, temperature
    )
    mid_step = kinetic_tensor(velocities, masses)
    positions = positions + 0.5 * timestep * velocities
    evaluation = forces(positions)
    return State(positions, velocities + half_kick * evaluation.forces, evaluation, mid_step)


def verlet_step(
    state: State, masses: FloatArray, forces: ForceFunction, *, timestep: float
) -> State:
    """Advance by one velocity Verlet step (Swope et al., J. Chem. Phys. 76, 637 (1982))."""
    half_kick = timestep / (2 * masses[:, None] * AMU_IN_EV_FS2_PER_ANGSTROM2)
    velocities = state.velocities + half_kick * state.evaluation.forces
    positions = state.positions + timestep * velocities
    evaluation = forces(positions)
    velocities = velocities + half_kick * evaluation.forces
    return State(positions, velocities, evaluation, kinetic_tensor(velocities, masses))
