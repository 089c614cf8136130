"""Run folders and the commands of the database, as a person uses them."""

from __future__ import annotations

import json
import sys

import pytest

from bjerrum import cli
from bjerrum.database import Database
from bjerrum.database.queries import list_curves, list_estimates, list_runs, show_estimate
from bjerrum.database.run_folder import read_run_folder
from bjerrum.errors import InputError
from database_cases import BOX, run

HASHES = {"equilibrate_box": "b0", "sample_solution": "c0", "measure_structure": "d0"}
INPUTS = {
    "equilibrate_box": {},
    "sample_solution": {"model": "weights", "box_0": "b0"},
    "measure_structure": {"sampling": "c0"},
    "solve_thermodynamics": {"pmf": "table"},
}


def answer(quantity, value, error, unit):
    estimate = {"value": value, "standard_error": error, "unit": unit, "n_effective": 9.0}
    return {"quantity": quantity, "unit": unit, "estimate": estimate, "note": None}


def results():
    """Return what ``bjerrum run`` writes, with few numbers."""
    panel = {
        "title": "osmotic coefficient",
        "symbol": "phi",
        "curves": [
            {"label": "hnc", "kind": "computed", "x": [0.5, 1.0], "value": [0.95, 1.0],
             "band": [0.001, 0.002]},
            {"label": "experiment", "kind": "experiment", "x": [1.0], "value": [1.0], "band": None},
        ],
    }  # fmt: skip
    potential = {"pair": "Li-Cl", "r_angstrom": [2.0], "full_kT": [1.0], "short_range_kT": [2.0]}
    return {
        "question": {
            "salt": "LiCl",
            "molality_mol_per_kg": 2.78,
            "temperature_K": 298.15,
        },
        "sampling": {"method": "NVT, Langevin"},
        "answers": [
            answer("Li-O first peak", 1.95, 0.01, "angstrom"),
            answer("Li-O coordination number", 4.1, 0.1, "1"),
            answer("conductivity", 12.0, 1.0, "S/m"),
            {"quantity": "Li-Cl first peak", "unit": "angstrom", "estimate": None, "reason": "-"},
        ],
        "rdfs": {"Li-O": {"r_angstrom": [1, 2], "g": [0, 3.0], "g_standard_error": [None, 0.1]}},
        "thermodynamics": {
            "salt": "LiCl",
            "temperature_K": 300.0,
            "axis": "molality_mol_per_kg",
            "panels": [panel],
            "potentials": [potential],
            "pmf_source": "published",
            "notes": [],
        },
        "model": {
            "name": "licl-nnp1",
            "labels": "DC-r2SCAN",
            "n_train_frames": 570,
            "test_force_rmse_meV_per_angstrom": {"all": 22.0},
            "dataset_hash": "labels",
            "code_version": "0.1.0",
        },
        "cost": {"steps": [{"name": "box", "wall_seconds": 1.0}]},
        "reproduce": {
            "command": "bjerrum run config.toml",
            "config_toml": "",
            "versions": {"bjerrum": "0.1.0"},
            "step_hashes": {
                f"{name}-{key}": key
                for name, key in {**HASHES, "solve_thermodynamics": "e0"}.items()
            },
        },
    }


@pytest.fixture
def folder(tmp_path):
    """Return a finished run's folder."""
    root = tmp_path / "run"
    for name, key in {**HASHES, "solve_thermodynamics": "e0"}.items():
        step = root / "steps" / f"{name}-{key}"
        step.mkdir(parents=True)
        record = {"name": name, "version": 1, "parameters": {}, "inputs": INPUTS[name]}
        (step / "step.json").write_text(json.dumps(record))
    (root / "steps" / "equilibrate_box-b0" / "box.extxyz").write_bytes(BOX)
    (root / "results.json").write_text(json.dumps(results()))
    return root


