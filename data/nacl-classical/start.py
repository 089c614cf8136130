"""All-atom starting box whose ions are those of a coarse-grained run: even, near equilibrium.

    python start.py MODEL N_PAIRS N_WATERS EDGE_ANGSTROM BOX.xyz [SEED]

Ions diffuse through half a box in a nanosecond, so that a run of some hundred picoseconds keeps the
long waves of its start. Packed boxes have such waves (packmol stops as soon as nothing overlaps).
Here a run of ions in a continuum gives the ions; they and the waters then share the sites of a
simple cubic lattice, ions first, each on the nearest free site. Minimise before dynamics.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from bjerrum.coarse.dilution import ions_of_model
from bjerrum.coarse.model import load_coarse
from bjerrum.coarse.simulate import IonBox, Sampling, simulate_ions
from bjerrum.reference.classical_force_fields import SPCE_SMITH_DANG


def ion_places(model: str, n_pairs: int, edge: float, seed: int) -> tuple[IonBox, np.ndarray]:
    """Return the box and its ions after 100 ps in a continuum, cations first."""
    loaded = load_coarse(model)
    cation, anion = ions_of_model(loaded.potential)
    box = IonBox(cation=cation, anion=anion, n_cations=n_pairs, n_anions=n_pairs, edge=edge)
    sampling = Sampling(temperature=loaded.card.temperature_K, time_ps=100.0, replicas=2, seed=seed)
    (run,) = simulate_ions(loaded.potential, [box], sampling)
    return box, run.frames[0] % edge


def on_lattice(ions: np.ndarray, n_waters: int, edge: float, random: np.random.Generator):
    """Return the ions' sites and those of the waters' oxygens."""
    side = int(np.ceil((len(ions) + n_waters) ** (1 / 3)))
    sites = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = (sites + 0.5) * edge / side
    free, chosen = np.ones(len(sites), bool), []
    for ion in ions:
        apart = sites - ion
        apart -= edge * np.round(apart / edge)
        distance = np.where(free, np.linalg.norm(apart, axis=1), np.inf)
        chosen.append(int(np.argmin(distance)))
        free[chosen[-1]] = False
    left = np.flatnonzero(free)
    oxygens = left[np.sort(random.permutation(len(left))[:n_waters])]
    return sites[chosen], sites[oxygens]


def main() -> None:
    """Write the box: waters first, then cations, then anions."""
    model, n_pairs, n_waters = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    edge, output = float(sys.argv[4]), Path(sys.argv[5])
    seed = int(sys.argv[6]) if len(sys.argv) > 6 else 1
    random = np.random.default_rng(seed)
    box, ions = ion_places(model, n_pairs, edge, seed)
    ions, oxygens = on_lattice(ions, n_waters, edge, random)
    water = SPCE_SMITH_DANG.water_positions()
    water = water - water[0]
    turned = [o + water @ Rotation.random(rng=random).as_matrix() for o in oxygens]
    symbols = ["O", "H", "H"] * n_waters + list(box.symbols)
    atoms = Atoms(symbols, np.concatenate([*turned, ions]), cell=[edge] * 3, pbc=True)
    ase.io.write(output, atoms, format="extxyz")


if __name__ == "__main__":
    main()
