"""S(k) of one run, chunk by chunk, that can be stored and taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import FrameError
from bjerrum.estimate import FloatArray
from bjerrum.properties.structure_factor import LatticeShells, ModeAccumulator, lattice_shells
from bjerrum.trajectory import TrajectoryChunk


class StructureFactorAccumulator:
    """Products of the density modes of every pair of species, for partial structure factors.

    symbols  of all atoms
    cell     vectors in rows, angstrom, (3, 3): chooses the wave vectors
    k_max    1/angstrom; default as :func:`~bjerrum.properties.structure_factor.lattice_shells`
    ``modes`` is what :func:`~bjerrum.properties.structure_factor.partial_structure_factors` takes.
    """

    def __init__(
        self, symbols: tuple[str, ...], cell: FloatArray, k_max: float | None = None
    ) -> None:
        self._prepare(tuple(symbols), lattice_shells(np.asarray(cell), k_max))

    def _prepare(self, symbols: tuple[str, ...], shells: LatticeShells) -> None:
        names = np.array(symbols)
        groups = {s: np.flatnonzero(names == s) for s in sorted(set(symbols))}
        self.symbols = symbols
        self.modes = ModeAccumulator(groups, shells)

    @property
    def n_frames(self) -> int:
        """Frames seen so far."""
        return self.modes.sums.n_frames

    def add(self, chunk: TrajectoryChunk) -> None:
        """Take the frames of a chunk; FrameError if the atoms change."""
        if chunk.symbols != self.symbols:
            raise FrameError("the atoms change within the trajectory")
        self.modes.add(chunk.positions, chunk.cells)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays; see :mod:`bjerrum.properties.accumulators`."""
        shells = self.modes.shells
        return {
            "symbols": np.array(self.symbols),
            "k": shells.k,
            "multiplicity": shells.multiplicity,
            "vectors": shells.vectors,
            **self.modes.sums.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> StructureFactorAccumulator:
        """Return an accumulator that goes on from a stored state."""
        accumulator = cls.__new__(cls)
        shells = LatticeShells(state["k"], state["multiplicity"], state["vectors"])
        accumulator._prepare(tuple(state["symbols"].tolist()), shells)
        accumulator.modes.sums.restore(state)
        return accumulator
