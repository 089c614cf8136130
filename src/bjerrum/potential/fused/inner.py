"""A cheap potential fitted to a network's forces, for the inner of multiple time steps.

    f(x) = sum over pairs u_k(r),   k: O-H and H-H within a molecule, and every pair of elements
                                    between molecules up to a cutoff

Each u_k is a cubic B-spline; the coefficients follow from linear least squares on forces. It takes
0.1 ms where the network takes 5. What it misses is left to the outer steps, so it decides how long
those may be, not what the averages are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PPoly

from bjerrum.errors import InputError
from bjerrum.estimate import Evaluation, FloatArray, IntArray
from bjerrum.potential.fused.coulomb import BoundWall, classical_library
from bjerrum.potential.fused.network import address
from bjerrum.potential.neighbours import VerletList
from bjerrum.potential.protocol import ForceFunction
from bjerrum.potential.repulsion import Repulsion

CUTOFF = 3.6
N_PIECES = 12
BOND_LENGTH = 1.3
"""Angstrom: an H this near to an O belongs to its molecule."""
_RANGES = {("H", "O"): (0.75, 1.4), ("H", "H"): (1.0, 2.1)}
_STIFFNESS = 1e-4
"""Weight of the differences between neighbouring coefficients, beside the largest sum of squares of
its kind: too little to be felt where there are data, all there is where there are none."""


@dataclass(frozen=True)
class Kind:
    """A kind of pair: elements in alphabetical order, and its range in angstrom.

    bonded  within a molecule; the spline then does not vanish at the end of its range
    """

    elements: tuple[str, str]
    bonded: bool
    low: float
    high: float


@dataclass(frozen=True)
class InnerPotential:
    """The fitted pair terms.

    pieces      cubic coefficients in t = 0 ... 1, shape (n_kinds, N_PIECES, 4), eV
    rms         of the forces that it leaves to the outer step, eV/angstrom
    rms_whole   of the forces it was fitted to
    """

    kinds: tuple[Kind, ...]
    pieces: FloatArray
    rms: float
    rms_whole: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "kinds": [[*k.elements, k.bonded, k.low, k.high] for k in self.kinds],
            "pieces_eV": self.pieces.tolist(),
            "rms_left_eV_per_angstrom": self.rms,
            "rms_whole_eV_per_angstrom": self.rms_whole,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> InnerPotential:
        """Read what :meth:`to_json` wrote."""
        kinds = tuple(
            Kind((a, b), bool(bonded), low, high) for a, b, bonded, low, high in data["kinds"]
        )
        return cls(
            kinds, np.array(data["pieces_eV"]), data["rms_left_eV_per_angstrom"],
            data["rms_whole_eV_per_angstrom"],
        )  # fmt: skip

    def bind(
        self, symbols: Sequence[str], cell: FloatArray, wall: Repulsion | None = None
    ) -> ForceFunction:
        """Return the force function; molecules are found at the first call after a reset.

        wall  the model's, added here: it is the steepest force that there is, and cheap
        """
        return _BoundInner(self, list(symbols), np.array(cell, dtype=np.float64), wall)


class _BoundInner:
    def __init__(
        self, inner: InnerPotential, symbols: list[str], cell: FloatArray, wall: Repulsion | None
    ) -> None:
        elements = sorted({e for kind in inner.kinds for e in kind.elements} | set(symbols))
        index = {element: k for k, element in enumerate(elements)}
        self._symbols, self._cell = symbols, cell
        self._types = np.array([index[s] for s in symbols], dtype=np.int32)
        self._n_types = len(elements)
        self._kind = np.full((len(elements), len(elements), 2), -1, dtype=np.int32)
        for number, kind in enumerate(inner.kinds):
            a, b = (index[element] for element in kind.elements)
            self._kind[a, b, int(kind.bonded)] = self._kind[b, a, int(kind.bonded)] = number
        self._low = np.array([kind.low for kind in inner.kinds])
        self._high = np.array([kind.high for kind in inner.kinds])
        self._ends = np.array([not kind.bonded for kind in inner.kinds], dtype=np.int32)
        self._pieces = np.ascontiguousarray(inner.pieces)
        self._wall = None if wall is None else BoundWall(wall, elements)
        reach = 0.0 if self._wall is None else self._wall.reach
        self._neighbours = VerletList(cell, max(CUTOFF, reach), skin=1.0)
        self._molecule: IntArray | None = None
        self._library = classical_library()

    def reset(self) -> None:
        """Find molecules and neighbours anew at the next call."""
        self._molecule = None
        self._neighbours.reset()

    def __call__(self, positions: FloatArray) -> Evaluation:
        positions = np.ascontiguousarray(positions)
        if self._molecule is None:
            self._molecule = molecules(self._symbols, positions, self._cell)
        first, second, offsets = self._neighbours.candidates(positions)
        forces, energy = np.empty((len(positions), 3)), np.zeros(1)
        self._library.pair_terms(
            len(positions), address(self._types), address(self._molecule), address(positions),
            len(first), address(first), address(second), address(offsets), self._n_types,
            address(self._kind), N_PIECES, address(self._low), address(self._high),
            address(self._pieces), address(self._ends), address(energy), address(forces),
        )  # fmt: skip
        if self._wall is None:
            return Evaluation(float(energy[0]), forces)
        wall = self._wall.evaluate(self._types, positions, (first, second, offsets))
        return Evaluation(float(energy[0]) + wall[0], forces + wall[1])


def molecules(symbols: Sequence[str], positions: FloatArray, cell: FloatArray) -> IntArray:
    """Return the number of each atom's molecule: that of its O for an H, else its own."""
    names = np.array(symbols)
    number = np.arange(len(names))
    oxygens, hydrogens = np.flatnonzero(names == "O"), np.flatnonzero(names == "H")
    if len(oxygens) == 0 or len(hydrogens) == 0:
        return number
    vectors = positions[oxygens][None] - positions[hydrogens][:, None]
    fractions = vectors @ np.linalg.inv(cell)
    distances = np.linalg.norm((fractions - np.round(fractions)) @ cell, axis=2)
    nearest = distances.argmin(axis=1)
    near = distances[np.arange(len(hydrogens)), nearest] < BOND_LENGTH
    number[hydrogens[near]] = oxygens[nearest[near]]
    return number


