"""The compiled network is the trained one: energies, forces, virial, for every form we train."""

from __future__ import annotations

import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms

from bjerrum.bench.arithmetic import operations
from bjerrum.bench.overhead import python_overhead
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, ModelError
from bjerrum.potential.fused import compiler
from bjerrum.potential.fused.compiler import NoCompiler, load_library
from bjerrum.potential.fused.coulomb import BoundEwald
from bjerrum.potential.fused.description import in_double
from bjerrum.potential.fused.model import FusedModel, for_dynamics
from bjerrum.potential.fused.source import generate, padded
from bjerrum.potential.fused.tables import tabulate
from bjerrum.potential.model import load_model
from bjerrum.potential.nequip import NequipNetwork
from bjerrum.potential.spec import NetworkSpec
from bjerrum.trajectory import OBSERVABLE_UNITS
from conftest import ELEMENTS, tiny_hyperparameters, water_box, write_model

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="the fused network needs a C++ compiler"
)
FRAMES = Path(__file__).parents[2] / "shared" / "data" / "licl_nnp1" / "frames.extxyz"
OWN_FRAME = Path(__file__).parent / "data" / "licl-80-waters.extxyz"
"""Of a classical box and 0.3 ps of the shipped model; its comment says how it was made."""


def random_model(folder: Path, **changes) -> Path:
    """A network of another form with random weights."""
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    network = NetworkSpec(
        **{
            "cutoff_angstrom": 3.0,
            "n_layers": 2,
            "l_max": 1,
            "n_features": 4,
            "n_bessels": 4,
            "radial_width": 8,
        }
        | changes
    )
    hyperparameters = tiny_hyperparameters() | network.hyperparameters(ELEMENTS)
    state = NequIPGNNModel(seed=3, **hyperparameters).state_dict()
    return write_model(folder, hyperparameters, state)


def in_float64(model, atoms: Atoms):
    """Energy and forces of the model's network with all its arithmetic in double precision."""
    (member,) = model.network.members
    exact = NequipNetwork.__new__(NequipNetwork)
    exact.__dict__.update(member.__dict__)
    exact.network = in_double(member.hyperparameters, member.network.state_dict())
    # forces need gradients of the positions only; NequIP asks for them itself
    return exact.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"l_max": 2, "parity": True, "n_features": 3},
        {"l_max": 0, "n_layers": 3, "n_features": 5},
    ],
    ids=["tiny", "parity", "scalars"],
)
def test_equals_the_network_in_double_precision(changes, tmp_path):
    model, atoms = load_model(str(random_model(tmp_path / "m", **changes))), water_box(seed=2)
    ours = FusedModel(model).bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    exact = in_float64(model, atoms)
    scale = np.abs(exact.forces).max()
    assert scale > 0.1
    assert np.abs(ours.forces - exact.forces - _coulomb(model, atoms).forces).max() < 4e-6 * scale
    assert ours.terms["network"] == pytest.approx(exact.energy, abs=2e-6 * len(atoms) * scale)


def _coulomb(model, atoms):
    return model.baseline.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)


@pytest.mark.slow
def test_three_degrees(tmp_path):
    model = load_model(str(random_model(tmp_path / "m", l_max=3, n_features=2)))
    atoms = water_box(4, seed=2, edge=5.5)
    ours = FusedModel(model).bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    plain = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    assert np.abs(ours.forces - plain.forces).max() < 1e-5 * np.abs(plain.forces).max()


@pytest.fixture(scope="module")
def shipped():
    return load_model("licl-nnp1")


@pytest.fixture(scope="module")
def liquid():
    """A frame of our own, and one of the training data where they are at hand."""
    frames = [ase.io.read(OWN_FRAME, format="extxyz")]
    if FRAMES.exists():
        frames.append(ase.io.read(FRAMES, 400, format="extxyz"))
    return frames


def test_the_shipped_model_on_real_frames_is_nearer_to_exact_than_1e_5(shipped, liquid):
    """1e-5 eV/angstrom against double precision; NequIP's own single precision leaves 2e-6."""
    for frame in liquid:
        ours = FusedModel(shipped).bind(list(frame.symbols), frame.cell.array)(frame.positions)
        exact = in_float64(shipped, frame)
        forces = exact.forces + _coulomb(shipped, frame).forces
        assert np.abs(ours.forces - forces).max() < 1e-5
        assert ours.terms["network"] == pytest.approx(exact.energy, abs=1e-4)


