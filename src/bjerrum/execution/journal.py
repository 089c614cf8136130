"""What happened when: one line per event, appended by whoever does it.

Lines are shorter than a page, so that those of several processes do not mix.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

JOURNAL, HANDED_OVER = "journal.jsonl", "handed over"


def note(root: Path, event: str, step: str, **more: Any) -> None:
    """Append an event of a step: handed over, begin, end, or what the driver saw of it."""
    line = {"time": time.time(), "event": event, "step": step}
    line |= {"host": socket.gethostname(), "pid": os.getpid(), **more}
    data = json.dumps(line).encode() + b"\n"
    descriptor = os.open(root / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def read_journal(root: Path) -> list[dict[str, Any]]:
    """Return every event; a line cut short by a full disk or a kill is left out."""
    try:
        lines = (root / JOURNAL).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def begun_since_handed_over(root: Path) -> dict[str, float]:
    """Return the steps whose last event is their begin, and when: those that are at work.

    What a driver has handed over since may still wait in a queue.
    """
    last = {event["step"]: event for event in read_journal(root) if _is_whole(event)}
    return {step: event["time"] for step, event in last.items() if event["event"] == "begin"}


def _is_whole(event: object) -> bool:
    return isinstance(event, dict) and {"step", "event", "time"} <= event.keys()
