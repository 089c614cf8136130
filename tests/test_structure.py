"""Partial g(r), peaks and coordination numbers against lattices, ideal gases and MDAnalysis."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum.errors import FrameError, InputError, SeriesTooShort
from bjerrum.estimate import FloatArray
from bjerrum.properties import distance_bins, pair_counts
from bjerrum.properties import rdf as rdf_module
from bjerrum.properties.pair_counts import count_pairs
from bjerrum.properties.peaks import (
    NotResolved,
    coordination_number,
    first_minimum,
    first_peak,
    maximum_of_cubic,
    minimum_uncertainty,
)
from bjerrum.properties.rdf import PartialRdf, RdfAccumulator, combine
from bjerrum.properties.structure import (
    _coordination_estimate,
    all_pairs,
    analyse_structure,
    pair_structure,
)
from bjerrum.trajectory import TrajectoryChunk, write_trajectory
from test_statistics import ar1
from test_trajectory import TYPES, write_dump

DATA = Path(__file__).parents[2] / "shared" / "data"


def chunk_of(
    positions: np.ndarray, symbols: tuple[str, ...], cell: object, first_step: int = 0
) -> TrajectoryChunk:
    steps = first_step + np.arange(len(positions))
    return TrajectoryChunk(
        symbols=symbols,
        cell=np.asarray(cell, dtype=np.float64),
        steps=steps,
        times_ps=0.1 * steps,
        positions=positions,
    )


def ideal_gas(
    n_frames: int, edge: float = 10.0, seed: int = 0, counts: tuple[int, int] = (12, 30)
) -> TrajectoryChunk:
    symbols = ("Li",) * counts[0] + ("O",) * counts[1]
    random = np.random.default_rng(seed)
    positions = edge * (3 * random.random((n_frames, len(symbols), 3)) - 1)
    return chunk_of(positions, symbols, [edge] * 3)


def count(chunk: TrajectoryChunk, pair: tuple[str, str], edges: np.ndarray) -> PartialRdf:
    accumulator = RdfAccumulator(chunk.symbols, [pair], edges)
    accumulator.add(chunk)
    return combine([accumulator])[pair]


def naive_g(chunk: TrajectoryChunk, pair: tuple[str, str], edges: np.ndarray) -> np.ndarray:
    """The definition, pair by pair, trying all 27 images."""
    histogram = np.zeros(len(edges) - 1)
    symbols = np.array(chunk.symbols)
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    for positions, cell in zip(chunk.positions, chunk.cells, strict=True):
        inside = (positions @ np.linalg.inv(cell) % 1.0) @ cell
        for i in np.flatnonzero(symbols == pair[0]):
            for j in np.flatnonzero(symbols == pair[1]):
                if i != j:
                    images = inside[j] - inside[i] + shifts @ cell
                    distance = np.linalg.norm(images, axis=1).min()
                    histogram += np.histogram(distance, edges)[0]
    n_a, n_b = (symbols == pair[0]).sum(), (symbols == pair[1]).sum()
    neighbours = n_b - 1 if pair[0] == pair[1] else n_b
    volume = np.linalg.det(chunk.cells).mean()
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return histogram / (chunk.n_frames * n_a * neighbours / volume * shells)


# --- counting ---


@pytest.mark.parametrize("pair", [("Li", "O"), ("O", "Li"), ("Li", "Li"), ("O", "O")])
@pytest.mark.parametrize(
    "cell",
    [
        [9.0, 10.0, 11.0],
        [[9.0, 0, 0], [2.0, 9.5, 0], [-1.5, 1.0, 10.0]],
        [[6.0, 6.0, 0], [-6.0, 6.0, 0], [0, 0.5, 9.0]],  # not along the axes
    ],
)
def test_counts_equal_the_definition(pair: tuple[str, str], cell: list) -> None:
    chunk = ideal_gas(3, counts=(5, 9))
    chunk = chunk_of(chunk.positions, chunk.symbols, cell)
    edges = np.linspace(0, 4.2, 22)
    np.testing.assert_allclose(count(chunk, pair, edges).g, naive_g(chunk, pair, edges), rtol=1e-6)


@pytest.mark.parametrize("pair", [("Li", "O"), ("O", "O")])
def test_cell_lists_and_blocks_of_rows_change_nothing(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = ideal_gas(4, counts=(40, 90))
    edges = np.linspace(0, 2.9, 30)  # below 0.3 L: a cell list
    expected = naive_g(chunk_of(chunk.positions[:1], chunk.symbols, chunk.cell), pair, edges)
    single = chunk_of(chunk.positions[:1], chunk.symbols, chunk.cell)
    np.testing.assert_allclose(count(single, pair, edges).g, expected, rtol=1e-9)
    wide = np.linspace(0, 5.0, 51)
    whole = count(chunk, pair, wide).counts
    monkeypatch.setattr(distance_bins, "DISTANCES_AT_ONCE", 500)
    monkeypatch.setattr(pair_counts, "PAIRS_WORTH_HALVING", 500)
    np.testing.assert_array_equal(count(chunk, pair, wide).counts, whole)


@pytest.mark.parametrize(
    ("pair", "r_max", "n_bins"),
    [
        (("O", "O"), 6.9, 138),
        (("Li", "O"), 6.9, 138),
        (("Cl", "H"), 6.93, 693),
        (("O", "H"), 3.0, 60),
    ],
)
def test_agrees_with_mdanalysis_to_1e_6(pair: tuple[str, str], r_max: float, n_bins: int) -> None:
    import MDAnalysis
    from MDAnalysis.analysis.rdf import InterRDF

    frames = solution_frames(8)
    symbols = tuple(frames[0].symbols)
    positions = np.array([atoms.positions for atoms in frames])
    ours = count(
        chunk_of(positions, symbols, frames[0].cell.lengths()),
        pair,
        np.linspace(0, r_max, n_bins + 1),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe.empty(len(symbols), trajectory=True)
        universe.add_TopologyAttr("names", symbols)
        box = [*frames[0].cell.lengths(), 90, 90, 90]
        universe.load_new(positions, dimensions=np.array([box] * len(frames)))
        groups = [universe.select_atoms(f"name {name}") for name in pair]
        block = (1, 1) if pair[0] == pair[1] else None
        theirs = InterRDF(*groups, nbins=n_bins, range=(0, r_max), exclusion_block=block).run()
    assert theirs.results.rdf.max() > 1
    np.testing.assert_allclose(ours.g, theirs.results.rdf, atol=1e-6, rtol=0)


def test_agrees_with_freud_but_for_its_single_precision() -> None:
    import freud

    chunk = ideal_gas(3, counts=(60, 90))
    edges = np.linspace(0, 4.9, 50)
    box = freud.box.Box.cube(10.0)
    theirs = freud.density.RDF(49, 4.9)
    for positions in chunk.positions:
        points = box.wrap(positions)
        theirs.compute((box, points[60:]), points[:60], reset=False)
    ours = count(chunk, ("Li", "O"), edges).counts
    assert np.abs(ours - theirs.bin_counts).sum() <= 4
    assert abs(ours.sum() - theirs.bin_counts.sum()) <= 2


def test_lattice_shells_are_counted_exactly() -> None:
    atoms = ase.build.bulk("Cu", "fcc", a=4.0, cubic=True).repeat(4)
    shells = {4 / math.sqrt(2): 12, 4.0: 6, 4 * math.sqrt(1.5): 24, 4 * math.sqrt(2): 12}
    groups = {"Cu": np.arange(len(atoms))}
    for distance, neighbours in shells.items():
        edges = np.linspace(0, 8.0, 161) + 0.0
        counts = count_pairs(
            atoms.positions[None], atoms.cell.array[None], groups, [("Cu", "Cu")], edges
        )[0, 0]
        near = abs((edges[1:] + edges[:-1]) / 2 - distance) < 0.06
        assert counts[near].sum() == neighbours * len(atoms)


def test_radius_is_limited_to_half_the_box() -> None:
    chunk = ideal_gas(2)
    count(chunk, ("Li", "O"), np.linspace(0, 5.0, 11))
    with pytest.raises(InputError, match=r"at most half the box, 5\.0000"):
        count(chunk, ("Li", "O"), np.linspace(0, 5.01, 11))
    tilted = chunk_of(chunk.positions, chunk.symbols, [[10.0, 0, 0], [5.0, 5.0, 0], [0, 0, 10.0]])
    with pytest.raises(InputError, match=r"2\.5000"):
        count(tilted, ("Li", "O"), np.linspace(0, 3.0, 11))


def test_merged_blocks_lose_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = ideal_gas(27)
    edges = np.linspace(0, 5.0, 11)
    whole = count(chunk, ("O", "O"), edges)
    assert len(whole.blocks[0]) == 27
    monkeypatch.setattr(rdf_module, "MAX_BLOCKS", 8)
    merged = count(chunk, ("O", "O"), edges)
    assert len(merged.blocks[0]) == 6  # blocks of four frames, three frames left over
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.blocks[0][0], whole.blocks[0][:4].mean(axis=0))


def test_replicas_of_different_length_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rdf_module, "MAX_BLOCKS", 8)
    edges = np.linspace(0, 5.0, 11)
    accumulators = []
    for seed, n_frames in ((1, 5), (2, 20)):
        accumulators.append(RdfAccumulator(ideal_gas(1).symbols, [("Li", "O")], edges))
        accumulators[-1].add(ideal_gas(n_frames, seed=seed))
    joined = combine(accumulators)["Li", "O"]
    assert joined.n_frames == 25
    assert [len(blocks) for blocks in joined.blocks] == [1, 5]
    total = sum(accumulator.total()[0] for accumulator in accumulators)
    np.testing.assert_array_equal(joined.counts, total)


# --- features of g(r) ---


def skewed_peak(r: np.ndarray) -> np.ndarray:
    """A peak at 1.97 and a second at 4.2 with a minimum at 3.0 between them, like Li-O."""
    x = (r - 1.97) / 0.09
    first = 9.5 * np.exp(-(x**2) / 2 + 0.04 * np.clip(x, -3, 3) ** 3)
    return (
        np.where(abs(x) < 8, first, 0)
        + 0.2 * (r - 3.0) ** 2 * (r > 2.2) * (r < 3.6)
        + np.where(
            r >= 3.6,
            1.0 + 0.6 * np.exp(-(((r - 4.2) / 0.3) ** 2)) - 0.9 * np.exp(-((r - 3.6) / 0.2)),
            0,
        )
    )


@pytest.mark.parametrize("width", [0.01, 0.02, 0.05, 0.08])
def test_first_peak_and_minimum_of_a_known_curve(width: float) -> None:
    r = np.arange(width / 2, 6, width)
    g = skewed_peak(r)
    assert first_peak(r, g) == pytest.approx(1.97, abs=0.003)
    assert first_minimum(r, g) == pytest.approx(3.0, abs=0.02)


def test_minimum_of_an_empty_gap_is_its_middle() -> None:
    r = np.arange(0.025, 6, 0.05)
    g = 5 * np.exp(-(((r - 1.5) / 0.1) ** 2)) + 2 * np.exp(-(((r - 4.5) / 0.1) ** 2))
    assert first_minimum(r, g) == pytest.approx(3.0, abs=0.05)


def test_features_lost_in_noise_are_not_reported() -> None:
    r = np.arange(0.025, 6, 0.05)
    contact = skewed_peak(r) + 2.0 * np.exp(-(((r - 1.2) / 0.1) ** 2))
    assert first_peak(r, contact, np.full_like(r, 0.2)) == pytest.approx(1.2, abs=0.02)
    with pytest.raises(NotResolved, match=r"near 1\.2"):
        first_peak(r, contact, np.full_like(r, 1.0))
    g = skewed_peak(r) + 0.2 * np.exp(-(((r - 1.2) / 0.1) ** 2))
    assert first_peak(r, g) == pytest.approx(1.2, abs=0.02)
    ripple = first_peak(r, g, np.full_like(r, 0.2))
    assert ripple == pytest.approx(1.97, abs=0.003)
    unknown = np.full_like(r, 0.2)
    unknown[int(1.97 / 0.05)] = np.nan
    assert first_peak(r, g, unknown) == ripple
    with pytest.raises(NotResolved, match="no peak stands out"):
        first_peak(r, g, np.full_like(r, 5.0))
    with pytest.raises(NotResolved, match="too few"):
        first_peak(r, g, np.full_like(r, np.nan))
    with pytest.raises(NotResolved, match="no peak"):
        first_peak(r, np.ones_like(r))
    alone = 5 * np.exp(-(((r - 2.0) / 0.1) ** 2))
    with pytest.raises(NotResolved, match="no second peak"):
        first_minimum(r, alone)


def filled_shell(r: np.ndarray, depth: float) -> np.ndarray:
    """A first peak at 2.5, then waves with minima at 3.6 and, 0.11 below 1, at 5.6 angstrom.

    The maximum between them lies at 4.6 angstrom, ``depth`` above the first minimum; the next, at
    6.6 angstrom, 0.07 above 1. As g_OO of water, whose first minimum ions fill.
    """
    wells = np.array([3.6, 4.6, 5.6, 6.6, 7.6])
    levels = np.array([0.97, 0.97 + depth, 0.89, 1.07, 1.0])
    inside = np.clip(r, wells[0], wells[-1] - 1e-9)
    part = np.minimum((inside - wells[0]).astype(int), 3)
    turn = (1 - np.cos(np.pi * (inside - wells[part]))) / 2
    waves = levels[part] + (levels[part + 1] - levels[part]) * turn
    front = 1.4 * np.where(r < 3.6, np.sin(np.pi * np.clip(3.6 - r, 0, 2.2) / 2.2) ** 2, 0.0)
    return np.asarray(np.where(r < 2.5, np.where(r < 1.4, 0.0, front * 2.37 / 1.4), waves + front))


@pytest.mark.parametrize("noise", [0.0, 0.004, 0.008])
def test_a_shallow_first_minimum_is_found_and_a_filled_one_not_replaced(noise) -> None:
    """0.08 deep: that at 3.6, not the lower one at 5.6. Filled: refused, never the later one."""
    r = np.arange(0.025, 7.5, 0.05)
    error = np.full_like(r, noise) if noise else None
    n_seeds, refused = 40 if noise else 1, 0
    for seed in range(n_seeds):
        random = noise * np.random.default_rng(seed).standard_normal(len(r))
        shallow = first_minimum(r, filled_shell(r, 0.08) + random, error)
        assert shallow == pytest.approx(3.6, abs=0.08 + 40 * noise)
        try:
            filled = first_minimum(r, filled_shell(r, 0.035) + random, error)
        except NotResolved as failure:
            refused += "is filled, only 0.0" in str(failure)
        else:  # noise has made a peak of what stands between
            assert filled < 4.3
    assert refused >= 0.9 * n_seeds


def test_noise_does_not_fill_a_minimum() -> None:
    """A flat minimum, as that of Cl-O, is told in nearly all runs, whatever their noise."""
    r = np.arange(0.025, 6, 0.05)
    g = skewed_peak(r) + 0.7 * (r > 1.4)
    refused = 0
    for seed in range(300):
        noise = np.random.default_rng(seed).choice([0.003, 0.01, 0.03])
        noisy = g + noise * np.random.default_rng(seed).standard_normal(len(r)) * (r > 1.4)
        try:
            found = first_minimum(r, noisy, np.full_like(r, noise))
        except NotResolved:
            refused += 1
        else:
            assert found == pytest.approx(3.0, abs=0.7)
    assert refused <= 9


def test_coordination_number_of_uniform_and_shell() -> None:
    width = 0.05
    r = np.arange(width / 2, 6, width)
    for r_min in (1.0, 2.013, 5.99):
        expected = 4 / 3 * np.pi * r_min**3 * 0.03
        assert coordination_number(r, np.ones_like(r), 0.03, r_min) == pytest.approx(expected)
    shell = np.exp(-(((r - 2) / 0.1) ** 2) / 2)
    exact = 4 * np.pi * 0.03 * 0.1 * math.sqrt(2 * np.pi) * (2**2 + 0.1**2)
    assert coordination_number(r, shell, 0.03, 3.0) == pytest.approx(exact, rel=1e-3)
    with pytest.raises(InputError):
        coordination_number(r, shell, 0.03, 7.0)


# --- error bars ---


def test_ideal_gas_is_one_within_its_error_bars() -> None:
    chunk = ideal_gas(400)
    for pair in (("Li", "O"), ("O", "O"), ("Li", "Li")):
        found = pair_structure(count(chunk, pair, np.linspace(0, 5.0, 51)))
        pulls = ((found.g - 1) / found.g_standard_error)[8:]
        assert np.sqrt((pulls**2).mean()) == pytest.approx(1, abs=0.3)
        assert abs(pulls.mean()) < 0.6
        assert found.peak is None
        assert found.reason


def breathing_pairs(seed: int, n_frames: int = 200) -> TrajectoryChunk:
    """20 Li, each with 2 or 3 O at a fluctuating distance (mean 2.0): the number of the third is
    correlated in time. True peak 2.0, true coordination number 2.5. A lattice keeps pairs apart."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)[:20] * 12.0
    bound = np.array([ar1(n_frames, 6.0, random) > 0 for _ in range(20)]).T
    arms = random.standard_normal((n_frames, 20, 3, 3))
    arms /= np.linalg.norm(arms, axis=3)[..., None]
    lengths = 2.0 + 0.1 * random.standard_normal((n_frames, 20, 3))
    far = 4 + 0.2 * random.standard_normal((n_frames, 20))
    lengths[:, :, 2] = np.where(bound, lengths[:, :, 2], far)
    oxygens = (grid[:, None] + lengths[..., None] * arms).reshape(n_frames, 60, 3)
    frames = np.concatenate([np.broadcast_to(grid, (n_frames, 20, 3)), oxygens], axis=1)
    return chunk_of(frames, ("Li",) * 20 + ("O",) * 60, [36.0] * 3)


