"""The adapter gives what NequIP itself gives; model folders that are not whole are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from safetensors.torch import load_file

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import ModelError
from bjerrum.estimate import Evaluation
from bjerrum.potential.card import CARD, WEIGHTS, find_model, read_card, shipped_models
from bjerrum.potential.model import load_model
from bjerrum.potential.nequip import NequipNetwork
from bjerrum.potential.protocol import BoundSum, Resettable
from conftest import BASELINE, ELEMENTS, tiny_hyperparameters, water_box, write_model


@pytest.fixture(scope="module")
def double_model(tiny_model: Path, tmp_path_factory) -> Path:
    """The tiny network in float64, whose errors are those of the algorithm alone."""
    weights = load_file(tiny_model / WEIGHTS)
    parameters = tiny_hyperparameters() | {"model_dtype": "float64"}
    return write_model(
        tmp_path_factory.mktemp("double"), parameters, {k: v.double() for k, v in weights.items()}
    )


def nequips_own(folder: Path, atoms: Atoms):
    """Energy and forces through NequIP's calculator, transforms and neighbour search."""
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.integrations.ase import NequIPCalculator
    from nequip.model import NequIPGNNModel

    card = read_card(folder)
    network = NequIPGNNModel(seed=0, **card.hyperparameters)
    network.load_state_dict(load_file(folder / WEIGHTS))
    calculator = NequIPCalculator(
        network.eval(),
        device="cpu",
        transforms=[
            ChemicalSpeciesToAtomTypeMapper(model_type_names=list(ELEMENTS)),
            NeighborListTransform(r_max=card.cutoff),
        ],
    )
    return calculator.get_potential_energy(atoms), calculator.get_forces(atoms)


@pytest.mark.parametrize(("folder", "tolerance"), [("tiny_model", 1e-5), ("double_model", 1e-9)])
def test_equals_nequips_own_calculator_along_a_walk(folder, tolerance, box, request):
    folder, atoms, random = request.getfixturevalue(folder), box.copy(), np.random.default_rng(1)
    forces = load_model(str(folder)).network.bind(list(atoms.symbols), atoms.cell.array)
    for _ in range(3):
        ours = forces(atoms.positions)
        energy, reference = nequips_own(folder, atoms)
        assert ours.energy == pytest.approx(energy, abs=tolerance)
        assert np.abs(ours.forces - reference).max() < tolerance
        atoms.positions += random.normal(0, 0.05, atoms.positions.shape)
    assert np.abs(reference).max() > 0.1


def test_forces_are_minus_the_gradient_of_the_total_energy(double_model, box):
    forces = load_model(str(double_model)).bind(list(box.symbols), box.cell.array)
    exact, step = forces(box.positions).forces, 1e-4
    for atom, axis in [(0, 0), (1, 1), (13, 2), (24, 0), (25, 1)]:
        shift = np.zeros_like(box.positions)
        shift[atom, axis] = step
        rise = forces(box.positions + shift).energy - forces(box.positions - shift).energy
        assert -rise / (2 * step) == pytest.approx(exact[atom, axis], abs=1e-6)


def test_total_is_network_plus_coulomb(tiny_model, box):
    model = load_model(str(tiny_model))
    symbols, cell = list(box.symbols), box.cell.array
    total = model.bind(symbols, cell)(box.positions)
    network = model.network.bind(symbols, cell)(box.positions)
    coulomb = BASELINE.bind(symbols, cell)(box.positions)
    assert total.terms == {"network": network.energy, "coulomb": coulomb.energy}
    assert total.energy == network.energy + coulomb.energy
    assert np.array_equal(total.forces, network.forces + coulomb.forces)
    assert abs(coulomb.energy) > 0.01


def test_totals_of_forty_thousand_electronvolt_keep_their_resolution(tiny_model, box, tmp_path):
    weights = load_file(tiny_model / WEIGHTS)
    (key,) = [name for name in weights if name.endswith("shifts")]
    bound = {}
    for size in (0.0, -1500.0):
        shifts = {element: size + k for k, element in enumerate(ELEMENTS)}
        weights[key] = torch.tensor(list(shifts.values()), dtype=torch.float64)[:, None]
        parameters = tiny_hyperparameters() | {"per_type_energy_shifts": shifts}
        folder = write_model(tmp_path / str(size), parameters, weights)
        bound[size] = load_model(str(folder)).bind(list(box.symbols), box.cell.array)
    for scale in (0.0, 1e-4, 1e-2):
        positions = box.positions + scale * np.sin(np.arange(78)).reshape(26, 3)
        small, large = bound[0.0](positions), bound[-1500.0](positions)
        assert large.energy < -3.8e4
        assert large.energy - small.energy == pytest.approx(-1500.0 * 26, abs=1e-9)
        assert np.array_equal(small.forces, large.forces)


def test_wrapping_does_not_matter(double_model, box):
    forces = load_model(str(double_model)).bind(list(box.symbols), box.cell.array)
    images = np.random.default_rng(2).integers(-2, 3, box.positions.shape)
    straight, wrapped = forces(box.positions), forces(box.positions + images @ box.cell.array)
    assert wrapped.energy == pytest.approx(straight.energy, abs=1e-8)
    assert np.allclose(wrapped.forces, straight.forces, atol=1e-8)


def test_memory_of_earlier_configurations_can_be_reset(tiny_model, box):
    forces = load_model(str(tiny_model)).bind(list(box.symbols), box.cell.array)
    fresh = load_model(str(tiny_model)).bind(list(box.symbols), box.cell.array)
    assert isinstance(forces, Resettable)
    forces(box.positions)
    moved = box.positions + np.random.default_rng(3).uniform(-0.2, 0.2, box.positions.shape)
    forces(moved)
    forces.reset()
    assert forces(moved).energy == fresh(moved).energy
    assert np.array_equal(forces(moved).forces, fresh(moved).forces)


