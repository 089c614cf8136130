"""Trajectories of other programs, through the readers of MDAnalysis and ASE.

Parsing is theirs. What they let pass and would later show up as a strange number is refused
here, with the file and the frame: a file cut short, a missing cell, NaN, atoms that change, names
that are no elements. Which reader: LAMMPS dumps (told by their first line), DCD, XTC, TRR, NetCDF,
GRO and PDB, and everything with a topology, go to MDAnalysis; all else to ASE.

Known gap: of a DCD file cut inside its last frame, and of an XTC or TRR file cut inside a frame's
header, the complete frames are read without a word: their readers do not tell.
MDAnalysis leaves a hidden index file beside an XTC or TRR file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ase.io
import ase.units
import numpy as np
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict, read_xyz
from numpy.typing import NDArray

from bjerrum.errors import FrameError
from bjerrum.estimate import FloatArray
from bjerrum.trajectory.chunk import TrajectoryChunk, compact_cells
from bjerrum.units import PS_IN_FS

MDANALYSIS_SUFFIXES: Final = frozenset(
    {".dcd", ".xtc", ".trr", ".nc", ".ncdf", ".tng", ".gro", ".pdb", ".h5", ".h5md", ".hdf5"}
)
TIMED_FORMATS: Final = frozenset({"DCD", "XTC", "TRR", "NCDF", "TNG", "H5MD"})
"""Formats that store times; for others MDAnalysis makes them up (1 ps per frame)."""

FORCE_FIELD_NAMES: Final = {"SOD": "Na", "POT": "K", "CLA": "Cl", "LIT": "Li", "CES": "Cs"}
"""CHARMM's names of ions, which spell no element."""

LAMMPS_FIRST_LINE: Final = "ITEM: TIMESTEP"


@dataclass(frozen=True)
class Frame:
    """One frame as its reader gave it; ``cell`` is None where there is none, vectors in rows."""

    names: tuple[str, ...]
    positions: NDArray[np.floating[Any]]
    cell: FloatArray | None
    step: int
    time_ps: float | None = None
    velocities: NDArray[np.floating[Any]] | None = None


def read_foreign(
    path: Path,
    *,
    topology: Path | None,
    elements: Mapping[str, str],
    cell: FloatArray | None,
    frame_interval_ps: float | None,
    stride: int,
    chunk_frames: int,
) -> Iterator[TrajectoryChunk]:
    """Read a file of another program; see :func:`bjerrum.trajectory.iterate_frames`."""
    frames = _reader(path, topology)(path, topology, stride)
    first: Frame | None = None
    symbols: tuple[str, ...] = ()
    count = 0
    for batch in _batches(frames, chunk_frames, path):
        if first is None:
            first = batch[0]
            symbols = symbols_of(first.names, elements, path)
        for frame in batch:
            _check_frame(frame, first, cell, f"{path}, frame {count * stride}")
            count += 1
        start = (count - len(batch)) * stride
        yield _chunk(batch, symbols, cell, frame_interval_ps, start, stride)
    if first is None:
        raise FrameError(f"{path}: expected at least one frame, found none")


def symbols_of(
    names: Sequence[str], elements: Mapping[str, str], path: Path | str
) -> tuple[str, ...]:
    """Translate atom names or types to chemical symbols, through ``elements`` where it has them.

    A name that is an element's symbol (in any case: "CL", "Na") needs no entry.
    Raises FrameError naming those that are neither.
    """
    known = {name: elements.get(name, name.capitalize()) for name in dict.fromkeys(names)}
    wrong = [
        name for name, symbol in known.items() if symbol not in atomic_numbers or symbol == "X"
    ]
    if wrong:
        offered = " ".join(f"--element {name}={_likely_element(name)}" for name in wrong)
        raise FrameError(
            f"{path}: atom names {', '.join(wrong)} are no chemical elements: say which they are "
            f"(elements, on the command line for example {offered})"
        )
    return tuple(known[name] for name in names)


def _likely_element(name: str) -> str:
    """Return the element that a name most likely means, or a placeholder."""
    letters = "".join(character for character in name if character.isalpha()).upper()
    if letters in FORCE_FIELD_NAMES:
        return FORCE_FIELD_NAMES[letters]
    two, one = letters[:2].capitalize(), letters[:1]
    if two in ("Li", "Na", "Cl", "Br", "Cs", "Rb", "Mg", "Ca", "Zn"):
        return two
    return one if one and one in "HOKFICNSP" else "ELEMENT"


Reader = Callable[[Path, Path | None, int], Iterator[Frame]]


