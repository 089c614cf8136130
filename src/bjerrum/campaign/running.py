"""A campaign at work: what can be done is done, and the database filled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from bjerrum.campaign.document import Part
from bjerrum.campaign.looking import require_room
from bjerrum.campaign.opening import Open, claim
from bjerrum.campaign.record import record
from bjerrum.errors import BjerrumError, ExternalError, InputError, PhysicsCheckFailed
from bjerrum.execution.driver import Drive
from bjerrum.execution.journal import note
from bjerrum.execution.pool import Executor, LocalPool
from bjerrum.execution.profile import LocalProfile
from bjerrum.store import exclusive

NOT_RECORDED = "not recorded"
Announce = Callable[[str, int, int], None]


def executor_of(opened: Open) -> Executor:
    """Return where the campaign's steps are done."""
    if isinstance(opened.profile, LocalProfile):
        return LocalPool(opened.profile)
    from bjerrum.execution.cluster import ClusterExecutor

    return ClusterExecutor(opened.profile, opened.store.root)


def run_campaign(
    opened: Open,
    announce: Announce,
    *,
    retry: bool = False,
    at_end: Callable[[Open], Any] = lambda opened: None,
) -> dict[str, Any]:
    """Do every step that is not done, and bring the database up to date; return the status.

    retry   also try steps again that failed for reasons that will not go away by themselves
    at_end  called once the database holds what could be done, also when steps have failed; what
            it returns is "at_end" of the status
    Raises LockedError if another driver works in the folder, ExternalError if the database cannot
    be reached at the beginning or at the end, and the failure of the first step that failed, once
    nothing more can be done.
    """
    root, campaign = opened.store.root, opened.campaign
    with exclusive(root):
        claim(opened)
        require_room(opened)
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
        ended = at_end(opened)
    if drive.failed:
        raise _failure_of(drive)
    return {"steps": len(campaign.graph), "database": opened.database_shown, "at_end": ended}


class _Recorder:
    """Inserts a solution once all that is measured of it is there.

    A database that has gone away stops no step: the journal says so, and everything is inserted at
    the end.
    """

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
            try:
                record(self._opened.campaign, store, self._opened.database, ready)
            except (ExternalError, InputError) as error:
                with contextlib.suppress(OSError):
                    note(store.root, NOT_RECORDED, node.hash, reason=str(error)[:300])


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
