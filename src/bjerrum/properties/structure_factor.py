"""Partial structure factors of a box at its own wave vectors, and their limit for k to 0.

    S_ab(k) = <rho_a(k) rho_b(-k)>/sqrt(N_a N_b),   rho_a(k) = sum_i exp(i k r_i),   k = 2 pi n/L

No g(r), no tail correction and no shape of the cell enters; closing the box moves only k = 0, which
is why the thermodynamic limit has to be extrapolated. Density modes are products of three one-
dimensional phase factors, so that all of them come from one matrix product per batch of frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.properties.statistics import mean_statistics
from bjerrum.trajectory import TrajectoryChunk

WINDOWS: Final[Mapping[str, tuple[float, int]]] = {"quadratic": (0.8, 2), "linear": (0.55, 1)}
"""Largest k (1/angstrom) and highest power of k^2 of the fits for k to 0. The linear one is less
noisy and, for LiCl at 2.5 mol/L, 2 to 5 % low (the curvature of S in that window)."""

K_MAX: Final = 2.0
"""1/angstrom, where S(k) is reported to by default."""

SAME_SHELL: Final = 1e-6
"""Wave numbers that differ by less, relatively, form one shell."""

ELEMENTS_AT_ONCE: Final = 1_500_000
"""Complex numbers of a batch's phase products: 24 MB, more gains nothing."""

MAX_BLOCKS: Final = 512
"""Blocks kept of one replica: when full, neighbours are merged, so memory stays bounded."""


@dataclass(frozen=True, eq=False)
class LatticeShells:
    """Wave vectors of a periodic cell, one of each pair k and -k, in shells of equal length.

    k             1/angstrom, ascending, (n_shells,)
    multiplicity  independent vectors in each shell, (n_shells,)
    vectors       integers n with k = 2 pi n inv(cell)^T, shell after shell, (n_vectors, 3)
    """

    k: FloatArray
    multiplicity: IntArray
    vectors: IntArray

    @property
    def starts(self) -> IntArray:
        """Index of the first vector of each shell, (n_shells,)."""
        return np.concatenate([[0], np.cumsum(self.multiplicity)[:-1]]).astype(np.int64)