def _reader(path: Path, topology: Path | None) -> Reader:
    if topology is not None and not topology.is_file():
        raise FrameError(f"no such topology file: {topology}")
    if path.stat().st_size == 0:
        raise FrameError(f"{path} is empty, expected a trajectory")
    with path.open("rb") as file:
        if file.readline().strip() == LAMMPS_FIRST_LINE.encode():
            return _read_lammps
    if topology is not None or path.suffix.lower() in MDANALYSIS_SUFFIXES:
        return _read_mdanalysis
    return _read_xyz if path.suffix.lower() in {".xyz", ".extxyz"} else _read_ase


def _batches(frames: Iterator[Frame], size: int, path: Path) -> Iterator[list[Frame]]:
    """Collect frames; turn what readers raise on damaged files into one clear line."""
    batch: list[Frame] = []
    count = 0
    try:
        for frame in frames:
            batch.append(frame)
            count += 1
            if len(batch) == size:
                yield batch
                batch = []
    except FrameError:
        raise
    except GeneratorExit:
        return
    except Exception as error:  # the libraries raise a dozen types on damaged files
        raise FrameError(f"{path}: cannot be read after {count} frames: {error!r}") from error
    if batch:
        yield batch


def _check_frame(frame: Frame, first: Frame, cell: FloatArray | None, where: str) -> None:
    if len(frame.names) != len(first.names):
        raise FrameError(
            f"{where}: {len(frame.names)} atoms, {len(first.names)} in the first frame"
        )
    if frame.names != first.names:
        raise FrameError(f"{where}: the atoms or their order differ from the first frame")
    if not np.isfinite(frame.positions).all():
        raise FrameError(f"{where}: positions hold NaN or infinity")
    if cell is None and (frame.cell is None or not abs(np.linalg.det(frame.cell)) > 0):
        raise FrameError(f"{where}: no periodic cell; give it (cell, --cell-angstrom)")


def _chunk(
    batch: Sequence[Frame],
    symbols: tuple[str, ...],
    cell: FloatArray | None,
    frame_interval_ps: float | None,
    start: int,
    stride: int,
) -> TrajectoryChunk:
    times: FloatArray | None = None
    if frame_interval_ps is not None:
        times = np.float64(frame_interval_ps) * (start + stride * np.arange(len(batch)))
    elif all(frame.time_ps is not None for frame in batch):
        times = np.array([frame.time_ps for frame in batch], dtype=np.float64)
    velocities = [frame.velocities for frame in batch if frame.velocities is not None]
    return TrajectoryChunk(
        symbols=symbols,
        cell=compact_cells(np.array([frame.cell if cell is None else cell for frame in batch])),
        steps=np.array([frame.step for frame in batch], dtype=np.int64),
        times_ps=times,
        positions=np.array([frame.positions for frame in batch]),
        velocities=np.array(velocities) if len(velocities) == len(batch) else None,
    )


def _read_ase(path: Path, topology: Path | None, stride: int) -> Iterator[Frame]:
    images = ase.io.iread(path, index=slice(None, None, stride))
    for count, atoms in enumerate(images):
        yield _from_ase(atoms, tuple(atoms.symbols), count * stride)


def _from_ase(atoms: ase.Atoms, names: tuple[str, ...], step: int) -> Frame:
    time = atoms.info.get("time_ps")
    moving = atoms.has("momenta")
    return Frame(
        names=names,
        positions=atoms.positions,
        cell=atoms.cell.array if atoms.pbc.all() else None,
        step=step,
        time_ps=float(time) if isinstance(time, (int, float)) else None,
        velocities=atoms.get_velocities() * ase.units.fs if moving else None,
    )


def _read_xyz(path: Path, topology: Path | None, stride: int) -> Iterator[Frame]:
    _refuse_truncated_xyz(path)
    with path.open() as file:
        images = read_xyz(file, slice(None, None, stride), properties_parser=_names_as_labels)
        for count, atoms in enumerate(images):
            names = tuple(atoms.arrays.get("label", atoms.symbols))
            yield _from_ase(atoms, names, count * stride)


def _names_as_labels(comment: str) -> dict[str, Any]:
    """Parse a comment line so that ASE keeps the names in the file, elements or not."""
    info = key_val_str_to_dict(comment)
    columns = info.get("Properties", "species:S:1:pos:R:3")
    return {**info, "Properties": columns.replace("species:S:1", "label:S:1")}


