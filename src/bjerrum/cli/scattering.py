"""``analyse scattering`` and ``analyse screening``: structure factors to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.cli.plots import (
    check_figure,
    scattering_figure,
    screening_figure,
    write_figure,
)
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
    assignments,
)
from bjerrum.errors import InputError

if TYPE_CHECKING:
    from bjerrum.properties.scattering_runs import SolutionRdfs


def scattering(
    sources: Annotated[
        list[Path], typer.Argument(help="Trajectories, or CSVs of RDFs by element, one per run.")
    ],
    isotope: Annotated[
        list[str] | None, typer.Option(help="Such as H=D or Li=7Li; repeat it. Default: natural.")
    ] = None,
    difference: Annotated[
        str | None,
        typer.Option(help="First difference of two isotopes, such as Li=6Li,7Li."),
    ] = None,
    q_max: Annotated[float, typer.Option(help="Per angstrom.")] = 20.0,
    box_angstrom: BoxEdge = None,
    pairs: IonPairs = None,
    waters: Waters = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the curves as CSV.")
    ] = None,
    skip_ps: SkipPs = 0.0,
    topology: Topology = None,
    element: Elements = None,
    frame_interval_ps: FrameInterval = None,
    figure: FigureFile = None,
    as_json: JsonFlag = False,
) -> None:
    """X-ray and neutron structure factors, and first differences of isotopes."""
    from bjerrum.properties.scattering_runs import curves_to_json, scattering_curves

    check_figure(figure)
    reading = Reading(skip_ps, topology, tuple(element or ()), box_angstrom, frame_interval_ps)
    rdfs = _rdfs(sources, reading, pairs, waters)
    curves = scattering_curves(
        rdfs,
        isotopes=assignments(isotope or [], "--isotope", "H=D"),
        difference=None if difference is None else _difference(difference),
        q_max=q_max,
    )
    data = curves_to_json(curves, rdfs)
    if output is not None:
        _write_csv(output, data["curves"])
    if figure is not None:
        write_figure(scattering_figure(curves), figure)
    if as_json:
        print_results(data, True)
        return
    for name, curve in curves.items():
        peak = int(abs(curve.value).argmax())
        typer.echo(
            f"{name}: largest at {curve.q[peak]:.2f} per angstrom, {curve.value[peak]:.4g} "
            f"{'' if curve.unit == '1' else curve.unit}".rstrip()
        )
    typer.echo("the curves: --json, or -o FILE.csv")


def screening(
    trajectories: Annotated[list[Path], typer.Argument(help="Independent runs of one system.")],
    dielectric: Annotated[
        float, typer.Option(help="Dielectric constant of the long-range ion-ion interaction.")
    ] = 78.3,
    temperature_K: Annotated[float, typer.Option("--temperature-K", help="K.")] = 298.15,
    charge: Annotated[
        list[str] | None, typer.Option(help="Such as Li=1; repeat it. Default: formal charges.")
    ] = None,
    k_max: Annotated[float, typer.Option(help="Per angstrom.")] = 2.0,
    box_angstrom: BoxEdge = None,
    skip_ps: SkipPs = 0.0,
    topology: Topology = None,
    element: Elements = None,
    frame_interval_ps: FrameInterval = None,
    figure: FigureFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Charge structure factor of the ions and its Stillinger-Lovett limit; Debye length."""
    from bjerrum.properties.screening import ScreeningAccumulator

    check_figure(figure)
    if not 0.8 <= k_max <= 20:
        raise InputError(f"--k-max: expected 0.8 to 20 per angstrom, got {k_max:g}")
    reading = Reading(skip_ps, topology, tuple(element or ()), box_angstrom, frame_interval_ps)
    accumulator = ScreeningAccumulator(None if charge is None else _charges(charge), k_max)
    for path in trajectories:
        accumulator.add_run(reading.run(path))
    result = accumulator.result(dielectric, temperature_K)
    if figure is not None:
        write_figure(screening_figure(result), figure)
    if as_json:
        print_results(result.to_json(), True)
        return
    typer.echo(f"Debye length {1 / result.kappa:.3f} angstrom (epsilon {dielectric:g})")
    typer.echo(f"S_ZZ kappa^2/k^2 for k to 0: {result.ratio} (1: perfect screening)")
    typer.echo(f"epsilon that screens the ions: {result.effective_dielectric_constant}")


def _rdfs(
    sources: list[Path], reading: Reading, pairs: int | None, waters: int | None
) -> SolutionRdfs:
    from bjerrum.properties.scattering_runs import rdfs_of_files, rdfs_of_trajectories

    if not all_csv(sources):
        if pairs is not None or waters is not None:
            raise InputError("--pairs and --waters are for CSVs; a trajectory is counted")
        return rdfs_of_trajectories([reading.run(path) for path in sources])
    if reading.cell is None or pairs is None or waters is None:
        raise InputError("RDFs need the box: --box-angstrom, --pairs and --waters")
    return rdfs_of_files(sources, edge=reading.cell, n_pairs=pairs, n_waters=waters)


def _difference(text: str) -> tuple[str, str, str]:
    element, _, nuclides = text.partition("=")
    parts = nuclides.split(",")
    if not element or len(parts) != 2 or not all(parts):
        raise InputError(f"--difference: expected a form such as Li=6Li,7Li, got {text}")
    return element, parts[0], parts[1]


def _charges(items: list[str]) -> dict[str, float]:
    parts = assignments(items, "--charge", "Li=1")
    try:
        return {name: float(value) for name, value in parts.items()}
    except ValueError as error:
        raise InputError(f"--charge: expected numbers, got {' '.join(items)}") from error


def _write_csv(path: Path, curves: dict[str, Any]) -> None:
    from bjerrum.files import write_whole

    first = next(iter(curves.values()))
    columns = {"q_per_angstrom": first["q_per_angstrom"]}
    for name, curve in curves.items():
        label = name if curve["unit"] == "1" else f"{name}_{curve['unit']}"
        columns[label] = curve["value"]
        columns[f"{label}_standard_error"] = curve["standard_error"] or [None] * len(curve["value"])
    rows = [
        ",".join("" if cell is None else f"{cell:.8g}" for cell in row)
        for row in zip(*columns.values(), strict=True)
    ]
    write_whole(path, "\n".join([",".join(columns), *rows, ""]).encode())
