"""GROMACS input of SPC/E water with Smith-Dang NaCl, from Bjerrum's own force field data.

    python gromacs_input.py box.xyz NAME      writes NAME.gro, NAME.top, NAME.mdp
    gmx grompp -f NAME.mdp -c NAME.gro -p NAME.top -o NAME.tpr -maxwarn 2
    gmx mdrun -s NAME.tpr -deffnm NAME -nt 1   writes NAME.trr: positions and forces

Hydrogens weigh 4 amu (their oxygen that much less), so that a step of 4 fs is stable: averages over
configurations do not depend on masses. Forces on ions are plain instantaneous forces, because no
constraint acts on an ion. Lennard-Jones is switched off between 8 and 9 angstrom (the published
runs: 14 and 15); what that does to the forces is in README.md, the cost falls to a quarter.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from bjerrum.reference.classical_force_fields import SPCE_SMITH_DANG

KCAL_IN_KJ = 4.184
HYDROGEN_MASS = 4.0
CHARGES = {"O": -0.8476, "H": 0.4238, "Na": 1.0, "Cl": -1.0}
MASSES = {
    "O": 15.99943 + 2 * (1.007947 - HYDROGEN_MASS),
    "H": HYDROGEN_MASS,
    "Na": 22.98977,
    "Cl": 35.4532,
}
MDP = """\
integrator = sd
dt = 0.004
nsteps = 5000000
cutoff-scheme = Verlet
coulombtype = PME
fourierspacing = 0.12
ewald-rtol = 1e-5
rcoulomb = 0.9
rvdw = 0.9
rvdw-switch = 0.8
vdwtype = Cut-off
vdw-modifier = Potential-switch
DispCorr = no
tc-grps = System
tau-t = 1.0
ref-t = 300
gen-vel = yes
gen-temp = 300
comm-mode = None
nstxout = 20
nstfout = 20
"""


def topology(n_waters: int, n_pairs: int) -> str:
    """Return the topology with every Lennard-Jones pair written out."""
    water = SPCE_SMITH_DANG.water_positions() / 10
    oh, hh = np.linalg.norm(water[1] - water[0]), np.linalg.norm(water[1] - water[2])
    types = [f"{e} {MASSES[e]:.5f} {q} A 0.0 0.0" for e, q in CHARGES.items()]
    pairs = [
        f"{p.first} {p.second} 1 {p.sigma_angstrom / 10:.10f} "
        f"{p.epsilon_kcal_per_mol * KCAL_IN_KJ:.12f}"
        for p in SPCE_SMITH_DANG.pairs
    ]
    atoms = [
        f"{k} {e} 1 SOL {name} 1 {CHARGES[e]} {MASSES[e]:.5f}"
        for k, (e, name) in enumerate((("O", "O"), ("H", "H1"), ("H", "H2")), start=1)
    ]
    lines = ["[ defaults ]", "1 2 no 1.0 1.0", "[ atomtypes ]", *types]
    lines += ["[ nonbond_params ]", *pairs, "[ moleculetype ]", "SOL 2", "[ atoms ]", *atoms]
    lines += ["[ settles ]", f"1 1 {oh:.8f} {hh:.8f}", "[ exclusions ]", "1 2 3", "2 1 3", "3 1 2"]
    for e in ("Na", "Cl"):
        lines += ["[ moleculetype ]", f"{e} 1", "[ atoms ]"]
        lines += [f"1 {e} 1 {e} {e} 1 {CHARGES[e]} {MASSES[e]}"]
    lines += ["[ system ]", "NaCl in SPC/E water", "[ molecules ]"]
    return "\n".join([*lines, f"SOL {n_waters}", f"Na {n_pairs}", f"Cl {n_pairs}", ""])


def coordinates(atoms: Atoms, n_waters: int) -> str:
    """Return a .gro file; waters come first, then cations, then anions."""
    lines = ["NaCl in SPC/E water", str(len(atoms))]
    for k, (e, (x, y, z)) in enumerate(zip(atoms.symbols, atoms.positions / 10, strict=True)):
        number = k // 3 + 1 if k < 3 * n_waters else k - 2 * n_waters + 1
        residue = "SOL" if k < 3 * n_waters else e
        name = ("O", "H1", "H2")[k % 3] if k < 3 * n_waters else e
        lines.append(
            f"{number:5d}{residue:<5}{name:>5}{(k + 1) % 100000:5d}{x:12.7f}{y:12.7f}{z:12.7f}"
        )
    a, b, c = atoms.cell.lengths() / 10
    return "\n".join([*lines, f"{a:12.7f}{b:12.7f}{c:12.7f}", ""])


if __name__ == "__main__":
    box, stem = ase.io.read(sys.argv[1]), sys.argv[2]
    symbols = list(box.symbols)
    Path(f"{stem}.top").write_text(topology(symbols.count("O"), symbols.count("Na")))
    Path(f"{stem}.gro").write_text(coordinates(box, symbols.count("O")))
    Path(f"{stem}.mdp").write_text(MDP)