def test_error_bars_of_peak_and_coordination_number_cover_the_truth() -> None:
    """The histogram of distances is Gaussian in n(r), so g has its maximum at a known place."""
    true_peak = (2.0 + math.sqrt(2.0**2 - 8 * 0.1**2)) / 2
    peaks, numbers = 0, 0
    n_seeds = 40
    for seed in range(n_seeds):
        found = pair_structure(count(breathing_pairs(seed), ("Li", "O"), np.linspace(0, 5.5, 111)))
        assert found.peak is not None
        assert found.coordination_number is not None
        peaks += abs(found.peak.value - true_peak) <= found.peak.standard_error
        number = found.coordination_number
        numbers += abs(number.value - 2.5) <= number.standard_error
    spread = 2.5 * math.sqrt(0.68 * 0.32 / n_seeds)
    assert abs(peaks / n_seeds - 0.68) <= spread
    assert abs(numbers / n_seeds - 0.68) <= spread


def test_too_few_frames_leave_the_curve_without_numbers() -> None:
    frames = breathing_pairs(0, n_frames=6)
    found = pair_structure(count(frames, ("Li", "O"), np.linspace(0, 5.5, 111)))
    assert found.g.max() > 10
    assert np.isnan(found.g_standard_error).all()
    assert found.peak is None
    assert "run longer" in (found.reason or "")
    json.dumps(found.to_json(), allow_nan=False)


