"""Let a training module use compiled code where that is possible, and NequIP's own where not.

The module, its weights, optimiser, average and checkpoints stay NequIP's; only its forward pass
is another. A training can change from one to the other at any checkpoint.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from nequip.data import AtomicDataDict

from bjerrum.errors import ModelError
from bjerrum.potential.fused.compiler import NoCompiler
from bjerrum.potential.fused.learning import CompiledTraining

FORCE_TOLERANCE = 2e-3
"""Largest difference from NequIP's forces on the first batch, relative to the largest force; what
is found is below 1e-4, and a network that is not understood gives differences of order 1."""

_LOG = logging.getLogger(__name__)


def compile_training(module: Any, settings: dict[str, Any]) -> str:
    """Replace the forward pass of a training module; return why that is not possible, or "".

    settings  the network's, of NequIP's input
    The first batch is evaluated both ways; if they differ, NequIP goes on alone.
    """
    try:
        compiled = _compiled(module, settings)
    except (NoCompiler, ModelError, AttributeError) as error:
        reason = str(error)
        _LOG.warning("Training without compiled code: %s", reason)
        return reason
    module.forward = _Forward(module, compiled)
    return ""


def _compiled(module: Any, settings: dict[str, Any]) -> CompiledTraining:
    if torch.cuda.is_available():
        raise ModelError("it runs on a GPU")
    hyperparameters = {k: v for k, v in settings.items() if k not in ("_target_", "seed")}
    if hyperparameters["model_dtype"] != "float32" or len(module.model) != 1:
        raise ModelError("expected one network in single precision")
    (network,) = module.model.values()
    return CompiledTraining(network, hyperparameters)


class _Forward:
    """The forward pass of a training module: compiled if it proves right."""

    def __init__(self, module: Any, compiled: CompiledTraining) -> None:
        self._plain = module.forward
        self._compiled = compiled
        self._is_checked = False

    def __call__(self, batch: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Return the batch with energies and forces."""
        if not self._is_checked:
            self._check(batch)
        with torch.enable_grad():
            output: AtomicDataDict.Type = (self._plain if self._failed else self._compiled)(batch)
        return output

    def _check(self, batch: AtomicDataDict.Type) -> None:
        ours = self._compiled(batch)[AtomicDataDict.FORCE_KEY].detach()
        exact = self._plain(batch)[AtomicDataDict.FORCE_KEY].detach()
        difference = float((ours - exact).abs().max() / exact.abs().max())
        self._failed = not difference < FORCE_TOLERANCE
        self._is_checked = True
        if self._failed:
            _LOG.warning(
                "Training without compiled code: its forces differ from NequIP's by %.1e of the "
                "largest", difference,
            )  # fmt: skip
