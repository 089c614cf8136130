"""A bound potential as an ASE calculator, for everything that ASE can do with one."""

from __future__ import annotations

from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from bjerrum.potential.protocol import ForceFunction


class BoundCalculator(Calculator):
    """Energy (eV) and forces (eV/angstrom) of a force function.

    forces  bound to the elements and the cell of the atoms that will carry this calculator; a
            changed cell or composition needs another
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]  # type: ignore[misc]

    def __init__(self, forces: ForceFunction) -> None:
        super().__init__()
        self._forces = forces

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate at the positions of ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        evaluation = self._forces(self.atoms.positions)
        results: dict[str, Any] = {"energy": evaluation.energy, "forces": evaluation.forces}
        self.results = results
