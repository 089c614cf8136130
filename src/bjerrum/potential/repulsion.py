"""A wall where no data are: screened nuclear repulsion well inside the shortest distances of them.

A network is free to do anything between atoms closer than any pair that it was trained on, and
some attract there (two Li+ at 1.8 angstrom, say): a simulation that once gets there does not come
back. The wall is the universal potential of Ziegler, Biersack & Littmark ("The Stopping and Range
of Ions in Solids", Pergamon 1985), switched on below a distance r_o of each pair of elements:

    E(r) = strength * Z_i Z_j k_e / r * phi(r / a) * s((r_o - r) / (r_o - r_i)),   r_i = 0.75 r_o,
    a = 0.46850 angstrom / (Z_i^0.23 + Z_j^0.23),   s(u) = u^3 (10 - 15 u + 6 u^2)

Beyond r_o, that is on every training frame, it is exactly zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import vesin
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

SCREENING_LENGTH = 0.46850
AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
DECAYS = np.array([3.19980, 0.94229, 0.40290, 0.20162])
"""Ziegler, Biersack & Littmark 1985; digits as in LAMMPS' pair style zbl, angstrom."""

_Pair = tuple[str, str]


@dataclass(frozen=True)
class Repulsion:
    """The wall; see the module.

    outer     r_o in angstrom of each pair of elements, named in alphabetical order; pairs that
              are absent have no wall
    strength  factor on the universal potential
    Raises InputError for anything that is not positive.
    """

    outer: tuple[tuple[_Pair, float], ...]
    strength: float = 1.0

    def __post_init__(self) -> None:
        numbers = [self.strength, *(r for _, r in self.outer)]
        if not all(0 < number < np.inf for number in numbers):
            raise InputError(f"repulsion: expected positive numbers, got {numbers}")
        unknown = {e for pair, _ in self.outer for e in pair if not atomic_numbers.get(e)}
        if unknown:
            raise InputError(f"repulsion: expected element symbols, got {sorted(unknown)}")

    def to_json(self) -> dict[str, Any]:
        """Return what ``model.json`` records."""
        return {
            "kind": _KIND,
            "strength": self.strength,
            "outer_angstrom": {"-".join(pair): r for pair, r in self.outer},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Repulsion:
        """Read what :meth:`to_json` wrote; raises InputError for anything else."""
        try:
            kind, strength = data["kind"], float(data["strength"])
            outer = {
                _pair(*name.split("-")): float(r) for name, r in data["outer_angstrom"].items()
            }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            expected = "kind, strength, outer_angstrom"
            raise InputError(f"repulsion: expected {expected}, got {data}") from error
        if kind != _KIND:
            raise InputError(f"repulsion: expected kind {_KIND!r}, got {kind!r}")
        return cls(tuple(sorted(outer.items())), strength)

    def inside(self, other: Repulsion) -> Repulsion:
        """Return the wall that neither's data feel: the shorter r_o of each pair, own strength."""
        outer = dict(other.outer)
        for pair, distance in self.outer:
            outer[pair] = min(distance, outer.get(pair, distance))
        return Repulsion(tuple(sorted(outer.items())), self.strength)

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        return _BoundRepulsion(self, symbols, np.asarray(cell, dtype=np.float64))


def _pair(first: str, second: str) -> _Pair:
    return (first, second) if first <= second else (second, first)


def fit_repulsion(frames: Sequence[Atoms], elements: Sequence[str], strength: float) -> Repulsion:
    """Return the wall inside the shortest distances of frames.

    r_o is 0.95 times the shortest distance of a pair in the frames or its
    :func:`~bjerrum.frames.contact_distance`, whichever is shorter.
    """
    shortest = {
        _pair(a, b): contact_distance(a, b)
        for a, b in combinations_with_replacement(sorted(elements), 2)
    }
    search = vesin.NeighborList(cutoff=max(shortest.values()), full_list=False)
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
    return Repulsion(tuple(sorted(shortest.items())), strength)


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
        self._strength = wall.strength
        self._cell = cell
        largest = self._outer.max(initial=0.0)
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
        outer = self._outer[self._types[first], self._types[second]]
        near = np.flatnonzero(r < outer)
        if len(near) == 0:
            return Evaluation(0.0, forces)
        first, second, vectors, r = first[near], second[near], vectors[near], r[near]
        energy, slope = _screened(r, self._numbers[first], self._numbers[second])
        switch, switch_slope = _switch(r, outer[near])
        slope = self._strength * (slope * switch + energy * switch_slope)
        np.add.at(forces, first, (slope / r)[:, None] * vectors)
        return Evaluation(0.5 * self._strength * float(energy @ switch), forces)


def _screened(r: FloatArray, z_i: FloatArray, z_j: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return energy (eV) and its derivative (eV/angstrom) of the universal potential."""
    inverse_length = (z_i**0.23 + z_j**0.23) / SCREENING_LENGTH
    terms = AMPLITUDES * np.exp(-np.outer(r * inverse_length, DECAYS))
    screening, slope = terms.sum(axis=1), -inverse_length * (terms @ DECAYS)
    bare = COULOMB_CONSTANT * z_i * z_j / r
    return bare * screening, bare * (slope - screening / r)


def _switch(r: FloatArray, outer: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return s and ds/dr: 1 inside 0.75 r_o, 0 at r_o, twice differentiable."""
    width = (1 - INNER) * outer
    u = np.clip((outer - r) / width, 0.0, 1.0)
    return u**3 * (10 - 15 * u + 6 * u**2), -30 * u**2 * (1 - u) ** 2 / width
