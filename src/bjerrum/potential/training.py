"""Train a NequIP potential on the short-ranged remainder of the labels; stop and go on at will.

A training folder holds everything: ``provenance.json`` (data and settings), the residual frames,
``nequip.json`` (NequIP's input, generated), checkpoints, the best weights so far and
``learning_curve.csv``. Calling :func:`train` again continues from the last finished round, as if
it had never stopped; with other ``steps`` than before it goes back to the last round of the
plateau and goes on from there.
"""

from __future__ import annotations

import json
import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import instantiate
from nequip.utils.global_state import set_global_state

from bjerrum.dataset import Dataset, Split, fit_energy_shifts, split_blocks, subtract_baseline
from bjerrum.errors import InputError
from bjerrum.files import write_json
from bjerrum.frames import write_frames
from bjerrum.memory import reuse_freed_memory
from bjerrum.potential.rounds import (
    LAST,
    PLATEAU,
    PLATEAU_STEP,
    Deadline,
    Journal,
    Progress,
    diverged,
)
from bjerrum.potential.schedule import WarmupStableDecay
from bjerrum.potential.spec import TrainingSpec, nequip_input

PROVENANCE = "provenance.json"
NEQUIP_INPUT = "nequip.json"
HORIZON = "horizon.json"


@dataclass(frozen=True)
class PreparedTraining:
    """A training folder that is ready to run."""

    folder: Path
    spec: TrainingSpec
    elements: tuple[str, ...]
    split: Split
    energy_shifts: dict[str, float]
    n_train: int

    @property
    def round_steps(self) -> int:
        """Optimiser steps between two validations; at most one pass over the frames."""
        batches = -(-self.n_train // self.spec.optimiser.batch_frames)
        return min(self.spec.optimiser.round_steps, batches)

    @property
    def n_rounds(self) -> int:
        """Rounds in all."""
        return max(1, round(self.spec.optimiser.steps / self.round_steps))

    @property
    def n_steps(self) -> int:
        """Optimiser steps in all."""
        return self.n_rounds * self.round_steps

    @property
    def n_plateau_rounds(self) -> int:
        """Rounds before the learning rate begins to fall."""
        return max(1, round((1 - self.spec.optimiser.cooldown_fraction) * self.n_rounds))


def prepare(dataset: Dataset, spec: TrainingSpec, folder: Path) -> PreparedTraining:
    """Split the data, subtract the baseline and write the training folder.

    Raises InputError if the folder belongs to other data or settings, or if the frames have no
    energies or lack an element that the settings name.
    """
    _require_fit(dataset, spec)
    split = split_blocks(
        dataset,
        n_validation=spec.split.validation_blocks,
        n_test=spec.split.test_blocks,
        seed=spec.split.seed,
    )
    baseline = spec.baseline.build()
    parts = {
        name: subtract_baseline(dataset.of_blocks(blocks), baseline)
        for name, blocks in asdict(split).items()
    }
    provenance = {
        "dataset": {
            "source": dataset.source,
            "sha256": dataset.sha256,
            "method": dataset.method,
            "n_frames": {name: len(frames) for name, frames in parts.items()},
            "blocks": {name: list(blocks) for name, blocks in asdict(split).items()},
        },
        "settings": spec.settings_that_must_match(),
    }
    _claim(folder, provenance)
    for name in ("train", "validation"):
        write_frames(folder / f"{name}.extxyz", parts[name])
    shifts = fit_energy_shifts(parts["train"], dataset.elements)
    return PreparedTraining(folder, spec, dataset.elements, split, shifts, len(parts["train"]))


def _require_fit(dataset: Dataset, spec: TrainingSpec) -> None:
    for key, named in (
        ("baseline.charges_e", spec.baseline.charges_e),
        ("optimiser.force_weights", spec.optimiser.force_weights),
    ):
        unknown = sorted(set(named) - set(dataset.elements))
        if unknown:
            raise InputError(
                f"{key}: {', '.join(unknown)} not in {dataset.source}, "
                f"which holds {', '.join(dataset.elements)}"
            )
    if any("energy" not in atoms.calc.results for atoms in dataset.frames):
        raise InputError(f"{dataset.source}: expected energies beside the forces, found none")


def _claim(folder: Path, provenance: dict[str, Any]) -> None:
    """Write the folder's provenance, or refuse a folder that was started from something else."""
    path = folder / PROVENANCE
    if path.exists():
        earlier = json.loads(path.read_text())
        for part in ("dataset", "settings"):
            if earlier[part] != provenance[part]:
                raise InputError(
                    f"{folder}: was started with another {part}; choose another output folder "
                    "or remove this one"
                )
        return
    write_json(path, provenance)


def train(
    prepared: PreparedTraining, *, progress: Progress, max_minutes: float | None = None
) -> None:
    """Run or continue the training; the best weights so far are always in the folder.

    max_minutes  begin no round that would not end in this time, but at least one
    Raises PhysicsCheckFailed if the validation error becomes NaN, InputError if the training has
    already gone further than the steps that are wanted.
    """
    checkpoint = _checkpoint_to_continue(prepared)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    set_global_state()
    reuse_freed_memory()
    lightning.seed_everything(prepared.spec.seed, verbose=False)
    configuration = _resolved_input(prepared)
    datamodule = _data_module(configuration, prepared.folder)
    module = _build_module(configuration["training_module"], datamodule, prepared)
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=prepared.n_rounds,
        limit_train_batches=prepared.round_steps,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        inference_mode=False,
        default_root_dir=prepared.folder,
        callbacks=[
            Journal(prepared.folder, prepared.n_plateau_rounds, prepared.n_steps, progress),
            Deadline(max_minutes),
        ],
    )
    with _lightning_tamed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's hints on workers and tree specs
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=False)


