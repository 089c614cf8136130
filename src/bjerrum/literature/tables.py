"""Read the data files of this folder and name the source behind each number."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from bjerrum.errors import InputError


@dataclass(frozen=True)
class Source:
    """Where a number was published; ``doi`` is empty where there is none."""

    key: str
    citation: str
    doi: str = ""

    def __str__(self) -> str:
        return f"{self.citation} doi:{self.doi}" if self.doi else self.citation


def _data_file(name: str) -> Traversable:
    return resources.files("bjerrum.literature") / "data" / name


@cache
def read_table(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a CSV file of ``literature/data``, as text, one mapping per row."""
    with _data_file(name).open("r", encoding="utf-8") as lines:
        return tuple(csv.DictReader(lines))


@cache
def sources() -> dict[str, Source]:
    """Return every source cited in the data files, by key."""
    table = tomllib.loads(_data_file("sources.toml").read_text(encoding="utf-8"))
    return {
        key: Source(key, entry["citation"], entry.get("doi", "")) for key, entry in table.items()
    }


def source(key: str) -> Source:
    """Return one source; an unknown key raises InputError."""
    if key not in sources():
        raise InputError(f"unknown source '{key}'; known: {', '.join(sorted(sources()))}")
    return sources()[key]
