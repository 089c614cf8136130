"""Graphs and workers: done once, in order, whatever dies on the way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import toy_steps
from bjerrum.errors import ExternalError, InputError
from bjerrum.execution.cluster import ClusterExecutor, drain_seconds
from bjerrum.execution.driver import Drive
from bjerrum.execution.journal import note, read_journal
from bjerrum.execution.pool import LocalPool, limits_of
from bjerrum.execution.process import session_memory_mib
from bjerrum.execution.profile import LocalProfile, SlurmProfile, read_profile
from bjerrum.execution.task import Outcome, Task
from bjerrum.execution.worker import perform
from bjerrum.graph import Graph, Kind
from bjerrum.store import RECORD, Store, exclusive
from toy_steps import CORES, MISBEHAVE, MIX, diamond

ONE = LocalProfile(workers=1, tie_to_cores=False)


@pytest.fixture(autouse=True)
def _workers_find_the_toys(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def drive(graph: Graph, root: Path, profile: LocalProfile = ONE, **settings) -> Drive:
    root.mkdir(exist_ok=True)
    found = Drive(graph, Store(root), LocalPool(profile), **settings)
    found.run()
    return found


def values(root: Path) -> dict[str, bytes]:
    """What every step has written, without times."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted((root / "steps").rglob("*"))
        if path.is_file() and path.name != RECORD
    }


def begun(root: Path) -> Counter[str]:
    """How often the work of each step was begun."""
    return Counter(e["step"] for e in read_journal(root) if e["event"] == "begin")


def test_equal_steps_are_one_and_order_is_kept():
    graph = Graph()
    first = graph.add(MIX, {"k": 1}, title="first")
    again = graph.add(MIX, {"k": 1}, title="again")
    last = graph.add(MIX, {"k": 2}, {"first": first}, title="last")
    other = graph.add(MIX, {"k": 3}, title="other")
    assert first is again
    assert list(graph) == [first, last, other]
    assert graph.chain(last) == [first, last]
    assert graph.dependants()[first.hash] == [last]


def test_a_graph_is_done_once(tmp_path):
    graph = diamond(5)
    assert len(drive(graph, tmp_path / "a").done) == 7
    before = values(tmp_path / "a")
    again = drive(graph, tmp_path / "a")
    assert len(again.done) == 7
    assert set(begun(tmp_path / "a").values()) == {1}
    assert values(tmp_path / "a") == before
    assert not (tmp_path / "a" / "running.json").exists()


def test_changed_code_invalidates_exactly_what_depends_on_it(tmp_path):
    """Of first -> parts -> join the parts' version is raised: first stays, join is done again."""
    old, new = diamond(3), diamond(3, version=2)
    assert [n.hash in old.nodes for n in new] == [True, False, False, False, False]
    drive(old, tmp_path)
    drive(new, tmp_path)
    times = begun(tmp_path)
    assert set(times.values()) == {1}
    assert len(times) == 5 + 4
    assert {n.hash for n in old} | {n.hash for n in new} == set(times)


def test_failures_are_told_apart(tmp_path):
    graph = Graph()
    for how in ("refuse", "check", "raise", "die", "eat"):
        graph.add(MISBEHAVE, {"how": how}, title=how)
    graph.add(MISBEHAVE, {"how": "die", "once": True}, title="die once")
    needy = graph.add(
        MIX, {}, {"one": next(n for n in graph if n.title == "refuse")}, title="needs a failed one"
    )
    limited = ONE.model_copy(update={"memory_GiB_per_worker": 0.4})
    found = drive(graph, tmp_path, limited)
    kinds = {graph.nodes[digest].title: (f.kind, f.attempts) for digest, f in found.failed.items()}
    assert kinds == {
        "refuse": ("input", 1),
        "check": ("physics", 1),
        "raise": ("error", 1),
        "die": ("lost", 5),
        "eat": ("memory", 1),
    }
    assert {graph.nodes[d].title for d in found.done} == {"die once"}
    assert needy.hash not in found.done | found.failed.keys()
    refused = next(n for n in graph if n.title == "refuse")
    why = Store(tmp_path).failure(refused.step)
    assert why is not None
    assert why.reason == "the salt is unknown"
    assert "about to refuse" in Path(why.log).read_text()
    assert "InputError: the salt is unknown" in Path(why.log).read_text()
    # the next call does not try again what will fail again, unless it is told to
    before = begun(tmp_path)
    drive(Graph(), tmp_path)
    graph.nodes = {refused.hash: refused}
    drive(graph, tmp_path)
    assert begun(tmp_path)[refused.hash] == before[refused.hash]
    drive(graph, tmp_path, retry=True)
    assert begun(tmp_path)[refused.hash] == before[refused.hash] + 1


