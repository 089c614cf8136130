"""Density modes and structure factors against naive sums, lattices and polynomials."""

from __future__ import annotations

import numpy as np
import pytest

from bjerrum.errors import FrameError, InputError
from bjerrum.properties import structure_factor
from bjerrum.properties.structure_factor import (
    BlockSums,
    density_modes,
    extrapolation_weights,
    lattice_shells,
    partial_structure_factors,
    replica_means,
)
from test_structure import chunk_of, ideal_gas

TRICLINIC = np.array([[9.0, 0.0, 0.0], [2.0, 9.5, 0.0], [-1.5, 1.0, 10.0]])


@pytest.mark.parametrize("cell", [np.eye(3) * 10.0, TRICLINIC])
def test_modes_equal_the_definition(cell, monkeypatch):
    monkeypatch.setattr(structure_factor, "ELEMENTS_AT_ONCE", 500)  # several batches
    random = np.random.default_rng(0)
    positions = 40 * random.random((5, 17, 3)) - 20
    shells = lattice_shells(cell, 2.5)
    found = density_modes(positions @ np.linalg.inv(cell), shells.vectors)
    k = 2 * np.pi * shells.vectors @ np.linalg.inv(cell).T
    for frame in range(5):
        for column, vector in enumerate(k):
            expected = sum(np.exp(1j * (vector @ position)) for position in positions[frame])
            assert found[frame, column] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("cell", [np.eye(3) * 10.0, TRICLINIC])
def test_shells_hold_every_wave_vector_once(cell):
    shells = lattice_shells(cell, 2.5)
    reach = range(-8, 9)
    every = np.array(
        [(x, y, z) for x in reach for y in reach for z in reach if (x, y, z) != (0,) * 3]
    )
    k = 2 * np.pi * np.linalg.norm(every @ np.linalg.inv(cell).T, axis=1)
    assert 2 * len(shells.vectors) == (k <= 2.5).sum()
    both = {tuple(v) for v in shells.vectors} | {tuple(-v) for v in shells.vectors}
    assert len(both) == 2 * len(shells.vectors)
    assert shells.multiplicity.sum() == len(shells.vectors)
    of_vectors = 2 * np.pi * np.linalg.norm(shells.vectors @ np.linalg.inv(cell).T, axis=1)
    np.testing.assert_allclose(of_vectors, np.repeat(shells.k, shells.multiplicity))
    assert (np.diff(shells.k) > 0).all()


def test_a_lattice_scatters_at_its_reciprocal_points_only():
    """A simple cubic lattice of spacing 2.5: S = N at k = 2 pi/2.5, zero elsewhere."""
    axis = np.arange(4) * 2.5
    points = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
    chunk = chunk_of(np.repeat(points, 30, axis=0), ("O",) * 64, [10.0] * 3)
    found = partial_structure_factors([[chunk]], ["O"], k_max=2.6)
    bragg = np.isclose(found.k, 2 * np.pi / 2.5)
    assert bragg.sum() == 1
    values = found.values[("O", "O")]
    # one shell holds all of |n| = 4; of its vectors only (4 0 0) and its like are Bragg points
    vectors = lattice_shells(np.eye(3) * 10, 2.6)
    inside = vectors.vectors[vectors.starts[bragg.argmax()] :][
        : vectors.multiplicity[bragg.argmax()]
    ]
    share = (np.sort(np.abs(inside), axis=1) == [0, 0, 4]).all(axis=1).mean()
    assert values[bragg] == pytest.approx(64 * share)
    np.testing.assert_allclose(values[~bragg], 0.0, atol=1e-9)


def test_an_ideal_gas_scatters_evenly_and_its_species_apart():
    found = partial_structure_factors([[ideal_gas(400, seed=s)] for s in range(2)], ["Li", "O"])
    for pair, expected in {("Li", "Li"): 1.0, ("O", "O"): 1.0, ("Li", "O"): 0.0}.items():
        deviation = (found.values[pair] - expected) / found.standard_errors[pair]
        assert 0.6 < np.sqrt(np.mean(deviation**2)) < 1.5, pair


@pytest.mark.parametrize(("window", "power"), [("linear", 1), ("quadratic", 2)])
def test_the_extrapolation_is_exact_for_its_polynomial(window, power):
    shells = lattice_shells(np.eye(3) * 25.26)
    weights = extrapolation_weights(shells, window)
    for exponent in range(power + 1):
        expected = 1.0 if exponent == 0 else 0.0
        assert weights @ shells.k ** (2 * exponent) == pytest.approx(expected, abs=1e-9)
    assert abs(weights @ shells.k ** (2 * power + 2)) > 1e-4


def test_the_extrapolation_equals_a_weighted_fit():
    shells = lattice_shells(np.eye(3) * 40.0)
    values = np.random.default_rng(1).random(len(shells.k))
    inside = shells.k <= 0.8
    k, s, m = shells.k[inside], values[inside], shells.multiplicity[inside]
    fit = np.polyfit(k**2, s, 2, w=np.sqrt(m))
    assert extrapolation_weights(shells, "quadratic") @ values == pytest.approx(fit[-1])


def test_small_boxes_are_refused():
    with pytest.raises(InputError, match="use a larger box"):
        extrapolation_weights(lattice_shells(np.eye(3) * 14.0), "quadratic")
    with pytest.raises(InputError, match="no wave vector"):
        lattice_shells(np.eye(3) * 5.0)


def test_block_sums_keep_every_frame_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(structure_factor, "MAX_BLOCKS", 8)
    frames = np.random.default_rng(2).random((77, 3))
    sums = BlockSums((3,))
    for start in range(0, 77, 10):
        sums.add(frames[start : start + 10])
    np.testing.assert_allclose(sums.mean(), frames.mean(axis=0))
    length = sums.frames_per_block
    assert length == 16
    blocks = sums.means()
    assert len(blocks) < 8
    np.testing.assert_allclose(blocks[1], frames[length : 2 * length].mean(axis=0))
    np.testing.assert_allclose(sums.means(32)[0], frames[:32].mean(axis=0))
    other = BlockSums((3,))
    other.add(frames[:40])
    assert {block.shape[1:] for block in replica_means([sums, other])} == {(3,)}


def test_wrong_input_is_named():
    gas = ideal_gas(10)
    with pytest.raises(InputError, match="no Cl in the trajectory; it holds Li, O"):
        partial_structure_factors([[gas]], ["Cl"])
    with pytest.raises(FrameError, match="atoms change"):
        partial_structure_factors([[gas, ideal_gas(10, counts=(13, 30))]], ["Li"])
    with pytest.raises(InputError, match="no frames"):
        partial_structure_factors([[]], ["Li"])
