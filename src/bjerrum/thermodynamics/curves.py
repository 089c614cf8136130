"""Curves of a solution as plain data, for reports and figures: computed beside measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.literature.tables import Source
from bjerrum.system import Salt
from bjerrum.thermodynamics.conversions import molarity_at
from bjerrum.thermodynamics.experiment import experimental_curves
from bjerrum.thermodynamics.ions import Ions
from bjerrum.thermodynamics.published import PublishedPmf, published_pmf
from bjerrum.thermodynamics.series import solve_series
from bjerrum.thermodynamics.solution import SolutionPoint, solution_point

PANELS: Final = (
    ("osmotic coefficient", "phi", "osmotic_coefficient_lr", "osmotic_coefficient_mm"),
    ("mean activity coefficient", "ln gamma", "ln_gamma_lr", "ln_y_mm"),
    ("activity derivative", "d ln a/d ln c", "dlna_dlnc_lr", "dlna_dlnc_mm"),
)
"""Title, symbol, and the quantity at constant pressure and at constant water potential."""
HIGHEST_MOLALITY: Final = 6.0
CURVE_POINTS: Final = 40
CURVE_THEORIES: Final = ("hnc", "rhnc", "mpb")
_DRAWN_KT: Final = 8.0


def solution_curves(
    ions: Ions,
    computed: Mapping[str, Sequence[SolutionPoint]],
    *,
    salt: str | None,
    temperature: float,
    pmf_source: str,
    pmf_doi: str | None,
    notes: Sequence[str],
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return panels of phi, ln gamma and d ln a/d ln c, and the potentials with core and tail.

    computed  answers by name of the theory; the first is the main one, with its error band: half
              width of the theory's routes and of the potentials' uncertainty, added in squares
    salt      whose measurements stand beside; None, or a salt without data, for none
    names     of the species, where they are not the labels of ``ions``
    The keys are those of the report's document.
    """
    has_pressure = all(
        point.osmotic_coefficient_lr is not None for points in computed.values() for point in points
    )
    return {
        "salt": salt,
        "temperature_K": temperature,
        "axis": "molality_mol_per_kg" if has_pressure else "concentration_mol_per_L",
        "panels": [
            {
                "title": title,
                "symbol": symbol if has_pressure else symbol.replace("gamma", "y"),
                "curves": [
                    *(
                        _computed(theory, points, pressure if has_pressure else water)
                        for theory, points in computed.items()
                    ),
                    *(_measured(salt, computed, pressure) if has_pressure and salt else ()),
                ],
            }
            for title, symbol, pressure, water in PANELS
        ],
        "potentials": potentials(ions, names or ions.labels),
        "pmf_source": pmf_source,
        "pmf_doi": pmf_doi,
        "notes": list(notes),
    }


def potentials(ions: Ions, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return each pair's short-range and full potential of mean force, with wall and end.

    names  of the species, as shown
    """
    found = []
    for (i, j), pmf, coulomb in zip(ions.pairs, ions.pmfs, ions.coulomb[:, 0], strict=True):
        r = np.arange(pmf.wall, pmf.end + 4.0, 0.05)
        w = pmf.value(r)
        shown = w + coulomb / r < _DRAWN_KT
        found.append(
            {
                "pair": f"{names[i]}-{names[j]}",
                "r_angstrom": r[shown].tolist(),
                "short_range_kT": w[shown].tolist(),
                "full_kT": (w + coulomb / r)[shown].tolist(),
                "coulomb_kT": (coulomb / r)[shown].tolist(),
                "core_angstrom": pmf.wall,
                "end_angstrom": pmf.end,
            }
        )
    return found


def _computed(theory: str, points: Sequence[SolutionPoint], quantity: str) -> dict[str, Any]:
    x = "molality_mol_per_kg" if quantity.endswith("_lr") else "concentration_mol_per_L"
    return {
        "label": theory,
        "kind": "computed",
        "x": [getattr(point, x) for point in points],
        "value": [getattr(point, quantity) for point in points],
        "band": _band(points, quantity),
    }


def _band(points: Sequence[SolutionPoint], quantity: str) -> list[float] | None:
    errors = [point.error(quantity) for point in points]
    known = [error for error in errors if error is not None]
    return known if len(known) == len(points) else None


def _measured(
    salt: str, computed: Mapping[str, Sequence[SolutionPoint]], quantity: str
) -> list[dict[str, Any]]:
    highest = max(float(point.molality_mol_per_kg or 0) for ps in computed.values() for point in ps)
    molalities = np.linspace(0.0, np.sqrt(highest), 61)[1:] ** 2
    try:
        curves = experimental_curves(salt, molalities)
    except InputError:
        return []
    values = {
        "osmotic_coefficient_lr": curves.osmotic_coefficient,
        "ln_gamma_lr": curves.ln_gamma,
        "dlna_dlnc_lr": curves.dlna_dlnc,
    }[quantity]
    return [
        {
            "label": "experiment, 25 C",
            "kind": "experiment",
            "x": curves.molality.tolist(),
            "value": values.tolist(),
            "band": None,
            **_cited(curves.source),
        }
    ]


def _cited(found: Source) -> dict[str, Any]:
    return {"citation": f"Pitzer's equations, {found.citation}", "doi": found.doi or None}


def published_curves(
    salt: str, *, on_point: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Return curves of a salt to 6 mol/kg from published potentials of mean force; see PUBLISHED.

    Raises InputError for a salt without published potentials.
    """
    published = published_pmf(salt)
    ions, temperature = published.ions(), published.temperature
    molalities = np.linspace(0.0, np.sqrt(HIGHEST_MOLALITY), CURVE_POINTS + 1)[1:] ** 2
    molarities = [molarity_at(salt, float(m), temperature) for m in molalities]
    computed = {}
    for index, theory in enumerate(CURVE_THEORIES):

        def announce(done: int, total: int, index: int = index) -> None:
            if on_point is not None:
                on_point(index * total + done, len(CURVE_THEORIES) * total)

        points = solve_series(ions, molarities, theory, on_point=announce)
        computed[theory] = [solution_point(point, salt, temperature) for point in points]
    parsed = Salt.parse(salt)
    return solution_curves(
        ions,
        computed,
        salt=salt,
        temperature=temperature,
        pmf_source=f"{published.origin}: {published.source.citation}",
        pmf_doi=published.source.doi or None,
        notes=_notes(published),
        names=(parsed.cation.symbol, parsed.anion.symbol),
    )


def _notes(published: PublishedPmf) -> list[str]:
    return [
        "Computed from published pair potentials of mean force, not from this run's own dynamics: "
        f"{published.origin}.",
        "Band: the difference between the virial and the compressibility route, that is the "
        "theory's own inconsistency. The uncertainty of the potentials themselves is not known and "
        "not included; neither are forces between three ions.",
        f"The potentials hold for {published.temperature:g} K and a dielectric constant of "
        f"{published.dielectric_constant:g}; the measurements for 298.15 K. Converted to constant "
        "pressure with the measured density of the solutions.",
    ]
