"""A committee in a run: its spread is recorded and watched, compiled or not."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from bjerrum.dynamics.assembly import assemble
from bjerrum.dynamics.runner import run_dynamics
from bjerrum.dynamics.settings import Dynamics, Setup
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.potential.committee import NetworkCommittee, force_spread
from bjerrum.potential.model import load_model
from bjerrum.potential.protocol import Doubtful
from bjerrum.trajectory import read_h5md
from conftest import tiny_hyperparameters, water_box, write_model

ATOMS = water_box(8, edge=9.3, seed=1)
DYNAMICS = Dynamics(
    timestep_fs=0.5, n_steps=6, temperature=300.0, friction_per_ps=5.0, frame_stride=2,
    chunk_frames=2, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def committee(tiny_model, tmp_path_factory):
    """Two networks of other random weights."""
    from nequip.model import NequIPGNNModel

    other = NequIPGNNModel(seed=8, **tiny_hyperparameters()).state_dict()
    second = write_model(tmp_path_factory.mktemp("second") / "tiny", tiny_hyperparameters(), other)
    first, second = load_model(str(tiny_model)), load_model(str(second))
    return replace(first, network=NetworkCommittee((first.network, second.network)))


def compiled_or_not():
    compiler = shutil.which("g++") is not None
    fused = pytest.param("fused", marks=pytest.mark.skipif(not compiler, reason="needs g++"))
    return pytest.mark.parametrize("evaluation", ["plain", fused])


def run(committee, folder, evaluation, **limits):
    forces, extras = assemble(committee, ATOMS, DYNAMICS, Setup(evaluation))
    watch = replace(extras.watch, stride=2, **limits)
    extras = replace(extras, watch=watch)
    (chunk,) = read_h5md(run_dynamics(ATOMS, forces, DYNAMICS, folder, extras=extras))
    return chunk


@compiled_or_not()
def test_the_spread_is_recorded_and_is_that_of_the_members(committee, evaluation, tmp_path):
    chunk = run(committee, tmp_path, evaluation, committee_spread=1e9)
    recorded = chunk.observables["committee_spread"]
    assert len(recorded) == 3
    for positions, found in zip(chunk.positions.astype(float), recorded, strict=True):
        forces = [
            member.bind(list(ATOMS.symbols), ATOMS.cell.array)(positions).forces
            for member in committee.members
        ]
        expected = force_spread(forces).max()
        assert expected > 0.01
        assert found == pytest.approx(expected, rel=2e-3)  # positions were stored in single


@compiled_or_not()
def test_disagreement_stops_a_run(committee, evaluation, tmp_path):
    with pytest.raises(PhysicsCheckFailed, match="committee disagrees"):
        run(committee, tmp_path, evaluation, committee_spread=1e-6, on_event="stop")


def test_one_network_has_no_spread(tiny_model):
    alone = load_model(str(tiny_model)).bind(list(ATOMS.symbols), ATOMS.cell.array)
    assert isinstance(alone, Doubtful)
    assert alone.n_members == 1
    evaluation, spread = alone.with_spread(ATOMS.positions)
    assert np.array_equal(spread, np.zeros(len(ATOMS)))
    assert np.array_equal(evaluation.forces, alone(ATOMS.positions).forces)