def test_a_step_that_hangs_is_ended_and_tried_once_more(tmp_path):
    graph = Graph()
    always = graph.add(MISBEHAVE, {"how": "hang"}, title="always")
    once = graph.add(MISBEHAVE, {"how": "hang", "once": True}, title="once")
    both = LocalProfile(workers=2, oversubscribe=True, tie_to_cores=False, timeout_hours=6 / 3600)
    found = drive(graph, tmp_path, both)
    assert found.done == {once.hash}
    assert {digest: (f.kind, f.attempts) for digest, f in found.failed.items()} == {
        always.hash: ("timeout", 2)
    }


def test_a_worker_that_is_killed_loses_nothing(tmp_path):
    graph = diamond(4, seconds=0.2)
    pool = LocalPool(ONE)
    killed = []

    def kill_some(stage: str, done: int, total: int) -> None:
        (worker,) = pool._cpu
        if done in (1, 3) and worker.pid is not None:
            os.kill(worker.pid, signal.SIGKILL)
            killed.append(done)

    found = Drive(graph, Store(tmp_path), pool, kill_some)
    found.run()
    assert killed == [1, 3]
    assert len(found.done) == 6
    assert not found.failed


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_input_is_noticed_and_made_again(tmp_path, damage):
    """The first step's result is damaged after it was found intact, before its readers begin."""
    graph, reference = diamond(2), tmp_path / "reference"
    drive(graph, reference)
    root = tmp_path / "damaged"
    first = next(iter(graph))

    def spoil(node) -> None:
        if node is first and len(list(root.glob("steps/mix-*"))) == 1 and not spoiled:
            path = Store(root).folder_of(first.step) / "value"
            spoiled.append(path)
            if damage == "remove":
                shutil.rmtree(path.parent)
            else:
                path.write_bytes(bytes(reversed(path.read_bytes())))

    spoiled: list[Path] = []
    found = drive(graph, root, on_done=spoil)
    assert spoiled
    assert len(found.done) == 4
    assert values(root) == values(reference)
    assert begun(root)[first.hash] == 2
    assert "damaged" in {event["event"] for event in read_journal(root)}


def test_damage_is_noticed_at_the_next_start(tmp_path):
    graph = diamond(2)
    drive(graph, tmp_path)
    expected = values(tmp_path)
    time.sleep(2.1)
    drive(graph, tmp_path)  # every folder's fingerprint is known now
    last = list(graph)[-1]
    path = Store(tmp_path).folder_of(last.step) / "value"
    path.write_bytes(path.read_bytes()[::-1])
    drive(graph, tmp_path)
    assert values(tmp_path) == expected
    assert begun(tmp_path) == Counter({n.hash: 1 + (n is last) for n in graph})


@pytest.mark.parametrize("known", [5, [1], {"value": 3}, {"value": [1, 2]}, {"value": ["a"] * 4}])
def test_damaged_fingerprints_are_none(tmp_path, known):
    graph = diamond(1)
    drive(graph, tmp_path)
    folders = {Store(tmp_path).folder_of(node.step).name: known for node in graph}
    (tmp_path / ".fingerprints.json").write_text(json.dumps(folders))
    store = Store(tmp_path)
    assert all(store.find(node.step) is not None for node in graph)


def test_only_what_uses_a_gpu_goes_to_its_worker(tmp_path):
    """A worker with a number in place of a card: which steps see it, and that training is one."""
    from bjerrum.campaign.kinds import KINDS

    graph = Graph()
    for needs_gpu in (False, True):
        kind = Kind("where", 1, "toy_steps:where", needs_gpu=needs_gpu)
        graph.add(kind, {"gpu": needs_gpu}, title=str(needs_gpu))
    found = drive(graph, tmp_path, ONE.model_copy(update={"gpus": 1}))
    assert not found.failed
    seen = {
        node.title: Store(tmp_path).folder_of(node.step).joinpath("value").read_text()
        for node in graph
    }
    assert seen == {"False": "", "True": "0"}
    assert [name for name, kind in KINDS.items() if kind.needs_gpu] == ["train_member"]


