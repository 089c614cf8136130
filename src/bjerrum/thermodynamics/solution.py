"""Answers for a solution: McMillan-Mayer and Lewis-Randall side by side, with error bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.thermodynamics.conversions import (
    Volumes,
    constant_volumes,
    derivative_lewis_randall,
    log_gamma_lewis_randall,
    osmotic_lewis_randall,
    volumes,
)
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.series import Point, solve_series
from bjerrum.thermodynamics.table import PmfTable

QUANTITIES: Final = (
    "osmotic_coefficient_mm",
    "osmotic_coefficient_lr",
    "ln_y_mm",
    "ln_gamma_lr",
    "dlna_dlnc_mm",
    "dlna_dlnc_lr",
)
"""Of a SolutionPoint: what error bars are given for."""


@dataclass(frozen=True, kw_only=True)
class SolutionPoint:
    """One concentration; keys as ``bjerrum solve --json`` prints them.

    mm  at the chemical potential of pure water (McMillan-Mayer); ln_y_mm on the molarity scale
    lr  at 1 bar (Lewis-Randall), gamma on the molality scale; None without a density
    theory_error    difference between the routes of the theory, by quantity
    standard_error  what the uncertainty of the potentials of mean force makes of each quantity
    """

    concentration_mol_per_L: float  # noqa: N815
    molality_mol_per_kg: float | None
    osmotic_coefficient_mm: float
    osmotic_coefficient_lr: float | None
    ln_y_mm: float
    ln_gamma_lr: float | None
    dlna_dlnc_mm: float
    dlna_dlnc_lr: float | None
    residual: float
    theory_error: dict[str, float] | None = None
    standard_error: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data: every key above, None where there is nothing."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def error(self, quantity: str) -> float | None:
        """Return the error bar of a quantity: the theory's and the potentials', added in squares.

        None where neither is known.
        """
        found = [
            errors.get(quantity) for errors in (self.theory_error, self.standard_error) if errors
        ]
        known = [error for error in found if error is not None]
        return math.hypot(*known) if known else None


def solution_point(
    point: Point, salt: str | None, temperature: float, *, salt_volume: float | None = None
) -> SolutionPoint:
    """Return a solved point with its conversion to constant pressure.

    salt         whose density is taken; None, or a concentration without a published density,
                 leaves the molality and the Lewis-Randall values empty
    salt_volume  L/mol of formula units: a constant partial molar volume instead of a density
    """
    phi, ln_y, a = point.osmotic_coefficient, point.ln_y, point.dlna_dlnc
    molality = phi_lr = ln_gamma = a_lr = None
    scale = 1.0
    if point.molarity == 0:
        molality, phi_lr, ln_gamma, a_lr = 0.0, 1.0, 0.0, 1.0
    elif (v := _volumes(point.molarity, salt, temperature, salt_volume)) is not None:
        molality = v.molality
        scale = 1 - v.molarity * v.salt_volume
        phi_lr = float(osmotic_lewis_randall(phi, v))
        ln_gamma = float(log_gamma_lewis_randall(ln_y, phi, v))
        a_lr = float(derivative_lewis_randall(a, phi, v))
    return SolutionPoint(
        concentration_mol_per_L=point.molarity,
        molality_mol_per_kg=molality,
        osmotic_coefficient_mm=float(phi),
        osmotic_coefficient_lr=phi_lr,
        ln_y_mm=float(ln_y),
        ln_gamma_lr=ln_gamma,
        dlna_dlnc_mm=float(a),
        dlna_dlnc_lr=a_lr,
        residual=float(point.residual),
        theory_error=_theory_error(point, scale, phi_lr),
    )


def _volumes(
    molarity: float, salt: str | None, temperature: float, salt_volume: float | None
) -> Volumes | None:
    if salt_volume is not None:
        return constant_volumes(salt_volume, molarity, temperature)
    if salt is None:
        return None
    try:
        return volumes(salt, molarity, temperature)
    except InputError:
        return None


def _theory_error(point: Point, scale: float, phi_lr: float | None) -> dict[str, float] | None:
    if point.osmotic_spread is None or point.ln_y_spread is None or point.dlna_dlnc_spread is None:
        return None
    errors = {
        "osmotic_coefficient_mm": float(point.osmotic_spread),
        "ln_y_mm": float(point.ln_y_spread),
        "dlna_dlnc_mm": float(point.dlna_dlnc_spread),
    }
    if phi_lr is not None:
        errors |= {
            "osmotic_coefficient_lr": errors["osmotic_coefficient_mm"]
            * phi_lr
            / float(point.osmotic_coefficient),
            "ln_gamma_lr": errors["ln_y_mm"],
            "dlna_dlnc_lr": errors["dlna_dlnc_mm"] * scale,
        }
    return errors


def solve_tables(
    tables: Sequence[PmfTable],
    make_ions: Callable[[PmfTable], Ions],
    molarities: Sequence[float],
    theory: str,
    *,
    salt: str | None,
    temperature: float,
    salt_volume: float | None = None,
    on_point: Callable[[int, int], None] | None = None,
) -> list[SolutionPoint]:
    """Return the answers of the mean table, with the error bars that the tables support.

    Several tables are members of a committee, or bootstrap replicas: their standard deviation is
    the standard error. Columns of standard errors are shifts of a whole pair by one standard error
    (fully correlated along r, the cautious choice), pairs independent. Both add in squares.

    tables      of one pair set on the same distances
    make_ions   from a table to ions
    molarities  mol/L
    salt_volume, salt  as of :func:`solution_point`
    Raises InputError, NotConverged.
    """
    centre = mean_table(tables)
    members = tables if len(tables) > 1 else ()
    shifts = [
        (centre.shifted(name, +error), centre.shifted(name, -error))
        for name, error in centre.errors.items()
    ]
    n_series = 1 + len(members) + 2 * len(shifts)
    finished = 0

    def solve(table: PmfTable) -> list[SolutionPoint]:
        nonlocal finished

        def announce(done: int, total: int) -> None:
            if on_point is not None:
                on_point(finished * total + done, n_series * total)

        points = solve_series(make_ions(table), molarities, theory, on_point=announce)
        finished += 1
        return [
            solution_point(point, salt, temperature, salt_volume=salt_volume) for point in points
        ]

    answers = solve(centre)
    of_members = [solve(table) for table in members]
    of_shifts = [(solve(up), solve(down)) for up, down in shifts]
    if not of_members and not of_shifts:
        return answers
    return [
        replace(
            answer,
            standard_error=_standard_error(
                answer,
                [points[i] for points in of_members],
                [(up[i], down[i]) for up, down in of_shifts],
            ),
        )
        for i, answer in enumerate(answers)
    ]


def mean_table(tables: Sequence[PmfTable]) -> PmfTable:
    """Return the mean of tables on the same distances; inf where any of them is.

    Raises InputError where distances or pairs differ.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    for table in tables[1:]:
        if len(table.r) != len(first.r) or not np.allclose(table.r, first.r, rtol=0, atol=1e-6):
            raise InputError(
                f"{table.origin}: distances differ from those of {first.origin}; give all "
                "tables of a committee on the same distances"
            )
    if any(table.errors for table in tables):
        raise InputError("give either several tables or columns of standard errors, not both")
    pairs = {name: np.mean([table.pairs[name] for table in tables], axis=0) for name in first.pairs}
    return PmfTable(first.r, pairs, {}, f"mean of {len(tables)} tables")


def _standard_error(
    answer: SolutionPoint,
    members: list[SolutionPoint],
    shifts: list[tuple[SolutionPoint, SolutionPoint]],
) -> dict[str, float]:
    errors = {}
    for name in QUANTITIES:
        if getattr(answer, name) is None:
            continue
        variance = sum(((getattr(up, name) - getattr(down, name)) / 2) ** 2 for up, down in shifts)
        if members:
            variance += float(np.var([getattr(point, name) for point in members], ddof=1))
        errors[name] = float(np.sqrt(variance))
    return errors
