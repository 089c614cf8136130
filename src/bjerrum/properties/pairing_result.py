"""Populations, association constants and residence times of ion pairs, with error bars.

    K = c_pair/(c_free c_free),  free: ions without a counter-ion in contact (law of mass action)
    K_g = 4 pi N_A int_0^R g r^2 dr = V <n_pairs>/(N_c N_a),  R the end of the contact shell

Both are those of the solution as it is, not of infinite dilution; for ions that do not see one
another both are N_A times the volume of the contact shell, the first only where contacts are rare.
What the data do not resolve is None with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.pair_cutoffs import (
    PairCutoffs,
    choose_cutoffs,
    ions_of,
    stable_boundaries,
    wanted_pairs,
)
from bjerrum.properties.pairing import LikeContact, PairAccumulator, PairSeries
from bjerrum.properties.peaks import NotResolved
from bjerrum.properties.physical_times import why_times_mean_nothing
from bjerrum.properties.rdf import PartialRdf, RdfAccumulator, combine, half_width
from bjerrum.properties.residence import (
    TOLERANCE_PS,
    correlation,
    residence_lags,
    residence_time,
    stable_states,
)
from bjerrum.properties.statistics import estimate_function, estimate_mean
from bjerrum.properties.structure import BIN_WIDTH
from bjerrum.trajectory import TrajectoryChunk
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

Run = Callable[[], Iterable[TrajectoryChunk]]
"""Opens a run from its start: it is read twice."""

Pair = tuple[str, str]
Distances = tuple[float, float]
SHARED: Final = ("0", "1", "2", "3_or_more")


@dataclass(frozen=True, eq=False, kw_only=True)
class PairingResult:
    """What is known of the ion pairs of a solution.

    ions            cation, anion
    cutoffs         the distances used
    populations     pairs of each class per cation
    nearest         share of cations whose nearest anion is of each class, or farther ("free")
    association     "mass_action" and "integral", L/mol
    like_contacts   contacts of like ions per ion, by shared oxygens, and in all
    residence       by pair such as "Li-O" and definition, ps
    contacts        every contact of like ions, one list per run
    reasons         why something is None, by its name
    """

    ions: Pair
    cutoffs: PairCutoffs
    populations: Mapping[str, Estimate | None]
    nearest: Mapping[str, Estimate | None]
    association: Mapping[str, Estimate | None]
    like_contacts: Mapping[str, Mapping[str, Estimate | None]]
    residence: Mapping[str, Mapping[str, Estimate | None]]
    contacts: Sequence[Sequence[LikeContact]]
    n_frames: Sequence[int]
    reasons: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain data; unknown numbers are null."""
        pair = "-".join(self.ions)
        return {
            "cation": self.ions[0],
            "anion": self.ions[1],
            "cutoffs_angstrom": {
                pair: list(self.cutoffs.shells),
                **{"-".join(key): end for key, end in self.cutoffs.neighbours.items()},
            },
            "cutoff_sources": dict(self.cutoffs.sources),
            "pairs_per_cation": _plain(self.populations),
            "nearest_anion": _plain(self.nearest),
            "association_constant_L_per_mol": _plain(self.association),
            "like_contacts_per_ion": {
                species: _plain(found) for species, found in self.like_contacts.items()
            },
            "residence_time_ps": {name: _plain(found) for name, found in self.residence.items()},
            "like_contact_frames": [
                {"trajectory": number, **contact.to_json()}
                for number, found in enumerate(self.contacts)
                for contact in found
            ],
            "n_frames": list(self.n_frames),
            "reasons": dict(self.reasons),
        }


