"""``analyse``: properties of any trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.errors import InputError

analyse = typer.Typer(help="Measure properties of any trajectory.", no_args_is_help=True)


@analyse.command("structure")
def analyse_structure(
    trajectories: Annotated[list[Path], typer.Argument(help="H5MD, extended XYZ, LAMMPS dump...")],
    pairs: Annotated[
        list[str] | None, typer.Option("--pair", help='Such as "Li-O"; default: all pairs.')
    ] = None,
    r_max: Annotated[float | None, typer.Option(help="Angstrom; default: half the box.")] = None,
    bin_width: Annotated[float, typer.Option(help="Angstrom.")] = 0.05,
    skip_ps: Annotated[float, typer.Option(help="Leave out the start of each file.")] = 0.0,
    topology: Annotated[Path | None, typer.Option(help="For formats without elements.")] = None,
    element: Annotated[
        list[str] | None, typer.Option(help="Type to element, such as 1=O; repeat it.")
    ] = None,
    cell: Annotated[
        float | None, typer.Option("--cell-angstrom", help="Edge, where the file has none.")
    ] = None,
    frame_interval_ps: Annotated[
        float | None, typer.Option(help="Time between frames, where the file has no times.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Radial distribution functions, first peaks and coordination numbers with error bars."""
    from bjerrum.properties.structure import analyse_structure as measure

    result = measure(
        trajectories,
        pairs=pairs or None,
        r_max=r_max,
        bin_width=bin_width,
        skip_ps=skip_ps,
        topology=topology,
        elements=_element_map(element or []),
        cell=cell,
        frame_interval_ps=frame_interval_ps,
    )
    if as_json:
        print_results(result.to_json(), as_json)
        return
    for pair, found in result.to_json()["pairs"].items():
        typer.echo(f"{pair}: {_peak_line(found)}")


def _element_map(items: list[str]) -> dict[str, str] | None:
    if not all(item.count("=") == 1 for item in items):
        raise InputError(f"--element: expected TYPE=ELEMENT such as 1=O, got {items}")
    return dict(item.split("=") for item in items) or None


def _peak_line(found: dict[str, Any]) -> str:
    peak, number = found["peak_angstrom"], found["coordination_number"]
    if peak is None:
        return f"no peak ({found.get('reason')})"
    line = f"first peak {peak['value']:.3f} +- {peak['standard_error']:.3f} angstrom"
    if number is None:
        return line
    return (
        f"{line}, coordination number {number['value']:.2f} +- {number['standard_error']:.2f} "
        f"(to {found['minimum_angstrom']:.2f} angstrom)"
    )
