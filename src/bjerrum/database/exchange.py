"""A database's content as files, and back.

JSON     everything: runs with their estimates, curves, steps and files; nothing is lost
CSV      one row per estimate, with its solution and model
Parquet  the same rows with their types

Every estimate carries its hash; a file in which one does not fit was changed and is refused. Rows
without a hash are foreign data and get one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from bjerrum.database import schema
from bjerrum.database.database import Database
from bjerrum.database.documents import read_document, runs_document
from bjerrum.database.queries import COLUMNS, ORDER, Filter, Row, filtered, joined, known_estimates
from bjerrum.database.records import (
    EstimateRecord,
    ModelRecord,
    RunRecord,
    SolutionRecord,
    content_hash,
)
from bjerrum.database.run_folder import RESULTS, read_run_folder
from bjerrum.database.writing import Inserted
from bjerrum.errors import ExternalError, InputError
from bjerrum.files import write_whole

TEXTS: Final = ("salt", "quantity", "subject", "unit", "method", "code_version", "step")
NUMBERS: Final = (
    "molality_mol_per_kg",
    "temperature_K",
    "value",
    "standard_error",
    "n_effective",
)
MODEL: Final = ("model", "model_sha256", "model_labels", "model_code_version")
FLAT: Final = (
    *("salt", "molality_mol_per_kg", "temperature_K", "quantity", "subject", "value"),
    *("standard_error", "unit", "n_effective", *MODEL, "method", "code_version", "step"),
    *("details", "hash"),
)
"""Columns of CSV and Parquet, units in the names."""
IMPORTED: Final = "import"
"""Kind of a run that was made of a flat table."""
NEEDED: Final = ("salt", "molality_mol_per_kg", "temperature_K", "quantity", "value", "unit")
"""Columns that a foreign table must have."""


def export_file(database: Database, path: Path, where: Filter | None = None) -> int:
    """Write estimates to a .csv or .parquet file, or whole runs to .json; return how many.

    Raises InputError for another suffix, ExternalError where Parquet is not installed.
    """
    writer = _by_suffix(path, _WRITERS)
    content, n = writer(database, where or Filter())
    write_whole(path, content)
    return n


def read_records(path: Path) -> list[RunRecord]:
    """Return the records of a run folder, or of a .json, .csv or .parquet file.

    Raises InputError for a file that is none of these, of another version or changed.
    """
    path = Path(path)
    if path.is_dir():
        return read_run_folder(path)
    if path.name == RESULTS:
        return read_run_folder(path.parent)
    reader = _by_suffix(path, _READERS)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return reader(path, content)


def import_files(database: Database, paths: Iterable[Path]) -> Inserted:
    """Insert the records of run folders and files, in one transaction.

    Rows of a table that are stored already make no new run. Raises as :func:`read_records` does.
    """
    return import_records(database, [one for path in paths for one in read_records(path)])


def import_records(database: Database, records: Iterable[RunRecord]) -> Inserted:
    """Insert records as :func:`import_files` does."""
    fresh, known = [], 0
    for record in records:
        kept = record if record.kind != IMPORTED else _without_known(database, record)
        known += len(record.estimates) - len(kept.estimates)
        if kept.estimates or kept is record:
            fresh.append(kept)
    done = database.insert(fresh)
    return replace(done, known_estimates=done.known_estimates + known)


def _without_known(database: Database, record: RunRecord) -> RunRecord:
    known = known_estimates(database, record.estimate_hashes)
    pairs = zip(record.estimates, record.estimate_hashes, strict=True)
    return replace(record, estimates=[estimate for estimate, key in pairs if key not in known])


def flat_rows(database: Database, where: Filter) -> list[Row]:
    """Return estimates as the rows of CSV and Parquet."""
    model = schema.Model
    query = filtered(
        joined(
            select(
                *COLUMNS,
                schema.Estimate.details,
                model.sha256.label("model_sha256"),
                model.labels.label("model_labels"),
                model.code_version.label("model_code_version"),
            )
        ),
        where,
    )
    with database.reading() as connection:
        rows = [dict(row) for row in connection.execute(query.order_by(*ORDER)).mappings()]
    for row in rows:
        row["details"] = json.dumps(row["details"], sort_keys=True) if row["details"] else None
    return [{name: row[name] for name in FLAT} for row in rows]


def csv_content(rows: Iterable[Row]) -> bytes:
    """Return rows as CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, FLAT, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def parquet_content(rows: list[Row]) -> bytes:
    """Return rows as Parquet; ExternalError without pyarrow."""
    pyarrow, parquet = _pyarrow()
    fields = [
        pyarrow.field(name, pyarrow.float64() if name in NUMBERS else pyarrow.string())
        for name in FLAT
    ]
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(fields)), buffer)
    return buffer.getvalue()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExternalError(
            "Parquet needs pyarrow; install it with pip install 'bjerrum[parquet]', or use .csv"
        ) from error
    return pyarrow, parquet


