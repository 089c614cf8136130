"""``solve``: potentials of mean force to osmotic and activity coefficients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.console import Console
from bjerrum.errors import InputError

if TYPE_CHECKING:
    from bjerrum.thermodynamics.ions import Ions
    from bjerrum.thermodynamics.request import Composition
    from bjerrum.thermodynamics.solution import SolutionPoint
    from bjerrum.thermodynamics.table import PmfTable

WITH_PRESSURE = (
    ("m mol/kg", "molality_mol_per_kg", ".4g"),
    ("phi (MM)", "osmotic_coefficient_mm", ".4f"),
    ("dlna/dlnc (MM)", "dlna_dlnc_mm", ".4f"),
    ("phi", "osmotic_coefficient_lr", "error"),
    ("ln gamma", "ln_gamma_lr", "error"),
    ("dlna/dlnc", "dlna_dlnc_lr", "error"),
)
WITHOUT_PRESSURE = (
    ("phi (MM)", "osmotic_coefficient_mm", "error"),
    ("ln y (MM)", "ln_y_mm", "error"),
    ("dlna/dlnc (MM)", "dlna_dlnc_mm", "error"),
)
"""Title, quantity and format of the plain table; "error" is four digits with the error bar."""


def solve(
    pmf: Annotated[
        list[Path],
        typer.Option(help="CSV: r_angstrom, w_cc_kT, w_ca_kT, w_aa_kT; repeat for a committee."),
    ],
    concentrations: Annotated[
        str | None,
        typer.Option(help="mol/L: 0.1,0.5,1 or 0.1:6:40 or 0.001:6:40:log. Default: 0.1 to 3."),
    ] = None,
    molalities: Annotated[
        str | None, typer.Option(help="mol/kg instead of mol/L, written the same way.")
    ] = None,
    theory: Annotated[str, typer.Option(help="hnc, rhnc, mpb, spb, pb, lpb, dhx or msa.")] = "hnc",
    charges: Annotated[
        str | None, typer.Option(help="Cation and anion, such as 2,-1. Default: 1,-1.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Kelvin.")] = 298.15,
    dielectric: Annotated[
        float | None, typer.Option(help="Dielectric constant; default: water at the temperature.")
    ] = None,
    salt: Annotated[
        str | None, typer.Option(help="Sets the density. Default for charges 1,-1: LiCl.")
    ] = None,
    salt_volume: Annotated[
        float | None,
        typer.Option(help="Partial molar volume of the salt, cm3/mol, in place of a density."),
    ] = None,
    ion: Annotated[
        list[str] | None,
        typer.Option(help="Of a mixture, SYMBOL:CHARGE:NUMBER such as Li:+1:0.5; repeat it."),
    ] = None,
    core: Annotated[
        list[str] | None,
        typer.Option(help="Repulsive wall of a pair, such as ca=1.9 (angstrom); repeat it."),
    ] = None,
    align_tail: Annotated[
        bool, typer.Option("--align-tail", help="Subtract the mean of the last angstrom.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the answers: .json or .csv.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw curves and potentials: .html.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Solve for osmotic and activity coefficients of ions with potentials of mean force."""
    from bjerrum.thermodynamics import request
    from bjerrum.thermodynamics.ions import ions_from_table
    from bjerrum.thermodynamics.solution import mean_table, solve_tables
    from bjerrum.thermodynamics.theories import find_theory
    from bjerrum.units import bjerrum_length

    _check_output(output, (".json", ".csv"), "--output")
    _check_output(figure, (".html",), "--figure")
    find_theory(theory)
    composition = _composition(charges, ion or [], salt)
    volume = request.parse_salt_volume(salt_volume)
    dielectric = _dielectric(dielectric, temperature)
    length = bjerrum_length(dielectric, temperature)
    given_salt = salt
    salt, warnings = _salt(salt, composition, volume)
    wanted = _molarities(concentrations, molalities, salt, temperature, volume)
    if figure is not None and max(wanted) == 0:
        raise InputError("--figure: expected concentrations above 0 to draw")
    warnings += request.concentration_warnings(wanted, salt, temperature, volume)
    tables = [_table(path, composition, core or [], align_tail) for path in pmf]

    def make_ions(table: PmfTable) -> Ions:
        return ions_from_table(
            table,
            composition.charges,
            length,
            labels=composition.labels,
            numbers=composition.numbers,
        )

    ions = make_ions(mean_table(tables))
    for warning in warnings:
        typer.echo(f"bjerrum: warning: {warning}", err=True)
    with Console() as console:
        points = solve_tables(
            tables,
            make_ions,
            wanted,
            theory,
            salt=salt,
            temperature=temperature,
            salt_volume=volume,
            on_point=lambda done, total: console.announce("Solving", done, total),
        )
    result = {
        "theory": theory,
        "points": [point.to_json() for point in points],
        **_conditions(ions, temperature, dielectric, salt, salt_volume),
        "pmf": [str(path) for path in pmf],
        "warnings": warnings,
    }
    if output is not None:
        _write(output, result, points)
    if figure is not None:
        names = _names(composition, given_salt)
        _draw(figure, ions, theory, points, salt, temperature, pmf, names)
    if as_json:
        print_results(result, as_json)
    else:
        _print_table(points)


def _check_output(path: Path | None, endings: tuple[str, ...], option: str) -> None:
    if path is not None and path.suffix.lower() not in endings:
        raise InputError(f"{option} {path}: the ending must be {' or '.join(endings)}")


