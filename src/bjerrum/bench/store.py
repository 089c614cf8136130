"""Cost of keeping books: overhead of a step, a finished campaign planned again, pilot jobs."""

from __future__ import annotations

import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bjerrum import __version__
from bjerrum.bench.machine import processor_name
from bjerrum.execution.driver import Drive
from bjerrum.execution.journal import read_journal
from bjerrum.execution.pool import LocalPool
from bjerrum.execution.profile import LocalProfile, SlurmProfile
from bjerrum.graph import Graph, Kind
from bjerrum.store import Store

Announce = Callable[[str, int, int], None]
SMALL = Kind("small_step", 1, "bjerrum.bench.store:small_step")
WAITING = Kind("waiting_step", 1, "bjerrum.bench.store:waiting_step")
OVERHEAD_LIMIT_MS, PLAN_LIMIT_S, BUSY_LIMIT = 20.0, 5.0, 0.9
_WARM_UP = 5


def small_step(folder: Path, parameters: dict[str, Any], inputs: dict[str, Path]) -> None:
    """Write a small file: what is left of the time is the books."""
    (folder / "value").write_text(hashlib.sha256(str(parameters).encode()).hexdigest())


def waiting_step(folder: Path, parameters: dict[str, Any], inputs: dict[str, Path]) -> None:
    """Wait as a step waits for a program, so that more slots than cores can be kept busy."""
    time.sleep(parameters["seconds"])
    small_step(folder, parameters, inputs)


def bench_store(
    *,
    steps: int = 300,
    finished: int = 10_000,
    announce: Announce,
    slurm: SlurmProfile | None = None,
    tasks: int = 1000,
    task_seconds: float = 1.0,
) -> dict[str, Any]:
    """Measure; the ratio is the overhead allowed over the overhead found.

    steps     done one after another by one worker
    finished  steps of a campaign that is planned again
    slurm     a site: also ``tasks`` through pilot jobs
    """
    with tempfile.TemporaryDirectory(prefix="bjerrum-bench-") as name:
        folder = Path(name)
        overhead = overhead_ms(folder / "overhead", steps, announce)
        processor = processor_ms(folder / "processor", steps, announce)
        replanned = replan_seconds(folder / "finished", finished, announce)
        details: dict[str, Any] = {
            "machine": processor_name(),
            "load_average": os.getloadavg()[0],
            "code_version": __version__,
            "overhead_limit_ms": OVERHEAD_LIMIT_MS,
            "processor_ms": processor,
            "replanned_steps": finished,
            "replan_first_s": replanned[0],
            "replan_s": replanned[1],
            "replan_limit_s": PLAN_LIMIT_S,
        }
        if slurm is not None:
            details |= pilot_jobs(folder / "slurm", slurm, tasks, task_seconds, announce)
    return {
        "what": "store",
        "ratio": OVERHEAD_LIMIT_MS / overhead,
        "ours": overhead,
        "alternative": OVERHEAD_LIMIT_MS,
        "unit": "ms/step",
        "details": details,
    }


def chain(n: int) -> Graph:
    """Return a graph of n small steps, none of which waits for another."""
    graph = Graph()
    for k in range(n):
        graph.add(SMALL, {"k": k}, title=str(k))
    return graph


def overhead_ms(root: Path, n: int, announce: Announce) -> float:
    """Return the median wall time between the ends of steps, in ms, done by one worker."""
    root.mkdir(parents=True)
    profile = LocalProfile(workers=1, tie_to_cores=False)
    drive = Drive(chain(n + _WARM_UP), Store(root), LocalPool(profile), announce)
    drive.run()
    ends = sorted(event["time"] for event in read_journal(root) if event["event"] == "end")
    apart = sorted(b - a for a, b in zip(ends[_WARM_UP:-1], ends[_WARM_UP + 1 :], strict=True))
    return 1e3 * apart[len(apart) // 2]


def processor_ms(root: Path, n: int, announce: Announce) -> float:
    """Return the processor time of a step, driver and worker together, in ms.

    From the difference of two runs, so that the start of the worker is not counted; beside the wall
    time it tells what is the books' and what is the disk's or a busy machine's.
    """
    used = []
    for name, steps in (("few", _WARM_UP), ("many", n + _WARM_UP)):
        begin = _processor_seconds()
        (root / name).mkdir(parents=True)
        pool = LocalPool(LocalProfile(workers=1, tie_to_cores=False))
        Drive(chain(steps), Store(root / name), pool, announce).run()
        used.append(_processor_seconds() - begin)
    return 1e3 * (used[1] - used[0]) / n


def _processor_seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in found)


def replan_seconds(root: Path, n: int, announce: Announce) -> tuple[float, float]:
    """Return the seconds in which n finished steps are found: the first time, and from then on.

    The first time reads every byte; later the fingerprints are enough.
    """
    store, graph = Store(root), chain(n)
    for k, node in enumerate(graph):
        store.complete(node.step, lambda folder: small_step(folder, {}, {}))
        if k % 500 == 499:
            announce("Finished steps", k + 1, n)
    time.sleep(2.5)  # younger files are not trusted
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        fresh, again = Store(root), chain(n)
        assert all(fresh.find(node.step) for node in again)
        seconds.append(time.perf_counter() - begin)
        fresh.fingerprints.save()
    return seconds[0], seconds[1]


def pilot_jobs(
    root: Path, profile: SlurmProfile, n: int, seconds: float, announce: Announce
) -> dict[str, Any]:
    """Run tasks through pilot jobs; return the share of slots that was busy.

    Counted from the moment when all slots have begun their first task to the last begin: how well
    slots are kept filled, without the jobs' time in the queue and the tail.
    """
    from bjerrum.execution.cluster import ClusterExecutor

    root.mkdir(parents=True)
    graph = Graph()
    for k in range(n):
        graph.add(WAITING, {"k": k, "seconds": seconds}, title=str(k))
    executor = ClusterExecutor(profile, root)
    begin = time.monotonic()
    drive = Drive(graph, Store(root), executor, announce)
    drive.run()
    return {
        "pilot_tasks": len(drive.done),
        "pilot_task_s": seconds,
        "pilot_slots": executor.slots,
        "pilot_busy": busy_share(read_journal(root), executor.slots),
        "pilot_busy_limit": BUSY_LIMIT,
        "pilot_wall_s": time.monotonic() - begin,
    }


def busy_share(events: list[dict[str, Any]], slots: int) -> float:
    """Return the share of slots at work from the end of the first round of begins to the last."""
    begins = {e["step"]: e["time"] for e in events if e["event"] == "begin"}
    ends = {e["step"]: e["time"] for e in events if e["event"] == "end"}
    times = sorted(begins.values())
    if len(times) <= slots:
        return 0.0
    first, last = times[slots - 1], times[-1]
    busy = sum(
        max(0.0, min(ends[step], last) - max(begin, first))
        for step, begin in begins.items()
        if step in ends
    )
    return busy / (slots * (last - first)) if last > first else 0.0
