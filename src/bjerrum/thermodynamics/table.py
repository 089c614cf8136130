"""Read tables of short-range potentials of mean force, with what is known of their errors."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray

DISTANCE: Final = "r_angstrom"
ERROR_SUFFIX: Final = "_standard_error"
ALIGN_LENGTH: Final = 1.0
"""Angstrom at the end of a table that align_tail averages."""
_ALIGN_SPREAD: Final = 0.1
_FADED: Final = 0.5
_OTHER: Final = {";": "semicolons", "\t": "tabs", " ": "spaces"}


@dataclass(frozen=True)
class PmfTable:
    """Columns of one file.

    r       distances, increasing, shape (n,), angstrom
    pairs   w in kT by pair name ("cc" or "Li-Cl"), shape (n,); +inf in the first rows only
    errors  standard error in kT of those pairs that have one
    origin  file or other source, for messages
    """

    r: FloatArray
    pairs: dict[str, FloatArray]
    errors: dict[str, FloatArray] = field(default_factory=dict)
    origin: str = "table"

    def column(self, name: str) -> str:
        """Return a pair's column with the origin, for messages."""
        return f"{self.origin}: w_{name}_kT"

    def with_core(self, cores: Mapping[str, float]) -> PmfTable:
        """Return the table with a wall (inf) below a distance in angstrom, by pair name.

        The two species of a pair may stand in either order.
        """
        cores = {
            _turned(name) if _turned(name) in self.pairs else name: core
            for name, core in cores.items()
        }
        for name, core in cores.items():
            if name not in self.pairs:
                raise InputError(
                    f"no pair '{name}' in {self.origin}; it has {', '.join(self.pairs)}"
                )
            if not self.r[0] <= core < self.r[-1]:
                raise InputError(
                    f"core of {name}: {core:g} angstrom is outside the table "
                    f"({self.r[0]:g} to {self.r[-1]:g})"
                )
        pairs = {
            name: np.where(self.r < cores[name], np.inf, w) if name in cores else w
            for name, w in self.pairs.items()
        }
        return replace(self, pairs=pairs)

    def aligned(self) -> PmfTable:
        """Return the table with the mean of its last angstrom subtracted from each pair.

        For potentials of mean force that are known up to a constant. Raises InputError where the
        tail is not flat within 0.1 kT.
        """
        tail = self.r >= self.r[-1] - ALIGN_LENGTH
        pairs = {}
        for name, w in self.pairs.items():
            spread = float(np.ptp(w[tail]))
            if not spread <= _ALIGN_SPREAD:
                raise InputError(
                    f"{self.column(name)}: the last {ALIGN_LENGTH:g} angstrom vary by {spread:.3g} "
                    f"kT, expected at most {_ALIGN_SPREAD:g}: the table is too short to be aligned"
                )
            pairs[name] = w - float(w[tail].mean())
        return replace(self, pairs=pairs)

    def shifted(self, name: str, shift: FloatArray) -> PmfTable:
        """Return the table with ``shift`` (kT, shape (n,)) added to one pair.

        At the end of the table, where w is zero by definition, the shift goes to zero too.
        """
        fade = np.clip((self.r[-1] - _FADED - self.r) / ALIGN_LENGTH, 0.0, 1.0)
        return replace(self, pairs={**self.pairs, name: self.pairs[name] + fade * shift})


def column_names(labels: tuple[str, ...]) -> dict[str, str]:
    """Return the accepted column of each pair: w_Li-Cl_kT, and w_ca_kT for one-letter labels."""
    joint = "" if all(len(label) == 1 for label in labels) else "-"
    return {
        f"{a}{joint}{b}": f"w_{a}{joint}{b}_kT" for i, a in enumerate(labels) for b in labels[i:]
    }


