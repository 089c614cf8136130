"""Did the thermostat hold? The sampled temperature against the one that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bjerrum.checks import Check
from bjerrum.properties.statistics import estimate_mean
from bjerrum.trajectory import read_h5md

TOLERANCE = 0.02
"""Relative error of the mean kinetic temperature that integration at a sound step may leave."""
SIGMAS = 4.0


def temperature_check(trajectories: Sequence[Path], skip_ps: float, target: float) -> Check:
    """Compare the mean kinetic temperature of the analysed part with the thermostat's.

    The limit is 2 % of the target plus four standard errors of the mean.
    """
    series = []
    for path in trajectories:
        chunks = list(read_h5md(path))
        times = np.concatenate([chunk.times_ps for chunk in chunks])
        values = np.concatenate([chunk.observables["kinetic_temperature"] for chunk in chunks])
        series.append(values[times > skip_ps])
    mean = estimate_mean(series, unit="K")
    return Check(
        "sampled temperature",
        abs(mean.value - target),
        TOLERANCE * target + SIGMAS * mean.standard_error,
        "K",
        f"mean kinetic temperature {mean.value:.1f} +- {mean.standard_error:.1f} K against "
        f"{target:g} K",
    )
