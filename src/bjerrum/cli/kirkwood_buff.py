"""``analyse kirkwood-buff`` and ``analyse activity``: thermodynamics from structure."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.cli.plots import check_figure, estimators_figure, write_figure
from bjerrum.cli.trajectories import (
    BoxEdge,
    Elements,
    FigureFile,
    FrameInterval,
    IonPairs,
    Reading,
    SkipPs,
    Topology,
    Waters,
    all_csv,
)
from bjerrum.errors import InputError

if TYPE_CHECKING:
    from bjerrum.properties.kirkwood_buff_result import KirkwoodBuffResult


ROOM = 5.0
"""Activity coefficients of 25 C stand beside temperatures within this many kelvin."""


class LikePairs(StrEnum):
    """How RDFs of like pairs are normalised."""

    AUTO = "auto"
    N = "n"
    N_MINUS_1 = "n-1"


def kirkwood_buff(
    sources: Annotated[
        list[Path], typer.Argument(help="CSVs of partial RDFs, one per run, or trajectories.")
    ],
    box_angstrom: BoxEdge = None,
    pairs: IonPairs = None,
    waters: Waters = None,
    like_pairs: Annotated[
        LikePairs,
        typer.Option(help="Like pairs of CSVs are normalised by N/V or (N-1)/V; auto: found out."),
    ] = LikePairs.AUTO,
    ions_only: Annotated[
        bool, typer.Option("--ions-only", help="RDFs without water: McMillan-Mayer only.")
    ] = False,
    salt_volume: Annotated[
        float | None,
        typer.Option(
            "--salt-volume-cm3-per-mol",
            help="Partial molar volume for d ln a/d ln m; default: from the water RDF.",
        ),
    ] = None,
    skip_ps: SkipPs = 0.0,
    topology: Topology = None,
    element: Elements = None,
    frame_interval_ps: FrameInterval = None,
    temperature_K: Annotated[
        float, typer.Option("--temperature-K", help="For the experiment beside it.")
    ] = 298.15,
    figure: FigureFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Activity derivatives of a 1:1 salt by Kirkwood-Buff integrals, by several estimators."""
    check_figure(figure)
    if salt_volume is not None and not -200 < salt_volume < 1000:
        raise InputError(f"--salt-volume-cm3-per-mol: expected cm3/mol, got {salt_volume:g}")
    if not 0 < temperature_K < 1e4:
        raise InputError(f"--temperature-K: expected kelvin, got {temperature_K:g}")
    if len({path.resolve() for path in sources}) < len(sources):
        raise InputError("the same file is given twice: runs must be independent")
    if all_csv(sources):
        result = _of_csvs(sources, box_angstrom, pairs, waters, like_pairs, ions_only, salt_volume)
    else:
        if pairs is not None or waters is not None or ions_only:
            raise InputError(
                "--pairs, --waters and --ions-only are for CSVs; a trajectory is counted"
            )
        reading = Reading(skip_ps, topology, tuple(element or ()), box_angstrom, frame_interval_ps)
        result = _of_trajectories(sources, reading, salt_volume)
    experiment = _experiment(result, temperature_K)
    if figure is not None:
        write_figure(estimators_figure(result, experiment), figure)
    if as_json:
        print_results({**result.to_json(), "experiment": experiment}, True)
    else:
        _print_table(result, experiment)


