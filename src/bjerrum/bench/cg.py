"""Coarse-grained ions beside the published form: CPU time for equal errors of g(r), in one run.

The alternative is what the published work ran: NequIP with two layers, l = 1, 8 features and a
cutoff of 10 angstrom, one replica at 0.5 fs through a Python loop (ASE). Its weights are random: a
network's cost does not depend on them, but its forces do nothing sensible, so the ions are held at
fixed positions, shaken a little in every step. The Coulomb part, which the published runs left to
LAMMPS, is not charged to it.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from bjerrum.coarse.dilution import ions_of_model
from bjerrum.coarse.model import CoarseModel
from bjerrum.coarse.network import IonNetwork
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.series import box_at, concentration_series
from bjerrum.coarse.simulate import (
    BIN_WIDTH,
    HEAT_STEPS,
    IonBox,
    Measured,
    Sampling,
    simulate_ions,
)
from bjerrum.estimate import FloatArray
from bjerrum.potential.spec import NetworkSpec

PUBLISHED_STEP_FS: Final = 0.5
SIZES: Final = (48, 200, 800)
MOLARITY: Final = 2.47
SERIES: Final = (0.5, 1.0, 1.5, 2.0, 2.5)
SERIES_PS: Final = 300.0
"""Of each of 16 replicas: errors of d ln a/d ln c then stay below 0.03."""
ERROR_PS: Final = 40.0
ERROR_TARGET: Final = 0.05
"""Angstrom, of the integrated error of g(r), for which CPU hours are told."""
PUBLISHED_FRICTION_PER_PS: Final = 20.0
PUBLISHED_FORM: Final = NetworkSpec(cutoff_angstrom=10.0, n_layers=2, l_max=1, n_features=8)
_HOUR: Final = 3600.0
_FS_IN_NS: Final = 1e-6


def bench_cg(
    model: CoarseModel,
    *,
    timestep_fs: float,
    steps: int,
    calls: int,
    with_series: bool,
    announce: Callable[[str, int, int], None],
    error_ps: float = ERROR_PS,
) -> dict[str, Any]:
    """Time the compiled engine and the published form on 48 ions, and the engine on 200 and 800.

    steps        of each of our timings at 48 ions; fewer at more
    calls        force calls of the published form
    with_series  also a series of five concentrations to +-0.03 in d ln a/d ln c (minutes)
    error_ps     of each replica of the runs that say how fast errors of g(r) fall
    Returns what, ratio (CPU time for equal errors of g(r)), both rates in ns/h, and details.
    """
    seconds: dict[int, float] = {}
    for number, n_ions in enumerate(SIZES):
        announce("Timing the engine", number, len(SIZES))
        count = max(100, steps * 48 // n_ions)
        seconds[n_ions] = _our_step(model.potential, model, n_ions, count, timestep_fs)
    published, levers = _levers(model, seconds[48], (timestep_fs, steps, calls), announce)
    ours = timestep_fs * _FS_IN_NS * _HOUR / seconds[48]
    alternative = PUBLISHED_STEP_FS * _FS_IN_NS * _HOUR / published
    errors = _errors(model, timestep_fs, error_ps, announce)
    levers["masses and friction"] = errors["published"] / errors["ours"]
    details: dict[str, Any] = {
        "n_ions": 48,
        "alternative_name": "NequIP 2 layers, l=1, 8 features, 10 A, uncompiled, no Coulomb part",
        "our_step_us": 1e6 * seconds[48],
        "alternative_step_us": 1e6 * published,
        "ratio_of_simulated_time": ours / alternative,
        "levers": levers,
        "error_of_g": {
            "unit": "(int standard error of g dr)^2 x simulated time, angstrom^2 ns",
            **errors,
            "target_angstrom": ERROR_TARGET,
            "cpu_hours_ours": errors["ours"] / ERROR_TARGET**2 / ours,
            "cpu_hours_published": errors["published"] / ERROR_TARGET**2 / alternative,
        },
        "step_us_by_ions": {str(n): 1e6 * t for n, t in seconds.items()},
        "growth_over_n_log_n": {str(n): _growth(seconds, n) for n in SIZES[1:]},
        "timestep_fs": timestep_fs,
        "threads": 1,
        "machine": platform.processor() or platform.machine(),
    }
    if with_series:
        details["series"] = _series(model, timestep_fs, announce)
    return {
        "what": "cg",
        "ratio": ours / alternative * levers["masses and friction"],
        "ours": ours,
        "alternative": alternative,
        "unit": "ns/CPU hour",
        "details": details,
    }


def _levers(
    model: CoarseModel,
    ours: float,
    timing: tuple[float, int, int],
    announce: Callable[[str, int, int], None],
) -> tuple[float, dict[str, float]]:
    """Return the seconds of a step of the published form, and what each lever multiplies.

    ours    seconds of our step
    timing  our step in fs, our steps, calls of the published form
    """
    timestep_fs, steps, calls = timing
    announce("Timing the published form", 0, 1)
    published, network = _published_call(model, calls)
    announce("Timing the published form", 1, 1)
    inside = replace(model.potential, networks=(network,))
    compiled = _our_step(inside, model, 48, max(100, steps // 20), timestep_fs)
    many = _our_step(model.potential, model, 48, max(100, steps // 8), timestep_fs, replicas=16)
    levers = {
        "compiled network": published / compiled,
        "cheaper functions": compiled / ours,
        "longer steps": timestep_fs / PUBLISHED_STEP_FS,
        "16 replicas for 2 on one core": ours / many,
    }
    return published, levers


def _errors(
    model: CoarseModel,
    timestep_fs: float,
    time_ps: float,
    announce: Callable[[str, int, int], None],
) -> dict[str, float]:
    """Return how errors of g(r) fall with simulated time, in our way and the published one.

    Both run the same potential. The published runs are Langevin dynamics at 0.5 fs with damping of
    0.05 ps and the ions' own masses; runs from the same starting points say how soon their
    configurations become independent, whatever a step costs.
    """
    masses = tuple(
        (e, float(atomic_masses[atomic_numbers[e]])) for e in model.potential.basis.elements
    )
    common = Sampling(
        temperature=model.card.temperature_K,
        time_ps=time_ps,
        equilibration_ps=time_ps / 3,
        replicas=16,
    )
    ways = {
        "ours": replace(common, timestep_fs=timestep_fs),
        "published": replace(
            common,
            timestep_fs=PUBLISHED_STEP_FS,
            friction_per_ps=PUBLISHED_FRICTION_PER_PS,
            masses=masses,
        ),
    }
    found = {}
    for number, (name, sampling) in enumerate(ways.items()):
        announce("Errors of g(r)", number, len(ways))
        (run,) = simulate_ions(model.potential, [_box(model, 48)], sampling)
        found[name] = _error_of_g(run) ** 2 * len(run.counts) * time_ps / 1e3
    return found


def _error_of_g(run: Measured) -> float:
    """Return int (standard error of g) dr from the scatter of replicas, mean of pairs, angstrom."""
    g, inside = run.g(), (run.r >= 1.5) & (run.r <= run.box.edge / 2)
    error = g.std(axis=0, ddof=1) / np.sqrt(len(g))
    return float(error[:, inside].sum(axis=1).mean() * BIN_WIDTH)


def _growth(seconds: dict[int, float], n: int) -> float:
    """Return the growth of a step's time from 48 to n ions over that of N log N."""
    return seconds[n] / seconds[48] / (n * np.log(n) / (48 * np.log(48)))


