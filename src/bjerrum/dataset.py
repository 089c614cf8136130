"""Labelled frames with their provenance: what a potential is trained and judged on.

A :class:`Dataset` is an immutable list of frames from one level of theory. It is split by block
(frames of one trajectory are correlated, so neighbours must never straddle training and test),
and the Coulomb baseline is subtracted before training. Energies are totals and stay in float64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import FrameError, InputError
from bjerrum.files import sha256_of
from bjerrum.frames import check_frame, collapsed_pair, read_frames

ABSURD_FORCE = 100.0
"""eV/angstrom. Thermal forces on any atom of a liquid stay below a tenth of this."""

BLOCK_KEYS = ("block", "seed", "trajectory")
"""Frame keys that name the trajectory block a frame belongs to, in order of preference."""

UNNAMED_BLOCKS = 20
"""Contiguous stretches into which frames are cut that name no block."""

LEVEL_KEYS = ("method", "settings_hash")
"""Frame keys that together name the level of theory of a label."""

MIN_TRAINING_FRAMES = 4
"""Fewer say nothing about a liquid: their errors would be of one configuration."""


@dataclass(frozen=True)
class Dataset:
    """Labelled frames, the block each belongs to, and where they come from.

    frames  energies (eV) and forces (eV/angstrom) in ``atoms.calc``
    blocks  one name per frame
    method  the level of theory, one for all frames
    source  file name
    sha256  of the file's bytes
    """

    frames: tuple[Atoms, ...]
    blocks: tuple[str, ...]
    method: str
    source: str
    sha256: str

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements present, in alphabetical order."""
        return tuple(sorted({s for atoms in self.frames for s in set(atoms.symbols)}))

    def of_blocks(self, blocks: Sequence[str]) -> list[Atoms]:
        """Return the frames that belong to ``blocks``, in file order."""
        wanted = set(blocks)
        return [a for a, b in zip(self.frames, self.blocks, strict=True) if b in wanted]


