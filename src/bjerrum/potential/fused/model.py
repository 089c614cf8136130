"""Models as dynamics uses them: compiled where that is possible, plain where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bjerrum.errors import InputError, ModelError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.committee import force_spread
from bjerrum.potential.fused.compiler import NoCompiler
from bjerrum.potential.fused.coulomb import BoundEwald, BoundWall
from bjerrum.potential.fused.network import FusedNetwork
from bjerrum.potential.model import Model
from bjerrum.potential.neighbours import VerletList
from bjerrum.potential.nequip import NequipNetwork
from bjerrum.potential.protocol import Potential

Choice = Literal["auto", "fused", "plain"]
SKIN = 1.0


@dataclass(frozen=True)
class Fast:
    """A potential for dynamics and how it is evaluated.

    how     "fused" or "plain"
    reason  why it is plain, where "auto" was asked for
    """

    potential: Potential
    how: str
    reason: str = ""


def for_dynamics(model: Model, choice: Choice = "auto") -> Fast:
    """Return the model compiled ("fused"), as it is ("plain"), or the faster that works ("auto").

    Raises NoCompiler or ModelError if "fused" was asked for and cannot be had.
    """
    if choice not in ("auto", "fused", "plain"):
        raise InputError(f"evaluation: expected auto, fused or plain, got {choice!r}")
    if choice == "plain":
        return Fast(model, "plain", "asked for")
    try:
        return Fast(FusedModel(model), "fused")
    except (NoCompiler, ModelError) as error:
        if choice == "fused":
            raise
        return Fast(model, "plain", str(error))


class FusedModel:
    """A model whose network, Coulomb part and wall are compiled code.

    Raises NoCompiler, or ModelError for a network of a form that is not known, or on a GPU.
    """

    def __init__(self, model: Model) -> None:
        members = model.network.members
        if not all(isinstance(member, NequipNetwork) for member in members):
            raise ModelError("fused network: expected networks of NequIP")
        if any(member.device.type != "cpu" for member in members):
            raise ModelError("fused network: runs on the CPU only")
        self.networks = tuple(FusedNetwork(member) for member in members)
        self.model = model
        self.elements = self.networks[0].elements
        self.cutoff = max(network.cutoff for network in self.networks)

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> BoundFused:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        missing = sorted(set(symbols) - set(self.elements))
        if missing:
            raise ModelError(
                f"model: expected only {', '.join(self.elements)}, the frame also holds "
                f"{', '.join(missing)}; use a model that was trained with them"
            )
        return BoundFused(self, list(symbols), np.array(cell, dtype=np.float64))


class BoundFused:
    """A compiled model for fixed elements and cell: positions in, energy, forces, virial out."""

    def __init__(self, model: FusedModel, symbols: list[str], cell: FloatArray) -> None:
        self._networks = model.networks
        self._types = [_types(network, symbols) for network in model.networks]
        self.coulomb = BoundEwald(model.model.baseline, symbols, cell)
        wall = model.model.repulsion
        self._wall = None if wall is None else BoundWall(wall, model.elements)
        reach = max(model.cutoff, 0.0 if self._wall is None else self._wall.reach)
        self.neighbours = VerletList(cell, reach, SKIN)

    def reset(self) -> None:
        """Search neighbours anew at the next call."""
        self.neighbours.reset()

    def __call__(self, positions: FloatArray) -> Evaluation:
        """Return the mean over the networks, Coulomb part and wall included."""
        return self._evaluate(positions)[0]

    def with_spread(self, positions: FloatArray) -> tuple[Evaluation, FloatArray]:
        """Return the evaluation and the spread of the networks' forces, shape (n_atoms,)."""
        evaluation, forces = self._evaluate(positions)
        return evaluation, force_spread(forces)

    def networks_alone(self, positions: FloatArray) -> None:
        """Evaluate the networks and nothing else, for timings."""
        pairs = self.neighbours.candidates(positions)
        for network, types in zip(self._networks, self._types, strict=True):
            network.evaluate(types, positions, pairs)

    def without_arithmetic(self) -> None:
        """Leave of every call only what Python does, for timings: results mean nothing then."""
        for part in (*self._networks, self.coulomb, self._wall):
            if part is not None:
                part.library = _Idle()

    @property
    def n_members(self) -> int:
        """Number of networks."""
        return len(self._networks)

    def _evaluate(self, positions: FloatArray) -> tuple[Evaluation, list[FloatArray]]:
        positions = np.ascontiguousarray(positions, dtype=np.float64)
        pairs = self.neighbours.candidates(positions)
        results = [
            network.evaluate(types, positions, pairs)
            for network, types in zip(self._networks, self._types, strict=True)
        ]
        energy, forces, virial = (sum(part) / len(results) for part in zip(*results, strict=True))
        coulomb = self.coulomb(positions)
        terms = {"network": float(energy), "coulomb": coulomb.energy}
        forces, virial = forces + coulomb.forces, virial + coulomb.virial
        if self._wall is not None:
            wall = self._wall.evaluate(self._types[0], positions, pairs)
            terms["repulsion"] = wall[0]
            forces, virial = forces + wall[1], virial + wall[2]
        evaluation = Evaluation(sum(terms.values()), forces, terms, virial)
        return evaluation, [result[1] for result in results]


class _Idle:
    """A library whose functions return at once."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: 0


def _types(network: FusedNetwork, symbols: list[str]) -> np.ndarray:
    index = {element: k for k, element in enumerate(network.elements)}
    return np.array([index[symbol] for symbol in symbols], dtype=np.int32)
