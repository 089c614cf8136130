"""All-atom configurations with the forces on every atom, streamed from any file that has them.

A :class:`ForceFrames` chunk is what coarse-graining starts from: labelled extended XYZ, any format
in which MDAnalysis finds forces (GROMACS' TRR, AMBER's NetCDF, H5MD), or a trajectory without
forces together with a model that gives them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase.data import atomic_numbers

from bjerrum.dataset import BLOCK_KEYS
from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray
from bjerrum.trajectory import iterate_frames, without_marked
from bjerrum.units import KJ_PER_MOL_IN_EV

if TYPE_CHECKING:
    from ase import Atoms

    from bjerrum.potential.protocol import Potential

CHUNK_FRAMES: Final = 50
_XYZ: Final = {".xyz", ".extxyz"}
_BLOCKS_OF_A_TRAJECTORY: Final = 10


@dataclass(frozen=True, eq=False)
class ForceFrames:
    """Configurations of one system with forces.

    symbols    elements, (n_atoms,)
    edges      of the orthorhombic cell, angstrom, (n_frames, 3)
    positions  angstrom, (n_frames, n_atoms, 3)
    forces     eV/angstrom, totals, the same shape
    blocks     the stretch of trajectory that each frame belongs to
    """

    symbols: tuple[str, ...]
    edges: FloatArray
    positions: FloatArray
    forces: FloatArray
    blocks: tuple[str, ...]

    def of_atoms(self, chosen: FloatArray) -> ForceFrames:
        """Return the same frames with the atoms of these indices alone."""
        symbols = tuple(self.symbols[k] for k in chosen)
        return ForceFrames(
            symbols, self.edges, self.positions[:, chosen], self.forces[:, chosen], self.blocks
        )


def iterate_forces(
    path: Path,
    *,
    topology: Path | None = None,
    model: Potential | None = None,
    stride: int = 1,
    skip_ps: float = 0.0,
) -> Iterator[ForceFrames]:
    """Yield chunks of frames with forces.

    topology  file with the atoms' names, for TRR and the like
    model     computes the forces where the trajectory has none
    stride    every ``stride``-th frame
    skip_ps   left out at the beginning of a trajectory that knows its times
    Frames that the watchdog of the dynamics marked are left out.
    Raises InputError for a trajectory without forces (and no model), FrameError for damaged frames.
    """
    if stride < 1:
        raise InputError(f"--stride: expected 1 or more, got {stride}")
    if not Path(path).is_file():
        raise InputError(f"no such file: {path}")
    if path.suffix.lower() in _XYZ:
        yield from _labelled(path, stride)
    elif model is not None:
        yield from _computed(path, topology, model, stride, skip_ps)
    else:
        yield from _stored(path, topology, stride, skip_ps)


def no_forces(path: Path) -> InputError:
    """Return the refusal of a trajectory without forces."""
    return InputError(
        f"{path}: holds no forces, and coarse-graining learns from forces; name the potential that "
        "made it with --model, or give labelled frames or a trajectory with forces"
    )


def orthorhombic_edges(cell: FloatArray, where: str) -> FloatArray:
    """Return the edges of a cell (3, 3); FrameError unless it is orthorhombic."""
    edges = np.diag(cell).astype(np.float64)
    if np.abs(cell - np.diag(edges)).max() > 1e-4 * np.abs(edges).max() or edges.min() <= 0:
        raise FrameError(f"{where}: expected an orthorhombic cell, got {cell.round(3).tolist()}")
    return edges


def read_xyz(path: Path) -> Iterator[Atoms]:
    """Yield the frames of an extended XYZ file; FrameError for anything else or a damaged one."""
    import ase.io

    number = 0
    try:
        for atoms in ase.io.iread(path, index=":", format="extxyz"):
            yield atoms
            number += 1
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise FrameError(
            f"{path}, frame {number}: cannot be read as extended XYZ: {error}"
        ) from error


def first_frame(
    path: Path, *, topology: Path | None = None, with_model: bool = False
) -> tuple[tuple[str, ...], FloatArray]:
    """Return elements and edges (angstrom) of the first frame, computing no forces.

    Raises what :func:`iterate_forces` raises for the first frame.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    if path.suffix.lower() in _XYZ:
        atoms = next(read_xyz(path), None)
        if atoms is None:
            raise FrameError(f"{path}: holds no frames")
        found = _from_atoms([atoms], path, first=0)
        return found.symbols, found.edges[0]
    if with_model:
        chunk = next(iter(iterate_frames(path, topology=topology, chunk_frames=1)))
        return tuple(chunk.symbols), orthorhombic_edges(chunk.cells[0], str(path))
    universe = _universe(path, topology)
    step = universe.trajectory.ts
    if not step.has_forces:
        raise no_forces(path)
    symbols = tuple(_element(name) for name in universe.atoms.names)
    return symbols, orthorhombic_edges(step.triclinic_dimensions, f"{path}, frame 0")


def _labelled(path: Path, stride: int) -> Iterator[ForceFrames]:
    frames = itertools.islice(read_xyz(path), 0, None, stride)
    for index, group in itertools.groupby(enumerate(frames), _same_system(CHUNK_FRAMES)):
        batch = [atoms for _, atoms in group]
        yield _from_atoms(batch, path, first=index[0] * CHUNK_FRAMES)


