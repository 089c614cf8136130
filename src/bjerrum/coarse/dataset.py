"""From an all-atom trajectory to an ordinary data set of ions: the arrow that closes the loop.

A frame keeps the ions, their positions and, as labels, the forces that the all-atom model exerts on
them, less noise (:mod:`bjerrum.coarse.variates`) and less the screened Coulomb baseline. The mean
of such a label at given ions is minus the gradient of the effective potential (Izvekov and Voth,
J. Phys. Chem. B 109, 2469 (2005)). There are no energies: those of single frames are noise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.coarse.potential import require_neutral
from bjerrum.coarse.sources import (
    ForceFrames,
    first_frame,
    iterate_forces,
    orthorhombic_edges,
    read_xyz,
)
from bjerrum.coarse.variates import ControlVariates, fit_control_variates
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path, sha256_of
from bjerrum.potential.protocol import ForceFunction, Potential

METHOD: Final = "mean force of ions"
BASELINE_KEY: Final = "baseline"
TEMPERATURE_KEY: Final = "temperature_K"
FRAMES_FOR_VARIATES: Final = 100
"""Frames from which the noise reduction takes its few dozen multiples, at most, spread evenly."""

Announce = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One all-atom trajectory: its file, where the atoms' names are, what gives its forces."""

    path: Path
    topology: Path | None = None
    model: Potential | None = None
    stride: int = 1
    skip_ps: float = 0.0

    def first_frame(self) -> tuple[tuple[str, ...], FloatArray]:
        """Return elements and edges of the first frame, computing no forces."""
        return first_frame(self.path, topology=self.topology, with_model=self.model is not None)

    def chunks(self) -> Iterator[ForceFrames]:
        """Yield its frames with forces."""
        return iterate_forces(
            self.path,
            topology=self.topology,
            model=self.model,
            stride=self.stride,
            skip_ps=self.skip_ps,
        )


@dataclass(frozen=True, eq=False)
class IonData:
    """Ions-only frames of one or several systems, as chunks of arrays.

    chunks       positions (angstrom) and mean-force labels without baseline (eV/angstrom)
    baseline     what was subtracted
    temperature  K
    """

    chunks: tuple[ForceFrames, ...]
    baseline: ScreenedCoulomb
    temperature: float
    source: str
    sha256: str

    @property
    def elements(self) -> tuple[str, ...]:
        """The ions, in alphabetical order."""
        return tuple(sorted({s for chunk in self.chunks for s in chunk.symbols}))

    @property
    def n_frames(self) -> int:
        """All frames."""
        return sum(len(chunk.positions) for chunk in self.chunks)


