"""Restart points of a trajectory on disk: one file per chunk, whole or not there.

Each file says which run it belongs to. Before a run goes on, all of them are read through once
(checksums, run, steps), so that a damaged or foreign one is refused before anything is computed.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.dynamics.settings import Dynamics
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.files import atomic_path


@dataclass(frozen=True)
class End:
    """The exact state at the end of a chunk: shapes (n_atoms, 3), (n_atoms, 3), (3, 3).

    seen_energy  eV, at the last look of the watch; None before the first
    """

    positions: FloatArray
    velocities: FloatArray
    cell: FloatArray
    seen_energy: float | None = None


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


@dataclass(frozen=True)
class Identity:
    """Which run a chunk belongs to.

    run        hash of what determines its numbers, see :func:`identity_of`
    dynamics   how many steps each chunk has
    n_atoms    of its box
    """

    run: str
    dynamics: Dynamics
    n_atoms: int

    def steps_of(self, index: int) -> tuple[int, int]:
        """Return the first and the last step at which this chunk has a frame."""
        stride, per_chunk = self.dynamics.frame_stride, self.dynamics.chunk_frames
        first, last = index * per_chunk, min((index + 1) * per_chunk, self.dynamics.n_frames)
        return (first + 1) * stride, last * stride


NOT_NUMBERS = ("evaluation",)
"""Facts of a run that may change on its way: it may begin on the CPU and go on on a card."""


def identity_of(
    atoms: Atoms, dynamics: Dynamics, facts: dict[str, Any], velocities: FloatArray | None = None
) -> Identity:
    """Return what a run is: atoms, first positions and velocities, settings but its length, facts.

    facts  of the model, for instance the hash of its weights, and whether the run is watched
    """
    settings = {name: value for name, value in asdict(dynamics).items() if name != "n_steps"}
    known = {name: value for name, value in facts.items() if name not in NOT_NUMBERS}
    text = json.dumps([list(atoms.symbols), settings, known], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for array in (atoms.positions, atoms.cell.array, velocities):
        if array is not None:
            digest.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return Identity(digest.hexdigest()[:16], dynamics, len(atoms))


_OPTIONAL = ("cells", "velocities", "flagged", "flagged_cells")


def _path(folder: Path, index: int) -> Path:
    return folder / f"chunk-{index:06d}.npz"


def write_chunk(folder: Path, index: int, chunk: Chunk, run: str) -> None:
    """Write the chunk with this number, atomically; ``run`` says to which run it belongs."""
    arrays: dict[str, Any] = {
        "steps": chunk.steps,
        "positions": chunk.positions,
        "end_positions": chunk.end.positions,
        "end_velocities": chunk.end.velocities,
        "end_cell": chunk.end.cell,
        "run": np.array(run),
        "events": np.array(json.dumps(chunk.events)),
    }
    arrays |= {name: getattr(chunk, name) for name in _OPTIONAL if getattr(chunk, name) is not None}
    if chunk.end.seen_energy is not None:
        arrays["end_seen_energy"] = np.array(chunk.end.seen_energy)
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
                _end(data),
                events=json.loads(str(data["events"])),
                **{name: data[name] for name in _OPTIONAL if name in data.files},
            )
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _end(data: Any) -> End:
    seen = float(data["end_seen_energy"]) if "end_seen_energy" in data.files else None
    return End(data["end_positions"], data["end_velocities"], data["end_cell"], seen)


_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
_REMEDY = "remove it and the later ones to go on from the one before"


def _damaged(path: Path, error: Exception | str) -> InputError:
    return InputError(
        f"{path}: is no restart file of this version, truncated perhaps ({error}); {_REMEDY}"
    )


def verified_chunks(folder: Path, identity: Identity) -> list[Path]:
    """Return the files of the chunks that are done, each whole and of this run.

    Every byte is read for its checksum, no array is kept. Files of versions that did not write
    which run they belong to are known by their atoms and steps. Raises InputError, and touches
    nothing, for a damaged or foreign one.
    """
    paths = completed_chunks(folder)
    for index, path in enumerate(paths):
        try:
            with zipfile.ZipFile(path) as file:
                bad = file.testzip()
            if bad is not None:
                raise _damaged(path, f"the checksum of {bad} is wrong")
            with np.load(path, allow_pickle=False) as data:
                run = str(data["run"]) if "run" in data.files else identity.run
                steps, n_atoms = data["steps"], len(data["end_positions"])
        except InputError:
            raise
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        _require_own(path, index, identity, (run, steps, n_atoms))
    return paths


def _require_own(
    path: Path, index: int, identity: Identity, found: tuple[str, IntArray, int]
) -> None:
    run, steps, n_atoms = found
    if n_atoms != identity.n_atoms:
        why = f"of {n_atoms} atoms, expected {identity.n_atoms}"
    elif run != identity.run:
        why = "of another box, seed, model or setting"
    elif (int(steps[0]), int(steps[-1])) != identity.steps_of(index):
        first, last = identity.steps_of(index)
        why = f"with steps {steps[0]} to {steps[-1]}, expected {first} to {last}"
    else:
        return
    raise InputError(f"{path}: belongs to another run, {why}; {_REMEDY}")


def read_chunks(folder: Path) -> Iterator[Chunk]:
    """Read all chunks of a folder, one at a time."""
    for path in completed_chunks(folder):
        yield read_chunk(path)


def remove_chunks(folder: Path) -> None:
    """Remove the chunks of a run that is finished, with or without gaps."""
    for path in folder.glob("chunk-*.npz"):
        path.unlink()
