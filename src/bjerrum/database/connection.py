"""Opening a database: SQLite by default, PostgreSQL by URL; what is wrong is one clear line.

SQLite works with a write-ahead log, so readers never wait; a writer waits for the one before it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from bjerrum.errors import ExternalError, InputError

DEFAULT_DATABASE: Final = "bjerrum.sqlite"
LOCK_SECONDS: Final = 60.0
"""How long a writer waits for another one."""
CONNECT_SECONDS: Final = 10
_SECRETS: Final = ("password", "sslpassword")
_MIGRATIONS = Path(__file__).parent / "migrations"


def database_url(place: str | Path) -> URL:
    """Return the URL of a path or of a URL; InputError for kinds that are not supported."""
    text = str(place)
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise InputError(f"not the URL of a database (expected {_EXAMPLES})") from error
    if url.port is not None and not 0 < url.port < 65536:
        raise InputError(f"{shown(url)}: port: expected 1 to 65535, got {url.port}")
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise InputError(f"database {url.drivername}: expected {_EXAMPLES}")
    return url


_EXAMPLES = "a path such as results.sqlite, or postgresql://user@host/name"


def open_engine(place: str | Path, *, create: bool = False, read_only: bool = False) -> Engine:
    """Return an engine for a database whose schema is this version's.

    create     make a new database where there is none
    read_only  every write is refused by the database itself

    Raises InputError where there is none, it is another kind of file, or its schema is older or
    newer; ExternalError where it cannot be reached.
    """
    url = database_url(place)
    _check_file(url, create, read_only)
    engine = _engine(url, read_only)
    with _disposed_on_failure(engine):
        with _failures_named(url):
            revision, has_tables = _state(engine)
            if revision is None and not has_tables and create:
                migrate_engine(engine)
                return engine
        _require_current(url, revision, has_tables)
    return engine


def migrate(place: str | Path) -> tuple[str | None, str]:
    """Bring an existing database to this version's schema; return its revisions before and after.

    Raises as :func:`open_engine` does.
    """
    url = database_url(place)
    _check_file(url, create=False, read_only=False)
    engine = _engine(url, read_only=False)
    with _disposed_on_failure(engine):
        with _failures_named(url):
            revision, has_tables = _state(engine)
        if revision is None or revision not in _revisions():
            _require_current(url, revision, has_tables)
        with _failures_named(url):
            migrate_engine(engine)
        engine.dispose()
    return revision, _revisions()[-1]


def migrate_engine(engine: Engine, revision: str = "head") -> None:
    """Run the migrations up to ``revision`` in one transaction; safe with several at once."""
    with engine.connect().execution_options(bjerrum_write=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7317731)")
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def shown(url: URL) -> str:
    """Return the URL for a message as it is typed, without its password."""
    if url.drivername == "sqlite":
        return url.database or "sqlite in memory"
    typed = url._replace(drivername=url.drivername.partition("+")[0], password=None)
    return typed.difference_update_query(_SECRETS).render_as_string()


def shown_place(place: str | Path) -> str:
    """Return a path or a URL for people, its password left out; "a database" if it is neither."""
    try:
        url = database_url(place)
    except InputError:
        return "a database"
    return str(place) if "://" not in str(place) else shown(url)


def _check_file(url: URL, create: bool, read_only: bool) -> None:
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return
    path = Path(url.database or "")
    if path.is_dir():
        raise InputError(f"{path}: expected the file of a database, got a folder")
    if not path.exists() and not create:
        raise InputError(
            f"{path}: there is no such database; fill one with bjerrum database import RUN_FOLDER"
        )
    if create and not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; make it first")
    if _is_on_read_only_disk(path):
        log = path.with_name(f"{path.name}-wal")
        if not read_only:
            raise InputError(f"{path}: cannot be written (Read-only file system)")
        if log.is_file() and log.stat().st_size:
            raise InputError(
                f"{path}: its latest changes are in {log.name} and cannot be read on a read-only "
                "file system; copy both to another folder"
            )


def _is_on_read_only_disk(path: Path) -> bool:
    return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)


def _engine(url: URL, read_only: bool) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = _sqlite_engine(url)
        _prepare_sqlite(engine, read_only)
        return engine
    options = "-c timezone=UTC" + (" -c default_transaction_read_only=on" if read_only else "")
    try:
        return create_engine(
            url,
            connect_args={"connect_timeout": CONNECT_SECONDS, "options": options},
            pool_pre_ping=True,
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise ExternalError(
            "PostgreSQL needs psycopg; install it with pip install 'bjerrum[postgresql]'"
        ) from error


def _sqlite_engine(url: URL) -> Engine:
    """Return an engine; a read-only disk is told to SQLite, which would make its log there."""
    path = Path(url.database or "").absolute()
    if url.database in (None, "", ":memory:") or not _is_on_read_only_disk(path):
        return create_engine(url, connect_args={"timeout": LOCK_SECONDS})
    address = f"file:{quote(str(path))}?immutable=1"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, check_same_thread=False)

    return create_engine(url, creator=connect)


def _prepare_sqlite(engine: Engine, read_only: bool) -> None:
    """Let us begin transactions ourselves: a writer takes the lock first, or waits for it."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA query_only = ON" if read_only else "PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA mmap_size = 268435456")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("bjerrum_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _disposed_on_failure(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


@contextmanager
def _failures_named(url: URL) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise unreachable(url, error) from error
    except DatabaseError as error:
        raise InputError(f"{shown(url)}: is not a database of Bjerrum ({_line(error)})") from error


def unreachable(url: URL, error: OperationalError) -> ExternalError:
    """Return the error that says why a database cannot be used now."""
    return ExternalError(
        f"{shown(url)}: the database cannot be reached ({_line(error)}); "
        + (
            "check the path and its permissions"
            if url.get_backend_name() == "sqlite"
            else "check host, port, user and that the server runs"
        )
    )


def _line(error: DatabaseError) -> str:
    return " ".join(str(error.orig).split())[:200]


def _state(engine: Engine) -> tuple[str | None, bool]:
    """Return the schema's revision, and whether there are any tables."""
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        return revision, bool(inspect(connection).get_table_names())


def _require_current(url: URL, revision: str | None, has_tables: bool) -> None:
    known = _revisions()
    if revision == known[-1]:
        return
    if revision is None:
        what = "its tables are not Bjerrum's" if has_tables else "it is empty"
        raise InputError(
            f"{shown(url)}: is not a database of Bjerrum ({what}); give another one, or a new "
            "name to bjerrum database import"
        )
    if revision in known:
        raise InputError(
            f"{shown(url)}: its schema is older ({revision}, this version needs {known[-1]}); run "
            f"bjerrum database migrate --database {shown(url)}"
        )
    raise InputError(
        f"{shown(url)}: its schema ({revision}) is newer than this version of Bjerrum knows "
        f"({known[-1]}); update Bjerrum"
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _revisions() -> list[str]:
    """Return the revisions of the schema, oldest first."""
    walked = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in walked][::-1]
