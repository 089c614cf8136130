"""Densities: published tables, a naive re-implementation, limits, and the edges of the data."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bjerrum.density import (
    density_model,
    mass_fraction,
    molality_of_mass_fraction,
    molality_of_molarity,
    molar_mass,
    molarity_of_molality,
    salts_with_density,
    solution_density,
)
from bjerrum.errors import InputError
from bjerrum.literature.water import water_density

MOLALITIES = (1.0, 2.0, 3.0, 4.0, 6.0)
PUBLISHED = {  # kg/m3 and mol/L at 25 C; None beyond the measurements
    "LiCl": ((1021, 1042, 1062, 1081, 1116), (0.979, 1.921, 2.827, 3.696, 5.337)),
    "LiBr": ((1057, 1113, 1166, 1217, 1310), (0.973, 1.897, 2.776, 3.612, 5.167)),
    "LiI": ((1091, 1180, 1264, None, None), (0.962, 1.862, 2.706, None, None)),
    "NaCl": ((1036, 1072, 1106, 1137, 1193), (0.979, 1.920, 2.823, 3.687, 5.302)),
    "NaBr": ((1073, 1143, 1209, 1272, 1385), (0.972, 1.896, 2.772, 3.603, 5.140)),
    "NaI": ((1106, 1207, 1300, 1386, 1542), (0.962, 1.857, 2.690, 3.467, 4.871)),
    "KCl": ((1041, 1082, 1119, 1152, None), (0.969, 1.883, 2.742, 3.550, None)),
    "KBr": ((1077, 1151, 1219, 1281, None), (0.963, 1.860, 2.694, 3.471, None)),
    "KI": ((1111, 1214, 1307, 1391, 1540), (0.953, 1.822, 2.617, 3.345, 4.630)),
    "CsCl": ((1119, 1229, 1330, 1423, 1587), (0.958, 1.839, 2.652, 3.402, 4.737)),
}
POINTS = [
    (salt, m, rho, c)
    for salt, (densities, molarities) in PUBLISHED.items()
    for m, rho, c in zip(MOLALITIES, densities, molarities, strict=True)
    if rho is not None
]


@pytest.mark.parametrize(("salt", "molality", "density", "molarity"), POINTS)
def test_published_densities_and_molarities(salt, molality, density, molarity):
    ours = solution_density(salt, molality, 298.15)
    assert ours == pytest.approx(density, rel=1e-3)
    c = molarity_of_molality(molality, molar_mass=molar_mass(salt), density=ours)
    assert c == pytest.approx(molarity, rel=1.5e-3)


def test_laliberte_by_mass_balance_in_exact_decimals():
    """1/rho = w_w/rho_w + w v with the published LiCl row, 20 % by mass at 40 C."""
    w, t = Decimal("0.2"), Decimal(40)
    c0, c1, c2, c3, c4 = (
        Decimal(c) for c in ("1777.712", "208.0957", "0.0924033", "-9.65138e-5", "-303.2121")
    )
    v = (w + c2 + c3 * t) / ((c0 * w + c1) * (Decimal("1e-6") * (t + c4) ** 2).exp())
    rho_w = Decimal(water_density(313.15))
    expected = 1 / ((1 - w) / rho_w + w * v)
    molality = molality_of_mass_fraction(0.2, molar_mass("LiCl"))
    assert solution_density("LiCl", molality, 313.15) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("salt", ["LiCl", "NaF", "NaCl", "NaBr", "NaI", "KF", "KBr", "KI"])
def test_two_models_of_independent_data_agree(salt):
    """Laliberte (mass fractions, all temperatures) and Pitzer (May et al.) at 25 C."""
    laliberte = density_model(salt, name="laliberte")
    pitzer = density_model(salt, name="pitzer")
    highest = min(laliberte.max_molality, pitzer.max_molality, 5.0)
    for fraction in (0.1, 0.5, 1.0):
        m = fraction * highest
        assert laliberte.density(m, 298.15) == pytest.approx(pitzer.density(m, 298.15), rel=1.5e-3)


def pyeql_apparent_volume(salt: str, molality: float) -> float:
    """cm3/mol by pyEQL's own code for Pitzer's equation, with the row of May et al."""
    activity = pytest.importorskip("pyEQL.activity_correction")
    molal = pytest.importorskip("pyEQL").ureg.Quantity(molality, "mol/kg")
    v0, beta0, beta1, c_v = density_model(salt, name="pitzer").coefficients
    volume = activity.get_apparent_volume_pitzer(
        molal, molal, 2, 0, beta0, beta1, 0, c_v, v0, 1, -1, 1, 1
    )
    return volume.to("cm**3/mol").magnitude


@pytest.mark.parametrize("salt", ["LiBr", "LiI", "CsCl", "RbF", "CsI"])
def test_pitzer_volume_agrees_with_pyeql(salt):
    model = density_model(salt)
    m = 0.9 * model.max_molality
    # their slope of the volume is computed, within 3 % of the published 1.8743
    assert model.apparent_molar_volume(m, 298.15) == pytest.approx(
        pyeql_apparent_volume(salt, m), abs=0.1
    )


@pytest.mark.parametrize("salt", ["LiCl", "NaCl"])
@pytest.mark.parametrize("molality", [0.5, 2.0, 5.0])
def test_laliberte_density_agrees_with_pyeql_where_that_is_reliable(salt, molality):
    volume = molality * pyeql_apparent_volume(salt, molality) * 1e-6
    theirs = (1 + molality * molar_mass(salt) * 1e-3) / (1 / 997.047 + volume)
    assert solution_density(salt, molality, 298.15) == pytest.approx(theirs, rel=1.5e-3)


@pytest.mark.parametrize("salt", salts_with_density())
def test_infinite_dilution_is_water_and_density_rises(salt):
    model = density_model(salt)
    assert solution_density(salt, 0.0, 310.0) == water_density(310.0)
    assert model.density(1e-9, 298.15) == pytest.approx(water_density(298.15), rel=1e-9)
    steps = [model.density(model.max_molality * k / 20, 298.15) for k in range(21)]
    assert all(b > a for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize("salt", ["LiCl", "NaBr", "KF", "KI"])
def test_five_percent_beyond_the_last_measurement_is_safe(salt):
    pitzer = density_model(salt, name="pitzer")
    laliberte = density_model(salt, name="laliberte")
    inside, beyond = pitzer.max_molality, pitzer.highest_molality
    assert beyond < laliberte.max_molality
    shift = pitzer.density(beyond, 298.15) / laliberte.density(beyond, 298.15)
    shift /= pitzer.density(inside, 298.15) / laliberte.density(inside, 298.15)
    assert shift == pytest.approx(1.0, abs=1e-3)


def test_pitzer_volume_at_infinite_dilution_is_v0():
    assert density_model("CsCl").apparent_molar_volume(0.0, 298.15) == 39.1


def test_neglecting_expansion_of_the_apparent_volume_over_5_kelvin_costs_little():
    """The claim behind the temperature range of the 25 C volumes."""
    worst = 0.0
    for salt in ("LiCl", "NaCl", "NaBr", "NaI", "KF", "KCl", "KBr", "KI"):
        model = density_model(salt, name="laliberte")
        volume = model.apparent_molar_volume(4.0, 298.15) * 1e-6
        for t in (293.15, 303.15):
            frozen = (1 + 4.0 * model.molar_mass * 1e-3) / (1 / water_density(t) + 4.0 * volume)
            worst = max(worst, abs(frozen / model.density(4.0, t) - 1))
    assert 5e-4 < worst < 1.5e-3


@given(
    salt=st.sampled_from(salts_with_density()),
    fraction=st.floats(0.0, 1.0),
    temperature=st.floats(293.15, 303.15),
)
@settings(deadline=None, max_examples=60)
def test_molarity_and_back(salt, fraction, temperature):
    model = density_model(salt)
    m = fraction * model.max_molality
    rho = model.density(m, temperature)
    c = molarity_of_molality(m, molar_mass=model.molar_mass, density=rho)
    # the definition: salt in one litre over water in one litre
    water_kg = rho * 1e-3 - c * model.molar_mass * 1e-3
    assert c / water_kg == pytest.approx(m, abs=1e-9)
    assert molality_of_molarity(salt, c, temperature) == pytest.approx(m, abs=1e-7)


@given(fraction=st.floats(0.0, 0.9), mass=st.floats(20.0, 300.0))
def test_mass_fraction_and_back(fraction, mass):
    m = molality_of_mass_fraction(fraction, mass)
    assert mass_fraction(m, mass) == pytest.approx(fraction, abs=1e-12)


def test_molar_masses():
    assert molar_mass("LiCl") == pytest.approx(42.39, abs=0.02)
    assert molar_mass("MgCl2") == pytest.approx(95.21, abs=0.01)
    assert molar_mass("H2O") == pytest.approx(18.015, abs=1e-3)


def test_salts_without_data_are_named_with_those_that_have_some():
    for salt in ("LiF", "MgCl2"):
        with pytest.raises(InputError, match=rf"no density data for {salt}.*LiBr, LiCl, LiI"):
            solution_density(salt, 1.0, 298.15)
    with pytest.raises(InputError, match=r"no density data for CsCl in the laliberte model"):
        density_model("CsCl", name="laliberte")
    with pytest.raises(InputError, match="unknown density model"):
        density_model("CsCl", name="guess")


def test_edges_of_the_data():
    with pytest.raises(InputError, match=r"KCl at 6\.6 mol/kg.*5\.059"):
        solution_density("KCl", 6.6, 298.15)
    with pytest.raises(InputError, match=r"LiI at 4 mol/kg.*3\.051"):
        solution_density("LiI", 4.0, 298.15)
    with pytest.raises(InputError, match=r"LiBr at 310 K.*293\.15 to 303\.15"):
        solution_density("LiBr", 1.0, 310.0)
    with pytest.raises(InputError, match=r"KF at 330 K.*273\.15 to 323\.15"):
        solution_density("KF", 1.0, 330.0)
    with pytest.raises(InputError, match="mol/L"):
        molality_of_molarity("LiCl", 30.0, 298.15)
    with pytest.raises(InputError, match=r"LiCl at nan"):
        solution_density("LiCl", math.nan, 298.15)
    with pytest.raises(InputError, match="between 0 and 1"):
        molality_of_mass_fraction(1.0, 42.0)


def test_a_model_names_its_source():
    assert "Laliberte" in density_model("LiCl").source.citation
    assert density_model("LiBr").source.doi == "10.1021/je2009329"
