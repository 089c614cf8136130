"""Estimators of the activity derivative side by side, and which of them to use.

RDF estimators are a correction of g(r) for the closed box and a weight under the integral; the
structure factor takes the box's own wave vectors. They share noise and differ in bias; none is
best for every box, so all are shown and one is recommended by its measured noise and known bias.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bjerrum.errors import SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.kirkwood_buff import (
    CORRECTIONS,
    Composition,
    Integrals,
    electroneutral_inverse,
    electroneutrality_residual,
    inverse_derivatives,
    kirkwood_buff_integral,
    molal_factor,
    partial_molar_volumes,
    published_integral,
)

PUBLISHED: Final = "published"
STRUCTURE_FACTOR: Final = "structure_factor"

ESTIMATORS: Final[Mapping[str, tuple[str, str]]] = {
    PUBLISHED: ("tail", "cut"),
    "ganguly_vegt": ("vegt", "cut"),
    "krueger_u1": ("tail", "u1"),
    "krueger_u2": ("tail", "u2"),
    "vegt_u2": ("vegt", "u2"),
    STRUCTURE_FACTOR: ("vegt", "fourier"),
}
"""Correction and weight of each. ``structure_factor`` is that of the trajectory where there is one,
else the Fourier integral of the corrected g(r) to half the box."""

MEANING: Final[Mapping[str, str]] = {
    PUBLISHED: "g over its tail's mean, cut at L/2 (arXiv:2310.12535)",
    "ganguly_vegt": "Ganguly-van der Vegt g, cut at L/2",
    "krueger_u1": "g over its tail's mean, Krueger-Vlugt u1",
    "krueger_u2": "g over its tail's mean, Krueger-Vlugt u2",
    "vegt_u2": "Ganguly-van der Vegt g, Krueger-Vlugt u2",
    STRUCTURE_FACTOR: "S(k) for k to 0, quadratic in k^2",
}

BENCHMARK_EDGES: Final = (25.26, 51.2)
BENCHMARK_REFERENCE: Final = 1.90
BENCHMARK: Final[Mapping[str, tuple[tuple[float, float], tuple[float, float]]]] = {
    PUBLISHED: ((2.03, 0.098), (2.30, 0.34)),
    "ganguly_vegt": ((2.07, 0.13), (2.00, 0.56)),
    "krueger_u1": ((1.97, 0.067), (2.10, 0.21)),
    "krueger_u2": ((1.90, 0.044), (2.00, 0.16)),
    "vegt_u2": ((1.91, 0.037), (1.92, 0.061)),
    STRUCTURE_FACTOR: ((1.94, 0.052), (1.90, 0.076)),
}
"""McMillan-Mayer derivative (value, noise of a block) by Monte Carlo with Ewald summation of a LiCl
pair model at 2.47 mol/L, whose reference is 1.90 +- 0.02: 48 ions in 25.26 and 400 in 51.2
angstrom. It says how far off each estimator is in a box whose truth is known."""


LARGEST_RESIDUAL: Final = 0.3
"""1/A from the unlike integrals alone differs by the residual from 1/A of all: beyond this, from a
third of it."""


@dataclass(frozen=True)
class Derived:
    """A number with its standard error; None where a single run gives none, with the reason."""

    value: float
    standard_error: float | None
    n_effective: float
    unit: str = "1"

    def estimate(self) -> Estimate:
        """Return the Estimate; SeriesTooShort where there is no error bar."""
        if self.standard_error is None:
            raise SeriesTooShort(NO_ERROR_BAR, n_effective=self.n_effective)
        return Estimate(
            value=self.value,
            standard_error=self.standard_error,
            unit=self.unit,
            n_effective=self.n_effective,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the contract's form; ``standard_error`` is null where there is none."""
        if self.standard_error is not None:
            return self.estimate().to_json()
        return {
            "value": self.value,
            "standard_error": None,
            "unit": self.unit,
            "n_effective": self.n_effective,
            "reason": NO_ERROR_BAR,
        }

    def __str__(self) -> str:
        if self.standard_error is None:
            return f"{self.value:.3f} (no error bar)"
        return f"{self.value:.3f} +- {self.standard_error:.3f}"


NO_ERROR_BAR: Final = "one set of RDFs gives no error bar: give the RDFs of several runs"


@dataclass(frozen=True, eq=False)
class EstimatorResult:
    """What one estimator says; None where the input does not suffice.

    dlna_dlnc                    constant pressure
    dlna_dlnc_mcmillan_mayer     constant chemical potential of water
    dlna_dlnm                    constant pressure, of a = gamma m by molality
    dlna_dlnc_electroneutral     constant pressure, from the unlike integrals alone
    electroneutrality_residual   zero where the box is large enough
    salt_volume, water_volume    partial molar volumes, cm3/mol
    integrals                    G_ij by pair, cubic angstrom
    """

    dlna_dlnc: Derived | None
    dlna_dlnc_mcmillan_mayer: Derived
    dlna_dlnm: Derived | None
    dlna_dlnc_electroneutral: Derived | None
    electroneutrality_residual: Derived
    salt_volume: Derived | None
    water_volume: Derived | None
    integrals: Integrals
    method: str

    def to_json(self) -> dict[str, Any]:
        """Return the contract's keys and the rest."""
        numbers = {
            "dlna_dlnc": self.dlna_dlnc,
            "dlna_dlnc_mcmillan_mayer": self.dlna_dlnc_mcmillan_mayer,
            "dlna_dlnm": self.dlna_dlnm,
            "dlna_dlnc_electroneutral": self.dlna_dlnc_electroneutral,
            "electroneutrality_residual": self.electroneutrality_residual,
            "partial_molar_volume_salt_cm3_per_mol": self.salt_volume,
            "partial_molar_volume_water_cm3_per_mol": self.water_volume,
        }
        return {
            **{name: None if x is None else x.to_json() for name, x in numbers.items()},
            "integrals_angstrom3": {pair: float(g) for pair, g in self.integrals.items()},
            "method": self.method,
        }


