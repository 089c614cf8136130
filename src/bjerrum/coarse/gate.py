"""The trust gate of coarse-grained models: what must hold before their numbers are believed."""

from __future__ import annotations

from typing import Final

import numpy as np

from bjerrum.checks import Check
from bjerrum.coarse.dilution import ions_of_model, short_range_pmfs, three_body_residual
from bjerrum.coarse.model import CoarseModel
from bjerrum.coarse.series import box_at
from bjerrum.coarse.simulate import IonBox, Sampling, shaken_lattice, simulate_ions
from bjerrum.estimate import FloatArray
from bjerrum.units import EV_IN_MEV

_STEP: Final = 1e-4
_N_PAIRS: Final = 32
_DEEPEST_KT: Final = 12.0
_THREE_BODY_KT: Final = 4.0
"""A NaCl model with -4.8 kT for Cl-Na-Cl at a right angle had too many clusters."""


def run_coarse_gate(model: CoarseModel, *, molarity: float | None = None) -> list[Check]:
    """Return the checks of a coarse-grained model; about five CPU seconds.

    molarity  of the box, mol/L; default: the first concentration of the training
    """
    known = model.card.data.get("concentrations_mol_per_L") or [2.0]
    box = box_at(molarity or float(known[0]), _N_PAIRS, ions_of_model(model.potential))
    places = shaken_lattice(box, np.random.default_rng(1))
    return [
        _gradient(model, box, places),
        _net_force(model, box, places),
        _coulomb(model, box, places),
        _wall(model),
        _well(model),
        _three_body(model),
        _spread(model, box, places),
        _temperature(model, box),
    ]


def _gradient(model: CoarseModel, box: IonBox, places: FloatArray) -> Check:
    engine = model.potential.engine(box.symbols, box.edges, accuracy=1e-6)
    forces, _ = engine.forces(places)
    direction = np.random.default_rng(2).standard_normal(places.shape)
    energies = [_energy(engine.forces(places + s * _STEP * direction)[1]) for s in (-1, 1)]
    slope = (energies[1] - energies[0]) / (2 * _STEP)
    error = abs(slope + float((forces * direction).sum())) / np.sqrt(direction.size)
    return Check(
        "forces are the gradient of the energy",
        EV_IN_MEV * float(error),
        0.5,
        "meV/angstrom",
        "finite difference along a random direction, per force component",
    )


def _energy(energies: dict[str, float]) -> float:
    return energies["pair"] + energies["body"] + energies["reciprocal"]


def _net_force(model: CoarseModel, box: IonBox, places: FloatArray) -> Check:
    forces, _ = model.potential.engine(box.symbols, box.edges).forces(places)
    return Check(
        "net force",
        EV_IN_MEV * float(np.abs(forces.sum(axis=0)).max()) / len(places),
        0.01,
        "meV/angstrom per ion",
        "forces sum to zero",
    )


def _coulomb(model: CoarseModel, box: IonBox, places: FloatArray) -> Check:
    """Compare the engine at two accuracies: the Coulomb part by another splitting."""
    rough, _ = model.potential.engine(box.symbols, box.edges).forces(places)
    fine, _ = model.potential.engine(box.symbols, box.edges, accuracy=1e-9).forces(places)
    return Check(
        "accuracy of the Coulomb sum",
        EV_IN_MEV * float(np.sqrt(np.mean((rough - fine) ** 2))),
        0.5,
        "meV/angstrom",
        "rms difference of forces to an Ewald sum of accuracy 1e-9",
    )


def _wall(model: CoarseModel) -> Check:
    """Fraction of distances inside the data where the wall is not repulsive."""
    bad = 0.0
    for pair in range(len(model.potential.basis.pairs)):
        start = model.potential.start(pair)
        r = np.linspace(0.3 * start, 0.95 * start, 100)
        bad = max(bad, float((model.potential.short_range(pair, r)[1] >= 0).mean()))
    return Check("wall inside the data", bad, 0.0, "1", "ions repel where there are no data")


def _well(model: CoarseModel) -> Check:
    cation, anion = ions_of_model(model.potential)
    r = np.arange(1.0, 10.0, 0.02)
    w = short_range_pmfs(
        model.potential, r, temperature=model.card.temperature_K, ions=(cation, anion)
    )
    depth = max(0.0, -float(w[np.isfinite(w)].min()))
    return Check(
        "deepest well at infinite dilution", depth, _DEEPEST_KT, "kT", "two ions that never part"
    )


def _three_body(model: CoarseModel) -> Check:
    found = three_body_residual(model.potential, temperature=model.card.temperature_K)
    return Check(
        "three-body energy of two contacts",
        abs(found["largest_kT"] or 0.0),
        _THREE_BODY_KT,
        "kT",
        "largest size for an ion between two others, beyond the energies of the pairs",
    )


def _spread(model: CoarseModel, box: IonBox, places: FloatArray) -> Check:
    forces = [member.engine(box.symbols, box.edges).forces(places)[0] for member in model.members]
    spread = float(np.sqrt(np.var(forces, axis=0).mean())) if len(forces) > 1 else 0.0
    return Check(
        "spread of the committee",
        EV_IN_MEV * spread,
        25.0,
        "meV/angstrom",
        "rms over force components; kT/angstrom is 25.7 meV/angstrom",
    )


def _temperature(model: CoarseModel, box: IonBox) -> Check:
    sampling = Sampling(
        temperature=model.card.temperature_K, time_ps=60.0, equilibration_ps=10.0, replicas=2
    )
    (run,) = simulate_ions(model.potential, [box], sampling)
    return Check(
        "temperature of a run",
        abs(float(run.kinetic.mean()) - 1),
        0.03,
        "1",
        "mid-step kinetic temperature over the thermostat's, less 1",
    )
