"""Active learning: choosing, stopping, exploring; rigid water; a whole loop with real labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from bjerrum import active_learning
from bjerrum.active_learning import (
    Exploration,
    Round,
    choose,
    disagreement,
    explore,
    fingerprints,
    nearest_pair,
    should_stop,
    whole,
)
from bjerrum.campaign.opening import open_campaign
from bjerrum.dynamics.rigid import RigidWaters, rigid_langevin
from bjerrum.errors import InputError
from bjerrum.estimate import Evaluation
from bjerrum.execution.driver import Drive
from bjerrum.execution.task import Outcome, Task
from bjerrum.execution.worker import perform
from bjerrum.frames import read_frames
from bjerrum.potential.model import Model, load_model
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2, BOLTZMANN
from conftest import water_box


class InThisProcess:
    """Does each task at once, where it was submitted."""

    slots = 1

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def free(self, *, gpu: bool) -> int:
        return 1 - len(self.outcomes)

    def submit(self, task: Task) -> None:
        self.outcomes.append(perform(task))

    def collect(self) -> list[Outcome]:
        found, self.outcomes = self.outcomes, []
        return found

    def close(self) -> None:
        return


def test_the_choice_by_hand():
    """On a line, known at 0: largest s * distance first, then distances to it count as well."""
    vectors = np.array([[1.0], [10.0], [9.9], [-4.0]])
    spread = np.array([1.0, 1.0, 1.005, 2.0])
    known = np.array([[0.0]])
    # scores 1, 10, 9.95, 8; then 1 (from 0), -, 0.1005, 8; then 1, -, 0.1005, -
    assert choose(spread, vectors, known, 3) == [1, 3, 0]
    assert choose(spread, vectors, known, 99) == [1, 3, 0, 2]
    assert choose(spread, vectors, np.empty((0, 1)), 1) == [3]
    assert choose(np.zeros(2), vectors[:2], known, 2) == []
    assert choose(np.empty(0), np.empty((0, 1)), known, 2) == []
    assert choose(np.ones(1), known, known, 1) == [], "what is known already is never taken"


def test_when_to_stop():
    first = Round(1.0, 0.5)
    assert not should_stop([first], 0.05)
    assert not should_stop([first, Round(0.9, 0.5)], 0.05)
    assert not should_stop([first, Round(1.0, 0.4)], 0.05)
    assert should_stop([first, Round(0.97, 0.49)], 0.05)
    assert should_stop([Round(9.0, 9.0), first, Round(1.2, 0.6)], 0.05)


def test_fingerprints_know_no_shift_turn_or_order(box):
    shifted = box.copy()
    shifted.positions += [1.0, 2.0, 3.0]
    turned = box.copy()
    turned.positions = turned.positions[:, [1, 2, 0]]
    order = np.random.default_rng(0).permutation(len(box))
    other = water_box(seed=5)
    found = fingerprints([box, shifted, turned, box[order], other], ["Li", "Cl"])
    assert found[1:4] == pytest.approx(np.broadcast_to(found[0], (3, found.shape[1])))
    assert np.linalg.norm(found[4] - found[0]) > 0.1


def pairs_of_waters(positions: np.ndarray, n: int) -> np.ndarray:
    waters = positions[: 3 * n].reshape(-1, 3, 3)
    return np.stack(
        [np.linalg.norm(waters[:, i] - waters[:, j], axis=1) for i, j in ((0, 1), (0, 2), (1, 2))]
    )


def free(positions: np.ndarray) -> Evaluation:
    return Evaluation(0.0, np.zeros_like(positions))


def test_rigid_waters_stay_rigid_and_as_warm_as_they_should(box):
    """Without forces: distances to 1e-8, and rotation and translation hold 6 kT/2 a water."""
    n, temperature = 8, 300.0
    masses = box.get_masses()
    frames = rigid_langevin(
        box.positions,
        masses,
        free,
        n,
        timestep_fs=2.0,
        n_steps=1600,
        stride=4,
        temperature=temperature,
        friction_per_ps=50.0,
        seed=3,
    )
    assert frames.shape == (400, len(box), 3)
    expected = pairs_of_waters(box.positions, n)
    for frame in frames[::100]:
        assert pairs_of_waters(frame, n) == pytest.approx(expected, rel=1e-8)
    centres = frames[:, : 3 * n].reshape(400, n, 3, 3)
    weights = masses[:3] / masses[:3].sum()
    centre = np.einsum("fnak,a->fnk", centres, weights)
    # Langevin: <dx^2> = 2 kT/(m g) (t - (1 - e^{-g t})/g) per coordinate
    t, g = 8.0, 0.05
    mass = masses[:3].sum() * AMU_IN_EV_FS2_PER_ANGSTROM2
    diffusion = BOLTZMANN * temperature / (mass * g)
    variance = 2 * diffusion * (t - (1 - np.exp(-g * t)) / g)
    measured = ((centre[1:] - centre[:-1]) ** 2).mean()
    assert measured == pytest.approx(variance, rel=0.06)


def test_rattle_and_shake_do_nothing_to_what_is_rigid(box):
    waters = RigidWaters.of(box.positions, 8)
    masses = box.get_masses()
    same = waters.shake(box.positions, box.positions, masses)
    assert same == pytest.approx(box.positions, abs=1e-12)
    drift = np.tile([0.01, -0.02, 0.03], (len(box), 1))
    assert waters.rattle(drift, box.positions, masses) == pytest.approx(drift, abs=1e-14)
    turning = np.cross([0.01, 0.02, 0.0], box.positions)
    assert waters.rattle(turning, box.positions, masses) == pytest.approx(turning, abs=1e-12)
    random = np.random.default_rng(1).standard_normal(drift.shape)
    held = waters.rattle(random, box.positions, masses)
    assert masses @ held == pytest.approx(masses @ random), "momentum is kept"
    assert not np.allclose(held, random)


def test_whole_waters(box):
    wrapped = box.copy()
    wrapped.wrap()
    assert pairs_of_waters(whole(wrapped, 8), 8) == pytest.approx(pairs_of_waters(box.positions, 8))


TINY = """\
name = "tiny"
measure = ["force-error", "structure"]

