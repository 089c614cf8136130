"""Kirkwood-Buff analysis of trajectories: pair counts beyond half the box, and S(k).

Distances are counted to half the box plus 2 angstrom, where a sphere leaves the cube: shells are
then compared with the part of them that lies inside. Errors come from blocks of 1/A, the additive
quantity, through jackknife pseudo-values whose correlation is part of the error bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bjerrum.errors import FrameError, InputError, SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.kirkwood_buff import LIKE_PAIRS, TAIL_WIDTH, Composition, Integrals
from bjerrum.properties.kirkwood_buff_rdf import ANIONS, CATIONS, PartialRdfs
from bjerrum.properties.kirkwood_buff_result import (
    ESTIMATORS,
    MEANING,
    QUANTITIES,
    STRUCTURE_FACTOR,
    Derived,
    EstimatorResult,
    KirkwoodBuffResult,
    integrals_of,
    quantities,
    recommend,
)
from bjerrum.properties.rdf import SINGLE_PRECISION, RdfAccumulator, shell_volumes
from bjerrum.properties.statistics import estimate_mean
from bjerrum.properties.structure_factor import (
    LatticeShells,
    ModeAccumulator,
    extrapolation_weights,
    lattice_shells,
    replica_means,
    species_groups,
)
from bjerrum.trajectory import TrajectoryChunk

PAIRS: Final = ("cc", "ca", "aa", "co", "ao", "oo")
BIN_WIDTH: Final = 0.05
"""Angstrom. Integrals sum whole shells, so bins cost no accuracy where g is smooth."""

VectorFunction = Callable[[FloatArray], FloatArray]


def salt_species(symbols: Sequence[str]) -> dict[str, str]:
    """Return the symbols of cation ("c"), anion ("a") and water oxygen ("o") of a 1:1 salt.

    Raises InputError if there is not one of each, if their numbers differ or are below two, and
    if hydrogens are there but not two for each oxygen.
    """
    present = set(symbols)
    cations, anions = sorted(present & CATIONS), sorted(present & ANIONS)
    others = sorted(present - CATIONS - ANIONS - {"O", "H"})
    if len(cations) != 1 or len(anions) != 1 or others or "O" not in present:
        raise InputError(
            f"expected one alkali cation, one halide and water, found {', '.join(sorted(present))}"
        )
    count = {name: list(symbols).count(name) for name in present}
    n_cations, n_anions = count[cations[0]], count[anions[0]]
    if n_cations != n_anions or n_cations < 2:
        raise InputError(
            f"expected at least two ion pairs of a 1:1 salt, found {n_cations} {cations[0]} and "
            f"{n_anions} {anions[0]}"
        )
    if "H" in present and count["H"] != 2 * count["O"]:
        raise InputError(f"expected two H for each O of water, found {count['H']} and {count['O']}")
    return {"c": cations[0], "a": anions[0], "o": "O"}


@dataclass(frozen=True, eq=False)
class _Replica:
    pairs: RdfAccumulator
    modes: ModeAccumulator


@dataclass(frozen=True, eq=False)
class _System:
    """What all runs have in common."""

    symbols: tuple[str, ...]
    names: Mapping[str, str]
    box: Composition
    edges: FloatArray
    shells: LatticeShells

    def new_replica(self) -> _Replica:
        elements = [(self.names[a], self.names[b]) for a, b in PAIRS]
        groups = species_groups(self.symbols, list(self.names.values()))
        by_role = dict(zip(self.names, groups.values(), strict=True))
        return _Replica(
            RdfAccumulator(self.symbols, elements, self.edges, beyond_half_box=True),
            ModeAccumulator(by_role, self.shells),
        )


def _system(chunk: TrajectoryChunk) -> _System:
    names = salt_species(chunk.symbols)
    edge = float(chunk.cells[0, 0, 0])
    if np.abs(chunk.cells[0] - edge * np.eye(3)).max() > SINGLE_PRECISION * edge:
        raise InputError(
            "Kirkwood-Buff integrals need a cubic cell along x, y and z of constant size, got "
            f"{np.array2string(chunk.cells[0], precision=3).replace(chr(10), ',')}"
        )
    count = {role: chunk.symbols.count(name) for role, name in names.items()}
    reach = edge / 2 + TAIL_WIDTH
    edges = np.linspace(0.0, reach, int(np.ceil(reach / BIN_WIDTH)) + 1)
    box = Composition(edge, count["c"], count["o"])
    return _System(chunk.symbols, names, box, edges, lattice_shells(chunk.cells[0]))


class KirkwoodBuffAccumulator:
    """Feeds the frames of independent runs of one system, chunk by chunk, into counts and modes."""

    def __init__(self) -> None:
        self._replicas: list[_Replica] = []
        self._common: _System | None = None

    @property
    def box(self) -> Composition:
        """Edge, ion pairs and waters of the runs."""
        return self._system.box

    @property
    def _system(self) -> _System:
        if self._common is None:
            raise InputError("no frames have been counted")
        return self._common

    def add_run(self, chunks: Iterable[TrajectoryChunk]) -> None:
        """Count all frames of one run.

        Raises InputError for what is no 1:1 salt in a cube of constant size, FrameError if the
        atoms change.
        """
        replica: _Replica | None = None
        for chunk in chunks:
            if self._common is None:
                self._common = _system(chunk)
            if replica is None:
                replica = self._common.new_replica()
            if chunk.symbols != self._common.symbols:
                raise FrameError("the atoms change within the trajectory or between the runs")
            replica.pairs.add(chunk)
            replica.modes.add(chunk.positions, chunk.cells)
        if replica is None:
            raise InputError("the trajectory holds no frames after the time to skip")
        if not np.isclose(replica.pairs.cubic_edge or 0.0, self.box.edge, rtol=SINGLE_PRECISION):
            raise InputError("the runs need boxes of the same size; analyse them one by one")
        self._replicas.append(replica)

    def result(self, *, salt_volume: float | None = None) -> KirkwoodBuffResult:
        """Return every estimator with its error bar.

        salt_volume  partial molar volume of the salt, cm3/mol; default: from the integrals
        Raises SeriesTooShort where no error bar is honest.
        """
        if not self._replicas:
            raise InputError("no frames have been counted")
        if self.n_frames == 1:
            raise SeriesTooShort("a single frame gives no error bars", n_effective=1)
        estimators: dict[str, EstimatorResult] = {}
        unavailable: dict[str, str] = {}
        counts, modes = self._counts(), replica_means([each.modes.sums for each in self._replicas])
        for name in ESTIMATORS:
            try:
                if name == STRUCTURE_FACTOR:
                    found = _evaluate(name, modes, self._mode_integrals(), self.box, salt_volume)
                else:
                    found = _evaluate(
                        name, counts, self._rdf_integrals(name), self.box, salt_volume
                    )
                estimators[name] = found
            except SeriesTooShort:
                raise
            except InputError as reason:
                unavailable[name] = str(reason)
        if not estimators:
            raise InputError(f"no estimator is resolved: {next(iter(unavailable.values()))}")
        salt = self._system.names["c"] + self._system.names["a"]
        details = {"salt": salt, "n_runs": len(self._replicas), "n_frames": self.n_frames}
        recommended = recommend(estimators, self.box)
        return KirkwoodBuffResult(self.box, estimators, recommended, unavailable, details)

    @property
    def n_frames(self) -> int:
        """Frames counted in all runs."""
        return sum(each.pairs.n_frames for each in self._replicas)

    def rdfs(self) -> PartialRdfs:
        """Return the mean RDFs, like pairs normalised by (N - 1)/V."""
        total = np.sum([each.pairs.total() for each in self._replicas], axis=0)
        return PartialRdfs(self._centres, self._g(total / self.n_frames), "trajectory")

    def _counts(self) -> list[FloatArray]:
        length = max(each.pairs.frames_per_block for each in self._replicas)
        return [each.pairs.blocks(length) for each in self._replicas]

    @property
    def _centres(self) -> FloatArray:
        return (self._system.edges[1:] + self._system.edges[:-1]) / 2

    def _g(self, counts: FloatArray) -> dict[str, FloatArray]:
        shells = shell_volumes(self._system.edges, self.box.edge) / self.box.volume
        of_role = {"c": self.box.n_pairs, "a": self.box.n_pairs, "o": self.box.n_waters}
        g = {}
        for column, pair in enumerate(PAIRS):
            ordered = of_role[pair[0]] * (of_role[pair[1]] - (pair in LIKE_PAIRS))
            g[pair] = counts[..., column, :] / (ordered * shells)
        return g

    def _rdf_integrals(self, name: str) -> Callable[[FloatArray], Integrals]:
        box = self.box
        return lambda counts: integrals_of(name, self._centres, self._g(counts), box, True)

    def _mode_integrals(self) -> Callable[[FloatArray], Integrals]:
        """Return G from products of modes: F_ab(0)/(N_a N_b) V, less the self term."""
        box = self.box
        weights = extrapolation_weights(self._system.shells, "quadratic")
        count = {"c": box.n_pairs, "a": box.n_pairs, "o": box.n_waters}
        names = ["".join(pair) for pair in self._replicas[0].modes.pairs]

        def integrals(products: FloatArray) -> Integrals:
            limit = {name: (products @ weights)[..., i] for i, name in enumerate(names)}
            return {
                p: (limit[p] / (count[p[0]] * count[p[1]]) - (p in LIKE_PAIRS) / count[p[0]])
                * box.volume
                for p in PAIRS
            }

        return integrals


class Unresolved(InputError):
    """1/A cannot be told from zero: the run is too short for this estimator."""


def _evaluate(
    name: str,
    replicas: Sequence[FloatArray],
    integrals: Callable[[FloatArray], Integrals],
    box: Composition,
    salt_volume: float | None,
) -> EstimatorResult:
    """Estimate every quantity from block means, with errors from their pseudo-values."""

    def function(block: FloatArray) -> FloatArray:
        return quantities(integrals(block), box, salt_volume)

    mean = np.concatenate(replicas).mean(axis=0)
    estimates = dict(zip(QUANTITIES, _pseudo_estimates(replicas, mean, function), strict=True))
    central = integrals(mean)
    return EstimatorResult(
        dlna_dlnc=_inverted(estimates["pressure"]),
        dlna_dlnc_mcmillan_mayer=_inverted(estimates["mu_w"]),
        dlna_dlnm=_inverted(estimates["molal"]),
        dlna_dlnc_electroneutral=_inverted_or_none(estimates["neutral"]),
        electroneutrality_residual=_derived(estimates["residual"]),
        salt_volume=replace(_derived(estimates["v_salt"]), unit="cm3/mol"),
        water_volume=replace(_derived(estimates["v_water"]), unit="cm3/mol"),
        integrals=central,
        method=MEANING[name],
    )


def _pseudo_estimates(
    replicas: Sequence[FloatArray], mean: FloatArray, function: VectorFunction
) -> list[Estimate]:
    """Return estimates of several functions of a mean at once (statistics.estimate_function)."""
    value = function(mean)
    n = sum(len(replica) for replica in replicas)
    rest = max(n - 1, 1)
    pseudo = [value + rest * (value - function((n * mean - part) / rest)) for part in replicas]
    return [
        replace(estimate_mean([part[:, column] for part in pseudo], "1"), value=float(number))
        for column, number in enumerate(value)
    ]


def _derived(estimate: Estimate) -> Derived:
    return Derived(estimate.value, estimate.standard_error, estimate.n_effective, estimate.unit)


def _inverted(inverse: Estimate) -> Derived:
    """Return A of an estimate of 1/A, se(A) = A^2 se(1/A)."""
    if inverse.value <= 2 * inverse.standard_error:
        raise Unresolved(f"1/A = {inverse} cannot be told from zero: run longer")
    value = 1 / inverse.value
    return Derived(value, value**2 * inverse.standard_error, inverse.n_effective)


def _inverted_or_none(inverse: Estimate) -> Derived | None:
    try:
        return _inverted(inverse)
    except Unresolved:
        return None
