"""bjerrum solve, as a user meets it: answers, files, and one clear line for every mistake."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bjerrum.cli import app
from bjerrum.errors import InputError
from bjerrum.thermodynamics import request
from bjerrum.thermodynamics.structure import NotConverged

KEYS = {
    "concentration_mol_per_L",
    "molality_mol_per_kg",
    "osmotic_coefficient_mm",
    "osmotic_coefficient_lr",
    "ln_gamma_lr",
    "dlna_dlnc_mm",
    "dlna_dlnc_lr",
    "residual",
}
"""Of the contract; others may stand beside them."""
RUNNER = CliRunner()


def write_primitive(path: Path, diameter: float = 4.25, pairs: str = "cc ca aa") -> Path:
    names = [f"w_{pair}_kT" for pair in pairs.split()]
    lines = [",".join(["r_angstrom", *names])]
    for i in range(1, 1001):
        w = "inf" if i / 100 < diameter - 1e-9 else "0"
        lines.append(",".join([f"{i / 100:.2f}", *[w] * len(names)]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def table(tmp_path) -> Path:
    return write_primitive(tmp_path / "rpm.csv")


def solve(*arguments: object) -> dict:
    result = RUNNER.invoke(app, ["solve", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(*arguments: object) -> str:
    """Return the one line that a wrong call prints."""
    result = RUNNER.invoke(app, ["solve", *map(str, arguments), "--json"])
    assert isinstance(result.exception, InputError), result.output
    assert result.exception.exit_code == 2
    assert "{" not in result.stdout
    return str(result.exception)


RPM = ("--temperature", 298.15, "--dielectric", 167100.87 / (7.14 * 298.15))


def test_restricted_primitive_model(table):
    found = solve("--pmf", table, *RPM, "--theory", "hnc", "--concentrations", "0.01,0.1,1")
    assert found["theory"] == "hnc"
    assert found["bjerrum_length_angstrom"] == pytest.approx(7.14, abs=1e-3)
    points = found["points"]
    assert all(set(point) >= KEYS for point in points)
    phi = [point["osmotic_coefficient_mm"] for point in points]
    assert phi == pytest.approx([0.9692, 0.9449, 1.0909], abs=2.2e-3)
    assert phi == pytest.approx([0.96924, 0.94514, 1.09277], abs=1e-4)
    assert all(point["residual"] < 1e-8 for point in points)
    assert all(set(point["theory_error"]) >= {"dlna_dlnc_mm", "ln_gamma_lr"} for point in points)
    assert found["pairs"]["c-a"] == {"core_angstrom": 4.25, "tail_from_angstrom": 10.0}


def test_mean_spherical_closed_form(table):
    [point] = solve("--pmf", table, *RPM, "--theory", "msa", "--concentrations", "1")["points"]
    rho, d, length = 6.02214076e-4, 4.25, 7.14
    kappa = math.sqrt(8 * math.pi * length * rho)
    gamma = (math.sqrt(1 + 2 * kappa * d) - 1) / (2 * d)
    e = math.pi / 6 * 2 * rho * d**3
    phi = (1 + e + e**2 - e**3) / (1 - e) ** 3 - gamma**3 / (3 * math.pi * 2 * rho)
    assert point["osmotic_coefficient_mm"] == pytest.approx(phi, abs=2e-5)


@pytest.mark.parametrize("theory", ["mpb", "spb", "lpb", "dhx"])
def test_every_theory_has_the_same_interface(table, theory):
    [point] = solve("--pmf", table, *RPM, "--theory", theory, "--concentrations", 0.2)["points"]
    assert set(point) >= KEYS
    assert point["osmotic_coefficient_mm"] == pytest.approx(0.953, abs=0.02)


def test_two_to_one_salt_and_no_density(table):
    result = RUNNER.invoke(
        app,
        ["solve", "--pmf", str(table), "--charges", "2,-1", "--concentrations", "0.1", "--json"],
    )
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["ions_per_formula_unit"] == [1, 2]
    [point] = found["points"]
    assert point["molality_mol_per_kg"] is None
    assert point["ln_gamma_lr"] is None
    assert point["osmotic_coefficient_mm"] < 0.9
    assert "left empty" in found["warnings"][0]
    assert "warning" in result.stderr


def test_a_volume_of_the_salt_in_place_of_a_density(table):
    few = ("--pmf", table, "--theory", "dhx", "--salt", "MgCl2", "--salt-volume", 14.5)
    found = solve(*few, "--molalities", "0,0.5")
    assert found["warnings"] == []
    assert found["salt_volume_cm3_per_mol"] == 14.5
    zero, point = found["points"]
    assert zero["ln_gamma_lr"] == 0.0
    c, phi = point["concentration_mol_per_L"], point["osmotic_coefficient_mm"]
    assert point["molality_mol_per_kg"] == pytest.approx(0.5)
    assert c == pytest.approx(0.5 * 0.99705 / (1 + 0.5 * 0.99705 * 0.0145), rel=1e-5)
    free = 1 - 0.0145 * c
    assert point["osmotic_coefficient_lr"] == pytest.approx(phi * free)
    gamma = point["ln_y_mm"] + math.log(free) - c * phi * 0.0145
    assert point["ln_gamma_lr"] == pytest.approx(gamma)
    assert point["dlna_dlnc_lr"] == pytest.approx(point["dlna_dlnc_mm"] * free)


@pytest.mark.parametrize("ions", [("--charges", "2,-1"), ("--salt", "MgCl2")])
def test_without_a_volume_keys_are_null_and_one_sentence_says_why(table, ions):
    found = solve("--pmf", table, "--theory", "dhx", "--concentrations", 0.1, *ions)
    [point] = found["points"]
    assert set(point) >= KEYS | {"theory_error", "standard_error"}
    empty = {name for name, value in point.items() if value is None}
    assert empty >= {"molality_mol_per_kg", "osmotic_coefficient_lr", "ln_gamma_lr", "dlna_dlnc_lr"}
    [warning] = found["warnings"]
    assert warning.startswith("no density of ")
    assert warning.endswith("give --salt-volume, the partial molar volume of the salt in cm3/mol")


def test_a_mixture_of_equal_cations_is_the_salt(tmp_path, table):
    pairs = "Li-Li Li-K Li-Cl K-K K-Cl Cl-Cl"
    mixed = write_primitive(tmp_path / "mixed.csv", pairs=pairs)
    ions = [f"--ion={ion}" for ion in ("Li:+1:0.3", "K:+1:0.7", "Cl:-1:1")]
    few = (*RPM, "--theory", "pb", "--concentrations", "0.5")
    mixture = solve("--pmf", mixed, *ions, *few)
    salt = solve("--pmf", table, *few)
    for key in ("osmotic_coefficient_mm", "ln_y_mm", "dlna_dlnc_mm"):
        assert mixture["points"][0][key] == pytest.approx(salt["points"][0][key], abs=1e-6)
    assert mixture["salt"] is None


def test_default_dielectric_constant_is_that_of_water(table):
    cold = solve("--pmf", table, "--temperature", 280, "--theory", "dhx", "--concentrations", 0.1)
    warm = solve("--pmf", table, "--temperature", 350, "--theory", "dhx", "--concentrations", 0.1)
    assert cold["dielectric_constant"] == pytest.approx(85.1, abs=0.2)
    assert cold["bjerrum_length_angstrom"] < warm["bjerrum_length_angstrom"]


def test_ranges_molalities_and_zero(table):
    few = ("--pmf", table, *RPM, "--theory", "pb", "--salt", "LiCl")
    found = solve(*few, "--molalities", "0:2:3")
    molalities = [point["molality_mol_per_kg"] for point in found["points"]]
    assert molalities == pytest.approx([0, 1, 2], abs=1e-9)
    assert found["points"][0]["osmotic_coefficient_lr"] == 1.0
    assert found["warnings"] == []
    logarithmic = solve(*few, "--concentrations", "0.01:1:3:log")
    c = [point["concentration_mol_per_L"] for point in logarithmic["points"]]
    assert c == pytest.approx([0.01, 0.1, 1.0])


def test_committee_and_error_columns_become_error_bars(tmp_path, table):
    other = write_primitive(tmp_path / "other.csv", 4.35)
    few = ("--theory", "pb", "--concentrations", "0.5", *RPM)
    found = solve("--pmf", table, "--pmf", other, *few)
    assert found["points"][0]["standard_error"]["osmotic_coefficient_mm"] > 1e-4
    lines = table.read_text().splitlines()
    lines[0] += ",w_ca_kT_standard_error"
    lines[1:] = [f"{line},0.1" for line in lines[1:]]
    table.write_text("\n".join(lines) + "\n")
    found = solve("--pmf", table, *few)
    assert found["points"][0]["standard_error"]["ln_gamma_lr"] > 1e-4


def test_beyond_solubility_is_warned_of(table):
    found = solve("--pmf", table, "--theory", "dhx", "--salt", "KCl", "--concentrations", "1,4.2,6")
    assert "KCl" in " ".join(found["warnings"])
    assert "solubility" in " ".join(found["warnings"])
    assert found["points"][2]["molality_mol_per_kg"] is None
    assert found["points"][2]["osmotic_coefficient_mm"] > 1


@pytest.mark.parametrize(
    ("salt", "concentration", "supersaturated"),
    [("LiI", 3.5, False), ("LiF", 1, True), ("MgCl2", 6, True), ("MgCl2", 3, False)],
)
def test_solubility_where_there_is_no_density(table, salt, concentration, supersaturated):
    """Beyond the range of the density is not beyond the solubility."""
    few = ("--theory", "dhx", "--salt", salt, "--concentrations", concentration)
    warnings = " ".join(solve("--pmf", table, *few)["warnings"])
    assert "no density of" in warnings
    assert ("solubility" in warnings) == supersaturated


def test_files_and_figure(table, tmp_path):
    few = ("--pmf", table, *RPM, "--theory", "pb", "--salt", "LiCl", "--concentrations", "0.1:2:8")
    found = solve(*few, "-o", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == found
    solve(*few, "-o", tmp_path / "out.csv", "--figure", tmp_path / "out.html")
    with (tmp_path / "out.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 8
    assert float(rows[0]["osmotic_coefficient_lr"]) > 0
    assert set(rows[0]) >= KEYS
    page = (tmp_path / "out.html").read_text()
    assert "osmotic coefficient" in page
    assert "core: no data used" in page
    assert 'src="http' not in page


def test_error_bars_are_in_the_table_and_the_csv(table, tmp_path):
    few = ["solve", "--pmf", str(table), "--concentrations", "1", "--salt", "LiCl"]
    result = RUNNER.invoke(app, [*few, "-o", str(tmp_path / "out.csv")])
    with (tmp_path / "out.csv").open() as lines:
        [row] = csv.DictReader(lines)
    error = float(row["osmotic_coefficient_lr_error"])
    assert error > 1e-4
    assert f"{float(row['osmotic_coefficient_lr']):.4f} ± {error:.4f}" in result.stdout


def test_a_figure_of_concentrations_in_any_order(table, tmp_path):
    page = tmp_path / "out.html"
    few = ("--pmf", table, "--theory", "msa", "--salt", "LiCl", "--figure", page)
    assert len(solve(*few, "--concentrations", "2,0,1,1")["points"]) == 4
    assert page.exists()


def test_plain_output_is_a_table(table):
    result = RUNNER.invoke(
        app, ["solve", "--pmf", str(table), "--theory", "msa", "--concentrations", "0.1,1"]
    )
    assert result.exit_code == 0
    head, *rows = result.stdout.strip().splitlines()
    assert "phi (MM)" in head
    assert len(rows) == 2


WRONG = {
    "unknown theory": (("--theory", "hcn"), "unknown theory 'hcn'; known: hnc"),
    "negative": (("--concentrations", "-1"), "concentration -1 mol/L"),
    "text": (("--concentrations", "a,b"), "--concentrations: expected numbers"),
    "nan": (("--concentrations", "nan"), "finite numbers"),
    "range": (("--concentrations", "1:2"), "START:STOP:COUNT"),
    "backward range": (("--concentrations", "2:1:5"), "START below STOP"),
    "log from zero": (("--concentrations", "0:1:5:log"), "starts above 0"),
    "huge": (("--concentrations", "1:2:5000"), "COUNT is a whole number"),
    "molten": (("--concentrations", "60"), "concentration 60 mol/L"),
    "one charge": (("--charges", "1"), "expected two"),
    "wrong signs": (("--charges", "1,1"), "positive cation and a negative anion"),
    "unknown salt": (("--salt", "LiCI"), "did you mean LiCl"),
    "contradiction": (("--salt", "LiCl", "--charges", "2,-1"), "does not fit LiCl"),
    "steam": (("--temperature", "500"), "273.15"),
    "dielectric": (("--dielectric", "0"), "--dielectric: expected"),
    "core": (("--core", "ca"), "PAIR=ANGSTROM"),
    "core pair": (("--core", "xy=2"), "no pair 'xy'"),
    "both": (("--concentrations", "1", "--molalities", "1"), "not both"),
    "two cores": (("--core", "ca=2,3"), "expected one number"),
    "figure of nothing": (("--figure", "out.html", "--concentrations", "0"), "above 0 to draw"),
    "salt volume": (("--salt-volume", "5000"), "--salt-volume: expected -200 to 1000"),
    "no water": (("--salt-volume", "900", "--concentrations", "2"), "no room for water"),
    "ion": (("--ion", "Li+"), "SYMBOL:CHARGE:NUMBER"),
    "output": (("-o", "out.xls"), "must be .json or .csv"),
    "figure": (("--figure", "out.bmp"), "must be .html"),
    "dense": (("--theory", "msa", "--concentrations", "29"), "lower the concentration"),
    "no file": (("--pmf", "missing.csv"), "cannot read missing.csv"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_one_clear_line(table, options, message):
    line = refusal("--pmf", table, *options)
    assert message in line
    assert "\n" not in line


def test_molality_needs_a_density(table):
    assert "give --salt-volume" in refusal("--pmf", table, "--charges", "2,-1", "--molalities", "1")


def test_a_bound_state_is_refused_with_its_distance(tmp_path):
    path = tmp_path / "bound.csv"
    r = np.round(0.05 * np.arange(1, 201), 4)
    rows = [f"{x},{(4 / x) ** 9},{-5 * math.exp(-x)},{(4 / x) ** 9}" for x in r]
    path.write_text("\n".join(["r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT", *rows]) + "\n")
    line = refusal("--pmf", path)
    assert "bound state" in line
    assert "w_ca_kT" in line
    assert "angstrom" in line


def test_no_convergence_is_exit_code_3_without_numbers(tmp_path):
    path = tmp_path / "separating.csv"
    r = np.round(0.05 * np.arange(1, 201), 4)
    like = np.where(r < 3, np.inf, -2.5 * np.exp(-((r - 4) ** 2)))
    rows = [f"{x},{w},{'inf' if x < 4 else 0},{w}" for x, w in zip(r, like, strict=True)]
    path.write_text("\n".join(["r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT", *rows]) + "\n")
    output = tmp_path / "out.json"
    arguments = [
        "solve",
        "--pmf",
        str(path),
        "--theory=mpb",
        "--concentrations=3",
        "-o",
        str(output),
    ]
    result = RUNNER.invoke(app, arguments)
    assert isinstance(result.exception, NotConverged)
    assert result.exception.exit_code == 3
    assert "residual" in str(result.exception)
    assert "mol/L" in str(result.exception)
    assert not output.exists()
    assert "{" not in result.stdout


def test_in_a_process_of_its_own(table):
    """No traceback, one line on stderr, exit code 2."""
    done = subprocess.run(
        [sys.executable, "-m", "bjerrum", "solve", "--pmf", str(table), "--theory", "hcn"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert done.stderr.startswith("bjerrum: unknown theory 'hcn'")


def test_ranges_are_read_as_written():
    assert request.parse_concentrations("0.5") == [0.5]
    assert request.parse_concentrations("0:1:3") == [0.0, 0.5, 1.0]
    assert request.parse_concentrations("0:1:3:linear") == [0.0, 0.5, 1.0]
    assert request.parse_cores(["ca=1.9"]) == {"ca": 1.9}


def test_bench_prints_a_ratio_and_residuals():
    result = RUNNER.invoke(app, ["bench", "thermodynamics", "--rounds", "7", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found) == {"what", "ratio", "ours", "alternative", "unit", "details"}
    assert found["ratio"] == pytest.approx(found["alternative"] / found["ours"])
    details = found["details"]
    # 50 to 130 on a quiet machine; here only a collapse is to be noticed, whatever else runs.
    assert min(details["alternative_ms"]) > 4 * min(details["ours_ms"])
    series = found["details"]["series"]
    assert series["hnc"]["cpu_seconds"] < 30  # 0.6 on a machine that has nothing else to do
    assert series["mpb"]["cpu_seconds"] < 60
    assert all(one["largest_residual"] < 1e-8 for one in series.values())
    assert found["details"]["largest_difference_of_psi_kT"] < 2e-6