def test_fingerprints_of_young_files_are_not_trusted(tmp_path):
    """Two writes within one tick of the clock look alike: such a folder is hashed each time."""
    graph = diamond(1)
    drive(graph, tmp_path)
    store = Store(tmp_path)
    node = next(iter(graph))
    assert store.find(node.step)
    assert not store.fingerprints.holds(store.folder_of(node.step))
    old = time.time() - 60
    for path in store.folder_of(node.step).iterdir():
        os.utime(path, (old, old))
    time.sleep(2.1)  # utime cannot set the time of the change itself
    assert store.find(node.step)
    assert store.fingerprints.holds(store.folder_of(node.step))
    store.fingerprints.save()
    assert Store(tmp_path).fingerprints.holds(store.folder_of(node.step))
    os.utime(store.folder_of(node.step) / "value")
    assert not Store(tmp_path).fingerprints.holds(store.folder_of(node.step))


DRIVER = """\
import sys, time
from pathlib import Path
from toy_steps import diamond
from bjerrum.execution.driver import Drive
from bjerrum.execution.pool import LocalPool
from bjerrum.execution.profile import LocalProfile
from bjerrum.store import Store, exclusive

root = Path(sys.argv[1])
with exclusive(root):
    graph = diamond(int(sys.argv[2]), seconds=float(sys.argv[3]))
    profile = LocalProfile(workers=2, oversubscribe=True, tie_to_cores=False)
    drive = Drive(graph, Store(root), LocalPool(profile))
    drive.run()
    print(len(drive.done), len(drive.failed))
"""


