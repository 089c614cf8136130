"""The store: a question is answered once, an answer is whole, and kills do no harm."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bjerrum.errors import ExternalError, InputError, LockedError, PhysicsCheckFailed
from bjerrum.store import RECORD, Step, Store, exclusive

STEP = Step(
    "sample_solution",
    1,
    {"n_steps": 1000, "timestep_fs": 0.5, "salt": "LiCl", "pairs": ["Li-O"], "seed": None},
    {"box": "0123456789abcdef"},
)


def write_two(folder: Path) -> None:
    (folder / "numbers.json").write_text('{"a": 1}')
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "trajectory.bin").write_bytes(bytes(1000))


def never(folder: Path) -> None:
    raise AssertionError("a finished step was run again")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "run")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without its cost."""
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    record = json.loads(files.pop(RECORD).read_text())
    del record["wall_seconds"], record["cpu_seconds"]
    return {name: path.read_bytes() for name, path in files.items()} | {
        RECORD: json.dumps(record).encode()
    }


def test_the_hash_is_what_it_was():
    """Results of earlier versions of Bjerrum must be found again: never change these."""
    assert STEP.hash == "3b2f060ef84c171d"
    assert Step("a", 1, {}, {}).hash == "dd206ddc13a7318a"


def test_the_order_of_keys_does_not_matter():
    backwards = {
        "parameters": dict(reversed(STEP.parameters.items())),
        "inputs": dict(reversed(STEP.inputs.items())),
    }
    assert dataclasses.replace(STEP, **backwards).hash == STEP.hash


def test_the_hash_changes_with_every_part():
    changes = [
        {"name": "sample_solutions"},
        {"version": 2},
        {"parameters": {**STEP.parameters, "n_steps": 1001}},
        {"parameters": {**STEP.parameters, "timestep_fs": 0.5000000000000001}},
        {"parameters": {**STEP.parameters, "pairs": ["Li-O", "O-O"]}},
        {"parameters": {**STEP.parameters, "more": 1}},
        {"parameters": {k: v for k, v in STEP.parameters.items() if k != "seed"}},
        {"inputs": {"box": "0123456789abcdee"}},
        {"inputs": {"boxes": "0123456789abcdef"}},
        {"inputs": {}},
    ]
    hashes = [STEP.hash] + [dataclasses.replace(STEP, **change).hash for change in changes]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), Path("x"), {1, 2}, b"x"])
def test_parameters_are_json_values(store, bad):
    step = Step("a", 1, {"x": [bad]}, {})
    with pytest.raises(InputError, match="step a: expected parameters that are numbers, texts"):
        store.complete(step, never)
    assert not store.root.exists()


def test_a_step_is_computed_once(store):
    assert store.find(STEP) is None
    result = store.complete(STEP, write_two)
    assert result.folder == store.root / "steps" / f"sample_solution-{STEP.hash}"
    assert store.complete(STEP, never) == result
    assert Store(store.root).find(STEP) == result
    assert result.hash == STEP.hash
    assert result.read_json("numbers.json") == {"a": 1}
    assert [p.name for p in (store.root / "steps").iterdir()] == [result.folder.name]


def test_the_record_is_readable(store):
    record = store.complete(STEP, write_two).read_json(RECORD)
    assert record["parameters"] == STEP.parameters
    assert record["inputs"] == STEP.inputs
    assert (record["name"], record["version"]) == ("sample_solution", 1)
    assert set(record["outputs"]) == {"numbers.json", "deep/trajectory.bin"}


def test_wall_seconds(store):
    def work(folder: Path) -> None:
        write_two(folder)
        time.sleep(0.05)

    assert 0.05 <= store.complete(STEP, work).wall_seconds < 5


def test_other_steps_stay(store):
    other = dataclasses.replace(STEP, version=2)
    first = store.complete(STEP, write_two)
    second = store.complete(other, write_two)
    assert first.folder != second.folder
    assert store.find(STEP) == first


@pytest.mark.parametrize("name", ["numbers.json", "deep/trajectory.bin"])
@pytest.mark.parametrize("damage", ["flip", "shorten", "remove"])
def test_damage_is_noticed_and_the_step_done_again(store, name, damage):
    result = store.complete(STEP, write_two)
    before, path = content(result.folder), result.folder / name
    if damage == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "shorten":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    assert store.find(STEP) is None
    assert content(store.complete(STEP, write_two).folder) == before
    assert store.find(STEP) is not None


def test_a_damaged_record_never_raises(store):
    """Every byte of step.json flipped in turn: the step is found, with its outputs, or is not."""
    result = store.complete(STEP, write_two)
    path = result.folder / RECORD
    whole = path.read_bytes()
    found = 0
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        if store.find(STEP) is not None:
            found += 1
            assert result.wall_seconds >= 0
    assert found < len(whole) / 5  # white space and digits of the wall time
    for text in ("", "[]", "null", '{"outputs": {}}', '{"outputs": []}'):
        path.write_text(text)
        assert store.find(STEP) is None


def test_an_answer_to_another_question_is_no_answer(store):
    other = dataclasses.replace(STEP, version=2)
    store.complete(other, write_two).folder.rename(store.folder_of(STEP))
    assert store.find(STEP) is None


def test_added_files_are_no_damage(store):
    result = store.complete(STEP, write_two)
    (result.folder / "notes.txt").write_text("the user's own")
    assert store.find(STEP) == result


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), InputError("bad")])
def test_an_exception_keeps_the_partial_folder(store, error):
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        store.complete(STEP, fail)
    assert not store.folder_of(STEP).exists()
    assert (store.partial_folder_of(STEP) / "half.txt").read_text() == "half"

    def go_on(folder: Path) -> None:
        assert (folder / "half.txt").read_text() == "half"
        (folder / "half.txt").write_text("whole")

    result = store.complete(STEP, go_on)
    assert (result.folder / "half.txt").read_text() == "whole"
    assert not store.partial_folder_of(STEP).exists()


