"""Error bars against processes whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import erf

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.properties.blocks import block_averages, block_means
from bjerrum.properties.statistics import (
    autocovariance,
    estimate_function,
    estimate_mean,
    integrated_autocorrelation_time,
    jackknife,
    mean_statistics,
    standard_error_of_mean,
)

N_SEEDS = 200
COVERAGE = (0.60, 0.76)


def ar1(n: int, length: float, random: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) of mean 0, variance 1 and 1 + 2 sum rho = length."""
    a = (length - 1) / (length + 1)
    noise = random.standard_normal(n)
    noise[0] /= math.sqrt(1 - a * a)
    return lfilter([math.sqrt(1 - a * a)], [1, -a], noise)


def coverage(draw: Callable[[np.random.Generator], list[np.ndarray]]) -> tuple[float, float]:
    """Share of seeds whose 1-sigma interval holds the truth, 0, and share with an error bar."""
    hits, reported = 0, 0
    for seed in range(N_SEEDS):
        statistics = mean_statistics(draw(np.random.default_rng(seed)))
        reported += bool(np.isfinite(statistics.standard_error))
        hits += bool(abs(statistics.mean) <= statistics.standard_error)
    return hits / max(reported, 1), reported / N_SEEDS


def test_autocovariance_equals_the_naive_double_sum() -> None:
    random = np.random.default_rng(0)
    replicas = [random.standard_normal((n, 2)) for n in (7, 12)]
    mean = np.concatenate(replicas).mean(axis=0)
    naive = []
    for lag in range(6):
        terms = [
            (replica[i] - mean) * (replica[i + lag] - mean)
            for replica in replicas
            for i in range(len(replica) - lag)
        ]
        naive.append(np.mean(terms, axis=0))
    np.testing.assert_allclose(autocovariance(replicas, 5), naive, atol=1e-13)


@pytest.mark.parametrize("length", [1.0, 3.0, 10.0, 50.0])
def test_autocorrelation_time_of_a_known_process(length: float) -> None:
    series = ar1(200_000, length, np.random.default_rng(3))
    expected_error = length * math.sqrt(2 * (2 * 2 * length + 1) / len(series))
    assert integrated_autocorrelation_time(series) == pytest.approx(
        length, abs=4 * expected_error + 0.03 * length
    )


def test_standard_error_of_independent_numbers() -> None:
    series = np.random.default_rng(1).standard_normal(100_000)
    assert standard_error_of_mean(series) == pytest.approx(1 / math.sqrt(1e5), rel=0.03)


@pytest.mark.parametrize(
    ("n_replicas", "n_times", "length"),
    [
        (1, 20, 20.0),
        (1, 25, 10.0),
        (1, 30, 5.0),
        (1, 200, 10.0),
        (1, 40, 1.0),
        (2, 12, 20.0),
        (4, 12, 10.0),
    ],
)
def test_one_sigma_covers_the_truth(n_replicas: int, n_times: int, length: float) -> None:
    def draw(random: np.random.Generator) -> list[np.ndarray]:
        return [ar1(int(n_times * length), length, random) for _ in range(n_replicas)]

    share, reported = coverage(draw)
    assert COVERAGE[0] <= share <= COVERAGE[1]
    assert reported >= 0.85


def test_the_naive_estimate_would_undercover() -> None:
    """Guards the test above: without correlation the same seeds fail by far."""
    hits = 0
    for seed in range(N_SEEDS):
        series = ar1(500, 20.0, np.random.default_rng(seed))
        hits += abs(series.mean()) <= series.std() / math.sqrt(len(series))
    assert hits / N_SEEDS < 0.4


@pytest.mark.parametrize("n_replicas", [2, 4, 8])
def test_a_mode_that_is_frozen_within_each_replica_is_not_overlooked(n_replicas: int) -> None:
    """A tenth of the variance never relaxes; only the scatter of the replicas shows it."""

    def draw(random: np.random.Generator) -> list[np.ndarray]:
        return [
            math.sqrt(0.9) * ar1(300, 3.0, random) + math.sqrt(0.1) * random.standard_normal()
            for _ in range(n_replicas)
        ]

    share, _ = coverage(draw)
    assert COVERAGE[0] - 0.02 <= share <= COVERAGE[1]


def test_replicas_too_short_for_their_own_error_bar_use_their_scatter() -> None:
    def draw(random: np.random.Generator) -> list[np.ndarray]:
        return [ar1(40, 20.0, random) for _ in range(4)]

    share, reported = coverage(draw)
    assert reported == 1.0
    assert COVERAGE[0] <= share <= COVERAGE[1]


def test_few_correlation_times_are_mostly_refused() -> None:
    _, reported = coverage(lambda random: [ar1(60, 30.0, random)])
    assert reported <= 0.2


def test_refusal_names_the_number_of_independent_samples() -> None:
    walk = np.cumsum(np.random.default_rng(0).standard_normal(1000))
    with pytest.raises(SeriesTooShort, match="independent") as caught:
        estimate_mean(walk, "eV")
    assert 0 < caught.value.n_effective < 10


def test_a_constant_gives_no_error_bar() -> None:
    with pytest.raises(SeriesTooShort, match="never change"):
        estimate_mean(np.full(100, 4.2), "1")


@pytest.mark.parametrize("n", [1, 2, 9, 19])
def test_a_handful_of_samples_of_one_run_is_refused(n: int) -> None:
    with pytest.raises(SeriesTooShort):
        estimate_mean(np.random.default_rng(0).standard_normal(n), "1")


