"""Going on: the same bits for every kind of run, foreign and damaged chunks, a full disk."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from dataclasses import replace

import ase.io
import numpy as np
import pytest

from bjerrum.dynamics.runner import BLOWN_UP, STOPPED, Dynamics, Extras, run_dynamics
from bjerrum.dynamics.watchdog import Watch
from bjerrum.errors import ExternalError, InputError, PhysicsCheckFailed
from bjerrum.estimate import Evaluation
from bjerrum.trajectory import read_h5md
from conftest import water_box

ATOMS = water_box(12, edge=9.3, seed=3)
EDGE = ATOMS.cell[0, 0]
DYNAMICS = Dynamics(
    timestep_fs=1.0, n_steps=80, temperature=300.0, friction_per_ps=50.0, frame_stride=4,
    chunk_frames=5, seed=3,
)  # fmt: skip


def bind(cell):
    """Wells at fixed fractions of the box, with a virial."""
    sites = ATOMS.positions * (cell[0, 0] / EDGE)

    def forces(positions):
        d = positions - sites
        return Evaluation(5 * float((d**2).sum()), -10 * d, {}, -10 * d.T @ d)

    return forces


def bind_inner(cell):
    return lambda x: Evaluation(0.0, -9 * (x - ATOMS.positions * (cell[0, 0] / EDGE)))


class Killed(Exception):
    pass


def run(folder, dynamics=DYNAMICS, *, at=None, forces=None, extras=None):
    """Run to the end, or up to a step."""

    def on_step(step):
        if step == at:
            raise Killed

    extras = extras or Extras(rebind=bind, inner=bind_inner)
    try:
        forces = forces or bind(ATOMS.cell.array)
        return run_dynamics(ATOMS, forces, dynamics, folder, on_step=on_step, extras=extras)
    except Killed:
        return None


def everything(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


KINDS = {
    "plain": ({}, Extras()),
    "without a thermostat": ({"friction_per_ps": None}, Extras()),
    "constant pressure": ({"pressure_bar": 1.0, "barostat_stride": 3}, Extras(rebind=bind)),
    "inner steps": ({"inner_steps": 2, "keep_velocities": True}, Extras(inner=bind_inner)),
    "watched": ({}, Extras(watch=Watch(stride=3, broken_bond=1.0, frozen_time_ps=0.02))),
    "all": (
        {"pressure_bar": 1.0, "barostat_stride": 3, "inner_steps": 2, "hydrogen_mass": 2.0},
        Extras(rebind=bind, inner=bind_inner, watch=Watch(stride=3, energy_sigmas=0.5)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_goes_on_to_the_same_bits(kind, tmp_path):
    changes, extras = KINDS[kind]
    dynamics = replace(DYNAMICS, **changes)
    run(tmp_path / "whole", dynamics, extras=extras)
    for at in (27, 53):
        run(tmp_path / "parts", dynamics, at=at, extras=extras)
    run(tmp_path / "parts", dynamics, extras=extras)
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")
    if extras.watch is not None:  # there was something to see, on both sides of a restart
        record = json.loads((tmp_path / "whole" / "watchdog.json").read_text())
        assert record["n_events"] > 1


def foreign(folder, how):
    """Put a chunk of another run into the place of the last one, or of an earlier one."""
    changes = {"seed": {"seed": 77}, "setting": {"friction_per_ps": 49.0}}.get(how, {})
    run(folder / "other", replace(DYNAMICS, **changes), at=65)
    number = 0 if how == "number" else 1
    shutil.copy(folder / f"other/chunk-{number:06d}.npz", folder / "mine/chunk-000001.npz")


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = b""
    else:
        content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["first", "second", "last"])
@pytest.mark.parametrize("how", ["truncated", "empty", "flipped bit"])
def test_a_damaged_chunk_is_refused_before_a_step_is_made(which, how, tmp_path):
    run(tmp_path, at=65)
    path = tmp_path / f"chunk-{which:06d}.npz"
    damage(path, how)
    before, steps = everything(tmp_path), []
    with pytest.raises(InputError, match=f"{path.name}: is no restart file.*remove it") as error:
        run_dynamics(ATOMS, bind(ATOMS.cell.array), DYNAMICS, tmp_path, on_step=steps.append)
    assert "\n" not in str(error.value)
    assert steps == []
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("how", "reason"),
    [("seed", "another box, seed, model"), ("setting", "or setting"), ("number", "steps 4 to 20")],
)
def test_a_chunk_of_another_run_is_refused(how, reason, tmp_path):
    run(tmp_path / "mine", at=65)
    foreign(tmp_path, how)
    before = everything(tmp_path / "mine")
    with pytest.raises(InputError, match=f"chunk-000001.npz: belongs to another run, .*{reason}"):
        run(tmp_path / "mine")
    assert everything(tmp_path / "mine") == before


def test_what_determines_a_run_is_told_apart(tmp_path):
    """The model's hash does, how its forces are evaluated and how long it is to be do not."""

    def facts(**changed):
        given = {"model_weights_sha256": "a", "evaluation": "fused"} | changed
        return Extras(facts=tuple(given.items()))

    run(tmp_path, at=45, extras=facts())
    with pytest.raises(InputError, match="another run"):
        run(tmp_path, extras=facts(model_weights_sha256="b"))
    with pytest.raises(InputError, match="another run"):
        run(tmp_path, extras=replace(facts(), watch=Watch(stride=2)))
    moved = ATOMS.copy()
    moved.positions[0, 0] += 1e-9
    with pytest.raises(InputError, match="another run"):
        run_dynamics(moved, bind(ATOMS.cell.array), DYNAMICS, tmp_path, extras=facts())
    longer = replace(DYNAMICS, n_steps=120)
    (chunk,) = read_h5md(run(tmp_path, longer, extras=facts(evaluation="batched on cuda")))
    assert chunk.steps.tolist() == list(range(4, 121, 4))


