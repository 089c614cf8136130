"""Compiled training is NequIP's training: same gradients, same losses, same checkpoints."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from nequip.data import AtomicDataDict
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state

from bjerrum.dataset import Dataset, load_dataset
from bjerrum.errors import ModelError
from bjerrum.frames import write_frames
from bjerrum.potential import training
from bjerrum.potential.curve import FORCE_RMSE, read_learning_curve
from bjerrum.potential.fused import attach, learning
from bjerrum.potential.fused.compiler import load_library
from bjerrum.potential.fused.derivation import Derivation, numbered
from bjerrum.potential.fused.description import in_double
from bjerrum.potential.fused.learning import CompiledTraining
from bjerrum.potential.neighbours import VerletList
from bjerrum.potential.spec import NetworkSpec, TrainingSpec
from bjerrum.potential.training import prepare, train
from conftest import ELEMENTS, tiny_hyperparameters, water_box
from test_training import toy_labels

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="compiled training needs a C++ compiler"
)
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
            "learning_rate": 0.05,
            "steps": 12,
            "round_steps": 4,
            "warmup_steps": 1,
            "ema_decay": 0.1,
        },
    }
)


def graph(*boxes) -> dict[str, torch.Tensor]:
    """The batch that NequIP's data loader would make."""
    parts, start = [], 0
    for atoms in boxes:
        first, second, shifts = VerletList(atoms.cell.array, 3.0).pairs(atoms.positions)
        parts.append((np.stack([first, second]) + start, shifts))
        start += len(atoms)
    symbols = [symbol for atoms in boxes for symbol in atoms.symbols]
    counts = torch.tensor([len(atoms) for atoms in boxes])
    return {
        AtomicDataDict.POSITIONS_KEY: torch.from_numpy(
            np.concatenate([b.positions for b in boxes])
        ),
        AtomicDataDict.CELL_KEY: torch.from_numpy(np.stack([b.cell.array for b in boxes])),
        AtomicDataDict.ATOM_TYPE_KEY: torch.tensor([ELEMENTS.index(s) for s in symbols]),
        AtomicDataDict.EDGE_INDEX_KEY: torch.from_numpy(np.hstack([p[0] for p in parts])),
        AtomicDataDict.EDGE_CELL_SHIFT_KEY: torch.from_numpy(np.vstack([p[1] for p in parts])),
        AtomicDataDict.BATCH_KEY: torch.repeat_interleave(torch.arange(len(boxes)), counts),
        AtomicDataDict.NUM_NODES_KEY: counts,
    }


def network_of(**changes):
    """A network in single precision with random weights, its double, its hyperparameters."""
    set_global_state()
    hyperparameters = tiny_hyperparameters() | changes
    network = NequIPGNNModel(seed=3, **hyperparameters)
    exact = in_double(hyperparameters, network.state_dict()).train().requires_grad_(True)
    return network.train(), exact, hyperparameters


def gradients(forward, network, batch):
    """Energies, forces, and the gradient of a loss of both for each of the weights."""
    network.zero_grad()
    output = forward(dict(batch))
    energies, forces = output[AtomicDataDict.TOTAL_ENERGY_KEY], output[AtomicDataDict.FORCE_KEY]
    random = torch.Generator().manual_seed(1)
    pull = torch.randn(forces.shape, generator=random, dtype=torch.float64)
    weights = torch.arange(1, len(energies) + 1)[:, None]
    loss = (forces * pull).mean() + 0.03 * (weights * energies).sum()
    loss.backward()
    found = {name: p.grad.double().clone() for name, p in network.named_parameters()}
    return energies.detach(), forces.detach(), found