def test_a_bin_that_nothing_visited_is_not_exact() -> None:
    chunk = breathing_pairs(0)
    partial = count(chunk, ("Li", "O"), np.linspace(0, 5.5, 111))
    error = pair_structure(partial).g_standard_error
    empty = partial.counts == 0
    one_pair = 1 / (partial.n_frames * partial.ideal_counts)
    np.testing.assert_allclose(error[empty], one_pair[empty])


# --- the whole analysis ---


def solution_frames(n_frames: int, edge: float = 13.9) -> list[Atoms]:
    """Waters and ions at random places: intramolecular structure only."""
    random = np.random.default_rng(11)
    water = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    frames = []
    for _ in range(n_frames):
        sites = edge * random.random((48, 3))
        positions = np.concatenate([(sites[8:, None] + water).reshape(-1, 3), sites[:8]])
        frames.append(Atoms("OHH" * 40 + "Li4Cl4", positions, cell=[edge] * 3, pbc=True))
    return frames


def test_pairs_are_listed_in_reading_order() -> None:
    assert all_pairs(("H", "Cl", "O", "Li") * 2) == [
        *("Li-O", "Cl-O", "O-O", "Li-Cl", "Li-Li", "Cl-Cl", "Li-H", "Cl-H", "O-H", "H-H")
    ]
    assert all_pairs(("K", "Br", "C", "C")) == ["K-Br", "K-C", "Br-C", "C-C"]


