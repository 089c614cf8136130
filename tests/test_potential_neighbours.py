"""The Verlet list gives exactly the pairs within the cutoff, and searches only when it must."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import vesin

from bjerrum.potential.neighbours import VerletList

CUBE = 6.0 * np.eye(3)
SLANTED = np.array([[6.5, 0.0, 0.0], [1.5, 6.0, 0.0], [-1.0, 2.0, 7.0]])


def brute_force(positions, cell, cutoff):
    """Every pair of atoms and images, by trying all of them: {(i, j, shift)}."""
    reach = 4  # positions may lie several cells outside
    shifts = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    pairs = set()
    for i, j in itertools.product(range(len(positions)), repeat=2):
        vectors = positions[j] - positions[i] + shifts @ cell
        for k in np.flatnonzero(np.einsum("ij,ij->i", vectors, vectors) < cutoff**2):
            if i != j or shifts[k].any():
                pairs.add((i, j, *shifts[k].tolist()))
    return pairs


def in_order(first, second, shifts):
    columns = np.column_stack([first, second, shifts]).astype(int)
    return columns[np.lexsort(columns.T)]


def as_set(first, second, shifts):
    pairs = [
        (int(i), int(j), *s.astype(int).tolist())
        for i, j, s in zip(first, second, shifts, strict=True)
    ]
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


@pytest.mark.parametrize("cell", [CUBE, SLANTED])
def test_equals_brute_force_along_a_random_walk(cell):
    random = np.random.default_rng(1)
    positions = random.uniform(0, 1, (9, 3)) @ cell
    neighbours = VerletList(cell, 2.9, skin=0.8)
    for _ in range(12):
        assert as_set(*neighbours.pairs(positions)) == brute_force(positions, cell, 2.9)
        positions = positions + random.normal(0, 0.12, positions.shape)
    assert 1 < neighbours.n_searches < 12


def test_equals_vesin_at_every_step_of_a_long_random_walk():
    random = np.random.default_rng(2)
    positions = random.uniform(0, 10, (60, 3))
    cell = 10 * np.eye(3)
    neighbours = VerletList(cell, 3.5)
    exact = vesin.NeighborList(cutoff=3.5, full_list=True)
    for _ in range(100):
        first, second, shifts = exact.compute(positions, cell, periodic=True, quantities="ijS")
        assert np.array_equal(
            in_order(*neighbours.pairs(positions)), in_order(first, second, shifts)
        )
        positions = positions + random.normal(0, 0.02, positions.shape)
    assert 1 < neighbours.n_searches < 30


def test_searches_only_when_an_atom_has_moved_half_the_skin():
    positions = np.random.default_rng(3).uniform(0, 6, (10, 3))
    neighbours = VerletList(CUBE, 2.5, skin=0.8)
    neighbours.pairs(positions)
    for moved, searches in ((0.399, 1), (-0.399, 1), (0.401, 2)):
        there = positions.copy()
        there[4, 1] += moved
        neighbours.pairs(there)
        assert neighbours.n_searches == searches


def test_remembers_the_configuration_and_not_the_array():
    positions = np.random.default_rng(4).uniform(0, 6, (10, 3))
    neighbours = VerletList(CUBE, 2.5)
    neighbours.pairs(positions)
    positions += np.array([3.0, 0.0, 0.0]) * (np.arange(10) % 2)[:, None]  # in place
    assert as_set(*neighbours.pairs(positions)) == brute_force(positions, CUBE, 2.5)


def test_unwrapped_positions_give_the_same_vectors():
    random = np.random.default_rng(5)
    positions = random.uniform(0, 6, (10, 3))
    images = positions + random.integers(-2, 3, (10, 3)) @ SLANTED

    def vectors(r):
        first, second, shifts = VerletList(SLANTED, 2.9).pairs(r)
        d = r[second] - r[first] + shifts @ SLANTED
        return sorted(zip(first, second, *np.round(d, 9).T, strict=True))

    assert np.allclose(vectors(positions), vectors(images), atol=1e-8)
    assert len(vectors(positions)) > 10


def test_pairs_with_own_images_in_a_thin_cell():
    found = as_set(*VerletList(2.0 * np.eye(3), 2.1).pairs(np.zeros((1, 3))))
    assert len(found) == 6


def test_reset_searches_anew_and_gives_the_same_order_as_a_fresh_list():
    random = np.random.default_rng(6)
    positions = random.uniform(0, 6, (12, 3))
    neighbours = VerletList(CUBE, 2.5)
    neighbours.pairs(positions)
    moved = positions + random.uniform(-0.1, 0.1, positions.shape)
    neighbours.pairs(moved)
    assert neighbours.n_searches == 1
    neighbours.reset()
    again, fresh = neighbours.pairs(moved), VerletList(CUBE, 2.5).pairs(moved)
    assert neighbours.n_searches == 2
    assert all(np.array_equal(a, b) for a, b in zip(again, fresh, strict=True))


def test_refuses_positions_that_are_not_numbers():
    positions = np.random.default_rng(7).uniform(0, 6, (10, 3))
    neighbours = VerletList(CUBE, 2.5)
    neighbours.pairs(positions)
    positions[3, 1] = np.nan
    with pytest.raises(RuntimeError, match="non-finite"):
        neighbours.pairs(positions)
