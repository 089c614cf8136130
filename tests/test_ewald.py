"""Ewald sums against lattice constants, a plain direct sum and a plain Ewald sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.special import erfc

from bjerrum import ewald as module
from bjerrum.ewald import Ewald, EwaldParameters

CUBIC, FCC = np.eye(3), np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
CRYSTALS = {  # cell, position of the anion, nearest-neighbour distance, Madelung constant
    "NaCl": (FCC, [0.5, 0.5, 0.5], 0.5, 1.747564594633),
    "CsCl": (CUBIC, [0.5, 0.5, 0.5], np.sqrt(3) / 2, 1.762674773071),
    "zincblende": (FCC, [0.25, 0.25, 0.25], np.sqrt(3) / 4, 1.638055053389),
}
"""Madelung constants: Y. Sakamoto, J. Chem. Phys. 28, 164 (1958)."""

WIGNER = -2.837297
"""A charge in a cubic box and uniform background has the energy WIGNER q^2/(2 L): G. Makov and
M. C. Payne, Phys. Rev. B 51, 4014 (1995)."""


def naive_ewald(charges, cell, positions, smearing, *, reach=6.5):
    """Loops over images and wave vectors as the formula in the module's docstring is written."""
    inverse, volume = np.linalg.inv(cell), abs(np.linalg.det(cell))
    positions = (positions @ inverse % 1) @ cell
    r_max, k_max = reach * smearing, reach / smearing
    real = 0.0
    for image in lattice(cell, r_max + np.linalg.norm(cell, axis=1).sum()):
        r = np.linalg.norm(positions[:, None] - positions[None] + image, axis=-1)
        near = (r < r_max) & (r > 1e-9)
        pairs = np.outer(charges, charges)[near]
        real += 0.5 * np.sum(pairs * erfc(r[near] / (np.sqrt(2) * smearing)) / r[near])
    k = np.array([v for v in lattice(2 * np.pi * inverse.T, k_max) if 0 < v @ v < k_max**2])
    k2 = np.sum(k**2, axis=1)
    structure = np.exp(1j * k @ positions.T) @ charges
    wave = np.sum(np.exp(-k2 * smearing**2 / 2) / k2 * np.abs(structure) ** 2)
    own = np.sum(charges**2) / (np.sqrt(2 * np.pi) * smearing)
    background = np.pi * charges.sum() ** 2 * smearing**2 / volume
    return real + 2 * np.pi / volume * wave - own - background


def lattice(vectors, radius):
    """Integer combinations of the rows of ``vectors``, at least all within ``radius``."""
    n = np.ceil(radius * np.linalg.norm(np.linalg.inv(vectors), axis=0)).astype(int)
    grids = np.meshgrid(*[np.arange(-m, m + 1) for m in n], indexing="ij")
    points = np.stack(grids, axis=-1).reshape(-1, 3) @ vectors
    return points[np.linalg.norm(points, axis=1) <= radius]


def ions(seed, n=6, *, edge=9.0, sheared=True, charges=None):
    """A random configuration: charges, cell, positions, no two ions closer than 1.2 angstrom."""
    random = np.random.default_rng(seed)
    cell = np.diag(random.uniform(0.7, 1.4, 3) * edge)
    if sheared:
        cell += np.tril(random.uniform(-0.6, 0.6, (3, 3)), -1) * edge
    positions = np.empty((0, 3))
    while len(positions) < n:
        new = random.random(3) @ cell
        fractions = (positions - new) @ np.linalg.inv(cell)
        apart = (fractions - np.round(fractions)) @ cell
        if len(positions) == 0 or np.linalg.norm(apart, axis=1).min() > 1.2:
            positions = np.vstack([positions, new])
    charges = np.resize([1.0, -1.0], n) if charges is None else np.array(charges, dtype=float)
    return charges, cell, positions


@pytest.mark.parametrize("scale", [1.0, 5.64])
@pytest.mark.parametrize("crystal", CRYSTALS)
def test_madelung_constants(crystal, scale):
    cell, anion, distance, madelung = CRYSTALS[crystal]
    positions = scale * np.array([[0.0, 0.0, 0.0], anion])
    energy, forces = Ewald(np.array([1.0, -1.0]), scale * cell, 1e-8)(positions)
    assert energy * scale * distance == pytest.approx(-madelung, rel=1e-9)
    assert np.abs(forces).max() < 1e-8 / scale**2


@pytest.mark.parametrize("accuracy", [1e-4, 1e-6, 1e-10, 1e-12])
def test_madelung_constant_to_the_accuracy_that_is_asked_for(accuracy):
    cell, anion, distance, madelung = CRYSTALS["NaCl"]
    energy, _ = Ewald(np.array([1.0, -1.0]), cell, accuracy)(np.array([[0.0, 0.0, 0.0], anion]))
    assert energy * distance == pytest.approx(-madelung, rel=0.1 * accuracy, abs=1e-12)


