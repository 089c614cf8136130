"""From McMillan-Mayer to Lewis-Randall: constant water potential to constant pressure.

Theories of ions in a continuum give phi and y at the chemical potential of pure water, against
molarity c (mol/L of solution). Experiments give phi and gamma at 1 bar, against molality m
(mol/kg of water). With d0 the density of water (kg/L) and V_s the partial molar volume of the salt
(L/mol), the compressibility neglected (Friedman, J. Solution Chem. 1, 387 (1972); Pailthorpe,
Mitchell & Ninham, J. Chem. Soc. Faraday Trans. 2 80, 115 (1984)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.interpolate import CubicSpline

from bjerrum.density import (
    density_model,
    molality_of_molarity,
    molar_mass,
    molarity_of_molality,
    solution_density,
)
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.literature.water import water_density

_STEP: Final = 1e-3
"""Relative step in molality of numerical derivatives."""


@dataclass(frozen=True)
class Volumes:
    """What the conversion needs of one solution.

    molarity, molality   mol/L and mol/kg
    water_density        d0, kg/L, pure water
    salt_volume          partial molar volume V_s of the salt, L/mol
    salt_volume_slope    dV_s/dc, L^2/mol^2
    """

    molarity: float
    molality: float
    water_density: float
    salt_volume: float
    salt_volume_slope: float


def volumes(salt: str, molarity: float, temperature: float) -> Volumes:
    """Return the volumes of an aqueous salt solution from its density model.

    Raises InputError where no density is published.
    """
    molality = molality_of_molarity(salt, molarity, temperature)
    volume = partial_molar_volume(salt, molality, temperature)
    low, high = molality * (1 - _STEP), molality * (1 + _STEP)
    slope = (
        partial_molar_volume(salt, high, temperature) - partial_molar_volume(salt, low, temperature)
    ) / (molarity_at(salt, high, temperature) - molarity_at(salt, low, temperature))
    d0 = water_density(temperature) / 1000.0
    return Volumes(molarity, molality, d0, volume, slope)


def constant_volumes(salt_volume: float, molarity: float, temperature: float) -> Volumes:
    """Return the volumes of a solution whose salt has the same partial molar volume throughout.

    m = c/(d0 (1 - c V_s)): the salt takes its volume, the rest is water of its own density.

    salt_volume  V_s, L/mol of formula units
    molarity     mol/L
    Raises InputError where the salt would leave no room for water.
    """
    share = molarity * salt_volume
    if share >= 1:
        raise InputError(
            f"at {molarity:g} mol/L a salt of {1000 * salt_volume:g} cm3/mol leaves no room for "
            "water; lower the concentration or the volume"
        )
    d0 = water_density(temperature) / 1000.0
    return Volumes(molarity, molarity / (d0 * (1 - share)), d0, salt_volume, 0.0)


def molarity_at_volume(salt_volume: float, molality: float, temperature: float) -> float:
    """Return c = m d0/(1 + m d0 V_s), the inverse of :func:`constant_volumes`; V_s in L/mol."""
    water = molality * water_density(temperature) / 1000.0
    return water / (1 + water * salt_volume)


def molarity_at(salt: str, molality: float, temperature: float) -> float:
    """Return the molarity (mol/L) of a molality (mol/kg), by the salt's density model."""
    return molarity_of_molality(
        molality,
        molar_mass=molar_mass(salt),
        density=solution_density(salt, molality, temperature),
    )


def partial_molar_volume(salt: str, molality: float, temperature: float) -> float:
    """Return V_s = V_phi + m dV_phi/dm in L/mol, from the apparent molar volume V_phi."""
    model = density_model(salt)
    step = _STEP * molality
    high, low = (
        (molality + sign * step) * model.apparent_molar_volume(molality + sign * step, temperature)
        for sign in (1, -1)
    )
    return (high - low) / (2 * step) * 1e-3


def osmotic_lewis_randall(phi_mm: float, v: Volumes) -> float:
    """Return phi(1 bar, m) = phi_MM c/(m d0)."""
    return phi_mm * v.molarity / (v.molality * v.water_density)


def osmotic_mcmillan_mayer(phi_lr: float, v: Volumes) -> float:
    """Return phi_MM = phi(1 bar, m) m d0/c: the inverse of :func:`osmotic_lewis_randall`."""
    return phi_lr * v.molality * v.water_density / v.molarity


