"""The report of a run that is stored in a database, as one HTML page that needs no network.

For runs of campaigns, which have no ``results.json``: what was asked, the values beside experiment,
g(r) and potentials of mean force, the trust gate, what the watchdog saw, borrowed constants, cost,
the command that repeats it, the chain of steps back to the labels. A function of the stored rows
alone; the page's policy forbids the browser to load anything.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from bjerrum.files import write_whole
from bjerrum.report import rounding, style
from bjerrum.report.document import Rdf
from bjerrum.report.figures import rdf_figures
from bjerrum.report.layout import Figure, axis, finish, layout
from bjerrum.report.page import page_environment, page_source, policy_hash
from bjerrum.report.watch_part import WatchRecord

Row = Mapping[str, Any]


def write_stored_report(
    run: Row, estimates: Sequence[Row], curves: Sequence[Row], path: Path
) -> Path:
    """Write the page of a stored run, whole or not at all; return ``path``.

    run        as the database shows it: solution, model, steps, cost, document
    estimates  with ``experiment`` and ``deviation_sigma`` beside each
    curves     "rdf" and "pmf" with their columns
    """
    page = render_stored_report(run, estimates, curves)
    return write_whole(Path(path), page.encode("utf-8"))


def render_stored_report(run: Row, estimates: Sequence[Row], curves: Sequence[Row]) -> str:
    """Return the page as HTML text."""
    environment = page_environment()
    rdfs = rdf_figures({c["subject"]: _rdf(c) for c in curves if _is_rdf(c)})
    pmfs = [_pmf_figure(i, c) for i, c in enumerate(curves) if c["quantity"] == "pmf"]
    scripts = [get_plotlyjs(), page_source(environment, "report.js")] if rdfs or pmfs else []
    return environment.get_template("stored.html.j2").render(
        run=run,
        estimates=estimates,
        rdf_figures=rdfs,
        pmf_figures=pmfs,
        scripts=[Markup(script) for script in scripts],
        script_hashes=[policy_hash(script) for script in scripts],
        stylesheet=Markup(page_source(environment, "report.css")),
        value_text=_value_text,
        checks=run["document"].get("checks") or [],
        watchdog=_watchdog(run["document"]),
        constants=run["document"].get("constants") or [],
        wall_hours=_wall_seconds(run["cost"]) / 3600,
        core_hours=_core_hours(run["cost"]),
    )


def _watchdog(document: Row) -> list[WatchRecord]:
    return [WatchRecord.model_validate(record) for record in document.get("watchdog") or []]


def _core_hours(cost: Row) -> float | None:
    return float(cost["cpu_seconds"]) / 3600 if "cpu_seconds" in cost else None


def _is_rdf(curve: Row) -> bool:
    return bool(curve["quantity"] == "rdf" and "g" in curve["columns"])


def _rdf(curve: Row) -> Rdf:
    columns = curve["columns"]
    n = len(columns["g"])
    return Rdf(
        r_angstrom=[float(r) for r in columns["r_angstrom"]],
        g=[float(g) for g in columns["g"]],
        g_standard_error=columns.get("g_standard_error", [None] * n),
    )


def _pmf_figure(index: int, curve: Row) -> Figure:
    """Return w(r) in kT, cut above where no pair of ions ever is."""
    r, w = list(curve["columns"].values())[:2]
    pair = rounding.pair_text(html.escape(curve["subject"]))
    figure = go.Figure(go.Scatter(x=r, y=w, mode="lines", line={"color": style.BLUE}))
    figure.update_layout(layout(260), xaxis=axis("r / Å"), yaxis=axis("w / kT"))
    known = [value for value in w if value is not None]
    lowest = min([*known, 0.0])
    figure.update_yaxes(range=[lowest - 0.5, max(3.0, -lowest)])
    alternative = f"Potential of mean force of {pair} against distance; lowest {lowest:.2f} kT"
    return finish(figure, f"pmf-{index}", pair, alternative, (320, 240))


def _value_text(value: float, error: float | None, unit: str) -> str:
    text = rounding.with_error(value, error) if error else rounding.number(value, 4)
    return rounding.with_unit(text, unit)


def _wall_seconds(cost: Row) -> float:
    if "wall_seconds" in cost:
        return float(cost["wall_seconds"])
    return float(sum(step["wall_seconds"] for step in cost.get("steps", ())))
