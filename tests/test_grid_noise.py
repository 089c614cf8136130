"""Averages over translations and net forces, against closed forms and least squares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from bjerrum.errors import InputError
from bjerrum.reference.grid_noise import grid_shifts, without_net_force

WAVES = [w for w in itertools.product(range(-4, 5), repeat=3) if any(w)]


def average(n: int, wave: tuple[int, ...], position: np.ndarray) -> float:
    return float(np.cos(2 * np.pi * (grid_shifts(n) + position) @ np.array(wave)).mean())


@pytest.mark.parametrize("position", [(0.0, 0.0, 0.0), (0.137, 0.291, 0.466)])
def test_two_positions_cancel_every_wave_of_odd_sum_exactly(position):
    u = np.array(position)
    for wave in WAVES:
        untouched = np.cos(2 * np.pi * u @ np.array(wave))
        expected = 0.0 if sum(wave) % 2 else untouched
        assert average(2, wave, u) == pytest.approx(expected, abs=1e-12), wave


def test_four_positions_leave_waves_that_are_all_odd_or_all_even():
    u = np.array([0.137, 0.291, 0.466])
    for wave in WAVES:
        untouched = np.cos(2 * np.pi * u @ np.array(wave))
        expected = untouched if len({k % 2 for k in wave}) == 1 else 0.0
        assert average(4, wave, u) == pytest.approx(expected, abs=1e-12), wave


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_first_position_is_the_frame_itself(n):
    shifts = grid_shifts(n)
    assert shifts.shape == (n, 3)
    assert not shifts[0].any()


@pytest.mark.parametrize("n", [0, 3, 8, -1])
def test_other_numbers_are_refused(n):
    with pytest.raises(InputError, match=f"translations: expected one of 1, 2, 4, got {n}"):
        grid_shifts(n)


@pytest.mark.parametrize("symbols", ["OHHLiCl", "HHHH", "OOFF", "ONaClK"])
def test_the_net_force_is_zero(symbols):
    from ase import Atoms

    names = Atoms(symbols).get_chemical_symbols()
    forces = np.random.default_rng(3).normal(size=(len(names), 3))
    balanced = without_net_force(forces, names)
    np.testing.assert_allclose(balanced.sum(axis=0), 0.0, atol=1e-13)
    np.testing.assert_allclose(without_net_force(balanced, names), balanced, atol=1e-13)


def test_one_element_shares_the_net_force_equally():
    forces = np.array([[1.0, 0.0, 3.0], [2.0, 0.0, 0.0], [3.0, -6.0, 0.0]])
    expected = forces - np.array([2.0, -2.0, 1.0])
    for element in ("O", "H"):
        np.testing.assert_allclose(without_net_force(forces, [element] * 3), expected, atol=1e-13)


def test_oxygen_gives_back_what_it_brought():
    forces = np.zeros((4, 3))
    balanced = without_net_force(forces + np.array([0.1, 0, 0]), ["O", "H", "H", "Li"])
    assert balanced[0, 0] == pytest.approx(0.1 - 0.4 / 1.003, rel=1e-12)
    assert abs(balanced[1:, 0] - 0.1).max() < 5e-4


def test_balanced_forces_are_the_nearest_in_units_of_their_errors():
    """Minimise sum |g - f|^2 / v under sum g = 0 numerically."""
    symbols = ["O", "H", "H", "F", "Li"]
    variance = np.array([1.0, 1e-3, 1e-3, 1.0, 1e-3])
    forces = np.random.default_rng(4).normal(size=(5, 3))
    for axis in range(3):
        f = forces[:, axis]
        found = minimize(
            lambda g, f=f: float(((g - f) ** 2 / variance).sum()),
            f,
            jac=lambda g, f=f: 2 * (g - f) / variance,
            constraints={"type": "eq", "fun": lambda g: g.sum(), "jac": lambda g: np.ones(5)},
            method="SLSQP",
            options={"ftol": 1e-14},
        )
        np.testing.assert_allclose(without_net_force(forces, symbols)[:, axis], found.x, atol=1e-6)
