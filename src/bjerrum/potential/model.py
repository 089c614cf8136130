"""A trained potential ready for use: the network for short range, screened Coulomb for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, ModelError
from bjerrum.estimate import FloatArray
from bjerrum.files import sha256_of
from bjerrum.potential.card import CARD, WEIGHTS, ModelCard, find_model, read_card
from bjerrum.potential.committee import NetworkCommittee, hash_of_members
from bjerrum.potential.nequip import NequipNetwork
from bjerrum.potential.protocol import BoundSum, ForceFunction, Potential
from bjerrum.potential.repulsion import Repulsion


@dataclass(frozen=True)
class Model:
    """A trained potential: the network for short range, screened Coulomb for the rest.

    network    one, or a committee of several
    repulsion  the wall where no data are, if the network needs one
    """

    card: ModelCard
    network: NequipNetwork | NetworkCommittee
    baseline: ScreenedCoulomb
    folder: Path
    repulsion: Repulsion | None = None

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function of the sum; terms "network", "coulomb" and "repulsion"."""
        parts: dict[str, Potential] = {"network": self.network, "coulomb": self.baseline}
        if self.repulsion is not None:
            parts["repulsion"] = self.repulsion
        return BoundSum({name: part.bind(symbols, cell) for name, part in parts.items()})

    @property
    def members(self) -> list[Model]:
        """The models of a committee, each with the committee's Coulomb part and wall."""
        return [replace(self, network=network) for network in self.network.members]


def require_device(device: str) -> None:
    """Raise InputError unless this machine has the device."""
    if device not in ("cpu", "cuda"):
        raise InputError(f"device: expected cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: expected a CUDA device for cuda, this machine has none")


def load_model(name: str, *, baseline: ScreenedCoulomb | None = None, device: str = "cpu") -> Model:
    """Load a model or a committee from a folder or by the name of a shipped one.

    baseline  the one that the caller intends to use; a model refuses any but its own
    device    cpu or cuda
    Raises ModelError on damage or mismatch, InputError for a device that is not there.
    """
    require_device(device)
    folder = find_model(name)
    card = read_card(folder)
    own = ScreenedCoulomb.from_json(card.baseline)
    if baseline is not None and baseline != own:
        raise ModelError(
            f"model {card.name}: was trained with the baseline ({own}), asked to run with "
            f"({baseline}); use the model's own baseline or another model"
        )
    repulsion = None if card.repulsion is None else Repulsion.from_json(card.repulsion)
    if card.members:
        committee = _load_members(folder, card, own, device)
        return Model(card, committee, own, folder, repulsion)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"{weights}: expected the model's weights, found none")
    if sha256_of(weights) != card.weights_sha256:
        raise ModelError(f"{weights}: does not match the hash in {CARD}; copy the model again")
    network = NequipNetwork(card.hyperparameters, weights, device)
    return Model(card, network, own, folder, repulsion)


def member_name(folder: Path, member: str) -> str:
    """Return what a committee's card calls a member, as a name to load it by."""
    inside = folder / member
    return str(inside) if (inside / CARD).is_file() else member


def _load_members(
    folder: Path, card: ModelCard, baseline: ScreenedCoulomb, device: str
) -> NetworkCommittee:
    """Load the networks of a committee; raise ModelError if they are not those it was made of."""
    networks: list[NequipNetwork] = []
    hashes = []
    for member in card.members:
        name = member_name(folder, member)
        if read_card(find_model(name)).members:
            raise ModelError(f"{folder / CARD}: member {member!r} is itself a committee")
        model = load_model(name, baseline=baseline, device=device)
        networks += model.network.members
        hashes.append(model.card.weights_sha256)
    if hash_of_members(hashes) != card.weights_sha256:
        raise ModelError(
            f"{folder / CARD}: its members are not those it was made of; copy the committee again "
            "or make it anew"
        )
    return NetworkCommittee(networks)
