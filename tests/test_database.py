"""The database, on SQLite and on a real PostgreSQL: the same tests for both."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from bjerrum.database import (
    CurveRecord,
    Database,
    EstimateRecord,
    FileRecord,
    ModelRecord,
    SolutionRecord,
)
from bjerrum.database.comparison import compare, overview, with_experiment
from bjerrum.database.connection import _engine, database_url, migrate, migrate_engine
from bjerrum.database.exchange import FLAT, export_file, import_files, read_records
from bjerrum.database.queries import (
    Filter,
    count_estimates,
    find,
    list_curves,
    list_estimates,
    list_runs,
    read_file,
    show_estimate,
    show_run,
)
from bjerrum.database.schema import Base, Estimate, Run
from bjerrum.errors import BjerrumError, ExternalError, InputError
from bjerrum.estimate import Estimate as Measured
from bjerrum.literature.pitzer import osmotic_coefficient
from database_cases import estimate, many, model, run, steps, write
from postgresql_server import missing, server


@pytest.fixture(scope="session")
def postgresql():
    reason = missing()
    if reason:
        pytest.skip(reason)
    # not below pytest's own folder, which other users may not enter
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with server(Path(folder) / "server") as socket:
            yield socket


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Return the path or URL of a database that does not exist or is empty."""
    if request.param == "sqlite":
        return str(tmp_path / "runs.sqlite")
    socket = request.getfixturevalue("postgresql")
    name = f"t{time.monotonic_ns()}"
    admin = sa.create_engine(
        f"postgresql+psycopg://me@/postgres?host={socket}", isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return f"postgresql://me@/{name}?host={socket}"


@pytest.fixture
def database(place):
    with Database.open(place, create=True) as opened:
        yield opened


# what goes in comes out


def test_what_goes_in_comes_out(database):
    given = run(2)
    assert database.insert([given]).estimates == 3
    rows = list_estimates(database)
    assert sorted(row["value"] for row in rows) == [e.value for e in given.estimates]
    assert {row["hash"] for row in rows} == set(given.estimate_hashes)
    assert all(row["standard_error"] == 0.01 and row["n_effective"] == 12.5 for row in rows)
    assert all(row["model"] == "licl-nnp1" and row["temperature_K"] == 298.15 for row in rows)
    rdf = next(c for c in list_curves(database, "LiCl") if c["quantity"] == "rdf")
    assert rdf["columns"] == dict(given.curves[0].columns)
    shown = show_run(database, given.hash)
    assert shown["cost"] == {"wall_seconds": 12.0}
    assert [step["name"] for step in shown["steps"]] == sorted(s.name for s in given.steps)
    assert read_file(database, given.files[0].hash)[2] == given.files[0].content


def test_numbers_come_back_to_the_last_bit(database):
    values = [0.1 + 0.2, 1e-300, -1.7976931348623157e308, 2**53 + 1.0, 5e-324]
    given = replace(run(), estimates=[estimate(value) for value in values])
    database.insert([given])
    assert sorted(row["value"] for row in list_estimates(database)) == sorted(values)


def test_an_estimate_leads_back_to_its_labels(database):
    database.insert([run()])
    key = list_estimates(database)[0]["hash"]
    chain = show_estimate(database, key)["chain"]
    assert [step["name"] for step in chain] == [
        "measure",
        "sample_solution",
        "model",
        "equilibrate_box",
        "labels",
    ]
    assert chain[-1]["parameters"] == {"method": "DC-r2SCAN"}
    assert [step["depth"] for step in chain] == [0, 1, 2, 2, 3]
    assert all(step["known"] for step in chain)


def test_a_chain_that_ends_or_goes_round_is_still_shown(database):
    odd = replace(steps()[0], inputs={"file": "elsewhere", "self": "label0"})
    database.insert([replace(run(), steps=[odd, *steps()[1:]])])
    chain = show_estimate(database, list_estimates(database)[0]["hash"])["chain"]
    assert [step["hash"] for step in chain if not step["known"]] == ["elsewhere"]
    assert len(chain) == 6


# the same content is the same row


def test_the_same_content_is_recognised(database):
    first = database.insert([run(), run(1)])
    before = database.fingerprint()
    again = database.insert([replace(run(), cost={"wall_seconds": 99.0}), run(1), run(1)])
    assert (first.runs, first.estimates, first.known_estimates) == (2, 6, 0)
    assert (again.runs, again.estimates, again.known_estimates) == (0, 0, 6)
    assert database.fingerprint() == before
    assert show_run(database, run().hash)["cost"] == {"wall_seconds": 12.0}  # the first stays


def test_an_estimate_of_two_runs_is_one_row(database):
    other = replace(run(), name="the same numbers again")
    database.insert([run(), other])
    assert count_estimates(database) == 3
    assert len(show_estimate(database, list_estimates(database)[0]["hash"])["runs"]) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"value": 0.95 + 2**-53},
        {"standard_error": None},
        {"unit": "kT"},
        {"subject": "Li-O"},
        {"method": "MPB"},
        {"code_version": "0.2.0"},
        {"step": "other"},
        {"n_effective": 13.0},
        {"details": {"note": "x"}},
    ],
)
def test_every_field_is_part_of_the_hash(change):
    solution = SolutionRecord("LiCl", 1.0, 298.15)
    own = estimate().hash_for(solution, model())
    assert estimate(**{"value": 0.95, **change}).hash_for(solution, model()) != own
    assert estimate().hash_for(SolutionRecord("LiCl", 1.001, 298.15), model()) != own
    assert estimate().hash_for(solution, model("other")) != own
    assert estimate().hash_for(solution, None) != own


