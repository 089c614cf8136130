"""Training lowers the error, survives kill -9 and can be prolonged; what is packed is what it was.

Labels are a toy (Morse between all atoms plus the screened Coulomb energy of the ions), boxes are
tiny and trainings last a dozen steps: the code paths are those of a real training.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.dataset import Dataset, load_dataset
from bjerrum.errors import InputError, ModelError, PhysicsCheckFailed
from bjerrum.frames import read_frames, write_frames
from bjerrum.potential import rounds, training
from bjerrum.potential.card import CARD
from bjerrum.potential.curve import FORCE_RMSE, read_learning_curve
from bjerrum.potential.model import load_model
from bjerrum.potential.nequip import NequipNetwork
from bjerrum.potential.packing import pack_model
from bjerrum.potential.rounds import BEST_WEIGHTS, read_best
from bjerrum.potential.spec import TrainingSpec
from bjerrum.potential.training import prepare, train
from conftest import BASELINE, water_box

SPEC = TrainingSpec.model_validate(
    {
        "network": {
            "cutoff_angstrom": 3.0,
            "n_layers": 2,
            "l_max": 1,
            "n_features": 4,
            "n_bessels": 4,
            "radial_width": 8,
        },
        "baseline": {"charges_e": {"Li": 1, "Cl": -1}, "dielectric_constant": 78.3},
        "split": {"validation_blocks": 1, "test_blocks": 1},
        "optimiser": {
            "learning_rate": 0.03,
            "steps": 12,
            "round_steps": 4,
            "warmup_steps": 2,
            "cooldown_fraction": 0.34,
            "ema_decay": 0.5,
            "force_weights": {"H": 2.0},
        },
        "card": {"labels": "A toy.", "limits": ["Good for nothing."]},
    }
)
CONFIG = "[baseline]\ncharges_e = { Li = 1, Cl = -1 }\ndielectric_constant = 78.3\n"


def with_optimiser(spec: TrainingSpec, **changes) -> TrainingSpec:
    return spec.model_copy(update={"optimiser": spec.optimiser.model_copy(update=changes)})


def toy_labels(atoms):
    """Morse energy of all pairs (nearest images) and screened Coulomb energy; and the forces."""
    depth, steepness, distance = 0.2, 1.4, 1.7
    d = atoms.get_all_distances(mic=True, vector=True)
    r = np.linalg.norm(d, axis=2) + 1e9 * np.eye(len(atoms))
    x = np.exp(-steepness * (r - distance))
    slope = 2 * depth * steepness * (x - x**2)
    coulomb = BASELINE.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    energy = 0.5 * depth * ((1 - x) ** 2 - 1).sum() + coulomb.energy - 16000.0
    forces = ((slope / r)[:, :, None] * d).sum(axis=1) + coulomb.forces
    return {"energy": energy, "forces": forces}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Twelve labelled frames in six blocks."""
    frames = []
    for k in range(12):
        atoms = water_box(seed=20 + k)
        atoms.info = {"block": f"b{k // 2}", "method": "toy"}
        atoms.calc = SinglePointCalculator(atoms, **toy_labels(atoms))
        frames.append(atoms)
    path = tmp_path_factory.mktemp("data") / "frames.extxyz"
    write_frames(path, frames)
    return load_dataset(path)


