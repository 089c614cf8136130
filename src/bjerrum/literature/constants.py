"""Borrowed constants of pure water, as values with a source, for a report to print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bjerrum.errors import InputError
from bjerrum.literature.tables import source
from bjerrum.literature.values import EXPERIMENT, PURE_WATER, ReferenceValue
from bjerrum.literature.water import (
    water_density,
    water_dielectric_constant,
    water_self_diffusion,
    water_viscosity,
)


@dataclass(frozen=True)
class _Formula:
    function: Callable[[float], float]
    unit: str
    source: str
    status: str
    note: str


_FORMULAS: Final = {
    "water_dielectric_constant": _Formula(
        water_dielectric_constant,
        "1",
        "malmberg1956",
        "checked",
        "measured from 0 to 100 C to better than 0.1 %",
    ),
    "water_density_kg_per_m3": _Formula(
        water_density, "kg/m3", "kell1975", "compiled", "formula for 0 to 150 C at 1 atm"
    ),
    "water_viscosity_mPa_s": _Formula(
        water_viscosity, "mPa s", "laliberte2007", "compiled", "formula for 0 to 100 C"
    ),
    "water_self_diffusion_1e-9_m2_per_s": _Formula(
        water_self_diffusion, "1e-9 m2/s", "holz2000", "compiled", "formula for 0 to 100 C"
    ),
}


def constant_names() -> tuple[str, ...]:
    """Return the names that constant() knows."""
    return tuple(_FORMULAS)


def constant(name: str, temperature: float = 298.15) -> ReferenceValue:
    """Return a borrowed constant of water with its source.

    name         one of constant_names()
    temperature  K; InputError outside 273.15-373.15 K
    """
    if name not in _FORMULAS:
        raise InputError(f"unknown constant '{name}'; known: {', '.join(_FORMULAS)}")
    formula = _FORMULAS[name]
    return ReferenceValue(
        quantity=name,
        pair="",
        salt=PURE_WATER,
        molality_min=0.0,
        molality_max=0.0,
        temperature=temperature,
        value=formula.function(temperature),
        uncertainty=None,
        unit=formula.unit,
        kind=EXPERIMENT,
        method="fitted formula",
        source=source(formula.source),
        status=formula.status,
        note=formula.note,
    )
