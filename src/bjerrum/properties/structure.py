"""Structure of a solution: partial g(r), first peaks and coordination numbers with error bars.

Error bars follow :mod:`bjerrum.properties.statistics`: of g(r) bin by bin, of the coordination
number from the number of neighbours in each frame, of the peak position from the jackknife
pseudo-values of the fit. What the data do not resolve is None with a reason, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.peaks import (
    NotResolved,
    cubic_fit,
    first_minimum,
    fit_reach,
    fraction_inside,
    maximum_of_cubic,
    minimum_uncertainty,
    significant_peaks,
)
from bjerrum.properties.rdf import (
    SINGLE_PRECISION,
    PartialRdf,
    RdfAccumulator,
    combine,
    half_width,
)
from bjerrum.properties.statistics import estimate_function, estimate_mean, mean_statistics
from bjerrum.trajectory import TrajectoryChunk, iterate_frames, without_marked

BIN_WIDTH: Final = 0.05
"""Angstrom. Of the published g(r) of LiCl, rebinned, peak positions move by 0.001 angstrom and
minima by 0.003 between bins of 0.01 and 0.05: finer bins cost noise and tell nothing."""

CATIONS: Final = ("Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba")
ANIONS: Final = ("F", "Cl", "Br", "I")
WATER: Final = ("O", "H")


@dataclass(frozen=True, eq=False)
class PairStructure:
    """What is known of one pair; None, with ``reason``, where it cannot be told.

    r_angstrom, g, g_standard_error  (n_bins,); NaN where there is no error bar
    peak                             position of the first peak, angstrom
    minimum_angstrom                 first minimum after it
    minimum_uncertainty_angstrom     see :func:`bjerrum.properties.peaks.minimum_uncertainty`
    coordination_number              neighbours up to that minimum; the error includes its own
    reason                           why something is None
    """

    r_angstrom: FloatArray
    g: FloatArray
    g_standard_error: FloatArray
    peak: Estimate | None
    minimum_angstrom: float | None
    minimum_uncertainty_angstrom: float | None
    coordination_number: Estimate | None
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the contract's form; unknown numbers are null."""
        number = self.coordination_number
        data = {
            "r_angstrom": self.r_angstrom.tolist(),
            "g": self.g.tolist(),
            "g_standard_error": [
                None if math.isnan(e) else e for e in self.g_standard_error.tolist()
            ],
            "peak_angstrom": None if self.peak is None else self.peak.to_json(),
            "minimum_angstrom": self.minimum_angstrom,
            "minimum_uncertainty_angstrom": self.minimum_uncertainty_angstrom,
            "coordination_number": None if number is None else number.to_json(),
        }
        return data if self.reason is None else {**data, "reason": self.reason}


@dataclass(frozen=True, eq=False)
class StructureResult:
    """Structure of all pairs, keyed "Li-O": the second species around the first."""

    pairs: Mapping[str, PairStructure]

    def to_json(self) -> dict[str, Any]:
        """Return the contract's form."""
        return {"pairs": {name: pair.to_json() for name, pair in self.pairs.items()}}


Source = Path | str | Iterable[TrajectoryChunk]


def analyse_structure(
    sources: Source | Sequence[Source],
    *,
    pairs: Sequence[str] | None = None,
    r_max: float | None = None,
    bin_width: float = BIN_WIDTH,
    skip_ps: float = 0.0,
    topology: Path | str | None = None,
    elements: Mapping[str, str] | None = None,
    cell: float | FloatArray | None = None,
    frame_interval_ps: float | None = None,
    beyond_half_box: bool = False,
) -> StructureResult:
    """Partial g(r), first peaks and coordination numbers of one or several trajectories.

    sources  files, or iterables of chunks; each is an independent replica of one system
    pairs    such as ["Li-O"]: O around Li; default all, ordered as in :func:`all_pairs`
    r_max    angstrom, at most half the box (the default), rounded down to whole bins
    bin_width  angstrom
    skip_ps  leave out frames up to this time; frames that the watchdog marked are left out too
    topology, elements, cell, frame_interval_ps  see :func:`bjerrum.trajectory.iterate_frames`
    beyond_half_box  up to the corners of a cubic box, or to r_max
    Raises InputError or FrameError for unusable input, SeriesTooShort for a single frame.
    """
    replicas: list[RdfAccumulator] = []
    for number, source in enumerate(_listed(sources), start=1):
        name = str(source) if isinstance(source, (str, Path)) else f"trajectory {number}"
        chunks: Iterable[TrajectoryChunk] = (
            iterate_frames(
                source,
                topology=topology,
                elements=elements,
                cell=cell,
                frame_interval_ps=frame_interval_ps,
            )
            if isinstance(source, (str, Path))
            else source
        )
        edges = replicas[0].edges if replicas else None
        late = after(without_marked(chunks), skip_ps, name)
        replicas.append(_count(late, pairs, r_max, bin_width, edges, name, beyond_half_box))
    if sum(replica.n_frames for replica in replicas) == 1:
        raise SeriesTooShort("a single frame gives no error bars", n_effective=1)
    joined = combine(replicas)
    return StructureResult({"-".join(pair): pair_structure(rdf) for pair, rdf in joined.items()})


