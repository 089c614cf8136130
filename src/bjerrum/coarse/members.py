"""The model's own error: what the members of its committee say differently.

    error^2 = var over members of their values - var of their sampling

beside the sampling error of the model itself. The members were fitted to blocks of the all-atom
forces drawn with replacement, and share the model's polish on g(r): the spread says what other
forces of as many frames would have changed. Of a polished model it is an upper bound, as the g(r)
would have pulled each member back to itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from bjerrum.coarse.dilution import ions_of_model, short_range_pmfs
from bjerrum.coarse.model import CoarseModel
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.refine import PAIRS
from bjerrum.coarse.simulate import BIN_WIDTH, IonBox, Measured, Sampling, simulate_ions
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.units import bjerrum_length

SMOOTHED: Final = 10
"""Bins of g(r) over which variances are averaged before noise is taken off: half an angstrom."""
MINIMA_BELOW: Final = 7.0
"""Angstrom to which minima of PMFs are listed."""

Announce = Callable[[str, int, int], None]


def committee_of(model: CoarseModel) -> list[CoarsePotential]:
    """Return the members; none of a committee of one, which says nothing of its error."""
    members = model.members
    return members if len(members) > 1 else []


def run_members(
    members: Sequence[CoarsePotential],
    boxes: Sequence[IonBox],
    sampling: Sampling,
    *,
    threads: int = 1,
    announce: Announce = lambda stage, done, total: None,
) -> list[list[Measured]]:
    """Run every member in every box, together about as long as the model itself.

    Returns the runs of each member; a member whose ions collapse is left out.
    """
    each = max(2, round(sampling.replicas / max(1, len(members))))
    found = []
    for number, member in enumerate(members):
        announce("Members of the committee", number, len(members))
        own = replace(sampling, replicas=each, seed=sampling.seed + 1000 * (number + 1))
        try:
            found.append(simulate_ions(member, boxes, own, threads=threads))
        except PhysicsCheckFailed:
            continue
    announce("Members of the committee", len(members), len(members))
    return found


def own_error(values: Sequence[float], noise: float) -> dict[str, float | int] | None:
    """Return the spread of members' values beyond their noise; None for fewer than two.

    noise  standard error of one member's value
    ``resolution`` is the error that could not be told from none with so much noise.
    """
    n = len(values)
    if n < 2:
        return None
    spread = float(np.var(values, ddof=1)) - noise**2
    return {
        "standard_error": math.sqrt(max(0.0, spread)),
        "resolution": noise * (2 / (n - 1)) ** 0.25,
        "members": n,
    }


def error_of_distributions(
    runs: Sequence[Measured], low: float, high: float
) -> dict[str, float] | None:
    """Return the expected int |dg| dr between a member's g(r) and the truth by pair, angstrom.

    sqrt(2/pi) int s(r) dr with s^2 the variance over members less that of their sampling.

    runs       one for each member, in one box
    low, high  limits of r, angstrom
    """
    if len(runs) < 2:
        return None
    inside = (runs[0].r >= low) & (runs[0].r <= high)
    means = np.array([run.g().mean(axis=0)[:, inside] for run in runs])
    noise = np.mean([run.g()[:, :, inside].var(axis=0, ddof=1) / len(run.g()) for run in runs], 0)
    excess = means.var(axis=0, ddof=1) - noise
    parts = np.array_split(np.arange(excess.shape[1]), max(1, excess.shape[1] // SMOOTHED))
    smooth = np.array([[row[part].mean() * len(part) ** 2 for part in parts] for row in excess])
    total = np.sqrt(np.maximum(smooth, 0.0)).sum(axis=1) * math.sqrt(2 / math.pi) * BIN_WIDTH
    return dict(zip(PAIRS, total.tolist(), strict=True))


def pmf_minima(
    potential: CoarsePotential, members: Sequence[CoarsePotential], *, temperature: float
) -> dict[str, list[dict[str, float | None]]]:
    """Return the minima of the full PMFs at infinite dilution by pair, with the model's own error.

    r_angstrom, w_kT (Coulomb part included), model_standard_error_kT: the standard deviation of the
    members' values there, None without members.
    """
    cation, anion = ions = ions_of_model(potential)
    r = np.round(np.arange(1.5, MINIMA_BELOW, 0.02), 4)
    charge = dict(potential.baseline.charges)
    length = bjerrum_length(potential.baseline.dielectric_constant, temperature)
    curves = [
        short_range_pmfs(p, r, temperature=temperature, ions=ions) for p in (potential, *members)
    ]
    result = {}
    for k, (a, b) in enumerate(((cation, cation), (cation, anion), (anion, anion))):
        coulomb = charge.get(a, 0.0) * charge.get(b, 0.0) * length / r
        own = curves[0][k] + coulomb
        others = np.array([curve[k] + coulomb for curve in curves[1:]])
        at = np.flatnonzero(np.isfinite(own[:-2]) & (own[1:-1] < own[:-2]) & (own[1:-1] < own[2:]))
        result[PAIRS[k]] = [_minimum(r, own, others, int(index) + 1) for index in at]
    return result


def _minimum(
    r: FloatArray, own: FloatArray, others: FloatArray, index: int
) -> dict[str, float | None]:
    spread = float(others[:, index].std(ddof=1)) if len(others) > 1 else None
    return {
        "r_angstrom": float(r[index]),
        "w_kT": float(own[index]),
        "model_standard_error_kT": spread if spread is not None and math.isfinite(spread) else None,
    }


def errors_of_points(
    points: Sequence[Any], members: Sequence[Sequence[Any]], replicas: int
) -> list[dict[str, Any]]:
    """Return the model's own error of d ln a/d ln c, pressure and screening length of each point.

    points    of the model, as :func:`bjerrum.coarse.series.concentration_series` returns them
    members   the same of each member
    replicas  of the model's runs
    """
    found = []
    for index, point in enumerate(points):
        others = [series[index] for series in members]
        more = math.sqrt(replicas / len(others[0].measured.counts)) if others else 1.0
        derivatives = {
            name: own_error(
                [o.dlna_dlnc[name].value for o in others if name in o.dlna_dlnc],
                more * estimate.standard_error,
            )
            for name, estimate in point.dlna_dlnc.items()
        }
        pressures = own_error(
            [o.pressure.value for o in others], more * point.pressure.standard_error
        )
        lengths = [o.screening.length[0] for o in others if o.screening.length is not None]
        length = point.screening.length
        half = point.measured.box.edge / 2
        found.append(
            {
                "members": len(others),
                "dlna_dlnc_mcmillan_mayer": derivatives,
                "osmotic_pressure_MPa": pressures,
                "screening_length_angstrom": None
                if length is None
                else own_error(lengths, more * length[1]),
                "integrated_dg_angstrom": error_of_distributions(
                    [o.measured for o in others], 1.5, half
                ),
            }
        )
    return found
