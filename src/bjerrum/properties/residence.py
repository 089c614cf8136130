"""How long a neighbour stays: three definitions, one estimator.

P(t) = sum theta(t0) theta'(t0 + t)/sum theta(t0) over all pairs and all origins t0 with t0 + t
inside the run, where theta' counts a neighbour that

- impey          is inside at t0 and t0 + t and was never away for longer than t* in between
                 (R. W. Impey, P. A. Madden, I. R. McDonald, J. Phys. Chem. 87, 5071 (1983); t* is
                 2 ps there);
- survival       was inside all the time (t* = 0; recrossings of the boundary end a stay);
- stable_states  started well inside (closer than the first peak) and has not yet arrived outside
                 (beyond the second peak): recrossings in between do not count (S. H. Northrup and
                 J. T. Hynes, J. Chem. Phys. 73, 2700 (1980); D. Laage and J. T. Hynes, J. Phys.
                 Chem. B 112, 7697 (2008)).

The residence time is -1/slope of ln P; its error is the jackknife over the central ions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from bjerrum.errors import SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray, IntArray
from bjerrum.properties.msd import lag_grid
from bjerrum.properties.statistics import MIN_REPLICAS, jackknife

TOLERANCE_PS: Final = 2.0
"""Impey's t*."""

LONGEST_LAG: Final = 0.25
"""Of the run."""

FITTED_TO: Final = 0.1
"""P down to which ln P is fitted."""

LEAST_DECAY: Final = 0.9
"""P must fall below this within the lags, or too few neighbours were exchanged."""

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Stays:
    """Uninterrupted stays of all pairs in one run, sorted by pair and time.

    pair        centre * n_partners + partner, (n_stays,)
    start, end  first frame, and first frame after, (n_stays,)
    n_frames    of the run
    n_centres, n_partners
    """

    pair: IntArray
    start: IntArray
    end: IntArray
    n_frames: int
    n_centres: int
    n_partners: int

    @property
    def centre(self) -> IntArray:
        """Number of the central ion of each stay, (n_stays,)."""
        return self.pair // self.n_partners


class StayTracker:
    """Turns frame after frame of who is inside into stays, in little memory."""

    def __init__(self, n_centres: int, n_partners: int) -> None:
        self.shape = (n_centres, n_partners)
        self.n_frames = 0
        self._inside: BoolArray = np.zeros(n_centres * n_partners, dtype=np.bool_)
        self._since = np.zeros(n_centres * n_partners, dtype=np.int64)
        self._done: list[IntArray] = []

    def add(self, inside: BoolArray) -> None:
        """Take some frames: who is inside, (n_frames, n_centres, n_partners)."""
        flat = inside.reshape(len(inside), -1)
        before = np.concatenate([self._inside[None], flat[:-1]])
        frames, pairs = np.nonzero(flat != before)
        entering = flat[frames, pairs]
        order = np.lexsort((frames, pairs))
        times, pairs, entering = frames[order] + self.n_frames, pairs[order], entering[order]
        leaving = np.flatnonzero(~entering)
        starts = np.where(
            (leaving > 0) & (pairs[leaving - 1] == pairs[leaving]),
            times[leaving - 1],
            self._since[pairs[leaving]],
        )
        self._done.append(np.stack([pairs[leaving], starts, times[leaving]]))
        self._since[pairs[entering]] = times[entering]
        self._inside = flat[-1].copy()
        self.n_frames += len(flat)

    def stays(self) -> Stays:
        """Return all stays; those that go on end with the run."""
        still = np.flatnonzero(self._inside)
        ends = np.full(len(still), self.n_frames)
        done = [*self._done, np.stack([still, self._since[still], ends])]
        pair, start, end = np.concatenate(done, axis=1)
        order = np.lexsort((start, pair))
        return Stays(pair[order], start[order], end[order], self.n_frames, *self.shape)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays; see :mod:`bjerrum.properties.accumulators`."""
        done = np.concatenate([np.zeros((3, 0), dtype=np.int64), *self._done], axis=1)
        return {
            "shape": np.array([*self.shape, self.n_frames]),
            "inside": self._inside,
            "since": self._since,
            "done": done,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> StayTracker:
        """Return a tracker that goes on from a stored state."""
        n_centres, n_partners, n_frames = (int(number) for number in state["shape"])
        tracker = cls(n_centres, n_partners)
        tracker.n_frames = n_frames
        tracker._inside, tracker._since = state["inside"], state["since"]
        tracker._done = [state["done"]]
        return tracker


def merged(stays: Stays, tolerance: int) -> IntArray:
    """Return the number of the merged stay of each: absences up to ``tolerance`` frames join."""
    if len(stays.pair) == 0:
        return np.zeros(0, dtype=np.int64)
    apart = (np.diff(stays.pair) != 0) | (stays.start[1:] - stays.end[:-1] > tolerance)
    return np.concatenate([[0], np.cumsum(apart)])


def correlation(
    stays: Stays, lags: IntArray, *, tolerance: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Return numerator and denominator of P of each centre, both (n_centres, n_lags).

    lags       in frames
    tolerance  t* in frames; 0 gives the survival probability
    """
    top = np.zeros((stays.n_centres, len(lags)))
    groups = merged(stays, tolerance)
    single = np.bincount(groups, minlength=1)[groups] == 1 if len(groups) else np.zeros(0, bool)
    alone = np.clip(stays.end[single, None] - lags - stays.start[single, None], 0, None)
    np.add.at(top, stays.centre[single], alone)
    several = np.flatnonzero(~single)
    for members in np.split(several, np.flatnonzero(np.diff(groups[several])) + 1):
        if len(members):
            top[stays.centre[members[0]]] += _pairs_within(
                stays.start[members], stays.end[members], lags
            )
    return top, _origins(stays, lags)


