"""Campaigns: from a TOML to a graph, a forecast, a database; and what wrong files are told."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bjerrum.campaign import kinds
from bjerrum.campaign.cleaning import find_garbage
from bjerrum.campaign.costs import UnitCost, measured_costs, shipped_costs, wall_seconds
from bjerrum.campaign.looking import plan, status
from bjerrum.campaign.opening import open_campaign
from bjerrum.campaign.record import record
from bjerrum.campaign.running import run_campaign
from bjerrum.campaign.spec import is_campaign, read_campaign
from bjerrum.campaign.toml import dumps_toml
from bjerrum.campaign.wiring import wire
from bjerrum.cli import app
from bjerrum.cli.reports import reports_of_campaign, write_campaign_reports
from bjerrum.database import Database
from bjerrum.database.queries import list_runs
from bjerrum.errors import InputError, LockedError
from bjerrum.execution.journal import read_journal
from bjerrum.graph import Graph
from bjerrum.store import Store, exclusive, is_held

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("campaign*.toml"))

MINI = """\
name = "mini"
profile = "profile.toml"
measure = ["structure", "transport"]

[solutions]
salts = ["LiCl", "KCl"]
molalities_mol_per_kg = [2.0]

[box]
waters = 48
replicas = 1
classical_equilibration_ps = 8

[reference]
method = "classical"

