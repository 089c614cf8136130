"""Langevin and velocity Verlet against closed forms; units against SI."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants as si

from bjerrum.dynamics.integrators import (
    kinetic_energy,
    langevin_step,
    maxwell_boltzmann,
    start,
    verlet_step,
)
from bjerrum.estimate import Evaluation
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2, thermal_energy

TEMPERATURE = 300.0
KT = thermal_energy(TEMPERATURE)


def nothing(positions):
    return Evaluation(0.0, np.zeros_like(positions))


def wells(stiffness):
    """Every coordinate in a harmonic well of its own, eV/angstrom^2."""
    return lambda r: Evaluation(0.5 * stiffness * float((r**2).sum()), -stiffness * r)


def spring(stiffness, length):
    """Two atoms bound to each other."""

    def forces(r):
        d = r[1] - r[0]
        distance = np.linalg.norm(d)
        pull = stiffness * (distance - length) * d / distance
        return Evaluation(0.5 * stiffness * (distance - length) ** 2, np.array([pull, -pull]))

    return forces


def quartic_pairs(r):
    """Anharmonic springs between all pairs of atoms."""
    d = r[:, None] - r[None]
    squares = (d**2).sum(axis=2)
    energy = 0.25 * (0.02 * squares + 0.01 * squares**2).sum()
    return Evaluation(energy, -(0.02 * d + 0.02 * squares[:, :, None] * d).sum(axis=1))


def langevin(state, masses, forces, random, **options):
    noise = random.standard_normal(state.positions.shape)
    return langevin_step(state, masses, forces, temperature=TEMPERATURE, noise=noise, **options)


def test_free_langevin_particles_diffuse_with_kt_over_m_gamma():
    """MSD per direction = 2 D (t - (1 - exp(-gamma t)) / gamma), Ornstein & Uhlenbeck 1930."""
    n_atoms, n_steps, timestep, friction = 10_000, 300, 2.0, 0.05
    random, masses = np.random.default_rng(1), np.full(n_atoms, 6.94)
    velocities = maxwell_boltzmann(masses, TEMPERATURE, random)
    state = start(np.zeros((n_atoms, 3)), velocities, masses, nothing)
    for _ in range(n_steps):
        state = langevin(state, masses, nothing, random, timestep=timestep, friction=friction)
    diffusion = KT / (6.94 * AMU_IN_EV_FS2_PER_ANGSTROM2 * friction)
    time = n_steps * timestep
    expected = 2 * diffusion * (time - (1 - np.exp(-friction * time)) / friction)
    n_samples = 3 * n_atoms
    tolerance = 4 * np.sqrt(2 / n_samples) + (friction * timestep) ** 2 / 12
    assert (state.positions**2).mean() == pytest.approx(expected, rel=tolerance)


def test_langevin_of_stiff_oscillators_is_what_the_docstring_claims():
    """At omega h = 0.8: positions exact, mid-step velocities exact, end-of-step ones 16 % cold."""
    n_atoms, timestep, mass = 4000, 1.0, 15.999
    stiffness = (0.8 / timestep) ** 2 * mass * AMU_IN_EV_FS2_PER_ANGSTROM2
    random, masses, forces = np.random.default_rng(2), np.full(n_atoms, mass), wells(stiffness)
    state = start(
        np.sqrt(KT / stiffness) * random.standard_normal((n_atoms, 3)),
        maxwell_boltzmann(masses, TEMPERATURE, random),
        masses,
        forces,
    )
    squares, speeds, temperatures = [], [], []
    for step in range(400):
        state = langevin(state, masses, forces, random, timestep=timestep, friction=0.2)
        if step >= 80:
            squares.append((state.positions**2).mean() / (KT / stiffness))
            exact = KT / (mass * AMU_IN_EV_FS2_PER_ANGSTROM2)
            speeds.append((state.velocities**2).mean() / exact)
            temperatures.append(state.kinetic_energy / (1.5 * n_atoms * KT))
    for series, expected in ((squares, 1.0), (temperatures, 1.0), (speeds, 1 - 0.8**2 / 4)):
        blocks = np.reshape(series, (16, -1)).mean(axis=1)
        error = blocks.std(ddof=1) / 4
        assert error < 0.003
        assert blocks.mean() == pytest.approx(expected, abs=4 * error)


def test_without_friction_langevin_is_velocity_verlet():
    random = np.random.default_rng(3)
    masses, r = np.array([1.0, 16.0, 7.0]), random.standard_normal((3, 3))
    ours = theirs = start(r, 0.01 * random.standard_normal((3, 3)), masses, quartic_pairs)
    for _ in range(50):
        ours = langevin(ours, masses, quartic_pairs, random, timestep=1.5, friction=0.0)
        theirs = verlet_step(theirs, masses, quartic_pairs, timestep=1.5)
    assert np.allclose(ours.positions, theirs.positions, atol=1e-12)
    assert np.allclose(ours.velocities, theirs.velocities, atol=1e-13)


def test_friction_slows_a_free_particle_exponentially():
    masses = np.array([3.0])
    state = start(np.zeros((1, 3)), np.array([[0.01, 0.0, -0.02]]), masses, nothing)
    for _ in range(20):
        state = langevin_step(
            state,
            masses,
            nothing,
            timestep=2.0,
            friction=0.03,
            temperature=TEMPERATURE,
            noise=np.zeros((1, 3)),
        )
    assert np.allclose(state.velocities, np.exp(-0.03 * 40) * np.array([[0.01, 0, -0.02]]))


def anharmonic_start(random):
    masses = np.array([1.008, 15.999, 6.94, 35.45])
    r = random.standard_normal((4, 3))
    return masses, start(r, maxwell_boltzmann(masses, TEMPERATURE, random), masses, quartic_pairs)


def test_verlet_energy_error_falls_with_the_square_of_the_time_step():
    errors = []
    for timestep in (2.0, 1.0, 0.5):
        masses, state = anharmonic_start(np.random.default_rng(4))
        energies = [state.total_energy]
        for _ in range(round(200 / timestep)):
            state = verlet_step(state, masses, quartic_pairs, timestep=timestep)
            energies.append(state.total_energy)
        errors.append(np.abs(np.array(energies) - energies[0]).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)
    assert errors[0] < KT


def test_verlet_is_reversible():
    masses, state = anharmonic_start(np.random.default_rng(5))
    first = state
    for sign in (1, -1):
        state = start(state.positions, sign * state.velocities, masses, quartic_pairs)
        for _ in range(200):
            state = verlet_step(state, masses, quartic_pairs, timestep=1.0)
    assert np.allclose(state.positions, first.positions, atol=1e-9)
    assert np.allclose(-state.velocities, first.velocities, atol=1e-10)


def test_verlet_conserves_momentum():
    masses, state = anharmonic_start(np.random.default_rng(6))
    momentum = masses @ state.velocities
    for _ in range(200):
        state = verlet_step(state, masses, quartic_pairs, timestep=1.0)
    assert np.allclose(masses @ state.velocities, momentum, atol=1e-13)


def test_a_diatomic_vibrates_with_its_period_in_si_units():
    """H35Cl: 516.3 N/m and 1.00783, 34.96885 u give 2990 cm^-1 (Huber & Herzberg 1979: 2990.9)."""
    newton_per_metre, masses = 516.3, np.array([1.00782503, 34.96885268])
    reduced = masses.prod() / masses.sum() * si.atomic_mass
    period = 2 * np.pi * np.sqrt(reduced / newton_per_metre) * 1e15
    assert 1e13 / (si.c * 100) / period * 100 == pytest.approx(2990.9, abs=1.0)
    forces = spring(newton_per_metre / si.e * 1e-20, 1.2746)
    timestep = 0.02
    state = start(np.array([[0.0, 0, 0], [1.3, 0, 0]]), np.zeros((2, 3)), masses, forces)
    crossings, before = [], 1.3 - 1.2746
    for step in range(1, 3000):
        state = verlet_step(state, masses, forces, timestep=timestep)
        now = np.linalg.norm(state.positions[1] - state.positions[0]) - 1.2746
        if before < 0 <= now:
            crossings.append(timestep * (step - now / (now - before)))
        before = now
    assert len(crossings) == 5
    assert np.diff(crossings).mean() == pytest.approx(period, rel=2e-5)


def test_velocities_have_the_variance_of_maxwell_and_boltzmann():
    random = np.random.default_rng(7)
    masses = np.repeat([1.008, 39.948], 20_000)
    velocities = maxwell_boltzmann(masses, TEMPERATURE, random)
    for mass in (1.008, 39.948):
        chosen = velocities[masses == mass]
        in_si = si.k * TEMPERATURE / (mass * si.atomic_mass) * 1e-10  # (angstrom/fs)^2
        assert (chosen**2).mean() == pytest.approx(in_si, rel=4 * np.sqrt(2 / chosen.size))
        assert (chosen**2).mean(axis=0) == pytest.approx(in_si, rel=4 * np.sqrt(2 / len(chosen)))
        assert abs(chosen.mean()) < 4 * np.sqrt(in_si / chosen.size)
    expected = 1.5 * len(masses) * KT
    assert kinetic_energy(velocities, masses) == pytest.approx(expected, rel=0.02)


def test_kinetic_energy_in_si_units():
    joule = 0.5 * 2.0 * si.atomic_mass * 3e5**2  # 2 u at 3 angstrom/fs
    energy = kinetic_energy(np.array([[0.0, 3.0, 0.0]]), np.array([2.0]))
    assert energy == pytest.approx(joule / si.e, rel=1e-12)


def test_every_element_has_its_share_of_the_kinetic_energy():
    """Equipartition: 3 kT/2 an atom for O, H, Li and Cl in stiff and soft wells, NVT.

    End-of-step velocities of BAOAB are too cold by 1 - (omega h)^2 / 4, 1 % for these hydrogens.
    """
    symbols = np.array(["O", "H", "Li", "Cl"]).repeat(2000)
    masses = np.array([15.999, 1.008, 6.94, 35.45]).repeat(2000)
    stiffness, timestep, random = 4.0, 1.0, np.random.default_rng(9)
    forces = wells(stiffness)
    cold = 0.2 * maxwell_boltzmann(masses, TEMPERATURE, random)  # 12 K
    state, kinetic = start(np.zeros((8000, 3)), cold, masses, forces), []
    for step in range(600):
        state = langevin(state, masses, forces, random, timestep=timestep, friction=0.1)
        if step >= 200:
            kinetic.append((masses[:, None] * state.velocities**2).mean(axis=1))
    per_atom = AMU_IN_EV_FS2_PER_ANGSTROM2 * np.mean(kinetic, axis=0)
    for symbol in ("O", "H", "Li", "Cl"):
        own = symbols == symbol
        square = stiffness / (masses[own][0] * AMU_IN_EV_FS2_PER_ANGSTROM2)
        expected = KT * (1 - square * timestep**2 / 4)
        assert per_atom[own].mean() == pytest.approx(expected, rel=0.01), symbol
