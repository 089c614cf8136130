"""Worker processes of this machine, each with its own cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from bjerrum.errors import InputError
from bjerrum.execution.process import Limits, WorkerProcess, wait_for
from bjerrum.execution.profile import LocalProfile
from bjerrum.execution.task import Outcome, Task

_POLL_SECONDS = 0.25


class Executor(Protocol):
    """Where steps are done."""

    slots: int

    def free(self, *, gpu: bool) -> int:
        """Return how many more tasks it takes now, of those that need a GPU or of the others."""
        ...

    def submit(self, task: Task) -> None:
        """Take a task."""
        ...

    def collect(self) -> list[Outcome]:
        """Return what has ended since the last call; waits a little for the first."""
        ...

    def close(self) -> None:
        """End everything that is at work; partial folders stay."""
        ...


class LocalPool:
    """Processes of this machine; they are started when they are needed.

    Raises InputError for more cores than there are.
    """

    def __init__(self, profile: LocalProfile) -> None:
        self._cpu = [WorkerProcess(limits) for limits in limits_of(profile)]
        self._gpu = [WorkerProcess(limits) for limits in gpu_limits_of(profile)]
        self.slots = len(self._cpu) + len(self._gpu)

    def _workers(self, *, gpu: bool) -> Sequence[WorkerProcess]:
        return self._gpu if gpu and self._gpu else self._cpu

    def free(self, *, gpu: bool) -> int:
        """Return how many workers are idle."""
        return sum(not worker.is_busy for worker in self._workers(gpu=gpu))

    def submit(self, task: Task) -> None:
        """Give the task to an idle worker; there must be one."""
        workers = self._workers(gpu=task.needs_gpu)
        next(worker for worker in workers if not worker.is_busy).send(task)

    def collect(self) -> list[Outcome]:
        """Return the outcomes that there are; wait a quarter of a second for the first."""
        workers = [*self._cpu, *self._gpu]
        wait_for(workers, _POLL_SECONDS)
        outcomes = [worker.poll() for worker in workers]
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        """End all workers."""
        for worker in [*self._cpu, *self._gpu]:
            worker.stop()


def limits_of(profile: LocalProfile) -> list[Limits]:
    """Return the limits of each CPU worker: cores in order, as many as it was given."""
    cores = sorted(os.sched_getaffinity(0))
    each = profile.cores_per_worker
    workers = profile.workers or max(1, len(cores) // each)
    fits = workers * each <= len(cores)
    is_tied = fits and profile.tie_to_cores
    if not fits and not profile.oversubscribe:
        raise InputError(
            f"profile: {workers} workers of {each} cores need {workers * each} cores, this machine "
            f"has {len(cores)}; lower workers, or set oversubscribe = true"
        )
    return [
        Limits(
            cores=tuple(cores[k * each : (k + 1) * each]) if is_tied else (),
            threads=each,
            memory_MiB=_mebibytes(profile.memory_GiB_per_worker),
            timeout_seconds=3600 * profile.timeout_hours,
        )
        for k in range(workers)
    ]


def gpu_limits_of(profile: LocalProfile) -> list[Limits]:
    """Return the limits of each GPU worker."""
    return [
        Limits(
            threads=profile.cores_per_worker,
            memory_MiB=_mebibytes(profile.memory_GiB_per_worker),
            timeout_seconds=3600 * profile.timeout_hours,
            gpu=str(k),
        )
        for k in range(profile.gpus)
    ]


def _mebibytes(gibibytes: float | None) -> float | None:
    return None if gibibytes is None else 1024 * gibibytes