def analyse_pairing(
    runs: Sequence[Run],
    *,
    shells: Sequence[float] | None = None,
    neighbours: Mapping[Pair, float] | None = None,
    measured: bool = False,
    tolerance_ps: float = TOLERANCE_PS,
) -> PairingResult:
    """Ion pairs in one or several runs of one system; each run is read twice.

    runs          callables that open each run
    shells        ends of the classes of cation-anion pairs, angstrom; default:
                  :func:`bjerrum.properties.pair_cutoffs.choose_cutoffs`
    neighbours    ends of first shells, {("Li", "Li"): 4.1}, angstrom
    measured      prefer minima of g(r) to published distances
    tolerance_ps  t* of Impey's residence time
    Raises InputError or FrameError for unusable input, NotResolved if the shells of pairs are
    neither given, published nor resolved in g(r), SeriesTooShort for a single frame.
    """
    if not runs:
        raise InputError("expected at least one trajectory, got none")
    rdfs = _first_pass(runs)
    reasons: dict[str, str] = {}
    cutoffs = choose_cutoffs(
        rdfs, shells=shells, neighbours=neighbours, measured=measured, reasons=reasons
    )
    stable = _stable(rdfs, reasons)
    read = [_second_pass(run, cutoffs, stable) for run in runs]
    found = [part.accumulator for part in read]
    if sum(accumulator.n_frames for accumulator in found) == 1:
        raise SeriesTooShort("a single frame gives no error bars", n_effective=1)
    series = [accumulator.series() for accumulator in found]
    counts = {s: len(atoms) for s, atoms in found[0].atoms.items()}
    return PairingResult(
        ions=(found[0].cation, found[0].anion),
        cutoffs=cutoffs,
        populations=_populations(series, counts[found[0].cation], reasons),
        nearest=_nearest(series, reasons),
        association=_association(series, counts[found[0].cation], counts[found[0].anion], reasons),
        like_contacts=_like(series, counts, reasons),
        residence=_residence(read, tolerance_ps, reasons),
        contacts=[accumulator.contacts for accumulator in found],
        n_frames=[accumulator.n_frames for accumulator in found],
        reasons=reasons,
    )


def _first_pass(runs: Sequence[Run]) -> dict[Pair, PartialRdf]:
    replicas: list[RdfAccumulator] = []
    for run in runs:
        accumulator: RdfAccumulator | None = None
        for chunk in run():
            if accumulator is None:
                ions_of(chunk.symbols)
                reach = half_width(chunk.cells[0])
                n_bins = int(reach / BIN_WIDTH)
                edges = np.linspace(0, n_bins * BIN_WIDTH, n_bins + 1)
                if replicas:
                    edges = replicas[0].edges
                accumulator = RdfAccumulator(chunk.symbols, wanted_pairs(chunk.symbols), edges)
            accumulator.add(chunk)
        if accumulator is None:
            raise InputError("a trajectory holds no frames")
        replicas.append(accumulator)
    return combine(replicas)


def _stable(rdfs: Mapping[Pair, PartialRdf], reasons: dict[str, str]) -> dict[Pair, Distances]:
    found = {}
    for number, (pair, rdf) in enumerate(rdfs.items()):
        if number == 0 or pair[1] == "O":
            try:
                found[pair] = stable_boundaries(rdf)
            except NotResolved as failure:
                reasons[f"stable-states residence of {'-'.join(pair)}"] = str(failure)
    return found


@dataclass(frozen=True, eq=False)
class _Read:
    """The counts of a run, the time between its frames in ps, and why times mean nothing."""

    accumulator: PairAccumulator
    interval: float | None
    unphysical: str | None


def _second_pass(run: Run, cutoffs: PairCutoffs, stable: Mapping[Pair, Distances]) -> _Read:
    accumulator: PairAccumulator | None = None
    times: list[float] = []
    unphysical: str | None = None
    for chunk in run():
        if accumulator is None:
            accumulator = PairAccumulator(chunk.symbols, cutoffs, stable)
            unphysical = why_times_mean_nothing(chunk.metadata)
        accumulator.add(chunk)
        if chunk.times_ps is not None:
            times += [float(chunk.times_ps[0]), float(chunk.times_ps[-1])]
    if accumulator is None:
        raise InputError("a trajectory holds no frames")
    known = bool(times) and times[-1] > times[0]
    interval = (times[-1] - times[0]) / (accumulator.n_frames - 1) if known else None
    return _Read(accumulator, interval, unphysical)


def _try(make: Callable[[], Estimate], name: str, reasons: dict[str, str]) -> Estimate | None:
    try:
        return make()
    except SeriesTooShort as failure:
        reasons[name] = str(failure)
        return None


def _mean(
    series: Sequence[FloatArray], unit: str, name: str, reasons: dict[str, str]
) -> Estimate | None:
    if not any(part.any() for part in series):
        reasons[name] = f"none was seen in {sum(len(part) for part in series)} frames"
        return None
    return _try(lambda: estimate_mean(series, unit), name, reasons)


