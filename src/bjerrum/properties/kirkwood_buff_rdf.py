"""Kirkwood-Buff analysis of partial RDFs in CSV files, one file per independent run."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from ase.data import atomic_numbers

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.properties.kirkwood_buff import (
    ION_PAIRS,
    TAIL_WIDTH,
    WATER_PAIRS,
    Composition,
    Integrals,
    like_pairs_per_n_minus_1,
    require_reach,
)
from bjerrum.properties.kirkwood_buff_result import (
    ESTIMATORS,
    MEANING,
    PUBLISHED,
    QUANTITIES,
    STRUCTURE_FACTOR,
    Derived,
    EstimatorResult,
    KirkwoodBuffResult,
    integrals_of,
    published_integrals,
    quantities,
    recommend,
)

DISTANCE: Final = "r_angstrom"
CATIONS: Final = frozenset({"Li", "Na", "K", "Rb", "Cs"})
ANIONS: Final = frozenset({"F", "Cl", "Br", "I"})
ROLE_ORDER: Final = "cao"
ROUNDING: Final = 0.01
"""What an interpolation may leave below zero."""

TAIL_LEVELS: Final = (0.5, 1.5)
"""Where the mean of g around half the box must lie."""

LIQUID_WATER: Final = 0.0333
"""Molecules per cubic angstrom at 25 C (997 kg/m3)."""

WATER_CONTENT: Final = (0.25, 1.1)
"""Waters per volume, relative to pure water, from a melt with some water to pure water."""


@dataclass(frozen=True, eq=False)
class PartialRdfs:
    """Partial RDFs of one run: bin centres in angstrom and g by pair ("cc", "ca", ...).

    salt  formula, where the columns name the elements
    """

    r: FloatArray
    g: Mapping[str, FloatArray]
    name: str = "RDFs"
    salt: str | None = None


def read_partial_rdfs(path: Path | str, *, ions_only: bool = False) -> PartialRdfs:
    """Read a CSV of partial RDFs.

    Columns: r_angstrom (equally spaced), and g_cc, g_ca, g_aa, g_co, g_ao, or the same by elements
    (g_LiLi, g_LiCl, g_ClCl, g_LiO, g_ClO, either order); g_oo (g_OO) is used where present, other
    columns are not.

    ions_only  do without the pairs with water
    Raises InputError for missing columns, two of one pair, text in a cell, and uneven distances.
    """
    path = Path(path)
    columns = read_columns(path)
    if DISTANCE not in columns:
        raise InputError(
            f"{path}: expected a column {DISTANCE}, found {', '.join(columns)}; name the distances "
            f"{DISTANCE} and give them in angstrom"
        )
    r = columns.pop(DISTANCE)
    check_distances(r, path)
    found = _by_pair(columns, path)
    needed = ION_PAIRS if ions_only else (*ION_PAIRS, *WATER_PAIRS)
    missing = [f"g_{pair}" for pair in needed if pair not in found]
    if missing:
        hint = "; for ions without water, ask for ions only" if missing == ["g_co", "g_ao"] else ""
        raise InputError(
            f"{path}: columns {', '.join(missing)} are missing (c cation, a anion, o water oxygen; "
            f"or by element, such as g_LiCl), found {', '.join(columns) or 'none'}{hint}"
        )
    wanted = needed if ions_only else (*needed, *(["oo"] if "oo" in found else []))
    g = {pair: found[pair] for pair in wanted}
    return PartialRdfs(r, g, path.name, _salt_of(columns))


def analyse_rdfs(
    runs: Sequence[PartialRdfs],
    box: Composition,
    *,
    like_n_minus_1: bool | None = None,
    salt_volume: float | None = None,
) -> KirkwoodBuffResult:
    """Activity derivatives from the RDFs of one or several runs, by every estimator.

    The RDFs are averaged, then evaluated; the standard error is that of the runs' own values,
    sd/sqrt(n).

    runs            on one grid of distances
    box             edge, ion pairs, waters
    like_n_minus_1  like pairs are normalised by (N - 1)/V (True) or N/V (False); None: found out
    salt_volume     partial molar volume of the salt, cm3/mol, for d ln a/d ln m; default: from g_oo
    Raises InputError for runs on different grids, RDFs that end before half the box, and where no
    estimator can be computed.
    """
    _check_runs(runs, box)
    runs = _finite_parts(runs)
    mean = {
        pair: np.mean([run.g[pair] for run in runs], axis=0)
        for pair in runs[0].g
        if all(pair in run.g for run in runs)
    }
    detected = like_pairs_per_n_minus_1(runs[0].r, mean, box)
    like = detected if like_n_minus_1 is None else like_n_minus_1
    everything = [*runs, PartialRdfs(runs[0].r, mean)]
    estimators: dict[str, EstimatorResult] = {}
    unavailable: dict[str, str] = {}
    for name, (correction, _) in ESTIMATORS.items():
        try:
            known = _known(like) if correction == "vegt" else False
            integrals = [_integrals(name, run, mean, box, known) for run in everything]
            estimators[name] = _from_runs(name, integrals, box, salt_volume)
        except InputError as reason:
            unavailable[name] = str(reason)
    if not estimators:
        raise InputError(f"no estimator can be computed: {next(iter(unavailable.values()))}")
    benchmarked = {name: e for name, e in estimators.items() if name != STRUCTURE_FACTOR}
    return KirkwoodBuffResult(
        box=box,
        estimators=estimators,
        recommended=recommend(benchmarked or estimators, box),
        unavailable=unavailable,
        details={
            "salt": runs[0].salt,
            "n_runs": len(runs),
            "like_pairs_normalised_by": {None: "unknown", True: "(N-1)/V", False: "N/V"}[like],
        },
    )


def _known(like_n_minus_1: bool | None) -> bool:
    if like_n_minus_1 is None:
        raise InputError(
            "the normalisation of like pairs, (N - 1)/V or N/V, cannot be told from their tails: "
            "say which (--like-pairs)"
        )
    return like_n_minus_1


def _integrals(
    name: str, run: PartialRdfs, pairs: Mapping[str, FloatArray], box: Composition, like: bool
) -> Integrals:
    g = {pair: run.g[pair] for pair in pairs}
    if name == PUBLISHED:
        return published_integrals(run.r, g, box)
    return integrals_of(name, run.r, g, box, like)


def _from_runs(
    name: str, integrals: Sequence[Integrals], box: Composition, salt_volume: float | None
) -> EstimatorResult:
    """Combine the runs' integrals and, last, those of the averaged RDFs."""
    rows = np.array([quantities(each, box, salt_volume) for each in integrals])
    for column in (0, 1):
        if (rows[:, column] <= 0).any():
            raise InputError("1/A is not positive in every run: the runs are too short")
    derivatives = rows[:, :4]
    derivatives[~(derivatives > 0)] = math.nan
    rows[:, :4] = 1 / derivatives
    n = len(rows) - 1
    found: dict[str, Derived] = {}
    for column, key in enumerate(QUANTITIES):
        value, scatter = rows[-1, column], rows[:-1, column]
        if np.isnan(rows[:, column]).any():
            continue
        error = float(scatter.std(ddof=1) / math.sqrt(n)) if n > 1 else None
        unit = "cm3/mol" if key.startswith("v_") else "1"
        found[key] = Derived(float(value), error, n, unit)
    return EstimatorResult(
        dlna_dlnc=found.get("pressure"),
        dlna_dlnc_mcmillan_mayer=found["mu_w"],
        dlna_dlnm=found.get("molal"),
        dlna_dlnc_electroneutral=found.get("neutral"),
        electroneutrality_residual=found["residual"],
        salt_volume=found.get("v_salt"),
        water_volume=found.get("v_water"),
        integrals=integrals[-1],
        method=MEANING[name] + (", from g(r) to L/2" if name == STRUCTURE_FACTOR else ""),
    )


