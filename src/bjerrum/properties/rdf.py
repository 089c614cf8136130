"""Partial radial distribution functions, counted frame by frame and kept in blocks.

    g_ab(r) = <n_ab(r)> V / (N_a N'_b 4/3 pi (r_out^3 - r_in^3))

n_ab counts ordered pairs in the shell (each a looks at all b), V is the mean volume, N'_b = N_b for
unlike and N_a - 1 for like species: an ideal gas has g = 1 exactly, in any box. It is the
normalisation of MDAnalysis' ``InterRDF`` (like pairs with ``exclusion_block=(1, 1)``) and of the
published RDFs; formulas that want N_b/V for like pairs (Ganguly and van der Vegt 2013) need g
multiplied by (N - 1)/N.

Beyond half the edge of a cubic cell the shells are cut by its faces. Where that is asked for,
their volume is the part inside the cell, in closed form: an ideal gas has g = 1 up to the corners.
Counting is that of :mod:`bjerrum.properties.pair_counts`: as MDAnalysis', pair by pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from MDAnalysis.lib.mdamath import box_volume, triclinic_box
from numpy.typing import ArrayLike, NDArray

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.properties.pair_counts import Pair, count_pairs
from bjerrum.trajectory import TrajectoryChunk

MAX_BLOCKS: Final = 512
"""Blocks kept of one replica: when full, neighbours are merged, so memory stays bounded."""

SINGLE_PRECISION: Final = 1e-6
"""Relative precision to which other programs' files give a box."""


@dataclass(frozen=True, eq=False)
class PartialRdf:
    """The counts behind one g(r), from one or several replicas; shapes use n_bins.

    pair              the looking species and the one that is looked at
    edges             bin edges, angstrom, (n_bins + 1,)
    counts            ordered pairs in all frames, (n_bins,)
    blocks            ordered pairs per frame in each block, one (n_blocks, n_bins) per replica
    n_frames          frames counted
    n_centres, n_neighbours  N_a and N'_b
    volume            mean volume, cubic angstrom
    cubic_edge        of the cell, angstrom, where shells beyond half of it are cut; else None
    """

    pair: Pair
    edges: FloatArray
    counts: IntArray
    blocks: tuple[FloatArray, ...]
    n_frames: int
    n_centres: int
    n_neighbours: int
    volume: float
    cubic_edge: float | None = None

    @property
    def r(self) -> FloatArray:
        """Bin centres, angstrom, (n_bins,)."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @property
    def density(self) -> float:
        """Number density of neighbours that g = 1 means, N'_b/V, per cubic angstrom."""
        return self.n_neighbours / self.volume

    @property
    def ideal_counts(self) -> FloatArray:
        """Ordered pairs per frame of an ideal gas, (n_bins,)."""
        return self.n_centres * self.density * self.shells

    @property
    def shells(self) -> FloatArray:
        """Volumes of the shells as far as they lie inside the cell, cubic angstrom, (n_bins,)."""
        return shell_volumes(self.edges, self.cubic_edge)

    @property
    def g(self) -> FloatArray:
        """Radial distribution function, (n_bins,)."""
        return self.counts / (self.n_frames * self.ideal_counts)


