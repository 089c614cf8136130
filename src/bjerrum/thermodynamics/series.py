"""Osmotic and activity coefficients along a series of concentrations, by every route at hand.

All at the chemical potential of pure water (McMillan-Mayer), c in mol/L of formula units:

virial           phi from the pair virial; ln y = phi - 1 + int_0^c (phi - 1) d ln c'
compressibility  d(c phi)/dc = d ln a/d ln c = A; ln y = int_0^c (A - 1) d ln c'
mu               ln y from the exact chemical potential of HNC, consistent with its virial

An exact theory gives one answer by every route; the difference is the theory's own error bar.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.conversions import average_excess, integrate_excess
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.primitive import limiting_slope
from bjerrum.thermodynamics.structure import (
    Structure,
    inverse_compressibility,
    mean_log_activity_coefficient,
    osmotic_coefficient,
)
from bjerrum.thermodynamics.theories import Theory, find_theory, solve_closed
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

_LOW_ROOTS = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4)
_ROOT_STEP = 0.15
_END_STEPS = (0.02, 0.04)
_CLOSED_STEP = 1e-3


@dataclass(frozen=True)
class Point:
    """One concentration; fields that end in _spread are differences between routes, or None.

    molarity             mol/L of formula units
    osmotic_coefficient  phi, virial route
    ln_y                 mean activity coefficient, molarity scale
    dlna_dlnc            d(c phi)/dc; compressibility route where the theory has one
    residual             largest residual of the equations, dimensionless
    """

    molarity: float
    osmotic_coefficient: float
    ln_y: float
    dlna_dlnc: float
    residual: float
    osmotic_spread: float | None = None
    ln_y_spread: float | None = None
    dlna_dlnc_spread: float | None = None


def solve_series(
    ions: Ions,
    molarities: Sequence[float],
    theory: str = "hnc",
    *,
    on_point: Callable[[int, int], None] | None = None,
) -> list[Point]:
    """Return phi, ln y and d ln a/d ln c at each molarity, in the order given.

    molarities  mol/L of formula units; 0 is the ideal solution
    theory      a name in :data:`bjerrum.thermodynamics.theories.THEORIES`
    on_point    called with (done, total)
    Raises InputError for molarities that are negative or no numbers, NotConverged.
    """
    wanted = np.asarray(molarities, dtype=float)
    if wanted.ndim != 1 or not len(wanted) or not np.all(np.isfinite(wanted) & (wanted >= 0)):
        raise InputError("concentrations must be numbers in mol/L, none negative")
    chosen = find_theory(theory)
    positive = np.unique(wanted[wanted > 0])
    points = {0.0: Point(0.0, 1.0, 0.0, 1.0, 0.0)}
    if len(positive):
        make = _closed_points if chosen.solve is None else _points_from_structures
        points |= {point.molarity: point for point in make(ions, positive, chosen, on_point)}
    return [points[float(c)] for c in wanted]


def _closed_points(
    ions: Ions,
    molarities: FloatArray,
    theory: Theory,
    on_point: Callable[[int, int], None] | None,
) -> list[Point]:
    points = []
    for c in molarities:
        here = solve_closed(ions, c)
        low, high = (
            x * solve_closed(ions, x).osmotic_coefficient
            for x in (c * (1 - _CLOSED_STEP), c * (1 + _CLOSED_STEP))
        )
        slope = (high - low) / (2 * c * _CLOSED_STEP)
        points.append(Point(float(c), here.osmotic_coefficient, here.mean_ln_y, slope, 0.0))
    return points


def _points_from_structures(
    ions: Ions,
    molarities: FloatArray,
    theory: Theory,
    on_point: Callable[[int, int], None] | None,
) -> list[Point]:
    path = _path(molarities)
    structures = _solve_path(ions, path, theory, on_point)
    slope = limiting_slope(
        np.asarray(ions.charges),
        MOL_PER_LITRE_IN_PER_ANGSTROM3 * np.asarray(ions.numbers),
        ions.bjerrum_length,
    )
    phi = np.array([s.phi for s in structures])
    virial = _Route(phi, *_from_osmotic(path, phi, slope))
    residuals = np.array([s.residual for s in structures])
    wanted = np.searchsorted(path, molarities)
    if theory.routes == "virial":
        return [
            Point(float(path[i]), phi[i], virial.ln_y[i], virial.slope[i], residuals[i])
            for i in wanted
        ]
    a = np.array([s.slope for s in structures])
    compressibility = _Route(
        1 + average_excess(path, a - 1, 1.5 * slope), integrate_excess(path, a - 1, 1.5 * slope), a
    )
    ln_y = virial.ln_y
    if theory.routes == "exact-mu":
        ln_y = np.array([s.ln_y for s in structures])
    return [
        Point(
            float(path[i]),
            phi[i],
            ln_y[i],
            a[i],
            residuals[i],
            abs(phi[i] - compressibility.phi[i]),
            abs(ln_y[i] - compressibility.ln_y[i]),
            abs(virial.slope[i] - a[i]),
        )
        for i in wanted
    ]


@dataclass(frozen=True)
class _Route:
    phi: FloatArray
    ln_y: FloatArray
    slope: FloatArray


@dataclass(frozen=True)
class _Solved:
    phi: float
    slope: float
    ln_y: float
    residual: float


def _path(molarities: FloatArray) -> FloatArray:
    """Return the molarities with others between them and zero, close enough to be integrated.

    Two of them stand just below the highest, where a spline's derivative would be poor.
    """
    own = np.sqrt(molarities)
    highest = float(own[-1])
    roots = [*_LOW_ROOTS, *np.arange(_LOW_ROOTS[-1] + _ROOT_STEP, highest, _ROOT_STEP)]
    near_end = [highest * (1 - step) for step in _END_STEPS]
    added = [root for root in roots if root < near_end[-1] and _is_apart(root, own, 0.1 * root)]
    added += [root for root in near_end if _is_apart(root, own, 0.01 * highest)]
    return np.unique(np.concatenate([molarities, np.square(added)]))


def _is_apart(root: float, others: FloatArray, distance: float) -> bool:
    return bool(np.min(np.abs(others - root)) > distance)


def _solve_path(
    ions: Ions,
    path: FloatArray,
    theory: Theory,
    on_point: Callable[[int, int], None] | None,
) -> list[_Solved]:
    assert theory.solve is not None
    solved: list[_Solved] = []
    structure: Structure | None = None
    for done, molarity in enumerate(path, start=1):
        structure = theory.solve(ions, float(molarity), structure)
        phi = osmotic_coefficient(structure)
        has_direct = theory.routes in ("exact-mu", "compressibility")
        solved.append(
            _Solved(
                phi,
                inverse_compressibility(structure) if has_direct else math.nan,
                mean_log_activity_coefficient(structure)
                if theory.routes == "exact-mu"
                else math.nan,
                structure.residual,
            )
        )
        if on_point is not None:
            on_point(done, len(path))
    return solved


def _from_osmotic(path: FloatArray, phi: FloatArray, slope: float) -> tuple[FloatArray, FloatArray]:
    """Return ln y and d(c phi)/dc from phi, by a spline of (phi - 1)/sqrt(c) in sqrt(c)."""
    ln_y = phi - 1 + integrate_excess(path, phi - 1, slope)
    roots = np.sqrt(path)
    ratio = CubicSpline(
        np.concatenate([[0.0], roots]), np.concatenate([[slope], (phi - 1) / roots])
    )
    derivative = phi + roots / 2 * (ratio(roots) + roots * ratio(roots, 1))
    return ln_y, derivative
