"""The watch: each thing it looks for is shown to it once; marks, records and flagged frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from bjerrum.cli import app
from bjerrum.dynamics.recording import FLAGGED, RECORD, summarise
from bjerrum.dynamics.runner import STOPPED, Extras, run_dynamics
from bjerrum.dynamics.settings import Dynamics
from bjerrum.dynamics.stopping import likely_cause
from bjerrum.dynamics.watchdog import REASONS, Observer, Watch, bit_of
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import Evaluation
from bjerrum.frames import write_frames
from bjerrum.trajectory import read_h5md, without_marked
from conftest import water_box

LIQUID = Path(__file__).parent / "data" / "licl-80-waters.extxyz"
ATOMS = water_box(12, edge=9.3, seed=3)
WATCH = Watch(stride=2, closest=((("Cl", "Li"), 2.0), (("Li", "O"), 1.6)))


def look(positions, watch=WATCH, **options):
    observer = Observer(watch, ATOMS, 300.0)
    return observer.look(7, positions, ATOMS.cell.array, options.pop("energy", 0.0), **options)


def reasons(events):
    return [event.reason for event in events]


def index(symbol):
    return next(i for i, s in enumerate(ATOMS.symbols) if s == symbol)


def test_an_undisturbed_box_is_left_alone():
    assert look(ATOMS.positions) == []
    assert look(ATOMS.positions + 100 * ATOMS.cell.array[0]) == []


def test_a_proton_on_an_ion_is_seen_twice():
    """It left its oxygen, and it has a new partner: the published run that was thrown away."""
    positions = ATOMS.positions.copy()
    positions[1] = positions[index("Li")] + [0.8, 0, 0]
    events = look(positions)
    assert reasons(events) == ["broken O-H bond", "new bond to H"]
    assert events[0].atoms == (1,)
    assert set(events[1].atoms) == {1, index("Li")}


@pytest.mark.parametrize(("distance", "seen"), [(1.27, True), (1.46, True), (1.6, False)])
def test_hydrogen_chloride_is_a_bond_and_a_hydrogen_bond_is_not(distance, seen):
    positions = ATOMS.positions.copy()
    chloride = positions[index("Cl")]
    away = np.array([distance, 0.0, 0.0])
    positions[1] = chloride + away
    found = [e for e in look(positions) if e.reason == "new bond to H"]
    assert bool(found) is seen
    for event in found:
        assert set(event.atoms) == {1, index("Cl")}
        assert event.value == pytest.approx(distance)
        assert event.limit == pytest.approx(1.48)


def test_ions_closer_than_the_data():
    positions = ATOMS.positions.copy()
    positions[index("Cl")] = positions[index("Li")] + [0, 1.9, 0]
    (event,) = (e for e in look(positions) if e.reason == "atoms too close")
    assert event.value == pytest.approx(1.9)
    assert event.limit == 2.0
    assert set(event.atoms) == {index("Li"), index("Cl")}


def test_committee_energy_and_holes():
    spread = np.zeros(len(ATOMS))
    spread[5] = 0.9
    assert reasons(look(ATOMS.positions, spread=spread)) == ["committee disagrees"]
    observer = Observer(WATCH, ATOMS, 300.0)
    cell = ATOMS.cell.array
    assert observer.look(1, ATOMS.positions, cell, 0.0) == []
    assert observer.look(2, ATOMS.positions, cell, 0.5) == []
    assert reasons(observer.look(3, ATOMS.positions, cell, 5.0)) == ["energy runs away"]
    observer.reset()
    assert observer.look(4, ATOMS.positions, cell, 0.0) == []
    wide = 3 * ATOMS.cell.array
    torn = ATOMS.positions.copy()
    torn[index("Cl")] += 12.0
    found = observer.look(5, torn, wide, 0.0)
    assert "torn liquid" in reasons(found)


def test_frozen_is_a_small_move_of_oxygens():
    observer = Observer(WATCH, ATOMS, 300.0)
    random = np.random.default_rng(1)
    still = ATOMS.positions + 0.1 * random.standard_normal((len(ATOMS), 3))
    assert reasons(observer.frozen(9, still, ATOMS.positions)) == ["frozen"]
    moved = ATOMS.positions + 1.0 * random.standard_normal((len(ATOMS), 3))
    assert observer.frozen(9, moved, ATOMS.positions) == []
    assert reasons(observer.frozen(9, still + 5.0, ATOMS.positions)) == ["frozen"]


class Puller:
    """Harmonic wells; one hydrogen's well is elsewhere, so that it is torn off."""

    def __init__(self, target):
        self.sites = ATOMS.positions.copy()
        self.sites[1] = target

    def __call__(self, positions):
        d = positions - self.sites
        return Evaluation(float((d**2).sum()), -2.0 * d)