def _same_system(size: int) -> Any:
    def key(item: tuple[int, Atoms]) -> tuple[int, str]:
        number, atoms = item
        return number // size, str(atoms.symbols)

    return key


def _from_atoms(batch: list[Atoms], path: Path, first: int) -> ForceFrames:
    forces = []
    for number, atoms in enumerate(batch, start=first):
        where = f"{path}, frame {number}"
        found = atoms.calc.results.get("forces") if atoms.calc is not None else None
        if found is None:
            raise InputError(f"{where}: expected forces (eV/angstrom), found none")
        if not (np.isfinite(found).all() and np.isfinite(atoms.positions).all()):
            raise FrameError(f"{where}: positions or forces hold NaN or infinity")
        forces.append(found)
    edges = [orthorhombic_edges(atoms.cell.array, str(path)) for atoms in batch]
    return ForceFrames(
        tuple(batch[0].get_chemical_symbols()),
        np.array(edges),
        np.array([atoms.positions for atoms in batch]),
        np.array(forces),
        tuple(_block(atoms, path, first) for atoms in batch),
    )


def _block(atoms: Atoms, path: Path, first: int) -> str:
    for key in BLOCK_KEYS:
        if key in atoms.info:
            return f"{path.stem}:{atoms.info[key]}"
    return f"{path.stem}:{first}"


def _computed(
    path: Path, topology: Path | None, model: Potential, stride: int, skip_ps: float
) -> Iterator[ForceFrames]:
    force, number = None, 0
    chunks = iterate_frames(path, topology=topology, stride=stride, chunk_frames=CHUNK_FRAMES)
    for chunk in without_marked(chunks):
        late = np.ones(chunk.n_frames, bool)
        if chunk.times_ps is not None:
            late = np.asarray(chunk.times_ps) >= skip_ps
        positions = np.asarray(chunk.positions, dtype=np.float64)[late]
        if not len(positions):
            continue
        cells = chunk.cells[late]
        edges = np.array([orthorhombic_edges(cell, str(path)) for cell in cells])
        if force is None:
            force = model.bind(list(chunk.symbols), cells[0])
            first = edges[0]
        if np.abs(edges - first).max() > 1e-6:
            raise FrameError(f"{path}: the cell changes; a model needs a constant one")
        forces = np.array([force(frame).forces for frame in positions])
        blocks = tuple([f"{path.stem}:{number}"] * len(positions))
        number += 1
        yield ForceFrames(chunk.symbols, edges, positions, forces, blocks)


def _stored(
    path: Path, topology: Path | None, stride: int, skip_ps: float
) -> Iterator[ForceFrames]:
    universe = _universe(path, topology)
    trajectory = universe.trajectory
    if not trajectory.ts.has_forces:
        raise no_forces(path)
    symbols = tuple(_element(name) for name in universe.atoms.names)
    length = max(1, len(range(0, len(trajectory), stride)) // _BLOCKS_OF_A_TRAJECTORY)
    batch: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    number = 0
    for index, step in enumerate(trajectory[::stride]):
        if step.time < skip_ps or not step.has_forces:
            continue
        edges = orthorhombic_edges(step.triclinic_dimensions, f"{path}, frame {index}")
        batch.append((edges, step.positions.astype(float), step.forces * KJ_PER_MOL_IN_EV))
        if len(batch) == min(CHUNK_FRAMES, length):
            yield _chunk(symbols, batch, f"{path.stem}:{number * len(batch) // length}")
            batch, number = [], number + 1
    if batch:
        yield _chunk(symbols, batch, f"{path.stem}:{number * CHUNK_FRAMES // length}")


def _universe(path: Path, topology: Path | None) -> Any:
    """Return MDAnalysis' view of a trajectory, without its remarks on missing masses and types.

    Raises InputError that tells missing names, another number of atoms and missing forces apart.
    """
    import warnings

    import MDAnalysis

    if topology is not None and not topology.is_file():
        raise InputError(f"no such file: {topology}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(*(str(p) for p in (topology, path) if p is not None))
            universe.trajectory[0]
    except Exception as error:  # MDAnalysis raises a dozen types
        numbers = re.findall(r"umber of atoms:? (\d+)", str(error))
        if len(numbers) == 2:
            raise InputError(
                f"{path}: the topology {topology} has {numbers[0]} atoms, the trajectory "
                f"{numbers[1]}; give the one that it was made with"
            ) from error
        if topology is None:
            raise no_forces(path) from error
        raise InputError(f"{path}: cannot be read with {topology}: {error}") from error
    if not hasattr(universe.atoms, "names"):
        raise InputError(f"{path} names no atoms: give a topology (--topology)")
    return universe


def _element(name: str) -> str:
    """Return the element of an atom's name: "H1", "HW2" -> H, "NA" -> Na, "CL-" -> Cl."""
    letters = re.sub("[^A-Za-z]", "", name).capitalize()
    return letters if letters in atomic_numbers else letters[:1]


def _chunk(
    symbols: tuple[str, ...], batch: list[tuple[FloatArray, FloatArray, FloatArray]], block: str
) -> ForceFrames:
    edges, positions, forces = (np.array(column) for column in zip(*batch, strict=True))
    return ForceFrames(symbols, edges, positions, forces, tuple([block] * len(batch)))
