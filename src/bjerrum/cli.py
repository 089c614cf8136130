"""The command line: one subcommand per arrow of the method, each usable on a user's own files.

Machine-readable results go to stdout (``--json``), progress and messages to stderr. Exit codes:
0 done; 2 the input is wrong; 3 a physical check failed; 4 an external program or the disk failed;
130 interrupted. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import errno
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from bjerrum import __version__
from bjerrum.console import Console
from bjerrum.errors import BjerrumError, InputError, Interrupted

app = typer.Typer(
    help="Electrolyte solutions from first principles: structure, transport, thermodynamics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
analyse = typer.Typer(help="Measure properties of any trajectory.", no_args_is_help=True)
bench = typer.Typer(help="Measure speed, as ratios in one run.", no_args_is_help=True)
app.add_typer(analyse, name="analyse")
app.add_typer(bench, name="bench")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]
ModelName = Annotated[str, typer.Option("--model", help="Model folder or name of a shipped model.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bjerrum {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Run TOML, see examples/licl.toml.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder.")] = None,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Wall time of the sampling; overrides the file.")
    ] = None,
) -> None:
    """Run the whole chain; go on where an earlier call was stopped; write the report."""
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


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    figure: Annotated[
        Path | None, typer.Option(help="Also draw g(r) into this PNG or SVG file.")
    ] = None,
) -> None:
    """Write the report page of a finished run again."""
    from bjerrum.report.page import read_results, report_run

    page = report_run(run_folder)
    if figure is not None:
        from bjerrum.report.static import write_rdf_figure

        typer.echo(f"figure: {write_rdf_figure(read_results(run_folder), figure)}")
    typer.echo(f"report: {page}")


@app.command()
def build(
    salt: Annotated[str, typer.Option(help="Formula, such as LiCl.")],
    molality: Annotated[float, typer.Option(help="mol per kg of water.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Extended XYZ to write.")],
    waters: Annotated[int, typer.Option(help="Number of water molecules.")] = 80,
    temperature: Annotated[float, typer.Option(help="Kelvin.")] = 298.15,
    time_ps: Annotated[float, typer.Option(help="Classical equilibration; 0 for none.")] = 50.0,
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
    typer.echo(f"{output}: {atoms.symbols}, edge {atoms.cell.lengths()[0]:.4f} angstrom")


@app.command()
def train(
    frames: Annotated[Path, typer.Argument(help="Labelled frames, extended XYZ.")],
    config: Annotated[Path, typer.Option(help="Training TOML, see examples/train_licl.toml.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    work_folder: Annotated[
        Path | None, typer.Option(help="Checkpoints; default: training/ in the model folder.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.")] = None,
) -> None:
    """Train a potential, or go on training it, and write the model with its measured errors."""
    import torch

    from bjerrum.dataset import load_dataset
    from bjerrum.potential import training
    from bjerrum.potential.packing import pack_model
    from bjerrum.potential.spec import TrainingSpec
    from bjerrum.specification import read_spec
    from bjerrum.store import exclusive

    spec = read_spec(config, TrainingSpec)
    if threads is not None:
        torch.set_num_threads(threads)
    folder = work_folder or output / "training"
    with Console() as console, exclusive(folder):
        dataset = load_dataset(frames)
        prepared = training.prepare(dataset, spec, folder)
        training.train(prepared, progress=console.training, max_minutes=max_minutes)
        n_test = len(dataset.of_blocks(prepared.split.test))
        errors = pack_model(
            prepared,
            dataset,
            config,
            output,
            on_frame=lambda done: console.announce("Measuring errors", done, n_test),
        )
    typer.echo(json.dumps(errors, indent=1))


@app.command()
def evaluate(
    frames: Annotated[Path, typer.Argument(help="Labelled frames, extended XYZ.")],
    model: ModelName,
    as_json: JsonFlag = False,
) -> None:
    """Compare a model with labelled frames, per element, in meV/angstrom."""
    from bjerrum.dataset import load_dataset
    from bjerrum.potential.evaluate import evaluate as measure
    from bjerrum.potential.model import load_model

    dataset = load_dataset(frames)
    loaded = load_model(model)
    with Console() as console:
        total = len(dataset.frames)
        errors = measure(
            loaded,
            dataset.frames,
            on_frame=lambda done: console.announce("Evaluating", done, total),
        )
    _print(errors, as_json)


@app.command()
def check(
    model: ModelName,
    frames: Annotated[Path | None, typer.Argument(help="A structure; default: a LiCl box.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the trust gate on a model; exit code 3 if a check fails."""
    from bjerrum.boxes import build_box, equilibrate_box
    from bjerrum.checks import require
    from bjerrum.frames import read_frames
    from bjerrum.potential.checks import check_model
    from bjerrum.potential.model import load_model
    from bjerrum.system import Salt, Solution

    loaded = load_model(model)
    if frames is None:
        solution = Solution(Salt.parse("LiCl"), 2.78, 298.15)
        atoms = equilibrate_box(build_box(solution, 80, seed=1), solution, time_ps=20, seed=1)
    else:
        atoms = read_frames(frames)[0]
    checks = check_model(loaded, atoms)
    passed = all(c.passed for c in checks)
    if as_json:
        _print({"passed": passed, "checks": [c.to_json() for c in checks]}, as_json)
    else:
        for c in checks:
            verdict = "pass" if c.passed else "FAIL"
            typer.echo(f"{verdict}  {c.name}: {c.value:.3g} {c.unit} (limit {c.limit:g})")
    require(checks)


