"""Labels by the real CP2K on boxes that are as small as they can be: about 4 CPU minutes in all.

The egg-box error of oxygen makes a finite difference of the energy differ from its smooth force; it
does not depend on where the hydrogens are. The force on oxygen is therefore tested by moving the
hydrogens together: there is no net force.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum.errors import ExternalError
from bjerrum.frames import read_frames
from bjerrum.labelling import label_frames
from bjerrum.reference.cp2k import Cp2kProgram, Cp2kReference, find_cp2k
from bjerrum.reference.cp2k_elements import data_folder
from bjerrum.reference.cp2k_session import Cp2kSession
from bjerrum.reference.cp2k_settings import Cp2kSettings, resolved
from bjerrum.reference.label import LabelStatus
from bjerrum.trajectory import read_h5md
from bjerrum.units import EV_IN_MEV

pytestmark = pytest.mark.cp2k

STEP = 0.004  # the cubic term of a stretched bond is 6 meV/angstrom at 0.01
WATER = Atoms(
    "OH2",
    [[2.40, 2.49, 2.71], [1.836, 3.188, 2.346], [2.529, 1.882, 1.969]],
    cell=[5.0] * 3,
    pbc=True,
)
LITHIUM_CHLORIDE = Atoms(
    "OH2LiCl",
    [[1.2, 1.3, 1.1], [2.05, 1.75, 1.0], [0.6, 2.05, 1.25], [0.9, 5.1, 0.6], [3.0, 4.4, 1.2]],
    cell=[5.6] * 3,
    pbc=True,
)
COARSE = 'cutoff_ry = 150.0\ngrid_correction = "none"\n'


@pytest.fixture(scope="module")
def program() -> Cp2kProgram:
    try:
        found = find_cp2k()
        data_folder()
    except ExternalError as error:
        pytest.skip(str(error))
    return Cp2kProgram(found)


def displaced(atoms: Atoms, moves: dict[int, tuple[float, float, float]]) -> list[Atoms]:
    """Return the configuration moved backward and forward by STEP along the given directions."""
    found = []
    for sign in (-1, 1):
        frame = atoms.copy()
        for atom, direction in moves.items():
            frame.positions[atom] += sign * STEP * np.array(direction)
        found.append(frame)
    return found


def compare(
    atoms: Atoms, moves: list[dict], settings: Cp2kSettings, program: Cp2kProgram, folder: Path
) -> list[tuple[float, float]]:
    """Return the force along each move and minus the slope of the energy, meV/angstrom."""
    frames = [atoms, *(frame for move in moves for frame in displaced(atoms, move))]
    reference = Cp2kReference(settings, program)
    labelled = label_frames(frames, reference, folder, announce=lambda *_: None)
    assert labelled.failures == []
    forces = labelled.frames[0].get_forces()
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-6)
    energies = np.array([f.get_potential_energy() for f in labelled.frames[1:]]).reshape(-1, 2)
    slopes = (energies[:, 0] - energies[:, 1]) / (2 * STEP)
    along = [sum(forces[a] @ np.array(d) for a, d in move.items()) for move in moves]
    return [(EV_IN_MEV * f, EV_IN_MEV * s) for f, s in zip(along, slopes, strict=True)]


def test_forces_of_water_are_the_slope_of_the_density_corrected_energy(program, tmp_path):
    settings = resolved(Cp2kSettings(cutoff_ry=400.0), 1)
    assert settings.grid_correction == "average"
    moves = [{1: (1, 0, 0)}, {1: (0, 0.6, 0.8), 2: (0, 0.6, 0.8)}]
    (hydrogen, slope), (both, slope_of_both) = compare(WATER, moves, settings, program, tmp_path)
    assert abs(hydrogen) > 50
    assert hydrogen == pytest.approx(slope, abs=5)
    oxygen, slope_of_oxygen = -both, -slope_of_both
    assert abs(oxygen) > 50
    assert oxygen == pytest.approx(slope_of_oxygen, abs=5)


def test_forces_on_an_ion_in_water(program, tmp_path):
    """The ions carry 0.3 to 0.6 meV/angstrom of grid error at 800 Ry; here is 400."""
    settings = resolved(Cp2kSettings(cutoff_ry=400.0), 1)
    moves = [{3: (0, 1, 0)}]
    ((lithium, slope),) = compare(LITHIUM_CHLORIDE, moves, settings, program, tmp_path)
    assert abs(lithium) > 50
    assert lithium == pytest.approx(slope, abs=5)


def test_a_session_gives_the_forces_of_a_label(program, tmp_path):
    settings = Cp2kSettings(
        method="r2scan", cutoff_ry=300.0, grid_correction="none", subtract_net_force=True
    )
    forces = Cp2kSession(settings, program, tmp_path / "session").bind(
        WATER.get_chemical_symbols(), WATER.cell.array
    )
    moved = WATER.copy()
    for step in range(3):
        moved.positions[1, 0] = WATER.positions[1, 0] + 0.02 * step
        found = forces(moved.positions)
    (tmp_path / "label").mkdir()
    label = Cp2kReference(settings, program).label(moved, tmp_path / "label")
    assert label.status is LabelStatus.CONVERGED
    assert found.energy == pytest.approx(label.energy, abs=1e-4)
    np.testing.assert_allclose(found.forces, label.forces, atol=2e-3)


def bjerrum(*arguments: object, **changes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bjerrum", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_dynamics_of_a_few_steps(program, tmp_path):
    ase.io.write(tmp_path / "box.extxyz", WATER)
    options = ("--time-ps", 0.002, "--frame-every-fs", 0.5, "--timestep-fs", 0.5)
    command = ("sample", tmp_path / "box.extxyz", "-o", tmp_path / "run.h5", *options)
    code, _, err = finish(bjerrum(*command))
    assert code == 0, err
    (chunk,) = read_h5md(tmp_path / "run.h5")
    np.testing.assert_allclose(chunk.times_ps, [0.0005, 0.001, 0.0015, 0.002])
    step = np.diff(chunk.positions, axis=0)
    assert 0 < np.abs(step).max() < 0.1
    energies = np.asarray(chunk.observables["potential_energy"])
    assert np.isfinite(energies).all()
    assert 0 < np.ptp(energies) < 1.0
    code, _, err = finish(bjerrum(*command))
    assert code == 2
    assert "exists already" in err


def wait_for(condition, process: subprocess.Popen[str], seconds: float = 200.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_killed_half_way_and_resumed_is_the_same_label(program, tmp_path):
    ase.io.write(tmp_path / "in.extxyz", WATER)
    config = tmp_path / "label.toml"
    config.write_text('cutoff_ry = 200.0\ngrid_correction = "average"\n')
    labels = {}
    for name in ("undisturbed", "killed"):
        out = tmp_path / f"{name}.extxyz"
        command = ("label", tmp_path / "in.extxyz", "-o", out, "--config", config)
        if name == "killed":
            process = bjerrum(*command)
            steps = tmp_path / "killed.extxyz.labels" / "steps"
            second = "label-*.partial/translation-1.out"
            wait_for(lambda: list(steps.glob(second)), process)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.communicate()
            (partial,) = steps.glob("*.partial")
            assert not out.exists()
            first = (partial / "translation-0.out").read_bytes()
            time.sleep(1.0)
            assert "PROGRAM ENDED" not in (partial / "translation-1.out").read_text()
        code, _, err = finish(bjerrum(*command))
        assert code == 0, err
        (labels[name],) = read_frames(out, labelled=True)
    (folder,) = steps.glob("label-*")
    assert (folder / "translation-0.out").read_bytes() == first
    whole, resumed = labels["undisturbed"], labels["killed"]
    assert resumed.info["label_id"] == whole.info["label_id"]
    assert resumed.get_potential_energy() == pytest.approx(whole.get_potential_energy(), abs=1e-4)
    np.testing.assert_allclose(resumed.get_forces(), whole.get_forces(), atol=2e-3)


def wrapper(folder: Path, program: Cp2kProgram, deaths: int, way: str) -> dict[str, str]:
    """Put a CP2K on PATH that dies in the given way so many times, then works."""
    folder.mkdir()
    counter = folder / "deaths"
    script = folder / "cp2k.psmp"
    script.write_text(
        f"""#!/bin/bash
