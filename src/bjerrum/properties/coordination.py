"""How many neighbours an ion has, and the angles between them: distributions with error bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bjerrum.errors import FrameError, InputError, SeriesTooShort
from bjerrum.estimate import FloatArray
from bjerrum.properties.rdf import require_radius
from bjerrum.properties.statistics import mean_statistics
from bjerrum.trajectory import TrajectoryChunk

ANGLE_BINS: Final = 60
"""Of 3 degrees."""


@dataclass(frozen=True, eq=False)
class CoordinationDistribution:
    """Shares of numbers of neighbours, and the density of neighbour-centre-neighbour angles.

    numbers              0, 1, 2, ..., (n_numbers,)
    share, share_error   of centres with so many neighbours, (n_numbers,)
    angles_degree        bin centres, (n_bins,)
    angle_density, angle_density_error   per solid angle, 1 for directions that are independent of
                         one another, (n_bins,); NaN where there is no error bar
    """

    numbers: FloatArray
    share: FloatArray
    share_error: FloatArray
    angles_degree: FloatArray
    angle_density: FloatArray
    angle_density_error: FloatArray

    def to_json(self) -> dict[str, Any]:
        """Return plain data; unknown errors are null."""
        return {
            "coordination": {
                "number": self.numbers.tolist(),
                "share": self.share.tolist(),
                "share_standard_error": _nullable(self.share_error),
            },
            "angles": {
                "angle_degree": self.angles_degree.tolist(),
                "density": self.angle_density.tolist(),
                "density_standard_error": _nullable(self.angle_density_error),
            },
        }


def coordination_distribution(
    runs: Sequence[Iterable[TrajectoryChunk]], centre: str, neighbour: str, radius: float
) -> CoordinationDistribution:
    """Return distributions of the neighbours within ``radius`` of each centre.

    The density of angles is per solid angle: counts over sin(theta), normalised to a mean of 1.

    runs    chunks of each run; independent
    radius  angstrom, such as the first minimum of g(r); at most half the box
    Raises InputError for species that are not there, SeriesTooShort for a single frame.
    """
    read = [_run(chunks, centre, neighbour, radius) for chunks in runs]
    longest = max(numbers.shape[1] for numbers, _ in read)
    shares = [np.pad(n, ((0, 0), (0, longest - n.shape[1]))) for n, _ in read]
    if sum(len(share) for share in shares) == 1:
        raise SeriesTooShort("a single frame gives no error bars", n_effective=1)
    angles = [a for _, a in read]
    number = mean_statistics(shares)
    angle = mean_statistics(angles)
    edges = np.linspace(0, np.pi, ANGLE_BINS + 1)
    solid = -np.diff(np.cos(edges)) / 2
    total = max(float(angle.mean.sum()), 1e-300)
    return CoordinationDistribution(
        np.arange(longest, dtype=np.float64),
        number.mean,
        number.standard_error,
        np.degrees((edges[1:] + edges[:-1]) / 2),
        angle.mean / total / solid,
        angle.standard_error / total / solid,
    )


def _run(
    chunks: Iterable[TrajectoryChunk], centre: str, neighbour: str, radius: float
) -> tuple[FloatArray, FloatArray]:
    """Return shares of coordination numbers and counts of angles, both one row per frame."""
    symbols: tuple[str, ...] | None = None
    numbers: list[FloatArray] = []
    angles: list[FloatArray] = []
    for chunk in chunks:
        if symbols is None:
            symbols = chunk.symbols
            if not {centre, neighbour} <= set(symbols) or not radius > 0:
                raise InputError(
                    "coordination is given as a centre, a neighbour and a radius; got "
                    f"{centre}, {neighbour}, {radius:g} of {', '.join(sorted(set(symbols)))}"
                )
        if chunk.symbols != symbols:
            raise FrameError("the atoms change within the trajectory")
        names = np.array(symbols)
        first, second = np.flatnonzero(names == centre), np.flatnonzero(names == neighbour)
        for positions, cell in zip(chunk.positions, chunk.cells, strict=True):
            require_radius(radius, cell)
            apart = positions[second][None].astype(np.float64) - positions[first][:, None]
            apart -= np.rint(apart @ np.linalg.inv(cell)) @ cell
            length = np.sqrt((apart**2).sum(axis=-1))
            inside = length < radius
            if centre == neighbour:
                np.fill_diagonal(inside, val=False)
            counts = inside.sum(axis=1)
            numbers.append(np.bincount(counts) / len(first))
            angles.append(_angles(apart, length, inside))
    if symbols is None:
        raise InputError("a trajectory holds no frames")
    longest = max(len(row) for row in numbers)
    return np.array([np.pad(row, (0, longest - len(row))) for row in numbers]), np.array(angles)


def _angles(apart: FloatArray, length: FloatArray, inside: Any) -> FloatArray:
    """Count the angles between all pairs of neighbours of each centre, (ANGLE_BINS,)."""
    counts = np.zeros(ANGLE_BINS)
    for vectors, lengths, near in zip(apart, length, inside, strict=True):
        unit = vectors[near] / lengths[near][:, None]
        i, j = np.triu_indices(len(unit), k=1)
        theta = np.arccos(np.clip((unit @ unit.T)[i, j], -1.0, 1.0))
        counts += np.histogram(theta, bins=ANGLE_BINS, range=(0.0, np.pi))[0]
    return counts


def _nullable(values: FloatArray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
