"""Files that are whole or not there: atomic writes, and one clear line when writing fails."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bjerrum.errors import ExternalError, InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends without error.

    A reader never sees a half-written file, whatever happens to the writer. Raises
    ExternalError if the disk is full, InputError if the place cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> InputError | ExternalError:
    """Return the error that says why ``path`` could not be written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ExternalError(f"{path}: the disk is full; free some space and run again")
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); choose another output"
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
