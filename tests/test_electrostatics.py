"""The screened Coulomb baseline: units, screening, identity; the sums are tested in test_ewald."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError
from bjerrum.units import COULOMB_CONSTANT

LICL = ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 78.304)
FRAMES = Path(__file__).parents[2] / "shared" / "data" / "licl_nnp1" / "frames.extxyz"
SYMBOLS = ["Li", "Cl", "O", "H", "H"]
CELL = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 1.5, 10.0]])
POSITIONS = np.array([[0.5, 0.2, 0.1], [3.0, 2.5, 2.0], [6.0, 5.0, 5.0], [6.9, 5, 5], [6, 5.9, 5]])


def evaluate(baseline, symbols=SYMBOLS, positions=POSITIONS, cell=CELL):
    return baseline.bind(symbols, cell)(positions)


def test_crystal_energy_in_electronvolt():
    """Rock salt with the edge of LiCl: -M k_e/d per formula unit, M = 1.747564594633."""
    edge = 5.130
    crystal = Atoms("LiCl", [[0, 0, 0], [edge / 2] * 3], cell=(1 - np.eye(3)) * edge / 2, pbc=True)
    vacuum = ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 1.0)
    energy = evaluate(vacuum, crystal.symbols, crystal.positions, crystal.cell.array).energy
    assert energy == pytest.approx(-1.747564594633 * COULOMB_CONSTANT / (edge / 2), rel=1e-8)


@pytest.mark.parametrize("partner", ["Cl", "Li"])
def test_two_ions_in_a_huge_box(partner):
    """U(r) = z z k_e/(eps r) once the images are taken out.

    In a cube of edge L: psi(r) = 1/r - 2.837297/L + 2 pi r^2/(3 L^3) + O(r^4/L^5), an ion's own
    energy is -2.837297/(2 L) (Makov & Payne, Phys. Rev. B 51, 4014 (1995)).
    """
    edge, wigner = 100.0, -2.837297
    product = -1 if partner == "Cl" else 1
    for r in (2.4, 7.0, 10.0):
        direction = np.array([0.6, 0.0, 0.8])
        positions = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0] + r * direction])
        result = evaluate(LICL, ["Li", partner], positions, edge * np.eye(3))
        images = (1 + product) * wigner / edge + product * 2 * np.pi * r**2 / (3 * edge**3)
        factor = COULOMB_CONSTANT / LICL.dielectric_constant
        assert result.energy - factor * images == pytest.approx(factor * product / r, rel=3e-5)
        expected = factor * product / r**2 * direction
        np.testing.assert_allclose(result.forces[1], expected, atol=0.005 * factor / r**2)


def test_one_ion_has_the_wigner_energy():
    result = evaluate(LICL, ["Li"], np.array([[1.0, 2.0, 3.0]]), 13.8674 * np.eye(3))
    expected = -2.837297 * COULOMB_CONSTANT / (2 * 13.8674 * LICL.dielectric_constant)
    assert result.energy == pytest.approx(expected, rel=3e-7)


@pytest.mark.parametrize("dielectric_constant", [2.0, 50.0, 78.304])
def test_screening(dielectric_constant):
    bare = evaluate(ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 1.0))
    screened = evaluate(ScreenedCoulomb.of({"Li": 1, "Cl": -1}, dielectric_constant))
    assert screened.energy == pytest.approx(bare.energy / dielectric_constant, rel=1e-12)
    np.testing.assert_allclose(screened.forces, bare.forces / dielectric_constant, atol=1e-15)


def test_water_is_not_charged():
    with_water, ions_alone = evaluate(LICL), evaluate(LICL, SYMBOLS[:2], POSITIONS[:2])
    assert with_water.energy == ions_alone.energy
    np.testing.assert_array_equal(with_water.forces[:2], ions_alone.forces)
    np.testing.assert_array_equal(with_water.forces[2:], 0)
    assert np.abs(with_water.forces[:2]).min() > 1e-4


def test_pure_water_has_no_baseline():
    result = evaluate(LICL, ["O", "H", "H"], POSITIONS[2:])
    assert result.energy == 0
    np.testing.assert_array_equal(result.forces, np.zeros((3, 3)))


def test_forces_are_the_negative_gradient_and_sum_to_zero():
    forces = LICL.bind(SYMBOLS, CELL)
    random = np.random.default_rng(0)
    direction = random.standard_normal(POSITIONS.shape)
    left, right = (forces(POSITIONS + k * 1e-3 * direction).energy for k in (-1, 1))
    slope = (right - left) / 2e-3
    assert np.sum(forces(POSITIONS).forces * direction) == pytest.approx(-slope, abs=1e-7)
    np.testing.assert_allclose(forces(POSITIONS).forces.sum(axis=0), 0, atol=1e-15)


def test_the_order_of_the_atoms_does_not_matter():
    order = np.array([3, 1, 4, 0, 2])
    straight = evaluate(LICL)
    shuffled = evaluate(LICL, [SYMBOLS[k] for k in order], POSITIONS[order])
    assert shuffled.energy == pytest.approx(straight.energy, rel=1e-12)
    np.testing.assert_allclose(shuffled.forces, straight.forces[order], atol=1e-15)


def test_a_later_change_of_the_cell_does_not_reach_a_bound_function():
    cell = CELL.copy()
    forces = LICL.bind(SYMBOLS, cell)
    before = forces(POSITIONS).energy
    cell *= 2
    assert forces(POSITIONS).energy == before


def test_round_trip_through_json():
    text = json.dumps(LICL.to_json())
    assert ScreenedCoulomb.from_json(json.loads(text)) == LICL
    assert json.loads(text) == {
        "kind": "screened_coulomb",
        "charges_e": {"Cl": -1.0, "Li": 1.0},
        "dielectric_constant": 78.304,
        "ewald_accuracy": 1e-8,
    }


def test_equality():
    assert ScreenedCoulomb.of({"Cl": -1, "O": 0, "Li": 1.0}, 78.304) == LICL
    assert ScreenedCoulomb((("Li", 1), ("Cl", -1)), 78.304) == LICL
    assert hash(ScreenedCoulomb.of({"Cl": -1, "Li": 1}, 78.304)) == hash(LICL)
    assert ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 78.3) != LICL
    assert ScreenedCoulomb.of({"K": 1, "Cl": -1}, 78.304) != LICL
    assert ScreenedCoulomb(LICL.charges, 78.304, 1e-6) != LICL


def test_texts_of_different_baselines_differ():
    assert str(LICL) == "Cl -1, Li +1, dielectric constant 78.304, Ewald accuracy 1e-08"
    assert str(ScreenedCoulomb.of({}, 78)).startswith("no charges, dielectric constant 78, ")
    others = [ScreenedCoulomb(LICL.charges, eps, 1e-8) for eps in (78.3, 78.30401)]
    others.append(ScreenedCoulomb(LICL.charges, 78.304, 1e-6))
    assert len({str(LICL), *map(str, others)}) == 4


@pytest.mark.parametrize("bad", [0.999, 0.0, -78.3, np.nan, np.inf])
def test_no_dielectric_constant(bad):
    with pytest.raises(InputError, match="dielectric constant: expected a number of at least 1"):
        ScreenedCoulomb.of({"Li": 1}, bad)


@pytest.mark.parametrize("bad", [0.0, 0.1, np.nan, 1e-16])
def test_no_accuracy(bad):
    with pytest.raises(InputError, match="Ewald accuracy: expected between"):
        ScreenedCoulomb((("Li", 1.0),), 78.3, bad)


@pytest.mark.parametrize(
    ("charges", "message"),
    [
        ({"LI": 1}, "expected element symbols, got 'LI'"),
        ({"X": 1}, "expected element symbols, got 'X'"),
        ({"Li": np.nan}, "expected a number in e for Li, got nan"),
        ({"Li": np.inf}, "expected a number in e for Li, got inf"),
    ],
)
def test_no_charges(charges, message):
    with pytest.raises(InputError, match=message):
        ScreenedCoulomb.of(charges, 78.3)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {**LICL.to_json(), "kind": "none"},
        {**LICL.to_json(), "charges_e": None},
        {**LICL.to_json(), "charges_e": {"Li": "one"}},
        {key: value for key, value in LICL.to_json().items() if key != "ewald_accuracy"},
        {**LICL.to_json(), "dielectric_constant": None},
    ],
)
def test_damaged_json(data):
    with pytest.raises(InputError, match="baseline: "):
        ScreenedCoulomb.from_json(data)


@pytest.mark.parametrize("cell", [np.zeros((3, 3)), np.diag([9.0, 9, 0]), np.full((3, 3), np.nan)])
def test_no_cell(cell):
    with pytest.raises(InputError, match="expected a periodic cell with a volume"):
        LICL.bind(SYMBOLS, cell)


def test_the_published_size_of_the_force_on_an_ion():
    """5 meV/angstrom per component, recomputed from the frames of arXiv:2310.12535."""
    if not FRAMES.is_file():
        pytest.skip(f"{FRAMES} is absent")
    squares = []
    for atoms in ase.io.iread(FRAMES, index="::66"):
        forces = LICL.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions).forces
        squares.append(forces[np.isin(atoms.symbols, ["Li", "Cl"])] ** 2)
    assert 1e3 * np.sqrt(np.mean(squares)) == pytest.approx(5, abs=1)
