"""Features of a g(r): first peak, first minimum, coordination number.

Positions are found on a lightly smoothed curve and fitted to the raw one. A feature that cannot
be told from noise raises :class:`NotResolved`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray, IntArray

SMOOTHING: Final = 0.05
"""Angstrom, Gaussian, for finding peaks and minima only; positions are fitted to raw data."""

MIN_PROMINENCE: Final = 0.05
"""In units of g; what rises less above its surroundings is not called a peak."""

SIGNIFICANCE: Final = 5.0
"""A peak of the smoothed curve stands out by at least this many of its standard errors: a hundred
bins are searched."""

RIVAL: Final = 0.25
"""An unresolved maximum before the first resolved one matters if, two standard errors up, it stands
out by this fraction of that one's height (a rarely visited contact pair, not a ripple)."""

SHALLOW: Final = 0.02
SHALLOW_SIGNIFICANCE: Final = 3.0
"""In units of g and of its standard error: a rise of this much before the lowest point between the
first two peaks is a shell that has ended earlier."""

PEAK_FRACTION: Final = 0.5
"""The cubic through a peak uses the bins above this fraction of its height. Without the cubic term
the skewed peaks of a liquid come out 0.01 to 0.03 angstrom too far out."""


class NotResolved(InputError):
    """A feature of g(r) cannot be told from noise, or is not there."""


def first_peak(r: FloatArray, g: FloatArray, standard_error: FloatArray | None = None) -> float:
    """Return the position of the first peak of g(r), angstrom.

    The first maximum of the smoothed curve that rises by MIN_PROMINENCE and SIGNIFICANCE standard
    errors above its surroundings; its position is the maximum of a cubic fitted to ln g over the
    peak's upper half.

    r, g            equally spaced, (n_bins,)
    standard_error  of g; none: g is taken as exact
    Raises NotResolved if there is no such maximum, or an earlier one is lost in noise.
    """
    window, fit, origin = cubic_fit(r, g, significant_peaks(r, g, standard_error)[0])
    return maximum_of_cubic(fit @ np.log(g[window]), origin, fit_reach(r))


def first_minimum(r: FloatArray, g: FloatArray, standard_error: FloatArray | None = None) -> float:
    """Return the position of the minimum between the first and the second peak, angstrom.

    The lowest point of the smoothed curve, refined by a parabola through its neighbours; the
    middle where g is equally low over a range.

    The first peak must fall to that point. Where g rises on the way by SHALLOW and by
    SHALLOW_SIGNIFICANCE standard errors, but by less than a peak needs, the shell has no end that
    can be told: its own minimum is filled, and the lower one behind belongs to a later shell. So
    it is with water's oxygens in 4 mol/kg NaCl: minima at 4.3 and 5.3 angstrom, 0.045 between.

    r, g, standard_error  as in :func:`first_peak`
    Raises NotResolved if no second peak follows within the range, or the first minimum is filled.
    """
    peaks = significant_peaks(r, g, standard_error)
    if len(peaks) < 2:
        raise NotResolved(
            f"no minimum can be told after the first peak at {r[peaks[0]]:.2f} angstrom: no second "
            f"peak up to {r[-1]:.2f} angstrom"
        )
    smooth = _smoothed(r, g)
    valley = np.arange(peaks[0], peaks[1] + 1)
    lowest = valley[smooth[valley] <= smooth[valley].min() + 1e-6]
    _require_fall(r, smooth, standard_error, int(peaks[0]), int(lowest[0]))
    if len(lowest) > 1:
        return float(r[lowest].mean())
    near = slice(lowest[0] - 1, lowest[0] + 2)
    curvature, slope, _ = np.polyfit(r[near] - r[lowest[0]], smooth[near], 2)
    return float(r[lowest[0]] - slope / (2 * curvature))


def _require_fall(
    r: FloatArray, smooth: FloatArray, standard_error: FloatArray | None, peak: int, lowest: int
) -> None:
    """Raise NotResolved if the smoothed curve rises between a peak and the minimum after it."""
    rises, properties = find_peaks(smooth, prominence=SHALLOW)
    heights = properties["prominences"]
    error = np.zeros_like(r) if standard_error is None else _smoothed_error(r, standard_error)
    real = heights >= SHALLOW_SIGNIFICANCE * np.nan_to_num(error[rises], nan=np.inf)
    between = np.flatnonzero(real & (rises > peak) & (rises < lowest))
    if len(between):
        top = int(rises[between[0]])
        before = float(r[peak + smooth[peak:top].argmin()])
        raise NotResolved(
            f"no minimum can be told after the first peak at {r[peak]:.2f} angstrom: that near "
            f"{before:.2f} angstrom is filled, only {heights[between[0]]:.3f} below the next "
            f"maximum, and the lower one at {r[lowest]:.2f} angstrom belongs to a later shell"
        )


def minimum_uncertainty(
    r: FloatArray, g: FloatArray, standard_error: FloatArray, minimum: float
) -> float:
    """Return how far the first minimum can be told from its neighbourhood, angstrom.

    Half the width of the stretch around ``minimum`` in which the smoothed g lies within one
    standard error (of the smoothed curve) of its lowest value; at least half a bin. A flat
    minimum, as that of Cl-O, moves the coordination number by more than its counting error.

    r, g, standard_error  as in :func:`first_peak`
    """
    smooth, error = _smoothed(r, g), _smoothed_error(r, standard_error)
    lowest = int(np.abs(r - minimum).argmin())
    noise = float(np.nan_to_num(error[lowest], nan=0.0))
    level = smooth <= smooth[lowest] + noise
    above_before = np.flatnonzero(~level[:lowest])
    above_after = np.flatnonzero(~level[lowest:])
    first = above_before[-1] + 1 if len(above_before) else 0
    last = lowest + above_after[0] - 1 if len(above_after) else len(r) - 1
    width = r[1] - r[0]
    return float(max(r[last] - r[first], width) / 2)


