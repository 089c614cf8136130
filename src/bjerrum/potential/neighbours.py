"""Verlet neighbour list: searched with a skin, reused until an atom has moved half of it.

Verlet, Phys. Rev. 159, 98 (1967). The search is vesin's; this module decides when to search again.
"""

from __future__ import annotations

import numpy as np

from bjerrum.estimate import FloatArray, IntArray


class VerletList:
    """Directed pairs within ``cutoff`` of each other in a fixed cell.

    cutoff, skin  angstrom
    The pairs are always exactly those within the cutoff; the skin only saves searches. Their
    order depends on when the last search was made: call :meth:`reset` at points from which a
    trajectory must be reproducible bit by bit.
    """

    def __init__(self, cell: FloatArray, cutoff: float, skin: float = 0.8) -> None:
        import vesin  # loads torch: late, so that planning does without

        self.cutoff = cutoff
        self.skin = skin
        self.n_searches = 0
        self._cell = np.ascontiguousarray(cell, dtype=np.float64)
        self._search = vesin.NeighborList(cutoff=cutoff + skin, full_list=True, sorted=True)
        self._anchor: FloatArray | None = None
        none = np.empty(0, dtype=np.int64)
        self._pairs = (none, none, np.empty((0, 3)), np.empty((0, 3)))

    def reset(self) -> None:
        """Forget the pairs found, so that the next call searches."""
        self._anchor = None

    def pairs(self, positions: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
        """Return the pairs: first atom, second atom, and the cell shift of the second.

        positions  shape (n_atoms, 3), angstrom
        Returns arrays of shapes (n_pairs,), (n_pairs,) and (n_pairs, 3); the vector from first to
        second is r[second] - r[first] + shift @ cell.
        """
        self._search_if_needed(positions)
        first, second, shifts, offsets = self._pairs
        vectors = positions[second] - positions[first] + offsets
        near = np.einsum("ij,ij->i", vectors, vectors) < self.cutoff**2
        return first[near], second[near], shifts[near]

    def candidates(self, positions: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
        """Return all pairs within the cutoff and some beyond it, for code that looks itself.

        Returns first atoms (sorted), second atoms, and the lattice vectors, shape (n_pairs, 3) in
        angstrom, to add to the second's position.
        """
        self._search_if_needed(positions)
        first, second, _, offsets = self._pairs
        return first, second, offsets

    @property
    def found(self) -> tuple[IntArray, IntArray, FloatArray]:
        """First atoms, second atoms and cell shifts of the last search, skin included."""
        return self._pairs[:3]

    def _search_if_needed(self, positions: FloatArray) -> None:
        if self._anchor is None or not _largest_move(positions, self._anchor) <= self.skin / 2:
            self.find(positions)  # also for NaN, which vesin refuses

    def find(self, positions: FloatArray) -> None:
        """Search the pairs at these positions, whatever was found before."""
        first, second, shifts = self._search.compute(
            positions, self._cell, periodic=True, quantities="ijS"
        )
        shifts = shifts.astype(np.float64)
        self._pairs = (
            first.astype(np.int64),
            second.astype(np.int64),
            shifts,
            shifts @ self._cell,
        )
        self._anchor = positions.copy()
        self.n_searches += 1


def _largest_move(positions: FloatArray, anchor: FloatArray) -> float:
    displacement = positions - anchor
    return float(np.sqrt(np.einsum("ij,ij->i", displacement, displacement).max()))
