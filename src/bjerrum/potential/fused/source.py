"""C++ of one network: its layers unrolled, with non-zero couplings only, for ``kernel.cpp``.

The source depends on the architecture alone (degrees, paths, couplings), the weights are given to
the compiled library when a network is created: networks of the same form share one library.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

import numpy as np

from bjerrum.estimate import FloatArray
from bjerrum.potential.fused.description import Description, Layer, Matrices, Path
from bjerrum.potential.fused.tables import N_TERMS


def padded(n_channels: int) -> int:
    """Return the length of the kernel's vectors: the next power of two, 2 at least."""
    return max(2, 1 << (n_channels - 1).bit_length())


class Weights:
    """The matrices of a network in one row of numbers, and where each begins."""

    def __init__(self, n_channels: int) -> None:
        self.width = padded(n_channels)
        self._parts: list[FloatArray] = []
        self._size = 0

    def add(self, array: FloatArray) -> int:
        """Store a matrix or vector, channels padded with zeros; return its offset."""
        padded = np.zeros([self.width] * array.ndim)
        padded[tuple(slice(0, n) for n in array.shape)] = array
        offset = self._size
        self._parts.append(padded.ravel())
        self._size += padded.size
        return offset

    def packed(self) -> np.ndarray:
        """Return all numbers in single precision."""
        return np.concatenate(self._parts).astype(np.float32)


def generate(network: Description) -> tuple[str, np.ndarray]:
    """Return the C++ source of the architecture and the packed weights of this network."""
    weights = Weights(network.n_channels)
    embedding = min([weights.add(row) for row in network.embedding])
    readout = weights.add(network.readout)
    structs, table = [], 0
    for number, layer in enumerate(network.layers):
        structs.append(_layer(number, layer, table, weights))
        table += N_TERMS * len(layer.paths)
    n_layers = len(network.layers)
    text = resources.files("bjerrum.potential.fused").joinpath("kernel.cpp").read_text("utf-8")
    n_sh = sum(len(degree) for degree in network.harmonics)
    constants = [
        f"constexpr int U = {weights.width}, N_SH = {n_sh};",
        f"constexpr int N_LAYERS = {n_layers}, N_TERMS = {N_TERMS};",
        f"constexpr int64_t EMBEDDING = {embedding}, READOUT = {readout};",
    ]
    generated = [_harmonics(network), *structs]
    text = text.replace("//CHANNELS", "\n".join(constants))
    text = text.replace("//GENERATED", "\n".join(generated))
    return text.replace('extern "C" {', _drivers(n_layers) + '\nextern "C" {', 1), weights.packed()


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


def _number(value: float) -> str:
    text = f"{value:.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def _sum(terms: Iterable[str]) -> str:
    return " + ".join(terms) or "0.0f"


