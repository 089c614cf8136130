"""Stored values beside measured ones and beside each other; and what is covered at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select

from bjerrum.database.database import Database
from bjerrum.database.experiment import published
from bjerrum.database.queries import Filter, Row, list_estimates
from bjerrum.database.schema import Curve, Estimate, Model, Run, Solution
from bjerrum.errors import InputError

PLACE = ("salt", "molality_mol_per_kg", "temperature_K", "quantity", "subject", "unit")


def with_experiment(estimates: Iterable[Row]) -> list[Row]:
    """Return estimates with ``experiment`` (or None) and ``deviation_sigma`` beside each.

    deviation_sigma = (value - measured)/sqrt(standard_error^2 + uncertainty^2); None for a value
    without an error bar. An uncertainty that the source does not state counts as zero.
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
    for estimate in estimates:
        key = tuple(estimate[name] for name in PLACE)
        if key not in rows:
            experiment = _beside(estimate)["experiment"]
            rows[key] = {
                **dict(zip(PLACE, key, strict=True)),
                "experiment": experiment,
                "estimates": [],
            }
        rows[key]["estimates"].append(
            {
                "hash": estimate["hash"],
                "model": estimate["model"],
                "method": estimate["method"],
                "value": estimate["value"],
                "standard_error": estimate["standard_error"],
                "deviation_sigma": _beside(estimate)["deviation_sigma"],
            }
        )
    return list(rows.values())


def overview(database: Database) -> Row:
    """Return what the database holds: salts, quantities, models, campaigns, and how much of each.

    ``coverage`` is a list of {"salt", "quantity", "n"}; curves count under their quantity.
    """
    with database.reading() as connection:
        coverage = [
            {"salt": salt, "quantity": quantity, "n": n}
            for query in (
                select(Estimate.salt, Estimate.quantity, func.count()).group_by(
                    Estimate.salt, Estimate.quantity
                ),
                select(Solution.salt, Curve.quantity, func.count())
                .join(Solution, Curve.solution == Solution.hash)
                .group_by(Solution.salt, Curve.quantity),
            )
            for salt, quantity, n in connection.execute(query)
        ]
        salts = [
            {
                "salt": salt,
                "cation": cation,
                "anion": anion,
                "n_solutions": n,
                "molality_mol_per_kg": [low, high],
            }
            for salt, cation, anion, n, low, high in connection.execute(
                select(
                    Solution.salt,
                    Solution.cation,
                    Solution.anion,
                    func.count(),
                    func.min(Solution.molality_mol_per_kg),
                    func.max(Solution.molality_mol_per_kg),
                )
                .group_by(Solution.salt, Solution.cation, Solution.anion)
                .order_by(Solution.salt)
            )
        ]
        return {
            "salts": salts,
            "coverage": coverage,
            "models": sorted(set(connection.scalars(select(Model.name)))),
            "campaigns": sorted(set(connection.scalars(select(Run.campaign).distinct())) - {""}),
            "n_runs": connection.scalar(select(func.count()).select_from(Run)),
            "n_estimates": connection.scalar(select(func.count()).select_from(Estimate)),
            "n_curves": connection.scalar(select(func.count()).select_from(Curve)),
        }


def _beside(row: Row) -> Row:
    found = published(
        row["quantity"],
        row["subject"],
        row["salt"],
        row["molality_mol_per_kg"],
        row["temperature_K"],
    )
    if found is None or found.unit != row["unit"]:
        return {"experiment": None, "deviation_sigma": None}
    sigma = found.deviation(row["value"], row["standard_error"])
    return {"experiment": found.to_json(), "deviation_sigma": sigma}
