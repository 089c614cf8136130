"""Write a file whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from bjerrum.errors import ExternalError, InputError


def write_atomically(content: bytes, path: Path) -> Path:
    """Write ``content`` to ``path`` through a neighbouring file and return ``path``.

    Raises ExternalError where the disk is full and InputError where the path cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ExternalError(f"no space left to write {path}; free some and repeat") from error
        raise InputError(f"cannot write {path} ({error.strerror}); name another place") from error
    return path
