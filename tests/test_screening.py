"""Screening against closed forms: dipoles with a known S_ZZ, lattices, Debye lengths."""

from __future__ import annotations

import numpy as np
import pytest

from bjerrum.errors import FrameError, InputError, SeriesTooShort
from bjerrum.properties.screening import ScreeningAccumulator, inverse_debye_length
from bjerrum.trajectory import TrajectoryChunk
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3, bjerrum_length
from test_structure import chunk_of

EDGE, PAIRS, LENGTH = 25.0, 24, 1.7


def dipoles(n_frames: int, seed: int, distance: float = LENGTH) -> TrajectoryChunk:
    """Cations anywhere, each with an anion at a fixed distance in a random direction."""
    random = np.random.default_rng(seed)
    cations = EDGE * random.random((n_frames, PAIRS, 3))
    direction = random.normal(size=cations.shape)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    positions = np.concatenate([cations, cations + distance * direction], axis=1)
    return chunk_of(positions, ("Li",) * PAIRS + ("Cl",) * PAIRS, [EDGE] * 3)


def test_debye_length_of_one_molar():
    """3.04 angstrom at 25 C in water (Israelachvili, Intermolecular and Surface Forces)."""
    density = MOL_PER_LITRE_IN_PER_ANGSTROM3
    kappa = inverse_debye_length(
        {"Li": density, "Cl": density}, {"Li": 1, "Cl": -1}, bjerrum_length(78.3, 298.15)
    )
    assert 1 / kappa == pytest.approx(3.04, abs=0.01)


def test_dipoles_have_their_closed_form():
    """S_ZZ(k) = 1 - sin(k d)/(k d), whose limit is k^2 d^2/6: the ratio is kappa^2 d^2/6."""
    accumulator = ScreeningAccumulator()
    for seed in range(2):
        accumulator.add_run([dipoles(1500, seed)])
    result = accumulator.result(78.3, 298.15)
    expected = 1 - np.sinc(result.k * LENGTH / np.pi)
    deviation = (result.s_zz - expected) / result.s_zz_standard_error
    assert 0.6 < np.sqrt(np.mean(deviation**2)) < 1.5
    exact = (result.kappa * LENGTH) ** 2 / 6
    assert result.ratio.value == pytest.approx(exact, abs=4 * result.ratio.standard_error)
    assert result.ratio.standard_error < 0.05 * exact
    assert result.effective_dielectric_constant.value == pytest.approx(78.3 * result.ratio.value)


def test_ions_that_do_not_know_of_each_other_do_not_screen():
    random = np.random.default_rng(5)
    positions = EDGE * random.random((800, 2 * PAIRS, 3))
    accumulator = ScreeningAccumulator()
    accumulator.add_run([chunk_of(positions, ("K",) * PAIRS + ("Br",) * PAIRS, [EDGE] * 3)])
    result = accumulator.result(78.3, 298.15)
    assert np.mean(result.s_zz) == pytest.approx(1.0, abs=0.01)
    assert result.ratio.value > 4


def test_water_between_the_ions_changes_nothing():
    dry = dipoles(200, 1)
    water = EDGE * np.random.default_rng(9).random((200, 30, 3))
    wet = chunk_of(
        np.concatenate([dry.positions, water], axis=1),
        (*dry.symbols, *("O", "H", "H") * 10),
        [EDGE] * 3,
    )
    results = []
    for chunk in (dry, wet):
        accumulator = ScreeningAccumulator(k_max=1.0)
        accumulator.add_run([chunk])
        results.append(accumulator.result(78.3, 298.15).s_zz)
    np.testing.assert_allclose(*results)


def test_divalent_ions_count_with_their_charge():
    random = np.random.default_rng(5)
    positions = EDGE * random.random((400, 30, 3))
    accumulator = ScreeningAccumulator(k_max=1.0)
    accumulator.add_run([chunk_of(positions, ("Mg",) * 10 + ("Cl",) * 20, [EDGE] * 3)])
    result = accumulator.result(78.3, 298.15)
    assert np.mean(result.s_zz) == pytest.approx(1.0, abs=0.02)
    strength = (10 * 4 + 20) / EDGE**3
    assert result.kappa**2 == pytest.approx(4 * np.pi * bjerrum_length(78.3, 298.15) * strength)


def test_unusable_input_is_refused():
    with pytest.raises(InputError, match="neutral"):
        ScreeningAccumulator({"Li": 1.0, "Cl": -2.0}).add_run([dipoles(5, 1)])
    with pytest.raises(InputError, match="no Na"):
        ScreeningAccumulator({"Li": 1.0, "Cl": -1.0, "Na": 1.0}).add_run([dipoles(5, 1)])
    with pytest.raises(InputError, match="no frames"):
        ScreeningAccumulator().add_run([])
    accumulator = ScreeningAccumulator()
    accumulator.add_run([dipoles(1, 1)])
    with pytest.raises(SeriesTooShort):
        accumulator.result(78.3, 298.15)
    with pytest.raises(InputError, match="dielectric"):
        accumulator.result(0.3, 298.15)
    changed = dipoles(5, 1)
    other = chunk_of(changed.positions[:, ::-1], changed.symbols[::-1], [EDGE] * 3)
    with pytest.raises(FrameError, match="atoms change"):
        accumulator.add_run([other])
