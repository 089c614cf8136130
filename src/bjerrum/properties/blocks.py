"""Block averages: the classic check of an error bar, and blocks for other estimators.

Source: H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bjerrum.estimate import FloatArray
from bjerrum.properties.statistics import as_replicas


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
