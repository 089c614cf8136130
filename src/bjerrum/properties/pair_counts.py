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

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import FrameError
from bjerrum.estimate import FloatArray, IntArray

Pair = tuple[str, str]

FRAMES_AT_ONCE: Final = 64

PAIRS_WORTH_HALVING: Final = 2**15
"""Distances within one species above which each pair is computed once only."""


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
    from bjerrum.properties.distance_bins import one_torch_thread

    cells = single_precision_cells(np.asarray(cells, dtype=np.float64))
    wanted = sorted({name for pair in pairs for name in pair})
    species = {
        name: np.take(positions, groups[name], axis=1).astype(np.float32, copy=False)
        for name in wanted
    }
    workers = max(1, available_threads() if threads is None else threads)
    turns = math.ceil(len(positions) / (workers * FRAMES_AT_ONCE))
    batch = math.ceil(len(positions) / (workers * turns))  # every worker has the same to do

    def count(start: int) -> IntArray:
        frames = slice(start, start + batch)
        part = {name: array[frames] for name, array in species.items()}
        return _count_batch(part, cells[frames], pairs, edges)

    with one_torch_thread(), ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(count, range(0, len(positions), batch))))


def available_threads() -> int:
    """Return OMP_NUM_THREADS if it is set, else the number of cores this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else len(os.sched_getaffinity(0))


def single_precision_cells(cells: FloatArray) -> FloatArray:
    """Return cells with edges rounded to single precision where all angles are right."""
    if not (np.abs(np.linalg.det(cells)) > 0).all():
        raise FrameError("a frame has no valid cell")
    skewed = (cells * (1 - np.eye(3))).any()
    return cells if skewed else cells.astype(np.float32).astype(np.float64)


def _count_batch(
    species: dict[str, NDArray[np.float32]],
    cells: FloatArray,
    pairs: Sequence[Pair],
    edges: FloatArray,
) -> IntArray:
    from bjerrum.properties.distance_bins import DistanceBins, extent_of, fixed_point

    bins = DistanceBins(edges, cells, extent_of(species.values()))
    fixed = {name: fixed_point(array, bins.inverse) for name, array in species.items()}
    counts = np.zeros((len(cells), len(pairs), len(edges) - 1), dtype=np.int64)
    for centre, others in _tasks(pairs, {name: a.shape[1] for name, a in species.items()}):
        second = (
            np.concatenate([fixed[name] for name in others], axis=2),
            np.concatenate([species[name] for name in others], axis=1),
        )
        sizes = [species[name].shape[1] for name in others]
        half = others == (centre,) and sizes[0] ** 2 > PAIRS_WORTH_HALVING
        found = bins.count((fixed[centre], species[centre]), second, sizes, half)
        for k, name in enumerate(others):
            if name == centre:
                found[:, k, 0] -= sizes[k]  # each atom with itself
            counts[:, [n for n, pair in enumerate(pairs) if pair == (centre, name)]] = found[
                :, k, None
            ]
    return counts


def _tasks(pairs: Sequence[Pair], sizes: dict[str, int]) -> list[tuple[str, tuple[str, ...]]]:
    """Group pairs by their first species: fewer and longer arrays.

    A large species with itself stands alone: only half of its distances are needed.
    """
    tasks: dict[tuple[str, bool], list[str]] = {}
    for a, b in dict.fromkeys(pairs):
        alone = a == b and sizes[a] ** 2 > PAIRS_WORTH_HALVING
        tasks.setdefault((a, alone), []).append(b)
    return [(a, tuple(others)) for (a, _), others in tasks.items()]
