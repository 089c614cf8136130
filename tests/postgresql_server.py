"""A private PostgreSQL for the tests: initdb in a temporary folder, a socket, no password."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def missing() -> str | None:
    """Return why there can be no server here, None if there can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "PostgreSQL is not installed (Debian: postgresql)"
    if os.getuid() == 0 and not (shutil.which("runuser") and _has_user("postgres")):
        return "PostgreSQL does not run as root and there is no user postgres"
    return None


def _has_user(name: str) -> bool:
    return subprocess.run(["id", name], capture_output=True, check=False).returncode == 0


def _program(name: str) -> str | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = next((str(f / name) for f in folders if (f / name).exists()), None)
    return found or shutil.which(name)


def _command(name: str, *arguments: str) -> list[str]:
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    program = _program(name)
    assert program is not None
    return [*user, program, *arguments]


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start a server in ``folder``, give the folder of its socket, stop it at the end."""
    folder.mkdir(parents=True)
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    subprocess.run(_command("initdb", "-D", str(data), "-A", "trust", "-N", "-U", "me"), **quiet)
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=40"
    start = ("-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    subprocess.run(_command("pg_ctl", *start), **quiet)
    try:
        yield str(folder)
    finally:
        subprocess.run(_command("pg_ctl", "-D", str(data), "-m", "immediate", "stop"), **quiet)