def start_driver(root: Path, width: int, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(root), str(width), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_unlocked(root: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with exclusive(root):
                return
        except InputError:
            time.sleep(0.01)
    raise AssertionError("the lock outlived its driver")


def killed_at_random(root: Path, n_kills: int, width: int, seconds: float, seed: int) -> int:
    """Kill the driver, or one of its workers, at random moments of its work; finish; kills done."""
    chooser, kills = random.Random(seed), 0
    process = start_driver(root, width, seconds)
    while kills < n_kills and process.poll() is None:
        seen = len(read_journal(root))
        end = time.monotonic() + 30
        while len(read_journal(root)) <= seen and time.monotonic() < end and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chooser.uniform(0, 2.5 * seconds))
        workers = [int(x) for x in children(process.pid)]
        victim = chooser.choice([process.pid, *workers])
        try:
            os.kill(victim, signal.SIGKILL)
            kills += 1
        except ProcessLookupError:
            continue
        if victim == process.pid:
            process.communicate()
            wait_until_unlocked(root)
            process = start_driver(root, width, seconds)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.split() == [str(width + 2), "0"]
    return kills


def children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def assert_like_undisturbed(root: Path, width: int, seconds: float) -> None:
    calm = root.with_name("undisturbed")
    drive(diamond(width, seconds=seconds), calm)
    assert values(root) == values(calm)
    assert not list(root.glob("steps/*.partial"))
    ended: set[str] = set()
    for event in read_journal(root):  # no step was begun after it had succeeded
        assert not (event["event"] == "begin" and event["step"] in ended)
        if event["event"] == "end":
            ended.add(event["step"])


def test_kills_at_random_moments_change_nothing(tmp_path):
    assert killed_at_random(tmp_path / "killed", 5, 8, 0.05, seed=1) >= 3
    assert_like_undisturbed(tmp_path / "killed", 8, 0.05)


@pytest.mark.slow
def test_kills_at_forty_random_moments_change_nothing(tmp_path):
    assert killed_at_random(tmp_path / "killed", 40, 80, 0.1, seed=2) >= 30
    assert_like_undisturbed(tmp_path / "killed", 80, 0.1)


def test_workers_end_with_their_driver(tmp_path):
    process = start_driver(tmp_path, 4, 30.0)
    end = time.monotonic() + 60
    while not begun(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    workers = [int(pid) for pid in children(process.pid)]
    assert workers
    process.kill()
    process.communicate()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_tethered_program_ends_with_its_parent(tmp_path):
    """A program that would sleep for a minute, started by a parent that is killed."""
    starter = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'bjerrum.execution.tethered',"
        " '/bin/sleep', '60'])\n"
        "print(p.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Path(f"/proc/{int(parent.stdout.readline())}")
    end = time.monotonic() + 60
    while "sleep" not in (child / "comm").read_text() and time.monotonic() < end:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while child.exists() and "Z" not in (child / "stat").read_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert not child.exists() or "Z" in (child / "stat").read_text()
    parent.stdout.close()


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    """By a day, to and fro, beside a limit of ten minutes for a step that is looked at twice."""
    graph, limited = diamond(2, seconds=0.6), ONE.model_copy(update={"timeout_hours": 1 / 6})
    drive(graph, tmp_path / "calm")
    jumps = iter(range(10**6))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86400 * (-1) ** next(jumps))
    found = drive(graph, tmp_path / "jumping", limited)
    assert not found.failed
    drive(graph, tmp_path / "jumping")
    assert set(begun(tmp_path / "jumping").values()) == {1}
    assert values(tmp_path / "jumping") == values(tmp_path / "calm")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, where root may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_the_campaign_and_nothing_half_written_is_taken(small_disk, tmp_path):
    graph = diamond(3)
    drive(graph, tmp_path / "calm")
    filler = small_disk / "filler"
    root = small_disk / "run"
    root.mkdir()

    def fill(node) -> None:
        with contextlib.suppress(OSError), filler.open("ab") as file:
            while True:
                file.write(bytes(4096))
                file.flush()

    with pytest.raises(ExternalError, match="the disk is full"):
        drive(graph, root, on_done=fill)
    filler.unlink()
    found = drive(graph, root)
    assert len(found.done) == 5
    assert values(root) == values(tmp_path / "calm")


def test_a_read_only_folder(tmp_path):
    """As a file in place of the folder: root may write where permissions forbid it."""
    (tmp_path / "steps").write_text("")
    graph = diamond(1)
    found = drive(graph, tmp_path)
    (failure,) = found.failed.values()
    assert (failure.kind, failure.attempts) == ("input", 1)
    assert "cannot be written" in failure.reason


def test_perform_says_what_happened(tmp_path):
    graph = Graph()
    node = graph.add(MISBEHAVE, {"how": "refuse"}, title="refuse")
    outcome = perform(Task.of(node, Store(tmp_path)))
    assert (outcome.kind, outcome.reason) == ("input", "the salt is unknown")
    assert Task.loads(Task.of(node, Store(tmp_path)).dumps()) == Task.of(node, Store(tmp_path))


def test_the_journal_bears_damage(tmp_path):
    note(tmp_path, "begin", "abc")
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"half')
    assert [e["step"] for e in read_journal(tmp_path)] == ["abc"]
    assert read_journal(tmp_path / "none") == []


def test_memory_of_a_session():
    own = session_memory_mib(os.getsid(0))
    assert own > 10


@pytest.mark.parametrize("tied", [True, False])
def test_steps_have_the_cores_of_their_worker(tmp_path, tied):
    """Within the steps: each worker's own core and no other, or all of them."""
    mine = sorted(os.sched_getaffinity(0))
    graph = Graph()
    for k in range(4):
        graph.add(CORES, {"k": k}, title=str(k))
    profile = LocalProfile(workers=min(2, len(mine)), cores_per_worker=1, tie_to_cores=tied)
    assert len(drive(graph, tmp_path, profile).done) == 4
    found = [json.loads(content) for content in values(tmp_path).values()]
    of_worker = {}
    for process, thread, program, pid in found:
        assert process == thread == program
        assert of_worker.setdefault(pid, process) == process, "the same in every step of a worker"
    expected = [[core] for core in mine[:2]] if tied else [mine] * len(of_worker)
    assert sorted(of_worker.values()) == expected


def test_cores_are_shared_out():
    n = len(os.sched_getaffinity(0))
    limits = limits_of(LocalProfile())
    assert [core for one in limits for core in one.cores] == sorted(os.sched_getaffinity(0))
    with pytest.raises(InputError, match="lower workers, or set oversubscribe"):
        limits_of(LocalProfile(workers=n + 1))
    free = limits_of(LocalProfile(workers=n + 1, oversubscribe=True))
    assert len(free) == n + 1
    assert not any(one.cores for one in free)


JOBS = '\npartition = "main"\nworkers_per_node = 3\nwalltime = "00:10:00"\n'
SITE = f'kind = "slurm"\n[cpu]{JOBS}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "pbs"', "expected local or slurm, got 'pbs'"),
        ("workers = -1", "workers: expected greater than or equal to 0"),
        ("wrokers = 1", "unknown key 'wrokers'; expected one of: cores_per_worker"),
        ('kind = "slurm"', "key 'cpu' is missing"),
        ("kind =", "is not valid TOML"),
        (f"timeout_hours = 24\n{SITE}", r"at most cpu.walltime \(00:10:00\), got 24"),
        (f"{SITE}[gpu]{JOBS.replace('10', '00')}", "gpu.walltime: expected more than 0"),
    ],
)
def test_wrong_profiles_are_one_line(tmp_path, text, message):
    path = tmp_path / "profile.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_profile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_slots_and_times_of_a_site_by_hand(tmp_path):
    path = tmp_path / "profile.toml"
    path.write_text(f"{SITE}jobs = 2\nnodes = 5\n[gpu]{JOBS}gpus_per_node = 4\njobs = 2\n")
    profile = read_profile(path)
    assert isinstance(profile, SlurmProfile)
    assert profile.gpu is not None
    assert (profile.cpu.slots, profile.gpu.slots) == (30, 8)
    assert profile.timeout_of(profile.cpu) == pytest.approx(1 / 6), "a step ends before its job"
    days = profile.cpu.model_copy(update={"walltime": "2-03:30:36"})
    assert days.hours == pytest.approx(48 + 3.51)