[simulation]
potential = "reference"
length_ps = 3
frame_every_fs = 50
"""
SIMULATION = MINI[MINI.index("[simulation]") :]
PROFILE = 'kind = "local"\nworkers = 1\ntie_to_cores = false\n'


@pytest.fixture
def mini(tmp_path, monkeypatch) -> Path:
    (tmp_path / "profile.toml").write_text(PROFILE)
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    monkeypatch.chdir(tmp_path)
    return path


def quiet(stage: str, done: int, total: int) -> None:
    return


def test_the_graph_of_a_small_campaign(mini):
    opened = open_campaign(mini)
    names = [node.kind.name for node in opened.campaign.graph]
    assert sorted(names) == sorted(
        2 * ["build_box", "simulate_classical", "measure_structure", "measure_transport"]
    )
    assert not (mini.parent / "campaigns").exists(), "opening writes nothing"


def test_identities_do_not_depend_on_where_things_lie(mini, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("mini.toml", "profile.toml"):
        shutil.copy(mini.parent / name, other / name)
    here, there = open_campaign(mini), open_campaign(other / "mini.toml", other / "out")
    assert list(here.campaign.graph.nodes) == list(there.campaign.graph.nodes)


CHANGES = {
    "length_ps = 3": ("length_ps = 4", {"build_box"}),
    "frame_every_fs = 50": ("frame_every_fs = 25", {"build_box"}),
    "waters = 48": ("waters = 64", set()),
    'name = "mini"': ('name = "other"', None),
}


@pytest.mark.parametrize("old", CHANGES)
def test_a_changed_setting_changes_exactly_what_depends_on_it(mini, old):
    new, unchanged = CHANGES[old]
    before = open_campaign(mini).campaign.graph
    mini.write_text(MINI.replace(old, new))
    after = open_campaign(mini).campaign.graph
    kept = {node.kind.name for node in after if node.hash in before.nodes}
    assert kept == ({node.kind.name for node in after} if unchanged is None else unchanged)


def test_a_changed_version_of_a_kind_changes_exactly_its_dependants(mini, monkeypatch):
    before = open_campaign(mini).campaign.graph
    raised = kinds.SIMULATE_CLASSICAL.__class__(
        **{**kinds.SIMULATE_CLASSICAL.__dict__, "version": 99}
    )
    monkeypatch.setattr(kinds, "SIMULATE_CLASSICAL", raised)
    after = open_campaign(mini).campaign.graph
    assert {node.kind.name for node in after if node.hash in before.nodes} == {"build_box"}


def test_a_models_wall_is_part_of_its_identity():
    """Two models with the same weights but another wall are two models."""
    from bjerrum.potential.card import find_model, read_card

    card = read_card(find_model("licl-nnp1"))
    wall = {"kind": "zbl", "strength": 1.0, "outer_angstrom": {"Li-O": 1.7}}
    changed = card.model_copy(update={"repulsion": wall})
    renamed = card.model_copy(update={"name": "another"})
    assert len({card.identity, changed.identity}) == 2
    assert renamed.identity == card.identity


WRONG = [
    ('salts = ["LiCl", "KCl"]', 'salts = ["LiCi"]', "unknown salt 'LiCi'; did you mean LiCl"),
    ('salts = ["LiCl", "KCl"]', 'salts = ["LiCl", "LiCl"]', "each once, got LiCl twice"),
    ('salts = ["LiCl", "KCl"]', "salts = []", "solutions.salts: "),
    ("[2.0]", "[2.0, 2.05]", "are the same box: 48 waters with 2 LiCl; take more waters"),
    ("[2.0]", "[40.0]", "molality must be between 0 and 27.75"),
    ("[2.0]", "[0.1]", "use at least 556 waters"),
    ("[2.0]", "[0.0]", "expected more than 0"),
    ("[2.0]", '["2"]', "molalities_mol_per_kg"),
    ("[2.0]", "[20.0]", "no density of (LiCl|KCl) at"),
    ("waters = 48", "watters = 48", "unknown key 'box.watters'; expected one of: classical"),
    ("waters = 48", "waters = 48.5", "box.waters: expected"),
    ("replicas = 1", "replicas = 0", "box.replicas: expected greater than 0"),
    ('method = "classical"', 'method = "b3lyp"', "reference.method: expected"),
    ('method = "classical"', 'method = "classical"\nsettings = "no.toml"', "names no.toml, but"),
    ('method = "classical"', 'method = "dc-r2scan"', 'needs reference.method = "classical"'),
    ('potential = "reference"', 'potential = "trained"', "needs \\[training\\]"),
    ('potential = "reference"', 'potential = "no-model"', "expected a folder with model.json or"),
    ('potential = "reference"', 'potential = "licl-nnp1"', "KCl also needs K"),
    ('profile = "profile.toml"', 'profile = "none.toml"', "names none.toml, but"),
    ('"structure", "transport"', '"structure", "viscosity"', "measure.1: expected"),
    ('"structure", "transport"', '"structure", "structure"', "each once"),
    ('"structure", "transport"', '"force-error"', "needs \\[training\\]"),
    ('name = "mini"', 'name = "../../etc"', "name: "),
    ('name = "mini"', "", "key 'name' is missing"),
    ("[simulation]", "[learning]\n[simulation]", "there is no committee to explore with"),
    ("[simulation]", "[simulation", "is not valid TOML"),
    (SIMULATION, "", 'measure: "structure" needs \\[simulation\\]'),
    ("frame_every_fs = 50", "frame_every_fs = 3001", "two frames or more after the equili"),
    ("frame_every_fs = 50", "frame_every_fs = 1201", "at most 1200, got 1201"),
    ("frame_every_fs = 50", "frame_every_fs = 0.5", "frame_every_fs: expected at least timestep"),
    ("length_ps = 3", "length_ps = 1e9", "simulation.length_ps: expected less than or equal"),
    ("length_ps = 3", "length_ps = inf", "simulation.length_ps: "),
    ("length_ps = 3", "length_ps = nan", "simulation.length_ps: "),
    ("length_ps = 3", "length_ps = 3\nequilibration_part = 1.0", "equilibration_part: expected"),
    ("length_ps = 3", "length_ps = 3\ntimestep_fs = 20", "simulation.timestep_fs: expected"),
    ("length_ps = 3", "length_ps = 3\nfriction_per_ps = 0", "simulation.friction_per_ps: expec"),
    ("waters = 48", "waters = 10000000", "box.waters: expected less than or equal to 100000"),
    ("replicas = 1", "replicas = 100000", "box.replicas: expected less than or equal to 1000"),
    (
        "equilibration_ps = 8",
        "equilibration_ps = 1",
        "classical_equilibration_ps: expected greater",
    ),
    ('method = "classical"', 'method = "classical"\nframes = 2\nblocks = 3', "at most 2 blocks"),
    ('method = "classical"', 'method = "classical"\nsample_ps = -1', "reference.sample_ps: exp"),
    ('method = "classical"', 'method = "classical"\nranks = 0', "reference.ranks: expected"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[w[1][:40] for w in WRONG])
def test_wrong_campaigns_are_one_line(mini, old, new, message):
    assert old in MINI
    mini.write_text(MINI.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        open_campaign(mini)
    assert "\n" not in str(caught.value)
    assert not (mini.parent / "campaigns").exists()


def test_a_folder_of_another_campaign_is_refused(mini, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "campaign.json").write_text('{"name": "theirs"}')
    with pytest.raises(InputError, match="belongs to the campaign 'theirs', not to 'mini'"):
        open_campaign(mini, folder)
    (folder / "campaign.json").unlink()
    (folder / "steps").mkdir()
    with pytest.raises(InputError, match="holds steps that are not this campaign's"):
        open_campaign(mini, folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder for the campaign, found a file"):
        open_campaign(mini, tmp_path / "file")


def test_an_unreachable_database_stops_before_anything_is_computed(mini, tmp_path):
    (tmp_path / "not-a-database").write_text("what is this?")
    mini.write_text(f'database = "{tmp_path}/not-a-database"\n{MINI}')
    with pytest.raises(InputError, match="not-a-database"):
        run_campaign(open_campaign(mini), quiet)
    assert not list(tmp_path.glob("campaigns/mini/steps/*"))


def test_two_drivers_on_one_campaign(mini):
    opened = open_campaign(mini)
    with exclusive(opened.store.root):
        assert is_held(opened.store.root)
        with pytest.raises(LockedError, match="another process is running in this folder"):
            run_campaign(opened, quiet)
    assert not is_held(opened.store.root)


def test_looking_refuses_no_driver(mini):
    """Somebody looks all the time; a driver that starts meanwhile waits for the moment."""
    root = open_campaign(mini).store.root
    root.mkdir(parents=True)
    (root / ".lock").touch()
    ended, seen = threading.Event(), []

    def look() -> None:
        while not ended.is_set():
            seen.append(is_held(root))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(100):
            with exclusive(root):
                time.sleep(0.002)
    finally:
        ended.set()
        looker.join()
    assert {True, False} <= set(seen)


SECRET = "hunter2-and-more"
URLS = [
    f"postgresql://me:{SECRET}@db.example/results",
    f"postgresql://me@db.example/results?password={SECRET}",
    f"postgresql+psycopg://me:{SECRET}@db.example:5432/results",
]


@pytest.mark.parametrize("url", URLS)
def test_a_databases_password_is_never_told(mini, monkeypatch, url):
    """Not by status, not by run, not in the folder's copy of the file, not by errors."""
    from bjerrum.campaign import running

    mini.write_text(f'database = "{url}"\n{MINI}')
    opened = open_campaign(mini)
    assert opened.database == url
    monkeypatch.setattr(running, "record", lambda *some: None)
    monkeypatch.setattr(running.Drive, "run", lambda self: self.executor.close())
    told = [
        CliRunner().invoke(app, ["run", str(mini)]),
        CliRunner().invoke(app, ["status", str(mini)]),
        CliRunner().invoke(app, ["status", str(mini), "--json"]),
        CliRunner().invoke(app, ["plan", str(mini), "--json"]),
        CliRunner().invoke(app, ["clean", str(mini)]),
    ]
    assert all(one.exit_code == 0 for one in told), [one.output for one in told]
    assert "db.example" in told[0].output
    root = mini.parent / "campaigns" / "mini"
    texts = [one.output for one in told]
    texts += [path.read_text() for path in root.rglob("*") if path.is_file()]
    assert len(texts) > len(told) + 1
    assert not any(SECRET in text for text in texts)
    copy = read_campaign(root / "campaign.toml")
    assert copy.model_dump(exclude={"database"}) == opened.campaign.config.model_dump(
        exclude={"database"}
    )