def _refuse_truncated_xyz(path: Path) -> None:
    """Raise for what ASE passes over: text after a blank line, and a last line cut in a number."""
    with path.open() as file:
        count = 0
        try:
            for _ in read_xyz(file, slice(-1, None), properties_parser=_names_as_labels):
                pass
        except Exception as error:  # which frame is it?
            file.seek(0)
            images = read_xyz(file, slice(None), properties_parser=_names_as_labels)
            try:
                for count, _ in enumerate(images, start=1):  # noqa: B007
                    pass
            except Exception:
                raise FrameError(f"{path}, frame {count}: cut short or damaged: {error}") from error
        if any(line.strip() for line in file):
            raise FrameError(f"{path}: frames follow after a blank line; remove the line")
    with path.open("rb") as file:
        file.seek(-1, 2)
        if file.read() != b"\n":
            raise FrameError(f"{path}: the last line has no end, the file may be cut short")


def _read_mdanalysis(path: Path, topology: Path | None, stride: int) -> Iterator[Frame]:
    universe = _universe(path, topology)
    trajectory = universe.trajectory
    names = _atom_names(universe.atoms)
    timed = trajectory.format in TIMED_FORMATS
    _quietly(lambda: trajectory[len(trajectory) - 1])
    for index in range(0, len(trajectory), stride):
        ts = _quietly(lambda index=index: trajectory[index])  # type: ignore[misc]
        yield _from_timestep(ts, names, index, timed)


def _read_lammps(path: Path, topology: Path | None, stride: int) -> Iterator[Frame]:
    universe = _universe(path, topology, format="LAMMPSDUMP", additional_columns=["ix", "iy", "iz"])
    trajectory = universe.trajectory
    _refuse_truncated_dump(path, len(trajectory), len(universe.atoms))
    names = _atom_names(universe.atoms)
    unwrapped = "unwrapped" in trajectory.lammps_coordinate_convention
    for index in range(0, len(trajectory), stride):
        ts = _quietly(lambda index=index: trajectory[index])  # type: ignore[misc]
        frame = _from_timestep(ts, names, index, timed=False)
        yield frame if unwrapped or "ix" not in ts.data else _unwrapped(frame, ts.data)


def _universe(path: Path, topology: Path | None, **options: Any) -> Any:
    import MDAnalysis

    if topology is None and path.suffix.lower() in {".dcd", ".xtc", ".trr", ".nc", ".ncdf", ".tng"}:
        raise FrameError(f"{path} names no atoms: give a topology (topology, --topology)")
    if topology is None and "format" in options:
        options["topology_format"] = options["format"]
    try:
        return _quietly(
            lambda: MDAnalysis.Universe(str(topology or path), str(path), to_guess=(), **options)
        )
    except Exception as error:  # MDAnalysis raises a dozen types on damaged files
        raise FrameError(f"{path}: MDAnalysis cannot read it: {error!r}") from error


def _quietly(call: Callable[[], Any]) -> Any:
    """Call a reader without its remarks on guessed masses and missing time steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def _atom_names(atoms: Any) -> tuple[str, ...]:
    """Return elements where the topology has them, else names, else types."""
    for attribute in ("elements", "names", "types"):
        names = getattr(atoms, attribute, None)
        if names is not None and all(names):
            return tuple(str(name) for name in names)
    raise FrameError("the topology names neither elements, names nor types of the atoms")


def _from_timestep(ts: Any, names: tuple[str, ...], index: int, timed: bool) -> Frame:
    return Frame(
        names=names,
        positions=ts.positions.copy(),
        cell=None if ts.dimensions is None else np.array(ts.triclinic_dimensions, np.float64),
        step=int(ts.data.get("step", index)),
        time_ps=float(ts.time) if timed else None,
        velocities=ts.velocities / PS_IN_FS if ts.has_velocities else None,
    )


def _unwrapped(frame: Frame, columns: Mapping[str, Any]) -> Frame:
    """Apply LAMMPS' image flags (MDAnalysis does so for orthorhombic, unscaled boxes only)."""
    images = np.stack([columns[name] for name in ("ix", "iy", "iz")], axis=1)
    return Frame(
        frame.names,
        frame.positions + images @ frame.cell,
        frame.cell,
        frame.step,
        velocities=frame.velocities,
    )


def _refuse_truncated_dump(path: Path, n_frames: int, n_atoms: int) -> None:
    """Raise if lines are left over: MDAnalysis counts complete frames only."""
    with path.open("rb") as file:
        n_lines = sum(1 for _ in file)
    expected = n_frames * (n_atoms + 9)
    if n_lines != expected:
        raise FrameError(
            f"{path}, frame {n_frames}: cut short, or the number of atoms changes "
            f"({n_lines} lines, expected {expected} for {n_frames} frames of {n_atoms} atoms)"
        )