if [ "$1" != --version ] && [ "$(cat {counter} 2>/dev/null | wc -l)" -lt {deaths} ]; then
  echo died >> {counter}
  echo "no memory" >&2
  {way}
fi
exec {program.path} "$@"
"""
    )
    script.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("way", ["exit 1", "kill -9 $$"])
@pytest.mark.parametrize("deaths", [1, 2])
def test_a_program_that_dies_is_tried_again_then_marked(program, tmp_path, way, deaths):
    given = [WATER.copy(), WATER.copy()]
    given[1].positions[1, 0] += 0.05
    ase.io.write(tmp_path / "in.extxyz", given)
    (tmp_path / "label.toml").write_text('method = "r2scan"\n' + COARSE)
    path = wrapper(tmp_path / "bin", program, deaths, way)
    options = ("--method", "r2scan", "--config", tmp_path / "label.toml", "--json")
    out = tmp_path / "out.extxyz"
    code, text, err = finish(bjerrum("label", tmp_path / "in.extxyz", "-o", out, *options, **path))
    assert code == 0, err
    assert len((tmp_path / "bin" / "deaths").read_text().splitlines()) == deaths
    summary = json.loads(text)
    frames = read_frames(out, labelled=True)
    assert len(frames) == summary["n_labelled"] == 3 - deaths
    if deaths == 1:
        assert summary["failures"] == []
        return
    (failure,) = summary["failures"]
    assert failure["index"] == 0
    assert failure["status"] == "crashed"
    assert ("exit code 1" if way == "exit 1" else "killed by signal 9") in failure["reason"]
    assert "no memory" in failure["reason"]
    assert Path(failure["log"]).is_dir()


def test_odd_electrons_and_unknown_elements_are_one_line(program, tmp_path):
    for symbols, words in (("OHNe", "element Ne"), ("OHLi2", "even number of electrons")):
        atoms = Atoms(symbols, np.eye(4, 3)[: 3 + (symbols == "OHLi2")] * 2, cell=[6] * 3, pbc=True)
        ase.io.write(tmp_path / "in.extxyz", [WATER, atoms])
        out = tmp_path / "out.extxyz"
        code, _, err = finish(bjerrum("label", tmp_path / "in.extxyz", "-o", out))
        assert code == 2
        assert len(err.strip().splitlines()) == 1, err
        assert "frame 1" in err
        assert words in err
        assert not list(tmp_path.glob("out*"))


def label_water(tmp_path: Path, settings: str) -> tuple[int, str]:
    ase.io.write(tmp_path / "in.extxyz", WATER)
    (tmp_path / "label.toml").write_text(COARSE + settings)
    options = ("-o", tmp_path / "out.extxyz", "--config", tmp_path / "label.toml")
    code, _, err = finish(bjerrum("label", tmp_path / "in.extxyz", *options))
    return code, err


def test_orbital_transformation_takes_over_where_diagonalisation_fails(program, tmp_path):
    code, err = label_water(tmp_path, "[scf]\nmax_steps = 2\n")
    assert code == 0, err
    assert len(read_frames(tmp_path / "out.extxyz", labelled=True)) == 1
    (folder,) = (tmp_path / "out.extxyz.labels" / "steps").iterdir()
    assert "SCF run NOT converged" in (folder / "translation-0.out").read_text()
    assert "SCF run converged" in (folder / "translation-0-ot.out").read_text()


def test_unconverged_labels_stay_out(program, tmp_path):
    code, err = label_water(tmp_path, '[scf]\nmethod = "ot"\nmax_steps = 20\ntolerance = 1e-16\n')
    assert code == 2, err
    assert "none (after " in err
    assert not (tmp_path / "out.extxyz").exists()
    (failure,) = json.loads((tmp_path / "out.extxyz.labels" / "failures.json").read_text())
    assert failure["status"] == "scf-not-converged"