def test_wall_and_coulomb_are_those_of_the_plain_model(shipped):
    atoms = water_box(seed=4)
    atoms.positions[-1] = atoms.positions[-2] + [1.7, 0.2, 0.0]  # Cl on Li: both parts at work
    ours = FusedModel(shipped).bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    plain = shipped.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    assert plain.terms["repulsion"] > 1
    for name in ("coulomb", "repulsion"):
        assert ours.terms[name] == pytest.approx(plain.terms[name], rel=1e-9)
    assert np.abs(ours.forces - plain.forces).max() < 2e-5 * np.abs(plain.forces).max()
    assert ours.energy == pytest.approx(sum(ours.terms.values()), abs=1e-9)


@pytest.mark.parametrize("cell", [np.eye(3) * 7, [[7, 0, 0], [1, 8, 0], [-2, 1.5, 9]]])
@pytest.mark.parametrize("charges", [{"Li": 1, "Cl": -1}, {"Li": 2, "Cl": -1, "H": 0.3}])
def test_ewald_equals_torch_pme(cell, charges):
    atoms = water_box()
    atoms.set_cell(np.array(cell, dtype=float))
    atoms.positions += 30 * np.random.default_rng(1).integers(-2, 3, (26, 1))  # unwrapped
    baseline = (
        ScreenedCoulomb.of(
            charges,
            2.0,
        )
        if charges
        else None
    )
    expected = baseline.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    ours = BoundEwald(baseline, list(atoms.symbols), atoms.cell.array)(atoms.positions)
    assert ours.energy == pytest.approx(expected.energy, abs=2e-7)
    assert np.abs(ours.forces - expected.forces).max() < 2e-7


def strained(model, atoms, strain):
    """Energy of a homogeneously deformed box."""
    deformation = np.eye(3) + strain
    cell = atoms.cell.array @ deformation.T
    return model.bind(list(atoms.symbols), cell)(atoms.positions @ deformation.T).energy


@pytest.mark.parametrize("component", [(0, 0), (2, 2), (0, 1), (2, 1)])
@pytest.mark.parametrize("which", ["lattice", "liquid"])
def test_virial_is_the_derivative_of_the_energy_by_strain(which, component, shipped, request):
    """W = -dE/d(strain) by central differences: network, wall and Coulomb part together."""
    atoms = water_box(12, seed=4, edge=9.3)
    if which == "liquid":
        atoms = request.getfixturevalue("liquid")[0]
    model, strain, h = FusedModel(shipped), np.zeros((3, 3)), 1e-3
    strain[component] = h
    numerical = (strained(model, atoms, -strain) - strained(model, atoms, strain)) / (2 * h)
    evaluation = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    if which == "lattice":
        assert evaluation.terms["repulsion"] > 0.01
    # energies are rounded to some 1e-5 eV, and the third order of h is felt
    assert evaluation.virial[component] == pytest.approx(numerical, rel=2e-3, abs=0.02)


def test_forces_are_the_gradient_and_sum_to_zero(shipped):
    atoms = water_box(seed=5, edge=9.3)
    forces = FusedModel(shipped).bind(list(atoms.symbols), atoms.cell.array)
    evaluation = forces(atoms.positions)
    assert np.abs(evaluation.forces.sum(axis=0)).max() < 1e-4
    direction = np.random.default_rng(6).standard_normal((26, 3))
    h = 4e-4
    numerical = -(
        forces(atoms.positions + h * direction).energy
        - forces(atoms.positions - h * direction).energy
    ) / (2 * h)
    assert (evaluation.forces * direction).sum() == pytest.approx(numerical, rel=5e-3)


def test_wrapped_or_not_makes_no_difference(tiny_model):
    atoms = water_box()
    forces = for_dynamics(load_model(str(tiny_model))).potential.bind(
        list(atoms.symbols), atoms.cell.array
    )
    here = forces(atoms.positions)
    forces.reset()
    moved = atoms.positions + atoms.cell.array[0] * np.arange(26)[:, None]
    there = forces(moved)
    assert here.energy == pytest.approx(there.energy, abs=1e-4)
    assert np.allclose(here.forces, there.forces, atol=1e-5)


def test_a_list_that_is_reused_gives_what_a_fresh_one_gives(tiny_model):
    atoms, random = water_box(), np.random.default_rng(2)
    model = FusedModel(load_model(str(tiny_model)))
    kept = model.bind(list(atoms.symbols), atoms.cell.array)
    for _ in range(12):
        atoms.positions += 0.08 * random.standard_normal((26, 3))
        fresh = model.bind(list(atoms.symbols), atoms.cell.array)
        a, b = kept(atoms.positions), fresh(atoms.positions)
        assert np.allclose(a.forces, b.forces, atol=2e-5)
    assert 1 < kept.neighbours.n_searches < 13


