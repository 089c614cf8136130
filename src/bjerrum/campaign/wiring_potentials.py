"""The part of a campaign's graph that makes potentials: training, committees, active learning."""

from __future__ import annotations

from typing import Any

from bjerrum.campaign import kinds
from bjerrum.campaign.spec import LearningSection, TrainingSection
from bjerrum.campaign.wiring_labels import LabelWiring
from bjerrum.graph import Node
from bjerrum.potential.card import ModelCard
from bjerrum.system import Solution
from bjerrum.units import PS_IN_FS

_PULL_ANGSTROM = 2.5


class PotentialWiring:
    """Adds the steps from labels to a committee to a graph."""

    def __init__(self, labelling: LabelWiring, training: TrainingSection) -> None:
        self.labelling, self.training = labelling, training
        self.config, self.graph = labelling.config, labelling.graph

    def committee(
        self,
        key: str,
        solutions: list[Solution],
        boxes: dict[Solution, list[Node]],
    ) -> Node:
        """Return the step that makes the committee of a salt, for all its solutions.

        key  for titles: salt and temperature
        """
        n, frames = self.config.reference.frames, []
        for solution in solutions:
            for k, node in enumerate(self.labelling.frames(solution, boxes[solution])):
                title = f"{solution}, box {k + 1}"
                frames.append((node, n, self.labelling.n_atoms(solution), title))
        labels = self.labelling.collected(frames, None, key)
        atoms = max(self.labelling.n_atoms(s) for s in solutions)
        spec = _training_spec(self.training, solutions, self.config.reference.method)
        name = str(solutions[0].salt)
        members = self._members(key, spec, labels, atoms, None, None)
        committee = self._joined(key, name, labels, members)
        learning = self.config.learning
        if learning is None:
            return committee
        explored: Node | None = None
        for turn in range(1, learning.rounds + 1):
            title = f"{key}, round {turn}"
            explored = self._explored(
                title, name, solutions, boxes, committee, labels, explored, learning, turn
            )
            found = [(explored, learning.frames, atoms, title)]
            labels = self.labelling.collected(found, labels, title, n_cells=len(solutions))
            shorter = {
                **spec,
                "optimiser": {**spec["optimiser"], "steps": learning.steps},
                "split": {**spec["split"], "trained_blocks": [f"{name}-round-"]},
            }
            members = self._members(title, shorter, labels, atoms, members, explored)
            committee = self._joined(title, name, labels, members)
        return committee

    def _members(
        self,
        title: str,
        spec: dict[str, Any],
        labels: Node,
        atoms: int,
        before: list[Node] | None,
        explored: Node | None,
    ) -> list[Node]:
        optimiser = spec["optimiser"]
        units = optimiser["steps"] * optimiser["batch_frames"] * atoms * weight(spec["network"])
        members = []
        for k in range(self.training.committee):
            needs = {"labels": labels}
            if before is not None and explored is not None:
                needs |= {"before": before[k], "explored": explored}
            members.append(
                self.graph.add(
                    kinds.TRAIN_MEMBER,
                    {"training": spec, "member": k},
                    needs,
                    title=f"{title}, member {k + 1}",
                    units=units,
                )
            )
        return members

    def _joined(self, title: str, name: str, labels: Node, members: list[Node]) -> Node:
        needs = {f"member_{k + 1}": member for k, member in enumerate(members)}
        return self.graph.add(
            kinds.MAKE_COMMITTEE,
            {"name": name},
            {"labels": labels, **needs},
            title=title,
            units=len(members),
        )

    def _explored(
        self,
        title: str,
        name: str,
        solutions: list[Solution],
        boxes: dict[Solution, list[Node]],
        committee: Node,
        labels: Node,
        before: Node | None,
        learning: LearningSection,
        turn: int,
    ) -> Node:
        first = [boxes[solution][0] for solution in solutions]
        needs = {f"box_{k:03d}": box for k, box in enumerate(first)}
        needs |= {"committee": committee, "labels": labels}
        if before is not None:
            needs["before"] = before
        kelvin = solutions[0].temperature
        hot = learning.temperature_factor > 1
        walks = len(first) * (1 + hot + learning.pull_pairs)
        atoms = max(self.labelling.n_atoms(s) for s in solutions)
        network = self.training.network.model_dump(mode="json")
        members = self.training.committee
        return self.graph.add(
            kinds.EXPLORE_ROUND,
            {
                "name": name,
                "explore_ps": learning.explore_ps,
                "temperature_K": kelvin,
                "temperature_factor": learning.temperature_factor,
                "pull_to_angstrom": _PULL_ANGSTROM if learning.pull_pairs else None,
                "is_rigid": self.config.reference.method == "classical",
                "frames": learning.frames,
                "least_gain": learning.least_gain,
                "block": f"{name}-round-{turn}",
                "seed": 10000 * self.config.box.seed + 1000 * turn,
            },
            needs,
            title=title,
            units=walks * learning.explore_ps * PS_IN_FS * atoms * members * weight(network),
        )


def weight(network: dict[str, Any]) -> float:
    """Return how much a network costs per atom, in units of the published one (32 neighbours...).

    Proportional to layers, features, (l_max + 1)^2 and the volume of the cutoff.
    """
    return float(
        network["n_layers"]
        / 3
        * network["n_features"]
        / 16
        * ((network["l_max"] + 1) / 3) ** 2
        * (network["cutoff_angstrom"] / 5) ** 3
    )


def weight_of_card(card: ModelCard) -> float:
    """Return :func:`weight` of a model, times its members."""
    given = card.hyperparameters
    names = ("num_layers", "num_features", "l_max", "r_max")
    ours = ("n_layers", "n_features", "l_max", "cutoff_angstrom")
    network = {name: given[key] for name, key in zip(ours, names, strict=True)}
    return weight(network) * max(1, len(card.members))


def _training_spec(
    training: TrainingSection, solutions: list[Solution], method: str
) -> dict[str, Any]:
    """Return the training's settings: the baseline is that of the salt's ions in water."""
    salt, kelvin = solutions[0].salt, solutions[0].temperature
    return {
        **training.model_dump(mode="json", exclude={"committee"}),
        "baseline": {
            "charges_e": {
                salt.cation.symbol: float(salt.cation.charge),
                salt.anion.symbol: float(salt.anion.charge),
            },
            "dielectric_constant": round(solutions[0].dielectric_constant, 4),
        },
        "card": {
            "labels": f"Trained on {method} labels of {salt} in water at {kelvin:g} K.",
            "limits": [f"{salt} in water near {kelvin:g} K, at the molalities of the campaign."],
        },
    }