def test_the_copy_of_a_file_without_secrets_is_the_file(mini, monkeypatch):
    from bjerrum.campaign.opening import claim

    opened = open_campaign(mini)
    claim(opened)
    assert (opened.store.root / "campaign.toml").read_bytes() == mini.read_bytes()


def test_the_database_of_the_environment_is_used_unless_the_file_names_one(mini, monkeypatch):
    default = open_campaign(mini).database
    assert default == str(Path("campaigns/mini/results.sqlite"))
    monkeypatch.setenv("BJERRUM_DATABASE", URLS[0])
    assert open_campaign(mini).database == URLS[0]
    mini.write_text(f'database = "own.sqlite"\n{MINI}')
    assert open_campaign(mini).database == "own.sqlite"


def test_two_files_of_one_name_do_not_share_a_folder(mini, tmp_path):
    """Else ``clean`` of the second would take what the first has computed."""
    from bjerrum.campaign.opening import claim

    opened = open_campaign(mini)
    claim(opened)
    other = tmp_path / "other.toml"
    other.write_text(MINI.replace("length_ps = 3", "length_ps = 4"))
    for command in ("plan", "status", "clean", "run"):
        refused = CliRunner().invoke(app, [command, str(other)])
        assert isinstance(refused.exception, InputError), command
        assert "belongs to" in str(refused.exception)
        assert str(mini) in str(refused.exception)
    assert open_campaign(mini), "its own file is welcome"
    link = tmp_path / "link.toml"
    link.symlink_to(mini)
    assert open_campaign(link)
    adopted = open_campaign(other, adopt=True)
    claim(adopted)
    assert open_campaign(other)
    with pytest.raises(InputError, match=r"belongs to .*other\.toml"):
        open_campaign(mini)
    other.unlink()
    assert open_campaign(mini), "a file that was moved holds no folder"
    shown = CliRunner().invoke(app, ["clean", str(mini)])
    assert shown.stdout.startswith(f"mini ({mini}) in campaigns/mini")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"running": [1]}', '{"running": {"a": "b"}}'])
def test_a_damaged_state_of_the_driver_says_nothing(mini, text):
    opened = open_campaign(mini)
    with exclusive(opened.store.root):
        (opened.store.root / "running.json").write_text(text)
        found = status(opened)
    assert (found["driver"], found["running"]) == ("running", [])


def test_steps_that_wait_in_a_queue_are_not_called_running(mini):
    """What counts is the journal: a begin after the step was last handed over."""
    from bjerrum.execution.driver import STATE
    from bjerrum.execution.journal import HANDED_OVER, note
    from bjerrum.files import write_json

    opened = open_campaign(mini)
    root, (first, second, third, *_) = opened.store.root, opened.campaign.graph
    with exclusive(root):
        now = time.time()
        taken = (first, second, third)
        write_json(root / STATE, {"running": dict.fromkeys((n.hash for n in taken), now - 9)})
        for node in (first, second):
            note(root, HANDED_OVER, node.hash)
            note(root, "begin", node.hash)
        note(root, "lost", second.hash, reason="its job was cancelled")
        note(root, HANDED_OVER, second.hash)
        note(root, HANDED_OVER, third.hash)
        found = status(opened)
    assert [entry["step"] for entry in found["running"]] == [f"{first.title}: {first.kind.name}"]
    assert found["running"][0]["seconds"] < 8, "since its begin, not since it was handed over"
    assert len(found["handed_over"]) == 2
    assert found["waiting"] == 5
    with exclusive(root):
        shown = CliRunner().invoke(app, ["status", str(mini)])
        assert "driver: running" in shown.stdout