def run(dataset, spec, folder, **options):
    """Train and return the steps that were reported."""
    reported = []
    prepared = prepare(dataset, spec, folder)
    train(prepared, progress=lambda *report: reported.append(report), **options)
    return reported


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory) -> Path:
    """A training folder after an undisturbed training; nobody may change it."""
    folder = tmp_path_factory.mktemp("finished") / "training"
    reported = run(dataset, SPEC, folder)
    assert [report[:2] for report in reported] == [(4, 12), (8, 12), (12, 12)]
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_toy_labels_are_consistent():
    atoms, step = water_box(seed=30), 1e-5
    forces = toy_labels(atoms)["forces"]
    for atom, axis in ((0, 0), (24, 1), (25, 2)):
        energies = []
        for sign in (+1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(toy_labels(moved)["energy"])
        slope = (energies[0] - energies[1]) / (2 * step)
        assert -slope == pytest.approx(forces[atom, axis], abs=2e-5)


def test_training_lowers_the_validation_error(finished):
    curve = read_learning_curve(finished)
    assert [row["step"] for row in curve] == [4, 8, 12]
    errors = [row[FORCE_RMSE] for row in curve]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.97 * errors[0]


def test_the_coulomb_part_is_subtracted_from_what_is_learnt(dataset, finished):
    prepared = prepare(dataset, SPEC, finished)
    for part in ("train", "validation"):
        originals = dataset.of_blocks(getattr(prepared.split, part))
        residuals = read_frames(finished / f"{part}.extxyz", labelled=True)
        assert len(originals) == len(residuals) == {"train": 8, "validation": 2}[part]
        for original, residual in zip(originals, residuals, strict=True):
            bound = BASELINE.bind(list(residual.symbols), residual.cell.array)
            coulomb = bound(residual.positions)
            total = residual.get_potential_energy() + coulomb.energy
            assert total == pytest.approx(original.get_potential_energy(), abs=1e-7)
            forces = residual.get_forces() + coulomb.forces
            assert np.allclose(forces, original.get_forces(), atol=2e-8)
            assert np.abs(coulomb.forces[-2:]).max() > 1e-3


def test_best_weights_have_the_error_that_is_recorded(finished):
    step, rmse = read_best(finished)
    rows = {row["step"]: row[FORCE_RMSE] for row in read_learning_curve(finished)}
    assert rows[step] == min(rows.values()) == pytest.approx(rmse, rel=1e-5)
    model = json.loads((finished / "nequip.json").read_text())["training_module"]["model"]
    network = NequipNetwork(
        {k: v for k, v in model.items() if k not in ("_target_", "seed")}, finished / BEST_WEIGHTS
    )
    errors = []
    for atoms in read_frames(finished / "validation.extxyz", labelled=True):
        forces = network.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions).forces
        errors.append(forces - atoms.get_forces())
    assert 1e3 * np.sqrt(np.mean(np.square(errors))) == pytest.approx(rmse, rel=1e-4)


def kill_self(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["after the first round", "before the second checkpoint"])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(dataset, finished, moment, tmp_path):
    folder = tmp_path / "killed"

    def work():
        if moment.startswith("after"):
            train(prepare(dataset, SPEC, folder), progress=kill_self)
        written = []

        def write(*arguments):
            written.append(unspoilt(*arguments))
            if len(written) == 2:
                kill_self()

        unspoilt, rounds.write_learning_curve = rounds.write_learning_curve, write
        run(dataset, SPEC, folder)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert len(read_learning_curve(folder)) < 3
    reported = run(dataset, SPEC, folder)
    assert [report[0] for report in reported] == [8, 12]
    assert read_learning_curve(folder) == read_learning_curve(finished)
    assert read_best(folder) == read_best(finished)


def test_a_finished_training_has_nothing_to_do(dataset, copy):
    assert run(dataset, SPEC, copy) == []


def test_prolonging_goes_back_to_the_plateau(dataset, copy, tmp_path):
    longer = with_optimiser(SPEC, steps=20)
    before = read_learning_curve(copy)
    assert [report[:2] for report in run(dataset, longer, copy)] == [(12, 20), (16, 20), (20, 20)]
    curve = read_learning_curve(copy)
    assert curve[:2] == before[:2]
    assert before[2]["learning_rate"] < curve[2]["learning_rate"]
    run(dataset, longer, tmp_path / "at-once")
    assert curve == read_learning_curve(tmp_path / "at-once")


def test_prolonging_survives_a_kill_before_its_first_round(dataset, copy):
    longer = with_optimiser(SPEC, steps=20)
    prepared = prepare(dataset, longer, copy)
    assert training._checkpoint_to_continue(prepared).name == "plateau.ckpt"
    assert training._checkpoint_to_continue(prepared).name == "plateau.ckpt"


def test_prolonging_again_on_the_plateau_loses_nothing(dataset, copy):
    run(dataset, with_optimiser(SPEC, steps=40), copy, max_minutes=1e-9)
    reported = run(dataset, with_optimiser(SPEC, steps=48), copy, max_minutes=1e-9)
    assert [report[0] for report in reported] == [16]


