"""Committees of a campaign: what they are tested on, when learning stops, whose error is whose."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms

from bjerrum.campaign.opening import open_campaign
from bjerrum.dataset import Dataset, split_blocks
from bjerrum.potential.spec import TrainingSpec
from bjerrum.specification import validate_spec

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
