"""The command line as a user meets it: wrong input is one clear line and the right exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum import cli
from bjerrum.potential.card import find_model
from bjerrum.trajectory import read_h5md

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def bjerrum(monkeypatch, capsys):
    """Run the command line in this process; returns exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bjerrum", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def _lattice(symbols: str = "OH2") -> Atoms:
    molecule = Atoms(symbols, [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    molecule.set_cell([3.1] * 3)
    molecule.pbc = True
    return molecule.repeat((4, 4, 4))


def _write_config(folder: Path, **changes: str) -> Path:
    text = (EXAMPLES / "licl.toml").read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "run.toml"
    path.write_text(text)
    return path


def assert_one_line(code: int, err: str, expected_code: int, *words: str) -> None:
    lines = [line for line in err.strip().splitlines() if line]
    assert code == expected_code, err
    assert len(lines) == 1, err
    assert lines[0].startswith("bjerrum: ")
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0], lines[0]


def test_help_and_version(bjerrum):
    code, out, _ = bjerrum("--help")
    assert code == 0
    for command in ("run", "build", "train", "evaluate", "check", "simulate", "analyse", "bench"):
        assert command in out
    code, out, _ = bjerrum("--version")
    assert code == 0
    assert out.startswith("bjerrum ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({'salt = "LiCl"': 'salt = "LiXx"'}, ("unknown salt", "LiXx", "LiCl")),
        ({"molality_mol_per_kg = 2.78": "molality_mol_per_kg = -1"}, ("molality", "-1")),
        ({"molality_mol_per_kg = 2.78": "molality_mol_per_kg = 500"}, ("molality", "500")),
        ({"molality_mol_per_kg = 2.78": "molality_mol_per_kg = nan"}, ("molality",)),
        ({"temperature_K = 298.15": "temperature_K = 29815"}, ("temperature", "29815")),
        ({"temperature_K = 298.15": "temperature_K = -3"}, ("temperature", "-3")),
        ({"waters = 80": "waters = 20"}, ("waters", "20", "use at least")),
        ({"waters = 80": 'waters = "many"'}, ("box.waters", "many")),
        ({"waters = 80": "water = 80"}, ("unknown key", "box.water", "waters")),
        ({"[box]": "[boxes]"}, ("unknown key", "boxes")),
        ({'model = "licl-nnp1"': 'model = "nowhere"'}, ("nowhere", "licl-nnp1")),
        (
            {'salt = "LiCl"': 'salt = "NaCl"', '"Li-O", "Cl-O", "Li-Cl", "O-O", "Li-H",': ""},
            ("Na", "licl-nnp1"),
        ),
        (
            {'model = "licl-nnp1"': 'model = "licl-nnp1"\ndielectric_constant = 50.0'},
            ("dielectric_constant", "50", "78.3"),
        ),
        ({"budget_minutes = 8 ": "budget_minutes = -8 "}, ("budget_minutes", "-8")),
        ({"timestep_fs = 1.0": "timestep_fs = 20.0"}, ("timestep_fs", "20")),
        ({'pairs = ["Li-O",': 'pairs = ["LiO",'}, ("pairs", "Li-O")),
        ({'pairs = ["Li-O",': 'pairs = ["Na-O",'}, ("Na",)),
        ({"[solution]": "[solution"}, ("TOML",)),
    ],
)
def test_run_refuses_wrong_configurations(bjerrum, tmp_path, changes, words):
    config = _write_config(tmp_path, **changes)
    code, _, err = bjerrum("run", config, "-o", tmp_path / "out")
    assert_one_line(code, err, 2, *words)
    assert not (tmp_path / "out").exists()


def test_run_refuses_a_missing_file_and_an_unwritable_folder(bjerrum, tmp_path):
    code, _, err = bjerrum("run", tmp_path / "none.toml")
    assert_one_line(code, err, 2, "none.toml")
    (tmp_path / "file").write_text("")
    code, _, err = bjerrum("run", EXAMPLES / "licl.toml", "-o", tmp_path / "file" / "run")
    assert_one_line(code, err, 2, "cannot be written")


