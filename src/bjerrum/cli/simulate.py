"""``simulate``: dynamics of boxes with a model, one or many side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.options import ModelName
from bjerrum.console import Console
from bjerrum.errors import InputError

if TYPE_CHECKING:
    from bjerrum.dynamics.single import SimulationSpec

DEFAULT_WATERS = 80
OPTION_OF = {"on_event": "--watch", "keep_velocities": "--velocities"}
"""Options whose names are not those of their settings."""


def simulate(
    model: ModelName,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="H5MD file; a folder for several boxes.")
    ],
    box: Annotated[
        Path | None, typer.Option(help="First configuration, such as `build` writes.")
    ] = None,
    salt: Annotated[
        str | None, typer.Option(help="Instead of a box: formula, such as LiCl.")
    ] = None,
    molality: Annotated[
        list[float] | None, typer.Option(help="mol per kg of water; repeat it for several boxes.")
    ] = None,
    waters: Annotated[
        int | None,
        typer.Option(help="Water molecules of each box that is built.", min=8, show_default="80"),
    ] = None,
    replicas: Annotated[int, typer.Option(help="Runs of each molality, or of the box.", min=1)] = 1,
    time_ps: Annotated[float | None, typer.Option(help="Length of each run.")] = None,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Instead of a length: wall time of a single run.", min=0.1)
    ] = None,
    temperature: Annotated[float, typer.Option(help="Kelvin.")] = 298.15,
    timestep_fs: Annotated[float, typer.Option(help="Time step; the outer one of several.")] = 1.0,
    friction_per_ps: Annotated[float, typer.Option(help="Langevin; 0 for none (NVE).")] = 5.0,
    frame_every_fs: Annotated[float, typer.Option(help="Time between frames.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.")] = 1,
    inner_steps: Annotated[
        int, typer.Option(help="Steps of a cheap fitted potential in each time step.")
    ] = 1,
    hydrogen_mass: Annotated[
        float | None, typer.Option(help="amu; configurations only, times mean nothing.")
    ] = None,
    pressure_bar: Annotated[
        float | None, typer.Option(help="Constant pressure; default: constant volume.")
    ] = None,
    velocities: Annotated[bool, typer.Option("--velocities", help="Keep velocities.")] = False,
    watch: Annotated[
        str, typer.Option(help="On a broken bond and the like: continue, stop, or off.")
    ] = "continue",
    evaluation: Annotated[
        str,
        typer.Option(help="auto, fused (compiled network), plain, or batched (all boxes at once)."),
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="cpu, or cuda: all boxes as one batch on the graphics card.")
    ] = "cpu",
) -> None:
    """Run dynamics with a model; the same command goes on after an interruption."""
    _refuse_ion_model(model)
    if (time_ps is None) == (budget_minutes is None):
        raise InputError("give --time-ps or --budget-minutes")
    if (box is None) == (salt is None) or (salt is None) != (not molality):
        raise InputError("give --box, or --salt and --molality")
    if box is not None and waters is not None:
        raise InputError("--waters is for boxes that are built; a --box has its own")
    several = box is None or replicas > 1
    if several and budget_minutes is not None:
        raise InputError("--budget-minutes is for a single box; give --time-ps")
    if several and output.suffix:
        _refuse_file(output)
    given = {
        "time_ps": max(1.0, frame_every_fs / 1e3) if time_ps is None else time_ps,
        "temperature": temperature,
        "timestep_fs": timestep_fs,
        "friction_per_ps": friction_per_ps,
        "frame_every_fs": frame_every_fs,
        "seed": seed,
        "inner_steps": inner_steps,
        "hydrogen_mass": hydrogen_mass,
        "pressure_bar": pressure_bar,
        "keep_velocities": velocities,
        "on_event": watch,
        "evaluation": evaluation,
    }
    spec = _validated(given)
    with Console() as console:
        if (rounded := spec.rounded_interval()) is not None:
            console.say(rounded)
        if box is None:
            _simulate_solutions(
                model, str(salt), molality or [], waters or DEFAULT_WATERS, replicas, spec, output,
                device, console,
            )  # fmt: skip
        elif several:
            from bjerrum.dynamics.several import simulate_replicas

            simulate_replicas(
                model, box, replicas, spec, output, console.announce, device=device,
                say=console.say,
            )  # fmt: skip
        else:
            from bjerrum.dynamics.single import simulate_box

            simulate_box(
                model, box, spec, output, console.announce,
                budget_minutes=budget_minutes, device=device, say=console.say,
            )  # fmt: skip
    typer.echo(str(output))


def _refuse_ion_model(model: str) -> None:
    from bjerrum.coarse.model import is_coarse

    if is_coarse(model):
        raise InputError(
            f"{model}: is a model of the ions alone, without water; run it with bjerrum ions "
            "(series, compare, pmf, lammps, crystal)"
        )


def _refuse_file(output: Path) -> None:
    from bjerrum.dynamics.single import H5MD_SUFFIXES

    if output.suffix in (*H5MD_SUFFIXES, ".xyz", ".extxyz") or output.is_file():
        raise InputError(f"{output}: expected a folder for the trajectories of several boxes")


def _validated(given: dict[str, Any]) -> SimulationSpec:
    """Validate the settings; what is wrong is called by the name of its option."""
    from bjerrum.dynamics.single import SimulationSpec
    from bjerrum.specification import validate_spec

    try:
        return validate_spec(given, SimulationSpec, "simulate")
    except InputError as error:
        found = re.fullmatch(r"simulate: (\w+): (.*)", str(error), re.DOTALL)
        if found is None:
            raise
        option = OPTION_OF.get(found[1], "--" + found[1].replace("_", "-"))
        raise InputError(f"{option}: {found[2]}") from error


def _simulate_solutions(
    model: str, salt: str, molalities: list[float], waters: int, replicas: int,
    spec: SimulationSpec, output: Path, device: str, console: Console,
) -> None:  # fmt: skip
    from bjerrum.dynamics.several import simulate_several
    from bjerrum.system import Salt, Solution

    solutions = [Solution(Salt.parse(salt), m, spec.temperature) for m in molalities]
    simulate_several(
        model, solutions, waters, replicas, spec, output, console.announce, device=device,
        say=console.say,
    )  # fmt: skip
