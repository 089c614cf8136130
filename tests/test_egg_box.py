"""The egg-box correction on labels whose error is known: smooth forces plus a sum of waves."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.errors import InputError
from bjerrum.reference.egg_box import (
    CALIBRATION_FRAMES,
    OFFSETS_ANGSTROM,
    TERMS,
    EggBox,
    fit_egg_box,
)

GRID = (120, 120, 120)
BOX = ase.io.read(Path(__file__).parent / "data" / "cp2k" / "licl-8-waters.extxyz")
TRUTH = EggBox(
    settings_hash="settings",
    grid=GRID,
    cell_angstrom=tuple(BOX.cell.lengths()),
    coefficients={"O": (2.1e-3, -4.7e-4, 1.3e-4, 3.1e-4)},
    noise_before=0.0,
    noise_after=0.0,
)


def labelled(atoms: Atoms, energy: float, forces: np.ndarray) -> Atoms:
    frame = atoms.copy()
    frame.info = {"settings_hash": "settings", "grid": np.array(GRID)}
    frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
    return frame


def configurations(n: int, symbols: str | None = None) -> list[tuple[Atoms, float, np.ndarray]]:
    """Return configurations with smooth energies and forces of no net force."""
    random = np.random.default_rng(8)
    found = []
    for _ in range(n):
        atoms = BOX.copy()
        if symbols:
            atoms.symbols = symbols
        atoms.positions += 0.2 * random.standard_normal(atoms.positions.shape)
        forces = random.standard_normal(atoms.positions.shape)
        found.append((atoms, -4000.0 + random.standard_normal(), forces - forces.mean(axis=0)))
    return found


def translated(
    found: tuple[Atoms, float, np.ndarray], truth: EggBox = TRUTH, noise: float = 0.0
) -> list[Atoms]:
    """Label a configuration at the positions of the calibration, with noise on oxygen."""
    atoms, energy, forces = found
    random = np.random.default_rng(int(1e6 * abs(forces[0, 0])))
    oxygen = (atoms.symbols == "O")[:, None]
    group = []
    for offset in ((0.0, 0.0, 0.0), *OFFSETS_ANGSTROM):
        moved = atoms.copy()
        moved.positions += offset
        egg_energy, egg_forces = truth.error(moved)
        scatter = noise * oxygen * random.standard_normal(forces.shape)
        group.append(labelled(moved, energy + egg_energy, forces + egg_forces + scatter))
    return group


def naive_energy(atoms: Atoms, box: EggBox) -> float:
    """Sum the definition term by term: orthorhombic cells only."""
    spacing = np.array(box.cell_angstrom) / box.grid
    energy = 0.0
    for symbol, position in zip(atoms.symbols, atoms.positions, strict=True):
        for coefficient, term in zip(box.coefficients.get(symbol, [0] * 4), TERMS, strict=True):
            for p in set(itertools.permutations(term)):
                waves = [np.cos(2 * np.pi * p[d] * position[d] / spacing[d]) for d in range(3)]
                energy += coefficient * np.prod(waves)
    return energy


def test_energy_is_its_definition():
    atoms, *_ = configurations(1)[0]
    assert TRUTH.error(atoms)[0] == pytest.approx(naive_energy(atoms, TRUTH), abs=1e-14)


@pytest.mark.parametrize("edges", [(6.5, 6.5, 6.5), (6.0, 6.6, 7.2)])
def test_forces_are_minus_the_gradient_of_the_energy(edges):
    atoms, *_ = configurations(1)[0]
    atoms.set_cell(edges)
    atoms.symbols[atoms.symbols == "Cl"] = "F"
    box = replace(
        TRUTH,
        cell_angstrom=edges,
        coefficients={"F": (1e-3, 2e-4, 0.0, -3e-4), **TRUTH.coefficients},
    )
    forces = box.error(atoms)[1]
    step = 1e-5
    for atom, axis in itertools.product(range(len(atoms)), range(3)):
        moved = [atoms.copy(), atoms.copy()]
        moved[0].positions[atom, axis] -= step
        moved[1].positions[atom, axis] += step
        below, above = (box.error(frame)[0] for frame in moved)
        assert forces[atom, axis] == pytest.approx((below - above) / (2 * step), abs=1e-6)
    for element in ("H", "Li"):
        assert not forces[np.array(atoms.get_chemical_symbols()) == element].any()


def test_the_error_repeats_with_the_grid():
    atoms, *_ = configurations(1)[0]
    energy, forces = TRUTH.error(atoms)
    moved = atoms.copy()
    moved.positions += np.array([3, -7, 11]) * BOX.cell.lengths() / GRID
    np.testing.assert_allclose(TRUTH.error(moved)[0], energy, atol=1e-12)
    np.testing.assert_allclose(TRUTH.error(moved)[1], forces, atol=1e-10)


@pytest.mark.parametrize("n", [2, CALIBRATION_FRAMES])
def test_the_fit_finds_the_waves_that_are_there(n):
    fit = fit_egg_box([translated(found) for found in configurations(n)])
    np.testing.assert_allclose(fit.coefficients["O"], TRUTH.coefficients["O"], atol=1e-10)
    assert set(fit.coefficients) == {"O"}
    assert fit.noise_after == pytest.approx(0.0, abs=1e-8)
    assert fit.noise_before > 1.0
    assert (fit.grid, fit.settings_hash) == (GRID, "settings")


def test_two_elements_are_told_apart():
    symbols = ["F" if s == "Cl" else s for s in BOX.get_chemical_symbols()]
    symbols[0] = "F"
    truth = replace(TRUTH, coefficients={"F": (-1e-3, 5e-4, 2e-4, 0.0), **TRUTH.coefficients})
    groups = [translated(found, truth) for found in configurations(3, symbols)]
    fit = fit_egg_box(groups)
    for element, expected in truth.coefficients.items():
        np.testing.assert_allclose(fit.coefficients[element], expected, atol=1e-10)


def test_a_corrected_label_is_the_smooth_one():
    fit = fit_egg_box([translated(found) for found in configurations(3)])
    for atoms, energy, forces in configurations(5):
        egg_energy, egg_forces = TRUTH.error(atoms)
        raw = labelled(atoms, energy + egg_energy, forces + egg_forces)
        corrected = fit.correct(raw)
        assert corrected.get_potential_energy() == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(corrected.get_forces(), forces, atol=1e-8)
        assert corrected.info["egg_box"] == fit.hash
        np.testing.assert_allclose(raw.get_forces(), forces + egg_forces)
        assert "egg_box" not in raw.info


def test_noise_that_is_no_wave_is_reported():
    """8 meV/angstrom on 8 of 26 atoms, an eighth of its variance taken with the net force."""
    groups = [translated(found, noise=8e-3) for found in configurations(6)]
    fit = fit_egg_box(groups)
    assert fit.noise_after == pytest.approx(8.0 * np.sqrt(8 / 26 * 7 / 8), rel=0.1)
    np.testing.assert_allclose(fit.coefficients["O"], TRUTH.coefficients["O"], atol=1e-4)


def test_net_forces_are_removed():
    (atoms, energy, forces) = configurations(1)[0]
    pushed = labelled(atoms, energy, forces + np.array([0.02, -0.01, 0.03]))
    corrected = replace(TRUTH, coefficients={}).correct(pushed)
    np.testing.assert_allclose(corrected.get_forces().sum(axis=0), 0.0, atol=1e-12)


def test_another_grid_cell_or_setting_is_refused():
    atoms, energy, forces = configurations(1)[0]
    frame = labelled(atoms, energy, forces)
    TRUTH.correct(frame)
    finer, larger, other = frame.copy(), frame.copy(), frame.copy()
    finer.info["grid"] = np.array([120, 120, 125])
    larger.set_cell(BOX.cell.array * 1.01)
    other.info["settings_hash"] = "other"
    for changed in (finer, larger, other):
        changed.calc = frame.calc
        assert not TRUTH.fits(changed)
        with pytest.raises(InputError, match="the label is of another grid or cell"):
            TRUTH.correct(changed)


def test_a_fit_needs_two_configurations_of_one_grid():
    groups = [translated(found) for found in configurations(2)]
    for few in ([], groups[:1], [groups[0], groups[1][:1]]):
        with pytest.raises(InputError, match="expected at least 2 configurations at 2 positions"):
            fit_egg_box(few)
    for frame in groups[1]:
        frame.info["grid"] = np.array([125, 120, 120])
    with pytest.raises(InputError, match="labels of one grid and cell"):
        fit_egg_box(groups)


def test_json_and_back():
    fit = fit_egg_box([translated(found) for found in configurations(2)])
    again = EggBox.from_json(fit.to_json())
    assert again == fit
    assert again.hash == fit.hash != replace(fit, settings_hash="x").hash


def test_an_oblique_cell_of_equal_edges_is_another_cell():
    atoms, *_ = configurations(1)[0]
    assert TRUTH.is_of(atoms)
    edge = TRUTH.cell_angstrom[0]
    atoms.set_cell([edge, edge, edge, 80, 90, 90])
    assert not TRUTH.is_of(atoms)