DYNAMICS = Dynamics(
    timestep_fs=1.0, n_steps=40, temperature=300.0, friction_per_ps=50.0, frame_stride=4,
    chunk_frames=5, seed=3,
)  # fmt: skip


def test_a_torn_proton_is_marked_recorded_and_kept(tmp_path):
    target = ATOMS.positions[1] + 0.8 * (ATOMS.positions[1] - ATOMS.positions[0])
    watch = Watch(stride=2, energy_sigmas=1e9)
    run_dynamics(ATOMS, Puller(target), DYNAMICS, tmp_path, extras=Extras(watch=watch))
    (chunk,) = read_h5md(tmp_path / "trajectory.h5")
    marks = chunk.observables["watchdog"].astype(int)
    assert marks[0] & bit_of(["broken O-H bond"]) or marks[-1] & bit_of(["broken O-H bond"])
    assert (marks > 0).any()
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["reasons"]["broken O-H bond"]["worst"]["atoms"] == [1]
    assert record["n_events"] >= 1
    frames = ase.io.read(tmp_path / FLAGGED, index=":")
    assert "broken O-H bond" in frames[0].info["reason"]
    assert frames[0].info["step"] % 2 == 0


def test_or_it_stops(tmp_path):
    target = ATOMS.positions[1] + 0.8 * (ATOMS.positions[1] - ATOMS.positions[0])
    watch = Watch(stride=2, on_event="stop", energy_sigmas=1e9)
    with pytest.raises(PhysicsCheckFailed, match="stopped by the watch at step"):
        run_dynamics(ATOMS, Puller(target), DYNAMICS, tmp_path, extras=Extras(watch=watch))
    (frame,) = ase.io.read(tmp_path / FLAGGED, index=":")
    assert "O-H" in frame.info["reason"]


def test_a_calm_run_is_not_marked(tmp_path):
    calm = Puller(ATOMS.positions[1])
    run_dynamics(ATOMS, calm, DYNAMICS, tmp_path, extras=Extras(watch=Watch(stride=2)))
    (chunk,) = read_h5md(tmp_path / "trajectory.h5")
    assert (chunk.observables["watchdog"] == 0).all()
    assert json.loads((tmp_path / RECORD).read_text())["n_events"] == 0
    assert not (tmp_path / FLAGGED).exists()


def wells(positions):
    d = positions - ATOMS.positions
    return Evaluation(5 * float((d**2).sum()), -10 * d)


def test_a_frozen_box_is_marked_in_all_frames_that_were_looked_back_on(tmp_path):
    """Atoms in stiff wells; looks back begin at the end of the second chunk of 20 fs."""
    watch = Watch(stride=2, frozen_time_ps=0.02, energy_sigmas=1e9)
    dynamics = replace(DYNAMICS, n_steps=80)
    run_dynamics(ATOMS, wells, dynamics, tmp_path, extras=Extras(watch=watch))
    (chunk,) = read_h5md(tmp_path / "trajectory.h5")
    marks = chunk.observables["watchdog"].astype(int) & bit_of(["frozen"])
    assert (marks > 0).tolist() == [False] * 5 + [True] * 15
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["reasons"]["frozen"]["n_looks"] == 3
    assert (record["n_frames"], record["n_frames_marked"]) == (20, 15)
    left = [len(part.steps) for part in without_marked(read_h5md(tmp_path / "trajectory.h5"))]
    assert sum(left) == 5


