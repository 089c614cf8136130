"""A pair model for LAMMPS: ``pair_style table`` for the short range, ``coul/long`` for the rest.

LAMMPS runs on many machines under MPI; for boxes of more than a few thousand ions it is the way.
Three-body terms fit no table: a model that has them is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.systems import EQUILIBRATION_PS, MASS_AMU, IonBox
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import write_whole
from bjerrum.units import PS_IN_FS

TABLE_FILE: Final = "pairs.table"
DATA_FILE: Final = "ions.data"
INPUT_FILE: Final = "in.ions"
KSPACE_ACCURACY: Final = 1e-7
"""Of `pppm`, relative; at 1e-5 the energy of 64 ions is 3.4 meV off, at 1e-7 below 0.1 meV."""
_FIRST: Final = 0.5
_ROWS: Final = 4000


def export_tables(
    potential: CoarsePotential,
    box: IonBox,
    positions: FloatArray,
    folder: Path,
    *,
    temperature: float,
    timestep_fs: float = 15.0,
    n_steps: int = 10000,
    kspace_accuracy: float = KSPACE_ACCURACY,
    seed: int = 1,
) -> list[Path]:
    """Write tables, a configuration and an input of Langevin dynamics; return their paths.

    The input heats a lattice with short steps, equilibrates for EQUILIBRATION_PS, and then runs
    n_steps whose configurations and pressures it keeps.
    Raises InputError for a model with three-body terms.
    """
    has_body = potential.basis.n_radial and potential.coefficients[potential.basis.n_pair :].any()
    if has_body or potential.networks:
        raise InputError(
            "LAMMPS tables hold pair functions alone, and this model has three-body terms or a "
            "network; make one without them (bjerrum coarsen --pairs-alone)"
        )
    table = write_whole(folder / TABLE_FILE, _tables(potential).encode())
    data = write_whole(folder / DATA_FILE, _data(potential, box, positions).encode())
    text = _input(potential, temperature, timestep_fs, n_steps, kspace_accuracy, seed)
    return [table, data, write_whole(folder / INPUT_FILE, text.encode())]


def _tables(potential: CoarsePotential) -> str:
    cutoff = potential.basis.pair_cutoff
    r = np.linspace(_FIRST, cutoff, _ROWS)
    parts = ["# Short-range pair functions of ions; metal units: angstrom, eV, eV/angstrom\n"]
    for index, (a, b) in enumerate(potential.basis.pairs):
        u, slope = potential.short_range(index, r)
        rows = "\n".join(
            f"{k} {x:.8f} {e:.10e} {-s:.10e}"
            for k, (x, e, s) in enumerate(zip(r, u, slope, strict=True), start=1)
        )
        parts.append(f"\n{a}_{b}\nN {_ROWS} R {_FIRST} {cutoff:.8f}\n\n{rows}\n")
    return "".join(parts)


def _data(potential: CoarsePotential, box: IonBox, positions: FloatArray) -> str:
    elements, charge = potential.basis.elements, dict(potential.baseline.charges)
    lines = ["Ions in a continuum", "", f"{len(box.symbols)} atoms", f"{len(elements)} atom types"]
    lines += ["", *(f"0.0 {box.edge:.10f} {x}lo {x}hi" for x in "xyz"), "", "Masses", ""]
    lines += [f"{k} {MASS_AMU:g} # {e}" for k, e in enumerate(elements, start=1)]
    lines += ["", "Atoms # charge", ""]
    for k, (symbol, place) in enumerate(zip(box.symbols, positions % box.edge, strict=True), 1):
        x, y, z = place
        lines.append(
            f"{k} {elements.index(symbol) + 1} {charge.get(symbol, 0.0):g} "
            f"{x:.10f} {y:.10f} {z:.10f}"
        )
    return "\n".join(lines) + "\n"


def _input(
    potential: CoarsePotential,
    temperature: float,
    timestep_fs: float,
    n_steps: int,
    accuracy: float,
    seed: int,
) -> str:
    n_first = round(EQUILIBRATION_PS * PS_IN_FS / timestep_fs)
    cutoff = potential.basis.pair_cutoff
    coefficients = "\n".join(
        f"pair_coeff {sorted((i + 1, j + 1))[0]} {sorted((i + 1, j + 1))[1]} table "
        f"{TABLE_FILE} {a}_{b}"
        for a, b in potential.basis.pairs
        for i, j in [(potential.basis.elements.index(a), potential.basis.elements.index(b))]
    )
    return f"""# Ions in a continuum, by Bjerrum. Masses are free: only configurations count.
units metal
atom_style charge
boundary p p p
read_data {DATA_FILE}
pair_style hybrid/overlay table linear {2 * _ROWS} coul/long {cutoff:g}
{coefficients}
pair_coeff * * coul/long
kspace_style pppm {accuracy:g}
dielectric {potential.baseline.dielectric_constant:.10g}
neighbor 2.0 bin
velocity all create {temperature:g} {seed + 1}
fix move all nve
thermo 1000
thermo_style custom step temp pe press
thermo_modify format float %.12g
# A lattice finds its feet: short steps, strong friction.
timestep 0.001
fix thermostat all langevin {temperature:g} {temperature:g} 0.02 {seed + 2}
run 500
# Equilibration
timestep {timestep_fs / 1e3:g}
fix thermostat all langevin {temperature:g} {temperature:g} 0.5 {seed + 3}
run {n_first}
# What is measured
reset_timestep 0
thermo 20
dump frames all custom 20 frames.lammpstrj id type x y z
dump_modify frames sort id
run {n_steps}
"""
