"""What a CP2K output says: a pure function from its text to a label.

Two totals stand in the output of a density-corrected calculation: "Total energy:" is that of the
Hartree-Fock SCF, "Etotal Energy Functional" the density-corrected one, which is the label. CP2K
prints hartree and hartree/bohr with its own CODATA 2006 constants, of which the conversion here
needs only the two that turn them into eV and angstrom.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms

from bjerrum.estimate import FloatArray
from bjerrum.reference.cp2k_settings import Method
from bjerrum.reference.label import Label, LabelStatus
from bjerrum.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

_NUMBER: Final = r"(-?\d+\.\d+(?:E[+-]?\d+)?)"
_ENERGY: Final[dict[Method, re.Pattern[str]]] = {
    "dc-r2scan": re.compile(rf"^ *Etotal Energy Functional +{_NUMBER}", re.MULTILINE),
    "r2scan": re.compile(rf"^ ENERGY\| Total FORCE_EVAL .* energy \[.*\]:? +{_NUMBER}", re.M),
}
_FORCES: Final = re.compile(
    r"^ ATOMIC FORCES in \[a\.u\.\]\n+.*\n((?: +\d+ +\d+ +[A-Z][a-z]? .*\n)+)"
    r"|^ FORCES\| Atomic forces \[(?:a\.u\.|hartree/bohr)\]\n.*\n((?: FORCES\| +\d+ .*\n)+)",
    re.MULTILINE,
)
"""The second form is that of 2024 and later."""
_POSITIONS: Final = re.compile(
    r"MODULE QUICKSTEP: +ATOMIC COORDINATES IN ANGSTROM\n\n.*\n\n?"
    r"((?: +\d+ +\d+ +[A-Z][a-z]? .*\n)+)"
)
_FAILED_SCF: Final = re.compile(r"SCF run NOT converged|\*\*\* WARNING.*SCF.*not converged", re.I)
_CONVERGED_SCF: Final = "SCF run converged in"
_CONVERGED_RESPONSE: Final = "linear solver converged in"
_FAILED_RESPONSE: Final = re.compile(
    r"linear solver (?:did not converge|didn't converge|(?:has )?not converged)", re.IGNORECASE
)
_ABORT: Final = re.compile(r"\[ABORT\](.*?)\n *(?:=====|\*{20})", re.DOTALL)
_FINISHED: Final = "PROGRAM ENDED AT"
_POSITION_TOLERANCE_ANGSTROM: Final = 2e-5


@dataclass(frozen=True)
class Cost:
    """What a calculation took. grid is the number of points of the finest grid, shape (3,)."""

    version: str | None
    scf_steps: int
    response_steps: int
    grid: tuple[int, ...]


def parse_label(text: str, atoms: Atoms, method: Method) -> Label:
    """Return the label that an output holds, or why it holds none.

    text   CP2K's output, complete or not
    atoms  the configuration that was asked for; elements, order and positions are compared
    """
    abort = _ABORT.search(text)
    if abort:
        return Label(_status_of_abort(abort[1]), reason=_one_line(abort[1]))
    if _FAILED_SCF.search(text):
        return Label(LabelStatus.SCF_NOT_CONVERGED, reason=f"after {_scf_steps(text)} steps")
    if _FAILED_RESPONSE.search(text):
        return Label(LabelStatus.RESPONSE_NOT_CONVERGED, reason="in the response equation")
    if _FINISHED not in text:
        return Label(LabelStatus.TRUNCATED, reason=f"the output stops after {len(text)} characters")
    unproven = _unproven(text, method)
    if unproven:
        return unproven
    mismatch = _mismatch(text, atoms)
    if mismatch:
        return Label(LabelStatus.GEOMETRY_MISMATCH, reason=mismatch)
    energies = _ENERGY[method].findall(text)
    blocks = [older or newer for older, newer in _FORCES.findall(text)]
    if not energies or len(blocks) != 1:
        return Label(
            LabelStatus.TRUNCATED,
            reason=f"{len(energies)} energies and {len(blocks)} blocks of forces in the output",
        )
    forces = _table(blocks[0])
    if len(forces) != len(atoms) or not np.isfinite(forces).all():
        return Label(LabelStatus.TRUNCATED, reason=f"{len(forces)} forces of {len(atoms)} atoms")
    return Label(
        LabelStatus.CONVERGED,
        energy=float(energies[-1]) * HARTREE_IN_EV,
        forces=forces * (HARTREE_IN_EV / BOHR_IN_ANGSTROM),
    )


def _unproven(text: str, method: Method) -> Label | None:
    """Return a failed label if a finished output does not say in words that it converged."""
    if _CONVERGED_SCF not in text:
        return Label(LabelStatus.SCF_NOT_CONVERGED, reason="no word of a converged SCF run")
    if method == "dc-r2scan" and _CONVERGED_RESPONSE not in text:
        reason = "no word of a converged response equation"
        return Label(LabelStatus.RESPONSE_NOT_CONVERGED, reason=reason)
    return None


def parse_cost(text: str) -> Cost:
    """Return version, steps and grid that an output tells; zeros and None where it does not."""
    version = re.search(r"CP2K version (\d+\.\d+)", text)
    response = re.search(r"linear solver converged in +(\d+) iterations", text)
    points = re.findall(r"PW_GRID\| +Bounds +[123] .*Points: +(\d+)", text)
    return Cost(
        version=version[1] if version else None,
        scf_steps=_scf_steps(text),
        response_steps=int(response[1]) if response else 0,
        grid=tuple(int(n) for n in points[:3]),
    )


def _scf_steps(text: str) -> int:
    return len(re.findall(r"^ +\d+ (?:OT|P_Mix/Diag\.|DIIS/Diag\.|Broy\./Diag\.) ", text, re.M))


def _status_of_abort(message: str) -> LabelStatus:
    """Tell the aborts that mean "did not converge" from all others."""
    words = _one_line(message).lower()
    if "scf" in words and "not converged" in words:
        return LabelStatus.SCF_NOT_CONVERGED
    if "linear solver" in words or "response" in words:
        return LabelStatus.RESPONSE_NOT_CONVERGED
    return LabelStatus.CRASHED


def _one_line(message: str) -> str:
    """Return the words of CP2K's framed message without its drawing."""
    lines = [line.strip(" *") for line in message.splitlines()]
    drawing = r"^(?:\\___/|\||O/\||/\| \||/ \\|/\s+\\|___)\s*"
    return " ".join(filter(None, (re.sub(drawing, "", line).strip() for line in lines)))


def _mismatch(text: str, atoms: Atoms) -> str:
    found = _POSITIONS.search(text)
    if not found:
        return "the output names no positions"
    rows = [line.split() for line in found[1].splitlines()]
    elements = [row[2] for row in rows]
    if elements != atoms.get_chemical_symbols():
        return f"expected {atoms.get_chemical_formula()}, the output is of other atoms"
    positions = np.array([_vector(row[4:7]) for row in rows])
    apart = float(np.abs(positions - atoms.positions).max())
    if not apart < _POSITION_TOLERANCE_ANGSTROM:
        return f"the positions in the output differ by up to {apart:.2g} angstrom"
    return ""


def _table(block: str) -> FloatArray:
    rows = [line.split() for line in block.splitlines()]
    return np.array([_vector(row[2:5] if row[0] == "FORCES|" else row[3:6]) for row in rows])


def _vector(words: list[str]) -> list[float]:
    """Return three numbers; NaN instead of Fortran's asterisks and the like."""
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    return numbers if len(numbers) == 3 else [float("nan")] * 3
