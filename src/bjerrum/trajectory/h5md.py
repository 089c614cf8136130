"""The H5MD file that Bjerrum writes and reads.

de Buyl, Colberg, Hoefling, Comput. Phys. Commun. 185, 1546 (2014); readable by MDAnalysis'
``H5MDReader``. Positions and velocities are stored in single precision: 4e-6 angstrom at 100
angstrom from the origin, far below the thermal motion. A run is *not* restarted from this file.
There is no compression: gzip saves 16 % of such data and costs ten times the time. The same
chunks give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from bjerrum import __version__
from bjerrum.errors import FrameError, InputError
from bjerrum.files import atomic_path
from bjerrum.trajectory.chunk import TrajectoryChunk, compact_cells

H5MD_VERSION: Final = (1, 1)
HDF5_CHUNK_BYTES: Final = 2**18
"""Size of the pieces in which HDF5 stores positions; a frame is never split over fewer atoms."""


def write_trajectory(
    path: Path | str,
    chunks: Iterable[TrajectoryChunk],
    metadata: Mapping[str, str | int | float] | None = None,
) -> int:
    """Write chunks as one H5MD file, atomically, and return the number of frames.

    The file appears under its name only when complete and on disk; memory is bounded by a chunk.
    ``metadata`` (else that of the first chunk) is stored in ``/parameters/bjerrum``.
    Raises FrameError if chunks do not continue one another, InputError if the folder cannot be
    written, ExternalError if the disk is full.
    """
    with atomic_path(Path(path)) as temporary:
        return _write_chunks(temporary, chunks, metadata)


def read_h5md(
    path: Path | str, *, stride: int = 1, chunk_frames: int = 200
) -> Iterator[TrajectoryChunk]:
    """Read a Bjerrum H5MD trajectory chunk by chunk, every ``stride``-th frame.

    Raises FrameError for a truncated or foreign file.
    """
    check_reading(path, stride, chunk_frames)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FrameError(f"{path} is no readable HDF5 file, truncated perhaps: {error}") from error
    with file:
        try:
            n_frames = _check_h5md(file)
            for start in range(0, n_frames, stride * chunk_frames):
                stop = min(start + stride * chunk_frames, n_frames)
                yield _read_chunk(file, slice(start, stop, stride))
        except (KeyError, ValueError, OSError) as error:
            raise FrameError(f"{path}: {error}") from error


def check_reading(path: Path | str, stride: int, chunk_frames: int) -> None:
    """Raise InputError unless the file is there and the numbers make sense."""
    if stride < 1 or chunk_frames < 1:
        raise InputError(
            f"stride and chunk_frames must be at least 1, got {stride}, {chunk_frames}"
        )
    if not Path(path).is_file():
        raise InputError(f"no such file: {path}")


class _Sink(io.FileIO):
    """A file that remembers the first failure and then pretends: HDF5 crashes on a full disk."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of ``data``, or remember why not."""
        rest = memoryview(data)
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the length, or remember why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def check(self) -> None:
        """Raise what went wrong."""
        if self.failure is not None:
            raise self.failure


def _write_chunks(
    path: Path,
    chunks: Iterable[TrajectoryChunk],
    metadata: Mapping[str, str | int | float] | None,
) -> int:
    first: TrajectoryChunk | None = None
    n_frames = 0
    with _Sink(path, "r+") as sink:
        with h5py.File(sink, "w") as file:
            for chunk in chunks:
                if first is None:
                    first = chunk
                    _create_layout(file, chunk, chunk.metadata if metadata is None else metadata)
                _check_continues(first, chunk, file, n_frames)
                _append(file, chunk, n_frames)
                n_frames += chunk.n_frames
                sink.check()
        sink.check()
    if first is None or n_frames == 0:
        raise FrameError("a trajectory needs at least one frame, got none")
    return n_frames


def _create_layout(
    file: h5py.File, chunk: TrajectoryChunk, metadata: Mapping[str, str | int | float]
) -> None:
    _write_header(file, metadata)
    n_atoms = len(chunk.symbols)
    particles = file.create_group("particles/all")
    numbers = [atomic_numbers[symbol] for symbol in chunk.symbols]
    particles.create_dataset("species", data=np.array(numbers, dtype=np.int32), track_times=False)
    box = particles.create_group("box")
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = np.array([b"periodic"] * 3)
    position = particles.create_group("position")
    _empty(position, "value", (n_atoms, 3), np.float32, "Angstrom")
    _empty(position, "step", (), np.int64)
    _empty(position, "time", (), np.float64, "ps")
    edges = (3,) if _is_orthorhombic(chunk) else (3, 3)
    _linked(particles, "box/edges", edges, np.float64, "Angstrom")
    if chunk.velocities is not None:
        _linked(particles, "velocity", (n_atoms, 3), np.float32, "Angstrom fs-1")
    for name in sorted(chunk.observables):
        _linked(file, f"observables/{name}", (), np.float64, chunk.unit_of(name))


