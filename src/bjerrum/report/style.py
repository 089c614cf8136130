"""Colours and drawing choices that the interactive and the static figures share.

Colours: the palette of M. Okabe and K. Ito, "Color universal design" (2008), which people with
the common forms of colour blindness tell apart; every colour is paired with a dash or a shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bjerrum.report.document import Kind, Rdf

BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#AA4499"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
INK: Final = "#1c2127"
GREY: Final = "#6b7480"
PALE: Final = "#b4bcc5"

REPLICAS: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)


@dataclass(frozen=True)
class KindStyle:
    """How marks of published values look, by kind."""

    colour: str
    plotly_symbol: str
    matplotlib_symbol: str


KINDS: Final[dict[Kind, KindStyle]] = {
    "experiment": KindStyle(VERMILION, "diamond", "D"),
    "simulation": KindStyle(GREEN, "square", "s"),
}


def distance_range(rdfs: Iterable[Rdf]) -> tuple[float, float]:
    """Return the common distance axis in angstrom, from just before the first rise of any g."""
    shown = list(rdfs)
    rises = [
        next((r for r, g in zip(rdf.r_angstrom, rdf.g, strict=True) if g > 0.01 * max(rdf.g)), 0.0)
        for rdf in shown
    ]
    last = max(rdf.r_angstrom[-1] for rdf in shown)
    return max(0.0, min(rises) - 0.5), last


def height(rdf: Rdf) -> float:
    """Return the highest point to draw: of the curve with its error, and of published curves.

    Errors count where g is at least half its maximum: a bin near the origin that nothing can
    visit has a wide error bar that says nothing about the curve.
    """
    half = max(rdf.g) / 2
    ours = [g + error for g, error in zip(rdf.g, rdf.band, strict=True) if g >= half]
    return max(*ours, *(g for curve in rdf.reference_curves for g in curve.g), 1.0)


def marker_heights(rdf: Rdf) -> list[float]:
    """Return where published peak positions stand, one above the other so that none is hidden."""
    return [height(rdf) * (1.08 + 0.09 * index) for index in range(len(rdf.markers))]


def axis_top(rdf: Rdf) -> float:
    """Return the upper end of the g axis."""
    return height(rdf) * (1.12 + 0.09 * len(rdf.markers))
