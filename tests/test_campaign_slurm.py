"""A campaign in pilot jobs of a real Slurm: whatever happens to it, the same database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bjerrum.execution.journal import read_journal
from slurm_site import Site, require_programs
from test_campaign import MINI, PROFILE, call, estimates
from test_slurm import PROFILE as SITE_PROFILE
from test_slurm import ends, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]
N_STEPS = 8


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    require_programs()
    found = Site(tmp_path_factory.mktemp("slurm") / "site", slots=8)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def folder_for(folder: Path, profile: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "profile.toml").write_text(profile)
    (folder / "mini.toml").write_text(MINI)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> str:
    """The database that worker processes of this machine fill."""
    folder = folder_for(tmp_path_factory.mktemp("local"), PROFILE)
    done = call("run", "mini.toml", folder=folder)
    assert done.returncode == 0, done.stderr
    return estimates(folder / "campaigns" / "mini" / "results.sqlite")


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bjerrum", "run", "mini.toml"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err


def at_work(root: Path) -> list[int]:
    """The process numbers of steps that have begun and not ended."""
    begun: dict[str, int] = {}
    for event in read_journal(root):
        if event["event"] == "begin":
            begun[event["step"]] = event["pid"]
        else:
            begun.pop(event["step"], None)
    return list(begun.values())


def assert_whole(root: Path, undisturbed: str) -> None:
    """The undisturbed database; every step ended once, and none was begun after that."""
    assert estimates(root / "results.sqlite") == undisturbed
    ended: set[str] = set()
    for event in read_journal(root):
        assert not (event["event"] == "begin" and event["step"] in ended)
        if event["event"] == "end":
            ended.add(event["step"])
    assert len(ended) == N_STEPS
    assert not list(root.glob("steps/*.partial"))


def test_a_campaign_in_pilot_jobs(site, tmp_path, undisturbed):
    folder = folder_for(tmp_path, SITE_PROFILE)
    done = call("run", "mini.toml", folder=folder)
    assert done.returncode == 0, done.stderr
    root = folder / "campaigns" / "mini"
    assert_whole(root, undisturbed)
    begun = Counter(e["step"] for e in read_journal(root) if e["event"] == "begin")
    assert set(begun.values()) == {1}
    wait_for(lambda: not site.running(), 60)


def kill_a_worker(site: Site, root: Path, process: subprocess.Popen[str]) -> None:
    os.kill(at_work(root)[0], signal.SIGKILL)


def kill_the_driver(site: Site, root: Path, process: subprocess.Popen[str]) -> None:
    assert process.poll() is None
    process.kill()


def cancel_the_jobs(site: Site, root: Path, process: subprocess.Popen[str]) -> None:
    running = site.running()
    assert running
    for job in running:
        site.command("scancel", job)


def drain_the_node(site: Site, root: Path, process: subprocess.Popen[str]) -> None:
    node = f"nodename={site.host}"
    site.command("scontrol", "update", node, "state=drain", "reason=test")
    cancel_the_jobs(site, root, process)
    wait_for(lambda: "drained" in site.state())
    wait_for(lambda: any(event["event"] == "lost" for event in read_journal(root)))
    wait_for(site.jobs)  # the next one is in the queue, and stays there
    assert not site.running()
    assert process.poll() is None, "the driver waits for the node"
    site.command("scontrol", "update", node, "state=resume")


@pytest.mark.slow
@pytest.mark.parametrize(
    "disturb", [kill_a_worker, kill_the_driver, cancel_the_jobs, drain_the_node]
)
def test_a_disturbed_campaign_ends_with_the_same_database(site, tmp_path, undisturbed, disturb):
    folder = folder_for(tmp_path, SITE_PROFILE)
    root = folder / "campaigns" / "mini"
    process = start(folder)
    wait_for(lambda: ends(root) >= 2 and at_work(root))
    disturb(site, root, process)
    if disturb is kill_the_driver:
        process.communicate()
        process = start(folder)
    finish(process)
    assert_whole(root, undisturbed)
