"""Sampling by classical dynamics, and what is refused; r2SCAN itself is in test_cp2k.py."""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum import cli
from bjerrum.errors import InputError
from bjerrum.frames import read_frames
from bjerrum.reference.classical import SPCE_JOUNG_CHEATHAM, ClassicalReference
from bjerrum.sampling import SampleSpec, sample_classical
from bjerrum.specification import validate_spec
from bjerrum.trajectory import read_h5md

GOOD = {
    "time_ps": 1.0,
    "equilibrate_ps": 0.2,
    "frame_every_fs": 100.0,
    "temperature": 298.15,
    "timestep_fs": 0.5,
    "friction_per_ps": 10.0,
    "seed": 1,
}


def spec(**changes) -> SampleSpec:
    return validate_spec({**GOOD, **changes}, SampleSpec, "sample")


@pytest.fixture
def box(tmp_path) -> Path:
    """27 rigid waters on a lattice."""
    water = SPCE_JOUNG_CHEATHAM.water_positions()
    sites = 3.1 * np.stack(np.meshgrid(*[range(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = np.concatenate([water + site for site in sites])
    path = tmp_path / "box.extxyz"
    ase.io.write(path, Atoms("OH2" * 27, positions, cell=[9.3] * 3, pbc=True))
    return path


def test_frames_follow_equilibration_at_equal_times(box, tmp_path):
    out = tmp_path / "run.extxyz"
    sample_classical(box, spec(), out)
    frames = read_frames(out)
    times = [frame.info["time_ps"] for frame in frames]
    np.testing.assert_allclose(times, 0.1 * np.arange(3, 11), atol=1e-9)
    reference = ClassicalReference()
    for frame in frames:
        reference.check(frame)
        scaled = frame.get_scaled_positions(wrap=False)
        assert (scaled >= -1e-9).all()
        assert (scaled <= 1 + 1e-9).all()
    apart = np.abs(np.diff([frame.positions for frame in frames], axis=0)).max(axis=(1, 2))
    assert (apart > 0.01).all()


def test_h5md_holds_the_same_run(box, tmp_path):
    sample_classical(box, spec(), tmp_path / "run.h5")
    sample_classical(box, spec(), tmp_path / "run.extxyz")
    chunks = list(read_h5md(tmp_path / "run.h5"))
    frames = read_frames(tmp_path / "run.extxyz")
    times = np.concatenate([chunk.times_ps for chunk in chunks])
    np.testing.assert_allclose(times, [frame.info["time_ps"] for frame in frames], atol=1e-6)
    positions = np.concatenate([chunk.positions for chunk in chunks])
    for found, frame in zip(positions, frames, strict=True):
        apart = found - frame.positions
        apart -= 9.3 * np.round(apart / 9.3)
        assert np.abs(apart).max() < 1e-3


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"time_ps": 0.0}, "time_ps"),
        ({"time_ps": float("nan")}, "time_ps"),
        ({"equilibrate_ps": 1.0}, "equilibrate_ps: expected less than time_ps (1), got 1"),
        ({"equilibrate_ps": -0.1}, "equilibrate_ps"),
        ({"frame_every_fs": 0.0}, "frame_every_fs"),
        ({"temperature": -1.0}, "temperature"),
        ({"timestep_fs": 50.0}, "timestep_fs"),
        ({"seed": -1}, "seed"),
        ({"friction_per_ps": -1.0}, "friction_per_ps"),
        ({"pressure": 1.0}, "pressure"),
    ],
)
def test_bad_specifications_are_one_line(changes, word):
    with pytest.raises(InputError) as error:
        spec(**changes)
    assert str(error.value).startswith("sample: ")
    assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_what_exists_is_not_overwritten(box, tmp_path):
    out = tmp_path / "run.extxyz"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already; choose another output or remove it"):
        sample_classical(box, spec(), out)
    assert out.read_text() == "mine"
    with pytest.raises(InputError, match=r"run\.dcd: expected a name that ends in"):
        sample_classical(box, spec(), tmp_path / "run.dcd")


@pytest.fixture
def bjerrum(monkeypatch, capsys):
    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["bjerrum", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().err

    return call


def test_on_the_command_line(box, tmp_path, bjerrum):
    out = tmp_path / "run.extxyz"
    options = ("--method", "classical", "--time-ps", 0.5, "--frame-every-fs", 100)
    code, err = bjerrum("sample", box, "-o", out, *options)
    assert code == 0, err
    assert len(read_frames(out)) == 5
    for arguments, word in (
        (("sample", box, "-o", out, *options), "exists already"),
        (("sample", box, "-o", tmp_path / "a.h5", "--method", "pbe"), "r2scan or classical"),
        (("sample", tmp_path / "no.xyz", "-o", tmp_path / "a.h5", *options), "no.xyz"),
        (("sample", box, "-o", tmp_path / "a.h5", *options, "--time-ps", "-1"), "time_ps"),
    ):
        code, err = bjerrum(*arguments)
        assert code == 2, err
        assert len(err.strip().splitlines()) == 1, err
        assert word in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["box.extxyz", "run.extxyz"]
