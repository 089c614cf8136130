"""Restart points of a trajectory on disk: one file per chunk, whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bjerrum.estimate import FloatArray, IntArray
from bjerrum.files import atomic_path


@dataclass(frozen=True)
class Chunk:
    """Frames of one stretch of a trajectory and the state at its end.

    steps         step number of each frame, shape (n_frames,)
    positions     unwrapped, shape (n_frames, n_atoms, 3), angstrom
    observables   potential_energy, coulomb_energy, total_energy (eV) and kinetic_temperature (K) of
                  each frame
    end           positions and velocities after the last step, each shape (n_atoms, 3)
    """

    steps: IntArray
    positions: FloatArray
    observables: dict[str, FloatArray]
    end: tuple[FloatArray, FloatArray]


def _path(folder: Path, index: int) -> Path:
    return folder / f"chunk-{index:06d}.npz"


def write_chunk(folder: Path, index: int, chunk: Chunk) -> None:
    """Write the chunk with this number, atomically."""
    arrays: dict[str, Any] = {
        "steps": chunk.steps,
        "positions": chunk.positions,
        "end_positions": chunk.end[0],
        "end_velocities": chunk.end[1],
    }
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
    """Read a chunk file."""
    with np.load(path, allow_pickle=False) as data:
        observables = {
            name.removeprefix("observable_"): data[name]
            for name in data.files
            if name.startswith("observable_")
        }
        end = (data["end_positions"], data["end_velocities"])
        return Chunk(data["steps"], data["positions"], observables, end)


def read_chunks(folder: Path) -> Iterator[Chunk]:
    """Read all chunks of a folder, one at a time."""
    for path in completed_chunks(folder):
        yield read_chunk(path)


def remove_chunks(folder: Path) -> None:
    """Remove the chunks of a run that is finished, with or without gaps."""
    for path in folder.glob("chunk-*.npz"):
        path.unlink()
