"""Model folders: where they are, and the card that says what is inside.

    model.json           :class:`ModelCard`: elements, cutoff, baseline, data, measured errors
    weights.safetensors  the network's state
    learning_curve.csv   validation error against optimiser step
    training.toml        the specification that the training was given

A committee's folder has a card alone, which names the folders of its members. Reading a card loads
no network.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, ModelError
from bjerrum.potential.repulsion import Repulsion
from bjerrum.specification import Count, Positive, Spec, validate_spec

CARD = "model.json"
WEIGHTS = "weights.safetensors"


class Hyperparameters(Spec):
    """The arguments of ``nequip.model.NequIPGNNModel`` that a card may hold, and no others.

    Among the others are some that name code to run; a model folder is data.
    """

    model_dtype: Literal["float32", "float64"]
    type_names: Annotated[list[str], Field(min_length=1)]
    r_max: Positive
    num_layers: Count
    l_max: Annotated[int, Field(ge=0)]
    parity: bool
    num_features: Count
    num_bessels: Count
    bessel_trainable: bool
    radial_mlp_depth: Count
    radial_mlp_width: Count
    polynomial_cutoff_p: Count
    avg_num_neighbors: Positive
    per_type_energy_scales: Positive
    per_type_energy_shifts: dict[str, float]


class ModelCard(Spec):
    """What ``model.json`` holds. Energies eV, lengths angstrom.

    hyperparameters see :class:`Hyperparameters`
    baseline        as :meth:`ScreenedCoulomb.to_json` writes it
    labels          what the network was trained to reproduce, in a sentence
    data            source file, its hash, the blocks and number of frames of each part
    errors          of the held-back test blocks, as ``bjerrum evaluate`` prints them
    repulsion       as :meth:`Repulsion.to_json` writes it; none if the network needs none
    members         folders (relative to this one) or names of the models of a committee, whose
                    mean this is; ``weights_sha256`` is then that of their hashes, and
                    ``hyperparameters`` are the first one's
    """

    format: Literal["bjerrum-potential/1"] = "bjerrum-potential/1"
    name: str
    backend: Literal["nequip"] = "nequip"
    backend_version: str
    hyperparameters: dict[str, Any]
    baseline: dict[str, Any]
    units: dict[str, str]
    weights_sha256: str
    labels: str
    data: dict[str, Any]
    errors: dict[str, Any]
    training: dict[str, Any]
    licence: str
    limits: list[str]
    code_version: str
    repulsion: dict[str, Any] | None = None
    members: list[str] = Field(default_factory=list)

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides a force: weights, architecture, baseline, wall."""
        parts = {
            "weights_sha256": self.weights_sha256,
            "hyperparameters": self.hyperparameters,
            "baseline": self.baseline,
            "repulsion": self.repulsion,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements that the network knows."""
        return tuple(self.hyperparameters["type_names"])

    @property
    def cutoff(self) -> float:
        """Cutoff of the network in angstrom."""
        return float(self.hyperparameters["r_max"])


def shipped_models() -> dict[str, Path]:
    """Return the name and folder of each model that comes with the package."""
    root = Path(str(resources.files("bjerrum") / "models"))
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{CARD}"))}


def find_model(name: str) -> Path:
    """Return the folder of a model given as a path or as a shipped name.

    Raises ModelError that lists the shipped ones.
    """
    if (Path(name) / CARD).is_file():
        return Path(name)
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    raise ModelError(
        f"model {name!r}: expected a folder with {CARD} or one of: {', '.join(shipped) or 'none'}"
    )


def read_card(folder: Path) -> ModelCard:
    """Read ``model.json``; raises ModelError if it is damaged or from another version."""
    path = folder / CARD
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: expected a model card in JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: expected a JSON object")
    try:
        card = validate_spec(data, ModelCard, str(path))
        validate_spec(card.hyperparameters, Hyperparameters, f"{path}: hyperparameters")
        ScreenedCoulomb.from_json(card.baseline)
        if card.repulsion is not None:
            Repulsion.from_json(card.repulsion)
    except InputError as error:
        raise ModelError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    return card
