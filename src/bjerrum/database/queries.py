"""Questions to a database: list, count, show, where a number comes from, what is covered.

Every answer is plain data, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select

from bjerrum.database.database import Database
from bjerrum.database.schema import (
    Curve,
    Estimate,
    File,
    Model,
    Run,
    RunCurve,
    RunEstimate,
    RunFile,
    RunStep,
    Solution,
    Step,
)
from bjerrum.errors import InputError

Row = dict[str, Any]
MAX_DEPTH: Final = 100
"""Of a provenance chain: far beyond any real one."""
SHORT: Final = 12
"""Digits of a hash that are shown to people."""


@dataclass(frozen=True)
class Filter:
    """Which estimates are meant; what is left out is not restricted.

    model     name of a model
    run       hash of a run, or its first digits
    molality  from and to, mol/kg
    """

    salts: Sequence[str] = ()
    quantity: str | None = None
    subject: str | None = None
    models: Sequence[str] = ()
    campaign: str | None = None
    run: str | None = None
    molality: tuple[float | None, float | None] = (None, None)
    temperature_K: tuple[float | None, float | None] = (None, None)  # noqa: N815


COLUMNS: Final = (
    Estimate.hash,
    Estimate.salt,
    Estimate.molality_mol_per_kg,
    Estimate.temperature_K,
    Estimate.quantity,
    Estimate.subject,
    Estimate.value,
    Estimate.standard_error,
    Estimate.unit,
    Estimate.n_effective,
    Model.name.label("model"),
    Estimate.method,
    Estimate.code_version,
    Estimate.step,
)
ORDER: Final = (
    Estimate.quantity,
    Estimate.subject,
    Estimate.salt,
    Estimate.molality_mol_per_kg,
    Estimate.temperature_K,
    Estimate.hash,
)


def list_estimates(
    database: Database, where: Filter | None = None, *, limit: int | None = 100, offset: int = 0
) -> list[Row]:
    """Return estimates with their solution and model, by quantity, subject, salt and molality."""
    query = filtered(joined(select(*COLUMNS)), where or Filter())
    query = query.order_by(*ORDER).limit(limit).offset(offset)
    with database.reading() as connection:
        result = connection.execute(query)
        names = list(result.keys())
        return [dict(zip(names, row, strict=True)) for row in result]


def count_estimates(database: Database, where: Filter | None = None) -> int:
    """Return how many estimates a filter leaves."""
    chosen = where or Filter()
    query = select(func.count(Estimate.hash))
    if chosen != Filter():
        query = filtered(query, chosen)
    with database.reading() as connection:
        return int(connection.scalar(query) or 0)


def known_estimates(database: Database, hashes: Sequence[str]) -> set[str]:
    """Return which of these hashes are stored."""
    known: set[str] = set()
    with database.reading() as connection:
        for start in range(0, len(hashes), 500):
            query = select(Estimate.hash).where(Estimate.hash.in_(hashes[start : start + 500]))
            known.update(connection.scalars(query))
    return known


def list_curves(
    database: Database, salt: str, quantity: str | None = None, *, limit: int = 500
) -> list[Row]:
    """Return the g(r) and potentials of mean force of a salt, with their columns."""
    query = (
        select(
            Curve.hash,
            Curve.quantity,
            Curve.subject,
            Curve.method,
            Curve.step,
            Curve.columns,
            Solution.salt,
            Solution.molality_mol_per_kg,
            Solution.temperature_K,
            Model.name.label("model"),
        )
        .join(Solution, Curve.solution == Solution.hash)
        .outerjoin(Model, Curve.model == Model.hash)
        .where(Solution.salt == salt)
        .order_by(Curve.quantity, Curve.subject, Solution.molality_mol_per_kg, Curve.hash)
        .limit(limit)
    )
    if quantity is not None:
        query = query.where(Curve.quantity == quantity)
    with database.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def curves_of_run(database: Database, run: str) -> list[Row]:
    """Return the curves of a run, by its whole hash, with their columns."""
    query = (
        select(Curve.quantity, Curve.subject, Curve.method, Curve.columns)
        .join(RunCurve, RunCurve.curve == Curve.hash)
        .where(RunCurve.run == run)
        .order_by(Curve.quantity, Curve.subject, Curve.hash)
    )
    with database.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def list_runs(
    database: Database, *, salt: str | None = None, campaign: str | None = None, limit: int = 1000
) -> list[Row]:
    """Return runs, newest first, with how many estimates each has."""
    number = (
        select(func.count()).where(RunEstimate.run == Run.hash).correlate(Run).scalar_subquery()
    )
    query = (
        select(
            Run.hash,
            Run.name,
            Run.kind,
            Run.campaign,
            Solution.salt,
            Solution.molality_mol_per_kg,
            Solution.temperature_K,
            Model.name.label("model"),
            Run.added_at,
            number.label("n_estimates"),
        )
        .join(Solution, Run.solution == Solution.hash)
        .outerjoin(Model, Run.model == Model.hash)
        .order_by(Run.added_at.desc(), Run.hash)
        .limit(limit)
    )
    if salt is not None:
        query = query.where(Solution.salt == salt)
    if campaign is not None:
        query = query.where(Run.campaign == campaign)
    with database.reading() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [{**row, "added_at": row["added_at"].isoformat(timespec="seconds")} for row in rows]


def show_run(database: Database, key: str) -> Row:
    """Return a run by its hash or the first digits of it; InputError where there is none."""
    with database.reading() as connection:
        found = _one(connection, Run, key, "run")
        place = _by_hash(connection, Solution, found["solution"])
        model = _by_hash(connection, Model, found["model"]) if found["model"] else None
        files = (
            select(File.hash, File.name, File.media_type, func.length(File.content).label("bytes"))
            .join(RunFile, RunFile.file == File.hash)
            .where(RunFile.run == found["hash"])
            .order_by(File.name)
        )
        curves = (
            select(Curve.hash, Curve.quantity, Curve.subject, Curve.step, Curve.method)
            .join(RunCurve, RunCurve.curve == Curve.hash)
            .where(RunCurve.run == found["hash"])
            .order_by(Curve.quantity, Curve.subject)
        )
        return {
            **found,
            "added_at": found["added_at"].isoformat(timespec="seconds"),
            "solution": place,
            "model": model,
            "files": [dict(row) for row in connection.execute(files).mappings()],
            "curves": [dict(row) for row in connection.execute(curves).mappings()],
            "steps": _steps_of(connection, found["hash"]),
        }


def show_estimate(database: Database, key: str) -> Row:
    """Return an estimate by its hash or first digits, with the chain of steps back to the labels.

    InputError where there is none.
    """
    with database.reading() as connection:
        found = _one(connection, Estimate, key, "estimate")
        runs = (
            select(Run.hash, Run.name, Run.kind, Run.campaign)
            .join(RunEstimate, RunEstimate.run == Run.hash)
            .where(RunEstimate.estimate == found["hash"])
            .order_by(Run.added_at)
        )
        return {
            **found,
            "solution": _by_hash(connection, Solution, found["solution"]),
            "model": _by_hash(connection, Model, found["model"]) if found["model"] else None,
            "runs": [dict(row) for row in connection.execute(runs).mappings()],
            "chain": _chain(connection, found["step"]),
        }


def read_file(database: Database, key: str) -> tuple[str, str, bytes]:
    """Return name, media type and content of a stored file; InputError where there is none."""
    with database.reading() as connection:
        found = _one(connection, File, key, "file")
    return found["name"], found["media_type"], bytes(found["content"])


def find(database: Database, key: str) -> tuple[str, Row]:
    """Return ("run" | "estimate", what is known) for a hash or its first digits."""
    try:
        return "run", show_run(database, key)
    except InputError as error:
        if "several" in str(error):
            raise
    try:
        return "estimate", show_estimate(database, key)
    except InputError as error:
        if "several" in str(error):
            raise
        raise InputError(
            f"{database.name}: no run and no estimate begins with {key[:80]!r}; "
            "bjerrum database list --runs shows the runs"
        ) from error


def joined(query: Any) -> Select[Any]:
    """Join the estimates' models to a ``select``."""
    found: Select[Any] = query.select_from(Estimate).outerjoin(Model, Estimate.model == Model.hash)
    return found


