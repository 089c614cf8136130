"""``analyse``: properties of any trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.cli.trajectories import (
    CellEdge,
    Elements,
    FrameInterval,
    Reading,
    SkipPs,
    Topology,
)
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
    skip_ps: SkipPs = 0.0,
    topology: Topology = None,
    element: Elements = None,
    cell: CellEdge = None,
    frame_interval_ps: FrameInterval = None,
    beyond_half_box: Annotated[
        bool, typer.Option("--beyond-half-box", help="g(r) up to the corners of a cubic box.")
    ] = False,
    distributions: Annotated[
        bool,
        typer.Option("--distributions", help="Also of coordination numbers and of angles."),
    ] = False,
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
        beyond_half_box=beyond_half_box,
    )
    data = result.to_json()
    if distributions:
        reading = Reading(skip_ps, topology, tuple(element or ()), cell, frame_interval_ps)
        data["distributions"] = _distributions(data["pairs"], trajectories, reading)
    if as_json:
        print_results(data, as_json)
        return
    for pair, found in data["pairs"].items():
        typer.echo(f"{pair}: {_peak_line(found)}")
    for pair, found in data.get("distributions", {}).items():
        typer.echo(f"{pair}: {_share_line(found['coordination'])}")


def _distributions(
    pairs: dict[str, Any], trajectories: list[Path], reading: Reading
) -> dict[str, Any]:
    """Measure neighbours up to the first minimum of each pair that has one."""
    from bjerrum.properties.coordination import coordination_distribution

    found = {}
    for pair, structure in pairs.items():
        radius = structure["minimum_angstrom"]
        if radius is not None:
            centre, neighbour = pair.split("-")
            runs = [reading.run(path) for path in trajectories]
            found[pair] = coordination_distribution(runs, centre, neighbour, radius).to_json()
    return found


def _share_line(found: dict[str, Any]) -> str:
    shares = zip(found["number"], found["share"], strict=True)
    return "neighbours " + ", ".join(f"{n:.0f}: {100 * s:.1f} %" for n, s in shares if s > 5e-4)


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
