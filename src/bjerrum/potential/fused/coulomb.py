"""Ewald sum of the ions and the wall at short distances, compiled: the parts beside the network.

The formulas and the accuracy are those of :mod:`bjerrum.ewald` and
:mod:`bjerrum.potential.repulsion`. torch-pme's sum of eight ions takes 3 ms a call, nearly all of
it the overhead of small tensors, which is as long as the compiled network takes; this one takes
0.1 ms.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.ewald import truncation
from bjerrum.potential import repulsion
from bjerrum.potential.fused.compiler import load_library
from bjerrum.potential.fused.network import Pairs, address
from bjerrum.potential.repulsion import Repulsion
from bjerrum.units import COULOMB_CONSTANT

_CUTOFF_PER_LENGTH = 0.95
"""Real-space cutoff in units of V^(1/3): balances the two sums for a few dozen ions."""


def classical_library() -> Any:
    """Return the compiled functions of ``classical.cpp``."""
    source = resources.files("bjerrum.potential.fused").joinpath("classical.cpp").read_text("utf-8")
    library = load_library(source)
    pointer, integer, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    library.ewald.restype = library.wall.restype = library.pair_terms.restype = None
    library.ewald.argtypes = [
        integer, *[pointer] * 4, real, real, pointer, integer, *[pointer] * 6,
    ]  # fmt: skip
    library.wall.argtypes = [
        integer, pointer, pointer, integer, *[pointer] * 3, ctypes.c_int32, *[pointer] * 3,
        *[real] * 5, *[pointer] * 5,
    ]  # fmt: skip
    library.pair_terms.argtypes = [
        integer, pointer, pointer, pointer, integer, *[pointer] * 3, ctypes.c_int32, pointer,
        ctypes.c_int32, *[pointer] * 6,
    ]  # fmt: skip
    return library


class BoundEwald:
    """The screened Coulomb energy of fixed charges in a fixed cell, with forces and virial."""

    def __init__(self, baseline: ScreenedCoulomb, symbols: Sequence[str], cell: FloatArray) -> None:
        charge_of = dict(baseline.charges)
        charges = np.array([charge_of.get(symbol, 0.0) for symbol in symbols])
        self._n_atoms = len(charges)
        self._charged = np.flatnonzero(charges)
        self._charges = charges[self._charged]
        self._prefactor = COULOMB_CONSTANT / baseline.dielectric_constant
        self.library = classical_library()
        self._set_cell(np.ascontiguousarray(cell, dtype=np.float64), baseline.accuracy)

    def _set_cell(self, cell: FloatArray, accuracy: float) -> None:
        volume = abs(float(np.linalg.det(cell)))
        t = truncation(accuracy)
        self._cutoff = _CUTOFF_PER_LENGTH * volume ** (1 / 3)
        self._smearing = self._cutoff / t
        self._cell, inverse = cell, np.linalg.inv(cell)
        self._inverse = np.ascontiguousarray(inverse.T)
        heights = 1 / np.linalg.norm(self._inverse, axis=1)
        self._images = np.floor(self._cutoff / heights + 0.5).astype(np.int32)
        self._integers, self._vectors = _half_sphere(self._inverse, cell, t / self._smearing)
        square = (self._vectors**2).sum(axis=1)
        self._factors = 4 * math.pi / volume * np.exp(-0.5 * square * self._smearing**2) / square
        q = self._charges
        own = -float((q**2).sum()) / (math.sqrt(2 * math.pi) * self._smearing)
        self._background = -math.pi * self._smearing**2 * float(q.sum()) ** 2 / volume
        self._constant = own + self._background

    def __call__(self, positions: FloatArray) -> Evaluation:
        """Return energy (eV), forces (eV/angstrom) and virial (eV)."""
        forces = np.zeros((self._n_atoms, 3))
        n = len(self._charged)
        if n == 0:
            return Evaluation(0.0, forces, virial=np.zeros((3, 3)))
        r = np.ascontiguousarray(positions[self._charged])
        part, virial, energy = np.empty((n, 3)), np.empty((3, 3)), np.array([self._constant])
        self.library.ewald(
            n, address(self._charges), address(r), address(self._cell), address(self._inverse),
            self._smearing, self._cutoff, address(self._images), len(self._factors),
            address(self._integers), address(self._vectors), address(self._factors),
            address(energy), address(part), address(virial),
        )  # fmt: skip
        forces[self._charged] = self._prefactor * part
        virial += self._background * np.eye(3)
        return Evaluation(
            self._prefactor * float(energy[0]), forces, virial=self._prefactor * virial
        )


def _half_sphere(
    inverse: FloatArray, cell: FloatArray, cutoff: float
) -> tuple[NDArray[np.int32], FloatArray]:
    """Return one of each pair k, -k of the reciprocal vectors up to ``cutoff`` (1/angstrom)."""
    most = np.ceil(cutoff * np.linalg.norm(cell, axis=1) / (2 * math.pi)).astype(int)
    grid = np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij")
    integers = np.stack([g.ravel() for g in grid], axis=1)
    integers = integers[len(integers) // 2 + 1 :]
    vectors = 2 * math.pi * integers @ inverse
    near = (vectors**2).sum(axis=1) <= cutoff**2
    return integers[near].astype(np.int32), np.ascontiguousarray(vectors[near])


class BoundWall:
    """The wall for fixed elements; it takes the pairs that the network's list found."""

    def __init__(self, wall: Repulsion, elements: Sequence[str]) -> None:
        self.library = classical_library()
        index = {element: k for k, element in enumerate(elements)}
        self._numbers = np.array([atomic_numbers[element] for element in elements], dtype=float)
        self._outer = np.zeros((len(elements), len(elements)))
        for (a, b), outer in wall.outer:
            if a in index and b in index:
                self._outer[index[a], index[b]] = self._outer[index[b], index[a]] = outer
        self._gaps = repulsion.gap_table(wall, list(elements))
        self._strength, self._height = wall.strength, wall.gap_height
        self.reach = float(max(self._outer.max(initial=0.0), self._gaps.max(initial=0.0)))

    def evaluate(
        self, types: NDArray[np.int32], positions: FloatArray, pairs: Pairs
    ) -> tuple[float, FloatArray, FloatArray]:
        """Return energy, forces and virial."""
        first, second, offsets = pairs
        forces, virial, energy = np.empty((len(types), 3)), np.empty((3, 3)), np.zeros(1)
        self.library.wall(
            len(types), address(types), address(positions), len(first), address(first),
            address(second), address(offsets), len(self._numbers), address(self._numbers),
            address(self._outer), address(self._gaps), self._height, repulsion.INNER,
            self._strength, COULOMB_CONSTANT, repulsion.SCREENING_LENGTH,
            address(repulsion.AMPLITUDES), address(repulsion.DECAYS), address(energy),
            address(forces), address(virial),
        )  # fmt: skip
        return float(energy[0]), forces, virial