def test_chunks_that_do_not_say_whose_they_are_still_serve(tmp_path):
    """Those of runs that began before chunks said it."""
    run(tmp_path / "old", at=45)
    for path in (tmp_path / "old").glob("chunk-*.npz"):
        with np.load(path) as data:
            arrays = {name: data[name] for name in data.files if name != "run"}
        np.savez(path, **arrays)
    run(tmp_path / "old")
    run(tmp_path / "whole")
    assert everything(tmp_path / "old") == everything(tmp_path / "whole")


@pytest.mark.parametrize("number", [0, 2])
def test_a_full_disk_in_a_chunk_and_the_same_bits_afterwards(number, tmp_path, monkeypatch):
    run(tmp_path / "whole")
    written, save = [], np.savez

    def full(file, **arrays):
        written.append(file)
        if len(written) == number + 1:
            file.write(b"half a chunk")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, **arrays)

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ExternalError, match=f"chunk-{number:06d}.npz: the disk is full"):
        run(tmp_path / "parts")
    monkeypatch.undo()
    names = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert names == [f"chunk-{k:06d}.npz" for k in range(number)]
    run(tmp_path / "parts")
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")


def test_a_blown_up_box_has_its_own_cell(tmp_path):
    calls = []

    def failing(cell):
        forces = bind(cell)

        def call(positions):
            calls.append(cell[0, 0])
            found = forces(positions)
            return replace(found, energy=np.nan) if len(calls) > 60 else found

        return call

    dynamics = replace(DYNAMICS, pressure_bar=1.0, barostat_stride=5)
    with pytest.raises(PhysicsCheckFailed, match="blew up"):
        run(tmp_path, dynamics, forces=failing(ATOMS.cell.array), extras=Extras(rebind=failing))
    frame = ase.io.read(tmp_path / BLOWN_UP)
    assert frame.cell[0, 0] == pytest.approx(calls[-1], abs=1e-7)
    assert abs(calls[-1] - EDGE) > 1e-4
    assert (tmp_path / STOPPED).exists()
