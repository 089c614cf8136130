"""The whole trust gate: the symmetries of :mod:`bjerrum.potential.checks` and the physics.

These checks look at what a small error on labelled frames does not show: steps in the energy, the
Coulomb part, units, constant-energy dynamics, contacts that no data hold, speed.
"""

from __future__ import annotations

import math
import time
from fractions import Fraction

import ase.units
import numpy as np
from ase import Atoms
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from scipy import integrate

from bjerrum.checks import Check
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.bonds import bonds_hold, units
from bjerrum.potential.calculator import BoundCalculator
from bjerrum.potential.checks import check_model
from bjerrum.potential.contacts import contact_check
from bjerrum.potential.forms import compiled_equals_plain
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import Model
from bjerrum.potential.protocol import ForceFunction
from bjerrum.units import COULOMB_CONSTANT, EV_IN_MEV

_NVE_FS = 8.0
_TIMESTEPS_FS = (0.5, 0.25)
_DIRECT_IMAGES = (6, 12)


def run_gate(model: Model, atoms: Atoms, *, seed: int = 0, timed: bool = False) -> list[Check]:
    """Run every check of a model on one configuration of a solution.

    timed  also measure the speed, the one figure that is another every time

    Runs of many calls (stretched bonds, constant energy) take the form that dynamics will use;
    that it is the plain form is itself a check.
    """
    random = np.random.default_rng(seed)
    arguments = list(atoms.symbols), atoms.cell.array
    forces = model.bind(*arguments)
    in_dynamics = for_dynamics(model).potential.bind(*arguments)
    return [
        *check_model(model, atoms, seed=seed),
        smoothness(model),
        own_baseline(model),
        ewald_against_direct_sum(model, random),
        *units(forces, atoms),
        *bonds_hold(in_dynamics, atoms),
        *constant_energy(in_dynamics, atoms, random),
        contact_check(model),
        *compiled_equals_plain(model, atoms),
        *([speed(forces, atoms)] if timed else []),
    ]


def smoothness(model: Model) -> Check:
    """Energy steps of a pair on its way through the cutoff: E(b) - E(a) + int_a^b F dr.

    Simpson's rule over 0.1 angstrom at a time, from 0.7 to 1.05 cutoffs, in vacuum.
    """
    cutoff, elements = model.card.cutoff, model.card.elements
    grid = np.arange(0.7 * cutoff, 1.05 * cutoff, 0.05)
    grid = grid[: len(grid) - 1 + len(grid) % 2]
    worst = 0.0
    for pair in dict.fromkeys([(elements[0], elements[-1]), ("O", "O"), ("O", "H")]):
        if not set(pair) <= set(elements):
            continue
        forces = model.bind(list(pair), 6 * cutoff * np.eye(3))
        results = [forces(np.array([[0.0, 0, 0], [r, 0, 0]])) for r in grid]
        energy = np.array([result.energy for result in results])
        along = np.array([result.forces[1, 0] for result in results])
        for k in range(0, len(grid) - 2, 2):
            work = integrate.simpson(along[k : k + 3], x=grid[k : k + 3])
            worst = _worse(worst, abs(energy[k + 2] - energy[k] + work))
    return Check(
        "smooth through the cutoff",
        EV_IN_MEV * worst,
        0.5,
        "meV",
        "the energy of two atoms that leave each other's reach has no step",
    )


def own_baseline(model: Model) -> Check:
    """The Coulomb part in use is the one that ``model.json`` says was subtracted."""
    recorded = ScreenedCoulomb.from_json(model.card.baseline)
    charges, used = dict(recorded.charges), dict(model.baseline.charges)
    unlike = [abs(charges.get(e, 0.0) - used.get(e, 0.0)) for e in {*charges, *used}]
    ratio = model.baseline.dielectric_constant / recorded.dielectric_constant
    return Check(
        "baseline is that of the training",
        max([abs(ratio - 1), *unlike]),
        1e-12,
        "e or relative",
        "charges and dielectric constant in use against those in model.json",
    )