def _populations(
    series: Sequence[PairSeries], n_cations: int, reasons: dict[str, str]
) -> dict[str, Estimate | None]:
    return {
        name: _mean([s.pairs[:, k] / n_cations for s in series], "1", f"pairs {name}", reasons)
        for k, name in enumerate(series[0].classes)
    }


def _nearest(series: Sequence[PairSeries], reasons: dict[str, str]) -> dict[str, Estimate | None]:
    return {
        name: _mean([s.nearest[:, k] for s in series], "1", f"nearest anion {name}", reasons)
        for k, name in enumerate((*series[0].classes, "free"))
    }


def _association(
    series: Sequence[PairSeries], n_cations: int, n_anions: int, reasons: dict[str, str]
) -> dict[str, Estimate | None]:
    litres = float(np.mean([s.volume for s in series])) * MOL_PER_LITRE_IN_PER_ANGSTROM3
    samples = [np.concatenate([s.pairs[:, :1], s.free], axis=1) for s in series]

    def quotient(mean: FloatArray) -> float:
        return float(litres * mean[0] / max(mean[1] * mean[2], 1e-9))

    if not any(s.pairs[:, 0].any() for s in series):
        reasons["association"] = "no contact pair was seen"
        return {"mass_action": None, "integral": None}
    integral = [litres * s.pairs[:, 0] / (n_cations * n_anions) for s in series]
    return {
        "mass_action": _try(
            lambda: estimate_function(samples, quotient, "L/mol"), "association", reasons
        ),
        "integral": _mean(integral, "L/mol", "association", reasons),
    }


def _like(
    series: Sequence[PairSeries], counts: Mapping[str, int], reasons: dict[str, str]
) -> dict[str, dict[str, Estimate | None]]:
    """Contacts per ion: each contact makes a neighbour of two ions."""
    result: dict[str, dict[str, Estimate | None]] = {}
    for species in series[0].like:
        per_ion = [2 * s.like[species] / counts[species] for s in series]
        columns = {"all": [x.sum(axis=1) for x in per_ion]}
        columns |= {
            f"{name}_shared_oxygens": [x[:, k] for x in per_ion] for k, name in enumerate(SHARED)
        }
        result[species] = {
            name: _mean(values, "1", f"{species}-{species} contacts, {name}", reasons)
            for name, values in columns.items()
        }
    return result


def _residence(
    read: Sequence[_Read],
    tolerance_ps: float,
    reasons: dict[str, str],
) -> dict[str, dict[str, Estimate | None]]:
    unphysical = [part.unphysical for part in read if part.unphysical]
    if unphysical:
        reasons["residence times"] = (
            f"a trajectory {unphysical[0]}; times need a run with natural masses"
        )
        return {}
    intervals = [part.interval for part in read]
    first = intervals[0]
    if first is None or any(i is None or abs(i / first - 1) > 1e-3 for i in intervals):
        reasons["residence times"] = (
            "the trajectories hold no times, or differ in the time between frames: "
            "give it (--frame-interval-ps)"
        )
        return {}
    lags = residence_lags(min(part.accumulator.n_frames for part in read))
    tolerance = round(tolerance_ps / first)
    result: dict[str, dict[str, Estimate | None]] = {}
    for pair in read[0].accumulator.trackers:
        stays = [part.accumulator.trackers[pair].stays() for part in read]
        kinds = {
            "impey": ([correlation(s, lags, tolerance=tolerance) for s in stays], tolerance_ps),
            "survival": ([correlation(s, lags) for s in stays], 0.0),
        }
        if pair in read[0].accumulator.stable_trackers:
            both = [
                [tracker.stays() for tracker in part.accumulator.stable_trackers[pair]]
                for part in read
            ]
            kinds["stable_states"] = ([stable_states(r, p, lags) for r, p in both], 0.0)
        name = "-".join(pair)
        result[name] = {
            kind: _try(
                lambda found=found, start=start: residence_time(  # type: ignore[misc]
                    found, np.asarray(lags * first, dtype=np.float64), from_ps=start
                ),
                f"{kind} residence of {name}",
                reasons,
            )
            for kind, (found, start) in kinds.items()
        }
    return result


def _plain(found: Mapping[str, Estimate | None]) -> dict[str, Any]:
    return {name: None if value is None else value.to_json() for name, value in found.items()}
