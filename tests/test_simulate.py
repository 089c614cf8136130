"""The command ``simulate`` and what is behind it: what is refused, said, kept, gone on with."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bjerrum.cli import app
from bjerrum.dynamics import planning, several
from bjerrum.dynamics.assembly import assemble
from bjerrum.dynamics.claims import CLAIM, claim_folder, read_note
from bjerrum.dynamics.failures import together
from bjerrum.dynamics.inner_fit import FILE, inner_of_run
from bjerrum.dynamics.planning import PLAN, planned_ps
from bjerrum.dynamics.runner import Extras, run_dynamics
from bjerrum.dynamics.settings import Dynamics
from bjerrum.dynamics.single import SimulationSpec, first_frame, partial_folder, write_run
from bjerrum.dynamics.stepping import TIMED_STEPS, motion_of
from bjerrum.dynamics.telling import Forecast
from bjerrum.dynamics.watchdog import Watch
from bjerrum.errors import ExternalError, InputError, ModelError, PhysicsCheckFailed
from bjerrum.estimate import Evaluation
from bjerrum.frames import write_frames
from bjerrum.potential.model import load_model
from bjerrum.potential.neutrality import require_neutral
from bjerrum.system import Salt, Solution
from bjerrum.trajectory import read_h5md
from conftest import water_box

ATOMS = water_box(12, edge=9.3, seed=3)
SPEC = {
    "time_ps": 0.04, "temperature": 300, "timestep_fs": 1, "friction_per_ps": 50,
    "frame_every_fs": 4, "seed": 1,
}  # fmt: skip


def spec(**changes):
    return SimulationSpec(**(SPEC | changes))


def wells(torn=False):
    """Harmonic wells about the first positions; one hydrogen's may be elsewhere."""
    sites = ATOMS.positions.copy()
    if torn:
        sites[1] += 0.8 * (sites[1] - sites[0])

    def forces(positions):
        d = positions - sites
        return Evaluation(float((d**2).sum()), -2 * d)

    return forces


def watched(output, on_event="continue", *, torn=True, said=None):
    """One short run under the watch, as ``simulate`` makes it."""
    own = spec(on_event=on_event)
    write_run(
        ATOMS, wells(torn), own, output, {"settings": own.model_dump(mode="json")},
        lambda *progress: None, say=(said if said is not None else []).append,
        extras=Extras(watch=Watch(stride=2, energy_sigmas=1e9, on_event=on_event)),
    )  # fmt: skip


def test_a_run_that_the_watch_stopped_can_go_on(tmp_path):
    output, said = tmp_path / "run.h5", []
    with pytest.raises(PhysicsCheckFailed, match="--watch continue"):
        watched(output, "stop")
    watched(output, said=said)
    (chunk,) = read_h5md(output)
    assert chunk.steps.tolist() == list(range(4, 41, 4))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"run.h5", "run-watchdog.json", "run-flagged.extxyz"}
    (line,) = [line for line in said if line.startswith("watch: ")]
    marked = int((chunk.observables["watchdog"] > 0).sum())
    looks = json.loads((tmp_path / "run-watchdog.json").read_text())["n_events"]
    assert f"broken O-H bond, {looks} looks" in line
    assert f"{marked} of 10 frames marked; see {tmp_path / 'run-flagged.extxyz'}" in line


def test_a_run_that_was_watched_does_not_go_on_unwatched(tmp_path):
    with pytest.raises(PhysicsCheckFailed):
        watched(tmp_path / "run.h5", "stop")
    with pytest.raises(InputError, match="unfinished run of another"):
        watched(tmp_path / "run.h5", "off")


def test_nothing_is_said_of_a_calm_run(tmp_path):
    said = []
    watched(tmp_path / "run.h5", torn=False, said=said)
    assert [path.name for path in tmp_path.iterdir()] == ["run.h5"]
    assert not [line for line in said if "watch" in line]


def test_records_of_an_earlier_run_are_not_taken_for_those_of_a_new_one(tmp_path):
    output = tmp_path / "run.h5"
    watched(output)
    output.unlink()
    with pytest.raises(InputError, match=r"run-watchdog.json: is of an earlier run; move or rem"):
        watched(output, torn=False)
    assert not partial_folder(output).exists()


@pytest.mark.parametrize("content", ['{"mod', "", "[1]", "\xff"])
def test_damaged_notes_are_told_by_name_with_a_remedy(content, tmp_path):
    for name in (CLAIM, FILE, PLAN):
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{CLAIM}: is damaged .*remove .* to begin again"):
        claim_folder(tmp_path, {"model": 1})
    with pytest.raises(InputError, match=f"{PLAN}: is damaged .*plan again"):
        planned_ps(motion(), 1.0, tmp_path)
    with pytest.raises(InputError, match=f"{FILE}: is damaged"):
        read_note(tmp_path / FILE, "remove it")


