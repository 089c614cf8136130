"""Literature: formulas against tables, records complete, published simulations recomputed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants as si

from bjerrum.errors import InputError
from bjerrum.literature import (
    activity_derivative,
    constant,
    constant_names,
    limiting_conductivity,
    limiting_diffusion,
    mean_activity_coefficient,
    osmotic_coefficient,
    pitzer_parameters,
    quantities,
    reference_values,
    source,
    sources,
    water_density,
    water_dielectric_constant,
    water_self_diffusion,
    water_viscosity,
)
from bjerrum.literature.tables import read_table
from bjerrum.literature.values import STATUS_TEXT
from bjerrum.system import IONS, SALTS
from bjerrum.units import bjerrum_length

SHARED = Path(__file__).parents[2] / "shared" / "data" / "published"
EVERY_VALUE = [value for quantity in quantities() for value in reference_values(quantity)]


# water


@pytest.mark.parametrize(
    ("celsius", "epsilon"), [(0, 87.74), (25, 78.30), (26.85, 77.65), (60, 66.81), (100, 55.72)]
)
def test_dielectric_constant_of_water(celsius, epsilon):
    assert water_dielectric_constant(273.15 + celsius) == pytest.approx(epsilon, abs=0.006)


def test_bjerrum_length_of_water():
    for t, length in ((298.15, 7.158), (300.0, 7.173), (373.15, 8.04)):
        assert bjerrum_length(water_dielectric_constant(t), t) == pytest.approx(length, abs=6e-3)


@pytest.mark.parametrize(  # IAPWS-95 at 1 atm, kg/m3
    ("celsius", "density"),
    [(0, 999.84), (4, 999.97), (25, 997.047), (50, 988.03), (75, 974.84), (100, 958.35)],
)
def test_density_of_water(celsius, density):
    assert water_density(273.15 + celsius) == pytest.approx(density, abs=0.02)


@pytest.mark.parametrize(  # IAPWS 2008, mPa s
    ("celsius", "viscosity"), [(0, 1.792), (20, 1.0016), (25, 0.8900), (50, 0.5465), (100, 0.2817)]
)
def test_viscosity_of_water(celsius, viscosity):
    assert water_viscosity(273.15 + celsius) == pytest.approx(viscosity, rel=5e-3)


def test_self_diffusion_of_water():
    assert water_self_diffusion(298.15) == pytest.approx(2.299, abs=0.002)
    stokes_einstein = [water_self_diffusion(t) * water_viscosity(t) / t for t in (278.15, 348.15)]
    assert stokes_einstein[0] == pytest.approx(stokes_einstein[1], rel=0.1)


@pytest.mark.parametrize("temperature", [273.0, 373.3, 25.0, float("nan")])
@pytest.mark.parametrize(
    "function",
    [water_dielectric_constant, water_density, water_viscosity, water_self_diffusion],
)
def test_water_outside_its_range(function, temperature):
    with pytest.raises(InputError, match="liquid water"):
        function(temperature)


# Pitzer: tables of May et al. as printed, max. molality, gamma at 0.1..6, phi at 1..6 mol/kg

GAMMA_MOLALITIES = (0.1, 1.0, 2.0, 3.0, 4.0, 6.0)
TABLE = """
LiCl 8.5   0.792 0.774 0.926 1.168 1.519 2.748   1.017 1.146 1.292 1.450 1.796
LiBr 11    0.791 0.805 1.024 1.377 1.914 3.959   1.042 1.204 1.385 1.577 1.992
LiI  3     0.815 0.908 1.201 1.670 *     *       1.083 1.254 1.445 *     *
NaCl 6.148 0.777 0.658 0.671 0.717 0.786 0.988   0.937 0.986 1.048 1.116 1.270
NaBr 9     0.779 0.688 0.737 0.825 0.941 1.259   0.962 1.035 1.118 1.204 1.380
NaI  9     0.789 0.739 0.830 0.973 1.166 1.742   0.991 1.085 1.190 1.301 1.537
KCl  5     0.768 0.606 0.576 0.572 0.580 *       0.900 0.914 0.938 0.965 *
KBr  5.5   0.771 0.617 0.594 0.595 0.607 *       0.908 0.927 0.954 0.984 *
KI   8.98  0.779 0.649 0.638 0.649 0.671 0.730   0.927 0.952 0.984 1.017 1.082
CsCl 11    0.749 0.545 0.499 0.482 0.477 0.482   0.862 0.869 0.885 0.905 0.945
"""
DERIVATIVES = """
LiCl 0.93 1.13 1.42 1.75 2.10 2.89
LiBr 0.94 1.19 1.55 1.95 2.37 3.29
LiI  0.96 1.24 1.62 2.05 *    *
NaCl 0.92 0.98 1.10 1.24 1.40 1.75
NaBr 0.92 1.03 1.19 1.37 1.55 1.91
NaI  0.93 1.08 1.29 1.52 1.76 2.26
KCl  0.91 0.91 0.96 1.02 1.08 *
KBr  0.91 0.92 0.98 1.04 1.11 *
KI   0.92 0.95 1.01 1.08 1.15 1.27
CsCl 0.89 0.86 0.90 0.94 0.99 1.06
"""


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()]


@pytest.mark.parametrize("row", rows(TABLE), ids=lambda row: row[0])
def test_activity_and_osmotic_coefficients(row):
    salt, highest, *numbers = row
    assert pitzer_parameters(salt).max_molality == float(highest)
    gammas, phis = numbers[:6], numbers[6:]
    for m, printed in zip(GAMMA_MOLALITIES, gammas, strict=True):
        if printed == "*":
            with pytest.raises(InputError, match=rf"{salt} at {m:g} mol/kg"):
                mean_activity_coefficient(salt, m)
        else:
            assert mean_activity_coefficient(salt, m) == pytest.approx(float(printed), rel=1.2e-3)
    for m, printed in zip(GAMMA_MOLALITIES[1:], phis, strict=True):
        if printed == "*":
            with pytest.raises(InputError, match=rf"{salt} at {m:g} mol/kg"):
                osmotic_coefficient(salt, m)
        else:
            assert osmotic_coefficient(salt, m) == pytest.approx(float(printed), rel=1.2e-3)


@pytest.mark.parametrize("row", rows(DERIVATIVES), ids=lambda row: row[0])
def test_printed_activity_derivatives(row):
    salt, *numbers = row
    for m, printed in zip(GAMMA_MOLALITIES, numbers, strict=True):
        if printed != "*":
            assert activity_derivative(salt, m) == pytest.approx(float(printed), abs=0.0056)


@pytest.mark.parametrize(  # Robinson & Stokes; Hamer & Wu: independent of the parameters
    ("salt", "gammas", "within"),
    [
        ("LiCl", (0.774, 0.921, 1.156, 1.510), 0.012),
        ("NaCl", (0.657, 0.668, 0.714, 0.783), 0.006),
        ("KCl", (0.604, 0.573, 0.569, 0.577), 0.006),
        ("NaBr", (0.687, 0.731, 0.812, 0.929), 0.018),
    ],
)
def test_against_older_evaluations(salt, gammas, within):
    for m, gamma in zip((1.0, 2.0, 3.0, 4.0), gammas, strict=True):
        assert mean_activity_coefficient(salt, m) == pytest.approx(gamma, rel=within)


PITZER_SALTS = [row["salt"] for row in read_table("pitzer_activity.csv")]


@given(salt=st.sampled_from(PITZER_SALTS), fraction=st.floats(0.01, 0.99))
def test_gibbs_duhem(salt, fraction):
    """d ln a/d ln m by its own formula, by gamma and by phi."""
    m = fraction * pitzer_parameters(salt).max_molality
    h = 1e-4 * m

    def central(f):
        return (f(m + h) - f(m - h)) / (2 * h)

    by_gamma = 1 + m * central(lambda x: np.log(mean_activity_coefficient(salt, x)))
    by_phi = central(lambda x: x * osmotic_coefficient(salt, x))
    assert activity_derivative(salt, m) == pytest.approx(by_gamma, abs=1e-6)
    assert activity_derivative(salt, m) == pytest.approx(by_phi, abs=1e-6)


def test_debye_hueckel_limit():
    """phi - 1 = -A sqrt(m) = ln gamma/3; A follows from water's density and Bjerrum length."""
    m = 1e-6
    length = bjerrum_length(water_dielectric_constant(298.15), 298.15) * 1e-8  # cm
    per_cm3 = si.N_A * water_density(298.15) * 1e-6  # 1/cm3 at 1 mol/kg
    slope = np.sqrt(2 * np.pi * per_cm3) * length**1.5 / 3
    assert slope == pytest.approx(0.3915, rel=3e-3)
    assert (1 - osmotic_coefficient("NaCl", m)) / np.sqrt(m) == pytest.approx(slope, rel=5e-3)
    assert -np.log(mean_activity_coefficient("NaCl", m)) / (3 * np.sqrt(m)) == pytest.approx(
        slope, rel=5e-3
    )


