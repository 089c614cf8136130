"""The polish: pair functions corrected until the model's own g(r) is that of the all-atom run.

Forces say little about how deep one well lies against another, because errors add up across the
barrier between them; distribution functions say just that. The correction minimises the relative
entropy (Shell, J. Chem. Phys. 129, 144108 (2008)) by Newton's method: phi_k, the sum of spline k
over all pairs of a configuration, gives

    gradient = beta (<phi>_all-atom - <phi>_model),   curvature = beta^2 cov_model(phi)

Moments of several concentrations add up, each with its number of independent configurations N, and
the matched forces stay in as a quadratic term of curvature columns^T columns / sigma^2, sigma the
noise of a label: each source counts with the information that it has. The three-body terms stay as
the forces gave them. An iteration is a short run of the compiled engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from bjerrum.coarse.basis import Basis, spline_values
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.simulate import (
    BIN_WIDTH,
    IonBox,
    Measured,
    Sampling,
    ideal_counts,
    n_bins,
    simulate_ions,
)
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.units import thermal_energy

FIRST_STEP_KT, MAX_STEP_KT = 0.3, 0.6
"""k_B T by which a spline coefficient may change at first, and ever, in one iteration."""
NOISE_FLOOR: Final = 1e-3
"""Ridge relative to the curvature: directions that the run does not resolve stay as they are."""
LEAST_DAMPING: Final = 2.0**-20


@dataclass(frozen=True, eq=False)
class Target:
    """The distribution functions that the model should have at one concentration.

    g              of cc, ca, aa on the bins of the model's own measurement, (3, n_bins)
    n_independent  configurations behind it
    """

    box: IonBox
    g: FloatArray
    n_independent: float


@dataclass(frozen=True, eq=False)
class Refined:
    """The corrected potential, its own run, int |dg| dr by iteration and of that run, the score."""

    potential: CoarsePotential
    measured: list[Measured]
    history: list[dict[str, Any]]
    score: float


def _score(differences: dict[str, Any], targets: Sequence[Target]) -> float:
    """Return the mean int |dg| dr, angstrom, each concentration weighted with one over its noise.

    The noise of g goes with one over the square root of the pairs that were seen.
    """
    weights = [
        np.sqrt(t.n_independent * t.box.n_cations * t.box.n_anions / t.box.edge**3) for t in targets
    ]
    means = [np.mean(list(rows.values())) for rows in differences.values()]
    return float(np.average(means, weights=weights))


def integrated_difference(
    r: FloatArray, g: FloatArray, other: FloatArray, low: float, high: float
) -> float:
    """Return int |g - other| dr between two distances, angstrom."""
    inside = (r >= low) & (r <= high)
    return float(np.abs(g - other)[inside].sum() * (r[1] - r[0]))


PAIRS: Final = ("cc", "ca", "aa")
"""Cation-cation, cation-anion, anion-anion."""
LOW: Final = 1.5
"""Angstrom where int |dg| dr begins."""
N_BLOCKS: Final = 16
"""Stretches of an all-atom run of which the noise of its g(r) is estimated."""


def noise_of_mean(blocks: FloatArray, r: FloatArray, low: float, high: float) -> FloatArray:
    """Return the expected int |error of the mean| dr of every pair, angstrom, (n_pairs,).

    blocks  g of stretches of equal length, in the order of time, (N_BLOCKS, n_pairs, n_bins)

    The error of the mean of B blocks is s / (c4 sqrt(B)), s their spread and c4 what makes it
    unbiased; of a normal variable |x| is sqrt(2/pi) of it on average. Blocks that are shorter than
    the memory of the ions make it too small, few blocks make it uncertain, so the largest of all
    halvings from N_BLOCKS to two blocks counts (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461
    (1989)).
    """
    inside = (r >= low) & (r <= high)
    found = []
    while len(blocks) >= 2:
        n = len(blocks)
        c4 = math.sqrt(2 / (n - 1)) * math.gamma(n / 2) / math.gamma((n - 1) / 2)
        error = blocks.std(axis=0, ddof=1)[:, inside].sum(axis=1) / (c4 * math.sqrt(n))
        found.append(math.sqrt(2 / math.pi) * error * (r[1] - r[0]))
        blocks = (blocks[0::2] + blocks[1::2]) / 2
    return np.asarray(np.max(found, axis=0))


def target_of_table(box: IonBox, r: FloatArray, g: FloatArray, n_independent: float) -> Target:
    """Return a target from g of cc, ca, aa on any distances (like pairs over (N - 1)/V)."""
    centres = (np.arange(n_bins(box.edge)) + 0.5) * BIN_WIDTH
    if r[-1] < box.edge / 2 - 1:
        raise InputError(f"g(r) ends at {r[-1]:g} angstrom, expected {box.edge / 2:.1f} or more")
    return Target(box, np.array([np.interp(centres, r, row) for row in g]), n_independent)


def refine(
    potential: CoarsePotential,
    targets: Sequence[Target],
    sampling: Sampling,
    *,
    iterations: int = 4,
    force_information: FloatArray | None = None,
    force_minimum: FloatArray | None = None,
    announce: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Refined:
    """Return the potential whose pair moments are the targets', as far as the information says.

    An iteration that makes int |dg| dr larger by more than the noise of the runs is taken back and
    its step shortened: near a phase separation the response to a change of the potential is far
    from linear. What is returned is the mean of all potentials that cannot be told from the nearest
    one, and a run of it that had no part in the choice.

    force_information  columns^T columns / sigma^2 of the pair coefficients, 1/eV^2
    force_minimum      where that quadratic term has its minimum; default: the potential itself
    """
    n = potential.basis.n_pair
    prior = np.zeros((n, n)) if force_information is None else force_information
    origin = (potential.coefficients if force_minimum is None else force_minimum)[:n].copy()
    boxes = [target.box for target in targets]
    tries: list[_Try] = []
    best: _Try | None = None
    trust, start = FIRST_STEP_KT, None
    for number in range(iterations + 1):
        announce("Polishing on g(r)", number, iterations)
        settled = sampling if start is None else _settled(sampling)
        runs = simulate_ions(
            potential, boxes, replace(settled, seed=sampling.seed + number), start=start
        )
        start = [run.frames for run in runs]
        found = _try_of(potential, runs, targets)
        tries.append(found)
        if best is None or found.score < best.score + 2 * _doubt(found, best):
            trust = trust if best is None else min(MAX_STEP_KT, 1.5 * trust)
            best, slope = found, _slope(found, targets, prior, origin, sampling.temperature)
        else:
            trust *= 0.4
            start = [run.frames for run in best.runs]
        step = damped_step(*slope, trust * thermal_energy(sampling.temperature))
        potential = _moved(best.potential, step)
    return _chosen(tries, targets, sampling)


def _settled(sampling: Sampling) -> Sampling:
    """Return the sampling of a run that goes on from another one's end."""
    return replace(sampling, equilibration_ps=sampling.equilibration_ps / 4)


