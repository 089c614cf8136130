"""The contract of everything that gives forces: labels' baseline, network, their sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from bjerrum.estimate import Evaluation, FloatArray

ForceFunction = Callable[[FloatArray], Evaluation]
"""Positions, shape (n_atoms, 3), angstrom, to energy (eV) and forces (eV/angstrom)."""


@runtime_checkable
class Resettable(Protocol):
    """A force function with a memory (a neighbour list) that can be told to forget it.

    Runs forget at every restart point, so that going on and starting there give the same bits.
    """

    def reset(self) -> None:
        """Forget everything that depends on earlier configurations."""
        ...


@runtime_checkable
class Doubtful(Protocol):
    """A force function of several networks, whose spread says where not to trust it."""

    @property
    def n_members(self) -> int:
        """Number of networks."""
        ...

    def with_spread(self, positions: FloatArray) -> tuple[Evaluation, FloatArray]:
        """Return the evaluation and the spread of the forces, shape (n_atoms,), eV/angstrom."""
        ...


class Potential(Protocol):
    """Anything that can be bound to a list of elements and a cell.

    Binding does once what does not change along a trajectory (atom types, reciprocal vectors,
    neighbour lists) and returns a plain function of the positions. Positions may be wrapped or
    not; the energy does not depend on it.
    """

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function of ``symbols`` in ``cell`` (rows are vectors, angstrom)."""
        ...


class BoundSum:
    """The force function of a sum of potentials; ``terms`` names each part's energy."""

    def __init__(self, parts: dict[str, ForceFunction]) -> None:
        self._parts = parts

    def reset(self) -> None:
        """Forget what the parts carried over from earlier configurations."""
        for part in self._parts.values():
            if isinstance(part, Resettable):
                part.reset()

    @property
    def n_members(self) -> int:
        """Number of networks of the part that is a committee; 1 where none is."""
        return max(getattr(part, "n_members", 1) for part in self._parts.values())

    def with_spread(self, positions: FloatArray) -> tuple[Evaluation, FloatArray]:
        """Return the evaluation and the spread of the committee's forces, shape (n_atoms,).

        The other parts are the same for all members. Without a committee the spread is zero.
        """
        results, spread = {}, np.zeros(len(positions))
        for name, part in self._parts.items():
            if isinstance(part, Doubtful) and part.n_members > 1:
                results[name], spread = part.with_spread(positions)
            else:
                results[name] = part(positions)
        return self._sum(results), spread

    def __call__(self, positions: FloatArray) -> Evaluation:
        """Add up energies and forces of the parts."""
        return self._sum({name: part(positions) for name, part in self._parts.items()})

    @staticmethod
    def _sum(results: dict[str, Evaluation]) -> Evaluation:
        forces = np.sum([result.forces for result in results.values()], axis=0)
        terms = {name: result.energy for name, result in results.items()}
        return Evaluation(sum(terms.values()), forces, terms)
