"""The classical reference against closed forms, published numbers and its own conservation laws."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.build import molecule
from openmm import unit
from scipy.special import erfc

from bjerrum.errors import FrameError, InputError, PhysicsCheckFailed
from bjerrum.reference.classical import (
    SPCE_JOUNG_CHEATHAM,
    ClassicalReference,
    NvtRun,
    build_system,
    check_nvt,
    derived_seed,
    run_nvt,
    sample_nvt,
)
from bjerrum.reference.classical_system import (
    count_waters,
    default_cutoff,
    whole_molecules,
    wrapped_molecules,
)
from bjerrum.units import BOLTZMANN, COULOMB_CONSTANT

KCAL_PER_MOL = 4.184e3 / (6.02214076e23 * 1.602176634e-19)

# Joung & Cheatham, J. Phys. Chem. B 112, 9020 (2008), set for SPC/E:
# charge, R_min/2 in angstrom, epsilon in kcal/mol.
JOUNG_CHEATHAM = {
    "Li": (1, 0.791, 0.3367344),
    "Na": (1, 1.212, 0.3526418),
    "K": (1, 1.593, 0.4297054),
    "Rb": (1, 1.737, 0.4451036),
    "Cs": (1, 2.021, 0.0898565),
    "F": (-1, 2.257, 0.0074005),
    "Cl": (-1, 2.711, 0.0127850),
    "Br": (-1, 2.751, 0.0269586),
    "I": (-1, 2.919, 0.0427845),
}
# Berendsen, Grigera, Straatsma, J. Phys. Chem. 91, 6269 (1987): charge, sigma (angstrom),
# epsilon (0.650 kJ/mol).
SPCE_OXYGEN = (-0.8476, 3.166, 0.650e3 / (6.02214076e23 * 1.602176634e-19))


def water_at(x: float, y: float = 0.0, z: float = 0.0) -> Atoms:
    return Atoms("OH2", SPCE_JOUNG_CHEATHAM.water_positions() + np.array([x, y, z]))


def water_lattice(n_per_edge: int = 3, spacing: float = 3.104) -> Atoms:
    """Randomly turned waters on a cubic lattice at 1 g/cm3, no outside program needed."""
    rng = np.random.default_rng(5)
    atoms = Atoms(cell=[n_per_edge * spacing] * 3, pbc=True)
    for index in np.ndindex(n_per_edge, n_per_edge, n_per_edge):
        one = Atoms("OH2", SPCE_JOUNG_CHEATHAM.water_positions())
        one.euler_rotate(*rng.uniform(0, 360, 3), center=(0, 0, 0))
        one.translate(spacing * np.array(index))
        atoms += one
    return atoms


def ions_in_water() -> Atoms:
    """27 sites of a cubic lattice: 25 waters, then Li and Cl."""
    atoms = water_lattice(3, 3.3)
    sites = atoms.positions[[0, 39]]
    del atoms[[0, 1, 2, 39, 40, 41]]
    return atoms + Atoms("LiCl", sites)


def pair_sum(atoms: Atoms) -> float:
    """Coulomb and Lennard-Jones energy between molecules, eV, by the published parameters."""
    sites = []
    for symbol in atoms.symbols:
        if symbol == "O":
            sites.append(SPCE_OXYGEN)
        elif symbol == "H":
            sites.append((0.4238, 0.0, 0.0))
        else:
            charge, half_minimum, epsilon = JOUNG_CHEATHAM[symbol]
            sites.append((charge, 2 * half_minimum / 2 ** (1 / 6), epsilon * KCAL_PER_MOL))
    n_waters = atoms.symbols.count("O")
    molecules = [k // 3 if k < 3 * n_waters else k for k in range(len(atoms))]
    energy = 0.0
    for i, j in combinations(range(len(atoms)), 2):
        if molecules[i] == molecules[j]:
            continue
        r = np.linalg.norm(atoms.positions[i] - atoms.positions[j])
        sigma, epsilon = (sites[i][1] + sites[j][1]) / 2, np.sqrt(sites[i][2] * sites[j][2])
        energy += COULOMB_CONSTANT * sites[i][0] * sites[j][0] / r
        energy += 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
    return float(energy)


def ewald_pair(r: float, edge: float) -> float:
    """Coulomb energy of +1 and -1 a distance r apart along x, cubic images, eV (naive Ewald)."""
    charges, positions = np.array([1.0, -1.0]), np.array([[0.0, 0, 0], [r, 0, 0]])
    alpha = 6 / edge
    images = np.array(list(np.ndindex(5, 5, 5))) - 2
    energy = 0.0
    for i, j in np.ndindex(2, 2):
        distances = np.linalg.norm(positions[i] - positions[j] + edge * images, axis=1)
        distances = distances[distances > 1e-9]
        energy += 0.5 * charges[i] * charges[j] * (erfc(alpha * distances) / distances).sum()
    waves = np.array(list(np.ndindex(25, 25, 25))) - 12
    k = 2 * np.pi / edge * waves[np.any(waves != 0, axis=1)]
    k2 = (k**2).sum(axis=1)
    structure = np.abs((charges[:, None] * np.exp(1j * positions @ k.T)).sum(axis=0)) ** 2
    energy += (2 * np.pi / edge**3 * structure * np.exp(-k2 / (4 * alpha**2)) / k2).sum()
    energy -= alpha / np.sqrt(np.pi) * (charges**2).sum()
    return COULOMB_CONSTANT * float(energy)


class TestPublishedParameters:
    @pytest.mark.parametrize("symbol", JOUNG_CHEATHAM)
    def test_ions_are_joung_cheatham(self, symbol: str) -> None:
        _, system = build_system(Atoms([symbol]))
        force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
        charge, sigma, epsilon = force.getParticleParameters(0)
        expected = JOUNG_CHEATHAM[symbol]
        assert charge / unit.elementary_charge == expected[0]
        half_minimum = sigma.value_in_unit(unit.angstrom) * 2 ** (1 / 6) / 2
        assert half_minimum == pytest.approx(expected[1], abs=5e-4)
        kcal_per_mol = epsilon.value_in_unit(unit.kilocalorie_per_mole)
        assert kcal_per_mol == pytest.approx(expected[2], abs=5e-8)

    def test_water_is_spce(self) -> None:
        _, system = build_system(water_at(0))
        force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
        charge, sigma, epsilon = force.getParticleParameters(0)
        assert charge / unit.elementary_charge == -0.8476
        assert sigma.value_in_unit(unit.angstrom) == pytest.approx(3.166, abs=1e-3)
        assert epsilon.value_in_unit(unit.kilojoule_per_mole) == pytest.approx(0.650, abs=1e-3)
        charge, _, epsilon = force.getParticleParameters(1)
        assert charge / unit.elementary_charge == 0.4238
        assert epsilon / unit.kilojoule_per_mole == 0

    def test_constraints_hold_the_geometry_of_the_spec(self) -> None:
        _, system = build_system(water_at(0))
        positions = SPCE_JOUNG_CHEATHAM.water_positions()
        assert system.getNumConstraints() == 3
        for k in range(3):
            i, j, length = system.getConstraintParameters(k)
            expected = np.linalg.norm(positions[i] - positions[j])
            assert length.value_in_unit(unit.angstrom) == pytest.approx(expected, abs=1e-5)


class TestEnergyAndForces:
    @pytest.mark.parametrize(
        "atoms",
        [
            Atoms("LiCl", [[0, 0, 0], [3.1, 0, 0]]),
            Atoms("KI", [[0, 0, 0], [50.0, 0, 0]]),
            Atoms("NaNa", [[0, 0, 0], [0, 4.0, 0]]),
            water_at(0) + water_at(2.8),
            water_at(0) + water_at(0.5, 4.0, 1.0) + Atoms("LiBr", [[-2, 0, 0], [0, -3.4, 0]]),
        ],
        ids=["LiCl", "KI far", "NaNa", "water dimer", "cluster"],
    )
    def test_cluster_equals_the_pair_sum_by_hand(self, atoms: Atoms) -> None:
        energy, _ = ClassicalReference().energy_and_forces(atoms)
        assert energy == pytest.approx(pair_sum(atoms), rel=5e-4)  # the file rounds sigma

    def test_ions_far_apart_see_the_coulomb_force_alone(self) -> None:
        atoms = Atoms("CsF", [[0, 0, 0], [200.0, 0, 0]])
        energy, forces = ClassicalReference().energy_and_forces(atoms)
        assert energy == pytest.approx(-COULOMB_CONSTANT / 200, rel=1e-6)
        assert forces[0] == pytest.approx([COULOMB_CONSTANT / 200**2, 0, 0], rel=1e-6, abs=1e-12)

    def test_a_single_rigid_water_has_no_energy(self) -> None:
        energy, forces = ClassicalReference().energy_and_forces(water_at(1, 2, 3))
        assert energy == 0
        assert np.abs(forces).max() == 0

    def test_periodic_coulomb_equals_a_naive_ewald_sum(self) -> None:
        edge = 24.0
        reference = ClassicalReference()

        def energy(r: float) -> float:
            atoms = Atoms("NaCl", [[0, 0, 0], [r, 0, 0]], cell=[edge] * 3, pbc=True)
            return reference.energy_and_forces(atoms)[0]

        # Both beyond the Lennard-Jones cutoff: the constant tail correction cancels.
        expected = ewald_pair(12.0, edge) - ewald_pair(9.5, edge)
        assert energy(12.0) - energy(9.5) == pytest.approx(expected, abs=2e-5)

    def test_forces_are_minus_the_gradient(self) -> None:
        atoms = ions_in_water()
        reference = ClassicalReference()
        _, forces = reference.energy_and_forces(atoms)
        step = 2e-4
        for index, axis in [(0, 0), (1, 1), (31, 2), (75, 0), (76, 1)]:
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[index, axis] += sign * step
                energies.append(reference.energy_and_forces(moved)[0])
            slope = (energies[0] - energies[1]) / (2 * step)
            assert forces[index, axis] == pytest.approx(-slope, abs=2e-5)

    def test_images_of_molecules_and_atoms_do_not_matter(self) -> None:
        atoms = ions_in_water()
        moved = atoms.copy()
        moved.positions[[1, 30, 75]] += atoms.cell.array[0]
        moved.positions[[2, 76]] -= 2 * atoms.cell.array[2]
        reference = ClassicalReference()
        energy, forces = reference.energy_and_forces(atoms)
        energy_moved, forces_moved = reference.energy_and_forces(moved)
        assert energy_moved == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(forces_moved, forces, atol=1e-9)

    def test_one_object_serves_different_boxes_in_turn(self) -> None:
        pair = Atoms("LiCl", [[0, 0, 0], [3.0, 0, 0]])
        reference = ClassicalReference()
        first = reference.energy_and_forces(pair)[0]
        reference.energy_and_forces(water_at(0))
        larger = pair.copy()
        larger.set_cell([30] * 3)
        larger.pbc = True
        assert reference.energy_and_forces(larger)[0] != first
        assert reference.energy_and_forces(pair)[0] == first

    def test_a_bent_water_is_refused(self) -> None:
        with pytest.raises(FrameError, match="O-H"):
            ClassicalReference().energy_and_forces(molecule("H2O")[[0, 1, 2]])

    @pytest.mark.parametrize(
        ("atoms", "message"),
        [
            (Atoms("HOH"), r"atom 0 \(H\)"),
            (Atoms("LiOH2"), r"atom 1 \(O\)"),
            (Atoms("ZnCl2"), r"atom 0 \(Zn\)"),
        ],
    )
    def test_other_molecules_are_refused(self, atoms: Atoms, message: str) -> None:
        with pytest.raises(FrameError, match=message):
            ClassicalReference().energy_and_forces(atoms)

    def test_nan_is_refused(self) -> None:
        with pytest.raises(FrameError, match="NaN"):
            ClassicalReference().energy_and_forces(Atoms("Li", [[np.nan, 0, 0]]))

    def test_a_skewed_or_half_periodic_cell_is_refused(self) -> None:
        skewed = Atoms("Li", cell=[[20, 0, 0], [5, 20, 0], [0, 0, 20]], pbc=True)
        slab = Atoms("Li", cell=[20, 20, 20], pbc=[True, True, False])
        for atoms in (skewed, slab):
            with pytest.raises(FrameError, match="orthorhombic"):
                ClassicalReference().energy_and_forces(atoms)


class TestSystem:
    @pytest.mark.parametrize(("edge", "expected"), [(13.8, 0.49 * 13.8), (40.0, 9.0)])
    def test_the_cutoff_stays_below_half_the_edge(self, edge: float, expected: float) -> None:
        assert default_cutoff(Atoms("Li", cell=[edge] * 3, pbc=True)) == pytest.approx(expected)

    def test_a_tiny_box_is_refused(self) -> None:
        with pytest.raises(InputError, match="use more waters"):
            build_system(Atoms("Li", cell=[8.0] * 3, pbc=True))

    def test_moving_mass_to_hydrogen_keeps_the_molecule_heavy(self) -> None:
        atoms = water_at(0) + Atoms("Li", [[5, 0, 0]])
        masses = []
        for hydrogen in (None, 4.0):
            _, system = build_system(atoms, hydrogen_mass_amu=hydrogen)
            masses.append([system.getParticleMass(k) / unit.dalton for k in range(4)])
        assert sum(masses[1]) == pytest.approx(sum(masses[0]))
        assert masses[1][1:3] == [4.0, 4.0]
        assert masses[1][3] == masses[0][3]

    def test_wrapping_keeps_molecules_whole_and_inside(self) -> None:
        atoms = ions_in_water()
        atoms.positions += [40.0, -25.0, 3.0]
        atoms.positions[1] += atoms.cell.array[1]
        n_waters = count_waters(atoms)
        edge = atoms.cell[0, 0]
        positions = wrapped_molecules(atoms, n_waters)
        first = [*range(0, 3 * n_waters, 3), *range(3 * n_waters, len(atoms))]
        assert positions[first].min() >= 0
        assert positions[first].max() <= edge
        shifts = (positions - atoms.positions) / edge
        np.testing.assert_allclose(shifts, np.round(shifts), atol=1e-9)
        bonds = np.linalg.norm(
            positions[1 : 3 * n_waters : 3] - positions[: 3 * n_waters : 3], axis=1
        )
        np.testing.assert_allclose(bonds, 1.0, atol=1e-9)
        np.testing.assert_allclose(whole_molecules(atoms, n_waters)[first], atoms.positions[first])

    def test_seeds_differ_between_streams_and_are_never_zero(self) -> None:
        seeds = {derived_seed(seed, stream) for seed in range(50) for stream in range(3)}
        assert len(seeds) == 150
        assert min(seeds) > 0
        assert max(seeds) < 2**31
        for wrong in (-1, 1.5, True):
            with pytest.raises(InputError, match="seed"):
                derived_seed(wrong, 0)  # type: ignore[arg-type]


class TestDynamics:
    def test_two_runs_agree_bit_for_bit_and_seeds_matter(self) -> None:
        atoms = ions_in_water()
        first, again, other = (
            sample_nvt(atoms, temperature=300, time_ps=0.4, seed=seed) for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(first.positions, again.positions)
        np.testing.assert_array_equal(first.potential_energy, again.potential_energy)
        assert np.abs(first.positions - other.positions).max() > 0.1

    def test_published_energy_of_spce_water_and_rigid_molecules(self) -> None:
        """U = -46.7 kJ/mol per molecule at 298 K and 1 g/cm3.

        Berendsen et al. (1987): -41.4 kJ/mol, which includes the self-polarisation of 5.22.
        64 waters for 16 ps: statistical error about 0.2, the short cutoff about as much.
        """
        atoms = water_lattice(4)
        run = sample_nvt(
            atoms, temperature=298.15, time_ps=16, seed=1, timestep_fs=4, hydrogen_mass_amu=4
        )
        figures = check_nvt(run, temperature=298.15)
        per_molecule = (
            figures["potential_energy_ev"] / 64 / (1e3 / (6.02214076e23 * 1.602176634e-19))
        )
        assert per_molecule == pytest.approx(-46.7, abs=0.8)
        assert run.n_degrees_of_freedom == 6 * 64
        waters = run.positions[-1].reshape(64, 3, 3)
        bonds = np.linalg.norm(waters[:, 1:] - waters[:, :1], axis=2)
        np.testing.assert_allclose(bonds, 1.0, atol=1e-4)
        np.testing.assert_allclose(
            np.linalg.norm(waters[:, 1] - waters[:, 2], axis=1),
            2 * np.sin(np.radians(109.47 / 2)),
            atol=1e-4,
        )

    def test_run_nvt_returns_a_wrapped_box_and_keeps_info(self) -> None:
        atoms = ions_in_water()
        atoms.info["salt"] = "LiCl"
        result = run_nvt(
            atoms,
            temperature=350,
            time_ps=8,
            seed=2,
            timestep_fs=4,
            hydrogen_mass_amu=4,
            friction_per_ps=5,
        )
        assert result.info == {"salt": "LiCl"}
        assert list(result.numbers) == list(atoms.numbers)
        assert np.array_equal(result.cell.array, atoms.cell.array)
        np.testing.assert_allclose(result.positions, wrapped_molecules(result, 25), atol=1e-9)
        assert np.abs(result.positions - atoms.positions).max() > 1

    def test_held_ions_stay_while_water_moves_at_the_temperature(self) -> None:
        atoms = ions_in_water()
        run = sample_nvt(
            atoms,
            temperature=300,
            time_ps=6,
            seed=2,
            timestep_fs=4,
            hold_ions=True,
            hydrogen_mass_amu=4,
            friction_per_ps=5,
        )
        np.testing.assert_allclose(run.positions[-1, 75:], atoms.positions[75:], atol=1e-6)
        assert np.abs(run.positions[-1, :75] - atoms.positions[:75]).max() > 1
        assert run.n_degrees_of_freedom == 6 * 25
        assert run.temperature[20:].mean() == pytest.approx(300, abs=25)

    def test_a_run_too_short_to_check_is_refused_at_once(self) -> None:
        with pytest.raises(InputError, match="8 ps"):
            run_nvt(ions_in_water(), temperature=300, time_ps=2, seed=0)

    @pytest.mark.parametrize(
        "wrong",
        [{"timestep_fs": 3.0}, {"timestep_fs": -1.0}, {"time_ps": 0.0}, {"temperature": -5.0}],
    )
    def test_times_and_temperatures_that_make_no_sense(self, wrong: dict[str, float]) -> None:
        settings = {"temperature": 300.0, "time_ps": 1.0} | wrong
        with pytest.raises(InputError):
            sample_nvt(ions_in_water(), seed=0, **settings)


def synthetic_run(
    *, temperature: float = 300.0, drift: float = 0.0, seed: int = 0, n_samples: int = 200
) -> NvtRun:
    """Uncorrelated canonical noise of 500 degrees of freedom."""
    rng = np.random.default_rng(seed)
    n_free = 500
    kinetic = rng.gamma(n_free / 2, BOLTZMANN * temperature, n_samples)
    return NvtRun(
        positions=np.zeros((n_samples, 1, 3)),
        time_ps=np.arange(n_samples) * 0.1,
        temperature=2 * kinetic / (n_free * BOLTZMANN),
        potential_energy=rng.normal(-40, 0.5, n_samples) + np.linspace(0, drift, n_samples),
        n_degrees_of_freedom=n_free,
    )


class TestCheck:
    def test_honest_runs_pass(self) -> None:
        for seed in range(200):
            figures = check_nvt(synthetic_run(seed=seed), temperature=300)
            assert (
                abs(figures["temperature_kelvin"] - 300) < figures["temperature_limit_kelvin"] < 25
            )

    def test_a_wrong_count_of_degrees_of_freedom_fails(self) -> None:
        """Forgetting the constraints of water (6 of 9) reads 2/3 of the temperature."""
        with pytest.raises(PhysicsCheckFailed, match=r"mean temperature (19|20)"):
            check_nvt(synthetic_run(temperature=200), temperature=300)

    def test_a_drifting_energy_fails(self) -> None:
        with pytest.raises(PhysicsCheckFailed, match="drifts"):
            check_nvt(synthetic_run(drift=-4.0), temperature=300)

    def test_nan_fails(self) -> None:
        run = synthetic_run()
        run.potential_energy[-1] = np.nan
        with pytest.raises(PhysicsCheckFailed, match="not finite"):
            check_nvt(run, temperature=300)

    def test_too_few_samples_are_refused(self) -> None:
        with pytest.raises(InputError, match="80 samples"):
            check_nvt(synthetic_run(n_samples=79), temperature=300)