@pytest.mark.parametrize("salt", PITZER_SALTS)
def test_pitzer_agrees_with_pyeql(salt):
    activity = pytest.importorskip("pyEQL.activity_correction")
    p = pitzer_parameters(salt)
    m = 0.7 * p.max_molality
    molal = pytest.importorskip("pyEQL").ureg.Quantity(m, "mol/kg")
    row = (molal, molal, 2, 0, p.beta0, p.beta1, 0, p.c_phi, 1, -1, 1, 1)
    gamma = float(activity.get_activity_coefficient_pitzer(*row))
    phi = float(activity.get_osmotic_coefficient_pitzer(*row))
    assert mean_activity_coefficient(salt, m) == pytest.approx(gamma, rel=3e-3)
    assert osmotic_coefficient(salt, m) == pytest.approx(phi, rel=3e-3)


def test_infinite_dilution_is_ideal():
    for salt in PITZER_SALTS:
        assert mean_activity_coefficient(salt, 0) == 1
        assert osmotic_coefficient(salt, 0) == 1
        assert activity_derivative(salt, 0) == 1


def test_salts_without_parameters():
    with pytest.raises(InputError, match=r"no activity coefficients of LiF; available: LiCl"):
        pitzer_parameters("LiF")
    with pytest.raises(InputError, match="fitted from 0 to"):
        osmotic_coefficient("LiCl", -1)


