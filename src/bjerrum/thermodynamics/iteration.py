"""Find the root of a large smooth system of equations, from fast to robust methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from scipy.optimize import NoConvergence, anderson, newton_krylov

from bjerrum.estimate import FloatArray

TOLERANCE: Final = 1e-8
"""Largest residual of a solution, dimensionless."""
_MAX_ITERATIONS: Final = 150
_NEWTON_ITERATIONS: Final = 20


def find_root(
    residual: Callable[[FloatArray], FloatArray], guess: FloatArray
) -> tuple[FloatArray, float]:
    """Return the best solution found and its largest residual; infinite if everything diverged.

    Anderson mixing, then Anderson mixing with small steps, then Newton-Krylov.

    residual  array to array of the same shape; raises FloatingPointError where it has no value
    """
    methods = (
        lambda x: anderson(residual, x, M=6, alpha=0.6, f_tol=TOLERANCE, maxiter=_MAX_ITERATIONS),
        lambda x: anderson(residual, x, M=10, alpha=0.1, f_tol=TOLERANCE, maxiter=_MAX_ITERATIONS),
        lambda x: newton_krylov(residual, x, f_tol=TOLERANCE, maxiter=20),
    )
    best, least = guess, math.inf
    for method in methods:
        with np.errstate(all="ignore"):
            try:
                found = np.asarray(method(guess))
            except NoConvergence as stopped:
                found = np.asarray(stopped.args[0]).reshape(guess.shape)
            except (FloatingPointError, ValueError, np.linalg.LinAlgError):
                continue
            try:
                size = float(np.max(np.abs(residual(found))))
            except FloatingPointError:
                continue
        if size < least:
            best, least = found, size
        if least <= TOLERANCE:
            break
    return best, least