def _doubt(one: _Try, other: _Try) -> float:
    """Return the standard error of the difference of two scores."""
    return math.hypot(one.noise, other.noise)


def _chosen(tries: Sequence[_Try], targets: Sequence[Target], sampling: Sampling) -> Refined:
    """Return the mean of all potentials that cannot be told from the nearest one, measured anew.

    Each of them carries the noise of its own run, which the mean has less of (Polyak and Juditsky,
    SIAM J. Control Optim. 30, 838 (1992)). The nearest one owes part of that to chance, hence the
    new run, with other random numbers, from the nearest one's configurations.
    """
    least = min(tries, key=lambda found: found.score)
    if len(tries) == 1:
        return Refined(least.potential, least.runs, [least.differences], least.score)
    alike = [found for found in tries if found.score <= least.score + _doubt(found, least)]
    mean = np.mean([found.potential.coefficients for found in alike], axis=0)
    potential = replace(least.potential, coefficients=mean)
    runs = simulate_ions(
        potential,
        [target.box for target in targets],
        replace(sampling, seed=sampling.seed + len(tries) + 1000),
        start=[run.frames for run in least.runs],
    )
    last = _try_of(potential, runs, targets)
    history = [found.differences for found in tries]
    return Refined(potential, runs, [*history, last.differences], last.score)


@dataclass(frozen=True, eq=False)
class _Try:
    """A potential, what its run measured, and how far that is from the targets.

    noise  of the score: standard error by leaving replicas out, angstrom
    """

    potential: CoarsePotential
    runs: list[Measured]
    differences: dict[str, Any]
    score: float
    noise: float


def _try_of(potential: CoarsePotential, runs: list[Measured], targets: Sequence[Target]) -> _Try:
    n = min(len(run.counts) for run in runs)
    differences = _differences(runs, targets)
    scores = [
        _score(_differences([without(run, k) for run in runs], targets), targets) for k in range(n)
    ]
    noise = math.sqrt((n - 1) * float(np.var(scores)))
    return _Try(potential, runs, differences, _score(differences, targets), noise)


