"""Pseudopotentials and basis sets for CP2K: which sets an element needs, and whether they exist.

Goedecker-Teter-Hutter pseudopotentials made for SCAN (Hutter, POTENTIAL_UZH of CP2K's data
folder), MOLOPT basis sets (VandeVondele & Hutter, J. Chem. Phys. 127, 114105 (2007); the
SCAN-optimised family is in BASIS_MOLOPT_UZH), and auxiliary sets for exchange by the auxiliary
density matrix method, ADMM (Guidon, Hutter & VandeVondele, J. Chem. Theory Comput. 6, 2348 (2010)).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from bjerrum.errors import ExternalError, InputError

INSTALL: Final = "apt-get install cp2k cp2k-data"
DATA_FOLDER_VARIABLE: Final = "CP2K_DATA_DIR"
_DATA_FOLDERS: Final = ("/usr/share/cp2k", "/usr/local/share/cp2k/data")

VALENCE_ELECTRONS: Final = {
    **dict.fromkeys(("H",), 1),
    **dict.fromkeys(("Li",), 3),
    **dict.fromkeys(("O",), 6),
    **dict.fromkeys(("F", "Cl", "Br", "I"), 7),
    **dict.fromkeys(("Na", "K", "Rb", "Cs"), 9),
    **dict.fromkeys(("Mg", "Ca"), 10),
}
"""Electrons outside of the pseudopotential: the semicore shell is explicit for the metals."""

BasisName = Literal["DZVP-MOLOPT-SR", "DZVP-MOLOPT-SCAN", "TZV2P-MOLOPT-SCAN"]
"""The first is that of the published labels (arXiv:2310.12535)."""

BASIS_FILES: Final = ("BASIS_MOLOPT", "BASIS_MOLOPT_UZH", "BASIS_ADMM", "BASIS_ADMM_MOLOPT")
POTENTIAL_FILE: Final = "POTENTIAL_UZH"

_PUBLISHED_AUXILIARY: Final = {
    **dict.fromkeys(("H", "Li", "O", "F", "Na", "Mg", "Cl", "Br"), "cFIT3"),
    **dict.fromkeys(("K", "Rb", "Cs", "Ca"), "cFIT7"),
    "I": "cFIT6",
}


@dataclass(frozen=True)
class Kind:
    """What CP2K needs to know of an element; names as in its data files."""

    element: str
    orbital_basis: str
    auxiliary_basis: str
    potential: str
    valence_electrons: int


def kind_of(element: str, basis: BasisName) -> Kind:
    """Return the sets of an element.

    Raises InputError for an element that has none here.
    """
    electrons = VALENCE_ELECTRONS.get(element)
    if electrons is None:
        raise InputError(
            f"element {element}: expected one of {', '.join(sorted(VALENCE_ELECTRONS))}; no basis "
            f"set and pseudopotential are known for it"
        )
    orbital = f"{basis}-GTH" + ("" if basis == "DZVP-MOLOPT-SR" else f"-q{electrons}")
    return Kind(
        element=element,
        orbital_basis=orbital,
        auxiliary_basis=_PUBLISHED_AUXILIARY[element],
        potential=f"GTH-SCAN-q{electrons}",
        valence_electrons=electrons,
    )


def data_folder() -> Path:
    """Return the folder of CP2K's basis sets: CP2K_DATA_DIR, else where Debian puts it.

    Raises ExternalError if there is none.
    """
    named = os.environ.get(DATA_FOLDER_VARIABLE)
    for folder in (named,) if named else _DATA_FOLDERS:
        if (Path(folder) / POTENTIAL_FILE).is_file():
            return Path(folder)
    raise ExternalError(
        f"{named or ' or '.join(_DATA_FOLDERS)}: expected CP2K's data files ({POTENTIAL_FILE}), "
        f"found none; install them ({INSTALL}) or set {DATA_FOLDER_VARIABLE}"
    )


def check_elements(elements: Iterable[str], basis: BasisName) -> None:
    """Raise InputError, naming element and set, if the installed data files lack one."""
    folder = data_folder()
    for element in sorted(set(elements)):
        kind = kind_of(element, basis)
        needed = (
            (kind.orbital_basis, BASIS_FILES),
            (kind.auxiliary_basis, BASIS_FILES),
            (kind.potential, (POTENTIAL_FILE,)),
        )
        for name, files in needed:
            if not any((element, name) in _names_in(folder / file) for file in files):
                raise InputError(
                    f"element {element}: expected the set {name} in {', '.join(files)} of "
                    f"{folder}, found none; install newer CP2K data files ({INSTALL})"
                )


@cache
def _names_in(path: Path) -> frozenset[tuple[str, str]]:
    """Return (element, name) of every set that a data file holds."""
    if not path.is_file():
        return frozenset()
    found: set[tuple[str, str]] = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) > 1 and re.fullmatch("[A-Z][a-z]?", words[0]):
            found.update((words[0], name) for name in words[1:])
    return frozenset(found)
