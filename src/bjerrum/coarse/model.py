"""A coarse-grained model on disk: a folder with a card and the coefficients of its committee.

coarse.json       what it is: ions, functions, baseline, temperature, data, measured errors, limits
coefficients.npz  eV; "mean" (n_coefficients,) and "committee" (n_members, n_coefficients)
networks.safetensors  weights of the many-body networks, where there are any
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from bjerrum import __version__
from bjerrum.coarse.basis import Basis
from bjerrum.coarse.network import IonNetwork, load_networks, save_networks
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, ModelError
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path, sha256_of, write_json
from bjerrum.potential.protocol import ForceFunction
from bjerrum.specification import Positive, Spec, validate_spec

COARSE_CARD: Final = "coarse.json"
COEFFICIENTS: Final = "coefficients.npz"
NETWORKS: Final = "networks.safetensors"
COARSE_LIMITS: Final = (
    "configurations only: diffusion and residence times of the model are not those of the solution",
    "other temperatures, and concentrations far outside those of its training, are extrapolation",
    "the pressure is osmotic, and only where the potential does not depend on concentration",
)


class CoarseCard(Spec):
    """What ``coarse.json`` holds.

    basis     as :meth:`Basis.to_json` writes it
    baseline  as :meth:`ScreenedCoulomb.to_json` writes it
    data      source, hash, frames and concentrations of the training data
    fit       how the forces were matched: variance explained, penalties, blocks
    errors    measured against all-atom distribution functions, where that was done
    polish    the correction on g(r), where there is one
    network   hyperparameters, hash and training of the many-body networks, where there are any
    """

    format: Literal["bjerrum-coarse/1"] = "bjerrum-coarse/1"
    name: str
    temperature_K: Positive  # noqa: N815
    basis: dict[str, Any]
    baseline: dict[str, Any]
    data: dict[str, Any]
    fit: dict[str, Any]
    errors: dict[str, Any]
    polish: dict[str, Any] | None = None
    network: dict[str, Any] | None = None
    limits: list[str]
    licence: str
    code_version: str
    weights_sha256: str = ""


@dataclass(frozen=True, eq=False)
class CoarseModel:
    """A coarse-grained model: usable as a potential of the ions.

    committee  coefficients of models fitted to blocks drawn with replacement
    """

    card: CoarseCard
    potential: CoarsePotential
    committee: FloatArray
    folder: Path | None = None

    @property
    def baseline(self) -> ScreenedCoulomb:
        """The screened Coulomb interaction that is part of the model."""
        return self.potential.baseline

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        return self.potential.bind(symbols, cell)

    @property
    def members(self) -> list[CoarsePotential]:
        """The potentials of the committee, each with one of the networks."""
        networks = self.potential.networks
        return [
            replace(
                self.potential,
                coefficients=c,
                networks=(networks[k % len(networks)],) if networks else (),
            )
            for k, c in enumerate(self.committee)
        ]


def coarse_models() -> dict[str, Path]:
    """Return the name and folder of each coarse-grained model that comes with the package."""
    root = Path(str(resources.files("bjerrum") / "models"))
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{COARSE_CARD}"))}


def is_coarse(name: str) -> bool:
    """Tell whether a folder or shipped name is a coarse-grained model."""
    return (Path(name) / COARSE_CARD).is_file() or name in coarse_models()


def load_coarse(name: str, *, baseline: ScreenedCoulomb | None = None) -> CoarseModel:
    """Load a coarse-grained model from a folder or by the name of a shipped one.

    baseline  the one that the caller intends to use; a model refuses any but its own
    Raises ModelError on damage or mismatch.
    """
    folder = Path(name) if (Path(name) / COARSE_CARD).is_file() else coarse_models().get(name)
    if folder is None:
        known = ", ".join(coarse_models()) or "none"
        raise ModelError(f"model {name!r}: expected a folder with {COARSE_CARD} or one of: {known}")
    card = _read_card(folder)
    own = ScreenedCoulomb.from_json(card.baseline)
    if baseline is not None and baseline != own:
        raise ModelError(
            f"model {card.name}: was trained with the baseline ({own}), asked to run with "
            f"({baseline}); use the model's own baseline or another model"
        )
    path = folder / COEFFICIENTS
    if not path.is_file() or sha256_of(path) != card.weights_sha256:
        raise ModelError(f"{path}: missing, or does not match the hash in {COARSE_CARD}")
    with np.load(path, allow_pickle=False) as data:
        mean, committee = data["mean"], data["committee"]
    basis = Basis.from_json(card.basis)
    if mean.shape != (basis.n_coefficients,):
        raise ModelError(f"{path}: expected {basis.n_coefficients} coefficients, got {mean.shape}")
    potential = CoarsePotential(basis, mean, own, _networks(card, folder))
    return CoarseModel(card, potential, committee, folder)


def _networks(card: CoarseCard, folder: Path) -> tuple[IonNetwork, ...]:
    if card.network is None:
        return ()
    path = folder / NETWORKS
    if not path.is_file() or sha256_of(path) != card.network["weights_sha256"]:
        raise ModelError(f"{path}: missing, or does not match the hash in {COARSE_CARD}")
    return load_networks(card.network["hyperparameters"], path)


def _read_card(folder: Path) -> CoarseCard:
    path = folder / COARSE_CARD
    try:
        return validate_spec(json.loads(path.read_text(encoding="utf-8")), CoarseCard, str(path))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise ModelError(str(error)) from error
        raise ModelError(f"{path}: expected a model card in JSON: {error}") from error


def save_coarse(model: CoarseModel, folder: Path) -> CoarseModel:
    """Write the folder of a model and return it with its hash and place."""
    weights = folder / COEFFICIENTS
    with atomic_path(weights) as temporary, temporary.open("wb") as file:
        np.savez(file, mean=model.potential.coefficients, committee=model.committee)
    network, networks = model.card.network, model.potential.networks
    if networks:
        path = save_networks(networks, folder / NETWORKS)
        network = {
            **(network or {}),
            "hyperparameters": networks[0].hyperparameters,
            "weights_sha256": sha256_of(path),
        }
    card = model.card.model_copy(
        update={
            "weights_sha256": sha256_of(weights),
            "network": network,
            "code_version": __version__,
        }
    )
    write_json(folder / COARSE_CARD, card.model_dump(mode="json"))
    return replace(model, card=card, folder=folder)
