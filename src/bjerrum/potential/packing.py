"""From a training folder to a model folder: weights, card, measured errors, how to retrain."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bjerrum import __version__
from bjerrum.dataset import Dataset
from bjerrum.errors import InputError
from bjerrum.files import atomic_path, sha256_of
from bjerrum.potential.card import CARD, WEIGHTS, ModelCard
from bjerrum.potential.curve import FORCE_RMSE, LEARNING_CURVE, read_learning_curve
from bjerrum.potential.evaluate import evaluate
from bjerrum.potential.model import Model
from bjerrum.potential.nequip import NequipNetwork
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
| trained on | {n_train} frames of {source} (sha256 {sha256}), {steps} optimiser steps, \
weights of step {best_step} |
| force RMSE, unseen blocks | {rmse} |
| licence | {licence} |

Measured on {n_test} frames of blocks that training and early stopping never saw
({blocks}), by `bjerrum evaluate`; every figure is in `model.json`.

## Limits
{limits}

## Retrain
    bjerrum train FRAMES.extxyz --config training.toml -o {name}

`learning_curve.csv` is the validation error against the optimiser step of the training.
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
    test = dataset.of_blocks(prepared.split.test)
    if test:
        network = NequipNetwork(card.hyperparameters, weights)
        model = Model(card, network, prepared.spec.baseline.build(), output)
        card = card.model_copy(update={"errors": evaluate(model, test, on_frame=on_frame)})
    for source, name in (
        (prepared.folder / LEARNING_CURVE, LEARNING_CURVE),
        (config, "training.toml"),
        (weights, WEIGHTS),
    ):
        with atomic_path(output / name) as temporary:
            shutil.copyfile(source, temporary)
    for text, name in (
        (_readme(card), "README.md"),
        (json.dumps(card.model_dump(mode="json"), indent=1) + "\n", CARD),
    ):
        with atomic_path(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return card.errors


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
        baseline=spec.baseline.build().to_json(),
        units={"energy": "eV", "length": "angstrom", "force": "eV/angstrom"},
        weights_sha256=sha256_of(prepared.folder / BEST_WEIGHTS),
        labels=spec.card.labels or f"Trained on {provenance['dataset']['method']}.",
        data=provenance["dataset"],
        errors={},
        training={
            "settings": provenance["settings"],
            "steps": int(curve[-1]["step"]),
            "best_step": best[0],
            FORCE_RMSE: best[1],
        },
        licence=spec.card.licence,
        limits=spec.card.limits,
        code_version=__version__,
    )


def _readme(card: ModelCard) -> str:
    rmse = card.errors.get("force_rmse_meV_per_angstrom", {})
    listed = ", ".join(f"{name} {value:.1f}" for name, value in rmse.items())
    baseline = card.baseline
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
        n_train=card.data["n_frames"]["train"],
        source=card.data["source"],
        sha256=card.data["sha256"][:12],
        steps=card.training["steps"],
        best_step=card.training["best_step"],
        rmse=f"{listed} meV/angstrom" if listed else "not measured (no test blocks)",
        licence=card.licence,
        n_test=card.data["n_frames"]["test"],
        blocks=", ".join(card.data["blocks"]["test"]) or "none",
        limits="\n".join(f"- {limit}" for limit in card.limits) or "- none stated",
    )
