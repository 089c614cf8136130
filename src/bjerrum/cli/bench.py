"""``bench``: speed, as ratios in one run."""

from __future__ import annotations

from typing import Annotated

import typer

from bjerrum.cli.options import JsonFlag, ModelName, print_results
from bjerrum.console import Console

bench = typer.Typer(help="Measure speed, as ratios in one run.", no_args_is_help=True)


@bench.command("md")
def bench_md(
    model: ModelName = "licl-nnp1",
    waters: Annotated[int, typer.Option(help="Size of the box.")] = 80,
    steps: Annotated[int, typer.Option(help="Steps in a round.", min=1)] = 20,
    rounds: Annotated[
        int, typer.Option(help="Rounds; ours and the alternative take turns.", min=1)
    ] = 5,
    as_json: JsonFlag = False,
) -> None:
    """Dynamics of a LiCl box, in steps/s, beside plain NequIP through ASE's Langevin."""
    from bjerrum.bench.md import bench_md as measure
    from bjerrum.boxes import build_box, equilibrate_box
    from bjerrum.potential.model import load_model
    from bjerrum.system import Salt, Solution

    solution = Solution(Salt.parse("LiCl"), 2.78, 298.15)
    loaded = load_model(model)
    with Console() as console:
        console.announce("Building the box", 0, 1)
        box = equilibrate_box(build_box(solution, waters, seed=1), solution, time_ps=10, seed=1)
        console.announce("Building the box", 1, 1)
        result = measure(
            loaded,
            box,
            temperature=solution.temperature,
            steps=steps,
            rounds=rounds,
            announce=console.announce,
        )
    print_results(result, as_json)


@bench.command("thermodynamics")
def bench_thermodynamics(
    rounds: Annotated[
        int, typer.Option(help="Rounds; ours and the alternative take turns.", min=1)
    ] = 25,
    as_json: JsonFlag = False,
) -> None:
    """Series of 40 concentrations by every theory; Poisson-Boltzmann beside scipy's solve_bvp."""
    from bjerrum.bench.thermodynamics import bench_thermodynamics as measure

    with Console() as console:
        result = measure(rounds=rounds, announce=console.announce)
    print_results(result, as_json)