def fit_inner(
    symbols: Sequence[str], cell: FloatArray, positions: FloatArray, forces: FloatArray
) -> InnerPotential:
    """Fit to configurations of one system.

    positions, forces  shape (n_frames, n_atoms, 3), angstrom and eV/angstrom
    Raises InputError if there are no frames.
    """
    if len(positions) == 0:
        raise InputError("inner potential: expected frames to fit to, got none")
    pairs = [_pairs(symbols, cell, r) for r in positions]
    kinds = _kinds(symbols, pairs)
    designs = [_design(kinds, p, symbols) for p in pairs]
    matrix, target = np.concatenate(designs), forces.reshape(-1)
    normal = matrix.T @ matrix
    stiff = normal + _stiffness(kinds, normal)
    coefficients = np.asarray(np.linalg.solve(stiff, matrix.T @ target), dtype=np.float64)
    left = target - matrix @ coefficients
    width = matrix.shape[1] // len(kinds)
    return InnerPotential(
        tuple(kinds),
        np.stack([_to_pieces(kind, coefficients[k * width : (k + 1) * width])
                  for k, kind in enumerate(kinds)]),
        float(np.sqrt((left**2).mean())),
        float(np.sqrt((target**2).mean())),
    )  # fmt: skip


_Pairs = tuple[IntArray, FloatArray, FloatArray, IntArray, NDArray[np.bool_]]


