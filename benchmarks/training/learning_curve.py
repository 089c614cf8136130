"""Error against the number of training frames, and what lowers it, at one budget of steps.

    python benchmarks/training/learning_curve.py FRAMES.extxyz training/licl-nnp1/training.toml \
      --steps 4000 --work WORK -o data/licl-training/learning-curve.json

Every training differs from the given one in one setting; errors are those on its test blocks, which
are the same for all. What is finished in WORK is not trained again, what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from pathlib import Path
from typing import Any

import torch

from bjerrum.console import Console
from bjerrum.dataset import Dataset, load_dataset
from bjerrum.files import write_json
from bjerrum.potential.card import read_card
from bjerrum.potential.routine import TrainingRequest, train_model
from bjerrum.potential.spec import TrainingSpec

FRAMES = (30, 60, 120, 240)
"""Numbers of training frames; all of them is the reference, "as shipped"."""

SETTINGS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "8 features": {"network": {"n_features": 8}},
    "32 features": {"network": {"n_features": 32}},
    "l <= 1": {"network": {"l_max": 1}},
    "2 layers": {"network": {"n_layers": 2}},
    "equal weights of elements": {"optimiser": {"force_weights": {}}},
    "no energies": {"optimiser": {"energy_weight": 0.0}},
    "hardly an average of weights": {"optimiser": {"ema_decay": 0.5}},
    "no cooldown": {"optimiser": {"cooldown_fraction": 0.0}},
    "Adam": {"optimiser": {"method": "adam"}},
    "half the learning rate": {"optimiser": {"learning_rate": 0.005}},
}


def variants(steps: int) -> dict[str, dict[str, Any]]:
    """Return what each training changes, by name."""
    counts = {f"{n} frames": {"split": {"training_frames": n}} for n in FRAMES}
    chosen = {**counts, **SETTINGS}
    own = {"optimiser": {"steps": steps}}
    return {name: merged(own, change) for name, change in chosen.items()}


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return the nested settings with the changes; an empty table replaces."""
    out = dict(base)
    for key, value in change.items():
        nested = isinstance(value, dict) and value and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if nested else value
    return out


def run(dataset: Dataset, settings: dict[str, Any], config: Path, folder: Path) -> dict[str, Any]:
    """Train one variant, unless it is finished; return its errors and time."""
    spec = TrainingSpec.model_validate(settings)
    output, spent = folder / "model", folder / "seconds.json"
    begin = time.process_time()
    if not (output / "model.json").is_file():
        request = TrainingRequest(spec, config, output, folder / "training")
        with Console() as console:
            train_model(dataset, request, console.training, console.announce)
        write_json(spent, {"cpu_seconds": time.process_time() - begin})
    card = read_card(output)
    return {
        "n_frames": card.data["n_frames"]["train"],
        "steps": card.training["steps"],
        "force_rmse_meV_per_angstrom": card.errors["force_rmse_meV_per_angstrom"],
        "cpu_seconds": json.loads(spent.read_text())["cpu_seconds"],
    }


def main() -> None:
    """Train every variant and write what was measured after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--only", nargs="*", help="names of variants; default: all")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(arguments.frames)
    base = tomllib.loads(arguments.config.read_text())
    results = {}
    for name, change in variants(arguments.steps).items():
        if arguments.only and name not in arguments.only:
            continue
        folder = arguments.work / name.replace(" ", "-").replace("<=", "le")
        results[name] = run(dataset, merged(base, change), arguments.config, folder)
        print(name, results[name], flush=True)
        write_json(
            arguments.output,
            {
                "frames": dataset.source,
                "sha256": dataset.sha256,
                "steps": arguments.steps,
                "made_by": "benchmarks/training/learning_curve.py",
                "variants": results,
            },
        )


if __name__ == "__main__":
    main()
