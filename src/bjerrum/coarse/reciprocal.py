"""How the Coulomb sum of the engine is split: real space, a plain sum over waves, or a mesh.

    E = sum_pairs q q erfc(a r)/r + sum_k G(k) |S(k)|^2 - a/sqrt(pi) sum q^2,  times k_e/epsilon

Up to some hundred ions S is summed as it is written; more ions are spread on a mesh (smooth
particle mesh Ewald: Essmann and others, J. Chem. Phys. 103, 8577 (1995)), whose cost grows as the
number of ions does. The cutoff in real space is the one that costs least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray, IntArray

SPLINE_ORDER: Final = 4
"""That of mesh.h."""
_OVERSAMPLING: Final = 1.5
"""Mesh points over waves along an axis."""
_PAIR_NS, _WAVE_NS, _SPREAD_NS, _PRODUCT_NS = 14.0, 1.5, 220.0, 0.2
"""Nanoseconds of a pair, of an ion and wave, of an ion on the mesh, of a product; measured."""


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """Which Ewald sum a system gets.

    cutoff  of the real-space sum, angstrom
    width   a, 1/angstrom
    reach   largest wave number, 1/angstrom
    mesh    points along the axes; None for the plain sum
    """

    cutoff: float
    width: float
    reach: float
    mesh: tuple[int, int, int] | None


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """What the engine needs of the mesh; see ``mesh_t`` in ``mesh.h``.

    influence  energy of a wave over |S|^2, eV/e^2, both signs of the first integer together
    virial     the same for the virial
    """

    points: tuple[int, int, int]
    reach: tuple[int, int, int]
    influence: FloatArray
    virial: FloatArray


def balance(charges: FloatArray, edges: FloatArray, least: float, accuracy: float) -> Splitting:
    """Return the splitting that costs least.

    least     of the cutoff, angstrom: that of the pair functions
    accuracy  relative, of the forces
    Raises InputError where not even the least cutoff fits into half the box.
    """
    half = float(edges.min()) / 2
    if half < least:
        raise InputError(
            f"the coarse-grained model needs a box of at least twice its cutoff, {2 * least:g} "
            f"angstrom, got {2 * half:.2f}; use more ions"
        )
    if not charges.any():
        return Splitting(cutoff=least, width=1e-6, reach=0.0, mesh=None)
    costs = [
        _cost(len(charges), edges, cutoff, accuracy, on_mesh)
        for cutoff in np.linspace(least, max(least, half - 0.25), 20)
        for on_mesh in (False, True)
    ]
    return min(costs, key=lambda item: item[0])[1]


def _cost(
    n: int, edges: FloatArray, cutoff: float, accuracy: float, on_mesh: bool
) -> tuple[float, Splitting]:
    """Return nanoseconds of a step and the splitting."""
    root, volume = math.sqrt(-math.log(accuracy)), float(np.prod(edges))
    width, reach = root / cutoff, 2 * root**2 / cutoff
    pairs = _PAIR_NS * 0.5 * n * n / volume * 4 / 3 * math.pi * (cutoff + 0.7) ** 3
    if not on_mesh:
        waves = volume * reach**3 / (12 * math.pi**2)
        return pairs + _WAVE_NS * n * waves, Splitting(
            cutoff=cutoff, width=width, reach=reach, mesh=None
        )
    points, (x, y, z) = mesh_points(edges, reach), waves_along(edges, reach)
    products = 4 * (
        (x + 1) * points[0] * points[1] * points[2]
        + 2 * (x + 1) * (2 * y + 1) * points[2] * (points[1] + 2 * z + 1)
    )
    cost = pairs + _SPREAD_NS * n + _PRODUCT_NS * products
    return cost, Splitting(cutoff=cutoff, width=width, reach=reach, mesh=points)


def waves_along(edges: FloatArray, reach: float) -> tuple[int, int, int]:
    """Return the largest integer of a wave along each axis."""
    x, y, z = (max(1, math.floor(reach * edge / (2 * math.pi))) for edge in edges)
    return x, y, z


def mesh_points(edges: FloatArray, reach: float) -> tuple[int, int, int]:
    """Return the mesh points along each axis."""
    x, y, z = (
        max(SPLINE_ORDER + 2, math.ceil(_OVERSAMPLING * (2 * m + 1)))
        for m in waves_along(edges, reach)
    )
    return x, y, z


def plain_sum(
    edges: FloatArray, splitting: Splitting, strength: float
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return integer vectors of one half space, sorted, and factors of energy and virial.

    strength  k_e/epsilon, eV angstrom/e^2
    """
    limits = np.floor(splitting.reach * edges / (2 * math.pi)).astype(int)
    axes = [np.arange(0, limits[0] + 1), *(np.arange(-m, m + 1) for m in limits[1:])]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    x, y, z = grid.T
    grid = grid[(x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))]
    factors, virials = _factors(grid, edges, splitting, strength)
    inside = factors > 0
    return grid[inside].astype(np.int64), 2 * factors[inside], 2 * virials[inside]


def _factors(
    grid: IntArray, edges: FloatArray, splitting: Splitting, strength: float
) -> tuple[FloatArray, FloatArray]:
    """Return G(k) of every wave of the whole space, 0 at k = 0 and beyond the reach; the virial's.

    G = 2 pi/V exp(-k^2/(4 a^2))/k^2, virial G (1 - k^2/(2 a^2)).
    """
    k2 = ((2 * math.pi * grid / edges) ** 2).sum(axis=-1)
    inside = (k2 > 0) & (k2 <= splitting.reach**2)
    safe = np.where(inside, k2, 1.0)
    damped = np.exp(-safe / (4 * splitting.width**2)) / safe
    factors = np.where(inside, strength * 2 * math.pi / float(np.prod(edges)) * damped, 0.0)
    return factors, factors * (1 - k2 / (2 * splitting.width**2))


def mesh_sum(edges: FloatArray, splitting: Splitting, strength: float) -> Mesh | None:
    """Return the mesh and its influence function; None for the plain sum."""
    if splitting.mesh is None:
        return None
    reach = waves_along(edges, splitting.reach)
    axes = [np.arange(0, reach[0] + 1), *(np.arange(-m, m + 1) for m in reach[1:])]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    factors, virials = _factors(grid, edges, splitting, strength)
    spline = [_spline_factor(m, k) for m, k in zip(axes, splitting.mesh, strict=True)]
    both = np.where(axes[0] > 0, 2.0, 1.0) * spline[0]
    scale = both[:, None, None] * spline[1][:, None] * spline[2]
    return Mesh(
        points=splitting.mesh, reach=reach, influence=factors * scale, virial=virials * scale
    )


def _spline_factor(waves: IntArray, points: int) -> FloatArray:
    """Return |b(m)|^2 = 1/|sum_k M(k + 1) exp(2 pi i m k/K)|^2 (Essmann 1995, eq. 4.4)."""
    from scipy.interpolate import BSpline

    cardinal = BSpline.basis_element(np.arange(SPLINE_ORDER + 1.0), extrapolate=False)
    k = np.arange(SPLINE_ORDER - 1)
    sums = np.exp(2j * np.pi * np.outer(waves, k) / points) @ cardinal(k + 1.0)
    return np.asarray(1 / np.abs(sums) ** 2)
