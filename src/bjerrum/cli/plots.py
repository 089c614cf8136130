"""Figures of measurements for the command line: self-contained HTML pages of one plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from bjerrum.errors import InputError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from bjerrum.properties.kirkwood_buff_result import KirkwoodBuffResult
    from bjerrum.properties.scattering import ScatteringCurve
    from bjerrum.properties.screening import ScreeningResult

TITLES = {
    "neutron": "neutrons: F<sub>N</sub>(Q) / (barn per atom)",
    "xray": "X-rays: F<sub>X</sub>(Q)",
    "first_difference": "first difference: ΔF<sub>N</sub>(Q) / (barn per atom)",
}


def check_figure(path: Path | None) -> None:
    """Raise InputError unless the figure is to be an HTML file."""
    if path is not None and path.suffix.lower() != ".html":
        raise InputError(f"--figure {path}: the ending must be .html")


def write_figure(figure: go.Figure, path: Path) -> None:
    """Write a figure as a page that needs no network, atomically."""
    from bjerrum.files import write_whole

    page = figure.to_html(include_plotlyjs=True, config={"displayModeBar": False})
    write_whole(path, page.encode("utf-8"))
    typer.echo(f"figure: {path}", err=True)


def estimators_figure(
    result: KirkwoodBuffResult, experiment: Mapping[str, Any] | None
) -> go.Figure:
    """Return d ln a/d ln c of every estimator with its error bar, and experiment as a line."""
    import plotly.graph_objects as go

    from bjerrum.report import style
    from bjerrum.report.layout import axis, layout

    names = list(result.estimators)[::-1]
    figure = go.Figure()
    series = (
        ("constant pressure", "dlna_dlnc", style.BLUE, "circle"),
        (
            "McMillan-Mayer (constant μ<sub>w</sub>)",
            "dlna_dlnc_mcmillan_mayer",
            style.GREEN,
            "square-open",
        ),
    )
    measured = False
    for shift, (label, key, colour, symbol) in zip((0.12, -0.12), series, strict=True):
        found = [(i, getattr(result.estimators[name], key)) for i, name in enumerate(names)]
        shown = [(i + shift, number) for i, number in found if number is not None]
        if not shown:
            continue
        errors = [number.standard_error for _, number in shown]
        figure.add_scatter(
            x=[number.value for _, number in shown],
            y=[height for height, _ in shown],
            error_x={"array": errors, "color": colour, "thickness": 1.6, "width": 4}
            if any(errors)
            else None,
            mode="markers",
            name=label,
            marker={"color": colour, "symbol": symbol, "size": 9},
        )
        measured = measured or any(errors)
    if experiment is not None:
        figure.add_vline(
            x=experiment["dlna_dlnc"], line={"color": style.VERMILION, "dash": "dash", "width": 1.5}
        )
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="lines",
            line={"color": style.VERMILION, "dash": "dash", "width": 1.5},
            name="experiment, constant pressure",
        )
    figure.update_layout(**layout(90 + 52 * len(names), legend=True), width=760)
    figure.update_xaxes(**axis("d ln a / d ln c" + "  (± standard error)" * measured))
    marked = [f"<b>{n}</b> *" if n == result.recommended else n for n in names]
    figure.update_yaxes(**axis(None), tickvals=list(range(len(names))), ticktext=marked)
    return figure


def scattering_figure(curves: Mapping[str, ScatteringCurve]) -> go.Figure:
    """Return one panel per curve with its band of one standard error."""
    from plotly.subplots import make_subplots

    from bjerrum.report import style
    from bjerrum.report.layout import axis, layout

    figure = make_subplots(rows=len(curves), cols=1, shared_xaxes=True, vertical_spacing=0.05)
    for row, (name, curve) in enumerate(curves.items(), start=1):
        _band(figure, curve.q, curve.value, curve.standard_error, style.BLUE, row)
        figure.update_yaxes(**axis(TITLES[name]), row=row, col=1)
        figure.add_hline(y=0, line={"color": style.PALE, "width": 1}, row=row, col=1, layer="below")
    figure.update_layout(**layout(90 + 240 * len(curves)), width=760)
    figure.update_xaxes(**axis(None))
    figure.update_xaxes(**axis("Q / Å<sup>−1</sup>"), row=len(curves), col=1)
    return figure


def screening_figure(result: ScreeningResult) -> go.Figure:
    """Return S_ZZ kappa^2/k^2 with its band; 1 at k = 0 is perfect screening."""
    from plotly.subplots import make_subplots

    from bjerrum.report import style
    from bjerrum.report.layout import axis, layout

    figure = make_subplots(rows=1, cols=1)
    scale = (result.kappa / result.k) ** 2
    error = result.s_zz_standard_error * scale
    _band(figure, result.k, result.s_zz * scale, error, style.BLUE, 1, markers=True)
    figure.add_scatter(
        x=[0.0],
        y=[result.ratio.value],
        error_y={"array": [result.ratio.standard_error], "color": style.VERMILION},
        mode="markers",
        marker={"color": style.VERMILION, "symbol": "diamond", "size": 10},
    )
    figure.add_hline(
        y=1,
        line={"color": style.GREY, "width": 1, "dash": "dot"},
        annotation={"text": "perfect screening", "xanchor": "right"},
    )
    figure.update_layout(**layout(380), width=760)
    top = 1.12 * max(1.0, float((result.s_zz * scale).max()), result.ratio.value)
    figure.update_xaxes(**axis("k / Å<sup>−1</sup>"), range=[-0.05, 1.03 * float(result.k[-1])])
    figure.update_yaxes(**axis("S<sub>ZZ</sub>(k) κ² / k²"), range=[0, top])
    return figure


def _band(
    figure: go.Figure,
    x: np.ndarray,
    y: np.ndarray,
    error: np.ndarray | None,
    colour: str,
    row: int,
    *,
    markers: bool = False,
) -> None:
    import plotly.graph_objects as go

    from bjerrum.report.layout import transparent

    if error is not None:
        width = np.nan_to_num(error)
        edges = np.concatenate([y + width, (y - width)[::-1]])
        band = go.Scatter(
            x=np.concatenate([x, x[::-1]]),
            y=edges,
            fill="toself",
            fillcolor=transparent(colour, 0.25),
            line={"width": 0},
            hoverinfo="skip",
        )
        figure.add_trace(band, row=row, col=1)
    mode = "lines+markers" if markers else "lines"
    line = go.Scatter(x=x, y=y, mode=mode, line={"color": colour, "width": 1.6}, marker={"size": 5})
    figure.add_trace(line, row=row, col=1)
