"""``coarsen`` and ``ions``: a second potential for the ions alone, and what it is good for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.comparing import compare, one_for_each
from bjerrum.cli.options import JsonFlag, ModelName, print_results
from bjerrum.console import Console

if TYPE_CHECKING:
    from bjerrum.coarse.learning import NetworkTraining
    from bjerrum.coarse.simulate import IonBox, Sampling
    from bjerrum.electrostatics import ScreenedCoulomb

_LONGEST_NETWORK = 10.0

ions = typer.Typer(help="Run a coarse-grained model of ions in a continuum.", no_args_is_help=True)


def coarsen(
    trajectories: Annotated[
        list[Path],
        typer.Argument(help="All-atom trajectories with forces, or CSV files of RDFs (--rdf)."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    topology: Annotated[
        list[Path] | None,
        typer.Option(help="Atom names, for TRR and the like: one for all, or one for each."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="All-atom model that gives forces where there are none.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, for --model.")] = "cpu",
    charges: Annotated[
        str | None, typer.Option(help='"Na=1,Cl=-1"; default: those of --model.')
    ] = None,
    dielectric: Annotated[
        float | None, typer.Option(help="Dielectric constant of the solvent; default: --model's.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Kelvin, of the trajectory.")] = 298.15,
    stride: Annotated[int, typer.Option(help="Every so many frames.", min=1)] = 1,
    skip_ps: Annotated[float, typer.Option(help="Left out at the start.", min=0)] = 0.0,
    noise_reduction: Annotated[bool, typer.Option(help="Subtract solvent noise.")] = True,
    pairs_alone: Annotated[
        bool, typer.Option("--pairs-alone", help="No three-body terms (for LAMMPS tables).")
    ] = False,
    networks: Annotated[
        int,
        typer.Option("--network", help="Members of a committee of many-body networks.", min=0),
    ] = 0,
    network_cutoff: Annotated[float, typer.Option(help="Of the networks, angstrom.", min=3)] = 8.0,
    iterations: Annotated[int, typer.Option(help="Of the polish on g(r).", min=0)] = 6,
    polish_ps: Annotated[float, typer.Option(help="Run of each replica in an iteration.")] = 100.0,
    dataset_only: Annotated[
        bool, typer.Option("--dataset-only", help="Write the ions-only data set and stop.")
    ] = False,
    rdf: Annotated[
        bool, typer.Option("--rdf", help="The files are RDFs: a pair model from them alone.")
    ] = False,
    polish_on: Annotated[
        list[Path] | None,
        typer.Option(help="CSV files of RDFs to polish on, instead of the trajectories' own."),
    ] = None,
    edge: Annotated[float | None, typer.Option(help="Of the box of the RDFs, angstrom.")] = None,
    n_pairs: Annotated[
        int | None, typer.Option("--pairs", help="Ion pairs in the box of the RDFs.")
    ] = None,
    replicas: Annotated[int, typer.Option(help="Of the runs of the polish.", min=2)] = 4,
    as_json: JsonFlag = False,
) -> None:
    """Make a coarse-grained model of the ions from all-atom trajectories; see `bjerrum ions`."""
    from bjerrum.coarse.dataset import Source, make_dataset
    from bjerrum.coarse.routine import DATASET_FILE, CoarseningSpec, Rdfs
    from bjerrum.coarse.routine import coarsen as make_model

    baseline, potential = _baseline(model, device, charges, dielectric)
    with Console() as console:
        if rdf:
            made = _from_rdfs(
                trajectories,
                output,
                baseline,
                temperature,
                (edge, n_pairs),
                (iterations, polish_ps),
                console,
            )
            print_results(made.card.model_dump(mode="json"), as_json)
            return
        sources = [
            Source(path=p, topology=t, model=potential, stride=stride, skip_ps=skip_ps)
            for p, t in zip(trajectories, one_for_each(topology, trajectories), strict=True)
        ]
        if dataset_only:
            summary = make_dataset(
                sources,
                output / DATASET_FILE,
                baseline=baseline,
                temperature=temperature,
                reduce_noise=noise_reduction,
                announce=console.announce,
            )
            print_results(summary, as_json)
            return
        spec = CoarseningSpec(
            n_radial=0 if pairs_alone else 4,
            iterations=iterations,
            polish_ps=polish_ps,
            replicas=replicas,
            network=_network(networks, network_cutoff),
        )
        made = make_model(
            sources,
            output,
            baseline=baseline,
            temperature=temperature,
            spec=spec,
            reduce_noise=noise_reduction,
            rdfs=Rdfs(paths=tuple(polish_on), box=_rdf_box(baseline, edge, n_pairs))
            if polish_on
            else None,
            announce=console.announce,
        )
    print_results(made.card.model_dump(mode="json"), as_json)
    for line in made.card.errors.get("advice", []):
        typer.echo(f"bjerrum: {line}", err=True)


def _network(members: int, cutoff: float) -> NetworkTraining:
    from bjerrum.coarse.learning import NetworkTraining
    from bjerrum.coarse.network import DEFAULT_FORM
    from bjerrum.errors import InputError

    if members and cutoff > _LONGEST_NETWORK:
        raise InputError(
            f"--network-cutoff: expected at most {_LONGEST_NETWORK:g} angstrom, the cutoff of the "
            f"pair functions, got {cutoff:g}"
        )
    form = DEFAULT_FORM.model_copy(update={"cutoff_angstrom": cutoff})
    return NetworkTraining(form=form, members=members)


def _baseline(
    model: str | None, device: str, charges: str | None, dielectric: float | None
) -> tuple[ScreenedCoulomb, Any]:
    """Return the baseline of the ions and the all-atom potential, if one is named."""
    from bjerrum.electrostatics import ScreenedCoulomb
    from bjerrum.errors import InputError

    potential, own = None, None
    if model is not None:
        from bjerrum.potential.model import load_model

        potential = load_model(model, device=device)
        own = potential.baseline
    if own is None and (charges is None or dielectric is None):
        raise InputError("expected --charges and --dielectric, or --model to take them from")
    given = dict(own.charges) if own is not None else {}
    if charges is not None:
        given = _charges(charges)
    constant = dielectric if dielectric is not None else own.dielectric_constant  # type: ignore[union-attr]
    return ScreenedCoulomb.of(given, constant), potential


def _charges(text: str) -> dict[str, float]:
    from bjerrum.errors import InputError

    try:
        items = dict(item.split("=") for item in text.split(","))
        return {element.strip(): float(charge) for element, charge in items.items()}
    except ValueError as error:
        raise InputError(f'--charges: expected such as "Na=1,Cl=-1", got {text!r}') from error


def _from_rdfs(
    paths: list[Path],
    output: Path,
    baseline: ScreenedCoulomb,
    temperature: float,
    size: tuple[float | None, int | None],
    polish: tuple[int, float],
    console: Console,
) -> Any:
    from bjerrum.coarse.inverse import model_of_rdfs

    box = _rdf_box(baseline, *size)
    return model_of_rdfs(
        paths,
        box,
        output,
        baseline=baseline,
        temperature=temperature,
        iterations=polish[0],
        polish_ps=polish[1],
        announce=console.announce,
    )


def _rdf_box(baseline: ScreenedCoulomb, edge: float | None, n_pairs: int | None) -> IonBox:
    from bjerrum.coarse.simulate import IonBox
    from bjerrum.errors import InputError

    if edge is None or n_pairs is None:
        raise InputError("RDFs: expected --edge and --pairs of their box with them")
    ions_charged = [item for item in baseline.charges if item[1]]
    order = sorted(ions_charged, key=lambda item: -item[1])
    if len(order) != 2:
        raise InputError(f"RDFs: expected one cation and one anion, got {dict(order)}")
    (cation, _), (anion, _) = order
    return IonBox(cation=cation, anion=anion, n_cations=n_pairs, n_anions=n_pairs, edge=edge)


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
    threads: Annotated[int, typer.Option(help="Replicas at once.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.")] = 1,
    as_json: JsonFlag = False,
) -> None:
    """g(r), S(k) and activity derivatives against concentration."""
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


def _sampling(
    temperature: float, time_ps: float, replicas: int, timestep_fs: float, seed: int
) -> Sampling:
    from bjerrum.coarse.simulate import Sampling

    return Sampling(
        temperature=temperature,
        time_ps=time_ps,
        equilibration_ps=max(20.0, time_ps / 5),
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
    from bjerrum.coarse.model import load_coarse

    loaded = load_coarse(model)
    temperature = loaded.card.temperature_K
    write_pmf_csv(loaded.potential, output, temperature=temperature)
    residual = three_body_residual(loaded.potential, temperature=temperature)
    print_results({"pmf": str(output), "three_body_residual": residual}, as_json)


@ions.command("lammps")
def lammps(
    model: ModelName,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    concentration: Annotated[float, typer.Option(help="mol/L of the box.")] = 2.5,
    n_pairs: Annotated[int, typer.Option("--pairs", help="Ion pairs in the box.", min=2)] = 200,
    seed: Annotated[int, typer.Option(help="Chooses the first configuration.")] = 1,
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
        loaded.potential, box, places, output, temperature=loaded.card.temperature_K
    ):
        typer.echo(str(path))


@ions.command("crystal")
def crystal(
    model: ModelName,
    concentration: Annotated[float, typer.Option(help="mol/L of the whole box.")] = 4.0,
    time_ps: Annotated[float, typer.Option(help="Length of each run.")] = 200.0,
    cells: Annotated[int, typer.Option(help="Unit cells along an edge.", min=2)] = 3,
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
                announce=console.announce,
            )
            for start in ("crystal", "solution")
        ]
    print_results({"model": loaded.card.name} | crystal_report(runs), as_json)
