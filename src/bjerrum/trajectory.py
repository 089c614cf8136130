"""Trajectories: chunks of frames, the H5MD file, and readers for other programs' files.

A trajectory is an iterator of :class:`TrajectoryChunk`, so that a file larger than memory can be
read. Positions are unwrapped, in angstrom, times in picoseconds, velocities in angstrom/fs,
observables carry their unit.

Bjerrum writes H5MD (de Buyl, Colberg, Hoefling, Comput. Phys. Commun. 185, 1546 (2014)), readable
by MDAnalysis' ``H5MDReader``. Positions and velocities are stored in single precision: 4e-6
angstrom at 100 angstrom from the origin, far below the thermal motion. A run is *not* restarted
from this file. There is no compression: gzip saves 16 % of such data and costs ten times the time.
The same chunks give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from bjerrum import __version__
from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.files import atomic_path

H5MD_VERSION: Final = (1, 1)
OBSERVABLE_UNITS: Final[Mapping[str, str]] = {
    "potential_energy": "eV",
    "coulomb_energy": "eV",
    "kinetic_energy": "eV",
    "total_energy": "eV",
    "kinetic_temperature": "K",
}
HDF5_CHUNK_BYTES: Final = 2**18
"""Size of the pieces in which HDF5 stores positions; a frame is never split over fewer atoms."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrajectoryChunk:
    """Consecutive frames of one system.

    symbols      chemical symbols, (n_atoms,)
    cell         angstrom: edges (3,), vectors in rows (3, 3), or one per frame (n_frames, 3, 3)
    steps        step numbers, (n_frames,)
    times_ps     (n_frames,); None where the file does not say
    positions    unwrapped where the source is, angstrom, (n_frames, n_atoms, 3)
    velocities   angstrom/fs, (n_frames, n_atoms, 3), or None
    observables  name -> series, each (n_frames,)
    units        of observables that are not in OBSERVABLE_UNITS
    metadata     facts about the whole trajectory
    Raises FrameError for shapes that do not fit, unknown symbols and non-finite numbers.
    """

    symbols: tuple[str, ...]
    cell: FloatArray
    steps: IntArray
    times_ps: FloatArray | None
    positions: NDArray[np.floating[Any]]
    velocities: NDArray[np.floating[Any]] | None = None
    observables: Mapping[str, FloatArray] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(str(symbol) for symbol in self.symbols))
        n_frames, n_atoms = len(self.steps), len(self.symbols)
        unknown = sorted(set(self.symbols) - set(chemical_symbols[1:]))
        if unknown:
            raise FrameError(f"not chemical symbols: {', '.join(unknown)}")
        expected = (n_frames, n_atoms, 3)
        for name, array in (("positions", self.positions), ("velocities", self.velocities)):
            if array is not None:
                _check_array(name, array, expected, self.steps)
        for name, values in self.observables.items():
            self.unit_of(name)
            _check_array(name, values, (n_frames,), self.steps)
        if self.times_ps is not None:
            _check_array("times_ps", self.times_ps, (n_frames,), self.steps)
        if np.shape(self.cell) not in ((3,), (3, 3), (n_frames, 3, 3)):
            raise FrameError(f"cell must have shape (3,), (3, 3) or ({n_frames}, 3, 3)")
        volumes = np.linalg.det(self.cells)
        if not (np.isfinite(volumes).all() and (np.abs(volumes) > 0).all()):
            raise FrameError("a trajectory needs a cell with a volume in every frame")

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.steps)

    @property
    def cells(self) -> FloatArray:
        """Cell vectors in rows, angstrom, shape (n_frames, 3, 3)."""
        cell = np.asarray(self.cell, dtype=np.float64)
        matrix = np.diag(cell) if cell.ndim == 1 else cell
        return np.broadcast_to(matrix, (self.n_frames, 3, 3))

    def unit_of(self, observable: str) -> str:
        """Return the unit of an observable; raises FrameError if it was not given."""
        unit = self.units.get(observable, OBSERVABLE_UNITS.get(observable))
        if unit is None:
            raise FrameError(f"observable {observable!r} has no unit: name it in units")
        return unit


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
    _check_reading(path, stride, chunk_frames)
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
    from bjerrum import trajectory_formats

    _check_reading(path, stride, chunk_frames)
    if Path(path).suffix in {".h5", ".h5md", ".hdf5"} and topology is None:
        yield from read_h5md(path, stride=stride, chunk_frames=chunk_frames)
        return
    yield from trajectory_formats.read_foreign(
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


def _check_array(
    name: str, array: NDArray[Any], expected: tuple[int, ...], steps: IntArray
) -> None:
    if np.shape(array) != expected:
        raise FrameError(f"{name} must have shape {expected}, got {np.shape(array)}")
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise FrameError(f"{name} holds NaN or infinity at step {steps[finite.argmin()]}")


def _check_reading(path: Path | str, stride: int, chunk_frames: int) -> None:
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


def compact_cells(cells: FloatArray) -> FloatArray:
    """Return (n_frames, 3, 3) cells in the shortest form that TrajectoryChunk takes."""
    if (cells != cells[0]).any():
        return cells
    if (cells[0] == np.diag(np.diag(cells[0]))).all():
        return np.diag(cells[0]).copy()
    return np.array(cells[0])
