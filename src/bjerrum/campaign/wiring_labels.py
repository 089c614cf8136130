"""The part of a campaign's graph that makes labels: boxes, configurations, labels of them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from bjerrum.campaign import kinds
from bjerrum.campaign.costs import LABEL_POWER
from bjerrum.campaign.spec import CampaignConfig, beside
from bjerrum.errors import InputError
from bjerrum.graph import Graph, Node
from bjerrum.reference.cp2k_settings import Cp2kSettings, resolved
from bjerrum.reference.egg_box import CALIBRATION_FRAMES, OFFSETS_ANGSTROM
from bjerrum.specification import validate_spec
from bjerrum.system import Solution
from bjerrum.units import PS_IN_FS

_STRIDE_PS = 0.2
"""Between the configurations of a classical sampling run."""


class LabelWiring:
    """Adds the steps up to the labels to a graph.

    settings   of the reference, with its file's content
    resources  how CP2K runs: no part of what a label is
    """

    def __init__(self, path: Path, config: CampaignConfig, graph: Graph) -> None:
        self.config, self.graph = config, graph
        self.settings = _settings(path, config)
        self.resources = {"ranks": config.reference.ranks, "threads": config.reference.threads}

    def n_atoms(self, solution: Solution) -> int:
        """Return the atoms of a solution's box."""
        return sum(solution.atom_counts(self.config.box.waters).values())

    def boxes(self, solution: Solution) -> list[Node]:
        """Return the steps that build a solution's boxes."""
        box = self.config.box
        return [
            self.graph.add(
                kinds.BUILD_BOX,
                {
                    **_named(solution),
                    "waters": box.waters,
                    "equilibration_ps": box.classical_equilibration_ps,
                    "seed": 1000 * box.seed + replica,
                },
                title=f"{solution}, box {replica + 1}",
                units=self.n_atoms(solution) * (box.classical_equilibration_ps + 2),
            )
            for replica in range(box.replicas)
        ]

    def frames(self, solution: Solution, boxes: list[Node]) -> list[Node]:
        """Return the steps that hold a solution's configurations to label."""
        reference, found = self.config.reference, []
        atoms = self.n_atoms(solution)
        size = atoms if reference.sampling == "classical" else atoms**2
        for replica, box in enumerate(boxes):
            title = f"{solution}, box {replica + 1}"
            run = {
                "time_ps": reference.sample_ps,
                "equilibrate_ps": round(reference.equilibration_part * reference.sample_ps, 6),
                "temperature": solution.temperature,
                "timestep_fs": 1.0,
                "friction_per_ps": 1.0 if reference.sampling == "classical" else 20.0,
                "frame_every_fs": _STRIDE_PS * PS_IN_FS,
                "seed": 1000 * self.config.box.seed + replica,
            }
            parameters: dict[str, Any] = {"run": run}
            if reference.sampling != "classical":
                run["frame_every_fs"] = 10.0
            trajectory = self.graph.add(
                kinds.SAMPLINGS[reference.sampling],
                parameters,
                {"box": box},
                title=title,
                units=size * reference.sample_ps,
                resources=self.resources,
            )
            block = f"{block_of(solution)}{replica + 1}"
            found.append(
                self.graph.add(
                    kinds.CHOOSE_FRAMES,
                    {"frames": reference.frames, "blocks": reference.blocks, "block": block},
                    {"trajectory": trajectory},
                    title=title,
                    units=reference.frames,
                )
            )
        return found

    def labels(
        self, frames: Node, n_frames: int, atoms: int, title: str, n_cells: int = 1
    ) -> list[Node]:
        """Return the steps that label the frames of one step, which lie in so many cells."""
        reference = self.config.reference
        tasks = -(-n_frames // reference.frames_per_task)
        work = float(n_frames * atoms)
        if reference.method != "classical":
            work = self._calculations(n_frames, n_cells) * atoms**LABEL_POWER
        return [
            self.graph.add(
                kinds.LABELS[reference.method],
                {**self.settings, "part": part, "parts": tasks},
                {"frames": frames},
                title=f"{title}, part {part + 1} of {tasks}",
                units=work / tasks,
                resources=self.resources,
            )
            for part in range(tasks)
        ]

    def _calculations(self, n_frames: int, n_cells: int) -> int:
        """Return how many calculations label frames: the correction of the grid error has its own.

        Taken as evenly spread over the cells.
        """
        content = {"method": self.config.reference.method, **(self.settings["settings"] or {})}
        settings = resolved(
            validate_spec(content, Cp2kSettings, "reference.settings"), n_frames // n_cells
        )
        displaced = 0
        if settings.grid_correction == "fit":
            displaced = n_cells * min(CALIBRATION_FRAMES, n_frames) * len(OFFSETS_ANGSTROM)
        return n_frames * settings.translations + displaced

    def collected(
        self,
        frames: list[tuple[Node, int, int, str]],
        earlier: Node | None,
        title: str,
        n_cells: int = 1,
    ) -> Node:
        """Label frames (step, number, atoms of each, title) and bring the labels together.

        n_cells  in which the frames of a step lie
        """
        needs: dict[str, Node] = {} if earlier is None else {"earlier": earlier}
        for k, (node, n_frames, atoms, name) in enumerate(frames):
            needs[f"frames_{k:03d}"] = node
            for j, part in enumerate(self.labels(node, n_frames, atoms, name, n_cells)):
                needs[f"frames_{k:03d}_part_{j:04d}"] = part
        return self.graph.add(
            kinds.COLLECT_LABELS,
            self.settings,
            needs,
            title=title,
            units=sum(n * atoms for _, n, atoms, _ in frames),
            resources=self.resources,
        )


def block_of(solution: Solution) -> str:
    """Return how the names of a solution's trajectory blocks begin."""
    return f"{solution.salt}-{solution.molality:g}-{solution.temperature:g}-"


def _named(solution: Solution) -> dict[str, Any]:
    return {
        "salt": solution.salt.formula,
        "molality_mol_per_kg": solution.molality,
        "temperature_K": solution.temperature,
    }


def _settings(path: Path, config: CampaignConfig) -> dict[str, Any]:
    """Return what determines a label, the content of the settings file included."""
    reference = config.reference
    file = beside(path, reference.settings)
    content: dict[str, Any] | None = None
    if file is not None:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: is not valid TOML: {error}") from error
    return {"method": reference.method, "settings": content}
