"""``run``, ``report``, ``build``: from a configuration to a page, and the box alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bjerrum.console import Console
from bjerrum.errors import InputError


def run(
    config: Annotated[
        Path, typer.Argument(help="Run or campaign TOML, see examples/licl.toml, campaign.toml.")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder.")] = None,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Wall time of the sampling; overrides the file.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Of a campaign: TOML that says where steps are done.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Of a campaign: try again what has failed.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Of a campaign: take over another file's folder.")
    ] = False,
) -> None:
    """Run the whole chain, or a campaign; go on where an earlier call was stopped."""
    from bjerrum.campaign.spec import is_campaign
    from bjerrum.errors import InputError

    if is_campaign(config):
        from bjerrum.cli.campaign import run_file

        if budget_minutes is not None:
            raise InputError("--budget-minutes: is for runs; a campaign's lengths are in its file")
        run_file(config, output, profile, retry=retry, adopt=adopt)
        return
    if profile is not None or retry or adopt:
        raise InputError("--profile, --retry, --adopt: are for campaigns, which have [solutions]")
    from bjerrum.configuration import output_folder, read_run_config, with_budget
    from bjerrum.pipeline import run_chain
    from bjerrum.report.page import report_run
    from bjerrum.run import Run
    from bjerrum.store import exclusive

    settings = with_budget(read_run_config(config), budget_minutes)
    root = output_folder(config, settings, output)
    with Console() as console:
        work = Run.open(settings, root, console.announce)
        with exclusive(root):
            run_chain(work, config.read_text(encoding="utf-8"))
            page = report_run(root)
    typer.echo(f"report: {page}")


def report(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    figure: Annotated[
        Path | None, typer.Option(help="Also draw g(r) into this PNG or SVG file.")
    ] = None,
) -> None:
    """Write the report page of a finished run again; say where a campaign's pages are."""
    from bjerrum.cli.reports import reports_of_campaign
    from bjerrum.report.page import read_results, report_run

    campaign = reports_of_campaign(run_folder)
    if campaign is not None:
        if figure is not None:
            raise InputError("--figure is for the folder of a run; a campaign has many")
        typer.echo(campaign)
        return
    page = report_run(run_folder)
    if figure is not None:
        from bjerrum.report.static import write_rdf_figure

        typer.echo(f"figure: {write_rdf_figure(read_results(run_folder), figure)}")
    typer.echo(f"report: {page}")


def build(
    salt: Annotated[str, typer.Option(help="Formula, such as LiCl.")],
    molality: Annotated[float, typer.Option(help="mol per kg of water.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Extended XYZ to write.")],
    waters: Annotated[int, typer.Option(help="Number of water molecules.")] = 80,
    temperature: Annotated[float, typer.Option(help="Kelvin.")] = 298.15,
    time_ps: Annotated[
        float, typer.Option(help="Classical equilibration; 0 for none.", min=0)
    ] = 50.0,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.")] = 1,
) -> None:
    """Build a box of a solution and equilibrate it with classical dynamics."""
    from bjerrum.boxes import build_box, check_box, equilibrate_box
    from bjerrum.frames import write_frames
    from bjerrum.system import Salt, Solution

    solution = Solution(Salt.parse(salt), molality, temperature)
    with Console() as console:
        console.announce("Packing", 0, 1)
        atoms = build_box(solution, waters, seed=seed)
        console.announce("Packing", 1, 1)
        if time_ps > 0:
            console.announce("Classical equilibration", 0, 1)
            atoms = equilibrate_box(atoms, solution, time_ps=time_ps, seed=seed)
            console.announce("Classical equilibration", 1, 1)
        check_box(atoms, solution, waters)
        write_frames(output, [atoms])
    typer.echo(
        f"{output}: {atoms.get_chemical_formula()}, edge {atoms.cell.lengths()[0]:.4f} angstrom"
    )
