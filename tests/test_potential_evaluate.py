"""Errors per element against a naive recomputation, atom by atom."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.errors import InputError
from bjerrum.estimate import Evaluation
from bjerrum.potential.evaluate import DISTANCE_EDGES, evaluate, summarise
from bjerrum.potential.figures import write_evaluation_figure
from bjerrum.potential.residuals import Residuals, collect_residuals
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


def test_errors_by_the_nearest_ion_against_a_naive_search(frames):
    found = evaluate(Wells(), frames, ions=["Cl", "Li"])["force_rmse_by_nearest_ion"]
    assert set(found) == {"O", "H", "Li", "Cl"}
    for element, ion in (("O", "Li"), ("H", "Cl"), ("Li", "Cl"), ("Li", "Li")):
        squares = {}
        for atoms in frames:
            shifts = [i * atoms.cell[0] + j * atoms.cell[1] + k * atoms.cell[2]
                      for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]  # fmt: skip
            for a in np.flatnonzero(atoms.symbols == element):
                nearest = np.inf
                for b in np.flatnonzero(atoms.symbols == ion):
                    if a == b:
                        continue
                    vectors = atoms.positions[b] - atoms.positions[a] + np.array(shifts)
                    nearest = min(nearest, np.linalg.norm(vectors, axis=1).min())
                error = -atoms.positions[a] - atoms.get_forces()[a]
                for low, high in pairwise(DISTANCE_EDGES):
                    if low <= nearest < high:
                        squares.setdefault(low, []).append(error**2)
        rows = {row["from_angstrom"]: row for row in found[element][ion]}
        assert rows.keys() == squares.keys()
        for low, values in squares.items():
            assert rows[low]["n_atoms"] == len(values)
            expected = 1e3 * math.sqrt(np.mean(values))
            assert rows[low]["force_rmse_meV_per_angstrom"] == pytest.approx(expected)


def residuals_of(errors, spread):
    n = len(errors)
    return Residuals(
        1, np.array(["O"] * n), np.zeros((n, 3)), errors, spread, {}, np.array([])
    )  # fmt: skip


def test_calibration_of_errors_that_the_spread_predicts():
    random = np.random.default_rng(5)
    spread = random.uniform(0.005, 0.05, 20000)
    errors = 2.5 * spread[:, None] * random.standard_normal((20000, 3))
    found = summarise(residuals_of(errors, spread))["committee"]
    assert found["factor"] == pytest.approx(2.5, rel=0.02)
    assert found["within"] == pytest.approx(0.6827, abs=0.01)
    assert found["rank_correlation"] > 0.7
    assert [b["n_atoms"] for b in found["bins"]] == [2000] * 10
    for row in found["bins"]:
        assert row["error_meV_per_angstrom"] / row["spread_meV_per_angstrom"] == pytest.approx(
            2.5, rel=0.06
        )


def test_calibration_of_a_spread_that_says_nothing():
    random = np.random.default_rng(6)
    spread = random.uniform(0.005, 0.05, 5000)
    errors = 0.02 * random.standard_normal((5000, 3))
    found = summarise(residuals_of(errors, spread))["committee"]
    assert abs(found["rank_correlation"]) < 0.05
    ratios = [b["error_meV_per_angstrom"] / b["spread_meV_per_angstrom"] for b in found["bins"]]
    assert ratios[0] > 5 * ratios[-1]
    assert summarise(residuals_of(errors, np.zeros(5000)))["committee"]["factor"] is None


def test_the_figure_is_one_file_with_the_numbers(frames, tmp_path):
    residuals = collect_residuals(Wells(), frames, ions=["Cl", "Li"])
    path = write_evaluation_figure(residuals, summarise(residuals), "wells", tmp_path / "e.html")
    page = path.read_text()
    assert "wells" in page
    assert "https://cdn.plot.ly" not in page.split("<body>")[0]
    with pytest.raises(InputError, match="HTML"):
        write_evaluation_figure(residuals, summarise(residuals), "wells", tmp_path / "e.png")


def test_refuses_frames_without_forces(frames):
    with pytest.raises(InputError, match="got none"):
        evaluate(Wells(), [])
    with pytest.raises(InputError, match="frame 0 has none"):
        evaluate(Wells(), [frames[0].copy()])