def test_run_files_are_no_campaigns(mini, tmp_path):
    assert is_campaign(mini)
    assert not is_campaign(ROOT / "examples" / "licl.toml")
    assert not is_campaign(tmp_path / "none.toml")
    refused = CliRunner().invoke(app, ["run", str(mini), "--budget-minutes", "1"])
    assert isinstance(refused.exception, InputError)
    refused = CliRunner().invoke(app, ["run", str(ROOT / "examples" / "licl.toml"), "--retry"])
    assert isinstance(refused.exception, InputError)


def test_plan_counts_and_prices_and_writes_nothing(mini):
    found = plan(open_campaign(mini))
    assert found["steps"] == 8
    assert found["done"] == 0
    assert {row["kind"]: row["n_left"] for row in found["kinds"]} == dict.fromkeys(
        ("build_box", "simulate_classical", "measure_structure", "measure_transport"), 2
    )
    assert 0 < found["core_hours"] < 1
    assert found["wall_hours"] == pytest.approx(found["core_hours"])  # one worker
    assert not (mini.parent / "campaigns").exists()


NOT_FOR_PLANS = ("torch", "vesin", "nequip", "openmm", "MDAnalysis", "freud", "scipy.stats")


def test_planning_loads_nothing_that_computes(tmp_path):
    """Training, ready models and coarsening included: their settings come without their code."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom bjerrum.cli import app\n"
        "for path in sys.argv[2:]:\n"
        "    for word in ('plan', 'status'):\n"
        "        done = CliRunner().invoke(app, [word, path, '-o', sys.argv[1]])\n"
        "        assert done.exit_code == 0, done\n"
        f"        print(*(name for name in {NOT_FOR_PLANS} if name in sys.modules))"
    )
    ready = tmp_path / "ready.toml"
    ready.write_text(
        MINI.replace('"LiCl", "KCl"', '"LiCl"')
        .replace('profile = "profile.toml"', "")
        .replace('potential = "reference"', 'potential = "licl-nnp1"')
    )
    paths = [str(path) for path in (*EXAMPLES, ready)]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "none"), *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == 2 * len(paths) * "\n"


def test_costs_of_a_graph_by_hand():
    """A chain of 3 s and 4 s beside 5 single seconds: 7 s with many workers, 12 s with one."""
    graph, kind = Graph(), kinds.BUILD_BOX
    first = graph.add(kind, {"k": 0}, title="")
    second = graph.add(kind, {"k": 1}, {"first": first}, title="")
    singles = [graph.add(kind, {"k": 2 + k}, title="") for k in range(5)]
    left = {first.hash: 3.0, second.hash: 4.0} | {node.hash: 1.0 for node in singles}
    assert wall_seconds(graph, left, 100) == 7
    assert wall_seconds(graph, left, 1) == 12
    assert UnitCost(core_seconds=2, bytes=0, fixed_core_seconds=1, source="").seconds(3) == 7


@pytest.mark.parametrize(("name", "atoms"), [("n8", 26), ("n16", 50)])
def test_labels_cost_what_was_measured(name, atoms):
    """Both sizes from the files; by the square of the atoms the larger one would be half more."""
    from bjerrum.campaign.costs import LABEL_POWER

    path = ROOT / "data" / "licl-dcr2scan" / f"bench-{name}.json"
    measured = json.loads(path.read_text())["details"]["cpu_seconds_per_label"]["ours"]
    unit = shipped_costs()["label_dc_r2scan"]
    assert unit.seconds(atoms**LABEL_POWER) == pytest.approx(measured, rel=5e-3)
    assert unit.kind == "extrapolated"


def label_units(tmp_path: Path, settings: str, **changes: str) -> dict[str, float]:
    """Units of the labels of the worked campaign from first principles, kind of frames by kind."""
    text = (ROOT / "examples" / "campaign_first_principles.toml").read_text()
    text = text.replace('method = "dc-r2scan"', 'method = "dc-r2scan"\nsettings = "cp2k.toml"')
    for old, new in changes.items():
        text = text.replace(f"{old} =", f"{old} = {new} #")
    (tmp_path / "cp2k.toml").write_text(f'method = "dc-r2scan"\n{settings}')
    (tmp_path / "campaign.toml").write_text(text)
    graph = open_campaign(tmp_path / "campaign.toml", tmp_path / "none").campaign.graph
    found: dict[str, float] = {}
    for node in graph:
        if node.kind.name == "label_dc_r2scan" and node.title.startswith("LiCl"):
            source = node.needs["frames"].kind.name
            found[source] = found.get(source, 0.0) + node.units
    return found


def test_calibration_and_repeated_calculations_are_counted(tmp_path):
    """Four boxes of 10 frames at each of three solutions; 60 frames of three boxes in a round.

    A fit of the grid error takes 3 frames of a cell at 2 further places each; an average two.
    """
    plain = label_units(tmp_path, 'grid_correction = "none"')
    fitted = label_units(tmp_path, "")
    averaged = label_units(tmp_path, 'grid_correction = "average"')
    assert fitted["choose_frames"] == pytest.approx(plain["choose_frames"] * (10 + 6) / 10)
    assert fitted["explore_round"] == pytest.approx(plain["explore_round"] * (60 + 18) / 60)
    assert averaged["explore_round"] == pytest.approx(2 * plain["explore_round"])
    apart = label_units(tmp_path, 'grid_correction = "none"', frames_per_task="5")
    assert apart == pytest.approx(plain), "however they are shared out"


def test_a_disk_that_is_too_small_stops_before_anything_is_computed(mini, monkeypatch):
    from bjerrum.campaign import looking

    monkeypatch.setattr(looking, "_free_gigabytes", lambda root: 1e-6)
    refused = CliRunner().invoke(app, ["run", str(mini)])
    assert isinstance(refused.exception, InputError)
    assert "the disk is too small" in str(refused.exception)
    assert not list(mini.parent.glob("campaigns/mini/steps/*"))
    assert CliRunner().invoke(app, ["plan", str(mini)]).exit_code == 0


def test_the_forecast_says_what_was_measured_and_what_not(tmp_path):
    shown = CliRunner().invoke(
        app, ["plan", str(EXAMPLES[1]), "-o", str(tmp_path / "none")], env={"COLUMNS": "300"}
    )
    lines = {line.split()[0]: line for line in shown.stdout.splitlines()}
    assert "extrapolated: CP2K 2023.1" in lines["label_dc_r2scan"]
    assert "measured: licl-nnp1 in boxes" in lines["check_model"]
    assert "measured: " in lines["build_box"]
    assert {name for name, cost in shipped_costs().items() if cost.kind == "estimate"} == {
        "label_r2scan"
    }
    assert [shipped_costs()["check_model"].seconds(n) for n in (148, 340)] == pytest.approx(
        [15.8, 23.7], abs=0.1
    )


def test_every_kind_has_a_shipped_cost():
    costs = shipped_costs()
    assert set(costs) == set(kinds.KINDS)
    assert all(cost.core_seconds > 0 and cost.source for cost in costs.values())


def test_toml_is_what_tomllib_reads():
    import tomllib

    data = {
        "text": 'quote " and \\ and \u00e9',
        "number": 1e-12,
        "flag": True,
        "list": [1, 2.5],
        "a b": {"deep": {"x": 1}, "y": "z"},
        "empty": {},
    }
    assert tomllib.loads(dumps_toml({**data, "absent": None})) == data


def call(*words: str, folder: Path, seconds: float = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bjerrum", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def estimates(place: Path) -> str:
    with Database.open(str(place)) as database:
        return database.fingerprint()


def test_a_small_campaign_ends_in_the_database(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("campaign")
    (folder / "profile.toml").write_text(PROFILE)
    path = folder / "mini.toml"
    one = MINI.replace('["LiCl", "KCl"]', '["LiCl"]')
    path.write_text(one)
    monkeypatch.chdir(folder)
    opened = open_campaign(path)
    root = folder / "campaigns" / "mini"
    assert reports_of_campaign(folder) is None
    done = run_campaign(opened, quiet, at_end=write_campaign_reports)
    assert_reported(root, done["at_end"])
    found = status(open_campaign(path))
    assert (found["done"], found["steps"], found["driver"]) == (4, 4, "not running")
    assert found["hours_left"] == 0
    with Database.open(str(root / "results.sqlite")) as database:
        before = database.fingerprint()
    run_campaign(open_campaign(path), quiet)  # nothing new
    assert estimates(root / "results.sqlite") == before
    assert sum(event["event"] == "begin" for event in read_journal(root)) == 4
    # the same, had the database been lost
    (root / "results.sqlite").unlink()
    run_campaign(open_campaign(path), quiet)
    assert estimates(root / "results.sqlite") == before
    costs = measured_costs(opened.store, opened.campaign.graph)
    assert costs["build_box"].core_seconds > 0
    # other settings: the old results can go, and only they
    path.write_text(one.replace("length_ps = 3", "length_ps = 2.5"))
    changed = open_campaign(path)
    garbage = find_garbage(changed.campaign.graph, changed.store)
    kept = {"simulate_classical", "measure_structure", "measure_transport"}
    assert {p.name.rsplit("-", 1)[0] for p in garbage.stale} == kept
    listed = CliRunner().invoke(app, ["clean", str(path), "--json"])
    assert len(json.loads(listed.stdout)["stale"]) == 3
    assert len(list((root / "steps").iterdir())) == 4, "without --yes nothing is removed"
    assert CliRunner().invoke(app, ["clean", str(path), "--yes"]).exit_code == 0
    assert [p.name.rsplit("-", 1)[0] for p in (root / "steps").iterdir()] == ["build_box"]


@pytest.fixture
def read_only(tmp_path):
    """A folder, and the same mounted so that not even root can write into it."""
    there, here = tmp_path / "writable", tmp_path / "read-only"
    there.mkdir()
    here.mkdir()
    bind = ["mount", "--bind", str(there), str(here)]
    if shutil.which("mount") is None or subprocess.run(bind, check=False).returncode != 0:
        pytest.skip("mounting a folder needs root, and a machine that allows it")
    try:
        again = ["mount", "-o", "remount,ro,bind", str(here)]
        if subprocess.run(again, check=False).returncode != 0:
            pytest.skip("mounting a folder read-only is not allowed here")
        yield there, here
    finally:
        subprocess.run(["umount", "-l", str(here)], check=True)


def test_a_read_only_disk_is_one_line_and_can_be_looked_at(mini, read_only):
    """Runs stop with code 2 before they compute; what is there is planned, listed and shown."""
    from bjerrum.database.exchange import export_file
    from bjerrum.database.queries import Filter
    from database_cases import run as stored_run

    there, here = read_only
    (there / "empty").mkdir()
    (there / "empty" / ".lock").touch()
    place = there / "results.sqlite"
    with Database.open(str(place), create=True) as database:
        database.insert([stored_run(name="a run")])
        export_file(database, there / "runs.json", Filter())
    done = call("run", str(mini), "-o", str(here / "new"), folder=mini.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"bjerrum: {here / 'new'}: cannot be written (Read-only file system); choose another "
        "output\n"
    )
    for words in (
        ("run", mini, "-o", here / "empty"),
        ("clean", mini, "-o", here / "empty", "--yes"),
        ("database", "import", there / "runs.json", "-d", here / "new.sqlite"),
        ("database", "migrate", "-d", here / "results.sqlite"),
    ):
        refused = CliRunner().invoke(app, [str(word) for word in words])
        assert isinstance(refused.exception, InputError), words
        assert re.fullmatch(
            r".+: cannot be written \(Read-only file system\).*", str(refused.exception)
        )
    assert [path.name for path in (there / "empty").iterdir()] == [".lock"]
    assert CliRunner().invoke(app, ["plan", str(mini), "-o", str(here / "empty")]).exit_code == 0
    listed = CliRunner().invoke(app, ["database", "list", "--runs", "-d", str(here / place.name)])
    assert "a run" in listed.stdout
    (there / "results.sqlite-wal").write_bytes(b"changes")
    refused = CliRunner().invoke(app, ["database", "list", "-d", str(here / place.name)])
    assert isinstance(refused.exception, InputError)
    assert "copy both" in str(refused.exception)


def assert_reported(root: Path, folder: Path) -> None:
    """One page of the one solution, whole, that loads nothing; ``bjerrum report`` finds it."""
    assert folder.resolve() == root / "reports"
    folder = root / "reports"
    (page,) = folder.iterdir()
    assert page.name == "LiCl-2-mol-kg-at-298.15-K.html"
    text = page.read_text()
    assert text.rstrip().endswith("</html>")
    assert "Li–O" in text
    assert page.stat().st_size < 8e6
    shown = CliRunner().invoke(app, ["report", str(root)])
    assert shown.stdout == f"reports: {folder} (1 page)\n"
    for extra, message in (["--figure", "x.png"], "has many"), ([], "without reports"):
        refused = CliRunner().invoke(app, ["report", str(root), *extra])
        assert isinstance(refused.exception, InputError)
        assert message in str(refused.exception)
        page.unlink(missing_ok=True)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_database_that_goes_away_stops_no_step(mini, monkeypatch, comes_back):
    """Steps that write what a measurement writes; the database is away in the middle."""
    from bjerrum.campaign import running
    from bjerrum.errors import ExternalError
    from bjerrum.execution.pool import LocalPool
    from bjerrum.execution.task import Outcome

    opened = open_campaign(mini)
    store, calls = opened.store, []

    class AtOnce(LocalPool):
        def __init__(self, profile) -> None:
            self.tasks = []

        def free(self, *, gpu: bool) -> int:
            return 1 - len(self.tasks)

        def submit(self, task) -> None:
            self.tasks.append(task)

        def collect(self):
            step = self.tasks.pop().as_step
            store.complete(step, lambda folder: write_nothing_measured(folder))
            return [Outcome(step.hash, "done")]

        def close(self) -> None:
            return

    def write_nothing_measured(folder: Path) -> None:
        for name, content in (("estimates", "[]"), ("curves", "[]"), ("reasons", "{}")):
            (folder / f"{name}.json").write_text(content)

    def away(campaign, store, place, only=None):
        calls.append(only)
        if only or (only is None and not comes_back):
            raise ExternalError("the database cannot be reached")
        return record(campaign, store, place, only)

    monkeypatch.setattr(running, "LocalPool", AtOnce)
    monkeypatch.setattr(running, "record", away)
    if comes_back:
        assert run_campaign(opened, quiet)["steps"] == 8
    else:
        with pytest.raises(ExternalError, match="cannot be reached"):
            run_campaign(opened, quiet)
    events = [event["event"] for event in read_journal(store.root)]
    assert events.count("not recorded") == 2, "one for each solution"
    assert [call is None for call in calls] == [False, False, False, True]
    assert status(opened)["done"] == 8
    monkeypatch.setattr(running, "record", record)
    run_campaign(open_campaign(mini), quiet)
    with Database.open(opened.database) as database:
        assert len(list_runs(database)) == 2


def test_what_is_done_is_reported_although_a_step_has_failed(mini, monkeypatch):
    from bjerrum.campaign import running
    from bjerrum.errors import PhysicsCheckFailed
    from bjerrum.store import Failure

    opened = open_campaign(mini)
    first, reported = next(iter(opened.campaign.graph)), []

    def fail(drive: running.Drive) -> None:
        drive.executor.close()
        drive.failed[first.hash] = Failure("physics", "too hot", 1, "log", 0.0)

    monkeypatch.setattr(running.Drive, "run", fail)
    with pytest.raises(PhysicsCheckFailed, match="too hot"):
        run_campaign(opened, quiet, at_end=reported.append)
    assert reported == [opened]


def test_a_failed_step_is_told_with_its_reason_and_log(mini):
    """The failure is put there by hand, as a worker leaves it."""
    opened = open_campaign(mini)
    from bjerrum.store import Failure

    node = next(iter(opened.campaign.graph))
    opened.store.fail(node.step, Failure("physics", "too hot", 1, "log", 0.0))
    found = status(opened)
    assert found["failed"][0]["reason"] == "too hot"
    assert found["blocked"] == 3
    assert found["waiting"] == 4
    assert found["waiting_for"] == {
        "a free worker": 1,
        "its inputs: build_box": 1,
        "its inputs: simulate_classical": 2,
    }
    shown = CliRunner().invoke(app, ["status", str(mini)])
    assert "failed (physics): LiCl 2 mol/kg at 298.15 K, box 1: build_box: too hot" in shown.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_can_be_planned(path):
    campaign = wire(path, read_campaign(path))
    assert len(campaign.graph) > 50
    assert plan(open_campaign(path))["core_hours"] > 0.1


N_KILLS, MAX_ATTEMPTS = 30, 75


def at_work(root: Path, workers: set[int]) -> dict[int, str]:
    """The steps that these processes have begun and not ended."""
    begun: dict[int, str] = {}
    for event in read_journal(root):
        if event["event"] == "begin":
            begun[event["pid"]] = event["step"]
        elif event["event"] == "end":
            begun.pop(event["pid"], None)
    return {pid: step for pid, step in begun.items() if pid in workers}


def children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(child) for child in text.split()}


class Shooting:
    """A driver of a campaign, and kills of it or of its worker that may come too late."""

    def __init__(self, folder: Path, chooser: random.Random) -> None:
        self.folder, self.root, self.chooser = folder, folder / "campaigns" / "mini", chooser
        nodes = open_campaign(folder / "mini.toml", self.root).campaign.graph
        store = Store(self.root)
        self.results = {node.hash: store.folder_of(node.step) for node in nodes}
        words = [sys.executable, "-m", "bjerrum", "run", "mini.toml"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.driver = subprocess.Popen(words, cwd=folder, **quiet)

    def is_at_work(self) -> bool:
        return self.driver.poll() is None and not all(p.is_dir() for p in self.results.values())

    def wait(self) -> None:
        """Until the driver has handed a step over, and then for a random time."""
        while self.is_at_work() and self.driver.pid not in {
            event["pid"] for event in read_journal(self.root)
        }:
            time.sleep(0.05)
        end = time.monotonic() + self.chooser.uniform(0.0, 9.0)
        while self.is_at_work() and time.monotonic() < end:
            time.sleep(0.01)

    def kill_worker(self) -> bool:
        """Tell whether a worker of the living driver was killed within a step."""
        if self.driver.poll() is not None:
            return False
        for pid, step in at_work(self.root, children(self.driver.pid)).items():
            os.kill(pid, signal.SIGKILL)
            while pid in children(self.driver.pid) and self.driver.poll() is None:
                time.sleep(0.01)
            return not self.results[step].is_dir()
        return False

    def kill_driver(self) -> bool:
        """Tell whether the driver lived, with steps to be done."""
        self.driver.kill()
        killed = self.driver.wait() == -signal.SIGKILL
        return killed and not all(path.is_dir() for path in self.results.values())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_at_thirty_random_moments_leave_the_same_database(tmp_path):
    """Drivers and workers of a campaign of the classical reference; estimates to the last byte.

    A kill counts if it hit a living driver with steps to be done, or a worker within a step. A
    campaign that ends before the last kill is compared, and another one is begun.
    """
    chooser, kills = random.Random(7), {"driver": 0, "worker": 0}

    def folder_for(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "profile.toml").write_text(PROFILE)
        (folder / "mini.toml").write_text(MINI.replace("replicas = 1", "replicas = 2"))
        return folder

    def contents(folder: Path) -> tuple[str, dict[str, bytes]]:
        place = folder / "campaigns" / "mini"
        assert not list(place.glob("steps/*.partial"))
        files = place.glob("steps/*/estimates.json")
        texts = {path.parent.name: path.read_bytes() for path in files}
        assert len(texts) == 4
        return estimates(place / "results.sqlite"), texts

    assert call("run", "mini.toml", folder=folder_for("calm")).returncode == 0
    killed, attempts = [folder_for("killed-0")], 0
    while sum(kills.values()) < N_KILLS:
        one = Shooting(killed[-1], chooser)
        for _ in range(chooser.randrange(3)):
            one.wait()
            attempts += 1
            kills["worker"] += one.kill_worker()
        one.wait()
        attempts += 1
        kills["driver"] += one.kill_driver()
        assert attempts < MAX_ATTEMPTS, kills
        if all(path.is_dir() for path in one.results.values()):
            killed.append(folder_for(f"killed-{len(killed)}"))
    assert min(kills.values()) >= N_KILLS // 5, kills
    undisturbed = contents(tmp_path / "calm")
    for folder in killed:
        done = call("run", "mini.toml", folder=folder)
        assert done.returncode == 0, done.stderr
        assert contents(folder) == undisturbed


FIRST_PEAKS = {
    "Li-O": (1.93, 2.02),
    "Na-O": (2.32, 2.43),
    "K-O": (2.68, 2.80),
    "Cl-O": (3.08, 3.20),
    "O-O": (2.72, 2.80),
}
"""Of SPC/E water with Joung-Cheatham ions, angstrom, with room for a short run's noise."""


