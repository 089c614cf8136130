"""The trust gate: cheap checks that a potential must pass before it drives any dynamics.

Each check yields a figure, a limit and a verdict. Peers' force fields have been silently wrong at
exactly these seams (non-conservative accelerated kernels, neighbour lists, units); each check
costs a few force calls.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from bjerrum.checks import Check
from bjerrum.dataset import subtract_baseline
from bjerrum.potential.model import Model
from bjerrum.potential.protocol import ForceFunction
from bjerrum.units import EV_IN_MEV


def check_model(model: Model, atoms: Atoms, *, seed: int = 0) -> list[Check]:
    """Run every check of a model on one configuration."""
    forces = model.bind(list(atoms.symbols), atoms.cell.array)
    random = np.random.default_rng(seed)
    return [
        _finite_differences(forces, atoms, random),
        _net_force(forces, atoms),
        _translation(forces, atoms, random),
        _rotation(model, atoms, random),
        _permutation(model, atoms, random),
        _extensivity(model, atoms),
        _baseline_identity(model, atoms),
    ]


def _finite_differences(
    forces: ForceFunction, atoms: Atoms, random: np.random.Generator, step: float = 0.005
) -> Check:
    """F . u = -dE/du along random directions u of all atoms at once (fourth-order stencil).

    With |u|^2 = 3 N the difference over sqrt(3 N) is the error of a force component, were all
    errors independent and of one size.
    """
    errors = []
    for _ in range(3):
        direction = random.standard_normal(atoms.positions.shape)
        direction /= np.sqrt(np.mean(direction**2))
        energy = {k: forces(atoms.positions + k * step * direction).energy for k in (-2, -1, 1, 2)}
        slope = (8 * (energy[1] - energy[-1]) - (energy[2] - energy[-2])) / (12 * step)
        predicted = -np.sum(forces(atoms.positions).forces * direction)
        errors.append((slope - predicted) / np.sqrt(direction.size))
    return Check(
        "forces are the gradient of the energy",
        EV_IN_MEV * float(np.max(np.abs(errors))),
        1.0,
        "meV/angstrom",
        "finite differences along three random directions, error per force component",
    )


def _net_force(forces: ForceFunction, atoms: Atoms) -> Check:
    net = forces(atoms.positions).forces.sum(axis=0)
    return Check(
        "net force",
        EV_IN_MEV * float(np.abs(net).max()) / len(atoms),
        0.01,
        "meV/angstrom per atom",
        "forces sum to zero",
    )


def _translation(forces: ForceFunction, atoms: Atoms, random: np.random.Generator) -> Check:
    moved = atoms.positions + random.uniform(-20, 20, 3)
    moved[::3] += atoms.cell.array[0]
    return Check(
        "translation and wrapping",
        EV_IN_MEV * float(np.abs(forces(moved).forces - forces(atoms.positions).forces).max()),
        0.5,
        "meV/angstrom",
        "same forces after a shift of all atoms and of a third of them by a cell vector",
    )


def _rotation(model: Model, atoms: Atoms, random: np.random.Generator) -> Check:
    matrix = Rotation.from_quat(random.standard_normal(4)).as_matrix()
    symbols = list(atoms.symbols)
    straight = model.bind(symbols, atoms.cell.array)(atoms.positions)
    rotated = model.bind(symbols, atoms.cell.array @ matrix.T)(atoms.positions @ matrix.T)
    return Check(
        "rotation",
        EV_IN_MEV * float(np.abs(rotated.forces - straight.forces @ matrix.T).max()),
        0.5,
        "meV/angstrom",
        "forces rotate with the box",
    )


def _permutation(model: Model, atoms: Atoms, random: np.random.Generator) -> Check:
    order = random.permutation(len(atoms))
    symbols = list(atoms.symbols)
    straight = model.bind(symbols, atoms.cell.array)(atoms.positions)
    shuffled = model.bind([symbols[k] for k in order], atoms.cell.array)(atoms.positions[order])
    return Check(
        "permutation",
        EV_IN_MEV * float(np.abs(shuffled.forces - straight.forces[order]).max()),
        0.5,
        "meV/angstrom",
        "forces do not depend on the order of the atoms",
    )


def _extensivity(model: Model, atoms: Atoms) -> Check:
    double = atoms.repeat((2, 1, 1))
    single = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    twice = model.bind(list(double.symbols), double.cell.array)(double.positions)
    return Check(
        "extensivity",
        EV_IN_MEV * abs(twice.energy - 2 * single.energy) / len(double),
        0.01,
        "meV/atom",
        "a 2 x 1 x 1 supercell has twice the energy",
    )


def _baseline_identity(model: Model, atoms: Atoms) -> Check:
    evaluation = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    network = model.network.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    labelled = atoms.copy()
    labelled.calc = SinglePointCalculator(
        labelled, energy=evaluation.energy, forces=evaluation.forces
    )
    target = subtract_baseline([labelled], model.baseline)[0].calc.results
    return Check(
        "baseline subtracted is baseline added",
        EV_IN_MEV * float(np.abs(target["forces"] - network.forces).max()),
        1e-3,
        "meV/angstrom",
        "forces minus Coulomb, as in training, are the forces of the network alone",
    )
