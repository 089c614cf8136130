"""Measured osmotic and activity coefficients, on the scales that theories are compared on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bjerrum.estimate import FloatArray
from bjerrum.literature.pitzer import (
    activity_derivative,
    mean_activity_coefficient,
    osmotic_coefficient,
    pitzer_parameters,
)
from bjerrum.literature.tables import Source
from bjerrum.thermodynamics.conversions import molarity_derivative

TEMPERATURE: Final = 298.15
"""K, of the measurements behind the Pitzer parameters."""


@dataclass(frozen=True)
class ExperimentalCurves:
    """Pitzer's equations at 25 C and 1 bar, arrays of shape (n,).

    dlna_dlnc  d ln a/d ln c, with c in mol/L
    """

    molality: FloatArray
    osmotic_coefficient: FloatArray
    ln_gamma: FloatArray
    dlna_dlnc: FloatArray
    source: Source


def experimental_curves(salt: str, molalities: Sequence[float] | FloatArray) -> ExperimentalCurves:
    """Return phi, ln gamma and d ln a/d ln c = (d ln a/d ln m)/(d ln c/d ln m) of a 1:1 salt.

    molalities  mol/kg, positive; those beyond the fitted range are left out
    Raises InputError for a salt without Pitzer parameters or density.
    """
    parameters = pitzer_parameters(salt)
    m = np.asarray([x for x in molalities if 0 < x <= parameters.max_molality])
    return ExperimentalCurves(
        molality=m,
        osmotic_coefficient=np.array([osmotic_coefficient(salt, x) for x in m]),
        ln_gamma=np.log([mean_activity_coefficient(salt, x) for x in m]),
        dlna_dlnc=np.array(
            [activity_derivative(salt, x) / molarity_derivative(salt, x, TEMPERATURE) for x in m]
        ),
        source=parameters.source,
    )