FORMS = {
    "tiny": {},
    "parity": NetworkSpec(
        cutoff_angstrom=3.0, n_layers=2, l_max=2, n_features=3, n_bessels=4, radial_width=8,
        parity=True,
    ).hyperparameters(ELEMENTS),
    "trainable scales": {
        "per_type_energy_scales_trainable": True,
        "per_type_energy_shifts_trainable": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_energies_forces_and_gradients_are_those_of_double_precision(form):
    """Every tensor's gradient within 1e-5; 3e-6 was found, NequIP in single precision 1e-6."""
    network, exact, hyperparameters = network_of(**FORMS[form])
    batch = graph(water_box(seed=2), water_box(6, seed=5, edge=6.2))
    compiled = CompiledTraining(network, hyperparameters)
    energies, forces, found = gradients(compiled, network, batch)
    true_energies, true_forces, truth = gradients(exact, exact, batch)
    assert torch.allclose(energies, true_energies, rtol=0, atol=2e-5)
    assert (forces - true_forces).abs().max() < 5e-6 * true_forces.abs().max()
    assert found.keys() == truth.keys()
    assert len(truth) == 14 + 2 * (form == "trainable scales")
    for name, gradient in truth.items():
        assert gradient.norm() > 1e-6, name
        assert (found[name] - gradient).norm() < 1e-5 * gradient.norm(), name


def test_weights_that_have_changed_are_read_anew():
    network, _, hyperparameters = network_of()
    compiled, batch = CompiledTraining(network, hyperparameters), graph(water_box(seed=2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.9)
    ours, plain = (f(dict(batch))[AtomicDataDict.FORCE_KEY].detach() for f in (compiled, network))
    assert (ours - plain).abs().max() < 5e-6 * plain.abs().max()


def test_pairs_in_any_order():
    network, _, hyperparameters = network_of()
    compiled, batch = CompiledTraining(network, hyperparameters), graph(water_box(seed=2))
    order = torch.randperm(batch[AtomicDataDict.EDGE_INDEX_KEY].shape[1])
    shuffled = dict(batch)
    shuffled[AtomicDataDict.EDGE_INDEX_KEY] = batch[AtomicDataDict.EDGE_INDEX_KEY][:, order]
    shuffled[AtomicDataDict.EDGE_CELL_SHIFT_KEY] = batch[AtomicDataDict.EDGE_CELL_SHIFT_KEY][order]
    a, b = (compiled(d)[AtomicDataDict.FORCE_KEY].detach() for d in (batch, shuffled))
    assert (a - b).abs().max() < 5e-6 * a.abs().max()


def test_derived_matrices_are_those_read_from_the_network():
    network, _, hyperparameters = network_of()
    derive = Derivation(network, hyperparameters, 8)
    labels, n = numbered(derive.description)
    values = derive(network).matrices.detach().numpy()
    assert len(values) == n
    layer, label = derive.description.layers[1], labels.layers[1]
    pairs = [(layer.before, label.before), (layer.after, label.after)]
    for matrices, numbers in [*pairs, *zip(layer.own, label.own, strict=True)]:
        for key, matrix in matrices.items():
            own = values[numbers[key].astype(int) - 1]
            assert np.allclose(own, matrix, rtol=1e-6, atol=1e-9)


def test_a_weight_that_the_kernels_do_not_know_is_refused(monkeypatch):
    network, _, hyperparameters = network_of()

    def with_another(*arguments):
        twin = in_double(*arguments)
        twin.model.func.layer0_convnet.extra = torch.nn.Parameter(torch.ones(2))
        return twin

    monkeypatch.setattr("bjerrum.potential.fused.derivation.in_double", with_another)
    with pytest.raises(ModelError, match="extra"):
        Derivation(network, hyperparameters, 8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Eight frames in four blocks."""
    frames = []
    for k in range(8):
        atoms = water_box(seed=20 + k)
        atoms.info = {"block": f"b{k // 2}", "method": "toy"}
        atoms.calc = SinglePointCalculator(atoms, **toy_labels(atoms))
        frames.append(atoms)
    path = tmp_path_factory.mktemp("data") / "frames.extxyz"
    write_frames(path, frames)
    return load_dataset(path)


def run(dataset: Dataset, folder: Path, *, compiled: bool, **options) -> list[float]:
    """Train; return the validation errors (meV/angstrom) of the learning curve."""
    train(prepare(dataset, SPEC, folder), progress=lambda *_: None, compiled=compiled, **options)
    return [row[FORCE_RMSE] for row in read_learning_curve(folder)]


def test_training_is_the_same_with_and_without_and_can_change_over(dataset, tmp_path):
    """Muon's own arithmetic has only 8 bits: within a tenth of what the training changes."""
    plain = np.array(run(dataset, tmp_path / "plain", compiled=False))
    same = 0.1 * abs(plain[2] - plain[0])
    assert len(plain) == 3
    assert same > 0.003 * plain[0]
    assert np.abs(run(dataset, tmp_path / "ours", compiled=True) - plain).max() < same
    for first in (True, False):
        folder = tmp_path / f"changed-{first}"
        assert len(run(dataset, folder, compiled=first, max_minutes=1e-9)) == 1
        assert np.abs(run(dataset, folder, compiled=not first) - plain).max() < same


def used(dataset, folder, monkeypatch) -> list[str]:
    """Train one round; return why compiled code was not used, or an empty string."""
    reasons = []

    def note(*arguments):
        reasons.append(attach.compile_training(*arguments))

    monkeypatch.setattr(training, "compile_training", note)
    run(dataset, folder, compiled=True, max_minutes=1e-9)
    return reasons


def test_plain_without_a_compiler(dataset, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    load_library.cache_clear()
    with caplog.at_level(logging.WARNING):
        (reason,) = used(dataset, tmp_path, monkeypatch)
    load_library.cache_clear()
    assert "no-such-compiler" in reason
    assert "Training without compiled code" in caplog.text


def test_code_that_is_wrong_is_found_out_by_the_first_batch(dataset, tmp_path, monkeypatch, caplog):
    """Radial tables that are 1 % too large: NequIP goes on alone, with its own errors."""

    def larger(self, network):
        arrays = right(self, network)
        return replace(arrays, tables=tuple(1.01 * table for table in arrays.tables))

    right = Derivation.__call__
    monkeypatch.setattr(learning.Derivation, "__call__", larger)
    with caplog.at_level(logging.WARNING):
        errors = run(dataset, tmp_path / "wrong", compiled=True, max_minutes=1e-9)
    assert "differ from NequIP's" in caplog.text
    assert errors == run(dataset, tmp_path / "plain", compiled=False, max_minutes=1e-9)
