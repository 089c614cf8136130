"""``train``, ``evaluate``, ``check``, ``simulate``: potentials from labels to trajectories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bjerrum.cli.options import JsonFlag, ModelName, print_results
from bjerrum.console import Console

if TYPE_CHECKING:
    from ase import Atoms


def train(
    frames: Annotated[Path, typer.Argument(help="Labelled frames, extended XYZ.")],
    config: Annotated[Path, typer.Option(help="Training TOML, see examples/train_licl.toml.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    work_folder: Annotated[
        Path | None, typer.Option(help="Checkpoints; default: training/ in the model folder.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time.", min=0)] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.", min=1)] = None,
    committee: Annotated[
        int, typer.Option(help="Models to train, of other seeds and splits.", min=1)
    ] = 1,
    start: Annotated[
        str | None, typer.Option("--from", help="Model to start from: fine-tuning.")
    ] = None,
    new_baseline: Annotated[
        bool, typer.Option("--new-baseline", help="The baseline may differ from that model's.")
    ] = False,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Accept labels of several levels of theory.")
    ] = False,
    close_pairs: Annotated[
        bool, typer.Option("--close-pairs", help="Accept metal pairs far inside contact.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option(help="Compiled code on the CPU, where it can be had.")
    ] = True,
) -> None:
    """Train a potential, or go on training it, and write the model with its measured errors."""
    import torch

    from bjerrum.dataset import load_dataset
    from bjerrum.errors import InputError
    from bjerrum.potential.routine import TrainingRequest, train_committee, train_model
    from bjerrum.potential.spec import TrainingSpec
    from bjerrum.potential.starting import starting_point
    from bjerrum.specification import read_spec

    if new_baseline and start is None:
        raise InputError("--new-baseline: expected --from MODEL with it")
    request = TrainingRequest(
        read_spec(config, TrainingSpec),
        config,
        output,
        work_folder or output / "training",
        None if start is None else starting_point(start),
        new_baseline,
        max_minutes,
        compiled,
    )
    if threads is not None:
        torch.set_num_threads(threads)
    dataset = load_dataset(frames, mixed=mixed, close_pairs=close_pairs)
    with Console() as console:
        if committee == 1:
            errors = train_model(dataset, request, console.training, console.announce)
        else:
            errors = train_committee(
                dataset, request, committee, console.training, console.announce
            )
    typer.echo(json.dumps(errors, indent=1))


def committee(
    members: Annotated[list[str], typer.Argument(help="Models: folders or shipped names.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Committee folder to write.")],
    frames: Annotated[
        Path | None,
        typer.Option(help="What they were trained on: states the errors on their test blocks."),
    ] = None,
) -> None:
    """Make a committee of trained models: usable as a model, with the spread as its doubt."""
    from bjerrum.dataset import load_dataset
    from bjerrum.errors import InputError
    from bjerrum.potential.card import CARD, read_card
    from bjerrum.potential.packing import pack_committee, unseen_frames

    if len(members) < 2:
        raise InputError(f"committee: expected two models or more, got {len(members)}")
    if (output / CARD).is_file() and not read_card(output).members:
        raise InputError(f"{output}: holds a model that is no committee; choose another output")
    test = [] if frames is None else unseen_frames(load_dataset(frames, mixed=True), members)
    with Console() as console:
        pack_committee(
            members,
            output,
            test,
            on_frame=lambda done: console.announce("Measuring the committee", done, len(test)),
        )
    typer.echo(str(output))


def evaluate(
    frames: Annotated[Path, typer.Argument(help="Labelled frames, extended XYZ.")],
    model: ModelName,
    figure: Annotated[
        Path | None, typer.Option(help="HTML file of figures to write: parity and errors.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare a model with labelled frames, per element, in meV/angstrom."""
    from bjerrum.dataset import load_dataset
    from bjerrum.errors import InputError
    from bjerrum.potential.evaluate import summarise
    from bjerrum.potential.model import load_model
    from bjerrum.potential.residuals import collect_residuals

    if figure is not None and figure.suffix.lower() != ".html":
        raise InputError(f"{figure}: expected the name of an HTML file to write")
    dataset = load_dataset(frames, mixed=True, close_pairs=True)
    loaded = load_model(model)
    with Console() as console:
        total = len(dataset.frames)
        residuals = collect_residuals(
            loaded,
            dataset.frames,
            ions=[element for element, _ in loaded.baseline.charges],
            on_frame=lambda done: console.announce("Evaluating", done, total),
        )
    errors = summarise(residuals)
    if figure is not None:
        from bjerrum.potential.figures import write_evaluation_figure

        write_evaluation_figure(residuals, errors, f"{loaded.card.name}: {frames.name}", figure)
    print_results(errors, as_json)


