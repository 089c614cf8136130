"""Error against the number of training frames, and what lowers it, at one budget of steps.

    python benchmarks/training/learning_curve.py FRAMES.extxyz training/licl-nnp1/training.toml \
      --steps 2000 --settings Adam 'l <= 1' --work WORK -o data/training/licl.json
    python benchmarks/training/learning_curve.py KCL.extxyz training/kcl-nnp1/training.toml \
      --counts 6 12 24 --from licl-nnp1 --steps 1500 --work WORK -o data/training/kcl.json

Every training differs from the given one in one setting; errors are those on its test blocks, which
are the same for all. What is finished in WORK is not trained again, what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bjerrum.console import Console
from bjerrum.dataset import Dataset, load_dataset
from bjerrum.files import write_json
from bjerrum.potential.card import read_card
from bjerrum.potential.routine import TrainingRequest, train_model
from bjerrum.potential.spec import TrainingSpec
from bjerrum.potential.starting import starting_point

ALL = "all frames"

SETTINGS: dict[str, dict[str, Any]] = {
    "8 features": {"network": {"n_features": 8}},
    "32 features": {"network": {"n_features": 32}},
    "l <= 1": {"network": {"l_max": 1}},
    "2 layers": {"network": {"n_layers": 2}},
    "equal weights of elements": {"optimiser": {"force_weights": {}}},
    "no energies": {"optimiser": {"energy_weight": 0.0}},
    "hardly an average of weights": {"optimiser": {"ema_decay": 0.5}},
    "a short cooldown": {"optimiser": {"cooldown_fraction": 0.05}},
    "Adam": {"optimiser": {"method": "adam"}},
    "half the learning rate": {"optimiser": {"learning_rate": 0.005}},
    "twice the learning rate": {"optimiser": {"learning_rate": 0.02}},
    "four times the learning rate": {"optimiser": {"learning_rate": 0.04}},
    "eight times the learning rate": {"optimiser": {"learning_rate": 0.08}},
    "sixteen times the learning rate": {"optimiser": {"learning_rate": 0.16}},
}


@dataclass(frozen=True)
class Variant:
    """A training: its name, what it changes, and the model it starts from, if any."""

    name: str
    change: dict[str, Any]
    start: str | None = None


def variants(counts: list[int | None], start: str | None, settings: list[str]) -> list[Variant]:
    """Return the trainings: each number of frames, from the model too, then each setting."""
    found = []
    for n in counts:
        name = ALL if n is None else f"{n} frames"
        change = {} if n is None else {"split": {"training_frames": n}}
        found.append(Variant(name, change))
        if start is not None:
            found.append(Variant(f"{name} from {start}", change, start))
    return [*found, *(Variant(name, SETTINGS[name]) for name in settings)]


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return the nested settings with the changes; an empty table replaces."""
    out = dict(base)
    for key, value in change.items():
        nested = isinstance(value, dict) and value and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if nested else value
    return out


def run(
    dataset: Dataset, variant: Variant, base: dict[str, Any], config: Path, folder: Path
) -> dict[str, Any]:
    """Train one variant, unless it is finished; return its errors and time."""
    spec = TrainingSpec.model_validate(merged(base, variant.change))
    output, spent = folder / "model", folder / "seconds.json"
    start = None if variant.start is None else starting_point(variant.start)
    begin = time.process_time()
    if not spent.is_file():
        request = TrainingRequest(
            spec, config, output, folder / "training", start, new_baseline=start is not None
        )
        with Console() as console:
            train_model(dataset, request, console.training, console.announce)
        write_json(spent, {"cpu_seconds": time.process_time() - begin})
    card = read_card(output)
    return {
        "n_frames": card.data["n_frames"]["train"],
        "start": variant.start,
        "steps": card.training["steps"],
        "force_rmse_meV_per_angstrom": card.errors["force_rmse_meV_per_angstrom"],
        "cpu_seconds": json.loads(spent.read_text())["cpu_seconds"],
    }


def main() -> None:
    """Train every variant and write what was measured after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--counts", type=int, nargs="*", default=[30, 60, 120, 240])
    parser.add_argument("--only-counts", action="store_true", help="not on all frames")
    parser.add_argument("--from", dest="start", help="a model to start from, too")
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=[], metavar="NAME")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(arguments.frames)
    base = tomllib.loads(arguments.config.read_text())
    base["optimiser"] = {**base.get("optimiser", {}), "steps": arguments.steps}
    results: dict[str, Any] = {}
    counts = [*arguments.counts, *(() if arguments.only_counts else (None,))]
    for variant in variants(counts, arguments.start, arguments.settings):
        folder = arguments.work / variant.name.replace(" ", "-").replace("<=", "le")
        results[variant.name] = run(dataset, variant, base, arguments.config, folder)
        print(variant.name, results[variant.name], flush=True)
        write_json(
            arguments.output,
            {
                "made_by": "benchmarks/training/learning_curve.py",
                "frames": dataset.source,
                "sha256": dataset.sha256,
                "steps": arguments.steps,
                "variants": results,
            },
        )


if __name__ == "__main__":
    main()
