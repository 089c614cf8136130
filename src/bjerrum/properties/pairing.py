"""Ion pairs: how many of which kind, contacts of like ions, association, residence times.

A cation-anion pair is in contact, solvent-separated, or separated by two solvent shells, by its
distance (:mod:`bjerrum.properties.pair_cutoffs`). Two like ions in contact are classified by the
water oxygens in the first shells of both; each such frame is listed, so that it can be labelled
with a reference method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bjerrum.errors import FrameError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.properties.pair_cutoffs import CLASS_NAMES, PairCutoffs, ions_of
from bjerrum.properties.rdf import half_width
from bjerrum.properties.residence import StayTracker
from bjerrum.trajectory import TrajectoryChunk

FRAMES_AT_ONCE: Final = 32


@dataclass(frozen=True)
class LikeContact:
    """Two like ions in contact in one frame.

    frame            counted from the first that was read
    time_ps          None where the trajectory has no times
    ions             their atom numbers, from 0
    distance         angstrom
    shared_oxygens   atom numbers of the oxygens in the first shells of both
    """

    species: str
    frame: int
    time_ps: float | None
    ions: tuple[int, int]
    distance: float
    shared_oxygens: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "species": self.species,
            "frame": self.frame,
            "time_ps": self.time_ps,
            "ions": list(self.ions),
            "distance_angstrom": self.distance,
            "shared_oxygens": list(self.shared_oxygens),
        }


def nearest_distances(
    first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], cells: FloatArray
) -> FloatArray:
    """Return the distances of nearest images, (n_frames, n_first, n_second), angstrom.

    Exact up to half the smallest width of the cell (beyond too, in cells with right angles).

    first, second  (n_frames, n, 3), wrapped or not
    cells          (n_frames, 3, 3)
    """
    inverse = np.linalg.inv(cells)
    a = np.einsum("fni,fij->fnj", first.astype(np.float64), inverse)
    b = np.einsum("fni,fij->fnj", second.astype(np.float64), inverse)
    apart = a[:, :, None] - b[:, None]
    apart -= np.rint(apart)
    return np.sqrt((np.einsum("fnmi,fij->fnmj", apart, cells) ** 2).sum(axis=-1))


class PairAccumulator:
    """Counts ion pairs of one run, chunk by chunk.

    symbols   of all atoms
    cutoffs   see :class:`bjerrum.properties.pair_cutoffs.PairCutoffs`
    stable    well inside and arrived outside, angstrom, of the pairs whose stable-states residence
              time is wanted
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        cutoffs: PairCutoffs,
        stable: Mapping[tuple[str, str], tuple[float, float]] | None = None,
    ) -> None:
        self.symbols, self.cutoffs = symbols, cutoffs
        self.stable = dict(stable or {})
        self.cation, self.anion = ions_of(symbols)
        names = np.array(symbols)
        self.atoms: dict[str, IntArray] = {
            s: np.flatnonzero(names == s) for s in (self.cation, self.anion, "O")
        }
        self.n_frames = 0
        self.volume_sum = 0.0
        self.contacts: list[LikeContact] = []
        self._counts: list[FloatArray] = []
        self._nearest: list[FloatArray] = []
        self._free: list[FloatArray] = []
        self._like: dict[str, list[IntArray]] = {self.cation: [], self.anion: []}
        self.trackers = {pair: self._tracker(pair) for pair in self._residence_pairs()}
        self.stable_trackers = {
            pair: (self._tracker(pair), self._tracker(pair)) for pair in self.stable
        }

    def _residence_pairs(self) -> list[tuple[str, str]]:
        pairs = [(self.cation, self.anion)]
        return pairs + [pair for pair in self.cutoffs.neighbours if pair[1] == "O"]

    def _tracker(self, pair: tuple[str, str]) -> StayTracker:
        return StayTracker(len(self.atoms[pair[0]]), len(self.atoms[pair[1]]))

    def add(self, chunk: TrajectoryChunk) -> None:
        """Take the frames of a chunk.

        Raises FrameError if the atoms change or a shell reaches beyond half the cell.
        """
        if chunk.symbols != self.symbols:
            raise FrameError("the atoms change within the trajectory")
        reach = max(*self.cutoffs.shells, *self.cutoffs.neighbours.values(), 0.0)
        for start in range(0, chunk.n_frames, FRAMES_AT_ONCE):
            frames = slice(start, start + FRAMES_AT_ONCE)
            cells = np.asarray(chunk.cells[frames])
            limit = min(half_width(cell) for cell in cells)
            if reach > limit:
                raise FrameError(
                    f"the shells reach to {reach:g} angstrom, half the box is {limit:.4g}: give "
                    "fewer or smaller shells"
                )
            times = None if chunk.times_ps is None else chunk.times_ps[frames]
            self._add(chunk.positions[frames], cells, times)

    def _add(
        self, positions: NDArray[np.floating[Any]], cells: FloatArray, times: FloatArray | None
    ) -> None:
        at = {s: positions[:, atoms] for s, atoms in self.atoms.items()}
        oxygen = {
            pair[0]: nearest_distances(at[pair[0]], at["O"], cells)
            for pair in self.cutoffs.neighbours
            if pair[1] == "O"
        }
        pairs = nearest_distances(at[self.cation], at[self.anion], cells)
        self._classify(pairs)
        for species in (self.cation, self.anion):
            if (species, species) in self.cutoffs.neighbours:
                like = nearest_distances(at[species], at[species], cells)
                self._like_contacts(species, like, oxygen.get(species), times)
        distances = {(s, "O"): d for s, d in oxygen.items()} | {(self.cation, self.anion): pairs}
        for pair, tracker in self.trackers.items():
            end = self.cutoffs.neighbours.get(pair, self.cutoffs.shells[0])
            tracker.add(distances[pair] < end)
        for pair, (inside, outside) in self.stable_trackers.items():
            near, far = self.stable[pair]
            inside.add(distances[pair] < near)
            outside.add(distances[pair] > far)
        self.volume_sum += float(np.abs(np.linalg.det(cells)).sum())
        self.n_frames += len(positions)

    def _classify(self, distances: FloatArray) -> None:
        """Count pairs of each class, cations by their nearest anion, and ions without a contact."""
        edges = np.array([0.0, *self.cutoffs.shells])
        inside = [(distances >= low) & (distances < high) for low, high in pairwise(edges)]
        self._counts.append(np.stack([part.sum(axis=(1, 2)) for part in inside], axis=1) * 1.0)
        nearest = np.searchsorted(edges[1:], distances.min(axis=2), side="right")
        each = [(nearest == k).mean(axis=1) for k in range(len(edges))]
        self._nearest.append(np.stack(each, axis=1))
        free = [(~inside[0].any(axis=axis)).sum(axis=1) * 1.0 for axis in (2, 1)]
        self._free.append(np.stack(free, axis=1))

    def _like_contacts(
        self,
        species: str,
        distances: FloatArray,
        oxygen: FloatArray | None,
        times: FloatArray | None,
    ) -> None:
        close = np.triu(distances < self.cutoffs.neighbours[species, species], k=1)
        frames, first, second = np.nonzero(close)
        number = np.zeros((len(distances), 4), dtype=np.int64)
        atoms = self.atoms[species]
        for f, i, j in zip(frames.tolist(), first.tolist(), second.tolist(), strict=True):
            shared: tuple[int, ...] = ()
            if oxygen is not None:
                both = (oxygen[f, [i, j]] < self.cutoffs.neighbours[species, "O"]).all(axis=0)
                shared = tuple(self.atoms["O"][both].tolist())
            number[f, min(len(shared), 3)] += 1
            self.contacts.append(
                LikeContact(
                    species,
                    self.n_frames + f,
                    None if times is None else float(times[f]),
                    (int(atoms[i]), int(atoms[j])),
                    float(distances[f, i, j]),
                    shared,
                )
            )
        self._like[species].append(number)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays; see :mod:`bjerrum.properties.accumulators`."""
        series = self.series()
        near, far = self.cutoffs.neighbours, self.stable
        trackers = {f"inside/{_name(p)}": t for p, t in self.trackers.items()}
        for pair, both in self.stable_trackers.items():
            trackers |= {
                f"{k}/{_name(pair)}": t for k, t in zip(("near", "far"), both, strict=True)
            }
        return {
            "symbols": np.array(self.symbols),
            "shells": np.array(self.cutoffs.shells),
            "neighbours": np.array([_name(pair) for pair in near], dtype=np.str_),
            "neighbour_ends": np.array(list(near.values()), dtype=np.float64),
            "sources": np.array(list(self.cutoffs.sources.items()), dtype=np.str_).reshape(-1, 2),
            "stable": np.array([_name(pair) for pair in far], dtype=np.str_),
            "stable_ends": np.array(list(far.values()), dtype=np.float64).reshape(-1, 2),
            "n_frames": np.array(self.n_frames),
            "volume_sum": np.array(self.volume_sum),
            "counts": series.pairs,
            "nearest": series.nearest,
            "free": series.free,
            **{f"like/{species}": numbers for species, numbers in series.like.items()},
            **_contact_arrays(self.contacts),
            **{
                f"{k}/{key}": array for k, t in trackers.items() for key, array in t.state().items()
            },
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> PairAccumulator:
        """Return an accumulator that goes on from a stored state."""

        def pairs(key: str) -> list[tuple[str, str]]:
            return [_pair(name) for name in state[key].tolist()]

        def tracker(name: str) -> StayTracker:
            start = f"{name}/"
            found = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
            return StayTracker.from_state(found)

        ends = [float(end) for end in state["neighbour_ends"]]
        cutoffs = PairCutoffs(
            tuple(float(end) for end in state["shells"]),
            dict(zip(pairs("neighbours"), ends, strict=True)),
            {pair: source for pair, source in state["sources"].tolist()},  # noqa: C416
        )
        stable = {
            pair: (float(near), float(far))
            for pair, (near, far) in zip(pairs("stable"), state["stable_ends"], strict=True)
        }
        new = cls(tuple(state["symbols"].tolist()), cutoffs, stable)
        new.n_frames, new.volume_sum = int(state["n_frames"]), float(state["volume_sum"])
        new._counts, new._nearest, new._free = (
            [state[key]] for key in ("counts", "nearest", "free")
        )
        for species, numbers in new._like.items():
            numbers.extend(array for key, array in state.items() if key == f"like/{species}")
        new.contacts = _contacts(state)
        new.trackers = {pair: tracker(f"inside/{_name(pair)}") for pair in new.trackers}
        new.stable_trackers = {
            pair: (tracker(f"near/{_name(pair)}"), tracker(f"far/{_name(pair)}")) for pair in stable
        }
        return new

    def series(self) -> PairSeries:
        """Return what was counted, frame by frame."""
        return PairSeries(
            pairs=np.concatenate(self._counts),
            nearest=np.concatenate(self._nearest),
            free=np.concatenate(self._free),
            like={s: np.concatenate(parts) for s, parts in self._like.items() if parts},
            volume=self.volume_sum / self.n_frames,
        )


def _name(pair: tuple[str, str]) -> str:
    return "-".join(pair)


def _pair(name: str) -> tuple[str, str]:
    first, _, second = name.partition("-")
    return first, second


def _contact_arrays(contacts: list[LikeContact]) -> dict[str, NDArray[Any]]:
    """Return contacts as columns; times that are unknown are NaN."""
    times = [np.nan if c.time_ps is None else c.time_ps for c in contacts]
    shared = [oxygen for c in contacts for oxygen in c.shared_oxygens]
    return {
        "contact_species": np.array([c.species for c in contacts], dtype=np.str_),
        "contact_frame": np.array([c.frame for c in contacts], dtype=np.int64),
        "contact_time_ps": np.array(times, dtype=np.float64),
        "contact_ions": np.array([c.ions for c in contacts], dtype=np.int64).reshape(-1, 2),
        "contact_distance": np.array([c.distance for c in contacts], dtype=np.float64),
        "contact_n_shared": np.array([len(c.shared_oxygens) for c in contacts], dtype=np.int64),
        "contact_shared": np.array(shared, dtype=np.int64),
    }


def _contacts(state: Mapping[str, NDArray[Any]]) -> list[LikeContact]:
    """Return what :func:`_contact_arrays` took apart."""
    ends = np.cumsum(state["contact_n_shared"])
    shared = np.split(state["contact_shared"], ends[:-1]) if len(ends) else []
    columns = ("species", "frame", "time_ps", "ions", "distance")
    rows = zip(*(state[f"contact_{name}"].tolist() for name in columns), shared, strict=True)
    return [
        LikeContact(
            species,
            frame,
            None if np.isnan(time) else time,
            (ions[0], ions[1]),
            distance,
            tuple(oxygens.tolist()),
        )
        for species, frame, time, ions, distance, oxygens in rows
    ]


@dataclass(frozen=True, eq=False)
class PairSeries:
    """Counts of each frame of one run.

    pairs     cation-anion pairs of each class, (n_frames, n_classes)
    nearest   share of cations whose nearest anion is of each class, or farther, (n_frames, n + 1)
    free      cations and anions without a contact, (n_frames, 2)
    like      contacts of like ions by 0, 1, 2, 3 or more shared oxygens, (n_frames, 4), by species
    volume    mean, cubic angstrom
    """

    pairs: FloatArray
    nearest: FloatArray
    free: FloatArray
    like: Mapping[str, IntArray]
    volume: float

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of pairs."""
        return CLASS_NAMES[: self.pairs.shape[1]]
