"""Molecular dynamics beside plain NequIP through ASE: picoseconds per CPU hour in one run."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ase.md.langevin
import ase.units
import numpy as np
import torch
from ase import Atoms
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from nequip.model import NequIPGNNModel

from bjerrum import __version__
from bjerrum.bench.arithmetic import best_rate, operations
from bjerrum.bench.machine import processor_name
from bjerrum.bench.overhead import memory_of, python_overhead
from bjerrum.bench.replicas import replicas_at_once
from bjerrum.dynamics.inner_fit import sample
from bjerrum.dynamics.integrators import State, langevin_step, maxwell_boltzmann, start
from bjerrum.dynamics.multiple import multiple_step
from bjerrum.dynamics.settings import masses_of
from bjerrum.estimate import FloatArray
from bjerrum.potential.fused.inner import fit_inner
from bjerrum.potential.fused.model import BoundFused, for_dynamics
from bjerrum.potential.fused.network import FusedNetwork
from bjerrum.potential.model import Model
from bjerrum.potential.neighbours import VerletList
from bjerrum.potential.protocol import ForceFunction

FRICTION_PER_PS = 5.0
PLAIN_TIMESTEP_FS = 0.5
HOUR_S = 3600.0
HEADLINE = "compiled"
"""What the ratio is of: natural masses, single steps of 1 fs. What longer steps do to energies,
temperatures and g(r) is measured by ``benchmarks/dynamics``."""


@dataclass(frozen=True)
class Way:
    """A way to run: its time step, what it is, and whether times mean something in it."""

    name: str
    timestep_fs: float
    physical: bool
    run: Callable[[int], None]


def bench_md(
    model: Model,
    atoms: Atoms,
    *,
    temperature: float,
    steps: int,
    rounds: int,
    announce: Callable[[str, int, int], None],
    large: Atoms | None = None,
) -> dict[str, Any]:
    """Time Langevin dynamics of ``atoms`` beside ASE's with a plain NequIP calculator.

    The alternative is the published stack in its modern form: a network of the same
    hyperparameters, uncompiled, through ASE's Langevin at 0.5 fs, neighbour list every step,
    without a Coulomb part. Ours, each with Coulomb part, wall and thermostat: the plain network,
    the compiled one, and what longer steps add. CPU time is compared; rounds take turns, so all
    see the same busy machine; medians are given. One thread each. Replicas at once are timed by the
    clock: CPU time says nothing of them.

    large  a bigger box, for the cost per atom
    Returns what, ratio (picoseconds per CPU hour of physical dynamics), both rates, and details.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ways = _ways(model, atoms, temperature)
        seconds = _alternate(ways, steps, rounds, announce)
        parts = _parts(model, atoms, steps)
        overhead = python_overhead(model, atoms, temperature)
        scaling = None if large is None else _scaling(model, atoms, large, steps)
        floor = _floor(model, atoms, parts["network"])
        together = replicas_at_once(
            model, atoms, temperature=temperature, steps=4 * steps, rounds=3, announce=announce
        )
    finally:
        torch.set_num_threads(threads)
    rates = {
        way.name: way.timestep_fs / 1e3 * HOUR_S / float(np.median(seconds[way.name]))
        for way in ways
    }
    alternative = rates["ASE, uncompiled"]
    fused = float(np.median(seconds["compiled"]))
    return {
        "what": "md",
        "ratio": rates[HEADLINE] / alternative,
        "ours": rates[HEADLINE],
        "alternative": alternative,
        "unit": "ps per CPU hour",
        "details": {
            "n_atoms": len(atoms),
            "ours_name": HEADLINE,
            "alternative_name": "same NequIP hyperparameters, ASE Langevin at 0.5 fs, uncompiled, "
            "neighbour list every step, no Coulomb",
            "ways": [_row(way, rates, seconds, alternative) for way in ways],
            "levers": _levers(rates, seconds),
            "parts_of_a_compiled_step_ms": parts | {"step": 1e3 * fused},
            "ewald_share_of_step": parts["coulomb"] / (1e3 * fused),
            "python_overhead_ms": overhead,
            "floor": floor,
            "scaling": scaling,
            "replicas_at_once": together,
            "threads": 1,
            "peak_memory_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "model": model.card.name,
            "model_weights_sha256": model.card.weights_sha256,
            "code_version": __version__,
            "torch": torch.__version__,
            "machine": processor_name(),
        },
    }


