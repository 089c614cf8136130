"""A classical constant-NVT run, and whether its temperature and energy have settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.signal import detrend
from scipy.stats import linregress

from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray

SAMPLE_INTERVAL_PS: Final = 0.1
_N_BLOCKS: Final = 10
_MIN_SAMPLES: Final = 8 * _N_BLOCKS


@dataclass(frozen=True)
class NvtRun:
    """What a constant-NVT run leaves behind, sampled at equal intervals.

    positions          shape (n_samples, n_atoms, 3), angstrom, molecules whole, not wrapped
    time_ps            shape (n_samples,)
    temperature        kinetic temperature, shape (n_samples,), K
    potential_energy   shape (n_samples,), eV
    n_degrees_of_freedom  3 per moving atom, minus constraints
    """

    positions: FloatArray
    time_ps: FloatArray
    temperature: FloatArray
    potential_energy: FloatArray
    n_degrees_of_freedom: int


def check_nvt(run: NvtRun, *, temperature: float) -> dict[str, float]:
    """Check a run at its seam: right temperature, finite and level potential energy.

    Over the second half of the run, from the means of ten blocks with standard errors s:
    |<T> - target| <= 5 s + 1 % of the target, and the potential energy's fitted line rises or
    falls by no more than 5 s + half the scatter of the instantaneous energy about that line.

    Returns the figures and their limits. Raises PhysicsCheckFailed when one is violated,
    InputError if the run has too few samples to tell.
    """
    require_enough(len(run.time_ps))
    half = len(run.time_ps) // 2
    if not (np.isfinite(run.potential_energy).all() and np.isfinite(run.temperature).all()):
        raise PhysicsCheckFailed("classical dynamics: energy or temperature is not finite")
    temperatures = _block_means(run.temperature[-half:])
    energies = run.potential_energy[-half:]
    scatter = float(np.std(detrend(energies)))
    line = linregress(np.linspace(0, 1, _N_BLOCKS), _block_means(energies))
    figures = {
        "temperature_kelvin": float(temperatures.mean()),
        "temperature_limit_kelvin": 5 * _standard_error(temperatures) + 0.01 * temperature,
        "potential_energy_ev": float(energies.mean()),
        "potential_energy_drift_ev": float(line.slope),
        "potential_energy_drift_limit_ev": 5 * float(line.stderr) + 0.5 * scatter,
    }
    if abs(figures["temperature_kelvin"] - temperature) > figures["temperature_limit_kelvin"]:
        raise PhysicsCheckFailed(
            f"classical dynamics: mean temperature {figures['temperature_kelvin']:.1f} K, expected "
            f"{temperature:.1f} +- {figures['temperature_limit_kelvin']:.1f} K; "
            "run longer or shorten the timestep"
        )
    if abs(figures["potential_energy_drift_ev"]) > figures["potential_energy_drift_limit_ev"]:
        raise PhysicsCheckFailed(
            f"classical dynamics: potential energy still drifts by "
            f"{figures['potential_energy_drift_ev']:.2f} eV (limit "
            f"{figures['potential_energy_drift_limit_ev']:.2f} eV); equilibrate longer"
        )
    return figures


def require_enough(n_samples: int) -> None:
    """Raise InputError for a run with too few samples to check."""
    if n_samples < _MIN_SAMPLES:
        raise InputError(
            f"expected at least {_MIN_SAMPLES} samples to check a run, got {n_samples}; "
            f"at the default interval that is {_MIN_SAMPLES * SAMPLE_INTERVAL_PS:g} ps"
        )


def _block_means(series: FloatArray) -> FloatArray:
    return np.array([block.mean() for block in np.array_split(series, _N_BLOCKS)])


def _standard_error(blocks: FloatArray) -> float:
    return float(blocks.std(ddof=1) / np.sqrt(len(blocks)))
