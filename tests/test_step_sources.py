"""The code of every kind of step as it was when its version was given.

Stored results are named by the version: changed code under an old version would be taken for what
the new code finds. After a change, raise the version of the kind in ``campaign/kinds.py`` if the
result for the same parameters changes, then write the hashes anew:

    python tests/test_step_sources.py
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bjerrum.campaign.kinds import KINDS
from bjerrum.graph import Kind

FROZEN = Path(__file__).with_name("step_sources.json")


def source_hash(function: Callable) -> str:
    """The hash of what a function does: without comments, docstring and layout."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    (body,) = tree.body
    assert isinstance(body, ast.FunctionDef)
    if ast.get_docstring(body) is not None:
        body.body = body.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def source_of(kind: Kind) -> dict[str, object]:
    module, _, name = kind.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    return {"version": kind.version, "source": source_hash(function)}


@pytest.mark.parametrize("name", KINDS)
def test_changed_code_has_another_version(name):
    frozen, found = json.loads(FROZEN.read_text()), source_of(KINDS[name])
    assert found == frozen.get(name), (
        f"{KINDS[name].function} is not what version {KINDS[name].version} of {name} was: raise "
        "the version if its result changes, then run python tests/test_step_sources.py"
    )


def test_no_kind_is_forgotten():
    assert set(json.loads(FROZEN.read_text())) == set(KINDS)


def test_the_hash_sees_code_and_nothing_else():
    def write(folder):
        """Write."""
        return folder / "a"

    first = write

    def write(folder):  # another comment
        return folder / "a"

    second = write

    def write(folder):
        return folder / "b"

    assert source_hash(first) == source_hash(second) != source_hash(write)


if __name__ == "__main__":
    FROZEN.write_text(json.dumps({name: source_of(KINDS[name]) for name in KINDS}, indent=1) + "\n")
