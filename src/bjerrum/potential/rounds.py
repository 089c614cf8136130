"""What happens after each round of a training: curve, checkpoints, best weights, the clock."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from safetensors import safe_open
from safetensors.torch import save_file

from bjerrum.errors import PhysicsCheckFailed
from bjerrum.files import atomic_path, write_json
from bjerrum.potential.curve import (
    FORCE_RMSE,
    curve_row,
    read_learning_curve,
    write_learning_curve,
)

BEST_WEIGHTS = "best.safetensors"
LAST = "last.ckpt"
PLATEAU = "plateau.ckpt"
PLATEAU_STEP = "plateau.json"
Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, validation force RMSE in meV/angstrom)."""


class Deadline(lightning.Callback):
    """Stops after a round if another one like it would not end in time."""

    def __init__(self, minutes: float | None) -> None:
        self._seconds = math.inf if minutes is None else 60 * minutes

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self._begin = self._round_begin = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Compare the time left with that of the round just done."""
        now = time.monotonic()
        if 2 * now - self._round_begin > self._begin + self._seconds:
            trainer.should_stop = True
        self._round_begin = now


class Journal(lightning.Callback):
    """After each round: the learning curve, a checkpoint, and the best weights so far."""

    def __init__(
        self, folder: Path, n_plateau_rounds: int, n_steps: int, progress: Progress
    ) -> None:
        self._folder = folder
        self._n_plateau_rounds = n_plateau_rounds
        self._n_steps = n_steps
        self._progress = progress

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Take up the order of the frames: NequIP reads its state, but after it was needed."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        data.train_generator.set_state(data.train_generator_state)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Record the round that has just been validated."""
        folder, step = self._folder, trainer.global_step
        metrics = trainer.callback_metrics
        rmse = 1e3 * float(metrics["val0_epoch/forces_rmse"])
        if not math.isfinite(rmse):
            raise diverged(f"the validation error is {rmse} after {step} steps")
        best = read_best(folder)
        if best is None or rmse < best[1]:
            _save_averaged_weights(pl_module, folder / BEST_WEIGHTS, step, rmse)
        curve = [row for row in read_learning_curve(folder) if row["step"] < step]
        energy = 1e3 * float(metrics.get("val0_epoch/per_atom_energy_rmse", math.nan))
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        write_learning_curve(folder, [*curve, curve_row(step, rate, rmse, energy)])
        with atomic_path(folder / LAST) as temporary:
            trainer.save_checkpoint(temporary)
        if trainer.current_epoch < self._n_plateau_rounds:
            with atomic_path(folder / PLATEAU) as temporary:
                shutil.copyfile(folder / LAST, temporary)
            write_json(folder / PLATEAU_STEP, {"step": step})
        self._progress(step, self._n_steps, rmse)


def read_best(folder: Path) -> tuple[int, float] | None:
    """Return step and validation force RMSE (meV/angstrom) of the best weights so far."""
    if not (folder / BEST_WEIGHTS).exists():
        return None
    with safe_open(folder / BEST_WEIGHTS, framework="pt") as file:
        found = file.metadata() or {}
    if found.keys() >= {"step", FORCE_RMSE}:
        return int(found["step"]), float(found[FORCE_RMSE])
    # weights from before they carried their step
    row = min(read_learning_curve(folder), key=lambda row: row[FORCE_RMSE])
    return int(row["step"]), row[FORCE_RMSE]


def _save_averaged_weights(module: Any, path: Path, step: int, rmse: float) -> None:
    """Write the moving average of the weights; the module's own weights are left as they were."""
    module.ema.swap_parameters(module.model)
    try:
        (model,) = module.model.values()
        tensors = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}
    finally:
        module.ema.swap_parameters(module.model)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"step": str(step), FORCE_RMSE: repr(rmse)})


def diverged(what: str) -> PhysicsCheckFailed:
    """Return the error of a training that has left the realm of numbers."""
    return PhysicsCheckFailed(
        f"training: {what}; lower optimiser.learning_rate and start again in another folder"
    )
