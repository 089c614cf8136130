"""Networks of ions inside the engine: NequIP's own forces, learning a known many-body force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from nequip.data import AtomicDataDict
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state

from bjerrum.coarse.basis import Basis, force_columns, neighbours
from bjerrum.coarse.dataset import IonData
from bjerrum.coarse.dilution import pair_energy, three_body_residual
from bjerrum.coarse.lammps import export_tables
from bjerrum.coarse.learning import (
    explained_by,
    of_blocks,
    residuals,
    train_network,
)
from bjerrum.coarse.model import COARSE_LIMITS, CoarseCard, CoarseModel, load_coarse, save_coarse
from bjerrum.coarse.network import IonNetwork
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.simulate import IonBox, Sampling, shaken_lattice, simulate_ions
from bjerrum.coarse.sources import ForceFrames
from bjerrum.coarse.spec import NetworkTraining
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, ModelError
from bjerrum.potential.fused.compiler import NoCompiler, find_compiler
from bjerrum.potential.spec import NetworkSpec

EDGE = 21.0
ELEMENTS = ("Cl", "Na")
NACL = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 72.0)
BOX = IonBox(cation="Na", anion="Cl", n_cations=32, n_anions=32, edge=EDGE)
FORM = NetworkSpec(cutoff_angstrom=7.0, n_layers=2, l_max=1, n_features=4)
HYPERPARAMETERS = FORM.hyperparameters(ELEMENTS) | {
    "avg_num_neighbors": 6.0,
    "per_type_energy_scales": 10.0,
    "per_type_energy_shifts": {"Cl": 0.1, "Na": -0.2},
}


@pytest.fixture(autouse=True)
def _compiler():
    try:
        find_compiler()
    except NoCompiler:
        pytest.skip("no C++ compiler")


@pytest.fixture(scope="module")
def plain():
    """NequIP's own network with random weights."""
    set_global_state()
    return NequIPGNNModel(seed=3, **HYPERPARAMETERS).eval()


@pytest.fixture(scope="module")
def networks(plain):
    """The same as a network of ions, and another one of the same form."""
    other = NequIPGNNModel(seed=4, **HYPERPARAMETERS)
    return tuple(
        IonNetwork(HYPERPARAMETERS, {k: v.numpy() for k, v in network.state_dict().items()})
        for network in (plain, other)
    )


def a_potential(networks=()) -> CoarsePotential:
    basis = Basis(elements=ELEMENTS, pair_start=(3.2, 2.4, 2.8), spacing=0.5, n_radial=0)
    coefficients = np.random.default_rng(1).normal(0, 0.02, basis.n_coefficients)
    return CoarsePotential(basis, coefficients, NACL, tuple(networks))


