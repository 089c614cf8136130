"""What a folder of an unfinished run is for, and small JSON files beside its chunks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bjerrum.errors import InputError
from bjerrum.files import write_json

CLAIM = "simulation.json"


def read_note(path: Path, remedy: str) -> dict[str, Any]:
    """Return a table from a JSON file.

    remedy  what to do if it is damaged: the end of the InputError that this then raises
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}); {remedy}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: is damaged (expected a table); {remedy}")
    return data


def claim_folder(work: Path, claim: dict[str, Any]) -> None:
    """Write down what a folder is for, or raise InputError if it is for something else.

    Whether the watch stops a run or only marks it does not matter: a run that it stopped may go on.
    """
    path = work / CLAIM
    if not path.exists():
        write_json(path, claim)
        return
    found = read_note(
        path, f"remove {work} to begin again, or put the file back to go on with what it holds"
    )
    if _determining(found) != _determining(claim):
        raise InputError(
            f"{work}: holds an unfinished run of another model, box or settings; finish it "
            "with its own command, choose another output, or remove it"
        )


def _determining(claim: dict[str, Any]) -> dict[str, Any]:
    settings = claim.get("settings")
    if not isinstance(settings, dict) or "on_event" not in settings:
        return claim
    watched = settings["on_event"] != "off"
    return claim | {"settings": settings | {"on_event": watched}}