# ions at infinite dilution


@pytest.mark.parametrize("ion", IONS)
def test_diffusion_and_conductivity_are_one_mobility(ion):
    """D = R T lambda/(|z| F^2): two columns of the table check each other."""
    siemens_m2 = limiting_conductivity(ion).value * 1e-4
    faraday = si.e * si.N_A
    d = si.R * 298.15 * siemens_m2 / (abs(IONS[ion].charge) * faraday**2)
    assert limiting_diffusion(ion).value == pytest.approx(d * 1e9, rel=1.2e-3)
    assert limiting_diffusion(ion).unit == "1e-9 m2/s"


def test_unknown_ion():
    for function in (limiting_diffusion, limiting_conductivity):
        with pytest.raises(InputError, match="'Xe'; available: Li, Na"):
            function("Xe")


# records


@pytest.mark.parametrize("value", EVERY_VALUE, ids=lambda v: f"{v.quantity}-{v.pair}-{v.salt}")
def test_every_record_is_complete(value):
    assert value.source.citation
    assert re.search(r"\((19|20)\d\d\)|arXiv|Handbook", value.source.citation)
    assert value.kind in ("experiment", "simulation")
    assert value.status in STATUS_TEXT
    assert value.uncertainty is None or value.uncertainty > 0
    assert value.salt in {*SALTS, "any", "water"}
    assert value.temperature is None or 273.15 <= value.temperature <= 373.15
    assert (value.molality_min is None) == (value.molality_max is None)
    if value.molality_min is not None and value.molality_max is not None:
        assert 0 <= value.molality_min <= value.molality_max
    named = {
        "angstrom": "angstrom",
        "m2_per_s": "1e-9 m2/s",
        "S_per_m": "S/m",
        "S_cm2_per_mol": "S cm2/mol",
    }
    assert value.unit == next((u for n, u in named.items() if value.quantity.endswith(n)), "1")
    for species in filter(None, value.pair.split("-")):
        assert species in {*IONS, "O", "H", "H2O", "D2O"}
    json.dumps(value.to_json())


