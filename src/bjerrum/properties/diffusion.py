"""Diffusion coefficients with error bars, without a hand-picked window.

    MSD(t) = a + 6 D t    within the diffusive window

The window begins where the local exponent d ln MSD/d ln t = 1 within EXPONENT_TOLERANCE, from there
on, as far as its error bar can tell, and ends at a tenth of the run. Intercept and slope are fitted
by generalised least squares with the covariance that the mean squared displacement of a random walk
has when all origins are used (Qian, Sheetz and Elson, Biophys. J. 60, 910 (1991); Bullerjahn,
von Buelow and Hummer, J. Chem. Phys. 153, 024116 (2020)): neighbouring points of the curve are
almost the same number, and a straight line through them by plain least squares wastes most of the
data and believes in too small an error. The error bar does not rest on that model: the same weights
give one D for each particle and stretch of time, whose scatter is judged by
:mod:`bjerrum.properties.statistics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray, IntArray
from bjerrum.properties.msd import lag_grid, squared_displacements
from bjerrum.properties.statistics import estimate_mean

EXPONENT_TOLERANCE: Final = 0.05
"""Of the local exponent about 1 (McCluskey et al. 2025 and others use the same)."""

LONGEST_LAG: Final = 0.1
"""Of the run: beyond, the average over origins is one over too few independent ones."""

MIN_LAGS: Final = 4
MAX_LAGS: Final = 12
"""Points of the curve that are fitted, from the first of the window to the last."""

STRETCHES: Final = 4
"""Pieces of the run for which a D of its own is computed, for the error bar."""

PS_ANGSTROM2_IN_1E9_M2_PER_S: Final = 10.0
"""1 angstrom^2/ps = 1e-8 m^2/s."""

DIFFUSION_UNIT: Final = "1e-9 m2/s"


class NotDiffusive(SeriesTooShort):
    """No stretch of the mean squared displacement grows in proportion to time."""


@dataclass(frozen=True, eq=False)
class Displacements:
    """Mean squared displacements of one species, all runs together.

    lags         in frames, (n_lags,)
    interval_ps  of a frame
    total        over all origins of each particle of each run, (n_lags, n_particles), angstrom^2
    stretches    the same from the origins of each stretch, (n_stretches, n_lags, n_particles)
    n_frames     of the shortest run
    """

    lags: IntArray
    interval_ps: float
    total: FloatArray
    stretches: FloatArray
    n_frames: int

    @property
    def times_ps(self) -> FloatArray:
        """Lag times, ps, (n_lags,)."""
        return np.asarray(self.lags * self.interval_ps, dtype=np.float64)

    @property
    def mean(self) -> FloatArray:
        """Mean over the particles, angstrom^2, (n_lags,)."""
        return self.total.mean(axis=1)


@dataclass(frozen=True, eq=False)
class Diffusion:
    """A diffusion coefficient and what it was read from.

    estimate     of the box as it was simulated, 1e-9 m2/s
    window_ps    first and last lag time of the fit
    exponent     local exponent at the start of the window
    curve        the mean squared displacement
    model_error  standard error of the fit if the particles were independent random walkers
    """

    estimate: Estimate
    window_ps: tuple[float, float]
    exponent: float
    curve: Displacements
    model_error: float


def displacements(
    paths: Sequence[NDArray[np.floating[Any]]],
    interval_ps: float,
    *,
    longest_ps: float | None = None,
) -> Displacements:
    """Return the mean squared displacements of one species in one or several runs.

    paths       continuous, one (n_frames, n_particles, 3) per run, angstrom
    longest_ps  of the lags; default: a tenth of the shortest run
    Raises SeriesTooShort for fewer than 10 MIN_LAGS frames.
    """
    n_frames = min(len(path) for path in paths)
    longest = int(LONGEST_LAG * n_frames)
    if longest_ps is not None:
        longest = min(longest, round(longest_ps / interval_ps))
    if longest < MIN_LAGS:
        raise SeriesTooShort(
            f"diffusion needs at least {round(MIN_LAGS / LONGEST_LAG)} frames, got {n_frames}",
            n_effective=n_frames,
        )
    lags = lag_grid(longest)
    total = [squared_displacements(path, lags, slice(0, len(path))) for path in paths]
    parts = [stretched_displacements(path, lags) for path in paths]
    return Displacements(
        lags,
        interval_ps,
        np.concatenate(total, axis=1),
        np.concatenate(parts, axis=2),
        n_frames,
    )


def stretched_displacements(
    path: NDArray[np.floating[Any]], lags: IntArray, stretches: int = STRETCHES
) -> FloatArray:
    """Return mean squared displacements from each stretch of origins.

    Shape (n_stretches, n_lags, n_particles); arguments as of
    :func:`bjerrum.properties.msd.squared_displacements`.
    """
    ends = np.linspace(0, len(path) - lags.max(), stretches + 1).astype(int)
    return np.array(
        [squared_displacements(path, lags, slice(start, stop)) for start, stop in pairwise(ends)]
    )


def local_exponent(curve: Displacements) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return indices of lags, the exponent from each to twice it, and its standard error.

    ln[MSD(2 t)/MSD(t)]/ln 2; the error by the jackknife over particles, or, of fewer than four,
    that of a random walk.
    """
    double = np.searchsorted(curve.lags, 2 * curve.lags)
    first = np.flatnonzero(double < len(curve.lags))
    second = double[first]
    spread = np.log(curve.lags[second] / curve.lags[first])

    def exponent(mean: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(mean[second] / mean[first]) / spread[:, None]

    value = exponent(curve.mean[:, None])[:, 0]
    n = curve.total.shape[1]
    if n < 4:
        walk = np.sqrt(4 * curve.lags[second] / (9 * n * curve.n_frames))
        return first, value, walk / spread
    left_out = (curve.total.sum(axis=1, keepdims=True) - curve.total) / (n - 1)
    error = np.sqrt((n - 1) * exponent(left_out).var(axis=1))
    return first, value, error


def diffusive_window(curve: Displacements) -> tuple[int, float]:
    """Return the index of the first lag of the diffusive window and the local exponent there.

    The first from which on the exponent is 1 within EXPONENT_TOLERANCE and twice its standard
    error; at its start the error itself must be small enough to tell 1 from 0.8.

    Raises NotDiffusive if there is none.
    """
    indices, exponent, error = local_exponent(curve)
    usable = np.isfinite(exponent)
    fits = usable & (np.abs(exponent - 1) <= EXPONENT_TOLERANCE + 2 * error)
    from_here = np.flatnonzero(~fits)
    start = 0 if len(from_here) == 0 else int(from_here[-1]) + 1
    times = curve.times_ps
    if start >= len(indices) or len(np.unique(curve.lags[indices[start] :])) < MIN_LAGS:
        raise NotDiffusive(
            "the displacements do not become diffusive within a tenth of the run "
            f"({times[-1]:.3g} ps): the local exponent there is "
            f"{exponent[-1] if len(exponent) else np.nan:.2f}, expected 1.00: run longer",
            n_effective=1 / LONGEST_LAG,
        )
    if error[start] > 0.2 / 2:
        raise NotDiffusive(
            f"the local exponent at {times[indices[start]]:.3g} ps is {exponent[start]:.2f} +- "
            f"{error[start]:.2f}: too uncertain to tell a diffusive window: run longer",
            n_effective=1 / LONGEST_LAG,
        )
    return int(indices[start]), float(exponent[start])


def random_walk_covariance(lags: IntArray, n_frames: int) -> FloatArray:
    """Return the covariance of the MSD of one random walker over all origins, (n_lags, n_lags).

    cov(MSD_n, MSD_m) = 2 d s^4/(K_n K_m) sum_{i,j} (overlap of [i, i + n] with [j, j + m])^2 for
    steps of variance s^2 in each of d = 3 dimensions, K_n = N - n origins: the fourth moment of
    normal steps (Qian et al. 1991). In units of s^4.

    lags      in frames, ascending, (n_lags,)
    n_frames  N
    """
    covariance = np.empty((len(lags), len(lags)))
    for a, n in enumerate(lags.tolist()):
        for b, m in enumerate(lags[: a + 1].tolist()):
            k_n, k_m = n_frames - n, n_frames - m
            shift = np.arange(-m + 1, n)  # of the second's start against the first's
            overlap = np.minimum(n, shift + m) - np.maximum(0, shift)
            pairs = np.minimum(k_n, k_m - shift) - np.maximum(0, -shift)
            total = (overlap.astype(np.float64) ** 2 * np.maximum(pairs, 0)).sum()
            covariance[a, b] = covariance[b, a] = 6 * total / (k_n * k_m)
    return covariance


def slope_weights(lags: IntArray, n_frames: int) -> tuple[FloatArray, float]:
    """Return weights w with slope = w . MSD per frame, and the variance of that slope.

    Generalised least squares of a + b m: (X^T C^-1 X)^-1 X^T C^-1, C the covariance of a random
    walk; the variance is that of one walker, in units of the fourth power of its step.
    """
    design = np.stack([np.ones(len(lags)), lags], axis=1)
    inverse = np.linalg.inv(random_walk_covariance(lags, n_frames))
    covariance = np.linalg.inv(design.T @ inverse @ design)
    return (covariance @ design.T @ inverse)[1], float(covariance[1, 1])


def fit_diffusion(
    curve: Displacements, *, window_ps: tuple[float, float] | None = None
) -> Diffusion:
    """Return the diffusion coefficient of one species.

    window_ps  first and last lag time; default: :func:`diffusive_window` to the last lag
    Raises NotDiffusive without a diffusive window, SeriesTooShort if no error bar is honest.
    """
    start, exponent = _window(curve, window_ps)
    stop = len(curve.lags)
    if window_ps is not None:
        stop = int(np.searchsorted(curve.times_ps, window_ps[1] * (1 + 1e-9)))
    if stop - start < MIN_LAGS:
        raise InputError(f"a window needs at least {MIN_LAGS} lags, {window_ps} ps holds too few")
    chosen = fitted_lags(start, stop)
    weights, variance = slope_weights(curve.lags[chosen], curve.n_frames)
    scale = PS_ANGSTROM2_IN_1E9_M2_PER_S / (6 * curve.interval_ps)
    value = float(weights @ curve.mean[chosen]) * scale
    if not value > 0:
        raise NotDiffusive("the displacements do not grow with time: no diffusion", n_effective=1)
    each = np.einsum("l,slp->ps", weights, curve.stretches[:, chosen]) * scale
    estimate = estimate_mean(list(each), DIFFUSION_UNIT)
    step = 2 * value / (PS_ANGSTROM2_IN_1E9_M2_PER_S / curve.interval_ps)  # variance of one axis
    return Diffusion(
        estimate=replace(estimate, value=value),
        window_ps=(float(curve.times_ps[chosen[0]]), float(curve.times_ps[chosen[-1]])),
        exponent=exponent,
        curve=curve,
        model_error=step * float(np.sqrt(variance / curve.total.shape[1])) * scale,
    )


def fitted_lags(start: int, stop: int) -> IntArray:
    """Return at most MAX_LAGS indices from ``start`` to before ``stop``, evenly spread."""
    return np.unique(np.rint(np.linspace(start, stop - 1, MAX_LAGS)).astype(np.int64))


def _window(curve: Displacements, window_ps: tuple[float, float] | None) -> tuple[int, float]:
    if window_ps is None:
        return diffusive_window(curve)
    start = int(np.searchsorted(curve.times_ps, window_ps[0] * (1 - 1e-9)))
    indices, exponent, _ = local_exponent(curve)
    nearest = int(np.abs(indices - start).argmin()) if len(indices) else 0
    return start, float(exponent[nearest]) if len(exponent) else float("nan")
