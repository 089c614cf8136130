"""The paths of ions and water oxygens, thinned so that memory stays bounded whatever the length.

Frames are read in chunks, made continuous (:mod:`bjerrum.properties.unwrap`) and kept at every
``stride``-th frame; when the budget is full, every second kept frame is dropped and the stride
doubles. A diffusion coefficient needs no resolution finer than a thousandth of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.properties.unwrap import Unwrapper, masses_of
from bjerrum.trajectory import TrajectoryChunk

MEMORY_BYTES: Final = 256 * 2**20
"""For the kept paths of one trajectory, single precision."""

TIME_TOLERANCE: Final = 1e-2
"""Of a frame interval, by which a frame may be off its time (files round times)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Paths:
    """Displacements since the first frame, in the frame of the centre of mass.

    symbols        of the tracked atoms, (n_tracked,)
    displacements  angstrom, (n_frames, n_tracked, 3)
    interval_ps    between kept frames
    cell           vectors in rows, angstrom
    masses         of the tracked atoms, amu
    total_mass     of the whole system, amu
    all_symbols    of the whole system
    was_wrapped    whether the coordinates had to be unwrapped
    drift_removed  whether the centre of mass is at rest
    stride         frames of the file per kept frame
    """

    symbols: tuple[str, ...]
    displacements: NDArray[np.float32]
    interval_ps: float
    cell: FloatArray
    masses: FloatArray
    total_mass: float
    all_symbols: tuple[str, ...]
    was_wrapped: bool
    drift_removed: bool
    stride: int

    @property
    def n_frames(self) -> int:
        """Number of kept frames."""
        return len(self.displacements)

    @property
    def volume(self) -> float:
        """Of the cell, cubic angstrom."""
        return float(abs(np.linalg.det(self.cell)))

    def of(self, symbol: str) -> NDArray[np.float32]:
        """Return the displacements of one species, (n_frames, n_atoms, 3)."""
        return self.displacements[:, np.array(self.symbols) == symbol]


