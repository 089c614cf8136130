"""The shape of the package: what may import what, sizes, docstrings, no code in data files."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "bjerrum"
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
MAX_LINES = 350

ORDER = (
    # foundations: no chemistry
    "errors", "units", "estimate", "files", "specification", "checks", "fingerprints", "store",
    "graph", "execution", "console", "memory",
    # what is simulated
    "literature", "density", "system",
    # configurations, labels
    "ewald", "electrostatics", "frames", "trajectory", "dataset",
    "reference", "labelling", "convergence", "boxes",
    # dynamics, measurements
    "potential", "dynamics", "sampling", "separations", "active_learning",
    "properties", "thermodynamics", "coarse", "database", "bench",
    # the chain
    "configuration", "run", "results", "pipeline", "campaign", "report", "web",
    "installation", "doctor", "cli", "__main__",
)  # fmt: skip
"""Modules and packages of bjerrum; each imports only those before it."""

ALONE = {
    "store": {"errors", "files", "fingerprints"},
    "execution": {"errors", "files", "specification", "store", "graph"},
    "files": {"errors"},
    "console": {"errors"},
    "literature": {"errors", "units", "estimate"},
    "properties": {"errors", "units", "estimate", "files", "checks", "trajectory"},
    "report": {"errors", "files", "specification"},
}
"""Parts that know nothing but these: storage knows no chemistry, properties no potential, and
report pages are drawn from stored results alone."""

CODE_IN_DATA = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
HEAVY = ("torch", "nequip", "openmm", "MDAnalysis", "freud", "plotly", "scipy", "ase")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def dotted(path: Path) -> str:
    """report/page.py -> report.page, report/__init__.py -> report."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(path): path for path in MODULES if path != Path("__init__.py")}


def imports(path: Path) -> Iterator[str]:
    """Modules of bjerrum that a module imports anywhere, also inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parent, _, rest = name.partition(".")
            if parent == "bjerrum" and rest:
                while rest and rest not in NAMES:
                    rest = rest.rpartition(".")[0]
                if rest:
                    yield rest


def part(name: str) -> str:
    return name.partition(".")[0]


def test_every_module_has_its_place():
    assert {part(name) for name in NAMES} == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_one_way(name):
    own = part(name)
    later = {other for other in imports(NAMES[name]) if ORDER.index(part(other)) > ORDER.index(own)}
    assert not later, f"bjerrum.{name} imports {sorted(later)}, which come after it"
    if own in ALONE:
        assert {part(other) for other in imports(NAMES[name])} - {own} <= ALONE[own]


def test_no_module_imports_itself_in_a_circle():
    graph = {name: set(imports(path)) - {name} for name, path in NAMES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


def test_nobody_imports_the_command_line():
    users = [name for name, path in NAMES.items() if "cli" in imports(path)]
    assert users in ([], ["__main__"])


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_data_files_hold_no_code(path):
    """No pickles: a model, a dataset or a checkpoint that someone sends must not run anything."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            roots = {name.partition(".")[0] for name in names if name}
            assert not roots & CODE_IN_DATA, f"line {node.lineno}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"torch.load", "eval", "exec", "yaml.load"}, f"line {node.lineno}"
            allowed = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert allowed.get("allow_pickle", "False") == "False", f"line {node.lineno}"
            assert allowed.get("shell", "False") == "False", f"line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_is_too_long(path):
    n_lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES, f"{n_lines} lines: split it"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_everything_public_is_described(path):
    if path.name != "__init__.py" or tree(path).body:
        assert ast.get_docstring(tree(path)), "the module"
    missing = [name for name, node in public(tree(path)) if not ast.get_docstring(node)]
    assert not missing


def public(
    node: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Classes, functions and methods whose name has no underscore, with their full names."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


def test_the_command_line_starts_without_heavy_libraries():
    code = f"import sys, bjerrum.cli; print([m for m in {HEAVY} if m in sys.modules])"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert printed.strip() == "[]"
