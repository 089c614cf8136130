"""Shear viscosity from the fluctuations of the stress (Green-Kubo), without a hand-picked cut.

    eta = V/(k T) int_0^inf <P_ab(0) P_ab(t)> dt

averaged over P_xy, P_xz, P_yz, (P_xx - P_yy)/2 and (P_yy - P_zz)/2. The run is divided into
stretches; the running integrals of the stretches and components give mean and spread. The mean is
fitted by A a t1 (1 - exp(-t/t1)) + A (1 - a) t2 (1 - exp(-t/t2)), weighted by t^-2b where the
spread grows as t^b (Y. Zhang, A. Otani, E. J. Maginn, J. Chem. Theory Comput. 11, 3537 (2015)),
up to where the standard error of the mean reaches 10 % of it. (They cut where the spread of single
runs reaches 40 %, which leaves 4 to 7 % for the mean of their 30 to 100 runs.) The error bar is of
a bootstrap over the stretches, or that of the running integral at the cut if it is larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import curve_fit

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.units import ELEMENTARY_CHARGE, thermal_energy

STRESS_NAMES: Final = tuple(f"stress_{ab}" for ab in ("xx", "yy", "zz", "xy", "xz", "yz"))
"""Observables of a trajectory: the whole stress, kinetic part included, eV/angstrom^3."""

STRESS_UNIT: Final = "eV angstrom-3"

STRETCHES: Final = 20
RELATIVE_ERROR: Final = 0.1
FITTED_POINTS: Final = 200
RESAMPLES: Final = 100
MIN_FRAMES_PER_STRETCH: Final = 50


@dataclass(frozen=True, eq=False)
class GreenKubo:
    """A viscosity and the running integral it was read from.

    estimate  mPa s
    times_fs  (n_times,)
    running   mean running integral, mPa s, (n_times,)
    spread    standard deviation between stretches and components, mPa s, (n_times,)
    cut_fs    up to where it was fitted
    """

    estimate: Estimate
    times_fs: FloatArray
    running: FloatArray
    spread: FloatArray
    cut_fs: float


def stress_series(observables: Mapping[str, FloatArray]) -> FloatArray | None:
    """Return the stored stress, (n_frames, 6), or None if there is none.

    Raises InputError if only some of its components are there.
    """
    present = [name for name in STRESS_NAMES if name in observables]
    if not present:
        return None
    if len(present) < len(STRESS_NAMES):
        missing = ", ".join(sorted(set(STRESS_NAMES) - set(present)))
        raise InputError(f"the stored stress lacks {missing}")
    return np.stack([observables[name] for name in STRESS_NAMES], axis=1)


def green_kubo_viscosity(
    stress: Sequence[FloatArray],
    *,
    interval_fs: float,
    volume: float,
    temperature: float,
    seed: int = 0,
) -> GreenKubo:
    """Return the shear viscosity of one or several runs.

    stress       xx, yy, zz, xy, xz, yz in eV/angstrom^3, one (n_frames, 6) per run
    interval_fs  between frames; 5 to 10 fs for water
    volume       cubic angstrom
    temperature  K
    Raises SeriesTooShort if the running integral is lost in noise before it levels off.
    """
    shortest = min(len(part) for part in stress)
    if shortest < STRETCHES * MIN_FRAMES_PER_STRETCH:
        raise SeriesTooShort(
            f"a viscosity needs at least {STRETCHES * MIN_FRAMES_PER_STRETCH} frames of stress, "
            f"got {shortest}",
            n_effective=shortest,
        )
    unit = volume / thermal_energy(temperature) * interval_fs * ELEMENTARY_CHARGE * 1e15 * 1e3
    each = np.concatenate([_running_integrals(part) for part in stress]) * unit
    times = np.arange(each.shape[-1]) * interval_fs
    value, cut, at_cut = _fit(each, times)
    random = np.random.default_rng(seed)
    drawn = [
        _refit(times, each[random.integers(0, len(each), len(each))]) for _ in range(RESAMPLES)
    ]
    spread = np.array([x for x in drawn if x is not None])
    if len(spread) < 0.8 * RESAMPLES:
        raise _lost(times[-1])
    low, high = np.quantile(spread, [0.1587, 0.8413])  # one sigma, whatever the outliers do
    return GreenKubo(
        Estimate(
            value=value,
            standard_error=max(float((high - low) / 2), at_cut),
            unit="mPa s",
            n_effective=float(len(each)),
            provenance={"method": "Green-Kubo, Zhang, Otani and Maginn (2015)"},
        ),
        times,
        each.mean(axis=(0, 1)),
        each.std(axis=(0, 1), ddof=1),
        cut,
    )


def _running_integrals(stress: FloatArray) -> FloatArray:
    """Return running integrals of the autocorrelation, per frame, (n_stretches, 5, n_times)."""
    xx, yy, zz, xy, xz, yz = np.asarray(stress, dtype=np.float64).T
    five = np.stack([xy, xz, yz, (xx - yy) / 2, (yy - zz) / 2])
    length = five.shape[1] // STRETCHES
    pieces = five[:, : length * STRETCHES].reshape(5, STRETCHES, length).swapaxes(0, 1)
    pieces = pieces - five.mean(axis=1)[None, :, None]
    lags = length // 2
    size = next_fast_len(length + lags, real=True)
    power = np.abs(rfft(pieces, size)) ** 2
    correlation = irfft(power, size)[..., :lags] / (length - np.arange(lags))
    return cumulative_trapezoid(correlation, initial=0.0, axis=-1)


def _refit(times: FloatArray, each: FloatArray) -> float | None:
    try:
        return _fit(each, times)[0]
    except SeriesTooShort:
        return None


def _fit(each: FloatArray, times: FloatArray) -> tuple[float, float, float]:
    """Return the limit of the running integral, the last time fitted, and the error there.

    each  running integrals, (n_stretches, 5, n_times)
    """
    running, spread = each.mean(axis=(0, 1)), each.std(axis=(0, 1), ddof=1)
    error = spread / np.sqrt(each.shape[0] * each.shape[1])
    noisy = np.flatnonzero((error > RELATIVE_ERROR * running) & (times > times[4]))
    stop = int(noisy[0]) if len(noisy) else len(times)
    if stop < 10:
        raise _lost(times[-1])
    t, y, s = times[1:stop], running[1:stop], spread[1:stop]
    exponent = float(np.clip(np.polyfit(np.log(t), np.log(np.maximum(s, 1e-300)), 1)[0], 0.0, 2.0))
    thinned = np.unique(np.rint(np.geomspace(1, len(t), FITTED_POINTS)).astype(int)) - 1
    t, y = t[thinned], y[thinned]
    top = float(y.max())

    def double(t: FloatArray, eta: float, share: float, fast: float, slow: float) -> FloatArray:
        return np.asarray(eta * (share * -np.expm1(-t / fast) + (1 - share) * -np.expm1(-t / slow)))

    guess = (top, 0.5, float(t[-1]) / 50, float(t[-1]) / 5)
    bounds = ([0.0, 0.0, t[0] / 10, t[0] / 10], [10 * top, 1.0, 3 * t[-1], 3 * t[-1]])
    try:
        best, _ = curve_fit(double, t, y, p0=guess, sigma=t**exponent, bounds=bounds, maxfev=5000)
    except (RuntimeError, ValueError) as failure:
        raise _lost(times[-1]) from failure
    slowest = max(best[2] if best[1] > 0.02 else 0.0, best[3] if best[1] < 0.98 else 0.0)
    if slowest > t[-1]:
        raise _lost(times[-1])
    return float(best[0]), float(t[-1]), float(error[stop - 1])


def _lost(longest_fs: float) -> SeriesTooShort:
    return SeriesTooShort(
        "the running integral of the stress correlation is lost in noise before it levels off "
        f"(within {longest_fs:.3g} fs): a viscosity needs longer or more runs",
        n_effective=1,
    )
