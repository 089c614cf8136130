"""Bring a graph of steps up to date: what is finished stays, the rest is done as inputs allow.

The driver keeps no memory of its own: killed at any moment and started again, it finds what is
finished in the store and goes on. A step that fails stops only what needs its result.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bjerrum.execution.journal import HANDED_OVER, note
from bjerrum.execution.pool import Executor
from bjerrum.execution.task import RETRYABLE, Outcome, Task
from bjerrum.files import write_json
from bjerrum.graph import Graph, Node
from bjerrum.store import Failure, Store

STATE = "running.json"
_STATE_EVERY_SECONDS = 1.0
Announce = Callable[[str, int, int], None]
OnDone = Callable[[Node], None]


@dataclass
class Drive:
    """A graph on its way.

    retry  also try steps again that failed for reasons that will not go away by themselves
    """

    graph: Graph
    store: Store
    executor: Executor
    announce: Announce = lambda stage, done, total: None
    on_done: OnDone = lambda node: None
    retry: bool = False
    done: set[str] = field(default_factory=set)
    failed: dict[str, Failure] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    _setbacks: Counter[tuple[str, str]] = field(default_factory=Counter)
    _waits_for: dict[str, int] = field(default_factory=dict)
    _dependants: dict[str, list[Node]] = field(default_factory=dict)
    _ready: dict[bool, list[Node]] = field(default_factory=lambda: {False: [], True: []})
    _state_time: float = 0.0

    def run(self) -> None:
        """Do all that can be done. Raises what stops the driver itself, such as an interruption."""
        self._look_up()
        self.announce("Steps", len(self.done), len(self.graph))
        try:
            self._loop()
        finally:
            self.executor.close()
            (self.store.root / STATE).unlink(missing_ok=True)
            self.store.fingerprints.save()

    def _look_up(self) -> None:
        """Find what is finished, what has failed before, and what can begin."""
        self._dependants = self.graph.dependants()
        for node in self.graph:
            if self.store.find(node.step) is not None:
                self.done.add(node.hash)
                continue
            failure = self.store.failure(node.step)
            if failure is not None and not self.retry and failure.kind not in RETRYABLE:
                self.failed[node.hash] = failure
            else:
                self.store.forgive(node.step)
        for node in self.graph:
            needed = {need.hash for need in node.needs.values()}
            self._waits_for[node.hash] = len(needed - self.done)
            if node.hash not in self.done and node.hash not in self.failed:
                self._begin_if_ready(node)

    def _begin_if_ready(self, node: Node) -> None:
        if self._waits_for[node.hash] == 0:
            self._ready[node.kind.needs_gpu].append(node)

    def _loop(self) -> None:
        while True:
            self._submit()
            if not self.running:
                return
            for outcome in self.executor.collect():
                self._take(outcome)
            self._write_state()

    def _submit(self) -> None:
        for gpu, ready in self._ready.items():
            free = self.executor.free(gpu=gpu) if ready else 0
            for node in ready[:free]:
                self.attempts[node.hash] += 1
                self.running[node.hash] = time.time()
                self._note(node.hash, HANDED_OVER)
                self.executor.submit(Task.of(node, self.store))
            del ready[:free]

    def _take(self, outcome: Outcome) -> None:
        node = self.graph.nodes[outcome.hash]
        self.running.pop(outcome.hash, None)
        if outcome.kind == "done":
            self._finish(node)
            return
        self._setbacks[node.hash, outcome.kind] += 1
        self._note(node.hash, outcome.kind, reason=outcome.reason[:300])
        if self._setbacks[node.hash, outcome.kind] < RETRYABLE.get(outcome.kind, 1):
            if outcome.kind == "damaged" and self._repair(node):
                return
            self._ready[node.kind.needs_gpu].append(node)
            return
        log = str(self.store.log_of(node.step))
        attempts = self.attempts[node.hash]
        failure = Failure(outcome.kind, outcome.reason, attempts, log, time.time())
        self.failed[node.hash] = failure
        self.store.fail(node.step, failure)

    def _finish(self, node: Node) -> None:
        if node.hash in self.done:
            return
        self.done.add(node.hash)
        self.on_done(node)
        for dependant in self._dependants[node.hash]:
            self._waits_for[dependant.hash] -= 1
            taken = (self.done, self.failed, self.running)
            if not any(dependant.hash in some for some in taken):
                self._begin_if_ready(dependant)
        self.announce("Steps", len(self.done), len(self.graph))

    def _repair(self, node: Node) -> bool:
        """Do the inputs of a step again whose bytes were changed; tell whether there is one."""
        damaged = {
            need.hash: need
            for need in node.needs.values()
            if self.store.find(need.step, verify=True) is None
        }
        for need in damaged.values():
            if need.hash in self.done:
                self.done.discard(need.hash)
                for dependant in self._dependants[need.hash]:
                    self._waits_for[dependant.hash] += 1
                self._ready[need.kind.needs_gpu].append(need)
        for ready in self._ready.values():
            ready[:] = [one for one in ready if self._waits_for[one.hash] == 0]
        return bool(damaged)

    def _note(self, digest: str, event: str, **more: str) -> None:
        try:
            note(self.store.root, event, digest, **more)
        except OSError:
            return  # the disk is full: the outcome says so as well

    def _write_state(self) -> None:
        if time.monotonic() - self._state_time < _STATE_EVERY_SECONDS:
            return
        self._state_time = time.monotonic()
        write_json(self.store.root / STATE, {"running": self.running})


def read_state(root: Path) -> dict[str, float]:
    """Return what the driver of a folder last said: when it handed over which step.

    A damaged file says nothing.
    """
    try:
        running = json.loads((root / STATE).read_text(encoding="utf-8"))["running"]
        return {str(digest): float(begin) for digest, begin in running.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
