"""``ions``: what a coarse-grained model of ions in a continuum is good for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.comparing import compare
from bjerrum.cli.options import JsonFlag, ModelName, print_results
from bjerrum.console import Console

if TYPE_CHECKING:
    from bjerrum.coarse.simulate import Sampling

ions = typer.Typer(help="Run a coarse-grained model of ions in a continuum.", no_args_is_help=True)


@ions.command("series")
def series(
    model: ModelName,
    concentrations: Annotated[
        str, typer.Option(help="mol/L: 0.5,1,2 or 0.5:4:8.")
    ] = "0.5,1,1.5,2,2.5",
    time_ps: Annotated[float, typer.Option(help="Of each replica.")] = 200.0,
    replicas: Annotated[int, typer.Option(help="At each concentration.", min=2)] = 16,
    n_pairs: Annotated[int, typer.Option("--pairs", help="Ion pairs in a box.", min=2)] = 24,
    timestep_fs: Annotated[float, typer.Option(help="Time step.")] = 15.0,
    jumps: Annotated[
        float, typer.Option(help="Monte Carlo jumps of each ion per 6 ps.", min=0)
    ] = 0.0,
    model_error: Annotated[
        bool, typer.Option(help="Run the committee too, as long again, for the model's own error.")
    ] = True,
    threads: Annotated[int, typer.Option(help="Replicas at once.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.", min=0)] = 1,
    as_json: JsonFlag = False,
) -> None:
    """g(r), S(k) and activity derivatives against concentration."""
    from bjerrum.coarse.members import committee_of
    from bjerrum.coarse.model import load_coarse
    from bjerrum.coarse.series import concentration_series
    from bjerrum.thermodynamics.request import parse_concentrations

    loaded = load_coarse(model)
    sampling = replace(
        _sampling(loaded.card.temperature_K, time_ps, replicas, timestep_fs, seed), jumps=jumps
    )
    with Console() as console:
        points = concentration_series(
            loaded.potential,
            parse_concentrations(concentrations),
            sampling,
            n_pairs=n_pairs,
            members=committee_of(loaded) if model_error else (),
            threads=threads,
            announce=console.announce,
        )
    data = {"model": loaded.card.name, "points": [point.to_json() for point in points]}
    if as_json:
        print_results(data, as_json)
        return
    for point in points:
        values = ", ".join(f"{name} {value}" for name, value in point.dlna_dlnc.items())
        typer.echo(f"{point.molarity:.3g} mol/L  d ln a/d ln c at constant mu_w: {values}")
        typer.echo(f"    {point.screening.line()}")
        if model_error:
            typer.echo(f"    model's own error: {_own_error(point.model_error)}")


def _own_error(error: dict[str, Any] | None) -> str:
    """Return what a person reads of :func:`bjerrum.coarse.members.errors_of_points`."""
    if error is None or error["members"] < 2:
        return "none (a committee of one)"
    derivatives = ", ".join(
        f"{name} {found['standard_error']:.2g} (resolved from {found['resolution']:.1g})"
        for name, found in error["dlna_dlnc_mcmillan_mayer"].items()
        if found is not None
    )
    return f"d ln a/d ln c {derivatives}; at most, if polished on g(r)"


def _sampling(
    temperature: float, time_ps: float, replicas: int, timestep_fs: float, seed: int
) -> Sampling:
    from bjerrum.coarse.systems import EQUILIBRATION_PS, Sampling

    return Sampling(
        temperature=temperature,
        time_ps=time_ps,
        equilibration_ps=max(EQUILIBRATION_PS, time_ps / 5),
        replicas=replicas,
        timestep_fs=timestep_fs,
        seed=seed,
    )


ions.command("compare")(compare)


@ions.command("pmf")
def pmf(
    model: ModelName,
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV for `bjerrum solve`.")],
    as_json: JsonFlag = False,
) -> None:
    """Pair potentials of mean force at infinite dilution, and three-body residuals."""
    from bjerrum.coarse.dilution import three_body_residual, write_pmf_csv
    from bjerrum.coarse.members import committee_of, pmf_minima
    from bjerrum.coarse.model import load_coarse

    loaded = load_coarse(model)
    temperature = loaded.card.temperature_K
    write_pmf_csv(loaded.potential, output, temperature=temperature)
    residual = three_body_residual(loaded.potential, temperature=temperature)
    members = committee_of(loaded)
    minima = pmf_minima(loaded.potential, members, temperature=temperature)
    found = {"pmf": str(output), "members": len(members), "minima": minima}
    if as_json:
        print_results(found | {"three_body_residual": residual}, as_json)
        return
    typer.echo(str(output))
    for pair, rows in minima.items():
        for row in rows:
            typer.echo(f"{pair}: " + ", ".join(f"{k} {_short(v)}" for k, v in row.items()))
    typer.echo(f"three-body residual: {', '.join(f'{k} {_short(v)}' for k, v in residual.items())}")


def _short(value: Any) -> str:
    """Return a number with four digits, and anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@ions.command("lammps")
def lammps(
    model: ModelName,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    concentration: Annotated[float, typer.Option(help="mol/L of the box.")] = 2.5,
    n_pairs: Annotated[int, typer.Option("--pairs", help="Ion pairs in the box.", min=2)] = 200,
    seed: Annotated[int, typer.Option(help="Chooses the first configuration.", min=0)] = 1,
) -> None:
    """Tables, configuration and input for LAMMPS (pair_style table + coul/long)."""
    import numpy as np

    from bjerrum.coarse.dilution import ions_of_model
    from bjerrum.coarse.lammps import export_tables
    from bjerrum.coarse.model import load_coarse
    from bjerrum.coarse.series import box_at
    from bjerrum.coarse.simulate import shaken_lattice

    loaded = load_coarse(model)
    box = box_at(concentration, n_pairs, ions_of_model(loaded.potential))
    places = shaken_lattice(box, np.random.default_rng(seed))
    for path in export_tables(
        loaded.potential,
        box,
        places,
        output,
        temperature=loaded.card.temperature_K,
        seed=seed,
    ):
        typer.echo(str(path))


@ions.command("crystal")
def crystal(
    model: ModelName,
    concentration: Annotated[float, typer.Option(help="mol/L of the whole box.")] = 4.0,
    time_ps: Annotated[float, typer.Option(help="Length of each run.")] = 1000.0,
    cells: Annotated[int, typer.Option(help="Unit cells along an edge.", min=2)] = 3,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.", min=0)] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Does a rock-salt crystal stay; does a solution of the same ions nucleate one?"""
    from bjerrum.coarse.crystal import crystal_report, crystal_run
    from bjerrum.coarse.model import load_coarse

    loaded = load_coarse(model)
    with Console() as console:
        runs = [
            crystal_run(
                loaded.potential,
                temperature=loaded.card.temperature_K,
                time_ps=time_ps,
                molarity=concentration,
                cells=cells,
                start=start,
                seed=seed,
                announce=console.announce,
            )
            for start in ("crystal", "solution")
        ]
    if as_json:
        print_results({"model": loaded.card.name} | crystal_report(runs), as_json)
        return
    for run in runs:
        found = run.to_json()
        constant, known = (
            found[f"{prefix}lattice_constant_angstrom"] for prefix in ("", "experimental_")
        )
        lattice = "" if constant is None else f"; lattice {constant:.2f} A, experiment {known:.2f}"
        typer.echo(
            f"{found['salt']} from {found['start']}, {concentration:g} mol/L, {time_ps:g} ps: "
            f"{found['verdict']}, ordered {found['ordered_start']:.2f} to "
            f"{found['ordered_end']:.2f}{lattice}"
        )
