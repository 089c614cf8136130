"""Errors per element against a naive recomputation, atom by atom."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.estimate import Evaluation
from bjerrum.potential.evaluate import evaluate
from conftest import water_box


class Wells:
    """A potential that anyone can compute: every atom bound to the origin."""

    def bind(self, symbols, cell):
        return lambda positions: Evaluation(0.5 * float((positions**2).sum()), -positions)


@pytest.fixture(scope="module")
def frames():
    random, result = np.random.default_rng(1), []
    for n_waters in (8, 8, 5):
        atoms = water_box(n_waters, seed=n_waters)
        exact = Wells().bind(None, None)(atoms.positions)
        noise = 0.1 * random.standard_normal(exact.forces.shape)
        energy = exact.energy - 0.02 * len(atoms) + 0.01 * random.standard_normal()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=exact.forces + noise)
        result.append(atoms)
    return result


def test_equals_a_naive_recomputation(frames):
    outcome = evaluate(Wells(), frames)
    for element in ("all", "O", "H", "Li", "Cl"):
        squares, sizes = [], []
        for atoms in frames:
            for k, symbol in enumerate(atoms.symbols):
                if element in ("all", symbol):
                    for axis in range(3):
                        error = -atoms.positions[k, axis] - atoms.get_forces()[k, axis]
                        squares.append(error**2)
                        sizes.append(abs(error))
        rmse = 1e3 * math.sqrt(sum(squares) / len(squares))
        mae = 1e3 * sum(sizes) / len(sizes)
        assert outcome["force_rmse_meV_per_angstrom"][element] == pytest.approx(rmse)
        assert outcome["force_mae_meV_per_angstrom"][element] == pytest.approx(mae)
        assert outcome["force_max_error_meV_per_angstrom"][element] == 1e3 * max(sizes)
    assert outcome["n_frames"] == 3
    assert 80 < outcome["force_rmse_meV_per_angstrom"]["all"] < 120  # noise of 100 meV/angstrom


def test_energy_error_is_per_atom_and_its_mean_is_the_offset(frames):
    outcome = evaluate(Wells(), frames)
    errors = [
        (0.5 * (a.positions**2).sum() - a.get_potential_energy()) / len(a) * 1e3 for a in frames
    ]
    assert outcome["energy_offset_meV_per_atom"] == pytest.approx(np.mean(errors))
    assert outcome["energy_offset_meV_per_atom"] == pytest.approx(20, abs=1)
    expected = math.sqrt(np.mean(errors) ** 2 + np.var(errors))
    assert outcome["energy_rmse_meV_per_atom"] == pytest.approx(expected)


def test_a_perfect_model_has_no_error(frames):
    exact = []
    for atoms in frames:
        result = Wells().bind(None, None)(atoms.positions)
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, energy=result.energy, forces=result.forces)
        exact.append(copy)
    outcome = evaluate(Wells(), exact)
    assert set(outcome["force_rmse_meV_per_angstrom"].values()) == {0.0}
    assert outcome["energy_rmse_meV_per_atom"] == 0.0


def test_without_energies_there_is_no_energy_error(frames):
    bare = frames[0].copy()
    bare.calc = SinglePointCalculator(bare, forces=frames[0].get_forces())
    outcome = evaluate(Wells(), [bare])
    assert outcome["energy_rmse_meV_per_atom"] is None
    assert outcome["energy_offset_meV_per_atom"] is None


def test_reports_each_frame(frames):
    done = []
    evaluate(Wells(), frames, on_frame=done.append)
    assert done == [1, 2, 3]
