"""The one internal unit system, and named conversions for the border.

Inside Bjerrum every quantity is in electronvolt (energy), angstrom (length), femtosecond
(time), atomic mass unit (mass), elementary charge (charge) and kelvin (temperature).
Anything that a person types or reads carries its unit in its name (``timestep_fs``,
``molality_mol_per_kg``) and is converted here, by name, once. ``A_IN_B`` is one A expressed in B:
multiply a number of A by it.

Constants are CODATA's, through :mod:`scipy.constants`; nothing is typed in by hand.
"""

from __future__ import annotations

from typing import Final

from scipy import constants as _si

ELEMENTARY_CHARGE: Final = _si.e
"""Coulomb."""

BOLTZMANN: Final = _si.k / _si.e
"""eV/K."""

AVOGADRO: Final = _si.N_A
"""1/mol."""

COULOMB_CONSTANT: Final = _si.e / (4 * _si.pi * _si.epsilon_0) * 1e10
"""e^2/(4 pi epsilon_0) in eV angstrom (14.3996...)."""

AMU_IN_EV_FS2_PER_ANGSTROM2: Final = _si.atomic_mass / _si.e * (1e-10 / 1e-15) ** 2
"""One atomic mass unit in eV fs^2/angstrom^2: acceleration = force / (mass * this)."""

EV_IN_MEV: Final = 1e3
HARTREE_IN_EV: Final = _si.value("Hartree energy in eV")
BOHR_IN_ANGSTROM: Final = _si.value("Bohr radius") * 1e10
EV_PER_ANGSTROM3_IN_BAR: Final = _si.e / 1e-30 / 1e5
KJ_PER_MOL_IN_EV: Final = 1e3 / (_si.N_A * _si.e)
NM_IN_ANGSTROM: Final = 10.0
PS_IN_FS: Final = 1e3
CELSIUS_ZERO_IN_KELVIN: Final = _si.zero_Celsius
MOL_PER_LITRE_IN_PER_ANGSTROM3: Final = _si.N_A * 1e3 * 1e-30
"""From a molarity to a number density."""


def thermal_energy(temperature: float) -> float:
    """Return k_B T in eV for a temperature in kelvin."""
    return BOLTZMANN * temperature


def bjerrum_length(dielectric_constant: float, temperature: float) -> float:
    """Return the Bjerrum length in angstrom.

    l_B = e^2 / (4 pi epsilon_0 epsilon k_B T): the distance at which two unit charges in the
    solvent interact with the thermal energy. 7.16 angstrom in water at 25 C.
    """
    return COULOMB_CONSTANT / (dielectric_constant * thermal_energy(temperature))
