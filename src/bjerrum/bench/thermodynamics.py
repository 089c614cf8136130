"""Osmotic coefficients against time: series of every theory, and a Poisson-Boltzmann equation
beside scipy's solve_bvp in the same run.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import scipy
from scipy.integrate import solve_bvp
from scipy.interpolate import CubicSpline

from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import RadialGrid, grid_for
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.poisson_boltzmann import central_ion_potential, reach
from bjerrum.thermodynamics.published import published_pmf
from bjerrum.thermodynamics.series import solve_series

MOLARITIES: Final = tuple(float(c) for c in np.geomspace(1e-3, 6.0, 40))
THEORIES: Final = ("hnc", "mpb", "rhnc", "pb", "dhx", "msa")
PB_MOLARITY: Final = 1.0
PB_TOLERANCE: Final = 1e-5
"""Of solve_bvp: psi is then wrong by 2e-7 kT/e, as ours with 0.05 angstrom between points."""


def bench_thermodynamics(
    *, rounds: int, announce: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Time 40-point series of published LiCl, and one Poisson-Boltzmann equation by two solvers.

    The equation: psi around a cation at 1 mol/L; ours by Newton's method on finite differences,
    the alternative by solve_bvp with the same potentials, prepared for both before, the same domain
    and a tolerance that gives the same error. Rounds alternate; medians are compared, in ms.
    """
    ions = published_pmf("LiCl").ions()
    series: dict[str, Any] = {}
    for done, theory in enumerate(THEORIES, start=1):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        points = solve_series(ions, MOLARITIES, theory)
        series[theory] = {
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": time.process_time() - cpu_begin,
            "largest_residual": max(float(point.residual) for point in points),
        }
        announce("Series of 40 concentrations", done, len(THEORIES))
    ours_ms, alternative_ms, ours, alternative = _race(ions, rounds, announce)
    r = alternative.r
    difference = CubicSpline(ours.r, ours.psi)(r) - alternative.psi
    return {
        "what": "thermodynamics",
        "ratio": float(np.median(alternative_ms) / np.median(ours_ms)),
        "ours": float(np.median(ours_ms)),
        "alternative": float(np.median(alternative_ms)),
        "unit": "ms",
        "details": {
            "alternative_name": f"scipy.integrate.solve_bvp, tol {PB_TOLERANCE:g}",
            "problem": f"Poisson-Boltzmann around Li+, {PB_MOLARITY:g} mol/L, psi in kT/e",
            "ours_points": len(ours.r),
            "alternative_points": len(r),
            "largest_difference_of_psi_kT": float(np.max(np.abs(difference))),
            "ours_ms": ours_ms,
            "alternative_ms": alternative_ms,
            "series_points": len(MOLARITIES),
            "series": series,
            "scipy": scipy.__version__,
            "machine": platform.processor() or platform.machine(),
        },
    }


class _Potential:
    """psi at distances outside the wall."""

    def __init__(self, r: FloatArray, psi: FloatArray) -> None:
        self.r, self.psi = r, psi


def _race(
    ions: Ions, rounds: int, announce: Callable[[str, int, int], None]
) -> tuple[list[float], list[float], _Potential, _Potential]:
    ours_ms, alternative_ms = [], []
    ours = alternative = _Potential(np.zeros(0), np.zeros(0))
    for index in range(rounds):
        begin = time.perf_counter()
        ours = _ours(ions)
        middle = time.perf_counter()
        alternative = _by_solve_bvp(ions)
        alternative_ms.append(1e3 * (time.perf_counter() - middle))
        ours_ms.append(1e3 * (middle - begin))
        announce("Poisson-Boltzmann, ours and solve_bvp", index + 1, rounds)
    return ours_ms, alternative_ms, ours, alternative


def _ours(ions: Ions) -> _Potential:
    grid = _grid(ions)
    psi, _ = central_ion_potential(ions, PB_MOLARITY, 0, grid)
    return _Potential(grid.r, psi)


def _grid(ions: Ions) -> RadialGrid:
    return grid_for(ions.screening(PB_MOLARITY), shortest=reach(ions))


def _by_solve_bvp(ions: Ions) -> _Potential:
    """Solve y'' = -4 pi l_B r sum z rho exp(-w - z y/r) from the innermost wall outwards.

    Inside it there is no charge: y = z l_B + y'(r) r.
    """
    rho, z = ions.densities(PB_MOLARITY), np.asarray(ions.charges)
    kappa = ions.screening(PB_MOLARITY)
    like, unlike = ions.pmfs[0], ions.pmfs[1]
    first = min(like.wall, unlike.wall)
    last = float(_grid(ions).r[-1])
    own = z[0] * ions.bjerrum_length

    def slope(r: FloatArray, y: FloatArray) -> FloatArray:
        psi = y[0] / r
        charge = sum(
            z[j] * rho[j] * np.exp(-pmf.value(r) - z[j] * psi)
            for j, pmf in ((0, like), (1, unlike))
        )
        return np.vstack([y[1], -4 * math.pi * ions.bjerrum_length * r * charge])

    def ends(left: FloatArray, right: FloatArray) -> FloatArray:
        return np.array([left[0] - own - left[1] * first, right[1] + kappa * right[0]])

    r = np.linspace(first, last, 400)
    guess = own * np.exp(-kappa * r)
    found = solve_bvp(
        slope, ends, r, np.vstack([guess, -kappa * guess]), tol=PB_TOLERANCE, max_nodes=100_000
    )
    return _Potential(found.x, found.y[0] / found.x)
