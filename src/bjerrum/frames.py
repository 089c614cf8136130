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
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii, vdw_radii
from ase.io.formats import open_with_compression

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path

OVERLAP_DISTANCE = 0.5
"""Angstrom. No two nuclei of a condensed phase come this close (H2 is 0.74 angstrom long)."""

OH_BOND_LIMIT_ANGSTROM = 1.3
"""An O-H bond of water vibrates between 0.85 and 1.15 angstrom; the shortest hydrogen bonds have
1.4."""

COLLAPSED = 0.55
"""Of the contact distance. Two cations stay beyond 0.8 of it in any solution."""

_NONMETALS = frozenset(["H", "C", "N", "O", "F", "P", "S", "Cl", "Se", "Br", "I"])


def read_frames(path: Path, *, labelled: bool = False) -> list[Atoms]:
    """Read and check every frame of a structure file.

    path      any format that ASE reads
    labelled  also require finite forces, and energies where there are any
    Raises FrameError if the file is missing, damaged or cut short, or holds a frame that fails
    :func:`check_frame`.
    """
    path = Path(path)
    if not path.is_file():
        raise FrameError(f"{path}: expected a structure file, found none")
    if path.stat().st_size == 0:
        raise FrameError(f"{path}: expected at least one frame, found an empty file")
    try:
        _refuse_damaged_xyz(path)
        frames = list(ase.io.iread(path, index=":", do_not_split_by_at_sign=True))
    except FrameError:
        raise
    except Exception as error:  # ASE's readers raise a dozen types on damaged files
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise FrameError(f"{path}: cannot be read as a structure file ({reason})") from error
    if not frames:
        raise FrameError(f"{path}: expected at least one frame, found none")
    for index, atoms in enumerate(frames):
        check_frame(atoms, f"{path}, frame {index}", labelled=labelled)
    return frames


def _refuse_damaged_xyz(path: Path) -> None:
    """Raise FrameError for an (extended) XYZ file of which ASE would silently drop frames.

    That is one that ends inside a frame, or that has a blank line between frames.
    """
    if not {".xyz", ".extxyz"} & {suffix.lower() for suffix in path.suffixes[-2:]}:
        return
    with open_with_compression(str(path), "r") as lines:
        for index, header in enumerate(iter(lines.readline, "")):
            where = f"{path}, frame {index}"
            if not header.strip():
                if lines.read().strip():
                    raise FrameError(f"{where}: expected a number of atoms, got a blank line")
                return
            if not header.strip().isdecimal():
                got = header.strip()[:40]
                raise FrameError(f"{where}: expected a number of atoms, got {got!r}")
            n_lines = int(header) + 1
            if sum(1 for _ in zip(range(n_lines), lines, strict=False)) < n_lines:
                raise FrameError(
                    f"{where}: the file ends inside this frame; it was cut short, write or copy "
                    "it again"
                )


def check_frame(atoms: Atoms, where: str, *, labelled: bool = False) -> None:
    """Raise FrameError unless the frame is periodic, finite and without overlapping atoms.

    where     what to call the frame in the message, e.g. "frames.xyz, frame 3"
    labelled  also require finite forces, and an energy that is finite where there is one
    """
    if len(atoms) == 0:
        raise FrameError(f"{where}: expected atoms, found none")
    if not np.isfinite(atoms.cell.array).all():
        raise FrameError(f"{where}: the cell holds NaN or infinity")
    if abs(atoms.cell.volume) < 1e-6:
        raise FrameError(f'{where}: expected a periodic cell, found none; add Lattice="..."')
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
    for name, shape in (("forces", (len(atoms), 3)), ("energy", ())):
        if name not in results:
            continue
        label = np.asarray(results[name])
        if label.shape != shape or label.dtype.kind not in "fi":
            expected = "three numbers per atom" if shape else "one number"
            raise FrameError(
                f"{where}: expected {name} to be {expected}, got shape {label.shape}, {label.dtype}"
            )
        if not np.isfinite(label).all():
            raise FrameError(f"{where}: the {name} label holds NaN or infinity")


