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
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.rdf import (
    SINGLE_PRECISION,
    PartialRdf,
    RdfAccumulator,
    combine,
    half_width,
)
from bjerrum.properties.statistics import estimate_function, estimate_mean, mean_statistics
from bjerrum.trajectory import TrajectoryChunk, iterate_frames

BIN_WIDTH: Final = 0.05
"""Angstrom. Of the published g(r) of LiCl, rebinned, peak positions move by 0.001 angstrom and
minima by 0.003 between bins of 0.01 and 0.05: finer bins cost noise and tell nothing."""

SMOOTHING: Final = 0.05
"""Angstrom, Gaussian, for finding peaks and minima only; positions are fitted to raw data."""

MIN_PROMINENCE: Final = 0.05
"""In units of g; what rises less above its surroundings is not called a peak."""

SIGNIFICANCE: Final = 3.0
"""A peak stands out by at least this many (single bin) standard errors."""

PEAK_FRACTION: Final = 0.5
"""The cubic through a peak uses the bins above this fraction of its height. Without the cubic term
the skewed peaks of a liquid come out 0.01 to 0.03 angstrom too far out."""

CATIONS: Final = ("Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba")
ANIONS: Final = ("F", "Cl", "Br", "I")
WATER: Final = ("O", "H")


class NotResolved(InputError):
    """A feature of g(r) cannot be told from noise, or is not there."""


