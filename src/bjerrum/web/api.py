"""Data as JSON and as files. Everything comes from the database; no address names a file."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from bjerrum.database import Database
from bjerrum.database.comparison import overview, with_experiment
from bjerrum.database.documents import runs_document
from bjerrum.database.exchange import csv_content, flat_rows, parquet_content
from bjerrum.database.queries import (
    Filter,
    count_estimates,
    list_estimates,
    list_runs,
    read_file,
    show_estimate,
    show_run,
)
from bjerrum.system import Salt
from bjerrum.web.series import MAX_POINTS, measured, salt_figures, series_of

Key = Annotated[str, Path(pattern="^[0-9a-f]{4,64}$", description="Hash or its first digits.")]
Formula = Annotated[str, Path(max_length=20, pattern="^[A-Za-z0-9]+$")]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Texts = Annotated[list[Text], Query(max_length=50)]
Number = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Limit = Annotated[int, Query(ge=1, le=MAX_POINTS)]

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The input is wrong; the detail says why."},
    404: {"description": "There is no such thing in the database."},
}
router = APIRouter(prefix="/api", responses=ERRORS)


def opened(request: Request) -> Database:
    """Return the database that is served."""
    database: Database = request.app.state.database
    return database


def chosen(
    salt: Texts = [],  # noqa: B006
    quantity: Text | None = None,
    subject: Text | None = None,
    model: Texts = [],  # noqa: B006
    campaign: Text | None = None,
    min_molality: Number | None = None,
    max_molality: Number | None = None,
) -> Filter:
    """Return the filter of an address."""
    return Filter(
        salts=tuple(salt),
        quantity=quantity or None,
        subject=subject,
        models=tuple(model),
        campaign=campaign or None,
        molality=(min_molality, max_molality),
    )


Opened = Annotated[Database, Depends(opened)]
Chosen = Annotated[Filter, Depends(chosen)]


@router.get("/overview")
def get_overview(database: Opened) -> dict[str, Any]:
    """Salts, quantities, models, campaigns, and how much there is of each."""
    return overview(database)


@router.get("/estimates")
def get_estimates(
    database: Opened,
    where: Chosen,
    limit: Limit = 100,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> dict[str, Any]:
    """Estimates with the measured value and the deviation in standard errors beside each."""
    rows = list_estimates(database, where, limit=limit, offset=offset)
    return {"total": count_estimates(database, where), "rows": with_experiment(rows)}


@router.get("/estimates/{key}")
def get_estimate(database: Opened, key: Key) -> dict[str, Any]:
    """One estimate with the chain of steps back to the labels."""
    return show_estimate(database, key)


@router.get("/runs")
def get_runs(
    database: Opened, salt: Text | None = None, campaign: Text | None = None, limit: Limit = 1000
) -> list[dict[str, Any]]:
    """Runs, newest first."""
    return list_runs(database, salt=salt, campaign=campaign, limit=limit)


@router.get("/runs/{key}")
def get_run(database: Opened, key: Key) -> dict[str, Any]:
    """One run: solution, model, steps, files, cost, document."""
    return show_run(database, key)


@router.get("/salts/{formula}")
def get_salt(database: Opened, formula: Formula) -> dict[str, Any]:
    """Everything of a salt that the figures show."""
    return salt_figures(database, Salt.parse(formula).formula)


@router.get("/compare")
def get_compare(database: Opened, where: Chosen) -> dict[str, Any]:
    """Lines of several salts and models, and the measurements beside them."""
    series = series_of(list_estimates(database, where, limit=MAX_POINTS))
    return {"series": series, "measured": measured(series)}


@router.get("/files/{key}", response_class=Response)
def get_file(database: Opened, key: Key) -> Response:
    """A file that is kept beside a run; always a download, never shown as a page."""
    name, _, content = read_file(database, key)
    return _download(name, "application/octet-stream", content)


@router.get("/download/{kind}", response_class=Response)
def get_download(
    database: Opened, kind: Literal["csv", "parquet", "json"], where: Chosen
) -> Response:
    """Estimates as CSV or Parquet, whole runs as JSON."""
    if kind == "json":
        document = json.dumps(runs_document(database, where), allow_nan=False)
        return _download("bjerrum.json", "application/json", document.encode("utf-8"))
    rows = flat_rows(database, where)
    if kind == "csv":
        return _download("bjerrum.csv", "text/csv", csv_content(rows))
    return _download("bjerrum.parquet", "application/octet-stream", parquet_content(rows))


def _download(name: str, media_type: str, content: bytes) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
