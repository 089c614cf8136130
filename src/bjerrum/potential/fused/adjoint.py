"""C++ of one network's weight gradient: its layers unrolled for ``adjoint.cpp``, on dual numbers.

The expressions of :mod:`~bjerrum.potential.fused.source` serve both kernels; here their vectors
are dual, and reverse passes end in the weights instead of the positions.
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from bjerrum.potential.fused.description import Description, Layer, Matrices
from bjerrum.potential.fused.source import (
    Weights,
    _by_type,
    _edge,
    _function,
    _gates,
    _harmonics,
    _offsets,
    _rotations,
    _sum,
    _value,
)
from bjerrum.potential.fused.tables import N_TERMS


def generate_adjoint(network: Description) -> tuple[str, np.ndarray]:
    """Return the C++ source of the architecture and the packed weights of this network."""
    weights = Weights(network.n_channels)
    embedding = min([weights.add(row) for row in network.embedding])
    readout = weights.add(network.readout)
    structs, table = [], 0
    for number, layer in enumerate(network.layers):
        structs.append(_layer(number, layer, table, weights))
        table += N_TERMS * len(layer.paths)
    n_layers = len(network.layers)
    n_sh = sum(len(degree) for degree in network.harmonics)
    constants = [
        f"constexpr int U = {weights.width}, N_SH = {n_sh};",
        f"constexpr int N_LAYERS = {n_layers}, N_TERMS = {N_TERMS};",
        f"constexpr int64_t EMBEDDING = {embedding}, READOUT = {readout};",
    ]
    text = resources.files("bjerrum.potential.fused").joinpath("adjoint.cpp").read_text("utf-8")
    text = text.replace("//CHANNELS", "\n".join(constants))
    text = text.replace("//GENERATED", "\n".join([_dual_harmonics(network), *structs]))
    return text.replace('extern "C" {', _drivers(n_layers) + '\nextern "C" {', 1), weights.packed()


def _dual_harmonics(network: Description) -> str:
    values, _, _ = _harmonics(network).partition("  static inline void harmonics_back")
    return values.replace("const float* u, float* sh", "const S* u, S* sh")


def _drivers(n_layers: int) -> str:
    forward = " && ".join(f"forward<Layer{k}>(net, n, type)" for k in range(n_layers))
    backward = " && ".join(
        f"backward<Layer{k}>(net, n, type, net.dx[{(k + 1) % 2}], net.dx[{k % 2}])"
        for k in reversed(range(n_layers))
    )
    arguments = "Network& net, int64_t n, const int32_t* type"
    return (
        f"static bool forward_layers({arguments}) {{ return {forward}; }}\n"
        f"static bool backward_layers({arguments}) {{ return {backward}; }}\n"
    )


def _maps(
    matrices: Matrices, degrees: tuple[int, ...], at_x: list[int], at_y: list[int],
    names: tuple[str, str, str, str], weights: Weights,
) -> tuple[list[str], list[str], list[str]]:  # fmt: skip
    """Return the calls of y += x w, of dx += dy w^T, and of dw += x^T dy.

    names  of x, y, dx, dy
    """
    x, y, dx, dy = names
    forth, back, outer = [], [], []
    for (a, b), matrix in matrices.items():
        m, p, q = 2 * degrees[a] + 1, at_x[a], at_y[b]
        here, transposed = weights.add(matrix), weights.add(matrix.T)
        forth.append(f"mul_add<{m}>({x} + {p}, w + {here}, {y} + {q});")
        back.append(f"mul_add<{m}>({dy} + {q}, w + {transposed}, {dx} + {p});")
        outer.append(f"outer<{m}>({x} + {p}, {dy} + {q}, g + {here});")
    return forth, back, outer


def _layer(number: int, layer: Layer, table: int, weights: Weights) -> str:
    at_in, at_mid, at_out = map(_offsets, (layer.degrees_in, layer.degrees_mid, layer.degrees_out))
    gate = layer.gate
    degrees_next = [0] * len(gate.scalars) + [layer.degrees_out[t[0]] for t in gate.tensors]
    at_next = _offsets(degrees_next)
    sizes = {
        "NUMBER": number, "IN": at_in[-1], "MID": at_mid[-1], "OUT": at_out[-1],
        "NEXT": at_next[-1], "PATHS": len(layer.paths), "TABLE": table,
    }  # fmt: skip
    constants = ", ".join(f"{name} = {value}" for name, value in sizes.items())
    w, g = "const float* w", "float* g"
    before = _maps(layer.before, layer.degrees_in, at_in, at_in, ("x", "h", "dx", "dh"), weights)
    after = _maps(
        layer.after, layer.degrees_mid, at_mid, at_out, ("message", "z", "dm", "dz"), weights
    )
    names = ("x", "z", "dx", "dz")
    cases = [_maps(m, layer.degrees_in, at_in, at_out, names, weights) for m in layer.own]
    own = [_by_type([case[k] for case in cases]) for k in range(3)]
    functions = [
        _function(f"before({w}, const V* x, V* h)", before[0]),
        _function(f"before_back({w}, const V* dh, V* dx)", before[1]),
        _function(f"before_weights({g}, const V* x, const V* dh)", before[2]),
        _function(f"after({w}, int type, const V* message, const V* x, V* z)", after[0] + own[0]),
        _function(f"after_back({w}, int type, const V* dz, V* dm, V* dx)", after[1] + own[1]),
        _function(
            f"after_weights({g}, int type, const V* message, const V* x, const V* dz)",
            after[2] + own[2],
        ),
        _gates(layer, at_out, at_next),
        _edge(layer, at_in, at_mid).replace("const V* row", "const R* row"),
        _edge_weights(layer, at_in, at_mid),
    ]
    body = "".join(functions)
    return f"struct Layer{number} {{\n  static constexpr int {constants};\n{body}}};\n"


def _edge_weights(layer: Layer, at_in: list[int], at_mid: list[int]) -> str:
    """Adjoints of one message: of the neighbour's features and of the radial table."""
    n_paths = len(layer.paths)
    lines = ["const Powers powers(e.t);"]
    for number, path in enumerate(layer.paths):
        x, y, n1 = at_in[path.source], at_mid[path.target], path.coupling.shape[0]
        rotations = _rotations(path)
        lines += ["{", f"  const V w = {_value(number, n_paths)};"]
        for a in range(n1):
            terms = [f"({r}) * dm[{y + c}]" for (c, m), r in rotations.items() if m == a]
            lines += [f"  const V s{a} = {_sum(terms)};", f"  dh[{x + a}] += w * s{a};"]
        total = _sum(f"h[{x + a}] * s{a}" for a in range(n1))
        lines += [f"  powers.add({total}, drow + {number}, {n_paths});", "}"]
    signature = "const V* h, const R* row, const Edge& e, const V* dm, V* dh, R* drow"
    return _function(f"edge_weights({signature})", lines)
