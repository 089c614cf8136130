"""Restart points of a trajectory on disk: one file per chunk, whole or not there."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.files import atomic_path


@dataclass(frozen=True)
class End:
    """The exact state at the end of a chunk: shapes (n_atoms, 3), (n_atoms, 3), (3, 3)."""

    positions: FloatArray
    velocities: FloatArray
    cell: FloatArray


@dataclass(frozen=True)
class Chunk:
    """Frames of one stretch of a trajectory and the state at its end.

    steps         step number of each frame, shape (n_frames,)
    positions     unwrapped, shape (n_frames, n_atoms, 3), angstrom
    observables   potential_energy, coulomb_energy, total_energy (eV) and kinetic_temperature (K) of
                  each frame; with a virial also pressure (bar) and stress (eV/angstrom^3)
    end           after the last step
    cells         of each frame, shape (n_frames, 3, 3); None where the cell is constant
    velocities    like positions, angstrom/fs; None where they were not asked for
    events        what the watchdog saw, as JSON values
    flagged       positions of those configurations, shape (n_flagged, n_atoms, 3)
    """

    steps: IntArray
    positions: FloatArray
    observables: dict[str, FloatArray]
    end: End
    cells: FloatArray | None = None
    velocities: FloatArray | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    flagged: FloatArray | None = None
    flagged_cells: FloatArray | None = None


_OPTIONAL = ("cells", "velocities", "flagged", "flagged_cells")


def _path(folder: Path, index: int) -> Path:
    return folder / f"chunk-{index:06d}.npz"


def write_chunk(folder: Path, index: int, chunk: Chunk) -> None:
    """Write the chunk with this number, atomically."""
    arrays: dict[str, Any] = {
        "steps": chunk.steps,
        "positions": chunk.positions,
        "end_positions": chunk.end.positions,
        "end_velocities": chunk.end.velocities,
        "end_cell": chunk.end.cell,
        "events": np.array(json.dumps(chunk.events)),
    }
    arrays |= {name: getattr(chunk, name) for name in _OPTIONAL if getattr(chunk, name) is not None}
    arrays |= {f"observable_{name}": series for name, series in chunk.observables.items()}
    with atomic_path(_path(folder, index)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def completed_chunks(folder: Path) -> list[Path]:
    """Return the files of the chunks that are done, in order, up to the first gap."""
    paths: list[Path] = []
    while (path := _path(folder, len(paths))).exists():
        paths.append(path)
    return paths


def read_chunk(path: Path) -> Chunk:
    """Read a chunk file; raises InputError, and touches nothing, if it is damaged or foreign."""
    try:
        with np.load(path, allow_pickle=False) as data:
            observables = {
                name.removeprefix("observable_"): data[name]
                for name in data.files
                if name.startswith("observable_")
            }
            return Chunk(
                data["steps"],
                data["positions"],
                observables,
                End(data["end_positions"], data["end_velocities"], data["end_cell"]),
                events=json.loads(str(data["events"])),
                **{name: data[name] for name in _OPTIONAL if name in data.files},
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: is no restart file of this version, truncated perhaps ({error}); remove it "
            "and the later ones to go on from the one before"
        ) from error


def read_chunks(folder: Path) -> Iterator[Chunk]:
    """Read all chunks of a folder, one at a time."""
    for path in completed_chunks(folder):
        yield read_chunk(path)


def remove_chunks(folder: Path) -> None:
    """Remove the chunks of a run that is finished, with or without gaps."""
    for path in folder.glob("chunk-*.npz"):
        path.unlink()