def make_dataset(
    sources: Sequence[Source],
    output: Path,
    *,
    baseline: ScreenedCoulomb,
    temperature: float,
    reduce_noise: bool = True,
    announce: Announce = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Write the ions of all-atom trajectories with their mean-force labels as extended XYZ.

    Streaming: memory holds a chunk of each trajectory at a time.
    Returns n_frames, and rms label with and without noise reduction by element, meV/angstrom.
    Raises InputError for trajectories without forces or ions, and for a net charge.
    """
    elements = tuple(element for element, _ in baseline.charges)
    require_usable(sources, baseline)
    variates = _variates(sources, elements, temperature, announce) if reduce_noise else None
    sums = {e: np.zeros(3) for e in elements}
    written = 0
    with atomic_path(output) as temporary:
        for number, source in enumerate(sources):
            announce("Coarse-graining", number, len(sources))
            for frames in source.chunks():
                ions = ions_of(frames.symbols, elements, source.path)
                _require_neutral(frames.symbols, baseline, source.path)
                reduced = frames if variates is None else variates.reduce(frames, temperature)
                _add_squares(sums, frames, reduced)
                batch = _labelled(reduced.of_atoms(ions), baseline, temperature)
                ase.io.write(temporary, batch, format="extxyz", append=True)
                written += len(batch)
        announce("Coarse-graining", len(sources), len(sources))
    if written == 0:
        raise InputError("no frames with forces: shorten --skip-ps or lower --stride")
    return {"n_frames": written, "label_rms_meV_per_angstrom": _rms(sums)}


def require_usable(
    sources: Sequence[Source], baseline: ScreenedCoulomb, *, cutoff: float | None = None
) -> None:
    """Look at the first frame of every trajectory, before anything long begins.

    cutoff  of the pair functions, angstrom, where a model is to be made: the boxes must then be
            cubic, twice as wide, and hold one kind of cation and one of anion
    Raises InputError for a frame that cannot be used.
    """
    elements = tuple(element for element, _ in baseline.charges)
    for source in sources:
        symbols, edges = source.first_frame()
        ions = ions_of(symbols, elements, source.path)
        _require_neutral(symbols, baseline, source.path)
        if cutoff is not None:
            kinds = sorted({symbols[k] for k in ions})
            _require_a_salt_in_a_cube(kinds, edges, cutoff, source.path)


def _require_a_salt_in_a_cube(
    kinds: Sequence[str], edges: FloatArray, cutoff: float, path: Path
) -> None:
    if len(kinds) != 2:
        raise InputError(f"{path}: expected one cation and one anion, got {', '.join(kinds)}")
    if np.ptp(edges) > 1e-3:
        raise InputError(f"{path}: expected a cubic box, got edges of {edges.round(3).tolist()}")
    if edges[0] < 2 * cutoff:
        raise InputError(
            f"{path}: expected a box of {2 * cutoff:g} angstrom or more, twice the cutoff of the "
            f"pair functions, got {edges[0]:.2f}"
        )


def ions_of(symbols: Sequence[str], elements: Sequence[str], path: Path) -> Any:
    """Return the indices of the ions; InputError where a frame holds none."""
    ions = np.flatnonzero(np.isin(symbols, elements))
    if not len(ions):
        raise InputError(f"{path}: expected ions out of {', '.join(elements)}, found none")
    return ions


def _require_neutral(symbols: Sequence[str], baseline: ScreenedCoulomb, path: Path) -> None:
    charge_of = dict(baseline.charges)
    try:
        require_neutral(np.array([charge_of.get(symbol, 0.0) for symbol in symbols]))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _variates(
    sources: Sequence[Source], elements: tuple[str, ...], temperature: float, announce: Announce
) -> ControlVariates | None:
    """Return the noise reduction; None for trajectories of ions alone."""
    announce("Noise reduction", 0, 1)
    sample = [frames for frames in _sample(sources) if "O" in frames.symbols]
    if not sample:
        return None
    found = fit_control_variates(sample, elements, temperature)
    announce("Noise reduction", 1, 1)
    return found


def _sample(sources: Sequence[Source]) -> Iterator[ForceFrames]:
    """Yield about FRAMES_FOR_VARIATES frames spread over the trajectories."""
    share = max(1, FRAMES_FOR_VARIATES // len(sources))
    for source in sources:
        sparse = Source(
            path=source.path,
            topology=source.topology,
            model=None if source.path.suffix in {".xyz", ".extxyz"} else source.model,
            stride=source.stride * _thinning(source, share),
            skip_ps=source.skip_ps,
        )
        yield from sparse.chunks()


def _thinning(source: Source, share: int) -> int:
    if source.model is not None and source.path.suffix not in {".xyz", ".extxyz"}:
        return 10
    n_frames = sum(len(chunk.positions) for chunk in source.chunks())
    return max(1, n_frames // share)


def _add_squares(sums: dict[str, FloatArray], raw: ForceFrames, reduced: ForceFrames) -> None:
    for element, total in sums.items():
        mine = np.array(raw.symbols) == element
        total += (
            (raw.forces[:, mine] ** 2).sum(),
            (reduced.forces[:, mine] ** 2).sum(),
            raw.forces[:, mine].size,
        )


def _rms(sums: dict[str, FloatArray]) -> dict[str, dict[str, float]]:
    return {
        element: {
            "all_atom": 1e3 * float(np.sqrt(raw / n)),
            "reduced": 1e3 * float(np.sqrt(reduced / n)),
        }
        for element, (raw, reduced, n) in sums.items()
        if n
    }


def _labelled(frames: ForceFrames, baseline: ScreenedCoulomb, temperature: float) -> list[Atoms]:
    bound, last = None, None
    result = []
    for edges, positions, forces, block in zip(
        frames.edges, frames.positions, frames.forces, frames.blocks, strict=True
    ):
        if bound is None or last is None or (edges != last).any():
            bound, last = _coulomb(baseline, list(frames.symbols), np.diag(edges)), edges
        atoms = Atoms(list(frames.symbols), positions, cell=edges, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, forces=forces - bound(positions).forces)
        atoms.info = {
            "block": block,
            "method": METHOD,
            BASELINE_KEY: json.dumps(baseline.to_json()),
            TEMPERATURE_KEY: temperature,
        }
        result.append(atoms)
    return result


def _coulomb(baseline: ScreenedCoulomb, symbols: list[str], cell: FloatArray) -> ForceFunction:
    """Return the forces of the baseline: compiled, where there is a C++ compiler."""
    from bjerrum.potential.fused.compiler import NoCompiler
    from bjerrum.potential.fused.coulomb import BoundEwald

    try:
        return BoundEwald(baseline, symbols, cell)
    except NoCompiler:
        return baseline.bind(symbols, cell)


def load_ions(path: Path, *, baseline: ScreenedCoulomb | None = None) -> IonData:
    """Read what :func:`make_dataset` wrote.

    baseline  the one that the caller intends to add back
    Raises InputError for another kind of data set, and for another baseline than was subtracted.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    groups: dict[Any, list[Atoms]] = {}
    boxes: dict[Any, Any] = {}
    kinds: set[tuple[str, float]] = set()
    for number, atoms in enumerate(read_xyz(path)):
        if atoms.info.get("method") != METHOD or BASELINE_KEY not in atoms.info:
            raise InputError(
                f"{path}, frame {number}: is no data set of ions as `bjerrum coarsen` writes it"
            )
        kinds.add((json.dumps(_plain(atoms.info[BASELINE_KEY])), atoms.info[TEMPERATURE_KEY]))
        symbols = tuple(atoms.get_chemical_symbols())
        trajectory = str(atoms.info["block"]).rpartition(":")[0]
        box = tuple(atoms.cell.lengths().round(3))
        groups.setdefault((symbols, boxes.setdefault((symbols, trajectory), box)), []).append(atoms)
    if len(kinds) != 1:
        raise InputError(f"{path}: expected one baseline and temperature, got {len(kinds)}")
    text, temperature = next(iter(kinds))
    own = ScreenedCoulomb.from_json(json.loads(text))
    if baseline is not None and baseline != own:
        raise InputError(
            f"{path}: the baseline subtracted from the labels is ({own}), asked to add "
            f"({baseline}); use the same, or coarsen the trajectory again"
        )
    chunks = tuple(_chunk_of(symbols, frames, path) for (symbols, _), frames in groups.items())
    return IonData(chunks, own, float(temperature), path.name, sha256_of(path))


def merge_ions(parts: Sequence[IonData]) -> IonData:
    """Return several data sets as one: the trajectories of one composition and box together.

    Raises InputError for different baselines or temperatures.
    """
    first = parts[0]
    if any((p.baseline, p.temperature) != (first.baseline, first.temperature) for p in parts):
        raise InputError("data sets of ions: expected one baseline and one temperature in all")
    if len(parts) == 1:
        return first
    groups: dict[Any, list[ForceFrames]] = {}
    for chunk in (chunk for part in parts for chunk in part.chunks):
        groups.setdefault((chunk.symbols, tuple(chunk.edges[0].round(3))), []).append(chunk)
    names = ", ".join(part.source for part in parts)
    digest = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
    chunks = tuple(_joined(chunks) for chunks in groups.values())
    return IonData(chunks, first.baseline, first.temperature, names, digest)


def _joined(chunks: Sequence[ForceFrames]) -> ForceFrames:
    return ForceFrames(
        chunks[0].symbols,
        np.concatenate([chunk.edges for chunk in chunks]),
        np.concatenate([chunk.positions for chunk in chunks]),
        np.concatenate([chunk.forces for chunk in chunks]),
        tuple(block for chunk in chunks for block in chunk.blocks),
    )


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _chunk_of(symbols: tuple[str, ...], frames: list[Atoms], path: Path) -> ForceFrames:
    for number, atoms in enumerate(frames):
        if not np.isfinite(atoms.get_forces()).all():
            raise FrameError(f"{path}: frame {number} of {atoms.symbols} holds NaN or infinity")
    return ForceFrames(
        symbols,
        np.array([orthorhombic_edges(atoms.cell.array, str(path)) for atoms in frames]),
        np.array([atoms.positions for atoms in frames]),
        np.array([atoms.get_forces() for atoms in frames]),
        tuple(str(atoms.info["block"]) for atoms in frames),
    )
