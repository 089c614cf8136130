"""`coarsen` and `ions` as a user meets them: wrong input is one clear line that names the cause."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum import cli
from bjerrum.coarse.dataset import Source, make_dataset, require_usable
from bjerrum.coarse.simulate import IonBox, shaken_lattice
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import FrameError, InputError
from bjerrum.frames import write_frames

EDGE, N_PAIRS = 21.0, 4
NACL = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 72.0)
BASELINE = ("--charges", "Na=1,Cl=-1", "--dielectric", 72)
BOX = IonBox(cation="Na", anion="Cl", n_cations=N_PAIRS, n_anions=N_PAIRS, edge=EDGE)


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run the command line; it must stop with exit code 2 and one line, which is returned."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["bjerrum", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        lines = [line for line in capsys.readouterr().err.strip().splitlines() if line]
        assert stop.value.code == 2, lines
        assert len(lines) == 1, lines
        assert lines[0].startswith("bjerrum: ")
        return lines[0]

    return run


@pytest.fixture(scope="module")
def frames():
    """Ions at random places with random forces."""
    random, found = np.random.default_rng(1), []
    for _ in range(3):
        atoms = Atoms(BOX.symbols, shaken_lattice(BOX, random), cell=BOX.edges, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, forces=random.normal(0, 0.1, (len(atoms), 3)))
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory, frames):
    """A TRR with forces, its topology, one of another system, the same as XYZ, and a data set."""
    import MDAnalysis

    folder = tmp_path_factory.mktemp("trajectory")
    for name, n in (("right.gro", len(BOX.symbols)), ("wrong.gro", len(BOX.symbols) - 1)):
        rows = [
            f"{1:5d}ION  {symbol.upper():>5s}{k:5d}{0:8.3f}{0:8.3f}{0:8.3f}"
            for k, symbol in enumerate(BOX.symbols[:n], start=1)
        ]
        text = "\n".join(["ions", str(n), *rows, f"{EDGE / 10:10.5f}" * 3])
        (folder / name).write_text(text + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe.empty(len(BOX.symbols), trajectory=True, forces=True)
        universe.dimensions = [EDGE] * 3 + [90.0] * 3
        for name, has in (("run.trr", True), ("bare.trr", False)):
            universe.trajectory.ts.has_forces = has
            with MDAnalysis.Writer(str(folder / name), len(BOX.symbols)) as writer:
                for atoms in frames:
                    universe.atoms.positions = atoms.positions
                    if has:
                        universe.atoms.forces = atoms.get_forces()
                    writer.write(universe.atoms)
    write_frames(folder / "run.xyz", frames)
    source = Source(path=folder / "run.xyz")
    make_dataset([source], folder / "ions.xyz", baseline=NACL, temperature=300.0)
    return folder


def test_a_trajectory_of_numbers_needs_the_names(refused, files, tmp_path):
    line = refused("coarsen", files / "run.trr", *BASELINE, "-o", tmp_path / "m", "--dataset-only")
    assert "names no atoms: give a topology" in line


def test_a_topology_of_another_system_is_told_from_missing_forces(refused, files, tmp_path):
    end = (*BASELINE, "-o", tmp_path / "m", "--dataset-only", "--topology")
    line = refused("coarsen", files / "run.trr", *end, files / "wrong.gro")
    assert "topology" in line
    assert "7 atoms, the trajectory 8" in line
    assert "no forces" in refused("coarsen", files / "bare.trr", *end, files / "right.gro")
    assert "no such file" in refused("coarsen", files / "run.trr", *end, files / "none.gro")


def test_a_topology_that_fits_gives_the_frames(files, tmp_path, monkeypatch, capsys):
    words = ["coarsen", files / "run.trr", *BASELINE, "-o", tmp_path, "--dataset-only", "--json"]
    words += ["--topology", files / "right.gro"]
    monkeypatch.setattr(sys, "argv", ["bjerrum", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["n_frames"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("series", "--seed", -1), "seed"),
        (("series", "--concentrations", "0,1"), "above 0"),
        (("series", "--time-ps", "nan"), "positive time"),
        (("crystal", "--concentration", 0), "above 0"),
        (("crystal", "--concentration", "nan"), "above 0"),
        (("crystal", "--time-ps", "inf"), "positive time"),
        (("crystal", "--seed", -1), "seed"),
        (("lammps", "-o", "tables", "--concentration", -1), "above 0"),
        (("lammps", "-o", "tables", "--seed", -1), "seed"),
    ],
)
def test_numbers_that_make_no_run_of_ions_are_refused(refused, words, message):
    command, *rest = words
    assert message in refused("ions", command, "--model", "licl-cg", *rest)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--charges", "Na=2,Cl=-2", "--dielectric", 10), "baseline subtracted"),
        (("--charges", "Na=1,Cl=-1"), "together"),
        (("--temperature", 310), "--temperature has no effect with --datasets"),
        (("--stride", 2), "--stride has no effect"),
        (("--skip-ps", 1), "--skip-ps has no effect"),
        (("--topology", "a.gro"), "--topology has no effect"),
        (("--no-noise-reduction",), "--noise-reduction has no effect"),
        (("--edge", 25), "--edge has no effect without --polish-on or --rdf"),
        (("--dataset-only",), "expected one of them"),
    ],
)
def test_data_sets_keep_their_own_settings(refused, files, tmp_path, options, message):
    line = refused("coarsen", files / "ions.xyz", "--datasets", *options, "-o", tmp_path / "m")
    assert message in line


def test_other_files_are_no_data_sets(refused, files, tmp_path):
    end = ("--datasets", "-o", tmp_path / "m")
    assert "extended XYZ" in refused("coarsen", files / "run.trr", *end)
    assert "extended XYZ" in refused("coarsen", files / "right.gro", *end)
    assert "as `bjerrum coarsen` writes it" in refused("coarsen", files / "run.xyz", *end)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected --edge and --pairs"),
        (("--edge", -5, "--pairs", 12), "--edge of 20 angstrom or more"),
        (("--edge", "nan", "--pairs", 12), "--edge of 20 angstrom or more"),
        (("--edge", 25, "--pairs", 0), "one pair or more"),
        (("--edge", 25, "--pairs", 12, "--network", 2), "--network has no effect with --rdf"),
        (("--edge", 25, "--pairs", 12, "--stride", 2), "--stride has no effect with --rdf"),
        (("--edge", 25, "--pairs", 12), "no such file"),
    ],
)
def test_distribution_functions_need_their_box(refused, tmp_path, options, message):
    words = ("coarsen", "--rdf", tmp_path / "none.csv", *BASELINE, *options, "-o", tmp_path / "m")
    assert message in refused(*words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--temperature", -3), "--temperature"),
        (("--temperature", "nan"), "--temperature"),
        (("--skip-ps", "nan"), "--skip-ps"),
        (("--polish-ps", 0), "--polish-ps"),
        (("--network-cutoff", 7), "--network-cutoff has no effect without --network"),
        (("--polish-on", "none.csv"), "--edge and --pairs"),
        (("--polish-on", "none.csv", "--edge", 25, "--pairs", 9), "none.csv"),
        (("--dataset-only", "--replicas", 8), "--replicas has no effect with --dataset-only"),
        (("--topology", "a.gro", "--topology", "b.gro"), "one for each"),
    ],
)
def test_arguments_are_checked_before_the_trajectories(
    refused, files, tmp_path, monkeypatch, options, message
):
    def work(*_arguments: object, **_options: object) -> None:
        raise AssertionError("the long work began")

    monkeypatch.setattr("bjerrum.coarse.dataset._variates", work)
    line = refused("coarsen", files / "run.xyz", *BASELINE, *options, "-o", tmp_path / "m")
    assert message in line


def test_small_boxes_give_forces_where_the_polish_has_a_box_of_its_own(
    refused, frames, tmp_path, monkeypatch
):
    """`licl-cg` was made like this: forces of 13.9 angstrom, RDFs of 25.3."""

    def work(*_arguments: object, **_options: object) -> None:
        raise InputError("the long work began")

    monkeypatch.setattr("bjerrum.coarse.dataset._variates", work)
    small = [atoms.copy() for atoms in frames]
    for atoms, whole in zip(small, frames, strict=True):
        atoms.set_cell(np.full(3, 14.0), scale_atoms=True)
        atoms.calc = SinglePointCalculator(atoms, forces=whole.get_forces())
    write_frames(tmp_path / "small.xyz", small)
    r = np.arange(0.05, 12.5, 0.1)
    table = np.column_stack([r, *[(r > 3).astype(float)] * 3])
    header = "r_angstrom,g_NaNa,g_NaCl,g_ClCl"
    np.savetxt(tmp_path / "g.csv", table, delimiter=",", header=header, comments="")
    words = ("coarsen", tmp_path / "small.xyz", *BASELINE, "-o", tmp_path / "m")
    polish = ("--polish-on", tmp_path / "g.csv", "--edge", 25, "--pairs", 24)
    assert "the long work began" in refused(*words, *polish)
    assert "box of 20 angstrom or more" in refused(*words)


def test_trajectories_are_looked_at_before_the_long_work(files, frames, tmp_path):
    def sources(**changes: object) -> list[Source]:
        atoms = frames[0].copy()
        if "cell" in changes:
            atoms.set_cell(changes["cell"])
        if "drop" in changes:
            del atoms[0]
        atoms.calc = SinglePointCalculator(atoms, forces=np.zeros((len(atoms), 3)))
        path = tmp_path / "last.xyz"
        write_frames(path, [atoms])
        return [Source(path=files / "run.xyz"), Source(path=path)]

    require_usable(sources(), NACL, cutoff=10.0)
    long = sources(cell=[EDGE, EDGE, EDGE + 1])
    require_usable(long, NACL)
    with pytest.raises(InputError, match=r"last.xyz: expected a cubic box"):
        require_usable(long, NACL, cutoff=10.0)
    with pytest.raises(InputError, match="expected a box of 24 angstrom or more"):
        require_usable(sources(), NACL, cutoff=12.0)
    with pytest.raises(InputError, match="net charge"):
        require_usable(sources(drop=True), NACL)
    with pytest.raises(InputError, match="expected ions out of"):
        require_usable(sources(), ScreenedCoulomb.of({"Li": 1, "Br": -1}, 72.0))
    (tmp_path / "cut.xyz").write_text("".join((tmp_path / "last.xyz").read_text()[:-40]))
    with pytest.raises(FrameError, match="frame 0: cannot be read"):
        require_usable([Source(path=tmp_path / "cut.xyz")], NACL)


def test_replicas_of_rdfs_are_passed_on(tmp_path, monkeypatch):
    """The option reached nothing before."""
    found = {}

    def make(*_arguments: object, **options: object) -> None:
        found.update(options)
        raise InputError("enough")

    monkeypatch.setattr("bjerrum.coarse.inverse.model_of_rdfs", make)
    words = ["coarsen", "--rdf", "a.csv", *BASELINE, "--edge", 25, "--pairs", 9, "-o", tmp_path]
    for options, n in (((), 8), (("--replicas", 16), 16)):
        monkeypatch.setattr(sys, "argv", ["bjerrum", *map(str, (*words, *options))])
        with pytest.raises(SystemExit):
            cli.main()
        assert found["replicas"] == n