def test_jobs_take_no_step_that_their_end_would_cut():
    jobs = {"partition": "main", "workers_per_node": 1, "walltime": "10:00:00"}

    def drained(**settings) -> float:
        profile = SlurmProfile.model_validate({"kind": "slurm", "cpu": jobs, **settings})
        return drain_seconds(profile.cpu, profile) / 3600

    assert drained(timeout_hours=1) == 9
    assert drained(timeout_hours=9) == 5
    assert drained() == 5


def test_lost_jobs_are_seen_as_often_as_heartbeats():
    """Parsl would look once a minute, and replace a lost job no sooner."""
    pytest.importorskip("parsl")
    from bjerrum.execution.cluster import _provider_that_looks_every

    assert _provider_that_looks_every(7)(partition="main").status_polling_interval == 7


def test_the_end_of_a_jobs_wall_time_is_no_failure(tmp_path, monkeypatch):
    """Seven jobs end under one step, then two are lost: it is done in the tenth."""
    from bjerrum.execution import cluster

    listed: list[str] = []
    monkeypatch.setattr(cluster, "expired_jobs", lambda name: list(listed))

    class Pilots(ClusterExecutor):
        def __init__(self) -> None:
            self._name, self._known_expired, self.slots = "toy", set(), 1
            self.ends = ["expired"] * 7 + ["lost"] * 2 + ["done"]
            self.hashes: list[str] = []

        def free(self, *, gpu: bool) -> int:
            return 1 - len(self.hashes)

        def submit(self, task: Task) -> None:
            self.hashes.append(task.as_step.hash)

        def collect(self) -> list[Outcome]:
            end = self.ends.pop(0)
            if end == "expired":
                listed.append(str(len(listed)))
            kind = "done" if end == "done" else "lost"
            return self._expired([Outcome(self.hashes.pop(), kind, "ManagerLost")])

        def close(self) -> None:
            return

    graph = Graph()
    graph.add(MIX, {"k": 1}, title="long")
    found = Drive(graph, Store(tmp_path), Pilots())
    found.run()
    assert not found.failed
    events = Counter(event["event"] for event in read_journal(tmp_path))
    assert (events["expired"], events["lost"]) == (7, 2)
    assert list(found.attempts.values()) == [10]


EVIL = [
    "main; rm -rf /",
    "main\n#SBATCH --wrap=evil",
    "$(evil)",
    "`evil`",
    "a b",
    "-evil",
    "x'y",
    'x"y',
    "x&y",
    "x|y",
    "x>y",
    "",
]


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "walltime"])
def test_profiles_inject_no_commands(key, evil):
    jobs = {"partition": "main", "workers_per_node": 1, key: evil}
    with pytest.raises(ValueError, match=key):
        SlurmProfile.model_validate({"kind": "slurm", "cpu": jobs})


@pytest.mark.parametrize("evil", EVIL)
def test_modules_and_addresses_inject_no_commands(evil):
    jobs = {"partition": "main", "workers_per_node": 1}
    for more in ({"modules": [evil]}, {"address": evil}):
        with pytest.raises(ValueError, match=next(iter(more))):
            SlurmProfile.model_validate({"kind": "slurm", "cpu": jobs, **more})


def test_batch_scripts_quote_paths(monkeypatch):
    from bjerrum.execution.cluster import worker_init

    monkeypatch.setattr(sys, "executable", "/a place; evil/bin/python")
    jobs = {"partition": "main", "workers_per_node": 1}
    profile = SlurmProfile.model_validate(
        {"kind": "slurm", "cpu": jobs, "modules": ["cp2k/2023.1"]}
    )
    script = worker_init(profile)
    assert "module load cp2k/2023.1" in script
    done = subprocess.run(
        ["bash", "-c", f"module() {{ :; }}\n{script}\necho $PATH"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("/a place; evil/bin:")


def test_toys_are_what_the_issue_means():
    assert json.loads(json.dumps(next(iter(diamond(1))).step.to_json()))["name"] == "mix"
    assert toy_steps.join is toy_steps.mix