def filtered(query: Select[Any], where: Filter) -> Select[Any]:
    """Restrict a query of estimates; InputError for what is no hash."""
    if where.salts:
        query = query.where(Estimate.salt.in_(where.salts))
    if where.models:
        models = select(Model.hash).where(Model.name.in_(where.models))
        query = query.where(Estimate.model.in_(models))
    if where.quantity is not None:
        query = query.where(Estimate.quantity == where.quantity)
    if where.subject is not None:
        query = query.where(Estimate.subject == where.subject)
    if where.campaign is not None or where.run is not None:
        runs = select(RunEstimate.estimate).join(Run, RunEstimate.run == Run.hash)
        if where.campaign is not None:
            runs = runs.where(Run.campaign == where.campaign)
        if where.run is not None:
            runs = runs.where(begins(Run.hash, where.run))
        query = query.where(Estimate.hash.in_(runs))
    for column, (low, high) in (
        (Estimate.molality_mol_per_kg, where.molality),
        (Estimate.temperature_K, where.temperature_K),
    ):
        if low is not None:
            query = query.where(column >= low)
        if high is not None:
            query = query.where(column <= high)
    return query


def begins(column: Any, key: str) -> ColumnElement[bool]:
    """Tell whether a hash begins with hexadecimal digits; true for nothing else."""
    if not key or set(key) - set("0123456789abcdef"):
        raise InputError(f"expected the hexadecimal digits of a hash, got {key[:80]!r}")
    result: ColumnElement[bool] = column.between(key, key + "g")
    return result


def _one(connection: Connection, model: Any, key: str, what: str) -> Row:
    query = select(model.__table__).where(begins(model.hash, key)).limit(2)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    if len(rows) == 1:
        return rows[0]
    found = "several begin" if rows else "none begins"
    raise InputError(f"{what}: {found} with {key[:80]!r}; give the whole hash")


def _by_hash(connection: Connection, model: Any, key: str) -> Row:
    query = select(model.__table__).where(model.hash == key)
    return dict(connection.execute(query).mappings().one())


def _steps_of(connection: Connection, run: str) -> list[Row]:
    query = (
        select(Step.__table__).join(RunStep, RunStep.step == Step.hash).where(RunStep.run == run)
    )
    return [dict(row) for row in connection.execute(query.order_by(Step.name)).mappings()]


def _chain(connection: Connection, step: str) -> list[Row]:
    """Return the steps behind a hash, nearest first; ``known`` is false where the chain ends."""
    nodes: dict[str, Row] = {}
    level = [step] if step else []
    for depth in range(MAX_DEPTH):
        if not level:
            break
        query = select(Step.__table__).where(Step.hash.in_(level))
        known = {row["hash"]: dict(row) for row in connection.execute(query).mappings()}
        for key in level:
            row = known.get(key)
            nodes[key] = {"depth": depth, "known": row is not None, **(row or {"hash": key})}
        inputs = [key for row in known.values() for key in row["inputs"].values()]
        level = [key for key in dict.fromkeys(inputs) if key not in nodes]
    return list(nodes.values())
