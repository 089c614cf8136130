"""The physics part of the trust gate: red on each kind of broken potential, green otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.estimate import Evaluation
from bjerrum.potential import bonds, forms, gate
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import load_model
from conftest import BASELINE, water_box

STIFFNESS, BOND, ANGLE = 45.0, 0.965, 2.5
"""eV/angstrom^2 of a bond O-H, its length; eV/angstrom^2 between the hydrogens."""


class Springs:
    """Water of springs and a soft push between all pairs that ends smoothly at the cutoff."""

    elements = ("Cl", "H", "Li", "O")
    cutoff = 3.0
    push = 0.5

    @property
    def members(self):
        return (self,)

    def bind(self, symbols, cell):
        symbols, heights = np.array(symbols), np.diag(cell)
        bonded = [
            (k, k + j) for k in range(len(symbols) - 2) if symbols[k] == "O" for j in (1, 2)
            if list(symbols[k : k + 3]) == ["O", "H", "H"]
        ]  # fmt: skip

        def evaluate(positions):
            forces, energy = np.zeros_like(positions), 0.0
            for a, b in bonded:
                d = positions[b] - positions[a]
                d -= heights * np.round(d / heights)
                r = np.linalg.norm(d)
                energy += 0.5 * STIFFNESS * (r - BOND) ** 2
                forces[b] -= STIFFNESS * (r - BOND) * d / r
                forces[a] += STIFFNESS * (r - BOND) * d / r
            d = positions[:, None] - positions[None]
            d -= heights * np.round(d / heights)
            r = np.linalg.norm(d, axis=2) + 1e9 * np.eye(len(positions))
            x = np.clip(1 - r / self.cutoff, 0, None)
            energy += 0.5 * self.push * (x**3).sum()
            slope = -3 * self.push * x**2 / self.cutoff
            forces -= ((slope / r)[:, :, None] * d).sum(axis=1)
            return Evaluation(float(energy), forces)

        return evaluate


@dataclass(frozen=True)
class Changed:
    """The springs with a change of the result: ``change(evaluation, positions)``."""

    change: Any
    elements = Springs.elements
    cutoff = Springs.cutoff

    @property
    def members(self):
        return (self,)

    def bind(self, symbols, cell):
        bound = Springs().bind(symbols, cell)
        return lambda positions: self.change(bound(positions), positions)


@pytest.fixture(scope="module")
def model(tiny_model):
    return replace(load_model(str(tiny_model)), network=Springs())


@pytest.fixture(scope="module")
def water() -> Atoms:
    return water_box(edge=7.4)


def with_fault(model, change):
    return replace(model, network=Changed(change))


def in_kcal_per_mol(e, positions):
    return Evaluation(23.06 * e.energy, 23.06 * e.forces)


def per_bohr(e, positions):
    return Evaluation(e.energy, 1.89 * e.forces)


def step_at_the_cutoff(e, positions):
    inside = len(positions) == 2 and np.linalg.norm(positions[1] - positions[0]) < 2.99
    return Evaluation(e.energy + 2e-3 * inside, e.forces)


def swirl(e, positions):
    """Forces with a curl: no energy has them."""
    return Evaluation(e.energy, e.forces + 0.5 * positions[:, [1, 0, 2]] * np.array([1, -1, 0]))


def bound_to(model, atoms):
    return model.bind(list(atoms.symbols), atoms.cell.array)


def test_a_sound_model_is_green(model, water):
    """Springs are bound to the order of the atoms and to the axes of a box; that much is red."""
    checks = gate.run_gate(model, water, timed=True)
    assert {c.name for c in checks if not c.passed} == {"rotation", "permutation"}
    names = [c.name for c in checks]
    assert len(names) == len(set(names)) == 16
    assert all(np.isfinite(c.value) for c in checks)


@pytest.mark.parametrize(("depth", "holds"), [(0.3, False), (0.8, True)])
def test_weak_bonds_are_found(water, depth, holds):
    """A Morse bond has D (1 - e^(-2 (r - r0)))^2 at the end of the pass, r - r0 = 0.6 angstrom."""
    oxygen, hydrogen = bonds.oh_bonds(water)[0]

    def morse(positions):
        r = np.linalg.norm(positions[hydrogen] - positions[oxygen])
        return Evaluation(depth * (1 - np.exp(-2 * (r - BOND))) ** 2, np.zeros_like(positions))

    whole = water[[oxygen, oxygen + 1, oxygen + 2]]
    oxygen, hydrogen = bonds.oh_bonds(whole)[0]
    (check,) = bonds.bonds_hold(morse, whole)
    barrier = depth * (1 - np.exp(-2 * 0.6)) ** 2
    expected = 2 * 1.0942e14 * 1e-9 * np.exp(-barrier / (8.617333e-5 * 300))
    assert check.value == pytest.approx(expected, rel=1e-3)
    assert check.passed is holds


def test_springs_have_the_wavenumber_of_their_stiffness(model, water):
    (check,) = bonds.units(bound_to(model, water), water)
    mu = 15.999 * 1.008 / 17.007 * 1.66054e-27
    expected = np.sqrt(STIFFNESS * 16.0218 / mu) / (2 * np.pi * 2.99792e10)
    assert check.value == pytest.approx(abs(expected - bonds.STRETCH_PER_CM), abs=60)
    assert check.passed


@pytest.mark.parametrize("fault", [in_kcal_per_mol, per_bohr])
def test_red_on_other_units(model, water, fault):
    broken = with_fault(model, fault)
    assert not bonds.units(bound_to(broken, water), water)[0].passed


def test_units_are_not_checked_without_water(model):
    salt = Atoms("LiCl", [[0, 0, 0], [2.4, 0, 0]], cell=[8] * 3, pbc=True)
    assert bonds.units(bound_to(model, salt), salt) == []


def test_red_on_a_step_at_the_cutoff(model):
    check = gate.smoothness(with_fault(model, step_at_the_cutoff))
    assert not check.passed
    assert check.value == pytest.approx(2.0, rel=0.01)
    assert gate.smoothness(model).value < 0.05


def test_red_on_forces_that_are_no_gradient(model, water):
    random = np.random.default_rng(1)
    sound = gate.constant_energy(bound_to(model, water), water, random)
    broken = bound_to(with_fault(model, swirl), water)
    found = gate.constant_energy(broken, water, np.random.default_rng(1))
    assert all(c.passed for c in sound)
    assert sound[1].value < 0.2
    assert not all(c.passed for c in found)


def test_red_on_another_baseline(model):
    for other in (
        ScreenedCoulomb(BASELINE.charges, 50.0),
        ScreenedCoulomb.of({"Li": 0.8, "Cl": -0.8}, 78.3),
        ScreenedCoulomb((), 78.3),
    ):
        broken = replace(model, baseline=other)
        assert not gate.own_baseline(broken).passed
        assert not gate.ewald_against_direct_sum(broken, np.random.default_rng(0)).passed


@pytest.mark.parametrize("seed", range(4))
def test_ewald_agrees_with_the_direct_sum(model, seed):
    check = gate.ewald_against_direct_sum(model, np.random.default_rng(seed))
    assert check.passed
    assert check.value > 0


@pytest.mark.parametrize(("cation", "charge"), [("Mg", 2.0), ("Al", 3.0)])
def test_ewald_of_other_valences(model, cation, charge):
    baseline = ScreenedCoulomb.of({cation: charge, "Cl": -1.0}, 78.3)
    card = model.card.model_copy(update={"baseline": baseline.to_json()})
    other = replace(model, baseline=baseline, card=card)
    check = gate.ewald_against_direct_sum(other, np.random.default_rng(0))
    assert check.passed
    assert check.value > 0


def test_red_on_nan(model, water):
    broken = with_fault(model, lambda e, x: Evaluation(np.nan, np.full_like(e.forces, np.nan)))
    bound = bound_to(broken, water)
    assert not gate.smoothness(broken).passed
    assert not bonds.units(bound, water)[0].passed
    assert not any(c.passed for c in gate.constant_energy(bound, water, np.random.default_rng(0)))


def test_compiled_and_plain_forms_are_compared(tiny_model, water, monkeypatch):
    """Equal to single precision; a force that is off by 0.2 meV/angstrom on one atom is seen."""
    whole = load_model(str(tiny_model))
    fast = for_dynamics(whole)
    if fast.how == "plain":
        pytest.skip(f"nothing compiled here: {fast.reason}")
    assert [c.passed for c in forms.compiled_equals_plain(whole, water)] == [True, True]

    class Off:
        def bind(self, symbols, cell):
            bound = fast.potential.bind(symbols, cell)

            def evaluate(positions):
                e = bound(positions)
                forces = e.forces.copy()
                forces[3, 1] += 2e-4
                return Evaluation(e.energy + 1e-5 * len(forces), forces)

            return evaluate

    monkeypatch.setattr(forms, "for_dynamics", lambda _model: replace(fast, potential=Off()))
    force, energy = forms.compiled_equals_plain(whole, water)
    assert not force.passed
    assert force.value == pytest.approx(0.2, abs=0.02)
    assert energy.passed
    assert energy.value == pytest.approx(0.01, abs=5e-3)
    monkeypatch.setattr(forms, "for_dynamics", lambda _model: replace(fast, how="plain"))
    assert forms.compiled_equals_plain(whole, water) == []