[solutions]
salts = ["LiCl"]
molalities_mol_per_kg = [2.0]

[box]
waters = 36
replicas = 2
classical_equilibration_ps = 20

[reference]
method = "{method}"
sample_ps = 3
frames = 8
blocks = 4
frames_per_task = 8

[training]
committee = 2
network = {{ cutoff_angstrom = 3.5, n_layers = 2, l_max = 1, n_features = 4, radial_width = 8 }}
split = {{ validation_blocks = 1, test_blocks = 2 }}
optimiser = {{ steps = 100, round_steps = 10, warmup_steps = 5 }}

[learning]
rounds = 2
explore_ps = 0.05
frames = 4
steps = 40

[simulation]
potential = "trained"
length_ps = 0.1
timestep_fs = 2.0
frame_every_fs = 4
"""


def learned(folder: Path, text: str) -> tuple[Drive, Path]:
    path = folder / "tiny.toml"
    path.write_text(text)
    opened = open_campaign(path, folder / "out")
    opened.store.root.mkdir(exist_ok=True)
    drive = Drive(opened.campaign.graph, opened.store, InThisProcess())
    drive.run()
    assert not drive.failed, drive.failed
    return drive, opened.store.root


SMALL = {
    "classical_equilibration_ps = 20": "classical_equilibration_ps = 8",
    "sample_ps = 3": "sample_ps = 2",
    "steps = 100, round_steps = 10": "steps = 40, round_steps = 20",
    "rounds = 2": "rounds = 1",
    "explore_ps = 0.05": "explore_ps = 0.02",
    "steps = 40\n": "steps = 20\n",
    "length_ps = 0.1": "length_ps = 0.02",
}
"""The same loop in a tenth of the time: a committee that has only begun to learn."""


@pytest.mark.parametrize("n_rounds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loop_with_the_classical_reference(tmp_path, n_rounds):
    """Boxes, labels, a committee, rounds of exploring and labelling, dynamics, errors."""
    text = TINY.format(method="classical")
    for old, new in SMALL.items() if n_rounds == 1 else ():
        assert old in text
        text = text.replace(old, new)
    drive, root = learned(tmp_path, text)
    rounds = [json.loads(p.read_text()) for p in root.glob("steps/explore_round-*/rounds.json")]
    assert len(max(rounds, key=len)) == n_rounds
    chosen = sum(
        path.read_text().count("Lattice")
        for path in root.glob("steps/explore_round-*/frames.extxyz")
    )
    assert chosen >= 2
    sizes, left_out = [], 0
    for folder in root.glob("steps/collect_labels-*"):
        sizes.append((folder / "labelled.extxyz").read_text().count("Lattice"))
        failures = json.loads((folder / "failures.json").read_text())
        assert all("a force of" in failure["reason"] for failure in failures)
        left_out += len(failures)
    assert min(sizes) == 16
    assert max(sizes) + left_out == 16 + chosen
    found = [json.loads(p.read_text()) for p in root.glob("steps/*/estimates.json")]
    (error,) = next(e for e in found if e and e[0]["quantity"] == "force_rmse")
    assert 20 < error["estimate"]["value"] < 1000
    assert {folder.name.rsplit("-", 1)[0] for folder in (root / "steps").iterdir()} == {
        node.kind.name for node in drive.graph
    }
    last = [node for node in drive.graph if node.kind.name == "make_committee"][-1]
    box = next(node for node in drive.graph if node.kind.name == "build_box")
    folders = [drive.store.folder_of(node.step) for node in (last, box)]
    explore_and_pull(folders[0] / "LiCl", folders[1] / "box.extxyz")


def explore_and_pull(model: Path, box: Path) -> None:
    """Exploring is repeatable, the members disagree, and a pulled pair comes nearer."""
    committee, atoms = load_model(str(model)), read_frames(box)[0]
    assert len(committee.members) == 2
    how = Exploration(time_ps=0.02, temperature=298.15, is_rigid=True, frame_every_fs=10)
    frames = explore(committee, atoms, how, seed=1)
    again = explore(committee, atoms, how, seed=1)
    assert [f.positions.tolist() for f in frames] == [f.positions.tolist() for f in again]
    assert (disagreement(committee, frames) > 0).all()
    first, second = nearest_pair(atoms, committee)
    assert {atoms.symbols[first], atoms.symbols[second]} == {"Li", "Cl"}
    before = atoms.get_distance(first, second, mic=True)
    pulled = Exploration(
        time_ps=0.2, temperature=298.15, is_rigid=True, frame_every_fs=50, pull=before - 0.8
    )
    end = explore(committee, atoms, pulled, seed=2)[-1]
    assert end.get_distance(first, second, mic=True) < before - 0.2


FIRST_PRINCIPLES = """\
name = "first principles"
measure = ["force-error", "structure"]

