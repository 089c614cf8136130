"""Constant pressure by stochastic cell rescaling of the volume.

    d(ln V) = -(beta / tau) (P0 - P) dt + sqrt(2 kT beta / (V tau)) dW,   P = N kT / V + tr(W) / 3 V

Bernetti & Bussi, J. Chem. Phys. 153, 114107 (2020), isotropic, in ln V. Here the kinetic part of
the pressure is its average at given volume, and velocities stay as they are: positions scale, and
the density V^N exp(-(U + P0 V) / kT) is stationary (the thermostat knows nothing of the volume).
"""

from __future__ import annotations

import math

import numpy as np

from bjerrum.estimate import FloatArray
from bjerrum.units import EV_PER_ANGSTROM3_IN_BAR, PS_IN_FS, thermal_energy

COMPRESSIBILITY = 4.5e-5
"""1/bar, of water near room temperature; it sets how fast the volume moves, not where to."""
LARGEST_STEP = 0.15
"""Of ln V in one move: a run that wants more is not near equilibrium."""


def pressure_tensor(kinetic: FloatArray, virial: FloatArray, volume: float) -> FloatArray:
    """Return (sum m v (x) v + W) / V in eV/angstrom^3, shape (3, 3)."""
    return (kinetic + 0.5 * (virial + virial.T)) / volume


def volume_step(
    volume: float,
    virial: FloatArray,
    n_atoms: int,
    *,
    temperature: float,
    pressure_bar: float,
    time_ps: float,
    interval_fs: float,
    noise: float,
) -> float:
    """Return the factor by which lengths change, for one step of the volume.

    volume   angstrom^3
    virial   W in eV, shape (3, 3)
    noise    standard normal number
    """
    kT = thermal_energy(temperature)
    rate = COMPRESSIBILITY * EV_PER_ANGSTROM3_IN_BAR * interval_fs / (time_ps * PS_IN_FS)
    target = pressure_bar / EV_PER_ANGSTROM3_IN_BAR
    pressure = (n_atoms * kT + float(np.trace(virial)) / 3) / volume
    change = -rate * (target - pressure) + math.sqrt(2 * kT * rate / volume) * noise
    return math.exp(min(LARGEST_STEP, max(-LARGEST_STEP, change)) / 3)
