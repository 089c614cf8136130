"""What is simulated: an ion, a salt made of ions, a solution of a salt in water.

All three are frozen, validated and hashable, so that they can name a run. Molality is in mol per
kg of water, molarity in mol per litre of solution, temperature in K, density in kg/m3, molar mass
in g/mol, lengths in angstrom.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from numbers import Real
from typing import Final

from ase.data import atomic_masses, atomic_numbers

from bjerrum.density import molar_mass, molarity_of_molality, solution_density
from bjerrum.errors import InputError
from bjerrum.literature.water import check_liquid_water, water_dielectric_constant
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

WATER_MOLAR_MASS: Final = molar_mass("H2O")
"""g/mol."""

MAX_MOLALITY: Final = 1000.0 / (2 * WATER_MOLAR_MASS)
"""27.75 mol/kg: two waters per formula unit, one per ion of a 1:1 salt. Beyond it there is no
aqueous solution left but a molten hydrate."""

_GRAM_PER_MOL_AND_KG_PER_M3_IN_ANGSTROM3: Final = 1.0 / MOL_PER_LITRE_IN_PER_ANGSTROM3
"""(g/mol)/(kg/m3) = L/mol: times this, the volume of one particle in cubic angstrom."""


@dataclass(frozen=True)
class Ion:
    """A monatomic ion: element symbol and formal charge in units of e."""

    symbol: str
    charge: int

    def __post_init__(self) -> None:
        if self.symbol not in atomic_numbers or self.symbol == "X":
            raise InputError(f"'{self.symbol}' is not an element symbol")
        if self.charge == 0 or int(self.charge) != self.charge:
            raise InputError(f"an ion has a whole charge other than 0, got {self.charge}")

    @property
    def mass(self) -> float:
        """Standard atomic mass in amu (ASE's table, IUPAC)."""
        return float(atomic_masses[atomic_numbers[self.symbol]])

    def __str__(self) -> str:
        size = "" if abs(self.charge) == 1 else str(abs(self.charge))
        return f"{self.symbol}{size}{'+' if self.charge > 0 else '-'}"


_CHARGES: Final = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs"), +1),
    **dict.fromkeys(("Mg", "Ca"), +2),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1),
}
IONS: Final[dict[str, Ion]] = {symbol: Ion(symbol, charge) for symbol, charge in _CHARGES.items()}
"""The ions that Bjerrum knows, by element symbol."""


@dataclass(frozen=True)
class Salt:
    """A salt of one cation and one anion; its stoichiometry follows from their charges."""

    cation: Ion
    anion: Ion

    def __post_init__(self) -> None:
        if self.cation.charge <= 0 or self.anion.charge >= 0:
            raise InputError(f"a salt is a cation and an anion, got {self.cation} and {self.anion}")

    @property
    def n_cations(self) -> int:
        """Cations per formula unit."""
        return -self.anion.charge // math.gcd(self.cation.charge, self.anion.charge)

    @property
    def n_anions(self) -> int:
        """Anions per formula unit."""
        return self.cation.charge // math.gcd(self.cation.charge, self.anion.charge)

    @property
    def formula(self) -> str:
        """Formula without charges, cation first: LiCl, MgCl2."""
        parts = ((self.cation, self.n_cations), (self.anion, self.n_anions))
        return "".join(f"{ion.symbol}{'' if n == 1 else n}" for ion, n in parts)

    @property
    def molar_mass(self) -> float:
        """g/mol of formula units."""
        return self.n_cations * self.cation.mass + self.n_anions * self.anion.mass

    @classmethod
    def parse(cls, formula: str) -> Salt:
        """Return the salt of a formula such as "LiCl"; InputError lists the known ones."""
        if formula in SALTS:
            return SALTS[formula]
        folded = {_fold(name): name for name in SALTS}
        close = difflib.get_close_matches(_fold(formula), folded, n=1, cutoff=0.5)
        hint = f"; did you mean {folded[close[0]]}?" if close else "."
        raise InputError(f"unknown salt '{formula}'{hint} Known: {', '.join(SALTS)}")

    def __str__(self) -> str:
        return self.formula


def _fold(formula: str) -> str:
    """Spelling without the slips that people make: case, and I for l (LiCI)."""
    return formula.strip().lower().replace("i", "l")


def _known_salts() -> dict[str, Salt]:
    cations = [ion for ion in IONS.values() if ion.charge > 0]
    anions = [ion for ion in IONS.values() if ion.charge < 0]
    salts = [Salt(cation, anion) for cation in cations for anion in anions]
    return {salt.formula: salt for salt in salts}


SALTS: Final[dict[str, Salt]] = _known_salts()
"""Every salt of the ions in IONS, by formula."""