def tracked_species(symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the species to track: all but hydrogen bound in water, in order of appearance."""
    present = dict.fromkeys(symbols)
    return tuple(s for s in present if s != "H" or "O" not in present)


class PathAccumulator:
    """Keeps the paths of one trajectory, chunk by chunk; its state can be stored and taken up.

    symbols       of all atoms
    species       tracked; default :func:`tracked_species`
    masses        replaced masses, amu
    keep_drift    leave the centre of mass where it moves
    memory_bytes  budget of the kept paths
    name          for messages
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        species: Sequence[str] | None = None,
        masses: Mapping[str, float] | None = None,
        keep_drift: bool = False,
        memory_bytes: int = MEMORY_BYTES,
        name: str = "the trajectory",
    ) -> None:
        self.symbols, self.name = tuple(symbols), name
        self.all_masses = masses_of(symbols, masses)
        wanted = tracked_species(symbols) if species is None else tuple(species)
        missing = sorted(set(wanted) - set(symbols))
        if missing:
            raise InputError(f"{name} holds no {', '.join(missing)}")
        self.tracked: IntArray = np.flatnonzero(np.isin(np.array(self.symbols), wanted))
        self.unwrapper = Unwrapper(symbols, self.all_masses, keep_drift=keep_drift, name=name)
        self.capacity = max(memory_bytes // (len(self.tracked) * 12), 64)
        self.stride = 1
        self.n_frames = 0
        self._times: list[float] = []
        self._last_time = 0.0
        self._start = np.zeros((len(self.tracked), 3))
        self._kept: list[NDArray[np.float32]] = []

    def add(self, chunk: TrajectoryChunk) -> None:
        """Take the frames of a chunk.

        Raises FrameError if the atoms or the cell change or frames are not equally spaced,
        InputError if there are no times.
        """
        if chunk.times_ps is None:
            raise InputError(
                f"{self.name} holds no times: say how far frames are apart "
                "(frame_interval_ps, --frame-interval-ps)"
            )
        self._check_times(chunk.times_ps)
        path = self.unwrapper.add(chunk)[:, self.tracked]
        if self.n_frames == 0:
            self._start = path[0].copy()
        numbers = self.n_frames + np.arange(len(path))
        keep = numbers % self.stride == 0
        self._kept.extend((path[keep] - self._start).astype(np.float32))
        self.n_frames += len(path)
        while len(self._kept) > self.capacity:
            self._kept = list(np.array(self._kept[::2]))  # copied, or the rest stays in memory
            self.stride *= 2

    def _check_times(self, times: FloatArray) -> None:
        for time in times.tolist():
            if len(self._times) < 2:
                self._times.append(time)
            else:
                self._check_spacing(time)
            self._last_time = time
        if len(self._times) == 2 and not self._times[1] > self._times[0]:
            raise FrameError(f"{self.name}: times must increase from frame to frame")

    def _check_spacing(self, time: float) -> None:
        interval = self._times[1] - self._times[0]
        if abs(time - self._last_time - interval) > TIME_TOLERANCE * interval:
            raise FrameError(
                f"{self.name}: frames must be equally spaced, found {interval:g} ps and "
                f"{time - self._last_time:g} ps"
            )

    def paths(self) -> Paths:
        """Return what was kept.

        Raises FrameError if the coordinates cannot be unwrapped, InputError for fewer than two
        frames.
        """
        if len(self._kept) < 2 or self.unwrapper.cell is None:
            raise InputError(
                f"{self.name}: transport needs a series of frames, got {self.n_frames}"
            )
        self.unwrapper.check()
        symbols = np.array(self.symbols)[self.tracked]
        interval = (self._last_time - self._times[0]) / (self.n_frames - 1)
        return Paths(
            symbols=tuple(symbols.tolist()),
            displacements=np.array(self._kept),
            interval_ps=interval * self.stride,
            cell=self.unwrapper.cell,
            masses=self.all_masses[self.tracked],
            total_mass=float(self.all_masses.sum()),
            all_symbols=self.symbols,
            was_wrapped=self.unwrapper.was_wrapped,
            drift_removed=not self.unwrapper.keep_drift,
            stride=self.stride,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was kept, as arrays; see :mod:`bjerrum.properties.accumulators`."""
        own = {
            "symbols": np.array(self.symbols),
            "all_masses": self.all_masses,
            "tracked": self.tracked,
            "sizes": np.array([self.capacity, self.stride, self.n_frames]),
            "times": np.array([*self._times, self._last_time]),
            "path_start": self._start,
            "kept": np.array(self._kept, dtype=np.float32).reshape(-1, len(self.tracked), 3),
        }
        return own | {f"unwrap_{key}": value for key, value in self.unwrapper.state().items()}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> PathAccumulator:
        """Return an accumulator that goes on from a stored state."""
        accumulator = cls(state["symbols"].tolist())
        accumulator.all_masses = accumulator.unwrapper.masses = state["all_masses"]
        accumulator.tracked = state["tracked"]
        accumulator.capacity, accumulator.stride, accumulator.n_frames = (
            int(number) for number in state["sizes"]
        )
        *accumulator._times, accumulator._last_time = state["times"].tolist()
        accumulator._start, accumulator._kept = state["path_start"], list(state["kept"])
        prefix = "unwrap_"
        accumulator.unwrapper.restore(
            {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
        )
        return accumulator


def collect_paths(
    chunks: Iterable[TrajectoryChunk],
    *,
    species: Sequence[str] | None = None,
    masses: Mapping[str, float] | None = None,
    keep_drift: bool = False,
    memory_bytes: int = MEMORY_BYTES,
    name: str = "the trajectory",
) -> Paths:
    """Return the paths of one trajectory; arguments as of :class:`PathAccumulator`."""
    accumulator: PathAccumulator | None = None
    for chunk in chunks:
        if accumulator is None:
            accumulator = PathAccumulator(
                chunk.symbols,
                species=species,
                masses=masses,
                keep_drift=keep_drift,
                memory_bytes=memory_bytes,
                name=name,
            )
        accumulator.add(chunk)
    if accumulator is None:
        raise InputError(f"{name} holds no frames")
    return accumulator.paths()
