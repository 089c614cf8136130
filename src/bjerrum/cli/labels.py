"""``label``: energies and forces of frames from a reference method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.console import Console
from bjerrum.errors import InputError


def label(
    frames: Annotated[Path, typer.Argument(help="Configurations: extended XYZ, H5MD...")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Extended XYZ to write.")],
    method: Annotated[str, typer.Option(help="dc-r2scan, r2scan or classical.")] = "dc-r2scan",
    config: Annotated[
        Path | None, typer.Option(help="TOML with settings other than the defaults.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Calculations at the same time.", min=1)] = 1,
    ranks: Annotated[int, typer.Option(help="MPI processes of each.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="OpenMP threads of each process.", min=1)] = 1,
    max_hours: Annotated[
        float | None, typer.Option(help="Begin no frame that would end later.", min=0)
    ] = None,
    work_folder: Annotated[
        Path | None, typer.Option(help="Holds every calculation; default: OUTPUT.labels.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Label frames from first principles; the same command goes on after an interruption."""
    from bjerrum.frames import read_frames
    from bjerrum.labelling import label_frames, write_labelled
    from bjerrum.reference.choose import reference_of

    reference = reference_of(method, config, ranks=ranks, threads=threads)
    configurations = read_frames(frames)
    if output.suffix not in {".xyz", ".extxyz"}:
        raise InputError(f"{output}: expected a name that ends in .extxyz or .xyz")
    folder = work_folder or output.with_name(output.name + ".labels")
    with Console() as console:
        labelled = label_frames(
            configurations,
            reference,
            folder,
            jobs=jobs,
            max_hours=max_hours,
            announce=console.announce,
        )
    write_labelled(output, labelled)
    summary = {
        "output": str(output),
        "n_frames": len(configurations),
        "n_labelled": len(labelled.frames),
        "n_waiting": labelled.waiting,
        "median_cpu_seconds": labelled.median_cpu_seconds,
        "failures": labelled.failures,
    }
    if as_json:
        print_results(summary, as_json)
        return
    typer.echo(f"{output}: {len(labelled.frames)} of {len(configurations)} frames labelled")
    for failure in labelled.failures:
        typer.echo(
            f"frame {failure['index']}: {failure['status']} ({failure['reason']}), "
            f"see {failure['log']}"
        )
    if labelled.waiting:
        typer.echo(f"{labelled.waiting} frames wait; run the same command again to go on")
