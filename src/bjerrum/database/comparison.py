"""Stored values beside measured ones and beside each other; and what is covered at all."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, func, select

from bjerrum.database.database import Database
from bjerrum.database.experiment import Published, published
from bjerrum.database.queries import Filter, Row, list_estimates
from bjerrum.database.schema import Curve, Estimate, Model, Run, Solution
from bjerrum.errors import InputError

PLACE = ("salt", "molality_mol_per_kg", "temperature_K", "quantity", "subject", "unit")
_place = itemgetter(*PLACE)


def with_experiment(estimates: Iterable[Row]) -> list[Row]:
    """Return estimates with ``experiment`` (or None) and ``deviation_sigma`` beside each.

    deviation_sigma = (value - measured)/sqrt(standard_error^2 + uncertainty^2); None for a value
    without an error bar and for a measurement whose uncertainty its source does not state.
    """
    return [{**row, **_beside(row)} for row in estimates]


def compare(database: Database, where: Filter, *, limit: int = 2000) -> list[Row]:
    """Return one row per solution and quantity: every model's value, and the measured one.

    Raises InputError where the filter leaves nothing.
    """
    estimates = list_estimates(database, where, limit=limit)
    if not estimates:
        raise InputError(
            f"{database.name}: no estimates fit; bjerrum database list shows what there is"
        )
    rows: dict[tuple[Any, ...], Row] = {}
    found: dict[tuple[Any, ...], Published | None] = {}
    for estimate in estimates:
        key = _place(estimate)
        if key not in rows:
            measured = found[key] = _published(estimate)
            rows[key] = {
                **dict(zip(PLACE, key, strict=True)),
                "experiment": measured.to_json() if measured else None,
                "estimates": [],
            }
        rows[key]["estimates"].append(
            {
                "hash": estimate["hash"],
                "model": estimate["model"],
                "method": estimate["method"],
                "value": estimate["value"],
                "standard_error": estimate["standard_error"],
                "deviation_sigma": _deviation(found[key], estimate),
            }
        )
    return list(rows.values())


def overview(database: Database) -> Row:
    """Return what the database holds: salts, quantities, models, campaigns, and how much of each.

    ``coverage`` is a list of {"salt", "quantity", "n"}; curves count under their quantity.
    """
    in_solution = select(Solution.salt, Curve.quantity).join(Curve, Curve.solution == Solution.hash)
    with database.reading() as connection:
        values = _counts(connection, select(Estimate.salt, Estimate.quantity))
        curves = _counts(connection, in_solution)
        return {
            "salts": _salts(connection),
            "coverage": values + curves,
            "models": sorted(set(connection.scalars(select(Model.name)))),
            "campaigns": sorted(set(connection.scalars(select(Run.campaign).distinct())) - {""}),
            "n_runs": connection.scalar(select(func.count()).select_from(Run)),
            "n_estimates": sum(row["n"] for row in values),
            "n_curves": sum(row["n"] for row in curves),
        }


def _counts(connection: Connection, query: Select[str, str]) -> list[Row]:
    """Return how often each salt and quantity of a query comes up."""
    grouped = query.add_columns(func.count()).group_by(*query.selected_columns)
    return [{"salt": s, "quantity": q, "n": n} for s, q, n in connection.execute(grouped)]


def _salts(connection: Connection) -> list[Row]:
    """Return the salts with their ions, the number of solutions, least and largest molality."""
    molality = Solution.molality_mol_per_kg
    salt = (Solution.salt, Solution.cation, Solution.anion)
    query = (
        select(*salt, func.count(), func.min(molality), func.max(molality))
        .group_by(*salt)
        .order_by(Solution.salt)
    )
    names = ("salt", "cation", "anion", "n_solutions")
    return [
        {**dict(zip(names, row[:4], strict=True)), "molality_mol_per_kg": list(row[4:])}
        for row in connection.execute(query)
    ]


def _beside(row: Row) -> Row:
    found = _published(row)
    experiment = found.to_json() if found else None
    return {"experiment": experiment, "deviation_sigma": _deviation(found, row)}


def _published(row: Row) -> Published | None:
    """Return the measured value of a row's quantity; None where there is none in its unit."""
    salt, molality, temperature, quantity, subject, unit = _place(row)
    found = published(quantity, subject, salt, molality, temperature)
    return found if found is not None and found.unit == unit else None


def _deviation(found: Published | None, row: Row) -> float | None:
    return found.deviation(row["value"], row["standard_error"]) if found else None
