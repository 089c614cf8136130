"""From a training folder to a model folder: weights, card, measured errors, how to retrain.

A committee's folder holds a card alone, beside the folders of its members.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ase import Atoms

from bjerrum import __version__
from bjerrum.dataset import Dataset, spread_evenly
from bjerrum.errors import InputError, ModelError
from bjerrum.files import atomic_path, sha256_of
from bjerrum.potential.card import CARD, WEIGHTS, ModelCard, find_model, read_card
from bjerrum.potential.committee import hash_of_members
from bjerrum.potential.contacts import with_safe_contacts
from bjerrum.potential.curve import FORCE_RMSE, LEARNING_CURVE, read_learning_curve
from bjerrum.potential.evaluate import evaluate
from bjerrum.potential.model import Model, load_model
from bjerrum.potential.nequip import NequipNetwork
from bjerrum.potential.repulsion import Repulsion, fit_repulsion
from bjerrum.potential.rounds import BEST_WEIGHTS, read_best
from bjerrum.potential.training import NEQUIP_INPUT, PROVENANCE, PreparedTraining

README = """\
# {name}

{labels}

| | |
|---|---|
| elements | {elements} |
| network | NequIP {backend_version}, {n_layers} layers, l <= {l_max}, {n_features} features, \
cutoff {cutoff:g} angstrom |
| baseline | {baseline} |
| wall at contacts | {wall} |
| trained on | {n_train} frames of {source} (sha256 {sha256}), {steps} optimiser steps, \
weights of step {best_step} |
| force RMSE, unseen blocks | {rmse} |
| licence | {licence} |

Measured on {n_test} frames of blocks that training and early stopping never saw
({blocks}), by `bjerrum evaluate`; every figure is in `model.json`.

## Limits
{limits}

## Retrain
    bjerrum train FRAMES.extxyz --config training.toml{start} -o {name}

`learning_curve.csv` is the validation error against the optimiser step of the training.
"""


COMMITTEE_README = """\
# {name}

The mean of {n} models; their spread says where not to trust it.

{labels}

| member | training frames | force RMSE, unseen blocks |
|---|---|---|
{rows}

Force RMSE of the mean, on test blocks that no member has seen: {rmse}.

## Limits
{limits}
"""


def pack_model(
    prepared: PreparedTraining,
    dataset: Dataset,
    config: Path,
    output: Path,
    *,
    on_frame: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Write the model folder from the best weights so far; return the measured errors.

    config  the training TOML, copied beside the weights
    Raises InputError if the training has not finished a round yet.
    """
    weights = prepared.folder / BEST_WEIGHTS
    card = _card(prepared, output.resolve().name)
    network = NequipNetwork(card.hyperparameters, weights)
    model = Model(card, network, prepared.baseline, output)
    seen = spread_evenly(
        dataset.of_blocks(prepared.split.train), prepared.spec.split.training_frames
    )
    wall = fit_repulsion(seen, card.elements, 1.0)
    if prepared.start is not None and prepared.start.card.repulsion is not None:
        wall = wall.inside(Repulsion.from_json(prepared.start.card.repulsion))
    model = with_safe_contacts(model, wall)
    card = card.model_copy(update={"repulsion": _wall_of(model)})
    test = dataset.of_blocks(prepared.split.test)
    if test:
        errors = evaluate(model, test, ions=_ions(model), on_frame=on_frame)
        card = card.model_copy(update={"errors": errors})
    for source, name in (
        (prepared.folder / LEARNING_CURVE, LEARNING_CURVE),
        (config, "training.toml"),
        (weights, WEIGHTS),
    ):
        with atomic_path(output / name) as temporary:
            shutil.copyfile(source, temporary)
    _write_card(card, _readme(card), output)
    return card.errors