def test_all_file_formats_give_the_same_result(tmp_path: Path) -> None:
    frames = solution_frames(12)
    ase.io.write(tmp_path / "t.extxyz", frames)
    dump = write_dump(tmp_path / "t.dump", frames, columns="id type xu yu zu")
    positions = np.array([atoms.positions for atoms in frames])
    chunk = chunk_of(positions, tuple(frames[0].symbols), [13.9] * 3)
    write_trajectory(tmp_path / "t.h5", [chunk])
    expected = analyse_structure([chunk]).to_json()
    assert len(expected["pairs"]["Li-O"]["g"]) == 139
    for path in (tmp_path / "t.extxyz", dump, tmp_path / "t.h5"):
        found = analyse_structure(path, elements=TYPES).to_json()
        assert list(found["pairs"]) == list(expected["pairs"])
        for pair, result in expected["pairs"].items():
            g, other = np.array(result["g"]), np.array(found["pairs"][pair]["g"])
            # rounded coordinates move single pairs across bin edges
            assert (np.abs(g - other) > 1e-9).sum() <= 4
            assert np.abs(g - other).max() <= 0.02 * g.max()


def test_a_flat_minimum_widens_the_error_of_the_coordination_number() -> None:
    r = np.arange(0.025, 6, 0.05)
    error = np.full_like(r, 0.05)

    def shell(bottom: float) -> FloatArray:
        """Return a peak at 2, a valley with half width 0.5 around 3.5, and a second shell."""
        return 3 * np.exp(-((r - 2) ** 2) / 0.08) + 1 / (1 + np.exp(-(abs(r - 3.5) - 0.5) / bottom))

    sharp = np.abs(r - 3.5) + 3 * np.exp(-((r - 2) ** 2) / 0.08)
    assert minimum_uncertainty(r, sharp, error, 3.5) < 0.08
    flat = minimum_uncertainty(r, shell(0.02), error, 3.5)
    assert flat == pytest.approx(0.4, abs=0.05)  # smoothing takes 0.1 off either side
    assert minimum_uncertainty(r, shell(0.02), 0 * error, 3.5) <= flat


