"""What all interactive figures have in common: fonts, axes, ticks, and the finished form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from bjerrum.report import style

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

NARROW_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
"""Marks per decade of a logarithmic axis that spans less than a decade."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure with the words that stand for it.

    identifier    of the element on the page; depends on the place only
    title         above the figure
    alternative   what it shows, for those who do not see it
    plotly_json   data and layout, safe inside a script element
    print_size    width and height on paper, pixels
    """

    identifier: str
    title: str
    alternative: str
    plotly_json: str
    print_size: tuple[int, int]


def log_range(values: list[float]) -> list[float]:
    """Return the ends of a logarithmic axis, as powers of ten, with a little room."""
    return [math.log10(min(values)) - 0.1, math.log10(max(values)) + 0.1]


def log_ticks(values: list[float]) -> list[float]:
    """Return round values for the marks of a logarithmic axis, closer where it is short."""
    low, high = (10**end for end in log_range(values))
    decades = math.log10(high / low)
    steps = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 0.8 else NARROW_STEPS
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks = [round(step * 10.0**exponent, 9) for exponent in exponents for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def transparent(colour: str, alpha: float) -> str:
    """Return a colour "#rrggbb" with an opacity between 0 and 1."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:.3f})"


def axis(title: str | None) -> dict[str, Any]:
    """Return the look of an axis."""
    return {
        "title": {"text": title, "standoff": 6, "font": {"size": 13}} if title else None,
        "showline": True,
        "linecolor": style.GREY,
        "ticks": "outside",
        "tickcolor": style.GREY,
        "ticklen": 4,
        "gridcolor": "#eef1f4",
        "zeroline": False,
        "automargin": True,
    }


def layout(pixels: int, *, legend: bool = False) -> dict[str, Any]:
    """Return the look of a figure of the given height."""
    return {
        "template": "none",
        "height": pixels,
        "margin": {"l": 48, "r": 10, "t": 10, "b": 48},
        "font": {"family": FONT, "size": 12, "color": style.INK},
        "hoverlabel": {"align": "left", "font": {"family": FONT, "size": 12}},
        "showlegend": legend,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "hovermode": "closest",
    }


def finish(
    figure: go.Figure, identifier: str, title: str, alternative: str, print_size: tuple[int, int]
) -> Figure:
    """Return a figure in the form that the page takes."""
    return Figure(identifier, title, alternative, str(figure.to_json()), print_size)