@dataclass(frozen=True, eq=False)
class KirkwoodBuffResult:
    """All estimators, the recommended one, and what could not be computed and why."""

    box: Composition
    estimators: Mapping[str, EstimatorResult]
    recommended: str
    unavailable: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def electroneutrality_residual(self) -> tuple[str, float]:
        """Name of the estimator and its residual: the published one, else the recommended one."""
        name = PUBLISHED if PUBLISHED in self.estimators else self.recommended
        return name, self.estimators[name].electroneutrality_residual.value

    @property
    def note(self) -> str | None:
        """Why the numbers are not to be trusted, where electroneutrality is badly missed."""
        residual = self.estimators[self.recommended].electroneutrality_residual.value
        if abs(residual) <= LARGEST_RESIDUAL:
            return None
        return (
            f"electroneutrality is missed by {residual:+.2f} in 1/A: the integrals have not "
            "converged in this box, or the runs are too short; use a larger box"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the contract's form."""
        source, residual = self.electroneutrality_residual
        return {
            "estimators": {name: found.to_json() for name, found in self.estimators.items()},
            "recommended": self.recommended,
            "electroneutrality_residual": residual,
            "electroneutrality_residual_of": source,
            "unavailable": dict(self.unavailable),
            "note": self.note,
            "box_angstrom": self.box.edge,
            "n_ion_pairs": self.box.n_pairs,
            "n_waters": self.box.n_waters,
            **self.details,
        }


QUANTITIES: Final = ("pressure", "mu_w", "molal", "neutral", "residual", "v_salt", "v_water")


def quantities(
    integrals: Integrals, box: Composition, salt_volume: float | None = None
) -> FloatArray:
    """Return 1/A (constant p; constant mu_w; by molality; electroneutral), residual and volumes.

    In the order of QUANTITIES along the last axis, NaN where the integrals do not suffice.

    salt_volume  partial molar volume of the salt, cm3/mol; default: from G_OO where known
    """
    pressure, mu_w = inverse_derivatives(integrals, box)
    residual = electroneutrality_residual(integrals, box)
    if pressure is None:
        return _along_last(math.nan, mu_w, math.nan, math.nan, residual, math.nan, math.nan)
    unknown = np.full_like(mu_w, math.nan)
    volumes = partial_molar_volumes(integrals, box) if "oo" in integrals else (unknown, unknown)
    factor = molal_factor(volumes[0] if salt_volume is None else salt_volume, box)
    neutral = electroneutral_inverse(integrals, box)
    return _along_last(pressure, mu_w, pressure / factor, neutral, residual, *volumes)


def _along_last(*columns: FloatArray | float) -> FloatArray:
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def integrals_of(
    name: str, r: FloatArray, g: Mapping[str, FloatArray], box: Composition, like_n_minus_1: bool
) -> dict[str, FloatArray]:
    """Return the integrals of every pair by one estimator of ESTIMATORS; the published by sums.

    r               (n_bins,)
    g               by pair, (..., n_bins)
    like_n_minus_1  like pairs are normalised by (N - 1)/V
    """
    correction, kernel = ESTIMATORS[name]
    corrected = {
        pair: CORRECTIONS[correction](r, values, pair, box, like_n_minus_1)
        for pair, values in g.items()
    }
    return {
        pair: kirkwood_buff_integral(r, values, box.edge / 2, kernel)
        for pair, values in corrected.items()
    }


def published_integrals(
    r: FloatArray, g: Mapping[str, FloatArray], box: Composition
) -> dict[str, FloatArray]:
    """Return the integrals of every pair by the published recipe with its own quadrature."""
    return {pair: np.asarray(published_integral(r, values, box)) for pair, values in g.items()}


def recommend(estimators: Mapping[str, EstimatorResult], box: Composition) -> str:
    """Return the estimator with the smallest expected error.

    noise^2 + bias^2 in 1/A (McMillan-Mayer, which every input gives): the noise as measured, or
    that of the benchmark where there is none; the bias that of BENCHMARK in the nearer box.
    """
    column = int(np.abs(np.log(box.edge / np.array(BENCHMARK_EDGES))).argmin())

    def expected_error(name: str) -> float:
        value, noise = BENCHMARK[name][column]
        found = estimators[name].dlna_dlnc or estimators[name].dlna_dlnc_mcmillan_mayer
        measured = found.standard_error
        relative = noise / value if measured is None else measured / found.value
        bias = 1 / value - 1 / BENCHMARK_REFERENCE
        return math.hypot(relative / found.value, bias)

    return min(estimators, key=expected_error)
