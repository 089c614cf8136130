"""The screened Coulomb baseline: one object, subtracted from labels and added back in dynamics.

    E_C = (1 / epsilon) E_Ewald({q_i}),    q = +z for the ions, 0 for the atoms of water

with tin-foil boundary conditions (Zhang et al., arXiv:2310.12535: ions +-1, epsilon of the
solvent). A neural network whose cutoff is a few angstrom learns the remainder, which is short
ranged; the long-range interaction of the ions is then exact by construction. The rule that makes
this work is that what was subtracted is what is added: charges, dielectric constant, Ewald
accuracy. Hence this is a value object that is written into every ``model.json`` and compared.

The sum itself is in :mod:`bjerrum.ewald`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from bjerrum.errors import InputError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.units import COULOMB_CONSTANT

_KIND = "screened_coulomb"


@dataclass(frozen=True)
class ScreenedCoulomb:
    """Coulomb energy of the charged atoms in a uniform dielectric, by Ewald summation.

    charges              formal charge of each element in e, in alphabetical order; elements that
                         are absent have none, zeros are dropped
    dielectric_constant  of the solvent at the temperature of the simulation
    accuracy             of the Ewald sum, see ``EwaldParameters.for_cell`` in :mod:`bjerrum.ewald`

    Raises InputError for what is no element, no number, or no dielectric constant.
    """

    charges: tuple[tuple[str, float], ...]
    dielectric_constant: float
    accuracy: float = 1e-8

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dielectric_constant) and self.dielectric_constant >= 1):
            raise InputError(
                "dielectric constant: expected a number of at least 1, "
                f"got {self.dielectric_constant}"
            )
        if not 1e-14 <= self.accuracy <= 1e-2:
            raise InputError(
                f"Ewald accuracy: expected between 1e-14 and 1e-2, got {self.accuracy}"
            )
        for element, charge in self.charges:
            if atomic_numbers.get(element, 0) == 0:
                raise InputError(f"charges: expected element symbols, got {element!r}")
            if not math.isfinite(charge):
                raise InputError(f"charges: expected a number in e for {element}, got {charge}")
        charged = tuple(sorted((e, float(q)) for e, q in dict(self.charges).items() if q != 0))
        object.__setattr__(self, "charges", charged)

    @classmethod
    def of(cls, charges: Mapping[str, float], dielectric_constant: float) -> ScreenedCoulomb:
        """Build from a mapping of element to charge in e."""
        return cls(tuple(charges.items()), float(dielectric_constant))

    def to_json(self) -> dict[str, Any]:
        """Return what ``model.json`` records of the baseline."""
        return {
            "kind": _KIND,
            "charges_e": dict(self.charges),
            "dielectric_constant": self.dielectric_constant,
            "ewald_accuracy": self.accuracy,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScreenedCoulomb:
        """Read what :meth:`to_json` wrote; raises InputError for anything else."""
        try:
            kind, charges = data["kind"], {e: float(q) for e, q in data["charges_e"].items()}
            numbers = float(data["dielectric_constant"]), float(data["ewald_accuracy"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            expected = "kind, charges_e, dielectric_constant, ewald_accuracy"
            raise InputError(f"baseline: expected {expected}, got {data}") from error
        if kind != _KIND:
            raise InputError(f"baseline: expected kind {_KIND!r}, got {kind!r}")
        return cls(tuple(charges.items()), *numbers)

    def __str__(self) -> str:
        charges = ", ".join(f"{e} {q:+g}" for e, q in self.charges) or "no charges"
        return (
            f"{charges}, dielectric constant {self.dielectric_constant:.10g}, "
            f"Ewald accuracy {self.accuracy:g}"
        )

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> Callable[[FloatArray], Evaluation]:
        """Return a function of the positions alone, for fixed elements and cell.

        symbols  elements, length n_atoms
        cell     rows are the cell vectors, shape (3, 3), angstrom; copied
        The function takes positions, shape (n_atoms, 3), angstrom, and returns the energy in eV
        and the forces in eV/angstrom, shape (n_atoms, 3).
        Raises InputError if the cell has no volume.
        """
        charge_of = dict(self.charges)
        charges = np.array([charge_of.get(symbol, 0.0) for symbol in symbols])
        charged = np.flatnonzero(charges)
        if len(charged) == 0:
            return lambda positions: Evaluation(0.0, np.zeros((len(charges), 3)))
        cell = np.array(cell, dtype=np.float64)
        if not (np.isfinite(cell).all() and abs(np.linalg.det(cell)) > 0):
            raise InputError(f"expected a periodic cell with a volume, got {cell.tolist()}")
        from bjerrum.ewald import Ewald  # torch is slow to import, and not always needed

        ewald = Ewald(charges[charged], cell, self.accuracy)
        prefactor = COULOMB_CONSTANT / self.dielectric_constant

        def evaluate(positions: FloatArray) -> Evaluation:
            energy, ion_forces = ewald(np.asarray(positions, dtype=np.float64)[charged])
            forces = np.zeros((len(charges), 3))
            forces[charged] = prefactor * ion_forces
            return Evaluation(prefactor * energy, forces)

        return evaluate
