"""The benchmark of the books: what it counts, and that it runs."""

from __future__ import annotations

import pytest

from bjerrum.bench.store import bench_store, busy_share


def event(kind: str, step: str, time: float) -> dict:
    return {"event": kind, "step": step, "time": time}


def test_busy_slots_by_hand():
    """Two slots; both at work from 1 s, the last begin at 5 s; a slot idles from 3 to 4 s."""
    times = {"a": (0, 3), "b": (1, 5), "c": (4, 6), "d": (5, 7)}
    events = [event("begin", s, b) for s, (b, _) in times.items()]
    events += [event("end", s, e) for s, (_, e) in times.items()]
    # from 1 to 5 s: a 2 s, b 4 s, c 1 s, d 0 s of 2 * 4 s
    assert busy_share(events, 2) == pytest.approx(7 / 8)
    assert busy_share(events[:2], 2) == 0.0


def test_the_benchmark_runs(capsys):
    found = bench_store(steps=10, finished=20, announce=lambda stage, done, total: None)
    assert found["what"] == "store"
    assert found["ratio"] == pytest.approx(20 / found["ours"])
    assert 0 < found["ours"] < 5000
    assert 0 < found["details"]["replan_s"] < 60
