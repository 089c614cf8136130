"""The wall: ZBL against a naive sum and published numbers, zero on data, smooth, and it repels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms

from bjerrum.errors import InputError
from bjerrum.frames import contact_distance
from bjerrum.potential.contacts import (
    FRACTIONS,
    axial_forces,
    contact_check,
    contact_pairs,
    with_safe_contacts,
)
from bjerrum.potential.model import load_model
from bjerrum.potential.repulsion import Repulsion, fit_repulsion
from conftest import water_box

WALL = Repulsion(
    ((("Cl", "Li"), 2.2), (("H", "O"), 0.85), (("Li", "Li"), 2.5)),
    strength=2.0,
    gaps=((("H", "O"), (1.13, 1.3)),),
    gap_height=1.5,
)


def naive(symbols, r, outer, strength):
    """Return the energy of one pair, written out from the paper."""
    z = {"Li": 3, "Cl": 17, "O": 8, "H": 1}
    z1, z2 = (z[s] for s in symbols)
    x = r / (0.8854 * 0.529177 / (z1**0.23 + z2**0.23))
    phi = (
        0.1818 * math.exp(-3.2 * x)
        + 0.5099 * math.exp(-0.9423 * x)
        + 0.2802 * math.exp(-0.4029 * x)
        + 0.02817 * math.exp(-0.2016 * x)
    )
    inner = 0.75 * outer
    u = min(max((outer - r) / (outer - inner), 0), 1)
    return strength * 14.399645 * z1 * z2 / r * phi * u**3 * (10 - 15 * u + 6 * u * u)


@pytest.mark.parametrize("r", [0.9, 1.5, 1.8, 2.0, 2.19, 2.3])
def test_a_pair_has_the_universal_energy(r):
    forces = WALL.bind(["Li", "Cl"], 20 * np.eye(3))
    energy = forces(np.array([[0, 0, 0], [0.0, r, 0]])).energy
    assert energy == pytest.approx(naive(("Li", "Cl"), r, 2.2, 2.0), rel=2e-3, abs=1e-12)


@pytest.mark.parametrize("r", [1.0, 1.13, 1.16, 1.215, 1.28, 1.3, 1.4])
def test_a_bar_stands_between_bonds_and_hydrogen_bonds(r):
    """Its height in the middle, nothing outside; the compiled form and the gradient agree."""
    from bjerrum.potential.fused.coulomb import BoundWall

    positions = np.array([[0.0, 0, 0], [0.6 * r, 0, 0.8 * r]])
    result = WALL.bind(["O", "H"], 20 * np.eye(3))(positions)
    u = min(max((r - 1.13) / 0.17, 0.0), 1.0)
    assert result.energy == pytest.approx(1.5 * 64 * u**3 * (1 - u) ** 3, abs=1e-12)
    if r == 1.215:
        assert result.energy == pytest.approx(1.5)
    if r in (1.0, 1.13, 1.3, 1.4):
        assert np.abs(result.forces).max() < 1e-12
    wall = BoundWall(WALL, ["H", "O"])
    assert wall.reach == 1.3
    first, second = np.array([0, 1]), np.array([1, 0])
    pairs = (first, second, np.zeros((2, 3)))
    energy, forces, virial = wall.evaluate(np.array([1, 0], dtype=np.int32), positions, pairs)
    assert energy == pytest.approx(result.energy, abs=1e-12)
    np.testing.assert_allclose(forces, result.forces, atol=1e-10)
    np.testing.assert_allclose(virial, np.outer(positions[1], result.forces[1]), atol=1e-10)


def water(bond, other):
    """Return two atoms O and H at a bond, and a second H at another distance."""
    return Atoms("OH2", [[0, 0, 0], [bond, 0, 0], [0, other, 0]], cell=[9] * 3, pbc=True)


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ([(0.97, 1.8)], (1.13, 1.3)),
        ([(1.10, 1.36)], (1.13, 1.3)),
        ([(1.15, 1.36)], (1.15, 1.3)),
        ([(0.97, 1.8), (0.99, 1.27)], (1.13, 1.27)),
        ([(1.17, 1.24)], None),  # protons on their way: nothing is left out
    ],
)
def test_the_bar_stands_only_where_no_data_are(distances, expected):
    frames = [water(*each) for each in distances]
    gaps = dict(fit_repulsion(frames, ("H", "O"), 1.0).gaps)
    assert gaps.get(("H", "O")) == (None if expected is None else pytest.approx(expected))
    without = [Atoms("Li", cell=[9] * 3, pbc=True)]
    assert fit_repulsion(without, ("H", "Li", "O"), 1.0).gaps == ()


@pytest.mark.parametrize("bond", [0.7, 1.18])
def test_forces_are_the_gradient_in_a_crowd(bond):
    random = np.random.default_rng(1)
    symbols = ["Li"] * 6 + ["Cl"] * 6 + ["O", "H"]  # the pair inside the wall, then on the bar
    cell = np.array([[5.0, 0, 0], [1.0, 5.0, 0], [0, 0.5, 5.0]])
    positions = random.uniform(0, 1, (14, 3)) @ cell
    positions[-1] = positions[-2] + [bond, 0, 0]
    forces = WALL.bind(symbols, cell)
    result = forces(positions)
    assert np.abs(result.forces.sum(axis=0)).max() < 1e-9
    for atom in (0, 3, 7, 13):
        for axis in range(3):
            energies = []
            for step in (1e-5, -1e-5):
                moved = positions.copy()
                moved[atom, axis] += step
                energies.append(forces(moved).energy)
            slope = (energies[0] - energies[1]) / 2e-5
            assert -slope == pytest.approx(result.forces[atom, axis], rel=1e-5, abs=1e-5)


def test_zero_at_the_data_that_it_was_fitted_to():
    frames = [water_box(seed=k) for k in range(3)]
    wall = fit_repulsion(frames, ("Cl", "H", "Li", "O"), 1.0)
    outer = dict(wall.outer)
    assert set(outer) >= {("H", "O"), ("Li", "O"), ("Cl", "Cl"), ("Li", "Li")}
    assert outer[("Li", "Li")] == contact_distance("Li", "Li")
    bond = min(a.get_distance(0, 1, mic=True) for a in frames)
    assert outer[("H", "O")] <= 0.95 * bond  # longer runs come closer than a few frames
    for atoms in frames:
        result = wall.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
        assert result.energy == 0.0
        assert not result.forces.any()
    squeezed = frames[0].copy()
    squeezed.positions[1] = squeezed.positions[0] + [0.5, 0, 0]
    assert wall.bind(list(squeezed.symbols), squeezed.cell.array)(squeezed.positions).energy > 10


@pytest.mark.parametrize(
    ("pair", "expected"),
    [(("O", "H"), 0.97), (("Li", "O"), 1.94), (("Li", "Li"), 2.56), (("Cl", "Cl"), 3.5)],
)
def test_contact_distances(pair, expected):
    assert contact_distance(*pair) == contact_distance(*pair[::-1]) == pytest.approx(expected)


def test_the_wall_is_written_and_read():
    assert Repulsion.from_json(WALL.to_json()) == WALL
    for data in ({}, {**WALL.to_json(), "kind": "lj"}, {**WALL.to_json(), "strength": "x"}):
        with pytest.raises(InputError):
            Repulsion.from_json(data)
    for gap in ([1.3, 1.1], [1.1], "x"):
        with pytest.raises(InputError):
            Repulsion.from_json({**WALL.to_json(), "gaps_angstrom": {"H-O": gap}})
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="positive"):
            Repulsion(((("Li", "Li"), bad),))


class Attraction:
    """Every atom of a pair pulls with 3 eV/angstrom at any distance."""

    def __init__(self, network):
        self.elements, self.cutoff, self.members = network.elements, network.cutoff, (network,)

    def bind(self, symbols, cell):
        from bjerrum.estimate import Evaluation

        def pull(positions):
            vector = positions[1] - positions[0]
            r = np.linalg.norm(vector)
            return Evaluation(3.0 * r, np.array([3.0 * vector / r, -3.0 * vector / r]))

        return pull


def test_a_network_that_attracts_fails_and_the_wall_mends_it(tiny_model):
    from dataclasses import replace

    model = load_model(str(tiny_model))
    model = replace(model, network=Attraction(model.network))
    assert set(contact_pairs(model)) >= {("O", "H"), ("Li", "Li"), ("Li", "O"), ("Cl", "Cl")}
    check = contact_check(model)
    assert not check.passed
    assert check.value == pytest.approx(3.0, abs=0.2)  # and the Coulomb part
    wall = fit_repulsion([Atoms("Li", cell=[9] * 3, pbc=True)], model.card.elements, 1.0)
    mended = with_safe_contacts(model, wall)
    assert contact_check(mended).passed
    assert mended.repulsion.strength > 1
    for pair in contact_pairs(mended):
        assert axial_forces(mended, *pair).min() >= 1.0 - 1e-6
    assert with_safe_contacts(mended, wall) == mended
    assert FRACTIONS.min() == 0.5


def test_the_inside_of_two_walls_is_the_shorter_distance_of_each_pair():
    one = Repulsion(((("Li", "O"), 1.8), (("O", "O"), 2.4)), 2.0)
    other = Repulsion(((("Cl", "O"), 2.9), (("Li", "O"), 1.7)), 1.0)
    both = one.inside(other)
    assert both == Repulsion(((("Cl", "O"), 2.9), (("Li", "O"), 1.7), (("O", "O"), 2.4)), 2.0)
    assert other.inside(one).outer == both.outer
    assert one.inside(one) == one
    wide = Repulsion((), gaps=((("H", "O"), (1.13, 1.3)),))
    narrow = Repulsion((), gaps=((("H", "O"), (1.15, 1.29)),))
    assert wide.inside(narrow).gaps == narrow.inside(wide).gaps == narrow.gaps
    assert wide.inside(one).gaps == one.inside(wide).gaps == ()
