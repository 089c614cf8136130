"""Ionic conductivity, Onsager coefficients and transference numbers from collective displacements.

    sigma = lim d/dt <|M(t) - M(0)|^2>/(6 V k T),    M = e sum_i z_i r_i     (Einstein, Helfand)
    sigma = sum_ij z_i z_j e^2 L_ij,    L_ij = lim d/dt <dR_i . dR_j>/(6 V k T)     (Onsager)

R_i is the sum of the positions of species i. sigma does not depend on the frame, the L_ij do: they
are given in the frame of the solvent's centre of mass where there is a solvent, else in that of the
whole system. The charges are formal ones; a neutral molecule contributes nothing in the long run.
The hydrodynamic finite-size term is the same for all ions and cancels in sigma, not in the
Nernst-Einstein value.

A box gives only one collective displacement: its three components and stretches of the run are the
samples behind the error bar (a little too wide: of independent walkers it covers the truth in 80 %
of the cases, because neighbouring stretches are anticorrelated, which is not claimed).

Sources: J. P. Hansen and I. R. McDonald, Theory of Simple Liquids, section 10.5; K. D. Fong, H. K.
Bergstrom, B. D. McCloskey, K. K. Mandadapu, AIChE J. 66, e17091 (2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Final

import numpy as np

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray, IntArray
from bjerrum.properties.diffusion import LONGEST_LAG, MIN_LAGS, fitted_lags, slope_weights
from bjerrum.properties.diffusion import stretched_displacements as stretched
from bjerrum.properties.msd import lag_grid, squared_displacements
from bjerrum.properties.paths import Paths
from bjerrum.properties.statistics import estimate_function, estimate_mean
from bjerrum.units import ELEMENTARY_CHARGE, thermal_energy

CHARGES: Final[Mapping[str, int]] = (
    dict.fromkeys(("Li", "Na", "K", "Rb", "Cs"), 1)
    | dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba"), 2)
    | dict.fromkeys(("F", "Cl", "Br", "I"), -1)
    | dict.fromkeys(("O", "H"), 0)
)
"""Formal charges; oxygen and hydrogen are those of water."""

STRETCHES: Final = 20
"""Pieces of the run; with three components, 60 samples of the collective displacement."""

SHORT_WINDOW: Final = 0.02
WINDOW_RATIO: Final = 5.0
"""The lags end at this share of the run, or at so many times the first, whichever is longer: of one
collective displacement a lag of t has the relative error sqrt(2 t/T)."""

CONDUCTIVITY_UNIT: Final = "S/m"

SpeciesPair = tuple[str, str]

CENTRE_OF_MASS: Final = "centre of mass"
"""The frame of ions alone: there is no solvent to refer to."""


@dataclass(frozen=True, eq=False)
class Conductivity:
    """Conductivity and what it is made of.

    einstein              S/m
    onsager               z_i z_j e^2 L_ij of each pair of species, S/m; unlike pairs count twice
    transference          of each species, 1; they add up to 1
    frame                 of the Onsager coefficients: "solvent" or "centre of mass"
    window_ps             first and last lag time of the fit
    """

    einstein: Estimate
    onsager: Mapping[SpeciesPair, Estimate]
    transference: Mapping[str, Estimate]
    frame: str
    window_ps: tuple[float, float]


def charges_of(symbols: Sequence[str], replaced: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return the formal charge of each species present.

    Raises InputError for species without a known charge and for a system that is not neutral.
    """
    charges = dict(CHARGES) | dict(replaced or {})
    present = list(dict.fromkeys(symbols))
    unknown = [symbol for symbol in present if symbol not in charges]
    if unknown:
        raise InputError(
            f"no formal charge is known for {', '.join(unknown)}: give it "
            f"(charges, --charge {unknown[0]}=1)"
        )
    total = sum(charges[symbol] for symbol in symbols)
    if total:
        raise InputError(f"the ions' charges add up to {total:+d}, expected 0: check --charge")
    return {symbol: charges[symbol] for symbol in present}


