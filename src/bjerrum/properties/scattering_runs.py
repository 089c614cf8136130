"""Scattering of a solution from trajectories or from CSVs of partial RDFs, with error bars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import FloatArray
from bjerrum.properties.kirkwood_buff_rdf import DISTANCE, check_distances, read_columns
from bjerrum.properties.rdf import RdfAccumulator, combine, half_width
from bjerrum.properties.scattering import (
    ScatteringCurve,
    combine_partials,
    first_difference_factors,
    neutron_factors,
    q_grid,
    scattering_lengths,
    transform_matrix,
    xray_factors,
)
from bjerrum.properties.statistics import mean_statistics
from bjerrum.properties.structure import all_pairs
from bjerrum.trajectory import TrajectoryChunk

BIN_WIDTH: Final = 0.02
"""Angstrom: at Q = 20 per angstrom a bin still spans only 0.4 of a radian."""

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class SolutionRdfs:
    """Partial RDFs of one solution as a set of samples.

    r               bin centres, angstrom, (n_bins,)
    g               by pair of elements: samples of each replica, one (n_samples, n_bins) each
    fractions       atomic, by element
    atomic_density  per cubic angstrom
    r_max           where g is cut, angstrom
    independent     the samples are whole runs: the error is their scatter over sqrt(n)
    """

    r: FloatArray
    g: Mapping[Pair, Sequence[FloatArray]]
    fractions: Mapping[str, float]
    atomic_density: float
    r_max: float
    independent: bool


def rdfs_of_trajectories(replicas: Sequence[Iterable[TrajectoryChunk]]) -> SolutionRdfs:
    """Count all partial RDFs of one or several runs to half the box.

    Raises InputError for different systems, SeriesTooShort for a single frame.
    """
    counted: list[RdfAccumulator] = []
    for chunks in replicas:
        counted.append(_count(chunks, counted[0].edges if counted else None))
    if sum(each.n_frames for each in counted) == 1:
        raise SeriesTooShort("a single frame gives no error bars", n_effective=1)
    joined = combine(counted)
    symbols = counted[0].symbols
    volume = next(iter(joined.values())).volume
    elements = list(dict.fromkeys(symbols))
    return SolutionRdfs(
        r=next(iter(joined.values())).r,
        g={p: [block / rdf.ideal_counts for block in rdf.blocks] for p, rdf in joined.items()},
        fractions={name: symbols.count(name) / len(symbols) for name in elements},
        atomic_density=len(symbols) / volume,
        r_max=float(counted[0].edges[-1]),
        independent=False,
    )


def rdfs_of_files(
    paths: Sequence[Path], *, edge: float, n_pairs: int, n_waters: int
) -> SolutionRdfs:
    """Read partial RDFs by element (columns such as g_LiO) from CSVs, one per run.

    edge      of the cubic box, angstrom
    n_pairs   ion pairs
    n_waters  molecules, of which each has two H
    Raises InputError for unusable files.
    """
    if not (edge > 0 and n_pairs > 0 and n_waters > 0):
        raise InputError("the box edge, the ion pairs and the waters must be positive")
    tables = [read_columns(path) for path in paths]
    r = _distances(tables, paths)
    names = [{_elements_of(name): name for name in t if _elements_of(name)} for t in tables]
    pairs = [pair for pair in names[0] if pair and all(pair in each for each in names)]
    if not pairs:
        raise InputError(f"{paths[0]}: expected columns by element such as g_LiO")
    elements = list(dict.fromkeys(element for pair in pairs for element in pair if pair))
    ions = [element for element in elements if element not in ("O", "H")]
    if len(ions) != 2:
        raise InputError(f"expected the RDFs of one cation and one anion, found {', '.join(ions)}")
    count = {**dict.fromkeys(ions, n_pairs), "O": n_waters, "H": 2 * n_waters}
    n_atoms = sum(count.values())
    samples = {
        pair: [np.array([t[n[pair]] for t, n in zip(tables, names, strict=True)])] for pair in pairs
    }
    return SolutionRdfs(
        r=r,
        g=samples,
        fractions={name: number / n_atoms for name, number in count.items()},
        atomic_density=n_atoms / edge**3,
        r_max=min(edge / 2, float(r[-1])),
        independent=True,
    )


def scattering_curves(
    rdfs: SolutionRdfs,
    *,
    isotopes: Mapping[str, str] | None = None,
    difference: tuple[str, str, str] | None = None,
    q_max: float = 20.0,
) -> dict[str, ScatteringCurve]:
    """Return the curves that the partial RDFs allow: "neutron", "xray", "first_difference".

    isotopes    element -> nuclide, {"H": "D"}
    difference  element and its two nuclides, ("Li", "6Li", "7Li"); only then the total curves may
                be missing for want of pairs
    Raises InputError where the asked curve needs a pair that is not there.
    """
    q = q_grid(q_max)
    matrix = transform_matrix(rdfs.r, rdfs.r_max, rdfs.atomic_density, q)
    partials = {
        pair: [(sample - 1) @ matrix.T for sample in samples] for pair, samples in rdfs.g.items()
    }
    lengths = scattering_lengths(list(rdfs.fractions), isotopes)
    curves: dict[str, ScatteringCurve] = {}
    if difference is not None:
        factors = first_difference_factors(
            rdfs.fractions, lengths, difference[0], (difference[1], difference[2])
        )
        curves["first_difference"] = _curve(q, factors, partials, "barn", rdfs.independent)
    totals = {
        "neutron": (neutron_factors(rdfs.fractions, lengths), "barn"),
        "xray": (xray_factors(rdfs.fractions, q), "1"),
    }
    for name, (factors, unit) in totals.items():
        try:
            curves[name] = _curve(q, factors, partials, unit, rdfs.independent)
        except SeriesTooShort:
            raise
        except InputError:
            if difference is None:
                raise
    return curves


def curves_to_json(curves: Mapping[str, ScatteringCurve], rdfs: SolutionRdfs) -> dict[str, Any]:
    """Return plain data of all curves."""
    return {
        "curves": {name: curve.to_json() for name, curve in curves.items()},
        "atomic_fractions": dict(rdfs.fractions),
        "atomic_density_per_angstrom3": rdfs.atomic_density,
        "r_max_angstrom": rdfs.r_max,
        "window": "Lorch",
    }


def _curve(
    q: FloatArray,
    factors: Mapping[Pair, FloatArray],
    partials: Mapping[Pair, Sequence[FloatArray]],
    unit: str,
    independent: bool,
) -> ScatteringCurve:
    n_replicas = len(next(iter(partials.values())))
    replicas = [
        combine_partials(factors, {pair: parts[i] for pair, parts in partials.items()})
        for i in range(n_replicas)
    ]
    if not independent:
        statistics = mean_statistics(replicas)
        return ScatteringCurve(q, statistics.mean, statistics.standard_error, unit)
    samples = np.concatenate(replicas)
    n = len(samples)
    error = samples.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else None
    return ScatteringCurve(q, samples.mean(axis=0), error, unit)


def _count(chunks: Iterable[TrajectoryChunk], edges: FloatArray | None) -> RdfAccumulator:
    accumulator: RdfAccumulator | None = None
    for chunk in chunks:
        if accumulator is None:
            if edges is None:
                n_bins = int(half_width(chunk.cells[0]) / BIN_WIDTH)
                edges = np.linspace(0.0, n_bins * BIN_WIDTH, n_bins + 1)
            pairs = [(a, b) for a, b in (name.split("-") for name in all_pairs(chunk.symbols))]
            accumulator = RdfAccumulator(chunk.symbols, pairs, edges)
        accumulator.add(chunk)
    if accumulator is None:
        raise InputError("the trajectory holds no frames after the time to skip")
    return accumulator


def _distances(tables: Sequence[Mapping[str, FloatArray]], paths: Sequence[Path]) -> FloatArray:
    for table, path in zip(tables, paths, strict=True):
        if DISTANCE not in table:
            raise InputError(f"{path}: expected a column {DISTANCE}, found {', '.join(table)}")
        check_distances(table[DISTANCE], path)
    r = tables[0][DISTANCE]
    for table, path in zip(tables, paths, strict=True):
        if table[DISTANCE].shape != r.shape or np.abs(table[DISTANCE] - r).max() > 1e-6:
            raise InputError(f"{path}: its distances differ from those of {paths[0]}")
    return r


def _elements_of(column: str) -> Pair | None:
    match = re.fullmatch(r"g_([A-Z][a-z]?)[-_]?([A-Z][a-z]?)", column)
    return (match[1], match[2]) if match else None
