"""The part of a campaign's graph from trajectories to activities: ions alone, then a theory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bjerrum.campaign import kinds
from bjerrum.campaign.spec import CampaignConfig, CoarseningSection
from bjerrum.campaign.wiring_labels import LabelWiring
from bjerrum.coarse.spec import CoarseningSpec
from bjerrum.graph import Graph, Node
from bjerrum.reference.classical_force_fields import ClassicalSettings
from bjerrum.system import Solution
from bjerrum.units import PS_IN_FS

MARGIN_ANGSTROM: Final = 0.1
"""Between half the smallest box and the cutoff: the neighbour search needs a little room."""


@dataclass(frozen=True)
class Solved:
    """Activities of a salt at one temperature and what they rest on.

    solution  the salt at infinite dilution, to which the potentials of mean force belong
    ions      the step that made the ions' model
    """

    solution: Solution
    measurements: dict[str, Node]
    ions: Node


class ThermodynamicsWiring:
    """Adds the steps from the trajectories of a salt to its activities to a graph."""

    def __init__(self, labelling: LabelWiring, section: CoarseningSection) -> None:
        self.config: CampaignConfig = labelling.config
        self.graph: Graph = labelling.graph
        self.section, self.labelling = section, labelling

    def solved(self, key: str, runs: Mapping[Solution, list[Node]]) -> Solved:
        """Return the activities of a salt.

        key   for titles: salt and temperature
        runs  the trajectories of all its solutions
        """
        solutions = list(runs)
        salt, kelvin = solutions[0].salt, solutions[0].temperature
        ions = self._ions(key, runs)
        molalities = sorted(solution.molality for solution in solutions)
        solve = self.graph.add(
            kinds.SOLVE_SALT,
            {
                "salt": salt.formula,
                "temperature_K": kelvin,
                "molalities_mol_per_kg": molalities,
                "theory": self.section.theory,
            },
            {"ions": ions},
            title=key,
            units=len(molalities) * (1 + CoarseningSpec().members),
        )
        return Solved(Solution(salt, 0.0, kelvin), {"activity": solve}, ions)

    def _ions(self, key: str, runs: Mapping[Solution, list[Node]]) -> Node:
        solutions, simulation = list(runs), self.config.simulation
        assert simulation is not None
        nodes = [(s, node) for s in solutions for node in runs[s]]
        needs = {f"trajectory_{k + 1:03d}": node for k, (_, node) in enumerate(nodes)}
        first = nodes[0][1]
        parameters = {
            **self._forces(first),
            "charges_e": _charges(solutions[0]),
            "dielectric_constant": self.section.dielectric_constant
            or round(solutions[0].dielectric_constant, 4),
            "temperature_K": solutions[0].temperature,
            "skip_ps": round(simulation.equilibration_part * simulation.length_ps, 6),
            "spec": self._spec(solutions),
        }
        sources = {k: n for k, n in first.needs.items() if k == "committee"}
        files = {
            name: (path, first.step.inputs[name])
            for name, path in first.files.items()
            if name == "model"
        }
        n_frames = simulation.length_ps * PS_IN_FS / simulation.frame_every_fs
        return self.graph.add(
            kinds.COARSEN_SALT,
            parameters,
            needs | sources,
            title=key,
            units=n_frames * sum(self.labelling.n_atoms(s) for s, _ in nodes),
            files=files,
        )

    def _forces(self, run: Node) -> dict[str, Any]:
        """Return what names the potential of the trajectories."""
        if run.kind.name != kinds.SIMULATE_CLASSICAL.name:
            return {"name": run.step.parameters["name"]}
        content = self.labelling.settings["settings"] or {}
        return {"force_field": content.get("force_field", ClassicalSettings().force_field)}

    def _spec(self, solutions: list[Solution]) -> dict[str, Any]:
        section = self.section
        cutoff = pair_cutoff(self.config, section, solutions)
        return CoarseningSpec(
            pair_cutoff_angstrom=cutoff,
            body_cutoff_angstrom=min(CoarseningSpec().body_cutoff_angstrom, cutoff),
            n_radial=section.n_radial,
            iterations=section.iterations,
            polish_ps=section.polish_ps,
            seed=self.config.box.seed,
        ).model_dump(mode="json")


def pair_cutoff(
    config: CampaignConfig, section: CoarseningSection, solutions: list[Solution]
) -> float:
    """Return the cutoff of the ions' potential: at most half the smallest box of the salt."""
    edge = min(solution.box_edge(config.box.waters) for solution in solutions)
    most = round(edge / 2 - MARGIN_ANGSTROM, 3)
    wanted = section.pair_cutoff_angstrom or CoarseningSpec().pair_cutoff_angstrom
    return min(wanted, most)


def _charges(solution: Solution) -> dict[str, float]:
    salt = solution.salt
    return {ion.symbol: float(ion.charge) for ion in (salt.cation, salt.anion)}
