"""Whole runs as one JSON document, and back: nothing is lost, and what was changed is refused."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from sqlalchemy import Connection, select

from bjerrum import __version__
from bjerrum.database.database import Database
from bjerrum.database.queries import Filter, Row, begins, filtered
from bjerrum.database.records import (
    CurveRecord,
    EstimateRecord,
    FileRecord,
    ModelRecord,
    RunRecord,
    SolutionRecord,
    StepRecord,
)
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

FORMAT: Final = "bjerrum-database/1"
ESTIMATE: Final = (
    *("quantity", "subject", "value", "standard_error", "unit", "n_effective", "method"),
    *("code_version", "step", "details"),
)
CURVE: Final = ("quantity", "subject", "columns", "step", "method")
SOLUTION: Final = ("salt", "molality_mol_per_kg", "temperature_K")
MODEL: Final = ("name", "sha256", "labels", "code_version", "document")
STEP: Final = ("hash", "name", "version", "parameters", "inputs")
RUN: Final = ("hash", "name", "kind", "campaign", "cost", "document")


def runs_document(database: Database, where: Filter | None = None) -> dict[str, Any]:
    """Return every run that found an estimate of the filter; all runs without one."""
    chosen = where or Filter()
    query = select(Run.__table__).order_by(Run.hash)
    if chosen.run is not None:
        query = query.where(begins(Run.hash, chosen.run))
    elif chosen != Filter():
        estimates = filtered(select(Estimate.hash), chosen)
        found = select(RunEstimate.run).where(RunEstimate.estimate.in_(estimates))
        query = query.where(Run.hash.in_(found))
    with database.reading() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        runs = [_run(connection, row) for row in rows]
    return {"format": FORMAT, "bjerrum": __version__, "runs": runs}


def _run(connection: Connection, run: Row) -> Row:
    key = run["hash"]

    def rows(table: Any, link: Any, column: Any, names: tuple[str, ...]) -> list[Row]:
        columns = [getattr(table, name) for name in names]
        query = select(*columns).join(link, column == table.hash).where(link.run == key)
        found = connection.execute(query.order_by(table.hash)).mappings()
        return [dict(row) for row in found]

    def one(table: Any, names: tuple[str, ...], of: str | None) -> Row | None:
        query = select(*(getattr(table, name) for name in names)).where(table.hash == of)
        row = connection.execute(query).mappings().one_or_none()
        return None if row is None else dict(row)

    files = rows(File, RunFile, RunFile.file, ("name", "media_type", "content"))
    return {
        **{name: run[name] for name in RUN},
        "solution": one(Solution, SOLUTION, run["solution"]),
        "model": one(Model, MODEL, run["model"]),
        "estimates": [
            {**{name: row[name] for name in ESTIMATE}, "solution": {n: row[n] for n in SOLUTION}}
            for row in rows(Estimate, RunEstimate, RunEstimate.estimate, (*ESTIMATE, *SOLUTION))
        ],
        "curves": rows(Curve, RunCurve, RunCurve.curve, CURVE),
        "steps": rows(Step, RunStep, RunStep.step, STEP),
        "files": [
            {**file, "content": base64.b64encode(file["content"]).decode("ascii")} for file in files
        ],
    }


def read_document(name: str, content: bytes) -> list[RunRecord]:
    """Return the records of a document; ``name`` stands in the messages.

    Raises InputError for what is not JSON, another format, a key that is missing or unknown, or a
    run that does not fit its hash.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: is not JSON ({error})") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{name}: expected format {FORMAT!r}, got {found!r}; it was not written by "
            "bjerrum database export, or by another version"
        )
    runs = document.get("runs")
    if not isinstance(runs, list):
        raise InputError(f"{name}: expected a list of runs")
    return [_record(f"{name}: run {number}", run) for number, run in enumerate(runs, start=1)]


def _record(where: str, run: Any) -> RunRecord:
    try:
        solution = SolutionRecord(**run["solution"])
        record = RunRecord(
            **{name: run[name] for name in RUN if name != "hash"},
            solution=solution,
            model=ModelRecord(**run["model"]) if run["model"] else None,
            estimates=[_estimate(row, solution) for row in run["estimates"]],
            curves=[CurveRecord(**row) for row in run["curves"]],
            steps=[StepRecord(**row) for row in run["steps"]],
            files=[_file(row) for row in run["files"]],
        )
        key = record.hash
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        what = f"{type(error).__name__}: {error}" if not isinstance(error, InputError) else error
        raise InputError(f"{where}: is not a run of this version ({what})") from error
    if run["hash"] != key:
        raise InputError(f"{where}: does not fit its hash; the file was changed")
    return record


def _estimate(row: Row, own: SolutionRecord) -> EstimateRecord:
    solution = SolutionRecord(**row["solution"])
    fields = {name: row[name] for name in ESTIMATE}
    return EstimateRecord(**fields, solution=None if solution == own else solution)


def _file(row: Row) -> FileRecord:
    content = base64.b64decode(row["content"], validate=True)
    return FileRecord(row["name"], row["media_type"], content)
