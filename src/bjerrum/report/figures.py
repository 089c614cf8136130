"""Interactive figures of the report, as plotly figures: functions of the stored results.

Text from the document is escaped before plotly sees it, because plotly reads a few HTML tags.
"""

from __future__ import annotations

import html
import math
import textwrap
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from bjerrum.report import style
from bjerrum.report.comparison import published_text
from bjerrum.report.document import (
    LearningCurve,
    Nve,
    PeakMarker,
    Rdf,
    ReferenceCurve,
    ReplicaSeries,
    TimeSeries,
)
from bjerrum.report.layout import (
    Figure,
    axis,
    finish,
    layout,
    log_range,
    log_ticks,
    transparent,
)
from bjerrum.report.rounding import number, pair_text

FloatArray = NDArray[np.float64]

MAX_POINTS = 1500
"""Points drawn per time series; longer ones are thinned evenly so that the page can be mailed."""

BLOCKS = 40
"""Block means drawn over each noisy time series."""

DASHES = ("solid", "dash", "dot")
"""Told apart by dash where there are more replicas than colours."""

HOVER_WIDTH = 48
"""Characters per line of a citation that appears under the pointer."""


@dataclass(frozen=True)
class _Look:
    """Of one replica: colour and dash of its block means, opacity of its single values."""

    colour: str
    dash: str
    faintness: float


def rdf_figures(rdfs: dict[str, Rdf]) -> list[Figure]:
    """Return one panel per pair with a common distance axis."""
    if not rdfs:
        return []
    start, end = style.distance_range(rdfs.values())
    return [
        _rdf_panel(index, pair, rdf, (start, end)) for index, (pair, rdf) in enumerate(rdfs.items())
    ]


