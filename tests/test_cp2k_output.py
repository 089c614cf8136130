"""The parser on outputs of CP2K 2023.1: real ones, shortened where nothing is read ("[...]").

Made for one water molecule in 6 angstrom at 200 Ry and for 1 LiCl + 8 H2O at 800 Ry. The lines
of 2024 and later are rewritten here from the documentation of those versions.
"""

from __future__ import annotations

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum.reference.cp2k_output import parse_cost, parse_label
from bjerrum.reference.label import LabelStatus

DATA = Path(__file__).parent / "data" / "cp2k"
WATER = Atoms(
    "OH2",
    [
        [2.54351074, 2.49110988, 2.61068517],
        [1.97963075, 3.18902138, 2.24588783],
        [2.67228409, 1.88209942, 1.86863269],
    ],
    cell=[6.0] * 3,
    pbc=True,
)
HARTREE = 27.211386  # CODATA 2018, to 8 digits
BOHR = 0.529177211
SPOILED = {
    "scf-not-converged": LabelStatus.SCF_NOT_CONVERGED,
    "scf-not-converged-ot": LabelStatus.SCF_NOT_CONVERGED,
    "response-not-converged": LabelStatus.RESPONSE_NOT_CONVERGED,
    "unknown-keyword": LabelStatus.CRASHED,
    "no-basis-set": LabelStatus.CRASHED,
}


def licl_box() -> Atoms:
    return ase.io.read(DATA / "licl-8-waters.extxyz")


def output(name: str) -> str:
    return (DATA / f"{name}.out").read_text()


def newer(text: str) -> str:
    """Write energy and forces as CP2K 2024 and later do."""
    text = re.sub(r"energy \[a\.u\.\]: ( +-)", r"energy [hartree]\1", text)
    lines, inside = [], False
    for line in text.splitlines():
        words = line.split()
        if line.startswith(" ATOMIC FORCES in"):
            lines += [" FORCES| Atomic forces [hartree/bohr]"]
            lines += [" FORCES|   Atom     x               y               z               |f|"]
            inside = True
        elif inside and line.startswith(" SUM OF"):
            x, y, z, total = (float(x) for x in words[4:])
            lines += [f" FORCES| Sum    {x:15.8E} {y:15.8E} {z:15.8E}"]
            lines += [f" FORCES| Total atomic force                        {total:15.8E}"]
            inside = False
        elif inside and words and words[0].isdigit():
            f = np.array([float(x) for x in words[3:6]])
            numbers = " ".join(f"{x:15.8E}" for x in (*f, np.linalg.norm(f)))
            lines += [f" FORCES| {words[0]:>6} {numbers}"]
        elif not inside:
            lines += [line]
    return "\n".join(lines) + "\n"


def test_density_corrected_label():
    label = parse_label(output("water-dc-r2scan"), WATER, "dc-r2scan")
    assert label.status is LabelStatus.CONVERGED
    assert label.reason == ""
    # "Etotal Energy Functional"; "Total energy:" of Hartree-Fock is 8.5 eV above it
    assert label.energy == pytest.approx(-17.184482681992097 * HARTREE, rel=1e-7)
    expected = [
        [0.01879850, -0.01718884, -0.00086317],
        [0.00217582, -0.00221232, 0.00337089],
        [0.00086217, 0.00150194, 0.00294442],
    ]
    np.testing.assert_allclose(label.forces, np.array(expected) * HARTREE / BOHR, rtol=1e-6)


def test_constants_agree_with_those_that_cp2k_prints():
    """Of CODATA 2006, 27.2113838565563 eV; ours are newer."""
    label = parse_label(output("water-dc-r2scan"), WATER, "dc-r2scan")
    assert label.energy / -17.184482681992097 == pytest.approx(27.2113838565563, rel=1e-7)


def test_r2scan_label_is_the_energy_of_its_own_functional():
    label = parse_label(output("water-r2scan"), WATER, "r2scan")
    assert label.status is LabelStatus.CONVERGED
    assert label.energy == pytest.approx(-17.193727974735758 * HARTREE, rel=1e-7)
    assert label.forces.shape == (3, 3)


def test_an_r2scan_output_holds_no_density_corrected_label():
    label = parse_label(output("water-r2scan"), WATER, "dc-r2scan")
    assert label.status is not LabelStatus.CONVERGED