def test_the_error_of_the_coordination_number_holds_that_of_its_minimum() -> None:
    rdf = count(breathing_pairs(1), ("Li", "O"), np.linspace(0, 5.5, 111))
    sharp, blurred = (_coordination_estimate(rdf, 3.5, blur) for blur in (1e-9, 0.5))
    density = sharp.value / coordination_number(rdf.r, rdf.g, 1.0, 3.5)
    low, high = (coordination_number(rdf.r, rdf.g, density, end) for end in (3.0, 4.0))
    assert high > low
    assert blurred.value == sharp.value
    expected = math.hypot(sharp.standard_error, (high - low) / 2)
    assert blurred.standard_error == pytest.approx(expected, rel=1e-6)
    found = pair_structure(rdf)
    assert found.minimum_uncertainty_angstrom is not None
    assert found.minimum_uncertainty_angstrom >= 0.025


def test_json_has_the_form_of_the_contract() -> None:
    result = analyse_structure([breathing_pairs(1)], pairs=["Li-O"], r_max=5.52).to_json()
    text = json.dumps(result, allow_nan=False)
    pair = json.loads(text)["pairs"]["Li-O"]
    assert len(pair["r_angstrom"]) == len(pair["g"]) == len(pair["g_standard_error"]) == 110
    assert pair["r_angstrom"][:2] == pytest.approx([0.025, 0.075])
    for key in ("peak_angstrom", "coordination_number"):
        assert set(pair[key]) == {"value", "standard_error", "unit", "n_effective"}
    assert pair["minimum_angstrom"] == pytest.approx(3.0, abs=0.7)
    assert "reason" not in pair


