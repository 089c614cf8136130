"""Closed forms for charged hard spheres: limiting laws and the mean spherical approximation.

Everything is a function of number densities (1/angstrom^3), charges (e), diameters and the Bjerrum
length (angstrom). kappa^2 = 4 pi l_B sum rho_i z_i^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from bjerrum.estimate import FloatArray


@dataclass(frozen=True)
class PrimitiveResult:
    """Osmotic coefficient and ln y of each species (McMillan-Mayer), with ln y of the mean."""

    osmotic_coefficient: float
    ln_y: FloatArray
    mean_ln_y: float


def screening_constant(rho: FloatArray, charges: FloatArray, bjerrum_length: float) -> float:
    """Return kappa in 1/angstrom (Debye & Hueckel 1923)."""
    return math.sqrt(4 * math.pi * bjerrum_length * float(rho @ np.square(charges)))


def limiting_law(rho: FloatArray, charges: FloatArray, bjerrum_length: float) -> PrimitiveResult:
    """Return the Debye-Hueckel limiting law.

    ln y_i = -z_i^2 l_B kappa/2, phi - 1 = -kappa^3/(24 pi rho_t) (Debye & Hueckel 1923).
    """
    kappa = screening_constant(rho, charges, bjerrum_length)
    ln_y = -np.square(charges) * bjerrum_length * kappa / 2
    phi = 1 - kappa**3 / (24 * math.pi * rho.sum())
    return PrimitiveResult(float(phi), ln_y, float(ln_y @ rho / rho.sum()))


def limiting_slope(charges: FloatArray, numbers: FloatArray, bjerrum_length: float) -> float:
    """Return (phi - 1)/sqrt(c) at infinite dilution, c formula units per angstrom^3."""
    return limiting_law(numbers, charges, bjerrum_length).osmotic_coefficient - 1


def hard_spheres(rho: FloatArray, diameters: FloatArray) -> PrimitiveResult:
    """Return the equation of state of a mixture of hard spheres.

    Boublik, J. Chem. Phys. 53, 471 (1970); Mansoori, Carnahan, Starling & Leland, J. Chem. Phys.
    54, 1523 (1971); of equal spheres, Carnahan & Starling (1969). xi_n = pi/6 sum rho_i d_i^n.
    """
    x0, x1, x2, x3 = (math.pi / 6 * float(rho @ diameters**n) for n in range(4))
    free, log_free = 1 - x3, math.log1p(-x3)
    phi = 1 / free + 3 * x1 * x2 / (x0 * free**2) + x2**3 * (3 - x3) / (x0 * free**3)
    d1 = 3 * x2 / free
    d2 = 3 * x1 / free + 3 * x2**2 / (x3 * free**2) + 3 * (x2 / x3) ** 2 * log_free
    d3 = (
        (x0 - x2**3 / x3**2) / free
        + (3 * x1 * x2 - x2**3 / x3**2) / free**2
        + 2 * x2**3 / (x3 * free**3)
        - 2 * (x2 / x3) ** 3 * log_free
    )
    ln_y = -log_free + diameters * d1 + diameters**2 * d2 + diameters**3 * d3
    return PrimitiveResult(phi, ln_y, float(ln_y @ rho / rho.sum()))


def mean_spherical(
    rho: FloatArray, charges: FloatArray, diameters: FloatArray, bjerrum_length: float
) -> PrimitiveResult:
    """Return the mean spherical approximation (energy route) on top of hard spheres.

    Gamma^2 = pi l_B sum rho_i [(z_i - eta d_i^2)/(1 + Gamma d_i)]^2,
    eta = (pi/(2 Omega (1 - x3))) sum rho_i z_i d_i/(1 + Gamma d_i),
    Omega = 1 + (pi/(2 (1 - x3))) sum rho_i d_i^3/(1 + Gamma d_i); then
    phi - phi_HS = -Gamma^3/(3 pi rho_t) - 2 l_B eta^2/(pi rho_t),
    ln y_i - HS = -l_B {Gamma z_i^2/(1 + Gamma d_i) + eta d_i [(2 z_i - eta d_i^2)/(1 + Gamma d_i)
    + eta d_i^2/3]} (Blum, Mol. Phys. 30, 1529 (1975); Blum & Hoye, J. Phys. Chem. 81, 1311
    (1977)). Equal diameters: Gamma = (sqrt(1 + 2 kappa d) - 1)/(2 d), eta = 0.
    """
    spheres = hard_spheres(rho, diameters)
    gamma = _screening_parameter(rho, charges, diameters, bjerrum_length)
    eta = _asymmetry(gamma, rho, charges, diameters)
    total = rho.sum()
    phi = -(gamma**3) / (3 * math.pi * total) - 2 * bjerrum_length * eta**2 / (math.pi * total)
    closeness = 1 + gamma * diameters
    ln_y = -bjerrum_length * (
        gamma * charges**2 / closeness
        + eta
        * diameters
        * ((2 * charges - eta * diameters**2) / closeness + eta * diameters**2 / 3)
    )
    mean = float(ln_y @ rho / total)
    return PrimitiveResult(
        spheres.osmotic_coefficient + float(phi), spheres.ln_y + ln_y, spheres.mean_ln_y + mean
    )


def _asymmetry(gamma: float, rho: FloatArray, charges: FloatArray, d: FloatArray) -> float:
    factor = math.pi / (2 * (1 - math.pi / 6 * float(rho @ d**3)))
    omega = 1 + factor * float(rho @ (d**3 / (1 + gamma * d)))
    return factor / omega * float(rho @ (charges * d / (1 + gamma * d)))


def _screening_parameter(
    rho: FloatArray, charges: FloatArray, d: FloatArray, bjerrum_length: float
) -> float:
    def difference(gamma: float) -> float:
        eta = _asymmetry(gamma, rho, charges, d)
        effective = (charges - eta * d**2) / (1 + gamma * d)
        return gamma - math.sqrt(math.pi * bjerrum_length * float(rho @ effective**2))

    return float(brentq(difference, 0.0, screening_constant(rho, charges, bjerrum_length)))
