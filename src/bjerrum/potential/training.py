"""Train a NequIP potential on the short-ranged remainder of the labels; stop and go on at will.

A training folder holds everything: ``provenance.json`` (data and settings), the residual frames,
``nequip.json`` (NequIP's input, generated), checkpoints, the best weights so far and
``learning_curve.csv``. Calling :func:`train` again continues from the last finished round; with
more steps than before it goes back to the end of the plateau and prolongs that.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import instantiate
from nequip.utils.global_state import set_global_state
from safetensors.torch import save_file

from bjerrum.dataset import Dataset, Split, fit_energy_shifts, split_blocks, subtract_baseline
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.files import atomic_path
from bjerrum.frames import write_frames
from bjerrum.potential.curve import (
    FORCE_RMSE,
    curve_row,
    read_learning_curve,
    write_learning_curve,
)
from bjerrum.potential.schedule import WarmupStableDecay
from bjerrum.potential.spec import TrainingSpec, nequip_input

BEST_WEIGHTS = "best.safetensors"
PROVENANCE = "provenance.json"
Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, validation force RMSE in meV/angstrom)."""


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
    def n_plateau_rounds(self) -> int:
        """Rounds before the learning rate begins to fall."""
        return max(1, round((1 - self.spec.optimiser.cooldown_fraction) * self.n_rounds))


def prepare(dataset: Dataset, spec: TrainingSpec, folder: Path) -> PreparedTraining:
    """Split the data, subtract the baseline and write the training folder.

    Raises InputError if the folder belongs to other data or settings.
    """
    unknown = set(spec.baseline.charges_e) - set(dataset.elements)
    if unknown:
        raise InputError(
            f"baseline.charges_e: {sorted(unknown)} do not occur in {dataset.source}, "
            f"which holds {list(dataset.elements)}"
        )
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
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(provenance, indent=1))


def train(
    prepared: PreparedTraining, *, progress: Progress, max_minutes: float | None = None
) -> None:
    """Run or continue the training; the best weights so far are always in the folder.

    max_minutes  stop after this time; what the unfinished round learnt is lost
    Raises PhysicsCheckFailed if the validation error becomes NaN.
    """
    set_global_state()
    lightning.seed_everything(prepared.spec.seed, verbose=False)
    configuration = _resolved_input(prepared)
    datamodule = _data_module(configuration, prepared.folder)
    module = _build_module(configuration["training_module"], datamodule, prepared)
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=prepared.n_rounds,
        limit_train_batches=prepared.round_steps,
        max_time=None if max_minutes is None else timedelta(minutes=max_minutes),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        inference_mode=False,
        default_root_dir=prepared.folder,
        callbacks=[_Journal(prepared, progress)],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's hints on workers and tree specs
        checkpoint = _checkpoint_to_continue(prepared)
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=False)


def _resolved_input(prepared: PreparedTraining) -> dict[str, Any]:
    """Return NequIP's input with the statistics of the training data filled in; keep a copy."""
    path = prepared.folder / "nequip.json"
    if path.exists():
        return json.loads(path.read_text())
    configuration = nequip_input(
        prepared.spec, elements=prepared.elements, energy_shifts=prepared.energy_shifts
    )
    statistics = _data_module(configuration, prepared.folder).get_statistics("train")
    model = configuration["training_module"]["model"]
    model["avg_num_neighbors"] = float(statistics["num_neighbors_mean"])
    model["per_type_energy_scales"] = float(statistics["forces_rms"])
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(configuration, indent=1))
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
        "total_steps": prepared.n_rounds * prepared.round_steps,
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
    """Return the last checkpoint, or the end of the plateau if the horizon has changed since."""
    horizon_file = prepared.folder / "horizon.json"
    horizon = {"n_rounds": prepared.n_rounds, "n_plateau_rounds": prepared.n_plateau_rounds}
    earlier = json.loads(horizon_file.read_text()) if horizon_file.exists() else horizon
    with atomic_path(horizon_file) as temporary:
        temporary.write_text(json.dumps(horizon))
    last, plateau = prepared.folder / "last.ckpt", prepared.folder / "plateau.ckpt"
    if earlier != horizon and plateau.exists():
        last.unlink(missing_ok=True)
        return plateau
    return last if last.exists() else None


class _Journal(lightning.Callback):
    """After each round: the learning curve, a checkpoint, and the best weights so far."""

    def __init__(self, prepared: PreparedTraining, progress: Progress) -> None:
        self._prepared = prepared
        self._progress = progress

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Record the round that has just been validated."""
        folder, step = self._prepared.folder, trainer.global_step
        metrics = trainer.callback_metrics
        rmse = 1e3 * float(metrics["val0_epoch/forces_rmse"])
        if not math.isfinite(rmse):
            raise PhysicsCheckFailed(
                f"training: the validation error is {rmse} after {step} steps; lower the "
                "learning rate and start again"
            )
        curve = read_learning_curve(folder)
        curve = [row for row in curve if row["step"] < step]
        if all(rmse < row[FORCE_RMSE] for row in curve):
            _save_averaged_weights(pl_module, folder / BEST_WEIGHTS)
        energy = 1e3 * float(metrics["val0_epoch/per_atom_energy_rmse"])
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        write_learning_curve(folder, [*curve, curve_row(step, rate, rmse, energy)])
        _save_checkpoint(trainer, folder / "last.ckpt")
        if trainer.current_epoch + 1 == self._prepared.n_plateau_rounds:
            _save_checkpoint(trainer, folder / "plateau.ckpt")
        self._progress(step, self._prepared.n_rounds * self._prepared.round_steps, rmse)


def _save_checkpoint(trainer: lightning.Trainer, path: Path) -> None:
    with atomic_path(path) as temporary:
        trainer.save_checkpoint(temporary)


def _save_averaged_weights(module: Any, path: Path) -> None:
    """Write the moving average of the weights; the module's own weights are left as they were."""
    module.ema.swap_parameters(module.model)
    try:
        (model,) = module.model.values()
        tensors = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}
    finally:
        module.ema.swap_parameters(module.model)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
