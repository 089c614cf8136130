"""A model from distribution functions alone: where there are RDFs but no forces.

The first guess is the hypernetted-chain theory read backwards, projected onto the splines; Newton's
method on the relative entropy (:mod:`bjerrum.coarse.refine`) then removes what the theory misses.
Such a model has pairs alone: at the concentration of its RDFs it is as good as they are, elsewhere
it leaves out how many-body forces change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from bjerrum import __version__
from bjerrum.coarse.basis import Basis, spline_values
from bjerrum.coarse.judging import advice, rows_beside
from bjerrum.coarse.model import COARSE_LIMITS, CoarseCard, CoarseModel, save_coarse
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.refine import (
    LOW,
    PAIRS,
    Target,
    integrated_difference,
    molarity_of,
    refine,
    target_of_table,
)
from bjerrum.coarse.simulate import BIN_WIDTH, IonBox, Measured, Sampling
from bjerrum.coarse.systems import EQUILIBRATION_PS
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import sha256_of
from bjerrum.properties.kirkwood_buff_rdf import read_partial_rdfs
from bjerrum.thermodynamics.inverse import inverse_hnc
from bjerrum.units import bjerrum_length, thermal_energy

FIRST_G: Final = 5e-3
"""g below which distances of a pair count as never visited: the wall takes over."""


def model_of_rdfs(
    paths: Sequence[Path],
    box: IonBox,
    output: Path,
    *,
    baseline: ScreenedCoulomb,
    temperature: float,
    n_independent: float = 200.0,
    iterations: int = 6,
    polish_ps: float = 250.0,
    replicas: int = 8,
    note: str = "",
    announce: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> CoarseModel:
    """Write the folder of a pair model that reproduces the mean of RDFs of all-atom runs.

    paths  CSV files of partial RDFs (cc, ca, aa at least), one per run, like pairs over (N - 1)/V
    box    ions and edge of those runs; closed-box tails are compared as they are
    Raises InputError for unusable RDFs, PhysicsCheckFailed for ions that collapse.
    """
    target, r, each = target_of_rdfs(paths, box, n_independent)
    first = first_guess(target, baseline, temperature)
    sampling = Sampling(
        temperature=temperature,
        time_ps=polish_ps,
        equilibration_ps=max(EQUILIBRATION_PS, polish_ps / 5),
        replicas=replicas,
    )
    refined = refine(first, [target], sampling, iterations=iterations, announce=announce)
    rows = rdf_errors(refined.measured[0], target, r, each)
    found = {f"{molarity_of(box):.3g} mol/L": rows}
    data: dict[str, Any] = {
        "source": [path.name for path in paths],
        "sha256": [sha256_of(path) for path in paths],
        "concentrations_mol_per_L": [molarity_of(box)],
        "note": note,
    }
    card = CoarseCard(
        name=output.name,
        temperature_K=temperature,
        basis=first.basis.to_json(),
        baseline=baseline.to_json(),
        data=data,
        fit={"method": "inverse HNC and relative entropy on g(r); no forces"},
        errors={"integrated_dg": found, "advice": advice(found)},
        polish={"history": refined.history, "n_independent": n_independent},
        limits=[
            *COARSE_LIMITS,
            "pairs alone: it leaves out how many-body forces change with dilution",
        ],
        licence="MIT",
        code_version=__version__,
    )
    coefficients = refined.potential.coefficients
    return save_coarse(CoarseModel(card, refined.potential, coefficients[None].copy()), output)


def target_of_rdfs(
    paths: Sequence[Path], box: IonBox, n_independent: float
) -> tuple[Target, FloatArray, FloatArray]:
    """Return the target, the distances, and g of cc, ca, aa of every run, (n_runs, 3, n_r).

    Raises InputError for RDFs on different distances.
    """
    runs = [read_partial_rdfs(path, ions_only=True) for path in paths]
    r, each = runs[0].r, np.array([[run.g[pair] for pair in PAIRS] for run in runs])
    if any(len(run.r) != len(r) or np.abs(run.r - r).max() > 1e-9 for run in runs):
        raise InputError("the RDFs of all runs must be on the same distances")
    return target_of_table(box, r, each.mean(axis=0), n_independent), r, each


def rdf_errors(measured: Measured, target: Target, r: FloatArray, each: FloatArray) -> Any:
    """Return int |dg| dr of every pair, and the noise of the mean of the all-atom runs."""
    half = target.box.edge / 2
    noise = {pair: _noise(r, each[:, k], half) for k, pair in enumerate(PAIRS)}
    return rows_beside(measured, target.g, noise, target.box)


def _noise(r: FloatArray, runs: FloatArray, high: float) -> float | None:
    """Return the mean over runs of int |g_run - mean| dr over sqrt(n - 1); None for one run."""
    if len(runs) < 2:
        return None
    mean = runs.mean(axis=0)
    each = [integrated_difference(r, run, mean, LOW, high) for run in runs]
    return float(np.mean(each) / np.sqrt(len(runs) - 1))


def first_guess(target: Target, baseline: ScreenedCoulomb, temperature: float) -> CoarsePotential:
    """Return the pair potential that HNC would need for the target's g."""
    box = target.box
    r = np.asarray((np.arange(target.g.shape[1]) + 0.5) * BIN_WIDTH, np.float64)
    inside = r <= box.edge / 2
    charges = dict(baseline.charges)
    length = bjerrum_length(baseline.dielectric_constant, temperature)
    found = inverse_hnc(
        r[inside],
        target.g[:, inside],
        molarity_of(box),
        length,
        charges=(charges[box.cation], charges[box.anion]),
    )
    elements = tuple(sorted((box.cation, box.anion)))
    order = {(box.cation, box.cation): 0, (box.anion, box.anion): 2}
    probe = Basis(elements=elements, pair_start=(), n_radial=0)
    rows = [order.get(pair, 1) for pair in probe.pairs]
    starts = [float(r[np.argmax(target.g[row] > FIRST_G)]) for row in rows]
    basis = Basis(elements=elements, pair_start=tuple(starts), n_radial=0)
    coefficients = np.zeros(basis.n_pair)
    for index, row in enumerate(rows):
        coefficients[basis.pair_slices[index]] = _project(
            basis, index, found.r, found.w[row] * thermal_energy(temperature)
        )
    return CoarsePotential(basis, coefficients, baseline)


def _project(basis: Basis, index: int, r: FloatArray, u: FloatArray) -> FloatArray:
    use = (r >= basis.pair_start[index]) & (r < basis.pair_cutoff) & np.isfinite(u)
    splines = spline_values(basis.knots[index], r[use])
    smooth = np.diff(np.eye(splines.shape[1]), n=2, axis=0) * 0.02
    matrix = np.concatenate([splines, smooth])
    return np.linalg.lstsq(matrix, np.concatenate([u[use], np.zeros(len(smooth))]))[0]