def test_evjen_sum_of_rock_salt():
    """A direct sum without any Ewald: a cube of ions whose faces, edges, corners count in part."""
    n = np.arange(-14, 15)
    x, y, z = np.meshgrid(n, n, n, indexing="ij")
    share = np.prod([np.where(np.abs(c) == 14, 0.5, 1.0) for c in (x, y, z)], axis=0)
    r = np.sqrt(x**2 + y**2 + z**2)
    r[14, 14, 14] = np.inf
    direct = 0.5 * 2 * np.sum(share * (-1.0) ** (x + y + z) / r)
    energy, _ = Ewald(np.array([1.0, -1.0]), 2 * FCC, 1e-8)(np.array([[0, 0, 0], [1.0, 1, 1]]))
    assert energy == pytest.approx(direct, abs=2e-5)


@pytest.mark.parametrize("seed", range(2))
def test_direct_sum_with_a_convergence_factor(seed):
    """Sum over cells n with the weight exp(-s n^2), s -> 0, less 2 pi M^2/(3 V) for tin foil.

    de Leeuw, Perram & Smith, Proc. R. Soc. A 373, 27 (1980).
    """
    edge = 9.0
    charges, _, positions = ions(seed, 4, sheared=False)
    positions %= edge
    images = lattice(np.eye(3), 26.0)
    separation = positions[:, None, None] - positions[None, :, None] + edge * images
    r = np.linalg.norm(separation, axis=-1)
    r[r < 1e-9] = np.inf
    weight = np.exp(-0.02 * np.sum(images**2, axis=1))
    s, s2, s4 = (
        0.5 * np.einsum("i,j,ijn,n", charges, charges, 1 / r, weight**power) for power in (1, 2, 4)
    )
    limit = (8 * s - 6 * s2 + s4) / 3
    dipole = charges @ positions
    tin_foil = limit - 2 * np.pi / (3 * edge**3) * dipole @ dipole
    energy, _ = Ewald(charges, edge * np.eye(3), 1e-8)(positions)
    assert energy == pytest.approx(tin_foil, abs=5e-6)


@pytest.mark.parametrize(
    ("seed", "charges"),
    [(0, None), (1, [1, 1, -2]), (2, [1, -1, 1, 1]), (3, [2, 1])],
    ids=["1:1", "2:1", "net charge", "cations alone"],
)
def test_plain_ewald_sum_in_a_sheared_cell(seed, charges):
    charges, cell, positions = ions(seed, 6 if charges is None else len(charges), charges=charges)
    length = abs(np.linalg.det(cell)) ** (1 / 3)
    narrow, wide = (naive_ewald(charges, cell, positions, length / part) for part in (9, 7))
    assert narrow == pytest.approx(wide, rel=1e-8)
    energy, _ = Ewald(charges, cell, 1e-10)(positions)
    assert energy == pytest.approx(narrow, rel=1e-8)


@pytest.mark.parametrize("charge", [1.0, -2.0])
@pytest.mark.parametrize("edge", [1.0, 25.26])
def test_a_single_charge_in_its_background(charge, edge):
    energy, forces = Ewald(np.array([charge]), edge * np.eye(3), 1e-8)(np.array([[0.1, 0.2, 0.3]]))
    assert energy == pytest.approx(WIGNER * charge**2 / (2 * edge), rel=3e-7)
    assert np.abs(forces).max() < 1e-12


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), sheared=st.booleans(), digits=st.integers(3, 11))
def test_the_stated_accuracy_is_kept(seed, sheared, digits):
    charges, cell, positions = ions(seed, 2 + seed % 5, sheared=sheared)
    accuracy, length = 10.0**-digits, abs(np.linalg.det(cell)) ** (1 / 3)
    energy, forces = Ewald(charges, cell, accuracy)(positions)
    exact, exact_forces = Ewald(charges, cell, 1e-14)(positions)
    assert abs(energy - exact) < 0.1 * accuracy * np.sum(charges**2) / length
    scale = np.sqrt(np.sum(charges**2)) / length**2
    assert np.linalg.norm(forces - exact_forces, axis=1).max() < accuracy * scale


@pytest.mark.parametrize("cutoff", [0.4, 0.55, 1.1])
def test_the_split_between_the_sums_does_not_matter(cutoff, monkeypatch):
    charges, cell, positions = ions(4)
    energy, forces = Ewald(charges, cell, 1e-10)(positions)
    before = EwaldParameters.for_cell(cell, 1e-10)
    monkeypatch.setattr(module, "_CUTOFF_PER_LENGTH", cutoff)
    assert EwaldParameters.for_cell(cell, 1e-10) != before
    other, other_forces = Ewald(charges, cell, 1e-10)(positions)
    assert other == pytest.approx(energy, abs=1e-10)
    np.testing.assert_allclose(other_forces, forces, atol=1e-10)


