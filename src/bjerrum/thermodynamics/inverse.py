"""From distribution functions at finite concentration back to effective pair potentials.

The closure read backwards: with c from the Ornstein-Zernike equations for the given h,

    w_ij(r) = (h_ij - c_ij - z_i z_j l_B/r) - ln g_ij

is the pair potential (without its Coulomb part) that HNC would need for these g. A measured g ends
somewhere; beyond, ions are taken to interact by the screened Coulomb law alone, and h follows from
the closure with w = 0, self-consistently (after Jolly, Freasier & Bearman, Chem. Phys. Lett. 37,
500 (1976), who continue g(r) with a closure).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import erf, erfc

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import grid_for
from bjerrum.thermodynamics.hnc import SPLIT, ornstein_zernike
from bjerrum.thermodynamics.ions import salt_numbers
from bjerrum.thermodynamics.iteration import TOLERANCE, find_root
from bjerrum.thermodynamics.structure import LARGEST, NotConverged
from bjerrum.thermodynamics.table import PmfTable
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

SMALLEST_G: Final = 1e-4
"""Below this g says nothing about the potential: w is inf there."""
_PAIRS: Final = ("cc", "ca", "aa")


@dataclass(frozen=True)
class InverseResult:
    """Effective potentials w in kT, shape (3, n), inf in the core, and the last residual.

    r  angstrom, up to where the distribution functions reached
    """

    r: FloatArray
    w: FloatArray
    residual: float

    def table(self, origin: str = "inverse HNC") -> PmfTable:
        """Return a table as `bjerrum solve` takes it."""
        return PmfTable(self.r, dict(zip(_PAIRS, self.w, strict=True)), {}, origin)


def inverse_hnc(
    r: FloatArray,
    g: FloatArray,
    molarity: float,
    bjerrum_length: float,
    *,
    charges: tuple[float, float] = (1.0, -1.0),
) -> InverseResult:
    """Return the effective pair potentials of a salt from its ion-ion distribution functions.

    r         distances, increasing, shape (n,), angstrom
    g         g_cc, g_ca, g_aa there, shape (3, n), corrected for the finite box
    molarity  mol/L of formula units
    Raises InputError for unusable arrays, NotConverged.
    """
    distances, values = _checked(r, g)
    numbers = np.asarray(salt_numbers(*charges), dtype=float)
    z = np.asarray(charges)
    rho = molarity * MOL_PER_LITRE_IN_PER_ANGSTROM3 * numbers
    kappa = math.sqrt(4 * math.pi * bjerrum_length * float(rho @ z**2))
    grid = grid_for(kappa)
    coulomb = bjerrum_length * np.array([[z[0] ** 2], [z[0] * z[1]], [z[1] ** 2]])
    known = grid.r <= distances[-1]
    given = _on_grid(distances, values, grid.r[known])
    long = coulomb * erf(SPLIT * grid.r) / grid.r
    long_k = coulomb * 4 * math.pi * np.exp(-(grid.k**2) / (4 * SPLIT**2)) / grid.k**2
    short = -coulomb * erfc(SPLIT * grid.r) / grid.r

    def residual(indirect: FloatArray) -> FloatArray:
        h = np.exp(np.minimum(indirect + short, LARGEST)) - 1.0
        h[:, known] = given - 1.0
        direct = grid.to_k(h - indirect)
        total, _ = ornstein_zernike(direct - long_k, rho)
        change = grid.to_r(total - direct) - indirect
        if not np.all(np.isfinite(change)):
            raise FloatingPointError
        return change

    start = coulomb * -np.expm1(-kappa * grid.r) / grid.r - long
    indirect, size = find_root(residual, start)
    if size > TOLERANCE:
        raise NotConverged(
            f"inverse HNC at {molarity:.4g} mol/L did not converge (last residual {size:.1e}); the "
            "distribution functions may be too noisy or contradict electroneutrality",
            residual=size,
            concentration=0.0,
        )
    with np.errstate(divide="ignore"):
        w = (indirect + short)[:, known] - np.log(given)
    return InverseResult(grid.r[known], np.where(_core(given), np.inf, w), size)


def _checked(r: FloatArray, g: FloatArray) -> tuple[FloatArray, FloatArray]:
    distances, values = np.asarray(r, dtype=float), np.asarray(g, dtype=float)
    if values.shape != (3, len(distances)) or not np.all(np.isfinite(values)):
        raise InputError(
            f"expected finite g of shape (3, {len(distances)}) for cc, ca, aa, got {values.shape}"
        )
    if np.any(np.diff(distances) <= 0) or distances[0] <= 0:
        raise InputError("distances must be positive and increase")
    if np.any(values < 0):
        raise InputError("a distribution function must not be negative")
    tail = values[:, distances > distances[-1] - 1.0]
    worst = float(np.max(np.abs(tail.mean(axis=1) - 1)))
    if worst > 0.3:
        raise InputError(
            f"the distribution functions end at {distances[-1]:g} angstrom {worst:.2f} away from "
            "1; give them further out, or corrected for the size of the box"
        )
    return distances, values


def _on_grid(r: FloatArray, g: FloatArray, onto: FloatArray) -> FloatArray:
    inside = np.maximum(onto, r[0])
    return np.array([PchipInterpolator(r, row)(inside) for row in g])


def _core(g: FloatArray) -> FloatArray:
    """Tell, by pair, which points lie before the last g that is too small near the origin."""
    first = np.argmax(g > SMALLEST_G, axis=1)
    return np.asarray(np.arange(g.shape[1])[None, :] < first[:, None])
