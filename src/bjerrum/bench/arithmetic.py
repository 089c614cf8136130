"""How much arithmetic a compiled network is, and how fast this processor could do it at best.

The additions and multiplications are counted in the generated source itself; those of vectors of U
channels count U times. The processor's best is measured with
chains of fused multiply-adds that do nothing else.
"""

from __future__ import annotations

import ast
import ctypes
import re
import time

import numpy as np

from bjerrum.potential.fused.compiler import load_library

_BODY = re.compile(r"static inline void (\w+)\(([^)]*)\) \{\n(.*?)\n  \}(?:\n|$)", re.DOTALL)
_LAYER = re.compile(r"struct Layer\d+ \{(.*?)\n\};", re.DOTALL)
_PRODUCT = re.compile(r"mul_add<(\d+)>")
_BRANCH = re.compile(r"if \(type == (\d+)\) \{(.*?)\n\s*\}", re.DOTALL)

_PEAK = """
typedef float V __attribute__((vector_size(64)));
extern "C" float multiply_add(long n, float a, float b) {
  V x[24];
  for (int k = 0; k < 24; ++k) x[k] = (V){} + (float)k;
  V va = (V){} + a, vb = (V){} + b;
  for (long i = 0; i < n; ++i)
    for (int k = 0; k < 24; ++k) x[k] = x[k] * va + vb;
  float total = 0;
  for (int k = 0; k < 24; ++k) for (int u = 0; u < 16; ++u) total += x[k][u];
  return total;
}
"""


def operations(source: str, width: int, n_types: int) -> dict[str, float]:
    """Return operations of one evaluation, forces included, per neighbour and per atom.

    source  generated C++
    width   channels of a vector
    Left out: exponentials of the gates, spherical harmonics, and the search of the neighbours.
    """
    per_edge = per_atom = 0.0
    for layer in _LAYER.findall(source):
        for name, _, body in _BODY.findall(layer):
            if name in ("edge", "edge_back"):
                per_edge += _count(body, width)
            elif name not in ("gate", "gate_back"):
                per_atom += _products(body, width, n_types)
    return {"per_neighbour": per_edge, "per_atom": per_atom}


def _products(body: str, width: int, n_types: int) -> float:
    """Count matrix products; those of one element count as often as an element occurs."""
    branches = sum(_sizes(text) for _, text in _BRANCH.findall(body))
    return 2 * width**2 * (_sizes(_BRANCH.sub("", body)) + branches / n_types)


def _sizes(text: str) -> float:
    return float(sum(int(size) for size in _PRODUCT.findall(text)))


def _count(body: str, width: int) -> float:
    """Count the operations of generated assignments; every line is nearly Python."""
    total = 0
    for line in body.splitlines():
        text = re.sub(r"^(const )?V ", "", line.strip().rstrip(";"))
        if text in ("{", "}") or text.endswith("= {}"):
            continue
        (statement,) = ast.parse(re.sub(r"(?<=\d)f\b", "", text)).body
        assert isinstance(statement, (ast.Assign, ast.AugAssign))
        total += _operations(statement.value, width)[0]
        if isinstance(statement, ast.AugAssign):
            total += _size(statement.target, width)
    return float(total)


def _operations(node: ast.expr, width: int) -> tuple[int, int]:
    """Return the operations of an expression and the size of its value."""
    if isinstance(node, ast.BinOp):
        (left, a), (right, b) = (_operations(part, width) for part in (node.left, node.right))
        return left + right + max(a, b), max(a, b)
    if isinstance(node, ast.UnaryOp):
        return _operations(node.operand, width)
    if isinstance(node, ast.Call):  # sum over the channels
        inside, size = _operations(node.args[0], width)
        return inside + size - 1, 1
    return 0, _size(node, width)


def _size(node: ast.expr, width: int) -> int:
    """Return how many numbers a name or an element stands for: those of ``e`` and ``g`` are one."""
    base = node.value if isinstance(node, ast.Subscript) else node
    return 1 if isinstance(base, (ast.Attribute, ast.Constant)) else width


def best_rate(seconds: float = 0.3) -> float:
    """Return the operations per second of this processor, one thread, single precision.

    A fused multiply-add counts as two. The best of several short runs.
    """
    function = load_library(_PEAK).multiply_add
    function.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float]
    function.restype = ctypes.c_float
    n, best, end = 200_000, 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.process_time()
        value = function(n, 0.999, 1e-3)
        spent = time.process_time() - begin
        assert np.isfinite(value)
        best = max(best, 24 * 16 * 2 * n / spent)
    return best