def _box(model: CoarseModel, n_ions: int) -> IonBox:
    return box_at(MOLARITY, n_ions // 2, ions_of_model(model.potential))


def _our_step(
    potential: CoarsePotential,
    model: CoarseModel,
    n_ions: int,
    steps: int,
    timestep_fs: float,
    replicas: int = 2,
) -> float:
    """Return CPU seconds of a step of one replica, measurement of g(r) and S(k) included."""
    sampling = Sampling(
        temperature=model.card.temperature_K,
        time_ps=steps * timestep_fs / 1e3,
        equilibration_ps=0.0,
        replicas=replicas,
        timestep_fs=timestep_fs,
    )
    warm = replace(sampling, time_ps=1.0, equilibration_ps=5.0, replicas=2)
    (start,) = simulate_ions(potential, [_box(model, n_ions)], warm)
    begin = time.process_time()
    (run,) = simulate_ions(potential, [_box(model, n_ions)], sampling, start=[start.frames[0]])
    stride = max(1, round(sampling.frame_every_fs / timestep_fs))
    done = HEAT_STEPS + run.n_frames * stride
    return (time.process_time() - begin) / (replicas * done)


def _published_call(model: CoarseModel, calls: int) -> tuple[float, IonNetwork]:
    """Return the median CPU seconds of a force call of the published form on 48 ions.

    The network comes with it, for the compiled engine, its forces made too small to matter there.
    """
    import torch
    from ase import Atoms
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.integrations.ase import NequIPCalculator
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    from bjerrum.coarse.simulate import shaken_lattice

    set_global_state()
    elements = list(model.potential.basis.elements)
    hyperparameters = PUBLISHED_FORM.hyperparameters(tuple(elements)) | {
        "avg_num_neighbors": 12.0,
        "per_type_energy_scales": 1e-9,
        "per_type_energy_shifts": dict.fromkeys(elements, 0.0),
    }
    network = NequIPGNNModel(seed=0, **hyperparameters)
    state = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    box, random = _box(model, 48), np.random.default_rng(1)
    places = shaken_lattice(box, random)
    atoms = Atoms(list(box.symbols), places, cell=box.edges, pbc=True)
    atoms.calc = NequIPCalculator(
        network.eval(),
        device="cpu",
        transforms=[
            ChemicalSpeciesToAtomTypeMapper(model_type_names=elements),
            NeighborListTransform(r_max=10.0),
        ],
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = _median_call(atoms, places, calls, random)
    finally:
        torch.set_num_threads(threads)
    return seconds, IonNetwork(hyperparameters, state)


def _median_call(atoms: Any, places: FloatArray, calls: int, random: np.random.Generator) -> float:
    seconds = []
    for _ in range(calls + 3):
        atoms.positions = places + random.normal(0, 0.01, places.shape)
        begin = time.process_time()
        atoms.get_forces()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds[3:]))


def _series(
    model: CoarseModel, timestep_fs: float, announce: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Return CPU minutes and error bars of a series of five concentrations."""
    sampling = Sampling(
        temperature=model.card.temperature_K,
        time_ps=SERIES_PS,
        equilibration_ps=50.0,
        replicas=16,
        timestep_fs=timestep_fs,
    )
    begin = time.process_time()
    points = concentration_series(model.potential, SERIES, sampling, announce=announce)
    errors = [e.standard_error for point in points for e in point.dlna_dlnc.values()]
    return {
        "cpu_minutes": (time.process_time() - begin) / 60,
        "largest_standard_error": max(errors),
        "points": [
            {
                "concentration_mol_per_L": point.molarity,
                "dlna_dlnc_mcmillan_mayer": {k: e.to_json() for k, e in point.dlna_dlnc.items()},
            }
            for point in points
        ],
    }
