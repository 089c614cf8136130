"""Monte Carlo jumps: two ions against the quadrature of the Boltzmann factor."""

from __future__ import annotations

import numpy as np
import pytest

from bjerrum.coarse.basis import Basis
from bjerrum.coarse.moves import jump_ions
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.simulate import IonBox, Sampling, simulate_ions
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError
from bjerrum.units import thermal_energy

TEMPERATURE = 300.0
BOX = IonBox(cation="Na", anion="Cl", n_cations=1, n_anions=1, edge=21.0)
BOUND = 4.5
"""Angstrom inside which two ions count as a pair."""


def a_potential(depth: float) -> CoarsePotential:
    """A well of ``depth`` eV between unlike ions near 3.5 angstrom."""
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.2, 2.8, 3.2), spacing=0.5, n_radial=0)
    coefficients = np.zeros(basis.n_pair)
    coefficients[basis.pair_slices[1]][1] = -depth
    return CoarsePotential(basis, coefficients, ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 72.0))


def bound_part(potential: CoarsePotential) -> float:
    """Probability of a pair by summing exp(-W/kT) over an octant of the box, Ewald included."""
    engine = potential.engine(BOX.symbols, BOX.edges)
    points = (np.arange(21) + 0.5) * BOX.edge / 42
    grid = np.stack(np.meshgrid(points, points, points, indexing="ij"), axis=-1).reshape(-1, 3)
    fine = grid[np.linalg.norm(grid, axis=1) < BOUND + 1]
    step, half = points[1] - points[0], np.array([-0.375, -0.125, 0.125, 0.375])
    shifts = np.stack(np.meshgrid(half, half, half, indexing="ij"), axis=-1).reshape(-1, 3) * step
    near = (fine[:, None] + shifts).reshape(-1, 3)
    far = grid[np.linalg.norm(grid, axis=1) >= BOUND + 1]

    def weights(vectors):
        energies = [engine.forces(np.array([np.zeros(3), v]))[1] for v in vectors]
        w = np.array([e["pair"] + e["body"] + e["reciprocal"] for e in energies])
        return np.exp(-w / thermal_energy(TEMPERATURE))

    close, rest = weights(near) / len(shifts), weights(far)
    inside = np.linalg.norm(near, axis=1) < BOUND
    return float(close[inside].sum() / (close.sum() + rest.sum()))


def is_bound(positions) -> bool:
    apart = positions[1] - positions[0]
    apart = apart - BOX.edge * np.round(apart / BOX.edge)
    return bool(np.linalg.norm(apart) < BOUND)


def test_jumps_alone_sample_the_boltzmann_distribution_of_two_ions():
    potential, random = a_potential(0.12), np.random.default_rng(2)
    engine, positions = potential.engine(BOX.symbols, BOX.edges), 10.5 * np.eye(2, 3)
    kt, bound = thermal_energy(TEMPERATURE), []
    for _ in range(4000):
        jump_ions(engine, positions, BOX.edges, kt, random, 5)
        bound.append(is_bound(positions))
    blocks = np.array(bound).reshape(20, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(20)
    expected = bound_part(potential)
    assert 0.15 < expected < 0.85
    assert error < 0.04
    assert np.mean(bound) == pytest.approx(expected, abs=4 * error)


def test_dynamics_with_jumps_samples_it_too():
    """A well of 8 kT in which two ions start: jumps find how often they should be apart."""
    potential = a_potential(0.26)
    expected = bound_part(potential)
    together = np.array([[10.0, 10, 10], [13.4, 10, 10]])
    sampling = Sampling(
        temperature=TEMPERATURE, time_ps=90.0, equilibration_ps=0.0, replicas=16, jumps=20.0
    )
    (run,) = simulate_ions(potential, [BOX], sampling, start=[together])
    inside = run.counts[:, 1, run.r < BOUND].sum(axis=1) / run.n_frames
    error = inside.std(ddof=1) / 4
    assert 0.3 < expected < 0.97
    assert run.accepted is not None
    assert 0.0 < run.accepted < 0.5
    assert error < 0.05
    assert inside.mean() == pytest.approx(expected, abs=4 * error + 0.01)


def test_fewer_than_no_jumps_are_refused():
    with pytest.raises(InputError, match="0 or more jumps"):
        Sampling(temperature=300.0, time_ps=1.0, jumps=-1.0)
