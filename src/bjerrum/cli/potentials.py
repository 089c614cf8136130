"""``train``, ``evaluate``, ``check``, ``simulate``: potentials from labels to trajectories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bjerrum.cli.options import JsonFlag, ModelName, print_results
from bjerrum.console import Console


def train(
    frames: Annotated[Path, typer.Argument(help="Labelled frames, extended XYZ.")],
    config: Annotated[Path, typer.Option(help="Training TOML, see examples/train_licl.toml.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    work_folder: Annotated[
        Path | None, typer.Option(help="Checkpoints; default: training/ in the model folder.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time.", min=0)] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.", min=1)] = None,
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
    dataset = load_dataset(frames)
    with Console() as console, exclusive(folder):
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
    print_results(errors, as_json)


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
        print_results({"passed": passed, "checks": [c.to_json() for c in checks]}, as_json)
    else:
        for c in checks:
            verdict = "pass" if c.passed else "FAIL"
            typer.echo(f"{verdict}  {c.name}: {c.value:.3g} {c.unit} (limit {c.limit:g})")
    require(checks)


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
