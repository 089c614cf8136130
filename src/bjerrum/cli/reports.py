"""Report pages of stored runs: one, or those of a campaign at its end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bjerrum.errors import InputError

if TYPE_CHECKING:
    from bjerrum.campaign.opening import Open
    from bjerrum.database import Database

REPORTS = "reports"


def write_report_of(database: Database, key: str, path: Path) -> Path:
    """Write the page of a stored run, whole or not at all; return ``path``."""
    from bjerrum.database.comparison import with_experiment
    from bjerrum.database.queries import Filter, curves_of_run, list_estimates, show_run
    from bjerrum.report.stored import write_stored_report

    run = show_run(database, key)
    rows = list_estimates(database, Filter(run=run["hash"]), limit=None)
    return write_stored_report(
        run, with_experiment(rows), curves_of_run(database, run["hash"]), path
    )


def write_campaign_reports(opened: Open) -> Path:
    """Write a page of every run of the campaign that is in its database; return their folder."""
    from bjerrum.campaign.record import finished_runs
    from bjerrum.database import Database

    folder = opened.store.root / REPORTS
    runs = finished_runs(opened.campaign, opened.store)
    if not runs:
        return folder
    with Database.open(opened.database, read_only=True) as database:
        for run in runs:
            write_report_of(database, run.hash, folder / f"{file_name(run.name)}.html")
    return folder


def file_name(name: str) -> str:
    """Return a run's name with nothing but letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")


def reports_of_campaign(folder: Path) -> str | None:
    """Return a line that says where a campaign's reports are; None for any other folder.

    Raises InputError for a campaign that has none yet.
    """
    from bjerrum.campaign.opening import CLAIM, CONFIG_COPY

    if not (folder / CLAIM).is_file():
        return None
    pages = list((folder / REPORTS).glob("*.html"))
    if not pages:
        raise InputError(
            f"{folder}: a campaign without reports; bjerrum run {folder / CONFIG_COPY} -o {folder} "
            "writes one of each solution when it ends"
        )
    n_pages = f"{len(pages)} page{'s' if len(pages) > 1 else ''}"
    return f"reports: {folder / REPORTS} ({n_pages})"
