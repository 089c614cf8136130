"""Contacts of ions and what a third ion adds: closed forms, and the peak of the shipped model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bjerrum.coarse.basis import Basis
from bjerrum.coarse.dilution import contact_distance, three_body_residual
from bjerrum.coarse.gate import run_coarse_gate
from bjerrum.coarse.model import CoarseModel, load_coarse
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.units import bjerrum_length, thermal_energy

TEMPERATURE = 300.0
NACL = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 72.0)


def a_potential(n_radial: int = 0, baseline: ScreenedCoulomb = NACL) -> CoarsePotential:
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.2, 2.4, 2.8), spacing=0.5, n_radial=n_radial)
    return CoarsePotential(basis, np.zeros(basis.n_coefficients), baseline)


def test_contact_is_the_minimum_of_the_full_pmf():
    """-l_B/r falls towards the wall, which rises: the minimum is where the slopes cancel."""
    potential = a_potential()
    length = bjerrum_length(72.0, TEMPERATURE)
    found = contact_distance(potential, temperature=TEMPERATURE)
    stiffness = 8.0 / thermal_energy(TEMPERATURE)
    r = np.linspace(2.0, 2.4, 40001)
    wanted = r[np.argmin(stiffness / 2 * (2.4 - r) ** 2 - length / r)]
    assert found == pytest.approx(wanted, abs=0.011)


def test_ions_that_do_not_attract_have_no_contact():
    free = a_potential(baseline=ScreenedCoulomb.of({}, 72.0))
    assert contact_distance(free, temperature=TEMPERATURE) is None
    residual = three_body_residual(free, temperature=TEMPERATURE)
    assert residual == {"contact_angstrom": None, "largest_kT": None}


def test_contact_of_the_shipped_model_is_the_peak_of_its_distribution():
    """The window's edge, 3.98, was given before: the Coulomb part was left out."""
    model = load_coarse("licl-cg")
    found = contact_distance(model.potential, temperature=model.card.temperature_K)
    assert found is not None
    assert 2.2 < found < 2.6
    json.dumps(three_body_residual(model.potential, temperature=model.card.temperature_K))


def with_third_ions(size: float) -> CoarseModel:
    """The shipped model with random three-body terms."""
    model = load_coarse("licl-cg")
    basis = replace(model.potential.basis, n_radial=2)
    body = np.random.default_rng(6).normal(0, size, basis.n_body)
    coefficients = np.concatenate([model.potential.coefficients, body])
    potential = CoarsePotential(basis, coefficients, model.baseline)
    return replace(model, potential=potential, committee=coefficients[None])


def test_the_largest_three_body_energy_is_linear_in_the_terms():
    found = [
        three_body_residual(with_third_ions(size).potential, temperature=300.0, distance=2.4)
        for size in (0.01, 0.02)
    ]
    assert found[1]["largest_kT"] == pytest.approx(2 * found[0]["largest_kT"], rel=1e-6)
    overlapping = [found[0][key][0] for key in ("Cl-Li-Cl_kT", "Li-Cl-Li_kT")]
    assert found[0]["largest_kT"] not in overlapping


def test_the_gate_tells_a_strong_third_ion():
    def check(model):
        (found,) = (c for c in run_coarse_gate(model) if c.name.startswith("three-body"))
        return found

    pairs = check(load_coarse("licl-cg"))
    assert pairs.value == 0.0
    weak, strong = check(with_third_ions(0.03)), check(with_third_ions(0.3))
    assert weak.passed
    assert weak.value > 0.1
    assert not strong.passed
    assert strong.value > 1.5 * weak.value
