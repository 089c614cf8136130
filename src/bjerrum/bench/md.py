"""Molecular dynamics beside plain NequIP through ASE: steps per second in one run."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable
from typing import Any

import ase.md.langevin
import ase.units
import numpy as np
import torch
from ase import Atoms
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from nequip.model import NequIPGNNModel

from bjerrum.dynamics.integrators import langevin_step, maxwell_boltzmann, start
from bjerrum.potential.model import Model
from bjerrum.potential.protocol import Potential

FRICTION_PER_PS = 5.0
TIMESTEP_FS = 1.0


def bench_md(
    model: Model,
    atoms: Atoms,
    *,
    temperature: float,
    steps: int,
    rounds: int,
    announce: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Time Langevin dynamics of ``atoms`` beside ASE's with a plain NequIP calculator.

    Ours: the model with its Coulomb baseline and Verlet list, BAOAB. The alternative: a network of
    the same hyperparameters, uncompiled, neighbour list every step, through ASE's Langevin, without
    a Coulomb part. Rounds alternate, so that a busy machine slows both; medians are compared. Both
    use one thread, and both profit from :mod:`bjerrum.memory`, which holds for the whole process.

    Returns what, ratio (steps per second, ours over the alternative), both rates, and details.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours, plain = (
            _our_stepper(model, atoms, temperature),
            _ase_stepper(model, atoms, temperature),
        )
        ours(3), plain(3)
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        for index in range(rounds):
            for name, stepper in (("ours", ours), ("plain", plain)):
                begin = time.perf_counter()
                stepper(steps)
                seconds[name].append((time.perf_counter() - begin) / steps)
            announce("Timing", index + 1, rounds)
        parts = _parts(model, atoms, steps)
    finally:
        torch.set_num_threads(threads)
    rate = {name: 1 / float(np.median(values)) for name, values in seconds.items()}
    return {
        "what": "md",
        "ratio": rate["ours"] / rate["plain"],
        "ours": rate["ours"],
        "alternative": rate["plain"],
        "unit": "steps/s",
        "details": {
            "n_atoms": len(atoms),
            "alternative_name": "same NequIP hyperparameters, ASE Langevin, uncompiled, no Coulomb",
            "ours_atom_steps_per_s": rate["ours"] * len(atoms),
            "alternative_atom_steps_per_s": rate["plain"] * len(atoms),
            "ours_step_ms": [1e3 * s for s in seconds["ours"]],
            "alternative_step_ms": [1e3 * s for s in seconds["plain"]],
            "share_of_step_ms": parts,
            "timestep_fs": TIMESTEP_FS,
            "threads": 1,
            "peak_memory_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "torch": torch.__version__,
            "machine": platform.processor() or platform.machine(),
        },
    }


def _our_stepper(model: Model, atoms: Atoms, temperature: float) -> Callable[[int], None]:
    forces = model.bind(list(atoms.symbols), atoms.cell.array)
    masses, random = atoms.get_masses(), np.random.default_rng(1)
    state = start(
        atoms.positions.copy(), maxwell_boltzmann(masses, temperature, random), masses, forces
    )

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = langevin_step(
                state,
                masses,
                forces,
                timestep=TIMESTEP_FS,
                friction=FRICTION_PER_PS / 1e3,
                temperature=temperature,
                noise=random.standard_normal(state.positions.shape),
            )

    return run


def _ase_stepper(model: Model, atoms: Atoms, temperature: float) -> Callable[[int], None]:
    """Return ASE's Langevin with NequIP's own calculator around the same network."""
    network = NequIPGNNModel(seed=0, **model.card.hyperparameters)
    network.load_state_dict(model.network.members[0].network.state_dict())
    elements = list(model.network.elements)
    plain = atoms.copy()
    plain.calc = NequIPCalculator(
        network.eval(),
        device="cpu",
        transforms=[
            ChemicalSpeciesToAtomTypeMapper(model_type_names=elements),
            NeighborListTransform(r_max=model.network.cutoff),
        ],
    )
    random = np.random.default_rng(1)
    velocities = maxwell_boltzmann(plain.get_masses(), temperature, random)
    plain.set_velocities(velocities / ase.units.fs)
    dynamics = ase.md.langevin.Langevin(
        plain,
        TIMESTEP_FS * ase.units.fs,
        temperature_K=temperature,
        friction=FRICTION_PER_PS / (1e3 * ase.units.fs),
        fixcm=False,
        rng=np.random.RandomState(1),
    )
    return lambda steps: dynamics.run(steps)


def _parts(model: Model, atoms: Atoms, steps: int) -> dict[str, float]:
    """Return the milliseconds of a force call that network and Coulomb take."""
    parts: dict[str, Potential] = {"network": model.network, "coulomb": model.baseline}
    milliseconds = {}
    for name, part in parts.items():
        forces = part.bind(list(atoms.symbols), atoms.cell.array)
        forces(atoms.positions)
        begin = time.perf_counter()
        for _ in range(steps):
            forces(atoms.positions)
        milliseconds[name] = 1e3 * (time.perf_counter() - begin) / steps
    return milliseconds