def check(
    model: ModelName,
    frames: Annotated[Path | None, typer.Argument(help="A structure; default: a LiCl box.")] = None,
    exported: Annotated[
        Path | None, typer.Option(help="A network file of bjerrum export, to be checked too.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the trust gate on a model; exit code 3 if a check fails."""
    from bjerrum.checks import require
    from bjerrum.coarse.gate import run_coarse_gate
    from bjerrum.coarse.model import is_coarse, load_coarse
    from bjerrum.errors import InputError
    from bjerrum.potential.forms import exported_equals_plain
    from bjerrum.potential.gate import run_gate
    from bjerrum.potential.model import load_model

    if is_coarse(model):
        if exported is not None:
            raise InputError("--exported: expected a model with a network, got a coarse one")
        checks = run_coarse_gate(load_coarse(model))
    else:
        loaded, atoms = load_model(model), _configuration(frames)
        checks = run_gate(loaded, atoms, timed=True)
        if exported is not None:
            checks += exported_equals_plain(loaded, exported, atoms)
    passed = all(c.passed for c in checks)
    if as_json:
        print_results({"passed": passed, "checks": [c.to_json() for c in checks]}, as_json)
    else:
        for c in checks:
            verdict = "pass" if c.passed else "FAIL"
            typer.echo(f"{verdict}  {c.name}: {c.value:.3g} {c.unit} (limit {c.limit:g})")
    require(checks)


def export(
    model: ModelName,
    form: Annotated[str, typer.Option("--format", help="lammps or aotinductor.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    box: Annotated[Path | None, typer.Option(help="A configuration; default: a LiCl box.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, for the compiled network.")] = "cpu",
    network: Annotated[
        bool, typer.Option(help="With lammps: compile the network too (minutes).")
    ] = True,
) -> None:
    """Write a model for LAMMPS, or its network compiled by AOTInductor."""
    from bjerrum.errors import InputError
    from bjerrum.potential.export import NETWORK_FILE, export_aotinductor, export_lammps
    from bjerrum.potential.model import load_model
    from bjerrum.potential.neutrality import require_neutral

    if form not in {"lammps", "aotinductor"}:
        raise InputError(f"--format: expected lammps or aotinductor, got {form!r}")
    if device not in {"cpu", "cuda"}:
        raise InputError(f"--device: expected cpu or cuda, got {device!r}")
    loaded, atoms = load_model(model), _configuration(box)
    require_neutral(loaded, list(atoms.symbols))
    written = export_lammps(loaded, atoms, output) if form == "lammps" else []
    if form == "aotinductor" or network:
        written.append(export_aotinductor(loaded, atoms, output / NETWORK_FILE, device=device))
    for path in written:
        typer.echo(str(path))


def _configuration(path: Path | None) -> Atoms:
    """Return the first frame of a file, or a LiCl box."""
    from bjerrum.boxes import build_box, equilibrate_box
    from bjerrum.frames import read_frames
    from bjerrum.system import Salt, Solution

    if path is not None:
        return read_frames(path)[0]
    solution = Solution(Salt.parse("LiCl"), 2.78, 298.15)
    return equilibrate_box(build_box(solution, 80, seed=1), solution, time_ps=20, seed=1)
