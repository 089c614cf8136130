"""Figure of mean squared displacements with the diffusive windows, from stored results."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from bjerrum.errors import InputError
from bjerrum.files import write_whole
from bjerrum.report import style
from bjerrum.report.layout import axis, layout, transparent


def displacement_figure(data: dict[str, Any]) -> go.Figure:
    """Return the mean squared displacements over lag time, with the fitted lines.

    data  the JSON of ``analyse transport``
    """
    figure = go.Figure()
    shown = [
        (species, curve, data["diffusion_1e-9_m2_per_s"][species])
        for species, curve in data["mean_squared_displacement"].items()
    ]
    if not shown:
        raise InputError("no mean squared displacement to draw: nothing diffuses in this result")
    for (species, curve, found), colour in zip(shown, _colours(len(shown)), strict=True):
        _add(figure, species, curve, found, colour)
    figure.update_layout(**layout(460, legend=True), width=720)
    figure.update_xaxes(**axis("lag time / ps"), type="log", minor={"ticks": "outside"})
    figure.update_yaxes(
        **axis("mean squared displacement / Å<sup>2</sup>"), type="log", minor={"ticks": "outside"}
    )
    return figure


def write_displacement_figure(data: dict[str, Any], path: Path) -> Path:
    """Write the figure as a page that needs no network."""
    if path.suffix.lower() != ".html":
        raise InputError(f"a figure is written as .html, got {path}")
    page = displacement_figure(data).to_html(
        include_plotlyjs=True, full_html=True, config={"displayModeBar": False}
    )
    return write_whole(path, page.encode("utf-8"))


def _colours(count: int) -> list[str]:
    return [style.REPLICAS[k % len(style.REPLICAS)] for k in range(count)]


def _add(
    figure: go.Figure, species: str, curve: dict[str, Any], found: dict[str, Any], colour: str
) -> None:
    raw, (low, high) = found["raw"], found["window_ps"]
    label = (
        f"{html.escape(species)}: D = {raw['value']:.2f} ± {raw['standard_error']:.2f} "
        "× 10<sup>−9</sup> m<sup>2</sup>/s"
    )
    figure.add_scatter(
        x=curve["time_ps"],
        y=curve["msd_angstrom2"],
        mode="markers",
        marker={"color": transparent(colour, 0.45), "size": 6},
        name=label,
        legendgroup=species,
    )
    inside = [
        (t, y)
        for t, y in zip(curve["time_ps"], curve["msd_angstrom2"], strict=True)
        if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)
    ]
    slope = 6 * raw["value"] / 10  # angstrom^2/ps
    weights = [1 / y**2 for _, y in inside]  # the error grows with the value
    intercept = sum(w * (y - slope * t) for w, (t, y) in zip(weights, inside, strict=True))
    intercept /= sum(weights)
    figure.add_scatter(
        x=[t for t, _ in inside],
        y=[intercept + slope * t for t, _ in inside],
        mode="lines",
        line={"color": colour, "width": 2.5},
        name="fit within the diffusive window",
        legendgroup=species,
        showlegend=False,
    )
