"""Basis sets and pseudopotentials: all that the issue's elements need exists, or its lack is named.

The sets are looked up in CP2K's own data files, read here by another reader than the library's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from ase.data import atomic_numbers

from bjerrum.errors import ExternalError, InputError
from bjerrum.reference.cp2k_elements import (
    BASIS_FILES,
    POTENTIAL_FILE,
    VALENCE_ELECTRONS,
    BasisName,
    check_elements,
    data_folder,
    kind_of,
)

ELEMENTS = ("H", "O", "Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "F", "Cl", "Br", "I")
BASES = get_args(BasisName)
CLOSED_SHELLS = {0, 2, 10, 18, 28, 36, 46, 54}


@pytest.fixture(scope="module")
def installed() -> Path:
    try:
        return data_folder()
    except ExternalError as error:
        pytest.skip(f"CP2K's data files are not installed: {error}")


def names(folder: Path, files: tuple[str, ...], element: str) -> set[str]:
    """Return the names on the headers of an element's sets: " Li  NAME  OTHER-NAME"."""
    found: set[str] = set()
    for file in files:
        path = folder / file
        if path.is_file():
            text = path.read_text(errors="replace")
            for header in re.findall(rf"^ *{element} +([A-Za-z].*)$", text, re.MULTILINE):
                found.update(header.split("#")[0].split())
    return found


def valence_electrons(folder: Path, element: str, name: str) -> int:
    """Return the sum of the line below a pseudopotential's header: electrons per shell."""
    text = (folder / POTENTIAL_FILE).read_text()
    line = re.search(rf"^ *{element} +.*(?<!\S){re.escape(name)}(?!\S).*\n +([\d ]+)", text, re.M)
    return sum(int(n) for n in line[1].split())


def test_the_elements_are_those_that_are_promised():
    assert set(VALENCE_ELECTRONS) == set(ELEMENTS)


@pytest.mark.parametrize("element", ELEMENTS)
def test_cores_are_closed_shells(element):
    assert atomic_numbers[element] - VALENCE_ELECTRONS[element] in CLOSED_SHELLS


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("element", ELEMENTS)
def test_every_set_is_installed(installed, element, basis):
    kind = kind_of(element, basis)
    sets = names(installed, BASIS_FILES, element)
    assert kind.orbital_basis in sets
    assert kind.auxiliary_basis in sets
    assert kind.potential in names(installed, (POTENTIAL_FILE,), element)
    assert valence_electrons(installed, element, kind.potential) == kind.valence_electrons


@pytest.mark.parametrize("basis", BASES)
def test_the_check_agrees(installed, basis):
    check_elements(ELEMENTS, basis)


def test_an_unknown_element_is_named_with_the_known_ones():
    with pytest.raises(InputError, match="element Xe: expected one of Br, Ca, Cl, Cs, F, H, I"):
        kind_of("Xe", "DZVP-MOLOPT-SR")
    with pytest.raises(InputError, match="element X: "):
        kind_of("X", "DZVP-MOLOPT-SR")


def write_data(folder: Path, *, without: str = "") -> Path:
    """Write data files with sets of H and O but one."""
    folder.mkdir()
    sets = {
        POTENTIAL_FILE: ["H GTH-SCAN-q1", "O GTH-SCAN-q6"],
        "BASIS_MOLOPT": ["H  DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q1", "O  DZVP-MOLOPT-SR-GTH"],
        "BASIS_ADMM": ["H cFIT3", "O cFIT3"],
    }
    for name, headers in sets.items():
        kept = [h for h in headers if not without or without not in f"{name} {h}"]
        (folder / name).write_text("# a comment\n" + "\n  1\n".join([*kept, ""]))
    return folder


@pytest.mark.parametrize(
    ("without", "element", "missing"),
    [
        ("BASIS_MOLOPT O", "O", "DZVP-MOLOPT-SR-GTH"),
        ("BASIS_ADMM H", "H", "cFIT3"),
        (f"{POTENTIAL_FILE} O", "O", "GTH-SCAN-q6"),
    ],
)
def test_a_missing_set_is_named(tmp_path, monkeypatch, without, element, missing):
    folder = write_data(tmp_path / "data", without=without)
    monkeypatch.setenv("CP2K_DATA_DIR", str(folder))
    with pytest.raises(InputError) as error:
        check_elements("HHO", "DZVP-MOLOPT-SR")
    message = str(error.value)
    assert message.startswith(f"element {element}: expected the set {missing} in ")
    assert "apt-get install cp2k cp2k-data" in message
    assert "\n" not in message


def test_whole_data_pass(tmp_path, monkeypatch):
    monkeypatch.setenv("CP2K_DATA_DIR", str(write_data(tmp_path / "data")))
    check_elements("HHO", "DZVP-MOLOPT-SR")
    with pytest.raises(InputError, match="element O: expected the set TZV2P-MOLOPT-SCAN-GTH-q6"):
        check_elements("O", "TZV2P-MOLOPT-SCAN")


def test_no_data_files_at_all_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("CP2K_DATA_DIR", str(tmp_path))
    with pytest.raises(
        ExternalError, match=r"install them .apt-get install cp2k cp2k-data. or set"
    ):
        data_folder()