def coordination_number(r: FloatArray, g: FloatArray, density: float, r_min: float) -> float:
    """Return the number of neighbours within r_min.

    N = 4 pi rho int_0^{r_min} g r^2 dr, exact for histograms (whole shells, the last one in part).

    r, g     bin centres, equally spaced from half a bin, and g, (n_bins,)
    density  of neighbours as it normalised g, per cubic angstrom
    r_min    angstrom
    Raises InputError if r_min lies beyond the last bin.
    """
    width = r[1] - r[0]
    edges = np.append(r - width / 2, r[-1] + width / 2)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return float(density * (g * shells) @ fraction_inside(edges, r_min))


def fraction_inside(edges: FloatArray, r_min: float) -> FloatArray:
    """Return how much of each shell's volume lies within r_min, (n_bins,)."""
    if not 0 < r_min <= edges[-1] * (1 + 1e-9):
        raise InputError(f"r_min must lie within {edges[-1]:.3f} angstrom, got {r_min:g}")
    cubes = edges**3
    return np.clip((r_min**3 - cubes[:-1]) / np.diff(cubes), 0.0, 1.0)


def _smoothed(r: FloatArray, g: FloatArray) -> FloatArray:
    return gaussian_filter1d(g, SMOOTHING / (r[1] - r[0]), mode="nearest")


def significant_peaks(r: FloatArray, g: FloatArray, standard_error: FloatArray | None) -> list[int]:
    """Return the bins of significant maxima, the first of which is the first peak."""
    smooth = _smoothed(r, g)
    found, properties = find_peaks(smooth, prominence=MIN_PROMINENCE)
    prominence = properties["prominences"]
    error = np.zeros_like(g) if standard_error is None else _smoothed_error(r, standard_error)
    if len(found) and not np.isfinite(error[found]).any():
        raise NotResolved("too few independent samples for an error bar of g(r): run longer")
    limit = np.nan_to_num(error[found], nan=np.inf)
    significant = prominence >= SIGNIFICANCE * limit
    if not significant.any():
        raise NotResolved(f"no peak stands out of the noise up to {r[-1]:.2f} angstrom: run longer")
    first = int(significant.argmax())
    rivals = prominence[:first] + 2 * limit[:first] >= RIVAL * smooth[found[first]]
    if rivals.any():
        place = r[found[rivals.argmax()]]
        raise NotResolved(
            f"a first peak near {place:.2f} angstrom cannot be told from noise: run longer"
        )
    return [int(peak) for peak in found[significant]]


def _smoothed_error(r: FloatArray, standard_error: FloatArray) -> FloatArray:
    """Return the standard error of the smoothed curve, bins being independent.

    A Gaussian of s bins averages the noise of 2 sqrt(pi) s bins. Single unknown errors take the
    neighbours' mean.
    """
    padded = np.pad(standard_error, 1, constant_values=np.nan)
    near = np.stack([padded[:-2], padded[1:-1], padded[2:]])
    known = np.isfinite(near)
    count = known.sum(axis=0)
    mean = np.where(known, near, 0.0).sum(axis=0) / np.maximum(count, 1)
    averaged = max(1.0, 2 * math.sqrt(math.pi) * SMOOTHING / (r[1] - r[0]))
    return np.where(count > 0, mean, np.nan) / math.sqrt(averaged)


def _peak_window(g: FloatArray, peak: int) -> slice:
    """Return the bins around a maximum above PEAK_FRACTION of it, at least two on each side."""
    level = PEAK_FRACTION * g[max(peak - 1, 0) : peak + 2].max()
    low, high = peak, peak
    while low > 0 and g[low - 1] >= level:
        low -= 1
    while high < len(g) - 1 and g[high + 1] >= level:
        high += 1
    return slice(max(min(low, peak - 2), 0), max(high, peak + 2) + 1)


def cubic_fit(r: FloatArray, g: FloatArray, peak: int) -> tuple[IntArray, FloatArray, float]:
    """Return bins of the peak, the matrix from ln g there to the cubic, and its origin.

    Least squares, weighted as counts are (by g).
    """
    window = np.arange(len(g))[_peak_window(g, peak)]
    window = window[g[window] > 0]
    if len(window) < 5:
        raise NotResolved(f"the peak near {r[peak]:.2f} angstrom holds too few pairs: run longer")
    weights = np.sqrt(g[window])
    powers = np.vander(r[window] - r[peak], 4)
    return window, np.linalg.pinv(powers * weights[:, None]) * weights, float(r[peak])


def maximum_of_cubic(coefficients: FloatArray, origin: float, width: float) -> float:
    """Return the maximum of a cubic (highest power first) within ``width`` of its origin."""
    a3, a2, a1, _ = coefficients
    discriminant = a2**2 - 3 * a1 * a3
    denominator = math.sqrt(max(discriminant, 0.0)) - a2
    top = a1 / denominator if discriminant > 0 and denominator else math.nan
    if not abs(top) <= width:
        raise NotResolved(f"the peak near {origin:.2f} angstrom has no maximum that can be fitted")
    return float(origin + top)


def fit_reach(r: FloatArray) -> float:
    """Return how far a fitted maximum may lie from the highest bin, angstrom."""
    return float(2 * max(SMOOTHING, r[1] - r[0]))
