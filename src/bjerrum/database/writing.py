"""From records to rows: one transaction, nothing twice, nothing lost beside other writers.

Rows are named by their content, so an insert that meets a row of the same hash leaves it. Rows go
in sorted by hash, so that two writers of the same rows wait for each other and never in a circle.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError

from bjerrum.database import schema
from bjerrum.database.connection import unreachable
from bjerrum.database.records import ModelRecord, RunRecord, SolutionRecord
from bjerrum.errors import ExternalError

Rows = dict[str, dict[str, Any]]

TABLES: Final[tuple[Table, ...]] = tuple(schema.Base.metadata.sorted_tables)
"""In an order in which every row finds what it refers to."""
ATTEMPTS: Final = 5
_RETRIED: Final = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization failure, deadlock."""


@dataclass(frozen=True)
class Inserted:
    """What an insert found new: runs and estimates; and estimates that were there already."""

    runs: int
    estimates: int
    known_estimates: int


def insert_runs(engine: Engine, runs: Iterable[RunRecord]) -> Inserted:
    """Insert runs in one transaction; what is there already stays as it is.

    Raises ExternalError where the database cannot be written.
    """
    rows = _rows(runs)
    for attempt in range(ATTEMPTS):
        try:
            connection = engine.connect().execution_options(bjerrum_write=True)
            with connection, connection.begin():
                new = {table.name: _insert(connection, table, rows[table.name]) for table in TABLES}
            break
        except DBAPIError as error:
            _raise_unless_retried(engine, error, last=attempt == ATTEMPTS - 1)
            time.sleep(0.05 * 2**attempt)
    found = len(rows["estimates"])
    return Inserted(new["runs"], new["estimates"], found - new["estimates"])


def _raise_unless_retried(engine: Engine, error: DBAPIError, *, last: bool) -> None:
    if getattr(error.orig, "sqlstate", None) in _RETRIED and not last:
        return
    if isinstance(error, OperationalError):
        raise unreachable(engine.url, error) from error
    raise ExternalError(f"the database refused the rows: {error.orig}") from error


def _insert(connection: Connection, table: Table, rows: Rows) -> int:
    """Insert rows unless they are there; return the number of new ones."""
    if not rows:
        return 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing()
    values = [rows[key] for key in sorted(rows)]
    done = connection.execute(statement, values, execution_options={"preserve_rowcount": True})
    return int(done.rowcount)


def _rows(runs: Iterable[RunRecord]) -> dict[str, Rows]:
    rows: dict[str, Rows] = {table.name: {} for table in TABLES}
    for run in runs:
        _add_run(rows, run)
    return rows


def _add_run(rows: dict[str, Rows], run: RunRecord) -> None:
    own = run.hash
    rows["runs"][own] = {
        "hash": own,
        "name": run.name,
        "kind": run.kind,
        "campaign": run.campaign,
        "solution": _add_solution(rows, run.solution),
        "model": _add_model(rows, run.model),
        "cost": run.cost,
        "document": run.document,
        "added_at": datetime.now(UTC),
    }
    _add_estimates(rows, run)
    _add_curves(rows, run)
    for step in run.steps:
        rows["steps"][step.hash] = {
            "hash": step.hash,
            "name": step.name,
            "version": step.version,
            "parameters": step.parameters,
            "inputs": dict(step.inputs),
        }
        _link(rows, own, "step", step.hash)
    for file in run.files:
        rows["files"][file.hash] = {
            "hash": file.hash,
            "name": file.name,
            "media_type": file.media_type,
            "content": file.content,
        }
        _link(rows, own, "file", file.hash)


def _link(rows: dict[str, Rows], run: str, kind: str, other: str) -> None:
    rows[f"run_{kind}s"][run + other] = {"run": run, kind: other}


def _add_solution(rows: dict[str, Rows], solution: SolutionRecord) -> str:
    if solution.hash not in rows["solutions"]:
        cation, anion = solution.ions
        rows["solutions"][solution.hash] = {
            "hash": solution.hash,
            "salt": solution.salt,
            "cation": cation,
            "anion": anion,
            "molality_mol_per_kg": solution.molality_mol_per_kg,
            "temperature_K": solution.temperature_K,
        }
    return solution.hash


def _add_model(rows: dict[str, Rows], model: ModelRecord | None) -> str | None:
    if model is None:
        return None
    rows["models"][model.hash] = {
        "hash": model.hash,
        "name": model.name,
        "sha256": model.sha256,
        "labels": model.labels,
        "code_version": model.code_version,
        "document": model.document,
    }
    return model.hash


def _add_estimates(rows: dict[str, Rows], run: RunRecord) -> None:
    model = run.model.hash if run.model else None
    for estimate, key in zip(run.estimates, run.estimate_hashes, strict=True):
        solution = run.solution_of(estimate)
        rows["estimates"][key] = {
            "hash": key,
            "solution": _add_solution(rows, solution),
            "model": model,
            "salt": solution.salt,
            "molality_mol_per_kg": solution.molality_mol_per_kg,
            "temperature_K": solution.temperature_K,
            "quantity": estimate.quantity,
            "subject": estimate.subject,
            "value": float(estimate.value),
            "standard_error": estimate.standard_error,
            "unit": estimate.unit,
            "n_effective": estimate.n_effective,
            "method": estimate.method,
            "code_version": estimate.code_version,
            "step": estimate.step,
            "details": estimate.details,
        }
        _link(rows, run.hash, "estimate", key)


def _add_curves(rows: dict[str, Rows], run: RunRecord) -> None:
    for curve in run.curves:
        key = curve.hash_for(run.solution, run.model)
        rows["curves"][key] = {
            "hash": key,
            "solution": run.solution.hash,
            "model": run.model.hash if run.model else None,
            "quantity": curve.quantity,
            "subject": curve.subject,
            "method": curve.method,
            "step": curve.step,
            "columns": {name: list(values) for name, values in curve.columns.items()},
        }
        _link(rows, run.hash, "curve", key)
