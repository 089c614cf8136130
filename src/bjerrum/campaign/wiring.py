"""From a campaign's settings to its graph of steps. Nothing is computed here.

For each solution: boxes -> sampled configurations -> labels; for each salt and temperature: a
committee from the labels of all its solutions, rounds of active learning; for each solution again:
dynamics -> measurements; for each salt and temperature again: ions alone -> activities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bjerrum.campaign import kinds
from bjerrum.campaign.spec import CampaignConfig, SimulationSection
from bjerrum.campaign.wiring_labels import LabelWiring, block_of
from bjerrum.campaign.wiring_potentials import PotentialWiring, weight, weight_of_card
from bjerrum.campaign.wiring_thermodynamics import Solved, ThermodynamicsWiring
from bjerrum.errors import InputError
from bjerrum.graph import Graph, Node
from bjerrum.potential.card import ModelCard, find_model, read_card
from bjerrum.system import Solution
from bjerrum.units import PS_IN_FS


@dataclass(frozen=True)
class Measured:
    """A solution's measurements and what they rest on.

    model    the step that made its committee; None for the reference itself or a model given
    boxes    starting configurations, one per replica
    gate     the step that checked the model; None for rigid water, which no check is made for
    about    what it is, beside the solution itself
    """

    solution: Solution
    n_waters: int
    measurements: dict[str, Node]
    trajectories: list[Node]
    boxes: list[Node]
    model: Node | None
    gate: Node | None = None
    about: str = ""

    @property
    def name(self) -> str:
        """For people: the solution, and what it is about."""
        return f"{self.solution}: {self.about}" if self.about else str(self.solution)


@dataclass(frozen=True)
class Campaign:
    """A campaign that is ready to be planned or run.

    settings  of the reference, with its file's content
    card      of the model given, if one is
    """

    config: CampaignConfig
    graph: Graph
    measured: list[Measured]
    solved: list[Solved]
    committees: dict[str, Node]
    settings: dict[str, Any]
    card: ModelCard | None

    @property
    def parts(self) -> list[Measured | Solved]:
        """What becomes a run of the database each: solutions, then salts."""
        return [*self.measured, *self.solved]


def wire(path: Path, config: CampaignConfig) -> Campaign:
    """Return the campaign's graph.

    path  of the campaign file, beside which the files that it names lie
    Raises InputError for a settings file or a model that cannot be used.
    """
    return _Wiring(path, config).campaign()


class _Wiring:
    def __init__(self, path: Path, config: CampaignConfig) -> None:
        self.path, self.config, self.graph = path, config, Graph()
        self.labelling = LabelWiring(path, config, self.graph)
        self.model = self._given_model()
        self.gates: dict[str, Node] = {}

    def campaign(self) -> Campaign:
        config = self.config
        groups: dict[str, list[Solution]] = {}
        committees: dict[str, Node] = {}
        for solution in config.grid():
            key = f"{solution.salt}, {solution.temperature:g} K"
            groups.setdefault(key, []).append(solution)
        measured, solved = [], []
        for key, solutions in groups.items():
            boxes = {s: self.labelling.boxes(s) for s in solutions}
            if config.training is not None:
                wiring = PotentialWiring(self.labelling, config.training)
                committees[key] = wiring.committee(key, solutions, boxes)
            committee = committees.get(key)
            group = [self._measured(s, boxes[s], committee) for s in solutions]
            if config.coarsening is not None:
                wiring_of_salt = ThermodynamicsWiring(self.labelling, config.coarsening)
                solved.append(
                    wiring_of_salt.solved(key, {m.solution: m.trajectories for m in group})
                )
            measured += group
            measured += self._errors_of(solutions, boxes, committee)
        card = None if self.model is None else self.model[1]
        settings = self.labelling.settings
        return Campaign(config, self.graph, measured, solved, committees, settings, card)

    def _given_model(self) -> tuple[Path, ModelCard] | None:
        simulation = self.config.simulation
        if simulation is None or simulation.potential in {"trained", "reference"}:
            return None
        local = self.path.parent / simulation.potential
        folder = local if local.is_dir() else find_model(simulation.potential)
        return folder, read_card(folder)

    def _measured(self, solution: Solution, boxes: list[Node], committee: Node | None) -> Measured:
        waters, simulation = self.config.box.waters, self.config.simulation
        found: dict[str, Node] = {}
        if committee is not None and "force-error" in self.config.measure and self._is_own:
            found["force-error"] = self._force_error(solution, committee)
        if simulation is None:
            return Measured(solution, waters, found, [], boxes, committee)
        model = committee if simulation.potential == "trained" else None
        gate = self._gate(boxes[0], model, solution)
        runs = [self._run(solution, k, box, model, gate) for k, box in enumerate(boxes)]
        found |= self._measurements(solution, runs, simulation)
        return Measured(solution, waters, found, runs, boxes, model, gate)

    @property
    def _is_own(self) -> bool:
        """Whether what is measured is that of the campaign's own committees."""
        simulation = self.config.simulation
        return simulation is None or simulation.potential == "trained"

    def _errors_of(
        self, solutions: list[Solution], boxes: dict[Solution, list[Node]], committee: Node | None
    ) -> list[Measured]:
        """Return the force errors of a committee that simulates nothing: results of its own."""
        if committee is None or self._is_own or "force-error" not in self.config.measure:
            return []
        waters, about = self.config.box.waters, "force error of the committee"
        return [
            Measured(
                solution,
                waters,
                {"force-error": self._force_error(solution, committee)},
                [],
                boxes[solution],
                committee,
                about=about,
            )
            for solution in solutions
        ]

    def _is_rigid(self, committee: Node | None) -> bool:
        """Tell whether the committee knows rigid water only."""
        return committee is not None and self.config.reference.method == "classical"

    def _source(
        self, solution: Solution, committee: Node | None
    ) -> tuple[dict[str, Node], dict[str, tuple[Path, str]], float]:
        """Return the model's step or its folder, and how much it costs per atom."""
        if committee is not None:
            assert self.config.training is not None
            network = self.config.training.network.model_dump(mode="json")
            return {"committee": committee}, {}, self.config.training.committee * weight(network)
        assert self.model is not None
        folder, card = self.model
        _require_elements(card, solution)
        return {}, {"model": (folder, card.identity)}, weight_of_card(card)

    def _gate(self, box: Node, committee: Node | None, solution: Solution) -> Node | None:
        """Return the step that checks the model; a model of a whole salt is checked once."""
        simulation = self.config.simulation
        assert simulation is not None
        if simulation.potential == "reference" or self._is_rigid(committee):
            return None
        key = "given" if committee is None else committee.hash
        if key not in self.gates:
            needs, files, size = self._source(solution, committee)
            self.gates[key] = self.graph.add(
                kinds.CHECK_MODEL,
                {"seed": self.config.box.seed, "name": str(solution.salt)},
                {"box": box, **needs},
                title=str(solution),
                units=size * self.labelling.n_atoms(solution),
                files=files,
            )
        return self.gates[key]

    def _measurements(
        self, solution: Solution, runs: list[Node], simulation: SimulationSection
    ) -> dict[str, Node]:
        needs = {f"trajectory_{k + 1}": run for k, run in enumerate(runs)}
        skip = round(simulation.equilibration_part * simulation.length_ps, 6)
        n_frames = len(runs) * simulation.length_ps * PS_IN_FS / simulation.frame_every_fs
        atoms = self.labelling.n_atoms(solution)
        found: dict[str, Node] = {}
        for name in self.config.measure:
            if name == "force-error":
                continue
            kind = kinds.MEASUREMENTS[name]
            parameters: dict[str, Any] = {"skip_ps": skip}
            if name == "structure":
                parameters["pairs"] = _pairs(solution)
            if name == "transport":
                parameters["temperature_K"] = solution.temperature
            size = atoms**2 if kind.unit.startswith("squared") else atoms
            found[name] = self.graph.add(
                kind, parameters, needs, title=str(solution), units=size * n_frames
            )
        return found

    def _force_error(self, solution: Solution, committee: Node) -> Node:
        reference, training = self.config.reference, self.config.training
        assert training is not None
        parameters = {
            "name": str(solution.salt),
            "method": reference.method,
            "block": block_of(solution),
        }
        size = training.committee * weight(training.network.model_dump(mode="json"))
        return self.graph.add(
            kinds.MEASURE_FORCE_ERROR,
            parameters,
            {"committee": committee, "labels": committee.needs["labels"]},
            title=str(solution),
            units=size * self.labelling.n_atoms(solution) * reference.frames,
        )

    def _run(
        self,
        solution: Solution,
        replica: int,
        box: Node,
        committee: Node | None,
        gate: Node | None,
    ) -> Node:
        simulation = self.config.simulation
        assert simulation is not None
        run: dict[str, Any] = {
            "time_ps": simulation.length_ps,
            "temperature": solution.temperature,
            "timestep_fs": simulation.timestep_fs,
            "friction_per_ps": simulation.friction_per_ps,
            "frame_every_fs": simulation.frame_every_fs,
            "seed": 1000 * self.config.box.seed + replica,
        }
        atoms, title = self.labelling.n_atoms(solution), f"{solution}, box {replica + 1}"
        if simulation.potential == "reference":
            run["equilibrate_ps"] = 0.0
            return self.graph.add(
                kinds.SIMULATE_CLASSICAL,
                {"run": run},
                {"box": box},
                title=title,
                units=atoms * simulation.length_ps,
            )
        is_rigid = self._is_rigid(committee)
        steps = simulation.length_ps * PS_IN_FS / simulation.timestep_fs
        needs, files, size = self._source(solution, committee)
        if gate is not None:
            needs["gate"] = gate
        return self.graph.add(
            kinds.SIMULATE_MODEL,
            {"run": run, "is_rigid": is_rigid, "name": str(solution.salt)},
            {"box": box, **needs},
            title=title,
            units=atoms * steps * size,
            files=files,
        )


def _require_elements(card: ModelCard, solution: Solution) -> None:
    salt = solution.salt
    missing = sorted({salt.cation.symbol, salt.anion.symbol, "H", "O"} - set(card.elements))
    if missing:
        raise InputError(
            f"simulation.potential: model {card.name} knows {', '.join(card.elements)}; "
            f"{salt} also needs {', '.join(missing)}"
        )


def _pairs(solution: Solution) -> list[str]:
    cation, anion = solution.salt.cation.symbol, solution.salt.anion.symbol
    return [f"{cation}-O", f"{anion}-O", f"{cation}-{anion}", "O-O"]