def assert_worked(place: Path) -> None:
    """Every solution has what a minute's dynamics can tell, with error bars, and no nonsense."""
    from bjerrum.database.queries import Filter, list_estimates, show_run

    with Database.open(str(place), read_only=True) as database:
        rows = list_estimates(database, Filter(), limit=None)
        listed = list_runs(database, salt=None, campaign=None)
        runs = [show_run(database, run["hash"]) for run in listed]
    assert all(row["standard_error"] and row["standard_error"] > 0 for row in rows)
    for salt, molality in product(("LiCl", "NaCl", "KCl"), (1.0, 2.0, 4.0)):
        own = [r for r in rows if (r["salt"], r["molality_mol_per_kg"]) == (salt, molality)]
        reasons: dict[str, str] = {}
        for run in runs:
            solution = run["solution"]
            if (solution["salt"], solution["molality_mol_per_kg"]) == (salt, molality):
                reasons |= run["document"]["reasons"]
        assert_solution(salt.removesuffix("Cl"), own, reasons)
    assert any(row["quantity"] == "diffusion_coefficient" for row in rows)
    solved = [run for run in runs if run["name"].endswith("osmotic and activity coefficients")]
    assert sorted(run["solution"]["salt"] for run in solved) == ["KCl", "LiCl", "NaCl"]
    for run in solved:
        salt, reasons = run["solution"]["salt"], run["document"]["reasons"]
        phi = [r for r in rows if (r["salt"], r["quantity"]) == (salt, "osmotic_coefficient")]
        if phi:
            assert all(0.6 < row["value"] < 1.6 for row in phi)
        else:
            assert_refused(reasons["activities"])


