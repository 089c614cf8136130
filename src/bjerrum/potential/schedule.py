"""Learning rate as a pure function of the optimiser step, so that training can stop and go on."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupStableDecay(LRScheduler):
    """Linear warm-up, constant plateau, linear decay to a hundredth at the end.

    rate(step) = base * min((step + 1) / warmup, 1, (total - step) / (total - decay_start)).
    Source: Haegele et al., NeurIPS 2024, arXiv:2405.18392 (a plateau with a short cooldown equals
    a cosine of the same length, and the plateau can be prolonged later).

    Only the step count is kept in checkpoints: the horizon comes from the present configuration,
    which is what lets a finished training be extended.
    """

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, decay_start: int, total_steps: int
    ) -> None:
        self.warmup_steps = warmup_steps
        self.decay_start = decay_start
        self.total_steps = total_steps
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Return the rate at ``step`` relative to the base rate."""
        rise = (step + 1) / max(self.warmup_steps, 1)
        fall = (self.total_steps - step) / max(self.total_steps - self.decay_start, 1)
        return max(min(1.0, rise, fall), 0.01)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Return the rate of each parameter group."""
        return [float(base) * self.factor(self.last_epoch) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return the step count alone."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the step count of an earlier run."""
        self.last_epoch = int(state_dict["last_epoch"])
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
