"""What the figures show: values against molality by model and method, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from bjerrum.database import Database
from bjerrum.database.experiment import published_curve
from bjerrum.database.queries import Filter, Row, list_curves, list_estimates

MAX_POINTS: Final = 20_000
MAX_CURVES: Final = 200
MANY: Final = 12
"""Measured values from which they are a fitted formula, drawn as a line."""
_KEYS: Final = ("salt", "quantity", "subject", "unit", "model", "method", "temperature_K")


def series_of(estimates: Iterable[Row]) -> list[Row]:
    """Return estimates grouped into lines of one model and method, against molality."""
    groups: dict[tuple[Any, ...], Row] = {}
    for row in estimates:
        key = tuple(row[name] for name in _KEYS)
        if key not in groups:
            head = dict(zip(_KEYS, key, strict=True))
            groups[key] = {**head, "molality": [], "value": [], "error": [], "hash": []}
        group = groups[key]
        group["molality"].append(row["molality_mol_per_kg"])
        group["value"].append(row["value"])
        group["error"].append(row["standard_error"])
        group["hash"].append(row["hash"])
    return list(groups.values())


def measured(series: Iterable[Row]) -> list[Row]:
    """Return what was measured for the salts, quantities and temperatures of these lines."""
    ranges: dict[tuple[str, str, str, float, str], float] = {}
    for line in series:
        key = tuple(line[name] for name in ("quantity", "subject", "salt", "temperature_K", "unit"))
        ranges[key] = max(ranges.get(key, 0.0), *line["molality"])
    found = []
    for (quantity, subject, salt, temperature, unit), highest in sorted(ranges.items()):
        points = [
            point
            for point in published_curve(quantity, subject, salt, temperature, highest)
            if point["unit"] == unit
        ]
        head = {"quantity": quantity, "subject": subject, "salt": salt}
        found += _lines(points, {**head, "temperature_K": temperature}, highest)
    return found


def _lines(points: list[Row], head: Row, highest: float) -> list[Row]:
    """Return one line per source; a value of no stated molality is drawn level across."""
    lines: dict[tuple[str, bool], Row] = {}
    for point in points:
        molality = point["molality_mol_per_kg"]
        places = [molality] if molality is not None else [0.0, highest]
        key = (point["citation"], molality is None)
        line = lines.setdefault(
            key,
            {
                **head,
                **{name: point[name] for name in ("citation", "doi", "note")},
                "kind": "level" if molality is None else "points",
                **{"molality": [], "value": [], "error": []},
            },
        )
        for place in places:
            line["molality"].append(place)
            line["value"].append(point["value"])
            line["error"].append(point["uncertainty"])
    for line in lines.values():
        if line["kind"] == "points" and len(line["value"]) > MANY:
            line["kind"] = "curve"
    return list(lines.values())


def salt_figures(database: Database, salt: str) -> Row:
    """Return every line and curve of a salt, and the measurements beside them."""
    series = series_of(list_estimates(database, Filter(salts=(salt,)), limit=MAX_POINTS))
    return {
        "salt": salt,
        "series": series,
        "measured": measured(series),
        "curves": list_curves(database, salt, limit=MAX_CURVES),
    }
