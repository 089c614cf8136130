"""A wall where no data are: screened nuclear repulsion well inside the shortest distances of them.

A network is free to do anything between atoms closer than any pair that it was trained on, and
some attract there (two Li+ at 1.8 angstrom, say): a simulation that once gets there does not come
back. The wall is the universal potential of Ziegler, Biersack & Littmark ("The Stopping and Range
of Ions in Solids", Pergamon 1985), switched on below a distance r_o of each pair of elements:

    E(r) = strength * Z_i Z_j k_e / r * phi(r / a) * s((r_o - r) / (r_o - r_i)),   r_i = 0.75 r_o,
    a = 0.46850 angstrom / (Z_i^0.23 + Z_j^0.23),   s(u) = u^3 (10 - 15 u + 6 u^2)

Beyond r_o, that is on every training frame, it is exactly zero.

The same for distances that the data leave out between shorter and longer ones. No frame of a liquid
without proton transfer holds an O-H distance between a bond and a hydrogen bond, and a network
that nobody taught what is there may let a bond pass with a fraction of its true cost. Such a gap
gets a bar, zero with its first two derivatives at both ends:

    E(r) = height * 64 u^3 (1 - u)^3,   u = (r - r_1) / (r_2 - r_1),   r_1 < r < r_2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from bjerrum.errors import InputError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.frames import contact_distance
from bjerrum.potential.neighbours import VerletList
from bjerrum.potential.protocol import ForceFunction
from bjerrum.units import COULOMB_CONSTANT

_KIND = "zbl"
INNER = 0.75
MARGIN = 0.95
"""r_o against the shortest distance of the data: longer runs come closer than a few hundred frames,
and what is near the data a network still knows."""

GAP_PAIR = ("H", "O")
GAP_BETWEEN = (1.13, 1.30)
"""Angstrom. Bonds at room temperature are shorter (1.12 is six standard deviations), hydrogen bonds
longer (the shortest of 700 frames of LiCl solution is 1.36)."""

GAP_HEIGHT_EV = 0.3
"""Lifts the passes of the shipped networks, 0.4 eV and more, to where no bond breaks in a
millisecond, with a slope (6 eV/angstrom) no steeper than the bond's own there. Bars of 1 eV were
too steep for steps of a femtosecond and threw protons out."""

_NARROWEST_GAP = 0.1

SCREENING_LENGTH = 0.46850
AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
DECAYS = np.array([3.19980, 0.94229, 0.40290, 0.20162])
"""Ziegler, Biersack & Littmark 1985; digits as in LAMMPS' pair style zbl, angstrom."""

_Pair = tuple[str, str]
_Gap = tuple[float, float]