@app.command()
def simulate(
    model: ModelName,
    box: Annotated[Path, typer.Option(help="First configuration, such as `build` writes.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="H5MD file to write.")],
    time_ps: Annotated[float, typer.Option(help="Length of the run.")],
    temperature: Annotated[float, typer.Option(help="Kelvin.")] = 298.15,
    timestep_fs: Annotated[float, typer.Option(help="Time step.")] = 1.0,
    friction_per_ps: Annotated[float, typer.Option(help="Langevin; 0 for none (NVE).")] = 5.0,
    frame_every_fs: Annotated[float, typer.Option(help="Time between frames.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.")] = 1,
) -> None:
    """Run dynamics of a box with a model; the same command goes on after an interruption."""
    from bjerrum.dynamics.single import SimulationSpec, simulate_box
    from bjerrum.specification import validate_spec

    given = {
        "time_ps": time_ps,
        "temperature": temperature,
        "timestep_fs": timestep_fs,
        "friction_per_ps": friction_per_ps,
        "frame_every_fs": frame_every_fs,
        "seed": seed,
    }
    with Console() as console:
        simulate_box(
            model, box, validate_spec(given, SimulationSpec, "simulate"), output, console.announce
        )
    typer.echo(str(output))


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
        _print(result.to_json(), as_json)
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


@bench.command("md")
def bench_md(
    model: ModelName = "licl-nnp1",
    waters: Annotated[int, typer.Option(help="Size of the box.")] = 80,
    steps: Annotated[int, typer.Option(help="Steps in a round.")] = 20,
    rounds: Annotated[int, typer.Option(help="Rounds; ours and the alternative take turns.")] = 5,
    as_json: JsonFlag = False,
) -> None:
    """Dynamics of a LiCl box, in steps/s, beside plain NequIP through ASE's Langevin."""
    from bjerrum.bench import bench_md as measure
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
    _print(result, as_json)


def _print(data: dict[str, Any], as_json: bool, indent: str = "") -> None:
    if as_json:
        typer.echo(json.dumps(data, indent=1, allow_nan=False))
        return
    for key, value in data.items():
        if isinstance(value, dict):
            typer.echo(f"{indent}{key}")
            _print(value, as_json, indent + "  ")
        else:
            typer.echo(
                f"{indent}{key}  {value:.6g}"
                if isinstance(value, float)
                else f"{indent}{key}  {value}"
            )


def main() -> None:
    """Run the command line; turn every foreseen failure into one line and its exit code."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except BjerrumError as error:
        _stop(str(error), error.exit_code)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            _stop("the disk is full; free some space and run again", 4)
        if error.errno == errno.EPIPE:
            sys.exit(0)
        raise


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted("interrupted; run the same command again to go on")


def _stop(message: str, code: int) -> None:
    typer.echo(f"bjerrum: {' '.join(message.split())}", err=True)
    sys.exit(code)
