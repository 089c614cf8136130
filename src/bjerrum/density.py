"""Density of an aqueous salt solution, from molality or mass fraction and temperature.

Two published models, both of which give the volume of the solution as the volume of its water
plus an apparent volume of the salt:

laliberte  Laliberte & Cooper (2004), coefficients of Laliberte (2009); a range of temperatures
pitzer     Pitzer's equation for the apparent molar volume at 25 C, parameters of May et al. (2011)

A salt is computed by ``laliberte`` where a row exists, otherwise by ``pitzer``. Outside the range
of the measurements behind a row an InputError is raised. Molality is in mol per kg of water,
molarity in mol per litre of solution, molar masses in g/mol, densities in kg/m3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

from ase.data import atomic_masses, atomic_numbers
from ase.formula import Formula
from scipy.optimize import brentq

from bjerrum.errors import InputError
from bjerrum.literature.tables import Source, read_table, source
from bjerrum.literature.water import water_density
from bjerrum.units import CELSIUS_ZERO_IN_KELVIN

_PITZER_B: Final = 1.2
"""kg^1/2 mol^-1/2, Pitzer's universal constant."""
_PITZER_A_V: Final = 1.8743
"""Debye-Hueckel slope of the volume at 25 C, cm3 kg^1/2 mol^-3/2 (Bradley & Pitzer 1979)."""
_PITZER_RT: Final = 2478.96
"""R times 298.15 K in cm3 MPa/mol."""
_PITZER_TEMPERATURE: Final = 298.15
_PITZER_TEMPERATURE_RANGE: Final = 5.0
"""Apparent volumes of 25 C are used within this many kelvin.

For the alkali halides with a Laliberte row, to 4 mol/kg, neglecting the change of the apparent
volume over 5 K moves the density by at most 0.15 %; over 10 K by 0.3 %.
"""

_EXTRAPOLATION: Final = 1.05
"""Molalities to 5 % beyond the last measurement are computed: the density moves by less than 0.1 %
between models there."""

LALIBERTE: Final = "laliberte"
PITZER: Final = "pitzer"


@dataclass(frozen=True, kw_only=True)
class DensityModel:
    """The density model of one salt: its name, the range it was fitted in and its source.

    name             "laliberte" or "pitzer"
    coefficients     as in the data file: c0..c4, or V0 (cm3/mol), beta0, beta1, C
    max_molality     mol/kg, of the measurements
    min_temperature, max_temperature   K
    """

    salt: str
    name: str
    coefficients: tuple[float, ...]
    molar_mass: float
    max_molality: float
    min_temperature: float
    max_temperature: float
    source: Source

    @property
    def highest_molality(self) -> float:
        """mol/kg; 5 % beyond the last measurement."""
        return _EXTRAPOLATION * self.max_molality

    def check_range(self, molality: float, temperature: float) -> None:
        """Raise InputError outside the measurements that the model rests on."""
        if not 0 <= molality <= self.highest_molality:
            raise InputError(
                f"no density of {self.salt} at {molality:g} mol/kg: the {self.name} model holds "
                f"from 0 to {self.highest_molality:.4g} mol/kg; "
                "lower the molality or give a density"
            )
        if not self.min_temperature <= temperature <= self.max_temperature:
            raise InputError(
                f"no density of {self.salt} at {temperature:g} K: the {self.name} model holds from "
                f"{self.min_temperature:g} to {self.max_temperature:g} K; "
                "change the temperature or give a density"
            )

    def apparent_molar_volume(self, molality: float, temperature: float) -> float:
        """Return the apparent molar volume of the salt in cm3/mol.

        V_phi = (V_solution - V_water)/n_salt at ``molality`` (mol/kg) and ``temperature`` (K).
        """
        self.check_range(molality, temperature)
        if self.name == LALIBERTE:
            return self._laliberte_volume(molality, temperature)
        return self._pitzer_volume(molality)

    def density(self, molality: float, temperature: float) -> float:
        """Return the density in kg/m3: (1000 + m M)/(1000/rho_water + m V_phi)."""
        salt_volume = molality * self.apparent_molar_volume(molality, temperature) * 1e-6
        salt_mass = molality * self.molar_mass * 1e-3
        return (1.0 + salt_mass) / (1.0 / water_density(temperature) + salt_volume)

    def _laliberte_volume(self, molality: float, temperature: float) -> float:
        """M (w + c2 + c3 t)/((c0 w + c1) exp(1e-6 (t + c4)^2)), t in Celsius, without M m3/kg."""
        c0, c1, c2, c3, c4 = self.coefficients
        celsius = temperature - CELSIUS_ZERO_IN_KELVIN
        w = mass_fraction(molality, self.molar_mass)
        scale = math.exp(1e-6 * (celsius + c4) ** 2)
        return (w + c2 + c3 * celsius) / ((c0 * w + c1) * scale) * self.molar_mass * 1e3

    def _pitzer_volume(self, molality: float) -> float:
        """V0 + (A_V/b) ln(1 + b s) + 2RT[m(b0 + b1 (1 - (1+2s) e^-2s)/(2m)) + m^2 C/2]."""
        v0, beta0, beta1, c_v = self.coefficients
        root = math.sqrt(molality)
        debye_hueckel = _PITZER_A_V / _PITZER_B * math.log1p(_PITZER_B * root)
        pairs = molality * beta0 + beta1 * (1 - (1 + 2 * root) * math.exp(-2 * root)) / 2
        return v0 + debye_hueckel + 2 * _PITZER_RT * (pairs + molality**2 * c_v / 2)


