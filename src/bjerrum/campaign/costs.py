"""What a campaign will cost, from measured unit costs: core hours and disk, before it begins.

Each kind of step counts its work in units; seconds and bytes of a unit are measured. Steps of the
campaign that are finished are the best measure; where there are none, ``unit_costs.toml`` holds
what was measured when Bjerrum was made, with where.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Literal

from bjerrum.graph import Graph, Node
from bjerrum.specification import NotNegative, Spec, validate_spec
from bjerrum.store import RECORD, Result, Store

CostKind = Literal["measured", "extrapolated", "estimate"]
LABEL_POWER: Final = 1.415
"""A label by CP2K costs atoms to this power: ln(342.9 / 135.9) / ln(50 / 26), processor seconds of
1 LiCl with 16 and with 8 waters (data/licl-dcr2scan/bench-n16.json, bench-n8.json)."""
_SAMPLE = 200
"""Finished steps of a kind that are looked at."""


class UnitCost(Spec):
    """What a unit of a kind's work costs.

    core_seconds, bytes  of a unit
    fixed_core_seconds   of every step
    kind                 measured, extrapolated from smaller systems, or an estimate
    source               where and how it was measured
    """

    core_seconds: NotNegative
    bytes: NotNegative
    fixed_core_seconds: NotNegative = 0.0
    kind: CostKind = "measured"
    source: str

    def seconds(self, units: float) -> float:
        """Return the core seconds of a step."""
        return self.fixed_core_seconds + units * self.core_seconds


@dataclass(frozen=True)
class Cost:
    """Steps of one kind: how many are left, and what they will cost.

    core_hours, gigabytes  of those that are left
    certainty  measured, extrapolated, estimate or unknown
    """

    kind: str
    n_steps: int
    n_left: int
    core_hours: float
    gigabytes: float
    source: str
    certainty: str = "unknown"


def shipped_costs() -> dict[str, UnitCost]:
    """Return the unit costs that come with Bjerrum."""
    text = (resources.files("bjerrum.campaign") / "unit_costs.toml").read_text(encoding="utf-8")
    return {
        name: validate_spec(data, UnitCost, f"unit_costs.toml: {name}")
        for name, data in tomllib.loads(text).items()
    }


def measured_costs(store: Store, nodes: Iterable[Node]) -> dict[str, UnitCost]:
    """Return unit costs of the steps that are finished, kind by kind.

    A step's core time is its processor time.
    """
    seconds: dict[str, float] = defaultdict(float)
    sizes: dict[str, float] = defaultdict(float)
    units: dict[str, float] = defaultdict(float)
    counted: dict[str, int] = defaultdict(int)
    for node in nodes:
        name, folder = node.kind.name, store.folder_of(node.step)
        if counted[name] >= _SAMPLE or not (folder / RECORD).is_file():
            continue
        seconds[name] += Result(node.step, folder).cpu_seconds
        sizes[name] += sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        units[name] += node.units
        counted[name] += 1
    return {
        name: UnitCost(
            core_seconds=seconds[name] / units[name],
            bytes=sizes[name] / units[name],
            source=f"{n} finished steps of this campaign",
        )
        for name, n in counted.items()
        if units[name] > 0
    }


def forecast(graph: Graph, store: Store, done: set[str]) -> list[Cost]:
    """Return what is left of each kind of step.

    done  the finished steps
    """
    known = shipped_costs() | measured_costs(store, (n for n in graph if n.hash in done))
    groups: dict[str, list[Node]] = defaultdict(list)
    for node in graph:
        groups[node.kind.name].append(node)
    return [_cost(name, nodes, done, known.get(name)) for name, nodes in groups.items()]


def _cost(name: str, nodes: list[Node], done: set[str], unit: UnitCost | None) -> Cost:
    left = [node for node in nodes if node.hash not in done]
    if unit is None:
        return Cost(name, len(nodes), len(left), 0.0, 0.0, "never measured: not in the sum")
    hours = sum(unit.seconds(node.units) for node in left) / 3600
    size = sum(node.units for node in left) * unit.bytes / 1e9
    return Cost(name, len(nodes), len(left), hours, size, unit.source, unit.kind)


def left_seconds(graph: Graph, store: Store, done: set[str]) -> dict[str, float]:
    """Return the expected seconds of every step that is not done."""
    known = shipped_costs() | measured_costs(store, (n for n in graph if n.hash in done))
    default = UnitCost(core_seconds=0.0, bytes=0.0, source="")
    return {
        node.hash: known.get(node.kind.name, default).seconds(node.units)
        for node in graph
        if node.hash not in done
    }


def wall_seconds(graph: Graph, left: dict[str, float], slots: int) -> float:
    """Return a lower estimate of the wall time of what is left: the longest chain, or all by slots.

    max(longest path, sum / slots) (Graham 1969: no schedule beats it, a greedy one is within 2).
    """
    longest: dict[str, float] = {}
    for node in graph:
        before = max((longest.get(n.hash, 0.0) for n in node.needs.values()), default=0.0)
        longest[node.hash] = before + left.get(node.hash, 0.0)
    return max(max(longest.values(), default=0.0), sum(left.values()) / max(slots, 1))


def as_toml(costs: dict[str, UnitCost]) -> dict[str, Any]:
    """Return unit costs as tables."""
    return {name: cost.model_dump(mode="json") for name, cost in costs.items()}
