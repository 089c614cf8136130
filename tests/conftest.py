"""A small box and a small network, made once: random weights, so that every piece is cheap."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.files import sha256_of
from bjerrum.potential.card import CARD, WEIGHTS, ModelCard
from bjerrum.potential.spec import NetworkSpec

ELEMENTS = ("Cl", "H", "Li", "O")
BASELINE = ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 78.3)
NEEDS_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def water_box(n_waters: int = 8, *, seed: int = 0, edge: float = 6.6) -> Atoms:
    """LiCl and waters, turned at random, on a cubic lattice at about the density of a liquid."""
    random = np.random.default_rng(seed)
    n_side = int(np.ceil((n_waters + 2) ** (1 / 3)))
    sites = np.stack(np.meshgrid(*[np.arange(n_side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    sites = random.permutation(sites)[: n_waters + 2] * (edge / n_side)
    waters = [
        site + Rotation.from_quat(random.standard_normal(4)).apply(WATER)
        for site in sites[:n_waters]
    ]
    positions = np.concatenate([*waters, sites[n_waters:]])
    positions += 0.05 * random.standard_normal(positions.shape)
    symbols = ["O", "H", "H"] * n_waters + ["Li", "Cl"]
    return Atoms(symbols, positions, cell=[edge] * 3, pbc=True)


@pytest.fixture(scope="session")
def box() -> Atoms:
    """8 H2O and LiCl in 6.6 angstrom."""
    return water_box()


def tiny_hyperparameters() -> dict:
    """Two layers of four features; force errors of random weights are of thermal size."""
    network = NetworkSpec(
        cutoff_angstrom=3.0, n_layers=2, l_max=1, n_features=4, n_bessels=4, radial_width=8
    )
    return {
        **network.hyperparameters(ELEMENTS),
        "avg_num_neighbors": 10.0,
        "per_type_energy_scales": 3.0,
        "per_type_energy_shifts": {"Cl": -410.0, "H": -15.0, "Li": -200.0, "O": -430.0},
    }


def write_model(folder: Path, hyperparameters: dict, weights: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / WEIGHTS)
    card = ModelCard(
        name=folder.name,
        backend_version="0",
        hyperparameters=hyperparameters,
        baseline=BASELINE.to_json(),
        units={"energy": "eV", "length": "angstrom", "force": "eV/angstrom"},
        weights_sha256=sha256_of(folder / WEIGHTS),
        labels="none: random weights",
        data={},
        errors={},
        training={},
        licence="MIT",
        limits=[],
        code_version="0",
    )
    (folder / CARD).write_text(json.dumps(card.model_dump(mode="json")))
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that nobody may change."""
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    hyperparameters = tiny_hyperparameters()
    network = NequIPGNNModel(seed=7, **hyperparameters)
    return write_model(
        tmp_path_factory.mktemp("models") / "tiny", hyperparameters, network.state_dict()
    )


@pytest.fixture
def model_copy(tiny_model: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny model that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))