def ion_sums(paths: Paths, charges: Mapping[str, int]) -> tuple[dict[str, FloatArray], str]:
    """Return the summed displacements of each ionic species, (n_frames, 3), and their frame.

    In the solvent's frame R_i - N_i R_w/N_w, the solvent being all that carries no charge: its
    centre of mass follows from the ions' because that of the whole is at rest.
    """
    ions = [symbol for symbol, charge in charges.items() if charge]
    sums: dict[str, FloatArray] = {s: paths.of(s).sum(axis=1, dtype=np.float64) for s in ions}
    if not paths.drift_removed:
        return sums, "as given"
    species = np.array(paths.symbols)
    mass = {s: float(paths.masses[species == s][0]) for s in ions}
    counts = {s: int((species == s).sum()) for s in ions}
    solvent_mass = paths.total_mass - sum(mass[s] * counts[s] for s in ions)
    if solvent_mass <= 1e-6 * paths.total_mass:
        return sums, CENTRE_OF_MASS
    centre = -np.sum([mass[s] * sums[s] for s in ions], axis=0) / solvent_mass
    return {s: sums[s] - counts[s] * centre for s in ions}, "solvent"


def measure_conductivity(
    runs: Sequence[Paths],
    charges: Mapping[str, int],
    temperature: float,
    *,
    start_ps: float,
    stop_ps: float | None = None,
) -> Conductivity:
    """Return the conductivity of one or several runs of one system.

    charges      formal, by species; see :func:`charges_of`
    temperature  K
    start_ps     from which on the ions diffuse; see :func:`bjerrum.properties.diffusion`
    stop_ps      last lag time; default: SHORT_WINDOW and WINDOW_RATIO
    Raises InputError without ions, SeriesTooShort if the run is too short for the window or for an
    error bar.
    """
    ions = [symbol for symbol, charge in charges.items() if charge]
    if not ions:
        raise InputError("a conductivity needs ions; the system holds none")
    lags, chosen = _lags(runs, start_ps, stop_ps)
    weights, _ = slope_weights(lags[chosen], min(run.n_frames for run in runs))
    volume = float(np.mean([run.volume for run in runs]))
    interval = runs[0].interval_ps
    unit = conductivity_unit(temperature) / (6 * volume * interval)
    sums = [ion_sums(run, charges) for run in runs]
    pairs = list(combinations_with_replacement(ions, 2))

    def slopes(combine: Mapping[str, float]) -> tuple[list[FloatArray], float]:
        paths = [sum(f * of[s] for s, f in combine.items()) for of, _ in sums]
        return _slopes([np.asarray(path) for path in paths], lags[chosen], weights)

    single = {s: slopes({s: 1.0}) for s in ions}
    values: dict[SpeciesPair, float] = {}
    samples: dict[SpeciesPair, list[FloatArray]] = {}
    for a, b in pairs:
        factor = charges[a] * charges[b] * unit
        if a == b:
            samples[a, b], values[a, b] = [factor * x for x in single[a][0]], factor * single[a][1]
            continue
        both, total = slopes({a: 1.0, b: 1.0})
        parts = zip(both, single[a][0], single[b][0], strict=True)
        samples[a, b] = [factor * (x - y - z) / 2 for x, y, z in parts]
        values[a, b] = factor * (total - single[a][1] - single[b][1]) / 2
    moment, whole = slopes({s: float(charges[s]) for s in ions})
    einstein = estimate_mean([unit * part for part in moment], CONDUCTIVITY_UNIT)
    times = lags[chosen] * interval
    return Conductivity(
        einstein=replace(einstein, value=unit * whole),
        onsager={
            pair: replace(estimate_mean(samples[pair], CONDUCTIVITY_UNIT), value=values[pair])
            for pair in pairs
        },
        transference=_transference(ions, pairs, values, samples),
        frame=sums[0][1],
        window_ps=(float(times[0]), float(times[-1])),
    )