def all_pairs(symbols: Sequence[str]) -> list[str]:
    """Return all pairs in reading order: cations, anions, other elements, O, H.

    Pairs with water's oxygen come first, then ion pairs, then those with hydrogen: "Li-O", "Cl-O",
    "O-O", "Li-Cl", "Li-Li", "Cl-Cl", "Li-H", "Cl-H", "O-H", "H-H". A species with one atom has no
    pair with itself.
    """
    present = sorted(set(symbols), key=_reading_order)
    count = {symbol: list(symbols).count(symbol) for symbol in present}
    pairs = [(a, b) for i, a in enumerate(present) for b in present[i:] if a != b or count[a] > 1]
    partner = {"O": 0, "H": 2}
    ordered = sorted(pairs, key=lambda pair: (partner.get(pair[1], 1), pair[0] == pair[1] != "O"))
    return ["-".join(pair) for pair in ordered]


def pair_structure(rdf: PartialRdf) -> PairStructure:
    """Find the first peak, the minimum after it and the coordination number, with errors."""
    error = g_standard_error(rdf)
    peak, minimum, blur, number, reason = None, None, None, None, None
    try:
        peak = _peak_estimate(rdf, error)
        minimum = first_minimum(rdf.r, rdf.g, error)
        blur = minimum_uncertainty(rdf.r, rdf.g, error, minimum)
        number = _coordination_estimate(rdf, minimum, blur)
    except (NotResolved, SeriesTooShort) as failure:
        reason = str(failure)
    return PairStructure(rdf.r, rdf.g, error, peak, minimum, blur, number, reason)


def g_standard_error(rdf: PartialRdf) -> FloatArray:
    """Return the standard error of g in each bin; NaN where no error bar is honest.

    Never less than what one pair more would change: a bin that nothing visited is not exact.
    """
    statistics = mean_statistics([block / rdf.ideal_counts for block in rdf.blocks])
    single = (2 if rdf.pair[0] == rdf.pair[1] else 1) / (rdf.n_frames * rdf.ideal_counts)
    enough = np.isfinite(statistics.standard_error).any()
    error = np.where(enough & (rdf.counts == 0), 0.0, statistics.standard_error)
    return np.maximum(error, single)


def _listed(sources: Source | Sequence[Source]) -> list[Source]:
    if isinstance(sources, (str, Path)):
        return [sources]
    if not isinstance(sources, Sequence):
        return [sources]
    if not sources:
        raise InputError("expected at least one trajectory, got none")
    if all(isinstance(source, TrajectoryChunk) for source in sources):
        return [sources]  # type: ignore[list-item]
    return list(sources)


def after(
    chunks: Iterable[TrajectoryChunk], skip_ps: float, name: str
) -> Iterator[TrajectoryChunk]:
    """Yield the chunks without the frames up to ``skip_ps``.

    Raises InputError if frames are to be skipped and there are no times.
    """
    for chunk in chunks:
        if skip_ps <= 0:
            yield chunk
            continue
        if chunk.times_ps is None:
            raise InputError(f"{name} holds no times: give frame_interval_ps, or skip nothing")
        late = np.flatnonzero(chunk.times_ps > skip_ps)
        if len(late):
            yield replace(
                chunk,
                cell=chunk.cells[late],
                steps=chunk.steps[late],
                times_ps=chunk.times_ps[late],
                positions=chunk.positions[late],
                velocities=None,
                observables={key: series[late] for key, series in chunk.observables.items()},
            )