[solutions]
salts = ["LiCl"]
molalities_mol_per_kg = [2.135]

[box]
waters = 26
replicas = 1
classical_equilibration_ps = 8

[reference]
method = "r2scan"
settings = "light.toml"
sample_ps = 3
frames = 7
blocks = 7

[training]
committee = 2
network = { cutoff_angstrom = 4.0, n_layers = 2, l_max = 1, n_features = 8, radial_width = 16 }
split = { validation_blocks = 1, test_blocks = 1 }
optimiser = { steps = 400, round_steps = 50, warmup_steps = 10 }

[learning]
rounds = 1
explore_ps = 0.05
frames = 1
steps = 200

[simulation]
potential = "trained"
length_ps = 0.02
timestep_fs = 0.5
frame_every_fs = 2
"""
LIGHT = """\
method = "r2scan"
cutoff_ry = 300
rel_cutoff_ry = 30
eps_default = 1e-6
smoothing = "nn10"
grid_correction = "none"
scf = { tolerance = 3e-4 }
"""
"""Far from converged, a minute of a core for a label: what counts here is the loop."""


@pytest.mark.slow
@pytest.mark.cp2k
@pytest.mark.timeout(7200)
def test_a_loop_with_cp2k_on_a_small_box(tmp_path):
    """The same loop with r2SCAN: 1 LiCl in 26 waters, the least that the classical start takes.

    Forces are CP2K's, the committee is better on the frames that it had asked for once it has
    their labels, and a second driver calls no program again.
    """
    (tmp_path / "light.toml").write_text(LIGHT)
    drive, root = learned(tmp_path, FIRST_PRINCIPLES)
    asked = list(root.glob("steps/explore_round-*/frames.extxyz"))
    assert len(asked) == 1
    chosen = read_frames(asked[0])
    assert len(chosen) == 1
    outputs = sorted(root.glob("steps/label_r2scan-*/labels/steps/*/*.out"))
    assert len(outputs) == 7 + len(chosen)
    assert all("SCF run converged" in path.read_text() for path in outputs)
    nodes = {kind: [n for n in drive.graph if n.kind.name == kind] for kind in LOOP}
    folders = {k: [drive.store.folder_of(n.step) for n in found] for k, found in nodes.items()}
    before, after = (load_model(str(f / "LiCl")) for f in folders["make_committee"])
    labelled = read_frames(folders["collect_labels"][-1] / "labelled.extxyz", labelled=True)
    assert len(labelled) == len(outputs)
    new = [frame for frame in labelled if "round" in str(frame.info["block"])]
    assert [frame.positions.tolist() for frame in new] == [f.positions.tolist() for f in chosen]
    assert force_error(after, new) < 0.9 * force_error(before, new)
    times = {path: path.stat().st_mtime_ns for path in outputs}
    again = Drive(drive.graph, drive.store, InThisProcess())
    again.run()
    assert again.done == drive.done
    assert not again.attempts
    assert {path: path.stat().st_mtime_ns for path in outputs} == times


LOOP = ("make_committee", "collect_labels")


def force_error(model: Model, frames: list[Atoms]) -> float:
    """Return the root mean square of the differences of force components, eV/angstrom."""
    found = [model.bind(list(f.symbols), f.cell.array)(f.positions).forces for f in frames]
    labels = [frame.get_forces() for frame in frames]
    return float(np.sqrt(np.mean((np.concatenate(found) - np.concatenate(labels)) ** 2)))


@pytest.mark.parametrize("rigid", [False, True])
@pytest.mark.parametrize(("growth_per_ps", "n_frames"), [(20.0, 1), (3e3, 0)])
def test_a_run_that_is_lost_early_gives_what_came_before(rigid, growth_per_ps, n_frames):
    """x'' = k^2 x: a hill, on which a kinetic energy grows as exp(2 k t).

    The slower one is lost after tens of steps and before the first frame, the other in one step.
    """
    box = water_box(8, seed=1, edge=9.3)
    stiffness = (
        (growth_per_ps * 1e-3) ** 2 * box.get_masses()[:, None] * AMU_IN_EV_FS2_PER_ANGSTROM2
    )
    walk = active_learning._rigid_walk if rigid else active_learning._flexible_walk

    def hill(positions):
        away = positions - box.positions.mean(axis=0)
        return Evaluation(-0.5 * float((stiffness * away**2).sum()), stiffness * away)

    how = Exploration(time_ps=0.5, temperature=300.0, is_rigid=rigid, frame_every_fs=100.0)
    found = walk(box, hill, how, 3)
    assert found.shape == (n_frames, len(box), 3)
    if n_frames:
        moved = np.linalg.norm(found[0] - whole(box, 8), axis=1)
        assert 0.02 < np.median(moved) < 2.0


def test_boxes_without_ions_cannot_be_pulled(tiny_model):
    water = Atoms("OH2", np.eye(3), cell=[6, 6, 6], pbc=True)
    with pytest.raises(InputError, match="needs a cation and an anion"):
        nearest_pair(water, load_model(str(tiny_model)))
