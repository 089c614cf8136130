"""Unwrapping, conductivity and the command: independent walkers have known answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from bjerrum.cli import app
from bjerrum.errors import BjerrumError, FrameError, InputError, SeriesTooShort
from bjerrum.properties.conductivity import charges_of, ion_sums, measure_conductivity
from bjerrum.properties.paths import PathAccumulator, collect_paths, tracked_species
from bjerrum.properties.transport import analyse_transport
from bjerrum.properties.unwrap import Unwrapper, masses_of
from bjerrum.trajectory import TrajectoryChunk, write_trajectory

EDGE, INTERVAL = 16.0, 0.2
COUNTS = {"Li": 16, "Cl": 16, "O": 60, "H": 120}
DIFFUSION = {"Li": 0.1, "Cl": 0.15, "O": 0.2, "H": 0.2}
SYMBOLS = tuple(s for s, n in COUNTS.items() for _ in range(n))


def walk(seed: int, n_frames: int, symbols: tuple[str, ...] = SYMBOLS) -> np.ndarray:
    random = np.random.default_rng(seed)
    step = np.sqrt([2 * DIFFUSION[s] * INTERVAL for s in symbols])
    start = EDGE * random.random((len(symbols), 3))
    moves = step[:, None] * random.standard_normal((n_frames, len(symbols), 3))
    return start + np.cumsum(moves, axis=0)


def chunk_of(positions, symbols=SYMBOLS, first=0, cell=EDGE, times=True, **more) -> TrajectoryChunk:
    steps = first + np.arange(len(positions))
    return TrajectoryChunk(
        symbols=symbols,
        cell=np.array([cell] * 3),
        steps=steps,
        times_ps=INTERVAL * steps if times else None,
        positions=positions,
        **more,
    )


def in_chunks(positions, size=130, **more):
    for start in range(0, len(positions), size):
        yield chunk_of(positions[start : start + size], first=start, **more)


# --- unwrapping ---


def test_wrapped_paths_become_the_unwrapped_ones():
    path = walk(1, 400)
    reference = collect_paths(in_chunks(path))
    wrapped = collect_paths(in_chunks(path % EDGE, 77))
    assert wrapped.was_wrapped
    assert not reference.was_wrapped
    np.testing.assert_allclose(wrapped.displacements, reference.displacements, atol=1e-4)


def test_the_centre_of_mass_stays():
    path = walk(2, 100) + 0.3 * np.arange(100)[:, None, None]
    masses = masses_of(SYMBOLS)
    unwrapper = Unwrapper(SYMBOLS, masses)
    found = np.concatenate([unwrapper.add(chunk) for chunk in in_chunks(path, 33)])
    centre = np.einsum("fai,a->fi", found, masses) / masses.sum()
    np.testing.assert_allclose(centre, np.broadcast_to(centre[0], centre.shape), atol=1e-9)
    kept = Unwrapper(SYMBOLS, masses, keep_drift=True).add(chunk_of(path))
    np.testing.assert_allclose(kept, path, atol=1e-9)


def test_frames_too_far_apart_are_refused():
    path = walk(3, 4000)[::200] % EDGE
    with pytest.raises(FrameError, match="cannot be unwrapped: write frames more often"):
        collect_paths([chunk_of(path)])


def test_partly_unwrapped_coordinates_are_refused():
    path = walk(4, 3000)
    half = path.copy()
    half[:, :100] %= EDGE
    with pytest.raises(FrameError, match="partly unwrapped"):
        collect_paths([chunk_of(half)])


def test_a_changing_cell_and_changing_atoms_are_refused():
    path = walk(5, 20)
    with pytest.raises(FrameError, match="constant volume"):
        collect_paths([chunk_of(path[:10]), chunk_of(path[10:], first=10, cell=16.1)])
    other = (*SYMBOLS[1:], SYMBOLS[0])
    with pytest.raises(FrameError, match="atoms change"):
        collect_paths([chunk_of(path[:10]), chunk_of(path[10:], symbols=other, first=10)])


def test_times_are_needed_and_equally_spaced():
    path = walk(6, 20)
    with pytest.raises(InputError, match="--frame-interval-ps"):
        collect_paths([chunk_of(path, times=False)])
    with pytest.raises(FrameError, match=r"equally spaced, found 0\.2 ps and 1"):
        collect_paths([chunk_of(path[:10]), chunk_of(path[10:], first=14)])
    with pytest.raises(InputError, match="series of frames, got 1"):
        collect_paths([chunk_of(path[:1])])


def test_paths_are_thinned_to_their_budget():
    path = walk(7, 900)
    n_tracked = sum(COUNTS[s] for s in ("Li", "Cl", "O"))
    budget = 12 * n_tracked * 100
    accumulator = PathAccumulator(SYMBOLS, memory_bytes=budget)
    for chunk in in_chunks(path, 50):
        accumulator.add(chunk)
        assert len(accumulator._kept) <= 100
    paths = accumulator.paths()
    assert paths.stride == 16
    assert paths.interval_ps == pytest.approx(16 * INTERVAL)
    whole = collect_paths(in_chunks(path))
    np.testing.assert_array_equal(paths.displacements, whole.displacements[::16])


def test_hydrogen_of_water_is_not_tracked():
    assert tracked_species(SYMBOLS) == ("Li", "Cl", "O")
    assert tracked_species(("H", "H")) == ("H",)
    assert masses_of(("H", "O"), {"H": 2.014})[0] == 2.014
    with pytest.raises(InputError, match="amu"):
        masses_of(("H",), {"H": -1.0})


# --- conductivity ---


def test_independent_ions_conduct_as_nernst_einstein_says():
    """30 boxes of independent walkers: mean and coverage."""
    ratios, pulls, shares = [], [], []
    for seed in range(30):
        result = analyse_transport([in_chunks(walk(seed, 1200))], temperature=300.0)
        assert result.conductivity is not None
        assert result.nernst_einstein is not None
        exact = (
            1602.176634 / (300 * 8.617333262e-5) * (16 * 0.1 + 16 * 0.15) / EDGE**3
        )  # e^2/(V k T) sum N D
        ratios.append(result.conductivity.einstein.value / exact)
        pulls.append((ratios[-1] - 1) * exact / result.conductivity.einstein.standard_error)
        shares.append(result.conductivity.transference["Li"].value)
        total = sum(t.value for t in result.conductivity.transference.values())
        assert total == pytest.approx(1.0)
        onsager = result.conductivity.onsager
        parts = sum((1 if a == b else 2) * onsager[a, b].value for a, b in onsager)
        assert parts == pytest.approx(result.conductivity.einstein.value, rel=1e-6)
    assert np.mean(ratios) == pytest.approx(1.0, abs=3 * np.std(ratios) / np.sqrt(30) + 0.005)
    assert np.mean(shares) == pytest.approx(0.4, abs=0.03)
    # wide: neighbouring stretches are anticorrelated, which is not claimed; 80 % in 120 walks
    assert 0.6 <= (np.abs(pulls) < 1).mean() <= 0.97


def test_opposite_ions_that_move_together_do_not_conduct():
    path = walk(1, 1200)
    path[:, 16:32] = path[:, :16] + 0.01 * walk(2, 1200)[:, 16:32]
    paths = collect_paths([chunk_of(path)])
    found = measure_conductivity([paths], charges_of(SYMBOLS), 300.0, start_ps=1.0)
    assert found.einstein.value < 1e-3 * found.onsager["Li", "Li"].value
    assert found.onsager["Li", "Cl"].value == pytest.approx(
        -found.onsager["Li", "Li"].value, rel=0.02
    )


def test_the_solvent_frame_follows_from_momentum():
    paths = collect_paths([chunk_of(walk(2, 200))])
    sums, frame = ion_sums(paths, charges_of(SYMBOLS))
    assert frame == "solvent"
    path = walk(2, 200)
    masses = masses_of(SYMBOLS)
    centre = np.einsum("fai,a->fi", path[:, 32:], masses[32:]) / masses[32:].sum()
    expected = (path[:, :16] - centre[:, None]).sum(axis=1)
    np.testing.assert_allclose(sums["Li"], expected - expected[0], atol=1e-3)


def test_charges():
    assert charges_of(SYMBOLS) == {"Li": 1, "Cl": -1, "O": 0, "H": 0}
    with pytest.raises(InputError, match=r"add up to \+16"):
        charges_of(SYMBOLS, {"Cl": 0})
    with pytest.raises(InputError, match="--charge Zn=1"):
        charges_of(("Zn", "Cl"))


# --- the command ---


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        chunk = chunk_of(walk(seed, 800), metadata={"temperature_K": 300.0})
        write_trajectory(folder / f"run-{seed}.h5", [chunk])
    path = walk(1, 800)
    write_trajectory(folder / "wrapped.h5", [chunk_of(path % EDGE)])
    write_trajectory(folder / "short.h5", [chunk_of(path[:12])])
    write_trajectory(folder / "one.h5", [chunk_of(path[:1])])
    images = [Atoms(SYMBOLS, frame, cell=[EDGE] * 3, pbc=True) for frame in path[:60]]
    ase.io.write(folder / "untimed.xyz", images)
    return folder


def run(*arguments: str):
    return CliRunner().invoke(app, ["analyse", "transport", *map(str, arguments)])


def test_json_has_the_contracts_keys(runs):
    result = run(runs / "run-1.h5", runs / "run-2.h5", "--viscosity-mpa-s", "1.2", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    lithium = data["diffusion_1e-9_m2_per_s"]["Li"]
    for name in ("raw", "corrected"):
        assert {"value", "standard_error", "unit", "n_effective"} <= set(lithium[name])
    assert lithium["raw"]["value"] == pytest.approx(1.0, abs=0.15)
    shift = lithium["corrected"]["value"] - lithium["raw"]["value"]
    assert shift == pytest.approx(0.325 * 21.6 / EDGE * 0.888 / 1.2, rel=0.01)
    assert data["conductivity_S_per_m"]["unit"] == "S/m"
    assert data["temperature_K"] == 300.0
    assert "not stated" in data["hydrogen"]
    assert data["n_trajectories"] == 2


def test_borrowed_viscosity_is_named_and_only_on_request(runs):
    plain = json.loads(run(runs / "run-1.h5", "--json").stdout)
    assert plain["diffusion_1e-9_m2_per_s"]["Li"]["corrected"] is None
    assert "stores no stress" in plain["reasons"]["viscosity"]
    borrowed = json.loads(run(runs / "run-1.h5", "--borrow-viscosity", "LiCl:2.6", "--json").stdout)
    assert borrowed["viscosity_is_borrowed"]
    assert "Laliberte" in borrowed["viscosity_source"]
    water = json.loads(run(runs / "run-1.h5", "--borrow-viscosity", "water", "--json").stdout)
    assert water["viscosity_mPa_s"]["value"] == pytest.approx(0.854, abs=0.005)


def test_masses_are_said(runs):
    data = json.loads(run(runs / "run-1.h5", "--mass", "H=2.014", "--json").stdout)
    assert data["hydrogen"] == "2.014 amu (deuterium)"
    assert data["masses_amu"]["H"] == 2.014


def test_wrapped_files_give_the_same_diffusion(runs):
    wrapped = json.loads(run(runs / "wrapped.h5", "--json").stdout)
    plain = json.loads(run(runs / "run-1.h5", "--json").stdout)
    assert wrapped["was_wrapped"] == [True]
    for species in ("Li", "Cl", "O"):
        a, b = (d["diffusion_1e-9_m2_per_s"][species]["raw"]["value"] for d in (wrapped, plain))
        assert a == pytest.approx(b, rel=1e-3)
    assert wrapped["conductivity_S_per_m"] is None
    assert "--temperature" in wrapped["reasons"]["conductivity"]


def test_figure(runs, tmp_path):
    result = run(runs / "run-1.h5", "--figure", tmp_path / "msd.html")
    assert result.exit_code == 0
    page = (tmp_path / "msd.html").read_text(encoding="utf-8")
    assert "mean squared displacement" in page


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["short.h5"], SeriesTooShort, "at least 40 frames, got 12"),
        (["one.h5"], InputError, "needs a series of frames"),
        (["untimed.xyz"], InputError, "--frame-interval-ps"),
        (["nothing.h5"], InputError, "no such file"),
        (["run-1.h5", "--viscosity-mpa-s", "1", "--borrow-viscosity", "water"], InputError, "both"),
        (["run-1.h5", "--viscosity-mpa-s", "-1"], InputError, "positive viscosity"),
        (["run-1.h5", "--borrow-viscosity", "honey"], InputError, "LiCl:2.6"),
        (["run-1.h5", "--window-ps", "50,10"], InputError, "two times in order"),
        (["run-1.h5", "--window-ps", "ten"], InputError, "10,50"),
        (["run-1.h5", "--charge", "Li=a"], InputError, "--charge"),
        (["run-1.h5", "--charge", "Li=2"], InputError, "add up to"),
        (["run-1.h5", "--species", "Xe"], InputError, "got Xe"),
        (["run-1.h5", "--temperature", "-5"], InputError, "kelvin"),
        (["run-1.h5", "--skip-ps", "1000"], InputError, "holds no frames"),
        (["run-1.h5", "short.h5", "--figure", "a.png"], BjerrumError, ""),
    ],
)
def test_wrong_input_ends_in_one_line(runs, arguments, error, message):
    result = run(*[runs / a if a.endswith((".h5", ".xyz")) else a for a in arguments])
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert result.exception.exit_code == 2
    assert result.stdout == ""


def test_memory_is_bounded_by_the_chunk(tmp_path):
    """A trajectory of 110 MiB, read for g(r) and diffusion, needs no more than two chunks of it."""
    code = """