def test_distances_and_numbers_are_of_the_right_size():
    for value in EVERY_VALUE:
        if value.quantity.endswith("angstrom"):
            assert 1.5 < value.value < 6
        elif value.quantity.startswith("diffusion"):
            assert 0.5 < value.value < 2.5


def test_no_record_twice():
    keys = [
        (v.quantity, v.pair, v.salt, v.molality_min, v.source.key, v.method) for v in EVERY_VALUE
    ]
    assert len(set(keys)) == len(keys)


def test_every_source_is_used_and_every_doi_well_formed():
    used = {v.source.key for v in EVERY_VALUE} | {constant(n).source.key for n in constant_names()}
    for name in (
        "laliberte_density",
        "pitzer_volume",
        "pitzer_activity",
        "limiting_transport",
        "solubility",
        "laliberte_viscosity",
        "mccleskey_conductivity",
        "crystals",
    ):
        used |= {row["source"] for row in read_table(f"{name}.csv")}
    assert used == set(sources())
    for entry in sources().values():
        assert not entry.doi or re.fullmatch(r"10\.\d{4,5}/\S+", entry.doi)
    with pytest.raises(InputError, match="unknown source"):
        source("nobody1900")


def test_lithium_hydration_of_mason():
    found = reference_values(
        "coordination_number", pair="O-Li", salt="LiCl", molality=2.7755, kind="experiment"
    )
    assert [(v.value, v.uncertainty, v.source.doi) for v in found] == [
        (4.9, 0.3, "10.1021/jp511508n")
    ]
    assert found[0].is_verified


def test_recalled_values_say_so():
    found = reference_values("first_peak_angstrom", pair="Cl-O", salt="LiCl", kind="experiment")
    assert found
    for value in found:
        assert not value.is_verified
        assert str(value).endswith("(recalled, not re-checked)")


def test_filters():
    everything = reference_values("first_peak_angstrom")
    lithium = reference_values("first_peak_angstrom", pair="Li-O")
    assert {v.pair for v in lithium} == {"Li-O"}
    assert {v.salt for v in lithium} == {"LiCl", "LiBr"}
    assert {v.salt for v in reference_values("first_peak_angstrom", salt="KCl")} == {"KCl", "any"}
    assert {v.salt for v in reference_values("first_peak_angstrom", salt="water")} >= {"water"}
    kinds = [v.kind for v in everything]
    assert kinds == sorted(kinds)
    assert len(kinds) == sum(
        len(reference_values("first_peak_angstrom", kind=kind)) for kind in set(kinds)
    )
    narrow = reference_values("coordination_number", pair="Li-O", molality=1.0, within=0.0)
    assert {v.molality_min for v in narrow} == {1.0}


def test_filters_refuse_unknown_words():
    with pytest.raises(InputError, match=r"did you mean first_peak_angstrom\?"):
        reference_values("first_peak_angstroms")
    with pytest.raises(InputError, match="'experiment' or 'simulation'"):
        reference_values("first_peak_angstrom", kind="experiments")