@dataclass(frozen=True, eq=False)
class PairStructure:
    """What is known of one pair; None, with ``reason``, where it cannot be told.

    r_angstrom, g, g_standard_error  (n_bins,); NaN where there is no error bar
    peak                             position of the first peak, angstrom
    minimum_angstrom                 first minimum after it
    coordination_number              neighbours up to that minimum; error at that minimum
    reason                           why something is None
    """

    r_angstrom: FloatArray
    g: FloatArray
    g_standard_error: FloatArray
    peak: Estimate | None
    minimum_angstrom: float | None
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
) -> StructureResult:
    """Partial g(r), first peaks and coordination numbers of one or several trajectories.

    sources  files, or iterables of chunks; each is an independent replica of one system
    pairs    such as ["Li-O"]: O around Li; default all, ordered as in :func:`all_pairs`
    r_max    angstrom, at most half the box (the default), rounded down to whole bins
    bin_width  angstrom
    skip_ps  leave out frames up to this time
    topology, elements, cell, frame_interval_ps  see :func:`bjerrum.trajectory.iterate_frames`
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
        replicas.append(_count(_after(chunks, skip_ps, name), pairs, r_max, bin_width, edges, name))
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
    peak, minimum, number, reason = None, None, None, None
    try:
        peak = _peak_estimate(rdf, error)
        minimum = first_minimum(rdf.r, rdf.g, error)
        number = _coordination_estimate(rdf, minimum)
    except (NotResolved, SeriesTooShort) as failure:
        reason = str(failure)
    return PairStructure(rdf.r, rdf.g, error, peak, minimum, number, reason)


def g_standard_error(rdf: PartialRdf) -> FloatArray:
    """Return the standard error of g in each bin; NaN where no error bar is honest.

    Never less than what one pair more would change: a bin that nothing visited is not exact.
    """
    statistics = mean_statistics([block / rdf.ideal_counts for block in rdf.blocks])
    single = (2 if rdf.pair[0] == rdf.pair[1] else 1) / (rdf.n_frames * rdf.ideal_counts)
    enough = np.isfinite(statistics.standard_error).any()
    error = np.where(enough & (rdf.counts == 0), 0.0, statistics.standard_error)
    return np.maximum(error, single)


def first_peak(r: FloatArray, g: FloatArray, standard_error: FloatArray | None = None) -> float:
    """Return the position of the first peak of g(r), angstrom.

    The first maximum of the smoothed curve that rises by MIN_PROMINENCE and SIGNIFICANCE standard
    errors above its surroundings; its position is the maximum of a cubic fitted to ln g over the
    peak's upper half.

    r, g            equally spaced, (n_bins,)
    standard_error  of g; none: g is taken as exact
    Raises NotResolved if there is no such maximum, or an earlier one is lost in noise.
    """
    return _maximum(r, g, _peak_window(g, _peaks(r, g, standard_error)[0]))


def first_minimum(r: FloatArray, g: FloatArray, standard_error: FloatArray | None = None) -> float:
    """Return the position of the minimum between the first and the second peak, angstrom.

    The lowest point of the smoothed curve, refined by a parabola through its neighbours; the
    middle where g is equally low over a range.

    r, g, standard_error  as in :func:`first_peak`
    Raises NotResolved if no second peak follows within the range.
    """
    peaks = _peaks(r, g, standard_error)
    if len(peaks) < 2:
        raise NotResolved(
            f"no minimum can be told after the first peak at {r[peaks[0]]:.2f} angstrom: no second "
            f"peak up to {r[-1]:.2f} angstrom"
        )
    smooth = _smoothed(r, g)
    valley = np.arange(peaks[0], peaks[1] + 1)
    lowest = valley[smooth[valley] <= smooth[valley].min() + 1e-6]
    if len(lowest) > 1:
        return float(r[lowest].mean())
    near = slice(lowest[0] - 1, lowest[0] + 2)
    curvature, slope, _ = np.polyfit(r[near] - r[lowest[0]], smooth[near], 2)
    return float(r[lowest[0]] - slope / (2 * curvature))


def coordination_number(r: FloatArray, g: FloatArray, density: float, r_min: float) -> float:
    """Return the number of neighbours within r_min.

    N = 4 pi rho int_0^{r_min} g r^2 dr, exact for histograms (whole shells, the last one in part).

    r, g     bin centres, equally spaced from half a bin, and g, (n_bins,)
    density  of neighbours as it normalised g, per cubic angstrom
    r_min    angstrom
    Raises InputError if r_min lies beyond the last bin.
    """
    width = r[1] - r[0]
    edges = np.append(r - width / 2, r[-1] + width / 2)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return float(density * (g * shells) @ _fraction_inside(edges, r_min))


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


def _after(
    chunks: Iterable[TrajectoryChunk], skip_ps: float, name: str
) -> Iterator[TrajectoryChunk]:
    """Yield the chunks without the frames up to ``skip_ps``."""
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
                observables={},
            )


def _count(
    chunks: Iterator[TrajectoryChunk],
    pairs: Sequence[str] | None,
    r_max: float | None,
    bin_width: float,
    edges: FloatArray | None,
    name: str,
) -> RdfAccumulator:
    accumulator: RdfAccumulator | None = None
    for chunk in chunks:
        if accumulator is None:
            if edges is None:
                edges = _edges(chunk, r_max, bin_width)
            wanted = [
                _parse_pair(pair, chunk.symbols) for pair in pairs or all_pairs(chunk.symbols)
            ]
            accumulator = RdfAccumulator(chunk.symbols, wanted, edges)
        accumulator.add(chunk)
    if accumulator is None:
        raise InputError(f"{name} holds no frames after the time to skip")
    return accumulator


def _edges(chunk: TrajectoryChunk, r_max: float | None, bin_width: float) -> FloatArray:
    reach = half_width(chunk.cells[0]) if r_max is None else r_max
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


def _smoothed(r: FloatArray, g: FloatArray) -> FloatArray:
    return gaussian_filter1d(g, SMOOTHING / (r[1] - r[0]), mode="nearest")


def _peaks(r: FloatArray, g: FloatArray, standard_error: FloatArray | None) -> list[int]:
    """Return the bins of significant maxima, the first of which is the first peak."""
    smooth = _smoothed(r, g)
    found, properties = find_peaks(smooth, prominence=MIN_PROMINENCE)
    error = np.zeros_like(g) if standard_error is None else standard_error
    if len(found) and not np.isfinite(error[found]).any():
        raise NotResolved("too few independent samples for an error bar of g(r): run longer")
    significant = properties["prominences"] >= SIGNIFICANCE * np.nan_to_num(
        error[found], nan=np.inf
    )
    if not significant.any():
        raise NotResolved(f"no peak stands out of the noise up to {r[-1]:.2f} angstrom: run longer")
    if not significant[0]:
        raise NotResolved(
            f"a first peak near {r[found[0]]:.2f} angstrom cannot be told from noise: run longer"
        )
    return [int(peak) for peak in found[significant]]


def _peak_window(g: FloatArray, peak: int) -> slice:
    """Return the bins around a maximum above PEAK_FRACTION of it, at least two on each side."""
    level = PEAK_FRACTION * g[max(peak - 1, 0) : peak + 2].max()
    low, high = peak, peak
    while low > 0 and g[low - 1] >= level:
        low -= 1
    while high < len(g) - 1 and g[high + 1] >= level:
        high += 1
    return slice(max(min(low, peak - 2), 0), max(high, peak + 2) + 1)


def _maximum(r: FloatArray, g: FloatArray, window: slice) -> float:
    """Return the maximum of a cubic through ln g, weighted as counts are (by g)."""
    x, y = r[window], g[window]
    seen = y > 0
    centre = x.mean()
    if seen.sum() < 5:
        raise NotResolved(f"the peak near {centre:.2f} angstrom holds too few pairs: run longer")
    a3, a2, a1, _ = np.polyfit(x[seen] - centre, np.log(y[seen]), 3, w=np.sqrt(y[seen]))
    discriminant = a2**2 - 3 * a1 * a3
    top = a1 / (math.sqrt(discriminant) - a2) if discriminant > 0 else math.nan
    if not abs(top) <= (x[-1] - x[0]) / 2:
        raise NotResolved(f"the peak near {centre:.2f} angstrom has no maximum that can be fitted")
    return float(centre + top)


def _peak_estimate(rdf: PartialRdf, error: FloatArray) -> Estimate:
    window = _peak_window(rdf.g, _peaks(rdf.r, rdf.g, error)[0])
    r, ideal = rdf.r[window], rdf.ideal_counts[window]
    everything = slice(None)
    estimate = estimate_function(
        [block[:, window] for block in rdf.blocks],
        lambda counts: _maximum(r, counts / ideal, everything),
        "angstrom",
    )
    return replace(estimate, value=_maximum(rdf.r, rdf.g, window))


def _coordination_estimate(rdf: PartialRdf, r_min: float) -> Estimate:
    inside = _fraction_inside(rdf.edges, r_min) / rdf.n_centres
    estimate = estimate_mean([block @ inside for block in rdf.blocks], "1")
    return replace(estimate, value=float(rdf.counts @ inside / rdf.n_frames))


def _fraction_inside(edges: FloatArray, r_min: float) -> FloatArray:
    """Return how much of each shell's volume lies within r_min, (n_bins,)."""
    if not 0 < r_min <= edges[-1] * (1 + 1e-9):
        raise InputError(f"r_min must lie within {edges[-1]:.3f} angstrom, got {r_min:g}")
    cubes = edges**3
    return np.clip((r_min**3 - cubes[:-1]) / np.diff(cubes), 0.0, 1.0)