def _row(
    way: Way, rates: dict[str, float], seconds: dict[str, list[float]], alternative: float
) -> dict[str, Any]:
    return {
        "name": way.name,
        "timestep_fs": way.timestep_fs,
        "physical_dynamics": way.physical,
        "cpu_ms_per_step": 1e3 * float(np.median(seconds[way.name])),
        "ps_per_cpu_hour": rates[way.name],
        "ratio": rates[way.name] / alternative,
    }


def _levers(rates: dict[str, float], seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return what each lever multiplies the rate by; the products are the ratios of the ways."""
    cost = {name: float(np.median(values)) for name, values in seconds.items()}
    return {
        "skin list and integrator, plain network": cost["ASE, uncompiled"] / cost["plain"],
        "compiled network and Coulomb part": cost["plain"] / cost["compiled"],
        "time step of 1 fs, exact for configurations": 1.0 / PLAIN_TIMESTEP_FS,
        "multiple time steps": rates["multiple steps"] / rates["compiled"],
        "heavy hydrogens (configurations only)": rates["heavy hydrogens"] / rates["compiled"],
        "heavy hydrogens and multiple steps (configurations only)": rates["heavy, multiple steps"]
        / rates["compiled"],
    }


def _alternate(
    ways: list[Way], steps: int, rounds: int, announce: Callable[[str, int, int], None]
) -> dict[str, list[float]]:
    """Return the CPU seconds of a step of each way, one number a round."""
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    for way in ways:
        way.run(3)
    for index in range(rounds):
        for way in ways:
            begin = time.process_time()
            way.run(steps)
            seconds[way.name].append((time.process_time() - begin) / steps)
        announce("Timing", index + 1, rounds)
    return seconds


def _ways(model: Model, atoms: Atoms, temperature: float) -> list[Way]:
    symbols, cell = list(atoms.symbols), atoms.cell.array
    fused = for_dynamics(model, "fused").potential.bind(symbols, cell)
    fit = fit_inner(symbols, cell, *sample(atoms, fused, temperature))
    inner = fit.bind(symbols, cell, model.repulsion)
    natural, heavy = atoms.get_masses(), masses_of(atoms, 3.0)
    plain = model.bind(symbols, cell)

    def ours(
        forces: ForceFunction, step: float, masses: FloatArray, n_inner: int = 1
    ) -> Callable[[int], None]:
        return _stepper(atoms, forces, inner, temperature, step, masses, n_inner)

    return [
        Way("ASE, uncompiled", PLAIN_TIMESTEP_FS, True, _ase_stepper(model, atoms, temperature)),
        Way("plain", 1.0, True, ours(plain, 1.0, natural)),
        Way("compiled", 1.0, True, ours(fused, 1.0, natural)),
        Way("multiple steps", 2.0, True, ours(fused, 2.0, natural, 2)),
        Way("heavy hydrogens", 2.0, False, ours(fused, 2.0, heavy)),
        Way("heavy, multiple steps", 3.0, False, ours(fused, 3.0, heavy, 2)),
    ]


def _stepper(
    atoms: Atoms, forces: ForceFunction, inner: ForceFunction, temperature: float,
    timestep: float, masses: FloatArray, n_inner: int,
) -> Callable[[int], None]:  # fmt: skip
    random, friction = np.random.default_rng(1), FRICTION_PER_PS / 1e3
    state: State = start(
        atoms.positions.copy(), maxwell_boltzmann(masses, temperature, random), masses, forces
    )

    def run(steps: int) -> None:
        nonlocal state
        shape = state.positions.shape
        for _ in range(steps):
            if n_inner > 1:
                state = multiple_step(
                    state, masses, forces, inner, timestep=timestep, n_inner=n_inner,
                    friction=friction, temperature=temperature,
                    noise=random.standard_normal((n_inner, *shape)),
                )  # fmt: skip
            else:
                state = langevin_step(
                    state, masses, forces, timestep=timestep, friction=friction,
                    temperature=temperature, noise=random.standard_normal(shape),
                )  # fmt: skip

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
        PLAIN_TIMESTEP_FS * ase.units.fs,
        temperature_K=temperature,
        friction=FRICTION_PER_PS / (1e3 * ase.units.fs),
        fixcm=False,
        rng=np.random.RandomState(1),
    )
    return lambda steps: dynamics.run(steps)


def _parts(model: Model, atoms: Atoms, steps: int) -> dict[str, float]:
    """Return the CPU milliseconds of a compiled force call and of its parts."""
    bound = for_dynamics(model, "fused").potential.bind(list(atoms.symbols), atoms.cell.array)
    assert isinstance(bound, BoundFused)
    calls: dict[str, Callable[[FloatArray], Any]] = {
        "force call": bound,
        "network": bound.networks_alone,
        "coulomb": bound.coulomb,
        "neighbour search": bound.neighbours.find,
    }
    return {name: 1e3 * _cpu_seconds(call, atoms.positions, steps) for name, call in calls.items()}


def _cpu_seconds(call: Callable[[FloatArray], Any], positions: FloatArray, n: int) -> float:
    call(positions)
    seconds = []
    for _ in range(max(n, 5)):
        begin = time.process_time()
        call(positions)
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds))


def _floor(model: Model, atoms: Atoms, network_ms: float) -> dict[str, float]:
    """Compare the network's time with that of its arithmetic alone at the processor's best."""
    member = FusedNetwork(model.network.members[0])
    count = operations(member.source, member.width, len(member.elements))
    first, _, _ = VerletList(atoms.cell.array, member.cutoff).pairs(atoms.positions)
    total = count["per_neighbour"] * len(first) + count["per_atom"] * len(atoms)
    best = best_rate()
    floor_ms = 1e3 * total * len(model.network.members) / best
    return {
        "operations_per_call": total,
        "neighbours": float(len(first)),
        "best_operations_per_second": best,
        "floor_ms": floor_ms,
        "network_ms": network_ms,
        "network_over_floor": network_ms / floor_ms,
    }


def _bound(model: Model, atoms: Atoms) -> BoundFused:
    bound = for_dynamics(model, "fused").potential.bind(list(atoms.symbols), atoms.cell.array)
    assert isinstance(bound, BoundFused)
    return bound


def _scaling(model: Model, small: Atoms, large: Atoms, steps: int) -> dict[str, Any]:
    """Compare the cost of a force call per atom in two boxes; memory of the larger one alone.

    The boxes take turns, so that both see the same busy machine; medians are compared.
    """
    boxes = (small, large)
    bound = [_bound(model, atoms) for atoms in boxes]
    rounds = [
        [
            _cpu_seconds(forces, atoms.positions, 1)
            for forces, atoms in zip(bound, boxes, strict=True)
        ]
        for _ in range(max(steps, 5))
    ]
    whole = dict(zip(map(len, boxes), np.median(rounds, axis=0), strict=True))
    cost = {n: 1e6 * seconds / n for n, seconds in whole.items()}
    ewald = {
        len(atoms): _cpu_seconds(forces.coulomb, atoms.positions, steps) / whole[len(atoms)]
        for forces, atoms in zip(bound, boxes, strict=True)
    }
    few, many = (cost[len(atoms)] for atoms in boxes)
    return {
        "cpu_us_per_atom": {str(n): value for n, value in cost.items()},
        "ewald_share": {str(n): value for n, value in ewald.items()},
        "large_over_small": many / few,
        "large_peak_memory_MiB": memory_of(model, large),
    }