@contextmanager
def _lightning_tamed() -> Iterator[None]:
    """Let Ctrl-C be Ctrl-C, and a loss that is not a number an error of ours."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:  # Lightning exits on Ctrl-C, and ignores it from then on
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stopped
    except ZeroDivisionError as error:  # NequIP's mean over the elements whose error is a number
        raise diverged("the loss is not a number") from error


def _resolved_input(prepared: PreparedTraining) -> dict[str, Any]:
    """Return NequIP's input with the statistics of the training data filled in; keep a copy."""
    path = prepared.folder / NEQUIP_INPUT
    if path.exists():
        return json.loads(path.read_text())
    configuration = nequip_input(
        prepared.spec, elements=prepared.elements, energy_shifts=prepared.energy_shifts
    )
    statistics = _data_module(configuration, prepared.folder).get_statistics("train")
    configuration["training_module"]["model"] |= {
        "avg_num_neighbors": float(statistics["num_neighbors_mean"]),
        "per_type_energy_scales": float(statistics["forces_rms"]),
    }
    write_json(path, configuration)
    return configuration


def _data_module(configuration: dict[str, Any], folder: Path) -> Any:
    data = dict(configuration["data"])
    for key in ("train_file_path", "val_file_path"):
        data[key] = str(folder / data[key])
    return instantiate(data, _recursive_=False)


def _build_module(
    configuration: dict[str, Any], datamodule: Any, prepared: PreparedTraining
) -> lightning.LightningModule:
    scheduler = {
        "_target_": f"{WarmupStableDecay.__module__}.{WarmupStableDecay.__name__}",
        "warmup_steps": prepared.spec.optimiser.warmup_steps,
        "decay_start": prepared.n_plateau_rounds * prepared.round_steps,
        "total_steps": prepared.n_steps,
    }
    module = instantiate(
        configuration,
        lr_scheduler={"scheduler": scheduler, "interval": "step"},
        _recursive_=False,
        _convert_="all",
        num_datasets=datamodule.num_datasets,
    )
    module.world_size = 1
    return module


def _checkpoint_to_continue(prepared: PreparedTraining) -> Path | None:
    """Return the last checkpoint, or the plateau's last if the horizon has changed since."""
    horizon_file = prepared.folder / HORIZON
    horizon = {"n_rounds": prepared.n_rounds, "n_plateau_rounds": prepared.n_plateau_rounds}
    last, plateau = prepared.folder / LAST, prepared.folder / PLATEAU
    is_changed = horizon_file.exists() and json.loads(horizon_file.read_text()) != horizon
    if is_changed and plateau.exists():
        _require_steps_to_do(prepared)
        last.unlink(missing_ok=True)
    write_json(horizon_file, horizon)
    return next((path for path in (last, plateau) if path.exists()), None)


def _require_steps_to_do(prepared: PreparedTraining) -> None:
    """Refuse a horizon that the plateau has already passed."""
    path = prepared.folder / PLATEAU_STEP
    done = json.loads(path.read_text())["step"] if path.exists() else 0
    if prepared.n_steps <= done:
        raise InputError(
            f"optimiser.steps: {prepared.folder} has done {done} steps before any cooldown; "
            f"expected more, got {prepared.n_steps}"
        )