def test_run_refuses_a_negative_budget(bjerrum, tmp_path):
    code, _, err = bjerrum(
        "run", EXAMPLES / "licl.toml", "-o", tmp_path / "out", "--budget-minutes", "-3"
    )
    assert_one_line(code, err, 2, "--budget-minutes", "-3")


def _labelled(folder: Path, **faults: bool) -> Path:
    atoms = _lattice()
    forces = np.zeros((len(atoms), 3))
    if faults.get("nan"):
        forces[3, 1] = np.nan
    if faults.get("overlap"):
        atoms.positions[1] = atoms.positions[0] + 0.1
    if faults.get("no_cell"):
        atoms.set_cell(np.zeros((3, 3)))
        atoms.pbc = False
    atoms.arrays["forces"] = forces
    path = folder / "frames.extxyz"
    ase.io.write(path, [atoms, atoms], format="extxyz")
    if faults.get("truncated"):
        text = path.read_text().splitlines(keepends=True)
        path.write_text("".join(text[:-5]))
    return path


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("nan", "NaN"),
        ("overlap", "overlap"),
        ("no_cell", "cell"),
        ("truncated", "cut short"),
    ],
)
def test_evaluate_refuses_damaged_frames(bjerrum, tmp_path, fault, word):
    frames = _labelled(tmp_path, **{fault: True})
    code, out, err = bjerrum("evaluate", frames, "--model", "licl-nnp1", "--json")
    assert_one_line(code, err, 2, "frames.extxyz", word)
    assert out == ""


def test_evaluate_refuses_elements_the_model_does_not_know(bjerrum, tmp_path):
    atoms = _lattice("SH2")
    atoms.arrays["forces"] = np.zeros((len(atoms), 3))
    ase.io.write(tmp_path / "frames.extxyz", atoms, format="extxyz")
    code, _, err = bjerrum("evaluate", tmp_path / "frames.extxyz", "--model", "licl-nnp1")
    assert_one_line(code, err, 2, "S", "Cl, H, Li, O")


def test_a_model_with_flipped_weights_is_refused(bjerrum, tmp_path):
    shutil.copytree(find_model("licl-nnp1"), tmp_path / "model")
    weights = tmp_path / "model" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-7] ^= 1
    weights.write_bytes(data)
    code, _, err = bjerrum("evaluate", _labelled(tmp_path), "--model", tmp_path / "model")
    assert_one_line(code, err, 2, "hash")


def test_a_missing_packmol_is_an_external_failure(bjerrum, tmp_path, monkeypatch):
    monkeypatch.setattr("bjerrum.boxes.shutil.which", lambda *args, **kwargs: None)
    code, _, err = bjerrum(
        "build", "--salt", "LiCl", "--molality", "2.78", "-o", tmp_path / "box.xyz"
    )
    assert_one_line(code, err, 4, "packmol", "pip install")
    assert not (tmp_path / "box.xyz").exists()


