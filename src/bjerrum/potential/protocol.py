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

    def __call__(self, positions: FloatArray) -> Evaluation:
        """Add up energies and forces of the parts."""
        results = {name: part(positions) for name, part in self._parts.items()}
        forces = np.sum([result.forces for result in results.values()], axis=0)
        terms = {name: result.energy for name, result in results.items()}
        return Evaluation(sum(terms.values()), forces, terms)
