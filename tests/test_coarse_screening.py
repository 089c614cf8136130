"""Screening in runs of ions: poles of known structure factors, and the identity of the limit."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bjerrum.coarse.basis import Basis
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.screening import _pole, screening_of
from bjerrum.coarse.series import box_at
from bjerrum.coarse.simulate import simulate_ions
from bjerrum.coarse.systems import Sampling
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.properties.structure_factor import lattice_shells

TEMPERATURE = 300.0
SHELLS = lattice_shells(30.0 * np.eye(3))
KAPPA = 0.4


def test_pole_of_debye_and_hueckel_is_the_debye_length():
    s_zz = SHELLS.k**2 / (SHELLS.k**2 + KAPPA**2)
    decay, wave = _pole(SHELLS, s_zz, KAPPA)
    assert decay == pytest.approx(KAPPA, rel=1e-6)
    assert wave == pytest.approx(0.0, abs=1e-3)


def test_pole_of_alternating_charges_has_their_period():
    """k^2/S = kappa^2 (1 - k^2/p^2)(1 - k^2/p*^2) vanishes at p = wave + i decay and p*."""
    pole = 0.9 + 0.3j
    x = SHELLS.k**2
    product = np.real((1 - x / pole**2) * (1 - x / np.conj(pole) ** 2))
    decay, wave = _pole(SHELLS, x / (KAPPA**2 * product), KAPPA)
    assert (decay, wave) == pytest.approx((0.3, 0.9), rel=1e-5)


def test_growing_instead_of_decaying_correlations_give_no_length():
    s_zz = SHELLS.k**2 / (KAPPA**2 - 0.01 * SHELLS.k**2)
    assert not np.isfinite(_pole(SHELLS, s_zz, KAPPA)).all()


@pytest.fixture(scope="module")
def dilute():
    """Weakly coupled ions with a soft core at 0.5 mol/L: Debye and Hueckel's theory is near."""
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.0, 3.0, 3.0), spacing=0.5, n_radial=0)
    baseline = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 150.0)
    potential = CoarsePotential(basis, np.zeros(basis.n_pair), baseline)
    sampling = Sampling(temperature=TEMPERATURE, time_ps=120, equilibration_ps=20, replicas=8)
    (run,) = simulate_ions(potential, [box_at(0.5, 24, ("Na", "Cl"))], sampling)
    return run, baseline


def test_runs_screen_perfectly_and_as_far_as_debye_and_hueckel_say(dilute):
    found = screening_of(*dilute, TEMPERATURE)
    assert found.ratio is not None
    ratio, error = found.ratio
    assert error < 0.12
    assert ratio == pytest.approx(1.0, abs=3 * error + 0.03)
    assert found.kappa is not None
    assert found.length is not None
    length, uncertain = found.length
    assert length == pytest.approx(1 / found.kappa, abs=4 * uncertain + 0.15 / found.kappa)
    wrong = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 75.0)
    assert screening_of(dilute[0], wrong, TEMPERATURE).ratio[0] == pytest.approx(2 * ratio)


def test_structure_factors_come_with_their_errors(dilute):
    run, baseline = dilute
    found = screening_of(run, baseline, TEMPERATURE)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    n = len(data["k_per_angstrom"])
    for name in ("s_zz", "s_cc", "s_ca", "s_aa"):
        assert len(data[name]) == len(data[f"{name}_standard_error"]) == n
        assert min(data[f"{name}_standard_error"]) > 0
    s_zz = (found.s_ij[0] + found.s_ij[2] - 2 * found.s_ij[1]) / 2
    np.testing.assert_allclose(found.s_zz, s_zz, atol=1e-12)
    assert "Debye length" in found.line()


def test_free_ions_do_not_screen(dilute):
    found = screening_of(dilute[0], ScreenedCoulomb.of({}, 72.0), TEMPERATURE)
    assert found.to_json()["screening_length_angstrom"] is None
    assert "no charges" in found.line()


def test_ions_of_two_charges_are_weighted_by_them():
    """z = 2, -1: S_ZZ = (4 cc - 4 ca + aa)/(4 N_c + N_a), the limit with their own kappa."""
    box = replace(box_at(0.5, 24, ("Mg", "Cl")), n_anions=48)
    random = np.random.default_rng(2)
    cc, ca, aa = modes = random.uniform(5, 6, (3, len(SHELLS.k)))
    run = SimpleNamespace(box=box, shells=SHELLS, modes=np.array([modes, modes]))
    baseline = ScreenedCoulomb.of({"Mg": 2, "Cl": -1}, 78.3)
    found = screening_of(run, baseline, TEMPERATURE)
    np.testing.assert_allclose(found.s_zz, (4 * cc - 4 * ca + aa) / (4 * 24 + 48))
