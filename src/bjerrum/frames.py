"""Structure files in and out, refused early when they cannot be used.

Frames are :class:`ase.Atoms`; labelled frames on disk are extended XYZ with ``energy`` in eV and
``forces`` in eV/angstrom. Parsing is ASE's. What ASE lets pass and would later show up as a
strange number (a file cut short, NaN, no cell, atoms on top of each other) is refused here, with
the file, the frame and the figure that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
import vesin
from ase import Atoms

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path

OVERLAP_DISTANCE = 0.5
"""Angstrom. No two nuclei of a condensed phase come this close (H2 is 0.74 angstrom long)."""


def read_frames(path: Path, *, labelled: bool = False) -> list[Atoms]:
    """Read and check every frame of a structure file.

    path      any format that ASE reads
    labelled  also require finite energies or forces
    Raises FrameError if the file is missing, truncated, or holds a frame that fails
    :func:`check_frame`.
    """
    path = Path(path)
    if not path.is_file():
        raise FrameError(f"{path}: expected a structure file, found none")
    _refuse_truncated_xyz(path)
    try:
        frames = list(ase.io.iread(path, index=":"))
    except Exception as error:  # ASE's readers raise a dozen types on damaged files
        raise FrameError(f"{path}: cannot be read as a structure file: {error}") from error
    if not frames:
        raise FrameError(f"{path}: expected at least one frame, found none")
    for index, atoms in enumerate(frames):
        check_frame(atoms, f"{path}, frame {index}", labelled=labelled)
    return frames


def _refuse_truncated_xyz(path: Path) -> None:
    """Raise if an (extended) XYZ file ends inside a frame; ASE would drop that frame silently."""
    if path.suffix not in {".xyz", ".extxyz"}:
        return
    with path.open() as lines:
        for index, header in enumerate(iter(lines.readline, "")):
            if not header.strip():
                continue
            try:
                n_lines = int(header) + 1
            except ValueError:
                got = header.strip()[:40]
                raise FrameError(
                    f"{path}, frame {index}: expected a number of atoms, got {got!r}"
                ) from None
            if sum(1 for _ in zip(range(n_lines), lines, strict=False)) < n_lines:
                raise FrameError(
                    f"{path}, frame {index}: the file ends inside this frame; it was cut short, "
                    "write or copy it again"
                )


def check_frame(atoms: Atoms, where: str, *, labelled: bool = False) -> None:
    """Raise FrameError unless the frame is periodic, finite and without overlapping atoms.

    where  what to call the frame in the message, e.g. "frames.xyz, frame 3"
    """
    if len(atoms) == 0:
        raise FrameError(f"{where}: expected atoms, found none")
    if abs(atoms.cell.volume) < 1e-6 or not np.isfinite(atoms.cell.array).all():
        raise FrameError(f"{where}: expected a periodic cell, found none; add Lattice=... ")
    if not atoms.pbc.all():
        raise FrameError(f'{where}: expected periodicity in x, y and z; set pbc="T T T"')
    if not np.isfinite(atoms.positions).all():
        raise FrameError(f"{where}: positions hold NaN or infinity")
    if labelled:
        _check_labels(atoms, where)
    _check_overlap(atoms, where)


def _check_labels(atoms: Atoms, where: str) -> None:
    results = atoms.calc.results if atoms.calc is not None else {}
    if "forces" not in results:
        raise FrameError(f"{where}: expected forces (eV/angstrom), found none")
    for name in ("forces", "energy"):
        if name in results and not np.isfinite(results[name]).all():
            raise FrameError(f"{where}: the {name} label holds NaN or infinity")


def _check_overlap(atoms: Atoms, where: str) -> None:
    search = vesin.NeighborList(cutoff=OVERLAP_DISTANCE, full_list=False)
    first, second, distance = search.compute(
        atoms.positions, atoms.cell.array, periodic=True, quantities="ijd"
    )
    if len(distance):
        k = int(np.argmin(distance))
        i, j = int(first[k]), int(second[k])
        raise FrameError(
            f"{where}: atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) overlap, "
            f"{distance[k]:.3f} angstrom apart (limit {OVERLAP_DISTANCE})"
        )


def require_box(cell: FloatArray, cutoff: float) -> None:
    """Raise InputError if the cell is thinner than twice the cutoff (angstrom) in any direction."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    if heights.min() < 2 * cutoff:
        raise InputError(
            f"box: expected at least twice the model's cutoff ({2 * cutoff:g} angstrom) in every "
            f"direction, got {heights.min():.3f} angstrom; use more water molecules"
        )


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write frames as extended XYZ, atomically."""
    with atomic_path(path) as temporary:
        ase.io.write(temporary, list(frames), format="extxyz")
