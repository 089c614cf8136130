"""The Poisson-Boltzmann equation around one ion, with potentials of mean force at short range.

For each central ion i, psi_i the electrostatic potential in kT/e, its own included:

    (1/r^2) (r^2 psi_i')' = -4 pi l_B sum_j z_j rho_j exp(-w_ij(r) - z_j psi_i(r)),

r psi_i -> z_i l_B as r -> 0 and psi_i ~ exp(-kappa r)/r far away. For y = r psi this is
y'' = -4 pi l_B r sum_j z_j rho_j exp(-w_ij - z_j y/r), solved by Newton's method on finite
differences. With w a hard core it is the equation of Debye and Hueckel (Phys. Z. 24, 185 (1923)),
there linearised.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.linalg import solve_banded

from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import RadialGrid, grid_for
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.structure import NotConverged, Structure

TOLERANCE: Final = 1e-9
"""Of psi in kT/e: largest change of the last Newton step."""
_LARGEST_STEP: Final = 3.0
_MAX_ITERATIONS: Final = 100
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
    rho, z = ions.densities(molarity)[:, None], np.asarray(ions.charges)[:, None]
    strength = 4 * math.pi * ions.bjerrum_length
    r, n, inverse = grid.r, grid.n, 1 / grid.dr**2
    kappa = ions.screening(molarity)
    start = ions.charges[centre] * ions.bjerrum_length
    y = start * np.exp(-kappa * r)
    bands = np.full((3, n), inverse)
    bands[2, -2] = 2 * inverse
    change = math.inf
    for _ in range(_MAX_ITERATIONS):
        charge, slope = _charge(y / r, z, rho, weights, linear)
        residual = np.convolve(y, [1, -2, 1], mode="same") * inverse + strength * r * charge
        residual[0] += start * inverse
        residual[-1] += (y[-2] - 2 * grid.dr * kappa * y[-1]) * inverse
        bands[1] = -2 * inverse + strength * slope
        bands[1, -1] -= 2 * kappa / grid.dr
        step = -solve_banded((1, 1), bands, residual)
        change = float(np.max(np.abs(step / r)))
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
    psi: FloatArray, z: FloatArray, rho: FloatArray, weights: FloatArray, linear: bool
) -> tuple[FloatArray, FloatArray]:
    """Return the charge density (e/angstrom^3) and its derivative by psi."""
    if linear:
        response = np.ones_like(weights)
        factor = 1 - z * psi
    else:
        factor = response = np.exp(np.clip(-z * psi, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
    charge = np.sum(z * rho * weights * factor, axis=0)
    slope = -np.sum(z**2 * rho * weights * response, axis=0)
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
    grid = grid_for(ions.screening(molarity))
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


def solve_debye_hueckel_exponential(
    ions: Ions, molarity: float, *, start: Structure | None = None
) -> Structure:
    """Return g_ij = exp(-w_ij - z_i z_j l_B exp(-kappa r)/r): DHX, nothing to be solved.

    Source: Kirkwood & Poirier, J. Phys. Chem. 58, 591 (1954); Olivares & McQuarrie, Biophys. J.
    15, 143 (1975).
    """
    grid = grid_for(ions.screening(molarity))
    screened = ions.coulomb * np.exp(-ions.screening(molarity) * grid.r) / grid.r
    return Structure(
        ions=ions,
        molarity=molarity,
        grid=grid,
        cavity=-screened,
        weights=ions.boltzmann(grid),
        residual=0.0,
    )