class RdfAccumulator:
    """Counts pairs of one replica, chunk by chunk; its state can be stored and taken up again.

    symbols           of all atoms
    pairs             such as ("Li", "O")
    edges             bin edges, angstrom, equally spaced from 0
    beyond_half_box   allow distances beyond half the edge; the cell must then be one cube
    threads           see :func:`bjerrum.properties.pair_counts.count_pairs`
    """

    def __init__(
        self,
        symbols: Sequence[str],
        pairs: Sequence[Pair],
        edges: FloatArray,
        *,
        beyond_half_box: bool = False,
        threads: int | None = None,
    ) -> None:
        self.symbols = tuple(symbols)
        self.pairs = tuple(pairs)
        self.edges = edges
        self.threads = threads
        names = np.array(self.symbols)
        self._groups = {name: np.flatnonzero(names == name) for pair in pairs for name in pair}
        self._shape = (len(self.pairs), len(edges) - 1)
        self._blocks: list[IntArray] = []
        self._open = np.zeros(self._shape, dtype=np.int64)
        self._open_frames = 0
        self.beyond_half_box = beyond_half_box
        self.cubic_edge: float | None = None
        self.frames_per_block = 1
        self.n_frames = 0
        self.volume_sum = 0.0

    def add(self, chunk: TrajectoryChunk) -> None:
        """Count the frames of a chunk.

        Raises InputError if the radius exceeds half the box (beyond it: if the cell is no cube or
        the radius reaches beyond its corners), FrameError if the atoms changed.
        """
        if chunk.symbols != self.symbols:
            raise FrameError("the atoms change within the trajectory")
        cells = chunk.cells
        constant = not (cells != cells[0]).any()
        for cell in cells[:1] if constant else cells:
            if self.beyond_half_box:
                self._require_cube(cell)
            else:
                require_radius(self.edges[-1], cell)
        volumes = [float(box_volume(triclinic_box(*c))) for c in (cells[:1] if constant else cells)]
        self.volume_sum += sum(volumes) * (chunk.n_frames if constant else 1)
        counts = count_pairs(
            chunk.positions, cells, self._groups, self.pairs, self.edges, threads=self.threads
        )
        for frame in counts:
            self._add_frame(frame)

    def _require_cube(self, cell: FloatArray) -> None:
        edge = float(cell[0, 0]) if self.cubic_edge is None else self.cubic_edge
        if np.abs(cell - edge * np.eye(3)).max() > SINGLE_PRECISION * edge:
            raise InputError("beyond half the box g(r) needs a cubic cell of constant size")
        corner = edge * np.sqrt(3) / 2
        if self.edges[-1] > corner * (1 + SINGLE_PRECISION):
            raise InputError(
                f"r_max must be at most the box's half diagonal, {corner:.4f} angstrom, "
                f"got {self.edges[-1]:g}"
            )
        self.cubic_edge = edge

    def _add_frame(self, counts: IntArray) -> None:
        self._open += counts
        self._open_frames += 1
        self.n_frames += 1
        if self._open_frames < self.frames_per_block:
            return
        self._blocks.append(self._open)
        self._open = np.zeros(self._shape, dtype=np.int64)
        self._open_frames = 0
        if len(self._blocks) == MAX_BLOCKS:
            self._blocks = list(_merge(np.array(self._blocks), 2))
            self.frames_per_block *= 2

    def total(self) -> IntArray:
        """Return the counts of all frames, (n_pairs, n_bins)."""
        return np.sum([*self._blocks, self._open], axis=0)

    def blocks(self, frames_per_block: int) -> FloatArray:
        """Return counts per frame in complete blocks of that length, (n_blocks, n_pairs, n_bins).

        ``frames_per_block`` is a multiple of ``self.frames_per_block``.
        """
        blocks = np.array(self._blocks, dtype=np.int64).reshape(-1, *self._shape)
        return _merge(blocks, frames_per_block // self.frames_per_block) / frames_per_block

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was counted, as arrays; see :mod:`bjerrum.properties.accumulators`."""
        return {
            "symbols": np.array(self.symbols),
            "pairs": np.array(self.pairs),
            "edges": self.edges,
            "blocks": np.array(self._blocks, dtype=np.int64).reshape(-1, *self._shape),
            "open": self._open,
            "numbers": np.array([self._open_frames, self.frames_per_block, self.n_frames]),
            "volume_sum": np.array(self.volume_sum),
            "beyond_half_box": np.array(self.beyond_half_box),
            "cubic_edge": np.array(np.nan if self.cubic_edge is None else self.cubic_edge),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> RdfAccumulator:
        """Return an accumulator that goes on from a stored state."""
        accumulator = cls(
            state["symbols"].tolist(),
            [(a, b) for a, b in state["pairs"].tolist()],
            state["edges"],
            beyond_half_box=bool(state["beyond_half_box"]),
        )
        accumulator._blocks = list(state["blocks"])
        accumulator._open = state["open"]
        accumulator._open_frames, accumulator.frames_per_block, accumulator.n_frames = (
            int(number) for number in state["numbers"]
        )
        accumulator.volume_sum = float(state["volume_sum"])
        edge = float(state["cubic_edge"])
        accumulator.cubic_edge = None if np.isnan(edge) else edge
        return accumulator


def combine(replicas: Sequence[RdfAccumulator]) -> dict[Pair, PartialRdf]:
    """Join the counts of replicas of the same system into one PartialRdf per pair.

    Raises InputError if the replicas differ in composition, pairs or bins.
    """
    first = replicas[0]
    compositions = {tuple(sorted(replica.symbols)) for replica in replicas}
    if (
        len(compositions) > 1
        or any(replica.pairs != first.pairs for replica in replicas)
        or any(not np.array_equal(replica.edges, first.edges) for replica in replicas)
    ):
        raise InputError("the trajectories hold different systems; analyse them one by one")
    cubes = {replica.cubic_edge for replica in replicas}
    if len(cubes) > 1:
        raise InputError("beyond half the box all trajectories need the same cubic cell")
    n_frames = sum(replica.n_frames for replica in replicas)
    volume = sum(replica.volume_sum for replica in replicas) / n_frames
    length = max(replica.frames_per_block for replica in replicas)
    blocks = [replica.blocks(length) for replica in replicas]
    total = np.sum([replica.total() for replica in replicas], axis=0)
    return {
        pair: PartialRdf(
            pair=pair,
            edges=first.edges,
            counts=total[k],
            blocks=tuple(block[:, k] for block in blocks),
            n_frames=n_frames,
            n_centres=first.symbols.count(pair[0]),
            n_neighbours=first.symbols.count(pair[1]) - (pair[0] == pair[1]),
            volume=volume,
            cubic_edge=first.cubic_edge,
        )
        for k, pair in enumerate(first.pairs)
    }


def shell_volumes(edges: ArrayLike, cubic_edge: float | None = None) -> FloatArray:
    """Return the volumes between spheres, angstrom^3, as far as they lie in a cube around them.

    edges       radii, angstrom, (n_bins + 1,)
    cubic_edge  of the cube, angstrom; None: whole shells
    """
    radii = np.asarray(edges, dtype=np.float64)
    if cubic_edge is None:
        return np.diff(4 / 3 * np.pi * radii**3)
    return np.diff(sphere_in_cube(radii / cubic_edge)) * cubic_edge**3


def sphere_in_cube(radius: ArrayLike) -> FloatArray:
    """Return the volume common to a sphere and the unit cube around its centre.

    4/3 pi r^3 up to r = 1/2; less six caps, pi/3 (r - 1/2)^2 (2 r + 1/2) each, up to 1/sqrt 2; then
    -pi/4 + 3 pi r^2 + s + (1 - 12 r^2) arctan s + 16/3 r^3 arctan[2 r (4 r^2 - 3)/(s (4 r^2 + 1))]
    with s = sqrt(4 r^2 - 2), up to the corners (Deserno 2004, "How to calculate a three-dimensional
    g(r) under periodic boundary conditions").

    radius  in units of the cube's edge, any shape
    """
    r = np.asarray(radius, dtype=np.float64)
    volume = 4 / 3 * np.pi * np.minimum(r, np.sqrt(0.5)) ** 3
    cut = np.clip(r, 0.5, np.sqrt(0.5))
    volume -= 2 * np.pi * (cut - 0.5) ** 2 * (2 * cut + 0.5)
    corner = r > np.sqrt(0.5)
    c = np.where(corner, np.minimum(r, np.sqrt(0.75)), 0.8)
    s = np.sqrt(4 * c**2 - 2)
    beyond = (
        -np.pi / 4
        + 3 * np.pi * c**2
        + s
        + (1 - 12 * c**2) * np.arctan(s)
        + 16 / 3 * c**3 * np.arctan(2 * c * (4 * c**2 - 3) / (s * (4 * c**2 + 1)))
    )
    return np.where(corner, beyond, volume)


def require_radius(r_max: float, cell: FloatArray) -> None:
    """Raise InputError if a sphere of r_max reaches beyond half the cell in any direction."""
    limit = half_width(cell)
    if r_max > limit * (1 + SINGLE_PRECISION):
        raise InputError(
            f"r_max must be at most half the box, {limit:.4f} angstrom, got {r_max:g} (in a cubic "
            "box beyond_half_box, --beyond-half-box, goes further)"
        )


def half_width(cell: FloatArray) -> float:
    """Return half the smallest distance between opposite faces of a cell, angstrom."""
    return float(0.5 / np.linalg.norm(np.linalg.inv(cell), axis=0).max())


def _merge(blocks: IntArray, factor: int) -> IntArray:
    n = len(blocks) // factor
    return blocks[: n * factor].reshape(n, factor, *blocks.shape[1:]).sum(axis=1)
