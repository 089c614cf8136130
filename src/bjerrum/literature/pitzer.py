"""Osmotic and activity coefficients of 1:1 salts in water at 25 C, by Pitzer's equations.

s = sqrt(m), A = 0.3915 kg^1/2 mol^-1/2, b = 1.2 kg^1/2 mol^-1/2, exponent 2 s (Pitzer 1973);
parameters of May et al. (2011). All are on the molality scale (Lewis-Randall). Outside the
molalities that the parameters were fitted to an InputError is raised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from bjerrum.errors import InputError
from bjerrum.literature.tables import Source, read_table, source

PITZER_A_PHI: Final = 0.3915
"""Debye-Hueckel slope of the osmotic coefficient at 25 C (Pitzer 1991)."""
PITZER_B: Final = 1.2


@dataclass(frozen=True)
class PitzerParameters:
    """Parameters of one 1:1 salt at 25 C; ``max_molality`` in mol/kg bounds the fit."""

    salt: str
    beta0: float
    beta1: float
    c_phi: float
    max_molality: float
    source: Source


def pitzer_parameters(salt: str) -> PitzerParameters:
    """Return the parameters of a salt ("LiCl"); InputError lists those available."""
    rows = read_table("pitzer_activity.csv")
    for row in rows:
        if row["salt"] == salt:
            return PitzerParameters(
                salt=salt,
                beta0=float(row["beta0"]),
                beta1=float(row["beta1"]),
                c_phi=float(row["c_phi"]),
                max_molality=float(row["max_molality_mol_per_kg"]),
                source=source(row["source"]),
            )
    known = ", ".join(row["salt"] for row in rows)
    raise InputError(f"no activity coefficients of {salt}; available: {known}")


def osmotic_coefficient(salt: str, molality: float) -> float:
    """Return the osmotic coefficient at 25 C.

    phi = 1 - A s/(1 + b s) + m (beta0 + beta1 exp(-2 s)) + m^2 C.

    molality  mol/kg; InputError beyond the fitted range
    """
    p, s = _checked(salt, molality)
    debye_hueckel = -PITZER_A_PHI * s / (1 + PITZER_B * s)
    return (
        1
        + debye_hueckel
        + molality * (p.beta0 + p.beta1 * math.exp(-2 * s))
        + (molality**2 * p.c_phi)
    )


def mean_activity_coefficient(salt: str, molality: float) -> float:
    """Return the mean molal activity coefficient at 25 C.

    ln gamma = -A [s/(1 + b s) + (2/b) ln(1 + b s)]
               + 2 m beta0 + (beta1/2) [1 - (1 + 2 s - 2 m) exp(-2 s)] + (3/2) m^2 C.

    molality  mol/kg; InputError beyond the fitted range
    """
    p, s = _checked(salt, molality)
    debye_hueckel = -PITZER_A_PHI * (
        s / (1 + PITZER_B * s) + 2 / PITZER_B * math.log1p(PITZER_B * s)
    )
    second = 2 * molality * p.beta0 + p.beta1 / 2 * (
        1 - (1 + 2 * s - 2 * molality) * math.exp(-2 * s)
    )
    return math.exp(debye_hueckel + second + 1.5 * molality**2 * p.c_phi)


def activity_derivative(salt: str, molality: float) -> float:
    """Return d ln a/d ln m = 1 + d ln gamma/d ln m at 25 C, constant pressure.

    By Gibbs-Duhem equal to d(m phi)/dm:
    phi - A s/(2 (1 + b s)^2) + m [beta0 + beta1 (1 - s) exp(-2 s)] + 2 m^2 C.

    molality  mol/kg; InputError beyond the fitted range
    """
    p, s = _checked(salt, molality)
    debye_hueckel = -PITZER_A_PHI * s / (2 * (1 + PITZER_B * s) ** 2)
    second = molality * (p.beta0 + p.beta1 * (1 - s) * math.exp(-2 * s))
    third = 2 * molality**2 * p.c_phi
    return osmotic_coefficient(salt, molality) + debye_hueckel + second + third


def _checked(salt: str, molality: float) -> tuple[PitzerParameters, float]:
    parameters = pitzer_parameters(salt)
    if not 0 <= molality <= parameters.max_molality:
        raise InputError(
            f"activity of {salt} at {molality:g} mol/kg: the parameters are fitted from 0 to "
            f"{parameters.max_molality:g} mol/kg"
        )
    return parameters, math.sqrt(molality)