def assert_refused(reason: str) -> None:
    """A minute is too short for the ions alone: the gate names checks that failed, and by what."""
    begin = "the model of the ions alone fails its trust gate: "
    end = "; longer or more trajectories are needed"
    assert reason.startswith(begin), reason
    assert reason.endswith(end), reason
    for check in reason.removeprefix(begin).removesuffix(end).split("; "):
        found = re.fullmatch(r"\D.* ([\d.]+) (angstrom|kT) \(limit ([\d.]+)\)", check)
        assert found, check
        assert float(found[1]) > float(found[3])


def assert_solution(cation: str, rows: list[dict], reasons: dict[str, str]) -> None:
    """First peaks and force errors are there; diffusion coefficients, or why they are not."""

    def of(quantity: str, subject: str) -> dict | None:
        found = [r for r in rows if (r["quantity"], r["subject"]) == (quantity, subject)]
        return found[0] if found else None

    for pair in (f"{cation}-O", "Cl-O", "O-O"):
        peak = of("first_peak", pair)
        assert peak is not None, pair
        low, high = FIRST_PEAKS[pair]
        assert low < peak["value"] < high, (pair, peak["value"])
        assert peak["standard_error"] < 0.03
    for species in (cation, "Cl"):
        diffusion = of("diffusion_coefficient", species)
        if diffusion is None:
            why = reasons.get(f"diffusion of {species}", reasons.get("transport", ""))
            assert "diffusive" in why, (species, reasons)
        else:
            assert 0.1 < diffusion["value"] < 4
            assert diffusion["standard_error"] < diffusion["value"]
    error = of("force_rmse", "")
    assert error is not None
    assert 20 < error["value"] < 200
    assert error["standard_error"] < 0.3 * error["value"]
    assert "SPC/E" not in error["model"], "the committee's error, not the force field's"


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_the_worked_campaign_from_boxes_to_the_database(tmp_path):
    shutil.copy(ROOT / "examples" / "campaign.toml", tmp_path / "campaign.toml")
    done = call("run", "campaign.toml", "-o", "run", folder=tmp_path, seconds=4 * 3600)
    assert done.returncode == 0, done.stderr
    assert_worked(tmp_path / "run" / "results.sqlite")
    assert done.stdout.rstrip().endswith("reports: run/reports")
    pages = list((tmp_path / "run" / "reports").iterdir())
    assert len(pages) == 9 + 9 + 3, "solutions, force errors there, and activities of the salts"
    assert all(1e4 < page.stat().st_size < 8e6 for page in pages)
    assert 9 <= sum(page.stat().st_size > 1e6 for page in pages) <= 12, "those with figures"
    store = Store(tmp_path / "run")
    assert len(list((store.root / "steps").iterdir())) == len(
        open_campaign(tmp_path / "campaign.toml", tmp_path / "run").campaign.graph
    )
