"""Committees of a campaign: what they are tested on, when learning stops, whose error is whose."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from bjerrum.campaign.learning import explore_round, train_member
from bjerrum.campaign.opening import open_campaign
from bjerrum.campaign.preparation import FRAMES, STOPPED, label_frames
from bjerrum.dataset import Dataset, split_blocks
from bjerrum.frames import write_frames
from bjerrum.potential.spec import TrainingSpec
from bjerrum.specification import validate_spec
from bjerrum.store import Store

EXAMPLE = Path(__file__).parents[1] / "examples" / "campaign.toml"


def of_blocks(names: list[str]) -> Dataset:
    return Dataset(tuple(Atoms("H") for _ in names), tuple(names), "invented", "none", "")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("member", [0, 1, 2])
def test_what_was_trained_on_is_never_tested_on(seed, member):
    """Blocks of active learning join the training part and move no other."""
    old = [f"LiCl-{k}" for k in range(12)]
    sizes = {"n_validation": 2, "n_test": 3, "seed": seed, "member": member}
    before = split_blocks(of_blocks(old), **sizes)
    new = [f"LiCl-round-1-{k}" for k in range(6)]
    after = split_blocks(of_blocks([*new, *old]), **sizes, trained=["LiCl-round-"])
    assert (after.test, after.validation) == (before.test, before.validation)
    assert set(after.train) == {*before.train, *new}
    assert split_blocks(of_blocks(old), **sizes, trained=["LiCl-round-"]) == before


def test_every_solution_of_the_worked_campaign_has_frames_that_no_round_has_trained_on(tmp_path):
    """The splits of all rounds and members, as the steps will choose them, from the graph alone."""
    campaign = open_campaign(EXAMPLE, tmp_path / "none").campaign
    trained = [node for node in campaign.graph if node.kind.name == "train_member"]
    assert {"before" in node.needs for node in trained} == {True, False}
    blocks = [f"LiCl-{m:g}-298.15-{r}-{b}" for m in (1, 2, 4) for r in (1, 2) for b in (1, 2)]
    found, seen = set(), set()
    for node in trained:
        if "LiCl" not in node.title:
            continue
        spec = validate_spec(node.step.parameters["training"], TrainingSpec, "training")
        rounds = [f"LiCl-round-1-{k}" for k in range(1, 7)] if "before" in node.needs else []
        dataset = of_blocks([*blocks, *rounds])
        split = choose_split_of_blocks(dataset, spec.of_member(node.step.parameters["member"]))
        found.add(split.test)
        seen |= {*split.train, *split.validation}
    assert len(found) == 1
    (test,) = found
    assert not seen & set(test)
    assert {name.rsplit("-", 2)[0] for name in test} == {f"LiCl-{m}-298.15" for m in (1, 2, 4)}


def choose_split_of_blocks(dataset: Dataset, spec: TrainingSpec):
    split = spec.split
    return split_blocks(
        dataset,
        n_validation=split.validation_blocks,
        n_test=split.test_blocks,
        seed=split.seed,
        member=split.member,
        trained=split.trained_blocks,
    )


def test_force_errors_are_those_of_the_committee(tmp_path):
    """Not of the reference that the other numbers of the worked campaign come from."""
    campaign = open_campaign(EXAMPLE, tmp_path / "none").campaign
    parts = [part for part in campaign.measured if "force-error" in part.measurements]
    assert len(parts) == 9
    for part in parts:
        assert part.model is not None
        assert list(part.measurements) == ["force-error"]
        assert part.name == f"{part.solution}: force error of the committee"
    rest = [part for part in campaign.measured if "force-error" not in part.measurements]
    assert [part.solution for part in rest] == [part.solution for part in parts]
    assert not any(part.model for part in rest)


class Committee:
    """Members that disagree as they are told."""

    class card:
        errors = {"force_rmse_meV_per_angstrom": {"all": 50.0}}  # noqa: RUF012

    class baseline:
        charges = (("Li", 1.0), ("Cl", -1.0), ("O", 0.0), ("H", 0.0))


def test_learning_stops_early_all_through_the_graph(tmp_path, monkeypatch):
    """Rounds 1 and 2 explore, the second gains nothing: no more labels, no more training after it.

    The steps are those of the worked campaign with three rounds, done by their own functions; what
    costs (dynamics, networks, labels) is replaced where it is called.
    """
    import bjerrum.active_learning as active
    import bjerrum.potential.model as models

    path = tmp_path / "campaign.toml"
    text = EXAMPLE.read_text().replace("rounds = 1", "rounds = 3")
    path.write_text(text.replace('salts = ["LiCl", "NaCl", "KCl"]', 'salts = ["LiCl"]'))
    graph = open_campaign(path, tmp_path / "none").campaign.graph
    store, explored, trained = Store(tmp_path / "run"), [], []
    box = Atoms("LiClOH2", [[k, 0.5 * k, 0.2 * k * k] for k in range(5)], cell=[9.0] * 3, pbc=True)

    def explore(model, start, how, *, seed):
        explored.append(seed)
        return [box.copy() for _ in range(4)]

    monkeypatch.setattr(models, "load_model", lambda name: Committee())
    monkeypatch.setattr(active, "explore", explore)
    monkeypatch.setattr(active, "disagreement", lambda model, frames: np.full(len(frames), 0.3))

    def choose(folder: Path, parameters, inputs) -> None:
        write_frames(folder / FRAMES, [box])

    def build(folder: Path, parameters, inputs) -> None:
        write_frames(folder / "box.extxyz", [box])

    def train(folder: Path, parameters, inputs) -> None:
        if "explored" in inputs and (inputs["explored"] / STOPPED).is_file():
            train_member(folder, parameters, inputs)  # copies the member of before
            return
        trained.append(parameters["member"])
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text(f"{len(trained)}")

    def label(folder: Path, parameters, inputs) -> None:
        if (inputs["frames"] / STOPPED).is_file():
            label_frames(folder, parameters, inputs)  # passes it on
        else:
            note(folder, parameters, inputs)

    def collect(folder: Path, parameters, inputs) -> None:
        write_frames(folder / "labelled.extxyz", [box])

    def note(folder: Path, parameters, inputs) -> None:
        (folder / "done").write_text("")

    functions = {
        "build_box": build,
        "choose_frames": choose,
        "train_member": train,
        "explore_round": explore_round,
        "label_classical": label,
        "collect_labels": collect,
    }
    for node in graph:
        function = functions.get(node.kind.name, note)
        inputs = {name: Path(place) for name, place in node.paths(store).items()}
        store.complete(node.step, partial(function, parameters=node.step.parameters, inputs=inputs))
    rounds = [node for node in graph if node.kind.name == "explore_round"]
    stopped = [(store.folder_of(node.step) / STOPPED).is_file() for node in rounds]
    assert stopped == [False, True, True]
    history = json.loads((store.folder_of(rounds[-1].step) / "rounds.json").read_text())
    assert len(history) == 2, "the third round explored nothing"
    assert len(set(explored)) == len(explored) == 2 * 3 * 3
    assert len(trained) == 2 * 2, "two members, at first and after the first round"
    members = [node for node in graph if node.kind.name == "train_member"]
    weights = [(store.folder_of(node.step) / "model" / "weights").read_text() for node in members]
    assert weights == ["1", "2", "3", "4", "3", "4", "3", "4"]
