"""One worker process and what it may use: its cores, its memory, its time.

The process leads a session of its own, so that everything its steps start ends with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bjerrum.execution.task import Kind, Outcome, Task

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What a worker may use; none where it is unlimited.

    cores            the cores that it is tied to; empty: any
    threads          of numerical libraries
    memory_MiB       of the worker and everything that it starts
    timeout_seconds  of one step
    gpu              the number of its GPU; none for a worker without
    """

    cores: tuple[int, ...] = ()
    threads: int = 1
    memory_MiB: float | None = None  # noqa: N815
    timeout_seconds: float | None = None
    gpu: str | None = None


class WorkerProcess:
    """A worker: give it a task, ask for the outcome until there is one."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._hash: str | None = None
        self._begin = self._looked = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether it has a task whose outcome has not been taken."""
        return self._hash is not None

    @property
    def pid(self) -> int | None:
        """The process's number while there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bjerrum.execution.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(self.limits),
                start_new_session=True,
            )
        if self.limits.cores:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(self._process.pid, self.limits.cores)
        self._socket, self._buffer = ours, b""

    def send(self, task: Task) -> None:
        """Give it a task; it must not have one."""
        self.start()
        assert self._socket is not None
        self._hash, self._begin = task.as_step.hash, time.monotonic()
        self._looked = self._begin
        with contextlib.suppress(OSError):  # it just died: the outcome will be "lost"
            self._socket.sendall(task.dumps().encode() + b"\n")

    def fileno(self) -> int:
        """The socket's, for :mod:`select`."""
        assert self._socket is not None
        return self._socket.fileno()

    def poll(self) -> Outcome | None:
        """Return the outcome of its task once there is one; a worker that fails is ended.

        Kinds that only it can tell: "lost", "timeout" and "memory".
        """
        if self._hash is None:
            return None
        line = self._received()
        if line is not None:
            self._hash = None
            return Outcome.loads(line)
        if self._process is None or self._process.poll() is not None or self._socket is None:
            return self._ended("lost", f"the worker ended ({self._exit()}) before its step did")
        seconds = time.monotonic() - self._begin
        limit = self.limits.timeout_seconds
        if limit is not None and seconds > limit:
            return self._ended("timeout", f"was not done after {limit:g} s, the limit")
        return self._checked_memory()

    def wait(self, seconds: float) -> None:
        """Wait until it has something to say, or for a time."""
        wait_for([self], seconds)

    def _checked_memory(self) -> Outcome | None:
        most = self.limits.memory_MiB
        if most is None or time.monotonic() - self._looked < 0.5 or self._process is None:
            return None
        self._looked = time.monotonic()
        used = session_memory_mib(self._process.pid)
        if used <= most:
            return None
        return self._ended("memory", f"used {used:.0f} MiB of memory, the limit is {most:g}")

    def _received(self) -> str | None:
        if self._socket is None:
            return None
        while b"\n" not in self._buffer:
            if not select.select([self._socket], [], [], 0)[0]:
                return None
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                self._socket.close()
                self._socket = None
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def _exit(self) -> str:
        if self._process is None:
            return "killed"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        return f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name

    def _ended(self, kind: Kind, reason: str) -> Outcome:
        assert self._hash is not None
        outcome = Outcome(self._hash, kind, reason, time.monotonic() - self._begin)
        self.stop()
        return outcome

    def stop(self) -> None:
        """End the process and everything that it has started."""
        self._hash = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def _environment(limits: Limits) -> dict[str, str]:
    threads = str(limits.threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, threads)}
    environment["CUDA_VISIBLE_DEVICES"] = "" if limits.gpu is None else limits.gpu
    return environment


def session_memory_mib(leader: int) -> float:
    """Return the resident memory of a session's processes, MiB; shared pages count each time."""
    pages = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            pages += int(fields[21])
    return pages * _PAGE / _MIB


def wait_for(workers: Sequence[WorkerProcess], seconds: float) -> None:
    """Wait until one of the workers has something to say, or for a time."""
    ready = [worker for worker in workers if worker.is_busy and worker._socket is not None]
    if ready:
        select.select(ready, [], [], seconds)
    else:
        time.sleep(seconds)
