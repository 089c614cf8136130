"""A trained potential ready for use: the network for short range, screened Coulomb for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import ModelError
from bjerrum.estimate import FloatArray
from bjerrum.files import sha256_of
from bjerrum.potential.card import CARD, WEIGHTS, ModelCard, find_model, read_card
from bjerrum.potential.nequip import NequipNetwork
from bjerrum.potential.protocol import BoundSum, ForceFunction, Potential


@dataclass(frozen=True)
class Model:
    """A trained potential: the network for short range, screened Coulomb for the rest."""

    card: ModelCard
    network: NequipNetwork
    baseline: ScreenedCoulomb
    folder: Path

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function of network + Coulomb; terms "network" and "coulomb"."""
        parts: dict[str, Potential] = {"network": self.network, "coulomb": self.baseline}
        return BoundSum({name: part.bind(symbols, cell) for name, part in parts.items()})


def load_model(name: str, *, baseline: ScreenedCoulomb | None = None, device: str = "cpu") -> Model:
    """Load a model from a folder or by the name of a shipped one.

    baseline  the one that the caller intends to use; a model refuses any but its own
    Raises ModelError on damage or mismatch.
    """
    folder = find_model(name)
    card = read_card(folder)
    own = ScreenedCoulomb.from_json(card.baseline)
    if baseline is not None and baseline != own:
        raise ModelError(
            f"model {card.name}: was trained with the baseline ({own}), asked to run with "
            f"({baseline}); use the model's own baseline or another model"
        )
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"{weights}: expected the model's weights, found none")
    if sha256_of(weights) != card.weights_sha256:
        raise ModelError(f"{weights}: does not match the hash in {CARD}; copy the model again")
    return Model(card, NequipNetwork(card.hyperparameters, weights, device), own, folder)
