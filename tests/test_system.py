"""Ions, salts, solutions: counts, volumes and refusals."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.constants import N_A

from bjerrum.errors import InputError
from bjerrum.system import (
    IONS,
    MAX_MOLALITY,
    SALTS,
    WATER_MOLAR_MASS,
    Ion,
    Salt,
    Solution,
    molality_of,
)

LICL = Salt.parse("LiCl")


def test_ions():
    assert IONS["Li"] == Ion("Li", 1)
    assert IONS["Cl"].mass == pytest.approx(35.45, abs=0.01)
    assert {ion.charge for ion in IONS.values()} == {-1, 1, 2}
    assert [str(IONS[s]) for s in ("Na", "Ca", "I")] == ["Na+", "Ca2+", "I-"]


@pytest.mark.parametrize(("symbol", "charge"), [("Zz", 1), ("X", 1), ("Li", 0), ("Li", 0.5)])
def test_bad_ions(symbol, charge):
    with pytest.raises(InputError):
        Ion(symbol, charge)


@pytest.mark.parametrize("salt", SALTS.values(), ids=str)
def test_every_salt_is_neutral_in_lowest_terms(salt):
    assert salt.n_cations * salt.cation.charge + salt.n_anions * salt.anion.charge == 0
    assert math.gcd(salt.n_cations, salt.n_anions) == 1
    assert Salt.parse(salt.formula) is salt
    assert salt.molar_mass == pytest.approx(Atoms(salt.formula).get_masses().sum())


def test_stoichiometry_of_any_charges():
    magnesium_chloride = Salt.parse("MgCl2")
    assert (magnesium_chloride.n_cations, magnesium_chloride.n_anions) == (1, 2)
    assert Salt(Ion("Al", 3), Ion("O", -2)).formula == "Al2O3"
    assert Salt(Ion("Ca", 2), Ion("O", -2)).formula == "CaO"


def test_a_salt_needs_both_signs():
    with pytest.raises(InputError, match="cation and an anion"):
        Salt(IONS["Cl"], IONS["Li"])


@pytest.mark.parametrize(
    ("typed", "meant"), [("LiCI", "LiCl"), ("licl", "LiCl"), ("NaCl2", "NaCl"), ("CaCl", "CaCl2")]
)
def test_unknown_salts_get_a_hint(typed, meant):
    with pytest.raises(InputError, match=rf"unknown salt '{typed}'; did you mean {meant}\?"):
        Salt.parse(typed)


def test_unknown_salt_lists_the_known():
    with pytest.raises(InputError, match=r"unknown salt 'XyQw'\. Known: LiF, LiCl") as error:
        Salt.parse("XyQw")
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


def test_the_box_of_the_training_frames():
    """80 H2O + 4 LiCl."""
    solution = Solution(LICL, 2.78, 298.15)
    assert solution.n_formula_units(80) == 4
    assert molality_of(4, 80) == pytest.approx(2.7755, abs=1e-4)
    assert solution.molality_of(4, 80) == molality_of(4, 80)
    assert solution.atom_counts(80) == {"O": 80, "H": 160, "Li": 4, "Cl": 4}
    assert solution.atom_counts(np.int64(80)) == solution.atom_counts(80)


@pytest.mark.parametrize(
    ("salt", "n_pairs", "edge"), [("LiCl", 24, 25.26), ("KCl", 24, 25.46), ("LiBr", 24, 25.39)]
)
def test_published_boxes(salt, n_pairs, edge):
    """512 waters at 25 C in the boxes of arXiv:2310.12535."""
    solution = Solution(Salt.parse(salt), molality_of(n_pairs, 512), 298.15)
    assert solution.n_formula_units(512) == n_pairs
    assert solution.box_edge(512) == pytest.approx(edge, abs=0.05)


def test_pure_water_box():
    """30 cubic angstrom per molecule at 25 C, whatever the salt that is not there."""
    water = Solution(LICL, 0, 298.15)
    assert water.molarity == 0
    assert water.atom_counts(64) == {"O": 64, "H": 128}
    assert water.box_volume(64) / 64 == pytest.approx(18.0153 / (N_A * 0.99705) * 1e24, rel=1e-4)


@given(
    n_waters=st.integers(20, 4000),
    n_pairs=st.integers(1, 60),
    salt=st.sampled_from(["LiCl", "NaBr", "KI", "CsCl"]),
)
@settings(deadline=None, max_examples=50)
def test_a_box_holds_what_was_asked_and_has_the_density(n_waters, n_pairs, salt):
    asked = molality_of(n_pairs, n_waters)
    if asked > 4:
        return
    solution = Solution(Salt.parse(salt), asked, 298.15)
    counts = solution.atom_counts(n_waters)
    assert counts[solution.salt.cation.symbol] == n_pairs
    symbols = [s for s, n in counts.items() for _ in range(n)]
    grams = Atoms(symbols).get_masses().sum() / N_A
    kg_per_m3 = grams * 1e-3 / (solution.box_edge(n_waters) * 1e-10) ** 3
    assert kg_per_m3 == pytest.approx(solution.density, rel=1e-9)
    assert n_pairs / N_A / (solution.box_volume(n_waters) * 1e-27) == pytest.approx(
        solution.molarity, rel=1e-9
    )


def test_the_volume_is_that_of_the_achieved_molality():
    """2.9 mol/kg cannot be made from 80 waters: the box is the one of 4 pairs."""
    assert Solution(LICL, 2.9, 298.15).box_edge(80) == Solution(LICL, 2.7, 298.15).box_edge(80)


def test_counts_of_a_two_to_one_salt():
    solution = Solution(Salt.parse("MgCl2"), 1.0, 298.15)
    assert solution.atom_counts(111) == {"O": 111, "H": 222, "Mg": 2, "Cl": 4}
    with pytest.raises(InputError, match="no density data for MgCl2"):
        solution.box_edge(111)


def test_a_density_of_ones_own():
    solution = Solution(Salt.parse("KCl"), 6.6, 298.15)
    with pytest.raises(InputError, match="give a density"):
        solution.box_edge(100)
    edge = solution.box_edge(100, density=1229.0)
    grams = (100 * WATER_MOLAR_MASS + 12 * solution.salt.molar_mass) / N_A
    assert edge**3 == pytest.approx(grams / 1.229 * 1e24, rel=1e-9)
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="density must be positive"):
            solution.box_edge(100, density=bad)


@pytest.mark.parametrize("molality", [-0.1, 28.0, 1e9, math.nan, math.inf, "2", None, True])
def test_bad_molality(molality):
    with pytest.raises(InputError, match="molality"):
        Solution(LICL, molality, 298.15)


@pytest.mark.parametrize("temperature", [25.0, 273.0, 373.5, -1.0, math.nan, "hot"])
def test_bad_temperature(temperature):
    with pytest.raises(InputError, match="temperature"):
        Solution(LICL, 1.0, temperature)


def test_a_salt_given_as_text_is_refused():
    with pytest.raises(InputError, match=r"Salt\.parse"):
        Solution("LiCl", 1.0, 298.15)  # type: ignore[arg-type]


def test_limits_are_included():
    assert pytest.approx(27.75, abs=0.01) == MAX_MOLALITY
    for temperature in (273.15, 373.15):
        assert Solution(LICL, MAX_MOLALITY, temperature).dielectric_constant > 50


def test_too_few_waters_for_one_pair():
    with pytest.raises(InputError, match="use at least 556 waters"):
        Solution(LICL, 0.1, 298.15).n_formula_units(80)
    assert Solution(LICL, 0.1, 298.15).n_formula_units(556) == 1


@pytest.mark.parametrize("n_waters", [0, -3, 10.5])
def test_bad_number_of_waters(n_waters):
    with pytest.raises(InputError, match="waters"):
        Solution(LICL, 1.0, 298.15).n_formula_units(n_waters)


def test_bad_counts():
    for pairs, waters in ((1, 0), (-1, 10)):
        with pytest.raises(InputError):
            molality_of(pairs, waters)


def test_equal_solutions_are_one_key():
    a, b = Solution(LICL, 1, 298.15), Solution(Salt.parse("LiCl"), np.float64(1.0), 298.15)
    assert a == b
    assert len({a, b}) == 1
    assert repr(a) == repr(b)
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.molality = 2.0  # type: ignore[misc]
    assert str(a) == "LiCl 1 mol/kg at 298.15 K"


def test_dielectric_constant_is_that_of_water():
    assert Solution(LICL, 3.0, 298.15).dielectric_constant == pytest.approx(78.30, abs=0.01)
