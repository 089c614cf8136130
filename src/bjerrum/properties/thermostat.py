"""Did the thermostat hold? The sampled temperature against the one that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bjerrum.checks import Check
from bjerrum.errors import SeriesTooShort
from bjerrum.properties.statistics import estimate_mean
from bjerrum.trajectory import read_h5md

TOLERANCE = 0.02
"""Relative error of the mean kinetic temperature that integration at a sound step may leave."""
SIGMAS = 4.0


def temperature_check(trajectories: Sequence[Path], skip_ps: float, target: float) -> Check:
    """Compare the mean kinetic temperature of the analysed part with the thermostat's.

    The limit is 2 % of the target plus four standard errors of the mean. Where the series is too
    short to show its own error, that of one independent sample per replica is used, which is
    known: var(T) = 2 T^2 / (3 N) for N atoms in the canonical ensemble.
    """
    series, n_atoms = [], 0
    for path in trajectories:
        chunks = list(read_h5md(path))
        n_atoms = len(chunks[0].symbols)
        times = np.concatenate([chunk.times_ps for chunk in chunks])
        values = np.concatenate([chunk.observables["kinetic_temperature"] for chunk in chunks])
        series.append(values[times > skip_ps])
    mean = float(np.mean(np.concatenate(series)))
    try:
        error = estimate_mean(series, unit="K").standard_error
    except SeriesTooShort:
        error = target * np.sqrt(2 / (3 * n_atoms * len(series)))
    return Check(
        "sampled temperature",
        abs(mean - target),
        TOLERANCE * target + SIGMAS * error,
        "K",
        f"mean kinetic temperature {mean:.1f} +- {error:.1f} K against {target:g} K",
    )