def test_a_plan_without_a_length_is_damaged(tmp_path):
    (tmp_path / PLAN).write_text('{"time_ps": "long"}')
    with pytest.raises(InputError, match="time_ps is 'long'"):
        planned_ps(motion(), 1.0, tmp_path)


def test_an_inner_potential_serves_what_it_was_fitted_to_alone(tiny_model, tmp_path):
    model = load_model(str(tiny_model))
    origin = {
        "model_weights_sha256": model.card.weights_sha256,
        "system": ATOMS.get_chemical_formula(), "temperature_K": 300.0,
    }  # fmt: skip
    path = tmp_path / FILE
    path.write_text(json.dumps(origin | {"terms": 3}))
    assert inner_of_run(model, ATOMS, 300.0, tmp_path)["terms"] == 3
    with pytest.raises(InputError, match=r"inner.json: was fitted for another run .temperature_K"):
        inner_of_run(model, ATOMS, 310.0, tmp_path)
    with pytest.raises(InputError, match=r"another run .system"):
        inner_of_run(model, water_box(8), 300.0, tmp_path)
    path.write_text(json.dumps(origin | {"model_weights_sha256": "other"}))
    with pytest.raises(InputError, match=r"another run .model_weights_sha256"):
        inner_of_run(model, ATOMS, 300.0, tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        inner_of_run(model, ATOMS, 300.0, tmp_path)


def motion(forces=None, **changes):
    given = {
        "timestep_fs": 0.5, "n_steps": 1000, "temperature": 300.0, "friction_per_ps": 5.0,
        "frame_stride": 20, "chunk_frames": 20, "seed": 1,
    }  # fmt: skip
    extras = Extras(inner=lambda cell: wells(), watch=Watch(stride=10))
    return motion_of(ATOMS, forces or wells(), Dynamics(**(given | changes)), extras)


def test_a_budget_is_planned_from_real_steps_once(tmp_path):
    """Force calls that take 2 ms, and inner ones that take 1 ms each."""
    calls = []

    def slow(seconds, name):
        def forces(positions):
            calls.append(name)
            time.sleep(seconds)
            return wells()(positions)

        return forces

    given = motion(slow(0.002, "whole"), timestep_fs=2.0, inner_steps=2)
    extras = replace(given.extras, inner=lambda cell: slow(0.001, "inner"))
    length = planned_ps(replace(given, extras=extras), 1.0, tmp_path)
    assert calls.count("whole") == TIMED_STEPS + 2  # the first configuration, a step to warm up
    assert calls.count("inner") >= 2 * TIMED_STEPS
    plan = json.loads((tmp_path / PLAN).read_text())
    assert 0.004 < plan["seconds_per_step"] < 1.0
    expected = planning.PLANNED_SHARE * 60 / plan["seconds_per_step"] * 2e-3
    assert length == plan["time_ps"] == pytest.approx(expected)
    calls.clear()
    assert planned_ps(replace(given, extras=extras), 1.0, tmp_path) == length
    assert calls == []


def test_a_budget_for_less_than_a_frame_leaves_nothing(tmp_path):
    def slow(positions):
        time.sleep(0.01)
        return wells()(positions)

    with pytest.raises(InputError, match=r"--budget-minutes 0.0001: .*less than one frame"):
        planned_ps(motion(slow), 1e-4, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_forecast_after_twenty_steps_once():
    said = []
    forecast = Forecast(said.append, 10_000)
    for done in range(100):
        forecast(done)
        assert len(said) == (done >= 21)
    assert "the other 9979 steps take about" in said[0]
    quiet = Forecast(said.append, 15)
    for done in range(16):
        quiet(done)
    assert len(said) == 1


def test_failures_are_told_together():
    wrong, hot = InputError("chunk"), PhysicsCheckFailed("blew up")
    assert together([(Path("a"), wrong)], 1) is wrong
    found = together([(Path("a"), wrong), (Path("b"), hot)], 3)
    assert type(found) is PhysicsCheckFailed
    text = "2 of 3 runs failed: a: chunk; b: blew up; the other 1 went on to their ends"
    assert str(found) == text
    assert type(together([(Path("a"), wrong)], 2)) is InputError
    assert type(together([(Path("a"), ExternalError("disk"))], 2)) is ExternalError


def test_a_charged_box_is_refused(tiny_model):
    model = load_model(str(tiny_model))
    require_neutral(model, list(ATOMS.symbols))
    charged = ATOMS[[atom.index for atom in ATOMS if atom.symbol != "Cl"]]
    with pytest.raises(InputError, match=r"expected a neutral box, got \+1 e \(1 Li\)"):
        require_neutral(model, list(charged.symbols))


# --- the command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a user works: a box, one without its anion, two frames."""
    write_frames(tmp_path / "box.xyz", [ATOMS])
    charged = ATOMS[[atom.index for atom in ATOMS if atom.symbol != "Cl"]]
    write_frames(tmp_path / "charged.xyz", [charged])
    write_frames(tmp_path / "two.xyz", [ATOMS, ATOMS])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(model, line):
    words = ["simulate", "--model", str(model), "--frame-every-fs", "1", *line.split()]
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--box charged.xyz -o a.h5 --time-ps 0.004", "neutral box, got +1 e"),
        ("--box charged.xyz -o a --time-ps 0.004 --replicas 2", "neutral box, got +1 e"),
        ("--box box.xyz -o a.xyz --time-ps 0.004", "a.xyz: expected a name that ends in .h5"),
        ("--box box.xyz -o a.h5 --time-ps 0.004 --waters 20", "--waters is for boxes that are"),
        ("--box box.xyz -o a.h5 --time-ps 0.004 --replicas 2", "expected a folder"),
        ("--box box.xyz -o a --budget-minutes 1 --replicas 2", "--budget-minutes is for a single"),
        ("--box box.xyz -o a.h5 --time-ps 0.0004", "--time-ps: expected at least one frame"),
        ("--box box.xyz -o a.h5 --time-ps 0.004 --watch dog", "--watch: expected 'continue'"),
        ("--box box.xyz -o a.h5 --time-ps 0.004 --inner-steps 0", "--inner-steps: expected"),
        ("--box box.xyz -o a.h5 --time-ps 0.004 --pressure-bar 1 --evaluation plain",
         "--pressure-bar: constant pressure needs the compiled network: --evaluation plain"),
        ("--salt NaCl --molality 1.4 -o a --time-ps 0.004", "NaCl in water also holds Na"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing(folder, tiny_model, line, message):
    before = sorted(path.name for path in folder.iterdir())
    done = command(tiny_model, line)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    left = [path for path in folder.iterdir() if path.name not in before]
    assert [path for folder in left for path in folder.rglob("*.h5")] == []
    assert not any(path.is_file() for path in left)


def test_a_model_of_ions_is_sent_to_its_own_command(folder):
    done = command("licl-cg", "--box box.xyz -o a.h5 --time-ps 0.004")
    assert isinstance(done.exception, InputError)
    assert "bjerrum ions" in str(done.exception)


def test_a_charged_box_is_not_exported(folder, tiny_model):
    words = f"export --model {tiny_model} --format lammps --no-network --box charged.xyz -o out"
    done = CliRunner().invoke(app, words.split())
    assert isinstance(done.exception, InputError)
    assert "neutral box, got +1 e" in str(done.exception)
    assert not (folder / "out").exists()


def test_the_first_of_several_frames_is_used_and_said(folder):
    said = []
    assert len(first_frame(folder / "two.xyz", said.append)) == len(ATOMS)
    assert said == [f"{folder / 'two.xyz'}: holds 2 frames; the first one is used"]
    first_frame(folder / "box.xyz", said.append)
    assert len(said) == 1


def test_replicas_of_a_box(folder, tiny_model):
    """Two runs of it, of other random numbers."""
    line = "--box box.xyz -o runs --time-ps 0.004 --replicas 2 --evaluation batched"
    done = command(tiny_model, line)
    assert done.exit_code == 0, done.output
    ends = []
    for name in ("box-1", "box-2"):
        (chunk,) = read_h5md(folder / "runs" / name / "trajectory.h5")
        assert chunk.steps.tolist() == [1, 2, 3, 4]
        ends.append(chunk.positions[-1])
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


# --- several molalities


SOLUTIONS = [Solution(Salt.parse("LiCl"), m, 298.15) for m in (2.0, 4.0)]


def stand_in(solution, waters, *, seed):
    """A box at once, in place of a packed one."""
    return water_box(int(10 + solution.molality), seed=seed % 100, edge=9.5)


def several_runs(folder, announce=lambda *progress: None, said=None, **changes):
    own = spec(time_ps=0.012, frame_every_fs=1, on_event="off", evaluation="plain", **changes)
    say = (said if said is not None else []).append
    return several.simulate_several(
        "tiny", SOLUTIONS, 26, 2, own, folder, announce, say=say
    )  # fmt: skip


@pytest.fixture
def quick(tiny_model, monkeypatch):
    """Boxes at once, and replicas one after another here: a process for each costs seconds."""
    model = load_model(str(tiny_model))

    def in_this_process(name, replicas, on_progress):
        done = 0
        for replica in replicas:
            forces, extras = assemble(model, replica.atoms, replica.dynamics, replica.setup)
            run_dynamics(
                replica.atoms, forces, replica.dynamics, replica.folder, extras=extras,
                on_step=lambda step, done=done: on_progress(done + step),
            )  # fmt: skip
            done += replica.dynamics.n_steps

    monkeypatch.setattr(several, "load_model", lambda name, device: model)
    monkeypatch.setattr(several, "build_box", stand_in)
    monkeypatch.setattr(several, "equilibrate_box", lambda atoms, *a, **k: atoms)
    monkeypatch.setattr(several, "run_replicas", in_this_process)
    whole = SimulationSpec.dynamics
    monkeypatch.setattr(
        SimulationSpec, "dynamics",
        lambda self, chunk_frames=3, replica=0: whole(self, chunk_frames, replica),
    )  # fmt: skip


@pytest.mark.usefixtures("quick")
def test_several_molalities_killed_and_gone_on_with(tmp_path):
    said = []
    paths = several_runs(tmp_path / "whole", said=said)
    assert [line for line in said if "steps take about" in line]
    names = ["LiCl-2-1", "LiCl-2-2", "LiCl-4-1", "LiCl-4-2"]
    assert [path.parent.name for path in paths] == names
    assert [len(next(read_h5md(path)).symbols) for path in paths] == [38, 38, 44, 44]
    assert len({next(read_h5md(path)).positions[-1].tobytes() for path in paths}) == 4

    def killed_at(step):
        def announce(stage, done, total):
            if stage == "Dynamics" and done == step:
                raise KeyboardInterrupt

        return announce

    with pytest.raises(KeyboardInterrupt):
        several_runs(tmp_path / "parts", killed_at(20))
    done = sorted(path.parent.name for path in (tmp_path / "parts").rglob("end.npz"))
    assert done == names[:1]  # the second of four was at its eighth step
    assert len(list((tmp_path / "parts" / names[1]).glob("chunk-*"))) == 2
    again = several_runs(tmp_path / "parts")
    for one, two in zip(paths, again, strict=True):
        assert one.read_bytes() == two.read_bytes()
    with pytest.raises(InputError, match="unfinished run of another"):
        several_runs(tmp_path / "parts", seed=2)


@pytest.mark.usefixtures("quick")
def test_what_the_watch_saw_in_several_runs_is_said_of_each(tmp_path):
    """A proton on lithium at the start: seen at step 0, marked in the first frame."""
    poisoned = ATOMS.copy()
    lithium = int(np.flatnonzero(ATOMS.symbols == "Li")[0])
    poisoned.positions[1] = poisoned.positions[lithium] + [1.1, 0, 0]
    write_frames(tmp_path / "box.xyz", [poisoned])
    own, said = spec(time_ps=0.003, frame_every_fs=1, evaluation="plain"), []
    several.simulate_replicas(
        "tiny", tmp_path / "box.xyz", 2, own, tmp_path / "runs", lambda *progress: None,
        say=said.append,
    )  # fmt: skip
    lines = [line for line in said if line.startswith("watch: ")]
    assert [line.rpartition("/")[2] for line in lines] == ["box-1", "box-2"]
    for line in lines:
        assert "new bond to H, 1 look, at 0 ps" in line
        assert "1 of 3 frames marked; see " in line


def test_wrong_elements_are_refused_before_a_box_is_built(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(several, "build_box", lambda *a, **k: pytest.fail("built"))
    sodium = [Solution(Salt.parse("NaCl"), 2.0, 298.15)]
    with pytest.raises(ModelError, match="NaCl in water also holds Na"):
        several.simulate_several(str(tiny_model), sodium, 26, 1, spec(), tmp_path / "a", print)
    small = [Solution(Salt.parse("LiCl"), 10.0, 298.15)]
    with pytest.raises(InputError, match=r"twice the model's cutoff .6 angstrom"):
        several.simulate_several(str(tiny_model), small, 5, 1, spec(), tmp_path / "a", print)
    twice = [Solution(Salt.parse("LiCl"), 1.4, 298.15)] * 2
    with pytest.raises(InputError, match=r"LiCl-1\.4 more than once"):
        several.simulate_several(str(tiny_model), twice, 26, 1, spec(), tmp_path / "a", print)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("step", "every", "kept"),
    [(0.5, 25.0, None), (2.0, 25.0, 24.0), (3.0, 1.0, 3.0), (0.1, 0.3, None), (1.0, 2.6, 3.0)],
)
def test_frames_that_no_whole_number_of_steps_reaches_are_told(step, every, kept):
    chosen = spec(timestep_fs=step, frame_every_fs=every)
    assert chosen.frame_stride * step == pytest.approx(every if kept is None else kept)
    told = chosen.rounded_interval()
    assert told is None if kept is None else told.startswith(f"frames every {kept:g} fs: ")
