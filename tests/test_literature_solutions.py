"""Viscosity, conductivity and crystals of salts against independently computed numbers."""

from __future__ import annotations

import pytest

from bjerrum.errors import InputError
from bjerrum.literature import limiting_conductivity, reference_values, water_viscosity
from bjerrum.literature.solutions import (
    lattice_constant,
    salts_with_viscosity,
    solution_conductivity,
    solution_viscosity,
)


@pytest.mark.parametrize(
    ("salt", "values"),
    [
        ("LiCl", (1.008, 1.288, 1.915)),
        ("NaCl", (0.972, 1.198, 1.745)),
        ("NaBr", (0.950, 1.118, 1.563)),
        ("NaI", (0.905, 1.021, 1.406)),
        ("KCl", (0.887, 0.911, None)),
        ("KBr", (0.860, 0.856, None)),
        ("KI", (0.834, 0.806, 0.885)),
    ],
)
def test_viscosity_equals_published_coefficients_worked_out_elsewhere(salt, values):
    for molality, expected in zip((1, 3, 6), values, strict=True):
        if expected is not None:
            assert solution_viscosity(salt, molality).value == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("salt", salts_with_viscosity())
def test_viscosity_of_no_salt_is_that_of_water(salt):
    assert solution_viscosity(salt, 0.0).value == pytest.approx(water_viscosity(298.15))
    assert solution_viscosity(salt, 1e-6).value == pytest.approx(water_viscosity(298.15), rel=1e-4)


@pytest.mark.parametrize(
    ("salt", "tenth", "one"),
    [("KCl", 129.8, 113.3), ("NaCl", 106.7, 87.0), ("LiCl", 95.3, 73.7), ("KBr", 133, 110)],
)
def test_molar_conductivity(salt, tenth, one):
    assert solution_conductivity(salt, 0.1).value == pytest.approx(tenth, abs=0.6)
    assert solution_conductivity(salt, 1.0).value == pytest.approx(one, abs=0.6)


@pytest.mark.parametrize(("salt", "ions"), [("KCl", "K Cl"), ("NaCl", "Na Cl"), ("LiCl", "Li Cl")])
def test_conductivity_at_infinite_dilution_is_the_sum_of_the_ions(salt, ions):
    total = sum(limiting_conductivity(ion).value for ion in ions.split())
    assert solution_conductivity(salt, 0.0).value == pytest.approx(total, rel=0.02)


def test_conductivity_agrees_with_measured_standards():
    for value in reference_values("molar_conductivity_S_cm2_per_mol"):
        if value.molality_max < 1.0:
            formula = solution_conductivity(value.salt, value.molality_min).value
            assert formula == pytest.approx(value.value, rel=0.015)


def test_crystals():
    salt = lattice_constant("NaCl")
    # density 2.163 g/cm3 from four formula units of 58.44 g/mol
    assert 4 * 58.44 / (0.602214 * salt.value**3) == pytest.approx(2.163, abs=0.005)
    assert lattice_constant("CsCl").note == "caesium chloride, Pm-3m"
    assert not salt.is_verified


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solution_viscosity("XeCl", 1.0), "available: LiCl"),
        (lambda: solution_viscosity("KCl", 50.0), "mass fraction"),
        (lambda: solution_viscosity("LiCl", 1.0, 400.0), "formula holds from"),
        (lambda: solution_conductivity("LiCl", 2.6), "up to 1.0 mol/kg"),
        (lambda: lattice_constant("LiF"), "no lattice constant of LiF"),
    ],
)
def test_beyond_the_range_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