def test_prolonging_keeps_the_best_weights_until_they_are_beaten(dataset, copy):
    data = (copy / BEST_WEIGHTS).read_bytes()
    best = read_best(copy)
    slow = with_optimiser(SPEC, steps=16)
    reported = run(dataset, slow, copy, max_minutes=1e-9)
    assert reported[0][2] != best[1]
    if reported[0][2] > best[1]:
        assert (copy / BEST_WEIGHTS).read_bytes() == data
    assert read_best(copy)[1] == min(best[1], reported[0][2])


def test_refuses_fewer_steps_than_are_done(dataset, copy):
    with pytest.raises(InputError, match=r"has done 8 steps.*got 4"):
        run(dataset, with_optimiser(SPEC, steps=4), copy)
    assert run(dataset, SPEC, copy) == []


def test_a_deadline_stops_after_a_round_and_counts_anew(dataset, tmp_path):
    for step in (4, 8):
        reported = run(dataset, SPEC, tmp_path, max_minutes=1e-9)
        assert [report[0] for report in reported] == [step]
    assert [report[0] for report in run(dataset, SPEC, tmp_path, max_minutes=60)] == [12]


def test_ctrl_c_reaches_the_caller_and_leaves_the_rounds_that_are_done(dataset, tmp_path):
    def press(*_):
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(prepare(dataset, SPEC, tmp_path), progress=press)
    assert signal.getsignal(signal.SIGINT) is handler
    assert [row["step"] for row in read_learning_curve(tmp_path)] == [4]
    assert [report[0] for report in run(dataset, SPEC, tmp_path)] == [8, 12]


def test_a_diverging_training_is_stopped(dataset, tmp_path):
    with pytest.raises(PhysicsCheckFailed, match="learning_rate"):
        run(dataset, with_optimiser(SPEC, method="adam", learning_rate=1e30), tmp_path)


def test_refuses_a_folder_of_other_data_or_settings(dataset, copy):
    with pytest.raises(InputError, match="another dataset"):
        prepare(replace(dataset, sha256="0" * 64), SPEC, copy)
    for spec in (
        SPEC.model_copy(update={"seed": 2}),
        with_optimiser(SPEC, learning_rate=0.02),
        SPEC.model_copy(update={"split": SPEC.split.model_copy(update={"seed": 5})}),
    ):
        with pytest.raises(InputError, match="another"):
            prepare(dataset, spec, copy)
    card = SPEC.card.model_copy(update={"labels": "other words"})
    prepare(dataset, SPEC.model_copy(update={"card": card}), copy)


def test_fewer_frames_for_a_learning_curve_keep_the_held_back_ones(dataset, copy, tmp_path):
    split = SPEC.split.model_copy(update={"training_frames": 5})
    fewer = SPEC.model_copy(update={"split": split})
    prepared = prepare(dataset, fewer, tmp_path / "fewer")
    whole = prepare(dataset, SPEC, tmp_path / "whole")
    assert prepared.split == whole.split
    assert (prepared.n_train, whole.n_train) == (5, 8)
    assert len(read_frames(tmp_path / "fewer" / "train.extxyz", labelled=True)) == 5
    with pytest.raises(InputError, match="another dataset"):
        prepare(dataset, fewer, copy)


