"""A radial grid with its sine transform, and integrals of functions with steps on it.

r_i = i dr, k_j = j dk with dk = pi/((n + 1) dr), i, j = 1..n. The three-dimensional Fourier
transform of a spherical function, f(k) = (4 pi/k) int r f(r) sin(kr) dr, is then a discrete sine
transform of type I of r f(r).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.fft import dst, next_fast_len

from bjerrum.estimate import FloatArray

SPACING: Final = 0.05
"""Angstrom; with walls placed by :func:`nodes` the osmotic coefficient of the restricted primitive
model changes by less than 3e-5 on halving it."""
_SHORTEST: Final = 100.0
_DEBYE_LENGTHS: Final = 12.0
_GAUSS: Final = np.polynomial.legendre.leggauss(6)


@dataclass(frozen=True)
class RadialGrid:
    """n points r = dr, 2 dr, ..., n dr (angstrom); fast where n + 1 has small factors only."""

    n: int
    dr: float = SPACING

    @cached_property
    def r(self) -> FloatArray:
        """Distances, shape (n,), angstrom."""
        return self.dr * np.arange(1.0, self.n + 1)

    @cached_property
    def k(self) -> FloatArray:
        """Wave numbers, shape (n,), 1/angstrom."""
        return math.pi / ((self.n + 1) * self.dr) * np.arange(1.0, self.n + 1)

    @cached_property
    def _forward(self) -> FloatArray:
        return 2 * math.pi * self.dr / self.k

    @cached_property
    def _backward(self) -> FloatArray:
        return self.k[0] / (4 * math.pi**2) / self.r

    def to_k(self, f: FloatArray) -> FloatArray:
        """Return the Fourier transform of f(r), last axis of length n, in angstrom^3."""
        return self._forward * np.asarray(dst(self.r * f, 1))

    def to_r(self, f: FloatArray) -> FloatArray:
        """Return the inverse of :meth:`to_k`."""
        return self._backward * np.asarray(dst(self.k * f, 1))

    def integral(self, f: FloatArray) -> FloatArray:
        """Return int 4 pi r^2 f(r) dr over the last axis."""
        return 4 * math.pi * self.dr * np.asarray(f @ self.r**2)


def grid_for(screening: float, *, dr: float = SPACING, shortest: float = _SHORTEST) -> RadialGrid:
    """Return a grid long enough for a screening constant (1/angstrom): 12 Debye lengths."""
    length = max(shortest, _DEBYE_LENGTHS / screening)
    return RadialGrid(next_fast_len(math.ceil(length / dr) + 1, real=True) - 1, dr)


def resample(values: FloatArray, n: int) -> FloatArray:
    """Cut or continue with zeros the last axis to n points: the same spacing, another length."""
    missing = n - values.shape[-1]
    if missing <= 0:
        return values[..., :n]
    return np.concatenate([values, np.zeros((*values.shape[:-1], missing))], axis=-1)


def nodes(grid: RadialGrid, steps: Sequence[float], end: float) -> tuple[FloatArray, FloatArray]:
    """Return Gauss-Legendre nodes and weights from the first step to ``end``, split at the steps.

    steps  distances at which the integrand may jump, increasing, angstrom
    Every interval between neighbouring grid points or steps gets its own six points.
    """
    start = steps[0]
    inner = grid.dr * np.arange(math.floor(start / grid.dr), math.ceil(end / grid.dr) + 1)
    edges = np.unique(np.concatenate([inner, np.asarray(steps), [end]]))
    edges = edges[(edges >= start) & (edges <= end)]
    x, weight = _GAUSS
    low, width = edges[:-1, None], np.diff(edges)[:, None]
    return (low + width * (x + 1) / 2).ravel(), (width * weight / 2).ravel()


def weights_at_points(
    grid: RadialGrid, r: FloatArray, weights: FloatArray, values: FloatArray
) -> FloatArray:
    """Spread an integrand onto the grid so that products with smooth functions integrate rightly.

    Returns e with sum_i e_i F(r_i) dr = sum_q weights_q values_q F(r_q) for every cubic F:
    cardinal functions of cubic Lagrange interpolation. A wall may lie anywhere between two grid
    points; the error is of fourth order in dr.

    r, weights, values  nodes of :func:`nodes` and the integrand there, shape (n_nodes,)
    """
    position = r / grid.dr
    left = np.floor(position).astype(np.int64)
    t = position - left
    cardinals = (
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    )
    spread = np.zeros(grid.n + 4)
    for offset, cardinal in zip((-1, 0, 1, 2), cardinals, strict=True):
        index = left + offset - 1
        inside = (index >= 0) & (index < grid.n)
        spread += np.bincount(
            index[inside], (weights * values * cardinal)[inside], minlength=grid.n + 4
        )
    return spread[: grid.n] / grid.dr
