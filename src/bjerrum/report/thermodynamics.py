"""Figures of osmotic and activity coefficients and of the potentials of mean force behind them."""

from __future__ import annotations

import html
import math
import textwrap
from pathlib import Path
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from pydantic import ValidationError

from bjerrum.errors import InputError
from bjerrum.files import write_whole
from bjerrum.report import style
from bjerrum.report.layout import Figure, axis, finish, layout, transparent
from bjerrum.report.rounding import number, pair_text
from bjerrum.report.thermodynamics_part import (
    PairPotential,
    SolutionCurve,
    SolutionPanel,
    Thermodynamics,
)

COMPUTED: Final = ((style.BLUE, "solid"), (style.GREEN, "dot"), (style.PURPLE, "dashdot"))
"""Colour and dash of the theories, the main one first."""
_TITLE_WIDTH: Final = 120
"""Letters in a line of a page's title."""
_MARKED: Final = 15
"""Below this number of points a curve shows each of them."""
EXPERIMENT: Final = (style.VERMILION, "dash")
AXES: Final = {
    "molality_mol_per_kg": "m / (mol/kg)",
    "concentration_mol_per_L": "c / (mol/L)",
}
SYMBOLS: Final = {
    "phi": "φ",
    "ln gamma": "ln γ<sub>±</sub>",
    "ln y": "ln y<sub>±</sub>",
    "d ln a/d ln c": "d ln a / d ln c",
}


def thermodynamics_figures(part: Thermodynamics) -> list[Figure]:
    """Return a panel for each quantity and one for each pair's potentials of mean force."""
    return [
        *(_solution_figure(i, part, panel) for i, panel in enumerate(part.panels, start=1)),
        *(_potential_figure(i, pair) for i, pair in enumerate(part.potentials, start=1)),
    ]


def legend(part: Thermodynamics) -> list[tuple[str, str, str]]:
    """Return colour, dash and words of each curve of the panels."""
    names = {THEORY_WORDS.get(c.label, c.label): _look(part.panels[0], c) for c in _curves(part)}
    return [(colour, dash, words) for words, (colour, dash) in names.items()]


def write_thermodynamics_page(curves: dict[str, Any], path: Path) -> Path:
    """Write one page with all panels that needs no network; InputError for unusable curves."""
    try:
        part = Thermodynamics.model_validate(curves)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"no figure: {first['msg']}; give more concentrations") from error
    columns = len(part.panels)
    rows = 1 + math.ceil(len(part.potentials) / columns)
    titles = [panel.title for panel in part.panels]
    titles += [f"{pair_text(pair.pair)} potential of mean force" for pair in part.potentials]
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=titles, vertical_spacing=0.32 / rows
    )
    for column, panel in enumerate(part.panels, start=1):
        for trace in _panel_traces(panel, show_legend=column == 1):
            figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(**axis(AXES[part.axis]), row=1, col=column)
        figure.update_yaxes(**axis(SYMBOLS[panel.symbol]), row=1, col=column)
    for index, pair in enumerate(part.potentials):
        place = {"row": 2 + index // columns, "col": 1 + index % columns}
        for trace in _potential_traces(pair, show_legend=index == 0):
            figure.add_trace(trace, **place)
        figure.update_xaxes(**axis("r / Å"), **place)
        figure.update_yaxes(**axis("w / kT"), range=_potential_range(pair), **place)
    title = textwrap.wrap(_title(part), _TITLE_WIDTH)
    figure.update_layout(**layout(150 + 285 * rows, legend=True))
    figure.update_layout(
        title={
            "text": "<br>".join(html.escape(line) for line in title),
            "x": 0.02,
            "y": 1 - 20 / (150 + 285 * rows),
            "yanchor": "top",
            "font": {"size": 15},
        },
        margin={"t": 110 + 20 * len(title)},
        legend={"y": 1 + 0.14 / rows},
    )
    page = figure.to_html(include_plotlyjs=True, full_html=True)
    return write_whole(Path(path), page.encode("utf-8"))


THEORY_WORDS: Final = {
    "hnc": "HNC",
    "rhnc": "HNC with bridge function",
    "mpb": "modified Poisson-Boltzmann",
    "spb": "symmetric Poisson-Boltzmann",
    "pb": "Poisson-Boltzmann",
    "lpb": "linearised Poisson-Boltzmann",
    "dhx": "Debye-Hückel exponential",
    "msa": "mean spherical approximation",
}


def _title(part: Thermodynamics) -> str:
    what = part.salt or "ions"
    return f"{what}, {number(part.temperature_K)} K, from {part.pmf_source}"


def _curves(part: Thermodynamics) -> list[SolutionCurve]:
    return part.panels[0].curves


def _look(panel: SolutionPanel, curve: SolutionCurve) -> tuple[str, str]:
    if curve.kind == "experiment":
        return EXPERIMENT
    computed = [c.label for c in panel.curves if c.kind == "computed"]
    return COMPUTED[computed.index(curve.label) % len(COMPUTED)]


def _panel_traces(panel: SolutionPanel, *, show_legend: bool) -> list[go.Scatter]:
    traces = []
    for curve in panel.curves:
        colour, dash = _look(panel, curve)
        name = html.escape(THEORY_WORDS.get(curve.label, curve.label))
        x, value = np.asarray(curve.x), np.asarray(curve.value)
        if curve.band is not None:
            traces.append(_band(x, value, np.asarray(curve.band), colour, name))
        traces.append(
            go.Scatter(
                x=x,
                y=value,
                mode="lines+markers" if len(x) < _MARKED else "lines",
                name=name,
                legendgroup=name,
                showlegend=show_legend,
                line={"color": colour, "dash": dash, "width": 1.8},
                hovertemplate=f"%{{x:.3~g}}: %{{y:.4~g}}<extra>{name}</extra>",
            )
        )
    return traces


def _band(
    x: np.ndarray, value: np.ndarray, half: np.ndarray, colour: str, group: str
) -> go.Scatter:
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([value + half, (value - half)[::-1]]),
        fill="toself",
        fillcolor=transparent(colour, 0.22),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=group,
    )