def activity(
    points: Annotated[
        Path, typer.Argument(help="CSV: molality_mol_per_kg, dlna_dlnm, standard_error.")
    ],
    temperature_K: Annotated[float, typer.Option("--temperature-K", help="K.")] = 298.15,
    dielectric: Annotated[
        float | None, typer.Option(help="Of the solvent; default: water's (experiment).")
    ] = None,
    parameters: Annotated[
        str, typer.Option(help="Of Pitzer's equation; those left out are zero.")
    ] = "beta0,beta1,c_phi",
    at: Annotated[
        str | None, typer.Option(help="Molalities such as 0.5,1,2; default: those of the points.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Osmotic and activity coefficients from d ln a/d ln m at several molalities."""
    from bjerrum.literature import water_density, water_dielectric_constant
    from bjerrum.properties.activity_fit import DerivativePoint, debye_hueckel_slope, fit_activity
    from bjerrum.properties.kirkwood_buff_rdf import read_columns

    columns = read_columns(points, min_rows=1)
    needed = ("molality_mol_per_kg", "dlna_dlnm", "standard_error")
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"{points}: columns {', '.join(missing)} are missing")
    measured = [
        DerivativePoint(float(m), float(a), float(e))
        for m, a, e in zip(*(columns[name] for name in needed), strict=True)
    ]
    epsilon = water_dielectric_constant(temperature_K) if dielectric is None else dielectric
    slope = debye_hueckel_slope(epsilon, water_density(temperature_K), temperature_K)
    fit = fit_activity(measured, slope, parameters=[p.strip() for p in parameters.split(",")])
    wanted = _numbers(at, "--at") if at else sorted({point.molality for point in measured})
    data = fit.to_json(wanted)
    if as_json:
        print_results(data, True)
        return
    typer.echo(f"A_phi {slope:.4f} kg^1/2 mol^-1/2 (epsilon {epsilon:.2f}, water of experiment)")
    for name, found in data["parameters"].items():
        typer.echo(f"{name}  {found['value']:.5f} +- {found['standard_error']:.5f}")
    for point in data["points"]:
        phi, gamma = point["osmotic_coefficient"], point["ln_gamma"]
        typer.echo(
            f"{point['molality_mol_per_kg']:g} mol/kg: phi {phi['value']:.4f} +- "
            f"{phi['standard_error']:.4f}, ln gamma {gamma['value']:.4f} +- "
            f"{gamma['standard_error']:.4f}"
        )


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option}: expected numbers such as 0.5,1,2, got {text}") from error


def _of_csvs(
    sources: list[Path],
    edge: float | None,
    pairs: int | None,
    waters: int | None,
    like_pairs: LikePairs,
    ions_only: bool,
    salt_volume: float | None,
) -> KirkwoodBuffResult:
    from bjerrum.properties.kirkwood_buff import Composition
    from bjerrum.properties.kirkwood_buff_rdf import analyse_rdfs, read_partial_rdfs

    if edge is None or pairs is None or (waters is None and not ions_only):
        raise InputError(
            "RDFs need the box they were counted in: --box-angstrom, --pairs"
            + ("" if ions_only else " and --waters")
        )
    if not ions_only and waters is not None and waters < 1:
        raise InputError(f"--waters: expected at least one water, got {waters}")
    normalised = {LikePairs.AUTO: None, LikePairs.N: False, LikePairs.N_MINUS_1: True}
    return analyse_rdfs(
        [read_partial_rdfs(path, ions_only=ions_only) for path in sources],
        Composition(edge, pairs, waters or 0),
        like_n_minus_1=normalised[like_pairs],
        salt_volume=salt_volume,
    )


def _of_trajectories(
    sources: list[Path], reading: Reading, salt_volume: float | None
) -> KirkwoodBuffResult:
    from bjerrum.properties.kirkwood_buff_trajectory import KirkwoodBuffAccumulator

    accumulator = KirkwoodBuffAccumulator()
    for path in sources:
        accumulator.add_run(reading.run(path))
    return accumulator.result(salt_volume=salt_volume)


def _print_table(result: KirkwoodBuffResult, experiment: dict[str, Any] | None) -> None:
    columns = ("dlna_dlnc", "dlna_dlnm", "dlna_dlnc_mcmillan_mayer")
    heads = ("d ln a/d ln c", "d ln a/d ln m", "McMillan-Mayer")
    typer.echo(" " * 20 + "".join(f"{head:<20}" for head in heads) + "neutrality")
    for name, found in result.estimators.items():
        mark = "*" if name == result.recommended else " "
        cells = [_cell(getattr(found, column)) for column in columns]
        residual = f"{found.electroneutrality_residual.value:+.3f}"
        typer.echo(f"{mark} {name:<18}" + "".join(f"{c:<20}" for c in cells) + residual)
    for name, reason in result.unavailable.items():
        typer.echo(f"  {name:<18}not available: {reason}")
    chosen: Any = result.estimators[result.recommended]
    typer.echo(f"* recommended: {chosen.method}")
    if experiment is not None:
        typer.echo(
            f"experiment ({experiment['salt']}, {experiment['molality_mol_per_kg']:.2f} mol/kg): "
            f"d ln a/d ln c {experiment['dlna_dlnc']:.2f}, d ln a/d ln m "
            f"{experiment['dlna_dlnm']:.2f}; {experiment['source']}"
        )
    if chosen.dlna_dlnc is not None and chosen.dlna_dlnm is None:
        typer.echo("d ln a/d ln m needs g_oo (g_OO) or --salt-volume-cm3-per-mol")
    if note := result.note:
        typer.echo(f"note: {note}", err=True)


def _experiment(result: KirkwoodBuffResult, temperature: float) -> dict[str, Any] | None:
    """Return the measured derivatives at the box's molarity; None where nothing is tabulated.

    d ln a/d ln c = (d ln a/d ln m)/(d ln c/d ln m), the first from Pitzer's equation at 25 C, the
    second from the density of the solution.
    """
    from bjerrum.density import molality_of_molarity
    from bjerrum.literature import activity_derivative, pitzer_parameters
    from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

    salt = result.details.get("salt")
    if salt is None or abs(temperature - 298.15) > ROOM:
        return None
    molarity = result.box.salt_density / MOL_PER_LITRE_IN_PER_ANGSTROM3
    try:
        molality = molality_of_molarity(salt, molarity, temperature)
        molal = activity_derivative(salt, molality)
        near = [molality_of_molarity(salt, molarity * f, temperature) for f in (0.999, 1.001)]
        source = pitzer_parameters(salt).source
    except InputError:
        return None
    return {
        "salt": salt,
        "molality_mol_per_kg": molality,
        "molarity_mol_per_L": molarity,
        "dlna_dlnc": molal * math.log(near[1] / near[0]) / math.log(1.001 / 0.999),
        "dlna_dlnm": molal,
        "source": str(source),
    }


def _cell(number: Any) -> str:
    if number is None:
        return "-"
    if number.standard_error is None:
        return f"{number.value:.3f}"
    return f"{number.value:.3f} +- {number.standard_error:.3f}"
