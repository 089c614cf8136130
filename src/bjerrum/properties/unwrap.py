"""Continuous paths from periodic coordinates, in the frame of the system's centre of mass.

Transport needs displacements. A trajectory whose atoms were put back into the cell is recognised by
jumps of about a cell length between frames, and made continuous by the shortest step. That is right
only if no atom really moves half a cell between two frames; where this cannot be told, the
trajectory is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray
from scipy.special import erfc

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray
from bjerrum.trajectory import TrajectoryChunk

LARGEST_STEP: Final = 0.4
"""Of a cell width, between two frames of a wrapped trajectory; half is where images mix."""

EXPECTED_MISTAKES: Final = 1e-3
"""Steps beyond half a cell that a normal distribution of the observed width lets expect."""

WRAPPED_EXTENT: Final = 1.5
"""Cell widths that wrapped atoms fill at most: molecules kept whole stick out a little."""

CELL_TOLERANCE: Final = 1e-4
"""Relative change of the cell at which it counts as constant."""


def masses_of(symbols: Sequence[str], replaced: Mapping[str, float] | None = None) -> FloatArray:
    """Return the masses of atoms, amu, (n_atoms,): natural elements but for ``replaced``.

    replaced  symbol -> amu, such as {"H": 2.014} for deuterium
    Raises InputError for masses that are not positive.
    """
    other = dict(replaced or {})
    if any(not 0 < mass < 1000 for mass in other.values()):
        raise InputError(f"masses are given in amu, such as H=2.014; got {other}")
    return np.array([other.get(s, float(atomic_masses[atomic_numbers[s]])) for s in symbols])


class Unwrapper:
    """Makes positions continuous, chunk by chunk, and removes the drift of the centre of mass.

    symbols      of all atoms
    masses       amu, (n_atoms,)
    keep_drift   leave the centre of mass where it moves
    name         of the trajectory, for messages
    """

    def __init__(
        self,
        symbols: Sequence[str],
        masses: FloatArray,
        *,
        keep_drift: bool = False,
        name: str = "the trajectory",
    ) -> None:
        self.symbols, self.masses = tuple(symbols), masses
        self.keep_drift, self.name = keep_drift, name
        self.cell: FloatArray | None = None
        self.n_frames = 0
        self.n_jumps = 0
        self._last_raw = np.zeros((len(masses), 3))
        self._last = np.zeros((len(masses), 3))
        self._start = np.zeros(3)
        self._squares = np.zeros((len(masses), 3))
        self._extremes = np.array([[np.inf] * 3, [-np.inf] * 3])
        self._largest = 0.0

    @property
    def was_wrapped(self) -> bool:
        """Whether jumps were found and taken out."""
        return self.n_jumps > 0

    def add(self, chunk: TrajectoryChunk) -> FloatArray:
        """Return the continuous positions of a chunk, (n_frames, n_atoms, 3), angstrom.

        Raises FrameError if the atoms or the cell change, or if frames are too far apart.
        """
        if chunk.symbols != self.symbols:
            raise FrameError(f"{self.name}: the atoms change within the trajectory")
        cell = self._constant_cell(chunk.cells)
        raw = chunk.positions.astype(np.float64)
        before = self._last_raw if self.n_frames else raw[0]
        inverse = np.linalg.inv(cell)
        steps = np.diff(raw, axis=0, prepend=before[None]) @ inverse
        images = np.rint(steps)
        self._record(raw @ inverse, steps - images, int(np.count_nonzero(images.any(axis=-1))))
        path = np.cumsum((steps - images) @ cell, axis=0)
        path += self._last if self.n_frames else raw[0]
        self.n_frames += len(raw)
        self._last_raw, self._last = raw[-1], path[-1].copy()
        return path if self.keep_drift else path - self._drift(path)

    def check(self) -> None:
        """Raise FrameError if what was unwrapped may not be right."""
        if not self.was_wrapped:
            return
        extent = float(np.ptp(self._extremes, axis=0).max())
        if extent > WRAPPED_EXTENT:
            raise FrameError(
                f"{self.name}: atoms leave the cell and yet step over more than half of it between "
                "frames: partly unwrapped, or frames too far apart; give unwrapped coordinates"
            )
        width = np.sqrt(self._squares / max(self.n_frames - 1, 1))
        mistakes = float(self.n_frames * erfc(0.5 / np.sqrt(2) / np.maximum(width, 1e-9)).sum())
        if self._largest > LARGEST_STEP or mistakes > EXPECTED_MISTAKES:
            raise FrameError(
                f"{self.name}: wrapped coordinates whose atoms move up to {self._largest:.2f} cell "
                "widths between frames cannot be unwrapped: write frames more often, or unwrapped"
            )

    def _constant_cell(self, cells: FloatArray) -> FloatArray:
        if self.cell is None:
            self.cell = np.array(cells[0])
        if np.abs(cells - self.cell).max() > CELL_TOLERANCE * np.abs(self.cell).max():
            raise FrameError(
                f"{self.name}: the cell changes: transport needs a constant volume (NVT or NVE)"
            )
        return self.cell

    def _record(self, fractions: FloatArray, steps: FloatArray, n_jumps: int) -> None:
        self.n_jumps += n_jumps
        self._squares += (steps**2).sum(axis=0)
        self._largest = max(self._largest, float(np.abs(steps).max()))
        low, high = fractions.min(axis=(0, 1)), fractions.max(axis=(0, 1))
        self._extremes = np.array(
            [np.minimum(self._extremes[0], low), np.maximum(self._extremes[1], high)]
        )

    def _drift(self, path: FloatArray) -> FloatArray:
        centre = np.einsum("fai,a->fi", path, self.masses) / self.masses.sum()
        if self.n_frames == len(path):
            self._start = centre[0].copy()
        return (centre - self._start)[:, None]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what is needed to go on, as arrays."""
        return {
            "cell": np.zeros((0, 3)) if self.cell is None else self.cell,
            "numbers": np.array([self.n_frames, self.n_jumps, int(self.keep_drift)]),
            "last_raw": self._last_raw,
            "last": self._last,
            "start": self._start,
            "squares": self._squares,
            "extremes": self._extremes,
            "largest": np.array(self._largest),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a stored state."""
        self.cell = state["cell"] if len(state["cell"]) else None
        self.n_frames, self.n_jumps, keep = (int(number) for number in state["numbers"])
        self.keep_drift = bool(keep)
        self._last_raw, self._last = state["last_raw"], state["last"]
        self._start, self._squares = state["start"], state["squares"]
        self._extremes, self._largest = state["extremes"], float(state["largest"])