def ewald_against_direct_sum(model: Model, random: np.random.Generator) -> Check:
    """Forces on ions in a cube: Ewald's against pair sums over cubes of images.

    A cube of images has the surface term of a sphere in vacuum, F_i += (4 pi / 3 V) q_i M, which
    tin-foil boundaries lack (de Leeuw, Perram & Smith, Proc. R. Soc. A 373, 27 (1980)); the rest
    of its error falls with the square of the number of images and is extrapolated away.
    """
    name, explanation = "Ewald against a direct sum", "forces on ions in a cube of 9 angstrom"
    recorded = ScreenedCoulomb.from_json(model.card.baseline)
    symbols = _neutral_ions(recorded)
    if not symbols:
        return Check(name, 0.0, 0.0, "relative", "the baseline has no neutral set of ions")
    edge, charge_of = 9.0, dict(recorded.charges)
    n_side = math.ceil(len(symbols) ** (1 / 3))
    sites = np.stack(np.meshgrid(*[np.arange(n_side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = random.permutation(sites)[: len(symbols)] * (edge / n_side)
    positions = positions + random.uniform(-0.15, 0.15, positions.shape) * edge / n_side
    charges = np.array([charge_of[s] for s in symbols])
    few, many = (_direct_forces(positions, charges, edge, n) for n in _DIRECT_IMAGES)
    surface = 4 * np.pi / (3 * edge**3) * np.outer(charges, charges @ positions)
    widths = [(2 * n + 1) ** 2 for n in _DIRECT_IMAGES]
    direct = (widths[1] * many - widths[0] * few) / (widths[1] - widths[0]) + surface
    direct *= COULOMB_CONSTANT / recorded.dielectric_constant
    ewald = model.baseline.bind(symbols, edge * np.eye(3))(positions).forces
    error = np.abs(ewald - direct).max() / np.abs(direct).max()
    return Check(name, float(error), 1e-4, "relative", explanation)


def _neutral_ions(baseline: ScreenedCoulomb) -> list[str]:
    """Return a neutral list of at least four ions of one cation and one anion; empty if none."""
    cations = [(e, q) for e, q in baseline.charges if q > 0]
    anions = [(e, -q) for e, q in baseline.charges if q < 0]
    if not cations or not anions:
        return []
    (cation, q_c), (anion, q_a) = cations[0], anions[0]
    ratio = Fraction(q_a / q_c).limit_denominator(12)
    n_c, n_a = ratio.numerator, ratio.denominator
    if abs(n_c * q_c - n_a * q_a) > 1e-9:
        return []
    times = math.ceil(4 / (n_c + n_a))
    return [cation] * (times * n_c) + [anion] * (times * n_a)


def _direct_forces(positions: FloatArray, charges: FloatArray, edge: float, n: int) -> FloatArray:
    """Return sum_j sum_images q_i q_j r / r^3 over a cube of (2n + 1)^3 images, e^2/angstrom^2."""
    images = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    forces = np.zeros_like(positions)
    for i, own in enumerate(positions):
        for other, charge in zip(positions, charges, strict=True):
            vectors = own - other + edge * images
            squares = np.einsum("ij,ij->i", vectors, vectors)
            away = squares > 1e-12
            vectors, squares = vectors[away], squares[away]
            forces[i] += charges[i] * charge * (vectors / squares[:, None] ** 1.5).sum(axis=0)
    return forces


def constant_energy(
    forces: ForceFunction, atoms: Atoms, random: np.random.Generator
) -> list[Check]:
    """Velocity Verlet with two time steps: the error of the total energy falls with the square.

    At a given time E(t) - E(0) = h^2 g(t) + O(h^4) for a smooth conservative force (Hairer,
    Lubich & Wanner, Acta Numerica 12, 399 (2003)); any other force leaves an error that does not
    fall.
    """
    seed = int(random.integers(2**31))
    coarse, fine = (_energy_errors(forces, atoms, h, seed) for h in _TIMESTEPS_FS)
    ratio = _rms(coarse) / max(_rms(fine), 1e-12)
    error = EV_IN_MEV * _rms(coarse) / len(atoms)
    return [
        Check(
            "constant energy",
            error if math.isfinite(error) else math.inf,
            2.0,
            "meV/atom",
            f"rms change of the total energy over {_NVE_FS:g} fs, steps of {_TIMESTEPS_FS[0]:g} fs",
        ),
        Check(
            "energy error falls with the square of the time step",
            abs(ratio / 4 - 1) if math.isfinite(ratio) else math.inf,
            0.4,
            "relative",
            f"error with {_TIMESTEPS_FS[0]:g} over that with {_TIMESTEPS_FS[1]:g} fs: {ratio:.2f}, "
            "expected 4",
        ),
    ]


def _energy_errors(
    forces: ForceFunction, atoms: Atoms, timestep_fs: float, seed: int
) -> FloatArray:
    """Return E(t) - E(0) in eV at every whole femtosecond."""
    moving = atoms.copy()
    moving.calc = BoundCalculator(lambda positions: _or_nan(forces, positions))
    random = np.random.RandomState(seed)
    MaxwellBoltzmannDistribution(moving, temperature_K=300, rng=random, force_temp=True)
    dynamics = VelocityVerlet(moving, timestep_fs * ase.units.fs)
    energies = [moving.get_total_energy()]
    for _ in range(round(_NVE_FS)):
        dynamics.run(round(1 / timestep_fs))
        energies.append(moving.get_total_energy())
    return np.array(energies[1:]) - energies[0]


def _or_nan(forces: ForceFunction, positions: FloatArray) -> Evaluation:
    """Evaluate where atoms are; once they are lost (NaN), so are energy and forces."""
    if np.isfinite(positions).all():
        return forces(positions)
    return Evaluation(math.nan, np.full_like(positions, math.nan))


def speed(forces: ForceFunction, atoms: Atoms, *, calls: int = 3) -> Check:
    """Wall time of a force call per atom."""
    forces(atoms.positions)
    begin = time.perf_counter()
    for _ in range(calls):
        forces(atoms.positions)
    milliseconds = 1e3 * (time.perf_counter() - begin) / calls / len(atoms)
    return Check(
        "speed",
        milliseconds,
        50.0,
        "ms/atom",
        f"time of a force call: {1e3 / milliseconds:.0f} atom-steps/s",
    )


def _worse(worst: float, value: float) -> float:
    return max(worst, value) if math.isfinite(value) else math.inf


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