def test_a_sum_passes_on_reset_to_those_that_have_it():
    class Memory:
        n_resets = 0

        def reset(self):
            self.n_resets += 1

        def __call__(self, positions):
            return Evaluation(2.0, np.ones_like(positions))

    memory = Memory()
    total = BoundSum({"a": memory, "b": lambda positions: Evaluation(3.0, positions)})
    total.reset()
    result = total(np.full((2, 3), 4.0))
    assert memory.n_resets == 1
    assert result.energy == 5.0
    assert result.terms == {"a": 2.0, "b": 3.0}
    assert (result.forces == 5.0).all()
    assert not isinstance(lambda positions: None, Resettable)


def test_refuses_an_element_that_the_network_does_not_know(tiny_model):
    model = load_model(str(tiny_model))
    with pytest.raises(ModelError, match=r"Cl, H, Li, O.*also holds Br, K"):
        model.bind(["O", "K", "Br", "K"], 8 * np.eye(3))


def test_a_box_thinner_than_the_cutoff_sees_every_image(double_model, box):
    """The forces of a thin cell are those of its supercell."""
    model = load_model(str(double_model))
    thin = box[[0, 1, 2, 24]]
    thin.set_cell([2.8, 6.6, 6.6])
    wide = thin.repeat((3, 1, 1))
    single = model.bind(list(thin.symbols), thin.cell.array)(thin.positions)
    triple = model.bind(list(wide.symbols), wide.cell.array)(wide.positions)
    assert triple.energy == pytest.approx(3 * single.energy, rel=1e-10)
    assert np.allclose(triple.forces, np.tile(single.forces, (3, 1)), atol=1e-6)


def test_refuses_another_baseline_and_names_both(tiny_model):
    assert load_model(str(tiny_model), baseline=BASELINE).baseline == BASELINE
    other = ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 72.0)
    with pytest.raises(ModelError, match=r"constant 78\.3\b.*constant 72\b"):
        load_model(str(tiny_model), baseline=other)
    for other in (ScreenedCoulomb.of({"Li": 1}, 78.3), ScreenedCoulomb((), 78.3)):
        with pytest.raises(ModelError):
            load_model(str(tiny_model), baseline=other)


@pytest.mark.parametrize("where", [0.02, 0.5, 0.999])
def test_refuses_weights_with_a_flipped_byte(model_copy, where):
    path = model_copy / WEIGHTS
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="hash"):
        load_model(str(model_copy))


def test_refuses_a_folder_without_weights(model_copy):
    (model_copy / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=f"{WEIGHTS}.*found none"):
        load_model(str(model_copy))


@pytest.mark.parametrize("name", ["no-such-model", "/", "."])
def test_refuses_what_is_neither_a_folder_nor_a_name_and_lists_the_names(name, monkeypatch):
    monkeypatch.setattr(
        "bjerrum.potential.card.shipped_models", lambda: {"one": Path("a"), "two": Path("b")}
    )
    with pytest.raises(ModelError, match="one, two"):
        find_model(name)
    assert find_model("two") == Path("b")


def test_every_shipped_model_has_a_card_and_its_weights():
    from bjerrum.files import sha256_of

    for name, folder in shipped_models().items():
        card = read_card(folder)
        assert card.name == name
        assert find_model(name) == folder
        if card.members:
            assert len(load_model(name).members) == len(card.members)  # checks their hashes
        else:
            assert sha256_of(folder / WEIGHTS) == card.weights_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other/3"}, "format"),
        ({"backend": "mace"}, "backend"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"licence": None}, "licence"),
        ({"baseline": {"kind": "screened_coulomb"}}, "baseline"),
        ({"baseline": {**BASELINE.to_json(), "dielectric_constant": 0.5}}, "at least 1"),
        ({"hyperparameters": {"type_names": ["O"]}}, "is missing"),
        ({"hyperparameters": {**tiny_hyperparameters(), "r_max": -1}}, "r_max"),
        (
            {"hyperparameters": {**tiny_hyperparameters(), "pair_potential": {"_target_": "os"}}},
            "unknown key 'pair_potential'",
        ),
    ],
)
def test_refuses_a_foreign_card_in_one_line(model_copy, change, message):
    path = model_copy / CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message) as caught:
        load_model(str(model_copy))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"text"', "\udcff"])
def test_refuses_a_damaged_card(model_copy, text):
    (model_copy / CARD).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match="JSON"):
        read_card(model_copy)


def test_refuses_weights_of_another_network(tiny_model, tmp_path):
    wider = tiny_hyperparameters() | {"num_features": 5}
    with pytest.raises(ModelError, match="does not fit"):
        NequipNetwork(wider, tiny_model / WEIGHTS)
    no_weights = tmp_path / WEIGHTS
    no_weights.write_bytes(b"not safetensors at all")
    with pytest.raises(ModelError, match="does not fit"):
        NequipNetwork(tiny_hyperparameters(), no_weights)


def test_elements_and_cutoff_are_those_of_the_card(tiny_model):
    model = load_model(str(tiny_model))
    assert model.card.elements == model.network.elements == ELEMENTS
    assert model.card.cutoff == model.network.cutoff == 3.0
    boxes = [water_box(seed=seed) for seed in (1, 2)]
    energies = [model.bind(list(b.symbols), b.cell.array)(b.positions).energy for b in boxes]
    assert energies[0] != energies[1]