def _pairs(symbols: Sequence[str], cell: FloatArray, positions: FloatArray) -> _Pairs:
    """Return first atoms, unit vectors, distances, codes of pairs, whether within a molecule."""
    first, second, shifts = VerletList(cell, CUTOFF).pairs(positions)
    vectors = positions[second] - positions[first] + shifts @ cell
    r = np.linalg.norm(vectors, axis=1)
    elements = sorted(set(symbols))
    index = np.array([elements.index(symbol) for symbol in symbols])
    code = _code(index[first], index[second], len(elements))
    number = molecules(symbols, positions, cell)
    return first, vectors / r[:, None], r, code, number[first] == number[second]


def _code(a: Any, b: Any, n_elements: int) -> Any:
    """Return one number for a pair of elements in either order."""
    return np.minimum(a, b) * n_elements + np.maximum(a, b)


def _kinds(symbols: Sequence[str], pairs: list[_Pairs]) -> list[Kind]:
    elements = sorted(set(symbols))
    kinds = [Kind(e, True, *span) for e, span in _RANGES.items() if set(e) <= set(elements)]
    for a, b in combinations_with_replacement(range(len(elements)), 2):
        code = _code(a, b, len(elements))
        seen = np.concatenate([p[2][(p[3] == code) & ~p[4]] for p in pairs])
        if len(seen):
            kinds.append(Kind((elements[a], elements[b]), False, float(seen.min()), CUTOFF))
    return kinds


def _knots(kind: Kind) -> FloatArray:
    step = (kind.high - kind.low) / N_PIECES
    return np.asarray(kind.low + step * np.arange(-3, N_PIECES + 4), np.float64)


def _design(kinds: list[Kind], pairs: _Pairs, symbols: Sequence[str]) -> FloatArray:
    """Forces of every basis function, shape (3 n_atoms, n_kinds * (N_PIECES + 3))."""
    first, unit, r, codes, within = pairs
    elements, n_atoms = sorted(set(symbols)), len(symbols)
    width = N_PIECES + 3
    design = np.zeros((n_atoms, 3, len(kinds), width))
    for k, kind in enumerate(kinds):
        a, b = (elements.index(element) for element in kind.elements)
        code = _code(a, b, len(elements))
        mine = (codes == code) & (within == kind.bonded)
        basis = BSpline(_knots(kind), np.eye(width), 3).derivative()
        slope = basis(np.clip(r[mine], kind.low, kind.high))
        if not kind.bonded:
            slope[:, -3:] = 0.0  # these do not vanish, with two derivatives, at the cutoff
        np.add.at(design[:, :, k], first[mine], unit[mine][:, :, None] * slope[:, None, :])
    return design.reshape(3 * n_atoms, -1)


def _stiffness(kinds: list[Kind], normal: FloatArray) -> FloatArray:
    """Penalty of rough splines: beyond its data a spring goes on as a parabola, a pair as a line.

    Eilers & Marx, Stat. Sci. 11, 89 (1996), with third and second differences. Coefficients pulled
    to zero instead would open holes there, into which atoms fall between two outer steps.
    """
    width, penalty = N_PIECES + 3, np.zeros_like(normal)
    for k, kind in enumerate(kinds):
        own = slice(k * width, (k + 1) * width)
        rough = np.diff(np.eye(width), n=3 if kind.bonded else 2, axis=0)
        weight = _STIFFNESS * max(float(normal[own, own].diagonal().max()), 1.0)
        penalty[own, own] = weight * (rough.T @ rough) + 1e-9 * weight * np.eye(width)
    return penalty


def _to_pieces(kind: Kind, coefficients: FloatArray) -> FloatArray:
    used = coefficients.copy()
    if not kind.bonded:
        used[-3:] = 0.0
    spline = PPoly.from_spline(BSpline(_knots(kind), used, 3))
    step = (kind.high - kind.low) / N_PIECES
    pieces = spline.c[::-1, 3 : 3 + N_PIECES].T
    return pieces * step ** np.arange(4)
