"""What gives forces in a campaign's steps: its committee, a model, or the classical reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bjerrum.campaign.preparation import Inputs, Parameters
from bjerrum.estimate import Evaluation, FloatArray

if TYPE_CHECKING:
    from bjerrum.potential.protocol import ForceFunction, Potential


class ClassicalForces:
    """The classical reference as a potential: as fast as its dynamics, in single precision.

    A :class:`~bjerrum.reference.classical.ClassicalReference` labels in double precision; mean
    forces over thousands of frames need no such care.
    """

    def __init__(self, force_field: str) -> None:
        self.force_field = force_field

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        import openmm
        from ase import Atoms
        from openmm import unit

        from bjerrum.reference.classical_force_fields import force_field_of
        from bjerrum.reference.classical_system import build_system, count_waters, whole_molecules
        from bjerrum.units import KJ_PER_MOL_IN_EV, NM_IN_ANGSTROM

        box, field = Atoms(list(symbols), cell=cell, pbc=True), force_field_of(self.force_field)
        n_waters = count_waters(box, field)
        _, system = build_system(box, field)
        context = openmm.Context(
            system,
            openmm.VerletIntegrator(1e-3),
            openmm.Platform.getPlatformByName("CPU"),
            {"Threads": "1", "DeterministicForces": "true"},
        )

        def forces(positions: FloatArray) -> Evaluation:
            box.positions = positions
            context.setPositions(whole_molecules(box, n_waters) / NM_IN_ANGSTROM)
            state = context.getState(getEnergy=True, getForces=True)
            energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
            found = state.getForces(asNumpy=True)
            found = found.value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
            return Evaluation(energy * KJ_PER_MOL_IN_EV, found * KJ_PER_MOL_IN_EV)

        return forces


def model_folder(inputs: Inputs, parameters: Parameters) -> Path:
    """Return the folder of the committee, or of the model that the campaign names."""
    return inputs["committee"] / parameters["name"] if "committee" in inputs else inputs["model"]


def potential_of(inputs: Inputs, parameters: Parameters) -> Potential:
    """Return what made a campaign's trajectories.

    parameters  "force_field" for the classical reference, else "name" of the committee
    """
    if "force_field" in parameters:
        return ClassicalForces(parameters["force_field"])
    from bjerrum.potential.fused.model import for_dynamics
    from bjerrum.potential.model import load_model

    return for_dynamics(load_model(str(model_folder(inputs, parameters)))).potential
