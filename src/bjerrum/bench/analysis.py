"""Radial distribution functions beside MDAnalysis' ``InterRDF``, and displacements, in one run."""

from __future__ import annotations

import platform
import resource
import time
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from bjerrum.estimate import FloatArray, IntArray
from bjerrum.properties.msd import lag_grid, squared_displacements
from bjerrum.properties.pair_counts import available_threads
from bjerrum.properties.rdf import RdfAccumulator, combine
from bjerrum.properties.structure_factor import K_MAX, partial_structure_factors
from bjerrum.trajectory import TrajectoryChunk

PAIRS: Final = (
    ("Li", "Li"),
    ("Li", "Cl"),
    ("Cl", "Cl"),
    ("Li", "O"),
    ("Cl", "O"),
    ("Li", "H"),
    ("Cl", "H"),
)
"""The seven partial g(r) that are published of LiCl: all with an ion."""

COMPOSITION: Final = {"Li": 24, "Cl": 24, "O": 512, "H": 1024}
EDGE: Final = 25.26
"""Angstrom: 24 LiCl and 512 water, 2.47 mol/L."""

BIN_WIDTH: Final = 0.05
CHUNK_FRAMES: Final = 200
MSD_MAX_LAG: Final = 2000


def bench_analysis(
    *,
    frames: int,
    rounds: int,
    msd_frames: int,
    announce: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Time the seven partial g(r) of a 1584-atom box beside MDAnalysis, from memory.

    Ours: :class:`bjerrum.properties.rdf.RdfAccumulator`, all pairs at once, in chunks, with the
    blocks that error bars need. The alternative: one ``InterRDF`` after another over the same
    frames in memory. Both run once on a few frames before they are timed, so that neither imports
    nor compiles in a round. Rounds alternate, so that a busy machine slows both; the fastest of
    each are compared, and the counts of both must be equal.

    Returns what, ratio (time of the alternative over ours), both times, and details.
    """
    positions, symbols = _gas(frames, np.random.default_rng(1))
    universe = _universe(positions, symbols)
    edges = np.linspace(0, 12.6, round(12.6 / BIN_WIDTH) + 1)
    threads = available_threads()
    _ours(positions[:10], symbols, edges, threads)
    _theirs(_universe(positions[:10], symbols), edges)
    seconds: dict[str, list[float]] = {"ours": [], "one_thread": [], "alternative": []}
    for index in range(rounds):
        for name, count in (("ours", threads), ("one_thread", 1)):
            begin = time.perf_counter()
            ours = _ours(positions, symbols, edges, count)
            seconds[name].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        theirs = _theirs(universe, edges)
        seconds["alternative"].append(time.perf_counter() - begin)
        announce("Radial distribution functions", index + 1, rounds)
    difference = max(
        float(np.abs(ours[pair] / np.maximum(theirs[pair], 1) - 1)[theirs[pair] > 0].max())
        for pair in PAIRS
    )
    best = {name: min(values) for name, values in seconds.items()}
    displacement = _time_displacements(msd_frames, announce)
    return {
        "what": "analysis",
        "ratio": best["alternative"] / best["ours"],
        "ours": best["ours"],
        "alternative": best["alternative"],
        "unit": "s",
        "details": {
            "n_atoms": len(symbols),
            "n_frames": frames,
            "pairs": ["-".join(pair) for pair in PAIRS],
            "alternative_name": "MDAnalysis InterRDF, one after another, frames in memory",
            "threads": threads,
            "ratio_with_one_thread": best["alternative"] / best["one_thread"],
            "largest_relative_difference_of_counts": difference,
            "ours_s": seconds["ours"],
            "ours_one_thread_s": seconds["one_thread"],
            "alternative_s": seconds["alternative"],
            "mean_squared_displacement": displacement,
            "structure_factor": _time_structure_factor(positions[:CHUNK_FRAMES], symbols),
            "peak_memory_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "machine": platform.processor() or platform.machine(),
        },
    }


def _gas(frames: int, random: np.random.Generator) -> tuple[Any, tuple[str, ...]]:
    """Return random positions: the time does not depend on where the atoms are."""
    symbols = tuple(s for s, n in COMPOSITION.items() for _ in range(n))
    return random.random((frames, len(symbols), 3), dtype=np.float32) * np.float32(EDGE), symbols


def _chunk(positions: Any, symbols: tuple[str, ...]) -> TrajectoryChunk:
    return TrajectoryChunk(
        symbols=symbols,
        cell=np.array([EDGE] * 3),
        steps=np.arange(len(positions)),
        times_ps=None,
        positions=positions,
    )


def _ours(
    positions: Any, symbols: tuple[str, ...], edges: FloatArray, threads: int
) -> dict[tuple[str, str], IntArray]:
    accumulator = RdfAccumulator(symbols, PAIRS, edges, threads=threads)
    for start in range(0, len(positions), CHUNK_FRAMES):
        accumulator.add(_chunk(positions[start : start + CHUNK_FRAMES], symbols))
    return {pair: rdf.counts for pair, rdf in combine([accumulator]).items()}


def _universe(positions: Any, symbols: tuple[str, ...]) -> Any:
    import MDAnalysis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe.empty(len(symbols), trajectory=False)
        universe.add_TopologyAttr("elements", symbols)
        universe.load_new(positions, dimensions=np.array([EDGE, EDGE, EDGE, 90, 90, 90]))
    return universe


def _theirs(universe: Any, edges: FloatArray) -> dict[tuple[str, str], FloatArray]:
    from MDAnalysis.analysis.rdf import InterRDF

    group = {s: universe.select_atoms(f"element {s}") for s in COMPOSITION}
    counts = {}
    for a, b in PAIRS:
        block = (1, 1) if a == b else None
        limits = (0.0, float(edges[-1]))
        run = InterRDF(
            group[a], group[b], nbins=len(edges) - 1, range=limits, exclusion_block=block
        ).run()
        counts[a, b] = run.results.count
    return counts


def _time_displacements(
    frames: int, announce: Callable[[str, int, int], None]
) -> dict[str, float | int]:
    """Time mean squared displacements of all atoms, up to MSD_MAX_LAG, over all origins."""
    random = np.random.default_rng(2)
    n_atoms = sum(COMPOSITION.values())
    path = random.standard_normal((frames, n_atoms, 3), dtype=np.float32)
    np.cumsum(path, axis=0, out=path)
    begin = time.perf_counter()
    squared_displacements(path, lag_grid(min(MSD_MAX_LAG, frames // 10)), slice(0, frames))
    taken = time.perf_counter() - begin
    announce("Mean squared displacements", 1, 1)
    return {"n_atoms": n_atoms, "n_frames": frames, "seconds": taken}


def _time_structure_factor(positions: Any, symbols: tuple[str, ...]) -> dict[str, float | int]:
    """Time the partial structure factors of ions and oxygen at all wave vectors below K_MAX."""
    begin = time.perf_counter()
    found = partial_structure_factors(
        [[_chunk(positions, symbols)]], species=("Li", "Cl", "O"), k_max=K_MAX
    )
    taken = time.perf_counter() - begin
    return {"n_frames": len(positions), "n_shells": len(found.k), "seconds": taken}
