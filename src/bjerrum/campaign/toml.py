"""Settings as TOML: the few types that settings are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bjerrum.files import write_whole


def dumps_toml(data: dict[str, Any], prefix: str = "") -> str:
    """Return a table as TOML: texts, numbers, flags, lists of them, tables; none is left out.

    A JSON text or number is a TOML one.
    """
    lines, tables = [], []
    for key, value in data.items():
        if isinstance(value, dict):
            tables.append((f"{prefix}{json.dumps(key)}", value))
        elif value is not None:
            lines.append(f"{json.dumps(key)} = {json.dumps(value)}")
    text = "".join(f"{line}\n" for line in lines)
    for name, table in tables:
        text += f"\n[{name}]\n{dumps_toml(table, f'{name}.')}"
    return text


def write_toml(path: Path, data: dict[str, Any]) -> Path:
    """Write a table as TOML, atomically, and return the file's path."""
    return write_whole(path, dumps_toml(data).encode())