def test_a_full_disk_is_an_external_failure(bjerrum, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bjerrum.files.os.fsync", full)
    command = ("build", "--salt", "LiCl", "--molality", "2.78", "--time-ps", "0")
    code, _, err = bjerrum(*command, "-o", tmp_path / "box.xyz")
    assert code == 4
    assert "disk is full" in err
    assert list(tmp_path.iterdir()) == []


def test_build_writes_the_box_that_was_asked_for(bjerrum, tmp_path):
    path = tmp_path / "box.xyz"
    command = ("build", "--salt", "LiCl", "--molality", "2.78", "--time-ps", "0", "-o", path)
    code, out, err = bjerrum(*command)
    assert code == 0, err
    atoms = ase.io.read(path)
    assert atoms.get_chemical_symbols().count("Li") == 4
    assert len(atoms) == 248
    assert "box.xyz" in out


def test_check_prints_the_gate_as_json(bjerrum, tmp_path):
    path = tmp_path / "box.xyz"
    bjerrum(
        "build",
        "--salt",
        "LiCl",
        "--molality",
        "2.78",
        "--waters",
        "36",
        "--time-ps",
        "10",
        "-o",
        path,
    )
    code, out, err = bjerrum("check", path, "--model", "licl-nnp1", "--json")
    assert code == 0, err
    gate = json.loads(out)
    assert gate["passed"]
    assert all(check["passed"] for check in gate["checks"])
    assert {"name", "value", "limit", "unit", "passed"} <= set(gate["checks"][0])


def test_interruption_tells_how_to_go_on(bjerrum, monkeypatch, tmp_path):
    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("bjerrum.pipeline.run_chain", interrupted)
    code, _, err = bjerrum("run", EXAMPLES / "licl.toml", "-o", tmp_path / "run")
    assert code == 130
    assert "go on" in err


def test_simulate_goes_on_and_never_overwrites(bjerrum, tmp_path):
    box, out = tmp_path / "box.xyz", tmp_path / "traj.h5"
    bjerrum("build", "--salt", "LiCl", "--molality", "2.78", "--waters", "36", "-o", box)
    command = ("simulate", "--model", "licl-nnp1", "--box", box, "-o", out, "--time-ps", "0.004")
    settings = ("--frame-every-fs", "1", "--seed", "3")
    code, _, err = bjerrum(*command, *settings)
    assert code == 0, err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("traj")] == ["traj.h5"]
    (chunk,) = read_h5md(out)
    assert chunk.steps.tolist() == [1, 2, 3, 4]
    code, _, err = bjerrum(*command, *settings)
    assert_one_line(code, err, 2, "exists already")
    out.unlink()
    work = tmp_path / "traj.h5.partial"
    work.mkdir()
    (work / "simulation.json").write_text('{"model": "another"}')
    code, _, err = bjerrum(*command, *settings)
    assert_one_line(code, err, 2, "unfinished run of another model")
    assert not out.exists()


def test_analyse_structure_prints_the_contract(bjerrum, tmp_path):
    random = np.random.default_rng(2)
    path = tmp_path / "gas.extxyz"
    frames = [
        Atoms("Li20O40", random.random((60, 3)) * 12, cell=[12] * 3, pbc=True) for _ in range(40)
    ]
    ase.io.write(path, frames, format="extxyz")
    code, out, err = bjerrum("analyse", "structure", path, "--pair", "Li-O", "--json")
    assert code == 0, err
    pair = json.loads(out)["pairs"]["Li-O"]
    keys = {"r_angstrom", "g", "g_standard_error", "peak_angstrom", "minimum_angstrom"}
    assert keys | {"coordination_number"} <= set(pair)
    far = np.array(pair["r_angstrom"]) > 3
    assert np.mean(np.array(pair["g"])[far]) == pytest.approx(1, abs=0.02)
    code, _, err = bjerrum("analyse", "structure", path, "--element", "nonsense")
    assert_one_line(code, err, 2, "--element", "1=O")


@pytest.mark.parametrize(
    "command",
    [
        "bench md --steps 0",
        "bench md --rounds 0",
        "train a.xyz --config a.toml -o m --threads 0",
        "train a.xyz --config a.toml -o m --max-minutes -1",
        "build --salt LiCl --molality 2 --time-ps -4 -o b.xyz",
    ],
)
def test_numbers_out_of_range_are_refused(bjerrum, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    code, _, err = bjerrum(*command.split())
    assert code == 2
    assert "Invalid value" in err
    assert list(tmp_path.iterdir()) == []


def test_train_without_frames_leaves_nothing_behind(bjerrum, tmp_path):
    config = EXAMPLES / "train_licl.toml"
    code, _, err = bjerrum(
        "train", tmp_path / "none.xyz", "--config", config, "-o", tmp_path / "model"
    )
    assert_one_line(code, err, 2, "none.xyz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "--salt", "LiCl", "--molality", "x", "-o", "a.xyz"), "--molality"),
        (("build", "--salts", "LiCl"), "No such option: --salts"),
        (("foo",), "No such command 'foo'"),
        (("label",), "Missing argument"),
        (("bench", "md", "--steps", "0"), "greater than or equal to 1"),
    ],
)
def test_wrong_options_are_one_line(bjerrum, arguments, words):
    code, out, err = bjerrum(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("bjerrum: ")
    assert words in err
    assert err.strip().count("\n") == 0
    assert "--help" in err
