"""Energy and forces of training frames by compiled code, differentiable by the weights.

The loss of energies and forces has the gradient (gE + v . grad) dE/dtheta with gE = dL/dE and
v = -dL/dF: one reverse pass of ``adjoint.cpp`` gives it for the matrices and radial tables, and
torch carries it on to the trainable weights (:mod:`~bjerrum.potential.fused.derivation`).
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict
from numpy.typing import NDArray

from bjerrum.errors import ExternalError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.potential.fused.adjoint import generate_adjoint
from bjerrum.potential.fused.compiler import load_library
from bjerrum.potential.fused.derivation import Derivation, numbered
from bjerrum.potential.fused.network import _typed, address
from bjerrum.potential.fused.source import generate, padded
from bjerrum.potential.fused.tables import N_TERMS

N_KNOTS = 64
"""Intervals of the radial tables. Forces of licl-nnp1 are then wrong by at most 2.5e-5 eV/angstrom,
and the gradients of a loss by 4e-5 to 1.5e-4 of each tensor (NequIP in single precision: 2e-5 to
5e-5)."""


@dataclass(frozen=True)
class Frame:
    """One periodic system as the kernels take it.

    types      index of each atom's element
    positions  angstrom, shape (n_atoms, 3)
    pairs      first atoms (sorted), second atoms, lattice vector to add to the second's position
    """

    types: NDArray[np.int32]
    positions: FloatArray
    first: IntArray
    second: IntArray
    offsets: FloatArray


class CompiledTraining:
    """A network being trained, evaluated by compiled code: a drop-in for NequIP's own forward.

    network  NequIP's graph model; its weights are read at every call
    Raises NoCompiler, or ModelError for a network of another form.
    """

    def __init__(self, network: Any, hyperparameters: dict[str, Any]) -> None:
        self.network = network
        self.derive = Derivation(network, hyperparameters, N_KNOTS)
        description = self.derive.description
        self._width = padded(description.n_channels)
        self._n_paths = [len(layer.paths) for layer in description.layers]
        labels, self.n_matrices = numbered(description)
        source, order = generate(labels)
        self._order = order.astype(np.int64)
        self._forces = _typed(load_library(source))
        source, order = generate_adjoint(labels)
        self._adjoint_order = order.astype(np.int64)
        self._adjoint = _typed_adjoint(load_library(source))
        n_tables = N_KNOTS * N_TERMS * sum(self._n_paths) * self._width
        self._handle = self._adjoint.adjoint_create(
            len(order), n_tables, N_KNOTS, description.cutoff
        )
        if not self._handle:
            raise ExternalError("not enough memory for the network's tables")
        weakref.finalize(self, self._adjoint.adjoint_destroy, self._handle)

    def __call__(self, batch: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Return the batch with total_energy (eV, shape (n_frames, 1)) and forces (eV/angstrom)."""
        arrays = self.derive(self.network)
        frames = frames_of(batch)
        energies, forces = _EnergyForces.apply(
            self, frames, arrays.matrices, arrays.scales, arrays.shifts, *arrays.tables
        )
        output = dict(batch)
        output[AtomicDataDict.TOTAL_ENERGY_KEY] = energies
        output[AtomicDataDict.FORCE_KEY] = forces
        return output

    def evaluate(
        self, frames: list[Frame], matrices: FloatArray, tables: np.ndarray, scales: FloatArray,
        shifts: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """Return energies, shape (n_frames, 1), and forces of all atoms."""
        weights = np.append(0.0, matrices)[self._order].astype(np.float32)
        handle = self._forces.network_create(
            address(weights), len(weights), address(tables), len(tables), N_KNOTS,
            self.derive.description.cutoff, address(scales), address(shifts), len(scales),
        )  # fmt: skip
        if not handle:
            raise ExternalError("not enough memory for the network's tables")
        energies, forces, virial = np.empty((len(frames), 1)), [], np.empty((3, 3))
        try:
            for k, frame in enumerate(frames):
                forces.append(np.empty((len(frame.types), 3)))
                n_edges = self._forces.network_evaluate(
                    handle, len(frame.types), address(frame.types), address(frame.positions),
                    len(frame.first), address(frame.first), address(frame.second),
                    address(frame.offsets), address(energies[k]), address(forces[k]),
                    address(virial),
                )  # fmt: skip
                _require_memory(n_edges)
        finally:
            self._forces.network_destroy(handle)
        return energies, np.concatenate(forces)

    def gradients(
        self, frames: list[Frame], matrices: FloatArray, tables: np.ndarray, scales: FloatArray,
        energy_gradient: FloatArray, force_gradient: FloatArray,
    ) -> tuple[FloatArray, FloatArray, FloatArray, list[FloatArray]]:  # fmt: skip
        """Return the gradients of matrices, scales, shifts and of each layer's table."""
        weights = np.append(0.0, matrices)[self._adjoint_order].astype(np.float32)
        scale_gradient, shift_gradient = np.zeros(len(scales)), np.zeros(len(scales))
        self._adjoint.adjoint_begin(
            self._handle, address(weights), address(tables), address(scales), len(scales)
        )
        start = 0
        for frame, factor in zip(frames, energy_gradient.ravel(), strict=True):
            n = len(frame.types)
            direction = np.ascontiguousarray(-force_gradient[start : start + n])
            n_edges = self._adjoint.adjoint_add(
                self._handle, n, address(frame.types), address(frame.positions),
                address(direction), float(factor), len(frame.first), address(frame.first),
                address(frame.second), address(frame.offsets), address(scale_gradient),
            )  # fmt: skip
            _require_memory(n_edges)
            shift_gradient += factor * np.bincount(frame.types, minlength=len(scales))
            start += n
        packed, rows = np.empty_like(weights), np.empty_like(tables)
        self._adjoint.adjoint_end(self._handle, address(packed), address(rows))
        sums = np.bincount(self._adjoint_order, packed, minlength=self.n_matrices + 1)[1:]
        summed = np.asarray(sums, np.float64)
        return summed, scale_gradient, shift_gradient, self.unpacked(rows)

    def packed(self, tables: list[FloatArray]) -> np.ndarray:
        """Return the layers' tables as the kernels take them."""
        n_channels, parts = self.derive.description.n_channels, []
        for table, n_paths in zip(tables, self._n_paths, strict=True):
            rows = np.zeros((N_KNOTS, N_TERMS, n_paths, self._width), dtype=np.float32)
            rows[..., :n_channels] = table.reshape(N_KNOTS, N_TERMS, n_paths, n_channels)
            parts.append(rows.ravel())
        return np.concatenate(parts)

    def unpacked(self, rows: np.ndarray) -> list[FloatArray]:
        """Return the layers' tables, shape (n_knots, N_TERMS, n), of what kernels give."""
        n_channels, size = self.derive.description.n_channels, N_KNOTS * N_TERMS * self._width
        ends = np.cumsum([size * n for n in self._n_paths])[:-1]
        return [
            part.reshape(N_KNOTS, N_TERMS, n_paths, self._width)[..., :n_channels]
            .reshape(N_KNOTS, N_TERMS, -1)
            .astype(np.float64)
            for part, n_paths in zip(np.split(rows, ends), self._n_paths, strict=True)
        ]


class _EnergyForces(torch.autograd.Function):
    """Energies and forces of frames as a function of the kernels' arrays."""

    @staticmethod
    def forward(
        ctx: Any, kernels: CompiledTraining, frames: list[Frame], matrices: torch.Tensor,
        scales: torch.Tensor, shifts: torch.Tensor, *tables: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Run the kernel of energies and forces."""
        own = matrices.numpy(), np.ascontiguousarray(scales), np.ascontiguousarray(shifts)
        packed = kernels.packed([table.numpy() for table in tables])
        energies, forces = kernels.evaluate(frames, own[0], packed, own[1], own[2])
        ctx.kept = kernels, frames, own[0], packed, own[1]
        return torch.from_numpy(energies), torch.from_numpy(forces)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Run the kernel of gradients."""
        kernels, frames, matrices, packed, scales = ctx.kept
        energy, force = (np.ascontiguousarray(g.double()) for g in gradients)
        *found, tables = kernels.gradients(frames, matrices, packed, scales, energy, force)
        return None, None, *(torch.from_numpy(part) for part in (*found, *tables))


def frames_of(batch: AtomicDataDict.Type) -> list[Frame]:
    """Cut a batch into its frames; the network's own edges are the pairs."""
    positions = batch[AtomicDataDict.POSITIONS_KEY].detach().double().numpy()
    types = batch[AtomicDataDict.ATOM_TYPE_KEY].reshape(-1).numpy().astype(np.int32)
    first, second = batch[AtomicDataDict.EDGE_INDEX_KEY].numpy()
    cells = batch[AtomicDataDict.CELL_KEY].detach().double().numpy().reshape(-1, 3, 3)
    shifts = batch[AtomicDataDict.EDGE_CELL_SHIFT_KEY].double().numpy()
    if (np.diff(first) < 0).any():
        order = np.argsort(first, kind="stable")
        first, second, shifts = first[order], second[order], shifts[order]
    sizes = [len(positions)]
    if AtomicDataDict.NUM_NODES_KEY in batch:
        sizes = batch[AtomicDataDict.NUM_NODES_KEY].reshape(-1).tolist()
    frames, start = [], 0
    for cell, size in zip(cells, sizes, strict=True):
        here = slice(*np.searchsorted(first, [start, start + size]))
        frames.append(
            Frame(
                np.ascontiguousarray(types[start : start + size]),
                np.ascontiguousarray(positions[start : start + size]),
                np.ascontiguousarray(first[here] - start),
                np.ascontiguousarray(second[here] - start),
                np.ascontiguousarray(shifts[here] @ cell),
            )
        )
        start += size
    return frames


def _require_memory(n_edges: int) -> None:
    if n_edges < 0:
        raise ExternalError("not enough memory for the network's features")


def _typed_adjoint(library: ctypes.CDLL) -> Any:
    pointer, integer, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    library.adjoint_create.restype = pointer
    library.adjoint_create.argtypes = [integer, integer, ctypes.c_int32, real]
    library.adjoint_destroy.restype = library.adjoint_begin.restype = None
    library.adjoint_destroy.argtypes = [pointer]
    library.adjoint_begin.argtypes = [pointer, pointer, pointer, pointer, ctypes.c_int32]
    library.adjoint_add.restype = integer
    library.adjoint_add.argtypes = [
        pointer, integer, pointer, pointer, pointer, real, integer, *[pointer] * 4,
    ]  # fmt: skip
    library.adjoint_end.restype = None
    library.adjoint_end.argtypes = [pointer, pointer, pointer]
    return library
