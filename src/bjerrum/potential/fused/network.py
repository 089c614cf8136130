"""Trained networks evaluated by a compiled kernel of their own architecture."""

from __future__ import annotations

import ctypes
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import ExternalError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.potential.fused.compiler import load_library
from bjerrum.potential.fused.description import describe, in_double
from bjerrum.potential.fused.source import generate, padded
from bjerrum.potential.fused.tables import tabulate
from bjerrum.potential.nequip import NequipNetwork

Pairs = tuple[IntArray, IntArray, FloatArray]
"""First atoms (sorted), second atoms, and the lattice vector to add to the second's position."""


def address(array: NDArray[Any]) -> ctypes.c_void_p:
    """Return a pointer to a contiguous array's numbers."""
    return array.ctypes.data_as(ctypes.c_void_p)


class FusedNetwork:
    """A network compiled for this processor; equal to NequIP's to rounding in single precision.

    network  on the CPU
    Raises NoCompiler, or ModelError for a network of another form.
    """

    def __init__(self, network: NequipNetwork) -> None:
        exact = in_double(network.hyperparameters, network.network.state_dict())
        description = describe(exact, network.hyperparameters)
        source, weights = generate(description)
        tables = tabulate(exact, description, padded(description.n_channels))
        self.elements = network.elements
        self.cutoff = network.cutoff
        self.table_error = tables.error
        self.n_knots = tables.n_knots
        self.source = source
        self.width = padded(description.n_channels)
        self.library = _typed(load_library(source))
        self._lock = threading.Lock()
        scales, shifts = description.scales.copy(), description.shifts.copy()
        self._handle = self.library.network_create(
            address(weights), len(weights), address(tables.numbers), len(tables.numbers),
            tables.n_knots, description.cutoff, address(scales), address(shifts), len(scales),
        )  # fmt: skip
        if not self._handle:
            raise ExternalError("not enough memory for the network's tables")
        weakref.finalize(self, self.library.network_destroy, self._handle)

    def evaluate(
        self, types: NDArray[np.int32], positions: FloatArray, pairs: Pairs
    ) -> tuple[float, FloatArray, FloatArray]:
        """Return energy (eV), forces (eV/angstrom) and virial (eV, shape (3, 3)).

        types  index of each atom's element in ``elements``
        pairs  candidates; those beyond the cutoff do not count
        """
        first, second, offsets = pairs
        forces, virial, energy = np.empty((len(types), 3)), np.empty((3, 3)), ctypes.c_double()
        with self._lock:
            edges = self.library.network_evaluate(
                self._handle, len(types), address(types), address(positions), len(first),
                address(first), address(second), address(offsets), ctypes.byref(energy),
                address(forces), address(virial),
            )  # fmt: skip
        if edges < 0:
            raise ExternalError("not enough memory for the network's features")
        return energy.value, forces, virial


def _typed(library: ctypes.CDLL) -> Any:
    pointer, integer, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    library.network_create.restype = pointer
    library.network_create.argtypes = [
        pointer, integer, pointer, integer, ctypes.c_int32, real, pointer, pointer, ctypes.c_int32,
    ]  # fmt: skip
    library.network_destroy.restype = None
    library.network_destroy.argtypes = [pointer]
    library.network_evaluate.restype = integer
    library.network_evaluate.argtypes = [
        pointer, integer, pointer, pointer, integer, *[pointer] * 6,
    ]  # fmt: skip
    return library
