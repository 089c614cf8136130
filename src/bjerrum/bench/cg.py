"""Coarse-grained ions beside the published form: simulated time per CPU hour, in one run.

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
from typing import Any, Final

import numpy as np

from bjerrum.coarse.dilution import ions_of_model
from bjerrum.coarse.model import CoarseModel
from bjerrum.coarse.series import box_at, concentration_series
from bjerrum.coarse.simulate import IonBox, Sampling, simulate_ions
from bjerrum.estimate import FloatArray

PUBLISHED_STEP_FS: Final = 0.5
SIZES: Final = (48, 200, 800)
MOLARITY: Final = 2.47
SERIES: Final = (0.5, 1.0, 1.5, 2.0, 2.5)
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
) -> dict[str, Any]:
    """Time the compiled engine and the published form on 48 ions, and the engine on 200 and 800.

    steps        of each of our timings at 48 ions; fewer at more
    calls        force calls of the published form
    with_series  also a series of five concentrations to +-0.03 in d ln a/d ln c (minutes)
    Returns what, ratio (simulated time per CPU hour), both rates in ns/h, and details.
    """
    seconds: dict[int, float] = {}
    for number, n_ions in enumerate(SIZES):
        announce("Timing the engine", number, len(SIZES))
        seconds[n_ions] = _our_step(model, n_ions, max(100, steps * 48 // n_ions), timestep_fs)
    announce("Timing the published form", 0, 1)
    published = _published_call(model, calls)
    announce("Timing the published form", 1, 1)
    ours = timestep_fs * _FS_IN_NS * _HOUR / seconds[48]
    alternative = PUBLISHED_STEP_FS * _FS_IN_NS * _HOUR / published
    details: dict[str, Any] = {
        "n_ions": 48,
        "alternative_name": "NequIP 2 layers, l=1, 8 features, 10 A, uncompiled, no Coulomb part",
        "our_step_us": 1e6 * seconds[48],
        "alternative_step_us": 1e6 * published,
        "ratio_of_steps": published / seconds[48],
        "ratio_of_time_steps": timestep_fs / PUBLISHED_STEP_FS,
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
        "ratio": ours / alternative,
        "ours": ours,
        "alternative": alternative,
        "unit": "ns/CPU hour",
        "details": details,
    }


def _growth(seconds: dict[int, float], n: int) -> float:
    """Return the growth of a step's time from 48 to n ions over that of N log N."""
    return seconds[n] / seconds[48] / (n * np.log(n) / (48 * np.log(48)))


def _box(model: CoarseModel, n_ions: int) -> IonBox:
    return box_at(MOLARITY, n_ions // 2, ions_of_model(model.potential))


def _our_step(model: CoarseModel, n_ions: int, steps: int, timestep_fs: float) -> float:
    """Return CPU seconds of a step of one replica, measurement of g(r) and S(k) included."""
    sampling = Sampling(
        temperature=model.card.temperature_K,
        time_ps=steps * timestep_fs / 1e3,
        equilibration_ps=5.0,
        replicas=2,
        timestep_fs=timestep_fs,
    )
    (start,) = simulate_ions(
        model.potential,
        [_box(model, n_ions)],
        Sampling(temperature=sampling.temperature, time_ps=1.0, equilibration_ps=5.0, replicas=2),
    )
    begin = time.process_time()
    (run,) = simulate_ions(
        model.potential, [_box(model, n_ions)], sampling, start=[start.frames[0]]
    )
    stride = max(1, round(sampling.frame_every_fs / timestep_fs))
    before = 500 + round(5e3 / timestep_fs)
    return (time.process_time() - begin) / (2 * (before + run.n_frames * stride))


def _published_call(model: CoarseModel, calls: int) -> float:
    """Return the median CPU seconds of a force call of the published form on 48 ions."""
    import torch
    from ase import Atoms
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.integrations.ase import NequIPCalculator
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    from bjerrum.coarse.simulate import shaken_lattice

    set_global_state()
    elements = list(model.potential.basis.elements)
    network = NequIPGNNModel(
        seed=0,
        model_dtype="float32",
        type_names=elements,
        r_max=10.0,
        num_layers=2,
        l_max=1,
        parity=False,
        num_features=8,
        num_bessels=8,
        bessel_trainable=True,
        radial_mlp_depth=2,
        radial_mlp_width=32,
        polynomial_cutoff_p=6,
        avg_num_neighbors=12.0,
        per_type_energy_scales=1.0,
        per_type_energy_shifts=dict.fromkeys(elements, 0.0),
    )
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
        return _median_call(atoms, places, calls, random)
    finally:
        torch.set_num_threads(threads)


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
        time_ps=100.0,
        equilibration_ps=50.0,
        replicas=16,
        timestep_fs=timestep_fs,
    )
    begin = time.process_time()
    points = concentration_series(model.potential, SERIES, sampling, announce=announce)
    return {
        "cpu_minutes": (time.process_time() - begin) / 60,
        "points": [
            {
                "concentration_mol_per_L": point.molarity,
                "dlna_dlnc_mcmillan_mayer": {k: e.to_json() for k, e in point.dlna_dlnc.items()},
            }
            for point in points
        ],
    }
