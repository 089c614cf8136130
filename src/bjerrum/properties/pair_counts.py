"""Histograms of pair distances for many frames at once.

Distances are first taken in single precision from fixed-point fractional coordinates: a 32-bit
integer wraps around as a periodic coordinate does, so the difference of two is the nearest image
without a further step. Whatever then lies closer to a bin edge than the error bound of that
arithmetic is computed again in double precision from the coordinates themselves, with the edge
rule of ``numpy.histogram``. The counts are therefore those of double precision (of MDAnalysis,
pair by pair) at the speed of single precision.

In a skewed cell, where fractional differences wrap to the nearest image only within half the
cell's width, the first pass is in double precision and r_max must not exceed that half width.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import FrameError
from bjerrum.estimate import FloatArray, IntArray

Pair = tuple[str, str]
FixedPoint = NDArray[np.int32]

DISTANCES_AT_ONCE: Final = 32768
"""Five working arrays of this length stay in the cache of a core."""

FRAMES_AT_ONCE: Final = 32

SINGLE_ERROR: Final = 8 * float(np.finfo(np.float32).eps)
"""Relative error of a single-precision distance: conversion, scale, square, two sums, root: each
half an eps, at most 5 together; 8 leaves room."""

DOUBLE_ERROR: Final = 1e-11
"""The same in double precision, with room for the cancellation in a skewed cell."""

FIXED_POINT_ERROR: Final = 4 * 2.0**-32
"""Of a distance, in units of the longest edge: two coordinates cut to 32 bits, three axes."""

MAX_DOUBTFUL: Final = 0.02
"""Share of distances to be computed twice at which single precision no longer pays."""


def count_pairs(
    positions: NDArray[np.floating[Any]],
    cells: FloatArray,
    groups: dict[str, IntArray],
    pairs: Sequence[Pair],
    edges: FloatArray,
    *,
    threads: int | None = None,
) -> IntArray:
    """Return the ordered pairs in each distance bin of each frame, (n_frames, n_pairs, n_bins).

    positions  (n_frames, n_atoms, 3), wrapped or not, angstrom; used in single precision, as by
               MDAnalysis
    cells      vectors in rows, (n_frames, 3, 3); with right angles the edges are used in single
               precision
    groups     atom indices of each species
    edges      equally spaced from 0; the last bin includes its outer edge
    threads    default: the cores this process may use, or OMP_NUM_THREADS
    Raises FrameError for a cell without volume.
    """
    cells = single_precision_cells(np.asarray(cells, dtype=np.float64))
    wanted = sorted({name for pair in pairs for name in pair})
    species = {name: positions[:, groups[name]].astype(np.float32) for name in wanted}
    starts = range(0, len(positions), FRAMES_AT_ONCE)

    def count(start: int) -> IntArray:
        frames = slice(start, start + FRAMES_AT_ONCE)
        part = {name: array[frames] for name, array in species.items()}
        return _count_batch(part, cells[frames], pairs, edges)

    workers = min(available_threads() if threads is None else threads, len(starts))
    if workers <= 1:
        return np.concatenate([count(start) for start in starts])
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(count, starts)))


def available_threads() -> int:
    """Return OMP_NUM_THREADS if it is set, else the number of cores this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else len(os.sched_getaffinity(0))


def single_precision_cells(cells: FloatArray) -> FloatArray:
    """Return cells with edges rounded to single precision where all angles are right."""
    if not (np.abs(np.linalg.det(cells)) > 0).all():
        raise FrameError("a frame has no valid cell")
    return cells.astype(np.float32).astype(np.float64) if is_orthorhombic(cells) else cells


def is_orthorhombic(cells: FloatArray) -> bool:
    """Tell whether all vectors lie along x, y and z."""
    return not (cells * (1 - np.eye(3))).any()


def _count_batch(
    species: dict[str, NDArray[np.float32]],
    cells: FloatArray,
    pairs: Sequence[Pair],
    edges: FloatArray,
) -> IntArray:
    n_bins, width = len(edges) - 1, float(edges[-1]) / (len(edges) - 1)
    inverse = np.linalg.inv(cells)
    fixed = {name: _fixed_point(array, inverse) for name, array in species.items()}
    longest = float(np.linalg.norm(cells, axis=-1).max())
    cut = FIXED_POINT_ERROR * longest / width
    single = is_orthorhombic(cells) and n_bins * SINGLE_ERROR + cut < MAX_DOUBTFUL
    doubt = n_bins * (SINGLE_ERROR if single else DOUBLE_ERROR) + cut
    bins = _Bins(edges, cells, inverse, np.float32 if single else np.float64, doubt)
    counts = np.zeros((len(cells), len(pairs), n_bins), dtype=np.int64)
    for k, (a, b) in enumerate(pairs):
        n_a, n_b = species[a].shape[1], species[b].shape[1]
        for frames, rows, columns, weight in _pieces(len(cells), n_a, n_b, a == b):
            counts[frames, k] += weight * bins.count(
                (fixed[a][:, frames, rows], species[a][frames, rows]),
                (fixed[b][:, frames, columns], species[b][frames, columns]),
                frames,
            )
        if a == b:
            counts[:, k, 0] -= n_a  # each atom with itself
    return counts


