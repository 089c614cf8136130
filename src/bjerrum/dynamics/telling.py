"""Lines for the person who waits: how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]
"""Tells the user a line."""

FORECAST_STEPS = 20


def silent(line: str) -> None:
    """Tell nobody."""


class Forecast:
    """Says once, after 20 steps, how long the rest will take.

    total      steps in all
    n_at_once  runs that make steps at the same time
    """

    def __init__(self, say: Say, total: int, n_at_once: int = 1) -> None:
        self._say, self._total, self._after = say, total, FORECAST_STEPS * n_at_once
        self._begin: tuple[int, float] | None = None
        self._told = False

    def __call__(self, done: int) -> None:
        """Hear how many steps are done."""
        if self._told or done <= 0:
            return
        now = time.perf_counter()
        if self._begin is None:
            self._begin = done, now
            return
        steps = done - self._begin[0]
        if steps < self._after:
            return
        self._told = True
        seconds = (now - self._begin[1]) / steps
        if done < self._total:
            left = (self._total - done) * seconds
            self._say(
                f"Dynamics: {1e3 * seconds:.3g} ms a step; the other {self._total - done} steps "
                f"take about {_duration(left)}"
            )


def _duration(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
