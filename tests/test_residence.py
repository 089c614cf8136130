"""Residence times against a double loop and a Markov process of known rate."""

from __future__ import annotations

import numpy as np
import pytest

from bjerrum.errors import SeriesTooShort
from bjerrum.properties.residence import (
    StayTracker,
    correlation,
    residence_lags,
    residence_time,
    stable_states,
)


def tracked(inside: np.ndarray, sizes: tuple[int, ...] = ()) -> StayTracker:
    tracker = StayTracker(*inside.shape[1:])
    for part in np.split(inside, np.cumsum(sizes)):
        if len(part):
            tracker.add(part)
    return tracker


def flickering(seed: int, n_frames: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).random((n_frames, 3, 4)) < 0.6


def naive(inside, centre, lag, tolerance):
    """Impey's count, origin by origin: never away for more than ``tolerance`` frames on end."""
    top = below = 0
    for series in inside[:, centre].T:
        for start in np.flatnonzero(series[: len(series) - lag]):
            below += 1
            away = longest = 0
            for present in series[start : start + lag + 1]:
                away = 0 if present else away + 1
                longest = max(longest, away)
            top += bool(series[start + lag]) and longest <= tolerance
    return top, below


@pytest.mark.parametrize("tolerance", [0, 1, 2, 5])
def test_correlation_equals_the_definition(tolerance):
    inside, lags = flickering(1), np.array([0, 1, 2, 5, 9, 30])
    top, below = correlation(tracked(inside).stays(), lags, tolerance=tolerance)
    for centre in range(3):
        for k, lag in enumerate(lags):
            assert (top[centre, k], below[centre, k]) == naive(inside, centre, lag, tolerance)


def test_chunks_and_stored_states_change_nothing():
    inside = flickering(2)
    whole = tracked(inside).stays()
    pieces = tracked(inside, (7, 1, 30)).stays()
    halfway = tracked(inside[:25])
    taken_up = StayTracker.from_state(halfway.state())
    taken_up.add(inside[25:])
    for other in (pieces, taken_up.stays()):
        np.testing.assert_array_equal(other.pair, whole.pair)
        np.testing.assert_array_equal(other.start, whole.start)
        np.testing.assert_array_equal(other.end, whole.end)
    rebuilt = np.zeros((60, 12), dtype=bool)
    for pair, start, end in zip(whole.pair, whole.start, whole.end, strict=True):
        rebuilt[start:end, pair] = True
    np.testing.assert_array_equal(rebuilt.reshape(60, 3, 4), inside)


def test_stable_states_equal_the_definition():
    distance = np.random.default_rng(3).random((80, 2, 3))
    near, far = distance < 0.4, distance > 0.85
    lags = np.array([0, 1, 3, 10, 40])
    top, below = stable_states(tracked(near).stays(), tracked(far).stays(), lags)
    for centre in range(2):
        for k, lag in enumerate(lags):
            n = d = 0
            for j in range(3):
                for start in np.flatnonzero(near[: 80 - lag, centre, j]):
                    d += 1
                    n += not far[start : start + lag + 1, centre, j].any()
            assert (top[centre, k], below[centre, k]) == (n, d)


def markov(seed, leave=0.02, come=0.01, n_frames=2000, shape=(12, 20)):
    random = np.random.default_rng(seed)
    inside = np.zeros((n_frames, *shape), dtype=bool)
    inside[0] = random.random(shape) < come / (leave + come)
    for t in range(1, n_frames):
        drawn = random.random(shape)
        inside[t] = np.where(inside[t - 1], drawn > leave, drawn < come)
    return inside


def test_known_rate_is_found_with_its_error():
    truth, pulls = -1 / np.log(1 - 0.02), []
    lags = residence_lags(2000)
    for seed in range(25):
        stays = tracked(markov(seed)).stays()
        found = residence_time([correlation(stays, lags)], lags * 1.0)
        pulls.append((found.value - truth) / found.standard_error)
    assert np.mean(pulls) == pytest.approx(0, abs=0.8)
    assert 0.4 <= (np.abs(pulls) < 1).mean() <= 0.92  # 68 % of 25


def test_recrossings_count_for_survival_only():
    """A neighbour that flickers at the boundary: Impey's t* sees through it."""
    inside = markov(1)
    flicker = np.random.default_rng(5).random(inside.shape) < 0.1
    lags = residence_lags(2000)
    stays = tracked(inside & ~flicker).stays()
    tolerant = residence_time([correlation(stays, lags, tolerance=3)], lags * 1.0, from_ps=3.0)
    strict = residence_time([correlation(stays, lags)], lags * 1.0)
    assert tolerant.value == pytest.approx(49.5, rel=0.15)
    assert strict.value < 12


def test_neighbours_that_never_leave_are_refused():
    inside = np.ones((100, 5, 4), dtype=bool)
    lags = residence_lags(100)
    with pytest.raises(SeriesTooShort, match="too few exchanges"):
        residence_time([correlation(tracked(inside).stays(), lags)], lags * 1.0)
    few = correlation(tracked(markov(1, shape=(2, 20), n_frames=300)).stays(), lags)
    with pytest.raises(SeriesTooShort, match="at least 4 ions, got 2"):
        residence_time([few], lags * 1.0)