def _pairs_within(start: IntArray, end: IntArray, lags: IntArray) -> FloatArray:
    """Count pairs of frames of one merged stay, both inside, by their distance in time."""
    length = int(end[-1] - start[0])
    inside = np.zeros(length)
    for first, last in zip(start - start[0], end - start[0], strict=True):
        inside[first:last] = 1.0
    size = next_fast_len(2 * length, real=True)
    counts = np.rint(irfft(np.abs(rfft(inside, size)) ** 2, size)[:length])
    return np.where(lags < length, counts[np.minimum(lags, length - 1)], 0.0)


def _origins(stays: Stays, lags: IntArray) -> FloatArray:
    """Count frames inside from which a lag still ends within the run, (n_centres, n_lags)."""
    below = np.zeros((stays.n_centres, len(lags)))
    last = np.minimum(stays.end[:, None], stays.n_frames - lags)
    np.add.at(below, stays.centre, np.clip(last - stays.start[:, None], 0, None))
    return below


def stable_states(reactant: Stays, product: Stays, lags: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return numerator and denominator of the stable-states P of each centre, (n_centres, n_lags).

    reactant  stays well inside
    product   stays well outside, of the same pairs
    """
    length = reactant.n_frames + 1
    arrivals = product.pair * length + product.start
    next_one = np.searchsorted(arrivals, reactant.pair * length + reactant.end)
    known = np.append(arrivals, -1)[next_one]
    same = known // length == reactant.pair
    arrival = np.where(same, known % length, length + lags.max())
    last = np.minimum(reactant.end[:, None], reactant.n_frames - lags)
    last = np.minimum(last, arrival[:, None] - lags)
    top = np.zeros((reactant.n_centres, len(lags)))
    np.add.at(top, reactant.centre, np.clip(last - reactant.start[:, None], 0, None))
    return top, _origins(reactant, lags)


def residence_lags(n_frames: int) -> IntArray:
    """Return the lags at which P is computed, in frames."""
    return lag_grid(max(int(LONGEST_LAG * n_frames), 1), 1.15)


def residence_time(
    correlations: Sequence[tuple[FloatArray, FloatArray]],
    lags_ps: FloatArray,
    *,
    from_ps: float = 0.0,
) -> Estimate:
    """Return the residence time, ps: -1/slope of ln P, by least squares.

    correlations  numerator and denominator of one or several runs, each (n_centres, n_lags)
    lags_ps       (n_lags,)
    from_ps       lags below are not fitted: Impey's t*
    Raises SeriesTooShort if too few neighbours were exchanged, or there are too few centres.
    """
    both = np.concatenate([np.stack(pair, axis=1) for pair in correlations])
    both = both[both[:, 1, 0] > 0]
    if len(both) < MIN_REPLICAS:
        raise SeriesTooShort(
            f"a residence time needs neighbours of at least {MIN_REPLICAS} ions, got {len(both)}",
            n_effective=max(len(both), 1),
        )
    total = both.sum(axis=0)
    p = total[0] / np.maximum(total[1], 1)
    late = lags_ps >= from_ps
    if not late.any() or p[late].min() > LEAST_DECAY:
        raise SeriesTooShort(
            f"of the neighbours {p[-1]:.0%} are still there after {lags_ps[-1]:.3g} ps: too few "
            "exchanges for a residence time: run longer",
            n_effective=1,
        )
    gone = np.flatnonzero(late & (p < FITTED_TO))
    stop = int(gone[0]) if len(gone) else len(p)
    fitted = np.flatnonzero(late[:stop] & (p[:stop] > 0))
    if len(fitted) < 2:
        raise SeriesTooShort(
            "the neighbours leave within a frame or two: store frames more often", n_effective=1
        )

    def time(mean: FloatArray) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log(mean[0, fitted] / mean[1, fitted])
        return float(-1 / np.polyfit(lags_ps[fitted], y, 1)[0])

    value, error = jackknife(both, time)
    if not (np.isfinite(value) and np.isfinite(error) and value > 0):
        raise SeriesTooShort("too few stays for a residence time: run longer", n_effective=1)
    return Estimate(
        value=value, standard_error=float(error), unit="ps", n_effective=float(len(both))
    )
