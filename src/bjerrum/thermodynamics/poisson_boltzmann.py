"""The Poisson-Boltzmann equation around one ion, with potentials of mean force at short range.

For each central ion i, psi_i the electrostatic potential in kT/e, its own included:

    (1/r^2) (r^2 psi_i')' = -4 pi l_B sum_j z_j rho_j exp(-w_ij(r) - z_j psi_i(r)),

r psi_i -> z_i l_B as r -> 0 and psi_i ~ exp(-kappa r)/r far away. For y = r psi this is
y'' = -4 pi l_B r sum_j z_j rho_j exp(-w_ij - z_j y/r), solved by Newton's method on finite
differences. With w a hard core it is the equation of Debye and Hueckel (Phys. Z. 24, 185 (1923)),
there linearised. The differences are Numerov's, of fourth order.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.linalg.lapack import dgtsv

from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import RadialGrid, grid_for
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.structure import NotConverged, Structure

TOLERANCE: Final = 1e-9
"""Of psi in kT/e: largest change of the last Newton step."""
_LARGEST_STEP: Final = 3.0
_MAX_ITERATIONS: Final = 100
_BEYOND: Final = 10.0
_LARGEST_EXPONENT: Final = 200.0


def central_ion_potential(
    ions: Ions,
    molarity: float,
    centre: int,
    grid: RadialGrid,
    *,
    linear: bool = False,
    boltzmann: FloatArray | None = None,
) -> tuple[FloatArray, float]:
    """Return psi(r) around an ion, in kT/e on the grid, and the largest change of the last step.

    centre     index of the central species
    linear     replace exp(-z psi) by 1 - z psi
    boltzmann  ions.boltzmann(grid), if it is at hand
    Raises NotConverged.
    """
    weights = (ions.boltzmann(grid) if boltzmann is None else boltzmann)[_around(ions, centre)]
    z = np.asarray(ions.charges)[:, None]
    charge_weights = z * ions.densities(molarity)[:, None] * weights
    r = grid.r
    kappa, own = ions.screening(molarity), ions.charges[centre] * ions.bjerrum_length
    strength = 4 * math.pi * ions.bjerrum_length * grid.dr**2
    far = 2 * grid.dr * kappa
    y = own * np.exp(-kappa * r)
    change = math.inf
    for _ in range(_MAX_ITERATIONS):
        charge, slope = _charge(y / r, z, charge_weights, linear)
        source, response = strength * r * charge, strength * slope
        lower, upper = 1 + response[:-1] / 12, 1 + response[1:] / 12
        residual = -2 * y + 10 / 12 * source
        residual[:-1] += y[1:] + source[1:] / 12
        residual[1:] += y[:-1] + source[:-1] / 12
        residual[0] += own
        residual[-1] += y[-2] - far * y[-1] + source[-2] / 12
        diagonal = -2 + 10 / 12 * response
        diagonal[-1] -= far
        lower[-1] *= 2
        *_, step, failure = dgtsv(lower, diagonal, upper, -residual)
        change = math.inf if failure else float(np.max(np.abs(step / r)))
        if not math.isfinite(change):
            break
        y = y + step * min(1.0, _LARGEST_STEP / change)
        if change < TOLERANCE:
            return y / r, change
    raise NotConverged(
        f"the Poisson-Boltzmann equation at {molarity:.4g} mol/L did not converge in "
        f"{_MAX_ITERATIONS} Newton steps (last change {change:.1e} kT/e); check the potentials of "
        "mean force",
        residual=change,
        concentration=0.0,
    )


def _charge(
    psi: FloatArray, z: FloatArray, weights: FloatArray, linear: bool
) -> tuple[FloatArray, FloatArray]:
    """Return the charge density (e/angstrom^3) and its derivative by psi.

    weights  z rho exp(-w) by species, shape (n_species, n)
    """
    if linear:
        response = np.ones_like(weights)
        factor = 1 - z * psi
    else:
        factor = response = np.exp(np.clip(-z * psi, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
    charge = np.sum(weights * factor, axis=0)
    slope = -np.sum(z * weights * response, axis=0)
    return charge, slope


def _around(ions: Ions, centre: int) -> list[int]:
    """Return the index of the pair that each species makes with the central one."""
    return [
        ions.pairs.index((min(centre, other), max(centre, other)))
        for other in range(len(ions.labels))
    ]


def solve_poisson_boltzmann(
    ions: Ions, molarity: float, *, linear: bool = False, start: Structure | None = None
) -> Structure:
    """Return the pair structure by the Poisson-Boltzmann equation around every species.

    g_ij = exp(-w_ij) [exp(-z_j psi_i) + exp(-z_i psi_j)]/2: the two sides differ, as
    Poisson-Boltzmann theory is not symmetric, and are averaged. With ``linear`` psi solves the
    linearised equation; g keeps the exponential form, which stays positive.

    start  not needed, for the common interface
    """
    grid = grid_for(ions.screening(molarity), shortest=reach(ions))
    weights = ions.boltzmann(grid)
    solved = [
        central_ion_potential(ions, molarity, i, grid, linear=linear, boltzmann=weights)
        for i in range(len(ions.labels))
    ]
    cavity = np.array(
        [
            np.logaddexp(-ions.charges[j] * solved[i][0], -ions.charges[i] * solved[j][0])
            - math.log(2)
            for i, j in ions.pairs
        ]
    )
    return Structure(
        ions=ions,
        molarity=molarity,
        grid=grid,
        cavity=cavity,
        weights=weights,
        residual=max(change for _, change in solved),
    )


def reach(ions: Ions) -> float:
    """Return the shortest grid that holds the tables and some way beyond, angstrom."""
    return max(pmf.end for pmf in ions.pmfs) + _BEYOND


def solve_debye_hueckel_exponential(
    ions: Ions, molarity: float, *, start: Structure | None = None
) -> Structure:
    """Return g_ij = exp(-w_ij - z_i z_j l_B exp(-kappa r)/r): DHX, nothing to be solved.

    Source: Kirkwood & Poirier, J. Phys. Chem. 58, 591 (1954); Olivares & McQuarrie, Biophys. J.
    15, 143 (1975).
    """
    grid = grid_for(ions.screening(molarity), shortest=reach(ions))
    screened = ions.coulomb * np.exp(-ions.screening(molarity) * grid.r) / grid.r
    return Structure(
        ions=ions,
        molarity=molarity,
        grid=grid,
        cavity=-screened,
        weights=ions.boltzmann(grid),
        residual=0.0,
    )