def test_a_frozen_box_stops_with_its_marks(tmp_path):
    watch = Watch(stride=2, frozen_time_ps=0.02, energy_sigmas=1e9, on_event="stop")
    with pytest.raises(PhysicsCheckFailed, match="step 40: frozen"):
        run_dynamics(
            ATOMS, wells, replace(DYNAMICS, n_steps=80), tmp_path, extras=Extras(watch=watch)
        )
    (chunk,) = read_h5md(tmp_path / STOPPED)
    assert (chunk.observables["watchdog"] > 0).tolist() == [False] * 5 + [True] * 5


@pytest.mark.parametrize("chunk_frames", [3, 10, 20])
def test_every_jump_of_the_energy_is_seen_at_the_ends_of_chunks_too(chunk_frames, tmp_path):
    """A jump every 60 steps; chunks of 3, 10 and 20 steps, a look every 10."""
    calls = [0]

    def jumping(positions):
        calls[0] += 1
        return Evaluation(1000.0 * ((calls[0] - n_opened()) // 60), np.zeros_like(positions))

    def n_opened():  # each chunk evaluates its first configuration once more
        return 1 + (calls[0] - 1) // (chunk_frames + 1)

    dynamics = replace(
        DYNAMICS, timestep_fs=0.5, n_steps=400, frame_stride=1, chunk_frames=chunk_frames
    )
    extras = Extras(watch=Watch(isolation=30.0))
    run_dynamics(ATOMS, jumping, dynamics, tmp_path, extras=extras)
    found = json.loads((tmp_path / RECORD).read_text())["reasons"]["energy runs away"]
    assert found["n_looks"] == 6
    assert found["spans_ps"] == [[0.03 * k, 0.03 * k] for k in range(1, 7)]


def test_a_stop_before_the_first_frame_of_a_chunk_is_recorded(tmp_path):
    """The energy jumps in step 23, between the frames 20 and 24."""
    calls = [0]

    def forces(positions):
        calls[0] += 1
        return Evaluation(9.0 if calls[0] > 24 else 0.0, np.zeros_like(positions))

    with pytest.raises(PhysicsCheckFailed, match="step 24: energy runs away"):
        run(tmp_path, ATOMS.positions, forces=forces, on_event="stop")
    (kept,) = read_h5md(tmp_path / STOPPED)
    assert kept.steps.tolist() == [4, 8, 12, 16, 20]
    assert kept.metadata["watchdog_events"] == 1
    assert "energy runs away" in json.loads((tmp_path / RECORD).read_text())["reasons"]
    (frame,) = ase.io.read(tmp_path / FLAGGED, index=":")
    assert frame.info["step"] == 24


def test_a_stop_at_the_very_first_configuration_is_recorded(tmp_path):
    positions = ATOMS.positions.copy()
    positions[1] = positions[index("Cl")] + [1.1, 0, 0]
    with pytest.raises(PhysicsCheckFailed, match="--watch continue"):
        run(tmp_path, positions, on_event="stop")
    assert json.loads((tmp_path / RECORD).read_text())["n_events"] == 2
    assert not (tmp_path / STOPPED).exists()


def test_spans_join_looks_that_follow_one_another():
    event = {"atoms": [], "limit": 1.0, "unit": "angstrom", "reason": "frozen", "value": 0.1}
    events = [event | {"step": step} for step in (10, 12, 14, 30, 40, 42)]
    record = summarise(events, Watch(stride=2), timestep_fs=0.5)
    assert record["reasons"]["frozen"]["spans_ps"] == [
        [0.005, 0.007],
        [0.015, 0.015],
        [0.02, 0.021],
    ]
    assert record["reasons"]["frozen"]["n_looks"] == 6


def test_every_reason_has_a_bit_of_its_own():
    assert sorted(bit_of([reason]) for reason in REASONS) == [2**k for k in range(len(REASONS))]
    assert bit_of(["frozen", "frozen", "torn liquid"]) == bit_of(["frozen"]) + bit_of(
        ["torn liquid"]
    )


def test_atoms_without_water():
    ions = Atoms("LiCl", [[0, 0, 0], [3, 0, 0]], cell=[9] * 3, pbc=True)
    assert Observer(WATCH, ions, 300.0).look(1, ions.positions, ions.cell.array, 0.0) == []


def run(folder, positions, **options):
    """A few steps of nothing, from given positions, under the watch."""
    atoms = ATOMS.copy()
    atoms.positions = positions
    dynamics = Dynamics(
        timestep_fs=0.1, n_steps=40, temperature=300.0, friction_per_ps=1.0, frame_stride=4,
        chunk_frames=5, seed=1,
    )  # fmt: skip
    forces = options.pop("forces", lambda x: Evaluation(0.0, np.zeros_like(x)))
    extras = Extras(watch=Watch(stride=2, isolation=20.0, **options))
    return run_dynamics(atoms, forces, dynamics, folder, extras=extras)


def test_a_proton_that_sits_on_an_ion_from_the_start_is_seen_at_step_0(tmp_path):
    positions = ATOMS.positions.copy()
    positions[1] = positions[index("Cl")] + [1.1, 0, 0]
    with pytest.raises(PhysicsCheckFailed, match="step 0: broken O-H bond"):
        run(tmp_path, positions, on_event="stop")
    frame = ase.io.read(tmp_path / FLAGGED)
    assert "broken O-H bond" in frame.info["reason"]
    assert frame.info["step"] == 0


def test_a_stopped_run_keeps_its_trajectory_and_stops_there_again(tmp_path):
    """The energy jumps at step 29: seven frames are kept, five of them in a finished chunk."""
    calls = 0

    def forces(x):
        nonlocal calls
        calls += 1
        return Evaluation(9.0 if calls > 30 else 0.0, np.zeros_like(x))

    messages = []
    for _ in range(2):
        calls = 0 if not messages else 21  # the second goes on after the chunk of 20 steps
        with pytest.raises(PhysicsCheckFailed, match="stopped by the watch") as error:
            run(tmp_path, ATOMS.positions, forces=forces, on_event="stop")
        messages.append(str(error.value))
    (kept,) = read_h5md(tmp_path / STOPPED)
    assert kept.steps.tolist() == [4, 8, 12, 16, 20, 24, 28]
    assert "step 30" in messages[0]
    assert "stopped.h5" in messages[0]
    assert messages[0].split(":")[2] == messages[1].split(":")[2]  # the same step


@pytest.mark.parametrize(
    ("timestep", "step", "mass", "cause"),
    [(4.0, 2, None, "time step of 4 fs"), (1.0, 10, None, "first configuration"),
     (1.0, 5000, None, "potential"), (2.0, 3000, 3.0, "potential")],
)  # fmt: skip
def test_the_likely_cause_is_named(timestep, step, mass, cause):
    dynamics = Dynamics(
        timestep_fs=timestep, n_steps=1, temperature=300, friction_per_ps=1, frame_stride=1,
        chunk_frames=1, seed=1, hydrogen_mass=mass,
    )  # fmt: skip
    assert f"likely the {cause}" in likely_cause(dynamics, step)


def test_a_proton_put_on_lithium_stops_the_shipped_model_at_step_0(tmp_path):
    """The command itself, on a liquid frame; what the published run was thrown away for."""
    atoms = ase.io.read(LIQUID)
    centre, distance = int(np.flatnonzero(atoms.symbols == "Li")[0]), 1.1
    hydrogens = np.flatnonzero(atoms.symbols == "H")
    nearest = int(hydrogens[np.argmin(atoms.get_distances(centre, hydrogens, mic=True))])
    way = atoms.get_distance(centre, nearest, mic=True, vector=True)
    atoms.positions[nearest] = atoms.positions[centre] + distance * way / np.linalg.norm(way)
    write_frames(tmp_path / "box.xyz", [atoms])
    words = f"simulate --model licl-nnp1 --box {tmp_path / 'box.xyz'} -o {tmp_path / 'run.h5'}"
    done = CliRunner().invoke(app, [*words.split(), "--time-ps", "0.1", "--watch", "stop"])
    assert isinstance(done.exception, PhysicsCheckFailed)
    assert done.exception.exit_code == 3
    assert "stopped by the watch at step 0: " in str(done.exception)
    assert f"new bond to H (atoms {nearest} {centre})" in str(done.exception)
    frame = ase.io.read(tmp_path / "run.h5.partial" / FLAGGED)
    assert frame.info["step"] == 0
    assert frame.positions[nearest] == pytest.approx(atoms.positions[nearest], abs=1e-6)
    assert not (tmp_path / "run.h5").exists()