def _write_header(file: h5py.File, metadata: Mapping[str, str | int | float]) -> None:
    header = file.create_group("h5md")
    header.attrs["version"] = np.array(H5MD_VERSION, dtype=np.int32)
    header.create_group("author").attrs["name"] = str(metadata.get("author", "unknown"))
    creator = header.create_group("creator")
    creator.attrs["name"] = "Bjerrum"
    creator.attrs["version"] = __version__
    parameters = file.create_group("parameters/bjerrum")
    for key, value in sorted(metadata.items()):
        parameters.attrs[key] = value


def _is_orthorhombic(chunk: TrajectoryChunk) -> bool:
    return not (chunk.cells * (1 - np.eye(3))).any()


def _empty(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, unit: str | None = None
) -> None:
    bytes_per_frame = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    frames = max(1, min(HDF5_CHUNK_BYTES // bytes_per_frame, 1024))
    dataset = group.create_dataset(
        name,
        (0, *shape),
        dtype,
        maxshape=(None, *shape),
        chunks=(frames, *shape),
        track_times=False,
    )
    if unit is not None:
        dataset.attrs["unit"] = unit


def _linked(
    parent: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, unit: str | None
) -> None:
    """Create a time-dependent element that shares step and time with the positions."""
    group = parent.create_group(name)
    _empty(group, "value", shape, dtype, unit)
    for shared in ("step", "time"):
        group[shared] = parent.file[f"particles/all/position/{shared}"]


def _check_continues(
    first: TrajectoryChunk, chunk: TrajectoryChunk, file: h5py.File, n_frames: int
) -> None:
    if chunk.symbols != first.symbols:
        raise FrameError("the atoms change from one chunk to the next")
    if chunk.times_ps is None:
        raise FrameError("a trajectory is written with times; times_ps is None")
    if chunk.observables.keys() != first.observables.keys():
        raise FrameError("the observables change from one chunk to the next")
    if (chunk.velocities is None) != (first.velocities is None):
        raise FrameError("some chunks have velocities, others do not")
    if file["particles/all/box/edges/value"].ndim == 2 and not _is_orthorhombic(chunk):
        raise FrameError("the cell changes from orthorhombic to general")
    steps = chunk.steps
    if n_frames:
        steps = np.concatenate([file["particles/all/position/step"][-1:], steps])
    if (np.diff(steps) <= 0).any():
        raise FrameError("step numbers must increase from frame to frame and chunk to chunk")


def _append(file: h5py.File, chunk: TrajectoryChunk, start: int) -> None:
    particles = file["particles/all"]
    edges = chunk.cells
    if particles["box/edges/value"].ndim == 2:
        edges = np.diagonal(edges, axis1=1, axis2=2)
    values = {
        "particles/all/position/value": chunk.positions,
        "particles/all/position/step": chunk.steps,
        "particles/all/position/time": chunk.times_ps,
        "particles/all/box/edges/value": edges,
    }
    if chunk.velocities is not None:
        values["particles/all/velocity/value"] = chunk.velocities
    for name, series in chunk.observables.items():
        values[f"observables/{name}/value"] = series
    for name, array in values.items():
        dataset = file[name]
        dataset.resize(start + chunk.n_frames, axis=0)
        dataset[start:] = array


def _check_h5md(file: h5py.File) -> int:
    """Return the number of frames of a Bjerrum H5MD file, or raise ValueError."""
    creator = file["h5md/creator"].attrs["name"] if "h5md/creator" in file else "another program"
    if creator != "Bjerrum":
        raise ValueError(f"an H5MD file by {creator}: give a topology to read it by MDAnalysis")
    position = file["particles/all/position"]
    n_frames = len(position["value"])
    lengths = {len(position["step"]), len(position["time"]), n_frames}
    if len(lengths) > 1 or n_frames == 0:
        raise ValueError(f"positions, steps and times hold {sorted(lengths)} frames")
    return n_frames


def _read_chunk(file: h5py.File, frames: slice) -> TrajectoryChunk:
    particles = file["particles/all"]
    edges = particles["box/edges/value"][frames]
    cells = np.array([np.diag(edge) for edge in edges]) if edges.ndim == 2 else edges
    series = {name: group["value"] for name, group in file.get("observables", {}).items()}
    return TrajectoryChunk(
        symbols=tuple(chemical_symbols[number] for number in particles["species"][:]),
        cell=compact_cells(cells),
        steps=particles["position/step"][frames],
        times_ps=particles["position/time"][frames],
        positions=particles["position/value"][frames],
        velocities=particles["velocity/value"][frames] if "velocity" in particles else None,
        observables={name: dataset[frames] for name, dataset in series.items()},
        units={name: str(dataset.attrs["unit"]) for name, dataset in series.items()},
        metadata={
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in file["parameters/bjerrum"].attrs.items()
        },
    )
