"""``sample``, ``separations``, ``label``: configurations, and their first-principles forces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bjerrum.cli.options import JsonFlag, ModelName, print_results
from bjerrum.console import Console
from bjerrum.errors import InputError


def sample(
    box: Annotated[Path, typer.Argument(help="First configuration, such as `build` writes.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="H5MD (.h5) or extended XYZ.")],
    method: Annotated[str, typer.Option(help="r2scan (CP2K) or classical.")] = "r2scan",
    time_ps: Annotated[float, typer.Option(help="Length, equilibration included.")] = 2.0,
    equilibrate_ps: Annotated[float, typer.Option(help="Left out of the output.")] = 0.0,
    frame_every_fs: Annotated[float, typer.Option(help="Time between frames.")] = 10.0,
    temperature: Annotated[float, typer.Option(help="Kelvin.")] = 298.15,
    timestep_fs: Annotated[float, typer.Option(help="Time step of r2SCAN dynamics.")] = 0.5,
    friction_per_ps: Annotated[float, typer.Option(help="Langevin.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.")] = 1,
    threads: Annotated[int, typer.Option(help="OpenMP threads of CP2K.", min=1)] = 1,
) -> None:
    """Sample configurations by short dynamics; r2SCAN goes on after an interruption."""
    from bjerrum.sampling import SampleSpec, sample_classical, sample_r2scan
    from bjerrum.specification import validate_spec

    spec = validate_spec(
        {
            "time_ps": time_ps,
            "equilibrate_ps": equilibrate_ps,
            "frame_every_fs": frame_every_fs,
            "temperature": temperature,
            "timestep_fs": timestep_fs,
            "friction_per_ps": friction_per_ps,
            "seed": seed,
        },
        SampleSpec,
        "sample",
    )
    if method == "classical":
        sample_classical(box, spec, output)
    elif method == "r2scan":
        from bjerrum.reference.cp2k import Cp2kProgram, find_cp2k

        program = Cp2kProgram(find_cp2k(), threads=threads)
        with Console() as console:
            sample_r2scan(box, spec, program, output, console.announce)
    else:
        raise InputError(f"--method: expected r2scan or classical, got '{method}'")
    typer.echo(f"frames: {output}")


def separations(
    salt: Annotated[str, typer.Option(help="Formula of a 1:1 salt, such as LiCl.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Extended XYZ to write.")],
    model: ModelName = "licl-nnp1",
    waters: Annotated[int, typer.Option(help="Water molecules beside one ion pair.", min=1)] = 8,
    frames: Annotated[int, typer.Option(help="Independent boxes, a frame each.", min=1)] = 30,
    nearest: Annotated[float, typer.Option(help="First ion separation, angstrom.")] = 2.25,
    farthest: Annotated[
        float | None, typer.Option(help="Last; default: 0.8 of the box edge, at most 6.")
    ] = None,
    settle_ps: Annotated[float, typer.Option(help="Length of each run.", min=0)] = 0.25,
    temperature: Annotated[float, typer.Option(help="Kelvin.")] = 298.15,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.", min=0)] = 1,
) -> None:
    """Frames of one ion pair in a little water, from contact to apart, sampled by a model."""
    from bjerrum.frames import write_frames
    from bjerrum.potential.fused.model import for_dynamics
    from bjerrum.potential.model import load_model
    from bjerrum.separations import sample_separations
    from bjerrum.system import Salt, Solution, molality_of

    solution = Solution(Salt.parse(salt), molality_of(1, waters), temperature)
    limit = min(6.0, 0.8 * solution.box_edge(waters)) if farthest is None else farthest
    with Console() as console:
        found = sample_separations(
            for_dynamics(load_model(model)).potential,
            solution,
            waters,
            n_frames=frames,
            separations=(nearest, limit),
            settle_ps=settle_ps,
            seed=seed,
            announce=console.announce,
        )
    write_frames(output, found)
    typer.echo(f"{len(found)} frames: {output}")


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
    converge: Annotated[
        bool,
        typer.Option(
            "--converge",
            help="Measure the labels' error on the first frame instead; write the settings chosen.",
        ),
    ] = False,
    target: Annotated[
        float, typer.Option(help="Error that the settings may have, meV/angstrom.", min=0)
    ] = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Label frames from first principles; the same command goes on after an interruption."""
    if converge:
        _converge(frames, output, config, method, target, jobs, threads, work_folder, as_json)
        return
    from bjerrum.frames import read_frames
    from bjerrum.labelling import label_frames, write_labelled
    from bjerrum.reference.choose import reference_of, write_corrections

    configurations = read_frames(frames)
    corrections = output.with_name(output.name + ".grid.json")
    reference = reference_of(
        method, configurations, config, ranks=ranks, threads=threads, corrections=corrections
    )
    if output.suffix not in {".xyz", ".extxyz"}:
        raise InputError(f"{output}: expected a name that ends in .extxyz or .xyz")
    known = read_frames(output, labelled=True) if output.is_file() else []
    folder = work_folder or output.with_name(output.name + ".labels")
    with Console() as console:
        labelled = label_frames(
            configurations,
            reference,
            folder,
            known=known,
            jobs=jobs,
            max_hours=max_hours,
            announce=console.announce,
        )
    write_corrections(corrections, reference)
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


def _converge(
    frames: Path,
    output: Path,
    config: Path | None,
    method: str,
    target: float,
    jobs: int,
    threads: int,
    work_folder: Path | None,
    as_json: bool,
) -> None:
    from bjerrum.convergence import chosen_settings, converge_frame, write_settings
    from bjerrum.frames import read_frames
    from bjerrum.reference.choose import cp2k_settings_of
    from bjerrum.reference.cp2k import Cp2kProgram, find_cp2k

    if output.suffix != ".toml":
        raise InputError(f"{output}: expected a name that ends in .toml for the settings chosen")
    settings = cp2k_settings_of(method, config)
    atoms = read_frames(frames)[0]
    folder = work_folder or output.with_name(output.name + ".labels")
    with Console() as console:
        result = converge_frame(
            atoms,
            settings,
            Cp2kProgram(find_cp2k(), threads=threads),
            folder,
            target=target,
            jobs=jobs,
            announce=console.announce,
        )
    write_settings(output, chosen_settings(settings, atoms, result), result)
    if as_json:
        print_results(result, as_json)
        return
    for row in result["variants"]:
        typer.echo(
            f"{row['name']:<32s} {row['cpu_seconds']:7.0f} CPU s  noise {row['noise']:6.1f}  "
            f"error {row['error']:6.1f} meV/angstrom"
        )
    for row in result["finite_differences"]:
        typer.echo(
            f"atom {row['atom']} {row['element']}: force {row['force']:.4f}, "
            f"difference {row['difference']:.4f} eV/angstrom"
        )
    typer.echo(f"chosen: {result['chosen']}; settings: {output}")
