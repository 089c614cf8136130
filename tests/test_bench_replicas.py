"""Tests of the timing of replicas at once."""

import os
from pathlib import Path

import pytest

from bjerrum.bench.replicas import replicas_at_once
from bjerrum.errors import ExternalError
from bjerrum.frames import read_frames
from bjerrum.potential.model import load_model

BOX = Path(__file__).parent / "data" / "licl-80-waters.extxyz"
SLEEPER = "import sys, time; print(1, flush=True); sys.stdin.readline(); time.sleep(0.5); print(2)"


def timed():
    (atoms,) = read_frames(BOX)
    model = load_model("licl-nnp1")
    return replicas_at_once(model, atoms, temperature=300.0, steps=2, rounds=1)


def test_processes_that_need_no_core_gain_their_number(monkeypatch):
    """Workers that sleep for half a second: 2 fs each in it, and all of them in the same time."""
    monkeypatch.setattr("bjerrum.bench.replicas._WORKER", SLEEPER)
    found, n = timed(), len(os.sched_getaffinity(0))
    assert found["processes"] == n
    assert found["ps_per_hour_alone"] == pytest.approx(0.002 * 3600 / 0.5, rel=0.5)
    assert found["gain"] == pytest.approx(n, rel=0.5)


def test_a_replica_that_fails_is_told(monkeypatch):
    monkeypatch.setattr("bjerrum.bench.replicas._WORKER", "import sys; sys.exit(7)")
    with pytest.raises(ExternalError, match="exit code 7"):
        timed()


@pytest.mark.slow
def test_real_replicas_run():
    assert 0.1 < timed()["gain"] < 2 * len(os.sched_getaffinity(0))
