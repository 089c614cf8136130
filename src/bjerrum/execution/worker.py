"""The process that does steps one after another: tasks come and outcomes go as lines of JSON.

It ends itself, with everything that its steps have started, when whoever started it is gone: the
socket then closes, even after ``kill -9``.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bjerrum.errors import (
    BjerrumError,
    ExternalError,
    InputError,
    PhysicsCheckFailed,
)
from bjerrum.execution.journal import note
from bjerrum.execution.task import Kind, Outcome, Task
from bjerrum.files import disk_failures_named
from bjerrum.store import RECORD, Store, read_step

StepFunction = Callable[[Path, dict[str, Any], dict[str, Path]], None]
"""Writes a step's outputs into a folder, from parameters and the paths of inputs."""


class DamagedInput(BjerrumError):
    """A folder that a step reads is not what was written; the step that made it must run again."""

    exit_code = 4


def perform(task: Task) -> Outcome:
    """Do a step, unless it is done; its prints go to its log. Never raises but for interruptions.

    A full disk, also one that stops the record of the failure, is the outcome "external".
    """
    step, begin = task.as_step, time.monotonic()
    store = Store(Path(task.root))

    def outcome(kind: Kind, reason: str = "") -> Outcome:
        return Outcome(step.hash, kind, " ".join(reason.split()), time.monotonic() - begin)

    def work(folder: Path) -> None:
        note(store.root, "begin", step.hash)
        inputs = {name: _checked(store, Path(path)) for name, path in task.inputs.items()}
        _function(task.function)(folder, {**step.parameters, **task.resources}, inputs)

    log = store.log_of(step)
    try:
        with disk_failures_named(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            with _printing_to(log):
                try:
                    store.complete(step, work)
                    note(store.root, "end", step.hash)
                except BaseException:
                    traceback.print_exc()
                    raise
    except DamagedInput as error:
        return outcome("damaged", str(error))
    except InputError as error:
        return outcome("input", str(error))
    except PhysicsCheckFailed as error:
        return outcome("physics", str(error))
    except ExternalError as error:
        return outcome("external", str(error))
    except MemoryError as error:
        return outcome("memory", str(error) or "no memory left")
    except Exception as error:  # a fault of the code: the traceback is in the log
        return outcome("error", f"{type(error).__name__}: {error}")
    return outcome("done")


def _function(name: str) -> StepFunction:
    module, _, attribute = name.partition(":")
    found: StepFunction = getattr(importlib.import_module(module), attribute)
    return found


def _checked(store: Store, path: Path) -> Path:
    """Return an input; raise DamagedInput for a step's folder that is missing or was changed."""
    if path.parent != store.root / "steps":
        return path
    try:
        is_whole = store.find(read_step(path), verify=True) is not None
    except InputError:
        is_whole = False
    if not is_whole:
        raise DamagedInput(f"{path / RECORD}: the folder is not what was written; it is made again")
    return path


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Send what Python, libraries and programs print to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def serve(connection: socket.socket) -> None:
    """Do the tasks that come through a socket until it closes."""
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, lines), daemon=True).start()
    while True:
        outcome = perform(Task.loads(lines.get()))
        connection.sendall(outcome.dumps().encode() + b"\n")


def _receive(connection: socket.socket, lines: SimpleQueue[str]) -> None:
    """Pass tasks on as they come; at the end of the other side, end this whole process group."""
    with connection.makefile("r", encoding="utf-8") as file:
        for line in file:
            lines.put(line)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides
    serve(socket.socket(fileno=int(sys.argv[1])))
