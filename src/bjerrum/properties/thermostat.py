"""Did the thermostat hold? The sampled temperature against the one that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bjerrum.checks import Check
from bjerrum.trajectory import read_h5md

TOLERANCE = 0.02
"""Relative error of the mean kinetic temperature that integration at a sound step may leave."""
SIGMAS = 4.0


def temperature_check(
    trajectories: Sequence[Path], *, skip_ps: float, target: float, friction_per_ps: float
) -> Check:
    """Compare the mean kinetic temperature of the analysed part with the thermostat's.

    The limit is 2 % of the target plus four standard errors that a run in equilibrium would have:
    var(T) = 2 T^2 / (3 N) for N atoms, one independent sample per correlation time 1 / (2 gamma)
    of a Langevin thermostat (exchange with the potential energy only makes it shorter). The
    scatter of the run itself is not used: a run that is still heating or cooling has a large one.
    """
    means, n_independent, n_atoms = [], 0.0, 0
    for path in trajectories:
        chunks = list(read_h5md(path))
        n_atoms = len(chunks[0].symbols)
        times = np.concatenate([chunk.times_ps for chunk in chunks if chunk.times_ps is not None])
        values = np.concatenate([chunk.observables["kinetic_temperature"] for chunk in chunks])
        used = times > skip_ps
        means.append(values[used].mean())
        n_independent += max(1.0, (times[-1] - skip_ps) * 2 * friction_per_ps)
    error = target * np.sqrt(2 / (3 * n_atoms * n_independent))
    mean = float(np.mean(means))
    return Check(
        "sampled temperature",
        abs(mean - target),
        TOLERANCE * target + SIGMAS * error,
        "K",
        f"mean kinetic temperature {mean:.1f} K against {target:g} K; a run of this length in "
        f"equilibrium has a standard error of {error:.1f} K",
    )
