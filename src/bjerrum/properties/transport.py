"""Transport of a solution: diffusion, conductivity, transference, viscosity, with error bars.

What the data do not resolve is None with a reason, never a number. A finite-size correction is made
with a viscosity only: the model's own (from stress stored in the trajectory, or given by the user),
or a borrowed one that the caller names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.conductivity import (
    charges_of,
    measure_conductivity,
    nernst_einstein,
)
from bjerrum.properties.diffusion import Diffusion, displacements, fit_diffusion
from bjerrum.properties.finite_size import Viscosity, corrected_diffusion
from bjerrum.properties.paths import MEMORY_BYTES, PathAccumulator, Paths
from bjerrum.properties.physical_times import why_times_mean_nothing
from bjerrum.properties.transport_result import TransportResult
from bjerrum.properties.viscosity import STRESS_NAMES, green_kubo_viscosity, stress_series
from bjerrum.trajectory import TrajectoryChunk
from bjerrum.units import CELSIUS_ZERO_IN_KELVIN, PS_IN_FS

CUBIC_TOLERANCE: Final = 1e-3
TEMPERATURE_KEYS: Final = ("temperature_K", "temperature")
DEUTERIUM_MASS: Final = 2.01410177784
"""amu, AME2020."""


def analyse_transport(
    runs: Sequence[Iterable[TrajectoryChunk]],
    *,
    names: Sequence[str] | None = None,
    temperature: float | None = None,
    charges: Mapping[str, int] | None = None,
    masses: Mapping[str, float] | None = None,
    viscosity: Viscosity | Callable[[float], Viscosity] | None = None,
    window_ps: tuple[float, float] | None = None,
    species: Sequence[str] | None = None,
    keep_drift: bool = False,
    memory_bytes: int = MEMORY_BYTES,
) -> TransportResult:
    """Transport coefficients of one or several trajectories of one system.

    runs         chunks of each, as of :func:`bjerrum.trajectory.iterate_frames`; independent
    names        of the runs, for messages
    temperature  K; default: what the trajectory says
    charges      formal, where :data:`bjerrum.properties.conductivity.CHARGES` has none
    masses       amu, where not natural: {"H": 2.014} for deuterium
    viscosity    for the finite-size correction, or what gives it for a temperature in K; default:
                 from stored stress, else no correction
    window_ps    lag times of the diffusive window; default: found automatically
    species      whose diffusion is measured; default: all but hydrogen in water
    keep_drift   leave the centre of mass where it moves
    memory_bytes for the paths of each run
    Raises InputError or FrameError for unusable input: no times, changing atoms or cell, wrapped
    coordinates that cannot be unwrapped safely, different systems; SeriesTooShort if nothing at
    all can be told.
    """
    if not runs:
        raise InputError("expected at least one trajectory, got none")
    if names is None:
        names = [f"trajectory {number}" for number in range(1, len(runs) + 1)]
    read = [
        _read(chunks, name, masses, keep_drift, memory_bytes)
        for chunks, name in zip(runs, names, strict=True)
    ]
    paths = [path for path, _ in read]
    _require_same(paths)
    kelvin = _temperature(temperature, [extra for _, extra in read])
    reasons: dict[str, str] = {}
    found = _diffusion(paths, species, window_ps, reasons)
    eta = _given_viscosity(viscosity, kelvin) or _own_viscosity(read, kelvin, reasons)
    return TransportResult(
        diffusion=found,
        corrected=_corrected(found, paths[0], kelvin, eta, reasons),
        viscosity=eta,
        **_electric(paths, found, charges, kelvin, window_ps, reasons),
        reasons=reasons,
        facts=_facts(paths, read, kelvin, masses),
    )


@dataclass(frozen=True, eq=False)
class _Extra:
    """What a trajectory holds beside positions."""

    metadata: Mapping[str, str | int | float]
    kinetic_temperature: float | None
    stress: FloatArray | None
    interval_ps: float
    name: str


def _read(
    chunks: Iterable[TrajectoryChunk],
    name: str,
    masses: Mapping[str, float] | None,
    keep_drift: bool,
    memory_bytes: int,
) -> tuple[Paths, _Extra]:
    accumulator: PathAccumulator | None = None
    metadata: Mapping[str, str | int | float] = {}
    series: dict[str, list[FloatArray]] = {}
    for chunk in chunks:
        if accumulator is None:
            accumulator = PathAccumulator(
                chunk.symbols,
                masses=masses,
                keep_drift=keep_drift,
                memory_bytes=memory_bytes,
                name=name,
            )
            metadata = chunk.metadata
            _require_physical_times(metadata, name)
        accumulator.add(chunk)
        for key in ("kinetic_temperature", *STRESS_NAMES):
            if key in chunk.observables:
                series.setdefault(key, []).append(chunk.observables[key])
    if accumulator is None:
        raise InputError(f"{name} holds no frames")
    paths = accumulator.paths()
    joined = {key: np.concatenate(parts) for key, parts in series.items()}
    kinetic = joined.get("kinetic_temperature")
    extra = _Extra(
        metadata,
        None if kinetic is None else float(kinetic.mean()),
        stress_series(joined),
        paths.interval_ps / paths.stride,
        name,
    )
    return paths, extra


def _require_physical_times(metadata: Mapping[str, str | int | float], name: str) -> None:
    """Refuse runs whose masses were changed: their configurations are right, their times not."""
    why = why_times_mean_nothing(metadata)
    if why is not None:
        raise InputError(f"{name}: {why}; transport needs a run with natural masses")


def _require_same(runs: Sequence[Paths]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if sorted(run.all_symbols) != sorted(first.all_symbols):
            raise InputError("the trajectories hold different systems; analyse them one by one")
        if abs(run.volume / first.volume - 1) > CUBIC_TOLERANCE:
            raise InputError("the trajectories have different boxes; analyse them one by one")
        if abs(run.interval_ps / first.interval_ps - 1) > CUBIC_TOLERANCE:
            raise InputError(
                "the trajectories have different times between frames, "
                f"{first.interval_ps:g} and {run.interval_ps:g} ps; analyse them one by one"
            )


def _temperature(given: float | None, extras: Sequence[_Extra]) -> float | None:
    if given is not None:
        if not 0 < given < 1e4:
            raise InputError(f"a temperature is given in kelvin, got {given:g}")
        return given
    for key in TEMPERATURE_KEYS:
        value = extras[0].metadata.get(key)
        if isinstance(value, (int, float)):
            return float(value)
    kinetic = [extra.kinetic_temperature for extra in extras]
    known = [value for value in kinetic if value is not None]
    return float(np.mean(known)) if known else None


def _diffusion(
    runs: Sequence[Paths],
    species: Sequence[str] | None,
    window_ps: tuple[float, float] | None,
    reasons: dict[str, str],
) -> dict[str, Diffusion | None]:
    present = list(dict.fromkeys(runs[0].symbols))
    wanted = present if species is None else list(species)
    if not set(wanted) <= set(present):
        raise InputError(f"diffusion is measured of {', '.join(present)}; got {', '.join(wanted)}")
    found: dict[str, Diffusion | None] = {}
    failure: SeriesTooShort | None = None
    for symbol in wanted:
        try:
            curve = displacements([run.of(symbol) for run in runs], runs[0].interval_ps)
            found[symbol] = fit_diffusion(curve, window_ps=window_ps)
        except SeriesTooShort as error:
            found[symbol], failure = None, error
            reasons[f"diffusion of {symbol}"] = str(error)
    if failure is not None and not any(found.values()):
        raise failure
    return found


def _given_viscosity(
    viscosity: Viscosity | Callable[[float], Viscosity] | None, kelvin: float | None
) -> Viscosity | None:
    if viscosity is None or isinstance(viscosity, Viscosity):
        return viscosity
    if kelvin is None:
        raise InputError("a borrowed viscosity needs a temperature: give it (--temperature)")
    return viscosity(kelvin)


def _own_viscosity(
    read: Sequence[tuple[Paths, _Extra]], kelvin: float | None, reasons: dict[str, str]
) -> Viscosity | None:
    stress = [extra.stress for _, extra in read if extra.stress is not None]
    if len(stress) < len(read):
        reasons["viscosity"] = (
            "the trajectory stores no stress and none was given: corrected values need a viscosity "
            "of this solution (viscosity, --viscosity-mpa-s)"
        )
        return None
    if kelvin is None:
        reasons["viscosity"] = "the trajectory says no temperature: give it (--temperature)"
        return None
    paths, extra = read[0]
    try:
        found = green_kubo_viscosity(
            stress,
            interval_fs=extra.interval_ps * PS_IN_FS,
            volume=paths.volume,
            temperature=kelvin,
        )
    except SeriesTooShort as error:
        reasons["viscosity"] = str(error)
        return None
    return Viscosity(found.estimate, "Green-Kubo, from this trajectory's stress", borrowed=False)


def _corrected(
    found: Mapping[str, Diffusion | None],
    run: Paths,
    kelvin: float | None,
    eta: Viscosity | None,
    reasons: dict[str, str],
) -> dict[str, Estimate | None]:
    edge = run.volume ** (1 / 3)
    cubic = np.abs(run.cell - edge * np.eye(3)).max() < CUBIC_TOLERANCE * edge
    if eta is None or kelvin is None or not cubic:
        why = "viscosity" if eta is None else "temperature" if kelvin is None else "cubic cell"
        reasons["corrected diffusion"] = f"a finite-size correction needs a {why}"
        return dict.fromkeys(found)
    return {
        s: None if d is None else corrected_diffusion(d.estimate, kelvin, eta, edge)
        for s, d in found.items()
    }


def _electric(
    runs: Sequence[Paths],
    found: Mapping[str, Diffusion | None],
    charges: Mapping[str, int] | None,
    kelvin: float | None,
    window_ps: tuple[float, float] | None,
    reasons: dict[str, str],
) -> dict[str, Any]:
    """Return conductivity and nernst_einstein, or why there are none."""
    nothing = {"conductivity": None, "nernst_einstein": None}
    known = charges_of(runs[0].all_symbols, charges)
    ions = [s for s, charge in known.items() if charge]
    if not ions or kelvin is None:
        reasons["conductivity"] = (
            "no ions" if not ions else "no temperature is known: give it (--temperature)"
        )
        return nothing
    missing = [s for s in ions if found.get(s) is None]
    if missing:
        reasons["conductivity"] = f"it needs the diffusive window of {', '.join(missing)}"
        return nothing
    each = {s: d for s, d in found.items() if s in ions and d is not None}
    counts = {s: runs[0].symbols.count(s) for s in ions}
    volume = runs[0].volume
    estimates = {s: d.estimate for s, d in each.items()}
    independent = nernst_einstein(estimates, known, counts, volume, kelvin)
    start = max(d.window_ps[0] for d in each.values())
    stop = None if window_ps is None else window_ps[1]
    try:
        collective = measure_conductivity(runs, known, kelvin, start_ps=start, stop_ps=stop)
    except SeriesTooShort as error:
        reasons["conductivity"] = str(error)
        return {"conductivity": None, "nernst_einstein": independent}
    return {"conductivity": collective, "nernst_einstein": independent}


def _facts(
    runs: Sequence[Paths],
    read: Sequence[tuple[Paths, _Extra]],
    kelvin: float | None,
    masses: Mapping[str, float] | None,
) -> dict[str, Any]:
    first = runs[0]
    used = dict(zip(first.symbols, first.masses.tolist(), strict=True)) | dict(masses or {})
    return {
        "temperature_K": kelvin,
        "temperature_C": None if kelvin is None else kelvin - CELSIUS_ZERO_IN_KELVIN,
        "volume_angstrom3": first.volume,
        "n_trajectories": len(runs),
        "n_frames": [run.n_frames for run in runs],
        "frame_interval_ps": first.interval_ps,
        "was_wrapped": [run.was_wrapped for run in runs],
        "hydrogen": _hydrogen(first, masses, read[0][1].metadata),
        "masses_amu": used,
    }


def _hydrogen(
    run: Paths, masses: Mapping[str, float] | None, metadata: Mapping[str, str | int | float]
) -> str | None:
    if "H" not in run.all_symbols:
        return None
    given = (masses or {}).get("H", metadata.get("hydrogen_mass_amu"))
    if given is None:
        return (
            "not stated by the trajectory; taken as natural hydrogen, 1.008 amu (a run with the "
            "mass of deuterium diffuses 5 to 10 % more slowly)"
        )
    return f"{float(given):g} amu" + (" (deuterium)" if float(given) > 1.5 else "")
