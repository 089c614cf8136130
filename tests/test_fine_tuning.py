"""Starting from a model: what it knows is kept, new elements begin as their relatives."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from safetensors.torch import load_file

from bjerrum.dataset import load_dataset
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, ModelError
from bjerrum.frames import write_frames
from bjerrum.potential.card import CARD, WEIGHTS, read_card
from bjerrum.potential.curve import FORCE_RMSE, read_learning_curve
from bjerrum.potential.model import load_model
from bjerrum.potential.packing import pack_model, unseen_frames
from bjerrum.potential.routine import TrainingRequest, train_committee, train_model
from bjerrum.potential.starting import extended_baseline, initial_state, starting_point
from bjerrum.potential.training import prepare, train
from conftest import BASELINE, tiny_hyperparameters, water_box
from test_training import CONFIG, SPEC, with_optimiser

SEEDS = (*range(20, 32), 0, 1)
"""Of boxes in which no atoms overlap."""

EMBEDDING = "model.func.type_embed.embed_module.weight"


def with_baseline(spec, charges, dielectric_constant=78.3):
    new = {"charges_e": charges, "dielectric_constant": dielectric_constant}
    return spec.model_copy(update={"baseline": spec.baseline.model_copy(update=new)})


KCL = with_baseline(SPEC, {"K": 1.0, "Cl": -1.0})
SHORT = with_optimiser(SPEC, steps=4, learning_rate=1e-12, warmup_steps=0)


def labelled(tmp_path, *, cation="K", energies=True, n=10):
    """Frames with springs between neighbours; the cation replaces Li."""
    frames = []
    for k in range(n):
        atoms = water_box(seed=SEEDS[k])
        atoms.symbols[[s == "Li" for s in atoms.symbols]] = cation
        random = np.random.default_rng(k)
        labels = {"forces": 0.5 * random.standard_normal((len(atoms), 3))}
        if energies:
            labels["energy"] = -9000.0 + random.standard_normal()
        atoms.info = {"block": f"b{k // 2}", "method": "toy"}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    path = tmp_path / f"{cation}-{energies}.extxyz"
    write_frames(path, frames)
    return load_dataset(path)


def fine_tune(dataset, spec, folder, model, **options):
    prepared = prepare(dataset, spec, folder, start=starting_point(str(model)), **options)
    train(prepared, progress=lambda *_: None)
    return prepared


def test_a_new_element_begins_as_its_relative_and_the_rest_is_kept(tiny_model, tmp_path, box):
    dataset = labelled(tmp_path)
    slow = with_baseline(SHORT, {"K": 1.0, "Cl": -1.0})
    prepared = fine_tune(dataset, slow, tmp_path / "t", tiny_model)
    assert prepared.elements == ("Cl", "H", "Li", "O", "K")
    assert prepared.relatives == {"K": "Li"}
    assert dict(prepared.baseline.charges) == {"Cl": -1.0, "K": 1.0, "Li": 1.0}
    config = tmp_path / "c.toml"
    config.write_text(CONFIG)
    pack_model(prepared, dataset, config, tmp_path / "kcl")
    new, old = load_file(tmp_path / "kcl" / WEIGHTS), load_file(tiny_model / WEIGHTS)
    for key, value in old.items():
        if key != EMBEDDING and not key.endswith("shifts"):
            assert np.allclose(value, new[key], atol=1e-6), key
    assert np.allclose(old[EMBEDDING], new[EMBEDDING][:4], atol=1e-6)
    assert np.allclose(old[EMBEDDING][2], new[EMBEDDING][4], atol=1e-6)
    shifts = read_card(tmp_path / "kcl").hyperparameters["per_type_energy_shifts"]
    assert {e: shifts[e] for e in ("Cl", "H", "Li", "O")} == pytest.approx(
        tiny_hyperparameters()["per_type_energy_shifts"]
    )
    known = 8 * (-430.0 - 30.0) - 410.0
    assert shifts["K"] == pytest.approx(-9000.0 - known, abs=2)
    loaded, parent = load_model(str(tmp_path / "kcl")), load_model(str(tiny_model))
    for model in (loaded, parent):
        assert dict(model.baseline.charges)["Li"] == 1.0
    symbols, cell = list(box.symbols), box.cell.array
    before, after = (m.network.bind(symbols, cell)(box.positions) for m in (parent, loaded))
    assert np.allclose(before.forces, after.forces, atol=1e-4)
    assert after.energy == pytest.approx(before.energy, abs=1e-3)
    card = read_card(tmp_path / "kcl")
    assert card.training["start"]["model"] == "tiny"
    assert card.training["start"]["new_elements"] == {"K": "Li"}
    assert "--from tiny" in (tmp_path / "kcl" / "README.md").read_text()


def test_forces_alone_are_enough_and_learning_lowers_the_error(tiny_model, tmp_path):
    dataset = labelled(tmp_path, cation="Li", energies=False)
    spec = with_optimiser(SPEC, steps=12)
    fine_tune(dataset, spec, tmp_path / "t", tiny_model)
    curve = read_learning_curve(tmp_path / "t")
    assert curve[-1][FORCE_RMSE] < curve[0][FORCE_RMSE]
    assert np.isnan(curve[0]["validation_energy_rmse_meV_per_atom"])
    with pytest.raises(InputError, match="--from"):
        prepare(dataset, spec, tmp_path / "u")


def test_a_fine_tuning_goes_on_and_refuses_another_start(tiny_model, tmp_path, model_copy):
    dataset = labelled(tmp_path)
    fine_tune(dataset, with_optimiser(KCL, steps=4), tmp_path / "t", tiny_model)
    fine_tune(dataset, with_optimiser(KCL, steps=8), tmp_path / "t", tiny_model)
    assert [row["step"] for row in read_learning_curve(tmp_path / "t")] == [4, 8]
    path = model_copy / CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": "0" * 64}))
    with pytest.raises(InputError, match="started with another model"):
        prepare(dataset, KCL, tmp_path / "t", start=starting_point(str(model_copy)))
    plain = labelled(tmp_path, cation="Li")
    prepare(plain, SPEC, tmp_path / "p")
    with pytest.raises(InputError, match="started with another model"):
        prepare(plain, SPEC, tmp_path / "p", start=starting_point(str(tiny_model)))


def test_the_baseline_must_be_the_same_unless_told(tiny_model):
    start = starting_point(str(tiny_model))
    assert extended_baseline(start, SPEC, may_change=False) == BASELINE
    other = with_baseline(SPEC, {"K": 1.0, "Cl": -0.8}, 70.0)
    with pytest.raises(ModelError, match=r"Cl -1 e there, -0.8 e here; .*78.3 there, 70 here"):
        extended_baseline(start, other, may_change=False)
    changed = extended_baseline(start, other, may_change=True)
    assert changed == ScreenedCoulomb.of({"Li": 1, "K": 1, "Cl": -0.8}, 70.0)


def test_a_new_element_needs_a_charge(tiny_model, tmp_path):
    with pytest.raises(InputError, match="the charge of K, new to model tiny"):
        prepare(labelled(tmp_path), SPEC, tmp_path / "t", start=starting_point(str(tiny_model)))


def test_refuses_another_architecture_in_one_line(tiny_model, tmp_path):
    wide = SPEC.network.model_copy(update={"n_features": 8, "cutoff_angstrom": 4.0})
    spec = KCL.model_copy(update={"network": wide})
    with pytest.raises(ModelError, match=r"r_max 3.0 there, 4.0 here; num_features 4 there") as e:
        prepare(labelled(tmp_path), spec, tmp_path / "t", start=starting_point(str(tiny_model)))
    assert "\n" not in str(e.value)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("damage", ["cut", "another"])
def test_refuses_a_checkpoint_that_does_not_fit(tiny_model, tmp_path, damage):
    dataset = labelled(tmp_path, cation="Li")
    short = with_optimiser(SPEC, steps=4)
    prepared = prepare(dataset, short, tmp_path / "t")
    train(prepared, progress=lambda *_: None)
    checkpoint = tmp_path / "t" / "last.ckpt"
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    else:
        wide = SPEC.network.model_copy(update={"n_features": 6})
        other = prepare(dataset, short.model_copy(update={"network": wide}), tmp_path / "o")
        train(other, progress=lambda *_: None)
        checkpoint.write_bytes((tmp_path / "o" / "last.ckpt").read_bytes())
    with pytest.raises(ModelError, match=r"last\.ckpt: expected a checkpoint of the network") as e:
        train(replace(prepared, spec=short), progress=lambda *_: None)
    assert "\n" not in str(e.value)


def test_refuses_weights_that_are_no_network(model_copy):
    (model_copy / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(Exception, match=WEIGHTS) as caught:
        initial_state(starting_point(str(model_copy)), ("H",), {})
    assert isinstance(caught.value, ModelError)


def test_a_committee_is_trained_with_other_seeds_and_splits(tmp_path):
    dataset = labelled(tmp_path, cation="Li", n=14)
    config = tmp_path / "c.toml"
    config.write_text(CONFIG)
    spec = with_optimiser(SPEC, steps=4)
    request = TrainingRequest(spec, config, tmp_path / "m", tmp_path / "m" / "training")
    errors = train_committee(dataset, request, 2, lambda *_: None, lambda *_: None)
    assert errors["n_frames"] == 2
    assert errors["committee"]["factor"] > 0
    card = read_card(tmp_path / "m")
    assert card.members == ["member-1", "member-2"]
    assert card.errors == errors
    first, second = (read_card(tmp_path / "m" / m) for m in card.members)
    assert first.data["blocks"]["test"] == second.data["blocks"]["test"]
    assert first.data["blocks"]["validation"] != second.data["blocks"]["validation"]
    assert first.weights_sha256 != second.weights_sha256
    assert first.training["settings"]["seed"] + 1 == second.training["settings"]["seed"]
    assert "member-2" in (tmp_path / "m" / "README.md").read_text()
    with pytest.raises(InputError, match="holds a committee"):
        train_model(dataset, request, lambda *_: None, lambda *_: None)
    with pytest.raises(ModelError, match=r"got a committee; name one of its members: member-1"):
        starting_point(str(tmp_path / "m"))
    members = [tmp_path / "m" / name for name in card.members]
    unseen = unseen_frames(dataset, members)
    assert [a.info["block"] for a in unseen] == first.data["blocks"]["test"] * 2
    with pytest.raises(InputError, match="was trained on other frames"):
        unseen_frames(replace(dataset, sha256="0" * 64), members)
