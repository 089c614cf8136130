"""Mean squared displacements over all time origins, by fast Fourier transform.

    MSD(m) = 1/K sum_{i < K} |r(i + m) - r(i)|^2 = S1(m) - 2 S2(m)

S1 from running sums of |r|^2, S2 the correlation of r with itself, zero padded: O(T log T)
(Calandrini, Pellegrini, Calligari, Hinsen, Kneller, Collection SFN 12, 201 (2011)).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.properties.pair_counts import available_threads

NUMBERS_AT_ONCE: Final = 2**22
"""Padded numbers transformed at once: 32 MiB in double precision."""


def mean_squared_displacement(
    positions: NDArray[np.floating[Any]], max_lag: int | None = None
) -> FloatArray:
    """Return the mean squared displacement over all origins, (max_lag + 1, n_particles).

    positions  continuous, (n_frames, n_particles, n_dimensions); the unit of the result is its
               square
    max_lag    in frames; default: all
    """
    n_frames, n_particles = positions.shape[:2]
    lags = np.arange((n_frames - 1 if max_lag is None else max_lag) + 1)
    return squared_displacements(positions, lags, slice(0, n_frames)).reshape(
        len(lags), n_particles
    )


def squared_displacements(
    positions: NDArray[np.floating[Any]], lags: IntArray, origins: slice
) -> FloatArray:
    """Return mean squared displacements from the origins of a slice, (n_lags, n_particles).

    Of each lag all origins count from which the path is long enough.

    positions  continuous, (n_frames, n_particles, n_dimensions)
    lags       in frames, (n_lags,)
    Raises InputError if no origin is left at the longest lag.
    """
    n_frames, n_particles, n_dimensions = positions.shape
    start, stop, _ = origins.indices(n_frames)
    longest = int(lags.max())
    if start + longest >= n_frames:
        raise InputError(f"a lag of {longest} frames needs a longer path than {n_frames} frames")
    window = positions[start : min(stop + longest, n_frames)]
    size = next_fast_len((stop - start) + longest, real=True)
    step = max(1, NUMBERS_AT_ONCE // (size * n_dimensions))
    result = np.empty((len(lags), n_particles))
    for first in range(0, n_particles, step):
        part = window[:, first : first + step]
        x = np.ascontiguousarray(np.moveaxis(part, 0, -1), dtype=np.float64)
        x -= x[..., :1]
        result[:, first : first + step] = _displacements(x, lags, stop - start, size).T
    return result


def _displacements(x: FloatArray, lags: IntArray, n_origins: int, size: int) -> FloatArray:
    """Return the means of one batch, (n_particles, n_lags); x is (n_particles, n_dim, n_frames)."""
    workers = available_threads()
    later = rfft(x, size, workers=workers)
    if n_origins < x.shape[-1]:
        power = later * rfft(x[..., :n_origins], size, workers=workers).conj()
    else:
        power = later.real**2 + later.imag**2
    correlation = irfft(power.sum(axis=1), size, workers=workers)[:, lags]
    squares = np.cumsum((x**2).sum(axis=1), axis=-1)
    squares = np.concatenate([np.zeros((len(x), 1)), squares], axis=-1)
    count = np.minimum(n_origins, x.shape[-1] - lags)
    sums = squares[:, count] + squares[:, lags + count] - squares[:, lags] - 2 * correlation
    return np.maximum(sums, 0.0) / count


def lag_grid(max_lag: int, ratio: float = 1.1) -> IntArray:
    """Return lags from 1 to ``max_lag`` frames, each about ``ratio`` times the one before."""
    n = int(np.log(max_lag) / np.log(ratio)) + 1
    grid = np.rint(np.geomspace(1, max_lag, max(n, 2))).astype(np.int64)
    return np.unique(grid)
