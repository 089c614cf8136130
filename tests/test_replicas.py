"""Replicas in processes of their own: results, progress, failures, and no worker left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from bjerrum.dynamics import replicas
from bjerrum.dynamics.replicas import Replica, _in_processes, n_workers, run_replicas
from bjerrum.dynamics.runner import Dynamics, read_end, run_dynamics
from bjerrum.errors import ExternalError, PhysicsCheckFailed, SeriesTooShort
from conftest import water_box

DYNAMICS = Dynamics(
    timestep_fs=0.5,
    n_steps=6,
    temperature=300.0,
    friction_per_ps=5.0,
    frame_stride=2,
    chunk_frames=2,
    seed=1,
)


def replicas_in(folder: Path, n: int) -> list[Replica]:
    return [
        Replica(water_box(), replace(DYNAMICS, replica=k), folder / f"replica-{k}")
        for k in range(n)
    ]


def count_to_ten(model: str, replica: Replica, slot: int) -> tuple[str, int, int]:
    for step in range(10):
        replicas._worker.counters[slot] = step + 1
    return model, replica.dynamics.replica, os.getpid()


def fail_or_wait(model: str, replica: Replica, slot: int) -> None:
    """Fail in the second slot as asked; wait for ever in the first."""
    (replica.folder.parent / f"pid-{slot}").write_text(str(os.getpid()))
    if slot == 1 and model == "raise":
        raise SeriesTooShort("too short", n_effective=0.5)
    if slot == 1 and model == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while slot == 0:
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(folder: Path) -> list[int]:
    return [int(path.read_text() or 0) for path in sorted(folder.glob("pid-*"))]


def until(condition, seconds: float = 60) -> None:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds
        time.sleep(0.05)


def test_results_come_in_order_and_progress_is_summed(tmp_path):
    reported = []
    results = _in_processes(count_to_ten, "m", replicas_in(tmp_path, 3), reported.append)
    assert [result[:2] for result in results] == [("m", 0), ("m", 1), ("m", 2)]
    assert os.getpid() not in {result[2] for result in results}
    assert reported == sorted(reported)
    assert reported[-1] == 30
    assert not any(is_alive(result[2]) for result in results)


@pytest.mark.parametrize("how", ["raise", "die", pytest.param("interrupt", marks=pytest.mark.slow)])
@pytest.mark.skipif(n_workers(2) < 2, reason="needs two cores")
def test_a_failure_reaches_the_caller_and_ends_the_others(how, tmp_path):
    def on_progress(steps):
        if how == "interrupt" and len(pids(tmp_path)) == 2:
            raise KeyboardInterrupt

    expected = {"raise": SeriesTooShort, "die": ExternalError, "interrupt": KeyboardInterrupt}
    with pytest.raises(expected[how]) as caught:
        _in_processes(fail_or_wait, how, replicas_in(tmp_path, 2), on_progress)
    if how == "raise":
        assert caught.value.n_effective == 0.5
        assert str(caught.value) == "too short"
    if how == "die":
        assert "worker process was killed" in str(caught.value)
    until(lambda: not any(is_alive(pid) for pid in pids(tmp_path)))


ORPHANS = """
import sys
from pathlib import Path
from test_replicas import _in_processes, fail_or_wait, replicas_in

if __name__ == "__main__":
    _in_processes(fail_or_wait, "idle", replicas_in(Path(sys.argv[1]), 2), lambda steps: None)
"""


def test_workers_end_when_their_caller_is_killed_at_work_or_idle(tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(ORPHANS)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    caller = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        until(lambda: len(pids(tmp_path)) == n_workers(2) and all(pids(tmp_path)))
        assert all(is_alive(pid) for pid in pids(tmp_path))
    finally:
        caller.kill()
        caller.wait()
    until(lambda: not any(is_alive(pid) for pid in pids(tmp_path)), seconds=10)


def test_runs_no_more_at_once_than_there_are_cores():
    cores = len(os.sched_getaffinity(0))
    assert n_workers(1) == 1
    assert n_workers(10_000) == cores


def one_too_cold(folder: Path) -> list[Replica]:
    """Three replicas, of which any force makes the second too hot."""
    found = replicas_in(folder, 3)
    cold = replace(found[1].dynamics, temperature=0.01)
    return [found[0], replace(found[1], dynamics=cold), found[2]]


def check_that_two_are_done(error: str, runs: list[Replica]) -> None:
    assert error.startswith(f"1 of 3 runs failed: {runs[1].folder}: dynamics: the run blew up")
    assert error.endswith("the other 2 went on to their ends")
    assert [(run.folder / "end.npz").exists() for run in runs] == [True, False, True]


def test_one_that_fails_does_not_stop_the_others(tiny_model, tmp_path, monkeypatch):
    """Here without processes of their own."""
    monkeypatch.setattr(replicas, "_worker", replicas._Worker([0, 0, 0], 1), raising=False)
    monkeypatch.setattr(
        replicas, "_in_processes",
        lambda work, model, runs, on_progress: [work(model, r, k) for k, r in enumerate(runs)],
    )  # fmt: skip
    runs = one_too_cold(tmp_path)
    with pytest.raises(PhysicsCheckFailed) as error:
        run_replicas(str(tiny_model), runs, lambda steps: None)
    check_that_two_are_done(str(error.value), runs)


@pytest.mark.slow
def test_nor_does_it_in_processes(tiny_model, tmp_path):
    runs = one_too_cold(tmp_path)
    with pytest.raises(PhysicsCheckFailed) as error:
        run_replicas(str(tiny_model), runs, lambda steps: None)
    check_that_two_are_done(str(error.value), runs)


@pytest.mark.slow
def test_replicas_give_what_each_gives_alone(tiny_model, tmp_path):
    from bjerrum.dynamics.assembly import assemble
    from bjerrum.dynamics.settings import Setup
    from bjerrum.potential.model import load_model

    reported = []
    usage = run_replicas(str(tiny_model), replicas_in(tmp_path, 2), reported.append)
    assert reported[-1] == 12
    assert usage["wall_seconds"] > 0
    assert 50 < usage["peak_memory_MiB"] < 4096
    atoms: Atoms = water_box()
    for k in range(2):
        dynamics, alone = replace(DYNAMICS, replica=k), tmp_path / f"alone-{k}"
        forces, extras = assemble(load_model(str(tiny_model)), atoms, dynamics, Setup())
        run_dynamics(atoms, forces, dynamics, alone, extras=extras)
        for ours, theirs in zip(
            read_end(tmp_path / f"replica-{k}"), read_end(tmp_path / f"alone-{k}"), strict=True
        ):
            assert np.array_equal(ours, theirs)
