"""Several independent trajectories side by side, one process each, one core or more each.

They may differ in everything: salt, concentration, temperature, seed.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from bjerrum.dynamics.failures import together
from bjerrum.dynamics.runner import Extras, run_dynamics
from bjerrum.dynamics.settings import Dynamics, Setup
from bjerrum.dynamics.stepping import motion_of
from bjerrum.dynamics.stepping import seconds_per_step as time_steps
from bjerrum.errors import BjerrumError, ExternalError
from bjerrum.potential.protocol import ForceFunction


@dataclass(frozen=True)
class Replica:
    """One trajectory to run: where it starts, how it moves, where its chunks go."""

    atoms: Atoms
    dynamics: Dynamics
    folder: Path
    setup: Setup = field(default_factory=Setup)


@dataclass(frozen=True)
class _Worker:
    """What a worker process is given at its start: shared step counters, threads to use."""

    counters: Any
    threads: int


_worker: _Worker  # of this process; shared memory can only be handed over at its start


def _enter_worker(counters: Any, threads: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what an interruption means
    _worker = _Worker(counters, threads)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """Wait for the caller's end, then end this worker, at work or idle.

    A caller that is killed cannot tell its workers, and these wait for work for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _bind(model: str, replica: Replica) -> tuple[ForceFunction, Extras]:
    import torch  # slow to import, and only workers need it

    from bjerrum.dynamics.assembly import assemble
    from bjerrum.potential.model import load_model

    torch.set_num_threads(_worker.threads)
    return assemble(load_model(model), replica.atoms, replica.dynamics, replica.setup)


@dataclass(frozen=True)
class _Outcome:
    """Peak memory of the process in MiB, and why the run failed, if it did."""

    peak: float
    failure: BjerrumError | None = None


def _run(model: str, replica: Replica, slot: int) -> _Outcome:
    """Run a replica to its end, or to a failure that is its own and no other's."""
    forces, extras = _bind(model, replica)
    failure = None
    try:
        run_dynamics(
            replica.atoms, forces, replica.dynamics, replica.folder,
            on_step=_counting(slot), extras=extras,
        )  # fmt: skip
    except BjerrumError as error:
        failure = error
    return _Outcome(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, failure)


def _counting(slot: int) -> Callable[[int], None]:
    def on_step(step: int) -> None:
        _worker.counters[slot] = step

    return on_step


def _time_steps(model: str, replica: Replica, slot: int) -> float:
    """Return the mean wall seconds of a step, all replicas running at once."""
    forces, extras = _bind(model, replica)
    motion = motion_of(replica.atoms, forces, replica.dynamics, extras)
    return time_steps(motion, _counting(slot))


def run_replicas(
    model: str, replicas: list[Replica], on_progress: Callable[[int], None]
) -> dict[str, float]:
    """Run all replicas to the end, as many at once as there are cores.

    model        folder or shipped name
    on_progress  called every half second with the number of steps done by all together
    Returns wall_seconds of this call and peak_memory_MiB of all processes that ran at once.
    A replica that fails does not stop the others. Then raises PhysicsCheckFailed (or InputError,
    ExternalError), which names the folders and the reasons; ExternalError at once if a worker
    process is killed.
    """
    begin = time.perf_counter()
    outcomes: list[_Outcome] = _in_processes(_run, model, replicas, on_progress)
    failures = [
        (replica.folder, outcome.failure)
        for replica, outcome in zip(replicas, outcomes, strict=True)
        if outcome.failure is not None
    ]
    if failures:
        raise together(failures, len(replicas))
    peaks = sorted((outcome.peak for outcome in outcomes), reverse=True)
    return {
        "wall_seconds": time.perf_counter() - begin,
        "peak_memory_MiB": float(sum(peaks[: n_workers(len(replicas))])),
    }


def n_workers(n_replicas: int) -> int:
    """Return how many replicas run at once: one core each."""
    return min(n_replicas, len(os.sched_getaffinity(0)))


def seconds_per_step(model: str, replicas: list[Replica]) -> float:
    """Measure the wall seconds of a step, as many replicas at work as will be; the slowest."""
    return max(_in_processes(_time_steps, model, replicas, lambda steps: None))


def _in_processes(
    function: Callable[[str, Replica, int], Any],
    model: str,
    replicas: list[Replica],
    on_progress: Callable[[int], None],
) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    counters = context.Array("q", len(replicas), lock=False)
    workers = n_workers(len(replicas))
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_enter_worker, initargs=(counters, threads)
    ) as pool:
        futures: list[Future[Any]] = [
            pool.submit(function, model, replica, slot) for slot, replica in enumerate(replicas)
        ]
        try:
            while not all(future.done() for future in futures):
                on_progress(sum(counters))
                _raise_first_failure(futures)
                _raise_if_a_worker_died(pool)
                wait(futures, timeout=0.5, return_when=FIRST_EXCEPTION)
            on_progress(sum(counters))
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise ExternalError(
                "dynamics: a worker process was killed (out of memory?); run again to continue"
            ) from error
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise


def _raise_if_a_worker_died(pool: ProcessPoolExecutor) -> None:
    """Notice a killed worker that the pool overlooks.

    The pool's own thread watches the workers that existed when it last woke up; one that was
    started after that and is killed would be waited for without end (Python 3.11).
    """
    if any(process.exitcode is not None for process in (pool._processes or {}).values()):
        raise BrokenProcessPool("a worker ended before its work was done")


def _raise_first_failure(futures: list[Future[Any]]) -> None:
    for future in futures:
        if future.done():
            future.result()