def without(run: Measured, replica: int) -> Measured:
    """Return the counts of a run without one replica, for the jackknife."""
    return replace(run, counts=np.delete(run.counts, replica, axis=0))


def _slope(
    found: _Try,
    targets: Sequence[Target],
    prior: FloatArray,
    origin: FloatArray,
    temperature: float,
) -> tuple[FloatArray, FloatArray]:
    """Return the downward gradient and the curvature of the relative entropy, 1/eV and 1/eV^2."""
    basis, kt = found.potential.basis, thermal_energy(temperature)
    gradient = -prior @ (found.potential.coefficients[: basis.n_pair] - origin)
    curvature = prior.copy()
    for run, target in zip(found.runs, targets, strict=True):
        wanted, here, covariance = _moments(run, target, basis)
        gradient += target.n_independent * (here - wanted) / kt
        curvature += target.n_independent * covariance / kt**2
    return gradient, curvature


def damped_step(gradient: FloatArray, curvature: FloatArray, limit: float) -> FloatArray:
    """Return Newton's step, damped until no coefficient moves further than ``limit`` (eV).

    (C + R + s m 1) step = gradient with the least s = 0, 2^-20, 2^-19, ... that keeps the limit
    (Levenberg, Q. Appl. Math. 2, 164 (1944)); m is the mean of the diagonal of C, and R the ridge
    of directions that the run does not resolve. The same s for all holds back what would move far
    because little is known of it, and leaves the rest nearly as it is; a ridge in proportion to C
    (Marquardt 1963) slows all alike. To cut single coefficients off would turn the step:
    neighbouring splines have to move together.
    """
    diagonal = np.diag(curvature)
    typical = float(diagonal.mean())
    matrix = curvature + np.diag(NOISE_FLOOR * np.maximum(diagonal, 0.05 * typical))
    step, damping = np.linalg.solve(matrix, gradient), LEAST_DAMPING
    while np.abs(step).max() > limit:
        step = np.linalg.solve(matrix + damping * typical * np.eye(len(matrix)), gradient)
        damping *= 2
    return np.asarray(step)


def _moved(potential: CoarsePotential, step: FloatArray) -> CoarsePotential:
    coefficients = potential.coefficients.copy()
    coefficients[: len(step)] += step
    return replace(potential, coefficients=coefficients)


def _moments(
    run: Measured, target: Target, basis: Basis
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return <phi> wanted and found, and the covariance of phi in the model."""
    splines = _splines(run, basis)
    found = np.einsum("kpb,pb->k", splines, run.counts.sum(axis=0)) / (
        run.n_frames * len(run.counts)
    )
    wanted = np.einsum("kpb,pb->k", splines, target.g * ideal_counts(run.box, run.r))
    reach = run.frame_counts.shape[2]
    frames = np.einsum("kpb,fpb->fk", splines[:, :, :reach], run.frame_counts)
    return wanted, found, np.cov(frames.T)


def _splines(run: Measured, basis: Basis) -> FloatArray:
    """Return every pair spline on the bins of the three pairs, (n_pair, 3, n_bins)."""
    result = np.zeros((basis.n_pair, 3, len(run.r)))
    cation, anion = run.box.cation, run.box.anion
    for row, pair in enumerate(((cation, cation), (cation, anion), (anion, anion))):
        index = basis.pairs.index(tuple(sorted(pair)))
        values = spline_values(basis.knots[index], run.r)
        result[basis.pair_slices[index], row] = values.T
    return result


def _differences(runs: Sequence[Measured], targets: Sequence[Target]) -> dict[str, Any]:
    rows = {}
    names = names_of([run.box for run in runs])
    for name, run, target in zip(names, runs, targets, strict=True):
        g = run.g().mean(axis=0)
        rows[name] = {
            pair: integrated_difference(run.r, g[k], target.g[k], LOW, run.box.edge / 2)
            for k, pair in enumerate(PAIRS)
        }
    return rows


def names_of(boxes: Sequence[IonBox]) -> list[str]:
    """Return "4.02 mol/L" for every box; boxes that this does not tell apart are numbered."""
    plain = [f"{molarity_of(box):.3g} mol/L" for box in boxes]
    return [
        name if plain.count(name) == 1 else f"{name}, box {plain[: k + 1].count(name)}"
        for k, name in enumerate(plain)
    ]


def molarity_of(box: IonBox) -> float:
    """Return cations per volume in mol/L."""
    from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

    return box.n_cations / box.edge**3 / MOL_PER_LITRE_IN_PER_ANGSTROM3
