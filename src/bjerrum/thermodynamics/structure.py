"""Pair structure of a solution of ions, and what follows from it whatever theory made it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.interpolate import CubicSpline

from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import RadialGrid
from bjerrum.thermodynamics.ions import Ions

LARGEST: Final = 200.0
"""Of ln y: it grows beyond this only deep inside walls, where g is zero."""


class NotConverged(PhysicsCheckFailed):
    """A theory found no solution; it carries where it stopped.

    residual       the last largest residual, dimensionless
    concentration  the highest mol/L that was solved, zero if none
    """

    def __init__(self, message: str, *, residual: float, concentration: float) -> None:
        super().__init__(message)
        self.residual = residual
        self.concentration = concentration


@dataclass(frozen=True, eq=False)
class Structure:
    """Distribution functions of one solution.

    molarity  mol/L of formula units
    cavity    ln y(r) = ln g(r) + w(r), with the Coulomb part in it: smooth through walls,
              shape (n_pairs, n)
    weights   exp(-w) on the grid, shape (n_pairs, n)
    residual  largest change of the last iteration, dimensionless
    direct    short-range part of the direct correlation function, c + z z l_B erf(a r)/r, and
    indirect  h - c, shape (n_pairs, n): of theories that solve the Ornstein-Zernike equation
    """

    ions: Ions
    molarity: float
    grid: RadialGrid
    cavity: FloatArray
    weights: FloatArray
    residual: float
    direct: FloatArray | None = None
    indirect: FloatArray | None = None

    @property
    def total(self) -> FloatArray:
        """h(r) = g(r) - 1 as weights on the grid, shape (n_pairs, n)."""
        return self.weights * np.exp(np.minimum(self.cavity, LARGEST)) - 1.0

    @property
    def g(self) -> FloatArray:
        """Pair distribution of each pair, with sharp walls, shape (n_pairs, n)."""
        sharp = np.exp(-np.array([pmf.value(self.grid.r) for pmf in self.ions.pmfs]))
        return sharp * np.exp(np.minimum(self.cavity, LARGEST))


def osmotic_coefficient(structure: Structure) -> float:
    """Return the osmotic coefficient at constant chemical potential of water, by the virial.

    phi = 1 - (2 pi/3) sum_ij x_i rho_j int r^3 g_ij d(beta u_ij)/dr dr. With y = g exp(w) the
    short-range part is + int r^3 y d(exp(-w))/dr dr: hard walls contribute r^3 y at the wall, and
    by neutrality the Coulomb part is + z_i z_j l_B int r h_ij dr (Friedman 1962).
    """
    ions, grid = structure.ions, structure.grid
    coulomb = ions.coulomb[:, 0] * (grid.dr * (structure.total @ grid.r))
    short = np.array([_short_range_virial(structure, p) for p in range(len(ions.pmfs))])
    weights = ions.pair_weights(structure.molarity)
    return 1.0 + 2 * math.pi / 3 * float(weights @ (short + coulomb))


def _short_range_virial(structure: Structure, pair: int) -> float:
    """Return int r^3 y d(exp(-w))/dr dr, steps included."""
    pmf, grid = structure.ions.pmfs[pair], structure.grid
    quadrature = structure.ions.quadratures(grid.dr)[pair]
    near = slice(max(int(pmf.wall / grid.dr) - 20, 0), int(pmf.end / grid.dr) + 20)
    cavity = CubicSpline(grid.r[near], structure.cavity[pair, near])
    smooth = float(quadrature.virial @ np.exp(cavity(quadrature.r)))
    return smooth + sum(
        height * distance**3 * math.exp(float(cavity(distance))) for distance, height in pmf.steps
    )


def inverse_compressibility(structure: Structure) -> float:
    """Return d(beta Pi)/d rho_t at fixed composition: d(c phi)/dc, and d ln a/d ln c of a salt.

    1 - sum_ij x_i rho_j int c_ij d3r; the Coulomb tail of c drops out by neutrality. Equal to
    1/(1 + rho_c G_CC) of Kirkwood-Buff theory (Kusalik & Patey, J. Chem. Phys. 86, 5110 (1987)).
    """
    if structure.direct is None:
        raise TypeError("this theory has no direct correlation function")
    weights = structure.ions.pair_weights(structure.molarity)
    return 1.0 - float(weights @ structure.grid.integral(structure.direct))


def log_activity_coefficients(structure: Structure) -> FloatArray:
    """Return ln y of each species on the molarity scale, exact for HNC.

    ln y_i = sum_j rho_j int [h_ij (h_ij - c_ij)/2 - c_s,ij] d3r (Morita & Hiroike 1960; the tail
    of c, -z_i z_j l_B/r, drops out by neutrality).
    """
    if structure.direct is None or structure.indirect is None:
        raise TypeError("this theory has no direct correlation function")
    integrals = structure.grid.integral(structure.total * structure.indirect / 2 - structure.direct)
    rho = structure.ions.densities(structure.molarity)
    ln_y = np.zeros(len(rho))
    for (i, j), value in zip(structure.ions.pairs, integrals, strict=True):
        ln_y[i] += rho[j] * value
        if i != j:
            ln_y[j] += rho[i] * value
    return ln_y


def mean_log_activity_coefficient(structure: Structure) -> float:
    """Return ln y of the formula unit: the mean over its ions."""
    numbers = np.asarray(structure.ions.numbers)
    return float(log_activity_coefficients(structure) @ numbers / numbers.sum())


def structure_factors(structure: Structure) -> FloatArray:
    """Return S_ij(k) = delta_ij + sqrt(rho_i rho_j) h_ij(k) on grid.k, shape (n_pairs, n)."""
    rho = structure.ions.densities(structure.molarity)
    h = structure.grid.to_k(structure.total)
    return np.array(
        [
            float(i == j) + math.sqrt(rho[i] * rho[j]) * h[p]
            for p, (i, j) in enumerate(structure.ions.pairs)
        ]
    )


def charge_structure_factor(structure: Structure) -> FloatArray:
    """Return S_ZZ(k) = sum_ij z_i z_j sqrt(x_i x_j) S_ij(k) / sum_i x_i z_i^2.

    S_ZZ -> k^2/kappa^2 as k -> 0 (Stillinger & Lovett, J. Chem. Phys. 49, 1991 (1968)).
    """
    ions = structure.ions
    x = ions.densities(structure.molarity)
    x = x / x.sum()
    factors = structure_factors(structure)
    total = np.zeros(structure.grid.n)
    for p, (i, j) in enumerate(ions.pairs):
        share = ions.charges[i] * ions.charges[j] * math.sqrt(x[i] * x[j])
        total += (1 if i == j else 2) * share * factors[p]
    return total / float(x @ np.square(ions.charges))
