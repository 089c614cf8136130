"""Ion pairs: built configurations, independent ions, published frames, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from typer.testing import CliRunner

from bjerrum.cli import app
from bjerrum.errors import BjerrumError, FrameError, InputError
from bjerrum.properties.accumulators import feed, load_accumulators
from bjerrum.properties.pair_cutoffs import PairCutoffs, ions_of
from bjerrum.properties.pairing import PairAccumulator, nearest_distances
from bjerrum.properties.pairing_result import analyse_pairing
from bjerrum.trajectory import TrajectoryChunk, iterate_frames, write_trajectory

DATA = Path(__file__).parents[2] / "shared" / "data"
FRAMES = DATA / "licl_dc_r2scan_dzvp" / "frames.extxyz"
CUTOFFS = PairCutoffs(
    (3.0, 5.5, 7.8),
    {("Li", "Li"): 4.1, ("Cl", "Cl"): 6.35, ("Li", "O"): 2.8, ("Cl", "O"): 3.88},
    {},
)


def chunk_of(positions, symbols, edge=20.0) -> TrajectoryChunk:
    steps = np.arange(len(positions))
    return TrajectoryChunk(
        symbols=symbols,
        cell=np.array([edge] * 3),
        steps=steps,
        times_ps=0.1 * steps,
        positions=np.asarray(positions, dtype=np.float64),
    )


def test_counting_goes_on_from_a_stored_state(tmp_path):
    symbols = ("Li",) * 3 + ("Cl",) * 3 + ("O",) * 12
    random = np.random.default_rng(3)
    steps = 0.4 * random.standard_normal((120, 18, 3))
    path = 17 * random.random((18, 3)) + np.cumsum(steps, axis=0)
    whole = chunk_of(path, symbols, 17.0)
    parts = [
        TrajectoryChunk(
            symbols=symbols,
            cell=whole.cell,
            steps=whole.steps[s],
            times_ps=whole.times_ps[s],
            positions=whole.positions[s],
        )
        for s in (slice(0, 50), slice(50, 120))
    ]
    stable = {("Li", "O"): (2.6, 3.4)}
    at_once, first = (
        PairAccumulator(symbols, CUTOFFS, stable),
        PairAccumulator(symbols, CUTOFFS, stable),
    )
    at_once.add(whole)
    feed(parts[:1], [first], checkpoint=tmp_path / "pairs.npz", names=["pairs"])
    taken_up = load_accumulators(tmp_path / "pairs.npz")["pairs"]
    assert taken_up.cutoffs == CUTOFFS
    feed(parts, [taken_up])
    assert len(at_once.contacts) > 20
    assert any(contact.shared_oxygens for contact in at_once.contacts)
    ours, theirs = (
        sorted(a.contacts, key=lambda c: (c.species, c.frame, c.ions)) for a in (taken_up, at_once)
    )
    assert ours == theirs  # their order is that of chunks
    ours, theirs = taken_up.series(), at_once.series()
    assert ours.volume == pytest.approx(theirs.volume)
    for name in ("pairs", "nearest", "free"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for species in ("Li", "Cl"):
        np.testing.assert_array_equal(ours.like[species], theirs.like[species])
    trackers = [
        (list(a.trackers.values()) + [t for both in a.stable_trackers.values() for t in both])
        for a in (taken_up, at_once)
    ]
    assert len(trackers[0]) == 5
    for a, b in zip(*trackers, strict=True):
        np.testing.assert_array_equal(a.stays().start, b.stays().start)
        np.testing.assert_array_equal(a.stays().end, b.stays().end)


def test_a_built_configuration_is_classified():
    symbols = ("Li", "Li", "Li", "Cl", "Cl", "O", "O")
    frame = [
        [0.5, 0, 0],
        [17.0 + 0.2, 0, 0],  # 3.3 from the first, through the boundary
        [10, 10, 10],
        [0.5, 2.4, 0],  # contact with the first
        [10, 10, 14.6],  # solvent-separated from the third
        [18.85, 0.9, 0],  # bridges the first two
        [10, 12, 10],
    ]
    accumulator = PairAccumulator(symbols, CUTOFFS)
    accumulator.add(chunk_of([frame, frame], symbols))
    series = accumulator.series()
    np.testing.assert_array_equal(series.pairs, [[1, 2, 0]] * 2)  # Li2-Cl1 is 4.08 apart
    np.testing.assert_allclose(series.nearest[0], [1 / 3, 2 / 3, 0, 0])
    np.testing.assert_array_equal(series.free, [[2, 1]] * 2)
    np.testing.assert_array_equal(series.like["Li"], [[0, 1, 0, 0]] * 2)
    contact = accumulator.contacts[0]
    assert (contact.species, contact.ions, contact.shared_oxygens) == ("Li", (0, 1), (5,))
    assert contact.distance == pytest.approx(3.3)
    assert [c.frame for c in accumulator.contacts] == [0, 1]


def test_distances_of_nearest_images():
    random = np.random.default_rng(0)
    cell = np.array([[9.0, 0, 0], [2.0, 9.5, 0], [-1.5, 1.0, 10.0]])
    a, b = 30 * random.random((2, 4, 3)), 30 * random.random((2, 5, 3))
    found = nearest_distances(a, b, np.broadcast_to(cell, (2, 3, 3)))
    shifts = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3, indexing="ij"), -1).reshape(-1, 3) @ cell
    apart = a[:, :, None, None] - b[:, None, :, None] + shifts
    expected = np.linalg.norm(apart, axis=-1).min(axis=-1)
    near = expected < 4.2  # half the smallest width
    np.testing.assert_allclose(found[near], expected[near], atol=1e-9)


def test_independent_ions():
    """Ideal gas: populations are densities times volumes, both constants N_A times the volume."""
    symbols = ("Li",) * 12 + ("Cl",) * 12
    random, edge = np.random.default_rng(1), 30.0
    positions = edge * random.random((3000, 24, 3))
    result = analyse_pairing(
        [lambda: iter([chunk_of(positions, symbols, edge)])],
        shells=(3.0, 5.5, 7.8),
        neighbours={("Li", "Li"): 4.1, ("Cl", "Cl"): 4.1},
    )
    edges = np.array([0, 3.0, 5.5, 7.8])
    expected = 12 / edge**3 * np.diff(4 / 3 * np.pi * edges**3)
    for (name, found), truth in zip(result.populations.items(), expected, strict=True):
        assert abs(found.value - truth) < 3.5 * found.standard_error, name
    volume = 6.02214076e-4 * 4 / 3 * np.pi * 27
    integral = result.association["integral"]
    assert abs(integral.value - volume) < 3.5 * integral.standard_error
    action = result.association["mass_action"]
    rare = 1 + 24 / edge**3 * 4 / 3 * np.pi * 27  # free ions are fewer by the pairs
    assert abs(action.value - volume * rare) < 3.5 * action.standard_error
    assert sum(found.value for found in result.nearest.values()) == pytest.approx(1.0)
    like = result.like_contacts["Li"]["all"]
    truth = 11 / edge**3 * 4 / 3 * np.pi * 4.1**3
    assert abs(like.value - truth) < 3.5 * like.standard_error


@pytest.mark.skipif(not FRAMES.is_file(), reason="no shared data")
def test_published_lithium_dimers():
    """50 published frames with a close pair; counted here pair by pair."""
    result = analyse_pairing([lambda: iterate_frames(FRAMES)])
    contacts = [c for c in result.contacts[0] if c.species == "Li"]
    counted: dict[int, int] = {}
    for atoms in ase.io.read(FRAMES, ":"):
        symbols = np.array(atoms.symbols)
        lithium, oxygen = np.flatnonzero(symbols == "Li"), np.flatnonzero(symbols == "O")
        distances = atoms.get_all_distances(mic=True)
        for n, i in enumerate(lithium):
            for j in lithium[n + 1 :]:
                if distances[i, j] < 4.1:
                    shared = (distances[[i, j]][:, oxygen] < 2.8).all(axis=0).sum()
                    counted[shared] = counted.get(shared, 0) + 1
    found = [len(c.shared_oxygens) for c in contacts]
    assert {k: found.count(k) for k in set(found)} == counted
    assert counted[1] > counted[2] > counted[0]
    assert min(c.distance for c in contacts) > 2.6
    bridged = [
        np.mean([c.distance for c in contacts if len(c.shared_oxygens) == k]) for k in (1, 2)
    ]
    assert bridged[1] < bridged[0] - 0.3
    assert result.cutoffs.shells == (3.0, 5.5)  # the third reaches beyond half this box


def test_other_solutions_are_refused():
    assert ions_of(("Li", "Cl", "O", "H")) == ("Li", "Cl")
    for symbols in (("Li", "O"), ("Li", "Na", "Cl"), ("O", "H")):
        with pytest.raises(InputError, match="one kind of monatomic cation"):
            ions_of(symbols)
    for shells in ((3.0, 2.0), (), (1.0, 2.0, 3.0, 4.0)):
        with pytest.raises(InputError, match="ascending distances"):
            PairCutoffs(shells, {}, {})
    accumulator = PairAccumulator(("Li", "Cl"), PairCutoffs((7.8,), {}, {}))
    with pytest.raises(FrameError, match="half the box is 5"):
        accumulator.add(chunk_of(np.zeros((1, 2, 3)), ("Li", "Cl"), 10.0))


# --- the command ---


@pytest.fixture(scope="module")
def solution(tmp_path_factory) -> Path:
    """Waters and ions that hop at random: every class occurs."""
    random, edge = np.random.default_rng(2), 17.0
    symbols = ("Li",) * 6 + ("Cl",) * 6 + ("O",) * 60
    start = edge * random.random((len(symbols), 3))
    path = start + np.cumsum(0.15 * random.standard_normal((900, len(symbols), 3)), axis=0)
    file = tmp_path_factory.mktemp("pairs") / "run.h5"
    write_trajectory(file, [chunk_of(path, symbols, edge)])
    return file


def run(*arguments: object):
    return CliRunner().invoke(app, ["analyse", "pairing", *map(str, arguments)])


def test_command(solution, tmp_path):
    frames = tmp_path / "dimers.xyz"
    options = ("--shell", "Cl-Cl=6.0", "--write-frames", frames, "--only", "Li", "--json")
    result = run(solution, *options)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["cutoffs_angstrom"]["Li-Cl"] == [3.0, 5.5, 7.8]
    assert data["cutoff_sources"] == {
        "Li-Cl": "published",
        "Li-Li": "published",
        "Cl-Cl": "given",
        "Li-O": "published",
        "Cl-O": "published",
    }
    assert {"impey", "survival"} <= set(data["residence_time_ps"]["Li-O"])
    listed = [c for c in data["like_contact_frames"] if c["species"] == "Li"]
    images = ase.io.read(frames, ":")
    assert [atoms.info["frame"] for atoms in images] == sorted({c["frame"] for c in listed})
    first, atoms = listed[0], images[0]
    distance = atoms.get_distance(*first["ions"], mic=True)
    assert distance == pytest.approx(first["distance_angstrom"], abs=1e-3)
    assert ((atoms.get_scaled_positions() >= 0) & (atoms.get_scaled_positions() < 1)).all()


def test_readable_output(solution):
    result = run(solution)
    assert result.exit_code == 0
    assert "distances in angstrom: Li-Cl 3 / 5.5 / 7.8 (published)" in result.stdout
    assert "residence time Li-O, impey" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shells", "a,b"], "--shells: expected"),
        (["--shells", "3,2"], "ascending"),
        (["--shell", "LiLi=4"], "--shell: expected"),
        (["--only", "Li"], "--write-frames"),
        (["--measured"], "or give the distance (--shells"),
        (["--shells", "3,9"], "half the box"),
        (["--write-frames", "x.xyz", "--only", "O"], "--only: expected Li or Cl"),
    ],
)
def test_wrong_options_end_in_one_line(solution, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(solution, *options)
    assert isinstance(result.exception, BjerrumError)
    assert message in str(result.exception)
    assert result.exception.exit_code == 2
    assert list(tmp_path.iterdir()) == []
