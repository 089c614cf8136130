"""Progress on stderr: bars with the time left where a person watches, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_SECONDS = 30.0


class Console:
    """Shows stages of work; use as a context manager."""

    def __init__(self) -> None:
        self._rich = RichConsole(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._rich,
            disable=not self._rich.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}
        self._begin: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> Console:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def announce(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        if not self._rich.is_terminal:
            self._line(stage, done, total)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)

    def say(self, line: str) -> None:
        """Print a line, above the bars where there are some."""
        self._rich.print(line, highlight=False, markup=False, soft_wrap=True)

    def training(self, step: int, total: int, rmse: float) -> None:
        """Show a finished round of training with its validation error."""
        self.announce("Training", step, total)
        self._rich.print(f"step {step} of {total}: validation force RMSE {rmse:.1f} meV/angstrom")

    def _line(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        started, first = self._begin.setdefault(stage, (now, done))
        if done == 0:
            return
        due = now - self._last_line.get(stage, -LINE_EVERY_SECONDS) >= LINE_EVERY_SECONDS
        if not (due or done == total):
            return
        self._last_line[stage] = now
        left = (total - done) * (now - started) / (done - first) if done > first else None
        forecast = f", {left / 60:.1f} min left" if left and done < total else ""
        self._rich.print(f"{stage}: {done} of {total}{forecast}", highlight=False)
