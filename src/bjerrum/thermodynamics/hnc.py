"""The hypernetted-chain theory of ions: Ornstein-Zernike equations with their closure.

    h_ij = c_ij + sum_k rho_k c_ik * h_kj,    g_ij = exp(-beta u_ij + h_ij - c_ij + B_ij)

with B = 0 (van Leeuwen, Groeneveld & de Boer 1959) or a given bridge function. The Coulomb part
is split as lB/r = lB erf(a r)/r + lB erfc(a r)/r (Ng, J. Chem. Phys. 61, 2680 (1974)), so that only
short-ranged functions are transformed.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.special import erf, erfc

from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import RadialGrid, grid_for, resample
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.iteration import TOLERANCE, find_root
from bjerrum.thermodynamics.structure import LARGEST, NotConverged, Structure

SPLIT: Final = 0.6
"""1/angstrom, a of the Coulomb splitting; results do not depend on it."""
_SMALLEST_STEP: Final = 0.02
"""Of ln c, when a concentration is approached in steps."""
_FIRST_MOLARITY: Final = 0.01


class _Equations:
    """The fixed-point map of one solution: h - c (short-range part) to its next value."""

    def __init__(
        self, ions: Ions, molarity: float, grid: RadialGrid, bridge: FloatArray | None
    ) -> None:
        r, k = grid.r, grid.k
        self.ions, self.grid = ions, grid
        self.rho = ions.densities(molarity)
        self.weights = ions.boltzmann(grid)
        self.long = ions.coulomb * erf(SPLIT * r) / r
        self.long_k = ions.coulomb * 4 * math.pi * np.exp(-(k**2) / (4 * SPLIT**2)) / k**2
        self.short = -ions.coulomb * erfc(SPLIT * r) / r
        if bridge is not None:
            self.short = self.short + resample(bridge, grid.n)
        kappa = ions.screening(molarity)
        self.debye = ions.coulomb * -np.expm1(-kappa * r) / r - self.long

    def cavity(self, indirect: FloatArray) -> FloatArray:
        return indirect + self.short

    def total(self, indirect: FloatArray) -> FloatArray:
        return self.weights * np.exp(np.minimum(self.cavity(indirect), LARGEST)) - 1.0

    def next(self, indirect: FloatArray) -> FloatArray:
        direct_k = self.grid.to_k(self.total(indirect) - indirect)
        total_k, _ = ornstein_zernike(direct_k - self.long_k, self.rho)
        return self.grid.to_r(total_k - direct_k)

    def residual(self, indirect: FloatArray) -> FloatArray:
        change = self.next(indirect) - indirect
        if not np.all(np.isfinite(change)):
            raise FloatingPointError
        return change

    def is_stable(self, indirect: FloatArray) -> bool:
        """Tell whether every fluctuation costs free energy: I - rho C positive definite."""
        direct_k = self.grid.to_k(self.total(indirect) - indirect)
        _, smallest = ornstein_zernike(direct_k - self.long_k, self.rho)
        return smallest > 0


def ornstein_zernike(c: FloatArray, rho: FloatArray) -> tuple[FloatArray, float]:
    """Return h(k) = (1 - c rho)^-1 c by pair, and the smallest determinant of 1 - c rho.

    c    direct correlation functions of the upper triangle, shape (n_pairs, n), angstrom^3
    rho  number densities, shape (n_species,)
    """
    if len(rho) == 2:
        determinant = (1 - rho[0] * c[0]) * (1 - rho[1] * c[2]) - rho[0] * rho[1] * c[1] ** 2
        cross = c[0] * c[2] - c[1] ** 2
        h = np.stack([c[0] - rho[1] * cross, c[1], c[2] - rho[0] * cross]) / determinant
        return h, float(determinant.min())
    upper = np.triu_indices(len(rho))
    matrix = np.empty((c.shape[1], len(rho), len(rho)))
    matrix[:, upper[0], upper[1]] = matrix[:, upper[1], upper[0]] = c.T
    response = np.eye(len(rho)) - matrix * rho
    solved = np.linalg.solve(response, matrix).astype(np.float64)[:, upper[0], upper[1]].T
    return solved, float(np.linalg.det(response).min())


def solve_hnc(
    ions: Ions,
    molarity: float,
    *,
    start: Structure | None = None,
    bridge: FloatArray | None = None,
    grid: RadialGrid | None = None,
) -> Structure:
    """Return the pair structure at one concentration.

    molarity  mol/L of formula units
    start     solution at a nearby concentration
    bridge    B(r) by pair on the same spacing, shape (n_pairs, any length), zero beyond
    Raises NotConverged, with the last residual and the highest concentration that was reached.
    """
    try:
        return _solve_at(ions, molarity, start, bridge, grid)
    except NotConverged:
        return _climb(ions, molarity, start, bridge, grid)


def _solve_at(
    ions: Ions,
    molarity: float,
    start: Structure | None,
    bridge: FloatArray | None,
    grid: RadialGrid | None,
    *,
    quick: bool = False,
) -> Structure:
    grid = grid or grid_for(ions.screening(molarity))
    equations = _Equations(ions, molarity, grid, bridge)
    guess = equations.debye
    if start is not None:
        guess = guess + _excess_over_debye(start, grid)
    indirect, residual = find_root(equations.residual, guess, quick=quick)
    if residual > TOLERANCE or not equations.is_stable(indirect):
        raise _not_converged(molarity, residual, 0.0 if start is None else start.molarity)
    return Structure(
        ions=ions,
        molarity=molarity,
        grid=grid,
        cavity=equations.cavity(indirect),
        weights=equations.weights,
        residual=residual,
        direct=equations.total(indirect) - indirect,
        indirect=indirect + equations.long,
    )


def _excess_over_debye(start: Structure, grid: RadialGrid) -> FloatArray:
    assert start.indirect is not None
    r, kappa = start.grid.r, start.ions.screening(start.molarity)
    excess = start.indirect + start.ions.coulomb * np.expm1(-kappa * r) / r
    return resample(excess, grid.n)


def _climb(
    ions: Ions,
    molarity: float,
    start: Structure | None,
    bridge: FloatArray | None,
    grid: RadialGrid | None,
) -> Structure:
    """Reach a concentration by steps of ln c that shrink where a step fails."""
    if bridge is not None:
        raise _not_converged(molarity, math.inf, 0.0 if start is None else start.molarity)
    try:
        first = min(_FIRST_MOLARITY, molarity / 2)
        here = start or _solve_at(ions, first, None, None, None, quick=True)
    except NotConverged as stopped:
        raise _not_converged(molarity, stopped.residual, 0.0) from stopped
    step = math.log(molarity / here.molarity) / 2
    while here.molarity != molarity:
        ahead = here.molarity * math.exp(step)
        if abs(math.log(molarity / here.molarity)) <= abs(step) * 1.001:
            ahead = molarity
        try:
            last = grid if ahead == molarity else None
            here = _solve_at(ions, ahead, here, None, last, quick=True)
            step *= 1.5
        except NotConverged as stopped:
            step /= 2
            if abs(step) < _SMALLEST_STEP:
                raise _not_converged(molarity, stopped.residual, here.molarity) from stopped
    return here


def _not_converged(molarity: float, residual: float, reached: float) -> NotConverged:
    how = f"last residual {residual:.1e}" if residual > TOLERANCE else "an unstable solution"
    return NotConverged(
        f"HNC found no solution at {molarity:.4g} mol/L ({how}); the highest concentration solved "
        f"is {reached:.4g} mol/L; the ions attract each other too strongly for this theory, or "
        "the potentials of mean force are wrong",
        residual=residual,
        concentration=reached,
    )
