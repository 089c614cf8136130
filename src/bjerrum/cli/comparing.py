"""``ions compare``: a coarse-grained model beside all-atom runs that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, ModelName, print_results
from bjerrum.console import Console

if TYPE_CHECKING:
    from bjerrum.coarse.model import CoarseModel
    from bjerrum.coarse.systems import IonBox, Sampling


def compare(
    model: ModelName,
    trajectories: Annotated[
        list[Path], typer.Argument(help="All-atom trajectories that the model has not seen.")
    ],
    topology: Annotated[
        list[Path] | None,
        typer.Option(help="Atom names, for TRR and the like: one for all, or one for each."),
    ] = None,
    skip_ps: Annotated[float, typer.Option(help="Left out at the start.", min=0)] = 0.0,
    stride: Annotated[int, typer.Option(help="Every so many frames.", min=1)] = 1,
    pmf_table: Annotated[
        Path | None, typer.Option("--pmf", help="CSV of short-range PMFs to compare with.")
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(help="CSV of RDFs of a long all-atom run in the first trajectory's box."),
    ] = None,
    published_model: Annotated[
        Path | None, typer.Option(help="The same of somebody's coarse-grained model.")
    ] = None,
    time_ps: Annotated[float, typer.Option(help="Of each replica.")] = 600.0,
    replicas: Annotated[int, typer.Option(help="At each concentration.", min=2)] = 16,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.", min=0)] = 1,
    model_error: Annotated[
        bool, typer.Option(help="Run the committee too, as long again, for the model's own error.")
    ] = True,
    as_json: JsonFlag = False,
) -> None:
    """Held-out all-atom runs: int |dg| dr by pair and concentration, noise beside; exit code 3."""
    from bjerrum.coarse.comparison import (
        compare_model,
        compare_pmfs,
        published_differences,
        references_of,
        require_published,
    )
    from bjerrum.coarse.model import load_coarse
    from bjerrum.coarse.systems import EQUILIBRATION_PS, Sampling
    from bjerrum.errors import InputError

    loaded = load_coarse(model)
    if published_model is not None and published is None:
        raise InputError("--published-model: expected --published to compare it with")
    references = references_of(
        trajectories,
        loaded.potential,
        topologies=one_for_each(topology, trajectories),
        skip_ps=skip_ps,
        stride=stride,
    )
    known = [path for path in (published, published_model) if path is not None]
    require_published(known, references[0].box)
    pmfs = (
        {}
        if pmf_table is None
        else compare_pmfs(loaded.potential, pmf_table, temperature=loaded.card.temperature_K)
    )
    sampling = Sampling(
        temperature=loaded.card.temperature_K,
        time_ps=time_ps,
        equilibration_ps=max(EQUILIBRATION_PS, time_ps / 5),
        replicas=replicas,
        seed=seed,
    )
    with Console() as console:
        data = compare_model(loaded.potential, references, sampling, announce=console.announce)
        if model_error:
            _add_own_error(data, loaded, [r.box for r in references], sampling, console)
    data["model"] = _made(loaded)
    if published is not None:
        data["published"] = published_differences(
            data["comparisons"][0], published, published_model
        )
    _print_comparison(data | pmfs, as_json)


def _add_own_error(
    data: dict[str, Any],
    model: CoarseModel,
    boxes: Sequence[IonBox],
    sampling: Sampling,
    console: Console,
) -> None:
    """Add what the members of the committee differ by to every row; None for one member."""
    from bjerrum.coarse.members import committee_of, error_of_distributions, run_members
    from bjerrum.coarse.refine import LOW

    distinct = list(dict.fromkeys(boxes))
    runs = run_members(committee_of(model), distinct, sampling, announce=console.announce)
    for row, box in zip(data["comparisons"], boxes, strict=True):
        mine = [found[distinct.index(box)] for found in runs]
        row["members"] = len(mine)
        row["model_own_error_angstrom"] = error_of_distributions(mine, LOW, box.edge / 2)


def one_for_each(
    topology: Sequence[Path] | None, trajectories: Sequence[Path]
) -> list[Path | None]:
    """Return a topology for every trajectory; InputError for neither one nor as many."""
    from bjerrum.errors import InputError

    given: list[Path | None] = [*topology] if topology else [None]
    if len(given) not in {1, len(trajectories)}:
        raise InputError(
            f"--topology: expected one, or one for each of {len(trajectories)} trajectories, got "
            f"{len(given)}"
        )
    return given * len(trajectories) if len(given) == 1 else given


def _made(model: CoarseModel) -> dict[str, Any]:
    """Return from which data and how well the model was fitted, as its card says."""
    card = model.card
    wanted = {"n_frames", "label_rms_meV_per_angstrom", "concentrations_mol_per_L", "rdfs"}
    return {
        "name": card.name,
        "data": {key: value for key, value in card.data.items() if key in wanted},
        "fit": card.fit,
        "network": card.network,
        "polish": card.polish,
        "errors": card.errors,
    }


def _print_comparison(data: dict[str, Any], as_json: bool) -> None:
    from bjerrum.coarse.judging import noise_of

    if as_json:
        print_results(data, as_json)
    else:
        for row in data["comparisons"]:
            values = ", ".join(
                f"{pair} {found['difference_angstrom']:.3f} "
                f"(noise {noise_of(found):.3f}, {found['verdict']})"
                for pair, found in row["pairs"].items()
            )
            typer.echo(f"{row['concentration_mol_per_L']:.3g} mol/L  int |dg| dr, A: {values}")
            if "members" in row:
                own = row["model_own_error_angstrom"] or {}
                parts = ", ".join(f"{pair} {value:.3f}" for pair, value in own.items())
                typer.echo(f"    model's own error, A: {parts or 'none (a committee of one)'}")
        _print_published(data.get("published", {}))
        for pair, minima in data.get("pmf_minima", {}).items():
            for name, found in minima.items():
                typer.echo(
                    f"{pair}, {name}: {found['model_kT']:.2f} kT at "
                    f"{found['model_at_angstrom']:.1f} A, {found['difference_kT']:+.2f} kT from "
                    f"{data['reference']}"
                )
    for line in data["advice"]:
        typer.echo(f"bjerrum: {line}", err=True)
    if not data["passed"]:
        raise typer.Exit(3)


def _print_published(found: dict[str, Any]) -> None:
    for who in ("model", "own_all_atom", "published_model"):
        values = found.get(f"{who}_difference_angstrom")
        if values is not None:
            parts = ", ".join(f"{pair} {value:.3f}" for pair, value in values.items())
            typer.echo(f"from the published all-atom g(r), A: {who.replace('_', ' ')} {parts}")
