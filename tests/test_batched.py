"""Unlike boxes evaluated together are what they are alone: energies, forces, Coulomb part, wall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bjerrum.potential.batched import BatchedModel
from bjerrum.potential.model import load_model
from bjerrum.potential.neighbours import VerletList
from bjerrum.potential.repulsion import Repulsion
from conftest import NEEDS_CARD, water_box

ON_DEVICES = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_CARD])]
)
WALL = Repulsion(((("Cl", "Li"), 2.5), (("H", "O"), 1.1)), 1.0, ((("H", "O"), (1.1, 1.4)),), 1.5)


@ON_DEVICES
def test_a_batch_of_unlike_boxes_is_each_of_them_alone(tiny_model, device):
    plain = replace(load_model(str(tiny_model)), repulsion=WALL)
    model = replace(load_model(str(tiny_model), device=device), repulsion=WALL)
    boxes = [water_box(8, seed=1, edge=9.3), water_box(14, seed=2, edge=9.6)]
    boxes[1].positions[-1] = boxes[1].positions[-2] + [2.2, 0.1, 0.0]  # inside the wall
    skewed = water_box(8, seed=3, edge=9.3)
    skewed.set_cell([[9.3, 0, 0], [1.0, 9.3, 0], [0.5, -0.7, 9.8]])
    boxes.append(skewed)
    systems = [(list(box.symbols), box.cell.array) for box in boxes]
    batched = BatchedModel(model, systems)
    random = np.random.default_rng(4)
    for _ in range(3):
        positions = torch.from_numpy(np.concatenate([box.positions for box in boxes]))
        energies, forces = (part.cpu() for part in batched(positions.to(device)))
        for number, box in enumerate(boxes):
            alone = plain.bind(*systems[number])(box.positions)
            assert abs(float(energies[number]) - alone.energy) < 2e-4
            own = forces[batched.starts[number] : batched.starts[number + 1]].numpy()
            assert np.abs(own - alone.forces).max() < 2e-5 * max(1, np.abs(alone.forces).max())
        assert alone.terms["coulomb"] != 0
        for box in boxes:
            box.positions += 0.15 * random.standard_normal(box.positions.shape)


def test_neighbours_are_searched_in_boxes_that_moved_alone(tiny_model, monkeypatch):
    model = load_model(str(tiny_model))
    boxes = [water_box(8, seed=seed, edge=9.3) for seed in (1, 2, 3)]
    systems = [(list(box.symbols), box.cell.array) for box in boxes]
    batched, searched, find = BatchedModel(model, systems), [], VerletList.find
    lists = {id(one): number for number, one in enumerate(batched._lists)}

    def counted(own, positions):
        searched.append(lists.get(id(own)))
        return find(own, positions)

    monkeypatch.setattr(VerletList, "find", counted)
    random = np.random.default_rng(1)

    def call():
        positions = torch.from_numpy(np.concatenate([box.positions for box in boxes]))
        searched.clear()
        energies, forces = batched(positions)
        seen = searched.copy()
        fresh = BatchedModel(model, systems)(positions)
        assert torch.allclose(energies, fresh[0], atol=1e-4)
        assert (forces - fresh[1]).abs().max() < 1e-4 * fresh[1].abs().max()
        return seen

    assert call() == [0, 1, 2]
    assert call() == []
    for _ in range(4):
        boxes[1].positions += 0.2 * random.standard_normal(boxes[1].positions.shape)
        assert call() == [1]
    boxes[0].positions[3] += [0.3, 0, 0]
    assert call() == []  # less than half the skin
    batched.reset(2)
    assert call() == [2]
    batched.reset()
    assert call() == [0, 1, 2]


@ON_DEVICES
def test_coulomb_of_a_batch_is_the_ewald_sum(tiny_model, device):
    model = load_model(str(tiny_model), device=device)
    boxes = [water_box(8, seed=1, edge=9.3), water_box(14, seed=2, edge=12.0)]
    batched = BatchedModel(model, [(list(b.symbols), b.cell.array) for b in boxes])
    positions = torch.from_numpy(np.concatenate([box.positions for box in boxes]))
    energies = batched._coulomb(positions.to(device))
    for energy, box in zip(energies, boxes, strict=True):
        expected = model.baseline.bind(list(box.symbols), box.cell.array)(box.positions).energy
        assert abs(float(energy) - expected) < 1e-9