def test_borrowed_constants_have_sources():
    epsilon = constant("water_dielectric_constant", 300.0)
    assert epsilon.value == water_dielectric_constant(300.0)
    assert epsilon.temperature == 300.0
    assert "Malmberg" in str(epsilon)
    for name in constant_names():
        assert constant(name).source.doi
    with pytest.raises(InputError, match="unknown constant"):
        constant("speed_of_light")
    with pytest.raises(InputError, match="liquid water"):
        constant("water_viscosity_mPa_s", 500.0)


# the published simulation, from its own files


def shell(r, g, density, peak_window, minimum_window):
    """First peak (parabola over 0.1 angstrom), minimum of the smoothed g, number within it."""
    smooth = np.convolve(g, np.full(9, 1 / 9), "same")

    def vertex(pick, window, half_width):
        inside = np.flatnonzero((r > window[0]) & (r < window[1]))
        i = inside[pick(smooth[inside])]
        part = slice(i - half_width, i + half_width + 1)
        a, b, c = np.polyfit(r[part] - r[i], g[part], 2)
        return r[i] - b / (2 * a), c - b**2 / (4 * a)

    r_peak, height = vertex(np.argmax, peak_window, 5)
    r_min, _ = vertex(np.argmin, minimum_window, 15)
    inside = r < r_min
    number = 4 * np.pi * density * np.sum(g[inside] * r[inside] ** 2) * (r[1] - r[0])
    return {
        "first_peak_angstrom": r_peak,
        "first_peak_height": height,
        "first_minimum_angstrom": r_min,
        "coordination_number": number,
    }


@pytest.mark.parametrize(
    ("pair", "neighbours", "peak_window", "minimum_window"),
    [
        ("Li-O", 512, (1.7, 2.3), (2.4, 3.3)),
        ("Cl-O", 512, (2.8, 3.6), (3.5, 4.3)),
        ("Li-H", 1024, (2.2, 3.2), (3.0, 3.8)),
        ("Cl-H", 1024, (1.9, 2.6), (2.6, 3.3)),
        ("Li-Cl", 24, (2.1, 2.8), (2.7, 3.6)),
        ("Li-Li", 24, (3.0, 4.0), (3.6, 4.4)),
    ],
)
def test_published_simulation_is_what_its_files_hold(pair, neighbours, peak_window, minimum_window):
    files = sorted(SHARED.glob("licl_2.47M_rdf_nnp*_run*.csv"))
    if len(files) != 4:
        pytest.skip("the published radial distribution functions are not at hand")
    edge = 25.26
    runs = []
    for file in files:
        table = np.genfromtxt(file, delimiter=",", names=True)
        r, g = table["r_angstrom"], table["g_" + pair.replace("-", "")]
        g = g / g[(r > edge / 2 - 2) & (r < edge / 2 + 2)].mean()
        runs.append(shell(r, g, neighbours / edge**3, peak_window, minimum_window))
    for quantity in runs[0]:
        values = [run[quantity] for run in runs]
        (record,) = [
            v
            for v in reference_values(quantity, pair=pair, salt="LiCl", kind="simulation")
            if v.covers(2.602)
        ]
        assert record.value == pytest.approx(np.mean(values), abs=0.5 * record.uncertainty)
        assert 0.6 * np.std(values, ddof=1) < record.uncertainty


def test_published_water_is_what_its_files_hold():
    if not SHARED.is_dir():
        pytest.skip("the published radial distribution functions are not at hand")
    for file, kind in (("nnp1", "simulation"), ("xray", "experiment")):
        table = np.genfromtxt(SHARED / f"water_rdf_oo_{file}.csv", delimiter=",", names=True)
        found = shell(table["r_angstrom"], table["g_OO"], 0.0333, (2.5, 3.1), (3.1, 3.9))
        for quantity in ("first_peak_angstrom", "first_peak_height"):
            (record,) = reference_values(quantity, pair="O-O", salt="water", kind=kind)
            assert record.value == pytest.approx(found[quantity], abs=record.uncertainty)
