"""Classical force fields by name: rigid SPC/E water with monatomic ions, and their parameters.

Data only: :mod:`bjerrum.reference.classical_system` makes OpenMM systems of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import Final, Literal

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.specification import Spec

ForceFieldName = Literal["joung-cheatham", "smith-dang"]


@dataclass(frozen=True)
class LennardJonesPair:
    """4 epsilon ((sigma/r)^12 - (sigma/r)^6) between two elements, kcal/mol and angstrom."""

    first: str
    second: str
    epsilon_kcal_per_mol: float
    sigma_angstrom: float


@dataclass(frozen=True, kw_only=True)
class ClassicalForceField:
    """A rigid three-site water model with monatomic ions.

    openmm_file          name of a force field file that OpenMM ships: charges, masses, geometry,
                         and Lennard-Jones parameters unless ``pairs`` are given
    oh_bond_angstrom     O-H length of the rigid water
    hoh_angle_degrees    H-O-H angle of the rigid water
    ions                 element symbols of the ions that the force field describes
    pairs                Lennard-Jones parameters pair by pair, which replace the file's: no
                         combination rule, CHARMM switch, no tail correction; elements that are in
                         no pair have none. Empty: the file's, Lorentz-Berthelot, OpenMM's switch
                         and tail correction
    max_cutoff_angstrom  real-space cutoff where the box allows it
    cutoff_per_edge      largest cutoff in units of the shortest edge; OpenMM refuses more than 1/2
    ewald_tolerance      OpenMM's relative error tolerance of PME forces in dynamics
    """

    name: str
    citation: str
    openmm_file: str
    oh_bond_angstrom: float
    hoh_angle_degrees: float
    ions: tuple[str, ...]
    pairs: tuple[LennardJonesPair, ...] = ()
    max_cutoff_angstrom: float = 9.0
    cutoff_per_edge: float = 0.49
    ewald_tolerance: float = 5e-4

    def water_positions(self) -> FloatArray:
        """Return O, H, H of one molecule with O at the origin, shape (3, 3), angstrom."""
        half = radians(self.hoh_angle_degrees) / 2
        arm = self.oh_bond_angstrom * np.array(
            [[sin(half), cos(half), 0], [-sin(half), cos(half), 0]]
        )
        return np.vstack([np.zeros(3), arm])


_SPCE: Final = "Berendsen, Grigera, Straatsma, J. Phys. Chem. 91, 6269 (1987)"

SPCE_JOUNG_CHEATHAM: Final = ClassicalForceField(
    name="SPC/E water with Joung-Cheatham ions",
    citation=(
        f"water: {_SPCE}; "
        "monovalent ions: Joung, Cheatham, J. Phys. Chem. B 112, 9020 (2008), set for SPC/E; "
        "Mg, Ca: Li, Roberts, Chakravorty, Merz, J. Chem. Theory Comput. 9, 2733 (2013); "
        "file amber14/spce.xml of OpenMM"
    ),
    openmm_file="amber14/spce.xml",
    oh_bond_angstrom=1.0,
    hoh_angle_degrees=109.47,
    ions=("Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "F", "Cl", "Br", "I"),
)

SPCE_SMITH_DANG: Final = ClassicalForceField(
    name="SPC/E water with Smith-Dang NaCl",
    citation=(
        f"water: {_SPCE}; ions: Smith, Dang, J. Chem. Phys. 100, 3757 (1994); parameters, switch "
        "and cutoff as in the NaCl simulations of Zhang, Pagotto, Gould, Duignan, "
        "arXiv:2310.12535; charges and masses: file amber14/spce.xml of OpenMM"
    ),
    openmm_file="amber14/spce.xml",
    oh_bond_angstrom=1.0,
    hoh_angle_degrees=109.47,
    ions=("Na", "Cl"),
    pairs=(
        LennardJonesPair("O", "O", 0.1553537285, 3.169),
        LennardJonesPair("Na", "Na", 0.1, 2.583),
        LennardJonesPair("Cl", "Cl", 0.1, 4.401),
        LennardJonesPair("Na", "Cl", 0.1, 3.492),
        LennardJonesPair("Na", "O", 0.124665392, 2.876),
        LennardJonesPair("Cl", "O", 0.124665392, 3.785),
    ),
    max_cutoff_angstrom=15.0,
    cutoff_per_edge=0.4999,
    ewald_tolerance=1e-5,
)
"""NaCl only. In the published box of 29.8 angstrom OpenMM allows 14.897 angstrom, not quite 15:
the switch then acts from 13.897 on. The published Coulomb error (PPPM 1e-6: 1.4e-5 eV/angstrom)
is below the single precision of OpenMM's CPU platform, 4e-5; the Ewald tolerance adds 1e-5."""

FORCE_FIELDS: Final[dict[ForceFieldName, ClassicalForceField]] = {
    "joung-cheatham": SPCE_JOUNG_CHEATHAM,
    "smith-dang": SPCE_SMITH_DANG,
}
"""Every classical force field, by the name that settings use."""


def force_field_of(name: str) -> ClassicalForceField:
    """Return the force field of a name; InputError lists the known ones."""
    for known, force_field in FORCE_FIELDS.items():
        if known == name:
            return force_field
    raise InputError(f"force field: expected one of {', '.join(FORCE_FIELDS)}, got '{name}'")


class ClassicalSettings(Spec):
    """Settings of classical labels.

    force_field  "joung-cheatham" knows Li Na K Rb Cs Mg Ca F Cl Br I; "smith-dang" is the NaCl
                 model of the published validation
    """

    force_field: ForceFieldName = "joung-cheatham"