def test_wrapping_does_not_matter():
    charges, cell, positions = ions(5)
    energy, forces = Ewald(charges, cell, 1e-8)(positions)
    jumps = np.random.default_rng(0).integers(-3, 4, positions.shape)
    moved, moved_forces = Ewald(charges, cell, 1e-8)(positions + jumps @ cell + [1.0, -20.0, 3.0])
    assert moved == pytest.approx(energy, abs=1e-11)
    np.testing.assert_allclose(moved_forces, forces, atol=1e-11)


@pytest.mark.parametrize("repeats", [(2, 1, 1), (1, 3, 1), (2, 2, 2)])
def test_supercells_have_as_many_times_the_energy(repeats):
    charges, cell, positions = ions(6, 4)
    energy, forces = Ewald(charges, cell, 1e-10)(positions)
    shifts = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
    n = len(shifts)
    many = np.concatenate([positions + shift @ cell for shift in shifts])
    big, big_forces = Ewald(np.tile(charges, n), np.diag(repeats) @ cell, 1e-10)(many)
    assert big == pytest.approx(n * energy, abs=1e-9)
    np.testing.assert_allclose(big_forces, np.tile(forces, (n, 1)), atol=1e-9)


@pytest.mark.parametrize(
    "basis",
    [
        [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 0], [0, 0, -1]],
        [[1, 2, 0], [0, 1, -1], [0, 0, 1]],
    ],
    ids=["swapped", "left-handed", "sheared"],
)
def test_the_choice_of_cell_vectors_does_not_matter(basis):
    charges, cell, positions = ions(7)
    energy, forces = Ewald(charges, cell, 1e-10)(positions)
    other, other_forces = Ewald(charges, np.array(basis, dtype=float) @ cell, 1e-10)(positions)
    assert other == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(other_forces, forces, atol=1e-9)


def test_rotation():
    charges, cell, positions = ions(8)
    turn = Rotation.from_euler("xyz", [0.3, -1.2, 2.0]).as_matrix()
    energy, forces = Ewald(charges, cell, 1e-10)(positions)
    turned, turned_forces = Ewald(charges, cell @ turn.T, 1e-10)(positions @ turn.T)
    assert turned == pytest.approx(energy, abs=1e-11)
    np.testing.assert_allclose(turned_forces, forces @ turn.T, atol=1e-11)


def test_scaling():
    """Twice the charges: four times the energy; twice the lengths: half."""
    charges, cell, positions = ions(9)
    energy, forces = Ewald(charges, cell, 1e-8)(positions)
    doubled, _ = Ewald(2 * charges, cell, 1e-8)(positions)
    assert doubled == pytest.approx(4 * energy, rel=1e-12)
    stretched, stretched_forces = Ewald(charges, 2 * cell, 1e-8)(2 * positions)
    assert stretched == pytest.approx(energy / 2, rel=1e-12)
    np.testing.assert_allclose(stretched_forces, forces / 4, atol=1e-12)


@pytest.mark.parametrize("charges", [[1, -1, 1, -1], [1, 1, -1, 1]], ids=["neutral", "net charge"])
def test_forces_are_the_negative_gradient(charges):
    charges, cell, positions = ions(10, 4, charges=charges)
    ewald = Ewald(charges, cell, 1e-10)
    _, forces = ewald(positions)
    step = 1e-3
    for i, axis in np.ndindex(positions.shape):
        moved = [positions.copy() for _ in range(4)]
        for copy, k in zip(moved, (-2, -1, 1, 2), strict=True):
            copy[i, axis] += k * step
        far_left, left, right, far_right = (ewald(p)[0] for p in moved)
        slope = (8 * (right - left) - (far_right - far_left)) / (12 * step)
        assert forces[i, axis] == pytest.approx(-slope, abs=1e-9)


def test_no_net_force():
    charges, cell, positions = ions(11, 8)
    _, forces = Ewald(charges, cell, 1e-4)(positions)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-13)


def test_the_same_call_twice_gives_the_same_bits():
    charges, cell, positions = ions(12)
    ewald = Ewald(charges, cell, 1e-8)
    energy, forces = ewald(positions)
    ewald(positions + 1.0)
    again, again_forces = ewald(positions)
    assert (again, again_forces.tobytes()) == (energy, forces.tobytes())


def test_every_wave_vector_of_the_sphere_is_summed():
    """torch-pme's own mesh would hold half the radius, and for even sizes one side only."""
    import torch

    _, cell, _ = ions(13)
    vectors = module._reciprocal_vectors(torch.from_numpy(cell), 3.0).numpy()
    expected = lattice(2 * np.pi * np.linalg.inv(cell).T, 3.0)
    assert {tuple(k) for k in np.round(vectors, 9) + 0.0} == {
        tuple(k) for k in np.round(expected, 9) + 0.0
    }
