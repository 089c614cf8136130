"""Histograms of distances against the definition, MDAnalysis, and the corners of a cube."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import integrate

from bjerrum.errors import FrameError, InputError
from bjerrum.properties import distance_bins, pair_counts
from bjerrum.properties.pair_counts import count_pairs
from bjerrum.properties.rdf import RdfAccumulator, combine, shell_volumes, sphere_in_cube
from bjerrum.trajectory import TrajectoryChunk

PAIRS = [("Li", "Li"), ("Li", "O"), ("O", "O"), ("O", "Li")]


def naive(positions, cell, groups, pair, edges):
    """Each pair, all 27 images, double precision."""
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ cell
    inside = (positions @ np.linalg.inv(cell) % 1.0) @ cell
    counts = np.zeros(len(edges) - 1, dtype=int)
    for i in groups[pair[0]]:
        others = groups[pair[1]][groups[pair[1]] != i]
        apart = inside[others][:, None] - inside[i] + shifts
        counts += np.histogram(np.linalg.norm(apart, axis=-1).min(axis=1), edges)[0]
    return counts


@pytest.mark.parametrize("width", [0.05, 0.5, 0.001])
@pytest.mark.parametrize(
    "cell",
    [
        np.diag([9.0, 9.0, 9.0]),
        np.diag([9.0, 10.0, 11.0]),
        np.array([[9.0, 0, 0], [2.0, 9.5, 0], [-1.5, 1.0, 10.0]]),
        np.array([[6.0, 6.0, 0], [-6.0, 6.0, 0], [0, 0.5, 9.0]]),
    ],
)
def test_counts_equal_the_definition(cell, width, monkeypatch):
    random = np.random.default_rng(3)
    positions = 30 * random.random((2, 40, 3)) - 12
    groups = {"Li": np.arange(12), "O": np.arange(12, 40)}
    edges = np.linspace(0, 4.0, round(4.0 / width) + 1)
    expected = np.array(
        [[naive(frame, cell, groups, pair, edges) for pair in PAIRS] for frame in positions]
    )
    cells = np.broadcast_to(cell, (2, 3, 3))
    found = count_pairs(positions, cells, groups, PAIRS, edges)
    if width >= 0.05:  # single-precision coordinates move few pairs across an edge
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(
        np.cumsum(found, axis=-1)[..., -1], np.cumsum(expected, axis=-1)[..., -1], atol=1
    )
    monkeypatch.setattr(distance_bins, "DISTANCES_AT_ONCE", 97)
    monkeypatch.setattr(pair_counts, "PAIRS_WORTH_HALVING", 97)
    monkeypatch.setattr(pair_counts, "FRAMES_AT_ONCE", 1)
    again = count_pairs(positions, cells, groups, PAIRS, edges, threads=2)
    np.testing.assert_array_equal(again, found)


def test_counts_equal_those_of_mdanalysis_one_by_one():
    from MDAnalysis.lib.distances import distance_array

    random = np.random.default_rng(4)
    edge, n = 25.26, 700
    positions = (edge * (2 * random.random((3, n, 3)) - 0.5)).astype(np.float32)
    groups = {"Li": np.arange(60), "O": np.arange(60, n)}
    edges = np.linspace(0, 12.6, 253)
    cells = np.broadcast_to(edge * np.eye(3), (3, 3, 3))
    found = count_pairs(positions, cells, groups, [("Li", "O"), ("O", "O")], edges).sum(axis=0)
    box = np.array([edge] * 3 + [90] * 3, dtype=np.float32)
    for k, first in enumerate((slice(0, 60), slice(60, n))):
        expected = np.zeros(len(edges) - 1, dtype=int)
        for frame in positions:
            distances = distance_array(frame[first], frame[60:], box=box)
            if k == 1:
                distances = distances[~np.eye(n - 60, dtype=bool)]
            expected += np.histogram(distances, edges)[0]
        np.testing.assert_array_equal(found[k], expected)


def test_a_changing_cell_is_counted_frame_by_frame():
    random = np.random.default_rng(5)
    positions = 8 * random.random((3, 30, 3))
    groups = {"Li": np.arange(10), "O": np.arange(10, 30)}
    edges = np.linspace(0, 3.5, 8)
    cells = np.array([np.diag([e, e + 0.3, e - 0.2]) for e in (8.0, 8.1, 8.4)])
    found = count_pairs(positions, cells, groups, PAIRS, edges)
    for frame in range(3):
        for k, pair in enumerate(PAIRS):
            expected = naive(positions[frame], cells[frame], groups, pair, edges)
            np.testing.assert_array_equal(found[frame, k], expected)


def test_distances_on_an_edge_fall_as_in_numpy():
    """A lattice, all of whose distances are multiples of the bin width."""
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), -1).reshape(1, -1, 3)
    groups = {"Li": np.arange(64)}
    edges = np.linspace(0, 2.0, 9)
    found = count_pairs(grid, 4 * np.eye(3)[None], groups, [("Li", "Li")], edges)[0, 0]
    expected = naive(grid[0], 4 * np.eye(3), groups, ("Li", "Li"), edges)
    np.testing.assert_array_equal(found, expected)
    assert found[-1] == 64 * (6 / 2 + 0)  # at r = 2, half the box: each face neighbour once


def test_a_cell_without_volume_is_refused():
    with pytest.raises(FrameError, match="no valid cell"):
        count_pairs(
            np.zeros((1, 2, 3)), np.zeros((1, 3, 3)), {"Li": np.arange(2)}, PAIRS[:1], np.arange(3)
        )


# --- beyond half the box ---


@pytest.mark.parametrize("radius", [0.3, 0.5, 0.6, 0.7, 0.71, 0.75, 0.8, 0.85])
def test_sphere_in_a_cube_equals_quadrature(radius):
    def column(y: float, x: float) -> float:
        return min(np.sqrt(max(radius**2 - x**2 - y**2, 0.0)), 0.5)

    volume = 8 * integrate.dblquad(column, 0, 0.5, 0, 0.5, epsabs=1e-4, epsrel=1e-4)[0]
    assert sphere_in_cube(radius) == pytest.approx(volume, abs=2e-4)


def test_sphere_in_a_cube_is_smooth_and_ends_at_one():
    assert sphere_in_cube(np.sqrt(0.75)) == pytest.approx(1.0, abs=1e-12)
    assert sphere_in_cube(3.0) == pytest.approx(1.0, abs=1e-12)
    for edge in (0.5, np.sqrt(0.5)):
        below, above = sphere_in_cube([edge - 1e-7, edge + 1e-7])
        assert above - below == pytest.approx(0, abs=1e-5)
    shells = shell_volumes(np.linspace(0, 9.0, 91), 10.0)
    assert shells.sum() == pytest.approx(1000.0)


def gas(n_frames: int, edge: float) -> TrajectoryChunk:
    random = np.random.default_rng(6)
    symbols = ("Li",) * 60 + ("Cl",) * 60
    return TrajectoryChunk(
        symbols=symbols,
        cell=np.array([edge] * 3),
        steps=np.arange(n_frames),
        times_ps=None,
        positions=edge * random.random((n_frames, 120, 3)),
    )


def test_an_ideal_gas_is_one_up_to_the_corners():
    chunk = gas(300, 10.0)
    edges = np.linspace(0, 8.6, 44)
    accumulator = RdfAccumulator(
        chunk.symbols, [("Li", "Cl"), ("Li", "Li")], edges, beyond_half_box=True
    )
    accumulator.add(chunk)
    for rdf in combine([accumulator]).values():
        expected = rdf.ideal_counts * rdf.n_frames
        enough = expected > 200
        pull = (rdf.counts - expected)[enough] / np.sqrt(2 * expected[enough])
        assert rdf.r[enough][-1] > 8.0
        assert np.abs(pull).max() < 4.5
        assert np.abs(pull.mean()) < 0.6


def test_beyond_half_the_box_needs_a_cube():
    chunk = gas(2, 10.0)
    accumulator = RdfAccumulator(
        chunk.symbols, [("Li", "Cl")], np.linspace(0, 9.0, 10), beyond_half_box=True
    )
    with pytest.raises(InputError, match="half diagonal, 8\\.6603"):
        accumulator.add(chunk)
    flat = TrajectoryChunk(
        symbols=chunk.symbols,
        cell=np.array([10.0, 10.0, 11.0]),
        steps=chunk.steps,
        times_ps=None,
        positions=chunk.positions,
    )
    accumulator = RdfAccumulator(
        chunk.symbols, [("Li", "Cl")], np.linspace(0, 8.0, 9), beyond_half_box=True
    )
    with pytest.raises(InputError, match="cubic cell of constant size"):
        accumulator.add(flat)


def test_agrees_with_interrdf_on_a_real_box_size():
    import MDAnalysis
    from MDAnalysis.analysis.rdf import InterRDF

    chunk = gas(20, 14.0)
    edges = np.linspace(0, 7.0, 141)
    accumulator = RdfAccumulator(chunk.symbols, [("Li", "Cl"), ("Cl", "Cl")], edges)
    accumulator.add(chunk)
    ours = combine([accumulator])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe.empty(120, trajectory=True)
        universe.add_TopologyAttr("names", chunk.symbols)
        universe.load_new(chunk.positions, dimensions=np.array([14.0] * 3 + [90] * 3))
        li, cl = (universe.select_atoms(f"name {name}") for name in ("Li", "Cl"))
        unlike = InterRDF(li, cl, nbins=140, range=(0, 7.0)).run().results.rdf
        like = InterRDF(cl, cl, nbins=140, range=(0, 7.0), exclusion_block=(1, 1)).run().results.rdf
    np.testing.assert_allclose(ours["Li", "Cl"].g, unlike, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(ours["Cl", "Cl"].g, like, atol=1e-6, rtol=1e-6)
