"""NequIP networks behind the :class:`~bjerrum.potential.protocol.Potential` contract.

The network is rebuilt from its hyperparameters and a safetensors file of weights: a model folder
is data, never code. Networks of NequIP 0.19 (Batzner et al., Nat. Commun. 13, 2453 (2022)).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state
from safetensors import SafetensorError
from safetensors.torch import load_file

from bjerrum.errors import ModelError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.memory import reuse_freed_memory
from bjerrum.potential.neighbours import VerletList
from bjerrum.potential.protocol import ForceFunction


class NequipNetwork:
    """A trained network, eager, on the CPU or a CUDA device.

    hyperparameters  arguments of ``nequip.model.NequIPGNNModel``
    weights          safetensors file with the network's state
    Raises ModelError if the weights are not those of such a network.
    """

    def __init__(self, hyperparameters: dict[str, Any], weights: Path, device: str = "cpu") -> None:
        set_global_state()
        reuse_freed_memory()
        self.hyperparameters = dict(hyperparameters)
        self.elements: tuple[str, ...] = tuple(hyperparameters["type_names"])
        self.cutoff = float(hyperparameters["r_max"])
        self.device = torch.device(device)
        network = NequIPGNNModel(seed=0, **hyperparameters)
        try:
            network.load_state_dict(load_file(weights), strict=True)
        except (RuntimeError, OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{weights}: does not fit the network described: {reason}") from error
        self.network = network.to(self.device).eval().requires_grad_(requires_grad=False)

    @property
    def members(self) -> tuple[NequipNetwork, ...]:
        """The network itself: a committee of one."""
        return (self,)

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`.

        The cell may be thinner than the cutoff: every periodic image is a neighbour of its own.
        Raises ModelError for an element the network does not know.
        """
        missing = sorted(set(symbols) - set(self.elements))
        if missing:
            raise ModelError(
                f"model: expected only {', '.join(self.elements)}, the frame also holds "
                f"{', '.join(missing)}; use a model that was trained with them"
            )
        return _BoundNetwork(self, symbols, np.asarray(cell, dtype=np.float64))


class _BoundNetwork:
    """A network for fixed elements and cell: positions in, energy and forces out."""

    def __init__(self, model: NequipNetwork, symbols: Sequence[str], cell: FloatArray) -> None:
        index = {element: k for k, element in enumerate(model.elements)}
        self._network = model.network
        self._device = model.device
        self._types = torch.tensor([index[s] for s in symbols], device=model.device)
        self._cell = torch.from_numpy(cell).to(model.device)[None]
        self.neighbours = VerletList(cell, model.cutoff)

    def reset(self) -> None:
        """Search neighbours anew at the next call."""
        self.neighbours.reset()

    def __call__(self, positions: FloatArray) -> Evaluation:
        first, second, shifts = self.neighbours.pairs(positions)
        data = {
            AtomicDataDict.POSITIONS_KEY: torch.tensor(positions, device=self._device),
            AtomicDataDict.CELL_KEY: self._cell,
            AtomicDataDict.ATOM_TYPE_KEY: self._types,
            AtomicDataDict.EDGE_INDEX_KEY: torch.from_numpy(np.stack([first, second])).to(
                self._device
            ),
            AtomicDataDict.EDGE_CELL_SHIFT_KEY: torch.from_numpy(shifts).to(self._device),
        }
        output = self._network(data)
        return Evaluation(
            energy=output[AtomicDataDict.TOTAL_ENERGY_KEY].item(),
            forces=output[AtomicDataDict.FORCE_KEY].detach().cpu().numpy().astype(np.float64),
        )