def test_refuses_elements_that_the_data_do_not_hold(dataset, tmp_path):
    charges = SPEC.baseline.model_copy(update={"charges_e": {"Na": 1.0, "Cl": -1.0}})
    with pytest.raises(InputError, match=r"charges_e: Na .*Cl, H, Li, O"):
        prepare(dataset, SPEC.model_copy(update={"baseline": charges}), tmp_path / "x")
    with pytest.raises(InputError, match="force_weights: K, h"):
        prepare(dataset, with_optimiser(SPEC, force_weights={"h": 1, "K": 1}), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_refuses_labels_without_energies(dataset, tmp_path):
    frames = []
    for atoms in dataset.frames:
        bare = atoms.copy()
        bare.calc = SinglePointCalculator(bare, forces=atoms.get_forces())
        frames.append(bare)
    with pytest.raises(InputError, match="energies"):
        prepare(replace(dataset, frames=tuple(frames)), SPEC, tmp_path / "x")


@pytest.fixture(scope="module")
def packed(dataset, finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    config = folder / "config.toml"
    config.write_text(CONFIG)
    counted = []
    prepared = prepare(dataset, SPEC, finished)
    errors = pack_model(prepared, dataset, config, folder / "toy", on_frame=counted.append)
    assert counted == [1, 2]
    return folder / "toy", errors, prepared


def test_a_packed_model_loads_and_has_the_errors_that_its_card_states(dataset, packed):
    folder, errors, prepared = packed
    model = load_model(str(folder), baseline=BASELINE)
    assert model.card.errors == errors
    force_errors, energy_errors = {"all": [], "H": [], "O": [], "Li": [], "Cl": []}, []
    for atoms in dataset.of_blocks(prepared.split.test):
        result = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
        energy_errors.append((result.energy - atoms.get_potential_energy()) / len(atoms))
        for k, symbol in enumerate(atoms.symbols):
            for name in (symbol, "all"):
                force_errors[name] += list(result.forces[k] - atoms.get_forces()[k])
    for name, values in force_errors.items():
        expected = 1e3 * np.sqrt(np.mean(np.square(values)))
        assert errors["force_rmse_meV_per_angstrom"][name] == pytest.approx(expected, rel=1e-6)
    expected = 1e3 * np.sqrt(np.mean(np.square(energy_errors)))
    assert errors["energy_rmse_meV_per_atom"] == pytest.approx(expected, rel=1e-6)
    assert errors["n_frames"] == 2


def test_a_packed_model_says_where_it_comes_from(dataset, packed, finished):
    folder, _, prepared = packed
    card = load_model(str(folder)).card
    step, rmse = read_best(finished)
    assert card.training["steps"] == 12
    assert (card.training["best_step"], card.training[FORCE_RMSE]) == (step, rmse)
    assert card.data["sha256"] == dataset.sha256
    assert card.data["n_frames"] == {"train": 8, "validation": 2, "test": 2}
    assert card.data["blocks"]["test"] == list(prepared.split.test)
    assert card.elements == ("Cl", "H", "Li", "O")
    assert (folder / "training.toml").read_text() == CONFIG
    readme = (folder / "README.md").read_text()
    for words in ("A toy.", "Good for nothing.", "2 frames", f"weights of step {step}"):
        assert words in readme
    assert read_learning_curve(folder) == read_learning_curve(finished)


def test_packing_needs_a_round(dataset, tmp_path):
    with pytest.raises(InputError, match="train for a round first"):
        pack_model(prepare(dataset, SPEC, tmp_path / "t"), dataset, Path("c"), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_packing_without_test_blocks_states_no_errors(dataset, copy, packed, tmp_path):
    prepared = prepare(dataset, SPEC, copy)
    untested = replace(prepared, split=replace(prepared.split, test=()))
    config = packed[0] / "training.toml"
    assert pack_model(untested, dataset, config, tmp_path / "m") == {}
    assert json.loads((tmp_path / "m" / CARD).read_text())["errors"] == {}
    assert "not measured" in (tmp_path / "m" / "README.md").read_text()


def test_a_folder_of_others_runs_no_code(dataset, copy, tmp_path):
    """NequIP's input names what is called: it is made from the settings, not read back."""
    mark = tmp_path / "was-here"
    path = copy / training.NEQUIP_INPUT
    honest = json.loads(path.read_text())
    for part in ("data", "training_module"):
        evil = json.loads(path.read_text())
        evil[part] = {**honest[part], "_target_": "os.system", "command": f"touch {mark}"}
        path.write_text(json.dumps(evil))
    run(dataset, with_optimiser(SPEC, steps=16), copy, max_minutes=1e-9)
    assert not mark.exists()
    again = json.loads(path.read_text())
    assert again["data"] == honest["data"]
    assert again["training_module"]["_target_"] == honest["training_module"]["_target_"]


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


def test_a_checkpoint_of_others_runs_no_code(dataset, copy, tmp_path):
    mark, path = tmp_path / "was-here", copy / "last.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "hyper_parameters": Evil(mark)}, path)
    with pytest.raises(ModelError, match="holds code beside numbers, which is not run"):
        run(dataset, SPEC, copy)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the file is evil"