import resource, sys, numpy as np
from bjerrum.properties.paths import PathAccumulator
from bjerrum.properties.rdf import RdfAccumulator
from bjerrum.trajectory import TrajectoryChunk
symbols = ("Li",) * 24 + ("Cl",) * 24 + ("O",) * 512 + ("H",) * 1024
random = np.random.default_rng(0)
path = 25 * random.random((1584, 3), dtype=np.float32)
rdf = RdfAccumulator(symbols, [("Li", "Cl")], np.linspace(0, 12, 121), threads=1)
paths = PathAccumulator(symbols, memory_bytes=4 * 2**20)
walk = np.cumsum(0.1 * random.standard_normal((100, 1584, 3), dtype=np.float32), axis=0)
def feed(first, n):
    steps = first + np.arange(n)
    chunk = TrajectoryChunk(symbols=symbols, cell=np.array([25.0] * 3), steps=steps,
                            times_ps=0.1 * steps, positions=path + walk)
    rdf.add(chunk); paths.add(chunk)
    path[:] = chunk.positions[-1]
feed(0, 100); feed(100, 100)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for k in range(2, 62):
    feed(100 * k, 100)
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, rdf.n_frames, paths.stride)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout.split()
    before, after, frames, stride = map(int, out)
    assert frames * 1584 * 12 > 110 * 2**20
    assert stride > 1
    assert (after - before) / 1024 < 30


def test_ions_alone_have_no_transference_numbers():
    """Their centre of mass is at rest, which leaves no freedom: t = m_other / (m_Li + m_Cl)."""
    random = np.random.default_rng(5)
    symbols = ("Li",) * 8 + ("Cl",) * 8
    steps = random.standard_normal((1200, 16, 3))
    chunk = TrajectoryChunk(
        symbols=symbols,
        cell=np.full(3, EDGE),
        steps=np.arange(1200),
        times_ps=0.5 * np.arange(1200),
        positions=np.cumsum(0.3 * steps, axis=0),
    )
    data = analyse_transport([[chunk]], temperature=300.0).to_json()
    assert data["conductivity_S_per_m"] is not None
    assert data["transference_numbers"] is None
    assert "centre of mass" in data["reasons"]["transference numbers"]