def molality_of(n_formula_units: int, n_waters: int) -> float:
    """Return the molality in mol/kg of a box: n_formula_units/(n_waters M_water)."""
    if n_waters < 1 or n_formula_units < 0:
        raise InputError(
            f"a solution has at least one water and no negative number of formula units, "
            f"got {n_waters} waters and {n_formula_units} formula units"
        )
    return 1000.0 * n_formula_units / (n_waters * WATER_MOLAR_MASS)


@dataclass(frozen=True)
class Solution:
    """A salt in water at 1 bar.

    salt         a Salt, see Salt.parse
    molality     mol per kg of water, from 0 to MAX_MOLALITY
    temperature  K, 273.15 to 373.15

    Properties that need a density raise InputError where no density is published.
    """

    salt: Salt
    molality: float
    temperature: float

    def __post_init__(self) -> None:
        if not isinstance(self.salt, Salt):
            raise InputError(f"expected a Salt, got {self.salt!r}; use Salt.parse")
        object.__setattr__(self, "molality", _finite(self.molality, "molality"))
        object.__setattr__(self, "temperature", _finite(self.temperature, "temperature"))
        if not 0 <= self.molality <= MAX_MOLALITY:
            raise InputError(
                f"molality must be between 0 and {MAX_MOLALITY:.2f} mol/kg "
                f"(two waters per formula unit), got {self.molality:g} mol/kg"
            )
        check_liquid_water(self.temperature)

    @property
    def density(self) -> float:
        """kg/m3."""
        return solution_density(self.salt.formula, self.molality, self.temperature)

    @property
    def molarity(self) -> float:
        """mol/L of formula units."""
        return molarity_of_molality(
            self.molality, molar_mass=self.salt.molar_mass, density=self.density
        )

    @property
    def dielectric_constant(self) -> float:
        """Static dielectric constant of pure water at the temperature (Malmberg & Maryott 1956)."""
        return water_dielectric_constant(self.temperature)

    def n_formula_units(self, n_waters: int) -> int:
        """Return the number of formula units nearest to the molality in ``n_waters`` waters.

        A salt solution that rounds to no salt at all raises InputError.
        """
        if n_waters < 1 or int(n_waters) != n_waters:
            raise InputError(f"a box holds a whole number of waters, at least 1, got {n_waters}")
        exact = self.molality * n_waters * WATER_MOLAR_MASS / 1000.0
        nearest = round(exact)
        if self.molality > 0 and nearest == 0:
            raise InputError(
                f"{self.molality:g} mol/kg in {n_waters} waters is {exact:.2g} formula units of "
                f"{self.salt}; use at least {math.ceil(n_waters / exact)} waters"
            )
        return nearest

    def molality_of(self, n_pairs: int, n_waters: int) -> float:
        """Return the molality in mol/kg of ``n_pairs`` formula units in ``n_waters`` waters."""
        return molality_of(n_pairs, n_waters)

    def atom_counts(self, n_waters: int) -> dict[str, int]:
        """Return the number of atoms of each element in a box of ``n_waters`` waters."""
        units = self.n_formula_units(n_waters)
        counts = {
            "O": n_waters,
            "H": 2 * n_waters,
            self.salt.cation.symbol: units * self.salt.n_cations,
            self.salt.anion.symbol: units * self.salt.n_anions,
        }
        return {symbol: n for symbol, n in counts.items() if n}

    def box_volume(self, n_waters: int, *, density: float | None = None) -> float:
        """Return the volume in cubic angstrom of a box with ``n_waters`` waters.

        V = (N_w M_w + N_s M_s)/(N_A rho), rho at the molality that whole particles achieve.

        density  kg/m3, instead of the published one: for solutions outside its range
        """
        units = self.n_formula_units(n_waters)
        if density is not None and not 0 < density < math.inf:
            raise InputError(f"density must be positive, in kg/m3, got {density:g}")
        if density is None:
            achieved = molality_of(units, n_waters)
            density = solution_density(self.salt.formula, achieved, self.temperature)
        mass = n_waters * WATER_MOLAR_MASS + units * self.salt.molar_mass
        return mass / density * _GRAM_PER_MOL_AND_KG_PER_M3_IN_ANGSTROM3

    def box_edge(self, n_waters: int, *, density: float | None = None) -> float:
        """Return the edge in angstrom of the cubic box with ``n_waters`` waters; see box_volume."""
        return math.cbrt(self.box_volume(n_waters, density=density))

    def __str__(self) -> str:
        return f"{self.salt} {self.molality:g} mol/kg at {self.temperature:g} K"


def _finite(value: float, name: str) -> float:
    """Return a float; InputError for text, booleans, NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, got {value!r}")
    return float(value)