def molar_mass(salt: str) -> float:
    """Return the molar mass of a formula in g/mol, with the atomic masses of ASE."""
    counts = Formula(salt).count()
    return float(sum(n * atomic_masses[atomic_numbers[symbol]] for symbol, n in counts.items()))


def mass_fraction(molality: float, molar_mass: float) -> float:
    """Return the mass fraction of salt, w = m M/(1000 + m M), from mol/kg and g/mol."""
    return molality * molar_mass / (1000.0 + molality * molar_mass)


def molality_of_mass_fraction(fraction: float, molar_mass: float) -> float:
    """Return the molality in mol/kg of a mass fraction of salt, m = 1000 w/(M (1 - w))."""
    if not 0 <= fraction < 1:
        raise InputError(f"a mass fraction lies between 0 and 1, got {fraction:g}")
    return 1000.0 * fraction / (molar_mass * (1.0 - fraction))


def _laliberte_models() -> dict[str, DensityModel]:
    return {
        row["salt"]: DensityModel(
            salt=row["salt"],
            name=LALIBERTE,
            coefficients=tuple(float(row[f"c{i}"]) for i in range(5)),
            molar_mass=molar_mass(row["salt"]),
            max_molality=molality_of_mass_fraction(
                float(row["max_mass_fraction"]), molar_mass(row["salt"])
            ),
            min_temperature=CELSIUS_ZERO_IN_KELVIN + float(row["min_temperature_celsius"]),
            max_temperature=CELSIUS_ZERO_IN_KELVIN + float(row["max_temperature_celsius"]),
            source=source(row["source"]),
        )
        for row in read_table("laliberte_density.csv")
    }


def _pitzer_models() -> dict[str, DensityModel]:
    return {
        row["salt"]: DensityModel(
            salt=row["salt"],
            name=PITZER,
            coefficients=tuple(
                float(row[name]) for name in ("v0_cm3_per_mol", "beta0_v", "beta1_v", "c_v")
            ),
            molar_mass=molar_mass(row["salt"]),
            max_molality=float(row["max_molality_mol_per_kg"]),
            min_temperature=_PITZER_TEMPERATURE - _PITZER_TEMPERATURE_RANGE,
            max_temperature=_PITZER_TEMPERATURE + _PITZER_TEMPERATURE_RANGE,
            source=source(row["source"]),
        )
        for row in read_table("pitzer_volume.csv")
    }


@cache
def _models() -> dict[str, dict[str, DensityModel]]:
    return {LALIBERTE: _laliberte_models(), PITZER: _pitzer_models()}


def salts_with_density() -> tuple[str, ...]:
    """Return the formulas of all salts that have a density model."""
    return tuple(sorted({salt for rows in _models().values() for salt in rows}))


def density_model(salt: str, *, name: str | None = None) -> DensityModel:
    """Return the density model of a salt: ``laliberte`` where it has one, else ``pitzer``.

    salt  formula as in Salt.formula, "LiCl"
    name  ask for one model; InputError where the salt has no row there
    """
    if name is not None and name not in _models():
        raise InputError(f"unknown density model '{name}'; known: {', '.join(_models())}")
    for candidate in _models() if name is None else (name,):
        if salt in _models()[candidate]:
            return _models()[candidate][salt]
    raise InputError(
        f"no density data for {salt}{'' if name is None else f' in the {name} model'}; "
        f"available: {', '.join(salts_with_density())}"
    )


def solution_density(salt: str, molality: float, temperature: float) -> float:
    """Return the density of an aqueous solution in kg/m3; pure water at zero molality.

    salt         formula, "LiCl"
    molality     mol per kg of water
    temperature  K
    Raises InputError for a salt without data and outside the range of its data.
    """
    if molality == 0:
        return water_density(temperature)
    return density_model(salt).density(molality, temperature)


def molarity_of_molality(molality: float, *, molar_mass: float, density: float) -> float:
    """Return mol/L from mol/kg: c = m rho/(1000 + m M), rho in kg/m3, M in g/mol."""
    return molality * density / (1000.0 + molality * molar_mass)


def molality_of_molarity(salt: str, molarity: float, temperature: float) -> float:
    """Return the molality in mol/kg at which a solution of ``salt`` has this molarity (mol/L).

    Solved with the salt's density model; InputError where the molarity is out of its range.
    """
    model = density_model(salt)

    def molarity_at(molality: float) -> float:
        density = model.density(molality, temperature)
        return molarity_of_molality(molality, molar_mass=model.molar_mass, density=density)

    highest = molarity_at(model.highest_molality)
    if not 0 <= molarity <= highest:
        raise InputError(
            f"no density of {salt} at {molarity:g} mol/L: the {model.name} model holds "
            f"from 0 to {highest:.4g} mol/L"
        )
    return float(brentq(lambda m: molarity_at(m) - molarity, 0.0, model.highest_molality))
