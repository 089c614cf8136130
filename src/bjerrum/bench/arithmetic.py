"""How much arithmetic a compiled network is, and how fast this processor could do it at best.

The additions and multiplications are counted in the generated source itself, by evaluating it with
numbers that count: a vector of U channels counts U times. The processor's best is measured with
chains of fused multiply-adds that do nothing else.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections import defaultdict
from typing import Any

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


class Count:
    """A number, or a vector of ``width`` numbers, that counts the operations done with it."""

    total = 0

    def __init__(self, width: int) -> None:
        self.width = width

    def _operate(self, other: Any) -> Count:
        width = max(self.width, getattr(other, "width", 1))
        Count.total += width
        return Count(width)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _operate


class _Array(defaultdict[int, Count]):
    """An array of vectors or numbers, as long as is asked for."""

    def __init__(self, width: int) -> None:
        super().__init__(lambda: Count(width))


class _Record:
    """What the generated code calls ``e`` or ``g``."""

    def __init__(self) -> None:
        self.t, self.sh = Count(1), _Array(1)


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
    """Evaluate generated assignments with counting numbers."""
    names: dict[str, Any] = {n: _Array(width) for n in ("h", "row", "message", "dm", "dh")}
    names |= {"e": _Record(), "g": _Record(), "sum": _horizontal}
    before = Count.total
    for line in body.splitlines():
        text = line.strip().rstrip(";")
        if text in ("{", "}"):
            continue
        if text.endswith("= {}"):
            names[text.split()[1]] = Count(width)
            continue
        text = re.sub(r"^(const )?V ", "", text)
        exec(re.sub(r"(?<=\d)f\b", "", text), {"__builtins__": {}}, names)
    return float(Count.total - before)


def _horizontal(vector: Count) -> Count:
    Count.total += vector.width - 1
    return Count(1)


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
