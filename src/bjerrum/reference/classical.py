"""Classical reference of an aqueous salt, through OpenMM: single points and constant-NVT runs.

It prepares starting boxes and is a cheap reference for tests; its numbers are a model's, not
DFT's. Positions go in and come out in angstrom, energies in eV, forces in eV/angstrom. Water is
rigid: intramolecular energy is zero, and the forces are those between molecules, without
constraint forces. The model itself: :mod:`bjerrum.reference.classical_system`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import openmm
from ase import Atoms
from openmm import unit

from bjerrum.errors import FrameError, InputError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.frames import check_frame
from bjerrum.reference.classical_checks import (
    SAMPLE_INTERVAL_PS,
    NvtRun,
    check_nvt,
    require_enough,
)
from bjerrum.reference.classical_force_fields import SPCE_JOUNG_CHEATHAM, ClassicalForceField
from bjerrum.reference.classical_system import (
    build_system,
    count_waters,
    default_cutoff,
    require_rigid,
    whole_molecules,
    wrapped_molecules,
)
from bjerrum.reference.label import Label, LabelStatus
from bjerrum.units import BOLTZMANN, KJ_PER_MOL_IN_EV, NM_IN_ANGSTROM, PS_IN_FS

__all__ = [
    "SPCE_JOUNG_CHEATHAM",
    "ClassicalForceField",
    "ClassicalReference",
    "NvtRun",
    "build_system",
    "check_nvt",
    "derived_seed",
    "run_nvt",
    "sample_nvt",
    "with_positions",
]

_CONSTRAINT_TOLERANCE: Final = 1e-6
_EWALD_TOLERANCE_SINGLE_POINT: Final = 1e-5
_FORCE_UNIT: Final = unit.kilojoule_per_mole / unit.angstrom


def derived_seed(seed: int, stream: int) -> int:
    """Return a positive 31-bit seed for one of several generators fed by the user's ``seed``.

    OpenMM and packmol read 0 or a negative seed as "take the clock".
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be a whole number, 0 or larger, got {seed!r}")
    state = np.random.SeedSequence(entropy=seed, spawn_key=(stream,)).generate_state(1)[0]
    return int(state) % (2**31 - 2) + 1


class ClassicalReference:
    """Energies and forces of single configurations, in double precision.

    The OpenMM context is kept as long as composition and cell stay the same.
    """

    def __init__(
        self,
        force_field: ClassicalForceField = SPCE_JOUNG_CHEATHAM,
        *,
        geometry_tolerance_angstrom: float = 0.01,
    ) -> None:
        self.name = "classical"
        self.force_field = force_field
        self.geometry_tolerance_angstrom = geometry_tolerance_angstrom
        self._key: tuple[object, ...] | None = None
        self._context: openmm.Context | None = None
        self._turn = threading.Lock()

    def describe(self) -> dict[str, Any]:
        """Return the force field: with the configuration it determines a label."""
        return {"method": self.name, "force_field": self.force_field.name}

    def check(self, atoms: Atoms) -> None:
        """Raise InputError for other molecules than the force field's, or too small a box."""
        check_frame(atoms, "frame")
        n_waters = count_waters(atoms, self.force_field)
        positions = whole_molecules(atoms, n_waters)
        require_rigid(positions, n_waters, self.force_field, self.geometry_tolerance_angstrom)
        if atoms.pbc.any():
            default_cutoff(atoms, self.force_field)

    def label(self, atoms: Atoms, folder: Path) -> Label:
        """Label the configuration; nothing is written into ``folder``."""
        energy, forces = self.energy_and_forces(atoms)
        return Label(LabelStatus.CONVERGED, energy, forces, info=self.describe())

    def calibration(self, frames: Sequence[Atoms]) -> list[tuple[int, Atoms]]:
        """Return nothing: the labels need no correction."""
        return []

    def refine(
        self, frames: Sequence[Atoms | None], calibration: Sequence[tuple[int, Atoms | None]]
    ) -> list[Atoms | None]:
        """Return the frames as they are."""
        return list(frames)

    def stop(self) -> None:
        """Do nothing: a label takes milliseconds."""

    def energy_and_forces(self, atoms: Atoms) -> tuple[float, FloatArray]:
        """Return the potential energy in eV and the forces in eV/angstrom, shape (n_atoms, 3).

        Raises FrameError for other molecules than water and known ions, for NaN, and for a water
        that is not the rigid model's within ``geometry_tolerance_angstrom``.
        """
        n_waters = count_waters(atoms, self.force_field)
        positions = whole_molecules(atoms, n_waters)
        if not np.isfinite(positions).all():
            raise FrameError("positions hold NaN or infinity")
        require_rigid(positions, n_waters, self.force_field, self.geometry_tolerance_angstrom)
        with self._turn:
            context = self._context_of(atoms)
            context.setPositions(positions / NM_IN_ANGSTROM)
            state = context.getState(getEnergy=True, getForces=True)
        energy = (
            state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL_IN_EV
        )
        forces = state.getForces(asNumpy=True).value_in_unit(_FORCE_UNIT) * KJ_PER_MOL_IN_EV
        return float(energy), np.asarray(forces)

    def _context_of(self, atoms: Atoms) -> openmm.Context:
        key = (tuple(atoms.numbers), tuple(atoms.cell.array.ravel()), tuple(atoms.pbc))
        if self._context is None or key != self._key:
            _, system = build_system(
                atoms, self.force_field, ewald_tolerance=_EWALD_TOLERANCE_SINGLE_POINT
            )
            platform = openmm.Platform.getPlatformByName("Reference")
            self._context = openmm.Context(system, openmm.VerletIntegrator(1e-3), platform)
            self._key = key
        return self._context


