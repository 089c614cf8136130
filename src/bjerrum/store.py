"""Content-addressed steps: a result knows which question it answers, and is computed once.

A step is named by the hash of what determines its result: its name, the version of its code, its
parameters and the hashes of its inputs. Its outputs live in ``steps/<name>-<hash>/`` next to
``step.json`` (readable parameters, hash of every output). Work happens in a ``.partial`` folder
that is renamed when everything is written, so a finished folder is always whole; a killed step
finds its partial folder again and may continue in it. One process at a time works on a step: the
others wait for its result. A driver holds its run folder with :func:`exclusive`. What failed for
good leaves its reason in ``failed/`` and its log in ``logs/``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bjerrum.errors import InputError, LockedError
from bjerrum.files import (
    disk_failures_named,
    remove_temporaries,
    sha256_of,
    unwritable,
    write_json,
)
from bjerrum.fingerprints import Fingerprints

RECORD = "step.json"
HASH_LENGTH = 16
PATIENCE_SECONDS = 1.0
"""How long a driver waits for a folder that another process holds."""
Work = Callable[[Path], None]
"""Writes a step's outputs into the folder it is given."""


@dataclass(frozen=True)
class Step:
    """What determines a result.

    name        verb and object, "equilibrate_box"
    version     of the code; raise it when the result for the same parameters changes
    parameters  JSON values; NaN and infinity are none
    inputs      name to hash of the steps and files that are read
    """

    name: str
    version: int
    parameters: dict[str, Any]
    inputs: dict[str, str]

    @cached_property
    def hash(self) -> str:
        """The step's identity: SHA-256 of its canonical JSON, shortened.

        Raises InputError if the parameters are not JSON values.
        """
        try:
            canonical = json.dumps(self.to_json(), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"step {self.name}: expected parameters that are numbers, texts, lists or tables "
                f"({error}), got {self.parameters}"
            ) from error
        return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]

    def to_json(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {
            "name": self.name,
            "version": self.version,
            "parameters": self.parameters,
            "inputs": self.inputs,
        }


@dataclass(frozen=True)
class Result:
    """A finished step's folder."""

    step: Step
    folder: Path

    @property
    def hash(self) -> str:
        """The hash by which later steps refer to this one."""
        return self.step.hash

    @property
    def wall_seconds(self) -> float:
        """Wall time of the work, of its last session if it was interrupted."""
        return float(self.read_json(RECORD)["wall_seconds"])

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the same; the wall time in records of before it was measured."""
        record = self.read_json(RECORD)
        return float(record.get("cpu_seconds", record["wall_seconds"]))

    def read_json(self, name: str) -> Any:
        """Return the content of one of the outputs."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Failure:
    """Why a step has no result.

    kind      "input", "physics", "external", "error", "memory", "timeout" or "lost"
    reason    one line
    attempts  how often it was tried
    log       what its last attempt printed
    time      when, seconds since 1970
    """

    kind: str
    reason: str
    attempts: int
    log: str
    time: float


class Store:
    """The steps of one run folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.fingerprints = Fingerprints(self.root / ".fingerprints.json")

    def folder_of(self, step: Step) -> Path:
        """Return where the step's outputs are or will be."""
        return self.root / "steps" / f"{step.name}-{step.hash}"

    def partial_folder_of(self, step: Step) -> Path:
        """Return where the step's outputs are while it is at work."""
        folder = self.folder_of(step)
        return folder.with_name(folder.name + ".partial")

    def log_of(self, step: Step) -> Path:
        """Return where what the step's work prints goes."""
        return self.root / "logs" / f"{step.name}-{step.hash}.log"

    def find(self, step: Step, *, verify: bool = False) -> Result | None:
        """Return the finished step if it is there and its outputs are intact.

        verify  read every byte, also of a folder that has not changed since it was found intact
        """
        folder = self.folder_of(step)
        if not verify and self.fingerprints.holds(folder):
            return Result(step, folder)
        outputs = _intact_outputs(folder, step)
        if outputs is None:
            self.fingerprints.forget(folder)
            return None
        self.fingerprints.remember(folder, [RECORD, *outputs])
        return Result(step, folder)

    def fail(self, step: Step, failure: Failure) -> None:
        """Keep why a step has no result."""
        write_json(self._failure_path(step), {**step.to_json(), "failure": asdict(failure)})

    def failure(self, step: Step) -> Failure | None:
        """Return why a step has no result, if it failed."""
        try:
            record = json.loads(self._failure_path(step).read_text(encoding="utf-8"))
            return Failure(**record["failure"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forgive(self, step: Step) -> None:
        """Forget that a step failed."""
        self._failure_path(step).unlink(missing_ok=True)

    def _failure_path(self, step: Step) -> Path:
        return self.root / "failed" / f"{step.name}-{step.hash}.json"

    def complete(self, step: Step, work: Work) -> Result:
        """Return the step's result; run ``work`` only if there is none yet.

        work  is given a folder that is empty, or that holds what it wrote before it was stopped

        Raises whatever ``work`` raises; the partial folder is kept, so that work which can
        continue does so. A full disk becomes ExternalError, a folder that cannot be written or
        work that writes nothing InputError.
        """
        found = self.find(step)
        if found is not None:
            return found
        folder, partial = self.folder_of(step), self.partial_folder_of(step)
        with _turn(self.root / ".turns" / folder.name):
            found = self.find(step)  # by the process whose turn it was before
            if found is not None:
                return found
            try:
                if folder.exists():
                    shutil.rmtree(folder)  # damaged: its hashes do not fit
                partial.mkdir(parents=True, exist_ok=True)
                remove_temporaries(partial)
            except OSError as error:
                raise unwritable(partial, error) from error
            if _intact_outputs(partial, step) is None:  # else stopped before the renaming
                begin, used = time.perf_counter(), _cpu_seconds()
                with disk_failures_named(partial):
                    work(partial)
                _seal(partial, step, time.perf_counter() - begin, _cpu_seconds() - used)
            try:
                partial.rename(folder)
            except OSError as error:
                raise unwritable(folder, error) from error
        return Result(step, folder)


def read_step(folder: Path) -> Step:
    """Return the step that a finished folder answers.

    Raises InputError if its record is missing or damaged.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Step(**{key: record[key] for key in ("name", "version", "parameters", "inputs")})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / RECORD}: expected the record of a finished step") from error


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Wait until no other process works on a step; the kernel ends a turn even after kill -9."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        except OSError as error:
            raise unwritable(path, error) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file.fileno(), path):
                continue  # the process before removed it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _cpu_seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def _seal(folder: Path, step: Step, wall_seconds: float, cpu_seconds: float) -> None:
    """Write the record of a finished step: what it is, and the hash of every output.

    The disk is not waited for, here as for the outputs: what a power cut takes from a file no
    longer fits its hash, and a record cut short is none.
    """
    outputs = {
        str(path.relative_to(folder)): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / RECORD
    }
    if not outputs:
        raise InputError(f"step {step.name}: expected its work to write a file, found none")
    seconds = {"wall_seconds": wall_seconds, "cpu_seconds": round(cpu_seconds, 3)}
    record = {**step.to_json(), "outputs": outputs, **seconds}
    try:
        (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    except OSError as error:
        raise unwritable(folder / RECORD, error) from error


def _intact_outputs(folder: Path, step: Step) -> list[str] | None:
    """Return a folder's outputs if it holds the step's record and each as it was written."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        outputs = record.pop("outputs")
        record.pop("cpu_seconds", None)
        is_whole = (
            record.pop("wall_seconds") >= 0
            and Step(**record).hash == step.hash
            and len(outputs) > 0
            and all(sha256_of(folder / name) == digest for name, digest in outputs.items())
        )
        return list(outputs) if is_whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold a run folder for this process; released by the kernel even after ``kill -9``.

    Raises LockedError if another live process holds it, InputError if it cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / ".lock").open("w")
    except OSError as error:
        raise unwritable(root, error) from error
    with file:
        try:
            _lock(file.fileno())
        except BlockingIOError as error:
            raise LockedError(
                f"{root}: another process is running in this folder; wait for it or choose "
                "another output folder"
            ) from error
        except OSError as error:
            raise unwritable(root, error) from error
        yield


def _lock(descriptor: int) -> None:
    """Take a lock; try for a second, since someone who looks holds it for a moment."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.01)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(root: Path) -> bool:
    """Tell whether a process holds a run folder; also of a folder that cannot be written.

    Looks by a shared lock: those who look do not see each other, and nobody is refused for it.
    """
    try:
        with (root / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no lock: nobody was ever here
    return False
