"""A real Slurm: campaigns in pilot jobs, and what kills, cancels and drains do to them: nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bjerrum.errors import ExternalError
from bjerrum.execution.cluster import ClusterExecutor, cancel_jobs
from bjerrum.execution.driver import Drive
from bjerrum.execution.journal import read_journal
from bjerrum.execution.profile import SlurmProfile
from bjerrum.graph import Graph
from bjerrum.store import Store
from slurm_site import Site, require_programs
from test_execution import begun, drive, values
from toy_steps import MISBEHAVE, diamond

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Parsl leaves pipes to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PROFILE = """\
kind = "slurm"
address = "127.0.0.1"
heartbeat_seconds = 3
timeout_hours = 0.1

[cpu]
partition = "main"
workers_per_node = 2
walltime = "00:20:00"
jobs = 2
"""
WIDTH, SECONDS = 16, 0.4

DRIVER = """\
import sys
from pathlib import Path
from toy_steps import diamond
from bjerrum.execution.cluster import ClusterExecutor
from bjerrum.execution.driver import Drive
from bjerrum.execution.profile import read_profile
from bjerrum.store import Store, exclusive

root = Path(sys.argv[1])
with exclusive(root):
    graph = diamond(int(sys.argv[3]), seconds=float(sys.argv[4]))
    drive = Drive(graph, Store(root), ClusterExecutor(read_profile(Path(sys.argv[2])), root))
    drive.run()
    print(len(drive.done), len(drive.failed))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    require_programs()
    found = Site(tmp_path_factory.mktemp("slurm") / "site", slots=8)
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture(autouse=True)
def _workers_find_the_toys(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    """What the local pool makes of the same graph."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    root = tmp_path_factory.mktemp("local") / "run"
    drive(diamond(WIDTH, seconds=SECONDS), root)
    return values(root)


@pytest.fixture
def profile(tmp_path) -> Path:
    path = tmp_path / "profile.toml"
    path.write_text(PROFILE)
    return path


def start(root: Path, profile: Path) -> subprocess.Popen[str]:
    root.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(root), str(profile), str(WIDTH), str(SECONDS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert out.split()[-2:] == [str(WIDTH + 2), "0"], (out, err)


def wait_for(condition, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def interchanges(root: Path) -> list[str]:
    """Return Parsl's own helper processes of a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            links = [str(link.readlink()) for link in (entry / "fd").iterdir()]
        except OSError:
            continue
        found += [entry.name for link in links if link.startswith(f"{root}/parsl")]
    return found


def ends(root: Path) -> int:
    return sum(event["event"] == "end" for event in read_journal(root))


def assert_whole(root: Path, undisturbed: dict[str, bytes]) -> None:
    """The same bytes as without trouble, and no step begun after it had succeeded."""
    assert values(root) == undisturbed
    ended: set[str] = set()
    for event in read_journal(root):
        assert not (event["event"] == "begin" and event["step"] in ended)
        if event["event"] == "end":
            ended.add(event["step"])
    assert len(ended) == WIDTH + 2


def test_a_graph_in_pilot_jobs(site, tmp_path, profile, undisturbed):
    process = start(tmp_path / "run", profile)
    finish(process)
    assert_whole(tmp_path / "run", undisturbed)
    assert set(begun(tmp_path / "run").values()) == {1}
    wait_for(lambda: not site.running(), 60)  # the driver leaves no jobs behind


def test_a_killed_worker(site, tmp_path, profile, undisturbed):
    root, chooser = tmp_path / "run", random.Random(3)
    process = start(root, profile)
    for target in (3, 7, 11):
        wait_for(lambda target=target: ends(root) >= target)
        events = read_journal(root)
        done = {event["step"] for event in events if event["event"] == "end"}
        at_work = [e["pid"] for e in events if e["event"] == "begin" and e["step"] not in done]
        if at_work:
            try:
                os.kill(chooser.choice(at_work), signal.SIGKILL)
            except ProcessLookupError:
                continue
    finish(process)
    assert_whole(root, undisturbed)


def test_a_killed_driver(site, tmp_path, profile, undisturbed):
    root = tmp_path / "run"
    for target in (4, 10):
        process = start(root, profile)
        wait_for(lambda target=target: ends(root) >= target)
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
    wait_for(lambda: not interchanges(root), 30)  # nothing of the dead drivers is left
    finish(start(root, profile))
    assert_whole(root, undisturbed)


def test_a_cancelled_job(site, tmp_path, profile, undisturbed):
    root = tmp_path / "run"
    process = start(root, profile)
    wait_for(lambda: ends(root) >= 5)
    for job in site.running():
        site.command("scancel", job)
    finish(process)
    assert_whole(root, undisturbed)


def test_a_node_that_is_drained_in_the_middle(site, tmp_path, profile, undisturbed):
    """Drained, its jobs killed, and given back: new jobs wait for it and go on."""
    root = tmp_path / "run"
    process = start(root, profile)
    wait_for(lambda: ends(root) >= 5)
    node = f"nodename={site.host}"
    site.command("scontrol", "update", node, "state=drain", "reason=test")
    for job in site.running():
        site.command("scancel", job)
    wait_for(lambda: "drained" in site.state())
    time.sleep(3)
    assert process.poll() is None, "the driver waits for the node"
    site.command("scontrol", "update", node, "state=resume")
    finish(process)
    assert_whole(root, undisturbed)


def test_failures_in_jobs_are_told_apart(site, tmp_path, profile):
    from bjerrum.execution.profile import read_profile

    graph = Graph()
    for how in ("refuse", "hang", "eat"):
        graph.add(MISBEHAVE, {"how": how}, title=how)
    graph.add(MISBEHAVE, {"how": "die", "once": True}, title="die once")
    chosen = read_profile(profile)
    assert isinstance(chosen, SlurmProfile)
    cpu = chosen.cpu.model_copy(update={"memory_GiB_per_worker": 0.4})
    chosen = chosen.model_copy(update={"cpu": cpu, "timeout_hours": 40 / 3600})
    found = Drive(graph, Store(tmp_path), ClusterExecutor(chosen, tmp_path))
    found.run()
    kinds = Counter(failure.kind for failure in found.failed.values())
    assert kinds == {"input": 1, "timeout": 1, "memory": 1}
    assert {graph.nodes[digest].title for digest in found.done} == {"die once"}


def test_jobs_of_others_are_left_alone(site):
    script = site.folder / "other.sh"
    script.write_text("#!/bin/sh\nsleep 60\n")
    site.command("sbatch", "--job-name=other", "--output=/dev/null", str(script))
    assert cancel_jobs("bjerrum_00000000") == []
    # pilots of drivers that other tests killed may still be there
    assert "other" in site.command("squeue", "--noheader", "--format=%j").split()
    assert len(cancel_jobs("other")) == 1


def test_a_site_that_does_not_answer_is_one_line(monkeypatch, tmp_path):
    """A damaged configuration; without any, Slurm asks the network for one, for a minute."""
    require_programs()
    (tmp_path / "slurm.conf").write_text("NoSuchKey=1\n")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(ExternalError, match="squeue failed"):
        cancel_jobs("bjerrum")
