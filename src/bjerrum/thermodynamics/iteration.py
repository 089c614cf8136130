"""Find the root of a large smooth system of equations, from fast to robust methods."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
from scipy.linalg import LinAlgWarning
from scipy.optimize import NoConvergence, anderson, newton_krylov

from bjerrum.estimate import FloatArray

TOLERANCE: Final = 1e-8
"""Largest residual of a solution, dimensionless."""
_QUICK_ITERATIONS: Final = 80
_MAX_ITERATIONS: Final = 120
_NEWTON_ITERATIONS: Final = 12


def find_root(
    residual: Callable[[FloatArray], FloatArray], guess: FloatArray, *, quick: bool = False
) -> tuple[FloatArray, float]:
    """Return the best solution found and its largest residual; infinite if everything diverged.

    Anderson mixing, then Anderson mixing with small steps, then Newton-Krylov.

    residual  array to array of the same shape; raises FloatingPointError where it has no value
    quick     try the first method only
    """
    best, least = guess, math.inf
    for method in (_mix,) if quick else (_mix, _mix_carefully, _newton):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)
            try:
                found = method(residual, guess)
                size = float(np.max(np.abs(residual(found))))
            except NoConvergence as stopped:
                found = np.asarray(stopped.args[0]).reshape(guess.shape)
                size = _size(residual, found)
            except (FloatingPointError, ValueError, np.linalg.LinAlgError):
                continue
        if size < least:
            best, least = found, size
        if least <= TOLERANCE:
            break
    return best, least


Residual = Callable[[FloatArray], FloatArray]


def _mix(residual: Residual, guess: FloatArray) -> FloatArray:
    found = anderson(residual, guess, M=6, alpha=0.6, f_tol=TOLERANCE, maxiter=_QUICK_ITERATIONS)
    return np.asarray(found)


def _mix_carefully(residual: Residual, guess: FloatArray) -> FloatArray:
    found = anderson(residual, guess, M=10, alpha=0.1, f_tol=TOLERANCE, maxiter=_MAX_ITERATIONS)
    return np.asarray(found)


def _newton(residual: Residual, guess: FloatArray) -> FloatArray:
    found = newton_krylov(residual, guess, f_tol=TOLERANCE, maxiter=_NEWTON_ITERATIONS)
    return np.asarray(found)


def _size(residual: Residual, found: FloatArray) -> float:
    try:
        return float(np.max(np.abs(residual(found))))
    except FloatingPointError:
        return math.inf
