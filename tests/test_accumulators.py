"""Stored measurements go on where they stopped; distributions of neighbours; names offered."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bjerrum.cli import app
from bjerrum.errors import FrameError, InputError, SeriesTooShort
from bjerrum.properties.accumulators import feed, load_accumulators, save_accumulators
from bjerrum.properties.blocks import automatic_block_length, bootstrap
from bjerrum.properties.coordination import coordination_distribution
from bjerrum.properties.paths import PathAccumulator
from bjerrum.properties.rdf import RdfAccumulator, combine
from bjerrum.trajectory import TrajectoryChunk
from bjerrum.trajectory.formats import symbols_of
from test_statistics import ar1

SYMBOLS = ("Li",) * 8 + ("O",) * 24


def chunks(n_frames: int, size: int, seed: int = 0) -> list[TrajectoryChunk]:
    random = np.random.default_rng(seed)
    start = 12 * random.random((32, 3))
    path = (start + np.cumsum(0.1 * random.standard_normal((n_frames, 32, 3)), axis=0)) % 12
    return [
        TrajectoryChunk(
            symbols=SYMBOLS,
            cell=np.array([12.0] * 3),
            steps=np.arange(s, min(s + size, n_frames)),
            times_ps=0.1 * np.arange(s, min(s + size, n_frames)),
            positions=path[s : s + size],
        )
        for s in range(0, n_frames, size)
    ]


def fresh() -> list:
    edges = np.linspace(0, 6.0, 31)
    return [
        RdfAccumulator(SYMBOLS, [("Li", "O"), ("O", "O")], edges),
        PathAccumulator(SYMBOLS, memory_bytes=12 * 32 * 64),
    ]


def test_an_interrupted_measurement_goes_on(tmp_path):
    checkpoint = tmp_path / "state.npz"
    whole = fresh()
    feed(chunks(300, 50), whole)
    feed(chunks(300, 50)[:3], fresh(), checkpoint=checkpoint)
    loaded = load_accumulators(checkpoint)
    taken_up = [loaded["rdf"], loaded["paths"]]
    assert [a.n_frames for a in taken_up] == [150, 150]
    feed(chunks(300, 40), taken_up, checkpoint=checkpoint)  # other chunks: frames are told apart
    assert [a.n_frames for a in taken_up] == [300, 300]
    ours, theirs = (combine([a[0]])["Li", "O"] for a in (taken_up, whole))
    np.testing.assert_array_equal(ours.counts, theirs.counts)
    np.testing.assert_allclose(ours.blocks[0], theirs.blocks[0])
    a, b = taken_up[1].paths(), whole[1].paths()
    assert a.stride == b.stride > 1
    assert a.was_wrapped
    np.testing.assert_allclose(a.displacements, b.displacements, atol=1e-5)


def test_other_files_are_no_state(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no accumulated measurement"):
        load_accumulators(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.arange(3))
    with pytest.raises(InputError, match="no accumulated measurement"):
        load_accumulators(tmp_path / "b.npz")
    with pytest.raises(InputError, match="rdf, paths, structure_factor, pairs; got mine"):
        save_accumulators(tmp_path / "c.npz", {"mine": fresh()[0]})


# --- neighbours ---


def crystal(n_frames: int = 3) -> TrajectoryChunk:
    """Rock salt: six neighbours, angles of 90 and 180 degrees."""
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    symbols = tuple("Li" if point.sum() % 2 else "Cl" for point in grid)
    noise = 1e-3 * np.random.default_rng(0).standard_normal((n_frames, len(grid), 3))
    return TrajectoryChunk(
        symbols=symbols,
        cell=np.array([10.0] * 3),
        steps=np.arange(n_frames),
        times_ps=None,
        positions=2.5 * grid + noise,
    )


def test_crystal_neighbours_and_angles():
    found = coordination_distribution([[crystal()]], "Li", "Cl", 3.0)
    np.testing.assert_allclose(found.share, [0, 0, 0, 0, 0, 0, 1])
    solid = -np.diff(np.cos(np.linspace(0, np.pi, 61))) / 2
    weights = found.angle_density * solid
    angles = found.angles_degree
    assert weights[abs(angles - 90) < 4].sum() == pytest.approx(12 / 15)
    assert weights[angles > 176].sum() == pytest.approx(3 / 15)
    json.dumps(found.to_json())


def test_independent_neighbours_have_a_flat_density_of_angles():
    random = np.random.default_rng(1)
    chunk = TrajectoryChunk(
        symbols=SYMBOLS,
        cell=np.array([8.0] * 3),
        steps=np.arange(1500),
        times_ps=None,
        positions=8 * random.random((1500, 32, 3)),
    )
    found = coordination_distribution([[chunk]], "Li", "O", 3.9)
    inner = slice(5, -5)
    pull = (found.angle_density - 1)[inner] / found.angle_density_error[inner]
    assert np.abs(pull).max() < 4.5
    mean = 24 / 8**3 * 4 / 3 * np.pi * 3.9**3
    assert found.numbers @ found.share == pytest.approx(mean, rel=0.02)


def test_unusable_neighbours_are_refused():
    with pytest.raises(InputError, match="got Li, Xe"):
        coordination_distribution([[crystal()]], "Li", "Xe", 3.0)
    with pytest.raises(InputError, match="at most half the box"):
        coordination_distribution([[crystal()]], "Li", "Cl", 6.0)
    with pytest.raises(SeriesTooShort):
        coordination_distribution([[crystal(1)]], "Li", "Cl", 3.0)


# --- bootstrap ---


@pytest.mark.parametrize(("n_runs", "n", "length"), [(1, 2000, 10.0), (6, 400, 4.0)])
def test_bootstrap_covers_the_truth(n_runs, n, length):
    inside, total = 0, 200
    for seed in range(total):
        random = np.random.default_rng(seed)
        series = [ar1(n, length, random) for _ in range(n_runs)]
        found = bootstrap(series, float, "1", resamples=150)
        inside += abs(found.value) < found.standard_error
    assert 0.60 <= inside / total <= 0.76


def test_bootstrap_sees_runs_that_disagree():
    random = np.random.default_rng(1)
    series = [k + 0.01 * random.standard_normal(400) for k in (0.0, 1.0, 2.0, 3.0, 4.0)]
    found = bootstrap(series, float, "1")
    assert found.n_effective == 5
    assert found.standard_error == pytest.approx(np.std([0, 1, 2, 3, 4], ddof=1) / 5**0.5, rel=0.35)


def test_block_length_grows_with_the_correlation_and_short_series_are_refused():
    random = np.random.default_rng(2)
    short, long = (automatic_block_length([ar1(20000, g, random)]) for g in (2.0, 40.0))
    assert long > 4 * short
    with pytest.raises(SeriesTooShort):
        automatic_block_length([ar1(60, 30.0, random)])
    with pytest.raises(SeriesTooShort, match="got 3 of 10"):
        bootstrap([np.arange(35.0)], float, "1", block_length=10)


# --- names ---


def test_a_mapping_is_offered():
    names = ["OW", "HW1", "SOD", "CLA", "2"]
    with pytest.raises(FrameError, match="--element OW=O --element HW1=H --element SOD=Na") as info:
        symbols_of(names, {}, "dump")
    assert "--element CLA=Cl --element 2=ELEMENT" in str(info.value)


def test_bench_runs():
    options = ["--frames", "100", "--rounds", "2", "--msd-frames", "1000", "--json"]
    result = CliRunner().invoke(app, ["bench", "analysis", *options])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert {"what", "ratio", "ours", "alternative", "unit", "details"} == set(data)
    assert data["what"] == "analysis"
    assert max(data["ratio"], data["details"]["ratio_with_one_thread"]) > 2
    assert data["details"]["largest_relative_difference_of_counts"] == 0
