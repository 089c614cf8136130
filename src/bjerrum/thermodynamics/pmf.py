"""Pair potentials of mean force: a table, made explicit at both ends.

A table holds the short-range part w(r) of each pair in kT, without the screened Coulomb part
z_i z_j l_B/r, at infinite dilution. Towards r = 0 a wall stands where data end or cease to matter;
beyond the last row w is zero, so that the full potential of mean force is the screened Coulomb law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.interpolate import CubicSpline

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.thermodynamics.table import PmfTable

WALL: Final = 40.0
"""kT: the wall stands where the full potential of mean force, from outside, first exceeds this
(Boltzmann factor 4e-18)."""
CORE: Final = 5.0
"""kT that the first row must reach (Boltzmann factor 0.7 %) for the table to begin in the core."""
TAIL: Final = 0.05
"""kT: the short-range part must be this close to zero at the end of the table."""
TAIL_LENGTH: Final = 0.5
"""Angstrom at the end of a table over which the tail is averaged."""
COARSEST: Final = 0.25
"""Angstrom between rows. LiCl: 0.2 changes d ln a/d ln c at 2.5 mol/L by 2e-4, 0.5 by 3 %."""
DEEPEST: Final = 20.0
"""kT: ions in a deeper well never part (association constant above 1e9 L/mol); they are one ion."""
_STEEP: Final = 10.0
"""kT between two rows: where it ends a core, the core may be a hard one of finite numbers."""
_RINGING: Final = 1.0
"""kT by which a spline may fall below the rows on both sides."""
_FELT: Final = 10.0
_FLAT: Final = 1e-3
_FEWEST: Final = 4


@dataclass(frozen=True)
class PairPmf:
    """Short-range potential of mean force of one pair, ready to be integrated.

    r, w   rows outside the wall, angstrom and kT
    wall   angstrom: w is infinite below; above, a cubic spline through the rows
    """

    r: FloatArray
    w: FloatArray
    wall: float

    @property
    def end(self) -> float:
        """Angstrom: w is zero beyond."""
        return float(self.r[-1])

    @cached_property
    def _spline(self) -> CubicSpline:
        return CubicSpline(self.r, self.w)

    def value(self, r: FloatArray) -> FloatArray:
        """Return w in kT: infinite inside the wall, zero beyond the table."""
        inside = np.clip(r, self.r[0], self.end)
        w = np.where(r > self.end, 0.0, self._spline(inside))
        return np.where(r < self.wall, np.inf, w)

    def slope(self, r: FloatArray) -> FloatArray:
        """Return dw/dr in kT/angstrom between the wall and the end; zero elsewhere."""
        between = (r >= self.wall) & (r <= self.end)
        return np.where(between, self._spline(np.clip(r, self.r[0], self.end), 1), 0.0)

    @property
    def steps(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Distance and height of the two steps of exp(-w): at the wall and at the table's end."""
        at_wall, at_end = math.exp(-float(self.w[0])), math.exp(-float(self.w[-1]))
        return (self.wall, at_wall), (self.end, 1.0 - at_end)

    @property
    def diameter(self) -> float:
        """Barker-Henderson diameter, angstrom.

        d = int_0^s (1 - exp(-w)) dr, s where w first falls to zero; the wall of a hard sphere
        (Barker & Henderson, J. Chem. Phys. 47, 4714 (1967)).
        """
        below = np.flatnonzero(self.w <= 0)
        last = int(below[0]) if len(below) else len(self.r) - 1
        if last == 0:
            return self.wall
        fine = np.linspace(self.wall, self.r[last], 2001)
        return self.wall + float(
            np.trapezoid(1.0 - np.exp(-np.maximum(self._spline(fine), 0)), fine)
        )


def pair_pmf(table: PmfTable, name: str, coulomb: float) -> PairPmf:
    """Return one pair of a table with its wall and tail, after checking that it can be used.

    coulomb  z_i z_j l_B in angstrom
    Raises InputError, which names the distance, for a table that falls to minus infinity (a bound
    state), does not begin in the core, is too coarse or too short.
    """
    start, column = wall_row(table, name, coulomb), table.column(name)
    r = table.r[start:]
    w = np.minimum(table.pairs[name][start:], 2 * WALL + abs(coulomb) / r[0])
    _require_rows(r, column)
    step = _end_of_step(r, w)
    r, w = r[step:], w[step:]
    _require_fine(r, w, column)
    _require_tail(r, w, column)
    _require_smooth(r, w, column)
    _require_shallow(r, w + coulomb / r, column)
    return PairPmf(r, w, float(r[0]))


def _end_of_step(r: FloatArray, w: FloatArray) -> int:
    """Return the row where a hard core of large finite numbers ends; 0 where there is none.

    A first row belongs to such a core where w falls from it by more than 10 kT in one row and the
    spline through it differs, further out, from the spline without it.
    """
    row = 0
    while len(r) - row > _FEWEST + 1 and w[row] - w[row + 1] > _STEEP:
        x = np.linspace(r[row + 1], r[row + 3], 21)
        without = CubicSpline(r[row + 1 :], w[row + 1 :])(x)
        change = np.abs(CubicSpline(r[row:], w[row:])(x) - without)
        if not np.any(change[without < _FELT] > _RINGING / 4):
            break
        row += 1
    return row