def time_series_figure(series: TimeSeries, target_temperature: float) -> Figure:
    """Return temperature (K) and potential energy (eV, relative to its mean) against time."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    mean_energy = mean_production_energy(series)
    faintness = 0.3 / math.sqrt(len(series.replicas))
    for index, replica in enumerate(series.replicas):
        dash, position = divmod(index, len(style.REPLICAS))
        look = _Look(style.REPLICAS[position], DASHES[dash % len(DASHES)], faintness)
        time = np.asarray(replica.time_ps)
        energy = np.asarray(replica.potential_energy_eV) - mean_energy
        for row, values in ((1, np.asarray(replica.kinetic_temperature_K)), (2, energy)):
            for trace in _noisy_traces(replica, time, values, look, show_legend=row == 1):
                figure.add_trace(trace, row=row, col=1)
    figure.add_hline(
        y=target_temperature, row=1, col=1, line={"color": style.INK, "dash": "dash", "width": 1.5}
    )
    if series.skip_ps > 0:
        figure.add_vrect(
            x0=min(replica.time_ps[0] for replica in series.replicas),
            x1=series.skip_ps,
            fillcolor=style.GREY,
            opacity=0.22,
            line_width=0,
        )
    figure.update_layout(**layout(470, legend=True))
    figure.update_xaxes(**axis(None))
    figure.update_xaxes(title_text="time / ps", row=2, col=1)
    figure.update_yaxes(**axis("temperature / K"), row=1, col=1)
    figure.update_yaxes(**axis("ΔE<sub>pot</sub> / eV"), row=2, col=1)
    n_replicas = len(series.replicas)
    return finish(
        figure,
        "figure-time-series",
        "Temperature and potential energy along the run",
        f"Two line charts against time for {n_replicas} replicas: kinetic temperature with its "
        f"target of {number(target_temperature)} K, and potential energy relative to its mean.",
        (680, 430),
    )


def nve_figure(nve: Nve) -> Figure:
    """Return total energy relative to its start (meV/atom) against time at constant energy."""
    time, energy = _thin(np.asarray(nve.time_ps), np.asarray(nve.total_energy_meV_per_atom))
    figure = go.Figure(
        go.Scatter(
            x=time,
            y=energy,
            line={"color": style.BLUE, "width": 1.5},
            hovertemplate="%{x:.3g} ps: %{y:.3g} meV/atom<extra></extra>",
        )
    )
    figure.update_layout(**layout(240))
    figure.update_xaxes(**axis("time / ps"))
    figure.update_yaxes(**axis("ΔE<sub>tot</sub> / (meV/atom)"))
    return finish(
        figure,
        "figure-nve",
        "Total energy at constant energy (NVE)",
        f"Line chart of total energy per atom against time over {number(nve.time_ps[-1])} ps; "
        f"drift {number(nve.drift_meV_per_atom_per_ps, 2)} meV per atom and ps.",
        (680, 230),
    )


def learning_figure(curve: LearningCurve) -> Figure:
    """Return the validation force error (meV/angstrom, logarithmic) along the training."""
    rmse = curve.validation_force_rmse_meV_per_angstrom
    progress, values = _thin(np.asarray(curve.progress), np.asarray(rmse))
    ticks = log_ticks(rmse)
    figure = go.Figure(
        go.Scatter(
            x=progress,
            y=values,
            mode="lines+markers" if len(values) <= BLOCKS else "lines",
            line={"color": style.BLUE, "width": 1.8},
            marker={"size": 5},
            hovertemplate=f"{curve.progress_name} %{{x:.6~g}}: %{{y:.4~g}} meV/Å<extra></extra>",
        )
    )
    figure.update_layout(**layout(290))
    figure.update_xaxes(**axis(curve.progress_name))
    figure.update_yaxes(
        **axis("force RMSE / (meV/Å)"),
        type="log",
        range=log_range(rmse),
        tickvals=ticks,
        ticktext=[number(tick) for tick in ticks],
    )
    return finish(
        figure,
        "figure-learning-curve",
        "Learning curve (validation frames)",
        f"Line chart on a logarithmic scale: force error on the validation frames falls from "
        f"{number(rmse[0], 3)} to {number(rmse[-1], 3)} meV/Å by {curve.progress_name} "
        f"{number(curve.progress[-1])}.",
        (330, 260),
    )


def mean_production_energy(series: TimeSeries) -> float:
    """Return the mean potential energy in eV of all replicas after the equilibration part.

    The mean of everything where no frame lies after it.
    """
    time = np.concatenate([replica.time_ps for replica in series.replicas])
    energy = np.concatenate([replica.potential_energy_eV for replica in series.replicas])
    production = energy[time >= series.skip_ps]
    return float(np.mean(production if len(production) else energy))


def is_thinned(series: TimeSeries) -> bool:
    """Return whether the figure shows fewer points than the results hold."""
    return any(len(replica.time_ps) > MAX_POINTS for replica in series.replicas)


def _rdf_panel(index: int, pair: str, rdf: Rdf, distances: tuple[float, float]) -> Figure:
    figure = go.Figure(_band_traces(rdf))
    figure.add_traces([_published_curve(curve) for curve in rdf.reference_curves])
    for marker, top in zip(rdf.markers, style.marker_heights(rdf), strict=True):
        figure.add_traces(_marker_traces(marker, top))
    figure.add_hline(y=1, line={"color": style.PALE, "width": 1}, layer="below")
    figure.update_layout(**layout(260))
    figure.update_xaxes(**axis("r / Å"), range=distances, dtick=1)
    figure.update_yaxes(**axis("g(r)"), range=[0, style.axis_top(rdf)])
    highest = int(np.argmax(rdf.g))
    return finish(
        figure,
        f"figure-rdf-{index + 1}",
        pair_text(pair),
        f"Radial distribution function {pair}: highest value {number(rdf.g[highest], 3)} at "
        f"{number(rdf.r_angstrom[highest], 3)} Å; {len(rdf.markers)} published peak positions.",
        (330, 225),
    )


def _band_traces(rdf: Rdf) -> list[go.Scatter]:
    r, g, error = (np.asarray(array) for array in (rdf.r_angstrom, rdf.g, rdf.band))
    texts = ["no error bar" if e is None else f"± {e:.2g}" for e in rdf.g_standard_error]
    hover = "r = %{x:.3f} Å<br>g = %{y:.3f} %{customdata}<extra>this run</extra>"
    band = go.Scatter(
        x=np.concatenate([r, r[::-1]]),
        y=np.concatenate([g + error, np.maximum(g - error, 0.0)[::-1]]),
        fill="toself",
        fillcolor=transparent(style.BLUE, 0.3),
        line={"width": 0},
        hoverinfo="skip",
    )
    line = go.Scatter(
        x=r, y=g, customdata=texts, hovertemplate=hover, line={"color": style.BLUE, "width": 1.6}
    )
    return [band, line]


def _published_curve(curve: ReferenceCurve) -> go.Scatter:
    kind = style.KINDS[curve.kind]
    return go.Scatter(
        x=np.asarray(curve.r_angstrom),
        y=np.asarray(curve.g),
        line={"color": kind.colour, "width": 1.4, "dash": "dash"},
        text=[_cited(curve)] * len(curve.r_angstrom),
        hoverinfo="x+y+text",
    )


def _marker_traces(marker: PeakMarker, top: float) -> list[go.Scatter]:
    """Draw a drop line, a band of the uncertainty, and a symbol that names its source."""
    kind = style.KINDS[marker.kind]
    r, width = marker.r_angstrom, marker.uncertainty_angstrom
    hover = f"{published_text(r, width, 'angstrom')}<br>{_cited(marker)}"
    drop = go.Scatter(
        x=[r, r],
        y=[0, top],
        mode="lines",
        line={"color": kind.colour, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    symbol = go.Scatter(
        x=[r],
        y=[top],
        mode="markers",
        marker={"color": kind.colour, "symbol": kind.plotly_symbol, "size": 8},
        text=[hover],
        hoverinfo="text",
    )
    if not width:
        return [drop, symbol]
    band = go.Scatter(
        x=[r - width, r - width, r + width, r + width],
        y=[0, top, top, 0],
        fill="toself",
        mode="none",
        fillcolor=transparent(kind.colour, 0.22),
        hoverinfo="skip",
    )
    return [band, drop, symbol]


def _noisy_traces(
    replica: ReplicaSeries,
    time: FloatArray,
    values: FloatArray,
    look: _Look,
    *,
    show_legend: bool,
) -> list[go.Scatter]:
    """Draw every value faintly and block means on top."""
    name = html.escape(replica.replica)
    thin_time, thin_values = _thin(time, values)
    blocks = [
        (float(np.mean(block_time)), float(np.mean(block)))
        for block_time, block in zip(
            np.array_split(time, min(BLOCKS, len(time))),
            np.array_split(values, min(BLOCKS, len(values))),
            strict=True,
        )
    ]
    raw = go.Scatter(
        x=thin_time,
        y=thin_values,
        line={"color": transparent(look.colour, look.faintness), "width": 0.8},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
    )
    means = go.Scatter(
        x=[block[0] for block in blocks],
        y=[block[1] for block in blocks],
        name=name,
        legendgroup=name,
        showlegend=show_legend,
        line={"color": look.colour, "dash": look.dash, "width": 2},
        hovertemplate=f"{name}<br>block mean at %{{x:.3g}} ps: %{{y:.5~g}}<extra></extra>",
    )
    return [raw, means]


def _thin(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    stride = math.ceil(len(x) / MAX_POINTS)
    return x[::stride], y[::stride]


def _cited(source: PeakMarker | ReferenceCurve) -> str:
    conditions = getattr(source, "conditions", None)
    kind = source.kind if not conditions else f"{source.kind}, {conditions}"
    lines = textwrap.wrap(kind, HOVER_WIDTH) + textwrap.wrap(source.citation, HOVER_WIDTH)
    return "<br>".join(html.escape(line) for line in lines)
