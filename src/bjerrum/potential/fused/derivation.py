"""From a network's trainable weights to the arrays of the kernels, differentiable by torch.

Each entry of a matrix in :class:`~bjerrum.potential.fused.description.Description` is one weight
times a constant, those of an atom's own features are sums of such over the components of its
element's embedding. Weights and constants are found by setting all weights to one and to their
own numbers, so that no convention of e3nn is repeated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict
from torch.func import functional_call

from bjerrum.errors import ModelError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.potential.fused.description import (
    Description,
    Layer,
    Matrices,
    _layer,
    _matrix,
    describe,
    in_double,
)
from bjerrum.potential.fused.tables import N_TERMS

Parameters = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Arrays:
    """What the kernels compute with, as torch tensors in double precision.

    matrices  every number of the description, in the order of :func:`numbered`
    tables    coefficients of each layer's radial functions, shape (n_knots, N_TERMS, n)
    scales, shifts  shape (n_types,)
    """

    matrices: torch.Tensor
    tables: tuple[torch.Tensor, ...]
    scales: torch.Tensor
    shifts: torch.Tensor


@dataclass(frozen=True)
class _Gather:
    """Entries factor * weight[index], of a weight with a name."""

    name: str
    index: torch.Tensor
    factor: torch.Tensor

    def __call__(self, parameters: Parameters) -> torch.Tensor:
        return self.factor * parameters[self.name].reshape(-1)[self.index]


class Derivation:
    """How the kernels' arrays follow from the weights of one network.

    network  NequIP's graph model, on the CPU
    n_knots  intervals of the radial tables
    Raises ModelError for a network of another form.
    """

    def __init__(self, network: Any, hyperparameters: dict[str, Any], n_knots: int) -> None:
        with torch.random.fork_rng(devices=[]):
            twin = in_double(hyperparameters, network.state_dict())
        self.twin = twin
        self.description = describe(twin, hyperparameters)
        self.n_knots = n_knots
        self._parts = twin.model.func
        self._names = {id(p): name for name, p in twin.named_parameters()}
        n_layers, self._n_types = len(self.description.layers), len(self.description.embedding)
        self._embedding = self._name(self._parts.type_embed.embed_module.weight)
        self._readout = self._read_readout()
        self._layers = [self._read_layer(k) for k in range(n_layers)]
        self._radial = [self._radial_names(k) for k in range(n_layers)]
        self._nodes, self._inverse, self._intervals = _interpolation(n_knots)
        self._require_all_known()

    def __call__(self, network: Any) -> Arrays:
        """Return the arrays for the present weights of a network of the same form."""
        parameters = {name: p.double() for name, p in network.named_parameters()}
        embedding = parameters[self._embedding]
        parts = [embedding.reshape(-1), self._readout(parameters)]
        for before, after, own in self._layers:
            parts += [before(parameters), after(parameters)]
            if own is not None:
                parts.append((embedding @ own(parameters)).reshape(-1))
        last = network.model.func.per_type_energy_scale_shift
        return Arrays(
            torch.cat(parts),
            self._tables(parameters),
            self._per_type(last.scales, 1.0),
            self._per_type(last.shifts, 0.0),
        )

    def _per_type(self, values: torch.Tensor, default: float) -> torch.Tensor:
        if values.numel() == 0:
            return torch.full((self._n_types,), default, dtype=torch.float64)
        return values.double().reshape(-1).expand(self._n_types)

    def _tables(self, parameters: Parameters) -> tuple[torch.Tensor, ...]:
        data = {AtomicDataDict.NORM_LENGTH_KEY: self._nodes}
        own = {n: p for n, p in parameters.items() if ".bessel_encode." in n}
        encode = self._parts.bessel_encode
        data = functional_call(encode, _within(own, ".bessel_encode."), (data,))
        encoded = self._parts.factor(data)[AtomicDataDict.EDGE_EMBEDDING_KEY]
        tables = []
        for layer, names in enumerate(self._radial):
            mlp = getattr(self._parts, f"layer{layer}_convnet").conv.edge_mlp
            own = _within({n: parameters[n] for n in names}, ".edge_mlp.")
            values = functional_call(mlp, own, (encoded,))[self._intervals]
            tables.append(torch.einsum("pt,kti->kpi", self._inverse, values))
        return tuple(tables)

    def _name(self, parameter: torch.Tensor) -> str:
        return self._names[id(parameter)]

    def _radial_names(self, layer: int) -> tuple[str, ...]:
        mlp = getattr(self._parts, f"layer{layer}_convnet").conv.edge_mlp
        return tuple(self._name(p) for p in mlp.parameters())

    def _read_readout(self) -> _Gather:
        module = self._parts.per_atom_energy_readout.mlp_module
        weights = list(module.parameters())
        if len(weights) != 1:
            raise ModelError("compiled training: expected a readout of one matrix")
        n = self.description.n_channels
        found = _probed(weights, lambda: [_matrix(module, n)[:, 0]])
        return _gather(self._name(weights[0]), *(f[0] for f in found))

    def _read_layer(self, number: int) -> tuple[_Gather, _Gather, _Gather | None]:
        module = getattr(self._parts, f"layer{number}_convnet")
        block, n = module.conv, self.description.n_channels
        units = np.eye(self.description.embedding.shape[1])
        modules = [block.linear_1, block.linear_2] + ([] if block.sc is None else [block.sc])
        weights = [m.weight for m in modules]

        def read() -> list[FloatArray]:
            layer = _layer(module, units, n)
            own = [np.stack([_flat(m) for m in layer.own])] if layer.own else []
            return [_flat(layer.before), _flat(layer.after), *own]

        found = zip(weights, *_probed(weights, read), strict=True)
        gathers = [_gather(self._name(w), *rest) for w, *rest in found]
        return gathers[0], gathers[1], gathers[2] if len(gathers) > 2 else None

    def _require_all_known(self) -> None:
        """Every trainable weight must reach the kernels, or it would not learn."""
        known = {self._embedding, self._readout.name, *(n for names in self._radial for n in names)}
        known |= {g.name for layer in self._layers for g in layer if g is not None}
        known |= {n for n in self._names.values() if ".bessel_encode." in n}
        last = self._parts.per_type_energy_scale_shift
        known |= {self._name(p) for p in last.parameters()}
        unknown = sorted(set(self._names.values()) - known)
        if unknown:
            raise ModelError(f"compiled training: unknown weights {', '.join(unknown)[:200]}")


def numbered(network: Description) -> tuple[Description, int]:
    """Return the description with each number replaced by its place, from 1 on, and the last.

    The order is embedding, readout, and of each layer before, after, own.
    """
    count = 0

    def label(array: FloatArray) -> FloatArray:
        nonlocal count
        labels = np.arange(array.size, dtype=np.float64).reshape(array.shape) + (count + 1)
        count += array.size
        return labels

    def labels(matrices: Matrices) -> Matrices:
        return {key: label(matrix) for key, matrix in matrices.items()}

    embedding, readout = label(network.embedding), label(network.readout)
    layers: list[Layer] = []
    for layer in network.layers:
        before, after = labels(layer.before), labels(layer.after)
        own = tuple(labels(matrices) for matrices in layer.own)
        layers.append(replace(layer, before=before, after=after, own=own))
    network = replace(network, embedding=embedding, readout=readout, layers=tuple(layers))
    return network, count


def _within(parameters: Parameters, part: str) -> Parameters:
    return {name.partition(part)[2]: p for name, p in parameters.items()}


def _flat(matrices: Matrices) -> FloatArray:
    return np.concatenate([matrix.ravel() for matrix in matrices.values()])


def _probed(weights: Sequence[torch.Tensor], read: Any) -> tuple[list[FloatArray], ...]:
    """Return what is read with all weights one, with their own numbers, and as they are."""
    saved = [w.detach().clone() for w in weights]
    found = []
    numbers = [torch.arange(1, w.numel() + 1).reshape(w.shape) for w in weights]
    for values in ([torch.ones_like(w) for w in weights], numbers, saved):
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)
        found.append([np.array(part) for part in read()])
    return (*found, [w.numpy().ravel() for w in saved])


def _gather(
    name: str, factor: FloatArray, number: FloatArray, value: FloatArray, weight: FloatArray
) -> _Gather:
    """Find which weight each entry is, and check that it is that one alone."""
    ratio = number / np.where(factor == 0, 1.0, factor)
    index: IntArray = np.rint(ratio).astype(np.int64) - 1
    is_fit = factor.shape == value.shape and index.min() >= 0 and index.max() < weight.size
    if not is_fit or not np.allclose(factor * weight[index], value, rtol=1e-9, atol=1e-12):
        raise ModelError(f"compiled training: {name} is not used as in a NequIP layer")
    return _Gather(name, torch.from_numpy(index), torch.from_numpy(factor))


def _interpolation(n_knots: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the nodes (in units of the cutoff), values to coefficients, nodes of intervals."""
    t = 0.5 * (1 - np.cos(np.pi * np.arange(N_TERMS) / (N_TERMS - 1)))
    inner = ((np.arange(n_knots)[:, None] + t[:-1]) / n_knots).ravel()
    nodes = torch.from_numpy(np.append(inner, 1.0))[:, None]
    inverse = torch.from_numpy(np.linalg.inv(t[:, None] ** np.arange(N_TERMS)))
    intervals = (N_TERMS - 1) * np.arange(n_knots)[:, None] + np.arange(N_TERMS)
    return nodes, inverse, torch.from_numpy(intervals)
