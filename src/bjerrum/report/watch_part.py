"""What the watchdog of the dynamics saw: the part of the results document, and its words."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from bjerrum.report.parts import Count, Part, Text
from bjerrum.report.rounding import number, unit_text

Span = Annotated[list[float], Field(min_length=2, max_length=2)]
SHOWN_SPANS = 6


class WatchEvent(Part):
    """The worst case of a reason."""

    step: Count
    reason: Text
    atoms: list[int]
    value: float
    limit: float
    unit: Text


class WatchReason(Part):
    """One kind of event."""

    n_looks: Count
    spans_ps: list[Span]
    """First and last time of each stretch of looks that saw it."""
    worst: WatchEvent


class WatchRecord(Part):
    """What was seen in one replica; ``watchdog.json`` of the dynamics, unchanged."""

    watch: dict[str, Any]
    """The limits."""
    n_events: Count
    n_frames: Count | None = None
    """Frames of the trajectory; None in records of runs from before they were counted."""
    n_frames_marked: Count | None = None
    """Of those, the ones that something was seen in or just before."""
    reasons: dict[str, WatchReason]


def watch_sentence(records: list[WatchRecord]) -> str:
    """Return in how many replicas something was seen."""
    disturbed = sum(record.n_events > 0 for record in records)
    n = f"{len(records)} replica{'' if len(records) == 1 else 's'}"
    if not disturbed:
        return f"The watchdog saw nothing unusual in {n}."
    return (
        f"The watchdog saw something in {disturbed} of {n}: nothing was dropped, "
        f"{_marked(records)} marked in the trajectories."
    )


def _marked(records: list[WatchRecord]) -> str:
    """Return "3 of 120 frames are", or "the frames are" where they were not counted."""
    counts = [(record.n_frames_marked, record.n_frames) for record in records]
    if any(marked is None or frames is None for marked, frames in counts):
        return "the frames are"
    marked = sum(marked or 0 for marked, _ in counts)
    return f"{marked} of {sum(frames or 0 for _, frames in counts)} frames are"


def spans_text(spans: list[list[float]]) -> str:
    """Return "0.5, 1.2 to 1.4 ps"; only the first of many."""
    texts = [
        number(first, 4) if first == last else f"{number(first, 4)} to {number(last, 4)}"
        for first, last in spans[:SHOWN_SPANS]
    ]
    more = f" and {len(spans) - SHOWN_SPANS} more" if len(spans) > SHOWN_SPANS else ""
    return f"{', '.join(texts)} ps{more}"


def limit_text(event: WatchEvent) -> str:
    """Return "1.8 Å, limit 1.45 Å"."""
    unit = unit_text(event.unit)
    return f"{number(event.value, 3)} {unit}, limit {number(event.limit, 3)} {unit}".strip()