def read_pmf_table(path: Path, labels: tuple[str, ...] = ("c", "a")) -> PmfTable:
    """Read a CSV file with columns r_angstrom and w_XY_kT for every pair XY of ``labels``.

    Columns w_XY_kT_standard_error are read where present; lines that start with # are skipped.
    Raises InputError for a missing file or column, a cell that is no number, distances that do
    not increase, or infinite values outside the core.
    """
    header, rows, lines = _read_rows(path)
    wanted = column_names(labels)
    found = {name: _find_column(header, name, column) for name, column in wanted.items()}
    missing = [wanted[name] for name, column in found.items() if column is None]
    if DISTANCE not in header:
        missing.insert(0, DISTANCE)
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(header)}; expected "
            f"{', '.join([DISTANCE, *wanted.values()])}"
        )
    used = {DISTANCE: DISTANCE, **{name: str(column) for name, column in found.items()}}
    errors = {
        name: f"{column}{ERROR_SUFFIX}"
        for name, column in used.items()
        if f"{column}{ERROR_SUFFIX}" in header
    }
    _refuse_unknown(path, header, {*used.values(), *errors.values()})
    columns = {
        column: _numbers(path, header.index(column), column, rows, lines)
        for column in (*used.values(), *errors.values())
    }
    keep = columns[DISTANCE] > 0
    _check_distances(path, columns[DISTANCE], lines)
    pairs = {name: columns[column][keep] for name, column in used.items() if name != DISTANCE}
    r = columns[DISTANCE][keep]
    table = PmfTable(r, pairs, {n: columns[c][keep] for n, c in errors.items()}, str(path))
    _check_values(table)
    return table


def _read_rows(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give a CSV table") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file; give a CSV table") from error
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if len(numbered) < 2:
        raise InputError(f"{path}: expected a header line and rows of numbers, found none")
    cells = list(csv.reader([line for _, line in numbered]))
    header = [cell.strip() for cell in cells[0]]
    other = next((name for sign, name in _OTHER.items() if sign in cells[0][0]), None)
    if len(header) == 1 and other is not None:
        raise InputError(f"{path}: cells are separated by {other}, expected commas")
    lines = [number for number, _ in numbered[1:]]
    for number, row in zip(lines, cells[1:], strict=True):
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(row)} cells, the header has {len(header)}"
            )
    return header, cells[1:], lines


def _find_column(header: list[str], name: str, column: str) -> str | None:
    """Return the header's spelling of a pair: either order of the two species."""
    turned = f"w_{_turned(name)}_kT"
    return next((candidate for candidate in (column, turned) if candidate in header), None)


def _turned(name: str) -> str:
    return "-".join(reversed(name.split("-"))) if "-" in name else name[::-1]


def _refuse_unknown(path: Path, header: list[str], used: set[str]) -> None:
    unknown = [name for name in header if name.startswith("w_") and name not in used]
    if unknown:
        raise InputError(f"{path}: unknown column {', '.join(unknown)}; remove or rename it")
    if len(set(header)) < len(header):
        raise InputError(f"{path}: a column name appears twice: {', '.join(header)}")


def _numbers(
    path: Path, index: int, column: str, rows: list[list[str]], lines: list[int]
) -> FloatArray:
    values = np.empty(len(rows))
    for i, (row, line) in enumerate(zip(rows, lines, strict=True)):
        try:
            values[i] = float(row[index])
        except ValueError:
            values[i] = math.nan
        if math.isnan(values[i]):
            raise InputError(
                f"{path}, line {line}: {column} is '{row[index].strip()}', expected a number"
            )
    return values


def _check_distances(path: Path, r: FloatArray, lines: list[int]) -> None:
    if not np.all(np.isfinite(r)) or r[0] < 0:
        raise InputError(f"{path}: {DISTANCE} must be finite and not negative")
    wrong = np.flatnonzero(np.diff(r) <= 0)
    if len(wrong):
        raise InputError(
            f"{path}, line {lines[int(wrong[0]) + 1]}: {DISTANCE} must increase from row to row"
        )


def _check_values(table: PmfTable) -> None:
    for name, w in table.pairs.items():
        if np.any(np.isneginf(w)):
            at = float(table.r[np.argmax(np.isneginf(w))])
            raise InputError(f"{table.column(name)}: -inf at {at:g} angstrom: a bound state")
        infinite = np.isposinf(w)
        if infinite.all():
            raise InputError(f"{table.column(name)}: every row is inf; nothing is left to solve")
        first = int(np.argmin(infinite))
        later = np.flatnonzero(infinite[first:])
        if len(later):
            raise InputError(
                f"{table.column(name)}: inf at {table.r[first + later[0]]:g} angstrom, outside the "
                "core; only the first rows may be inf"
            )
    for name, error in table.errors.items():
        used = error[np.isfinite(table.pairs[name])]
        if not np.all((used >= 0) & np.isfinite(used)):
            raise InputError(
                f"{table.column(name)}{ERROR_SUFFIX}: a standard error must be finite and not "
                "negative"
            )
