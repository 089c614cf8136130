"""Symmetric and modified Poisson-Boltzmann theory of ions with potentials of mean force.

    g_ij = exp(-w_ij) y0_ij exp{-[z_i L psi_j + z_j L psi_i]/2}

psi_j  mean potential around ion j, by Poisson's equation from the g_ij themselves
y0     exclusion-volume term: cavity function of the uncharged ions
L      fluctuation term: what ion i at r feels differs from psi_j(r), because no other ion comes
       closer to it than a

Without y0 and L this is the symmetric Poisson-Boltzmann equation, with them the modified one, of
Outhwaite, Molero & Bhuiyan, J. Chem. Soc. Faraday Trans. 87, 3227 (1991). The fluctuation term
follows from Loeb's closure (J. Colloid Sci. 6, 75 (1951); Outhwaite, J. Chem. Phys. 50, 2277
(1969)): outside the sphere of radius a around ion i, the disturbance that it makes obeys the
linearised equation; inside there is no other charge. Averaged over directions, with u = r psi_j, f
the mean of psi_j over the sphere and f' its derivative by a, the potential at i without its own
atmosphere's is

    L psi_j = f + F a f' = (F/2r) [u(r + a) + u(r - a)] + ((1 - F)/(2 r a)) int_{r-a}^{r+a} u ds

with F = 1/(1 + kappa a). That the spheres of two ions overlap for r < 2 a is neglected. Ions with
soft cores may be closer than a, their Barker-Henderson diameter: the sphere then has the radius r.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import cumulative_simpson

from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import SPACING, RadialGrid, grid_for
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.iteration import TOLERANCE, find_root
from bjerrum.thermodynamics.reference_fluid import bridge_function, solve_reference
from bjerrum.thermodynamics.structure import LARGEST, NotConverged, Structure


def closest_approach(ions: Ions) -> float:
    """Return a: the mean Barker-Henderson diameter of the pairs of unlike charge, angstrom."""
    diameters = [
        pmf.diameter
        for pmf, (i, j) in zip(ions.pmfs, ions.pairs, strict=True)
        if ions.charges[i] * ions.charges[j] < 0
    ]
    return float(np.mean(diameters))


class FluctuationTerm:
    """L of the module's text on one grid, whose spacing divides a.

    screening  kappa, 1/angstrom
    """

    def __init__(self, grid: RadialGrid, a: float, screening: float) -> None:
        self.grid = grid
        self.shift = round(a / grid.dr)
        self.radius = np.minimum(grid.r, a)
        self.share = 1 / (1 + screening * self.radius)

    def mean(self, psi: FloatArray, at_origin: float) -> FloatArray:
        """Return L psi from psi (kT/e) on the grid and r psi at the origin (z l_B)."""
        grid, m = self.grid, self.shift
        u = np.concatenate([[at_origin], grid.r * psi, np.zeros(m)])
        area = cumulative_simpson(u, dx=grid.dr, initial=0.0)
        index = np.arange(1, grid.n + 1)
        inner, outer = np.maximum(index - m, 0), np.minimum(index + m, 2 * index)
        surface = self.share * (u[outer] + u[inner])
        volume = (1 - self.share) * (area[outer] - area[inner]) / self.radius
        return (surface + volume) / (2 * grid.r)


def solve_symmetric(
    ions: Ions, molarity: float, *, modified: bool = True, start: Structure | None = None
) -> Structure:
    """Return the pair structure by the modified, or the symmetric, Poisson-Boltzmann equation.

    molarity  mol/L of formula units
    modified  with exclusion-volume and fluctuation terms
    start     solution at a nearby concentration, for the common interface
    Raises NotConverged.
    """
    a, kappa = closest_approach(ions), ions.screening(molarity)
    grid = grid_for(kappa, dr=a / math.ceil(a / SPACING))
    weights = ions.boltzmann(grid)
    exclusion: FloatArray | float = 0.0
    term = None
    if modified:
        indirect = solve_reference(ions, molarity, grid, weights=weights)
        exclusion = indirect + bridge_function(indirect)
        term = FluctuationTerm(grid, a, kappa)
    z, rho = np.asarray(ions.charges), ions.densities(molarity)
    own = z[:, None] * ions.bjerrum_length / grid.r
    debye = own * np.exp(-kappa * grid.r)
    strength = 4 * math.pi * ions.bjerrum_length

    def cavity(excess: FloatArray) -> FloatArray:
        felt = excess + debye
        if term is not None:
            felt = np.array(
                [term.mean(p, q * ions.bjerrum_length) for p, q in zip(felt, z, strict=True)]
            )
        pairs = np.array([-(z[i] * felt[j] + z[j] * felt[i]) / 2 for i, j in ions.pairs])
        return pairs + exclusion

    def residual(excess: FloatArray) -> FloatArray:
        h = weights * np.exp(np.minimum(cavity(excess), LARGEST)) - 1.0
        source = kappa**2 * (excess + debye)
        for p, (i, j) in enumerate(ions.pairs):
            source[i] += strength * rho[j] * z[j] * h[p]
            if i != j:
                source[j] += strength * rho[i] * z[i] * h[p]
        change = grid.to_r(grid.to_k(source) / (grid.k**2 + kappa**2)) - excess
        if not np.all(np.isfinite(change)):
            raise FloatingPointError
        return change

    excess, size = find_root(residual, np.zeros_like(debye))
    if size > TOLERANCE:
        raise NotConverged(
            f"the {'modified' if modified else 'symmetric'} Poisson-Boltzmann equation found no "
            f"solution at {molarity:.4g} mol/L (residual {size:.1e}); try hnc",
            residual=size,
            concentration=0.0 if start is None else start.molarity,
        )
    return Structure(
        ions=ions,
        molarity=molarity,
        grid=grid,
        cavity=cavity(excess),
        weights=weights,
        residual=size,
    )
