"""Every theory behind one interface: ions and a molarity in, a pair structure out.

hnc   hypernetted chain
rhnc  hypernetted chain with the bridge function of the uncharged ions (Lado, Phys. Rev. A 8, 2548
      (1973)), better than hnc where the ions are crowded
mpb   modified Poisson-Boltzmann: symmetric, with exclusion-volume and fluctuation terms
spb   symmetric Poisson-Boltzmann
pb    Poisson-Boltzmann around each ion
lpb   the same with the linearised potential
dhx   Debye-Hueckel potential in an exponential
msa   mean spherical approximation of charged hard spheres, in closed form
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import grid_for
from bjerrum.thermodynamics.hnc import solve_hnc
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.modified_poisson_boltzmann import closest_approach, solve_symmetric
from bjerrum.thermodynamics.poisson_boltzmann import (
    solve_debye_hueckel_exponential,
    solve_poisson_boltzmann,
)
from bjerrum.thermodynamics.primitive import PrimitiveResult, mean_spherical
from bjerrum.thermodynamics.reference_fluid import bridge_function, solve_reference
from bjerrum.thermodynamics.structure import Structure

Solver = Callable[[Ions, float, Structure | None], Structure]
_ADDITIVE: Final = 0.01


@dataclass(frozen=True)
class Theory:
    """A theory and the routes from its structure to thermodynamics.

    routes  "exact-mu": virial, compressibility, and exact chemical potentials;
            "compressibility": virial and compressibility; "virial": only that;
            "closed": formulas, no structure
    solve   (ions, molarity in mol/L, solution nearby or None) -> Structure; None if closed
    """

    name: str
    words: str
    routes: Literal["exact-mu", "compressibility", "virial", "closed"]
    solve: Solver | None


def _hnc(ions: Ions, molarity: float, start: Structure | None) -> Structure:
    return solve_hnc(ions, molarity, start=start)


def _reference_hnc(ions: Ions, molarity: float, start: Structure | None) -> Structure:
    grid = grid_for(ions.screening(molarity))
    bridge = bridge_function(solve_reference(ions, molarity, grid))
    return solve_hnc(ions, molarity, start=start, bridge=bridge)


def _symmetric(
    ions: Ions, molarity: float, start: Structure | None, *, modified: bool
) -> Structure:
    return solve_symmetric(ions, molarity, modified=modified, start=start)


def _around_each_ion(
    ions: Ions, molarity: float, start: Structure | None, *, linear: bool
) -> Structure:
    return solve_poisson_boltzmann(ions, molarity, linear=linear, start=start)


def _debye_hueckel(ions: Ions, molarity: float, start: Structure | None) -> Structure:
    return solve_debye_hueckel_exponential(ions, molarity, start=start)


THEORIES: Final[dict[str, Theory]] = {
    theory.name: theory
    for theory in (
        Theory("hnc", "hypernetted chain", "exact-mu", _hnc),
        Theory("rhnc", "reference hypernetted chain", "compressibility", _reference_hnc),
        Theory("mpb", "modified Poisson-Boltzmann", "virial", partial(_symmetric, modified=True)),
        Theory("spb", "symmetric Poisson-Boltzmann", "virial", partial(_symmetric, modified=False)),
        Theory("pb", "Poisson-Boltzmann", "virial", partial(_around_each_ion, linear=False)),
        Theory(
            "lpb", "linearised Poisson-Boltzmann", "virial", partial(_around_each_ion, linear=True)
        ),
        Theory("dhx", "Debye-Hueckel exponential", "virial", _debye_hueckel),
        Theory("msa", "mean spherical approximation", "closed", None),
    )
}
"""By name."""


def find_theory(name: str) -> Theory:
    """Return a theory by name; InputError lists the known ones."""
    if name not in THEORIES:
        raise InputError(f"unknown theory '{name}'; known: {', '.join(THEORIES)}")
    return THEORIES[name]


def hard_sphere_diameters(ions: Ions) -> FloatArray:
    """Return the diameter of each species that the mean spherical approximation takes, angstrom.

    Where the walls are hard and additive, d_ij = (d_i + d_j)/2 within 1 %, those of the like
    pairs; else the Barker-Henderson diameter of the unlike pair for every species.
    """
    n = len(ions.labels)
    like = {i: ions.pmfs[p] for p, (i, j) in enumerate(ions.pairs) if i == j}
    own = np.array([like[i].diameter for i in range(n)])
    if all(
        pmf.steps[0][1] > 0.5 and abs((own[i] + own[j]) / 2 / pmf.wall - 1) < _ADDITIVE
        for pmf, (i, j) in zip(ions.pmfs, ions.pairs, strict=True)
    ):
        return own
    return np.full(n, closest_approach(ions))


def solve_closed(ions: Ions, molarity: float) -> PrimitiveResult:
    """Return the mean spherical approximation at a molarity, with hard_sphere_diameters."""
    diameters = hard_sphere_diameters(ions)
    rho = ions.densities(molarity)
    filled = float(np.pi / 6 * rho @ diameters**3)
    if filled >= 0.5:
        raise InputError(
            f"msa: spheres of {diameters.round(2).tolist()} angstrom fill {100 * filled:.0f} % of "
            f"the volume at {molarity:g} mol/L, expected a fluid below 50 %; lower the "
            "concentration"
        )
    return mean_spherical(rho, np.asarray(ions.charges), diameters, ions.bjerrum_length)