def read_columns(path: Path, min_rows: int = 9) -> dict[str, FloatArray]:
    """Return the columns of a CSV of numbers by name; InputError says what is wrong with it."""
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if len(rows) <= min_rows:
        raise InputError(
            f"{path}: expected a header and at least {min_rows} rows, got {len(rows)} lines"
        )
    if len(set(header)) < len(header):
        raise InputError(f"{path}: a column name appears twice: {', '.join(header)}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise InputError(
                f"{path}, row {number}: {len(row)} cells, the header names {len(header)} columns"
            )
    try:
        table = np.array(rows[1:], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: expected numbers below the header: {error}") from error
    return {name: table[:, column] for column, name in enumerate(header)}


def check_distances(r: FloatArray, path: Path) -> None:
    """Raise InputError unless the distances are positive, increasing and equally spaced."""
    steps = np.diff(r)
    if not np.isfinite(r).all() or (r < 0).any() or (steps <= 0).any():
        raise InputError(f"{path}: {DISTANCE} must be positive and increase from row to row")
    if np.abs(steps - steps.mean()).max() > 0.02 * steps.mean():
        raise InputError(f"{path}: {DISTANCE} must be equally spaced")


def _by_pair(columns: Mapping[str, FloatArray], path: Path) -> dict[str, FloatArray]:
    """Return g by pair of roles; InputError where two columns would be the same pair."""
    names: dict[str, str] = {}
    for name in columns:
        pair = _pair_of(name)
        if pair is not None and names.setdefault(pair, name) != name:
            raise InputError(
                f"{path}: {names[pair]} and {name} are both g_{pair} (c cation, a anion, o water "
                "oxygen): give the RDFs of one salt, each pair once"
            )
    return {pair: columns[name] for pair, name in names.items()}


def _salt_of(columns: Iterable[str]) -> str | None:
    """Return the formula from columns by element; None for columns by role."""
    symbols = {s for name in columns for s in re.findall("[A-Z][a-z]?", name.removeprefix("g_"))}
    cations, anions = symbols & CATIONS, symbols & ANIONS
    one_each = len(cations) == len(anions) == 1
    return f"{cations.pop()}{anions.pop()}" if one_each else None


def _pair_of(column: str) -> str | None:
    """Translate a column name, "g_ca" or "g_LiCl", to a pair of roles; None for other columns."""
    if not column.startswith("g_"):
        return None
    name = column.removeprefix("g_").replace("-", "").replace("_", "")
    roles: str | None = name if re.fullmatch("[cao]{2}", name) else None
    if roles is None:
        elements = re.fullmatch("([A-Z][a-z]?)([A-Z][a-z]?)", name)
        found = [_role(symbol) for symbol in elements.groups()] if elements else [None]
        roles = None if None in found else "".join(map(str, found))
    return None if roles is None else "".join(sorted(roles, key=ROLE_ORDER.index))


def _role(symbol: str) -> str | None:
    if symbol not in atomic_numbers:
        return None
    if symbol == "O":
        return "o"
    return "c" if symbol in CATIONS else "a" if symbol in ANIONS else None


def _check_runs(runs: Sequence[PartialRdfs], box: Composition) -> None:
    if not runs:
        raise InputError("expected the RDFs of at least one run, got none")
    if "co" in runs[0].g and box.n_waters == 0:
        raise InputError("the number of waters is needed (--waters)")
    _check_density(box)
    for run in runs:
        if run.r.shape != runs[0].r.shape or np.abs(run.r - runs[0].r).max() > 1e-6:
            raise InputError(
                f"{run.name}: its distances differ from those of {runs[0].name}; give all runs on "
                "one grid"
            )
        _check_values(run, box)
        try:
            require_reach(run.r, box.edge / 2)
        except InputError as error:
            raise InputError(
                f"{run.name}: {error}, and half the box is needed: check the edge, and that "
                f"{DISTANCE} is in angstrom"
            ) from error


def _check_values(run: PartialRdfs, box: Composition) -> None:
    """Raise InputError for NaN, negative values, and tails that are far from 1."""
    used = run.r <= box.edge / 2 + TAIL_WIDTH
    tail = used & (run.r >= box.edge / 2 - TAIL_WIDTH)
    for pair, values in run.g.items():
        wrong = used & ~(np.isfinite(values) & (values >= -ROUNDING))
        if wrong.any():
            place, value = run.r[wrong.argmax()], values[wrong.argmax()]
            raise InputError(
                f"{run.name}: g_{pair} must be a number and not negative, got {value:g} at "
                f"{place:g} angstrom"
            )
        level = values[tail].mean() if tail.any() else 1.0
        if not TAIL_LEVELS[0] < level < TAIL_LEVELS[1]:
            raise InputError(
                f"{run.name}: g_{pair} must be near 1 around half the box, got {level:.3g}: check "
                "the box edge and the normalisation"
            )


def _check_density(box: Composition) -> None:
    """Raise InputError for numbers that are no aqueous solution: a wrong edge or count."""
    density = box.water_density / LIQUID_WATER
    if box.n_waters and not WATER_CONTENT[0] < density < WATER_CONTENT[1]:
        raise InputError(
            f"{box.n_waters} waters in a box of {box.edge:g} angstrom are {density:.2g} times the "
            "density of water: check the edge and the numbers"
        )


def _finite_parts(runs: Sequence[PartialRdfs]) -> list[PartialRdfs]:
    """Leave out what lies beyond the last distance up to which every g is a number."""
    known = [np.isfinite(np.array(list(run.g.values()))).all(axis=0) for run in runs]
    everywhere = np.all(known, axis=0)
    end = len(everywhere) if everywhere.all() else int(everywhere.argmin())
    return [
        replace(run, r=run.r[:end], g={pair: values[:end] for pair, values in run.g.items()})
        for run in runs
    ]