def test_orbital_transformation_with_its_outer_loop():
    label = parse_label(output("water-published-settings"), WATER, "dc-r2scan")
    assert label.status is LabelStatus.CONVERGED
    assert label.energy == pytest.approx(-17.122319067580825 * HARTREE, rel=1e-7)


def test_larger_frame():
    atoms = licl_box()
    text = output("licl-8-waters")
    label = parse_label(text, atoms, "dc-r2scan")
    assert label.status is LabelStatus.CONVERGED
    printed = re.search(r"SUM OF ATOMIC FORCES +(\S+) +(\S+) +(\S+)", text)
    total = np.array([float(x) for x in printed.groups()]) * HARTREE / BOHR
    np.testing.assert_allclose(label.forces.sum(axis=0), total, atol=26 * 1e-8 * HARTREE / BOHR)
    assert parse_cost(text).grid == (120, 120, 120)


def test_cost():
    cost = parse_cost(output("water-dc-r2scan"))
    assert cost.version == "2023.1"
    assert cost.scf_steps == 15
    assert cost.response_steps == 5
    assert cost.grid == (54, 54, 54)
    nothing = parse_cost("")
    assert (nothing.version, nothing.scf_steps, nothing.response_steps) == (None, 0, 0)
    assert nothing.grid == ()


@pytest.mark.parametrize(("name", "status"), SPOILED.items())
def test_calculations_that_did_not_succeed(name, status):
    label = parse_label(output(name), WATER, "dc-r2scan")
    assert label.status is status
    assert label.energy is None
    assert label.forces is None
    assert label.reason
    assert "\n" not in label.reason
    assert "___" not in label.reason


def test_reasons_are_what_cp2k_says():
    crashed = parse_label(output("unknown-keyword"), WATER, "dc-r2scan")
    assert crashed.reason.startswith("found an unknown keyword EPS_DEFALT in section QS")
    assert parse_label(output("no-basis-set"), WATER, "dc-r2scan").reason.startswith(
        "The requested basis set <nonsense> for element <O> was not found in the basis set files"
    )
    steps = parse_label(output("scf-not-converged"), WATER, "dc-r2scan")
    assert steps.reason == "after 3 steps"


def test_unconverged_response_ends_like_any_other_calculation():
    """CP2K 2023.1 prints a sentence, then forces, and ends with exit code 0 and no warning."""
    text = output("response-not-converged")
    assert "PROGRAM ENDED AT" in text
    assert "ATOMIC FORCES in [a.u.]" in text
    assert "The linear solver didn't converge! Maximum number of iterations reached." in text
    label = parse_label(text, WATER, "dc-r2scan")
    assert label.status is LabelStatus.RESPONSE_NOT_CONVERGED


@pytest.mark.parametrize(
    ("sentence", "status"),
    [
        ("*** SCF run converged in", LabelStatus.SCF_NOT_CONVERGED),
        ("The linear solver converged in", LabelStatus.RESPONSE_NOT_CONVERGED),
    ],
)
def test_no_bad_news_is_not_good_news(sentence, status):
    text = output("water-dc-r2scan")
    assert sentence in text
    assert parse_label(text.replace(sentence, "..."), WATER, "dc-r2scan").status is status


def test_newer_versions_abort_without_convergence():
    """In the frame that the CP2K manual shows for 2024.1 and later."""
    whole = output("scf-not-converged")
    before = whole[: whole.index(" *** WARNING in qs_scf.F")]
    frame = r"""
 *******************************************************************************
 *   ___                                                                       *
 *  /   \                                                                      *
 * [ABORT]                                                                     *
 *  \___/     SCF run NOT converged. To continue the calculation regardless,   *
 *    |             please set the keyword IGNORE_CONVERGENCE_FAILURE.         *
 *  O/|                                                                        *
 * /| |                                                                        *
 * / \                                                            qs_scf.F:702 *
 *******************************************************************************

 ===== Routine Calling Stack =====
"""
    label = parse_label(before + frame, WATER, "dc-r2scan")
    assert label.status is LabelStatus.SCF_NOT_CONVERGED


