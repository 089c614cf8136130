"""Scripts under benchmarks/ take hours and run rarely: what they import must still exist."""

import ast
import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_names_that_a_script_imports_exist(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    found = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "bjerrum"
        for alias in node.names
    ]
    for module, name in found:
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
