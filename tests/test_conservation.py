"""The constant-energy check is green on conservative forces and red on others."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bjerrum.dynamics.conservation import conserve_energy, require_conservation
from bjerrum.dynamics.integrators import maxwell_boltzmann
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import Evaluation
from conftest import water_box

STIFFNESS = 1.0  # eV/angstrom^2


def wells(centres):
    def forces(r):
        d = r - centres
        return Evaluation(0.5 * STIFFNESS * float((d**2).sum()), -STIFFNESS * d)

    return forces


@pytest.fixture
def atoms():
    return water_box()


def outcome_of(atoms, forces, **options):
    random = np.random.default_rng(1)
    spread = np.sqrt(0.0257 / STIFFNESS)
    point = (
        atoms.positions + spread * random.standard_normal(atoms.positions.shape),
        maxwell_boltzmann(atoms.get_masses(), 298.15, random),
    )
    return conserve_energy(
        atoms, forces, point, **({"timestep_fs": 0.5, "length_ps": 0.5} | options)
    )


def with_drag(atoms, rate_per_ps):
    """Forces with a friction that the energy does not know of, from differences of positions."""
    conservative, masses = wells(atoms.positions), atoms.get_masses()[:, None]
    before = None

    def forces(r):
        nonlocal before
        velocity = np.zeros_like(r) if before is None else (r - before) / 0.5
        before = r
        result = conservative(r)
        drag = rate_per_ps / 1e3 * masses * 103.642697 * velocity
        return Evaluation(result.energy, result.forces - drag)

    return forces


def test_a_conservative_potential_passes(atoms):
    outcome = outcome_of(atoms, wells(atoms.positions))
    require_conservation(outcome)
    assert abs(outcome["drift_meV_per_atom_per_ps"]) < 0.05
    assert outcome["fluctuation_meV_per_atom"] < 0.05
    energy = np.array(outcome["total_energy_meV_per_atom"])
    assert len(energy) == len(outcome["time_ps"]) == 1001
    assert energy[0] == 0
    assert energy.std() > 0
    assert outcome["time_ps"][-1] == pytest.approx(0.5)
    json.dumps(outcome, allow_nan=False)


@pytest.mark.parametrize("rate_per_ps", [0.3, -0.3])
def test_friction_and_driving_are_caught(atoms, rate_per_ps):
    """d E / d t = -2 gamma K, and 2 K = 3 k_B T per atom on average: -23 meV/atom/ps for 0.3/ps."""
    outcome = outcome_of(atoms, with_drag(atoms, rate_per_ps))
    drift = outcome["drift_meV_per_atom_per_ps"]
    assert drift == pytest.approx(-rate_per_ps * 77, rel=0.3)
    with pytest.raises(PhysicsCheckFailed, match=r"drift -?1\d\.\d\d meV/atom/ps .limit 5."):
        require_conservation(outcome)


def test_a_too_long_time_step_is_caught(atoms):
    outcome = outcome_of(atoms, wells(atoms.positions), timestep_fs=12.0)
    assert outcome["fluctuation_meV_per_atom"] > 1.0
    with pytest.raises(PhysicsCheckFailed, match="at 12 fs"):
        require_conservation(outcome)


def test_nan_does_not_pass(atoms):
    outcome = outcome_of(atoms, wells(atoms.positions)) | {"drift_meV_per_atom_per_ps": np.nan}
    with pytest.raises(PhysicsCheckFailed):
        require_conservation(outcome)


def test_has_twenty_steps_at_least_and_reports_each(atoms):
    reported = []
    outcome_of(
        atoms,
        wells(atoms.positions),
        length_ps=1e-4,
        on_step=lambda *report: reported.append(report),
    )
    assert reported == [(step, 20) for step in range(1, 21)]
