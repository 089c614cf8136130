"""A question as a person writes it: ions, concentrations, walls; checked and turned into data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bjerrum.density import molality_of_molarity, salts_with_density
from bjerrum.errors import InputError
from bjerrum.literature.solubility import solubility
from bjerrum.system import Salt
from bjerrum.thermodynamics.conversions import (
    constant_volumes,
    molarity_at,
    molarity_at_volume,
)

MAX_POINTS: Final = 1000
MAX_MOLARITY: Final = 30.0
"""mol/L; there is no aqueous solution beyond."""
MIN_MOLARITY: Final = 1e-5
"""mol/L; below, the limiting law is right to 2e-5 (1:1) and nothing else is needed."""
SALT_VOLUMES: Final = (-200.0, 1000.0)
"""cm3/mol of formula units. MgSO4 has -7, tetrabutylammonium bromide 300."""
DEFAULT_SALT: Final = "LiCl"
_EMPTY: Final = (
    "molality and Lewis-Randall values are left empty; give --salt-volume, the partial molar "
    "volume of the salt in cm3/mol"
)


@dataclass(frozen=True)
class Composition:
    """Labels, charges (e) and ions per formula unit of each species."""

    labels: tuple[str, ...]
    charges: tuple[float, ...]
    numbers: tuple[float, ...] | None


def parse_charges(text: str | None, salt: str | None) -> Composition:
    """Return the composition of a salt from "2,-1", or from its formula; 1,-1 if neither is given.

    Raises InputError where the two contradict each other.
    """
    own = None if salt is None else Salt.parse(salt)
    from_salt = None if own is None else (float(own.cation.charge), float(own.anion.charge))
    charges = from_salt if text is None else _two_charges(text)
    if from_salt is not None and charges != from_salt:
        raise InputError(
            f"--charges {text} does not fit {salt}, whose ions have {from_salt[0]:+g} and "
            f"{from_salt[1]:+g}; leave one of them out"
        )
    return Composition(("c", "a"), charges or (1.0, -1.0), None)


def _two_charges(text: str) -> tuple[float, float]:
    values = numbers(text, "--charges")
    if len(values) != 2:
        raise InputError(f"--charges: expected two, cation first, such as 2,-1, got '{text}'")
    return values[0], values[1]


def parse_ions(items: Sequence[str]) -> Composition:
    """Return a mixture from items such as "Li:+1:0.5": symbol, charge, ions per formula unit."""
    labels, charges, counts = [], [], []
    for item in items:
        parts = item.split(":")
        if len(parts) != 3 or not parts[0].isalnum():
            raise InputError(
                f"--ion: expected SYMBOL:CHARGE:NUMBER such as Li:+1:0.5, got '{item}'"
            )
        labels.append(parts[0])
        charges.append(one_number(parts[1], "--ion, charge"))
        counts.append(one_number(parts[2], "--ion, number"))
    if len(set(labels)) < len(labels) or len(labels) < 2:
        raise InputError("--ion: give at least two different ions, each once")
    return Composition(tuple(labels), tuple(charges), tuple(counts))


def parse_cores(items: Sequence[str]) -> dict[str, float]:
    """Return the distance of each pair's wall, angstrom, from items such as "ca=1.9"."""
    cores = {}
    for item in items:
        pair, _, distance = item.partition("=")
        if not pair or not distance:
            raise InputError(f"--core: expected PAIR=ANGSTROM such as ca=1.9, got '{item}'")
        cores[pair] = one_number(distance, f"--core {pair}")
    return cores


def parse_concentrations(text: str, option: str = "--concentrations") -> list[float]:
    """Return the numbers of "0.1,0.5,1", "0.1:6:40" (even) or "0.001:6:40:log" (even ratios)."""
    if ":" not in text:
        return numbers(text, option)
    parts = text.split(":")
    if len(parts) not in (3, 4) or parts[3:] not in ([], ["log"], ["linear"]):
        raise InputError(
            f"{option}: expected START:STOP:COUNT or START:STOP:COUNT:log, got '{text}'"
        )
    first, last, count = parts[:3]
    start, stop = one_number(first, option), one_number(last, option)
    if not count.isdigit() or not 2 <= int(count) <= MAX_POINTS:
        raise InputError(f"{option}: COUNT is a whole number from 2 to {MAX_POINTS}, got '{count}'")
    if not start < stop:
        raise InputError(f"{option}: expected START below STOP, got '{text}'")
    if parts[3:] == ["log"]:
        if start <= 0:
            raise InputError(f"{option}: a logarithmic range starts above 0, got '{text}'")
        return [float(c) for c in np.geomspace(start, stop, int(count))]
    return [float(c) for c in np.linspace(start, stop, int(count))]


