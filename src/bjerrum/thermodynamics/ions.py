"""The solute of McMillan and Mayer: ions in a dielectric, with pair potentials of mean force.

beta u_ij(r) = w_ij(r) + z_i z_j l_B/r at infinite dilution (McMillan & Mayer, J. Chem. Phys. 13,
276 (1945)). Pairs are kept in the order (0,0), (0,1), ..., (1,1), ...: the upper triangle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.grid import RadialGrid, nodes, weights_at_points
from bjerrum.thermodynamics.pmf import PairPmf, pair_pmf, wall_row
from bjerrum.thermodynamics.table import PmfTable, column_names
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

SMALLEST_ION = 0.7
"""Angstrom: one wall at least lies further out; Li-F, the closest pair, are 1.5 apart or more."""
_BEYOND = 8
_COMPLETE = 4


@dataclass(frozen=True, eq=False)
class Quadrature:
    """One pair on grids of one spacing.

    boltzmann  exp(-w) as weights on the first grid points; 1 on all others
    r, virial  nodes and r^3 d(exp(-w))/dr times their weights, without the steps
    """

    boltzmann: FloatArray
    r: FloatArray
    virial: FloatArray


@dataclass(frozen=True, eq=False)
class Ions:
    """A salt, or a mixture of salts, as ions that interact in pairs.

    labels          "c", "a" or element symbols
    charges         e
    numbers         ions of each species per formula unit; together they are neutral
    pmfs            short-range potentials of mean force, one per pair of the upper triangle
    bjerrum_length  angstrom
    """

    labels: tuple[str, ...]
    charges: tuple[float, ...]
    numbers: tuple[float, ...]
    pmfs: tuple[PairPmf, ...]
    bjerrum_length: float

    def __post_init__(self) -> None:
        n = len(self.labels)
        if not (len(self.charges) == len(self.numbers) == n and len(self.pmfs) == n * (n + 1) / 2):
            raise InputError(
                f"{n} species need {n} charges and numbers and {n * (n + 1) // 2} PMFs"
            )
        if not (min(self.charges) < 0 < max(self.charges)):
            raise InputError(f"charges must have both signs, got {self.charges}")
        if min(self.numbers) <= 0:
            raise InputError(f"numbers per formula unit must be positive, got {self.numbers}")
        total = sum(z * n for z, n in zip(self.charges, self.numbers, strict=True))
        if abs(total) > 1e-9 * sum(self.numbers):
            raise InputError(f"the formula unit is not neutral: net charge {total:g}")
        if not 0 < self.bjerrum_length < math.inf:
            raise InputError(f"Bjerrum length must be positive, got {self.bjerrum_length:g}")

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Indices of the two species of each pair."""
        n = len(self.labels)
        return tuple((i, j) for i in range(n) for j in range(i, n))

    @property
    def per_formula(self) -> float:
        """Ions per formula unit."""
        return sum(self.numbers)

    @cached_property
    def coulomb(self) -> FloatArray:
        """z_i z_j l_B of each pair, shape (n_pairs, 1), angstrom."""
        return self.bjerrum_length * np.array(
            [[self.charges[i] * self.charges[j]] for i, j in self.pairs]
        )

    def densities(self, molarity: float) -> FloatArray:
        """Return the number density of each species, 1/angstrom^3, from mol/L of formula units."""
        return molarity * MOL_PER_LITRE_IN_PER_ANGSTROM3 * np.asarray(self.numbers)

    def screening(self, molarity: float) -> float:
        """Return kappa = sqrt(4 pi l_B sum rho_i z_i^2), 1/angstrom (Debye & Hueckel 1923)."""
        ionic = float(self.densities(molarity) @ np.square(self.charges))
        return math.sqrt(4 * math.pi * self.bjerrum_length * ionic)

    def pair_weights(self, molarity: float) -> FloatArray:
        """Return x_i rho_j summed over both orders of each pair: sum_ij x_i rho_j f_ij = w @ f."""
        rho = self.densities(molarity)
        return np.array([(1 if i == j else 2) * rho[i] * rho[j] / rho.sum() for i, j in self.pairs])

    def boltzmann(self, grid: RadialGrid) -> FloatArray:
        """Return exp(-w) of each pair on the grid, walls included, shape (n_pairs, n).

        The values near a wall are weights, see ``weights_at_points`` of the grid.
        """
        on_grid = np.ones((len(self.pmfs), grid.n))
        for row, quadrature in zip(on_grid, self.quadratures(grid.dr), strict=True):
            near = quadrature.boltzmann[: grid.n]
            row[: len(near)] = near
        return on_grid

    def quadratures(self, spacing: float) -> tuple[Quadrature, ...]:
        """Return the integration points of each pair for grids of one spacing, made once."""
        if spacing not in self._quadratures:
            self._quadratures[spacing] = tuple(_quadrature(pmf, spacing) for pmf in self.pmfs)
        return self._quadratures[spacing]

    @cached_property
    def _quadratures(self) -> dict[float, tuple[Quadrature, ...]]:
        return {}


