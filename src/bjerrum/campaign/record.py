"""From finished steps to the database: one run for each solution, with the chain behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bjerrum.campaign.document import Part, document_of
from bjerrum.campaign.measuring import CURVES, ESTIMATES, REASONS
from bjerrum.campaign.preparation import BOX
from bjerrum.campaign.thermodynamics import MODEL
from bjerrum.campaign.wiring import Campaign, Measured
from bjerrum.campaign.wiring_thermodynamics import Solved
from bjerrum.coarse.model import COARSE_CARD
from bjerrum.database import (
    CurveRecord,
    Database,
    EstimateRecord,
    FileRecord,
    Inserted,
    ModelRecord,
    RunRecord,
    SolutionRecord,
    StepRecord,
)
from bjerrum.estimate import Estimate
from bjerrum.graph import Node
from bjerrum.potential.card import CARD, ModelCard, read_card
from bjerrum.reference.classical_force_fields import ClassicalSettings, force_field_of
from bjerrum.store import Store
from bjerrum.system import Solution

MAX_STEPS = 2000
"""Of a chain that is written out in full; a longer one keeps its labels' collection as its end."""


def run_record(campaign: Campaign, measured: Part, store: Store) -> RunRecord | None:
    """Return the finished measurements of a solution, or of a salt; None if there is none yet."""
    done = [node for node in measured.measurements.values() if store.find(node.step)]
    if not done:
        return None
    found = [_read(store, node) for node in done]
    reasons = {name: why for data in found for name, why in data[REASONS].items()}
    steps = {one.hash: one for node in done for one in campaign.graph.chain(node)}
    ordered = [node for node in campaign.graph if node.hash in steps]
    return RunRecord(
        name=_name(measured),
        kind="campaign",
        campaign=campaign.config.name,
        solution=SolutionRecord.of(measured.solution),
        model=model_record(campaign, measured, store),
        estimates=[
            _estimate(entry, node, measured.solution)
            for node, data in zip(done, found, strict=True)
            for entry in data[ESTIMATES]
        ],
        curves=[
            CurveRecord(**entry, step=node.hash)
            for node, data in zip(done, found, strict=True)
            for entry in data[CURVES]
        ],
        steps=[_step(node) for node in ordered[-MAX_STEPS:]],
        files=_files(measured, store),
        cost=_cost(store, ordered),
        document={
            "reasons": reasons,
            **document_of(campaign, measured, store, _force_field(campaign)),
        },
    )


def _name(measured: Part) -> str:
    if isinstance(measured, Measured):
        return measured.name
    solution = measured.solution
    return f"{solution.salt} at {solution.temperature:g} K: osmotic and activity coefficients"


def _read(store: Store, node: Node) -> dict[str, Any]:
    folder = store.folder_of(node.step)
    return {
        name: json.loads((folder / name).read_text(encoding="utf-8"))
        for name in (ESTIMATES, CURVES, REASONS)
    }


def _estimate(entry: dict[str, Any], node: Node, solution: Solution) -> EstimateRecord:
    """Return an estimate; that of a salt names the solution that it is of."""
    data, molality = entry["estimate"], entry.get("molality_mol_per_kg")
    other = None
    if molality is not None:
        other = SolutionRecord.of(Solution(solution.salt, molality, solution.temperature))
    return EstimateRecord.of(
        Estimate(**{key: data[key] for key in ("value", "standard_error", "unit", "n_effective")}),
        quantity=entry["quantity"],
        subject=entry["subject"],
        method=entry["method"],
        step=node.hash,
        solution=other,
    )


def _step(node: Node) -> StepRecord:
    step = node.step
    return StepRecord(step.hash, step.name, step.version, step.parameters, step.inputs)


def _cost(store: Store, nodes: list[Node]) -> dict[str, float]:
    results = [found for node in nodes if (found := store.find(node.step)) is not None]
    return {
        "wall_seconds": sum(result.wall_seconds for result in results),
        "cpu_seconds": sum(result.cpu_seconds for result in results),
    }


def _files(measured: Part, store: Store) -> list[FileRecord]:
    if isinstance(measured, Solved):
        return []
    path = store.folder_of(measured.boxes[0].step) / BOX
    return [FileRecord(BOX, "chemical/x-xyz", path.read_bytes())] if path.is_file() else []


def model_record(campaign: Campaign, measured: Part, store: Store) -> ModelRecord | None:
    """Return what the solution's trajectories were made with, or the ions' model of a salt."""
    if isinstance(measured, Solved):
        return _ions_of(campaign, measured, store)
    if measured.model is not None:
        folder = store.folder_of(measured.model.step) / str(measured.solution.salt)
        return _model_of(read_card(folder), folder)
    if campaign.card is not None:
        return _model_of(campaign.card, None)
    force_field = force_field_of(_force_field(campaign))
    return ModelRecord(
        name=force_field.name,
        sha256=_sha256(repr(force_field)),
        labels="classical force field",
        document={"citation": force_field.citation},
    )


def _ions_of(campaign: Campaign, solved: Solved, store: Store) -> ModelRecord | None:
    folder = store.folder_of(solved.ions.step) / MODEL
    document = json.loads((folder / COARSE_CARD).read_text(encoding="utf-8"))
    forces = solved.ions.step.parameters.get("force_field")
    return ModelRecord(
        name=f"{solved.solution.salt} ions alone, {campaign.config.name}",
        sha256=document["weights_sha256"],
        labels=f"forces on the ions by {forces or 'the simulating model'}, mean over the water",
        code_version=document["code_version"],
        document=document,
    )


def _force_field(campaign: Campaign) -> str:
    content = campaign.settings["settings"] or {}
    return str(content.get("force_field", ClassicalSettings().force_field))


def _model_of(card: ModelCard, folder: Path | None) -> ModelRecord:
    document = card.model_dump(mode="json")
    if folder is not None:
        document = json.loads((folder / CARD).read_text(encoding="utf-8"))
    return ModelRecord(
        name=card.name,
        sha256=card.identity,
        labels=card.labels,
        code_version=card.code_version,
        document=document,
    )


def _sha256(text: str) -> str:

    return hashlib.sha256(text.encode()).hexdigest()


def finished_runs(
    campaign: Campaign, store: Store, only: Sequence[Part] | None = None
) -> list[RunRecord]:
    """Return the runs of those solutions and salts of which something is measured.

    only  these; default all
    """
    chosen = campaign.parts if only is None else only
    return [run for one in chosen if (run := run_record(campaign, one, store)) is not None]


def record(
    campaign: Campaign, store: Store, place: str, only: Sequence[Part] | None = None
) -> Inserted:
    """Insert every finished solution into the database; what is there already stays as it is.

    only  these solutions and salts
    Raises InputError or ExternalError for a database that cannot be opened or written.
    """
    runs = finished_runs(campaign, store, only)
    with Database.open(place, create=True) as database:
        return database.insert(runs)
