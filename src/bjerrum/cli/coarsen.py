"""``coarsen``: a second potential for the ions alone, from the forces on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.comparing import one_for_each
from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.console import Console

if TYPE_CHECKING:
    from bjerrum.coarse.learning import NetworkTraining
    from bjerrum.coarse.model import CoarseModel
    from bjerrum.coarse.routine import CoarseningSpec, Rdfs
    from bjerrum.coarse.simulate import IonBox
    from bjerrum.electrostatics import ScreenedCoulomb

_LONGEST_NETWORK = 10.0


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
    datasets: Annotated[
        bool, typer.Option("--datasets", help="The files are what --dataset-only wrote.")
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
    from bjerrum.coarse.routine import DATASET_FILE, CoarseningSpec
    from bjerrum.coarse.routine import coarsen as make_model

    spec = CoarseningSpec(
        n_radial=0 if pairs_alone else 4,
        iterations=iterations,
        polish_ps=polish_ps,
        replicas=replicas,
        network=_network(networks, network_cutoff),
    )
    if datasets:
        _print_model(
            _from_datasets(trajectories, output, spec, polish_on, (edge, n_pairs)), as_json
        )
        return
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
        made = make_model(
            sources,
            output,
            baseline=baseline,
            temperature=temperature,
            spec=spec,
            reduce_noise=noise_reduction,
            rdfs=_rdfs(polish_on, baseline, (edge, n_pairs)),
            announce=console.announce,
        )
    _print_model(made, as_json)


def _print_model(made: CoarseModel, as_json: bool) -> None:
    print_results(made.card.model_dump(mode="json"), as_json)
    for line in made.card.errors.get("advice", []):
        typer.echo(f"bjerrum: {line}", err=True)


def _from_datasets(
    paths: list[Path],
    output: Path,
    spec: CoarseningSpec,
    polish_on: list[Path] | None,
    size: tuple[float | None, int | None],
) -> CoarseModel:
    """Return the model of what `--dataset-only` wrote; baseline and temperature are the files'."""
    from bjerrum.coarse.dataset import load_ions, merge_ions
    from bjerrum.coarse.routine import fit_model

    data = merge_ions([load_ions(path) for path in paths])
    rdfs = _rdfs(polish_on, data.baseline, size)
    with Console() as console:
        return fit_model(data, output, spec, rdfs=rdfs, announce=console.announce)


def _rdfs(
    paths: list[Path] | None, baseline: ScreenedCoulomb, size: tuple[float | None, int | None]
) -> Rdfs | None:
    from bjerrum.coarse.routine import Rdfs

    if not paths:
        return None
    return Rdfs(paths=tuple(paths), box=_rdf_box(baseline, *size))


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
