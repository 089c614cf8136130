"""Block averages: the classic check of an error bar, and blocks and bootstrap for other estimators.

Source: H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bjerrum.errors import SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.statistics import (
    DISAGREEMENT_LEVEL,
    MIN_REPLICAS,
    ONE_SIGMA,
    as_replicas,
    integrated_autocorrelation_time,
)


@dataclass(frozen=True)
class BlockAverages:
    """Standard errors of the mean from blocks of growing length (Flyvbjerg and Petersen 1989).

    block_lengths    samples in a block, shape (n_levels,)
    standard_errors  of the mean, from the scatter of the blocks, shape (n_levels,)
    uncertainties    of ``standard_errors``, shape (n_levels,)
    chosen           index of the level that is long enough, None when the series is too short
    """

    block_lengths: NDArray[np.int64]
    standard_errors: FloatArray
    uncertainties: FloatArray
    chosen: int | None


def block_means(series: ArrayLike, block_length: int) -> FloatArray:
    """Return means of consecutive blocks, shape (n // block_length, ...); drop the rest."""
    array = np.asarray(series, dtype=np.float64)
    n = len(array) // block_length
    return array[: n * block_length].reshape(n, block_length, *array.shape[1:]).mean(axis=1)


def block_averages(series: ArrayLike) -> BlockAverages:
    """Blocking analysis of one series, with automatic choice of the block length.

    SE_B^2 = var(block means)/(n_B - 1), its relative uncertainty 1/sqrt(2 (n_B - 1)) (Flyvbjerg
    and Petersen 1989, eqs. 26-28). Chosen is the first B with B^3 > 2 N (SE_B/SE_1)^4
    (Lee et al., Phys. Rev. E 83, 066706 (2011)). An independent check of mean_statistics.

    series  shape (n_samples,)
    """
    array = as_replicas([np.asarray(series, dtype=np.float64)])[0]
    lengths = 2 ** np.arange(max(int(np.log2(max(len(array) // 2, 1))), 0) + 1)
    errors, uncertainties = [], []
    for length in lengths:
        means = block_means(array, int(length))
        freedom = max(len(means) - 1, 1)
        errors.append(np.sqrt(means.var() / freedom))
        uncertainties.append(errors[-1] / np.sqrt(2 * freedom))
    ratio = np.array(errors) / (errors[0] or 1.0)
    long_enough = lengths**3 > 2 * len(array) * ratio**4
    chosen = int(long_enough.argmax()) if long_enough.any() else None
    return BlockAverages(lengths, np.array(errors), np.array(uncertainties), chosen)


def automatic_block_length(replicas: Sequence[ArrayLike]) -> int:
    """Return a block length, in samples, after which blocks of a series are independent enough.

    The smallest B with B^3 > 2 N g^2, g the statistical inefficiency (Lee et al. 2011, with SE_B^2
    /SE_1^2 -> g): long enough to hold the correlation, short enough to leave many blocks.

    replicas  series of numbers, one per run, each (n_samples,)
    Raises SeriesTooShort where the correlation time is not resolved or fewer than MIN_REPLICAS
    blocks would remain.
    """
    series = [part - part.mean() for part in as_replicas(list(replicas))]
    inefficiency = max(integrated_autocorrelation_time(series), 1.0)
    n = sum(len(part) for part in series)
    length = int(np.ceil((2 * n * inefficiency**2) ** (1 / 3)))
    blocks = sum(len(part) // length for part in series)
    if blocks < MIN_REPLICAS:
        raise SeriesTooShort(
            f"{n} samples hold {blocks} blocks of {length}; an error bar from blocks needs "
            f"{MIN_REPLICAS}: run longer",
            n_effective=max(n / inefficiency, 1.0),
        )
    return length


def bootstrap(
    replicas: Sequence[ArrayLike],
    function: Callable[[FloatArray], float],
    unit: str,
    *,
    block_length: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return a function of mean quantities with a bootstrap error over runs and blocks.

    Blocks of all runs are drawn with replacement; of four or more runs also whole runs, whose error
    is used if it exceeds that of the blocks by more than chance (F-test, as in mean_statistics):
    then a run holds a slow mode that its blocks do not show. An error is half the central 68.3 % of
    the resampled values (Efron 1979), widened by sqrt(n/(n - 1)) and Student's t for n blocks or
    runs.

    replicas      one (n_samples, ...) per run
    function      of one sample's shape, applied to means
    block_length  in samples; default: :func:`automatic_block_length` of the first component, or
                  a whole run where that is not resolved and there are four or more
    Raises SeriesTooShort for fewer than MIN_REPLICAS blocks.
    """
    series = as_replicas(list(replicas))
    if block_length is None:
        block_length = _block_length_or_run([p.reshape(len(p), -1)[:, 0] for p in series])
    runs = [block_means(part, block_length) for part in series if len(part) >= block_length]
    blocks = np.concatenate(runs) if runs else np.zeros((0, 1))
    if len(blocks) < MIN_REPLICAS:
        raise SeriesTooShort(
            f"an error bar needs at least {MIN_REPLICAS} blocks, got {len(blocks)} of "
            f"{block_length} samples: run longer",
            n_effective=max(len(blocks), 1),
        )
    random = np.random.default_rng(seed)
    error, n = _bootstrap_error(blocks, function, resamples, random), len(blocks)
    if len(runs) >= MIN_REPLICAS:
        means = np.array([run.mean(axis=0) for run in runs])
        between = _bootstrap_error(means, function, resamples, random)
        ratio = (between / error) ** 2 if error > 0 else np.inf
        if stats.f.sf(ratio, len(runs) - 1, n - 1) < DISAGREEMENT_LEVEL:
            error, n = between, len(runs)
    return Estimate(
        value=float(function(np.concatenate(series).mean(axis=0))),
        standard_error=error,
        unit=unit,
        n_effective=float(n),
        provenance={"method": "bootstrap", "block_length": block_length},
    )


def _block_length_or_run(series: Sequence[FloatArray]) -> int:
    try:
        return automatic_block_length(series)
    except SeriesTooShort:
        if len(series) < MIN_REPLICAS:
            raise
        return min(len(part) for part in series)


def _bootstrap_error(
    samples: FloatArray,
    function: Callable[[FloatArray], float],
    resamples: int,
    random: np.random.Generator,
) -> float:
    n = len(samples)
    drawn = [samples[random.integers(0, n, n)].mean(axis=0) for _ in range(resamples)]
    values = np.array([float(function(mean)) for mean in drawn])
    low, high = np.quantile(values, [1 - ONE_SIGMA, ONE_SIGMA])
    widened = np.sqrt(n / (n - 1)) * stats.t.ppf(ONE_SIGMA, n - 1)
    return float((high - low) / 2 * widened)
