"""The model's own error: known spreads are found again, noise is taken off, one member has none."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bjerrum.coarse.members import (
    committee_of,
    error_of_distributions,
    errors_of_points,
    own_error,
    pmf_minima,
    run_members,
)
from bjerrum.coarse.model import load_coarse
from bjerrum.coarse.series import box_at
from bjerrum.coarse.simulate import Sampling
from bjerrum.units import thermal_energy


@pytest.fixture(scope="module")
def model():
    return load_coarse("licl-cg")


def test_noise_of_the_members_is_no_error_of_the_model():
    """Over many committees of eight: spread and noise 1 and 0.5; then noise alone."""
    random, n = np.random.default_rng(1), 2000
    truth, noise = random.normal(0, 1.0, (n, 8)), random.normal(0, 0.5, (n, 8))
    found = [own_error(row, 0.5) for row in truth + noise]
    assert np.mean([f["standard_error"] ** 2 for f in found]) == pytest.approx(1.0, rel=0.05)
    alone = [own_error(row, 0.5) for row in noise]
    assert np.mean([f["standard_error"] < f["resolution"] for f in alone]) > 0.75
    assert alone[0]["resolution"] == pytest.approx(0.5 * (2 / 7) ** 0.25)


def test_one_member_says_nothing(model):
    alone = replace(model, committee=model.committee[:1])
    assert committee_of(alone) == []
    assert len(committee_of(model)) == len(model.committee) > 1
    assert own_error([1.0], 0.1) is None
    assert error_of_distributions([], 1.5, 10.0) is None
    point = SimpleNamespace(
        dlna_dlnc={},
        pressure=SimpleNamespace(standard_error=1.0),
        screening=SimpleNamespace(length=None),
        measured=SimpleNamespace(box=SimpleNamespace(edge=25.0)),
    )
    (found,) = errors_of_points([point], [], 16)
    assert found["members"] == 0
    assert found["osmotic_pressure_MPa"] is None
    minima = pmf_minima(model.potential, [], temperature=300.0)
    assert all(row["model_standard_error_kT"] is None for row in minima["ca"])


def test_spread_of_minima_is_that_of_the_members(model):
    """Members whose unlike splines are all higher or lower by one kT, in halves."""
    potential, kt = model.potential, thermal_energy(300.0)
    unlike = potential.basis.pair_slices[potential.basis.pairs.index(("Cl", "Li"))]
    members = []
    for sign in (-1, 1, -1, 1):
        coefficients = potential.coefficients.copy()
        coefficients[unlike] += sign * kt
        members.append(replace(potential, coefficients=coefficients))
    minima = pmf_minima(potential, members, temperature=300.0)
    contact, *_ = minima["ca"]
    assert contact["r_angstrom"] == pytest.approx(2.37, abs=0.05)
    assert contact["model_standard_error_kT"] == pytest.approx(math.sqrt(4 / 3), rel=0.02)
    assert all(row["model_standard_error_kT"] < 1e-12 for row in minima["aa"])


def test_error_of_distributions_is_the_area_between_members():
    """g of the members differ by 0.2 times a normal number between 4 and 6 angstrom."""
    random = np.random.default_rng(4)
    r = np.arange(0.025, 12, 0.05)

    def run(step: float):
        g = np.ones((2, 3, len(r))) + random.normal(0, 0.05, (2, 3, len(r)))
        g[:, 1, (r > 4) & (r < 6)] += step
        return SimpleNamespace(r=r, g=lambda: g)

    found = error_of_distributions([run(x) for x in random.normal(0, 0.2, 60)], 1.5, 10.0)
    assert found["ca"] == pytest.approx(math.sqrt(2 / math.pi) * 0.2 * 2.0, rel=0.35)
    assert found["cc"] < 0.3 * found["ca"]


def test_members_are_run_as_long_together_and_one_that_collapses_is_left_out(model):
    box = box_at(2.0, 24, ("Li", "Cl"))
    sampling = Sampling(temperature=300.0, time_ps=2.0, equilibration_ps=0.0, replicas=6)
    broken = model.potential.coefficients.copy()
    for part in model.potential.basis.pair_slices:
        broken[part] = -np.linspace(60, 0, len(broken[part]))
    members = [model.potential, replace(model.potential, coefficients=broken), *model.members[:1]]
    runs = run_members(members, [box], sampling)
    assert len(runs) == 2
    assert all(len(run.counts) == 2 for (run,) in runs)
    assert not np.array_equal(runs[0][0].counts, runs[1][0].counts)
