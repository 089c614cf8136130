"""Inputs of CP2K: the right sections, numbers that keep their digits, nothing unvalidated."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum.errors import InputError
from bjerrum.reference.cp2k_elements import VALENCE_ELECTRONS
from bjerrum.reference.cp2k_input import exchange_range, session_input, single_point_input
from bjerrum.reference.cp2k_settings import PUBLISHED, Cp2kSettings, ExchangeSpec, ScfSpec

WATER = Atoms("OH2", [[3, 3, 3], [3.96, 3, 3], [2.76, 3.93, 3]], cell=[6.0, 6.5, 7.0], pbc=True)
DC = Cp2kSettings()
R2SCAN = Cp2kSettings(method="r2scan")


def licl_box() -> Atoms:
    return ase.io.read(Path(__file__).parent / "data" / "cp2k" / "licl-8-waters.extxyz")


def parse(text: str) -> dict:
    """Read an input back, naively: {section: [sections]}, keywords as lists of texts."""
    root: dict = {}
    stack = [("", root)]
    for line in text.splitlines():
        words = line.split(maxsplit=1)
        rest = words[1] if len(words) > 1 else ""
        if words[0] == "&END":
            name, _ = stack.pop()
            assert rest == name, f"&END {rest} closes &{name}"
        elif words[0].startswith("&"):
            section: dict = {"_": rest}
            stack[-1][1].setdefault(words[0][1:], []).append(section)
            stack.append((words[0][1:], section))
        else:
            stack[-1][1].setdefault(words[0], []).append(rest)
    assert len(stack) == 1, f"open sections: {stack[1:]}"
    return root


def section(text: str, *path: str) -> dict:
    found = parse(text)
    for name in path:
        assert len(found[name]) == 1, name
        found = found[name][0]
    return found


DFT = ("FORCE_EVAL", "DFT")


def test_density_correction_evaluates_r2scan_on_the_hartree_fock_density():
    text = single_point_input(WATER, DC)
    dft = section(text, *DFT)
    assert section(text, *DFT, "XC", "XC_FUNCTIONAL")["_"] == "NONE"
    assert section(text, *DFT, "XC", "HF")["FRACTION"] == ["1"]
    correction = section(text, *DFT, "ENERGY_CORRECTION")
    assert correction["ENERGY_FUNCTIONAL"] == ["DCDFT"]
    functional = section(text, *DFT, "ENERGY_CORRECTION", "XC", "XC_FUNCTIONAL")
    assert set(functional) == {"_", "MGGA_X_R2SCAN", "MGGA_C_R2SCAN"}
    assert "HF" not in correction["XC"][0]
    assert "AUXILIARY_DENSITY_MATRIX_METHOD" in dft
    assert float(section(text, *DFT, "ENERGY_CORRECTION", "RESPONSE_SOLVER")["EPS"][0]) == (
        DC.response_tolerance
    )


def test_plain_r2scan_has_neither_exact_exchange_nor_correction():
    for text in (single_point_input(WATER, R2SCAN), session_input(WATER, R2SCAN)):
        dft = section(text, *DFT)
        assert "ENERGY_CORRECTION" not in dft
        assert "AUXILIARY_DENSITY_MATRIX_METHOD" not in dft
        assert "HF" not in dft["XC"][0]
        functional = section(text, *DFT, "XC", "XC_FUNCTIONAL")
        assert set(functional) == {"_", "MGGA_X_R2SCAN", "MGGA_C_R2SCAN"}
        assert "AUX_FIT" not in text
        assert "HARRIS" not in text


def test_forces_are_printed_and_the_cell_is_periodic():
    text = single_point_input(WATER, DC)
    assert section(text, "GLOBAL")["RUN_TYPE"] == ["ENERGY_FORCE"]
    assert section(text, "GLOBAL")["PRINT_LEVEL"] == ["MEDIUM"]
    assert section(text, "FORCE_EVAL", "PRINT", "FORCES")["_"] == "ON"
    cell = section(text, "FORCE_EVAL", "SUBSYS", "CELL")
    assert cell["PERIODIC"] == ["XYZ"]
    rows = [[float(x) for x in cell[name][0].split()] for name in "ABC"]
    np.testing.assert_allclose(rows, WATER.cell.array, atol=1e-10)
    assert section(text, *DFT)["CHARGE"] == ["0"]


def test_an_oblique_cell_keeps_its_rows():
    box = Atoms("OH2", WATER.positions, cell=[[6, 0.1, 0], [0.2, 7, 0.3], [0, 0.4, 8]], pbc=True)
    cell = section(single_point_input(box, DC), "FORCE_EVAL", "SUBSYS", "CELL")
    rows = [[float(x) for x in cell[name][0].split()] for name in "ABC"]
    np.testing.assert_allclose(rows, box.cell.array, atol=1e-10)


def test_a_session_leaves_cell_and_positions_to_its_caller():
    text = session_input(WATER, R2SCAN)
    subsystem = section(text, "FORCE_EVAL", "SUBSYS")
    assert set(subsystem) == {"_", "KIND"}
    assert section(text, *DFT, "QS")["EXTRAPOLATION"] == ["ASPC"]
    assert section(text, *DFT, "SCF")["SCF_GUESS"] == ["ATOMIC"]
    assert "WFN_RESTART_FILE_NAME" not in text


@pytest.mark.parametrize("value", [1e-3, 1e-5, 1e-6, 1e-8, 1e-12])
def test_numbers_keep_their_digits(value):
    chosen = Cp2kSettings(
        cutoff_ry=733.25,
        rel_cutoff_ry=43.5,
        n_grids=3,
        eps_default=value,
        response_tolerance=value,
        scf=ScfSpec(tolerance=value, max_steps=41),
        exchange=ExchangeSpec(eps_schwarz=value, memory_mib=123, range_angstrom=2.345678),
    )
    text = single_point_input(WATER, chosen)
    grid = section(text, *DFT, "MGRID")
    assert (float(grid["CUTOFF"][0]), float(grid["REL_CUTOFF"][0])) == (733.25, 43.5)
    assert grid["NGRIDS"] == ["3"]
    scf = section(text, *DFT, "SCF")
    exchange = section(text, *DFT, "XC", "HF")
    assert scf["MAX_SCF"] == ["41"]
    for found in (
        section(text, *DFT, "QS")["EPS_DEFAULT"],
        scf["EPS_SCF"],
        section(text, *DFT, "ENERGY_CORRECTION", "RESPONSE_SOLVER")["EPS"],
        exchange["SCREENING"][0]["EPS_SCHWARZ"],
    ):
        assert float(found[0]) == value
    assert exchange["MEMORY"][0]["MAX_MEMORY"] == ["123"]
    assert float(exchange["INTERACTION_POTENTIAL"][0]["CUTOFF_RADIUS"][0]) == 2.345678


@pytest.mark.parametrize("smoothing", ["none", "nn4", "nn10"])
def test_smoothing_reaches_both_functionals(smoothing):
    chosen = Cp2kSettings(smoothing=smoothing)
    text = single_point_input(WATER, chosen)
    words = {"none": "NONE", "nn4": "NN4", "nn10": "NN10"}
    for path in ((*DFT, "XC"), (*DFT, "ENERGY_CORRECTION", "XC")):
        assert section(text, *path, "XC_GRID")["XC_SMOOTH_RHO"] == [words[smoothing]]


def test_operator_and_admm_correction():
    truncated = section(single_point_input(WATER, DC), *DFT, "XC", "HF", "INTERACTION_POTENTIAL")
    assert truncated["POTENTIAL_TYPE"] == ["TRUNCATED"]
    assert float(truncated["CUTOFF_RADIUS"][0]) == exchange_range(WATER, DC) <= 3.0
    published = single_point_input(WATER, PUBLISHED)
    assert "INTERACTION_POTENTIAL" not in section(published, *DFT, "XC", "HF")
    for text, correction in ((published, "PBEX"), (single_point_input(WATER, DC), "NONE")):
        admm = section(text, *DFT, "AUXILIARY_DENSITY_MATRIX_METHOD")
        assert admm["EXCH_CORRECTION_FUNC"] == [correction]


def test_diagonalisation_or_orbital_transformation():
    diis = section(single_point_input(WATER, DC), *DFT, "SCF")
    assert "DIAGONALIZATION" in diis
    assert "OT" not in diis
    ot = section(single_point_input(WATER, PUBLISHED), *DFT, "SCF")
    assert "OT" in ot
    assert "DIAGONALIZATION" not in ot
    assert int(ot["OUTER_SCF"][0]["MAX_SCF"][0]) * int(ot["MAX_SCF"][0]) == 60


@pytest.mark.parametrize("edge", [5.0, 6.4933, 8.05, 13.87])
def test_the_range_is_at_most_half_of_the_cell(edge):
    box = Atoms("OH2", WATER.positions, cell=[edge] * 3, pbc=True)
    text = single_point_input(box, DC)
    radius = re.search(r"CUTOFF_RADIUS (\S+)", text)
    assert float(radius[1]) <= edge / 2
    wide = Cp2kSettings(exchange=ExchangeSpec(range_angstrom=edge / 2 + 0.01))
    with pytest.raises(InputError, match="half of the shortest cell height"):
        single_point_input(box, wide)


def test_one_kind_per_element():
    text = single_point_input(licl_box(), DC)
    kinds = section(text, "FORCE_EVAL", "SUBSYS")["KIND"]
    assert [kind["_"] for kind in kinds] == ["Cl", "H", "Li", "O"]
    for kind in kinds:
        charge = VALENCE_ELECTRONS[kind["_"]]
        assert kind["POTENTIAL"] == [f"GTH-SCAN-q{charge}"]
        roles = [basis.split()[0] for basis in kind["BASIS_SET"]]
        assert roles == ["ORB", "HARRIS", "AUX_FIT"]
        orbital, harris = (basis.split()[1] for basis in kind["BASIS_SET"][:2])
        assert orbital == harris


def test_an_element_without_a_basis_set_is_named():
    box = Atoms("OH2Xe", [*WATER.positions, [0, 0, 0]], cell=[6.0] * 3, pbc=True)
    with pytest.raises(InputError, match=r"element Xe: expected one of .*no basis set"):
        single_point_input(box, DC)


ALL = list(
    itertools.product(
        ["dc-r2scan", "r2scan"],
        ["none", "nn4", "nn10"],
        ["diis", "ot"],
        ["DZVP-MOLOPT-SR", "DZVP-MOLOPT-SCAN", "TZV2P-MOLOPT-SCAN"],
        ["truncated", "full"],
    )
)


@pytest.mark.parametrize("combination", ALL)
def test_every_combination_is_a_whole_input(combination):
    method, smoothing, scf, basis, operator = combination
    chosen = Cp2kSettings(
        method=method,
        smoothing=smoothing,
        basis=basis,
        scf=ScfSpec(method=scf),
        exchange=ExchangeSpec(operator=operator),
    )
    text = single_point_input(licl_box(), chosen)
    assert set(parse(text)) == {"GLOBAL", "FORCE_EVAL"}
    # keywords, names, numbers: no comment signs, quotes, variables or includes of CP2K's language
    assert re.fullmatch(r"[A-Za-z0-9_&.\- \n]+", text), set(
        re.findall(r"[^A-Za-z0-9_&.\- \n]", text)
    )
    assert text.isascii()


def test_what_a_frame_carries_never_reaches_the_input():
    hostile = WATER.copy()
    hostile.info = {"name": "&END GLOBAL\n@INCLUDE /etc/passwd", "charge": 3}
    hostile.set_tags([7, 8, 9])
    hostile.set_array("label", np.array(["&A", "$B", "!C"]))
    assert single_point_input(hostile, DC) == single_point_input(WATER, DC)


def test_no_setting_is_a_free_text():
    """Texts are literals, so that what reaches the file is one of our own words."""
    for model in (Cp2kSettings, ExchangeSpec, ScfSpec):
        schema = model.model_json_schema()
        for part in (schema, *schema.get("$defs", {}).values()):
            for name, field in part["properties"].items():
                if field.get("type") == "string":
                    assert field.get("enum") or field.get("const"), name
