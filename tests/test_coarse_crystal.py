"""Rock salt: the order parameter on known lattices, crystals that must stay and that must go."""

from __future__ import annotations

import numpy as np
import pytest

from bjerrum.coarse.basis import Basis, force_columns
from bjerrum.coarse.crystal import STRETCHES, _order, crystal_run, ordered_part, rock_salt
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.simulate import shaken_lattice
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError

IONS, CONSTANT = ("Na", "Cl"), 5.64


def a_potential(dielectric: float) -> CoarsePotential:
    """Ions with a core alone; at a low dielectric constant they are a molten or frozen salt."""
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.4, 2.7, 3.4), spacing=0.5, n_radial=0)
    baseline = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, dielectric)
    return CoarsePotential(basis, np.zeros(basis.n_pair), baseline)


def test_a_perfect_cube_is_ordered_to_its_corners():
    box, places = rock_salt(IONS, 3, CONSTANT, 4.0)
    assert (box.n_cations, box.n_anions) == (108, 108)
    part, constant = ordered_part(places, box, CONSTANT)
    assert part == 1.0
    assert constant == pytest.approx(CONSTANT, rel=1e-9)
    grown = ordered_part(places * 1.02, box, CONSTANT)[1]
    assert grown == pytest.approx(1.02 * CONSTANT, rel=1e-9)


def test_thermal_ions_are_ordered_and_half_a_crystal_is_half():
    """Displacements of 0.2 angstrom, as of NaCl at 300 K; then half of the ions are dissolved."""
    box, places = rock_salt(IONS, 3, CONSTANT, 4.0)
    random = np.random.default_rng(2)
    part, constant = ordered_part(places + random.normal(0, 0.2, places.shape), box, CONSTANT)
    assert part > 0.9
    assert constant == pytest.approx(CONSTANT, rel=0.01)
    dissolved = shaken_lattice(box, random)
    left = places[:, 0] < box.edge / 2
    half, _ = ordered_part(np.where(left[:, None], places, dissolved), box, CONSTANT)
    assert half == pytest.approx(0.5, abs=0.06)


def test_bonds_at_random_have_the_order_of_the_integral():
    """<cos^2 sin^2> = 2/15 for random directions, so that the order is 7/15."""
    random = np.random.default_rng(3)
    bonds = random.normal(size=(1200, 3))
    bonds /= np.linalg.norm(bonds, axis=1)[:, None]
    ends = np.arange(1, 1201)
    assert _order(0 * ends, ends, bonds, 1201)[0] == pytest.approx(7 / 15, abs=0.01)


def test_a_solution_has_no_order():
    box, _ = rock_salt(IONS, 3, CONSTANT, 4.0)
    part, constant = ordered_part(shaken_lattice(box, np.random.default_rng(1)), box, CONSTANT)
    assert part < 0.03
    assert constant is None


@pytest.mark.parametrize(("dielectric", "verdict"), [(3.0, "stays"), (300.0, "dissolves")])
def test_strong_attraction_keeps_a_crystal_and_weak_does_not(dielectric, verdict):
    run = crystal_run(
        a_potential(dielectric), temperature=300.0, time_ps=15.0, molarity=4.0, cells=3
    )
    assert run.verdict == verdict
    assert len(run.course) == STRETCHES
    assert run.to_json()["experimental_lattice_constant_angstrom"] == pytest.approx(5.64, abs=0.01)


def test_forces_in_a_crystal_are_those_of_all_its_neighbours():
    """Rock salt has 80 ions within 7 angstrom: none may be left out of the three-body terms."""
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.0, 2.2, 3.0), spacing=0.5, n_radial=3)
    coefficients = np.random.default_rng(1).normal(0, 1e-3, basis.n_coefficients)
    potential = CoarsePotential(basis, coefficients, ScreenedCoulomb.of({}, 72.0))
    box, places = rock_salt(IONS, 3, CONSTANT, 4.0)
    places = places + np.random.default_rng(2).uniform(-0.1, 0.1, places.shape)
    found = potential.engine(box.symbols, box.edges).forces(places)[0]
    expected = force_columns(basis, box.symbols, box.edges, places) @ coefficients
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_denser_than_the_crystal_is_refused():
    with pytest.raises(InputError, match="denser than the crystal"):
        rock_salt(IONS, 3, CONSTANT, 40.0)