def _fixed_point(positions: NDArray[np.float32], inverse: FloatArray) -> FixedPoint:
    """Return fractional coordinates as 32-bit integers that wrap, (3, n_frames, n_atoms)."""
    fraction = positions.astype(np.float64) @ inverse
    fraction -= np.floor(fraction)
    whole = (fraction * 2.0**32).astype(np.int64).astype(np.uint32).view(np.int32)
    return np.ascontiguousarray(np.moveaxis(whole, -1, 0))


def _pieces(
    n_frames: int, n_a: int, n_b: int, like: bool
) -> Iterator[tuple[slice, slice, slice, int]]:
    """Yield frames, rows and columns of about DISTANCES_AT_ONCE distances, and their weight.

    Of like pairs the upper triangle is enough: its off-diagonal pieces count twice.
    """
    if n_a * n_b <= DISTANCES_AT_ONCE:
        step = DISTANCES_AT_ONCE // max(n_a * n_b, 1)
        for start in range(0, n_frames, step):
            yield slice(start, start + step), slice(0, n_a), slice(0, n_b), 1
        return
    rows = max(1, DISTANCES_AT_ONCE // n_b)
    for frame in range(n_frames):
        one = slice(frame, frame + 1)
        for start in range(0, n_a, rows):
            stop = min(start + rows, n_a)
            if not like:
                yield one, slice(start, stop), slice(0, n_b), 1
                continue
            yield one, slice(start, stop), slice(start, stop), 1
            if stop < n_b:
                yield one, slice(start, stop), slice(stop, n_b), 2


Coordinates = tuple[FixedPoint, NDArray[np.float32]]


class _Bins:
    """Sorts the distances between two groups of atoms into bins, for some frames."""

    def __init__(
        self, edges: FloatArray, cells: FloatArray, inverse: FloatArray, dtype: Any, doubt: float
    ) -> None:
        self.edges, self.cells, self.inverse = edges, cells, inverse
        self.n_bins, self.dtype, self.doubt = len(edges) - 1, dtype, doubt
        scaled = cells * (self.n_bins / float(edges[-1]) / 2.0**32)
        self.steps = scaled.astype(dtype)
        """Cell vectors in bin widths per unit of the fixed-point coordinates."""

    def count(self, first: Coordinates, second: Coordinates, frames: slice) -> IntArray:
        """Return the distances in each bin, (n_frames, n_bins)."""
        r = self._distances(first[0][..., :, None], second[0][..., None, :], self.steps[frames])
        n_frames = r.shape[0]
        edge = np.rint(r)
        np.subtract(r, edge, out=edge)
        np.abs(edge, out=edge)
        doubtful = np.flatnonzero(edge < self.doubt)
        np.minimum(r, self.n_bins, out=r)
        index = r.astype(np.int32)
        np.put(index, doubtful, self.n_bins)
        stride = self.n_bins + 1
        if n_frames > 1:
            index += (stride * np.arange(n_frames, dtype=np.int32))[:, None, None]
        counts = np.bincount(index.ravel(), minlength=n_frames * stride)
        counts = counts.reshape(n_frames, stride)[:, : self.n_bins]
        if len(doubtful):
            counts = counts + self._exactly(doubtful, r.shape, first[1], second[1], frames)
        return counts

    def _distances(
        self, first: FixedPoint, second: FixedPoint, steps: NDArray[Any]
    ) -> NDArray[np.floating[Any]]:
        """Return distances in bin widths, (n_frames, n_rows, n_columns)."""
        axes = [
            [k for k in range(3) if self.steps[:, k, axis].any()]  # which vectors have this part
            for axis in range(3)
        ]
        shape = (first.shape[1], first.shape[2], second.shape[3])
        difference = np.empty(shape, dtype=np.int32)
        part, term, total = (np.empty(shape, dtype=self.dtype) for _ in range(3))
        total[:] = 0
        for axis, vectors in enumerate(axes):
            for count, k in enumerate(vectors):
                np.subtract(first[k], second[k], out=difference)
                np.copyto(term if count else part, difference, casting="unsafe")
                target = term if count else part
                np.multiply(target, steps[:, k, axis, None, None], out=target)
                if count:
                    np.add(part, term, out=part)
            np.multiply(part, part, out=part)
            np.add(total, part, out=total)
        return np.sqrt(total, out=total)

    def _exactly(
        self,
        places: IntArray,
        shape: tuple[int, ...],
        first: NDArray[np.float32],
        second: NDArray[np.float32],
        frames: slice,
    ) -> IntArray:
        """Sort the pairs at ``places`` by their distance in double precision."""
        frame, row, column = np.unravel_index(places, shape)
        apart = first[frame, row].astype(np.float64) - second[frame, column]
        cells, inverse = self.cells[frames][frame], self.inverse[frames][frame]
        images = np.rint(np.einsum("pi,pij->pj", apart, inverse))
        apart -= np.einsum("pi,pij->pj", images, cells)
        distance = np.sqrt(np.einsum("pi,pi->p", apart, apart))
        index = np.searchsorted(self.edges, distance, side="right") - 1
        index[distance == self.edges[-1]] = self.n_bins - 1
        index = np.minimum(index, self.n_bins) + frame * (self.n_bins + 1)
        counts = np.bincount(index, minlength=shape[0] * (self.n_bins + 1))
        return counts.reshape(shape[0], -1)[:, : self.n_bins]
