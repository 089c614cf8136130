"""What a trained network computes, as plain arrays: read off the network itself, numerically.

Every linear map of the network (linear layers, self-interactions, Clebsch-Gordan contractions) is
found by feeding it unit vectors in double precision, so that no normalisation convention of e3nn
is repeated here. Features are kept in *blocks*: U channels of one irreducible representation of
degree l, with 2 l + 1 components.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from e3nn.o3 import Irreps
from nequip.data import AtomicDataDict
from nequip.model import NequIPGNNModel

from bjerrum.errors import ModelError
from bjerrum.estimate import FloatArray, IntArray

_NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Block:
    """Where the channels of a block are in e3nn's feature vector.

    degree  l
    index   shape (2 l + 1, n_channels)
    """

    degree: int
    index: IntArray


@dataclass(frozen=True)
class Path:
    """One product: features of the neighbour times spherical harmonic to message.

    source, target       numbers of the blocks
    coupling             C[m1, m2, m3], normalisation included
    """

    source: int
    harmonic: int
    target: int
    coupling: FloatArray


@dataclass(frozen=True)
class Gate:
    """The nonlinearity: activated scalars, and tensors times activated scalars.

    scalars  (block, activation, factor) of each scalar that passes
    tensors  (block, block of its gate, activation, factor)
    """

    scalars: tuple[tuple[int, str, float], ...]
    tensors: tuple[tuple[int, int, str, float], ...]


Matrices = dict[tuple[int, int], FloatArray]
"""(from block, to block) -> matrix of shape (n_channels, n_channels)."""


@dataclass(frozen=True)
class Layer:
    """One interaction layer.

    degrees_in, degrees_mid, degrees_out  l of the blocks of features, messages, and sums
    before, after  linear maps of the features before and of the messages after the product
    own            linear maps of an atom's own features, one set per element; empty if none
    """

    degrees_in: tuple[int, ...]
    degrees_mid: tuple[int, ...]
    degrees_out: tuple[int, ...]
    before: Matrices
    paths: tuple[Path, ...]
    after: Matrices
    own: tuple[Matrices, ...]
    gate: Gate


@dataclass(frozen=True)
class Description:
    """A whole network.

    embedding  features of each element, shape (n_types, n_channels)
    readout    shape (n_channels,); the energy of an atom is scale * (readout @ x) + shift
    harmonics  polynomials: [l][m] -> {powers of x, y, z: coefficient} on the unit sphere
    """

    n_channels: int
    cutoff: float
    layers: tuple[Layer, ...]
    embedding: FloatArray
    readout: FloatArray
    scales: FloatArray
    shifts: FloatArray
    harmonics: tuple[tuple[dict[tuple[int, int, int], float], ...], ...]


def in_double(hyperparameters: dict[str, Any], state: dict[str, torch.Tensor]) -> Any:
    """Return the network with these weights in double precision."""
    network = NequIPGNNModel(seed=0, **{**hyperparameters, "model_dtype": "float64"})
    target = network.state_dict()
    network.load_state_dict({k: v.to(target[k].dtype).cpu() for k, v in state.items()})
    return network.eval().requires_grad_(requires_grad=False)


def describe(network: Any, hyperparameters: dict[str, Any]) -> Description:
    """Read a network in double precision.

    Raises ModelError for a form that this module does not know.
    """
    parts = network.model.func
    n_types, n_channels = len(hyperparameters["type_names"]), int(hyperparameters["num_features"])
    embedding = parts.type_embed.embed_module.weight.numpy().copy()
    layers = tuple(
        _layer(getattr(parts, f"layer{k}_convnet"), embedding, n_channels)
        for k in range(int(hyperparameters["num_layers"]))
    )
    last = parts.per_type_energy_scale_shift
    return Description(
        n_channels=n_channels,
        cutoff=float(hyperparameters["r_max"]),
        layers=layers,
        embedding=embedding,
        readout=_matrix(parts.per_atom_energy_readout.mlp_module, n_channels)[:, 0],
        scales=_per_type(last.scales, n_types),
        shifts=_per_type(last.shifts, n_types),
        harmonics=_harmonics(parts.spharm.sh, int(hyperparameters["l_max"])),
    )


def _per_type(values: torch.Tensor, n_types: int) -> FloatArray:
    return np.broadcast_to(values.numpy().reshape(-1), (n_types,)).astype(np.float64)


def _matrix(module: Any, n_in: int) -> FloatArray:
    """Return the matrix of a linear map of row vectors."""
    matrix: FloatArray = module(torch.eye(n_in, dtype=torch.float64)).numpy()
    return matrix


def _blocks(irreps: Any, n_channels: int) -> list[Block]:
    blocks, start = [], 0
    for mul, ir in Irreps(irreps):
        if mul % n_channels:
            raise ModelError(f"fused network: expected multiples of {n_channels}, got {irreps}")
        size = 2 * ir.l + 1
        index = start + np.arange(mul * size).reshape(mul // n_channels, n_channels, size)
        blocks += [Block(ir.l, part.T.copy()) for part in index]
        start += mul * size
    return blocks


def _between(matrix: FloatArray, sources: list[Block], targets: list[Block]) -> Matrices:
    """Cut a matrix into the blocks that are not zero."""
    parts = {
        (a, b): matrix[np.ix_(source.index[0], target.index[0])]
        for a, source in enumerate(sources)
        for b, target in enumerate(targets)
        if source.degree == target.degree
    }
    return {key: part for key, part in parts.items() if np.abs(part).max() > 0}


def _layer(module: Any, embedding: FloatArray, n_channels: int) -> Layer:
    block = module.conv
    product = block.tp_scatter.tp
    blocks_in = _blocks(block.linear_1.irreps_in, n_channels)
    blocks_mid = _blocks(product.irreps_out, n_channels)
    blocks_out = _blocks(block.linear_2.irreps_out, n_channels)
    n_in, n_mid = product.irreps_in1.dim, product.irreps_out.dim
    norm = float(block.avg_num_neighbors_norm.norm_const.reshape(-1)[0])
    return Layer(
        degrees_in=tuple(b.degree for b in blocks_in),
        degrees_mid=tuple(b.degree for b in blocks_mid),
        degrees_out=tuple(b.degree for b in blocks_out),
        before=_between(norm * _matrix(block.linear_1, n_in), blocks_in, blocks_in),
        paths=_paths(product, blocks_in, blocks_mid),
        after=_between(_matrix(block.linear_2, n_mid), blocks_mid, blocks_out),
        own=_own(block.sc, embedding, n_in, blocks_in, blocks_out),
        gate=_gate(module.equivariant_nonlin, blocks_out),
    )


def _own(
    module: Any, embedding: FloatArray, n_in: int, sources: list[Block], targets: list[Block]
) -> tuple[Matrices, ...]:
    if module is None:
        return ()
    matrices = []
    for row in embedding:
        attributes = torch.from_numpy(row).expand(n_in, -1)
        matrix = module(torch.eye(n_in, dtype=torch.float64), attributes).numpy()
        matrices.append(_between(matrix, sources, targets))
    return tuple(matrices)


def _paths(product: Any, sources: list[Block], targets: list[Block]) -> tuple[Path, ...]:
    """Read the couplings of all products, in the order of their radial weights."""
    n_channels = sources[0].index.shape[1]
    harmonics = _blocks(product.irreps_in2, 1)
    paths = []
    for number, instruction in enumerate(product.instructions):
        if instruction.connection_mode != "uvu" or not instruction.has_weight:
            raise ModelError("fused network: expected weighted 'uvu' products")
        a, h, b = instruction.i_in1, instruction.i_in2, instruction.i_out
        weights = torch.zeros(product.weight_numel, dtype=torch.float64)
        weights[number * n_channels : (number + 1) * n_channels] = 1.0
        rows, columns = sources[a].index[:, 0], harmonics[h].index[:, 0]
        x = torch.eye(product.irreps_in1.dim, dtype=torch.float64)[rows]
        y = torch.eye(product.irreps_in2.dim, dtype=torch.float64)[columns]
        n1, n2 = len(x), len(y)
        x, y = x.repeat_interleave(n2, 0), y.repeat(n1, 1)
        message = product(x, y, weights.expand(n1 * n2, -1)).numpy()
        coupling = message[:, targets[b].index[:, 0]].reshape(n1, n2, -1)
        coupling[np.abs(coupling) < _NEGLIGIBLE] = 0.0
        paths.append(Path(a, harmonics[h].degree, b, coupling))
    return tuple(paths)


def _gate(module: Any, blocks: list[Block]) -> Gate:
    order = torch.arange(module.irreps_in.dim, dtype=torch.float64)
    number = {int(block.index[0, 0]): k for k, block in enumerate(blocks)}
    n_channels = blocks[0].index.shape[1]

    def numbers(part: Any, irreps: Any) -> list[int]:
        positions = part.numpy().astype(int)
        own = _blocks(irreps, n_channels)
        return [number[int(positions[block.index[0, 0]])] for block in own]

    scalars, gates, gated = module.sc(order)
    scalar_acts = _activations(module.act_scalars, n_channels)
    gate_acts = _activations(module.act_gates, n_channels)
    passing = numbers(scalars, module.irreps_scalars)
    openers = numbers(gates, module.irreps_gates)
    tensors = numbers(gated, module.irreps_gated)
    return Gate(
        tuple((a, *act) for a, act in zip(passing, scalar_acts, strict=True)),
        tuple((a, g, *act) for a, g, act in zip(tensors, openers, gate_acts, strict=True)),
    )


def _activations(module: Any, n_channels: int) -> list[tuple[str, float]]:
    """Return name and factor of the activation of each block of scalars."""
    found = []
    probe = torch.tensor([-1.3, 0.4, 2.1], dtype=torch.float64)
    for (mul, _), function in zip(module.irreps_in, module.acts, strict=True):
        values = function(probe)
        for name, known in (("silu", torch.nn.functional.silu), ("tanh", torch.tanh)):
            factors = values / known(probe)
            if torch.allclose(factors, factors[0].expand(3), rtol=1e-9):
                found += [(name, float(factors[0]))] * (mul // n_channels)
                break
        else:
            raise ModelError("fused network: expected SiLU or tanh in the gates")
    return found


def _harmonics(
    module: Any, l_max: int
) -> tuple[tuple[dict[tuple[int, int, int], float], ...], ...]:
    """Write the spherical harmonics as homogeneous polynomials of the unit vector."""
    points = np.random.default_rng(0).standard_normal((200, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    values = module(torch.from_numpy(points)).numpy()
    rows = []
    for degree in range(l_max + 1):
        powers = [
            tuple(choice.count(axis) for axis in range(3))
            for choice in combinations_with_replacement(range(3), degree)
        ]
        monomials = np.stack([np.prod(points ** np.array(p), axis=1) for p in powers], axis=1)
        part = values[:, degree**2 : (degree + 1) ** 2]
        fit = np.linalg.lstsq(monomials, part, rcond=None)[0]
        rows.append(
            tuple(
                {(p[0], p[1], p[2]): float(c) for p, c in zip(powers, column, strict=True)
                 if abs(c) > _NEGLIGIBLE}
                for column in fit.T
            )
        )  # fmt: skip
    return tuple(rows)


def radial_functions(network: Any, layer: int, distances: FloatArray) -> FloatArray:
    """Return the weights of a layer's products at distances, shape (n, n_paths * n_channels)."""
    parts = network.model.func
    data = {
        AtomicDataDict.NORM_LENGTH_KEY: torch.from_numpy(distances / parts.edge_norm.r_max)[:, None]
    }
    data = parts.factor(parts.bessel_encode(data))
    mlp = getattr(parts, f"layer{layer}_convnet").conv.edge_mlp
    weights: FloatArray = mlp(data[AtomicDataDict.EDGE_EMBEDDING_KEY]).numpy()
    return weights
