"""Green-Kubo viscosity of a stress whose correlation is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.properties.viscosity import (
    STRESS_NAMES,
    _running_integrals,
    green_kubo_viscosity,
    stress_series,
)

VOLUME, TEMPERATURE, INTERVAL = 16000.0, 300.0, 5.0


def decaying(random, n, times, shares, amplitude=1e-3):
    """A series with correlation amplitude^2 sum share exp(-t/time)."""
    total = np.zeros(n)
    for time, share in zip(times, shares, strict=True):
        decay = np.exp(-1 / time)
        noise = random.standard_normal(n + 20 * int(time))
        part = lfilter([amplitude * np.sqrt(share * (1 - decay**2))], [1, -decay], noise)
        total += part[20 * int(time) :]
    return total


def stress(seed, n, times, shares):
    random = np.random.default_rng(seed)
    xy, xz, yz, a, b = (decaying(random, n, times, shares) for _ in range(5))
    return np.stack([2 * a, np.zeros(n), -2 * b, xy, xz, yz], axis=1)


def exact(times, shares, amplitude=1e-3):
    """V/(k T) amplitude^2 sum share time: mPa s."""
    integral = amplitude**2 * np.dot(shares, times) * INTERVAL
    joule_per_m3_s = 1.602176634e-19 * 1e30 * 1e-15
    return VOLUME / (8.617333262e-5 * TEMPERATURE) * integral * joule_per_m3_s * 1e3


def test_running_integral_equals_the_definition():
    series = stress(0, 2000, [5.0], [1.0])
    found = _running_integrals(series)
    assert found.shape == (20, 5, 50)
    xy = series[:100, 3] - series[:, 3].mean()
    correlation = [(xy[: 100 - k] * xy[k:]).mean() for k in range(50)]
    expected = np.concatenate([[0], np.cumsum((np.array(correlation)[1:] + correlation[:-1]) / 2)])
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-12)


def test_viscosity_of_a_known_stress():
    times, shares = [10.0, 100.0], [0.8, 0.2]
    truth = exact(times, shares)
    pulls, values = [], []
    for seed in range(6):
        series = stress(seed, 20000, times, shares)
        found = green_kubo_viscosity(
            [series], interval_fs=INTERVAL, volume=VOLUME, temperature=TEMPERATURE
        )
        values.append(found.estimate.value / truth)
        pulls.append((found.estimate.value - truth) / found.estimate.standard_error)
    assert np.mean(values) == pytest.approx(1.0, abs=0.1)
    assert np.abs(pulls).max() < 3.5
    assert 0.4 <= (np.abs(pulls) < 1).mean() <= 1.0


def test_runs_are_pooled():
    parts = [stress(seed, 12000, [10.0], [1.0]) for seed in (1, 2, 3, 4)]
    options = {"interval_fs": INTERVAL, "volume": VOLUME, "temperature": TEMPERATURE}
    together = green_kubo_viscosity(parts, **options)
    assert together.estimate.n_effective == 80
    assert together.estimate.value == pytest.approx(exact([10.0], [1.0]), rel=0.15)


def test_what_never_levels_off_is_refused():
    with pytest.raises(SeriesTooShort, match="longer or more runs"):
        green_kubo_viscosity(
            [stress(1, 4000, [3000.0], [1.0])],
            interval_fs=INTERVAL,
            volume=VOLUME,
            temperature=TEMPERATURE,
        )
    with pytest.raises(SeriesTooShort, match="1000 frames of stress, got 200"):
        green_kubo_viscosity(
            [np.zeros((200, 6))], interval_fs=INTERVAL, volume=VOLUME, temperature=TEMPERATURE
        )


def test_stored_stress_is_found_or_named_incomplete():
    series = {name: np.arange(3.0) for name in STRESS_NAMES}
    assert stress_series(series).shape == (3, 6)
    assert stress_series({}) is None
    del series["stress_xz"]
    with pytest.raises(InputError, match="lacks stress_xz"):
        stress_series(series)