def test_frames_up_to_the_skipped_time_are_left_out() -> None:
    chunk = ideal_gas(40)

    def split() -> Iterator[TrajectoryChunk]:
        yield chunk_of(chunk.positions[:25], chunk.symbols, chunk.cell)
        yield chunk_of(chunk.positions[25:], chunk.symbols, chunk.cell, first_step=25)

    late = chunk_of(chunk.positions[21:], chunk.symbols, chunk.cell)
    skipped = analyse_structure(split(), skip_ps=2.0)
    np.testing.assert_array_equal(
        skipped.pairs["Li-O"].g, analyse_structure([late]).pairs["Li-O"].g
    )
    with pytest.raises(InputError, match="no frames after"):
        analyse_structure([chunk], skip_ps=100.0)


def test_replicas_are_pooled(tmp_path: Path) -> None:
    parts = [ideal_gas(20, seed=seed) for seed in range(3)]
    for k, part in enumerate(parts):
        write_trajectory(tmp_path / f"{k}.h5", [part])
    together = analyse_structure([tmp_path / f"{k}.h5" for k in range(3)])
    each = [analyse_structure(tmp_path / f"{k}.h5").pairs["Li-O"].g for k in range(3)]
    np.testing.assert_allclose(together.pairs["Li-O"].g, np.mean(each, axis=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": ["Li-Xe"]}, "Li, O"),
        ({"pairs": ["LiO"]}, "given as"),
        ({"r_max": 5.5}, "half the box"),
        ({"r_max": -1.0}, "positive"),
        ({"bin_width": 0.0}, "bin"),
        ({"bin_width": 3.0}, "bin"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        analyse_structure([ideal_gas(3)], **options)


def test_wrong_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SeriesTooShort, match="single frame"):
        analyse_structure([ideal_gas(1)])
    with pytest.raises(InputError, match="at least one"):
        analyse_structure([])
    with pytest.raises(InputError, match="two Li"):
        analyse_structure([ideal_gas(3, counts=(1, 5))], pairs=["Li-Li"])
    with pytest.raises(InputError, match="different systems"):
        analyse_structure([iter([ideal_gas(3)]), iter([ideal_gas(3, counts=(11, 31))])])
    ase.io.write(tmp_path / "t.extxyz", solution_frames(3))
    with pytest.raises(InputError, match="holds no times"):
        analyse_structure(tmp_path / "t.extxyz", skip_ps=1.0)
    with pytest.raises(FrameError):
        analyse_structure(
            tmp_path / "t.extxyz", topology=tmp_path / "t.extxyz", elements={"O": "Q"}
        )


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data, which is not part of the code")
def test_real_solution(tmp_path: Path) -> None:
    """Li-O 1.97 and 4.2 neighbours, Cl-H 2.22 and 6, in frames of the published potential."""
    lines = (DATA / "licl_nnp1" / "frames.extxyz").read_text().splitlines(keepends=True)
    (tmp_path / "part.extxyz").write_text("".join(lines[: 250 * 120]))
    result = analyse_structure(tmp_path / "part.extxyz", pairs=["Li-O", "Cl-H"])
    lithium, chloride = result.pairs["Li-O"], result.pairs["Cl-H"]
    assert lithium.peak is not None
    assert lithium.peak.value == pytest.approx(1.968, abs=3 * lithium.peak.standard_error)
    assert lithium.peak.standard_error < 0.02
    assert lithium.coordination_number is not None
    assert lithium.coordination_number.value == pytest.approx(4.18, abs=0.15)
    assert chloride.peak is not None
    assert chloride.peak.value == pytest.approx(2.222, abs=0.03)


def test_a_flat_fit_has_no_maximum():
    """ln g = const and ln g = r^2: no maximum, and no division by zero on the way."""
    for coefficients in ([0.0, 0, 0, 1], [0.0, 1, 0, 1], [0.0, 1, 0.5, 1]):
        with pytest.raises(NotResolved):
            maximum_of_cubic(np.array(coefficients), 2.0, 0.1)
    top = maximum_of_cubic(np.array([0.3, -2.0, 0.1, 1.0]), 2.0, 0.1)
    slope = np.polyval(np.polyder([0.3, -2.0, 0.1, 1.0]), top - 2.0)
    assert slope == pytest.approx(0, abs=1e-12)
