"""Radial functions as polynomials between even knots, as fine as an error bound asks.

The radial networks depend on the distance alone. Between two knots each of their outputs is the
polynomial through its values at the Chebyshev-Lobatto points, which hold both knots: the table is
continuous to rounding, and forces are the exact derivative of what the energy uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bjerrum.estimate import FloatArray
from bjerrum.potential.fused.description import Description, radial_functions

N_TERMS = 6
"""Coefficients of a polynomial: degree 5."""
TOLERANCE = 1e-6
"""Largest error of a slope relative to the largest slope of its layer. Forces are then wrong by
about 1e-6 eV/angstrom, which is what single precision leaves."""
MAX_KNOTS = 4096
_SHORTEST = 0.5
"""Angstrom: errors are looked at from here on; no two nuclei come closer and live."""


@dataclass(frozen=True)
class RadialTables:
    """Coefficients, packed for the kernel.

    numbers  single precision; for each layer [interval][power][path][channel]
    error    largest error of a slope, relative to the largest slope of its layer
    """

    numbers: np.ndarray
    n_knots: int
    error: float


def tabulate(network: Any, description: Description, width: int) -> RadialTables:
    """Tabulate every layer's functions with the fewest knots (a power of two) that suffice.

    width  channels of the kernel, padding included
    """
    layers = range(len(description.layers))
    n_knots = 32
    while True:
        fits = [_coefficients(network, k, description.cutoff, n_knots) for k in layers]
        errors = [_error(network, k, description.cutoff, fits[k]) for k in layers]
        if max(errors) <= TOLERANCE or n_knots >= MAX_KNOTS:
            break
        n_knots *= 2
    parts = [_packed(fits[k], description, len(description.layers[k].paths), width) for k in layers]
    return RadialTables(np.concatenate(parts), n_knots, max(errors))


def _coefficients(network: Any, layer: int, cutoff: float, n_knots: int) -> FloatArray:
    """Return the coefficients in t = 0 ... 1 of each interval, shape (n_knots, N_TERMS, n)."""
    t = 0.5 * (1 - np.cos(np.pi * np.arange(N_TERMS) / (N_TERMS - 1)))
    r = (np.arange(n_knots)[:, None] + t) * (cutoff / n_knots)
    values = radial_functions(network, layer, r.ravel()).reshape(n_knots, N_TERMS, -1)
    inverse = np.linalg.inv(t[:, None] ** np.arange(N_TERMS))
    coefficients: FloatArray = np.einsum("pt,kti->kpi", inverse, values)
    return coefficients


def _error(network: Any, layer: int, cutoff: float, fit: FloatArray) -> float:
    """Compare the slopes at the knots with those of the network, by central differences."""
    n_knots = len(fit)
    spacing, step = cutoff / n_knots, 1e-4
    r = np.asarray(np.arange(1, n_knots) * spacing, np.float64)
    difference = radial_functions(network, layer, r + step) - radial_functions(
        network, layer, r - step
    )
    exact = difference / (2 * step)
    far = r > _SHORTEST
    slope = fit[1:, 1] / spacing
    return float(np.abs(slope - exact)[far].max() / np.abs(exact)[far].max())


def _packed(fit: FloatArray, description: Description, n_paths: int, width: int) -> np.ndarray:
    n_knots, n_channels = len(fit), description.n_channels
    numbers = np.zeros((n_knots, N_TERMS, n_paths, width), dtype=np.float32)
    numbers[..., :n_channels] = fit.reshape(n_knots, N_TERMS, n_paths, n_channels)
    return numbers.ravel()
