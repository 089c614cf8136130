"""A step on its way to a worker, and what became of it; both are plain JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bjerrum.graph import Node
from bjerrum.store import Step, Store

Kind = Literal[
    "done",
    "input",
    "physics",
    "external",
    "error",
    "memory",
    "timeout",
    "lost",
    "expired",
    "damaged",
]
"""done; a bad input, a failed check, a failed program or disk, a fault of the code, too much
memory, too much time; the worker was lost; its job came to the end of its wall time; an input's
bytes are not those that were written."""

RETRYABLE: dict[str, int] = {"external": 2, "timeout": 2, "lost": 5, "damaged": 5, "expired": 100}
"""How often each may happen to a step, which may end better the next time; all else fails at once.
A step that goes on where it was stopped may need many jobs: their ends are no failures."""


@dataclass(frozen=True)
class Task:
    """A step on its way to a worker.

    root      of the store
    function  "module:name"
    step      as :meth:`Step.to_json` writes it
    inputs    names and paths of folders and files
    resources  further settings for the function, which leave the result
    """

    root: str
    function: str
    step: dict[str, Any]
    inputs: dict[str, str]
    needs_gpu: bool = False
    resources: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Node, store: Store) -> Task:
        """Return the task of a step."""
        root, kind = str(store.root.resolve()), node.kind
        inputs = node.paths(Store(store.root.resolve()))
        return cls(
            root,
            kind.function,
            node.step.to_json(),
            inputs,
            kind.needs_gpu,
            dict(node.resources),
        )

    @property
    def as_step(self) -> Step:
        """The step itself."""
        return Step(**self.step)

    def dumps(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Task:
        """Read what :meth:`dumps` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    hash          of the step
    kind          see :data:`Kind`
    reason        one line; empty if done
    wall_seconds  from its start on the worker
    """

    hash: str
    kind: Kind
    reason: str = ""
    wall_seconds: float = 0.0

    def dumps(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Outcome:
        """Read what :meth:`dumps` wrote."""
        return cls(**json.loads(text))