def conductivity_unit(temperature: float) -> float:
    """Return e^2/(k T) in S/m per (angstrom^2/ps)/angstrom^3."""
    return float(ELEMENTARY_CHARGE / thermal_energy(temperature) * 1e-20 / 1e-12 / 1e-30)


def nernst_einstein(
    diffusion: Mapping[str, Estimate],
    charges: Mapping[str, int],
    counts: Mapping[str, int],
    volume: float,
    temperature: float,
) -> Estimate:
    """Return the conductivity of independent ions, S/m.

    sigma = e^2/(V k T) sum_i N_i z_i^2 D_i; errors of different species add in quadrature.

    diffusion  1e-9 m2/s, by species
    volume     cubic angstrom
    """
    unit = conductivity_unit(temperature) / volume / 10  # 1e-9 m2/s = 0.1 angstrom^2/ps
    factor = {s: unit * counts[s] * charges[s] ** 2 for s in diffusion if charges[s]}
    if not factor:
        raise InputError("a conductivity needs ions; the system holds none")
    return Estimate(
        value=sum(f * diffusion[s].value for s, f in factor.items()),
        standard_error=float(
            np.sqrt(sum((f * diffusion[s].standard_error) ** 2 for s, f in factor.items()))
        ),
        unit=CONDUCTIVITY_UNIT,
        n_effective=min(diffusion[s].n_effective for s in factor),
    )


def _lags(
    runs: Sequence[Paths], start_ps: float, stop_ps: float | None
) -> tuple[IntArray, IntArray]:
    n_frames, interval = min(run.n_frames for run in runs), runs[0].interval_ps
    longest = int(LONGEST_LAG * n_frames)
    wanted = SHORT_WINDOW * n_frames if stop_ps is None else stop_ps / interval
    if stop_ps is None:
        wanted = max(wanted, WINDOW_RATIO * start_ps / interval)
    longest = min(longest, round(wanted))
    lags = lag_grid(max(longest, 1))
    start = int(np.searchsorted(lags * interval, start_ps * (1 - 1e-9)))
    if len(lags) - start < MIN_LAGS:
        raise SeriesTooShort(
            f"the collective displacement needs lags from {start_ps:.3g} ps on within a tenth of "
            f"the run ({n_frames * interval:.3g} ps): run longer",
            n_effective=1 / LONGEST_LAG,
        )
    return lags, fitted_lags(start, len(lags))


def _slopes(
    paths: Sequence[FloatArray], lags: IntArray, weights: FloatArray
) -> tuple[list[FloatArray], float]:
    """Return slopes per frame of each component and stretch, and that of all origins, angstrom^2.

    Each component counts threefold: it stands for the sum of three.
    """
    samples, totals = [], []
    for path in paths:
        components = path[:, :, None]
        totals.append(3 * squared_displacements(components, lags, slice(0, len(path))))
        parts = stretched(components, lags, STRETCHES)
        samples += list(3 * np.einsum("l,slc->cs", weights, parts))
    return samples, float(weights @ np.concatenate(totals, axis=1).mean(axis=1))


def _transference(
    ions: Sequence[str],
    pairs: Sequence[SpeciesPair],
    values: Mapping[SpeciesPair, float],
    samples: Mapping[SpeciesPair, list[FloatArray]],
) -> dict[str, Estimate]:
    """t_i = sum_j z_i z_j L_ij/sum_ij z_i z_j L_ij, by the jackknife over the samples."""
    stacked = [np.stack(parts, axis=-1) for parts in zip(*samples.values(), strict=True)]
    share = {
        s: np.array(
            [1.0 if a == b == s else 0.5 if s in (a, b) and a != b else 0.0 for a, b in pairs]
        )
        for s in ions
    }
    twice = np.array([1.0 if a == b else 2.0 for a, b in pairs])
    mean = np.array([values[pair] for pair in pairs])

    result = {}
    for symbol in ions:

        def number(x: FloatArray, part: FloatArray = twice * share[symbol]) -> float:
            return float(part @ x / (twice @ x))

        result[symbol] = replace(estimate_function(stacked, number, "1"), value=number(mean))
    return result
