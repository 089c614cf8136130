"""The same ions without their charges: the reference fluid of exclusion-volume terms.

Solved with Verlet's modified closure, whose bridge function needs nothing but gamma = h - c
itself: B = -gamma^2/(2 (1 + 0.8 gamma)) for gamma > 0 and -gamma^2/2 otherwise, accurate for hard
spheres (Verlet, Mol. Phys. 41, 183 (1980); the 0.8 reproduces their virial coefficients).
"""

from __future__ import annotations

import numpy as np

from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import RadialGrid
from bjerrum.thermodynamics.hnc import ornstein_zernike
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.iteration import TOLERANCE, find_root
from bjerrum.thermodynamics.structure import LARGEST, NotConverged

VERLET: float = 0.8


def bridge_function(indirect: FloatArray) -> FloatArray:
    """Return Verlet's modified bridge function of gamma = h - c."""
    return -(indirect**2) / (2 * (1 + VERLET * np.maximum(indirect, 0.0)))


def solve_reference(
    ions: Ions, molarity: float, grid: RadialGrid, *, weights: FloatArray | None = None
) -> FloatArray:
    """Return gamma = h - c of the uncharged ions by pair, shape (n_pairs, n).

    ln y0 = gamma + bridge_function(gamma) is their cavity function, the exclusion-volume term.
    Raises NotConverged, as where the uncharged ions would separate into two phases.
    """
    rho = ions.densities(molarity)
    boltzmann = ions.boltzmann(grid) if weights is None else weights

    def next_indirect(indirect: FloatArray) -> tuple[FloatArray, float]:
        cavity = np.minimum(indirect + bridge_function(indirect), LARGEST)
        direct = grid.to_k(boltzmann * np.exp(cavity) - 1.0 - indirect)
        total, smallest = ornstein_zernike(direct, rho)
        return grid.to_r(total - direct), smallest

    def residual(indirect: FloatArray) -> FloatArray:
        change = next_indirect(indirect)[0] - indirect
        if not np.all(np.isfinite(change)):
            raise FloatingPointError
        return change

    indirect, size = find_root(residual, np.zeros_like(boltzmann))
    if size > TOLERANCE or next_indirect(indirect)[1] <= 0:
        raise NotConverged(
            f"the fluid of uncharged ions has no stable solution at {molarity:.4g} mol/L "
            f"(residual {size:.1e}): without their charges the ions attract each other too "
            "strongly for an exclusion-volume term; use hnc or pb",
            residual=size,
            concentration=0.0,
        )
    return indirect
