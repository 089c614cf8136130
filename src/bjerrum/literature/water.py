"""Properties of pure liquid water at 1 bar, each by a published formula with its range."""

from __future__ import annotations

from typing import Final

from numpy.polynomial.polynomial import polyval

from bjerrum.errors import InputError
from bjerrum.units import CELSIUS_ZERO_IN_KELVIN

MIN_TEMPERATURE: Final = CELSIUS_ZERO_IN_KELVIN
MAX_TEMPERATURE: Final = CELSIUS_ZERO_IN_KELVIN + 100.0
"""Liquid water at 1 bar, K; also the range of all formulas here."""

_MALMBERG_MARYOTT: Final = (87.740, -0.40008, 9.398e-4, -1.410e-6)
_KELL_NUMERATOR: Final = (
    999.83952,
    16.945176,
    -7.9870401e-3,
    -46.170461e-6,
    105.56302e-9,
    -280.54253e-12,
)
_KELL_DENOMINATOR: Final = (1.0, 16.879850e-3)


def check_liquid_water(temperature: float) -> float:
    """Return the temperature in Celsius; InputError outside liquid water at 1 bar."""
    if not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise InputError(
            f"temperature must be between {MIN_TEMPERATURE:g} and {MAX_TEMPERATURE:g} K "
            f"(liquid water at 1 bar), got {temperature:g} K"
        )
    return temperature - CELSIUS_ZERO_IN_KELVIN


def water_dielectric_constant(temperature: float) -> float:
    """Return the static dielectric constant of water.

    epsilon = 87.740 - 0.40008 t + 9.398e-4 t^2 - 1.410e-6 t^3, t in Celsius
    (Malmberg & Maryott 1956, measured from 0 to 100 C to better than 0.1 %).

    temperature  K; InputError outside 273.15-373.15 K
    """
    return float(polyval(check_liquid_water(temperature), _MALMBERG_MARYOTT))


def water_density(temperature: float) -> float:
    """Return the density of water at 1 atm in kg/m3.

    Kell (1975), a ratio of polynomials in Celsius for air-free water, 0 to 150 C.

    temperature  K; InputError outside 273.15-373.15 K
    """
    celsius = check_liquid_water(temperature)
    return float(polyval(celsius, _KELL_NUMERATOR) / polyval(celsius, _KELL_DENOMINATOR))


def water_viscosity(temperature: float) -> float:
    """Return the viscosity of water in mPa s.

    eta = (t + 246)/((0.05594 t + 5.2842) t + 137.37), t in Celsius (Laliberte 2007).

    temperature  K; InputError outside 273.15-373.15 K
    """
    celsius = check_liquid_water(temperature)
    return float((celsius + 246.0) / polyval(celsius, (137.37, 5.2842, 0.05594)))


def water_self_diffusion(temperature: float) -> float:
    """Return the self-diffusion coefficient of water in 1e-9 m2/s.

    D = 16.35 (T/215.05 - 1)^2.063 (Holz, Heil & Sacco 2000, NMR).

    temperature  K; InputError outside 273.15-373.15 K
    """
    check_liquid_water(temperature)
    return float(16.35 * (temperature / 215.05 - 1.0) ** 2.063)
