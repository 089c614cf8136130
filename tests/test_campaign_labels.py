"""Labels of a campaign: what they are does not depend on how and in which parts they are made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bjerrum.campaign import preparation
from bjerrum.campaign.opening import open_campaign
from bjerrum.errors import InputError
from bjerrum.execution.task import Task
from bjerrum.execution.worker import perform
from bjerrum.frames import read_frames, write_frames
from bjerrum.graph import Graph
from bjerrum.store import Store
from test_labelling import Fake, frames
from toy_steps import SEEN

FIRST_PRINCIPLES = Path(__file__).parents[1] / "examples" / "campaign_first_principles.toml"
N_FRAMES = 6


def hashes(folder: Path, old: str = "", new: str = "") -> dict[str, str]:
    """The steps of the worked campaign with one setting changed: hash to kind."""
    text = FIRST_PRINCIPLES.read_text()
    assert old in text
    path = folder / "changed.toml"
    path.write_text(text.replace(old, new))
    (folder / "wide.toml").write_text("workers = 1\ncores_per_worker = 64\noversubscribe = true\n")
    graph = open_campaign(path, folder / "none", folder / "wide.toml").campaign.graph
    return {node.hash: node.kind.name for node in graph}


@pytest.mark.parametrize("new", ["threads = 8", "ranks = 4"])
def test_another_machine_redoes_nothing(tmp_path, new):
    assert hashes(tmp_path, "threads = 1", new) == hashes(tmp_path)


def test_resources_reach_the_function_and_not_the_hash(tmp_path):
    steps = []
    for ranks in (1, 7):
        graph = Graph()
        node = graph.add(SEEN, {"a": 1}, title="seen", resources={"ranks": ranks})
        store = Store(tmp_path / str(ranks))
        store.root.mkdir()
        assert perform(Task.loads(Task.of(node, store).dumps())).kind == "done"
        result = store.find(node.step)
        assert result is not None
        assert result.read_json("seen.json") == {"a": 1, "ranks": ranks}
        steps.append(node.hash)
    assert steps[0] == steps[1]


@pytest.mark.parametrize("new", ["threads = 8", "ranks = 2"])
def test_calculations_larger_than_their_workers_are_refused(tmp_path, new):
    path = tmp_path / "campaign.toml"
    path.write_text(FIRST_PRINCIPLES.read_text().replace("threads = 1", new))
    profile = tmp_path / "profile.toml"
    profile.write_text("workers = 1\ncores_per_worker = 1\n")
    with pytest.raises(InputError, match=r"need \d cores, a worker of the profile has 1; raise"):
        open_campaign(path, tmp_path / "none", profile)
    profile.write_text(
        'kind = "slurm"\n[cpu]\npartition = "main"\nworkers_per_node = 1\ncores_per_worker = 8\n'
    )
    assert open_campaign(path, tmp_path / "none", profile)


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """A folder with frames to label, and a reference that counts what it labels."""
    fake = Fake()
    monkeypatch.setattr(preparation, "reference_for", lambda *given: fake)
    chosen = tmp_path / "steps" / "choose_frames-1"
    chosen.mkdir(parents=True)
    write_frames(chosen / preparation.FRAMES, frames(N_FRAMES))
    return tmp_path, chosen, fake


def label(root: Path, chosen: Path, part: int, parts: int) -> Path:
    folder = root / "steps" / f"label_classical-{part}of{parts}"
    folder.mkdir()
    preparation.label_frames(folder, {"part": part, "parts": parts}, {"frames": chosen})
    return folder


def collected(root: Path, chosen: Path, parts: list[Path]) -> list[float]:
    inputs = {"frames_000": chosen} | {
        f"frames_000_part_{k:04d}": part for k, part in enumerate(parts)
    }
    folder = root / f"collected-{len(parts)}"
    folder.mkdir()
    preparation.collect_labels(folder, {}, inputs)
    labelled = read_frames(folder / preparation.LABELLED, labelled=True)
    return [frame.get_potential_energy() for frame in labelled]


def test_labels_survive_another_number_of_frames_per_task(campaign):
    root, chosen, fake = campaign
    first = [label(root, chosen, k, 2) for k in range(2)]
    assert sum(fake.calls.values()) == N_FRAMES
    before = collected(root, chosen, first)
    again = [label(root, chosen, k, 3) for k in range(3)]
    assert sum(fake.calls.values()) == N_FRAMES, "no frame is labelled twice"
    shutil.rmtree(first[0])
    shutil.rmtree(first[1])
    assert collected(root, chosen, again) == before, "they are copies"
    assert len(before) == N_FRAMES


def test_labels_of_a_stopped_step_survive_and_damaged_ones_do_not(campaign):
    root, chosen, fake = campaign
    first = label(root, chosen, 0, 1)
    kept, damaged = sorted(first.glob("labels/steps/label-*"))[:2]
    for other in sorted(first.glob("labels/steps/label-*"))[2:]:
        shutil.rmtree(other)
    (damaged / "label.json").write_text("{}")
    first.rename(first.with_name("label_classical-0.partial"))
    label(root, chosen, 0, 2)
    label(root, chosen, 1, 2)
    assert kept.name != damaged.name
    assert sum(fake.calls.values()) == N_FRAMES + (N_FRAMES - 1)


def test_another_setting_of_the_reference_is_another_label(campaign):
    root, chosen, fake = campaign
    label(root, chosen, 0, 1)
    fake.settings = "b"
    label(root, chosen, 0, 2)
    label(root, chosen, 1, 2)
    assert sum(fake.calls.values()) == 2 * N_FRAMES
