"""Committees: the mean is the mean, the spread the spread, and the folder loads like any model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import ModelError
from bjerrum.potential.card import CARD, read_card
from bjerrum.potential.committee import NetworkCommittee, force_spread, hash_of_members
from bjerrum.potential.model import load_model
from bjerrum.potential.packing import pack_committee
from bjerrum.potential.protocol import Resettable
from conftest import BASELINE, tiny_hyperparameters, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A committee of three random networks."""
    set_global_state()
    root = tmp_path_factory.mktemp("committee") / "three"
    for k in range(3):
        network = NequIPGNNModel(seed=k, **tiny_hyperparameters())
        write_model(root / f"member-{k + 1}", tiny_hyperparameters(), network.state_dict())
    pack_committee([root / f"member-{k + 1}" for k in range(3)], root)
    return root


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_committee_is_the_mean_of_its_members(folder, box):
    symbols, cell = list(box.symbols), box.cell.array
    whole = load_model(str(folder), baseline=BASELINE)
    parts = [load_model(str(folder / f"member-{k}")) for k in (1, 2, 3)]
    mean = whole.bind(symbols, cell)(box.positions)
    each = [part.bind(symbols, cell)(box.positions) for part in parts]
    assert mean.energy == pytest.approx(np.mean([e.energy for e in each]), rel=1e-12)
    assert np.allclose(mean.forces, np.mean([e.forces for e in each], axis=0), atol=1e-10)
    assert np.abs(each[0].forces - mean.forces).max() > 0.1
    for own, alone in zip(whole.members, each, strict=True):
        assert np.allclose(own.bind(symbols, cell)(box.positions).forces, alone.forces, atol=1e-10)


def test_the_spread_is_the_standard_deviation_over_the_members(folder, box):
    bound = load_model(str(folder)).network.bind(list(box.symbols), box.cell.array)
    assert isinstance(bound, Resettable)
    _, spread = bound.with_spread(box.positions)
    members = load_model(str(folder)).network.members
    forces = [m.bind(list(box.symbols), box.cell.array)(box.positions).forces for m in members]
    for atom in (0, 7, 25):
        variances = []
        for axis in range(3):
            values = [f[atom, axis] for f in forces]
            mean = sum(values) / 3
            variances.append(sum((v - mean) ** 2 for v in values) / 2)
        assert spread[atom] == pytest.approx(np.sqrt(sum(variances) / 3))
    bound.reset()
    assert np.array_equal(bound.with_spread(box.positions)[1], spread)


def test_two_members_spread_by_their_half_difference_times_root_two():
    a, b = np.zeros((1, 3)), np.full((1, 3), 0.2)
    assert force_spread([a, b]) == pytest.approx([0.2 / np.sqrt(2)])


def test_the_card_reads_like_that_of_a_model(folder):
    card = read_card(folder)
    assert card.members == ["member-1", "member-2", "member-3"]
    assert card.elements == ("Cl", "H", "Li", "O")
    assert card.name == "three"
    hashes = [read_card(folder / m).weights_sha256 for m in card.members]
    assert card.weights_sha256 == hash_of_members(hashes)
    assert len({card.weights_sha256, *hashes}) == 4


def test_members_may_lie_elsewhere(folder, tmp_path, box):
    pack_committee([folder / "member-1", str(folder / "member-3")], tmp_path / "deep" / "pair")
    model = load_model(str(tmp_path / "deep" / "pair"))
    assert len(model.network.members) == 2
    model.bind(list(box.symbols), box.cell.array)(box.positions)


def test_refuses_a_member_that_was_exchanged(copy):
    shutil.rmtree(copy / "member-2")
    shutil.copytree(copy / "member-3", copy / "member-2")
    with pytest.raises(ModelError, match="members are not those it was made of"):
        load_model(str(copy))


def test_refuses_a_member_that_is_missing(copy):
    shutil.rmtree(copy / "member-2")
    with pytest.raises(ModelError, match="'member-2': expected a folder"):
        load_model(str(copy))


def test_refuses_members_of_another_baseline_or_of_other_elements(copy, tiny_model, tmp_path):
    path = copy / "member-2" / CARD
    other = ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 50.0).to_json()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"baseline": other}))
    with pytest.raises(ModelError, match="one baseline"):
        pack_committee([copy / "member-1", copy / "member-2"], tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(ModelError, match="two members or more, got 1"):
        NetworkCommittee(load_model(str(tiny_model)).network.members)


def test_refuses_a_committee_of_committees(folder, copy, tmp_path):
    with pytest.raises(ModelError, match="got the committee three"):
        pack_committee([folder, folder / "member-1"], tmp_path / "x")
    shutil.copy(copy / CARD, copy / "member-2" / CARD)
    with pytest.raises(ModelError, match="is itself a committee"):
        load_model(str(copy))
