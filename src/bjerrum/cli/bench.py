"""``bench``: speed, as ratios in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bjerrum.cli.options import JsonFlag, ModelName, print_results
from bjerrum.console import Console

bench = typer.Typer(help="Measure speed, as ratios in one run.", no_args_is_help=True)


@bench.command("md")
def bench_md(
    model: ModelName = "licl-nnp1",
    waters: Annotated[int, typer.Option(help="Size of the box.")] = 80,
    steps: Annotated[int, typer.Option(help="Steps in a round.", min=1)] = 10,
    rounds: Annotated[
        int, typer.Option(help="Rounds; ours and the alternative take turns.", min=1)
    ] = 5,
    as_json: JsonFlag = False,
) -> None:
    """Dynamics of a LiCl box, in ps per CPU hour, beside plain NequIP through ASE's Langevin."""
    from bjerrum.bench.md import bench_md as measure
    from bjerrum.boxes import build_box, equilibrate_box
    from bjerrum.potential.model import load_model
    from bjerrum.system import Salt, Solution

    solution = Solution(Salt.parse("LiCl"), 2.78, 298.15)
    loaded = load_model(model)
    with Console() as console:
        console.announce("Building the boxes", 0, 2)
        box = equilibrate_box(build_box(solution, waters, seed=1), solution, time_ps=10, seed=1)
        console.announce("Building the boxes", 1, 2)
        large = equilibrate_box(build_box(solution, 512, seed=1), solution, time_ps=10, seed=1)
        console.announce("Building the boxes", 2, 2)
        result = measure(
            loaded,
            box,
            temperature=solution.temperature,
            steps=steps,
            rounds=rounds,
            announce=console.announce,
            large=large,
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


@bench.command("analysis")
def bench_analysis(
    frames: Annotated[int, typer.Option(help="Frames of 1584 atoms.", min=100)] = 1000,
    rounds: Annotated[
        int, typer.Option(help="Rounds; ours and the alternative take turns.", min=1)
    ] = 3,
    msd_frames: Annotated[
        int, typer.Option(help="Frames for the mean squared displacement.", min=1000)
    ] = 20000,
    as_json: JsonFlag = False,
) -> None:
    """Seven partial g(r) beside MDAnalysis' InterRDF; mean squared displacements; S(k)."""
    from bjerrum.bench.analysis import bench_analysis as measure
    from bjerrum.memory import reuse_freed_memory

    reuse_freed_memory()
    with Console() as console:
        result = measure(
            frames=frames, rounds=rounds, msd_frames=msd_frames, announce=console.announce
        )
    print_results(result, as_json)


@bench.command("label")
def bench_label(
    frames: Annotated[
        Path | None, typer.Argument(help="Two frames of one cell; default: 1 LiCl + 8 H2O.")
    ] = None,
    work_folder: Annotated[
        Path, typer.Option(help="Keeps every calculation, so that the command can go on.")
    ] = Path("bench-label"),
    threads: Annotated[int, typer.Option(help="OpenMP threads of CP2K.", min=1)] = 1,
    as_json: JsonFlag = False,
) -> None:
    """DC-r2SCAN labels: cost and force noise beside the published settings (about 20 CPU min)."""
    from bjerrum.bench.label import bench_label as measure
    from bjerrum.frames import read_frames
    from bjerrum.reference.cp2k import Cp2kProgram, find_cp2k
    from bjerrum.reference.examples import example_frames

    configurations = read_frames(frames) if frames else example_frames()
    program = Cp2kProgram(find_cp2k(), threads=threads)
    with Console() as console:
        result = measure(configurations, program, work_folder, announce=console.announce)
    print_results(result, as_json)


@bench.command("training")
def bench_training(
    model: ModelName = "licl-nnp1",
    rounds: Annotated[int, typer.Option(help="Passes that are timed.", min=1)] = 5,
    waters: Annotated[
        list[int] | None, typer.Option(help="Sizes of the boxes; default: 80 and 512.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Also the compiled network (minutes to compile).")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Training in frames/s, forward and backward; inference in atom-steps/s, eager and compiled."""
    from bjerrum.bench.training import bench_training as measure
    from bjerrum.boxes import build_box
    from bjerrum.potential.model import load_model
    from bjerrum.system import Salt, Solution

    solution = Solution(Salt.parse("LiCl"), 2.78, 298.15)
    loaded = load_model(model)
    with Console() as console:
        boxes = [build_box(solution, n, seed=1) for n in waters or (80, 512)]
        result = measure(loaded, boxes, rounds=rounds, compiled=compiled, announce=console.announce)
    print_results(result, as_json)


@bench.command("cg")
def bench_cg(
    model: ModelName = "licl-cg",
    timestep_fs: Annotated[float, typer.Option(help="Of the engine for ions.")] = 15.0,
    steps: Annotated[int, typer.Option(help="Of our timing at 48 ions.", min=100)] = 20000,
    calls: Annotated[int, typer.Option(help="Force calls of the published form.", min=5)] = 40,
    series: Annotated[
        bool, typer.Option("--series", help="Also a converged concentration series (minutes).")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Ions in a continuum: simulated time per CPU hour beside the published form."""
    from bjerrum.bench.cg import bench_cg as measure
    from bjerrum.coarse.model import load_coarse

    loaded = load_coarse(model)
    with Console() as console:
        result = measure(
            loaded,
            timestep_fs=timestep_fs,
            steps=steps,
            calls=calls,
            with_series=series,
            announce=console.announce,
        )
    print_results(result, as_json)


@bench.command("store")
def bench_store(
    steps: Annotated[int, typer.Option(help="Done one after another.", min=10)] = 300,
    finished: Annotated[int, typer.Option(help="Of a campaign planned again.", min=10)] = 10_000,
    profile: Annotated[
        Path | None, typer.Option(help="Slurm profile: also tasks through pilot jobs.")
    ] = None,
    tasks: Annotated[int, typer.Option(help="Through pilot jobs.", min=10)] = 1000,
    estimates: Annotated[
        int, typer.Option(help="In the database that is queried; 0: leave it out.", min=0)
    ] = 100_000,
    as_json: JsonFlag = False,
) -> None:
    """Overhead of steps, planning again, tasks through Slurm, and the database."""
    from bjerrum.bench.store import bench_store as measure
    from bjerrum.errors import InputError
    from bjerrum.execution.profile import SlurmProfile, read_profile

    site = None if profile is None else read_profile(profile)
    if site is not None and not isinstance(site, SlurmProfile):
        raise InputError(f'{profile}: expected a profile with kind = "slurm"')
    with Console() as console:
        result = measure(
            steps=steps, finished=finished, announce=console.announce, slurm=site, tasks=tasks
        )
        if estimates:
            from bjerrum.bench.database import bench_database

            result["details"]["database"] = bench_database(
                stored=estimates, announce=console.announce
            )
    print_results(result, as_json)