def bjerrum(monkeypatch, capsys, *arguments):
    """Run a command; return exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["bjerrum", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr()
    return stopped.value.code, said.out, said.err


@pytest.fixture
def command(monkeypatch, capsys):
    return lambda *arguments: bjerrum(monkeypatch, capsys, "database", *arguments)


def test_a_run_folder_goes_in_with_its_whole_chain(folder):
    with Database.open(folder / "x.sqlite", create=True) as database:
        database.insert(read_run_folder(folder))
        rows = list_estimates(database)
        found = {(r["subject"], r["quantity"]): r for r in rows if r["model"] == "licl-nnp1"}
        assert set(found) == {
            ("Li-O", "first_peak"),
            ("Li-O", "coordination_number"),
            ("", "conductivity"),
        }
        peak = found["Li-O", "first_peak"]
        assert (peak["value"], peak["standard_error"], peak["unit"]) == (1.95, 0.01, "angstrom")
        chain = show_estimate(database, peak["hash"])["chain"]
        assert [s["name"] for s in chain] == [
            "measure_structure",
            "sample_solution",
            "model",
            "equilibrate_box",
            "labels",
        ]
        assert all(step["known"] for step in chain)
        curves = list_curves(database, "LiCl")
        assert {(c["quantity"], c["subject"]) for c in curves} == {
            ("rdf", "Li-O"),
            ("pmf", "Li-Cl"),
        }
        assert {r["n_estimates"] for r in list_runs(database)} == {3, 2}


def test_the_inconsistency_of_a_theory_is_no_standard_error(folder):
    theory = read_run_folder(folder)[1]
    assert [e.solution.molality_mol_per_kg for e in theory.estimates] == [0.5, 1.0]
    assert all(e.standard_error is None for e in theory.estimates)
    assert theory.estimates[1].details == {"difference_between_routes": 0.002}
    assert theory.model.name == "published PMF of LiCl"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(schema_version=2), "version 1, got 2"),
        (lambda r: r.pop("answers"), "another version"),
        (lambda r: r["question"].pop("salt"), "another version"),
        (lambda r: r["question"].update(salt="XxCl"), "unknown salt"),
        (lambda r: r["model"].pop("labels"), "another version"),
        (lambda r: r.update(rdfs=5), "another version"),
        (lambda r: r["answers"][0]["estimate"].update(value="1"), "finite number"),
    ],
)
def test_results_of_another_version_are_refused(folder, change, message):
    content = results()
    change(content)
    (folder / "results.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        read_run_folder(folder)
    assert "\n" not in str(caught.value)


def test_commands_from_folder_to_table(folder, command, tmp_path):
    place = tmp_path / "r.sqlite"
    code, out, _ = command("import", folder, "-d", place, "--json")
    assert (code, json.loads(out)["new_estimates"]) == (0, 5)
    code, out, _ = command("import", folder, folder / "results.json", "-d", place, "--json")
    assert json.loads(out) == {
        "database": str(place),
        "new_runs": 0,
        "new_estimates": 0,
        "known_estimates": 5,
    }
    code, out, _ = command("list", "-d", place, "--quantity", "first_peak", "--json")
    (row,) = json.loads(out)["rows"]
    # neutron diffraction: 1.96 +- 0.02 angstrom
    assert row["deviation_sigma"] == pytest.approx(-0.01 / (0.01**2 + 0.02**2) ** 0.5)
    _, out, _ = command("list", "-d", place)
    assert "Li-O first_peak  " in out
    assert "1.95 +- 0.01 angstrom" in out
    _, out, _ = command("show", row["hash"][:12], "-d", place)
    assert out.splitlines()[-1].strip() == "labels (version 1) labels"
    _, out, _ = command("compare", "-d", place, "--quantity", "osmotic_coefficient")
    assert len(out.splitlines()) == 3
    for suffix in ("csv", "parquet", "json"):
        code, out, _ = command("export", tmp_path / f"all.{suffix}", "-d", place, "--json")
        assert code == 0
        code, out, _ = command("import", tmp_path / f"all.{suffix}", "-d", place, "--json")
        assert json.loads(out)["new_estimates"] == 0
        assert json.loads(out)["new_runs"] == 0
    code, out, _ = command("migrate", "-d", place, "--json")
    assert json.loads(out)["before"] == json.loads(out)["after"]


TWO = ("association by mass action", "association by integral")


@pytest.fixture
def potassium(tmp_path):
    """A run with a first peak whose measurement has no stated error, and K by two definitions."""
    from dataclasses import replace

    from bjerrum.database import Database
    from database_cases import estimate, run

    peak = {"quantity": "first_peak", "unit": "angstrom", "subject": "K-O"}
    constant = {"quantity": "association_constant", "unit": "L/mol", "subject": "K-Cl"}
    found = [estimate(2.743, standard_error=0.0023, **peak)]
    found += [
        estimate(value, method=method, **constant)
        for value, method in zip((0.083, 0.116), TWO, strict=True)
    ]
    one = replace(run(salt="KCl"), estimates=found, curves=[])
    place = tmp_path / "potassium.sqlite"
    with Database.open(str(place), create=True) as database:
        database.insert([one])
    return place, one.hash


def test_what_is_not_stated_and_two_definitions_are_told(potassium, command, tmp_path):
    """In the table, in the comparison, in the report and on the page: no 40 sigma."""
    from starlette.testclient import TestClient

    from bjerrum.database import Database
    from bjerrum.web import create_app

    place, key = potassium
    code, out, _ = command("list", "-d", place)
    lines = out.splitlines()
    assert code == 0
    assert [sum(line.endswith(method) for line in lines) for method in TWO] == [1, 1]
    for words in (["list"], ["compare", "--quantity", "first_peak"]):
        _, out, _ = command(*words, "-d", place)
        (line,) = (line for line in out.splitlines() if "first_peak" in line)
        assert "2.65 (error not stated)   " in line
        _, out, _ = command(*words, "-d", place, "--json")
        assert '"deviation_sigma": null' in out
        assert '"deviation_sigma": 4' not in out
    command("report", key, "-o", tmp_path / "page.html", "-d", place)
    pages = [(tmp_path / "page.html").read_text(encoding="utf-8")]
    with Database.open(str(place), read_only=True) as database:
        client = TestClient(create_app(database), base_url="http://127.0.0.1:8765")
        pages += [client.get("/estimates").text, client.get(f"/runs/{key}").text]
    for page in pages:
        assert page.count("experiment’s error not stated") == 1
        assert "σ</span>" not in page
        assert all(page.count(method) == 1 for method in TWO)


def test_a_stored_run_has_a_report_that_can_be_mailed(folder, command, tmp_path):
    place, page = tmp_path / "r.sqlite", tmp_path / "page.html"
    command("import", folder, "-d", place)
    _, out, _ = command("list", "-d", place, "--runs", "--json")
    for row in json.loads(out)["rows"]:
        code, _, _ = command("report", row["hash"][:16], "-o", page, "-d", place)
        text = page.read_text(encoding="utf-8")
        assert (code, len(text) < 8_000_000) == (0, True)
        assert "default-src 'none'" in text
        assert "measure structure" in text or "solve thermodynamics" in text
        if row["model"] == "licl-nnp1":
            assert "1.950\xa0±\xa00.010" in text
            assert "−0.4 σ" in text
            assert "Mason" in text


def test_the_report_says_what_was_checked_seen_borrowed_and_spent():
    """The whole page of a run whose document holds a failed check and an event."""
    from bjerrum.report.stored import render_stored_report

    check = {"name": "net <force>", "value": 0.3, "limit": 0.1, "unit": "eV", "passed": False}
    worst = {"step": 5, "reason": "broken bond", "atoms": [3, 4], "value": 1.8, "limit": 1.45}
    seen = {"n_looks": 2, "spans_ps": [[0.5, 0.75]], "worst": {**worst, "unit": "angstrom"}}
    constant = {"name": "density", "value": 1050.5, "unit": "kg/m3", "source": "Laliberte 2004"}
    document = {
        "checks": [{**check, "explanation": "sums to zero"}],
        "watchdog": [{"watch": {}, "n_events": 2, "reasons": {"broken bond": seen}}],
        "constants": [{**constant, "doi": "10.1021/je0498659"}, {**constant, "value": "a text"}],
        "reproduce": {"command": "bjerrum run campaign.toml", "config_toml": 'name = "x"'},
    }
    with_all = {
        "name": "a run", "campaign": "", "model": None, "steps": [], "hash": "ff", "added_at": "-",
        "solution": {"salt": "LiCl", "molality_mol_per_kg": 1.0, "temperature_K": 298.15},
        "cost": {"wall_seconds": 7200.0, "cpu_seconds": 3600.0}, "document": document,
    }  # fmt: skip
    page = render_stored_report(with_all, [], []).replace("\xa0", " ").replace("\u202f", "")
    for text in (
        "net &lt;force&gt;", "FAIL", "broken bond", "0.5 to 0.75 ps", "1.8 Å, limit 1.45 Å",
        "1050.5 kg/m³", "Laliberte 2004", "https://doi.org/10.1021/je0498659",
        "bjerrum run campaign.toml", "2 hours of wall time and 1 of processor time",
    ):  # fmt: skip
        assert text in page, text
    bare = render_stored_report({**with_all, "document": {}, "cost": {"steps": []}}, [], [])
    assert "no model was checked" in bare
    assert "No watch was kept" in bare
    assert len(bare) < 100_000, "no figures, no scripts for them"
    assert "<script" not in bare


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("report", "ffff", "-o", "x.html"),
        ("list", "--salt", "XxCl"),
        ("list", "--limit", "0"),
        ("show", "zz"),
        ("show", "ffff"),
        ("compare",),
        ("compare", "--quantity", "none"),
        ("export", "x.xlsx"),
        ("import", "nothing"),
        ("import", "."),
        ("migrate",),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(command, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    if arguments not in (("list",), ("migrate",)):
        Database.open("bjerrum.sqlite", create=True).close()
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


def test_names_do_not_steer_the_terminal(command, tmp_path):
    from dataclasses import replace

    place = tmp_path / "r.sqlite"
    with Database.open(place, create=True) as database:
        database.insert([replace(run(), name="\x9b31m evil \u202e")])
    _, out, _ = command("list", "--runs", "-d", place)
    assert "\x9b" not in out
    assert "\u202e" not in out


def test_serve_refuses_what_it_cannot_do(monkeypatch, capsys, tmp_path):
    place = tmp_path / "r.sqlite"
    Database.open(place, create=True).close()
    for arguments, message in (
        (("-d", tmp_path / "none.sqlite"), "there is no such database"),
        (("-d", place, "--token", "short"), "at least 16 characters"),
        (("-d", place, "--host", "no.such.host.invalid"), "cannot listen"),
        (("-d", place, "--port", "70000"), "--port"),
    ):
        code, out, err = bjerrum(monkeypatch, capsys, "serve", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.strip().splitlines()) == 1