def test_a_failed_check_of_the_physics_stays_one(store):
    def fail(folder: Path) -> None:
        raise PhysicsCheckFailed("too hot")

    with pytest.raises(PhysicsCheckFailed, match="too hot"):
        store.complete(STEP, fail)


@pytest.mark.parametrize("files", [(), (RECORD,)])
def test_a_step_without_outputs_is_refused(store, files):
    def work(folder: Path) -> None:
        for name in files:
            (folder / name).write_text("{}")

    with pytest.raises(InputError, match="step sample_solution: expected its work to write"):
        store.complete(STEP, work)
    assert store.find(STEP) is None
    assert not store.folder_of(STEP).exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(store, number):
    def work(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(ExternalError, match="the disk is full; free some space") as caught:
        store.complete(STEP, work)
    assert caught.value.exit_code == 4
    assert (store.partial_folder_of(STEP) / "half.txt").exists()
    store.complete(STEP, write_two)


def test_other_errors_of_the_system_pass_through(store):
    def work(folder: Path) -> None:
        subprocess.run(["no-such-program"], check=True)

    with pytest.raises(FileNotFoundError, match="no-such-program"):
        store.complete(STEP, work)

    failure = ExternalError("packmol failed")

    def fail(folder: Path) -> None:
        raise failure

    with pytest.raises(ExternalError) as caught:
        store.complete(STEP, fail)
    assert caught.value is failure


def test_a_run_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path / "file" / "run").complete(STEP, never)
    with pytest.raises(InputError, match="cannot be written"), exclusive(tmp_path / "file"):
        raise AssertionError


@pytest.mark.parametrize("moment", ["record", "rename"])
def test_a_kill_while_the_step_is_sealed(store, monkeypatch, moment):
    """The moments that a random kill hardly hits: amid the record, and before the renaming."""
    write = Path.write_text

    def half_written(self, text, **more):
        if self.name != RECORD:
            return write(self, text, **more)
        write(self, text[: len(text) // 2], **more)
        raise KeyboardInterrupt

    def killed(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "record":
            patch.setattr(Path, "write_text", half_written)
        else:
            patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.complete(STEP, write_two)
    assert (store.partial_folder_of(STEP) / RECORD).exists()
    assert store.find(STEP) is None
    result = store.complete(STEP, write_two if moment == "record" else never)
    assert set(content(result.folder)) == {"numbers.json", "deep/trajectory.bin", RECORD}


CHUNKS = 60
PROGRAM = f"""\
import hashlib, sys, time
from pathlib import Path
from bjerrum.files import atomic_path
from bjerrum.store import Step, Store, exclusive

root, log = Path(sys.argv[1]), Path(sys.argv[2])

def work(folder):
    state = b"start"
    for index in range({CHUNKS}):
        path = folder / f"chunk-{{index}}"
        if not path.exists():
            with log.open("a") as file:
                file.write(f"{{index}}\\n")
            with atomic_path(path) as temporary:
                with temporary.open("wb") as file:
                    for _ in range(4):
                        state = hashlib.sha256(state).digest()
                        file.write(state)
                        file.flush()
                        time.sleep(0.002)
        state = path.read_bytes()
    (folder / "end").write_bytes(state)

with exclusive(root):
    Store(root).complete(Step("long_work", 1, {{"chunks": {CHUNKS}}}, {{}}), work)
"""


def start(root: Path, log: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, root, log], stderr=subprocess.PIPE)


def lines(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.parametrize("seed", [0, 1])
def test_work_that_is_killed_ends_with_the_same_result(tmp_path, seed):
    chooser, log = random.Random(seed), tmp_path / "log"
    killed = 0
    for _ in range(5):
        process = start(tmp_path / "killed", log)
        target = lines(log) + chooser.randint(1, 6)
        while process.poll() is None and lines(log) < target:
            time.sleep(0.001)
        time.sleep(chooser.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 2
    for root, own_log in (("killed", log), ("undisturbed", tmp_path / "other log")):
        process = start(tmp_path / root, own_log)
        assert process.communicate()[1] == b""
        assert process.returncode == 0
    step = Step("long_work", 1, {"chunks": CHUNKS}, {})
    results = [Store(tmp_path / root).find(step) for root in ("killed", "undisturbed")]
    assert None not in results
    first, second = (content(result.folder) for result in results)
    assert first == second
    assert len(first) == CHUNKS + 2
    assert CHUNKS <= lines(log) <= CHUNKS + killed  # at most the chunk at work is done again
    assert [p.name for p in (tmp_path / "killed" / "steps").iterdir()] == [results[0].folder.name]


HOLDER = """\
import sys, time
from pathlib import Path
from bjerrum.store import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    refused = pytest.raises(LockedError, match="another process is running in this folder")
    with refused as caught, exclusive(tmp_path):
        raise AssertionError
    assert caught.value.exit_code == 2
    with exclusive(tmp_path / "other"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with exclusive(tmp_path):
        pass


def test_the_lock_is_free_again_after_an_exception(tmp_path):
    with pytest.raises(RuntimeError), exclusive(tmp_path):
        raise RuntimeError
    with exclusive(tmp_path), pytest.raises(LockedError), exclusive(tmp_path):
        raise AssertionError


def test_a_file_system_without_locks_is_not_another_process(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(InputError, match="cannot be written") as caught, exclusive(tmp_path):
        raise AssertionError
    assert not isinstance(caught.value, LockedError)
