"""Published values beside stored ones: for each quantity a function of solution and subject.

Nothing is extrapolated: outside the range of the measurements there is no value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from bjerrum.density import density_model, solution_density
from bjerrum.errors import InputError
from bjerrum.literature.pitzer import (
    mean_activity_coefficient,
    osmotic_coefficient,
    pitzer_parameters,
)
from bjerrum.literature.solutions import solution_conductivity, solution_viscosity
from bjerrum.literature.tables import Source
from bjerrum.literature.values import EXPERIMENT, ReferenceValue, reference_values
from bjerrum.system import Salt, Solution
from bjerrum.thermodynamics.experiment import experimental_curves

PITZER_TEMPERATURE: Final = 298.15
WITHIN_K: Final = 5.0
"""Measurements at 298.15 K stand beside estimates at most this far from it; the note says so."""
WITHIN_MOLALITY: Final = 0.1
"""Relative distance between the molality of a single measurement and that of an estimate."""
NAMES_OF_WATER: Final = {"water": "H2O", "O": "H2O"}


@dataclass(frozen=True)
class Published:
    """A measured value; ``uncertainty`` is None where the source gives none."""

    value: float
    uncertainty: float | None
    unit: str
    citation: str
    doi: str
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "value": self.value,
            "uncertainty": self.uncertainty,
            "unit": self.unit,
            "citation": self.citation,
            "doi": self.doi,
            "note": self.note,
        }

    def deviation(self, value: float, standard_error: float | None) -> float | None:
        """Return (value - measured)/sqrt(standard_error^2 + uncertainty^2).

        None for a value without an error bar, and beside a measurement whose source states no
        uncertainty: the computed error alone is no measure of how far the two are apart.
        """
        if not standard_error or self.uncertainty is None:
            return None
        return (value - self.value) / math.hypot(standard_error, self.uncertainty)


@lru_cache(maxsize=20_000)
def published(
    quantity: str, subject: str, salt: str, molality: float, temperature: float
) -> Published | None:
    """Return the measured value of a quantity in a solution; None where there is none.

    molality     mol/kg
    temperature  K
    """
    if quantity not in _SOURCES:
        return None
    try:
        return _SOURCES[quantity](subject, salt, molality, temperature)
    except InputError:  # a salt without data, or outside the range of the measurements
        return None


def published_curve(
    quantity: str, subject: str, salt: str, temperature: float, max_molality: float
) -> list[dict[str, Any]]:
    """Return measured values from 0 to ``max_molality`` mol/kg, each with its molality.

    A fitted formula gives a value at each of 40 molalities; single measurements are given where
    they were made, and those of no stated molality have None.
    """
    if quantity in _TABLES:
        return _measurements(_TABLES[quantity], subject, salt, temperature)
    grid = np.round(np.linspace(0, math.sqrt(max(max_molality, 0.1)), 41)[1:] ** 2, 6)
    found = [(m, published(quantity, subject, salt, float(m), temperature)) for m in grid]
    return [{"molality_mol_per_kg": float(m), **p.to_json()} for m, p in found if p is not None]


def _measurements(name: str, subject: str, salt: str, t: float) -> list[dict[str, Any]]:
    pair = NAMES_OF_WATER.get(subject, subject)
    points = []
    for value in reference_values(name, pair=pair, salt=salt, kind=EXPERIMENT):
        if value.temperature is not None and abs(value.temperature - t) > WITHIN_K:
            continue
        low, high = value.molality_min, value.molality_max
        middle = None if low is None or high is None else (low + high) / 2
        points.append({"molality_mol_per_kg": middle, **_reference(value).to_json()})
    return points


def _near_25_celsius(temperature: float) -> str:
    if abs(temperature - PITZER_TEMPERATURE) > WITHIN_K:
        raise InputError("the measurements are at 298.15 K")
    return "" if abs(temperature - PITZER_TEMPERATURE) < 0.1 else "measured at 298.15 K"


def _from(source: Source, value: float, unit: str, note: str = "") -> Published:
    return Published(float(value), None, unit, source.citation, source.doi, note)


def _reference(value: ReferenceValue, note: str = "") -> Published:
    notes = (value.method, value.note, note, "" if value.is_verified else value.status_text)
    return Published(
        value.value,
        value.uncertainty,
        value.unit,
        value.source.citation,
        value.source.doi,
        ", ".join(text for text in notes if text),
    )


def _osmotic(subject: str, salt: str, m: float, t: float) -> Published:
    note = _near_25_celsius(t)
    return _from(pitzer_parameters(salt).source, osmotic_coefficient(salt, m), "1", note)


def _activity(subject: str, salt: str, m: float, t: float) -> Published:
    note = _near_25_celsius(t)
    return _from(pitzer_parameters(salt).source, mean_activity_coefficient(salt, m), "1", note)


def _ln_activity(subject: str, salt: str, m: float, t: float) -> Published:
    note = _near_25_celsius(t)
    value = math.log(mean_activity_coefficient(salt, m))
    return _from(pitzer_parameters(salt).source, value, "1", note)


def _derivative(subject: str, salt: str, m: float, t: float) -> Published:
    note = _near_25_celsius(t)
    curves = experimental_curves(salt, [m])
    if not len(curves.dlna_dlnc):
        raise InputError("outside the range")
    return _from(curves.source, curves.dlna_dlnc[0], "1", note)


def _density(subject: str, salt: str, m: float, t: float) -> Published:
    return _from(density_model(salt).source, solution_density(salt, m, t), "kg/m3")


def _viscosity(subject: str, salt: str, m: float, t: float) -> Published:
    return _reference(solution_viscosity(salt, m, t))


def _conductivity(subject: str, salt: str, m: float, t: float) -> Published:
    """Lambda c: S cm^2/mol times mol/L is 0.1 S/m."""
    molar = solution_conductivity(salt, m, t)
    molarity = Solution(Salt.parse(salt), m, t).molarity
    return _from(molar.source, 0.1 * molar.value * molarity, "S/m", molar.method)


def _tabulated(name: str) -> Callable[[str, str, float, float], Published | None]:
    def find(subject: str, salt: str, m: float, t: float) -> Published | None:
        pair = NAMES_OF_WATER.get(subject, subject)
        values = [
            value
            for value in reference_values(
                name, pair=pair, salt=salt, molality=m, kind=EXPERIMENT, within=WITHIN_MOLALITY
            )
            if value.temperature is None or abs(value.temperature - t) <= WITHIN_K
        ]
        # measured in this salt before measured for the ion, checked before recalled
        values.sort(key=lambda value: (value.salt != salt, not value.is_verified))
        return _reference(values[0]) if values else None

    return find


_TABLES: Final = {
    "first_peak": "first_peak_angstrom",
    "coordination_number": "coordination_number",
    "diffusion_coefficient": "diffusion_1e-9_m2_per_s",
}
"""Quantities that were measured here and there, to their name among the literature values."""

_SOURCES: Final[dict[str, Callable[[str, str, float, float], Published | None]]] = {
    "osmotic_coefficient": _osmotic,
    "activity_coefficient": _activity,
    "ln_activity_coefficient": _ln_activity,
    "dlna_dlnc": _derivative,
    "density": _density,
    "viscosity": _viscosity,
    "conductivity": _conductivity,
    **{quantity: _tabulated(name) for quantity, name in _TABLES.items()},
}
