"""Rigid SPC/E water with monatomic ions as an OpenMM system.

Run by :mod:`bjerrum.reference.classical`. Coulomb by particle mesh Ewald; Lennard-Jones switched to
zero over the last angstrom before the cutoff. Parameters come from the force field file that OpenMM
ships (Lorentz-Berthelot combination, OpenMM's switch, isotropic tail correction) or pair by pair
(CHARMM's switch, no tail correction). Atom order: waters as O, H, H, then ions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import openmm
from ase import Atoms
from openmm import app, unit

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray
from bjerrum.reference.classical_force_fields import SPCE_JOUNG_CHEATHAM, ClassicalForceField
from bjerrum.units import NM_IN_ANGSTROM

MIN_CUTOFF_ANGSTROM: Final = 4.5
"""Below it the cutoff runs into the Lennard-Jones well of water (minimum at 3.55 angstrom)."""

_SWITCH_WIDTH_ANGSTROM: Final = 1.0

_LENNARD_JONES: Final = (
    "4*epsilon(kind1, kind2)*((sigma(kind1, kind2)/r)^12 - (sigma(kind1, kind2)/r)^6)"
)
_CHARMM_SWITCH: Final = (
    "select(step(r - on), (off^2 - r^2)^2*(off^2 + 2*r^2 - 3*on^2)/(off^2 - on^2)^3, 1)"
)
"""Brooks et al., J. Comput. Chem. 4, 187 (1983), eq. 13: from 1 at ``on`` to 0 at ``off``."""


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


def default_cutoff(atoms: Atoms, force_field: ClassicalForceField = SPCE_JOUNG_CHEATHAM) -> float:
    """Return the real-space cutoff in angstrom: the model's, or just under half of a shorter edge.

    Raises InputError if that would be shorter than MIN_CUTOFF_ANGSTROM.
    """
    lengths = edges_of(atoms)
    if lengths is None:
        raise InputError("a cutoff needs a periodic cell, got atoms without one")
    cutoff = min(
        force_field.max_cutoff_angstrom, force_field.cutoff_per_edge * float(lengths.min())
    )
    if cutoff < MIN_CUTOFF_ANGSTROM:
        least = MIN_CUTOFF_ANGSTROM / force_field.cutoff_per_edge
        raise InputError(
            f"box edge {lengths.min():.2f} angstrom is too short for the classical force field: "
            f"at least {least:.1f} angstrom, use more waters"
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
        cutoff = default_cutoff(atoms, force_field)
        system = _openmm_force_field(force_field.openmm_file).createSystem(
            topology,
            nonbondedMethod=app.PME,
            nonbondedCutoff=cutoff / NM_IN_ANGSTROM,
            switchDistance=(cutoff - _SWITCH_WIDTH_ANGSTROM) / NM_IN_ANGSTROM,
            ewaldErrorTolerance=ewald_tolerance,
            rigidWater=True,
            removeCMMotion=False,
        )
    if force_field.pairs:
        _replace_lennard_jones(system, atoms.get_chemical_symbols(), force_field)
    if hydrogen_mass_amu is not None:
        _move_mass_to_hydrogen(system, n_waters, hydrogen_mass_amu)
    return topology, system


def _replace_lennard_jones(
    system: openmm.System, symbols: list[str], force_field: ClassicalForceField
) -> None:
    """Leave the Coulomb energy to OpenMM's nonbonded force; Lennard-Jones pair by pair beside it.

    Periodic systems are switched over the last angstrom before the Coulomb cutoff, clusters not.
    """
    (coulomb,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    for index in range(system.getNumParticles()):
        charge, _, _ = coulomb.getParticleParameters(index)
        coulomb.setParticleParameters(index, charge, 0.1, 0.0)
    coulomb.setUseDispersionCorrection(False)
    coulomb.setUseSwitchingFunction(False)
    pairs = openmm.CustomNonbondedForce(_LENNARD_JONES)
    if coulomb.usesPeriodicBoundaryConditions():
        cutoff = coulomb.getCutoffDistance().value_in_unit(unit.nanometer)
        pairs.setEnergyFunction(f"{_CHARMM_SWITCH}*{_LENNARD_JONES}")
        pairs.addGlobalParameter("on", cutoff - _SWITCH_WIDTH_ANGSTROM / NM_IN_ANGSTROM)
        pairs.addGlobalParameter("off", cutoff)
        pairs.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
        pairs.setCutoffDistance(cutoff)
    kinds, epsilon, sigma = _pair_tables(force_field)
    pairs.addTabulatedFunction("epsilon", epsilon)
    pairs.addTabulatedFunction("sigma", sigma)
    pairs.addPerParticleParameter("kind")
    for symbol in symbols:
        pairs.addParticle([kinds.get(symbol, 0)])
    sites = [index for index, symbol in enumerate(symbols) if symbol in kinds]
    pairs.addInteractionGroup(sites, sites)
    for index in range(coulomb.getNumExceptions()):
        first, second, *_ = coulomb.getExceptionParameters(index)
        pairs.addExclusion(first, second)
    system.addForce(pairs)


def _pair_tables(
    force_field: ClassicalForceField,
) -> tuple[dict[str, int], openmm.Discrete2DFunction, openmm.Discrete2DFunction]:
    """Return a number for each element, epsilon (kJ/mol) and sigma (nm) by two such numbers."""
    elements = sorted({name for pair in force_field.pairs for name in (pair.first, pair.second)})
    kinds = {element: kind for kind, element in enumerate(elements)}
    size = len(kinds)
    epsilon, sigma = np.zeros((2, size, size))
    for pair in force_field.pairs:
        both = [kinds[pair.first], kinds[pair.second]]
        kcal_per_mol = pair.epsilon_kcal_per_mol * unit.kilocalorie_per_mole
        epsilon[both, both[::-1]] = kcal_per_mol.value_in_unit(unit.kilojoule_per_mole)
        sigma[both, both[::-1]] = pair.sigma_angstrom / NM_IN_ANGSTROM
    tables = (openmm.Discrete2DFunction(size, size, table.ravel()) for table in (epsilon, sigma))
    return kinds, *tables


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
