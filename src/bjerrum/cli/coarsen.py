"""``coarsen``: a second potential for the ions alone, from the forces on them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.comparing import one_for_each
from bjerrum.cli.idle import refuse_idle_options
from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.console import Console

if TYPE_CHECKING:
    from bjerrum.coarse.model import CoarseModel
    from bjerrum.coarse.routine import Rdfs
    from bjerrum.coarse.simulate import IonBox
    from bjerrum.coarse.spec import CoarseningSpec, NetworkTraining
    from bjerrum.electrostatics import ScreenedCoulomb

_LONGEST_NETWORK = 10.0
_REPLICAS, _REPLICAS_OF_RDFS = 4, 8
_LEAST_EDGE = 20.0
_TEMPERATURES = (1.0, 3000.0)


def coarsen(
    context: typer.Context,
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
    replicas: Annotated[
        int | None, typer.Option(help="Of the runs of the polish; default 4, --rdf 8.", min=2)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a coarse-grained model of the ions from all-atom trajectories; see `bjerrum ions`."""
    from bjerrum.coarse.dataset import Source, make_dataset, require_usable
    from bjerrum.coarse.routine import DATASET_FILE
    from bjerrum.coarse.routine import coarsen as make_model

    mode = {"--datasets": datasets, "--rdf": rdf, "--dataset-only": dataset_only}
    refuse_idle_options(context, [name for name, chosen in mode.items() if chosen])
    _check_numbers(temperature, skip_ps, polish_ps)
    spec = _spec(
        n_radial=0 if pairs_alone else 4,
        iterations=iterations,
        polish_ps=polish_ps,
        replicas=replicas or _REPLICAS,
        network=_network(networks, network_cutoff),
    )
    size = (edge, n_pairs)
    if datasets:
        own = _own_baseline(charges, dielectric)
        _print_model(_from_datasets(trajectories, output, spec, own, polish_on, size), as_json)
        return
    pairs = list(zip(trajectories, one_for_each(topology, trajectories), strict=True))
    baseline, potential = _baseline(model, device, charges, dielectric)
    rdfs = _rdfs(polish_on, baseline, size)
    with Console() as console:
        if rdf:
            polish = (iterations, polish_ps, replicas or _REPLICAS_OF_RDFS)
            made = _from_rdfs(trajectories, output, baseline, temperature, size, polish, console)
            print_results(made.card.model_dump(mode="json"), as_json)
            return
        sources = [
            Source(path=p, topology=t, model=potential, stride=stride, skip_ps=skip_ps)
            for p, t in pairs
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
        cutoff = None if rdfs else spec.pair_cutoff_angstrom  # no run in the trajectories' own box
        require_usable(sources, baseline, cutoff=cutoff)
        made = make_model(
            sources,
            output,
            baseline=baseline,
            temperature=temperature,
            spec=spec,
            reduce_noise=noise_reduction,
            rdfs=rdfs,
            announce=console.announce,
        )
    _print_model(made, as_json)


def _check_numbers(temperature: float, skip_ps: float, polish_ps: float) -> None:
    from bjerrum.errors import InputError

    low, high = _TEMPERATURES
    if not low <= temperature <= high:
        raise InputError(f"--temperature: expected {low:g} to {high:g} K, got {temperature:g}")
    if not math.isfinite(skip_ps):
        raise InputError(f"--skip-ps: expected 0 or more picoseconds, got {skip_ps:g}")
    if not 0 < polish_ps < math.inf:
        raise InputError(f"--polish-ps: expected more than 0 picoseconds, got {polish_ps:g}")


def _spec(**settings: Any) -> CoarseningSpec:
    from bjerrum.coarse.spec import CoarseningSpec
    from bjerrum.specification import validate_spec

    return validate_spec(settings, CoarseningSpec, "coarsen")


def _print_model(made: CoarseModel, as_json: bool) -> None:
    print_results(made.card.model_dump(mode="json"), as_json)
    for line in made.card.errors.get("advice", []):
        typer.echo(f"bjerrum: {line}", err=True)


def _from_datasets(
    paths: list[Path],
    output: Path,
    spec: CoarseningSpec,
    baseline: ScreenedCoulomb | None,
    polish_on: list[Path] | None,
    size: tuple[float | None, int | None],
) -> CoarseModel:
    """Return the model of what `--dataset-only` wrote; the temperature is the files'.

    baseline  the one that the user asks for, which must be the files'
    """
    from bjerrum.coarse.dataset import load_ions, merge_ions
    from bjerrum.coarse.routine import fit_model

    data = merge_ions([load_ions(path, baseline=baseline) for path in paths])
    rdfs = _rdfs(polish_on, data.baseline, size)
    with Console() as console:
        return fit_model(data, output, spec, rdfs=rdfs, announce=console.announce)


def _own_baseline(charges: str | None, dielectric: float | None) -> ScreenedCoulomb | None:
    """Return the baseline that was asked for with --datasets; None where the files' will do."""
    from bjerrum.electrostatics import ScreenedCoulomb
    from bjerrum.errors import InputError

    if charges is None and dielectric is None:
        return None
    if charges is None or dielectric is None:
        raise InputError("--datasets: expected --charges and --dielectric together, or neither")
    return ScreenedCoulomb.of(_charges(charges), dielectric)


def _rdfs(
    paths: list[Path] | None, baseline: ScreenedCoulomb, size: tuple[float | None, int | None]
) -> Rdfs | None:
    from bjerrum.coarse.inverse import target_of_rdfs
    from bjerrum.coarse.routine import Rdfs

    if not paths:
        return None
    rdfs = Rdfs(paths=tuple(paths), box=_rdf_box(baseline, *size))
    target_of_rdfs(rdfs.paths, rdfs.box, rdfs.n_independent)
    return rdfs


def _network(members: int, cutoff: float) -> NetworkTraining:
    from bjerrum.coarse.network import DEFAULT_FORM
    from bjerrum.coarse.spec import NetworkTraining
    from bjerrum.errors import InputError

    if members and cutoff > _LONGEST_NETWORK:
        raise InputError(
            f"--network-cutoff: expected at most {_LONGEST_NETWORK:g} angstrom, the cutoff of the "
            f"pair functions, got {cutoff:g}"
        )
    if members:
        from bjerrum.potential.fused.compiler import find_compiler

        find_compiler()
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
    polish: tuple[int, float, int],
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
        replicas=polish[2],
        announce=console.announce,
    )


def _rdf_box(baseline: ScreenedCoulomb, edge: float | None, n_pairs: int | None) -> IonBox:
    from bjerrum.coarse.simulate import IonBox
    from bjerrum.errors import InputError

    if edge is None or n_pairs is None:
        raise InputError("RDFs: expected --edge and --pairs of their box with them")
    if not (_LEAST_EDGE <= edge < math.inf and n_pairs >= 1):
        raise InputError(
            f"RDFs: expected --edge of {_LEAST_EDGE:g} angstrom or more, twice the cutoff of the "
            f"pair functions, and one pair or more, got {edge:g} and {n_pairs}"
        )
    ions_charged = [item for item in baseline.charges if item[1]]
    order = sorted(ions_charged, key=lambda item: -item[1])
    if len(order) != 2:
        raise InputError(f"RDFs: expected one cation and one anion, got {dict(order)}")
    (cation, _), (anion, _) = order
    return IonBox(cation=cation, anion=anion, n_cations=n_pairs, n_anions=n_pairs, edge=edge)