def test_a_hash_never_changes():
    """Stored databases rely on it: SHA-256 of the canonical JSON, written out by hand here."""
    solution = SolutionRecord("LiCl", 1, 298.15)
    own = hashlib.sha256(b'["LiCl",1.0,298.15]').hexdigest()
    assert solution.hash == own
    number = EstimateRecord("phi", 0.1 + 0.2, None, "1", "HNC", code_version="0.1.0")
    text = f'[["{own}",null],["phi","","1","HNC","0.1.0",""],[0.30000000000000004,null,null],{{}}]'
    assert number.hash_for(solution, None) == hashlib.sha256(text.encode()).hexdigest()


def test_order_and_writers_do_not_show(tmp_path):
    runs = [run(number) for number in range(4)]
    with Database.open(tmp_path / "a.sqlite", create=True) as one:
        one.insert(runs)
        a = one.fingerprint()
    with Database.open(tmp_path / "b.sqlite", create=True) as two:
        for record in reversed(runs):
            two.insert([record])
        assert two.fingerprint() == a
        two.insert([run(9)])
        assert two.fingerprint() != a


# several writers at once


def test_concurrent_writers_lose_nothing(place):
    """Three processes also make the database at the same time."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(place, w, 12)) for w in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(120)
    assert [process.exitcode for process in writers] == [0] * 3
    with Database.open(place) as opened:
        assert len(list_runs(opened)) == 6 + 3 * 6
        assert count_estimates(opened) == 12 * 3
        for row in list_runs(opened):
            assert row["n_estimates"] == 3


def test_a_reader_sees_whole_runs_while_others_write(place):
    with Database.open(place, create=True) as opened:
        writer = threading.Thread(target=write, args=(place, 1, 20))
        writer.start()
        seen = set()
        while writer.is_alive():
            seen.update(row["n_estimates"] for row in list_runs(opened))
            time.sleep(0.02)
        writer.join()
        assert len(list_runs(opened)) == 20
        assert seen <= {3}


def test_a_killed_writer_leaves_whole_runs(tmp_path):
    place = str(tmp_path / "runs.sqlite")
    Database.open(place, create=True).close()
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from database_cases import write; print('ready', flush=True); write(sys.argv[1], 0, 500)"
    )
    command = [sys.executable, "-c", code, place, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    with Database.open(place) as opened:
        assert {row["n_estimates"] for row in list_runs(opened, limit=1000)} <= {3}
        opened.insert([run(number) for number in range(3)])
        assert sqlite3.connect(place).execute("PRAGMA integrity_check").fetchone() == ("ok",)


# questions


def test_filters_agree_with_a_search_by_hand(database):
    database.insert(many(300))
    everything = list_estimates(database, limit=None)
    assert len(everything) == count_estimates(database) == 300
    filters = [
        (Filter(salts=("LiCl",)), lambda row: row["salt"] == "LiCl"),
        (Filter(models=("classical",)), lambda row: row["model"] == "classical"),
        (Filter(quantity="viscosity"), lambda row: row["quantity"] == "viscosity"),
        (Filter(subject=""), lambda row: row["subject"] == ""),
        (Filter(campaign="many"), lambda row: True),
        (Filter(campaign="none"), lambda row: False),
        (Filter(molality=(1.0, 2.0)), lambda row: 1 <= row["molality_mol_per_kg"] <= 2),
        (Filter(temperature_K=(None, 290.0)), lambda row: False),
        (
            Filter(salts=("LiCl", "KBr"), quantity="density", molality=(None, 1.5)),
            lambda row: (
                row["salt"] in ("LiCl", "KBr")
                and row["quantity"] == "density"
                and row["molality_mol_per_kg"] <= 1.5
            ),
        ),
    ]
    for where, keep in filters:
        expected = {row["hash"] for row in everything if keep(row)}
        assert {row["hash"] for row in list_estimates(database, where, limit=None)} == expected
        assert count_estimates(database, where) == len(expected)
    keys = [(r["quantity"], r["subject"], r["salt"], r["molality_mol_per_kg"]) for r in everything]
    assert keys == sorted(keys)
    pages = [list_estimates(database, limit=70, offset=start) for start in range(0, 300, 70)]
    assert [row for page in pages for row in page] == everything


def test_deviations_are_in_combined_errors(database):
    found = osmotic_coefficient("LiCl", 1.0)
    near = SolutionRecord("LiCl", 1.0, 298.15)
    far = SolutionRecord("LiCl", 1.0, 350.0)
    peak = {"quantity": "first_peak", "unit": "angstrom", "subject": "Li-O"}
    given = [
        estimate(found + 0.03, standard_error=0.01, solution=near),
        estimate(found, standard_error=None, solution=near),
        estimate(found, solution=far),
        estimate(found, unit="kT", solution=near),
        estimate(2.0, standard_error=None, **peak, solution=SolutionRecord("LiCl", 2.78, 298.15)),
        estimate(2.0, standard_error=0.03, **peak, solution=SolutionRecord("LiCl", 2.78, 298.15)),
    ]
    database.insert([replace(run(), estimates=given)])
    rows = {row["hash"]: row for row in with_experiment(list_estimates(database))}
    rows = [rows[e.hash_for(e.solution, model())] for e in given]
    assert rows[0]["deviation_sigma"] is None  # the source of the formula states no error
    assert rows[0]["experiment"]["value"] == pytest.approx(found)
    assert rows[1]["deviation_sigma"] is None  # no error bar
    assert rows[2]["experiment"] is None  # measured at 25 C only
    assert rows[3]["experiment"] is None  # another unit
    # neutron diffraction, 1.96 +- 0.02 angstrom (Mason et al. 2015)
    assert rows[4]["deviation_sigma"] is None
    assert rows[5]["deviation_sigma"] == pytest.approx(0.04 / (0.03**2 + 0.02**2) ** 0.5)


def test_without_the_experiments_error_there_is_no_deviation(database):
    """K-O at 2.65 angstrom, no error stated: 0.09 off is not 40 standard errors off."""
    potassium = SolutionRecord("KCl", 4.0, 298.15)
    peak = {"quantity": "first_peak", "unit": "angstrom", "subject": "K-O"}
    one = estimate(2.743, standard_error=0.0023, **peak, solution=potassium)
    database.insert([replace(run(), estimates=[one])])
    (row,) = with_experiment(list_estimates(database))
    assert (row["experiment"]["value"], row["experiment"]["uncertainty"]) == (2.65, None)
    assert row["deviation_sigma"] is None
    (beside,) = compare(database, Filter(quantity="first_peak"))
    assert beside["estimates"][0]["deviation_sigma"] is None


def test_compare_puts_models_side_by_side(database):
    database.insert([run(), replace(run(), model=model("classical"), name="classical")])
    rows = compare(database, Filter(quantity="osmotic_coefficient", salts=("LiCl",)))
    assert len(rows) == 1
    assert {e["model"] for e in rows[0]["estimates"]} == {"licl-nnp1", "classical"}
    assert len(rows[0]["estimates"]) == 6
    with pytest.raises(InputError, match="no estimates fit"):
        compare(database, Filter(quantity="none"))


def test_overview_counts_everything(database):
    database.insert([*many(120), run()])
    found = overview(database)
    numbers = {(c["salt"], c["quantity"]): c["n"] for c in found["coverage"]}
    assert sum(numbers.values()) == found["n_estimates"] + found["n_curves"] == 123 + 2
    assert numbers["LiCl", "rdf"] == 1
    assert [salt["salt"] for salt in found["salts"]] == ["KBr", "LiCl", "NaCl"]
    assert found["models"] == ["classical", "licl-nnp1"]
    assert found["campaigns"] == ["halides", "many"]


def test_hashes_are_found_by_their_first_digits(database):
    database.insert([run(), run(1)])
    assert find(database, run().hash[:10])[0] == "run"
    key = list_estimates(database)[0]["hash"]
    assert find(database, key[:14]) == ("estimate", show_estimate(database, key))
    for wrong in ("ffffffffffff", "", "%", "' OR 1=1 --", "../../etc/passwd"):
        with pytest.raises(InputError):
            find(database, wrong)
    with pytest.raises(InputError, match="hexadecimal"):
        list_estimates(database, Filter(run="%"))


# in and out


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_export_and_import_lose_nothing(database, tmp_path, suffix):
    odd = 'comma, "quote"\nline; ünïcode <b>'
    extra = estimate(1e-17, method=odd, details={"a": [1, None]}, standard_error=None)
    database.insert([*many(50), replace(run(), estimates=[extra, estimate()])])
    path = tmp_path / f"all{suffix}"
    export_file(database, path)
    with Database.open(tmp_path / "copy.sqlite", create=True) as copy:
        assert import_files(copy, [path]).estimates == 52
        assert list_estimates(copy, limit=None) == list_estimates(database, limit=None)
        if suffix == ".json":
            assert copy.fingerprint() == database.fingerprint()
        before = copy.fingerprint()
        again = import_files(copy, [path])
        assert (again.runs, again.estimates, again.known_estimates) == (0, 0, 52)
        assert copy.fingerprint() == before


def test_a_filter_exports_a_part(database, tmp_path):
    database.insert(many(120))
    n = export_file(database, tmp_path / "part.csv", Filter(salts=("NaCl",)))
    assert n == count_estimates(database, Filter(salts=("NaCl",))) > 0
    assert export_file(database, tmp_path / "part.json", Filter(salts=("NaCl",))) == 2


def test_a_table_of_others_is_taken(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "salt,molality_mol_per_kg,temperature_K,quantity,value,unit,standard_error\n"
        "NaCl,1.0,298.15,osmotic_coefficient,0.936,1,\n"
    )
    (record,) = read_records(path)
    assert record.model is None
    assert record.estimates[0].standard_error is None
    assert record.estimates[0].method == "not stated"


HEAD = "salt,molality_mol_per_kg,temperature_K,quantity,value,unit,method\n"
BAD_TABLES = {
    "empty": ("", "has no rows"),
    "only a head": (HEAD, "has no rows"),
    "a column is missing": ("salt,value\nLiCl,1\n", "'molality_mol_per_kg' is missing"),
    "a column is unknown": (HEAD.replace("method", "colour") + "LiCl,1,298,x,1,1,m\n", "unknown"),
    "an unknown salt": (HEAD + "XxCl,1,298.15,phi,1,1,m\n", "row 2: unknown salt"),
    "no number": (HEAD + "LiCl,one,298.15,phi,1,1,m\n", "row 2"),
    "nothing": (HEAD + "LiCl,,298.15,phi,1,1,m\n", "row 2: molality"),
    "NaN": (HEAD + "LiCl,1,298.15,phi,nan,1,m\n", "row 2: value"),
    "a quantity with spaces": (HEAD + "LiCl,1,298.15,osmotic coefficient,1,1,m\n", "row 2"),
    "too cold": (HEAD + "LiCl,1,20,phi,1,1,m\n", "row 2"),
    "too many cells": (HEAD + "LiCl,1,298.15,phi,1,1,m,9,9\n", "unknown"),
    "not text": ("\x00\xff\xfe", "CSV"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_are_refused_in_one_line(tmp_path, name):
    content, message = BAD_TABLES[name]
    path = tmp_path / "bad.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        read_records(path)
    assert "\n" not in str(caught.value)
    assert "bad.csv" in str(caught.value)


def test_changed_files_are_refused(database, tmp_path):
    database.insert([run()])
    table, document = tmp_path / "a.csv", tmp_path / "a.json"
    export_file(database, table)
    export_file(database, document)
    table.write_text(table.read_text().replace("0.91", "0.92", 1))
    with pytest.raises(InputError, match=r"row \d: does not fit its hash"):
        read_records(table)
    content = json.loads(document.read_text())
    content["runs"][0]["estimates"][0]["value"] += 1e-9
    document.write_text(json.dumps(content))
    with pytest.raises(InputError, match="run 1: does not fit its hash"):
        read_records(document)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "expected format"),
        ('{"format": "bjerrum-database/9"}', "another version"),
        ('{"format": "bjerrum-database/1"}', "list of runs"),
        ('{"format": "bjerrum-database/1", "runs": [{"hash": "x"}]}', "run 1"),
        ('{"format": "bjerrum-database/1", "runs": [5]}', "run 1"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_bad_documents_are_refused(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_records(path)


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "x.xlsx").write_bytes(b"")
    for name, message in (
        ("x.parquet", "is not Parquet"),
        ("x.xlsx", "ends in .csv, .json, .parquet"),
        ("none.csv", "cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            read_records(tmp_path / name)


# wrong records


@pytest.mark.parametrize(
    "make",
    [
        lambda: SolutionRecord("XxCl", 1.0, 298.15),
        lambda: SolutionRecord("LiCl", -1.0, 298.15),
        lambda: SolutionRecord("LiCl", float("nan"), 298.15),
        lambda: estimate(float("inf")),
        lambda: estimate(standard_error=-1.0),
        lambda: estimate(value=True),
        lambda: estimate(quantity="Osmotic coefficient"),
        lambda: estimate(quantity="x" * 100),
        lambda: estimate(method=""),
        lambda: estimate(method="a\x00b"),
        lambda: estimate(subject="x" * 5000),
        lambda: estimate(details={"x": float("nan")}).hash_for(run().solution, None),
        lambda: ModelRecord("", "x"),
        lambda: CurveRecord("rdf", {"r_angstrom": [1.0], "g": [1.0, 2.0]}),
        lambda: CurveRecord("rdf", {"r_angstrom": []}),
        lambda: FileRecord("../etc/passwd", "text/plain", b""),
        lambda: FileRecord("a.txt", "text/html; charset=x", b""),
        lambda: FileRecord("a.bin", "text/plain", b"x" * 2_000_001),
        lambda: replace(run(), document={"x": object()}),
    ],
)
def test_wrong_records_are_refused(make):
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_an_estimate_becomes_a_record():
    measured = Measured(
        value=1.5, standard_error=0.1, unit="S/m", n_effective=9, provenance={"method": "slope"}
    )
    record = EstimateRecord.of(measured, quantity="conductivity", method="Green-Kubo", step="s")
    assert (record.value, record.standard_error, record.unit) == (1.5, 0.1, "S/m")
    assert record.details == {"method": "slope"}


# opening


def test_migrations_give_the_tables_of_the_code(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_an_older_schema_says_how_to_migrate_and_keeps_its_rows(place):
    engine = _engine(database_url(place), read_only=False)
    migrate_engine(engine, "r0001")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO solutions VALUES ('a', 'LiCl', 'Li', 'Cl', 1.0, 298.15)"
        )
    engine.dispose()
    with pytest.raises(InputError, match=r"older.*bjerrum database migrate --database") as caught:
        Database.open(place)
    assert "r0001" in str(caught.value)
    before, after = migrate(place)
    assert (before, after) == ("r0001", "r0003")
    assert migrate(place) == ("r0003", "r0003")
    with Database.open(place) as opened:
        assert [salt["salt"] for salt in overview(opened)["salts"]] == ["LiCl"]
        opened.insert([run()])


def test_a_newer_schema_and_foreign_tables_are_refused(place):
    with Database.open(place, create=True) as opened, opened.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'r9999'")
    with pytest.raises(InputError, match="newer"):
        Database.open(place, create=True)
    with pytest.raises(InputError, match="newer"):
        migrate(place)
    engine = _engine(database_url(place), read_only=False)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
    engine.dispose()
    for create in (True, False):
        with pytest.raises(InputError, match="not Bjerrum's"):
            Database.open(place, create=create)


def test_what_is_no_database_is_one_clear_line(tmp_path):
    (tmp_path / "text.sqlite").write_text("no database at all, just text\n" * 100)
    (tmp_path / "empty.sqlite").touch()
    cases = {
        tmp_path / "none.sqlite": "there is no such database",
        tmp_path: "got a folder",
        tmp_path / "text.sqlite": "is not a database",
        tmp_path / "empty.sqlite": "it is empty",
        "mysql://me@host/x": "mysql: expected a path",
        "sqlite+evil://x": "expected a path",
        "://": "expected a path",
        "postgresql://me@host:abc/x": "expected a path",
        "postgresql://me:secret@host:99999/x": r"^postgresql://me@host:99999/x: port: expected 1",
    }
    for place, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            Database.open(place)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="does not exist"):
        Database.open(tmp_path / "no" / "x.sqlite", create=True)


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@/runs?host={}", "postgresql://me@/runs?host={}&password=secret"]
)
def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path, url):
    begin = re.escape("postgresql://me@/runs?host=")
    with pytest.raises(ExternalError, match=f"^{begin}.*cannot be reached") as caught:
        Database.open(url.format(tmp_path))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_driver_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ExternalError, match=r"pip install 'bjerrum\[postgresql\]'"):
        Database.open("postgresql://me@host/x")


def test_a_reader_cannot_write(place):
    Database.open(place, create=True).close()
    with Database.open(place, read_only=True) as opened, pytest.raises(BjerrumError):
        opened.insert([run()])


def test_a_full_insert_or_none(database):
    """A row that the database refuses takes the whole insert with it."""
    bad = replace(run(7), estimates=[estimate(5.0)])
    object.__setattr__(bad.estimates[0], "unit", None)
    with pytest.raises(ExternalError):
        database.insert([run(1), bad])
    with database.engine.connect() as connection:
        for table in (Run, Estimate):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_csv_columns_are_documented():
    text = (Path(__file__).parents[1] / "docs" / "database.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in FLAT)
