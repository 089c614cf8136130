"""Constants against CODATA, conversions against ASE's independent set."""

from __future__ import annotations

import math

import ase.units
import numpy as np
import pytest

from bjerrum import units
from bjerrum.literature.water import water_dielectric_constant


@pytest.mark.parametrize(
    ("ours", "published"),
    [  # CODATA 2018, P. J. Mohr et al.; those of the SI are exact
        (units.ELEMENTARY_CHARGE, 1.602176634e-19),
        (units.BOLTZMANN, 8.617333262e-5),
        (units.AVOGADRO, 6.02214076e23),
        (units.COULOMB_CONSTANT, 14.3996454784),
        (units.EV_PER_ANGSTROM3_IN_BAR, 1.602176634e6),
        (1 / units.KJ_PER_MOL_IN_EV, 96.48533212),
        (units.MOL_PER_LITRE_IN_PER_ANGSTROM3, 6.02214076e-4),
        (units.CELSIUS_ZERO_IN_KELVIN, 273.15),
    ],
)
def test_constants(ours, published):
    assert ours == pytest.approx(published, rel=2e-9)


def test_scales():
    assert (units.EV_IN_MEV, units.NM_IN_ANGSTROM, units.PS_IN_FS) == (1e3, 10.0, 1e3)


@pytest.mark.parametrize(
    ("ours", "by_ase"),
    [
        (units.BOLTZMANN, ase.units.kB),
        (units.KJ_PER_MOL_IN_EV, ase.units.kJ / ase.units.mol),
        (units.EV_PER_ANGSTROM3_IN_BAR, 1 / ase.units.bar),
        (units.COULOMB_CONSTANT, ase.units.Hartree * ase.units.Bohr),
        (units.AMU_IN_EV_FS2_PER_ANGSTROM2, 1 / ase.units.fs**2),  # ASE: 1 amu angstrom^2 / eV
    ],
)
def test_the_same_by_another_route(ours, by_ase):
    assert ours == pytest.approx(by_ase, rel=1e-6)


def test_mass_turns_a_force_into_the_right_acceleration():
    """The proton-mass oscillator of 1 eV/angstrom^2: period 2 pi sqrt(m/k), done in SI."""
    mass, stiffness = 1.007276466621, 1.0
    seconds = 2 * math.pi * math.sqrt(mass * 1.66053906660e-27 / (stiffness * 16.02176634))
    period = 2 * math.pi * math.sqrt(mass * units.AMU_IN_EV_FS2_PER_ANGSTROM2 / stiffness)
    assert period == pytest.approx(seconds * 1e15, rel=1e-8)


def test_thermal_energy():
    assert units.thermal_energy(298.15) == pytest.approx(0.0256926, abs=1e-7)
    assert units.thermal_energy(300.0) == pytest.approx(0.0258520, abs=1e-7)


def test_bjerrum_length_of_water_at_25_celsius():
    """7.158 angstrom with the dielectric constant of Malmberg & Maryott (1956)."""
    eps = water_dielectric_constant(298.15)
    assert units.bjerrum_length(eps, 298.15) == pytest.approx(7.158, abs=1e-3)
    assert units.bjerrum_length(1.0, 1.0) == pytest.approx(167100.87, rel=1e-6)


def test_two_unit_charges_at_the_bjerrum_length_have_the_thermal_energy():
    length = units.bjerrum_length(78.3, 298.15)
    energy = units.COULOMB_CONSTANT / (78.3 * length)
    assert np.isclose(energy, units.thermal_energy(298.15), rtol=1e-14)
