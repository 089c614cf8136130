"""A campaign at work: planned, driven, looked at, cleaned."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bjerrum.campaign.costs import forecast, left_seconds, wall_seconds
from bjerrum.campaign.document import Part
from bjerrum.campaign.record import record
from bjerrum.campaign.spec import CampaignConfig, beside, output_of, read_campaign
from bjerrum.campaign.wiring import Campaign, wire
from bjerrum.errors import (
    BjerrumError,
    ExternalError,
    InputError,
    LockedError,
    PhysicsCheckFailed,
)
from bjerrum.execution.driver import Drive, read_state
from bjerrum.execution.pool import Executor, LocalPool, limits_of
from bjerrum.execution.profile import LocalProfile, Profile, read_profile
from bjerrum.files import write_json, write_whole
from bjerrum.store import Failure, Store, exclusive

CLAIM, CONFIG_COPY, DATABASE = "campaign.json", "campaign.toml", "results.sqlite"
Announce = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Open:
    """A campaign file that has been read: its graph, its store, where its steps are done."""

    path: Path
    campaign: Campaign
    store: Store
    profile: Profile

    @property
    def database(self) -> str:
        """Path or URL of the database."""
        return self.campaign.config.database or str(self.store.root / DATABASE)


def open_campaign(path: Path, output: Path | None = None, profile: Path | None = None) -> Open:
    """Read a campaign file and wire its graph; computes and writes nothing.

    Raises InputError, one line that names the file, for whatever cannot be used, and for an output
    folder that belongs to another campaign.
    """
    config = read_campaign(path)
    root = output_of(path, config, output)
    chosen = read_profile(profile or beside(path, config.profile))
    if isinstance(chosen, LocalProfile):
        limits_of(chosen)
    campaign = wire(path, config)
    _require_own(root, config)
    return Open(path, campaign, Store(root), chosen)


def _require_own(root: Path, config: CampaignConfig) -> None:
    """Refuse a folder whose steps belong to a campaign of another name, or to a run."""
    try:
        name = json.loads((root / CLAIM).read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        if (root / "steps").is_dir():
            raise InputError(
                f"{root}: holds steps that are not this campaign's; choose another output"
            ) from None
        return
    if name != config.name:
        raise InputError(
            f"{root}: belongs to the campaign {name!r}, not to {config.name!r}; choose another "
            "output or another name"
        )


def executor_of(opened: Open) -> Executor:
    """Return where the campaign's steps are done."""
    if isinstance(opened.profile, LocalProfile):
        return LocalPool(opened.profile)
    from bjerrum.execution.cluster import ClusterExecutor

    return ClusterExecutor(opened.profile, opened.store.root)


def run_campaign(opened: Open, announce: Announce, *, retry: bool = False) -> dict[str, Any]:
    """Do every step that is not done, and bring the database up to date; return the status.

    retry  also try steps again that failed for reasons that will not go away by themselves
    Raises LockedError if another driver works in the folder, and the failure of the first step
    that failed, once nothing more can be done.
    """
    root, campaign = opened.store.root, opened.campaign
    with exclusive(root):
        write_json(root / CLAIM, {"name": campaign.config.name})
        write_whole(root / CONFIG_COPY, opened.path.read_bytes())
        record(campaign, opened.store, opened.database, [])  # a database that fails, fails now
        recorder = _Recorder(opened)
        drive = Drive(
            campaign.graph,
            opened.store,
            executor_of(opened),
            announce,
            recorder.done,
            retry=retry,
        )
        drive.run()
        record(campaign, opened.store, opened.database)
    if drive.failed:
        raise _failure_of(drive)
    return {"steps": len(campaign.graph), "database": opened.database}