def pack_committee(
    members: Sequence[Path | str],
    output: Path,
    test: Sequence[Atoms] = (),
    *,
    on_frame: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Write the folder of a committee of models; return the errors of their mean.

    members  model folders inside ``output`` or elsewhere, or names of shipped models
    test     labelled frames that no member was trained on; without any, no errors are stated
    Raises ModelError if the members know different elements or have different baselines.
    """
    names = [_name_from(output, member) for member in members]
    cards = [read_card(find_model(str(member))) for member in members]
    first = cards[0]
    for card in cards:
        if card.members:
            raise ModelError(f"committee: expected models, got the committee {card.name}")
        if card.baseline != first.baseline:
            raise ModelError(
                f"committee: expected members of one baseline, got {first.baseline} of "
                f"{first.name} and {card.baseline} of {card.name}"
            )
    card = first.model_copy(
        update={
            "name": output.resolve().name,
            "members": names,
            "weights_sha256": hash_of_members([card.weights_sha256 for card in cards]),
            "errors": {},
            "repulsion": _strongest([card.repulsion for card in cards]),
            "training": {"members": [card.training for card in cards]},
            "limits": list(dict.fromkeys(limit for card in cards for limit in card.limits)),
        }
    )
    _write_card(card, _committee_readme(card, cards), output)
    if test:
        model = load_model(str(output))
        errors = evaluate(model, test, ions=_ions(model), on_frame=on_frame)
        card = card.model_copy(update={"errors": errors})
        _write_card(card, _committee_readme(card, cards), output)
    return card.errors


def unseen_frames(dataset: Dataset, members: Sequence[Path | str]) -> list[Atoms]:
    """Return the frames of the blocks that are test blocks of every member.

    Raises InputError if a member was trained on other frames, or if there are none.
    """
    cards = [read_card(find_model(str(member))) for member in members]
    for card in cards:
        if card.data.get("sha256") != dataset.sha256:
            raise InputError(f"{dataset.source}: {card.name} was trained on other frames")
    common = set.intersection(*(set(card.data["blocks"]["test"]) for card in cards))
    frames = dataset.of_blocks(sorted(common))
    if not frames:
        raise InputError(f"{dataset.source}: expected test blocks that all members share, got none")
    return frames


def _name_from(folder: Path, member: Path | str) -> str:
    """Return a member's folder relative to the committee's, or the name of a shipped model."""
    path = Path(member)
    if not (path / CARD).is_file():
        return str(member)
    return os.path.relpath(path.resolve(), folder.resolve())


def _strongest(walls: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return a wall as strong as any of the members' that no member's data feel."""
    given = [Repulsion.from_json(wall) for wall in walls if wall is not None]
    if not given:
        return None
    wall = reduce(Repulsion.inside, given)
    return replace(wall, strength=max(each.strength for each in given)).to_json()


def _ions(model: Model) -> list[str]:
    return [element for element, _ in model.baseline.charges]


def _wall_of(model: Model) -> dict[str, Any] | None:
    return None if model.repulsion is None else model.repulsion.to_json()


def _write_card(card: ModelCard, readme: str, output: Path) -> None:
    for text, name in (
        (readme, "README.md"),
        (json.dumps(card.model_dump(mode="json"), indent=1) + "\n", CARD),
    ):
        with atomic_path(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _card(prepared: PreparedTraining, name: str) -> ModelCard:
    """Return the card, errors still to be measured."""
    best = read_best(prepared.folder)
    if best is None:
        raise InputError(f"{prepared.folder}: expected {BEST_WEIGHTS}; train for a round first")
    provenance = json.loads((prepared.folder / PROVENANCE).read_text())
    configuration = json.loads((prepared.folder / NEQUIP_INPUT).read_text())
    hyperparameters = configuration["training_module"]["model"]
    curve = read_learning_curve(prepared.folder)
    spec = prepared.spec
    return ModelCard(
        name=name,
        backend_version=version("nequip"),
        hyperparameters={k: v for k, v in hyperparameters.items() if k not in {"_target_", "seed"}},
        baseline=prepared.baseline.to_json(),
        units={"energy": "eV", "length": "angstrom", "force": "eV/angstrom"},
        weights_sha256=sha256_of(prepared.folder / BEST_WEIGHTS),
        labels=spec.card.labels or f"Trained on {provenance['dataset']['method']}.",
        data=provenance["dataset"],
        errors={},
        training={
            "settings": provenance["settings"],
            **({"start": provenance["start"]} if "start" in provenance else {}),
            "steps": int(curve[-1]["step"]),
            "best_step": best[0],
            FORCE_RMSE: best[1],
        },
        licence=spec.card.licence,
        limits=spec.card.limits,
        code_version=__version__,
    )


def _readme(card: ModelCard) -> str:
    baseline, start = card.baseline, card.training.get("start")
    charges = ", ".join(f"{e} {q:+g}" for e, q in baseline["charges_e"].items())
    return README.format(
        name=card.name,
        labels=card.labels,
        elements=", ".join(card.elements),
        backend_version=card.backend_version,
        n_layers=card.hyperparameters["num_layers"],
        l_max=card.hyperparameters["l_max"],
        n_features=card.hyperparameters["num_features"],
        cutoff=card.cutoff,
        baseline=f"screened Coulomb of {charges} e, dielectric constant "
        f"{baseline['dielectric_constant']:g}",
        wall=_wall_text(card),
        n_train=card.data["n_frames"]["train"],
        source=card.data["source"],
        sha256=card.data["sha256"][:12],
        steps=card.training["steps"],
        best_step=card.training["best_step"],
        rmse=_rmse_text(card.errors),
        licence=card.licence,
        n_test=card.data["n_frames"]["test"],
        blocks=", ".join(card.data["blocks"]["test"]) or "none",
        limits=_limits_text(card),
        start=f" --from {start['model']}" if start else "",
    )


def _committee_readme(card: ModelCard, members: Sequence[ModelCard]) -> str:
    rows = [
        f"| {name} | {member.data.get('n_frames', {}).get('train', '?')} | "
        f"{_rmse_text(member.errors)} |"
        for name, member in zip(card.members, members, strict=True)
    ]
    return COMMITTEE_README.format(
        name=card.name,
        n=len(members),
        labels=card.labels,
        rows="\n".join(rows),
        rmse=_rmse_text(card.errors),
        limits=_limits_text(card),
    )


def _rmse_text(errors: dict[str, Any]) -> str:
    rmse = errors.get("force_rmse_meV_per_angstrom", {})
    listed = ", ".join(f"{name} {value:.1f}" for name, value in rmse.items())
    return f"{listed} meV/angstrom" if listed else "not measured (no test blocks)"


def _wall_text(card: ModelCard) -> str:
    if card.repulsion is None:
        return "none needed"
    wall = Repulsion.from_json(card.repulsion)
    bars = "".join(
        f"; a bar of {wall.gap_height:g} eV between {low:.2f} and {high:.2f} angstrom of "
        f"{'-'.join(pair)}, where no data are"
        for pair, (low, high) in wall.gaps
    )
    inside = f"ZBL, {wall.strength:g} times, inside the shortest distances of the data"
    return (inside if wall.outer else "no wall needed") + bars + " (see model.json)"


def _limits_text(card: ModelCard) -> str:
    return "\n".join(f"- {limit}" for limit in card.limits) or "- none stated"
