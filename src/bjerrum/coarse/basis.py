"""The form of the effective potential: linear in its coefficients, so that fitting is solving.

    W = sum_{pairs} u_ab(r)
        + sum_i sum_l sum_{(b n) <= (c m)} w^{a l}_{bn,cm} A^l_{i bn} . A^l_{i cm}

u_ab are cubic B-splines that vanish smoothly at the pair cutoff. A are moments of the neighbours of
ion i of kind a, with x the unit vector to neighbour j of kind b and R_n four cubic B-splines that
vanish at the shorter many-body cutoff,

    A^0_{bn} = sum_j R_n(r),   A^1 = sum_j R_n(r) x,   A^2 = sum_j R_n(r) (x x - 1/3)

whose products are invariant under rotation: the terms of body order three of the atomic cluster
expansion (Drautz, Phys. Rev. B 99, 014104 (2019)), for l = 0, 1, 2. Energies in eV, lengths in
angstrom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, pairwise
from typing import Any, Final

import numpy as np
from scipy.interpolate import BSpline
from scipy.sparse import csr_matrix

from bjerrum.estimate import FloatArray, IntArray

DEGREES: Final = (0, 1, 2)
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Which functions the effective potential is made of.

    elements     the ions, in alphabetical order
    pair_start   distance of each pair, angstrom, where its splines begin: no data below
    pair_cutoff  angstrom
    spacing      of the pair splines' knots, angstrom
    body_cutoff  of the three-body terms, angstrom
    body_start   angstrom, where the first radial function of the three-body terms begins
    n_radial     number of radial functions of the three-body terms; 0: pairs alone
    """

    elements: tuple[str, ...]
    pair_start: tuple[float, ...]
    pair_cutoff: float = 10.0
    spacing: float = 0.25
    body_cutoff: float = 7.0
    body_start: float = 1.0
    n_radial: int = 4

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of elements, in the order of ``pair_start``."""
        return tuple(combinations_with_replacement(self.elements, 2))

    @cached_property
    def knots(self) -> list[FloatArray]:
        """Knots of each pair's splines; three lie before the start."""
        result = []
        for start in self.pair_start:
            intervals = max(4, round((self.pair_cutoff - start) / self.spacing))
            step = (self.pair_cutoff - start) / intervals
            result.append(np.asarray(start + step * np.arange(-3, intervals + 1), np.float64))
        return result

    @cached_property
    def pair_slices(self) -> list[slice]:
        """Where each pair's coefficients are."""
        ends = np.cumsum([0] + [len(knots) - 4 for knots in self.knots])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    @property
    def n_pair(self) -> int:
        """Number of coefficients of the pair part."""
        return self.pair_slices[-1].stop

    @cached_property
    def body_knots(self) -> FloatArray:
        """Knots of the radial functions of the three-body terms."""
        step = (self.body_cutoff - self.body_start) / (self.n_radial + 3)
        return np.asarray(self.body_start + step * np.arange(self.n_radial + 4), np.float64)

    @cached_property
    def products(self) -> IntArray:
        """The pairs (b n, c m) with b n <= c m of one kind of ion and one degree, (n, 2)."""
        size = len(self.elements) * self.n_radial
        return np.stack(np.triu_indices(size), axis=1)

    @property
    def n_body(self) -> int:
        """Number of coefficients of the three-body part."""
        return len(self.elements) * len(DEGREES) * len(self.products) if self.n_radial else 0

    @property
    def n_coefficients(self) -> int:
        """All coefficients: pairs first."""
        return self.n_pair + self.n_body

    def weights(self, coefficients: FloatArray) -> FloatArray:
        """Return w as symmetric matrices with E = sum_l A^l . w^l . A^l.

        Shape (n_elements, 3, m, m), m = n_elements * n_radial.
        """
        size = len(self.elements) * self.n_radial
        flat = coefficients[self.n_pair :].reshape(len(self.elements), len(DEGREES), -1)
        matrix = np.zeros((len(self.elements), len(DEGREES), size, size))
        first, second = self.products.T
        matrix[:, :, first, second] += 0.5 * flat
        matrix[:, :, second, first] += 0.5 * flat
        return matrix

    def pair_function(self, pair: int, coefficients: FloatArray) -> BSpline:
        """Return u(r) of a pair, defined from its start to the cutoff."""
        padded = np.concatenate([np.zeros(3), coefficients[self.pair_slices[pair]], np.zeros(3)])
        return BSpline(_extended(self.knots[pair]), padded, 3, extrapolate=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; ``Basis(**data)`` with tuples restored is the inverse."""
        return {
            "elements": list(self.elements),
            "pair_start_angstrom": list(self.pair_start),
            "pair_cutoff_angstrom": self.pair_cutoff,
            "spacing_angstrom": self.spacing,
            "body_cutoff_angstrom": self.body_cutoff,
            "body_start_angstrom": self.body_start,
            "n_radial": self.n_radial,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Basis:
        """Read what :meth:`to_json` wrote."""
        plain = {key.removesuffix("_angstrom"): value for key, value in data.items()}
        plain["elements"] = tuple(plain["elements"])
        plain["pair_start"] = tuple(float(r) for r in plain["pair_start"])
        return cls(**plain)


def force_columns(
    basis: Basis, symbols: Sequence[str], edges: FloatArray, positions: FloatArray
) -> FloatArray:
    """Return the force on every ion by every coefficient, (n_ions, 3, n_coefficients).

    F_i = columns[i] @ coefficients, exactly the negative gradient of W.

    edges      of the orthorhombic cell, angstrom, (3,)
    positions  angstrom, (n_ions, 3)
    """
    kinds = np.array([basis.elements.index(symbol) for symbol in symbols])
    first, second, vectors, r = neighbours(positions, edges, basis.pair_cutoff)
    columns = np.zeros((len(symbols), 3, basis.n_coefficients))
    x = vectors / r[:, None]
    for index, (a, b) in enumerate(basis.pairs):
        wanted = {basis.elements.index(a), basis.elements.index(b)}
        chosen = np.flatnonzero(
            (np.minimum(kinds[first], kinds[second]) == min(wanted))
            & (np.maximum(kinds[first], kinds[second]) == max(wanted))
        )
        slopes = spline_values(basis.knots[index], r[chosen], derivative=1)
        push = slopes[:, None, :] * x[chosen][:, :, None]
        part = gather(first[chosen], len(symbols), push) - gather(
            second[chosen], len(symbols), push
        )
        columns[:, :, basis.pair_slices[index]] = part
    if basis.n_radial:
        near = r < basis.body_cutoff
        columns[:, :, basis.n_pair :] = _body_columns(
            basis, kinds, first[near], second[near], x[near], r[near]
        )
    return columns


def neighbours(
    positions: FloatArray, edges: FloatArray, cutoff: float
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return i, j (each pair once), the vector from i to j and its length."""
    import vesin  # loads torch: late, so that planning does without

    search = vesin.NeighborList(cutoff=cutoff, full_list=False)
    first, second, vectors, r = search.compute(
        positions, np.diag(edges), periodic=True, quantities="ijDd"
    )
    return first.astype(np.int64), second.astype(np.int64), vectors, r


def gather(index: IntArray, n: int, values: FloatArray) -> FloatArray:
    """Return the sums of values that share an index, (n, ...): ``numpy.add.at``, but fast."""
    ones = (np.ones(len(index)), (index, np.arange(len(index))))
    matrix = csr_matrix(ones, shape=(n, len(index)))
    flat = values.reshape(len(index), int(np.prod(values.shape[1:])))
    return np.asarray(matrix @ flat).reshape(n, *values.shape[1:])


def bumps(knots: FloatArray, r: FloatArray, derivative: int = 0) -> FloatArray:
    """Return the cubic B-splines of even knots, zero beyond them, (n, len(knots) - 4)."""
    splines = BSpline(_extended(knots), np.eye(len(knots) + 2), 3, extrapolate=False)
    values = splines.derivative(derivative)(r) if derivative else splines(r)
    return np.nan_to_num(values)[:, 3:-3]


def spline_values(knots: FloatArray, r: FloatArray, derivative: int = 0) -> FloatArray:
    """Return every spline of a pair (or derivative) at r; zero before the start, knots[3]."""
    return np.where((r >= knots[3])[:, None], bumps(knots, r, derivative), 0.0)


def _extended(knots: FloatArray) -> FloatArray:
    beyond = (knots[1] - knots[0]) * np.arange(1, 4)
    return np.concatenate([knots[0] - beyond[::-1], knots, knots[-1] + beyond])


def _harmonics(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the 1 + 3 + 6 components of 1, x, x x - 1/3, and their weights in the product.

    The symmetric tensor keeps six components; the three off-diagonal ones count twice.
    """
    y = np.empty((len(x), 10))
    y[:, 0] = 1.0
    y[:, 1:4] = x
    y[:, 4:7] = x**2 - 1 / 3
    y[:, 7], y[:, 8], y[:, 9] = x[:, 0] * x[:, 1], x[:, 0] * x[:, 2], x[:, 1] * x[:, 2]
    return y, np.array([1.0, 1, 1, 1, 1, 1, 1, 2, 2, 2])


_DEGREE_OF: Final = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2, 2])


def _harmonic_slopes(x: FloatArray) -> FloatArray:
    """Return r dY/d(vector), (n, 10, 3), where x = vector/r."""
    projector = np.eye(3) - x[:, :, None] * x[:, None, :]
    slopes = np.zeros((len(x), 10, 3))
    slopes[:, 1:4] = projector
    for index, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)), start=4):
        slopes[:, index] = projector[:, a] * x[:, b, None] + x[:, a, None] * projector[:, b]
    return slopes


def _body_columns(
    basis: Basis, kinds: IntArray, first: IntArray, second: IntArray, x: FloatArray, r: FloatArray
) -> FloatArray:
    """Return the columns of the three-body coefficients."""
    i, j = np.concatenate([first, second]), np.concatenate([second, first])
    x, r = np.concatenate([x, -x]), np.concatenate([r, r])
    radial, slope = _radial(basis, r)
    y, weight = _harmonics(x)
    n, kinds_n = len(kinds), len(basis.elements)
    moments = gather(i * kinds_n + kinds[j], n * kinds_n, radial[:, :, None] * y[:, None, :])
    flat = moments.reshape(n, -1, 10) * weight
    gradient = (
        slope[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]
        + (radial / r[:, None])[:, :, None, None] * _harmonic_slopes(x)[:, None]
    )
    columns = np.zeros((n, 3, kinds_n, len(DEGREES), len(basis.products)))
    size = kinds_n * basis.n_radial
    for degree in DEGREES:
        parts = np.flatnonzero(degree == _DEGREE_OF)
        # d(A_bn)/d(x_j) . A_cm for b the kind of j, as a matrix (bn, cm) of which the others vanish
        cross = np.einsum("pnya,pmy->panm", gradient[:, :, parts], flat[i][:, :, parts])
        matrix = np.zeros((len(r), 3, size, size))
        for kind in range(kinds_n):
            own = kinds[j] == kind
            rows = slice(kind * basis.n_radial, (kind + 1) * basis.n_radial)
            matrix[own, :, rows] = cross[own]
        matrix = matrix + matrix.transpose(0, 1, 3, 2)
        a, b = basis.products.T
        values = matrix[:, :, a, b]
        for kind in range(kinds_n):
            own = np.flatnonzero(kinds[i] == kind)
            columns[:, :, kind, degree] = gather(i[own], n, values[own]) - gather(
                j[own], n, values[own]
            )
    return columns.reshape(n, 3, -1)


def _radial(basis: Basis, r: FloatArray) -> tuple[FloatArray, FloatArray]:
    return bumps(basis.body_knots, r), bumps(basis.body_knots, r, 1)


def body_energy(
    basis: Basis,
    coefficients: FloatArray,
    symbols: Sequence[str],
    edges: FloatArray,
    positions: FloatArray,
) -> float:
    """Return the three-body energy in eV: the plain sum, for tests and for PMFs."""
    kinds = np.array([basis.elements.index(symbol) for symbol in symbols])
    first, second, vectors, r = neighbours(positions, edges, basis.body_cutoff)
    i, j = np.concatenate([first, second]), np.concatenate([second, first])
    x, r = np.concatenate([vectors, -vectors]) / np.tile(r, 2)[:, None], np.tile(r, 2)
    radial, _ = _radial(basis, r)
    y, weight = _harmonics(x)
    size = len(basis.elements)
    moments = gather(i * size + kinds[j], len(kinds) * size, radial[:, :, None] * y[:, None, :])
    flat = moments.reshape(len(kinds), -1, 10)
    w = basis.weights(coefficients)[kinds][:, _DEGREE_OF]
    return float(np.einsum("imy,iymk,iky,y->", flat, w, flat, weight))
