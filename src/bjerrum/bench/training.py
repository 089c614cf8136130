"""Training and inference of a network: frames and atom-steps per second, memory, time to reach."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from ase import Atoms
from nequip.data import AtomicDataDict
from nequip.integrations.ase import NequIPCalculator
from nequip.model import NequIPGNNModel

from bjerrum.errors import ModelError
from bjerrum.potential.curve import FORCE_RMSE, read_learning_curve
from bjerrum.potential.export import export_aotinductor, graph_data
from bjerrum.potential.fused.compiler import NoCompiler
from bjerrum.potential.fused.learning import CompiledTraining
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import Model

PUBLISHED_FRAMES_PER_S = 524 / 18.6
"""Training on one GPU: 18.6 s for an epoch of 524 frames of 248 atoms (Zhang et al.,
arXiv:2310.12535)."""

TARGETS = (50.0, 30.0, 20.0, 10.0)
"""Validation force RMSE, meV/angstrom."""

Announce = Callable[[str, int, int], None]


def bench_training(
    model: Model,
    boxes: list[Atoms],
    *,
    rounds: int,
    compiled: bool,
    announce: Announce,
) -> dict[str, Any]:
    """Time forward and backward passes, NequIP's own and compiled in turns, and inference.

    boxes     the first is the one to train on
    rounds    passes that are timed; medians are reported
    compiled  also inference of the network compiled by AOTInductor, in turns with the eager one
              (compiling takes minutes)
    Returns what, ratio (training frames per second, ours over the published one of a GPU), both
    rates, and details with the seconds that the model's own learning curve takes to each target at
    the rate measured here (none where it never got there).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    seconds = _training_seconds(model, boxes[0], rounds, device, announce)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    rate = 1 / min(medians.values())
    inference = [
        _inference(model, box, rounds, compiled=compiled, device=device, announce=announce)
        for box in boxes
    ]
    return {
        "what": "training",
        "ratio": rate / PUBLISHED_FRAMES_PER_S,
        "ours": rate,
        "alternative": PUBLISHED_FRAMES_PER_S,
        "unit": "frames/s",
        "details": {
            "alternative_name": "published: 524 frames of 248 atoms in 18.6 s on one GPU",
            "device": device,
            "n_atoms": len(boxes[0]),
            "training_ms": {name: [1e3 * s for s in own] for name, own in seconds.items()},
            "compiled_training_over_plain": (
                medians["plain"] / medians["compiled"] if "compiled" in medians else None
            ),
            "seconds_to_reach_meV_per_angstrom": seconds_to_reach(model, 1 / rate),
            "inference": inference,
            "threads": torch.get_num_threads(),
            "peak_memory_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "torch": torch.__version__,
            "machine": platform.processor() or platform.machine(),
        },
    }


def seconds_to_reach(model: Model, seconds_per_frame: float) -> dict[str, float | None]:
    """Return the time to each of TARGETS at one frame a step, by the model's learning curve."""
    curve = read_learning_curve(model.folder)
    frames = int(
        model.card.training.get("settings", {}).get("optimiser", {}).get("batch_frames", 1)
    )
    times: dict[str, float | None] = {}
    for target in TARGETS:
        steps = [row["step"] for row in curve if row[FORCE_RMSE] <= target]
        times[f"{target:g}"] = min(steps) * frames * seconds_per_frame if steps else None
    return times


def _training_seconds(
    model: Model, atoms: Atoms, rounds: int, device: str, announce: Announce
) -> dict[str, list[float]]:
    """Return the times of passes: energy and forces, their squared error, its gradient.

    Of NequIP ("plain") and, on the CPU where there is a compiler, of compiled code ("compiled").
    """
    network = NequIPGNNModel(seed=0, **model.card.hyperparameters).to(device).train()
    data = AtomicDataDict.to_(graph_data(model, atoms), device)
    calls: dict[str, Callable[[Any], Any]] = {"plain": network}
    if device == "cpu":
        with suppress(NoCompiler, ModelError):
            calls["compiled"] = CompiledTraining(network, model.card.hyperparameters)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for k in range(rounds + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            output = call(dict(data))
            loss = output[AtomicDataDict.FORCE_KEY].square().mean()
            energy = output[AtomicDataDict.TOTAL_ENERGY_KEY].square().mean()
            (loss + energy / len(atoms)).backward()
            network.zero_grad()
            _wait(device)
            seconds[name].append(time.perf_counter() - begin)
        announce("Training passes", k, rounds)
    return {name: values[1:] for name, values in seconds.items()}


def _inference(
    model: Model, atoms: Atoms, rounds: int, *, compiled: bool, device: str, announce: Announce
) -> dict[str, Any]:
    """Return atom-steps per second: NequIP's network eager and, if wanted, compiled by torch.

    And, on the CPU where there is a compiler, of the code that dynamics generates ("generated"):
    that one with neighbour search, Coulomb part and wall.
    """
    eager = model.network.members[0].bind(list(atoms.symbols), atoms.cell.array)
    calls: dict[str, Callable[[], Any]] = {"eager": lambda: eager(atoms.positions)}
    fast = for_dynamics(model) if device == "cpu" else None
    if fast is not None and fast.how == "fused":
        generated = fast.potential.bind(list(atoms.symbols), atoms.cell.array)
        calls["generated"] = lambda: generated(atoms.positions)
    with TemporaryDirectory(prefix="bjerrum-bench-") as folder:
        if compiled:
            path = export_aotinductor(
                model, atoms, Path(folder) / "network.nequip.pt2", device=device, target="ase"
            )
            own = atoms.copy()
            own.calc = NequIPCalculator.from_compiled_model(
                str(path),
                device=device,
                chemical_species_to_atom_type_map={e: e for e in model.card.elements},
            )

            def call() -> None:
                own.calc.reset()
                own.get_forces()

            calls["compiled"] = call
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for name in calls:
            calls[name]()
        for k in range(rounds):
            for name, once in calls.items():
                begin = time.perf_counter()
                once()
                _wait(device)
                seconds[name].append(time.perf_counter() - begin)
            announce(f"Inference of {len(atoms)} atoms", k + 1, rounds)
    rates = {name: len(atoms) / float(np.median(values)) for name, values in seconds.items()}
    return {
        "n_atoms": len(atoms),
        **{f"{name}_atom_steps_per_s": value for name, value in rates.items()},
        **{f"{name}_over_eager": rates[name] / rates["eager"] for name in rates if name != "eager"},
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