def _function(signature: str, lines: Iterable[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"  static inline void {signature} {{\n{body}\n  }}\n"


def _harmonics(network: Description) -> str:
    """Spherical harmonics of a unit vector, and the gradient of what depends on them."""
    values, gradient = [], []
    polynomials = [p for degree in network.harmonics for p in degree]
    for k, polynomial in enumerate(polynomials):
        values.append(f"sh[{k}] = {_sum(_monomial(p, c) for p, c in polynomial.items())};")
        for axis in range(3):
            terms = [
                _monomial(tuple(n - (a == axis) for a, n in enumerate(p)), c * p[axis])
                for p, c in polynomial.items()
                if p[axis]
            ]
            if terms:
                gradient.append(f"du[{axis}] += dsh[{k}] * ({_sum(terms)});")
    return _function("harmonics(const float* u, float* sh)", values) + _function(
        "harmonics_back(const float* u, const float* dsh, float* du)", gradient
    )


def _monomial(powers: tuple[int, ...], factor: float) -> str:
    return " * ".join(
        [_number(factor), *(f"u[{a}]" for a, n in enumerate(powers) for _ in range(n))]
    )


def _offsets(degrees: Iterable[int]) -> list[int]:
    """Return where the components of each block begin, and their number."""
    return np.cumsum([0, *(2 * degree + 1 for degree in degrees)]).tolist()


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
    w = "const float* w"
    before = _products(layer.before, layer.degrees_in, at_in, at_in, "x", "h", weights)
    before_back = _products(_transposed(layer.before), layer.degrees_in, at_in, at_in, "dh", "dx",
                            weights)  # fmt: skip
    after = _products(layer.after, layer.degrees_mid, at_mid, at_out, "message", "z", weights)
    after_back = _products(_transposed(layer.after), layer.degrees_out, at_out, at_mid, "dz",
                           "message", weights)  # fmt: skip
    own = _by_type([_products(m, layer.degrees_in, at_in, at_out, "x", "z", weights)
                    for m in layer.own])  # fmt: skip
    own_back = _by_type([_products(_transposed(m), layer.degrees_out, at_out, at_in, "dz", "dx",
                                   weights) for m in layer.own])  # fmt: skip
    return (
        f"struct Layer{number} {{\n  static constexpr int {constants};\n"
        + _function(f"before({w}, const V* x, V* h)", before)
        + _function(f"before_back({w}, const V* dh, V* dx)", before_back)
        + _function(f"after({w}, int type, const V* message, const V* x, V* z)", after + own)
        + _function(f"after_back({w}, int type, const V* dz, V* message, V* dx)",
                    after_back + own_back)
        + _gates(layer, at_out, at_next)
        + _edge(layer, at_in, at_mid)
        + _edge_back(layer, at_in, at_mid, first=number == 0)
        + "};\n"
    )  # fmt: skip


def _transposed(matrices: Matrices) -> Matrices:
    return {(b, a): matrix.T for (a, b), matrix in matrices.items()}


def _products(
    matrices: Matrices, degrees: tuple[int, ...], at_x: list[int], at_y: list[int], x: str, y: str,
    weights: Weights,
) -> list[str]:  # fmt: skip
    lines = []
    for (a, b), matrix in matrices.items():
        where = f"{x} + {at_x[a]}, w + {weights.add(matrix)}, {y} + {at_y[b]}"
        lines.append(f"mul_add<{2 * degrees[a] + 1}>({where});")
    return lines


def _by_type(cases: list[list[str]]) -> list[str]:
    lines = []
    for number, case in enumerate(cases):
        lines += [f"if (type == {number}) {{", *(f"  {line}" for line in case), "}"]
    return lines


def _activation(name: str) -> str:
    return {"silu": "silu", "tanh": "tanh_"}[name]


def _gates(layer: Layer, at_out: list[int], at_next: list[int]) -> str:
    forth, back = ["V value, slope;"], ["V value, slope;"]
    gate = layer.gate
    for k, (a, name, factor) in enumerate(gate.scalars):
        call = f"{_activation(name)}(z[{at_out[a]}], value, slope);"
        forth += [call, f"x[{at_next[k]}] = {_number(factor)} * value;"]
        back += [call, f"dz[{at_out[a]}] += {_number(factor)} * slope * dx[{at_next[k]}];"]
    for k, (a, g, name, factor) in enumerate(gate.tensors, start=len(gate.scalars)):
        call = f"{_activation(name)}(z[{at_out[g]}], value, slope);"
        size, z, x, f = 2 * layer.degrees_out[a] + 1, at_out[a], at_next[k], _number(factor)
        forth += [call, *(f"x[{x + m}] = {f} * value * z[{z + m}];" for m in range(size))]
        along = _sum(f"z[{z + m}] * dx[{x + m}]" for m in range(size))
        back += [call, f"dz[{at_out[g]}] += {f} * slope * ({along});"]
        back += [f"dz[{z + m}] += {f} * value * dx[{x + m}];" for m in range(size)]
    return _function("gate(const V* z, V* x)", forth) + _function(
        "gate_back(const V* z, const V* dx, V* dz)", back
    )


def _value(path: int, n_paths: int) -> str:
    """Polynomial of a path's weights between two knots, by Horner's rule."""
    rows = [f"row[{k * n_paths + path}]" for k in range(N_TERMS)]
    return _horner(rows)


def _slope(path: int, n_paths: int) -> str:
    """Return its derivative with respect to ``e.t``."""
    rows = [f"{k}.0f * row[{k * n_paths + path}]" for k in range(1, N_TERMS)]
    return _horner(rows)


def _horner(coefficients: list[str]) -> str:
    text = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        text = f"{coefficient} + e.t * ({text})"
    return text


def _rotations(path: Path) -> dict[tuple[int, int], str]:
    """A[m3, m1] = sum_m2 C[m1, m2, m3] sh[m2] as expressions, the zero ones left out."""
    base, coupling = path.harmonic**2, path.coupling
    n1, n2, n3 = coupling.shape
    terms = {
        (c, a): [
            f"{_number(coupling[a, b, c])} * e.sh[{base + b}]"
            for b in range(n2)
            if coupling[a, b, c]
        ]
        for c in range(n3)
        for a in range(n1)
    }
    return {key: _sum(part) for key, part in terms.items() if part}


def _edge(layer: Layer, at_in: list[int], at_mid: list[int]) -> str:
    """Add the message of one neighbour."""
    lines = []
    for number, path in enumerate(layer.paths):
        x, y = at_in[path.source], at_mid[path.target]
        lines += ["{", f"  const V w = {_value(number, len(layer.paths))};"]
        rotations = _rotations(path)
        if path.coupling.shape[0] == 1:
            lines.append(f"  const V wx = w * h[{x}];")
            lines += [f"  message[{y + c}] += ({a}) * wx;" for (c, _), a in rotations.items()]
        else:
            for c in range(path.coupling.shape[2]):
                terms = [f"({a}) * h[{x + m}]" for (t, m), a in rotations.items() if t == c]
                if terms:
                    lines.append(f"  message[{y + c}] += w * ({_sum(terms)});")
        lines.append("}")
    return _function("edge(const V* h, const V* row, const Edge& e, V* message)", lines)


def _edge_back(layer: Layer, at_in: list[int], at_mid: list[int], *, first: bool) -> str:
    """Gradients of one message: with respect to features, radial weights, harmonics."""
    used = sorted({p.harmonic**2 + b for p in layer.paths if p.harmonic > 0
                   for b in range(p.coupling.shape[1])})  # fmt: skip
    lines = ["V dt = {};", *(f"V dsh{k} = {{}};" for k in used)]
    for number, path in enumerate(layer.paths):
        lines += ["{", *(f"  {line}" for line in _path_back(path, number, layer, at_in, at_mid,
                                                            first=first)), "}"]  # fmt: skip
    lines += ["g.t += sum(dt);", *(f"g.sh[{k}] += sum(dsh{k});" for k in used)]
    return _function(
        "edge_back(const V* h, const V* row, const Edge& e, const V* dm, V* dh, Gradient& g)", lines
    )


def _path_back(
    path: Path, number: int, layer: Layer, at_in: list[int], at_mid: list[int], *, first: bool
) -> list[str]:
    x, y, n_paths = at_in[path.source], at_mid[path.target], len(layer.paths)
    n1, n2, n3 = path.coupling.shape
    rotations = _rotations(path)
    lines = [f"const V w = {_value(number, n_paths)};"]
    for a in range(n1):
        terms = [f"({r}) * dm[{y + c}]" for (c, m), r in rotations.items() if m == a]
        lines.append(f"const V s{a} = {_sum(terms)};")
        if not first:
            lines.append(f"dh[{x + a}] += w * s{a};")
    weight_gradient = _sum(f"h[{x + a}] * s{a}" for a in range(n1))
    lines.append(f"dt += ({_slope(number, n_paths)}) * ({weight_gradient});")
    if path.harmonic == 0:
        return lines
    base = path.harmonic**2
    lines += [f"const V wx{a} = w * h[{x + a}];" for a in range(n1)]
    for a in range(n1):
        for c in range(n3):
            factors = [(b, path.coupling[a, b, c]) for b in range(n2) if path.coupling[a, b, c]]
            if factors:
                lines.append(f"const V q{a}_{c} = wx{a} * dm[{y + c}];")
                lines += [f"dsh{base + b} += {_number(f)} * q{a}_{c};" for b, f in factors]
    return lines
