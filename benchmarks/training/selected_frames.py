"""Frames chosen by a committee's disagreement beside frames taken evenly, at one budget of steps.

    python benchmarks/training/selected_frames.py FRAMES.extxyz training/licl-nnp1/training.toml \
      --steps 7000 --known 60 --add 60 --work WORK -o data/training/selected-licl.json

Two networks of other seeds are trained on the known frames, spread evenly over the training part.
They rank the other training frames as active learning does (disagreement times distance from what
is known, :mod:`bjerrum.active_learning`); the first of these are added. Test blocks are the same
for all. What is finished in WORK is not trained again; folders are those of learning_curve.py.
"""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from learning_curve import Variant, merged, run

from bjerrum.active_learning import choose, disagreement, fingerprints
from bjerrum.dataset import Dataset, load_dataset, spread_evenly
from bjerrum.files import write_json
from bjerrum.potential.model import load_model
from bjerrum.potential.packing import pack_committee
from bjerrum.potential.preparation import choose_split
from bjerrum.potential.spec import TrainingSpec


def reduced(dataset: Dataset, held_back: list[Atoms], kept: list[Atoms]) -> Dataset:
    """Return the dataset with these training frames only, split as before.

    The split depends on the names of all blocks: training blocks that lose every frame take over
    one of a block that has several.
    """
    wanted = {id(frame) for frame in (*held_back, *kept)}
    fixed = {id(frame) for frame in held_back}
    pairs = zip(dataset.frames, dataset.blocks, strict=True)
    frames, blocks = map(list, zip(*((f, b) for f, b in pairs if id(f) in wanted), strict=True))
    for lost in sorted(set(dataset.blocks) - set(blocks)):
        spare = next(
            k
            for k, block in enumerate(blocks)
            if id(frames[k]) not in fixed and blocks.count(block) > 1
        )
        blocks[spare] = lost
    return replace(dataset, frames=tuple(frames), blocks=tuple(blocks))


def main() -> None:
    """Train the committee, choose, train on what was chosen, and write both errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--known", type=int, default=60)
    parser.add_argument("--add", type=int, default=60)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work, config = arguments.work, arguments.config
    dataset = load_dataset(arguments.frames)
    base = tomllib.loads(config.read_text())
    base["optimiser"] = {**base.get("optimiser", {}), "steps": arguments.steps}
    split = choose_split(dataset, TrainingSpec.model_validate(base))
    pool = dataset.of_blocks(split.train)
    held_back = dataset.of_blocks((*split.validation, *split.test))
    results: dict[str, Any] = {}

    def train(name: str, change: dict[str, Any], data: Dataset = dataset) -> Path:
        folder = work / name.replace(" ", "-")
        results[name] = run(data, Variant(name, change), base, config, folder)
        print(name, results[name], flush=True)
        return folder / "model"

    few = {"split": {"training_frames": arguments.known}}
    first = train(f"{arguments.known} frames", few)
    second = train(f"{arguments.known} frames, seed 2", merged(few, {"seed": 2}))
    pack_committee([first, second], work / "committee", dataset.of_blocks(split.test))
    known = spread_evenly(pool, arguments.known)
    others = [frame for frame in pool if not any(frame is k for k in known)]
    ions = [element for element, charge in load_model(str(first)).baseline.charges if charge]
    spread = disagreement(load_model(str(work / "committee")), others)
    vectors = fingerprints([*known, *others], ions)
    chosen = choose(spread, vectors[len(known) :], vectors[: len(known)], arguments.add)
    total = arguments.known + arguments.add
    picked = reduced(dataset, held_back, [*known, *(others[k] for k in chosen)])
    if choose_split(picked, TrainingSpec.model_validate(base)) != split:
        raise RuntimeError("the frames that were left out changed the split")
    train(f"{total} frames", {"split": {"training_frames": total}})
    train(f"{arguments.known} frames and {arguments.add} chosen", {}, picked)
    write_json(
        arguments.output,
        {
            "made_by": "benchmarks/training/selected_frames.py",
            "frames": dataset.source,
            "sha256": dataset.sha256,
            "steps": arguments.steps,
            "spread_of_chosen_over_others": float(spread[chosen].mean() / spread.mean()),
            "variants": results,
        },
    )


if __name__ == "__main__":
    main()
