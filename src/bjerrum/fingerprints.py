"""Which folders were found whole, so that their bytes need not be hashed at every start.

A folder's fingerprint is the size, the times and the number (inode) of each of its files. As long
as it is what it was when every hash was right, the folder is taken as whole; whatever rewrites a
file changes it. Files younger than :data:`SETTLED_SECONDS` are not trusted: a file system counts
time in ticks, and two writes within one look alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from bjerrum.errors import BjerrumError
from bjerrum.files import write_whole

SETTLED_SECONDS = 2.0
_Fingerprint = dict[str, list[int]]


class Fingerprints:
    """The fingerprints of the folders below ``root``, kept in one file beside them.

    The file is a cache: a damaged or missing one costs time, nothing else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, _Fingerprint] = _read(path)
        self._is_changed = False

    def holds(self, folder: Path) -> bool:
        """Tell whether the folder is as it was when it was found whole."""
        known = self._known.get(folder.name)
        if not known:
            return False
        try:
            return all(_of(folder / name) == numbers for name, numbers in known.items())
        except OSError:
            return False

    def remember(self, folder: Path, names: Iterable[str]) -> None:
        """Remember a folder whose hashes were all right, unless it was written just now.

        names  of its files, relative
        """
        found = {name: _of(folder / name) for name in names}
        newest = max(max(numbers[1:3]) for numbers in found.values()) / 1e9
        if newest < time.time() - SETTLED_SECONDS:
            self._known[folder.name] = found
            self._is_changed = True

    def forget(self, folder: Path) -> None:
        """Forget a folder, so that its bytes are read again."""
        self._is_changed |= self._known.pop(folder.name, None) is not None

    def save(self) -> None:
        """Write the file, if the folder can be written."""
        if self._is_changed:
            with contextlib.suppress(BjerrumError, OSError):
                write_whole(self._path, json.dumps(self._known).encode())
                self._is_changed = False


def _of(path: Path) -> list[int]:
    found = os.stat(path)  # noqa: PTH116 (ten thousand of them: Path.stat takes twice as long)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read(path: Path) -> dict[str, _Fingerprint]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {name: known for name, known in data.items() if _is_fingerprint(known)}


def _is_fingerprint(known: object) -> bool:
    """Tell whether a value is names of files, each with its four numbers."""
    return isinstance(known, dict) and all(
        isinstance(numbers, list) and len(numbers) == 4 and all(type(n) is int for n in numbers)
        for numbers in known.values()
    )
