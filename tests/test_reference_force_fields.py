"""Classical force fields by name: published parameters, and energies and forces by naive sums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import openmm
import pytest
import torch
from ase import Atoms
from openmm import unit
from scipy.integrate import quad
from scipy.spatial.transform import Rotation

from bjerrum.boxes import build_box, check_box, equilibrate_box
from bjerrum.errors import BjerrumError, FrameError, InputError
from bjerrum.ewald import Ewald
from bjerrum.frames import read_frames, write_frames
from bjerrum.reference.choose import reference_of
from bjerrum.reference.classical import ClassicalReference, build_system, sample_nvt
from bjerrum.reference.classical_force_fields import (
    FORCE_FIELDS,
    SPCE_SMITH_DANG,
    ClassicalForceField,
    ForceFieldName,
    force_field_of,
)
from bjerrum.reference.classical_system import default_cutoff
from bjerrum.reference.label import LabelStatus, Reference
from bjerrum.system import Salt, Solution
from bjerrum.units import COULOMB_CONSTANT
from test_cli import assert_one_line, bjerrum  # noqa: F401

KCAL_PER_MOL = 4.184e3 / (6.02214076e23 * 1.602176634e-19)

SMITH_DANG = {
    ("O", "O"): (0.1553537285, 3.169),
    ("Na", "Na"): (0.1, 2.583),
    ("Cl", "Cl"): (0.1, 4.401),
    ("Cl", "Na"): (0.1, 3.492),
    ("Na", "O"): (0.124665392, 2.876),
    ("Cl", "O"): (0.124665392, 3.785),
}
"""kcal/mol and angstrom, from the inputs of arXiv:2310.12535 (NaCl, 4 M)."""

# Joung & Cheatham, J. Phys. Chem. B 112, 9020 (2008), set for SPC/E: R_min/2 in angstrom, epsilon
# in kcal/mol; oxygen: Berendsen et al. (1987), sigma 3.166 angstrom, 0.650 kJ/mol.
JOUNG_CHEATHAM = {
    "O": (3.166 * 2 ** (1 / 6) / 2, 0.650 / 4.184),
    "Li": (0.791, 0.3367344),
    "Na": (1.212, 0.3526418),
    "K": (1.593, 0.4297054),
    "Rb": (1.737, 0.4451036),
    "Cs": (2.021, 0.0898565),
    "F": (2.257, 0.0074005),
    "Cl": (2.711, 0.0127850),
    "Br": (2.751, 0.0269586),
    "I": (2.919, 0.0427845),
}
CATIONS, ANIONS = ("Li", "Na", "K", "Rb", "Cs"), ("F", "Cl", "Br", "I")
CHARGES = {"O": -0.8476, "H": 0.4238, **dict.fromkeys(CATIONS, 1.0), **dict.fromkeys(ANIONS, -1.0)}


def random_box(salt: str = "NaCl", *, seed: int = 3, n_per_edge: int = 3) -> Atoms:
    """Waters at random angles on a lattice, randomly displaced, two sites taken by ions."""
    rng = np.random.default_rng(seed)
    spacing = 3.3
    sites = spacing * np.array(list(np.ndindex((n_per_edge,) * 3)), dtype=float)
    sites = rng.permutation(sites) + rng.uniform(-0.15, 0.15, sites.shape)
    water = SPCE_SMITH_DANG.water_positions()
    waters = [site + Rotation.from_quat(rng.standard_normal(4)).apply(water) for site in sites[:-2]]
    chosen = Salt.parse(salt)
    ions = [chosen.cation.symbol, chosen.anion.symbol]
    return Atoms(
        ["O", "H", "H"] * len(waters) + ions,
        np.concatenate([*waters, sites[-2:]]),
        cell=[n_per_edge * spacing] * 3,
        pbc=True,
    )


def parameters(name: str, first: str, second: str) -> tuple[float, float]:
    """Return epsilon (eV) and sigma (angstrom) of a pair as published; none with hydrogen."""
    if "H" in (first, second):
        return 0.0, 1.0
    if name == "smith-dang":
        low, high = sorted((first, second))
        epsilon, sigma = SMITH_DANG[low, high]
        return epsilon * KCAL_PER_MOL, sigma
    (half_1, epsilon_1), (half_2, epsilon_2) = JOUNG_CHEATHAM[first], JOUNG_CHEATHAM[second]
    return np.sqrt(epsilon_1 * epsilon_2) * KCAL_PER_MOL, (half_1 + half_2) / 2 ** (1 / 6)


def charmm_switch(r, on: float, off: float):
    return (off**2 - r**2) ** 2 * (off**2 + 2 * r**2 - 3 * on**2) / (off**2 - on**2) ** 3


def openmm_switch(r, on: float, off: float):
    x = (r - on) / (off - on)
    return 1 - 6 * x**5 + 15 * x**4 - 10 * x**3


def naive(atoms: Atoms, name: str) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces by pairs of nearest images and an Ewald sum."""
    edge = float(atoms.cell[0, 0])
    cutoff = {"smith-dang": min(15.0, 0.4999 * edge), "joung-cheatham": min(9.0, 0.49 * edge)}[name]
    switch = charmm_switch if name == "smith-dang" else openmm_switch
    symbols = atoms.get_chemical_symbols()
    n_waters = symbols.count("O")
    molecule = np.array([k // 3 if k < 3 * n_waters else k for k in range(len(atoms))])
    i, j = np.triu_indices(len(atoms), 1)
    same = torch.from_numpy(molecule[i] == molecule[j])
    charges = np.array([CHARGES[symbol] for symbol in symbols])
    both = [parameters(name, symbols[a], symbols[b]) for a, b in zip(i, j, strict=True)]
    epsilon, sigma = torch.tensor(both, dtype=torch.float64).T
    positions = torch.from_numpy(atoms.positions.copy()).requires_grad_()
    apart = positions[j] - positions[i]
    r = torch.linalg.norm(apart - edge * torch.round(apart / edge), dim=1)
    pair = 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
    pair = torch.where(r > cutoff - 1, pair * switch(r, cutoff - 1, cutoff), pair)
    energy = pair[~same & (r < cutoff)].sum()
    energy = energy - COULOMB_CONSTANT * (torch.from_numpy(charges[i] * charges[j]) / r)[same].sum()
    (gradient,) = torch.autograd.grad(energy, positions)
    coulomb, coulomb_forces = Ewald(charges, atoms.cell.array, 1e-9)(atoms.positions)
    total = energy.item() + COULOMB_CONSTANT * coulomb
    if name == "joung-cheatham":
        total += tail(symbols, edge, cutoff)
    return total, COULOMB_CONSTANT * coulomb_forces - gradient.numpy()


def tail(symbols: list[str], edge: float, cutoff: float) -> float:
    """Isotropic correction for what switch and cutoff take away, mean over all pairs (i <= j)."""
    counts = {symbol: symbols.count(symbol) for symbol in dict.fromkeys(symbols)}
    names = list(counts)
    total = 0.0
    for a, first in enumerate(names):
        for second in names[a:]:
            n = counts[first]
            n_pairs = n * (n + 1) / 2 if first == second else n * counts[second]
            epsilon, sigma = parameters("joung-cheatham", first, second)

            def missing(r: float, e: float = epsilon, s: float = sigma) -> float:
                kept = openmm_switch(r, cutoff - 1, cutoff) if r < cutoff else 0.0
                return 4 * e * ((s / r) ** 12 - (s / r) ** 6) * (1 - kept) * r**2

            lost = quad(missing, cutoff - 1, cutoff)[0] + quad(missing, cutoff, np.inf)[0]
            total += n_pairs * lost
    n_all = len(symbols)
    return 2 * np.pi * n_all**2 / edge**3 * total / (n_all * (n_all + 1) / 2)


class TestEnergiesAndForces:
    @pytest.mark.parametrize("seed", [3, 4])
    @pytest.mark.parametrize("name", FORCE_FIELDS)
    def test_random_box_equals_naive_sums(self, name: str, seed: int) -> None:
        atoms = random_box(seed=seed)
        energy, forces = ClassicalReference(force_field_of(name)).energy_and_forces(atoms)
        expected_energy, expected_forces = naive(atoms, name)
        # sigma in OpenMM's file of Joung-Cheatham ions has four digits
        tolerance = 2e-4 if name == "smith-dang" else 2e-3
        assert energy == pytest.approx(expected_energy, abs=5 * tolerance)
        np.testing.assert_allclose(forces, expected_forces, atol=tolerance)
        assert np.sqrt((forces**2).mean()) > 0.3

    def test_the_two_differ(self) -> None:
        atoms = random_box()
        energies = {
            name: ClassicalReference(field).energy_and_forces(atoms)[0]
            for name, field in FORCE_FIELDS.items()
        }
        assert abs(energies["smith-dang"] - energies["joung-cheatham"]) > 0.01

    def test_smith_dang_forces_are_minus_the_gradient(self) -> None:
        atoms = random_box()
        reference = ClassicalReference(SPCE_SMITH_DANG)
        _, forces = reference.energy_and_forces(atoms)
        step = 2e-4
        for index, axis in [(0, 0), (1, 1), (75, 0), (76, 1)]:
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[index, axis] += sign * step
                energies.append(reference.energy_and_forces(moved)[0])
            slope = (energies[0] - energies[1]) / (2 * step)
            assert forces[index, axis] == pytest.approx(-slope, abs=2e-5)


class TestSmithDang:
    @pytest.mark.parametrize("pair", SMITH_DANG)
    def test_depth_and_zero_of_every_pair_are_published(self, pair: tuple[str, str]) -> None:
        epsilon, sigma = SMITH_DANG[pair]
        assert lennard_jones(pair, sigma, 40.0) == pytest.approx(0, abs=1e-12)
        deepest = lennard_jones(pair, sigma * 2 ** (1 / 6), 40.0)
        assert deepest == pytest.approx(-epsilon * KCAL_PER_MOL, rel=1e-9)

    @pytest.mark.parametrize(
        ("r", "kept"),
        [(10.0, 1), (13.9, 1), (14.0, 1), (14.5, 14.75**2 * 57.5 / 29**3), (14.9999, 0), (16.0, 0)],
    )
    def test_charmm_switch_between_14_and_15_angstrom(self, r: float, kept: float) -> None:
        plain = 4 * 0.1 * KCAL_PER_MOL * ((4.401 / r) ** 12 - (4.401 / r) ** 6)
        assert lennard_jones(("Cl", "Cl"), r, 40.0) == pytest.approx(
            kept * plain, rel=1e-9, abs=2e-6 * abs(plain)
        )

    def test_a_cluster_is_not_switched(self) -> None:
        plain = -4 * 0.1 * KCAL_PER_MOL * (4.401 / 20.0) ** 6
        assert lennard_jones(("Cl", "Cl"), 20.0, None) == pytest.approx(plain, rel=2e-4)

    @pytest.mark.parametrize(("edge", "expected"), [(40.0, 15.0), (29.8, 14.897), (10.0, 4.999)])
    def test_cutoff_where_the_box_allows(self, edge: float, expected: float) -> None:
        atoms = Atoms("Na", cell=[edge] * 3, pbc=True)
        assert default_cutoff(atoms, SPCE_SMITH_DANG) == pytest.approx(expected, abs=5e-4)

    def test_a_box_relaxes_to_a_solution_at_its_temperature(self) -> None:
        """First peaks of Na-O and Cl-O in this model: 2.4 and 3.2 angstrom."""
        solution = Solution(Salt.parse("NaCl"), 2.2, 300.0)
        packed = build_box(solution, 25, seed=2)
        box = equilibrate_box(packed, solution, time_ps=8, seed=2, force_field=SPCE_SMITH_DANG)
        assert box.info["equilibration"] == SPCE_SMITH_DANG.name
        shortest = check_box(box, solution, 25)
        assert 2.1 < shortest["Na-O"] < 2.7
        assert 2.8 < shortest["Cl-O"] < 3.5

    def test_dynamics_of_one_seed_are_one_trajectory(self) -> None:
        first, again = (
            sample_nvt(random_box(), SPCE_SMITH_DANG, temperature=300, time_ps=0.1, seed=3)
            for _ in range(2)
        )
        np.testing.assert_array_equal(first.positions, again.positions)


def lennard_jones(pair: tuple[str, str], r: float, edge: float | None) -> float:
    """Return the Lennard-Jones energy in eV of two sites r apart along z.

    Oxygens come with their hydrogens, which must not contribute.
    """
    water = SPCE_SMITH_DANG.water_positions()
    atoms = Atoms()
    for height, symbol in zip((0.0, r), sorted(pair, key="O".__ne__), strict=True):
        sites = water if symbol == "O" else np.zeros((1, 3))
        atoms += Atoms("OH2" if symbol == "O" else symbol, sites + np.array([0, 0, height]))
    if edge is not None:
        atoms.set_cell([edge] * 3)
        atoms.pbc = True
    _, system = build_system(atoms, SPCE_SMITH_DANG)
    for force in system.getForces():
        force.setForceGroup(1 if isinstance(force, openmm.CustomNonbondedForce) else 0)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(1e-3), platform)
    context.setPositions(atoms.positions / 10)
    energy = context.getState(getEnergy=True, groups={1}).getPotentialEnergy()
    return energy.value_in_unit(unit.kilocalorie_per_mole) * KCAL_PER_MOL


class TestIons:
    @pytest.mark.parametrize("salt", [c + a for c in CATIONS for a in ANIONS])
    def test_joung_cheatham_covers_the_alkali_halides(self, salt: str) -> None:
        atoms = random_box(salt)
        label = ClassicalReference().label(atoms, Path())
        expected_energy, expected_forces = naive(atoms, "joung-cheatham")
        assert label.energy == pytest.approx(expected_energy, abs=0.02)
        np.testing.assert_allclose(label.forces, expected_forces, atol=0.02)

    @pytest.mark.parametrize(
        ("name", "symbols", "symbol"),
        [
            ("joung-cheatham", "ZnCl", "Zn"),
            ("smith-dang", "KCl", "K"),
            ("smith-dang", "NaBr", "Br"),
        ],
    )
    def test_others_are_refused_in_one_line(self, name: str, symbols: str, symbol: str) -> None:
        atoms = Atoms(symbols, [[0, 0, 0], [4, 0, 0]], cell=[20] * 3, pbc=True)
        with pytest.raises(FrameError, match=rf"\({symbol}\).*choose another") as raised:
            ClassicalReference(force_field_of(name)).check(atoms)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("field", FORCE_FIELDS.values(), ids=FORCE_FIELDS)
    def test_too_small_a_box_is_refused_by_the_check(self, field: ClassicalForceField) -> None:
        atoms = Atoms("NaCl", [[0, 0, 0], [4, 0, 0]], cell=[8] * 3, pbc=True)
        with pytest.raises(InputError, match="use more waters"):
            ClassicalReference(field).check(atoms)


def assert_conforms(reference: Reference, atoms: Atoms, folder: Path) -> None:
    """What every reference owes its callers."""
    assert reference.name
    described = reference.describe()
    assert json.loads(json.dumps(described)) == described
    before = atoms.copy()
    reference.check(atoms)
    label, again = reference.label(atoms, folder), reference.label(atoms, folder)
    assert atoms == before
    assert label.status is LabelStatus.CONVERGED
    assert isinstance(label.energy, float)
    assert label.forces is not None
    assert label.forces.shape == (len(atoms), 3)
    assert np.isfinite(label.forces).all()
    assert again.energy == pytest.approx(label.energy, abs=1e-9)
    assert reference.describe() == described
    with pytest.raises(InputError):
        reference.check(Atoms("Xe", cell=[20] * 3, pbc=True))
    with pytest.raises(InputError):
        reference.check(Atoms("Na", [[np.nan, 0, 0]], cell=[20] * 3, pbc=True))
    reference.stop()


class TestChoice:
    def test_names_and_settings_agree(self) -> None:
        assert tuple(FORCE_FIELDS) == get_args(ForceFieldName)
        with pytest.raises(InputError, match="expected one of joung-cheatham, smith-dang, got 'x'"):
            force_field_of("x")

    @pytest.mark.parametrize("name", FORCE_FIELDS)
    def test_references_conform(self, name: str, tmp_path: Path) -> None:
        config = tmp_path / "classical.toml"
        config.write_text(f'force_field = "{name}"\n')
        reference = reference_of("classical", [], config)
        assert reference.describe()["force_field"] == force_field_of(name).name
        assert_conforms(reference, random_box(), tmp_path)

    def test_joung_cheatham_is_the_default(self) -> None:
        assert "Joung-Cheatham" in reference_of("classical", []).describe()["force_field"]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('force_field = "opls"\n', "force_field: expected 'joung-cheatham' or 'smith-dang'"),
            ("cutoff_ry = 800\n", "unknown key 'cutoff_ry'; expected one of: force_field"),
            ("force_field = \n", "not valid TOML"),
        ],
    )
    def test_wrong_settings_are_one_line(self, text: str, words: str, tmp_path: Path) -> None:
        config = tmp_path / "classical.toml"
        config.write_text(text)
        with pytest.raises(BjerrumError, match=r"classical\.toml: ") as raised:
            reference_of("classical", [], config)
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_the_command_labels_with_the_chosen_force_field(self, tmp_path: Path, bjerrum) -> None:  # noqa: F811
        frames, output = tmp_path / "frames.extxyz", tmp_path / "labelled.extxyz"
        config = tmp_path / "classical.toml"
        config.write_text('force_field = "smith-dang"\n')
        write_frames(frames, [random_box(seed=seed) for seed in (1, 2)])
        given = ("label", frames, "--method", "classical", "--config", config, "-o", output)
        code, out, _ = bjerrum(*given, "--json")
        assert code == 0
        assert json.loads(out)["n_labelled"] == 2
        for seed, frame in zip((1, 2), read_frames(output, labelled=True), strict=True):
            expected, _ = naive(random_box(seed=seed), "smith-dang")
            assert frame.get_potential_energy() == pytest.approx(expected, abs=2e-3)
            assert frame.info["force_field"] == SPCE_SMITH_DANG.name
        config.write_text('force_field = "amber"\n')
        code, _, err = bjerrum(*given)
        assert_one_line(code, err, 2, "force_field", "joung-cheatham", "smith-dang", "amber")
