"""The two results that everything passes around: an evaluation of forces, and an estimate.

``Evaluation`` is what a potential or a baseline says about one configuration; ``Estimate`` is
what a measurement says about the world.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """Energy and forces of one configuration.

    energy  eV
    forces  shape (n_atoms, 3), eV/angstrom
    terms   the energy of each named part, eV, where there are several
    virial  -dE/d(strain) in eV, shape (3, 3), where it is known: sum of r (x) f over pairs
    """

    energy: float
    forces: FloatArray
    terms: dict[str, float] = field(default_factory=dict)
    virial: FloatArray | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number that knows how sure it is.

    value           the estimate itself
    standard_error  one standard deviation of ``value``, same unit; never negative or NaN
    unit            as printed, "1" for pure numbers
    n_effective     number of independent samples behind it, positive
    provenance      where it comes from: method, inputs, source; JSON values

    Raises ValueError for anything else: a number without an honest error bar is no estimate.
    """

    value: float
    standard_error: float
    unit: str
    n_effective: float
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and math.isfinite(self.standard_error)):
            raise ValueError(
                f"an Estimate must be finite, got {self.value} +- {self.standard_error}"
            )
        if self.standard_error < 0:
            raise ValueError(f"standard_error must not be negative, got {self.standard_error}")
        if not 0 < self.n_effective < math.inf:
            raise ValueError(f"n_effective must be positive and finite, got {self.n_effective}")

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        return f"{self.value:.4g} +- {self.standard_error:.2g}{unit}"

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers: value, standard_error, unit, n_effective, provenance if any."""
        data: dict[str, Any] = {
            "value": float(self.value),
            "standard_error": float(self.standard_error),
            "unit": self.unit,
            "n_effective": float(self.n_effective),
        }
        if self.provenance:
            data["provenance"] = copy.deepcopy(self.provenance)
        return data