def lattice_shells(cell: FloatArray, k_max: float | None = None) -> LatticeShells:
    """Return the shells of wave vectors up to k_max.

    cell   vectors in rows, angstrom, (3, 3)
    k_max  1/angstrom; default: the widest window of WINDOWS
    Raises InputError if the cell has no wave vector below k_max.
    """
    limit = max(window for window, _ in WINDOWS.values()) if k_max is None else k_max
    reach = np.floor(limit * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    axes = [np.arange(0, reach[0] + 1), *(np.arange(-n, n + 1) for n in reach[1:])]
    vectors = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    nx, ny, nz = vectors.T
    vectors = vectors[(nx > 0) | ((nx == 0) & ((ny > 0) | ((ny == 0) & (nz > 0))))]
    k = 2 * np.pi * np.linalg.norm(vectors @ np.linalg.inv(cell).T, axis=1)
    order = np.argsort(k, kind="stable")
    order = order[k[order] <= limit * (1 + SAME_SHELL)]
    if not len(order):
        raise InputError(f"the cell has no wave vector up to {limit:g} per angstrom: it is small")
    k, vectors = k[order], vectors[order]
    first = np.flatnonzero(np.diff(k, prepend=0.0) > SAME_SHELL * k)
    return LatticeShells(k[first], np.diff(np.append(first, len(k))), vectors)


def extrapolation_weights(shells: LatticeShells, window: str) -> FloatArray:
    """Return c_k with S(0) = sum_k c_k S(k), (n_shells,): a fit in powers of k^2.

    S = S0 + a k^2 (+ b k^4) by least squares over the shells of the window, each weighted by its
    number of independent vectors.

    window  a key of WINDOWS
    Raises InputError if the window holds fewer than one shell more than the fit has parameters.
    """
    limit, power = WINDOWS[window]
    inside = shells.k <= limit
    if inside.sum() < power + 2:
        raise InputError(
            f"the {window} fit of S(k) needs {power + 2} shells of wave vectors below {limit:g} "
            f"per angstrom, this box has {inside.sum()}: use a larger box"
        )
    weight = np.where(inside, np.sqrt(shells.multiplicity), 0.0)
    powers = (shells.k[:, None] / limit) ** (2 * np.arange(power + 1))
    return np.linalg.pinv(powers * weight[:, None])[0] * weight


class BlockSums:
    """Sums of arrays over frames in blocks whose number stays bounded.

    shape  of one frame's array
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.n_frames = 0
        self.frames_per_block = 1
        self._blocks: list[FloatArray] = []
        self._open = np.zeros(shape)
        self._open_frames = 0

    def add(self, frames: FloatArray) -> None:
        """Add one array per frame, (n_frames, *shape)."""
        for frame in frames:
            self._open = self._open + frame
            self._open_frames += 1
            self.n_frames += 1
            if self._open_frames == self.frames_per_block:
                self._close()

    def means(self, frames_per_block: int | None = None) -> FloatArray:
        """Return means of the complete blocks, (n_blocks, *shape).

        frames_per_block  a multiple of ``self.frames_per_block``, the default
        """
        length = frames_per_block or self.frames_per_block
        merged = _pairwise(np.array(self._blocks), length // self.frames_per_block)
        return merged.reshape(-1, *self.shape) / length

    def mean(self) -> FloatArray:
        """Return the mean over all frames."""
        return np.sum([*self._blocks, self._open], axis=0) / self.n_frames

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        return {
            "blocks": np.array(self._blocks).reshape(-1, *self.shape),
            "open": self._open,
            "numbers": np.array([self._open_frames, self.frames_per_block, self.n_frames]),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` returned."""
        self._blocks, self._open = list(state["blocks"]), state["open"]
        self._open_frames, self.frames_per_block, self.n_frames = (int(n) for n in state["numbers"])

    def _close(self) -> None:
        self._blocks.append(self._open)
        self._open, self._open_frames = np.zeros(self.shape), 0
        if len(self._blocks) == MAX_BLOCKS:
            self._blocks = list(_pairwise(np.array(self._blocks), 2))
            self.frames_per_block *= 2


def _pairwise(blocks: FloatArray, factor: int) -> FloatArray:
    n = len(blocks) // factor
    return blocks[: n * factor].reshape(n, factor, *blocks.shape[1:]).sum(axis=1)


def replica_means(replicas: Sequence[BlockSums]) -> list[FloatArray]:
    """Return block means of several replicas with one common block length."""
    length = max(replica.frames_per_block for replica in replicas)
    return [replica.means(length) for replica in replicas]


class ModeAccumulator:
    """Products of density modes of one replica, shell by shell.

    groups  atom indices of each species, in the order of the results
    shells  wave vectors in units of the reciprocal cell
    """

    def __init__(self, groups: Mapping[str, IntArray], shells: LatticeShells) -> None:
        self.species = tuple(groups)
        self.pairs = tuple(itertools.combinations_with_replacement(self.species, 2))
        self.shells = shells
        self._groups = [groups[name] for name in self.species]
        self.counts = {name: len(groups[name]) for name in self.species}
        self.sums = BlockSums((len(self.pairs), len(shells.k)))

    def add(self, positions: NDArray[np.floating], cells: FloatArray) -> None:
        """Add frames.

        positions  (n_frames, n_atoms, 3), wrapped or not, angstrom
        cells      vectors in rows, (n_frames, 3, 3)
        """
        fractional = positions @ np.linalg.inv(cells)
        modes = [density_modes(fractional[:, group], self.shells.vectors) for group in self._groups]
        numbered = itertools.combinations_with_replacement(range(len(modes)), 2)
        products = np.stack([(modes[i] * modes[j].conj()).real for i, j in numbered], axis=1)
        shells = np.add.reduceat(products, self.shells.starts, axis=2) / self.shells.multiplicity
        self.sums.add(shells)


def density_modes(fractional: NDArray[np.floating], vectors: IntArray) -> NDArray[np.complex128]:
    """Return rho(n) = sum_i exp(2 pi i n.s_i) of each frame, (n_frames, n_vectors).

    With P_x[i, n] = exp(2 pi i n s_ix) and so on, rho(n_x, n_y, n_z) is the matrix product of
    (P_x P_y)^T and P_z over the particles.

    fractional  coordinates s in units of the cell vectors, (n_frames, n_particles, 3)
    vectors     integers, (n_vectors, 3)
    """
    n_frames, n_particles, _ = fractional.shape
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    ranges = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    per_frame = max(n_particles, 1) * len(ranges[0]) * len(ranges[1])
    step = max(1, ELEMENTS_AT_ONCE // per_frame)
    index = tuple((vectors - low).T)
    modes = np.empty((n_frames, len(vectors)), dtype=np.complex128)
    for start in range(0, n_frames, step):
        batch = np.asarray(fractional[start : start + step], dtype=np.float64)
        x, y, z = (_phases(batch[:, :, axis], ranges[axis]) for axis in range(3))
        plane = (x[:, :, :, None] * y[:, :, None, :]).reshape(len(batch), n_particles, -1)
        grid = np.matmul(plane.transpose(0, 2, 1), z)
        grid = grid.reshape(len(batch), *(len(numbers) for numbers in ranges))
        modes[start : start + step] = grid[:, *index]
    return modes


def _phases(coordinate: FloatArray, numbers: IntArray) -> NDArray[np.complex128]:
    return np.exp(2j * np.pi * coordinate[:, :, None] * numbers)


@dataclass(frozen=True, eq=False)
class StructureFactors:
    """Partial structure factors of a trajectory.

    k                1/angstrom, (n_shells,)
    values           S_ab(k) of each pair of species, (n_shells,)
    standard_errors  the same; NaN where there is no error bar
    """

    k: FloatArray
    values: Mapping[tuple[str, str], FloatArray]
    standard_errors: Mapping[tuple[str, str], FloatArray]


def partial_structure_factors(
    replicas: Sequence[Iterable[TrajectoryChunk]],
    species: Sequence[str],
    k_max: float = K_MAX,
) -> StructureFactors:
    """Return S_ab(k) of all pairs of species with standard errors.

    replicas  one iterable of chunks per independent run of the same system
    species   chemical symbols
    k_max     1/angstrom
    Raises FrameError if the atoms change, InputError for a species that is not there.
    """
    accumulators: list[ModeAccumulator] = []
    for chunks in replicas:
        shells = accumulators[0].shells if accumulators else None
        accumulators.append(_accumulate(chunks, species, k_max, shells))
    first = accumulators[0]
    statistics = mean_statistics(replica_means([each.sums for each in accumulators]))
    norms = {(a, b): np.sqrt(first.counts[a] * first.counts[b]) for a, b in first.pairs}
    return StructureFactors(
        k=first.shells.k,
        values={p: statistics.mean[i] / norms[p] for i, p in enumerate(first.pairs)},
        standard_errors={
            p: statistics.standard_error[i] / norms[p] for i, p in enumerate(first.pairs)
        },
    )


def _accumulate(
    chunks: Iterable[TrajectoryChunk],
    species: Sequence[str],
    k_max: float,
    shells: LatticeShells | None,
) -> ModeAccumulator:
    accumulator: ModeAccumulator | None = None
    symbols: tuple[str, ...] = ()
    for chunk in chunks:
        if accumulator is None:
            symbols = chunk.symbols
            shells = shells or lattice_shells(chunk.cells[0], k_max)
            accumulator = ModeAccumulator(species_groups(symbols, species), shells)
        if chunk.symbols != symbols:
            raise FrameError("the atoms change within the trajectory")
        accumulator.add(chunk.positions, chunk.cells)
    if accumulator is None:
        raise InputError("the trajectory holds no frames")
    return accumulator


def species_groups(symbols: Sequence[str], species: Sequence[str]) -> dict[str, IntArray]:
    """Return the indices of each species' atoms; InputError for one that is not there."""
    names = np.array(symbols)
    missing = [name for name in species if name not in symbols]
    if missing:
        present = ", ".join(dict.fromkeys(symbols))
        raise InputError(f"no {', '.join(missing)} in the trajectory; it holds {present}")
    return {name: np.flatnonzero(names == name) for name in species}
