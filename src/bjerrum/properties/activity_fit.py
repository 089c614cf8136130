"""From activity derivatives at a few molalities to osmotic and activity coefficients.

The derivatives are fitted by that of Pitzer's equation for a 1:1 salt, whose Debye-Hueckel slope is
fixed; its parameters then give phi and ln gamma in closed form, with the covariance of the fit:

    d ln a/d ln m = 1 + DH'(m) + 2 m beta0 + m (2 - s) exp(-2 s) beta1 + 3 m^2 C
    phi - 1       = DH_phi(m) + m beta0 + m exp(-2 s) beta1 + m^2 C
    ln gamma      = DH_gamma(m) + 2 m beta0 + [1 - (1 + 2 s - 2 m) exp(-2 s)]/2 beta1 + 3/2 m^2 C

with s = sqrt(m), DH_phi = -A s/(1 + b s), DH_gamma = -A [s/(1 + b s) + (2/b) ln(1 + b s)],
DH' = d(m DH_phi)/dm (K. S. Pitzer, J. Phys. Chem. 77, 268 (1973)). Gibbs-Duhem holds by
construction. Integrating a few points without the fixed limit would put the error of the missing
dilute range into every result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.units import AVOGADRO, bjerrum_length

PITZER_B: Final = 1.2
"""kg^1/2 mol^-1/2 (Pitzer 1973)."""

PARAMETERS: Final = ("beta0", "beta1", "c_phi")

BEYOND: Final = 1.05
"""phi and gamma are given up to this factor beyond the largest fitted molality."""


@dataclass(frozen=True)
class DerivativePoint:
    """d ln a/d ln m at one molality (mol/kg) with its standard error."""

    molality: float
    value: float
    standard_error: float

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (self.molality, self.value, self.standard_error)))
        if not (finite and self.molality > 0 and self.standard_error > 0):
            raise InputError(
                "a point needs a positive molality, a value and a positive standard error, got "
                f"{self.molality:g} mol/kg, {self.value:g} +- {self.standard_error:g}"
            )


@dataclass(frozen=True, eq=False)
class ActivityFit:
    """Pitzer parameters with covariance; phi and ln gamma follow.

    slope          A_phi, kg^1/2 mol^-1/2
    names          the fitted parameters, of PARAMETERS; the others are zero
    values         (n_parameters,)
    covariance     (n_parameters, n_parameters)
    max_molality   mol/kg, of the points
    chi_squared    per degree of freedom; None where there is none
    n_points       points fitted
    """

    slope: float
    names: tuple[str, ...]
    values: FloatArray
    covariance: FloatArray
    max_molality: float
    chi_squared: float | None
    n_points: int

    def osmotic_coefficient(self, molality: float) -> Estimate:
        """Return phi with its standard error; InputError beyond the fitted range."""
        s = self._root(molality)
        fixed = 1 - self.slope * s / (1 + PITZER_B * s)
        return self._estimate(fixed, osmotic_rows(np.array([molality]))[0])

    def ln_gamma(self, molality: float) -> Estimate:
        """Return ln gamma (molal, mean ionic) with its error; InputError beyond the range."""
        s = self._root(molality)
        fixed = -self.slope * (s / (1 + PITZER_B * s) + 2 / PITZER_B * math.log1p(PITZER_B * s))
        return self._estimate(fixed, ln_gamma_rows(np.array([molality]))[0])

    def dlna_dlnm(self, molality: float) -> Estimate:
        """Return the fitted derivative with its error; InputError beyond the range."""
        self._root(molality)
        points = np.array([molality])
        fixed = float(debye_hueckel_derivative(points, self.slope)[0])
        return self._estimate(fixed, derivative_rows(points)[0])

    def to_json(self, molalities: Sequence[float] = ()) -> dict[str, Any]:
        """Return plain data: parameters, covariance, and phi and ln gamma at ``molalities``."""
        errors = np.sqrt(np.diag(self.covariance))
        return {
            "debye_hueckel_slope": self.slope,
            "parameters": {
                name: Estimate(
                    value=float(value),
                    standard_error=float(error),
                    unit="kg2/mol2" if name == "c_phi" else "kg/mol",
                    n_effective=self.n_points,
                ).to_json()
                for name, value, error in zip(self.names, self.values, errors, strict=True)
            },
            "covariance": self.covariance.tolist(),
            "chi_squared_per_degree_of_freedom": self.chi_squared,
            "max_molality_mol_per_kg": self.max_molality,
            "points": [
                {
                    "molality_mol_per_kg": m,
                    "osmotic_coefficient": self.osmotic_coefficient(m).to_json(),
                    "ln_gamma": self.ln_gamma(m).to_json(),
                    "dlna_dlnm": self.dlna_dlnm(m).to_json(),
                }
                for m in molalities
            ],
        }

    def _root(self, molality: float) -> float:
        if not 0 <= molality <= BEYOND * self.max_molality:
            raise InputError(
                f"the fit holds from 0 to {self.max_molality:g} mol/kg, got {molality:g}"
            )
        return math.sqrt(molality)

    def _estimate(self, fixed: float, row: FloatArray) -> Estimate:
        chosen = row[[PARAMETERS.index(name) for name in self.names]]
        return Estimate(
            value=float(fixed + chosen @ self.values),
            standard_error=math.sqrt(max(float(chosen @ self.covariance @ chosen), 0.0)),
            unit="1",
            n_effective=self.n_points,
        )


def fit_activity(
    points: Sequence[DerivativePoint],
    slope: float,
    *,
    parameters: Sequence[str] = PARAMETERS,
) -> ActivityFit:
    """Fit d ln a/d ln m by weighted least squares; the model is linear in its parameters.

    Covariance = (X^T W X)^-1, W = 1/SE^2, times chi^2 per degree of freedom where that exceeds 1.

    points      at distinct molalities
    slope       A_phi, kg^1/2 mol^-1/2, see :func:`debye_hueckel_slope`
    parameters  of PARAMETERS; those left out are zero
    Raises InputError for fewer points than parameters.
    """
    names = tuple(name for name in PARAMETERS if name in parameters)
    unknown = sorted(set(parameters) - set(PARAMETERS))
    if unknown or not names:
        raise InputError(f"parameters are {', '.join(PARAMETERS)}; got {', '.join(parameters)}")
    if not slope > 0:
        raise InputError(f"the Debye-Hueckel slope must be positive, got {slope:g}")
    molality = np.array([point.molality for point in points])
    if len(np.unique(molality)) < len(names):
        raise InputError(
            f"{len(names)} parameters need as many molalities, got {len(np.unique(molality))}: "
            f"give more points, or fit fewer of {', '.join(PARAMETERS)}"
        )
    weight = 1 / np.array([point.standard_error for point in points])
    columns = [PARAMETERS.index(name) for name in names]
    rows = derivative_rows(molality)[:, columns] * weight[:, None]
    measured = np.array([point.value for point in points])
    wanted = (measured - debye_hueckel_derivative(molality, slope)) * weight
    values = np.asarray(np.linalg.lstsq(rows, wanted, rcond=None)[0], np.float64)
    if np.linalg.matrix_rank(rows) < len(names):
        raise InputError("the molalities lie too close together for these parameters: fit fewer")
    freedom = len(points) - len(names)
    chi_squared = float(((rows @ values - wanted) ** 2).sum() / freedom) if freedom else None
    scale = max(1.0, chi_squared or 0.0)
    covariance = np.asarray(scale * np.linalg.inv(rows.T @ rows), np.float64)
    return ActivityFit(
        slope, names, values, covariance, float(molality.max()), chi_squared, len(points)
    )


def debye_hueckel_slope(
    dielectric_constant: float, water_density: float, temperature: float
) -> float:
    """Return A_phi = (1/3) (2 pi N_A rho_w)^(1/2) l_B^(3/2), kg^1/2 mol^-1/2 (Pitzer 1973).

    water_density  kg/m3
    temperature    K
    """
    if not (dielectric_constant >= 1 and water_density > 0 and temperature > 0):
        raise InputError("dielectric constant, water density and temperature must be positive")
    per_molality = AVOGADRO * water_density * 1e-30
    length = bjerrum_length(dielectric_constant, temperature)
    return math.sqrt(2 * math.pi * per_molality * length**3) / 3


def debye_hueckel_derivative(molality: FloatArray, slope: float) -> FloatArray:
    """Return 1 + DH'(m) = 1 - A s [1/(1 + b s) + 1/(2 (1 + b s)^2)], (n,)."""
    s = np.sqrt(molality)
    return 1 - slope * s * (1 / (1 + PITZER_B * s) + 0.5 / (1 + PITZER_B * s) ** 2)


def derivative_rows(molality: FloatArray) -> FloatArray:
    """Return the factors of beta0, beta1 and C in d ln a/d ln m, (n, 3)."""
    s = np.sqrt(molality)
    beta1 = molality * (2 - s) * np.exp(-2 * s)
    return np.stack([2 * molality, beta1, 3 * molality**2], axis=-1)


def osmotic_rows(molality: FloatArray) -> FloatArray:
    """Return the factors of beta0, beta1 and C in phi, (n, 3)."""
    return np.stack([molality, molality * np.exp(-2 * np.sqrt(molality)), molality**2], axis=-1)


def ln_gamma_rows(molality: FloatArray) -> FloatArray:
    """Return the factors of beta0, beta1 and C in ln gamma, (n, 3)."""
    s = np.sqrt(molality)
    beta1 = (1 - (1 + 2 * s - 2 * molality) * np.exp(-2 * s)) / 2
    return np.stack([2 * molality, beta1, 1.5 * molality**2], axis=-1)
