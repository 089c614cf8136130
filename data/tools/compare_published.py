"""Compare a label with the published DC-r2SCAN forces of the same frame, per element.

  python data/tools/compare_published.py LABELLED.extxyz PUBLISHED.extxyz > published.json

The published frames (J. Zhang, J. Pagotto, T. Gould, T. Duignan, arXiv:2310.12535, repository
timduignan/Scalable-Electrolyte-Simulation, MIT) carry forces alone; net forces are removed from
both.
"""

from __future__ import annotations

import json
import sys

import ase.io
import numpy as np

from bjerrum.reference.grid_noise import without_net_force
from bjerrum.units import EV_IN_MEV


def main(labelled: str, published: str) -> None:
    """Print the comparison as JSON."""
    ours = ase.io.read(labelled, 0)
    symbols = ours.get_chemical_symbols()
    same = [f for f in ase.io.read(published, ":") if _is_same(f, ours)]
    if not same:
        sys.exit(f"{published}: expected the frame of {labelled}, found none")
    theirs = same[0]
    first = EV_IN_MEV * without_net_force(ours.get_forces(), symbols)
    second = EV_IN_MEV * without_net_force(theirs.get_forces(), symbols)
    rows = {}
    for element in ("all", "O", "H", "Li", "Cl"):
        chosen = np.array([element in ("all", symbol) for symbol in symbols])
        rows[element] = {
            "difference": float(np.sqrt(np.mean((first - second)[chosen] ** 2))),
            "force": float(np.sqrt(np.mean(second[chosen] ** 2))),
        }
    info = ours.info
    text = (
        f"Published frame {theirs.info['frame']} ({ours.get_chemical_formula()}, "
        f"{ours.cell.lengths()[0]:.2f} angstrom), one calculation with {info['program']}, "
        f"{info['label_cpu_seconds'] / 60:.0f} CPU minutes, net force before removal "
        f"{info['net_force_mev_per_angstrom']:.0f} meV/angstrom."
    )
    print(json.dumps({"text": text, "per_element": rows}, indent=1))


def _is_same(frame: ase.Atoms, other: ase.Atoms) -> bool:
    if frame.get_chemical_symbols() != other.get_chemical_symbols():
        return False
    apart = (frame.positions - other.positions) @ np.linalg.inv(other.cell.array)
    return bool(np.abs(apart - np.round(apart)).max() < 1e-4)


if __name__ == "__main__":
    main(*sys.argv[1:])
