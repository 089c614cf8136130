"""Single figures as SVG or PNG files, for papers and the README.

Drawn with matplotlib: plotly's own export needs a browser, matplotlib needs nothing more than
is installed, and its output is a function of the results alone.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bjerrum.errors import InputError
from bjerrum.files import write_whole
from bjerrum.report import style
from bjerrum.report.document import Rdf, RunDocument
from bjerrum.report.page import read_document
from bjerrum.report.rounding import formula_text, number, pair_text

FORMATS = ("png", "svg")
_COLUMNS = 3
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": style.GREY,
    "axes.labelcolor": style.INK,
    "xtick.color": style.INK,
    "ytick.color": style.INK,
    "text.parse_math": False,
    "svg.hashsalt": "bjerrum",
    "svg.fonttype": "path",
}


def write_rdf_figure(results: dict[str, Any], path: Path) -> Path:
    """Write the radial distribution functions of a results document as PNG or SVG.

    One panel per pair: this run with a band of one standard error, published peak positions and
    curves. Two calls write the same bytes. Raises InputError where the document breaks its
    schema or holds no distribution function, the ending is not .png or .svg, or the path cannot
    be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise InputError(f"cannot write {path}: the ending must be .png or .svg")
    document = read_document(results)
    if not document.rdfs:
        raise InputError("the results document holds no radial distribution function to draw")
    with mpl.rc_context(_SETTINGS):
        content = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        _draw(document).savefig(content, format=kind, dpi=200, metadata=metadata)
    return write_whole(path, content.getvalue())


def _draw(document: RunDocument) -> Figure:
    n_columns = min(_COLUMNS, len(document.rdfs))
    n_rows = math.ceil(len(document.rdfs) / n_columns)
    figure = Figure(figsize=(3.1 * n_columns, 2.35 * n_rows + 0.75), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).flat
    distances = style.distance_range(document.rdfs.values())
    for panel, (pair, rdf) in zip(axes, document.rdfs.items(), strict=False):
        _draw_panel(panel, pair, rdf, distances)
    for unused in list(axes)[len(document.rdfs) :]:
        unused.set_axis_off()
    question = document.question
    figure.suptitle(
        f"{formula_text(question.salt)} in water, {number(question.molality_mol_per_kg)} mol/kg, "
        f"{number(question.temperature_K)} K, {question.model}",
        fontsize=10,
        wrap=True,
    )
    figure.legend(handles=_legend(document), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_panel(panel: Axes, pair: str, rdf: Rdf, distances: tuple[float, float]) -> None:
    low = [max(0.0, g - error) for g, error in zip(rdf.g, rdf.band, strict=True)]
    high = [g + error for g, error in zip(rdf.g, rdf.band, strict=True)]
    panel.axhline(1, color=style.PALE, linewidth=0.8, zorder=0)
    panel.fill_between(rdf.r_angstrom, low, high, color=style.BLUE, alpha=0.3, linewidth=0)
    panel.plot(rdf.r_angstrom, rdf.g, color=style.BLUE, linewidth=1.3)
    for curve in rdf.reference_curves:
        panel.plot(
            curve.r_angstrom,
            curve.g,
            color=style.KINDS[curve.kind].colour,
            linewidth=1.1,
            linestyle="--",
        )
    for marker, top in zip(rdf.markers, style.marker_heights(rdf), strict=True):
        kind = style.KINDS[marker.kind]
        panel.vlines(marker.r_angstrom, 0, top, colors=kind.colour, linewidth=0.8, linestyles=":")
        panel.plot(marker.r_angstrom, top, kind.matplotlib_symbol, color=kind.colour, markersize=4)
        if width := marker.uncertainty_angstrom:
            left, right = marker.r_angstrom - width, marker.r_angstrom + width
            panel.fill_betweenx([0, top], left, right, color=kind.colour, alpha=0.22, linewidth=0)
    panel.set(xlim=distances, ylim=(0, style.axis_top(rdf)), xlabel="r / Å", ylabel="g(r)")
    panel.set_title(pair_text(pair), fontsize=9.5, loc="left", fontweight="bold")


def _legend(document: RunDocument) -> list[Line2D]:
    handles = [Line2D([], [], color=style.BLUE, label="this run ± standard error")]
    markers = [marker for rdf in document.rdfs.values() for marker in rdf.markers]
    curves = [curve for rdf in document.rdfs.values() for curve in rdf.reference_curves]
    for name, kind in style.KINDS.items():
        if any(marker.kind == name for marker in markers):
            symbol = kind.matplotlib_symbol
            handles.append(
                Line2D([], [], color=kind.colour, marker=symbol, ls=":", label=f"{name}, peak")
            )
        if any(curve.kind == name for curve in curves):
            handles.append(Line2D([], [], color=kind.colour, ls="--", label=f"{name}, curve"))
    return handles
