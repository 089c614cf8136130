"""Rigid SPC/E water with monatomic ions as an OpenMM system.

Run by :mod:`bjerrum.reference.classical`. Parameters come from the force field file that OpenMM
ships, by Lorentz-Berthelot combination. Coulomb by particle mesh Ewald; Lennard-Jones switched to
zero over the last angstrom before the cutoff, with the isotropic tail correction. Atom order:
waters as O, H, H, then ions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians, sin
from typing import Final

import numpy as np
import openmm
from ase import Atoms
from openmm import app, unit

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray
from bjerrum.units import NM_IN_ANGSTROM

MAX_CUTOFF_ANGSTROM: Final = 9.0
MIN_CUTOFF_ANGSTROM: Final = 4.5
"""Below it the cutoff runs into the Lennard-Jones well of water (minimum at 3.55 angstrom)."""

_CUTOFF_PER_EDGE: Final = 0.49
"""OpenMM refuses a cutoff above half of the shortest edge."""

MIN_EDGE_ANGSTROM: Final = MIN_CUTOFF_ANGSTROM / _CUTOFF_PER_EDGE

_SWITCH_WIDTH_ANGSTROM: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class ClassicalForceField:
    """A rigid three-site water model with monatomic ions.

    openmm_file         name of a force field file that OpenMM ships
    oh_bond_angstrom    O-H length of the rigid water
    hoh_angle_degrees   H-O-H angle of the rigid water
    ions                element symbols of the ions that the file describes
    """

    name: str
    citation: str
    openmm_file: str
    oh_bond_angstrom: float
    hoh_angle_degrees: float
    ions: tuple[str, ...]

    def water_positions(self) -> FloatArray:
        """Return O, H, H of one molecule with O at the origin, shape (3, 3), angstrom."""
        half = radians(self.hoh_angle_degrees) / 2
        arm = self.oh_bond_angstrom * np.array(
            [[sin(half), cos(half), 0], [-sin(half), cos(half), 0]]
        )
        return np.vstack([np.zeros(3), arm])


SPCE_JOUNG_CHEATHAM: Final = ClassicalForceField(
    name="SPC/E water with Joung-Cheatham ions",
    citation=(
        "water: Berendsen, Grigera, Straatsma, J. Phys. Chem. 91, 6269 (1987); "
        "monovalent ions: Joung, Cheatham, J. Phys. Chem. B 112, 9020 (2008), set for SPC/E; "
        "Mg, Ca: Li, Roberts, Chakravorty, Merz, J. Chem. Theory Comput. 9, 2733 (2013); "
        "file amber14/spce.xml of OpenMM"
    ),
    openmm_file="amber14/spce.xml",
    oh_bond_angstrom=1.0,
    hoh_angle_degrees=109.47,
    ions=("Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "F", "Cl", "Br", "I"),
)


def count_waters(atoms: Atoms, force_field: ClassicalForceField = SPCE_JOUNG_CHEATHAM) -> int:
    """Return the number of leading O, H, H triplets; FrameError unless only ions follow."""
    symbols = atoms.get_chemical_symbols()
    n_waters = 0
    while symbols[3 * n_waters : 3 * n_waters + 3] == ["O", "H", "H"]:
        n_waters += 1
    for index, symbol in enumerate(symbols[3 * n_waters :], start=3 * n_waters):
        if symbol not in force_field.ions:
            raise FrameError(
                f"atom {index} ({symbol}): expected waters as O, H, H, then ions out of "
                f"{', '.join(force_field.ions)}; reorder the atoms or choose another reference"
            )
    return n_waters


def whole_molecules(atoms: Atoms, n_waters: int) -> FloatArray:
    """Return positions with every hydrogen beside its oxygen, shape (n_atoms, 3), angstrom."""
    positions = atoms.get_positions()
    oxygen = np.repeat(np.arange(0, 3 * n_waters, 3), 2)
    hydrogen = np.delete(np.arange(3 * n_waters), np.s_[::3])
    arms = positions[hydrogen] - positions[oxygen]
    lengths = edges_of(atoms)
    if lengths is not None:
        arms -= lengths * np.round(arms / lengths)
    positions[hydrogen] = positions[oxygen] + arms
    return positions


def wrapped_molecules(atoms: Atoms, n_waters: int) -> FloatArray:
    """Return positions with every molecule whole and its first atom inside the cell, angstrom."""
    positions = whole_molecules(atoms, n_waters)
    lengths = edges_of(atoms)
    if lengths is None:
        return positions
    first = np.arange(len(atoms))
    first[: 3 * n_waters] -= first[: 3 * n_waters] % 3
    shift = lengths * np.floor(positions / lengths)
    return positions - shift[first]


def default_cutoff(atoms: Atoms) -> float:
    """Return the real-space cutoff in angstrom: 9, or just under half of a shorter edge.

    Raises InputError if that would be shorter than MIN_CUTOFF_ANGSTROM.
    """
    lengths = edges_of(atoms)
    if lengths is None:
        raise InputError("a cutoff needs a periodic cell, got atoms without one")
    cutoff = min(MAX_CUTOFF_ANGSTROM, _CUTOFF_PER_EDGE * float(lengths.min()))
    if cutoff < MIN_CUTOFF_ANGSTROM:
        raise InputError(
            f"box edge {lengths.min():.2f} angstrom is too short for the classical force field: "
            f"at least {MIN_EDGE_ANGSTROM:.1f} angstrom, use more waters"
        )
    return cutoff


def build_system(
    atoms: Atoms,
    force_field: ClassicalForceField = SPCE_JOUNG_CHEATHAM,
    *,
    ewald_tolerance: float = 5e-4,
    hydrogen_mass_amu: float | None = None,
) -> tuple[app.Topology, openmm.System]:
    """Return the OpenMM topology and system of a box, with rigid water.

    Periodic in all directions: PME. Periodic in none: plain pair sums without a cutoff.

    atoms              waters as O, H, H, then ions; cell orthorhombic
    ewald_tolerance    OpenMM's relative error tolerance of PME forces
    hydrogen_mass_amu  mass moved from O to each H, for longer steps; equilibrium averages of
                       positions do not depend on it. None: the file's masses.
    Raises FrameError for other molecules, InputError for a box that is too small.
    """
    n_waters = count_waters(atoms, force_field)
    topology = _topology(atoms, n_waters)
    lengths = edges_of(atoms)
    if lengths is None:
        system = _openmm_force_field(force_field.openmm_file).createSystem(
            topology, nonbondedMethod=app.NoCutoff, rigidWater=True, removeCMMotion=False
        )
    else:
        cutoff = default_cutoff(atoms)
        system = _openmm_force_field(force_field.openmm_file).createSystem(
            topology,
            nonbondedMethod=app.PME,
            nonbondedCutoff=cutoff / NM_IN_ANGSTROM,
            switchDistance=(cutoff - _SWITCH_WIDTH_ANGSTROM) / NM_IN_ANGSTROM,
            ewaldErrorTolerance=ewald_tolerance,
            rigidWater=True,
            removeCMMotion=False,
        )
    if hydrogen_mass_amu is not None:
        _move_mass_to_hydrogen(system, n_waters, hydrogen_mass_amu)
    return topology, system


def edges_of(atoms: Atoms) -> FloatArray | None:
    """Return the edges of the orthorhombic cell, angstrom, or None for a non-periodic cluster."""
    if not atoms.pbc.any():
        return None
    lengths = atoms.cell.lengths()
    if (
        not atoms.pbc.all()
        or not np.allclose(atoms.cell.array, np.diag(lengths))
        or lengths.min() == 0
    ):
        raise FrameError(
            f"expected an orthorhombic cell, periodic in x, y and z (or no cell at all), "
            f"got cell {atoms.cell.cellpar().round(3).tolist()} and pbc {atoms.pbc.tolist()}"
        )
    return np.asarray(lengths)


@lru_cache(maxsize=4)
def _openmm_force_field(openmm_file: str) -> app.ForceField:
    return app.ForceField(openmm_file)


def _topology(atoms: Atoms, n_waters: int) -> app.Topology:
    topology = app.Topology()
    chain = topology.addChain()
    for _ in range(n_waters):
        residue = topology.addResidue("HOH", chain)
        oxygen = topology.addAtom("O", app.element.oxygen, residue)
        for name in ("H1", "H2"):
            topology.addBond(oxygen, topology.addAtom(name, app.element.hydrogen, residue))
    for symbol in atoms.get_chemical_symbols()[3 * n_waters :]:
        residue = topology.addResidue(symbol.upper(), chain)
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    lengths = edges_of(atoms)
    if lengths is not None:
        topology.setPeriodicBoxVectors(np.diag(lengths) / NM_IN_ANGSTROM * unit.nanometer)
    return topology


def _move_mass_to_hydrogen(system: openmm.System, n_waters: int, hydrogen_mass: float) -> None:
    for oxygen in range(0, 3 * n_waters, 3):
        masses = [system.getParticleMass(oxygen + k).value_in_unit(unit.dalton) for k in range(3)]
        system.setParticleMass(oxygen, sum(masses) - 2 * hydrogen_mass)
        system.setParticleMass(oxygen + 1, hydrogen_mass)
        system.setParticleMass(oxygen + 2, hydrogen_mass)


def require_rigid(
    positions: FloatArray, n_waters: int, force_field: ClassicalForceField, tolerance: float
) -> None:
    """Raise FrameError if a site distance of a water differs from the model's."""
    model = force_field.water_positions()
    waters = positions[: 3 * n_waters].reshape(n_waters, 3, 3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        expected = np.linalg.norm(model[first] - model[second])
        distances = np.linalg.norm(waters[:, first] - waters[:, second], axis=1)
        wrong = np.flatnonzero(np.abs(distances - expected) > tolerance)
        if len(wrong):
            raise FrameError(
                f"water {wrong[0]}: {'OHH'[first]}-{'OHH'[second]} is "
                f"{distances[wrong[0]]:.3f} angstrom, the rigid {force_field.name} has "
                f"{expected:.3f}; this reference labels rigid-water frames only"
            )