def log_gamma_lewis_randall(ln_y_mm: float, phi_mm: float, v: Volumes) -> float:
    """Return ln gamma(1 bar, m) = ln y_MM + ln(c/(m d0)) - c phi_MM V_s.

    From mu_s(P) = mu_s(P + Pi) - Pi V_s with the osmotic pressure Pi = nu c R T phi_MM.
    """
    ratio = v.molarity / (v.molality * v.water_density)
    return ln_y_mm + math.log(ratio) - v.molarity * phi_mm * v.salt_volume


def log_y_mcmillan_mayer(ln_gamma_lr: float, phi_mm: float, v: Volumes) -> float:
    """Return ln y_MM: the inverse of :func:`log_gamma_lewis_randall`."""
    ratio = v.molarity / (v.molality * v.water_density)
    return ln_gamma_lr - math.log(ratio) + v.molarity * phi_mm * v.salt_volume


def derivative_lewis_randall(dlna_dlnc_mm: float, phi_mm: float, v: Volumes) -> float:
    """Return (d ln a/d ln c) at 1 bar from that at constant water potential, A.

    A (1 - c V_s) - c^2 phi_MM dV_s/dc: the derivative of :func:`log_gamma_lewis_randall` plus
    ln m, with d(c phi_MM)/dc = A.
    """
    c = v.molarity
    return dlna_dlnc_mm * (1 - c * v.salt_volume) - c**2 * phi_mm * v.salt_volume_slope


def log_y_of_log_gamma(ln_gamma: float, v: Volumes) -> float:
    """Return ln y (molarity scale) from ln gamma (molality scale): gamma m d0 = y c."""
    return ln_gamma + math.log(v.molality * v.water_density / v.molarity)


def log_gamma_of_log_y(ln_y: float, v: Volumes) -> float:
    """Return ln gamma (molality scale) from ln y (molarity scale) at the same pressure."""
    return ln_y - math.log(v.molality * v.water_density / v.molarity)


def molarity_derivative(salt: str, molality: float, temperature: float) -> float:
    """Return d ln c/d ln m = 1 - c V_s at constant pressure, from the density model."""
    low, high = molality * (1 - _STEP), molality * (1 + _STEP)
    ratio = molarity_at(salt, high, temperature) / molarity_at(salt, low, temperature)
    return math.log(ratio) / math.log(high / low)


def integrate_excess(
    concentrations: Sequence[float] | FloatArray, excess: Sequence[float] | FloatArray, slope: float
) -> FloatArray:
    """Return int_0^c f(c') d ln c' at each concentration, for f that starts as slope sqrt(c).

    Used for ln y = phi - 1 + int (phi - 1) d ln c with f = phi - 1, for ln y = int (d ln a/d ln c
    - 1) d ln c, and on the molality scale alike. f/sqrt(c) is interpolated by a cubic spline in
    sqrt(c) from its Debye-Hueckel limit at c = 0.

    concentrations  increasing, positive, shape (n,)
    excess          f there, shape (n,)
    slope           limit of f/sqrt(c) at infinite dilution
    """
    roots, values = _from_zero(concentrations, excess)
    ratio = CubicSpline(roots, np.concatenate([[slope], values[1:] / roots[1:]]))
    return 2.0 * np.array([float(ratio.integrate(0.0, s)) for s in roots[1:]])


def average_excess(
    concentrations: Sequence[float] | FloatArray, excess: Sequence[float] | FloatArray, slope: float
) -> FloatArray:
    """Return (1/c) int_0^c f(c') dc': phi - 1 from f = d ln a/d ln c - 1; see integrate_excess."""
    roots, values = _from_zero(concentrations, excess)
    ratio = CubicSpline(roots, np.concatenate([[slope], values[1:] / roots[1:]]))
    x, weight = np.polynomial.legendre.leggauss(4)
    low, width = roots[:-1, None], np.diff(roots)[:, None]
    s = low + width * (x + 1) / 2
    pieces = np.sum(width * weight * s**2 * ratio(s), axis=1)
    return np.asarray(np.cumsum(pieces) / roots[1:] ** 2)


def _from_zero(
    concentrations: Sequence[float] | FloatArray, excess: Sequence[float] | FloatArray
) -> tuple[FloatArray, FloatArray]:
    c, f = np.asarray(concentrations, dtype=float), np.asarray(excess, dtype=float)
    if c.ndim != 1 or c.shape != f.shape or len(c) < 1:
        raise InputError("expected as many values as concentrations")
    if c[0] <= 0 or np.any(np.diff(c) <= 0):
        raise InputError("concentrations must be positive and increase")
    return np.sqrt(np.concatenate([[0.0], c])), np.concatenate([[0.0], f])
