"""Force matching: the coefficients whose forces are nearest to the labels, and how sure they are.

    minimise  sum_components (F_label - columns . c)^2 / n + penalties

The form is linear, so the minimum is the solution of normal equations, which are summed frame by
frame and block by block. Penalties (curvature of the pair splines, size of the three-body terms)
are those that predict left-out trajectories best; a committee solves the same equations for blocks
drawn with replacement. The loss itself says little: most of it is the noise of the solvent, so what
counts is the difference to the zero model on the same left-out frames, the explained variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bjerrum.coarse.basis import Basis, force_columns, neighbours
from bjerrum.coarse.dataset import IonData
from bjerrum.coarse.sources import ForceFrames
from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import FloatArray

MIN_BLOCKS: Final = 4
COMPONENTS_PER_COEFFICIENT: Final = 100
"""Noise 0.25 eV/angstrom then leaves 0.025 in a coefficient's force: the size of the signal."""
SAMPLES_AT_START: Final = 10
"""Pairs at shorter distances than the spline's start: too few to learn from."""
CURVATURE_PENALTIES: Final = (1e-4, 1e-3, 1e-2, 1e-1)
"""Not weaker: 1e-5 explains as much of left-out forces and leaves splines that no polish repairs
(docs/coarse-graining.md)."""
BODY_PENALTIES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, np.inf)
"""inf: pairs alone."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Sums over frames: columns^T columns, columns^T F, F.F, and the number of components."""

    matrix: FloatArray
    right: FloatArray
    square: float
    n: int

    def __add__(self, other: NormalEquations) -> NormalEquations:
        """Return the sums over both sets of frames."""
        return NormalEquations(
            self.matrix + other.matrix,
            self.right + other.right,
            self.square + other.square,
            self.n + other.n,
        )

    def explained(self, coefficients: FloatArray) -> float:
        """Return the variance that coefficients explain: 1 - loss / loss of the zero model."""
        gain = 2 * coefficients @ self.right - coefficients @ self.matrix @ coefficients
        return float(gain / self.square)


@dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients, those of the committee (n_members, n_coefficients), and how they were found."""

    coefficients: FloatArray
    committee: FloatArray
    penalties: tuple[float, float]
    report: Mapping[str, Any]


def basis_of(data: IonData, **options: Any) -> Basis:
    """Return a basis whose pair splines begin where the data do.

    Raises InputError where a pair of elements never meets within the cutoff.
    """
    elements = data.elements
    cutoff = options.get("pair_cutoff", Basis(elements=elements, pair_start=()).pair_cutoff)
    probe = Basis(elements=elements, pair_start=())
    starts = []
    closest: dict[tuple[str, str], list[FloatArray]] = {pair: [] for pair in probe.pairs}
    for chunk in data.chunks:
        symbols = np.array(chunk.symbols)
        for edges, positions in zip(chunk.edges, chunk.positions, strict=True):
            first, second, _, r = neighbours(positions, edges, cutoff)
            kinds = np.sort(np.stack([symbols[first], symbols[second]], axis=1), axis=1)
            for pair in closest:
                mine = np.sort(r[(kinds == pair).all(axis=1)])[:SAMPLES_AT_START]
                closest[pair].append(mine)
    for pair, found in closest.items():
        shortest = np.sort(np.concatenate(found)) if found else np.zeros(0)
        if len(shortest) < SAMPLES_AT_START:
            raise InputError(
                f"{data.source}: {pair[0]} and {pair[1]} meet within {cutoff:g} angstrom fewer "
                f"than {SAMPLES_AT_START} times; use more frames or a higher concentration"
            )
        starts.append(float(shortest[SAMPLES_AT_START - 1]))
    return Basis(elements=elements, pair_start=tuple(starts), **options)


def normal_equations(
    data: IonData,
    basis: Basis,
    *,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, NormalEquations]:
    """Return the normal equations of every block of the data."""
    blocks: dict[str, NormalEquations] = {}
    done = 0
    for chunk in data.chunks:
        for index, block in enumerate(chunk.blocks):
            new = _one_frame(chunk, index, basis)
            blocks[block] = blocks[block] + new if block in blocks else new
            done += 1
            on_frame(done, data.n_frames)
    return blocks


def _one_frame(chunk: ForceFrames, index: int, basis: Basis) -> NormalEquations:
    columns = force_columns(basis, chunk.symbols, chunk.edges[index], chunk.positions[index])
    flat, label = columns.reshape(-1, basis.n_coefficients), chunk.forces[index].ravel()
    return NormalEquations(flat.T @ flat, flat.T @ label, float(label @ label), len(label))


def solve(equations: NormalEquations, basis: Basis, penalties: tuple[float, float]) -> FloatArray:
    """Return the coefficients for given penalties (curvature, three-body size), both relative."""
    matrix = penalised(equations, basis, penalties)
    size = basis.n_coefficients if np.isfinite(penalties[1]) else basis.n_pair
    result = np.zeros(basis.n_coefficients)
    result[:size] = np.linalg.solve(matrix[:size, :size], equations.right[:size] / equations.n)
    return result


def penalised(
    equations: NormalEquations, basis: Basis, penalties: tuple[float, float]
) -> FloatArray:
    """Return columns^T columns / n with the penalties of :func:`solve` added."""
    curvature, body = penalties
    matrix = equations.matrix / equations.n + np.diag(np.full(basis.n_coefficients, 1e-14))
    for part in basis.pair_slices:
        scale = np.diag(equations.matrix)[part].mean() / equations.n
        roughness = np.diff(np.eye(part.stop - part.start + 2), n=2, axis=0)[:, :-2]
        matrix[part, part] += curvature * scale * roughness.T @ roughness
    if np.isfinite(body) and basis.n_coefficients > basis.n_pair:
        own = np.diag(equations.matrix)[basis.n_pair :] / equations.n
        typical = max(float(own.mean()), 1e-12)
        matrix[basis.n_pair :, basis.n_pair :] += np.diag(body * np.maximum(own, 0.01 * typical))
    return np.asarray(matrix)


def fit_forces(
    blocks: Mapping[str, NormalEquations], basis: Basis, *, n_members: int = 8, seed: int = 1
) -> Fit:
    """Choose the penalties on left-out trajectories, solve, and solve for a committee.

    Blocks named "trajectory:number" are left out a trajectory at a time where there are three or
    more, else every fifth block at a time.
    Raises SeriesTooShort, which says how many frames are needed, for too little data.
    """
    require_enough(blocks, basis)
    folds = folds_of(list(blocks))
    total = sum_of(blocks.values())
    scores: dict[tuple[float, float], list[float]] = {}
    for fold in folds:
        left_out = sum_of(blocks[name] for name in fold)
        rest = NormalEquations(
            total.matrix - left_out.matrix,
            total.right - left_out.right,
            total.square - left_out.square,
            total.n - left_out.n,
        )
        for penalties in _options(basis):
            explained = left_out.explained(solve(rest, basis, penalties))
            scores.setdefault(penalties, []).append(explained)
    best = max(scores, key=lambda penalties: float(np.mean(scores[penalties])))
    pairs_alone = max(float(np.mean(s)) for p, s in scores.items() if not np.isfinite(p[1]))
    random = np.random.default_rng(seed)
    names = list(blocks)
    members = [
        solve(sum_of(blocks[k] for k in random.choice(names, len(names))), basis, best)
        for _ in range(n_members)
    ]
    coefficients = solve(total, basis, best)
    report = {
        "n_blocks": len(blocks),
        "n_components": total.n,
        "n_coefficients": basis.n_coefficients if np.isfinite(best[1]) else basis.n_pair,
        "label_rms_meV_per_angstrom": 1e3 * float(np.sqrt(total.square / total.n)),
        "explained_variance_left_out": float(np.mean(scores[best])),
        "explained_variance_left_out_standard_error": _error(scores[best]),
        "explained_variance_left_out_pairs_alone": pairs_alone,
        "explained_variance_fitted": total.explained(coefficients),
        "curvature_penalty": best[0],
        "body_penalty": None if not np.isfinite(best[1]) else best[1],
    }
    return Fit(coefficients, np.array(members), best, report)


def force_information(
    total: NormalEquations, basis: Basis, fit: Fit
) -> tuple[FloatArray, FloatArray]:
    """Return the curvature of the likelihood of the forces (1/eV^2) and where it is highest.

    With the weakest of the smoothness penalties: few forces alone may need a stronger one, but it
    would flatten wells that g(r) shows and no frame with forces has seen.
    """
    weak = (min(CURVATURE_PENALTIES), fit.penalties[1])
    return penalised(total, basis, weak) * total.n**2 / total.square, solve(total, basis, weak)


def _options(basis: Basis) -> list[tuple[float, float]]:
    body = BODY_PENALTIES if basis.n_radial else (np.inf,)
    return [(c, b) for c in CURVATURE_PENALTIES for b in body]


def _error(scores: Sequence[float]) -> float:
    return float(np.std(scores, ddof=1) / np.sqrt(len(scores)))


def sum_of(parts: Iterable[NormalEquations]) -> NormalEquations:
    """Return the sums over several blocks."""
    first, *rest = parts
    for part in rest:
        first = first + part
    return first


def folds_of(names: Sequence[str]) -> list[list[str]]:
    """Return what is left out at a time: trajectories where there are three, else fifths."""
    by_trajectory: dict[str, list[str]] = {}
    for name in names:
        by_trajectory.setdefault(name.rpartition(":")[0], []).append(name)
    if len(by_trajectory) >= 3:
        return list(by_trajectory.values())
    n = min(5, len(names))
    return [list(names[k::n]) for k in range(n)]


def require_enough(blocks: Mapping[str, NormalEquations], basis: Basis) -> None:
    """Raise SeriesTooShort for data from which no error bar can be had; it says how many are."""
    n = sum(block.n for block in blocks.values())
    needed = COMPONENTS_PER_COEFFICIENT * basis.n_pair
    if n < needed:
        raise SeriesTooShort(
            f"{n} force components cannot determine {basis.n_pair} pair coefficients: expected at "
            f"least {needed}, {needed / n:.1f} times as many frames",
            n_effective=n / COMPONENTS_PER_COEFFICIENT,
        )
    if len(blocks) < MIN_BLOCKS:
        raise SeriesTooShort(
            f"an error bar needs {MIN_BLOCKS} or more blocks of trajectory, got {len(blocks)}; "
            "give longer or more trajectories",
            n_effective=len(blocks),
        )
