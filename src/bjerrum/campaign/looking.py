"""A campaign looked at: what a run would do and cost; what is done, runs, failed or waits."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bjerrum.campaign.costs import forecast, left_seconds, wall_seconds
from bjerrum.campaign.opening import Open
from bjerrum.errors import InputError
from bjerrum.execution.driver import read_state
from bjerrum.execution.journal import begun_since_handed_over
from bjerrum.execution.pool import limits_of
from bjerrum.execution.profile import LocalProfile
from bjerrum.graph import Graph
from bjerrum.store import Failure, is_held


def plan(opened: Open) -> dict[str, Any]:
    """Return what a run would do, and what it would cost; submits nothing."""
    graph, store = opened.campaign.graph, opened.store
    done = {node.hash for node in graph if store.find(node.step) is not None}
    store.fingerprints.save()
    costs = forecast(graph, store, done)
    left = left_seconds(graph, store, done)
    slots = _slots(opened)
    return {
        "campaign": opened.campaign.config.name,
        "solutions": len(list(opened.campaign.config.grid())),
        "steps": len(graph),
        "done": len(done),
        "kinds": [cost.__dict__ for cost in costs],
        "core_hours": sum(cost.core_hours for cost in costs),
        "gigabytes": sum(cost.gigabytes for cost in costs),
        "slots": slots,
        "wall_hours": wall_seconds(graph, left, slots) / 3600,
        "free_gigabytes": _free_gigabytes(store.root),
    }


def require_room(opened: Open) -> None:
    """Refuse a campaign whose results do not fit on the disk any more, by the forecast."""
    found = plan(opened)
    needed, free = found["gigabytes"], found["free_gigabytes"]
    if needed > free:
        raise InputError(
            f"{opened.store.root}: the disk is too small: the campaign will need about "
            f"{needed:.2g} GB more, {free:.2g} GB are free; make room, or choose another output"
        )


def _slots(opened: Open) -> int:
    profile = opened.profile
    if isinstance(profile, LocalProfile):
        return len(limits_of(profile)) + profile.gpus
    jobs = [profile.cpu] + ([profile.gpu] if profile.gpu else [])
    return sum(job.slots for job in jobs)


def _free_gigabytes(root: Path) -> float:
    existing = next(path for path in (root, *root.resolve().parents) if path.exists())
    return shutil.disk_usage(existing).free / 1e9


def status(opened: Open) -> dict[str, Any]:
    """Return what is done, running, failed, waiting, and why; and how long it will take."""
    graph, store = opened.campaign.graph, opened.store
    is_driven = is_held(store.root)
    handed = read_state(store.root) if is_driven else {}
    begun = begun_since_handed_over(store.root) if handed else {}
    done = {node.hash for node in graph if store.find(node.step) is not None}
    store.fingerprints.save()
    failures = {
        node.hash: failure
        for node in graph
        if node.hash not in done and (failure := store.failure(node.step)) is not None
    }
    blocked = _blocked(opened, set(failures))
    taken = {digest: at for digest, at in handed.items() if digest not in done}
    running = {digest: begun[digest] for digest in taken if digest in begun}
    now, left = time.time(), left_seconds(graph, store, done)
    for digest, begin in running.items():
        if digest in left:
            left[digest] = max(0.0, left[digest] - (now - begin))
    for digest in blocked | failures.keys():
        left.pop(digest, None)
    rest = [n for n in graph if n.hash not in done | failures.keys() | blocked | taken.keys()]
    return {
        "campaign": opened.campaign.config.name,
        "driver": "running" if is_driven else "not running",
        "steps": len(graph),
        "done": len(done),
        "running": _since(graph, running, now),
        "handed_over": _since(graph, {d: at for d, at in taken.items() if d not in begun}, now),
        "failed": [_failed(graph.nodes[digest], why) for digest, why in failures.items()],
        "waiting": len(rest),
        "waiting_for": dict(Counter(_reason(node, done) for node in rest)),
        "blocked": len(blocked),
        "hours_left": wall_seconds(graph, left, _slots(opened)) / 3600,
        "database": opened.database_shown,
    }


def _since(graph: Graph, times: dict[str, float], now: float) -> list[dict[str, Any]]:
    """Return titles of steps and for how long; clocks of other machines may be ahead."""
    return [
        {"step": _title(graph.nodes[digest]), "seconds": round(max(0.0, now - at), 1)}
        for digest, at in times.items()
        if digest in graph.nodes
    ]


def _title(node: Any) -> str:
    return f"{node.title}: {node.kind.name}"


def _failed(node: Any, why: Failure) -> dict[str, Any]:
    return {"step": _title(node), "hash": node.hash, **why.__dict__}


def _reason(node: Any, done: set[str]) -> str:
    kinds = sorted({n.kind.name for n in node.needs.values() if n.hash not in done})
    return f"its inputs: {', '.join(kinds)}" if kinds else "a free worker"


def _blocked(opened: Open, failed: set[str]) -> set[str]:
    """Return the steps that need the result of one that failed."""
    blocked: set[str] = set()
    for node in opened.campaign.graph:
        needs = {need.hash for need in node.needs.values()}
        if node.hash not in failed and needs & (failed | blocked):
            blocked.add(node.hash)
    return blocked