def _check_overlap(atoms: Atoms, where: str) -> None:
    import vesin  # loads torch: late, so that planning does without

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


def cell_heights(cell: FloatArray) -> FloatArray:
    """Return the heights of a cell along its three vectors, shape (3,), angstrom.

    The height along a cell vector is 1/|b|, b its reciprocal vector (a column of the inverse).

    cell  rows are the cell vectors, shape (3, 3), angstrom
    """
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0))


def require_box(cell: FloatArray, cutoff: float) -> None:
    """Raise InputError if the cell is thinner than twice the cutoff in any direction.

    cell    rows are the cell vectors, shape (3, 3), angstrom
    cutoff  angstrom
    """
    heights = cell_heights(cell)
    if heights.min() < 2 * cutoff:
        raise InputError(
            f"box: expected at least twice the model's cutoff ({2 * cutoff:g} angstrom) in every "
            f"direction, got {heights.min():.3f} angstrom; use more water molecules"
        )


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write frames as extended XYZ, atomically; positions and forces to eight decimals.

    Raises InputError or ExternalError as :func:`bjerrum.files.atomic_path` does.
    """
    with atomic_path(path) as temporary:
        ase.io.write(temporary, list(frames), format="extxyz")


def broken_waters(atoms: Atoms, *, bond_angstrom: float = OH_BOND_LIMIT_ANGSTROM) -> list[int]:
    """Return the oxygens that do not have exactly two hydrogens within ``bond_angstrom``.

    In a solution of water and ions alone each is a molecule that has lost or taken a proton.
    """
    symbols = np.array(atoms.get_chemical_symbols())
    oxygens, hydrogens = np.flatnonzero(symbols == "O"), np.flatnonzero(symbols == "H")
    broken = []
    for oxygen in oxygens:
        distances = atoms.get_distances(oxygen, hydrogens, mic=True) if len(hydrogens) else []
        if np.count_nonzero(np.asarray(distances) < bond_angstrom) != 2:
            broken.append(int(oxygen))
    return broken


def contact_distance(first: str, second: str) -> float:
    """Return the distance in angstrom at which two atoms of a solution touch.

    The sum of covalent radii (Cordero et al., Dalton Trans. 2008, 2832) for a metal with
    anything and for a bond to hydrogen: 1.94 for Li-O, 2.56 for Li-Li, 0.97 for O-H. The sum of
    van der Waals radii for other non-metals (Alvarez, Dalton Trans. 2013, 42, 8617; ASE's table):
    3.5 for Cl-Cl.
    """
    numbers = [atomic_numbers[first], atomic_numbers[second]]
    both_nonmetals = {first, second} <= _NONMETALS
    is_bond_to_hydrogen = (first == "H") != (second == "H")
    radii = vdw_radii if both_nonmetals and not is_bond_to_hydrogen else covalent_radii
    return float(sum(radii[z] for z in numbers))


def collapsed_pair(atoms: Atoms) -> tuple[str, float] | None:
    """Return the closest pair of metals inside COLLAPSED contact distances; None if none is.

    Returns its name, "K-K", and its distance in angstrom. Potentials with a well at contacts that
    nobody taught them leave such frames behind.
    """
    import vesin  # loads torch: late, so that planning does without

    symbols = np.array(atoms.get_chemical_symbols())
    metals = sorted(set(symbols) - _NONMETALS)
    reach = {(a, b): COLLAPSED * contact_distance(a, b) for a in metals for b in metals}
    if not reach:
        return None
    first, second, distance = vesin.NeighborList(
        cutoff=max(reach.values()), full_list=True
    ).compute(atoms.positions, atoms.cell.array, periodic=atoms.pbc.any(), quantities="ijd")
    found = [
        (float(r), f"{symbols[i]}-{symbols[j]}")
        for i, j, r in zip(first, second, distance, strict=True)
        if r < reach.get((symbols[i], symbols[j]), 0.0)
    ]
    return None if not found else (min(found)[1], min(found)[0])