def places(seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    return shaken_lattice(BOX, random) + random.uniform(-1, 1, (64, 3))


def plain_forces(network, positions):
    """NequIP itself on the periodic box."""
    types = [ELEMENTS.index(s) for s in BOX.symbols]
    first, second, vectors, _ = neighbours(positions, BOX.edges, FORM.cutoff_angstrom)
    shifts = np.round((vectors - positions[second] + positions[first]) / EDGE)
    i, j = np.concatenate([first, second]), np.concatenate([second, first])
    output = network(
        {
            AtomicDataDict.POSITIONS_KEY: torch.tensor(positions),
            AtomicDataDict.CELL_KEY: torch.tensor(np.diag(BOX.edges))[None],
            AtomicDataDict.ATOM_TYPE_KEY: torch.tensor(types),
            AtomicDataDict.EDGE_INDEX_KEY: torch.tensor(np.stack([i, j])),
            AtomicDataDict.EDGE_CELL_SHIFT_KEY: torch.tensor(np.concatenate([shifts, -shifts])),
        }
    )
    return output[AtomicDataDict.FORCE_KEY].detach().numpy()


def test_engine_adds_the_networks_own_forces(plain, networks):
    positions = places() + 4 * EDGE  # outside the cell, as in a run
    without = a_potential().engine(BOX.symbols, BOX.edges).forces(positions)[0]
    found = a_potential(networks[:1]).engine(BOX.symbols, BOX.edges).forces(positions)[0] - without
    expected = plain_forces(plain, positions)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_committee_is_the_mean_of_its_members(networks):
    forces = [
        a_potential(chosen).engine(BOX.symbols, BOX.edges).forces(places())
        for chosen in (networks[:1], networks[1:], networks)
    ]
    np.testing.assert_allclose(forces[2][0], (forces[0][0] + forces[1][0]) / 2, atol=1e-9)
    assert forces[2][1]["body"] == pytest.approx((forces[0][1]["body"] + forces[1][1]["body"]) / 2)
    assert np.abs(forces[0][0] - forces[1][0]).max() > 1e-3


def test_virial_of_a_network_is_the_derivative_with_the_box(networks):
    positions = places()

    def found(scale: float) -> dict[str, float]:
        edges = BOX.edges * scale
        engines = [a_potential(n).engine(BOX.symbols, edges) for n in ((), networks)]
        parts = [engine.forces(positions * scale)[1] for engine in engines]
        return {name: parts[1][name] - parts[0][name] for name in ("body", "virial")}

    slope = (found(1.001)["body"] - found(0.999)["body"]) / 2e-3
    assert found(1.0)["virial"] == pytest.approx(-slope, rel=5e-3)


def test_ions_far_apart_have_no_energy(networks):
    potential = a_potential(networks)
    pair = potential.basis.pairs.index(("Cl", "Na"))
    far, near = pair_energy(potential, pair, np.array([12.0, 3.0]))
    assert far == pytest.approx(0.0, abs=1e-6)
    assert abs(near - pair_energy(a_potential(), pair, np.array([3.0]))[0]) > 1e-4
    residual = three_body_residual(potential, temperature=300.0, distance=2.8)
    assert np.abs(residual["Cl-Na-Cl_kT"]).max() > 1e-4


def test_a_run_uses_the_networks_and_repeats_itself_with_threads(networks):
    """Neighbours change during the run: its last energy is that of the last configuration."""
    potential = a_potential(networks)
    sampling = Sampling(temperature=300.0, time_ps=3.0, equilibration_ps=1.0, replicas=2)
    (run,) = simulate_ions(potential, [BOX], sampling)
    (again,) = simulate_ions(potential, [BOX], sampling, threads=2)
    np.testing.assert_array_equal(run.frames, again.frames)
    (other,) = simulate_ions(a_potential(), [BOX], sampling)
    assert np.abs(run.frames - other.frames).max() > 0.1
    one = replace(sampling, time_ps=0.015, equilibration_ps=3.0, frame_every_fs=15.0)
    (last,) = simulate_ions(potential, [BOX], one)
    energies = [
        sum(potential.engine(BOX.symbols, BOX.edges).forces(x)[1][k] for k in ("pair", "body"))
        + potential.engine(BOX.symbols, BOX.edges).forces(x)[1]["reciprocal"]
        for x in last.frames
    ]
    np.testing.assert_allclose(last.energy, energies, atol=1e-5)


def test_model_folder_keeps_the_networks(networks, tmp_path):
    potential = a_potential(networks)
    card = CoarseCard(
        name="x",
        temperature_K=300.0,
        basis=potential.basis.to_json(),
        baseline=NACL.to_json(),
        data={},
        fit={},
        errors={},
        limits=list(COARSE_LIMITS),
        licence="MIT",
        code_version="0",
    )
    model = CoarseModel(card, potential, np.tile(potential.coefficients, (3, 1)))
    save_coarse(model, tmp_path / "m")
    loaded = load_coarse(str(tmp_path / "m"))
    engines = [p.engine(BOX.symbols, BOX.edges) for p in (potential, loaded.potential)]
    np.testing.assert_array_equal(*(engine.forces(places())[0] for engine in engines))
    assert [len(member.networks) for member in loaded.members] == [1, 1, 1]
    assert loaded.members[1].networks[0] is loaded.potential.networks[1]
    with pytest.raises(InputError, match="network"):
        export_tables(loaded.potential, BOX, places(), tmp_path, temperature=300.0)
    weights = tmp_path / "m" / "networks.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match="does not match the hash"):
        load_coarse(str(tmp_path / "m"))


def three_body_data(n_frames: int, noise: float) -> tuple[IonData, Basis]:
    """Frames whose forces are those of three-body terms, with noise, and a basis of pairs."""
    truth = Basis(elements=ELEMENTS, pair_start=(3.2, 2.4, 2.8), spacing=2.0, n_radial=4)
    random = np.random.default_rng(5)
    coefficients = np.zeros(truth.n_coefficients)
    coefficients[truth.n_pair :] = random.normal(0, 0.02, truth.n_body)
    positions = np.array(
        [shaken_lattice(BOX, random) + random.uniform(-1, 1, (64, 3)) for _ in range(n_frames)]
    )
    forces = np.array(
        [force_columns(truth, BOX.symbols, BOX.edges, x) @ coefficients for x in positions]
    )
    forces += random.normal(0, noise * forces.std(), forces.shape)
    blocks = tuple(f"t:{k % 3}" for k in range(n_frames))
    chunk = ForceFrames(BOX.symbols, np.tile(BOX.edges, (n_frames, 1)), positions, forces, blocks)
    pairs = replace(truth, n_radial=0)
    return IonData((chunk,), NACL, 300.0, "made", "0"), pairs


def test_a_network_learns_what_pairs_leave():
    """Of a known many-body force most is found, on frames that were not in the training."""
    data, basis = three_body_data(90, noise=0.3)
    items = residuals(data, basis, np.zeros(basis.n_coefficients), FORM.cutoff_angstrom)
    settings = NetworkTraining(form=FORM, epochs=12, learning_rate=0.01, patience=12)
    network, report = train_network(
        of_blocks(items, ["t:0"]), of_blocks(items, ["t:1"]), ELEMENTS, settings
    )
    gain, square, n = explained_by(network, of_blocks(items, ["t:2"]))
    assert n == 30 * 64 * 3
    assert 0.25 < gain / square < 0.92
    assert report["explained_validation_residual"] == pytest.approx(gain / square, abs=0.1)


def test_a_network_learns_nothing_from_noise():
    data, basis = three_body_data(30, noise=0.0)
    (chunk,) = data.chunks
    noise = replace(chunk, forces=np.random.default_rng(1).normal(0, 0.2, chunk.forces.shape))
    items = residuals(
        replace(data, chunks=(noise,)), basis, np.zeros(basis.n_coefficients), FORM.cutoff_angstrom
    )
    settings = NetworkTraining(form=FORM, epochs=4, patience=2)
    network, _ = train_network(
        of_blocks(items, ["t:0"]), of_blocks(items, ["t:1"]), ELEMENTS, settings
    )
    gain, square, _ = explained_by(network, of_blocks(items, ["t:2"]))
    assert abs(gain / square) < 0.03
