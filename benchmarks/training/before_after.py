"""Errors of a model and of what was continued from it, on frames that the second has not seen.

    python benchmarks/training/before_after.py FRAMES.extxyz licl-nnp1 licl-dcr2scan \
      -o data/training/before-licl-dcr2scan.json

The frames are the test blocks on the second model's card.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bjerrum.dataset import load_dataset
from bjerrum.errors import InputError
from bjerrum.files import write_json
from bjerrum.potential.evaluate import evaluate
from bjerrum.potential.model import load_model

RMSE = "force_rmse_meV_per_angstrom"


def main() -> None:
    """Evaluate both models on the same frames."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(arguments.frames)
    models = {"before": load_model(arguments.before), "after": load_model(arguments.after)}
    data = models["after"].card.data
    if data["sha256"] != dataset.sha256:
        raise InputError(f"{arguments.frames}: {arguments.after} was trained on other frames")
    test = dataset.of_blocks(data["blocks"]["test"])
    ions = [element for element, charge in models["after"].baseline.charges if charge]
    errors = {name: evaluate(model, test, ions=ions)[RMSE] for name, model in models.items()}
    write_json(
        arguments.output,
        {
            "made_by": "benchmarks/training/before_after.py",
            "model": models["after"].card.name,
            "started_from": models["before"].card.name,
            "frames": dataset.source,
            "n_train": data["n_frames"]["train"],
            "n_test": len(test),
            **errors,
        },
    )


if __name__ == "__main__":
    main()
