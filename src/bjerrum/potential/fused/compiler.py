"""C++ compiled at first use and kept: one shared library per source, compiler and processor."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from bjerrum.errors import ExternalError

FLAGS = (
    "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared",
    "-std=c++17",
)  # fmt: skip
_TIME_LIMIT_S = 600


class NoCompiler(ExternalError):
    """There is no C++ compiler, or it cannot compile what it was given."""


def find_compiler() -> str:
    """Return the C++ compiler: ``$CXX`` or g++; raises NoCompiler."""
    name = os.environ.get("CXX") or "g++"
    path = shutil.which(name)
    if path is None:
        raise NoCompiler(f"{name}: no such compiler; install g++ for fast dynamics")
    return path


def cache_folder() -> Path:
    """Return the folder of compiled libraries, ``$XDG_CACHE_HOME/bjerrum/kernels``."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "bjerrum" / "kernels"


@cache
def load_library(source: str) -> ctypes.CDLL:
    """Compile C++ source, or take what was compiled before, and load it.

    Raises NoCompiler with the first lines of the compiler's complaint.
    """
    compiler = find_compiler()
    path = cache_folder() / f"{_key(source, compiler)}.so"
    if not path.exists():
        _compile(source, compiler, path)
    return ctypes.CDLL(str(path))


def _key(source: str, compiler: str) -> str:
    parts = [source, *FLAGS, _version(compiler), processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


@cache
def _version(compiler: str) -> str:
    result = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return result.stdout


@cache
def processor() -> str:
    """Name what ``-march=native`` looks at: model and instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    wanted = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _compile(source: str, compiler: str, path: Path) -> None:
    """Write the library under its name only when it is whole; others may compile it too."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            unit, library = Path(folder) / "unit.cpp", Path(folder) / "unit.so"
            unit.write_text(source, encoding="utf-8")
            command = [compiler, *FLAGS, "-o", str(library), str(unit)]
            result = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False
            )
            if result.returncode != 0:
                raise NoCompiler(f"{compiler} failed: {result.stderr.strip()[:300]}")
            library.replace(path)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoCompiler(f"{path}: cannot be compiled: {error}") from error