def _write_csv(database: Database, where: Filter) -> tuple[bytes, int]:
    rows = flat_rows(database, where)
    return csv_content(rows), len(rows)


def _write_parquet(database: Database, where: Filter) -> tuple[bytes, int]:
    rows = flat_rows(database, where)
    return parquet_content(rows), len(rows)


def _write_json(database: Database, where: Filter) -> tuple[bytes, int]:
    document = runs_document(database, where)
    return json.dumps(document, allow_nan=False).encode("utf-8"), len(document["runs"])


def _read_csv(path: Path, content: bytes) -> list[RunRecord]:
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not CSV in UTF-8 ({error})") from error
    return _records(path, rows)


def _read_parquet(path: Path, content: bytes) -> list[RunRecord]:
    pyarrow, parquet = _pyarrow()
    try:
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: is not Parquet ({error})") from error
    return _records(path, rows)


def _read_json(path: Path, content: bytes) -> list[RunRecord]:
    return read_document(str(path), content)


def _records(path: Path, rows: list[Row]) -> list[RunRecord]:
    """Return one record per model of a flat table."""
    if not rows:
        raise InputError(f"{path}: has no rows")
    _require_columns(path, rows[0])
    groups: dict[ModelRecord | None, list[EstimateRecord]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}: row {number}"
        try:
            solution, model, estimate = _record(row)
        except (InputError, ValueError, TypeError) as error:
            raise InputError(f"{where}: {error}") from error
        key = row.get("hash")
        if key and key != estimate.hash_for(solution, model):
            raise InputError(f"{where}: does not fit its hash; the row was changed")
        groups.setdefault(model, []).append(replace(estimate, solution=solution))
    return [_imported(model, estimates) for model, estimates in groups.items()]


def _imported(model: ModelRecord | None, estimates: list[EstimateRecord]) -> RunRecord:
    solution = estimates[0].solution
    assert solution is not None
    name = f"imported table, {model.name if model else 'no model'}"
    return RunRecord(name=name, kind=IMPORTED, solution=solution, model=model, estimates=estimates)


def _require_columns(path: Path, row: Row) -> None:
    missing = [name for name in NEEDED if name not in row]
    unknown = [str(name) for name in row if name not in FLAT]
    if missing or unknown:
        what = f"column {missing[0]!r} is missing" if missing else f"unknown column {unknown[0]!r}"
        raise InputError(f"{path}: {what}; expected {', '.join(FLAT)}")


def _record(row: Row) -> tuple[SolutionRecord, ModelRecord | None, EstimateRecord]:
    text = {name: str(row.get(name) or "") for name in (*TEXTS, *MODEL)}
    number = {name: _number(row.get(name)) for name in NUMBERS}
    needed = ("molality_mol_per_kg", "temperature_K", "value")
    for name in needed:
        if number[name] is None:
            raise InputError(f"{name}: expected a number, got nothing")
    molality, temperature, value = (float(number[name] or 0.0) for name in needed)
    model = None
    if text["model"]:
        digest = text["model_sha256"] or content_hash(text["model"])
        labels, version = text["model_labels"], text["model_code_version"]
        model = ModelRecord(text["model"], digest, labels, version)
    estimate = EstimateRecord(
        quantity=text["quantity"],
        subject=text["subject"],
        value=value,
        standard_error=number["standard_error"],
        unit=text["unit"],
        n_effective=number["n_effective"],
        method=text["method"] or "not stated",
        code_version=text["code_version"],
        step=text["step"],
        details=json.loads(row.get("details") or "{}"),
    )
    return SolutionRecord(text["salt"], molality, temperature), model, estimate


def _number(text: Any) -> float | None:
    return None if text is None or text == "" else float(text)


def _by_suffix(path: Path, choices: dict[str, Any]) -> Any:
    found = choices.get(Path(path).suffix.lower())
    if found is None:
        raise InputError(f"{path}: expected a name that ends in {', '.join(choices)}")
    return found


Writer = Callable[[Database, Filter], tuple[bytes, int]]
Reader = Callable[[Path, bytes], list[RunRecord]]
_WRITERS: Final[dict[str, Writer]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".parquet": _write_parquet,
}
_READERS: Final[dict[str, Reader]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
