"""The whole of coarse-graining: trajectories in, a checked model folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bjerrum import __version__
from bjerrum.coarse.basis import Basis
from bjerrum.coarse.dataset import IonData, Source, load_ions, make_dataset
from bjerrum.coarse.fit import (
    Fit,
    basis_of,
    fit_forces,
    force_information,
    normal_equations,
    sum_of,
)
from bjerrum.coarse.inverse import first_guess, rdf_errors, target_of_rdfs
from bjerrum.coarse.judging import advice, frames_g, pair_rows, rows_beside
from bjerrum.coarse.learning import train_committee
from bjerrum.coarse.model import COARSE_LIMITS, CoarseCard, CoarseModel, save_coarse
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.refine import (
    N_BLOCKS,
    PAIRS,
    Refined,
    Target,
    molarity_of,
    names_of,
    refine,
)
from bjerrum.coarse.simulate import IonBox, Measured, Sampling
from bjerrum.coarse.sources import ForceFrames
from bjerrum.coarse.spec import CoarseningSpec
from bjerrum.coarse.systems import EQUILIBRATION_PS
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray

DATASET_FILE: Final = "ions.xyz"


Announce = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Rdfs:
    """Distribution functions to polish on: CSV files of one or more long runs in one box.

    n_independent  configurations behind them
    """

    paths: tuple[Path, ...]
    box: IonBox
    n_independent: float = 200.0


def coarsen(
    sources: Sequence[Source],
    output: Path,
    *,
    baseline: ScreenedCoulomb,
    temperature: float,
    spec: CoarseningSpec,
    reduce_noise: bool = True,
    rdfs: Rdfs | None = None,
    announce: Announce = lambda stage, done, total: None,
) -> CoarseModel:
    """Make the data set, fit, polish, compare, and write the model folder.

    rdfs  polish on these distribution functions instead of those of the trajectories

    Raises what :func:`make_dataset`, :func:`fit_forces` and :func:`refine` raise.
    """
    made = make_dataset(
        sources,
        output / DATASET_FILE,
        baseline=baseline,
        temperature=temperature,
        reduce_noise=reduce_noise,
        announce=announce,
    )
    data = load_ions(output / DATASET_FILE, baseline=baseline)
    return fit_model(data, output, spec, made=made, rdfs=rdfs, announce=announce)


def fit_model(
    data: IonData,
    output: Path,
    spec: CoarseningSpec,
    *,
    made: Mapping[str, Any] | None = None,
    rdfs: Rdfs | None = None,
    announce: Announce = lambda stage, done, total: None,
) -> CoarseModel:
    """Fit, polish and compare a model to a data set of ions, and write its folder."""
    target: Target | None = None
    guess: CoarsePotential | None = None
    if rdfs is not None:
        target, r, each = target_of_rdfs(rdfs.paths, rdfs.box, rdfs.n_independent)
        guess = first_guess(target, data.baseline, data.temperature)
    basis = _basis(data, spec, guess)
    blocks = normal_equations(
        data, basis, on_frame=lambda done, total: announce("Matching forces", done, total)
    )
    fit = fit_forces(blocks, basis, n_members=spec.members, seed=spec.seed)
    networks, trained = train_committee(data, blocks, basis, fit, spec.network, spec.seed, announce)
    first = CoarsePotential(basis, fit.coefficients, data.baseline, networks)
    targets = (
        [target_of_frames(chunk, first) for chunk in data.chunks] if target is None else [target]
    )
    potential = first if guess is None else _better_start(first, guess, targets, data, spec)
    total = sum_of(blocks.values())
    forces = force_information(total, basis, fit)
    refined = _polish(potential, targets, data, spec, forces, announce)
    if rdfs is None or target is None:
        errors = compare(refined.measured, targets, data.chunks, potential)
    else:
        rows = rdf_errors(refined.measured[0], target, r, each)
        found = {f"{molarity_of(rdfs.box):.3g} mol/L": rows}
        errors = {"integrated_dg": found, "advice": advice(found)}
        made = {**(made or {}), "rdfs": [path.name for path in rdfs.paths]}
    trained = trained if refined.potential.networks else None
    model = _model(data, basis, fit, refined, errors, spec, output.name, made, trained)
    return save_coarse(model, output)


def _basis(data: IonData, spec: CoarseningSpec, guess: CoarsePotential | None) -> Basis:
    """Return the functions: those of the first guess from RDFs, or as the data have them."""
    if guess is not None:
        return replace(guess.basis, n_radial=spec.n_radial, body_cutoff=spec.body_cutoff_angstrom)
    return basis_of(
        data,
        pair_cutoff=spec.pair_cutoff_angstrom,
        spacing=spec.spacing_angstrom,
        body_cutoff=spec.body_cutoff_angstrom,
        n_radial=spec.n_radial,
    )


def _better_start(
    first: CoarsePotential,
    guess: CoarsePotential,
    targets: Sequence[Target],
    data: IonData,
    spec: CoarseningSpec,
) -> CoarsePotential:
    """Return where the polish begins: the matched forces, or pairs alone from the RDFs.

    Few forces are worse than the theory of the RDFs. The pairs of that theory hold what many-body
    terms do; with those of the forces beside them it would count twice.
    """
    size = first.basis.n_body
    pairs = replace(first, coefficients=np.pad(guess.coefficients, (0, size)), networks=())
    sampling = _sampling(data, spec)
    scores = {}
    for start in (first, pairs):
        try:
            scores[start] = refine(start, targets, sampling, iterations=0).score
        except PhysicsCheckFailed:
            scores[start] = float("inf")
    return min(scores, key=lambda start: scores[start])


def _sampling(data: IonData, spec: CoarseningSpec) -> Sampling:
    return Sampling(
        temperature=data.temperature,
        time_ps=spec.polish_ps,
        equilibration_ps=max(EQUILIBRATION_PS, spec.polish_ps / 4),
        replicas=max(2, spec.replicas),
        seed=spec.seed,
    )


def _polish(
    potential: CoarsePotential,
    targets: Sequence[Target],
    data: IonData,
    spec: CoarseningSpec,
    forces: tuple[FloatArray, FloatArray],
    announce: Announce,
) -> Refined:
    """Return the polished potential; ``forces`` are the information and the minimum of the fit."""
    n = potential.basis.n_pair
    return refine(
        potential,
        targets,
        _sampling(data, spec),
        iterations=spec.iterations,
        force_information=forces[0][:n, :n],
        force_minimum=forces[1],
        announce=announce,
    )


def box_of(chunk: ForceFrames, baseline: ScreenedCoulomb) -> IonBox:
    """Return the box of frames; InputError unless it is cubic, constant and of two kinds of ion."""
    edge = float(chunk.edges[0, 0])
    if np.abs(chunk.edges - edge).max() > 1e-3:
        raise InputError("the comparison of g(r) needs a cubic box of constant size")
    charge_of = dict(baseline.charges)
    kinds = sorted(set(chunk.symbols), key=lambda e: -charge_of.get(e, 0.0))
    if len(kinds) != 2:
        raise InputError(f"expected one cation and one anion, got {', '.join(kinds)}")
    cation, anion = kinds
    return IonBox(
        cation=cation,
        anion=anion,
        n_cations=chunk.symbols.count(cation),
        n_anions=chunk.symbols.count(anion),
        edge=edge,
    )


def target_of_frames(chunk: ForceFrames, potential: CoarsePotential) -> Target:
    """Return the distribution functions of a data set's frames at one concentration.

    Every frame counts as an independent configuration, as it does for the forces: the weights of
    both are as if each held the noise of single frames alone.
    """
    box = box_of(chunk, potential.baseline)
    g = frames_g(np.asarray(chunk.positions), tuple(chunk.symbols), box, potential)
    return Target(box, g, float(len(chunk.positions)))


def compare(
    measured: Sequence[Measured],
    targets: Sequence[Target],
    chunks: Sequence[ForceFrames],
    potential: CoarsePotential,
) -> dict[str, Any]:
    """Return int |dg| dr by concentration and pair with the noise of both beside."""
    result: dict[str, Any] = {}
    names = names_of([run.box for run in measured])
    for name, run, target, chunk in zip(names, measured, targets, chunks, strict=True):
        if len(chunk.positions) < N_BLOCKS:
            result[name] = rows_beside(run, target.g, dict.fromkeys(PAIRS), target.box)
            continue
        parts = np.array_split(np.asarray(chunk.positions), N_BLOCKS)
        symbols, box = tuple(chunk.symbols), target.box
        blocks = np.array([frames_g(part, symbols, box, potential) for part in parts])
        result[name] = pair_rows(run, target.g, blocks, box)
    return {"integrated_dg": result, "advice": advice(result)}


def _model(
    data: IonData,
    basis: Basis,
    fit: Fit,
    refined: Refined,
    errors: Mapping[str, Any],
    spec: CoarseningSpec,
    name: str,
    made: Mapping[str, Any] | None,
    network: Mapping[str, Any] | None,
) -> CoarseModel:
    shift = refined.potential.coefficients - fit.coefficients
    card = CoarseCard(
        name=name,
        temperature_K=data.temperature,
        basis=basis.to_json(),
        baseline=data.baseline.to_json(),
        data={
            "source": data.source,
            "sha256": data.sha256,
            "n_frames": data.n_frames,
            "concentrations_mol_per_L": [
                molarity_of(box_of(chunk, data.baseline)) for chunk in data.chunks
            ],
            **dict(made or {}),
        },
        fit=dict(fit.report),
        errors=dict(errors),
        polish={
            "history": refined.history,
            "largest_change_eV": float(np.abs(shift).max()),
            "spec": spec.model_dump(mode="json"),
        },
        network=None if network is None else dict(network),
        limits=list(COARSE_LIMITS),
        licence="MIT",
        code_version=__version__,
    )
    return CoarseModel(card, refined.potential, fit.committee + shift)
