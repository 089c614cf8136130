"""From finished steps to the database: one run for each solution, with the chain behind it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bjerrum.campaign.measuring import CURVES, ESTIMATES, REASONS
from bjerrum.campaign.preparation import BOX
from bjerrum.campaign.wiring import Campaign, Measured
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

MAX_STEPS = 2000
"""Of a chain that is written out in full; a longer one keeps its labels' collection as its end."""


def run_record(campaign: Campaign, measured: Measured, store: Store) -> RunRecord | None:
    """Return a solution's finished measurements as a record; None if there is none yet."""
    done = [node for node in measured.measurements.values() if store.find(node.step)]
    if not done:
        return None
    found = [_read(store, node) for node in done]
    reasons = {name: why for data in found for name, why in data[REASONS].items()}
    steps = {one.hash: one for node in done for one in campaign.graph.chain(node)}
    ordered = [node for node in campaign.graph if node.hash in steps]
    return RunRecord(
        name=str(measured.solution),
        kind="campaign",
        campaign=campaign.config.name,
        solution=SolutionRecord.of(measured.solution),
        model=model_record(campaign, measured, store),
        estimates=[
            _estimate(entry, node)
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
        cost={"wall_seconds": sum(_seconds(store, node) for node in ordered)},
        document={"reasons": reasons, "waters": measured.n_waters},
    )


def _read(store: Store, node: Node) -> dict[str, Any]:
    folder = store.folder_of(node.step)
    return {
        name: json.loads((folder / name).read_text(encoding="utf-8"))
        for name in (ESTIMATES, CURVES, REASONS)
    }


def _estimate(entry: dict[str, Any], node: Node) -> EstimateRecord:
    data = entry["estimate"]
    return EstimateRecord.of(
        Estimate(**{key: data[key] for key in ("value", "standard_error", "unit", "n_effective")}),
        quantity=entry["quantity"],
        subject=entry["subject"],
        method=entry["method"],
        step=node.hash,
    )


def _step(node: Node) -> StepRecord:
    step = node.step
    return StepRecord(step.hash, step.name, step.version, step.parameters, step.inputs)


def _seconds(store: Store, node: Node) -> float:
    found = store.find(node.step)
    return 0.0 if found is None else found.wall_seconds


def _files(measured: Measured, store: Store) -> list[FileRecord]:
    path = store.folder_of(measured.boxes[0].step) / BOX
    return [FileRecord(BOX, "chemical/x-xyz", path.read_bytes())] if path.is_file() else []


def model_record(campaign: Campaign, measured: Measured, store: Store) -> ModelRecord | None:
    """Return what the solution's trajectories were made with."""
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


def record(
    campaign: Campaign, store: Store, place: str, only: list[Measured] | None = None
) -> Inserted:
    """Insert every finished solution into the database; what is there already stays as it is.

    only  these solutions
    Raises InputError or ExternalError for a database that cannot be opened or written.
    """
    chosen = campaign.measured if only is None else only
    runs = [run for one in chosen if (run := run_record(campaign, one, store)) is not None]
    with Database.open(place, create=True) as database:
        return database.insert(runs)
