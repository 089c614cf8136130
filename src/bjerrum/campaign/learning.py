"""Steps of a campaign that make potentials: training, committees, rounds of active learning."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from bjerrum.campaign.preparation import (
    BOX,
    FRAMES,
    LABELLED,
    STOPPED,
    Inputs,
    Parameters,
)
from bjerrum.files import write_json
from bjerrum.frames import read_frames, write_frames

MODEL, TRAINING = "model", "training"
ROUNDS = "rounds.json"


def train_member(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Train one member of a committee, or go on from that of the round before.

    A round that had no new frames copies it.
    """
    from bjerrum.campaign.toml import write_toml
    from bjerrum.dataset import load_dataset
    from bjerrum.potential.routine import TrainingRequest, train_model
    from bjerrum.potential.spec import TrainingSpec
    from bjerrum.potential.starting import starting_point
    from bjerrum.specification import validate_spec

    before = inputs.get("before")
    if "explored" in inputs and (inputs["explored"] / STOPPED).is_file():
        assert before is not None
        shutil.copytree(before / MODEL, folder / MODEL, dirs_exist_ok=True)
        return
    spec = validate_spec(parameters["training"], TrainingSpec, "training")
    work = folder / TRAINING
    request = TrainingRequest(
        spec,
        write_toml(folder / "training.toml", spec.model_dump(mode="json")),
        folder / MODEL,
        work,
        None if before is None else starting_point(str(before / MODEL)),
    )
    dataset = load_dataset(inputs["labels"] / LABELLED, close_pairs=True)
    train_model(dataset, request, _progress, _announce, member=parameters["member"])
    shutil.rmtree(work)  # checkpoints: the weights are in the model


def _progress(step: int, total: int, rmse: float) -> None:
    print(f"step {step} of {total}: validation force RMSE {rmse:.1f} meV/angstrom", flush=True)


def _announce(stage: str, done: int, total: int) -> None:
    print(f"{stage}: {done} of {total}", flush=True)


def make_committee(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Copy the members together and measure their mean on test blocks that none has seen."""
    from bjerrum.dataset import load_dataset
    from bjerrum.potential.card import read_card
    from bjerrum.potential.packing import pack_committee

    output = folder / parameters["name"]
    members = []
    for name in sorted(name for name in inputs if name.startswith("member_")):
        member = output / name.replace("_", "-")
        shutil.copytree(inputs[name] / MODEL, member, dirs_exist_ok=True)
        members.append(member)
    blocks = read_card(members[0]).data["blocks"]["test"]
    test = load_dataset(inputs["labels"] / LABELLED, close_pairs=True).of_blocks(blocks)
    pack_committee(members, output, test)


def measure_force_error(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Force RMSE of a committee on the held-out frames of one solution, with its error bar.

    sqrt(mean of the frames' mean squared errors); its error by the scatter of the frames, which
    lie picoseconds apart.
    """
    from bjerrum.campaign.measuring import write_measured
    from bjerrum.potential.card import read_card
    from bjerrum.potential.model import load_model

    model = load_model(str(inputs["committee"] / parameters["name"]))
    first = read_card(inputs["committee"] / parameters["name"] / "member-1")
    held = {b for b in first.data["blocks"]["test"] if b.startswith(parameters["block"])}
    frames = [
        frame
        for frame in read_frames(inputs["labels"] / LABELLED, labelled=True)
        if str(frame.info["block"]) in held
    ]
    squares = []
    for frame in frames:
        found = model.bind(list(frame.symbols), frame.cell.array)(frame.positions).forces
        squares.append(float(np.mean((found - frame.get_forces()) ** 2)))
    if len(squares) < 2:
        write_measured(folder, [], [], {"force_rmse": f"{len(squares)} frames were held out"})
        return
    rmse = float(np.sqrt(np.mean(squares)))
    spread = float(np.std(squares, ddof=1) / np.sqrt(len(squares)))
    estimate = {
        "value": 1e3 * rmse,
        "standard_error": 1e3 * spread / (2 * rmse),
        "unit": "meV/angstrom",
        "n_effective": float(len(squares)),
    }
    method = f"mean of {len(model.members)} networks against {parameters['method']} labels"
    entry = {"quantity": "force_rmse", "subject": "", "estimate": estimate, "method": method}
    write_measured(folder, [entry], [], {})


def explore_round(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Explore with the committee and choose frames to label; or stop, if it pays no more.

    inputs  "committee", "labels", "box_<k>", and "before": the round before
    Writes frames.extxyz or stopped.json, and rounds.json: disagreement and error round by round.
    """
    import json

    from bjerrum import active_learning as learning
    from bjerrum.potential.model import load_model

    rounds = []
    if "before" in inputs:
        rounds = json.loads((inputs["before"] / ROUNDS).read_text())
        if (inputs["before"] / STOPPED).is_file():
            write_json(folder / ROUNDS, rounds)
            write_json(folder / STOPPED, {"stopped": True})
            return
    model = load_model(str(inputs["committee"] / parameters["name"]))
    boxes = [read_frames(inputs[k] / BOX)[0] for k in sorted(inputs) if k.startswith("box_")]
    frames = []
    for index, box in enumerate(boxes):
        for turn, how in enumerate(_explorations(parameters)):
            seed = parameters["seed"] + 100 * index + turn
            frames += learning.explore(model, box, how, seed=seed)
    spread = learning.disagreement(model, frames)
    error = model.card.errors["force_rmse_meV_per_angstrom"]["all"] / 1e3
    rounds.append({"disagreement": float(np.mean(spread)), "error": float(error)})
    write_json(folder / ROUNDS, rounds)
    past = [learning.Round(**each) for each in rounds]
    print(f"round {len(past)}: {past[-1]}", flush=True)
    if learning.should_stop(past, parameters["least_gain"]):
        write_json(folder / STOPPED, {"stopped": True})
        return
    species = [s for s, charge in model.baseline.charges if charge]
    labelled = read_frames(inputs["labels"] / LABELLED)
    vectors = learning.fingerprints([*frames, *labelled], species)
    chosen = learning.choose(
        spread, vectors[: len(frames)], vectors[len(frames) :], parameters["frames"]
    )
    picked = [frames[k] for k in sorted(chosen)]
    for rank, frame in enumerate(picked):
        frame.info["block"] = f"{parameters['block']}-{rank + 1}"
    write_frames(folder / FRAMES, picked)


def _explorations(parameters: Parameters) -> list[Any]:
    from bjerrum.active_learning import Exploration

    kelvin = parameters["temperature_K"]
    common = {"time_ps": parameters["explore_ps"], "is_rigid": parameters["is_rigid"]}
    found = [Exploration(temperature=kelvin, **common)]
    if parameters["temperature_factor"] > 1:
        hot = kelvin * parameters["temperature_factor"]
        found.append(Exploration(temperature=hot, **common))
    if parameters["pull_to_angstrom"] is not None:
        pull = parameters["pull_to_angstrom"]
        found.append(Exploration(temperature=kelvin, pull=pull, **common))
    return found
