"""One page of figures of an evaluation: parity, errors near ions, spread against true error.

A single HTML file that needs no network; every number in it is in the JSON as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bjerrum.errors import InputError
from bjerrum.files import write_whole
from bjerrum.potential.residuals import Residuals
from bjerrum.units import EV_IN_MEV

_MOST_POINTS = 4000
"""Per element: more dots than a screen shows."""

_COLOURS = ("#3b5bdb", "#c92a2a", "#2b8a3e", "#862e9c", "#e67700", "#0b7285", "#495057")


def write_evaluation_figure(
    residuals: Residuals, summary: dict[str, Any], title: str, path: Path
) -> Path:
    """Write the page. Raises InputError unless the name ends in .html."""
    if path.suffix.lower() != ".html":
        raise InputError(f"{path}: expected the name of an HTML file to write, such as parity.html")
    figure = make_subplots(
        rows=2,
        cols=2,
        subplot_titles=(
            "Forces: model against labels",
            "Errors of the forces",
            "Error against the distance to the nearest ion",
            "Committee: error against spread",
        ),
        horizontal_spacing=0.12,
        vertical_spacing=0.14,
    )
    colours = {
        str(element): _COLOURS[k % len(_COLOURS)]
        for k, element in enumerate(np.unique(residuals.elements))
    }
    _parity(figure, residuals, colours)
    _histogram(figure, residuals, colours)
    _near_ions(figure, summary, colours)
    _calibration(figure, summary)
    rmse = ", ".join(f"{k} {v:.1f}" for k, v in summary["force_rmse_meV_per_angstrom"].items())
    figure.update_layout(
        title=f"{title}<br><sup>{residuals.n_frames} frames; force RMSE {rmse} meV/Å</sup>",
        template="plotly_white",
        height=920,
        width=1180,
        margin={"t": 110, "l": 80, "r": 30, "b": 70},
        legend={"itemsizing": "constant"},
    )
    page = figure.to_html(include_plotlyjs=True, full_html=True)
    return write_whole(path, page.encode("utf-8"))


def _parity(figure: go.Figure, residuals: Residuals, colours: dict[str, str]) -> None:
    random = np.random.default_rng(0)
    for element, colour in colours.items():
        chosen = residuals.elements == element
        label, model = residuals.reference[chosen].ravel(), residuals.predicted[chosen].ravel()
        some = random.permutation(len(label))[:_MOST_POINTS]
        dots = {"color": colour, "size": 3, "opacity": 0.4}
        figure.add_trace(
            go.Scattergl(
                x=label[some], y=model[some], mode="markers", marker=dots, name=element,
                legendgroup=element,
            ),
            row=1, col=1,
        )  # fmt: skip
    ends = [float(residuals.reference.min()), float(residuals.reference.max())]
    figure.add_trace(
        go.Scatter(x=ends, y=ends, mode="lines", line={"color": "#868e96"}, showlegend=False),
        row=1,
        col=1,
    )
    figure.update_xaxes(title="label / eV Å⁻¹", row=1, col=1)
    figure.update_yaxes(title="model / eV Å⁻¹", row=1, col=1)


def _histogram(figure: go.Figure, residuals: Residuals, colours: dict[str, str]) -> None:
    errors = EV_IN_MEV * residuals.errors
    limit = max(float(np.quantile(np.abs(errors), 0.999)), 1e-9)
    edges = np.linspace(-limit, limit, 61)
    for element, colour in colours.items():
        density, _ = np.histogram(errors[residuals.elements == element], edges, density=True)
        figure.add_trace(
            go.Scatter(
                x=(edges[1:] + edges[:-1]) / 2, y=density, mode="lines", line={"color": colour},
                name=element, legendgroup=element, showlegend=False,
            ),
            row=1, col=2,
        )  # fmt: skip
    figure.update_xaxes(title="error / meV Å⁻¹", row=1, col=2)
    figure.update_yaxes(title="probability density / meV⁻¹ Å", row=1, col=2)


def _near_ions(figure: go.Figure, summary: dict[str, Any], colours: dict[str, str]) -> None:
    """Draw ions by their nearest ions, and O by every kind of ion."""
    dashes = ("solid", "dash", "dot", "dashdot")
    found = summary.get("force_rmse_by_nearest_ion")
    if not found:
        _say(figure, "the model has no ions", row=2, col=1)
        return
    ions = list(next(iter(found.values())))
    for element in [*ions, "O"]:
        for k, ion in enumerate(ions):
            bins = found.get(element, {}).get(ion, [])
            figure.add_trace(
                go.Scatter(
                    x=[(b["from_angstrom"] + b["to_angstrom"]) / 2 for b in bins],
                    y=[b["force_rmse_meV_per_angstrom"] for b in bins],
                    text=[f"{b['n_atoms']} atoms" for b in bins],
                    mode="lines+markers",
                    line={"color": colours.get(element), "dash": dashes[k % len(dashes)]},
                    name=f"{element} by nearest {ion}",
                ),
                row=2, col=1,
            )  # fmt: skip
    figure.update_xaxes(title="distance to the nearest ion / Å", row=2, col=1)
    figure.update_yaxes(title="force RMSE / meV Å⁻¹", rangemode="tozero", row=2, col=1)


def _calibration(figure: go.Figure, summary: dict[str, Any]) -> None:
    found = summary.get("committee")
    if not found:
        _say(figure, "one model alone has no spread", row=2, col=2)
        return
    spread = [b["spread_meV_per_angstrom"] for b in found["bins"]]
    error = [b["error_meV_per_angstrom"] for b in found["bins"]]
    ends = [0.0, 1.05 * max(spread)]
    for slope, name in ((1.0, "error = spread"), (found["factor"], "fitted factor")):
        if slope is not None:
            line = {"color": "#868e96", "dash": "solid" if slope == 1.0 else "dot"}
            y = [slope * x for x in ends]
            figure.add_trace(
                go.Scatter(x=ends, y=y, mode="lines", line=line, name=name), row=2, col=2
            )
    figure.add_trace(
        go.Scatter(
            x=spread, y=error, mode="lines+markers", line={"color": _COLOURS[0]},
            name="tenths of all atoms",
        ),
        row=2, col=2,
    )  # fmt: skip
    figure.update_xaxes(title="spread of the committee / meV Å⁻¹", row=2, col=2)
    figure.update_yaxes(title="true error / meV Å⁻¹", rangemode="tozero", row=2, col=2)


def _say(figure: go.Figure, text: str, *, row: int, col: int) -> None:
    figure.add_annotation(
        text=text, x=0.5, y=0.5, xref="x domain", yref="y domain", showarrow=False, row=row, col=col
    )
    figure.update_xaxes(visible=False, row=row, col=col)
    figure.update_yaxes(visible=False, row=row, col=col)