def _composition(charges: str | None, ions: list[str], salt: str | None) -> Composition:
    from bjerrum.thermodynamics.request import parse_charges, parse_ions

    if not ions:
        return parse_charges(charges, salt)
    if charges is not None or salt is not None:
        raise InputError("--ion describes the whole mixture; leave out --charges and --salt")
    return parse_ions(ions)


def _dielectric(given: float | None, temperature: float) -> float:
    from bjerrum.literature.water import check_liquid_water, water_dielectric_constant

    check_liquid_water(temperature)
    if given is None:
        return water_dielectric_constant(temperature)
    if not 1 <= given <= 1000:
        raise InputError(f"--dielectric: expected a number from 1 to 1000, got {given:g}")
    return given


def _salt(
    given: str | None, composition: Composition, volume: float | None
) -> tuple[str | None, list[str]]:
    """Return the salt that sets the density, and what must be said about it."""
    from bjerrum.system import Salt
    from bjerrum.thermodynamics.request import DEFAULT_SALT

    if given is not None:
        return Salt.parse(given).formula, []
    if composition.charges == (1.0, -1.0) and composition.numbers is None and volume is None:
        return DEFAULT_SALT, [
            f"no --salt given: molalities and Lewis-Randall values take the density of "
            f"{DEFAULT_SALT} solutions"
        ]
    return None, []


def _molarities(
    concentrations: str | None,
    molalities: str | None,
    salt: str | None,
    temperature: float,
    volume: float | None,
) -> list[float]:
    from bjerrum.thermodynamics import request

    if concentrations is not None and molalities is not None:
        raise InputError("give --concentrations or --molalities, not both")
    if molalities is not None:
        wanted = request.molarities_of(
            request.parse_concentrations(molalities, "--molalities"), salt, temperature, volume
        )
    else:
        wanted = request.parse_concentrations(concentrations or "0.1,0.2,0.5,1,1.5,2,2.5,3")
    return request.check_molarities(wanted)


def _table(path: Path, composition: Composition, cores: list[str], align: bool) -> PmfTable:
    from bjerrum.thermodynamics.request import parse_cores
    from bjerrum.thermodynamics.table import read_pmf_table

    table = read_pmf_table(path, composition.labels).with_core(parse_cores(cores))
    return table.aligned() if align else table


def _conditions(
    ions: Ions,
    temperature: float,
    dielectric: float,
    salt: str | None,
    salt_volume: float | None,
) -> dict[str, Any]:
    return {
        "salt": salt,
        "salt_volume_cm3_per_mol": salt_volume,
        "charges": list(ions.charges),
        "ions_per_formula_unit": list(ions.numbers),
        "temperature_K": temperature,
        "dielectric_constant": dielectric,
        "bjerrum_length_angstrom": ions.bjerrum_length,
        "pairs": {
            f"{ions.labels[i]}-{ions.labels[j]}": {
                "core_angstrom": pmf.wall,
                "tail_from_angstrom": pmf.end,
            }
            for (i, j), pmf in zip(ions.pairs, ions.pmfs, strict=True)
        },
    }


def _write(path: Path, result: dict[str, Any], points: list[SolutionPoint]) -> None:
    import csv
    import io

    from bjerrum.files import write_json, write_whole

    if path.suffix.lower() == ".json":
        write_json(path, result)
        return
    text = io.StringIO()
    rows = [_row(point) for point in points]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode("utf-8"))


def _row(point: SolutionPoint) -> dict[str, Any]:
    """Return a point as one row: its error bars are columns like osmotic_coefficient_lr_error."""
    from bjerrum.thermodynamics.solution import QUANTITIES

    row = point.to_json()
    del row["theory_error"], row["standard_error"]
    return row | {f"{name}_error": point.error(name) for name in QUANTITIES}


def _draw(
    path: Path,
    ions: Ions,
    theory: str,
    points: list[SolutionPoint],
    salt: str | None,
    temperature: float,
    pmf: list[Path],
    names: tuple[str, ...],
) -> None:
    from bjerrum.report.thermodynamics import write_thermodynamics_page
    from bjerrum.thermodynamics.curves import solution_curves

    distinct = {p.concentration_mol_per_L: p for p in points if p.concentration_mol_per_L > 0}
    curves = solution_curves(
        ions,
        {theory: [distinct[molarity] for molarity in sorted(distinct)]},
        salt=salt,
        temperature=temperature,
        pmf_source=", ".join(str(path) for path in pmf),
        pmf_doi=None,
        notes=[],
        names=names,
    )
    write_thermodynamics_page(curves, path)
    typer.echo(f"figure: {path}", err=True)


def _names(composition: Composition, salt: str | None) -> tuple[str, ...]:
    """Return the species as a figure shows them: element symbols where a salt was named."""
    from bjerrum.system import Salt

    if salt is None:
        return composition.labels
    parsed = Salt.parse(salt)
    return parsed.cation.symbol, parsed.anion.symbol


def _print_table(points: list[SolutionPoint]) -> None:
    known = any(point.molality_mol_per_kg for point in points)
    columns = WITH_PRESSURE if known else WITHOUT_PRESSURE
    widths = [18 if form == "error" else 15 for _, _, form in columns]
    titles = [title for title, _, _ in columns]
    rows = [
        [
            f"{point.concentration_mol_per_L:.4g}",
            *(_cell(point, key, form) for _, key, form in columns),
        ]
        for point in points
    ]
    for row in (["c mol/L", *titles], *rows):
        typer.echo("".join(f"{cell:>{n}}" for cell, n in zip(row, [10, *widths], strict=True)))


def _cell(point: SolutionPoint, quantity: str, form: str) -> str:
    value = getattr(point, quantity)
    if value is None:
        return "-"
    if form != "error":
        return str(format(value, form))
    error = point.error(quantity)
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"
