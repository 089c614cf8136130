"""An open database: insert records, read them back, compare two databases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import OperationalError

from bjerrum.database import schema
from bjerrum.database.connection import open_engine, shown, unreachable
from bjerrum.database.records import RunRecord
from bjerrum.database.writing import Inserted, insert_runs

HASHED = (schema.Run, schema.Estimate, schema.Curve, schema.Step, schema.File)


class Database:
    """A database of runs; use as a context manager or call :meth:`close`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, place: str | Path, *, create: bool = False, read_only: bool = False) -> Database:
        """Open a database by path or URL.

        place      "results.sqlite", "sqlite:///...", "postgresql://user@host/name"
        create     make a new one where there is none
        read_only  refuse every write

        Raises InputError for a database that is not there, not Bjerrum's, older or newer, and
        ExternalError where it cannot be reached.
        """
        return cls(open_engine(place, create=create, read_only=read_only))

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @property
    def name(self) -> str:
        """Path or URL, without a password."""
        return shown(self.engine.url)

    def insert(self, runs: Iterable[RunRecord]) -> Inserted:
        """Insert runs in one transaction; rows of the same content are recognised and kept.

        Safe with several writers at once. Raises ExternalError where it cannot be written.
        """
        return insert_runs(self.engine, runs)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection to read from; ExternalError where the database is gone."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except OperationalError as error:
            raise unreachable(self.engine.url, error) from error

    def fingerprint(self) -> str:
        """Return one hash of everything that is stored, without times and cost.

        Two databases with the same content have the same fingerprint, in whatever order and by
        however many writers they were filled.
        """
        digest = hashlib.sha256()
        with self.reading() as connection:
            for model in HASHED:
                digest.update(model.__tablename__.encode())
                for key in sorted(connection.scalars(select(model.hash))):
                    digest.update(key.encode())
        return digest.hexdigest()
