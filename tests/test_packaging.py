"""What the package declares is what it uses."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = re.compile(r"[\w.-]+")


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements: list[str]) -> set[str]:
    return {normalised(NAME.match(requirement).group()) for requirement in requirements}


def imported_packages(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"bjerrum"}


def test_every_package_that_is_imported_is_declared():
    extras = PROJECT["optional-dependencies"]
    declared = names_of(
        PROJECT["dependencies"]
        + [
            name
            for extra, names in extras.items()
            if extra not in {"dev", "docs"}
            for name in names
        ]
    )
    distributions = packages_distributions()
    for package in imported_packages(ROOT / "src"):
        candidates = {normalised(name) for name in distributions.get(package, [package])}
        assert candidates & declared, f"{package} is imported, but not in pyproject.toml"


def test_torch_is_not_exchanged_by_an_installation():
    (version,) = re.findall(r"^TORCH_VERSION \?= ([\d.]+)$", (ROOT / "Makefile").read_text(), re.M)
    (requirement,) = (name for name in PROJECT["dependencies"] if re.match(r"torch\b(?!-)", name))
    least = re.fullmatch(r"torch>=([\d.]+)", requirement)
    assert least, "an upper limit or an exact version would replace a PyTorch that is there"
    assert [*map(int, least[1].split("."))] <= [*map(int, version.split("."))]


def test_hooks_are_local():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"- repo: (\S+)", hooks) == ["local"]
    assert set(re.findall(r"language: (\S+)", hooks)) == {"system"}
