"""Viscosity and conductivity of salt solutions, and lattice constants of the salts.

Published formulas with their range and source; outside the range an InputError is raised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bjerrum.errors import InputError
from bjerrum.literature.tables import read_table, source
from bjerrum.literature.values import EXPERIMENT, ReferenceValue
from bjerrum.literature.water import water_viscosity
from bjerrum.units import CELSIUS_ZERO_IN_KELVIN


def solution_viscosity(salt: str, molality: float, temperature: float = 298.15) -> ReferenceValue:
    """Return the viscosity of an aqueous solution, mPa s.

    eta = eta_w^(1 - w) eta_s^w, eta_s = exp[(v1 w^v2 + v3)/(v4 t + 1)]/(v5 w^v6 + 1), w the mass
    fraction of the salt, t in Celsius (Laliberte 2007, 2009).

    molality     mol/kg
    temperature  K
    Raises InputError for a salt without coefficients and outside their range.
    """
    row = _row("laliberte_viscosity.csv", salt, "viscosity")
    celsius = _celsius(row, temperature, f"viscosity of {salt}")
    mass = molality * float(row["molar_mass_g_per_mol"]) * 1e-3
    w = mass / (1 + mass)
    if not 0 <= w <= float(row["max_mass_fraction"]):
        raise InputError(
            f"viscosity of {salt} at {molality:g} mol/kg: the formula holds up to a mass fraction "
            f"of {float(row['max_mass_fraction']):.3g}, got {w:.3g}"
        )
    v1, v2, v3, v4, v5, v6 = (float(row[f"v{i}"]) for i in range(1, 7))
    solute = 0.0
    if w > 0:
        solute = (v1 * w**v2 + v3) / (v4 * celsius + 1) - math.log(v5 * w**v6 + 1)
    value = water_viscosity(temperature) ** (1 - w) * math.exp(w * solute)
    return _value("viscosity_mPa_s", salt, molality, temperature, value, "mPa s", row["source"])


def solution_conductivity(
    salt: str, molality: float, temperature: float = 298.15
) -> ReferenceValue:
    """Return the molar conductivity of an aqueous solution, S cm^2/mol of salt.

    Lambda = n [lambda(t) - A(t) m^1/2/(1 + B m^1/2)], lambda and A quadratic in t in Celsius, n the
    charges of the cations of a formula unit (McCleskey 2011).

    molality     mol/kg, up to 1
    temperature  K, 5 to 90 C
    Raises InputError for a salt without coefficients and outside their range.
    """
    row = _row("mccleskey_conductivity.csv", salt, "conductivity")
    t = _celsius(row, temperature, f"conductivity of {salt}")
    if not 0 <= molality <= float(row["max_molality_mol_per_kg"]):
        raise InputError(
            f"conductivity of {salt} at {molality:g} mol/kg: the formula holds up to "
            f"{row['max_molality_mol_per_kg']} mol/kg"
        )
    limit = (float(row["lambda2"]) * t + float(row["lambda1"])) * t + float(row["lambda0"])
    slope = (float(row["a2"]) * t + float(row["a1"])) * t + float(row["a0"])
    root = math.sqrt(molality)
    value = float(row["multiplier"]) * (limit - slope * root / (1 + float(row["b"]) * root))
    return _value(
        "molar_conductivity_S_cm2_per_mol",
        salt,
        molality,
        temperature,
        value,
        "S cm2/mol",
        row["source"],
    )


def salts_with_viscosity() -> tuple[str, ...]:
    """Return the salts that solution_viscosity knows."""
    return tuple(row["salt"] for row in read_table("laliberte_viscosity.csv"))


def lattice_constant(salt: str) -> ReferenceValue:
    """Return the lattice constant of the cubic crystal at 25 C, angstrom.

    Raises InputError for a salt that is not in the table.
    """
    row = _row("crystals.csv", salt, "lattice constant")
    return ReferenceValue(
        quantity="lattice_constant_angstrom",
        pair="",
        salt=salt,
        molality_min=None,
        molality_max=None,
        temperature=float(row["temperature_kelvin"]),
        value=float(row["lattice_constant_angstrom"]),
        uncertainty=None,
        unit="angstrom",
        kind=EXPERIMENT,
        method="X-ray diffraction",
        source=source(row["source"]),
        status=row["status"],
        note=f"{row['structure']}, {row['space_group']}",
    )


def _row(table: str, salt: str, what: str) -> Mapping[str, str]:
    rows = read_table(table)
    for row in rows:
        if row["salt"] == salt:
            return row
    known = ", ".join(row["salt"] for row in rows)
    raise InputError(f"no {what} of {salt}; available: {known}")


def _celsius(row: Mapping[str, str], temperature: float, what: str) -> float:
    celsius = temperature - CELSIUS_ZERO_IN_KELVIN
    low, high = float(row["min_temperature_celsius"]), float(row["max_temperature_celsius"])
    if not low <= celsius <= high:
        raise InputError(f"{what} at {celsius:g} C: the formula holds from {low:g} to {high:g} C")
    return celsius


def _value(
    quantity: str,
    salt: str,
    molality: float,
    temperature: float,
    value: float,
    unit: str,
    key: str,
) -> ReferenceValue:
    return ReferenceValue(
        quantity=quantity,
        pair="",
        salt=salt,
        molality_min=molality,
        molality_max=molality,
        temperature=temperature,
        value=value,
        uncertainty=None,
        unit=unit,
        kind=EXPERIMENT,
        method="fitted formula",
        source=source(key),
        status="compiled",
    )
