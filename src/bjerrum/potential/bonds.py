"""The O-H bonds of a potential: their stretch tells its units, their strength whether it breaks.

Frames at room temperature hold bonds between 0.85 and 1.15 angstrom; what a network does with
longer ones nobody taught it. A bond of water at 1.6 angstrom costs more than 2 eV, a proton on its
way to the next molecule about 1 eV; a network with a pass below that loses protons, most of all in
frames that are hot or tightly packed.
"""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms
from scipy import constants

from bjerrum.checks import Check
from bjerrum.potential.protocol import ForceFunction
from bjerrum.units import BOLTZMANN

STRETCH_PER_CM = 3650.0
"""1/cm. The harmonic O-H stretch of water: 3832 and 3943 in the gas (Benedict et al., J. Chem.
Phys. 24, 1139 (1956)), some hundred less in the liquid."""

_STRETCH_LIMIT = 800.0
_BOND = 0.965
_LONGEST_ANGSTROM = 1.6
_TEMPERATURE_K = 300.0
_BREAKS_PER_NS = 0.1


def units(forces: ForceFunction, atoms: Atoms, *, most: int = 3, step: float = 0.03) -> list[Check]:
    """Wavenumber of the O-H stretch, sqrt(k / mu) / 2 pi c, from the force on a stretched bond.

    A potential in other units (kcal/mol, hartree, bohr) is off by a factor of two or more. Not
    checked where there is no water.
    """
    bonds = oh_bonds(atoms)[:most]
    if not bonds:
        return []
    stiffness = []
    for oxygen, hydrogen in bonds:
        axis = atoms.get_distance(oxygen, hydrogen, mic=True, vector=True)
        axis = axis / np.linalg.norm(axis)
        along = []
        for length in (_BOND - step, _BOND + step):
            positions = atoms.positions.copy()
            positions[hydrogen] = positions[oxygen] + length * axis
            force = forces(positions).forces
            along.append(float((force[hydrogen] - force[oxygen]) @ axis) / 2)
        stiffness.append((along[0] - along[1]) / (2 * step))
    k = np.mean(stiffness) * constants.e / 1e-20
    mass_o, mass_h = (atoms.get_masses()[index] for index in bonds[0])
    mu = mass_o * mass_h / (mass_o + mass_h) * constants.atomic_mass
    wavenumber = math.sqrt(max(k, 0.0) / mu) / (2 * math.pi * constants.c) / 100
    return [
        Check(
            "units: O-H stretch",
            abs(wavenumber - STRETCH_PER_CM) if math.isfinite(wavenumber) else math.inf,
            _STRETCH_LIMIT,
            "1/cm",
            f"harmonic wavenumber of {len(bonds)} bonds, {wavenumber:.0f}, against that of water, "
            f"{STRETCH_PER_CM:.0f}",
        )
    ]


def bonds_hold(forces: ForceFunction, atoms: Atoms, *, most: int = 4) -> list[Check]:
    """Expected breaks of O-H bonds in this box in a nanosecond at 300 K.

    N nu exp(-E / kT) of transition state theory for a harmonic bond, with the lowest pass E of
    ``most`` bonds, spread over the box, that are stretched to 1.6 angstrom while all else stands
    still. Relaxed passes are lower: this finds weak bonds, it does not measure them. Not checked
    where there is no water.
    """
    bonds = oh_bonds(atoms)
    if not bonds:
        return []
    chosen = bonds[:: max(1, len(bonds) // most)]
    barrier = min(_pass(forces, atoms, *bond) for bond in chosen)
    frequency = 100 * constants.c * STRETCH_PER_CM
    rate = 2 * len(bonds) * frequency * math.exp(-barrier / (BOLTZMANN * _TEMPERATURE_K))
    return [
        Check(
            "O-H bonds hold",
            1e-9 * rate if math.isfinite(rate) else math.inf,
            _BREAKS_PER_NS,
            "breaks/ns",
            f"lowest pass of {len(chosen)} bonds to {_LONGEST_ANGSTROM:g} angstrom: "
            f"{barrier:.2f} eV, in a box of {2 * len(bonds)} bonds",
        )
    ]


def _pass(forces: ForceFunction, atoms: Atoms, oxygen: int, hydrogen: int) -> float:
    """Return the highest energy on the way of a hydrogen straight outwards, eV."""
    axis = atoms.get_distance(oxygen, hydrogen, mic=True, vector=True)
    axis = axis / np.linalg.norm(axis)
    energies = []
    for length in np.arange(_BOND, _LONGEST_ANGSTROM, 0.05):
        positions = atoms.positions.copy()
        positions[hydrogen] = positions[oxygen] + length * axis
        energies.append(forces(positions).energy)
    return float(np.max(energies) - energies[0])


def oh_bonds(atoms: Atoms) -> list[tuple[int, int]]:
    """Return oxygen and the nearer hydrogen of each water molecule."""
    symbols = np.array(atoms.get_chemical_symbols())
    hydrogens = np.flatnonzero(symbols == "H")
    bonds = []
    for oxygen in np.flatnonzero(symbols == "O"):
        if len(hydrogens) < 2:
            break
        distances = atoms.get_distances(oxygen, hydrogens, mic=True)
        if np.count_nonzero(distances < 1.3) == 2:
            bonds.append((int(oxygen), int(hydrogens[np.argmin(distances)])))
    return bonds
