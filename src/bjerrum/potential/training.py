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
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import instantiate
from nequip.utils.global_state import set_global_state

from bjerrum.errors import InputError, ModelError
from bjerrum.files import write_json
from bjerrum.memory import reuse_freed_memory
from bjerrum.potential.fused.attach import compile_training
from bjerrum.potential.preparation import PROVENANCE, PreparedTraining, prepare
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
from bjerrum.potential.spec import nequip_input
from bjerrum.potential.starting import data_statistics, initial_state, load_initial_state

__all__ = ["HORIZON", "NEQUIP_INPUT", "PROVENANCE", "PreparedTraining", "prepare", "train"]

NEQUIP_INPUT = "nequip.json"
HORIZON = "horizon.json"
_UNSAFE = "Weights only load failed"
_UNFIT = ("state_dict", "PytorchStreamReader", _UNSAFE)
"""In messages of Lightning and PyTorch about checkpoints."""
_STATISTICS = {"avg_num_neighbors": "num_neighbors_mean", "per_type_energy_scales": "forces_rms"}
"""What of the network depends on the training data, and what NequIP calls it."""


def train(
    prepared: PreparedTraining,
    *,
    progress: Progress,
    max_minutes: float | None = None,
    compiled: bool = True,
) -> None:
    """Run or continue the training; the best weights so far are always in the folder.

    max_minutes  begin no round that would not end in this time, but at least one
    compiled     use compiled code on the CPU if that is possible
    Raises PhysicsCheckFailed if the validation error becomes NaN, InputError if the training has
    already gone further than the steps that are wanted, ModelError if the checkpoint is damaged or
    that of another network.
    """
    checkpoint = _checkpoint_to_continue(prepared)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    set_global_state()
    reuse_freed_memory()
    lightning.seed_everything(prepared.spec.seed, verbose=False)
    configuration = _resolved_input(prepared)
    datamodule = _data_module(configuration, prepared.folder)
    module = _build_module(configuration["training_module"], datamodule, prepared)
    if checkpoint is None and prepared.start is not None:
        state = initial_state(prepared.start, prepared.elements, prepared.relatives)
        load_initial_state(module, state, prepared.start.folder)
    if compiled:
        compile_training(module, configuration["training_module"]["model"])
    with _lightning_tamed(), _checkpoint_named(checkpoint), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's hints on workers, tree specs and srun
        trainer = _trainer(prepared, progress, max_minutes)
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)


def _trainer(
    prepared: PreparedTraining, progress: Progress, max_minutes: float | None
) -> lightning.Trainer:
    return lightning.Trainer(
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


@contextmanager
def _checkpoint_named(checkpoint: Path | None) -> Iterator[None]:
    """Turn a checkpoint that is damaged or of another network into one line."""
    if checkpoint is not None and not zipfile.is_zipfile(checkpoint):
        raise _unfit(checkpoint, "the file is cut short")
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())
        if checkpoint is None or not any(sign in text for sign in _UNFIT):
            raise
        if _UNSAFE in text:
            text = "it holds code beside numbers, which is not run"
        raise _unfit(checkpoint, text[:160]) from error


def _unfit(checkpoint: Path, reason: str) -> ModelError:
    return ModelError(
        f"{checkpoint}: expected a checkpoint of the network that the settings describe, got one "
        f"that is damaged or of another architecture ({reason}); remove it, or train in another "
        "folder"
    )


def _resolved_input(prepared: PreparedTraining) -> dict[str, Any]:
    """Return NequIP's input with the statistics of the training data filled in; keep a copy.

    It names what is called, so that it is made from the settings each time; of a copy that is
    there, whoever wrote it, only the statistics are read, which are numbers.
    """
    path = prepared.folder / NEQUIP_INPUT
    configuration = nequip_input(
        prepared.spec,
        elements=prepared.elements,
        energy_shifts=prepared.energy_shifts,
        with_energies=prepared.with_energies,
    )
    statistics: dict[str, Any] | None
    if prepared.start is not None:
        statistics = data_statistics(prepared.start)
    else:
        statistics = _kept_statistics(path)
    if statistics is None:
        found = _data_module(configuration, prepared.folder).get_statistics("train")
        statistics = {ours: float(found[theirs]) for ours, theirs in _STATISTICS.items()}
    configuration["training_module"]["model"] |= statistics
    write_json(path, configuration)
    return configuration


def _kept_statistics(path: Path) -> dict[str, Any] | None:
    try:
        model = json.loads(path.read_text(encoding="utf-8"))["training_module"]["model"]
        return {name: float(model[name]) for name in _STATISTICS}
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
