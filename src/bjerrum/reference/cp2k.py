"""CP2K as a reference: r2SCAN and density-corrected r2SCAN labels from the installed program.

Density-corrected DFT evaluates a functional on the Hartree-Fock density (Kim, Sim & Burke, Phys.
Rev. Lett. 111, 073003 (2013); for r2SCAN and water: Song, Vuckovic, Kim, Yu, Sim & Burke, Nat.
Commun. 14, 799 (2023)). Its forces need the response of that density, which CP2K solves
(ENERGY_CORRECTION, DCDFT). CP2K: Kuehne et al., J. Chem. Phys. 152, 194103 (2020).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
from ase import Atoms

from bjerrum.errors import ExternalError, InputError, Interrupted
from bjerrum.estimate import FloatArray
from bjerrum.frames import check_frame
from bjerrum.reference.cp2k_elements import (
    DATA_FOLDER_VARIABLE,
    INSTALL,
    VALENCE_ELECTRONS,
    check_elements,
    data_folder,
)
from bjerrum.reference.cp2k_input import (
    COORDINATES,
    PROJECT,
    WAVEFUNCTION,
    exchange_range,
    single_point_input,
)
from bjerrum.reference.cp2k_output import Cost, parse_cost, parse_label
from bjerrum.reference.cp2k_settings import Cp2kSettings, ScfSpec
from bjerrum.reference.egg_box import (
    CALIBRATION_FRAMES,
    OFFSETS_ANGSTROM,
    EggBox,
    fit_egg_box,
)
from bjerrum.reference.grid_noise import grid_shifts, without_net_force
from bjerrum.reference.label import Label, LabelStatus
from bjerrum.units import EV_IN_MEV

_PROGRAMS: Final = ("cp2k.psmp", "cp2k.popt", "cp2k.ssmp", "cp2k")
_LEAST_FREE_BYTES: Final = 50 * 2**20
_POLL_S: Final = 0.2


@dataclass(frozen=True)
class Cp2kProgram:
    """How CP2K is called.

    path     the program
    ranks    MPI processes of a calculation; more than one needs mpirun
    threads  OpenMP threads of a process
    """

    path: Path
    ranks: int = 1
    threads: int = 1
    stop: threading.Event = field(default_factory=threading.Event, compare=False)

    def run(self, folder: Path, name: str) -> tuple[str, float]:
        """Run ``name.inp`` in ``folder``; return why it ended badly, or nothing, and CPU seconds.

        The program is stopped when :attr:`stop` is set, which raises Interrupted.
        Raises ExternalError if it cannot be started or the disk is full.
        """
        environment = {
            **os.environ,
            DATA_FOLDER_VARIABLE: str(data_folder()),
            "OMP_NUM_THREADS": str(self.threads),
        }
        command = [*_launcher(self.ranks), str(self.path), "-i", f"{name}.inp", "-o", f"{name}.out"]
        try:
            with (folder / "stderr").open("wb") as errors:
                process = subprocess.Popen(
                    command, cwd=folder, env=environment, stdout=errors, stderr=errors
                )
        except OSError as error:
            raise ExternalError(f"{self.path}: cannot be started ({error.strerror})") from error
        code, cpu_seconds = self._wait(process)
        if shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
            raise ExternalError(f"{folder}: the disk is full; free some space and run again")
        if code < 0:
            return f"killed by signal {-code}", cpu_seconds
        return (f"exit code {code}" if code else ""), cpu_seconds

    def _wait(self, process: subprocess.Popen[bytes]) -> tuple[int, float]:
        """Return exit code and CPU seconds, those of the processes it started included."""
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode, usage.ru_utime + usage.ru_stime
            if self.stop.wait(_POLL_S):
                process.terminate()
                process.wait()
                raise Interrupted("interrupted; run the same command again to go on")


def find_cp2k() -> Path:
    """Return the CP2K program on PATH; ExternalError with the line that installs it if missing."""
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise ExternalError(
        f"CP2K is needed for first-principles labels, but none of {', '.join(_PROGRAMS)} is on "
        f"PATH; install it with: {INSTALL}"
    )


@cache
def cp2k_version(program: Path) -> str:
    """Return the version that the program tells, "2023.1"; ExternalError if it does not run."""
    try:
        answer = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ExternalError(f"{program}: does not run ({error}); {INSTALL}") from error
    version = re.search(r"CP2K version (\S+)", answer.stdout)
    return version[1] if version else "unknown"


class Cp2kReference:
    """Labels by CP2K with fixed settings.

    settings  level of theory and numerical settings
    program   how CP2K is called; default: one process, one thread
    egg_boxes corrections of the grid error that were measured before; :meth:`refine` adds to them
    """

    def __init__(
        self,
        settings: Cp2kSettings,
        program: Cp2kProgram | None = None,
        egg_boxes: Sequence[EggBox] = (),
    ) -> None:
        self.settings = settings
        self.name: str = settings.method
        self.program = program or Cp2kProgram(find_cp2k())
        self.egg_boxes = [box for box in egg_boxes if box.settings_hash == settings.hash]
        self.version = cp2k_version(self.program.path)

    def stop(self) -> None:
        """End the calculations under way."""
        self.program.stop.set()

    def describe(self) -> dict[str, Any]:
        """Return method, settings hash and version: what determines a label."""
        return {
            "method": self.name,
            "settings": self.settings.hash,
            "cp2k_version": self.version,
        }

    def check(self, atoms: Atoms) -> None:
        """Raise InputError for what cannot be labelled: overlap, odd electrons, no basis set."""
        check_frame(atoms, "frame")
        if not atoms.pbc.all():
            raise InputError("frame: expected a periodic cell in three directions")
        check_elements(atoms.get_chemical_symbols(), self.settings.basis)
        electrons = sum(VALENCE_ELECTRONS[symbol] for symbol in atoms.get_chemical_symbols())
        if electrons % 2:
            raise InputError(
                f"frame {atoms.get_chemical_formula()}: expected an even number of electrons in a "
                f"neutral closed-shell box, got {electrons}; add the missing ion or atom"
            )
        if self.settings.grid_correction == "fit" and not atoms.cell.orthorhombic:
            raise InputError(
                'frame: grid_correction "fit" expects an orthorhombic cell, got an oblique one; '
                'use "average"'
            )
        if self.settings.method == "dc-r2scan":
            exchange_range(atoms, self.settings)

    def calibration(self, frames: Sequence[Atoms]) -> list[tuple[int, Atoms]]:
        """Return the first frames of each cell, displaced, where the grid error is to be fitted."""
        if self.settings.grid_correction != "fit":
            return []
        members: dict[tuple[float, ...], list[int]] = {}
        for index, atoms in enumerate(frames):
            if not any(box.is_of(atoms) for box in self.egg_boxes):
                members.setdefault(tuple(np.round(atoms.cell.array.ravel(), 6)), []).append(index)
        found = []
        for indices in members.values():
            for index in indices[:CALIBRATION_FRAMES]:
                for offset in OFFSETS_ANGSTROM:
                    moved = frames[index].copy()
                    moved.positions += offset
                    found.append((index, moved))
        return found

    def refine(
        self, frames: Sequence[Atoms | None], calibration: Sequence[tuple[int, Atoms | None]]
    ) -> list[Atoms | None]:
        """Subtract the egg-box error where it was to be fitted; what cannot be yet is None."""
        if self.settings.grid_correction != "fit":
            return list(frames)
        groups: dict[int, list[Atoms]] = {}
        for index, moved in calibration:
            original = frames[index]
            if moved is not None and original is not None:
                groups.setdefault(index, [original]).append(moved)
        cells: dict[tuple[float, ...], list[list[Atoms]]] = {}
        for group in groups.values():
            cells.setdefault(tuple(np.round(group[0].cell.array.ravel(), 6)), []).append(group)
        self.egg_boxes += [fit_egg_box(each) for each in cells.values() if len(each) > 1]
        return [frame and self._corrected(frame) for frame in frames]

    def _corrected(self, frame: Atoms) -> Atoms | None:
        return next((box.correct(frame) for box in self.egg_boxes if box.fits(frame)), None)

    def label(self, atoms: Atoms, folder: Path) -> Label:
        """Label the configuration, averaged over the settings' translations.

        Each translation starts from the wavefunction of the one before: the orbitals move with
        the atoms. Where diagonalisation does not converge, orbital transformation is tried.
        ``folder`` keeps inputs and outputs; translations that an interrupted call has finished
        there are read, not computed again.
        """
        labels: list[Label] = []
        costs: list[Cost] = []
        begin, cpu_seconds = time.perf_counter(), 0.0
        for index, shift in enumerate(grid_shifts(self.settings.translations)):
            moved = atoms.copy()
            if index:
                moved.positions += shift @ _grid_vectors(atoms, costs[0].grid)
            label, cost, seconds = self._calculate(moved, folder, f"translation-{index}")
            if label.status is LabelStatus.SCF_NOT_CONVERGED and self._fallback is not None:
                (folder / WAVEFUNCTION).unlink(missing_ok=True)
                label, cost, more = self._fallback._calculate(
                    moved, folder, f"translation-{index}-ot"
                )
                seconds += more
            if label.status is not LabelStatus.CONVERGED:
                return label
            labels.append(label)
            costs.append(cost)
            cpu_seconds += seconds
        for path in (*folder.glob(f"{PROJECT}-*"), folder / COORDINATES):
            path.unlink(missing_ok=True)
        return self._average(atoms, labels).with_info(
            label_seconds=round(time.perf_counter() - begin, 1),
            label_cpu_seconds=round(cpu_seconds, 1),
            scf_steps=sum(cost.scf_steps for cost in costs),
            grid=list(costs[0].grid),
        )

    @property
    def _fallback(self) -> Cp2kReference | None:
        """The same with the slower, surer SCF; None if this is it."""
        if self.settings.scf.method == "ot":
            return None
        scf = ScfSpec(method="ot", tolerance=self.settings.scf.tolerance / 10, max_steps=200)
        return Cp2kReference(self.settings.model_copy(update={"scf": scf}), self.program)

    def _calculate(self, atoms: Atoms, folder: Path, name: str) -> tuple[Label, Cost, float]:
        """Run one calculation, or read it if its output is there; also return its CPU seconds."""
        text = single_point_input(atoms, self.settings) + "\n"
        source, output = folder / f"{name}.inp", folder / f"{name}.out"
        if output.is_file() and source.is_file() and source.read_text() == text:
            found = output.read_text(encoding="utf-8", errors="replace")
            label = parse_label(found, atoms, self.settings.method)
            if label.status is LabelStatus.CONVERGED:
                return label, parse_cost(found), 0.0
        ase.io.write(folder / COORDINATES, atoms, format="xyz", fmt="%20.10f")
        source.write_text(text)
        output.unlink(missing_ok=True)  # CP2K appends
        failure, cpu_seconds = self.program.run(folder, name)
        found = output.read_text(encoding="utf-8", errors="replace") if output.is_file() else ""
        label = parse_label(found, atoms, self.settings.method)
        if failure and label.status.retryable:
            reason = "; ".join(filter(None, (failure, label.reason, _last_line(folder / "stderr"))))
            label = Label(LabelStatus.CRASHED, reason=reason)
        return label, parse_cost(found), cpu_seconds

    def _average(self, atoms: Atoms, labels: list[Label]) -> Label:
        forces = np.mean([label.forces for label in labels if label.forces is not None], axis=0)
        net = float(np.linalg.norm(forces.sum(axis=0)))
        if self.settings.subtract_net_force:
            forces = without_net_force(forces, atoms.get_chemical_symbols())
        return Label(
            LabelStatus.CONVERGED,
            energy=float(np.mean([label.energy for label in labels if label.energy is not None])),
            forces=forces,
            info={
                "method": self.name,
                "program": f"CP2K {self.version}",
                "settings_hash": self.settings.hash,
                "net_force_mev_per_angstrom": round(EV_IN_MEV * net, 3),
                **self._noise(atoms, labels),
            },
        )

    def _noise(self, atoms: Atoms, labels: list[Label]) -> dict[str, float]:
        """Return the estimated rms error of a force component by the grid, meV/angstrom.

        What the settings were measured to have; else, for averages, the standard error of the mean
        over positions: an upper bound, because errors at these positions partly cancel.
        """
        if self.settings.noise_mev_per_angstrom is not None:
            return {"force_noise_mev_per_angstrom": self.settings.noise_mev_per_angstrom}
        if len(labels) < 2:
            return {}
        symbols = atoms.get_chemical_symbols()
        forces = [without_net_force(x.forces, symbols) for x in labels if x.forces is not None]
        variance = np.var(forces, axis=0, ddof=1).mean() / len(forces)
        return {"force_noise_mev_per_angstrom": round(float(EV_IN_MEV * np.sqrt(variance)), 2)}


def _grid_vectors(atoms: Atoms, grid: tuple[int, ...]) -> FloatArray:
    """Return the vectors between neighbouring points of the finest grid, rows, angstrom."""
    return np.asarray(atoms.cell.array / np.array(grid)[:, None])


def _launcher(ranks: int) -> list[str]:
    """Return what stands before the program: mpirun, and a tie to the life of this process."""
    tied = shutil.which("setpriv")
    start = [tied, "--pdeathsig", "KILL"] if tied else []
    if ranks == 1:
        return start
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise ExternalError("mpirun: needed for more than one rank; install it or use --ranks 1")
    return [*start, mpirun, "--oversubscribe", "--allow-run-as-root", "-n", str(ranks)]


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:200].strip() if lines else ""