@pytest.mark.parametrize("series", [[], [1.0, math.nan, 2.0], [[1.0, 2.0], []], 3.0])
def test_unusable_series_are_refused(series: object) -> None:
    with pytest.raises(InputError):
        estimate_mean(series, "1")  # type: ignore[arg-type]


def test_estimate_carries_value_unit_and_independent_samples() -> None:
    series = 7.0 + ar1(20_000, 10.0, np.random.default_rng(5))
    estimate = estimate_mean(series, "eV", provenance={"source": "test"})
    assert estimate.value == pytest.approx(series.mean(), abs=1e-12)
    assert estimate.unit == "eV"
    assert estimate.n_effective == pytest.approx(2000, rel=0.25)
    assert estimate.standard_error == pytest.approx(math.sqrt(1 / 2000), rel=0.15)
    assert estimate.provenance == {"source": "test"}


@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (-1e-3, 5.0), (1e6, -1e7)])
def test_error_bars_scale_and_ignore_shifts(scale: float, shift: float) -> None:
    series = ar1(2000, 8.0, np.random.default_rng(2))
    assert standard_error_of_mean(scale * series + shift) == pytest.approx(
        abs(scale) * standard_error_of_mean(series), rel=1e-6
    )


def test_many_series_at_once_equal_one_by_one() -> None:
    random = np.random.default_rng(4)
    replicas = [
        np.stack([ar1(n, length, random) for length in (1, 5, 20, 90)], axis=1) for n in (300, 500)
    ]
    together = mean_statistics(replicas)
    for k in range(4):
        alone = mean_statistics([replica[:, k] for replica in replicas])
        np.testing.assert_allclose(together.standard_error[k], alone.standard_error)
        np.testing.assert_allclose(together.n_effective[k], alone.n_effective)


def test_order_of_replicas_does_not_matter_and_one_replica_is_one_series() -> None:
    random = np.random.default_rng(6)
    replicas = [ar1(n, 4.0, random) for n in (100, 250, 400)]
    forwards = mean_statistics(replicas)
    backwards = mean_statistics(replicas[::-1])
    np.testing.assert_allclose(forwards.standard_error, backwards.standard_error)
    np.testing.assert_allclose(
        mean_statistics([replicas[2]]).standard_error, mean_statistics(replicas[2]).standard_error
    )


def test_blocking_agrees_with_the_autocorrelation_time() -> None:
    series = ar1(2**16, 12.0, np.random.default_rng(7))
    blocks = block_averages(series)
    assert blocks.chosen is not None
    assert blocks.block_lengths[blocks.chosen] > 12
    chosen = blocks.standard_errors[blocks.chosen]
    assert chosen == pytest.approx(
        standard_error_of_mean(series), abs=3 * blocks.uncertainties[blocks.chosen]
    )
    assert blocks.standard_errors[0] < 0.4 * chosen


def test_blocking_of_a_random_walk_chooses_nothing() -> None:
    walk = np.cumsum(np.random.default_rng(0).standard_normal(4096))
    assert block_averages(walk).chosen is None


def test_block_means() -> None:
    np.testing.assert_allclose(block_means(np.arange(7.0), 3), [1.0, 4.0])


def test_jackknife_of_the_mean_is_the_standard_error_with_students_t() -> None:
    blocks = np.random.default_rng(8).standard_normal(5)
    value, error = jackknife(blocks, lambda mean: mean)
    assert value == pytest.approx(blocks.mean())
    widening = 1.1416616  # Student's t, 4 degrees of freedom, 84.1345 %
    assert error == pytest.approx(widening * blocks.std(ddof=1) / math.sqrt(5), rel=1e-4)


def test_jackknife_of_a_ratio_equals_the_delta_method() -> None:
    random = np.random.default_rng(9)
    blocks = np.array([10.0, 5.0]) + 0.1 * random.standard_normal((400, 2))
    value, error = jackknife(blocks, lambda mean: mean[0] / mean[1])
    a, b = blocks.mean(axis=0)
    linear = blocks[:, 0] / b - a * blocks[:, 1] / b**2
    assert value == pytest.approx(a / b)
    assert error == pytest.approx(linear.std(ddof=1) / 20, rel=0.01)
    with pytest.raises(SeriesTooShort):
        jackknife(blocks[:3], lambda mean: mean[0])


def test_function_of_means_of_correlated_series_is_covered() -> None:
    """ratio = <x>/<y> with x and y correlated in time, against its exact value 2."""
    hits = 0
    for seed in range(N_SEEDS):
        random = np.random.default_rng(seed)
        noise = np.stack([ar1(300, 6.0, random), ar1(300, 6.0, random)], axis=1)
        series = np.array([20.0, 10.0]) + noise
        estimate = estimate_function([series], lambda mean: mean[0] / mean[1], "1")
        hits += abs(estimate.value - 2.0) <= estimate.standard_error
    assert COVERAGE[0] <= hits / N_SEEDS <= COVERAGE[1]


def test_linear_function_equals_the_mean() -> None:
    random = np.random.default_rng(10)
    replicas = [ar1(150, 3.0, random), ar1(200, 3.0, random)]
    direct = estimate_mean(replicas, "1")
    through = estimate_function(replicas, float, "1")
    assert through.value == pytest.approx(direct.value)
    assert through.standard_error == pytest.approx(direct.standard_error)


def test_one_sigma_is_one_sigma() -> None:
    from bjerrum.properties.statistics import ONE_SIGMA

    assert pytest.approx((1 + erf(1 / math.sqrt(2))) / 2) == ONE_SIGMA
