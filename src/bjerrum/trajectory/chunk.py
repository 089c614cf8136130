"""Frames of a trajectory in memory: a stretch of it at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from bjerrum.errors import FrameError
from bjerrum.estimate import FloatArray, IntArray

OBSERVABLE_UNITS: Final[Mapping[str, str]] = {
    "potential_energy": "eV",
    "coulomb_energy": "eV",
    "kinetic_energy": "eV",
    "total_energy": "eV",
    "kinetic_temperature": "K",
    "pressure": "bar",
    **{f"stress_{ab}": "eV angstrom-3" for ab in ("xx", "yy", "zz", "xy", "xz", "yz")},
    "committee_spread": "eV/angstrom",
    "watchdog": "1",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class TrajectoryChunk:
    """Consecutive frames of one system.

    symbols      chemical symbols, (n_atoms,)
    cell         angstrom: edges (3,), vectors in rows (3, 3), or one per frame (n_frames, 3, 3)
    steps        step numbers, (n_frames,)
    times_ps     (n_frames,); None where the file does not say
    positions    unwrapped where the source is, angstrom, (n_frames, n_atoms, 3)
    velocities   angstrom/fs, (n_frames, n_atoms, 3), or None
    observables  name -> series, each (n_frames,)
    units        of observables that are not in OBSERVABLE_UNITS
    metadata     facts about the whole trajectory
    Raises FrameError for shapes that do not fit, unknown symbols and non-finite numbers.
    """

    symbols: tuple[str, ...]
    cell: FloatArray
    steps: IntArray
    times_ps: FloatArray | None
    positions: NDArray[np.floating[Any]]
    velocities: NDArray[np.floating[Any]] | None = None
    observables: Mapping[str, FloatArray] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(str(symbol) for symbol in self.symbols))
        n_frames, n_atoms = len(self.steps), len(self.symbols)
        unknown = sorted(set(self.symbols) - set(chemical_symbols[1:]))
        if unknown:
            raise FrameError(f"not chemical symbols: {', '.join(unknown)}")
        expected = (n_frames, n_atoms, 3)
        for name, array in (("positions", self.positions), ("velocities", self.velocities)):
            if array is not None:
                _check_array(name, array, expected, self.steps)
        for name, values in self.observables.items():
            self.unit_of(name)
            _check_array(name, values, (n_frames,), self.steps)
        if self.times_ps is not None:
            _check_array("times_ps", self.times_ps, (n_frames,), self.steps)
        if np.shape(self.cell) not in ((3,), (3, 3), (n_frames, 3, 3)):
            raise FrameError(f"cell must have shape (3,), (3, 3) or ({n_frames}, 3, 3)")
        volumes = np.linalg.det(self.cells)
        if not (np.isfinite(volumes).all() and (np.abs(volumes) > 0).all()):
            raise FrameError("a trajectory needs a cell with a volume in every frame")

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.steps)

    @property
    def cells(self) -> FloatArray:
        """Cell vectors in rows, angstrom, shape (n_frames, 3, 3)."""
        cell = np.asarray(self.cell, dtype=np.float64)
        matrix = np.diag(cell) if cell.ndim == 1 else cell
        return np.broadcast_to(matrix, (self.n_frames, 3, 3))

    def unit_of(self, observable: str) -> str:
        """Return the unit of an observable; raises FrameError if it was not given."""
        unit = self.units.get(observable, OBSERVABLE_UNITS.get(observable))
        if unit is None:
            raise FrameError(f"observable {observable!r} has no unit: name it in units")
        return unit


def without_marked(chunks: Iterable[TrajectoryChunk]) -> Iterator[TrajectoryChunk]:
    """Yield the chunks without the frames that the watchdog of the dynamics marked.

    A trajectory without such marks passes as it is; nothing is removed from the file.
    """
    for chunk in chunks:
        marks = chunk.observables.get("watchdog")
        if marks is None or not marks.any():
            yield chunk
        elif (marks == 0).any():
            yield frames_of(chunk, np.flatnonzero(marks == 0))


def frames_of(chunk: TrajectoryChunk, index: IntArray) -> TrajectoryChunk:
    """Return the frames of a chunk with these numbers."""
    return replace(
        chunk,
        cell=chunk.cells[index],
        steps=chunk.steps[index],
        times_ps=None if chunk.times_ps is None else chunk.times_ps[index],
        positions=chunk.positions[index],
        velocities=None if chunk.velocities is None else chunk.velocities[index],
        observables={key: series[index] for key, series in chunk.observables.items()},
    )


def _check_array(
    name: str, array: NDArray[Any], expected: tuple[int, ...], steps: IntArray
) -> None:
    if np.shape(array) != expected:
        raise FrameError(f"{name} must have shape {expected}, got {np.shape(array)}")
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise FrameError(f"{name} holds NaN or infinity at step {steps[finite.argmin()]}")


def compact_cells(cells: FloatArray) -> FloatArray:
    """Return (n_frames, 3, 3) cells in the shortest form that TrajectoryChunk takes."""
    if (cells != cells[0]).any():
        return cells
    if (cells[0] == np.diag(np.diag(cells[0]))).all():
        return np.diag(cells[0]).copy()
    return np.array(cells[0])
