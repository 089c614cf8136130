"""Kirkwood-Buff analysis of trajectories, and the commands as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum.errors import FrameError, InputError, SeriesTooShort
from bjerrum.properties.kirkwood_buff_rdf import analyse_rdfs
from bjerrum.properties.kirkwood_buff_result import ESTIMATORS, integrals_of
from bjerrum.properties.kirkwood_buff_trajectory import (
    KirkwoodBuffAccumulator,
    salt_species,
)
from bjerrum.trajectory import TrajectoryChunk, write_trajectory
from test_cli import assert_one_line, bjerrum  # noqa: F401
from test_kirkwood_buff import PAIRS, noisy_rdfs, table, write_csv
from test_structure import chunk_of

EDGE, N_PAIRS, N_WATERS = 20.0, 12, 150
SYMBOLS = ("Li",) * N_PAIRS + ("Cl",) * N_PAIRS + ("O",) * N_WATERS
CONTRACT = {"published", "ganguly_vegt", "krueger_u1", "krueger_u2", "vegt_u2", "structure_factor"}


def gas(n_frames: int, seed: int, first_step: int = 0) -> TrajectoryChunk:
    positions = EDGE * np.random.default_rng(seed).random((n_frames, len(SYMBOLS), 3))
    return chunk_of(positions, SYMBOLS, [EDGE] * 3, first_step)


def measured(*runs: list[TrajectoryChunk]) -> KirkwoodBuffAccumulator:
    accumulator = KirkwoodBuffAccumulator()
    for run in runs:
        accumulator.add_run(run)
    return accumulator


# --- truth ---


def test_an_ideal_gas_has_activity_equal_to_concentration():
    """Every estimator gives 1 within its own error bar, and the volume of a particle."""
    result = measured(*([gas(400, seed)] for seed in range(3))).result()
    assert set(result.estimators) == set(ESTIMATORS)
    for name, found in result.estimators.items():
        for number in (found.dlna_dlnc, found.dlna_dlnc_mcmillan_mayer):
            assert abs(number.value - 1) < 4 * number.standard_error, name
            assert number.standard_error < 0.15, name
        volume = 2 * EDGE**3 / len(SYMBOLS) * 0.602214
        assert abs(found.salt_volume.value - volume) < 4 * found.salt_volume.standard_error
        factor = 1 - N_PAIRS / EDGE**3 * found.salt_volume.value / 0.602214
        assert found.dlna_dlnm.value == pytest.approx(found.dlna_dlnc.value * factor)


def test_error_bars_of_an_ideal_gas_cover_the_truth():
    inside, total = 0, 0
    for seed in range(25):
        result = measured([gas(60, 1000 + seed)]).result()
        for name in ("vegt_u2", "structure_factor"):
            number = result.estimators[name].dlna_dlnc
            inside += abs(1 / number.value - 1) < number.standard_error / number.value**2
            total += 1
    assert 0.5 < inside / total < 0.85


def test_bound_pairs_are_half_as_many_particles():
    """Ions in pairs that know of nothing else: 1 + rho_c G_CC = 2, so A = 1/2, S_ZZ is small."""
    random = np.random.default_rng(4)
    cations = EDGE * random.random((1500, N_PAIRS, 3))
    anions = cations + random.normal(0, 0.5, cations.shape)
    water = EDGE * random.random((1500, N_WATERS, 3))
    chunk = chunk_of(np.concatenate([cations, anions, water], axis=1), SYMBOLS, [EDGE] * 3)
    result = measured([chunk]).result()
    for name, found in result.estimators.items():
        number = found.dlna_dlnc_mcmillan_mayer
        bias = 0.04 if name.startswith("krueger") or name == "published" else 0.02
        assert abs(number.value - 0.5) < bias + 4 * number.standard_error, name
        assert abs(found.electroneutrality_residual.value) < 0.15, name


# --- the same by hand ---


def test_integrals_equal_naive_counts_and_sums():
    chunk = gas(6, 7)
    accumulator = measured([chunk])
    rdfs = accumulator.rdfs()
    names = np.array(SYMBOLS)
    width = rdfs.r[1] - rdfs.r[0]
    apart = chunk.positions[:, names == "Li"][:, :, None] - chunk.positions[:, None, names == "Cl"]
    apart -= EDGE * np.round(apart / EDGE)
    counts, _ = np.histogram(np.linalg.norm(apart, axis=-1), np.append(rdfs.r - width / 2, 12.0))
    points = EDGE * (np.random.default_rng(0).random((400_000, 3)) - 0.5)
    radii = np.linalg.norm(points, axis=1)
    shares = np.histogram(radii, np.append(rdfs.r - width / 2, 12.0))[0] / len(points)
    with np.errstate(invalid="ignore"):
        expected = counts / (6 * N_PAIRS**2 * shares)
    far = rdfs.r > 5
    np.testing.assert_allclose(rdfs.g["ca"][far], expected[far], rtol=0.08)
    by_hand = integrals_of("vegt_u2", rdfs.r, rdfs.g, accumulator.box, True)
    assert set(by_hand) == {*PAIRS, "oo"}


def test_structure_factors_enter_as_defined():
    chunks = [gas(40, seed) for seed in range(2)]
    result = measured(chunks).result()
    names = np.array(SYMBOLS)
    squares = range(-3, 4)
    n = np.array([(x, y, z) for x in squares for y in squares for z in squares])
    k = 2 * np.pi / EDGE * np.linalg.norm(n, axis=1)
    n, k = n[(k > 0) & (k <= 0.8)], k[(k > 0) & (k <= 0.8)]
    inverse = np.zeros(len(k))
    for chunk in chunks:
        for positions in chunk.positions:
            phase = np.exp(2j * np.pi / EDGE * positions @ n.T)
            ions = phase[names != "O"].sum(axis=0)
            water = phase[names == "O"].sum(axis=0)
            inverse += np.abs(ions) ** 2 / (2 * N_PAIRS) / 80
            inverse -= (ions * water.conj()).real / N_WATERS / 80
    fit = np.polyfit(k**2, inverse, 2)
    found = result.estimators["structure_factor"].dlna_dlnc.value
    assert 1 / found == pytest.approx(fit[-1], rel=1e-9)


def test_rdfs_of_a_trajectory_and_of_its_csv_agree():
    accumulator = measured([gas(300, 1)])
    from_frames = accumulator.result()
    from_rdfs = analyse_rdfs([accumulator.rdfs()], accumulator.box, like_n_minus_1=True)
    for name in ("ganguly_vegt", "krueger_u1", "krueger_u2", "vegt_u2"):
        values = [r.estimators[name].dlna_dlnc.value for r in (from_frames, from_rdfs)]
        assert values[0] == pytest.approx(values[1], rel=1e-9), name


def test_chunks_and_order_of_runs_change_nothing():
    whole = measured([gas(40, 1)], [gas(40, 2)]).result()
    first = gas(40, 1)
    parts = [
        chunk_of(first.positions[a:b], SYMBOLS, [EDGE] * 3, a)
        for a, b in ((0, 7), (7, 30), (30, 40))
    ]
    cut = measured([gas(40, 2)], parts).result()
    for name in ESTIMATORS:
        values = [r.estimators[name].dlna_dlnc for r in (whole, cut)]
        assert values[0].value == pytest.approx(values[1].value, rel=1e-9)


# --- wrong input ---


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        ("Li2Cl3O9", "2 Li and 3 Cl"),
        ("LiClO9", "at least two ion pairs"),
        ("Li2Na2Cl4O9", "one alkali cation"),
        ("Li2Cl2", "one alkali cation, one halide and water"),
        ("Li2Cl2O9H4", "two H for each O"),
        ("Mg2Cl2O9", "Mg"),
    ],
)
def test_what_is_no_salt_in_water_is_refused(symbols, words):
    with pytest.raises(InputError, match=words):
        salt_species(tuple(Atoms(symbols).symbols))


def test_unusable_trajectories_are_refused():
    with pytest.raises(SeriesTooShort):
        measured([gas(1, 1)]).result()
    with pytest.raises(InputError, match="no frames"):
        measured([])
    with pytest.raises(InputError, match="no frames have been counted"):
        KirkwoodBuffAccumulator().result()
    brick = chunk_of(gas(4, 1).positions, SYMBOLS, [EDGE, EDGE, EDGE + 1])
    with pytest.raises(InputError, match="cubic"):
        measured([brick])
    smaller = chunk_of(gas(4, 1).positions, SYMBOLS, [EDGE - 1] * 3)
    with pytest.raises(InputError, match="same size"):
        measured([gas(4, 1)], [smaller])
    other = chunk_of(gas(4, 1).positions, SYMBOLS[::-1], [EDGE] * 3)
    with pytest.raises(FrameError, match="atoms change"):
        measured([gas(4, 1)], [other])


# --- commands ---


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kb")
    found = {}
    for run in (1, 2):
        found[f"h5-{run}"] = folder / f"run-{run}.h5"
        write_trajectory(found[f"h5-{run}"], [gas(60, run)], {"author": "test"})
    found["xyz"] = folder / "run.xyz"
    frames = [Atoms(SYMBOLS, p, cell=[EDGE] * 3, pbc=True) for p in gas(80, 3).positions]
    ase.io.write(found["xyz"], frames)
    found["single"] = folder / "single.xyz"
    ase.io.write(found["single"], frames[0])
    found["no-cell"] = folder / "no-cell.xyz"
    ase.io.write(found["no-cell"], [Atoms(SYMBOLS, a.positions) for a in frames])
    found["csv"] = write_csv(folder / "rdf.csv", table())
    found["csv-2"] = write_csv(folder / "rdf-2.csv", {**table(), "g_ca": noisy_rdfs(8).g["ca"]})
    found["no-water"] = write_csv(
        folder / "ions.csv", {k: v for k, v in table().items() if k not in ("g_co", "g_ao")}
    )
    return found


BOX = ("--box-angstrom", 25.26, "--pairs", 24, "--waters", 512)


def test_the_contract_of_the_command(bjerrum, files):  # noqa: F811
    for sources in (
        (files["csv"], files["csv-2"], *BOX),
        (files["h5-1"], files["h5-2"], "--skip-ps", 0.5),
        (files["xyz"],),
    ):
        code, out, err = bjerrum("analyse", "kirkwood-buff", *sources, "--json")
        assert code == 0, err
        data = json.loads(out)
        assert set(data["estimators"]) == CONTRACT
        assert data["recommended"] in CONTRACT
        assert isinstance(data["electroneutrality_residual"], float)
        for found in data["estimators"].values():
            for key in ("dlna_dlnc", "dlna_dlnc_mcmillan_mayer"):
                assert set(found[key]) == {"value", "standard_error", "unit", "n_effective"}


def test_the_table_marks_the_recommended_estimator(bjerrum, files):  # noqa: F811
    code, out, _ = bjerrum("analyse", "kirkwood-buff", files["csv"], *BOX)
    assert code == 0
    assert sum(line.startswith("* ") for line in out.splitlines()) == 2
    assert "d ln a/d ln m needs g_oo" in out


def test_error_bars_are_drawn_where_there_are_some(bjerrum, files, tmp_path):  # noqa: F811
    other = write_csv(tmp_path / "other.csv", {**table(), "g_co": table()["g_co"] * 1.01})
    for sources, drawn in (([files["csv"]], False), ([files["csv"], other], True)):
        page = tmp_path / "figure.html"
        code, _, _ = bjerrum("analyse", "kirkwood-buff", *sources, *BOX, "--figure", page)
        assert code == 0
        assert ("standard error)" in page.read_text()) == drawn


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("csv", (), ("--box-angstrom", "--pairs", "--waters")),
        ("csv", ("--box-angstrom", 60, "--pairs", 24, "--waters", 5120), ("half the box",)),
        ("csv", ("--box-angstrom", 9, "--pairs", 24, "--waters", 512), ("density of water",)),
        ("csv", ("--box-angstrom", -1, "--pairs", 24, "--waters", 512), ("positive",)),
        ("csv", ("--box-angstrom", 25, "--pairs", 1, "--waters", 512), ("two ion pairs",)),
        ("csv", ("--box-angstrom", 25, "--pairs", 24, "--waters", 0), ("--waters",)),
        ("csv", (*BOX, "--temperature-K", -4), ("kelvin",)),
        ("no-water", BOX, ("g_co", "g_ao", "missing")),
        ("single", (), ("single frame", "sample")),
        ("no-cell", (), ("cell",)),
        ("h5-1", ("--pairs", 24), ("--pairs",)),
        ("h5-1", ("--skip-ps", 1000), ("no frames",)),
    ],
)
def test_wrong_input_is_one_line(bjerrum, files, source, options, words):  # noqa: F811
    code, _, err = bjerrum("analyse", "kirkwood-buff", files[source], *options)
    assert code == 2
    assert any(word in err for word in words)
    assert_one_line(code, err, 2)


def test_mixed_and_repeated_sources_are_refused(bjerrum, files):  # noqa: F811
    code, _, err = bjerrum("analyse", "kirkwood-buff", files["csv"], files["xyz"], *BOX)
    assert_one_line(code, err, 2, "not both")
    code, _, err = bjerrum("analyse", "kirkwood-buff", files["csv"], files["csv"], *BOX)
    assert_one_line(code, err, 2, "twice")
    code, _, err = bjerrum("analyse", "kirkwood-buff", files["h5-1"], files["h5-1"])
    assert_one_line(code, err, 2, "twice")


def test_ions_only_by_the_command(bjerrum, files):  # noqa: F811
    code, out, _ = bjerrum(
        "analyse", "kirkwood-buff", files["no-water"], *BOX[:4], "--ions-only", "--json"
    )
    assert code == 0
    found = json.loads(out)["estimators"]["vegt_u2"]
    assert found["dlna_dlnc"] is None
    assert found["dlna_dlnc_mcmillan_mayer"]["value"] > 0


def test_scattering_and_screening_by_the_command(bjerrum, files, tmp_path):  # noqa: F811
    table_path = tmp_path / "curves.csv"
    code, out, _ = bjerrum("analyse", "scattering", files["xyz"], "--isotope", "Li=7Li",
                           "--difference", "Cl=35Cl,37Cl", "-o", table_path, "--json")  # fmt: skip
    assert code == 0
    curves = json.loads(out)["curves"]
    assert set(curves) == {"neutron", "xray", "first_difference"}
    written = np.genfromtxt(table_path, delimiter=",", names=True)
    np.testing.assert_allclose(written["xray"], curves["xray"]["value"], rtol=1e-6, atol=1e-9)
    code, out, _ = bjerrum("analyse", "screening", files["h5-1"], "--json")
    assert code == 0
    data = json.loads(out)
    assert {"debye_length_angstrom", "stillinger_lovett_ratio"} <= set(data)
    for words in (
        ("scattering", files["xyz"], "--difference", "Li=6Li"),
        ("scattering", files["xyz"], "--isotope", "Li"),
        ("scattering", files["csv"]),
        ("screening", files["xyz"], "--charge", "Li=one"),
        ("screening", files["xyz"], "--dielectric", 0),
        ("screening", files["single"]),
    ):
        code, _, err = bjerrum("analyse", *words)
        assert_one_line(code, err, 2)


def test_activity_by_the_command(bjerrum, tmp_path):  # noqa: F811
    path = tmp_path / "points.csv"
    path.write_text(
        "molality_mol_per_kg,dlna_dlnm,standard_error\n1,1.13,0.03\n2,1.42,0.03\n3,1.75,0.04\n"
    )
    code, out, err = bjerrum("analyse", "activity", path, "--at", "1,3", "--json")
    assert code == 0, err
    first, last = json.loads(out)["points"]
    # Pitzer's equation for LiCl, to whose rounded derivatives these points are equal
    assert last["osmotic_coefficient"]["value"] == pytest.approx(1.292, abs=0.02)
    assert first["ln_gamma"]["value"] == pytest.approx(np.log(0.774), abs=0.05)
    code, _, err = bjerrum("analyse", "activity", path, "--at", "9")
    assert_one_line(code, err, 2, "holds from 0 to 3")
    code, _, err = bjerrum("analyse", "activity", path, "--parameters", "beta9")
    assert_one_line(code, err, 2, "parameters are")
