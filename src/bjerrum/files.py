"""Files that are whole or not there: atomic writes, and one clear line when writing fails."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bjerrum.errors import ExternalError, InputError

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK_FAILURES = _DISK_FULL | {errno.EIO, errno.EFBIG}
_TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends without error.

    A reader never sees a half-written file, whatever happens to the writer; only a writer that
    is killed leaves its temporary file, see :func:`remove_temporaries`. Raises ExternalError if
    the disk is full or fails, InputError if the place cannot be written; errors that the block
    raises for other reasons pass through.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: expected the name of a file to write, got a folder")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with disk_failures_named(path):
            yield temporary
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _replace(temporary: Path, path: Path) -> None:
    try:
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error


def remove_temporaries(folder: Path) -> None:
    """Remove what writers that were killed inside :func:`atomic_path` left below ``folder``.

    Only for a folder in which nothing else is at work.
    """
    for path in folder.rglob(f".*{_TEMPORARY_SUFFIX}"):
        path.unlink()


@contextmanager
def disk_failures_named(path: Path) -> Iterator[None]:
    """Turn a full or failing disk into an ExternalError that names ``path``; let the rest pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FAILURES:
            raise unwritable(path, error) from error
        raise


def unwritable(path: Path, error: OSError) -> InputError | ExternalError:
    """Return the error that says why ``path`` could not be written."""
    if error.errno in _DISK_FULL:
        return ExternalError(f"{path}: the disk is full; free some space and run again")
    reason = error.strerror or str(error)
    if error.errno in _DISK_FAILURES:
        return ExternalError(f"{path}: the disk failed ({reason}); check it, then run again")
    return InputError(f"{path}: cannot be written ({reason}); choose another output")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, content: bytes) -> Path:
    """Write bytes to a file, atomically, and return its path."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def write_json(path: Path, data: Any) -> Path:
    """Write plain data as JSON, atomically; NaN and infinity are errors."""
    return write_whole(path, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode("utf-8"))
