"""Configurations to label: short dynamics with r2SCAN itself or with a classical force field.

First-principles dynamics costs a third of a label per step, so it samples small boxes for
picoseconds; rigid classical water costs nothing but lacks the vibrations that a potential must
learn. A trained potential (:mod:`bjerrum.dynamics`, :mod:`bjerrum.separations`) is the third way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np
from ase import Atoms
from pydantic import model_validator

from bjerrum.dynamics.single import SimulationSpec, write_run
from bjerrum.errors import InputError
from bjerrum.files import sha256_of
from bjerrum.frames import check_frame, read_frames, write_frames
from bjerrum.reference.classical import sample_nvt
from bjerrum.reference.cp2k import Cp2kProgram, Cp2kReference
from bjerrum.reference.cp2k_session import Cp2kSession
from bjerrum.reference.cp2k_settings import Cp2kSettings
from bjerrum.specification import NotNegative
from bjerrum.trajectory import TrajectoryChunk, read_h5md, write_trajectory
from bjerrum.units import PS_IN_FS

SamplingMethod = Literal["r2scan", "classical"]

SAMPLING_CUTOFF_RY: Final = 600.0
"""Enough to choose configurations: forces within 40 meV/angstrom, and labels come after."""

_CLASSICAL_TIMESTEP_FS: Final = 2.0
_XYZ: Final = (".xyz", ".extxyz")


class SampleSpec(SimulationSpec):
    """A simulation whose first ``equilibrate_ps`` are left out of the output."""

    equilibrate_ps: NotNegative = 0.0

    @model_validator(mode="after")
    def _something_is_left(self) -> SampleSpec:
        if self.equilibrate_ps >= self.time_ps:
            raise ValueError(
                f"equilibrate_ps: expected less than time_ps ({self.time_ps:g}), "
                f"got {self.equilibrate_ps:g}"
            )
        return self


def sample_r2scan(
    box: Path,
    spec: SampleSpec,
    program: Cp2kProgram,
    output: Path,
    announce: Callable[[str, int, int], None],
    settings: Cp2kSettings | None = None,
) -> None:
    """Run Langevin dynamics (BAOAB, NVT) on the r2SCAN surface; go on where it was stopped.

    output    H5MD, or extended XYZ by its suffix
    settings  default: SAMPLING_CUTOFF_RY, one translation
    Raises InputError for what CP2K cannot treat, ExternalError if it stops.
    """
    used = settings or Cp2kSettings(
        method="r2scan", cutoff_ry=SAMPLING_CUTOFF_RY, translations=1, smoothing="nn10"
    )
    atoms = read_frames(box)[0]
    Cp2kReference(used, program).check(atoms)
    _refuse_existing(output)
    folder = output.with_name(output.name + ".cp2k")
    forces = Cp2kSession(used, program, folder).bind(atoms.get_chemical_symbols(), atoms.cell.array)
    claim: dict[str, object] = {
        "settings": used.hash,
        "box": sha256_of(box),
        "run": spec.model_dump(mode="json"),
    }
    whole = output.with_name(output.name + ".whole.h5")
    if not whole.exists():
        write_run(atoms, forces, spec, whole, claim, announce, chunk_frames=1)
    _write(output, _after(read_h5md(whole), spec.equilibrate_ps))
    whole.unlink()


def sample_classical(box: Path, spec: SampleSpec, output: Path) -> None:
    """Run rigid classical dynamics (SPC/E, Joung-Cheatham) and write what follows equilibration.

    Raises as :func:`bjerrum.reference.classical.sample_nvt`.
    """
    atoms = read_frames(box)[0]
    check_frame(atoms, str(box))
    _refuse_existing(output)
    run = sample_nvt(
        atoms,
        temperature=spec.temperature,
        time_ps=spec.time_ps,
        seed=spec.seed,
        timestep_fs=_CLASSICAL_TIMESTEP_FS,
        friction_per_ps=spec.friction_per_ps,
        sample_interval_ps=spec.frame_every_fs / PS_IN_FS,
    )
    chunk = TrajectoryChunk(
        symbols=tuple(atoms.symbols),
        cell=atoms.cell.array,
        steps=np.round(run.time_ps * PS_IN_FS / _CLASSICAL_TIMESTEP_FS).astype(np.int64),
        times_ps=run.time_ps,
        positions=run.positions,
        observables={
            "potential_energy": run.potential_energy,
            "kinetic_temperature": run.temperature,
        },
    )
    _write(output, _after(iter([chunk]), spec.equilibrate_ps))


def _refuse_existing(output: Path) -> None:
    if output.suffix not in {*_XYZ, ".h5"}:
        raise InputError(f"{output}: expected a name that ends in .h5, .xyz or .extxyz")
    if output.exists():
        raise InputError(f"{output}: exists already; choose another output or remove it")


def _after(chunks: Iterator[TrajectoryChunk], time_ps: float) -> Iterator[TrajectoryChunk]:
    """Yield the frames later than ``time_ps``."""
    for chunk in chunks:
        assert chunk.times_ps is not None
        kept = chunk.times_ps > time_ps + 1e-9
        if kept.any():
            yield TrajectoryChunk(
                symbols=chunk.symbols,
                cell=chunk.cell,
                steps=chunk.steps[kept],
                times_ps=chunk.times_ps[kept],
                positions=chunk.positions[kept],
                observables={name: x[kept] for name, x in chunk.observables.items()},
            )


def _write(output: Path, chunks: Iterator[TrajectoryChunk]) -> None:
    if output.suffix not in _XYZ:
        write_trajectory(output, chunks)
        return
    write_frames(output, [frame for chunk in chunks for frame in _frames(chunk)])


def _frames(chunk: TrajectoryChunk) -> Iterator[Atoms]:
    assert chunk.times_ps is not None
    for k in range(chunk.n_frames):
        frame = Atoms(chunk.symbols, chunk.positions[k], cell=chunk.cells[0], pbc=True)
        frame.wrap()
        frame.info = {"time_ps": float(chunk.times_ps[k]), "block": "0"}
        yield frame