def _potential_traces(pair: PairPotential, *, show_legend: bool) -> list[go.Scatter]:
    r = np.asarray(pair.r_angstrom)
    low, high = _potential_range(pair)
    lines = (
        ("full", pair.full_kT, style.INK, "solid"),
        ("short-range part", pair.short_range_kT, style.GREY, "solid"),
        ("screened Coulomb law", pair.coulomb_kT, style.ORANGE, "dot"),
    )
    traces = [
        go.Scatter(
            x=r,
            y=np.asarray(values),
            name=name,
            legendgroup=name,
            showlegend=show_legend,
            line={"color": colour, "dash": dash, "width": 1.6},
            hovertemplate=f"%{{x:.2f}} Å: %{{y:.3~g}} kT<extra>{name}</extra>",
        )
        for name, values, colour, dash in lines
    ]
    ends = (
        ("core: no data used", [0.0, pair.core_angstrom], style.VERMILION),
        ("tail: Coulomb law only", [pair.end_angstrom, float(r[-1])], style.ORANGE),
    )
    areas = [
        go.Scatter(
            x=[left, left, right, right],
            y=[low, high, high, low],
            fill="toself",
            mode="none",
            fillcolor=transparent(colour, 0.14),
            name=name,
            legendgroup=name,
            showlegend=show_legend,
            hoverinfo="skip",
        )
        for name, (left, right), colour in ends
        if right > left
    ]
    return [*areas, *traces]


def _potential_range(pair: PairPotential) -> tuple[float, float]:
    lowest = min(*pair.full_kT, *pair.short_range_kT)
    return min(lowest - 0.5, -1.5), 6.0


def _solution_figure(index: int, part: Thermodynamics, panel: SolutionPanel) -> Figure:
    figure = go.Figure(_panel_traces(panel, show_legend=False))
    figure.update_layout(**layout(280))
    figure.update_xaxes(**axis(AXES[part.axis]))
    figure.update_yaxes(**axis(SYMBOLS[panel.symbol]))
    main = panel.curves[0]
    return finish(
        figure,
        f"figure-solution-{index}",
        panel.title,
        f"Line chart of the {panel.title} up to {number(main.x[-1], 3)}: "
        f"{number(main.value[-1], 4)} there, with {len(panel.curves) - 1} other curves.",
        (330, 240),
    )


def _potential_figure(index: int, pair: PairPotential) -> Figure:
    figure = go.Figure(_potential_traces(pair, show_legend=False))
    figure.update_layout(**layout(260))
    figure.update_xaxes(**axis("r / Å"), range=[0, pair.r_angstrom[-1]], dtick=2)
    figure.update_yaxes(**axis("w / kT"), range=_potential_range(pair))
    return finish(
        figure,
        f"figure-potential-{index}",
        f"{pair_text(pair.pair)} potential of mean force",
        f"Potential of mean force of {pair.pair}: lowest {number(min(pair.full_kT), 3)} kT; "
        f"a wall inside {number(pair.core_angstrom, 3)} Å, the screened Coulomb law beyond "
        f"{number(pair.end_angstrom, 3)} Å.",
        (330, 225),
    )