def test_committee_is_the_mean_and_its_spread(tiny_model, tmp_path):
    from bjerrum.potential.committee import NetworkCommittee, force_spread

    model = load_model(str(tiny_model))
    other = load_model(str(random_model(tmp_path / "other")))
    from dataclasses import replace

    pair = replace(
        model, network=NetworkCommittee([*model.network.members, *other.network.members])
    )
    atoms = water_box()
    ours, spread = (
        FusedModel(pair).bind(list(atoms.symbols), atoms.cell.array).with_spread(atoms.positions)
    )
    plain = pair.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    assert np.allclose(ours.forces, plain.forces, atol=1e-4 * np.abs(plain.forces).max())
    each = [m.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions) for m in pair.members]
    assert np.allclose(spread, force_spread([e.forces for e in each]), rtol=1e-3, atol=1e-5)


def test_coarser_tables_are_worse_than_their_bound(tiny_model, monkeypatch):
    """The error that is reported is one: it grows when the table has fewer knots."""
    from bjerrum.potential.fused import tables
    from bjerrum.potential.fused.description import describe

    model = load_model(str(tiny_model))
    (member,) = model.network.members
    exact = in_double(member.hyperparameters, member.network.state_dict())
    description = describe(exact, member.hyperparameters)
    fine = tabulate(exact, description, padded(description.n_channels))
    assert fine.error <= tables.TOLERANCE
    monkeypatch.setattr(tables, "MAX_KNOTS", 32)
    monkeypatch.setattr(tables, "TOLERANCE", 0.0)
    coarse = tabulate(exact, description, padded(description.n_channels))
    assert coarse.n_knots == 32
    assert coarse.error > fine.error


def test_plain_without_a_compiler(tiny_model, monkeypatch):
    def none():
        raise NoCompiler("no such compiler")

    monkeypatch.setattr(compiler, "find_compiler", none)
    load_library.cache_clear()
    model = load_model(str(tiny_model))
    found = for_dynamics(model)
    load_library.cache_clear()
    assert found.how == "plain"
    assert "no such compiler" in found.reason
    assert found.potential is model


def test_a_compiler_that_is_not_there_is_an_error_where_it_was_asked_for(tiny_model, monkeypatch):
    model = load_model(str(tiny_model))
    monkeypatch.setenv("CXX", "no-such-compiler")
    load_library.cache_clear()
    with pytest.raises(NoCompiler, match="no-such-compiler"):
        for_dynamics(model, "fused")
    load_library.cache_clear()


def test_source_that_does_not_compile_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(NoCompiler, match="error"):
        load_library("this is no C++")
    assert list((tmp_path / "bjerrum" / "kernels").iterdir()) == []


def test_refuses_unknown_elements_and_choices(tiny_model):
    model = load_model(str(tiny_model))
    with pytest.raises(ModelError, match="also holds K"):
        FusedModel(model).bind(["K", "Cl"], np.eye(3) * 9)
    with pytest.raises(InputError, match="auto, fused or plain"):
        for_dynamics(model, "fastest")


def test_networks_of_one_form_share_their_source(tmp_path):
    def source(seed):
        from nequip.model import NequIPGNNModel

        from bjerrum.potential.fused.description import describe

        parameters = tiny_hyperparameters()
        network = NequIPGNNModel(seed=seed, **parameters)
        exact = in_double(parameters, network.state_dict())
        return generate(describe(exact, parameters))

    (first, weights), (second, others) = source(1), source(2)
    assert first == second
    assert not np.array_equal(weights, others)


def test_torch_is_left_as_it_was(tiny_model):
    before = torch.get_default_dtype()
    FusedModel(load_model(str(tiny_model)))
    assert torch.get_default_dtype() == before
    assert "potential_energy" in OBSERVABLE_UNITS


def test_arithmetic_is_counted_in_the_source():
    """One path by hand: 3 vector operations of 4 channels and one of plain numbers; a product."""
    source = """struct Layer0 {
  static inline void after(const float* w) {
    mul_add<3>(message + 0, w + 0, z + 0);
    if (type == 0) {
      mul_add<1>(x + 0, w + 16, z + 0);
    }
  }
  static inline void edge(const V* h, const V* row, const Edge& e, V* message) {
    const V w = row[0] + e.t * row[1];
    message[0] += (2.0f * e.sh[0]) * w;
  }
};
"""
    count = operations(source, width=4, n_types=2)
    assert count["per_neighbour"] == 4 * 4 + 1  # two, then *, += on vectors, one on numbers
    assert count["per_atom"] == 2 * 4**2 * (3 + 1 / 2)


def test_python_takes_less_than_a_millisecond_and_a_half_of_a_step(tiny_model):
    """A lenient bound, for a busy machine; ``bench md`` prints the figure."""
    overhead = python_overhead(load_model(str(tiny_model)), water_box(80, edge=13.9), 300.0)
    assert 0.01 < overhead["total"] < 1.5
    assert overhead["total"] == pytest.approx(overhead["run"] + overhead["call"])
