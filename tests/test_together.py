"""Replicas in one batch: each is what it is alone; ends, failures and interruptions of some."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from bjerrum.cli import app
from bjerrum.dynamics import several, together
from bjerrum.dynamics.assembly import assemble
from bjerrum.dynamics.replicas import Replica
from bjerrum.dynamics.runner import Dynamics, read_end, run_dynamics
from bjerrum.dynamics.settings import Setup
from bjerrum.dynamics.single import SimulationSpec
from bjerrum.dynamics.together import run_together
from bjerrum.errors import ExternalError, InputError, ModelError, PhysicsCheckFailed
from bjerrum.frames import write_frames
from bjerrum.potential.committee import NetworkCommittee
from bjerrum.potential.model import load_model
from bjerrum.potential.shared_batch import SharedBatch
from bjerrum.system import Salt, Solution
from bjerrum.trajectory import read_h5md
from conftest import NEEDS_CARD, water_box

DYNAMICS = Dynamics(
    timestep_fs=0.5,
    n_steps=24,
    temperature=300.0,
    friction_per_ps=5.0,
    frame_stride=2,
    chunk_frames=2,
    seed=1,
)
OFF = Setup(on_event="off")


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(str(tiny_model))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_CARD])])
def on_device(request, tiny_model):
    return load_model(str(tiny_model), device=request.param)


def unlike(folder: Path) -> list[Replica]:
    """Three boxes of other sizes, lengths and random numbers."""
    boxes = [water_box(8, seed=1, edge=9.3), water_box(14, seed=2, edge=9.6)]
    boxes.append(water_box(8, seed=5, edge=10.2))
    return [
        Replica(box, replace(DYNAMICS, replica=k, n_steps=24 - 6 * k), folder / f"replica-{k}", OFF)
        for k, box in enumerate(boxes)
    ]


def alone(model, replica: Replica, folder: Path):
    forces, extras = assemble(model, replica.atoms, replica.dynamics, Setup("plain", "off"))
    run_dynamics(replica.atoms, forces, replica.dynamics, folder, extras=extras)
    return read_end(folder)


def differences(model, replicas: list[Replica], folder: Path) -> list[float]:
    ends = [(read_end(r.folder), alone(model, r, folder / r.folder.name)) for r in replicas]
    return [max(np.abs(a - b).max() for a, b in zip(*pair, strict=True)) for pair in ends]


def test_each_replica_of_a_batch_is_what_it_is_alone(model, on_device, tmp_path):
    """On a card too, within what single precision leaves after twelve femtoseconds."""
    replicas, seen = unlike(tmp_path / "batch"), []
    run_together(on_device, replicas, seen.append)
    device = on_device.network.members[0].device.type
    assert max(differences(model, replicas, tmp_path / "alone")) < 1e-5  # angstrom, angstrom/fs
    assert seen[-1] == sum(r.dynamics.n_steps for r in replicas)
    for replica in replicas:
        chunk = next(iter(read_h5md(replica.folder / "trajectory.h5")))
        assert chunk.metadata["evaluation"] == f"batched on {device}"


def test_an_interrupted_batch_goes_on_to_the_same_end(model, tmp_path, monkeypatch):
    """Replicas of which one is ahead: it leaves the batch early, the others go on."""
    replicas = unlike(tmp_path / "batch")
    asked, ask = [], SharedBatch.ask

    def ask_until_interrupted(batch, slot, positions):
        asked.append(slot)
        if len(asked) == 30:
            raise KeyboardInterrupt
        return ask(batch, slot, positions)

    monkeypatch.setattr(SharedBatch, "ask", ask_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_together(model, replicas, lambda done: None)
    assert all(any(r.folder.iterdir()) for r in replicas)  # chunks
    assert not any((r.folder / "end.npz").exists() for r in replicas)
    run_together(model, replicas[:1], lambda done: None)
    run_together(model, replicas, lambda done: None)
    assert max(differences(model, replicas, tmp_path / "alone")) < 1e-5


def test_one_that_fails_leaves_and_the_others_go_on(model, tmp_path):
    replicas, before = unlike(tmp_path / "batch"), threading.active_count()
    cold = replace(replicas[1].dynamics, temperature=0.01)  # any force makes it too hot
    replicas[1] = replace(replicas[1], dynamics=cold)
    with pytest.raises(PhysicsCheckFailed, match="1 of 3 runs failed") as error:
        run_together(model, replicas, lambda done: None)
    assert str(replicas[1].folder) in str(error.value)
    assert "blew up at step" in str(error.value)
    assert not (replicas[1].folder / "end.npz").exists()
    others = [replicas[0], replicas[2]]
    assert max(differences(model, others, tmp_path / "alone")) < 1e-5
    assert threading.active_count() == before


def test_a_fault_of_the_program_ends_all(model, tmp_path, monkeypatch):
    replicas, before = unlike(tmp_path), threading.active_count()
    run = together.run_dynamics

    def failing(atoms, forces, dynamics, *arguments, **options):
        if dynamics.replica == 1:
            raise ZeroDivisionError("a fault")
        return run(atoms, forces, dynamics, *arguments, **options)

    monkeypatch.setattr(together, "run_dynamics", failing)
    with pytest.raises(ZeroDivisionError):
        run_together(model, replicas, lambda done: None)
    assert not (replicas[0].folder / "end.npz").exists()
    assert threading.active_count() == before


def test_what_a_batch_cannot_do(model, tmp_path, monkeypatch):
    replicas = [
        replace(r, dynamics=replace(r.dynamics, pressure_bar=1.0)) for r in unlike(tmp_path)
    ]
    with pytest.raises(InputError, match="constant pressure"):
        run_together(model, replicas, lambda done: None)
    committee = replace(model, network=NetworkCommittee((model.network, model.network)))
    with pytest.raises(ModelError, match="one of its members"):
        run_together(committee, unlike(tmp_path), lambda done: None)

    import torch

    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("bjerrum.potential.batched.BatchedModel.__call__", full)
    with pytest.raises(ExternalError, match=r"3 boxes of \d+ atoms"):
        run_together(model, unlike(tmp_path), lambda done: None)


def test_several_boxes_on_a_card_are_a_batch(model, tmp_path, monkeypatch):
    """Nothing runs on the CPU in silence when a card was asked for."""
    monkeypatch.setattr(several, "load_model", lambda name, device: model)
    solution = Solution(Salt.parse("LiCl"), 2.0, 298.15)
    given = {"time_ps": 0.01, "temperature": 300, "timestep_fs": 0.5, "friction_per_ps": 5}
    spec = SimulationSpec(**given, frame_every_fs=1, seed=1, evaluation="plain")
    with pytest.raises(InputError, match="--device cuda: several boxes run there as one batch"):
        several.simulate_several(
            "tiny", [solution], 26, 1, spec, tmp_path / "runs", print, device="cuda"
        )
    assert not (tmp_path / "runs").exists()


def test_the_command(tiny_model, tmp_path):
    """One box through the batch, and a device that is not there."""
    write_frames(tmp_path / "box.xyz", [water_box(14, seed=2, edge=9.6)])
    options = ["simulate", "--model", str(tiny_model), "--box", str(tmp_path / "box.xyz")]
    options += ["--time-ps", "0.01", "--watch", "off"]
    for name in ("plain", "batched"):
        done = CliRunner().invoke(
            app, [*options, "--evaluation", name, "-o", str(tmp_path / f"{name}.h5")]
        )
        assert done.exit_code == 0, done.output
    found = []
    for name in ("plain", "batched"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            found.append(np.array(file["particles/all/position/value"]))
    assert np.abs(found[0] - found[1]).max() < 1e-4
    done = CliRunner().invoke(app, [*options, "--device", "cuda", "-o", str(tmp_path / "g.h5")])
    import torch

    if not torch.cuda.is_available():
        assert done.exit_code != 0
        assert isinstance(done.exception, InputError)
        assert "CUDA" in str(done.exception)