def salt_numbers(charge_cation: float, charge_anion: float) -> tuple[int, int]:
    """Return the ions per formula unit of a salt from its charges: (2, -1) gives (1, 2)."""
    if charge_cation != int(charge_cation) or charge_anion != int(charge_anion):
        raise InputError(f"charges must be whole, got {charge_cation:g} and {charge_anion:g}")
    if not charge_anion < 0 < charge_cation:
        raise InputError(
            "charges: expected a positive cation and a negative anion, such as 1,-1, got "
            f"{charge_cation:g},{charge_anion:g}"
        )
    common = math.gcd(int(charge_cation), int(charge_anion))
    return int(-charge_anion) // common, int(charge_cation) // common


def ions_from_table(
    table: PmfTable,
    charges: tuple[float, ...],
    bjerrum_length: float,
    *,
    labels: tuple[str, ...] = ("c", "a"),
    numbers: tuple[float, ...] | None = None,
) -> Ions:
    """Return the ions of a table; by default a salt whose stoichiometry follows from its charges.

    Raises InputError for charges that make no neutral salt and for tables that cannot be used,
    see :func:`bjerrum.thermodynamics.pmf.pair_pmf`.
    """
    if numbers is None:
        if len(charges) != 2:
            raise InputError(f"expected two charges, such as 1,-1, got {len(charges)}")
        numbers = salt_numbers(*charges)
    names = list(column_names(labels))
    index = [(i, j) for i in range(len(labels)) for j in range(i, len(labels))]
    coulomb = {
        name: charges[i] * charges[j] * bjerrum_length
        for name, (i, j) in zip(names, index, strict=True)
    }
    walls = [float(table.r[wall_row(table, name, coulomb[name])]) for name in names]
    if max(walls) < SMALLEST_ION:
        raise InputError(
            f"{table.origin}: every repulsive wall lies within {max(walls):.3g} angstrom, no ions "
            "are so small; if the distances are in nm, multiply them by 10"
        )
    pmfs = tuple(pair_pmf(table, name, coulomb[name]) for name in names)
    return Ions(labels, charges, numbers, pmfs, bjerrum_length)


def _quadrature(pmf: PairPmf, spacing: float) -> Quadrature:
    grid = RadialGrid(math.ceil(pmf.end / spacing) + 2 * _BEYOND, spacing)
    steps = [step for step, _ in pmf.steps]
    r, weights = nodes(grid, steps, pmf.end + _BEYOND * spacing)
    spread = weights_at_points(grid, r, weights, np.exp(-pmf.value(r)))
    inside = r < pmf.end
    r, weights = r[inside], weights[inside]
    return Quadrature(
        boltzmann=np.where(grid.r > pmf.end + _COMPLETE * spacing, 1.0, spread),
        r=r,
        virial=-weights * r**3 * pmf.slope(r) * np.exp(-pmf.value(r)),
    )
