"""What a campaign's folder holds that the campaign, as it now is, does not need."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from bjerrum.errors import BjerrumError
from bjerrum.files import unwritable
from bjerrum.graph import Graph
from bjerrum.store import Store, exclusive


@dataclass(frozen=True)
class Garbage:
    """What can go.

    stale    results that no step of the graph has: of earlier settings or versions
    partial  half-done work; it is lost time if the step is still wanted
    rest     logs, failures and leftovers of stale steps
    """

    stale: list[Path]
    partial: list[Path]
    rest: list[Path]

    @property
    def paths(self) -> list[Path]:
        """All of it."""
        return [*self.stale, *self.partial, *self.rest]

    def bytes(self) -> int:
        """Return how much disk it takes."""
        return sum(
            file.stat().st_size
            for path in self.paths
            for file in ([path] if path.is_file() else path.rglob("*"))
            if file.is_file()
        )


def find_garbage(graph: Graph, store: Store) -> Garbage:
    """Return what the graph does not need. Partial folders of wanted steps are kept."""
    wanted = {store.folder_of(node.step).name for node in graph}
    stale, partial = [], []
    for folder in _entries(store.root / "steps"):
        name = folder.name.removesuffix(".partial")
        if folder.name == name and name not in wanted:
            stale.append(folder)
        elif folder.name != name and (name not in wanted or (folder.parent / name).exists()):
            partial.append(folder)
    rest = [
        path
        for place in ("logs", "failed", ".turns")
        for path in _entries(store.root / place)
        if path.name.removesuffix(".log").removesuffix(".json") not in wanted
    ]
    return Garbage(stale, partial, rest)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def remove_garbage(graph: Graph, store: Store) -> Garbage:
    """Remove it, and return what it was.

    Raises LockedError while a driver works in the folder.
    """
    with exclusive(store.root):
        garbage = find_garbage(graph, store)
        for path in garbage.paths:
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError as error:
                raise _unremovable(path, error) from error
    return garbage


def _unremovable(path: Path, error: OSError) -> BjerrumError:
    return unwritable(path, error)
