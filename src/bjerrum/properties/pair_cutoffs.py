"""Distances that divide ion pairs into classes, and what counts as a neighbour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.properties.peaks import NotResolved, first_minimum, significant_peaks
from bjerrum.properties.rdf import PartialRdf
from bjerrum.properties.structure import ANIONS, CATIONS, g_standard_error

PUBLISHED_PAIRS: Final[Mapping[tuple[str, str], tuple[float, ...]]] = {
    ("Li", "Cl"): (3.0, 5.5, 7.8),
    ("K", "Cl"): (4.08, 6.2),
}
"""Ends of the contact, solvent-separated and second solvent-separated shells, angstrom: minima of
the g(r) of J. Zhang, J. Pagotto, T. Gould, T. T. Duignan, arXiv:2310.12535, recomputed from its
data."""

PUBLISHED_NEIGHBOURS: Final[Mapping[tuple[str, str], float]] = {
    ("Li", "Li"): 4.1,
    ("Li", "O"): 2.8,
    ("Cl", "O"): 3.88,
    ("Cl", "Cl"): 6.35,
}
"""Ends of first shells, angstrom, same source: its own criterion for a lithium dimer, the minima of
g(r) of Li-O and Cl-O, the barrier of the Cl-Cl potential of mean force."""

CLASS_NAMES: Final = ("contact", "solvent_separated", "second_solvent_separated")


@dataclass(frozen=True)
class PairCutoffs:
    """Distances in angstrom, and where each comes from.

    shells      ends of the classes of cation-anion pairs, ascending, at most three
    neighbours  ends of first shells: cation-cation, anion-anion, ion-oxygen
    sources     "given", "published" or "measured", by pair such as "Li-Cl"
    """

    shells: tuple[float, ...]
    neighbours: Mapping[tuple[str, str], float]
    sources: Mapping[str, str]

    def __post_init__(self) -> None:
        edges = (0.0, *self.shells)
        if not 1 <= len(self.shells) <= len(CLASS_NAMES) or not all(np.diff(edges) > 0):
            raise InputError(
                "the classes of ion pairs end at one to three ascending distances such as "
                f"3.0,5.5,7.8 angstrom; got {', '.join(f'{edge:g}' for edge in self.shells)}"
            )
        if any(not edge > 0 for edge in self.neighbours.values()):
            raise InputError("shells end at positive distances")


def ions_of(symbols: Sequence[str]) -> tuple[str, str]:
    """Return the cation and the anion of a solution of one salt of monatomic ions.

    Raises InputError if there is not exactly one of each.
    """
    present = set(symbols)
    cations, anions = present & set(CATIONS), present & set(ANIONS)
    if len(cations) != 1 or len(anions) != 1:
        raise InputError(
            "pairing needs one kind of monatomic cation and one of anion, such as Li and Cl; the "
            f"trajectory holds {', '.join(sorted(present))}"
        )
    return cations.pop(), anions.pop()


def wanted_pairs(symbols: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs whose distances matter, present in the system."""
    cation, anion = ions_of(symbols)
    count = {symbol: list(symbols).count(symbol) for symbol in set(symbols)}
    pairs = [(cation, anion)]
    pairs += [(s, s) for s in (cation, anion) if count[s] > 1]
    return pairs + [(s, "O") for s in (cation, anion) if "O" in count]


def choose_cutoffs(
    rdfs: Mapping[tuple[str, str], PartialRdf],
    *,
    shells: Sequence[float] | None = None,
    neighbours: Mapping[tuple[str, str], float] | None = None,
    measured: bool = False,
    reasons: dict[str, str] | None = None,
) -> PairCutoffs:
    """Return cutoffs: those given, else published ones of this salt, else minima of g(r).

    rdfs      of :func:`wanted_pairs`, the cation-anion pair first, up to half the box; published
              shells that reach farther are left out
    measured  prefer minima of g(r) to published values
    reasons   takes why a first shell is left out: its minimum cannot be told
    Raises NotResolved, naming the option, if the contact shell of the pair cannot be told.
    """
    given = dict(neighbours or {})
    pair = next(iter(rdfs))
    sources: dict[str, str] = {}
    chosen: tuple[float, ...]
    if shells is not None:
        chosen, sources["-".join(pair)] = tuple(shells), "given"
    elif pair in PUBLISHED_PAIRS and not measured:
        reach = float(rdfs[pair].edges[-1]) + float(rdfs[pair].edges[1])
        chosen = tuple(end for end in PUBLISHED_PAIRS[pair] if end <= reach)
        sources["-".join(pair)] = "published"
    else:
        chosen, sources["-".join(pair)] = shell_minima(rdfs[pair]), "measured"
    ends: dict[tuple[str, str], float] = {}
    for other in list(rdfs)[1:]:
        name = "-".join(other)
        if other in given:
            ends[other], sources[name] = given[other], "given"
        elif other in PUBLISHED_NEIGHBOURS and not measured:
            ends[other], sources[name] = PUBLISHED_NEIGHBOURS[other], "published"
        else:
            try:
                ends[other], sources[name] = _minimum(rdfs[other]), "measured"
            except NotResolved as failure:
                (reasons if reasons is not None else {})[f"first shell of {name}"] = str(failure)
    return PairCutoffs(chosen, ends, sources)


def shell_minima(rdf: PartialRdf) -> tuple[float, ...]:
    """Return the minima after the contact, the solvent-separated and, if it is there, third peak.

    Raises NotResolved if the first two peaks cannot be told.
    """
    r, g, error = rdf.r, rdf.g, g_standard_error(rdf)
    try:
        peaks = significant_peaks(r, g, error)
    except NotResolved as failure:
        raise _name_option(rdf, failure) from failure
    if len(peaks) < 2:
        raise _name_option(rdf, NotResolved("only one peak stands out of the noise"))
    ends = [*peaks[1 : len(CLASS_NAMES)], len(r) - 1]
    minima = [
        float(r[start + int(g[start : stop + 1].argmin())])
        for start, stop in zip(peaks, ends, strict=False)
    ]
    inside = [m for m in minima if m < r[-1] - (r[1] - r[0])]
    return tuple(dict.fromkeys(inside))[: len(CLASS_NAMES)]


def _minimum(rdf: PartialRdf) -> float:
    try:
        return first_minimum(rdf.r, rdf.g, g_standard_error(rdf))
    except NotResolved as failure:
        raise _name_option(rdf, failure) from failure


def _name_option(rdf: PartialRdf, failure: NotResolved) -> NotResolved:
    name = "-".join(rdf.pair)
    like = rdf.pair[0] in CATIONS and rdf.pair[1] in ANIONS
    option = "--shells 3.0,5.5,7.8" if like else f"--shell {name}=4.1"
    return NotResolved(f"{name}: {failure}; or give the distance ({option})")


def stable_boundaries(rdf: PartialRdf) -> tuple[float, float]:
    """Return the first and the second peak of g(r): well inside, and arrived outside, angstrom.

    Raises NotResolved if they cannot be told.
    """
    peaks = significant_peaks(rdf.r, rdf.g, g_standard_error(rdf))
    if len(peaks) < 2:
        raise NotResolved(f"{'-'.join(rdf.pair)}: no second peak can be told: run longer")
    return float(rdf.r[peaks[0]]), float(rdf.r[peaks[1]])