@dataclass(frozen=True)
class Repulsion:
    """The wall; see the module.

    outer     r_o in angstrom of each pair of elements, named in alphabetical order; pairs that
              are absent have no wall
    strength  factor on the universal potential
    gaps      r_1 and r_2 in angstrom of the pairs that have a bar
    gap_height  of the bars, eV
    Raises InputError for anything that is not positive, and for gaps that end before they begin.
    """

    outer: tuple[tuple[_Pair, float], ...]
    strength: float = 1.0
    gaps: tuple[tuple[_Pair, _Gap], ...] = ()
    gap_height: float = GAP_HEIGHT_EV

    def __post_init__(self) -> None:
        numbers = [self.strength, self.gap_height, *(r for _, r in self.outer)]
        numbers += [number for _, (low, high) in self.gaps for number in (low, high - low)]
        if not all(0 < number < np.inf for number in numbers):
            raise InputError(f"repulsion: expected positive numbers, got {numbers}")
        pairs = [pair for pair, _ in (*self.outer, *self.gaps)]
        unknown = {e for pair in pairs for e in pair if not atomic_numbers.get(e)}
        if unknown:
            raise InputError(f"repulsion: expected element symbols, got {sorted(unknown)}")

    def to_json(self) -> dict[str, Any]:
        """Return what ``model.json`` records."""
        wall = {
            "kind": _KIND,
            "strength": self.strength,
            "outer_angstrom": {"-".join(pair): r for pair, r in self.outer},
        }
        if not self.gaps:
            return wall
        return wall | {
            "gaps_angstrom": {"-".join(pair): list(gap) for pair, gap in self.gaps},
            "gap_height_ev": self.gap_height,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Repulsion:
        """Read what :meth:`to_json` wrote; raises InputError for anything else."""
        try:
            kind, strength = data["kind"], float(data["strength"])
            outer = {
                _pair(*name.split("-")): float(r) for name, r in data["outer_angstrom"].items()
            }
            gaps = {
                _pair(*name.split("-")): (float(low), float(high))
                for name, (low, high) in data.get("gaps_angstrom", {}).items()
            }
            height = float(data.get("gap_height_ev", GAP_HEIGHT_EV))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            expected = "kind, strength, outer_angstrom"
            raise InputError(f"repulsion: expected {expected}, got {data}") from error
        if kind != _KIND:
            raise InputError(f"repulsion: expected kind {_KIND!r}, got {kind!r}")
        return cls(tuple(sorted(outer.items())), strength, tuple(sorted(gaps.items())), height)

    def inside(self, other: Repulsion) -> Repulsion:
        """Return the wall that neither's data feel: the shorter r_o of each pair, own strength.

        A bar stands where both data leave a gap.
        """
        outer = dict(other.outer)
        for pair, distance in self.outer:
            outer[pair] = min(distance, outer.get(pair, distance))
        theirs, gaps = dict(other.gaps), []
        for pair, (low, high) in self.gaps:
            if pair in theirs:
                low, high = max(low, theirs[pair][0]), min(high, theirs[pair][1])
                if high - low >= _NARROWEST_GAP:
                    gaps.append((pair, (low, high)))
        return replace(self, outer=tuple(sorted(outer.items())), gaps=tuple(gaps))

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        return _BoundRepulsion(self, symbols, np.asarray(cell, dtype=np.float64))


def _pair(first: str, second: str) -> _Pair:
    return (first, second) if first <= second else (second, first)


def fit_repulsion(frames: Sequence[Atoms], elements: Sequence[str], strength: float) -> Repulsion:
    """Return the wall inside the shortest distances of frames.

    r_o is 0.95 times the shortest distance of a pair in the frames or its
    :func:`~bjerrum.frames.contact_distance`, whichever is shorter. O-H gets a bar in the widest
    part of GAP_BETWEEN that no frame reaches into, if it is 0.1 angstrom wide.
    """
    import vesin  # loads torch: late, so that planning does without

    shortest = {
        _pair(a, b): contact_distance(a, b)
        for a, b in combinations_with_replacement(sorted(elements), 2)
    }
    reach = max(*shortest.values(), GAP_BETWEEN[1])
    search, bonds = vesin.NeighborList(cutoff=reach, full_list=False), [np.empty(0)]
    for atoms in frames:
        first, second, distance = search.compute(
            atoms.positions, atoms.cell.array, periodic=True, quantities="ijd"
        )
        symbols = np.array(atoms.get_chemical_symbols())
        pairs = np.sort(np.stack([symbols[first], symbols[second]], axis=1), axis=1)
        for a, b in np.unique(pairs, axis=0):
            closest = distance[(pairs == (a, b)).all(axis=1)].min()
            pair = (str(a), str(b))
            shortest[pair] = min(shortest[pair], MARGIN * float(closest))
        bonds.append(distance[(pairs == GAP_PAIR).all(axis=1)])
    seen = np.concatenate(bonds)
    gap = _widest_gap(seen) if len(seen) else ()
    return Repulsion(tuple(sorted(shortest.items())), strength, gap)


def _widest_gap(distances: FloatArray) -> tuple[tuple[_Pair, _Gap], ...]:
    """Return the widest stretch of GAP_BETWEEN without distances; none if it is narrow."""
    low, high = GAP_BETWEEN
    inside = np.sort([low, *distances[(distances > low) & (distances < high)], high])
    widest = int(np.diff(inside).argmax())
    first, last = float(inside[widest]), float(inside[widest + 1])
    return ((GAP_PAIR, (first, last)),) if last - first >= _NARROWEST_GAP else ()


class _BoundRepulsion:
    """The wall for fixed elements and cell."""

    def __init__(self, wall: Repulsion, symbols: Sequence[str], cell: FloatArray) -> None:
        species = sorted(set(symbols))
        index = {element: k for k, element in enumerate(species)}
        self._types = np.array([index[s] for s in symbols])
        self._numbers = np.array([atomic_numbers[s] for s in symbols], dtype=float)
        self._outer = np.zeros((len(species), len(species)))
        for (a, b), outer in wall.outer:
            if a in index and b in index:
                self._outer[index[a], index[b]] = self._outer[index[b], index[a]] = outer
        self._gaps = gap_table(wall, species)
        self._strength, self._height = wall.strength, wall.gap_height
        self._cell = cell
        largest = max(self._outer.max(initial=0.0), self._gaps.max(initial=0.0))
        self._neighbours = VerletList(cell, largest) if largest > 0 else None

    def reset(self) -> None:
        """Search neighbours anew at the next call."""
        if self._neighbours is not None:
            self._neighbours.reset()

    def __call__(self, positions: FloatArray) -> Evaluation:
        forces = np.zeros_like(positions)
        if self._neighbours is None:
            return Evaluation(0.0, forces)
        first, second, shifts = self._neighbours.pairs(positions)
        vectors = positions[second] - positions[first] + shifts @ self._cell
        r = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        kinds = self._types[first], self._types[second]
        outer, gap = self._outer[kinds], self._gaps[kinds]
        near = np.flatnonzero((r < outer) | ((r > gap[:, 0]) & (r < gap[:, 1])))
        if len(near) == 0:
            return Evaluation(0.0, forces)
        first, second, vectors, r = first[near], second[near], vectors[near], r[near]
        energy, slope = _screened(r, self._numbers[first], self._numbers[second])
        switch, switch_slope = _switch(r, outer[near])
        bar, bar_slope = _bar(r, gap[near])
        slope = self._strength * (slope * switch + energy * switch_slope) + self._height * bar_slope
        np.add.at(forces, first, (slope / r)[:, None] * vectors)
        total = self._strength * float(energy @ switch) + self._height * float(bar.sum())
        return Evaluation(0.5 * total, forces)


def gap_table(wall: Repulsion, elements: Sequence[str]) -> FloatArray:
    """Return r_1 and r_2 of each pair of elements, (n, n, 2), angstrom; zeros for no bar."""
    table = np.zeros((len(elements), len(elements), 2))
    for (a, b), gap in wall.gaps:
        if a in elements and b in elements:
            i, j = elements.index(a), elements.index(b)
            table[i, j] = table[j, i] = gap
    return table


def _bar(r: FloatArray, gap: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return 64 u^3 (1 - u)^3 and its derivative by r; zero outside the gap."""
    width = np.where(gap[:, 1] > gap[:, 0], gap[:, 1] - gap[:, 0], 1.0)
    u = np.where(gap[:, 1] > gap[:, 0], np.clip((r - gap[:, 0]) / width, 0.0, 1.0), 0.0)
    return 64 * (u * (1 - u)) ** 3, 192 * (u * (1 - u)) ** 2 * (1 - 2 * u) / width


def _screened(r: FloatArray, z_i: FloatArray, z_j: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return energy (eV) and its derivative (eV/angstrom) of the universal potential."""
    inverse_length = (z_i**0.23 + z_j**0.23) / SCREENING_LENGTH
    terms = AMPLITUDES * np.exp(-np.outer(r * inverse_length, DECAYS))
    screening, slope = terms.sum(axis=1), -inverse_length * (terms @ DECAYS)
    bare = COULOMB_CONSTANT * z_i * z_j / r
    return bare * screening, bare * (slope - screening / r)


def _switch(r: FloatArray, outer: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return s and ds/dr: 1 inside 0.75 r_o, 0 at r_o, twice differentiable."""
    width = (1 - INNER) * np.where(outer > 0, outer, 1.0)
    u = np.where(outer > 0, np.clip((outer - r) / width, 0.0, 1.0), 0.0)
    return u**3 * (10 - 15 * u + 6 * u**2), -30 * u**2 * (1 - u) ** 2 / width