def _count(
    chunks: Iterator[TrajectoryChunk],
    pairs: Sequence[str] | None,
    r_max: float | None,
    bin_width: float,
    edges: FloatArray | None,
    name: str,
    beyond_half_box: bool,
) -> RdfAccumulator:
    accumulator: RdfAccumulator | None = None
    for chunk in chunks:
        if accumulator is None:
            if edges is None:
                edges = _edges(chunk, r_max, bin_width, beyond_half_box)
            wanted = [
                _parse_pair(pair, chunk.symbols) for pair in pairs or all_pairs(chunk.symbols)
            ]
            accumulator = RdfAccumulator(
                chunk.symbols, wanted, edges, beyond_half_box=beyond_half_box
            )
        accumulator.add(chunk)
    if accumulator is None:
        raise InputError(f"{name} holds no frames after the time to skip")
    return accumulator


def _edges(
    chunk: TrajectoryChunk, r_max: float | None, bin_width: float, beyond_half_box: bool
) -> FloatArray:
    largest = half_width(chunk.cells[0]) * (math.sqrt(3) if beyond_half_box else 1)
    reach = largest if r_max is None else r_max
    if not (0 < bin_width <= reach / 4 and math.isfinite(reach)):
        raise InputError(
            f"r_max must be positive and hold at least four bins, got r_max {reach:g} and a bin "
            f"width of {bin_width:g} angstrom"
        )
    n_bins = int(reach / bin_width * (1 + SINGLE_PRECISION))
    return np.linspace(0.0, n_bins * bin_width, n_bins + 1)


def _parse_pair(pair: str, symbols: Sequence[str]) -> tuple[str, str]:
    parts = pair.split("-")
    if len(parts) != 2 or not set(parts) <= set(symbols):
        present = ", ".join(sorted(set(symbols), key=_reading_order))
        raise InputError(f'pairs are given as "Li-O" from {present}; got "{pair}"')
    if parts[0] == parts[1] and list(symbols).count(parts[0]) < 2:
        raise InputError(f"{pair} needs at least two {parts[0]}, the system holds one")
    return parts[0], parts[1]


def _reading_order(symbol: str) -> tuple[int, int, str]:
    for rank, group in ((0, CATIONS), (1, ANIONS), (3, WATER)):
        if symbol in group:
            return rank, group.index(symbol), symbol
    return 2, 0, symbol


def _peak_estimate(rdf: PartialRdf, error: FloatArray) -> Estimate:
    peak = significant_peaks(rdf.r, rdf.g, error)[0]
    window, fit, origin = cubic_fit(rdf.r, rdf.g, peak)
    ideal, width = rdf.ideal_counts[window], fit_reach(rdf.r)

    def position(counts: FloatArray) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):  # a bin that one block alone filled
            logarithm = np.log(counts / ideal)
        return maximum_of_cubic(fit @ logarithm, origin, width)

    estimate = estimate_function([block[:, window] for block in rdf.blocks], position, "angstrom")
    return replace(estimate, value=position(rdf.counts[window] / rdf.n_frames))


def _coordination_estimate(rdf: PartialRdf, r_min: float, blur: float) -> Estimate:
    """Count neighbours up to ``r_min``; the error includes that of the minimum itself.

    SE^2 = SE_count^2 + ((N(r_min + blur) - N(r_min - blur)) / 2)^2
    """

    def within(radius: float) -> FloatArray:
        return fraction_inside(rdf.edges, radius) / rdf.n_centres

    estimate = estimate_mean([block @ within(r_min) for block in rdf.blocks], "1")
    mean = rdf.counts / rdf.n_frames
    wide, narrow = min(r_min + blur, float(rdf.edges[-1])), r_min - blur
    from_minimum = float(mean @ (within(wide) - within(narrow))) / 2
    return replace(
        estimate,
        value=float(mean @ within(r_min)),
        standard_error=math.hypot(estimate.standard_error, from_minimum),
    )