class _Recorder:
    """Inserts a solution once all that is measured of it is there."""

    def __init__(self, opened: Open) -> None:
        self._opened = opened
        self._left: dict[str, list[Part]] = {}
        for one in opened.campaign.parts:
            for node in one.measurements.values():
                self._left.setdefault(node.hash, []).append(one)

    def done(self, node: Any) -> None:
        """Take note of a step that is done."""
        store = self._opened.store
        ready = [
            one
            for one in self._left.get(node.hash, [])
            if all(store.find(other.step) for other in one.measurements.values())
        ]
        if ready:
            record(self._opened.campaign, store, self._opened.database, ready)


def _failure_of(drive: Drive) -> BjerrumError:
    """Return the error of a campaign that could not be finished, with its first failure."""
    digest, failure = next(iter(drive.failed.items()))
    title = f"{drive.graph.nodes[digest].title}: {drive.graph.nodes[digest].kind.name}"
    n_left = len(drive.graph) - len(drive.done)
    message = (
        f"{len(drive.failed)} steps failed, {n_left} of {len(drive.graph)} are not done; first: "
        f"{title}: {failure.reason} (log: {failure.log}); when the reason is gone, run again with "
        "--retry"
    )
    kinds: dict[str, type[BjerrumError]] = {"input": InputError, "physics": PhysicsCheckFailed}
    return kinds.get(failure.kind, ExternalError)(message)


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
        "solutions": len(opened.campaign.measured),
        "steps": len(graph),
        "done": len(done),
        "kinds": [cost.__dict__ for cost in costs],
        "core_hours": sum(cost.core_hours for cost in costs),
        "gigabytes": sum(cost.gigabytes for cost in costs),
        "slots": slots,
        "wall_hours": wall_seconds(graph, left, slots) / 3600,
        "free_gigabytes": _free_gigabytes(store.root),
    }


def _slots(opened: Open) -> int:
    profile = opened.profile
    if isinstance(profile, LocalProfile):
        return len(limits_of(profile)) + profile.gpus
    jobs = [profile.cpu] + ([profile.gpu] if profile.gpu else [])
    return sum(job.jobs * job.nodes * job.workers_per_node for job in jobs)


def _free_gigabytes(root: Path) -> float:
    existing = next(path for path in (root, *root.resolve().parents) if path.exists())
    return shutil.disk_usage(existing).free / 1e9


def status(opened: Open) -> dict[str, Any]:
    """Return what is done, running, failed, waiting, and why; and how long it will take."""
    graph, store = opened.campaign.graph, opened.store
    is_driven = is_locked(store.root)
    running = read_state(store.root)["running"] if is_driven else {}
    done = {node.hash for node in graph if store.find(node.step) is not None}
    store.fingerprints.save()
    failures = {
        node.hash: failure
        for node in graph
        if node.hash not in done and (failure := store.failure(node.step)) is not None
    }
    blocked = _blocked(opened, set(failures))
    now, left = time.time(), left_seconds(graph, store, done)
    for digest, begin in running.items():
        if digest in left:
            left[digest] = max(0.0, left[digest] - (now - begin))
    for digest in blocked | failures.keys():
        left.pop(digest, None)
    rest = [n for n in graph if n.hash not in done | failures.keys() | blocked | running.keys()]
    return {
        "campaign": opened.campaign.config.name,
        "driver": "running" if is_driven else "not running",
        "steps": len(graph),
        "done": len(done),
        "running": [
            {"step": _title(graph.nodes[digest]), "seconds": round(now - begin, 1)}
            for digest, begin in running.items()
            if digest in graph.nodes and digest not in done
        ],
        "failed": [_failed(graph.nodes[digest], why) for digest, why in failures.items()],
        "waiting": len(rest),
        "waiting_for": dict(Counter(_reason(node, done) for node in rest)),
        "blocked": len(blocked),
        "hours_left": wall_seconds(graph, left, _slots(opened)) / 3600,
        "database": opened.database,
    }


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


def is_locked(root: Path) -> bool:
    """Tell whether a driver works in a folder."""
    if not (root / ".lock").is_file():
        return False
    try:
        with exclusive(root):
            return False
    except LockedError:
        return True
    except InputError:
        return False  # a read-only folder: nobody writes
