"""Steps that wait for each other: what a campaign is before anything is computed.

Every step's identity follows from its parameters and from the identities of its inputs, so that
the whole graph is known, and can be counted, priced and looked up, before the first step runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bjerrum.store import Step, Store


@dataclass(frozen=True)
class Kind:
    """A kind of step: the code that does it.

    name      verb and object, "build_box"
    version   raise it when the result for the same parameters and inputs changes
    function  "module:name" of a function of (folder, parameters, inputs) that writes into folder
    unit      what the work is counted in, such as "atom steps"
    needs_gpu  whether it goes to a GPU where there is one
    """

    name: str
    version: int
    function: str
    unit: str = "steps"
    needs_gpu: bool = False


@dataclass(frozen=True)
class Node:
    """A step with all that is needed to do it.

    title   for people
    units   how much work it is, in its kind's unit
    needs   the steps whose results it reads, by the name under which it reads them
    files   further files and folders that it reads; their hashes are among the step's inputs
    resources  settings that say how it is done and leave its result: no part of its identity
    """

    kind: Kind
    step: Step
    title: str
    units: float = 1.0
    needs: Mapping[str, Node] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """The step's identity."""
        return self.step.hash

    def paths(self, store: Store) -> dict[str, str]:
        """Return where the step's inputs are."""
        found = {name: str(store.folder_of(node.step)) for name, node in self.needs.items()}
        return found | {name: str(path.resolve()) for name, path in self.files.items()}


class Graph:
    """Steps in an order in which they can be done; equal steps are one."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def add(
        self,
        kind: Kind,
        parameters: dict[str, Any],
        needs: Mapping[str, Node] | None = None,
        *,
        title: str,
        units: float = 1.0,
        files: Mapping[str, tuple[Path, str]] | None = None,
        resources: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add a step and return it, or the equal one that is there.

        files      path and hash of the content of further inputs
        resources  settings without influence on the result
        Raises InputError for parameters that are no JSON values.
        """
        needs, files = needs or {}, files or {}
        inputs = {name: node.hash for name, node in needs.items()}
        inputs |= {name: digest for name, (_, digest) in files.items()}
        step = Step(kind.name, kind.version, parameters, inputs)
        paths = {name: path for name, (path, _) in files.items()}
        node = Node(kind, step, title, units, dict(needs), paths, dict(resources or {}))
        return self.nodes.setdefault(node.hash, node)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def dependants(self) -> dict[str, list[Node]]:
        """Return the steps that read each step's result."""
        found: dict[str, list[Node]] = {digest: [] for digest in self.nodes}
        for node in self:
            for need in {need.hash for need in node.needs.values()}:
                found[need].append(node)
        return found

    def chain(self, node: Node) -> list[Node]:
        """Return a step and all that it rests on, in order."""
        wanted: set[str] = set()
        stack = [node]
        while stack:
            one = stack.pop()
            if one.hash not in wanted:
                wanted.add(one.hash)
                stack += one.needs.values()
        return [one for one in self if one.hash in wanted]
