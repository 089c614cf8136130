"""Measurements of trajectories that are longer than memory, longer than one job, or still growing.

An accumulator takes chunks of frames and knows its own state as plain arrays:
``rdf.RdfAccumulator`` (g(r)), ``paths.PathAccumulator`` (diffusion, conductivity),
``structure_accumulator.StructureFactorAccumulator`` (S(k)), ``pairing.PairAccumulator`` (ion pairs,
contacts, residence).
A run in progress can feed them chunk by chunk; independent runs are merged when they are evaluated,
each kept as a replica of its own, because their scatter is part of the error bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import InputError
from bjerrum.files import atomic_path
from bjerrum.properties.pairing import PairAccumulator
from bjerrum.properties.paths import PathAccumulator
from bjerrum.properties.rdf import RdfAccumulator
from bjerrum.properties.structure_accumulator import StructureFactorAccumulator
from bjerrum.trajectory import TrajectoryChunk

State = Mapping[str, NDArray[Any]]


class Accumulator(Protocol):
    """Takes chunks; remembers how many frames it has seen; can be stored."""

    n_frames: int

    def add(self, chunk: TrajectoryChunk) -> None:
        """Take the frames of a chunk."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        ...


Stored = RdfAccumulator | PathAccumulator | StructureFactorAccumulator | PairAccumulator

KINDS: Final[Mapping[str, type[Stored]]] = {
    "rdf": RdfAccumulator,
    "paths": PathAccumulator,
    "structure_factor": StructureFactorAccumulator,
    "pairs": PairAccumulator,
}
"""What :func:`load_accumulators` can bring back, by the name it is stored under."""


def save_accumulators(path: Path | str, accumulators: Mapping[str, Accumulator]) -> None:
    """Write the state of named accumulators to one file, atomically.

    accumulators  by a key of KINDS, such as {"rdf": ..., "paths": ...}
    """
    unknown = sorted(set(accumulators) - set(KINDS))
    if unknown:
        raise InputError(f"accumulators are named {', '.join(KINDS)}; got {', '.join(unknown)}")
    arrays: dict[str, Any] = {
        f"{name}/{key}": array
        for name, accumulator in accumulators.items()
        for key, array in accumulator.state().items()
    }
    with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_accumulators(path: Path | str) -> dict[str, Stored]:
    """Return the accumulators of a file that :func:`save_accumulators` wrote.

    Raises InputError for any other file.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
        names = sorted({key.partition("/")[0] for key in arrays})
        return {
            name: KINDS[name].from_state(
                {k.partition("/")[2]: v for k, v in arrays.items() if k.startswith(f"{name}/")}
            )
            for name in names
        }
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} holds no accumulated measurement: {error}") from error


def feed(
    chunks: Iterable[TrajectoryChunk],
    accumulators: Sequence[Accumulator],
    *,
    checkpoint: Path | str | None = None,
    names: Sequence[str] = tuple(KINDS),
) -> None:
    """Give every accumulator the frames that it has not seen, and store them after each chunk.

    chunks        of one run from its start
    accumulators  new ones, or as :func:`load_accumulators` returned them
    checkpoint    file to store them in; taken up by loading it and calling this again
    names         of the accumulators in that file, in the same order
    """
    position = 0
    for chunk in chunks:
        end = position + chunk.n_frames
        for accumulator in accumulators:
            seen = accumulator.n_frames
            if seen < end:
                accumulator.add(chunk if seen <= position else _rest(chunk, seen - position))
        position = end
        if checkpoint is not None:
            save_accumulators(checkpoint, dict(zip(names, accumulators, strict=False)))


def _rest(chunk: TrajectoryChunk, start: int) -> TrajectoryChunk:
    return TrajectoryChunk(
        symbols=chunk.symbols,
        cell=chunk.cells[start:],
        steps=chunk.steps[start:],
        times_ps=None if chunk.times_ps is None else chunk.times_ps[start:],
        positions=chunk.positions[start:],
        metadata=chunk.metadata,
    )