@dataclass(frozen=True)
class Split:
    """Disjoint sets of blocks."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def load_dataset(path: Path, *, mixed: bool = False, close_pairs: bool = False) -> Dataset:
    """Read a labelled extended XYZ file.

    Forces (eV/angstrom) are required, energies (eV, totals) optional; frame keys are those of
    LEVEL_KEYS and one of BLOCK_KEYS.

    mixed        accept several levels of theory; their names are joined
    close_pairs  accept pairs of metal atoms far inside their contact distance
    Raises FrameError for unusable frames, InputError for absurd forces, collapsed pairs, energies
    or blocks that only some frames have, and several levels of theory; each names the frames.
    """
    frames = read_frames(path)
    _refuse_unlabelled(frames, path)
    absurd = [k for k, a in enumerate(frames) if np.abs(a.get_forces()).max() > ABSURD_FORCE]
    if absurd:
        raise InputError(
            f"{path}: {_named(absurd)} forces above {ABSURD_FORCE:g} eV/angstrom; check their "
            "units or remove them"
        )
    if not close_pairs:
        _refuse_collapsed(frames, path)
    without_energy = [k for k, a in enumerate(frames) if "energy" not in a.calc.results]
    if without_energy and len(without_energy) < len(frames):
        raise InputError(f"{path}: {_named(without_energy)} no energy, the others have")
    method = _level_of(frames, path, mixed=mixed)
    return Dataset(
        tuple(frames), _blocks_of(frames, path), method, Path(path).name, sha256_of(path)
    )


def _refuse_collapsed(frames: Sequence[Atoms], path: Path) -> None:
    """Raise InputError for pairs that only a hole in some potential can have brought together."""
    found = {k: pair for k, pair in enumerate(map(collapsed_pair, frames)) if pair is not None}
    if found:
        name, distance = min(found.values(), key=lambda pair: pair[1])
        raise InputError(
            f"{path}: {_named(list(found))} {name} as near as {distance:.2f} angstrom, which no "
            "solution has; remove these frames, or accept them with --close-pairs"
        )


def _refuse_unlabelled(frames: Sequence[Atoms], path: Path) -> None:
    """Raise FrameError for labels that are missing or no numbers; name every frame with NaN."""
    bad = [
        k
        for k, atoms in enumerate(frames)
        if atoms.calc is not None
        and not all(
            np.isfinite(np.asarray(atoms.calc.results[name], dtype=float)).all()
            for name in ("forces", "energy")
            if name in atoms.calc.results
        )
    ]
    if len(bad) > 1:
        raise FrameError(
            f"{path}: {_named(bad)} NaN or infinity in the forces or the energy; remove these "
            "frames or label them again"
        )
    for k, atoms in enumerate(frames):
        check_frame(atoms, f"{path}, frame {k}", labelled=True)


def _level_of(frames: Sequence[Atoms], path: Path, *, mixed: bool) -> str:
    """Return the name of the level of theory; raise InputError if there are several."""
    levels: dict[tuple[str, ...], list[int]] = {}
    for k, atoms in enumerate(frames):
        level = tuple(str(atoms.info.get(key, "unknown")) for key in LEVEL_KEYS)
        levels.setdefault(level, []).append(k)
    methods = sorted({method for method, _ in levels})
    if len(levels) > 1 and not mixed:
        if len(methods) > 1:
            got = str(methods)
        else:
            got = f"{methods[0]!r} with settings_hash {sorted(settings for _, settings in levels)}"
        rarest = min(levels.values(), key=len)
        raise InputError(
            f"{path}: expected one level of theory, got {got} ({_named(rarest)} the rarest); "
            "split the file, or train with --mixed if their labels agree"
        )
    return " + ".join(methods)


def _named(indices: Sequence[int]) -> str:
    """Return "frames 1, 2 have", ten at most."""
    shown = ", ".join(map(str, indices[:10])) + (", ..." if len(indices) > 10 else "")
    return f"frame {shown} has" if len(indices) == 1 else f"frames {shown} have"


def _blocks_of(frames: Sequence[Atoms], path: Path) -> tuple[str, ...]:
    """Return the block of each frame: from its keys, else contiguous stretches of the file.

    Raises InputError if only some frames have a key: frames of one trajectory could then end up
    on both sides of a split.
    """
    for key in BLOCK_KEYS:
        without = [k for k, atoms in enumerate(frames) if key not in atoms.info]
        if not without:
            return tuple(str(atoms.info[key]) for atoms in frames)
        if len(without) < len(frames):
            raise InputError(f"{path}: {_named(without)} no key {key!r}, the others have")
    return tuple(str(UNNAMED_BLOCKS * k // len(frames)) for k in range(len(frames)))


def split_blocks(
    dataset: Dataset,
    *,
    n_validation: int,
    n_test: int,
    seed: int,
    member: int = 0,
    trained: Sequence[str] = (),
) -> Split:
    """Choose whole blocks for validation and test at random; the rest is for training.

    n_validation  number of blocks, at least 1
    n_test        number of blocks, may be 0
    seed          chooses the blocks; the same blocks and seed give the same split
    member        of a committee: another number has other validation blocks but the same test
                  blocks, so that no member has seen them
    trained       how the names of blocks begin that are for training in any case; the rest is split
                  as if they were not there, so that a training that goes on with more frames never
                  tests on what it has seen
    Raises InputError if no block would be left for training.
    """
    found = sorted(set(dataset.blocks))
    added = [block for block in found if block.startswith(tuple(trained))]
    blocks = [block for block in found if block not in added]
    if n_validation < 1 or n_test < 0 or n_validation + n_test >= len(blocks):
        raise InputError(
            f"{dataset.source}: expected more than {n_validation + n_test} trajectory blocks to "
            f"set {n_validation} aside for validation and {n_test} for test, got {len(blocks)}; "
            "label more trajectories or lower [split] in the training file"
        )
    order = [blocks[k] for k in np.random.default_rng(seed).permutation(len(blocks))]
    if member:
        rest = np.random.default_rng([seed, member]).permutation(len(order) - n_test)
        order[n_test:] = [order[n_test + k] for k in rest]
    held_back = n_validation + n_test
    return Split(
        train=tuple(sorted([*order[held_back:], *added])),
        validation=tuple(sorted(order[n_test:held_back])),
        test=tuple(sorted(order[:n_test])),
    )


def spread_evenly(frames: Sequence[Atoms], n_most: int | None) -> list[Atoms]:
    """Return at most ``n_most`` of the frames, evenly spread over their order; None: all."""
    n_kept = len(frames) if n_most is None else min(n_most, len(frames))
    return [frames[k * len(frames) // n_kept] for k in range(n_kept)]


def require_training_frames(dataset: Dataset, split: Split) -> None:
    """Raise InputError if the training part has too few frames or lacks an element."""
    train = dataset.of_blocks(split.train)
    if len(train) < MIN_TRAINING_FRAMES:
        raise InputError(
            f"{dataset.source}: expected at least {MIN_TRAINING_FRAMES} frames for training beside "
            f"{len(dataset.frames) - len(train)} for validation and test, got {len(train)}; "
            "label more frames"
        )
    missing = sorted(set(dataset.elements) - {s for atoms in train for s in set(atoms.symbols)})
    if missing:
        raise InputError(
            f"{dataset.source}: the training blocks hold no {', '.join(missing)}, which other "
            "blocks do; choose another split seed or label more frames with it"
        )


def subtract_baseline(frames: Sequence[Atoms], baseline: ScreenedCoulomb) -> list[Atoms]:
    """Return frames whose labels are short ranged: label minus screened Coulomb.

    E_target = E_label - E_C and F_target = F_label - F_C (Zhang et al., arXiv:2310.12535).
    Frames are copied; labels other than energy and forces are left out.
    """
    return _shift_labels(frames, baseline, sign=-1.0)


def add_baseline(frames: Sequence[Atoms], baseline: ScreenedCoulomb) -> list[Atoms]:
    """Undo :func:`subtract_baseline`."""
    return _shift_labels(frames, baseline, sign=+1.0)


def _shift_labels(
    frames: Sequence[Atoms], baseline: ScreenedCoulomb, *, sign: float
) -> list[Atoms]:
    shifted = []
    for atoms in frames:
        coulomb = baseline.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
        labels = {"forces": atoms.calc.results["forces"] + sign * coulomb.forces}
        if "energy" in atoms.calc.results:
            labels["energy"] = atoms.calc.results["energy"] + sign * coulomb.energy
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, **labels)
        shifted.append(copy)
    return shifted


def fit_energy_shifts(frames: Sequence[Atoms], elements: Sequence[str]) -> dict[str, float]:
    """Fit one constant energy per element, so that networks learn differences, not totals.

    Least squares of E = sum_e n_e s_e; where compositions do not determine the constants (one
    composition only, say) the solution of least norm, which keeps the sum exact.

    elements  every element of the frames
    Returns eV per atom. Raises InputError for a frame without energy or with another element.
    """
    counts = np.array([[Counter(a.symbols)[e] for e in elements] for a in frames], dtype=float)
    for index, atoms in enumerate(frames):
        if "energy" not in atoms.calc.results:
            raise InputError(f"energy shifts: frame {index} has no energy")
        if counts[index].sum() != len(atoms):
            unknown = sorted(set(atoms.symbols) - set(elements))
            raise InputError(f"energy shifts: frame {index} also holds {', '.join(unknown)}")
    energies = np.array([atoms.calc.results["energy"] for atoms in frames])
    shifts, *_ = np.linalg.lstsq(counts, energies, rcond=None)
    return {element: float(shift) for element, shift in zip(elements, shifts, strict=True)}
