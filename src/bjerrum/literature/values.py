"""Experimental and published-simulation values, to stand beside a computed one.

Each value carries its conditions, its uncertainty where the source gives one, its source, and how
far the number itself was checked:

checked      read in the publication (its abstract or text)
recomputed   computed again from the data files that the authors published
compiled     taken from a named compilation or a digitised figure
recalled     from a standard source, the printed number not re-checked; never present it as verified
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

from bjerrum.errors import InputError
from bjerrum.literature.tables import Source, read_table, source

EXPERIMENT: Final = "experiment"
SIMULATION: Final = "simulation"
ANY_SALT: Final = "any"
"""Salt of a value that was reported for an ion, whatever its counter-ion."""
PURE_WATER: Final = "water"
"""Salt of a value that holds for water without salt."""

STATUS_TEXT: Final = {
    "checked": "read in the publication",
    "recomputed": "recomputed from published data",
    "compiled": "from a compilation",
    "recalled": "recalled, not re-checked",
}


@dataclass(frozen=True, kw_only=True)
class ReferenceValue:
    """One published number with the conditions it holds for and where it comes from.

    quantity      machine name with its unit, "first_peak_angstrom"
    pair          "Li-O", one species ("Li", "H2O"), or empty for a property of the solution
    salt          formula, ANY_SALT or PURE_WATER
    molality_min, molality_max   mol/kg of the measurements; None where not stated
    temperature   K
    uncertainty   as stated by the source, same unit as value; None where not stated
    kind          "experiment" or "simulation"
    status        a key of STATUS_TEXT
    """

    quantity: str
    pair: str
    salt: str
    molality_min: float | None
    molality_max: float | None
    temperature: float | None
    value: float
    uncertainty: float | None
    unit: str
    kind: str
    method: str
    source: Source
    status: str
    note: str = ""

    @property
    def is_verified(self) -> bool:
        """False for numbers that nobody has re-checked against their source."""
        return self.status != "recalled"

    @property
    def status_text(self) -> str:
        """The status in words, for a table's footnote."""
        return STATUS_TEXT[self.status]

    def covers(self, molality: float, *, within: float = 0.0) -> bool:
        """Tell whether the range, widened by the fraction ``within``, holds ``molality``.

        A value without a molality covers every one.
        """
        if self.molality_min is None or self.molality_max is None:
            return True
        return self.molality_min * (1 - within) <= molality <= self.molality_max * (1 + within)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the source as citation and doi."""
        data = asdict(self)
        data["source"] = {"citation": self.source.citation, "doi": self.source.doi}
        return data

    def __str__(self) -> str:
        error = "" if self.uncertainty is None else f" +- {self.uncertainty:g}"
        unit = "" if self.unit == "1" else f" {self.unit}"
        mark = "" if self.is_verified else f" ({self.status_text})"
        return f"{self.value:g}{error}{unit}, {self.kind}: {self.source}{mark}"


def reference_values(
    quantity: str,
    *,
    pair: str | None = None,
    salt: str | None = None,
    molality: float | None = None,
    kind: str | None = None,
    within: float = 0.2,
) -> list[ReferenceValue]:
    """Return the published values of a quantity, experiments first; empty where there are none.

    quantity  one of quantities()
    pair      "Li-O" or "O-Li", or one species; all if None
    salt      formula; values of the ion in any salt are included, those of pure water only for
              salt="water" or None
    molality  mol/kg; keeps values measured within the fraction ``within`` of it, and those
              without a stated molality
    kind      "experiment" or "simulation"
    Raises InputError for an unknown quantity or kind.
    """
    if quantity not in quantities():
        close = difflib.get_close_matches(quantity, quantities(), n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise InputError(f"unknown quantity '{quantity}'{hint} Known: {', '.join(quantities())}")
    if kind not in (None, EXPERIMENT, SIMULATION):
        raise InputError(f"kind is '{EXPERIMENT}' or '{SIMULATION}', got '{kind}'")
    found = [
        value
        for value in _all_values()
        if value.quantity == quantity
        and (pair is None or _unordered(value.pair) == _unordered(pair))
        and (salt is None or value.salt in (salt, ANY_SALT))
        and (molality is None or value.covers(molality, within=within))
        and kind in (None, value.kind)
    ]
    return sorted(found, key=lambda value: value.kind)


@cache
def quantities() -> tuple[str, ...]:
    """Return the names of all quantities that have values."""
    return tuple(sorted({value.quantity for value in _all_values()}))


def limiting_diffusion(ion: str) -> ReferenceValue:
    """Return the diffusion coefficient of an ion at infinite dilution in water at 25 C.

    ion  element symbol, "Li"; InputError without data
    """
    for row in read_table("limiting_transport.csv"):
        if row["ion"] == ion:
            return _limiting(row, "diffusion_1e-9_m2_per_s", unit="1e-9 m2/s")
    raise _no_limiting(ion)


def limiting_conductivity(ion: str) -> ReferenceValue:
    """Return the equivalent conductivity lambda/|z| of an ion at infinite dilution at 25 C.

    D = R T lambda/(|z| F^2) with lambda in S m2/mol of charge (Nernst-Einstein).

    ion  element symbol, "Li"; InputError without data
    """
    for row in read_table("limiting_transport.csv"):
        if row["ion"] == ion:
            name = "equivalent_conductivity_S_cm2_per_mol"
            return _limiting(row, name, unit="S cm2/mol")
    raise _no_limiting(ion)


def _limiting(row: dict[str, str], name: str, *, unit: str) -> ReferenceValue:
    return ReferenceValue(
        quantity=f"limiting_{name}",
        pair=row["ion"],
        salt=ANY_SALT,
        molality_min=0.0,
        molality_max=0.0,
        temperature=298.15,
        value=float(row[name]),
        uncertainty=None,
        unit=unit,
        kind=EXPERIMENT,
        method="conductivity extrapolated to infinite dilution",
        source=source(row["source"]),
        status="compiled",
    )


def _no_limiting(ion: str) -> InputError:
    known = ", ".join(row["ion"] for row in read_table("limiting_transport.csv"))
    return InputError(f"no limiting transport data for ion '{ion}'; available: {known}")


def _unordered(pair: str) -> tuple[str, ...]:
    return tuple(sorted(pair.split("-")))


def _number(text: str) -> float | None:
    return float(text) if text else None


@cache
def _all_values() -> tuple[ReferenceValue, ...]:
    return tuple(
        ReferenceValue(
            quantity=row["quantity"],
            pair=row["pair"],
            salt=row["salt"],
            molality_min=_number(row["molality_min_mol_per_kg"]),
            molality_max=_number(row["molality_max_mol_per_kg"]),
            temperature=_number(row["temperature_kelvin"]),
            value=float(row["value"]),
            uncertainty=_number(row["uncertainty"]),
            unit=row["unit"],
            kind=row["kind"],
            method=row["method"],
            source=source(row["source"]),
            status=row["status"],
            note=row["note"],
        )
        for row in read_table("reference_values.csv")
    )