def one_number(text: str, option: str) -> float:
    """Return one finite number; InputError names the option."""
    values = numbers(text, option)
    if len(values) != 1:
        raise InputError(f"{option}: expected one number, got '{text}'")
    return values[0]


def parse_salt_volume(cm3_per_mol: float | None) -> float | None:
    """Return L/mol from cm3/mol; InputError for a volume that no salt has."""
    if cm3_per_mol is None:
        return None
    low, high = SALT_VOLUMES
    if not low <= cm3_per_mol <= high:
        raise InputError(
            f"--salt-volume: expected {low:g} to {high:g} cm3/mol, got {cm3_per_mol:g}"
        )
    return cm3_per_mol / 1000.0


def numbers(text: str, option: str) -> list[float]:
    """Return the finite numbers of a list with commas; InputError names the option."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option}: expected numbers with commas, got '{text}'") from error
    if not all(math.isfinite(value) for value in values):
        raise InputError(f"{option}: expected finite numbers, got '{text}'")
    return values


def check_molarities(molarities: Sequence[float]) -> list[float]:
    """Return molarities that a solution can have; InputError for the others."""
    if len(molarities) > MAX_POINTS:
        raise InputError(f"at most {MAX_POINTS} concentrations in one call, got {len(molarities)}")
    for c in molarities:
        if not (c == 0 or MIN_MOLARITY <= c <= MAX_MOLARITY):
            raise InputError(
                f"concentration {c:g} mol/L: expected 0, or {MIN_MOLARITY:g} to {MAX_MOLARITY:g} "
                "(more dilute solutions obey the limiting law)"
            )
    return list(molarities)


def molarities_of(
    molalities: Sequence[float],
    salt: str | None,
    temperature: float,
    salt_volume: float | None = None,
) -> list[float]:
    """Return mol/L from mol/kg; InputError without a density or a volume (L/mol) of the salt."""
    if min(molalities) < 0:
        raise InputError(f"a molality must not be negative, got {min(molalities):g} mol/kg")
    if salt_volume is not None:
        return [molarity_at_volume(salt_volume, m, temperature) for m in molalities]
    if salt is None or not has_density(salt):
        raise InputError(
            f"--molalities: no density of {salt or 'these ions'}; give --salt-volume, or "
            "--concentrations in mol/L"
        )
    return [0.0 if m == 0 else molarity_at(salt, m, temperature) for m in molalities]


def has_density(salt: str) -> bool:
    """Tell whether a density model of the salt exists, whatever its range."""
    return salt in salts_with_density()


def concentration_warnings(
    molarities: Sequence[float],
    salt: str | None,
    temperature: float,
    salt_volume: float | None = None,
) -> list[str]:
    """Return a sentence each for concentrations without a density and beyond solubility."""
    highest = max(molarities)
    if highest == 0:
        return []
    if salt_volume is not None:
        molality = constant_volumes(salt_volume, highest, temperature).molality
        return [] if salt is None else _beyond(salt, molality)
    if salt is None:
        return [f"no density of these ions: {_EMPTY}"]
    if not has_density(salt):
        return [f"no density of {salt}: {_EMPTY}", *_beyond(salt, highest, "mol/L")]
    try:
        return _beyond(salt, molality_of_molarity(salt, highest, temperature))
    except InputError as error:
        reason = str(error).partition(";")[0]
        return [f"{reason}: there {_EMPTY}", *_beyond(salt, highest, "mol/L")]


def _beyond(salt: str, concentration: float, unit: str = "mol/kg") -> list[str]:
    """Compare with the solubility: x mol/L of a salt that takes room are more than x mol/kg."""
    limit = solubility(salt)
    if limit is None or concentration <= limit.molality:
        return []
    return [
        f"{concentration:.3g} {unit} beyond the solubility of {salt} ({limit.molality:g} mol/kg at "
        f"25 C, {limit.source.citation}): such a solution is supersaturated"
    ]
