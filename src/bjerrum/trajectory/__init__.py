"""Trajectories: chunks of frames, the H5MD file, and readers for other programs' files.

A trajectory is an iterator of :class:`TrajectoryChunk`, so that a file larger than memory can be
read. Positions are unwrapped, in angstrom, times in picoseconds, velocities in angstrom/fs,
observables carry their unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.trajectory.chunk import (
    OBSERVABLE_UNITS,
    TrajectoryChunk,
    compact_cells,
    without_marked,
)
from bjerrum.trajectory.formats import read_foreign
from bjerrum.trajectory.h5md import check_reading, read_h5md, write_trajectory

__all__ = [
    "OBSERVABLE_UNITS",
    "TrajectoryChunk",
    "compact_cells",
    "iterate_frames",
    "read_h5md",
    "without_marked",
    "write_trajectory",
]


def iterate_frames(
    path: Path | str,
    *,
    topology: Path | str | None = None,
    elements: Mapping[str, str] | None = None,
    cell: float | FloatArray | None = None,
    frame_interval_ps: float | None = None,
    stride: int = 1,
    chunk_frames: int = 200,
) -> Iterator[TrajectoryChunk]:
    """Read any trajectory that Bjerrum, MDAnalysis or ASE reads, chunk by chunk.

    topology           a file with the atoms' names, for DCD, XTC, TRR and the like
    elements           atom name or type -> chemical symbol, {"1": "O", "2": "H"}
    cell               replaces the file's: edge, edges (3,) or vectors (3, 3), angstrom
    frame_interval_ps  time between the frames of the file, where it does not say or says it wrong
    stride             every ``stride``-th frame
    Raises FrameError naming file and frame: truncated, no cell, NaN, changing atoms, atom names
    that are no elements.
    """
    check_reading(path, stride, chunk_frames)
    if Path(path).suffix in {".h5", ".h5md", ".hdf5"} and topology is None:
        yield from read_h5md(path, stride=stride, chunk_frames=chunk_frames)
        return
    yield from read_foreign(
        Path(path),
        topology=None if topology is None else Path(topology),
        elements=elements or {},
        cell=None if cell is None else _cell_matrix(cell),
        frame_interval_ps=frame_interval_ps,
        stride=stride,
        chunk_frames=chunk_frames,
    )


def _cell_matrix(cell: float | FloatArray) -> FloatArray:
    array = np.asarray(cell, dtype=np.float64)
    matrix = array if array.shape == (3, 3) else np.diag(np.broadcast_to(array, 3))
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise InputError(f"cell must be one, three or 3 x 3 lengths in angstrom, got {cell}")
    return matrix