def sample_nvt(
    atoms: Atoms,
    force_field: ClassicalForceField = SPCE_JOUNG_CHEATHAM,
    *,
    temperature: float,
    time_ps: float,
    seed: int,
    timestep_fs: float = 2.0,
    friction_per_ps: float = 1.0,
    sample_interval_ps: float = SAMPLE_INTERVAL_PS,
    hydrogen_mass_amu: float | None = None,
    hold_ions: bool = False,
) -> NvtRun:
    """Minimise, draw velocities and run Langevin dynamics; the same seed gives the same bits.

    Integrator: LFMiddle, Zhang, Liu et al., J. Phys. Chem. A 123, 6056 (2019), as
    openmm.LangevinMiddleIntegrator, on one thread of the CPU platform with deterministic forces.
    Samples start after the minimisation, so the first picoseconds still heat up.

    temperature   K
    hold_ions     keep the ions where they are, so that water can turn towards them first
    Raises InputError for times that do not fit, PhysicsCheckFailed if the dynamics explode.
    """
    steps_per_sample = _whole_steps(sample_interval_ps, timestep_fs)
    n_samples = round(time_ps / sample_interval_ps)
    if n_samples < 1 or temperature <= 0:
        raise InputError(
            f"expected a positive temperature and at least one sample interval "
            f"({sample_interval_ps} ps), got {temperature} K and {time_ps} ps"
        )
    n_waters = count_waters(atoms, force_field)
    _, system = build_system(
        atoms,
        force_field,
        ewald_tolerance=force_field.ewald_tolerance,
        hydrogen_mass_amu=hydrogen_mass_amu,
    )
    if hold_ions:
        for index in range(3 * n_waters, len(atoms)):
            system.setParticleMass(index, 0.0)
    n_free = 3 * (3 * n_waters if hold_ions else len(atoms)) - system.getNumConstraints()
    integrator = openmm.LangevinMiddleIntegrator(
        temperature, friction_per_ps, timestep_fs / PS_IN_FS
    )
    integrator.setConstraintTolerance(_CONSTRAINT_TOLERANCE)
    integrator.setRandomNumberSeed(derived_seed(seed, 0))
    context = _deterministic_context(system, integrator)
    context.setPositions(whole_molecules(atoms, n_waters) / NM_IN_ANGSTROM)
    try:
        openmm.LocalEnergyMinimizer.minimize(context, tolerance=10.0, maxIterations=300)
        context.setVelocitiesToTemperature(temperature, derived_seed(seed, 1))
        samples = [_advance(context, steps_per_sample) for _ in range(n_samples)]
    except openmm.OpenMMException as error:
        raise PhysicsCheckFailed(
            f"classical dynamics at {temperature} K broke down ({error}); "
            "check the starting box for overlaps or shorten the timestep"
        ) from error
    positions, kinetic, potential = (np.array(column) for column in zip(*samples, strict=True))
    return NvtRun(
        positions=positions,
        time_ps=np.linspace(sample_interval_ps, n_samples * sample_interval_ps, n_samples),
        temperature=2 * kinetic / (n_free * BOLTZMANN),
        potential_energy=potential,
        n_degrees_of_freedom=n_free,
    )


def _whole_steps(interval_ps: float, timestep_fs: float) -> int:
    steps = interval_ps * PS_IN_FS / timestep_fs if timestep_fs > 0 else 0.0
    if steps < 0.5 or abs(steps - round(steps)) > 1e-6:
        raise InputError(
            f"the sample interval must be a whole number of timesteps, "
            f"got {interval_ps} ps and {timestep_fs} fs"
        )
    return round(steps)


def _deterministic_context(system: openmm.System, integrator: openmm.Integrator) -> openmm.Context:
    platform = openmm.Platform.getPlatformByName("CPU")
    settings = {"Threads": "1", "DeterministicForces": "true"}
    return openmm.Context(system, integrator, platform, settings)


def _advance(context: openmm.Context, n_steps: int) -> tuple[FloatArray, float, float]:
    """Step; return positions (angstrom), kinetic and potential energy (eV)."""
    context.getIntegrator().step(n_steps)
    state = context.getState(getPositions=True, getEnergy=True)
    return (
        state.getPositions(asNumpy=True).value_in_unit(unit.angstrom),
        state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL_IN_EV,
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL_IN_EV,
    )


def run_nvt(
    atoms: Atoms,
    force_field: ClassicalForceField = SPCE_JOUNG_CHEATHAM,
    *,
    temperature: float,
    time_ps: float,
    seed: int,
    timestep_fs: float = 2.0,
    friction_per_ps: float = 1.0,
    hydrogen_mass_amu: float | None = None,
) -> Atoms:
    """Return the box after a checked constant-NVT run; see sample_nvt and check_nvt.

    Molecules are whole, their first atom inside the cell; no velocities; ``info`` is kept.
    """
    require_enough(round(time_ps / SAMPLE_INTERVAL_PS))
    run = sample_nvt(
        atoms,
        force_field,
        temperature=temperature,
        time_ps=time_ps,
        seed=seed,
        timestep_fs=timestep_fs,
        friction_per_ps=friction_per_ps,
        hydrogen_mass_amu=hydrogen_mass_amu,
    )
    check_nvt(run, temperature=temperature)
    return with_positions(atoms, run.positions[-1])


def with_positions(atoms: Atoms, positions: FloatArray) -> Atoms:
    """Return the box with other positions, molecules whole, their first atom inside the cell."""
    moved = Atoms(
        numbers=atoms.numbers,
        positions=positions,
        cell=atoms.cell,
        pbc=atoms.pbc,
        info=dict(atoms.info),
    )
    moved.positions = wrapped_molecules(moved, count_waters(moved))
    return moved
