"""Atomic writes: all or nothing, for readers, for errors, for kills."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bjerrum.errors import ExternalError, InputError
from bjerrum.files import atomic_path, remove_temporaries, sha256_of, unwritable


def write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write(path, "one")
    write(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_content_stays_until_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    write(path, "one")
    with atomic_path(path) as temporary:
        temporary.write_text("two")
        assert path.read_text() == "one"
        assert temporary.parent == path.parent
    assert path.read_text() == "two"


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.txt", "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), InputError("bad")])
def test_an_exception_leaves_nothing_behind(tmp_path, error):
    path = tmp_path / "a.txt"
    write(path, "one")

    def fail_half_way():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail_half_way()
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["write", "fsync", "replace", "create"])
def test_a_full_disk(tmp_path, monkeypatch, number, where):
    path = tmp_path / "a.txt"

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    def block():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            if where == "write":
                fail()

    targets = {"fsync": (os, "fsync"), "replace": (Path, "replace"), "create": (Path, "touch")}
    with monkeypatch.context() as patch:
        if where in targets:
            patch.setattr(*targets[where], fail)
        with pytest.raises(ExternalError, match=r"a\.txt: the disk is full; free some") as caught:
            block()
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_device(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with pytest.raises(ExternalError, match="the disk is full"), atomic_path(tmp_path / "a"):
        Path("/dev/full").write_text("x")


def test_a_failing_disk_is_not_the_users_fault(tmp_path):
    with pytest.raises(ExternalError, match="the disk failed"), atomic_path(tmp_path / "a"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_errors_of_other_files_and_programs_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"), atomic_path(tmp_path / "a"):
        (tmp_path / "absent").read_text()
    failure = ExternalError("packmol failed", log=Path("packmol.log"))
    with (
        pytest.raises(ExternalError, match="packmol failed") as caught,
        atomic_path(tmp_path / "a"),
    ):
        raise failure
    assert caught.value is failure
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["a.txt", "deeper/a.txt"])
def test_a_place_below_a_file_cannot_be_written(tmp_path, below):
    (tmp_path / "file").write_text("not a folder")
    message = r"cannot be written \(.*\); choose another output"
    with pytest.raises(InputError, match=message) as caught:
        write(tmp_path / "file" / below, "one")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_without_permission(tmp_path, monkeypatch, number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "touch", fail)
    with pytest.raises(InputError, match=r"a\.txt: cannot be written \("):
        write(tmp_path / "a.txt", "one")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="expected the name of a file to write, got a folder"):
        write(tmp_path, "one")


def test_readers_never_see_half_a_file(tmp_path):
    path, stop, seen = tmp_path / "a.txt", threading.Event(), set()
    write(path, "0" * 100_000)

    def read() -> None:
        while not stop.is_set():
            text = path.read_text()
            seen.add((len(text), len(set(text))))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for k in range(60):
        with atomic_path(path) as temporary, temporary.open("w") as file:
            for _ in range(10):
                file.write(str(k % 10) * 10_000)
                file.flush()
    stop.set()
    for reader in readers:
        reader.join()
    assert seen == {(100_000, 1)}


def test_a_killed_writer_leaves_only_what_remove_temporaries_finds(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    write(path, "one")
    script = (
        "import sys, time; from pathlib import Path; from bjerrum.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert path.read_text() == "one"
    assert len(list(path.parent.iterdir())) == 2
    (path.parent / ".hidden").write_text("the user's")
    remove_temporaries(tmp_path)
    assert {p.name for p in path.parent.iterdir()} == {"a.txt", ".hidden"}


def test_unwritable_says_why():
    error = unwritable(Path("x"), OSError("no reason"))
    assert str(error) == "x: cannot be written (no reason); choose another output"


def test_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()
