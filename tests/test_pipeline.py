"""The whole chain on a small box: it answers, it is reused, and a kill changes nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = """
[solution]
salt = "LiCl"
molality_mol_per_kg = 2.78

[box]
waters = 36
classical_equilibration_ps = 10

[potential]
model = "licl-nnp1"

[dynamics]
replicas = 2
length_ps = {length_ps}
frame_every_fs = 2
equilibration_part = 0.2
seed = 7

[conservation]
length_ps = 0.01

[analysis]
pairs = ["Li-O", "O-O"]
"""

SAME_RESULT = ("question", "sampling", "answers", "rdfs", "time_series", "nve", "checks")


def start(config: Path, folder: Path) -> subprocess.Popen[str]:
    """Start a run as a user would, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "bjerrum", "run", str(config), "-o", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(CONFIG.format(length_ps=0.06))
    return path


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    out = finish(start(config, folder))
    assert out.strip().splitlines()[-1] == f"report: {folder / 'report.html'}"
    return folder


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def trajectories(folder: Path) -> list[bytes]:
    paths = sorted(folder.glob("steps/sample_solution-*/replica-*/trajectory.h5"))
    assert len(paths) == 2
    return [path.read_bytes() for path in paths]


def test_the_chain_answers(undisturbed):
    found = results(undisturbed)
    assert found["question"]["n_waters"] == 36
    assert found["question"]["n_pairs"] == 2
    assert set(found["rdfs"]) == {"Li-O", "O-O"}
    assert all(check["passed"] for check in found["checks"])
    assert found["thermodynamics"]["salt"] == "LiCl"
    assert (undisturbed / "report.html").stat().st_size > 10_000
    assert not list(undisturbed.glob("steps/*.partial"))


def test_a_second_call_computes_nothing(undisturbed, config):
    before = {p: p.stat().st_mtime_ns for p in undisturbed.glob("steps/*/*")}
    begin = time.monotonic()
    finish(start(config, undisturbed))
    assert time.monotonic() - begin < 60
    assert {p: p.stat().st_mtime_ns for p in undisturbed.glob("steps/*/*")} == before


def killed_runs(config: Path, folder: Path, moments: list[float]) -> None:
    """Start the run once per moment and kill everything it started, without warning."""
    for seconds in moments:
        process = start(config, folder)
        time.sleep(seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(condition, process: subprocess.Popen[str], limit: float = 300) -> None:
    begin = time.monotonic()
    while not condition() and process.poll() is None:
        assert time.monotonic() - begin < limit
        time.sleep(0.05)


def test_a_run_killed_while_sampling_ends_with_the_same_result(config, undisturbed, tmp_path):
    folder = tmp_path / "run"
    process = start(config, folder)
    until(lambda: list(folder.glob("steps/sample_solution-*.partial/*/chunk-*.npz")), process)
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)  # the driver alone: its workers must notice
    process.communicate()
    finish(start(config, folder))
    assert trajectories(folder) == trajectories(undisturbed)
    for part in SAME_RESULT:
        assert results(folder)[part] == results(undisturbed)[part], part


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(config, undisturbed, tmp_path):
    random.seed(5)
    folder = tmp_path / "run"
    killed_runs(config, folder, [random.uniform(1, 25) for _ in range(8)])
    finish(start(config, folder))
    assert trajectories(folder) == trajectories(undisturbed)
    for part in SAME_RESULT:
        assert results(folder)[part] == results(undisturbed)[part], part


def test_two_runs_in_one_folder_are_refused(config, tmp_path):
    folder = tmp_path / "run"
    first = start(config, folder)
    until((folder / ".lock").exists, first)
    time.sleep(0.5)
    second = start(config, folder)
    _, err = second.communicate(timeout=120)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert second.returncode == 2
    assert "another process" in err
    assert "Traceback" not in err