@pytest.mark.parametrize("method", ["dc-r2scan", "r2scan"])
def test_newer_versions_say_the_same_in_other_words(method):
    old = output(f"water-{method}")
    new = newer(old)
    assert "ATOMIC FORCES in" not in new
    assert "[a.u.]:" not in new
    expected, found = (parse_label(text, WATER, method) for text in (old, new))
    assert found.status is LabelStatus.CONVERGED, found.reason
    assert found.energy == expected.energy
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-12)


@pytest.mark.parametrize("name", ["water-dc-r2scan", "water-published-settings"])
def test_an_output_cut_anywhere_is_never_a_label(name):
    text = output(name)
    end = text.index("PROGRAM ENDED AT")
    for length in {*range(0, end, 173), end - 1, text.index("SUM OF ATOMIC FORCES")}:
        label = parse_label(text[:length], WATER, "dc-r2scan")
        assert label.status is LabelStatus.TRUNCATED, length
        assert label.status.retryable


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_output_cut_anywhere_is_never_a_label(name):
    text = output(name)
    for length in range(0, len(text), 131):
        assert parse_label(text[:length], WATER, "dc-r2scan").status is not LabelStatus.CONVERGED


@pytest.mark.parametrize("lost", ["energy", "forces", "one atom's forces", "positions"])
def test_a_hole_in_an_output_is_never_filled(lost):
    text = output("water-dc-r2scan")
    patterns = {
        "energy": r"Etotal Energy Functional.*\n",
        "forces": r" ATOMIC FORCES in \[a\.u\.\]\n",
        "one atom's forces": r" +2 +2 +H +-?0\.\d{8} .*\n",
        "positions": r" MODULE QUICKSTEP: +ATOMIC COORDINATES.*\n",
    }
    damaged, n = re.subn(patterns[lost], "", text)
    assert n == 1
    assert parse_label(damaged, WATER, "dc-r2scan").status is not LabelStatus.CONVERGED


def test_two_calculations_in_one_output_are_refused():
    text = output("water-dc-r2scan")
    assert parse_label(text + text, WATER, "dc-r2scan").status is not LabelStatus.CONVERGED


@pytest.mark.parametrize(
    ("number", "replacement"),
    [
        (r"( +1 +1 +O +)0\.01879850", r"\1**********"),
        (r"( +1 +1 +O +)0\.01879850 +-0\.01718884", r"\1*********************"),
        (r"( +1 +1 +O +)0\.01879850", r"\1       NaN"),
        (r"( +1 +1 +O +)0\.01879850", r"\1  Infinity"),
        (r"(Etotal Energy Functional +)-17\.184482681992097", r"\1*******************"),
        (r"( +1 +1 O +8 +)2\.543511", r"\1********"),
        (r"( +1 +1 O +8 +)2\.543511 +2\.491110", r"\1***************"),
    ],
)
def test_asterisks_for_numbers_are_no_label(number, replacement):
    text, n = re.subn(number, replacement, output("water-dc-r2scan"))
    assert n == 1
    label = parse_label(text, WATER, "dc-r2scan")
    assert label.status is not LabelStatus.CONVERGED
    assert "\n" not in label.reason


def test_positions_are_compared():
    moved = WATER.copy()
    moved.positions[1, 2] += 1e-3
    label = parse_label(output("water-dc-r2scan"), moved, "dc-r2scan")
    assert label.status is LabelStatus.GEOMETRY_MISMATCH
    assert "0.001 angstrom" in label.reason
    rounded = WATER.copy()
    rounded.positions += 4e-7
    assert parse_label(output("water-dc-r2scan"), rounded, "dc-r2scan").status == "converged"


@pytest.mark.parametrize("symbols", ["HOH", "SH2", "OH3", "OH"])
def test_elements_and_their_order_are_compared(symbols):
    other = Atoms(symbols, cell=[6.0] * 3, pbc=True)
    other.positions[: min(3, len(other))] = WATER.positions[: len(other)]
    label = parse_label(output("water-dc-r2scan"), other, "dc-r2scan")
    assert label.status is LabelStatus.GEOMETRY_MISMATCH


@pytest.mark.parametrize("text", ["", "\n", "killed\n", "\x00\x00", "PROGRAM ENDED AT\n"])
def test_what_is_no_output_is_no_label(text):
    label = parse_label(text, WATER, "dc-r2scan")
    assert label.status is not LabelStatus.CONVERGED
    assert label.reason
