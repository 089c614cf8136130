"""Sorting the distances between two groups of atoms into bins, by whole arrays.

The arithmetic behind :mod:`bjerrum.properties.pair_counts`, in a module of its own because it needs
PyTorch: its operations on long arrays take less time than NumPy's and run beside one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from bjerrum.estimate import FloatArray, IntArray

FixedPoint = NDArray[np.int32]

DISTANCES_AT_ONCE: Final = 2**18
"""Long enough that the calls cost little beside the arithmetic; five arrays of 1 MiB."""

SINGLE_ERROR: Final = 3.5 * float(np.finfo(np.float32).eps)
"""Relative error of a single-precision distance, each rounding half an eps: conversion, scale and
its rounding 1.5, squared 3, square and two sums 4.5, under the root half of it, its rounding 0.5:
at most 2.75."""

DOUBLE_ERROR: Final = 1e-11
"""The same in double precision, with room for the cancellation in a skewed cell."""

FIXED_POINT_ERROR: Final = 4 * 2.0**-32
"""Of a distance, in units of the longest edge: two coordinates cut to 32 bits, three axes."""

ROUNDED_DIFFERENCE: Final = 2 * float(np.finfo(np.float32).eps)
"""Of a distance, relative to the range of the coordinates: MDAnalysis rounds their difference and
the reciprocal edge, half an eps each, on three axes: sqrt 3."""

MAX_DOUBTFUL: Final = 0.02
"""Share of distances to be computed twice at which single precision no longer pays."""


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let each array operation use one thread: the frames are shared out, not their arrays."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def is_orthorhombic(cells: NDArray[np.floating[Any]]) -> bool:
    """Tell whether all vectors lie along x, y and z."""
    return not (cells * (1 - np.eye(3))).any()


def extent_of(groups: Iterable[NDArray[np.float32]]) -> float:
    """Return the range of the coordinates of all groups, angstrom."""
    low, high = zip(*((float(group.min()), float(group.max())) for group in groups), strict=True)
    return max(high) - min(low)


def fixed_point(positions: NDArray[np.float32], inverse: NDArray[np.floating[Any]]) -> FixedPoint:
    """Return fractional coordinates as 32-bit integers that wrap, (3, n_frames, n_atoms)."""
    x = np.ascontiguousarray(np.moveaxis(positions, -1, 0), dtype=np.float64)
    if is_orthorhombic(inverse):
        fraction = x * np.diagonal(inverse, axis1=1, axis2=2).T[:, :, None]
    else:
        fraction = np.einsum("kfn,fkj->jfn", x, inverse)
    fraction -= np.floor(fraction)
    fraction *= 2.0**32
    return fraction.astype(np.int64).astype(np.int32)


Piece = tuple[slice, slice, slice, int]


def _pieces(n_frames: int, n_a: int, n_b: int, like: bool) -> Iterator[Piece]:
    """Yield frames, rows and columns of at most DISTANCES_AT_ONCE distances, and their weight.

    Of like pairs the upper triangle is enough: its off-diagonal pieces count twice.
    """
    if n_a * n_b <= DISTANCES_AT_ONCE:
        step = DISTANCES_AT_ONCE // max(n_a * n_b, 1)
        for start in range(0, n_frames, step):
            yield slice(start, min(start + step, n_frames)), slice(0, n_a), slice(0, n_b), 1
        return
    rows, columns = max(1, DISTANCES_AT_ONCE // n_b), DISTANCES_AT_ONCE
    for frame in range(n_frames):
        one = slice(frame, frame + 1)
        for start in range(0, n_a, rows):
            stop = min(start + rows, n_a)
            if like:
                yield one, slice(start, stop), slice(start, stop), 1
            for left in range(stop if like else 0, n_b, columns):
                right = slice(left, min(left + columns, n_b))
                yield one, slice(start, stop), right, 2 if like else 1


Coordinates = tuple[FixedPoint, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class _Work:
    """Working arrays of one shape, the same memory as tensors and as NumPy arrays."""

    integers: torch.Tensor
    flat: torch.Tensor
    total: torch.Tensor
    part: torch.Tensor
    term: torch.Tensor
    index: NDArray[np.int32]
    near: NDArray[np.int32]
    distances: NDArray[Any]


class DistanceBins:
    """Sorts the distances between two groups of atoms into bins, for some frames.

    edges   equally spaced from 0
    cells   (n_frames, 3, 3)
    extent  range of the coordinates, angstrom
    """

    def __init__(self, edges: FloatArray, cells: FloatArray, extent: float) -> None:
        self.edges, self.cells, self.inverse = edges, cells, np.linalg.inv(cells)
        self.n_bins = len(edges) - 1
        per_width = self.n_bins / float(edges[-1])
        longest = float(np.linalg.norm(cells, axis=-1).max()) * per_width
        self.stride = max(int(1.5 * longest), self.n_bins) + 3
        """More than the farthest pair's bin; the last one takes those to be computed again."""
        self.bits = 31 - self.stride.bit_length()
        """Of the 32 of an integer, those behind the binary point of a distance in bin widths."""
        cut = FIXED_POINT_ERROR * longest + ROUNDED_DIFFERENCE * extent * per_width
        self.orthorhombic = is_orthorhombic(cells)
        single = self.orthorhombic and self.n_bins * SINGLE_ERROR + cut < MAX_DOUBTFUL
        doubt = self.n_bins * (SINGLE_ERROR if single else DOUBLE_ERROR) + cut
        self.doubt = int(doubt * 2**self.bits) + 2
        """How close to an edge a distance is computed again."""
        dtype = torch.float32 if single else torch.float64
        steps = cells * (per_width * 2.0 ** (self.bits - 32))
        isotropic = not (steps - steps[0, 0, 0] * np.eye(3)).any()
        self.scale = float(steps[0, 0, 0]) if isotropic else None
        """Of one cube: what distances are multiplied with at the end, instead of the vectors."""
        self.steps = torch.from_numpy(steps).to(dtype)
        """Cell vectors in 2^-bits bin widths per unit of the fixed-point coordinates."""
        self.parts = [[k for k in range(3) if self.steps[:, k, axis].any()] for axis in range(3)]
        self._integers = torch.empty((2, DISTANCES_AT_ONCE), dtype=torch.int32)
        self._reals = torch.empty((3, DISTANCES_AT_ONCE), dtype=dtype)
        self._views: dict[tuple[int, int, int], _Work] = {}

    def count(
        self, first: Coordinates, second: Coordinates, sizes: Sequence[int], half: bool
    ) -> IntArray:
        """Return the ordered pairs in each bin, (n_frames, n_species, n_bins).

        sizes  numbers of atoms of the species in ``second``, one after another
        half   ``second`` is ``first``: count each pair once and double it
        """
        n_frames = len(self.cells)
        counts = np.zeros((n_frames, len(sizes), self.n_bins), dtype=np.int64)
        kinds = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        doubtful = []
        rows_of, columns_of = torch.from_numpy(first[0]), torch.from_numpy(second[0])
        for piece in _pieces(n_frames, first[1].shape[1], second[1].shape[1], half):
            frames, rows, columns, weight = piece
            found, places = self._piece(
                rows_of[:, frames, rows, None],
                columns_of[:, frames, None, columns],
                self.steps[frames, :, :, None, None],
                kinds[columns],
                len(sizes),
            )
            counts[frames] += weight * found
            doubtful.append(_globally(places, piece, first[1].shape[1], second[1].shape[1]))
        counts += self._exactly(np.concatenate(doubtful, axis=1), first[1], second[1], kinds)
        return counts

    def _piece(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        steps: torch.Tensor,
        kinds: NDArray[np.int32],
        n_kinds: int,
    ) -> tuple[IntArray, IntArray]:
        """Return the counts, (n_frames, n_kinds, n_bins), and the places of doubtful pairs."""
        shape = (first.shape[1], first.shape[2], second.shape[3])
        work = self._work(shape)
        self._distances(first, second, steps, work)
        index, near = work.index, work.near
        np.copyto(index, work.distances, casting="unsafe")
        np.add(index, self.doubt, out=near)
        np.bitwise_and(near, 2**self.bits - 1, out=near)
        places = np.flatnonzero(near < 2 * self.doubt)
        np.right_shift(index, self.bits, out=index)
        index.reshape(-1)[places] = self.stride - 1
        frame = np.arange(shape[0], dtype=np.int32)[:, None, None] * np.int32(n_kinds)
        work.integers.add_(torch.from_numpy((frame + kinds) * np.int32(self.stride)))
        bins = torch.bincount(work.flat, minlength=shape[0] * n_kinds * self.stride)
        return bins.numpy().reshape(shape[0], n_kinds, -1)[..., : self.n_bins], places

    def _work(self, shape: tuple[int, int, int]) -> _Work:
        """Return the working arrays in this shape."""
        if shape not in self._views:
            size = shape[0] * shape[1] * shape[2]
            integers, near = self._integers[:, :size].view(2, *shape)
            total, part, term = self._reals[:, :size].view(3, *shape)
            arrays = (integers.numpy(), near.numpy(), total.numpy())
            self._views[shape] = _Work(integers, integers.view(-1), total, part, term, *arrays)
        return self._views[shape]

    def _distances(
        self, first: torch.Tensor, second: torch.Tensor, steps: torch.Tensor, work: _Work
    ) -> None:
        """Put distances in 2^-bits bin widths into ``work.distances``."""
        a, b = first.unbind(), second.unbind()
        for axis, vectors in enumerate(self.parts):
            component = work.part if axis else work.total
            for count, k in enumerate(vectors):
                target = work.term if count else component
                torch.sub(a[k], b[k], out=work.integers)
                target.copy_(work.integers)
                if self.scale is None:
                    target.mul_(steps[:, k, axis])
                if count:
                    component.add_(work.term)
            if axis:
                work.total.addcmul_(work.part, work.part)
            else:
                work.total.mul_(work.total)
        work.total.sqrt_()
        if self.scale is not None:
            work.total.mul_(self.scale)

    def _exactly(
        self,
        places: IntArray,
        first: NDArray[np.float32],
        second: NDArray[np.float32],
        kinds: NDArray[np.int32],
    ) -> IntArray:
        """Sort pairs, given by place and weight, by their distance in double precision.

        With right angles the difference itself and the reciprocal edges are in single precision, as
        in MDAnalysis: an error of some 1e-6 angstrom, less than that of the coordinates in a file.
        """
        shape = (len(self.cells), first.shape[1], second.shape[1])
        frame, row, column = np.unravel_index(places[0], shape)
        apart = (first[frame, row] - second[frame, column]).astype(np.float64)
        if self.orthorhombic:
            edges = np.diagonal(self.cells, axis1=1, axis2=2)[frame]
            images = apart * (1 / edges).astype(np.float32)
            apart = edges * (images - np.rint(images))
        else:
            images = np.rint(np.einsum("pi,pij->pj", apart, self.inverse[frame]))
            apart -= np.einsum("pi,pij->pj", images, self.cells[frame])
        distance = np.sqrt(np.einsum("pi,pi->p", apart, apart))
        index = np.searchsorted(self.edges, distance, side="right") - 1
        index[distance == self.edges[-1]] = self.n_bins - 1
        n_kinds, stride = int(kinds[-1]) + 1, self.n_bins + 1
        index = np.minimum(index, self.n_bins) + (frame * n_kinds + kinds[column]) * stride
        length = len(self.cells) * n_kinds * stride
        counts = np.bincount(index, weights=places[1], minlength=length).astype(np.int64)
        return counts.reshape(len(self.cells), n_kinds, stride)[..., : self.n_bins]


def _globally(places: IntArray, piece: Piece, n_a: int, n_b: int) -> IntArray:
    """Return the places in a piece as places in all of (n_frames, n_a, n_b), and their weight."""
    frames, rows, columns, weight = piece
    if (rows.stop - rows.start, columns.stop - columns.start) != (n_a, n_b):
        shape = (frames.stop - frames.start, rows.stop - rows.start, columns.stop - columns.start)
        frame, row, column = np.unravel_index(places, shape)
        places = (frame * n_a + row + rows.start) * n_b + column + columns.start
    return np.stack([places + frames.start * n_a * n_b, np.full(len(places), weight)])
