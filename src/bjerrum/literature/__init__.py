"""Published values: value, uncertainty, conditions, source.

values      experiments and published simulations to stand beside a computed number
constants   borrowed constants of water with their source
pitzer      osmotic and activity coefficients of 1:1 salts at 25 C
water       density, dielectric constant, viscosity and self-diffusion of water
tables      the data files and their sources
"""

from bjerrum.literature.constants import constant, constant_names
from bjerrum.literature.pitzer import (
    PitzerParameters,
    activity_derivative,
    mean_activity_coefficient,
    osmotic_coefficient,
    pitzer_parameters,
)
from bjerrum.literature.tables import Source, source, sources
from bjerrum.literature.values import (
    ReferenceValue,
    limiting_conductivity,
    limiting_diffusion,
    quantities,
    reference_values,
)
from bjerrum.literature.water import (
    water_density,
    water_dielectric_constant,
    water_self_diffusion,
    water_viscosity,
)

__all__ = [
    "PitzerParameters",
    "ReferenceValue",
    "Source",
    "activity_derivative",
    "constant",
    "constant_names",
    "limiting_conductivity",
    "limiting_diffusion",
    "mean_activity_coefficient",
    "osmotic_coefficient",
    "pitzer_parameters",
    "quantities",
    "reference_values",
    "source",
    "sources",
    "water_density",
    "water_dielectric_constant",
    "water_self_diffusion",
    "water_viscosity",
]