def wall_row(table: PmfTable, name: str, coulomb: float) -> int:
    """Return the row where the wall stands: the first that is used.

    Raises InputError for a bound state and for a table that does not begin in the core.
    """
    r, w, column = table.r, table.pairs[name], table.column(name)
    finite = np.isfinite(w)
    first = int(np.argmax(finite))
    if abs(w[-1]) > CORE:
        _require_tail(r, w, column)
    full = np.where(finite, w, 0.0) + coulomb / r
    if first == 0:
        _require_core(r, full, column)
    above = np.flatnonzero(full[first:] >= WALL)
    start = first + (int(above[-1]) if len(above) else 0)
    _require_no_bound_state(r[first:start], full[first:start], column)
    return start


def _require_core(r: FloatArray, full: FloatArray, column: str) -> None:
    if full[0] >= CORE:
        return
    rising = np.flatnonzero(np.diff(full) <= 0)
    top = int(rising[0]) if len(rising) else len(full) - 1
    if top > 0 and full[0] < min(-CORE, full[top] - CORE):
        raise _bound_state(column, float(r[top]), float(full[0]), float(r[0]))
    raise InputError(
        f"{column}: the table starts at {r[0]:g} angstrom with a full potential of mean force of "
        f"{full[0]:.2f} kT, outside the repulsive core (expected at least {CORE:g} kT); start it "
        "closer in, or add a row of inf where ions never come"
    )


def _require_no_bound_state(r: FloatArray, full: FloatArray, column: str) -> None:
    """Refuse a core, inside the last crossing of WALL, that turns attractive again."""
    low = np.flatnonzero(full < CORE)
    if len(low):
        raise _bound_state(column, float(r[low[-1]]), float(full.min()), float(r[full.argmin()]))


def _bound_state(column: str, below: float, lowest: float, at: float) -> InputError:
    return InputError(
        f"{column}: below {below:g} angstrom the full potential of mean force (with z z l_B/r) "
        f"falls instead of rising, to {lowest:.4g} kT at {at:g} angstrom: a bound state; set "
        "those rows to inf, or give the distance of the repulsive wall with --core"
    )


def _require_rows(r: FloatArray, column: str) -> None:
    if len(r) < _FEWEST:
        raise InputError(
            f"{column}: only {len(r)} rows lie outside the core, expected at least {_FEWEST}; "
            "extend the table"
        )


def _require_smooth(r: FloatArray, w: FloatArray, column: str) -> None:
    """Refuse a step inside the table: a cubic spline would swing below the rows beside it."""
    x = r[:-1, None] + np.diff(r)[:, None] * np.linspace(0, 1, 9)[None, 1:-1]
    below = np.minimum(w[:-1], w[1:])
    swing = below - CubicSpline(r, w)(x).min(axis=1)
    worst = int(np.argmax(np.where(below < _FELT, swing, 0.0)))
    if swing[worst] > _RINGING and below[worst] < _FELT:
        raise InputError(
            f"{column}: w jumps near {r[worst]:g} angstrom, too steeply for a curve through the "
            "rows; give more rows there, or inf where ions never come"
        )


def _require_shallow(r: FloatArray, full: FloatArray, column: str) -> None:
    lowest = int(np.argmin(full))
    if full[lowest] < -DEEPEST:
        raise InputError(
            f"{column}: the full potential of mean force (with z z l_B/r) has a well of "
            f"{full[lowest]:.4g} kT at {r[lowest]:g} angstrom: a bound state (expected at least "
            f"{-DEEPEST:g} kT); check the units, or treat the pair as one ion"
        )


def _require_fine(r: FloatArray, w: FloatArray, column: str) -> None:
    spacing = np.diff(r)
    used = (np.abs(w[1:]) > _FLAT) | (np.abs(w[:-1]) > _FLAT)
    used[0] = True
    coarse = np.flatnonzero(used & (spacing > COARSEST * (1 + 1e-6)))
    if len(coarse):
        raise InputError(
            f"{column}: the table is too coarse: {spacing[coarse[0]]:.3g} angstrom between rows at "
            f"{r[coarse[0]]:g} angstrom, expected at most {COARSEST:g}; give more rows"
        )


def _require_tail(r: FloatArray, w: FloatArray, column: str) -> None:
    tail = w[r >= r[-1] - TAIL_LENGTH]
    worst = max(abs(float(tail.mean())), abs(float(w[-1])))
    if worst > TAIL:
        raise InputError(
            f"{column}: the table is too short: w is still {worst:.3g} kT in its last "
            f"{TAIL_LENGTH:g} angstrom (to {r[-1]:g}), expected at most {TAIL:g}; extend it to "
            "where only the screened Coulomb law is left, or subtract a constant with --align-tail"
        )
