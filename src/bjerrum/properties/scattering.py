"""X-ray and neutron structure factors from partial g(r), to lay over diffraction data.

    S_ab(Q) - 1 = 4 pi rho_0 int_0^R r^2 (g_ab - 1) sin(Q r)/(Q r) L(r) dr      (Faber-Ziman)
    F_N(Q) = sum_{a<=b} (2 - d_ab) c_a c_b b_a b_b (S_ab - 1)                   barn per atom
    F_X(Q) = sum_{a<=b} (2 - d_ab) c_a c_b f_a f_b (S_ab - 1)/(sum_a c_a f_a)^2

rho_0 is the density of all atoms, c the atomic fractions, b the bound coherent scattering lengths,
f(Q) the form factors of neutral atoms. g(r) ends at R, half the box: L(r) = sin(pi r/R)/(pi r/R)
(Lorch, J. Phys. C 2, 229 (1969)) keeps that from showing as ripples and limits the resolution in Q
to about 2 pi/R. Scattering lengths and form factors come from `periodictable`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import periodictable

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.properties.kirkwood_buff import shell_volumes

FM2_IN_BARN: Final = 0.01
Q_MAX: Final = 20.0
"""1/angstrom."""
Q_POINTS: Final = 400

Partials = Mapping[tuple[str, str], FloatArray]
"""S_ab(Q) - 1 by pair, in either order."""


@dataclass(frozen=True, eq=False)
class ScatteringCurve:
    """A structure factor on a grid of Q with standard errors; None where there are none.

    q               1/angstrom, (n_q,)
    value           (n_q,)
    standard_error  (n_q,) or None
    unit            "barn" per atom, or "1"
    """

    q: FloatArray
    value: FloatArray
    standard_error: FloatArray | None
    unit: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        error = self.standard_error
        return {
            "q_per_angstrom": self.q.tolist(),
            "value": self.value.tolist(),
            "standard_error": None
            if error is None
            else [None if math.isnan(e) else e for e in error.tolist()],
            "unit": self.unit,
        }


def q_grid(q_max: float = Q_MAX, n_points: int = Q_POINTS) -> FloatArray:
    """Return equally spaced Q up to q_max, without zero, (n_points,)."""
    if not (0 < q_max < 100 and n_points >= 2):
        raise InputError(f"q_max must lie between 0 and 100 per angstrom, got {q_max:g}")
    return np.linspace(0.0, q_max, n_points + 1)[1:]


def transform_matrix(
    r: FloatArray, r_max: float, atomic_density: float, q: FloatArray
) -> FloatArray:
    """Return T with S - 1 = T (g - 1), (n_q, n_bins): the Fourier integral with Lorch's window.

    r               bin centres, equally spaced, (n_bins,)
    r_max           where g ends, angstrom
    atomic_density  of all atoms, per cubic angstrom
    """
    if not 0 < r_max <= r[-1] + (r[1] - r[0]):
        raise InputError(f"g(r) ends at {r[-1]:.3f} angstrom, before r_max = {r_max:.3f}")
    window = np.where(r < r_max, np.sinc(np.minimum(r / r_max, 1.0)), 0.0)
    volumes = shell_volumes(r, r_max)
    return atomic_density * np.sinc(np.outer(q, r) / np.pi) * (window * volumes)


def scattering_length(nuclide: str) -> float:
    """Return the bound coherent scattering length in fm.

    nuclide  an element ("Li": natural), "D", or with its mass number ("7Li")
    Raises InputError if there is none.
    """
    match = re.fullmatch(r"(\d+)?([A-Z][a-z]?)", nuclide)
    try:
        element = periodictable.elements.symbol(match[2] if match else "")
        found = element[int(match[1])] if match and match[1] else element
        length = found.neutron.b_c
    except (KeyError, ValueError) as error:
        raise InputError(
            f"no scattering length of '{nuclide}': give an element, D, or a mass number and an "
            "element such as 7Li"
        ) from error
    if length is None:
        raise InputError(f"the scattering length of {nuclide} is not tabulated")
    return float(length)


def scattering_lengths(
    elements: Sequence[str], isotopes: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return the scattering length of each element in fm, of ``isotopes`` where they name it.

    isotopes  element -> nuclide, {"H": "D", "Li": "7Li"}
    Raises InputError for an isotope of an element that is not there.
    """
    chosen = dict(isotopes or {})
    for element, nuclide in chosen.items():
        check_isotope(element, nuclide, elements)
    return {element: scattering_length(chosen.get(element, element)) for element in elements}


def check_isotope(element: str, nuclide: str, elements: Sequence[str]) -> None:
    """Raise InputError unless the element is there and the nuclide is one of it."""
    if element not in elements:
        raise InputError(f"no {element} among {', '.join(elements)}")
    symbol = re.sub(r"^\d+", "", nuclide)
    if symbol != element and (element, symbol) != ("H", "D"):
        raise InputError(f"{nuclide} is no isotope of {element}")


def form_factors(elements: Sequence[str], q: FloatArray) -> dict[str, FloatArray]:
    """Return the X-ray form factor of each neutral atom, (n_q,) (periodictable, Cromer-Mann)."""
    atoms = {element: periodictable.elements.symbol(element) for element in elements}
    return {name: np.asarray(atom.xray.f0(q), np.float64) for name, atom in atoms.items()}


def pair_factors(
    fractions: Mapping[str, float], amplitude: Mapping[str, float] | Mapping[str, FloatArray]
) -> dict[tuple[str, str], FloatArray]:
    """Return (2 - d_ab) c_a c_b x_a x_b of each pair of elements, scalars or (n_q,)."""
    pairs = itertools.combinations_with_replacement(fractions, 2)
    return {
        (a, b): np.asarray(
            (1 if a == b else 2) * fractions[a] * fractions[b] * amplitude[a] * amplitude[b]
        )
        for a, b in pairs
    }


def neutron_factors(
    fractions: Mapping[str, float], lengths: Mapping[str, float]
) -> dict[tuple[str, str], FloatArray]:
    """Return the factor of each S_ab - 1 in F_N(Q), barn.

    fractions  atomic, by element, summing to 1
    lengths    fm
    """
    return {pair: FM2_IN_BARN * x for pair, x in pair_factors(fractions, lengths).items()}


def xray_factors(
    fractions: Mapping[str, float], q: FloatArray
) -> dict[tuple[str, str], FloatArray]:
    """Return the factor of each S_ab - 1 in F_X(Q), (n_q,), normalised by (sum c f)^2."""
    f = form_factors(list(fractions), q)
    mean = np.sum([fractions[e] * f[e] for e in fractions], axis=0)
    return {pair: x / mean**2 for pair, x in pair_factors(fractions, f).items()}


def first_difference_factors(
    fractions: Mapping[str, float],
    lengths: Mapping[str, float],
    element: str,
    nuclides: tuple[str, str],
) -> dict[tuple[str, str], FloatArray]:
    """Return the factor of each S_ab - 1 in a first-order isotope difference, barn.

    F_N with the first nuclide less F_N with the second:
    2 c_i (b - b') c_j b_j (S_ij - 1) for every j, and c_i^2 (b^2 - b'^2)(S_ii - 1) (Soper, Neilson,
    Enderby and Howe, J. Phys. C 10, 1793 (1977)). All pairs without the element cancel.

    element   whose isotope is exchanged, "Li"
    nuclides  "6Li", "7Li"
    Raises InputError if the two scatter alike or the element is not there.
    """
    for nuclide in nuclides:
        check_isotope(element, nuclide, list(fractions))
    first, second = (
        neutron_factors(fractions, {**lengths, element: scattering_length(n)}) for n in nuclides
    )
    difference = {pair: first[pair] - second[pair] for pair in first if element in pair}
    if not any(np.abs(x).max() > 0 for x in difference.values()):
        raise InputError(f"{nuclides[0]} and {nuclides[1]} scatter alike: nothing to subtract")
    return difference


def combine_partials(
    factors: Mapping[tuple[str, str], FloatArray], partials: Partials
) -> FloatArray:
    """Return sum of factor times (S_ab - 1), (n_q,) or with leading axes of the partials.

    Raises InputError naming the pairs that are missing.
    """
    missing = [f"{a}-{b}" for a, b in factors if (a, b) not in partials and (b, a) not in partials]
    if missing:
        raise InputError(
            f"this needs the partial g(r) of {', '.join(missing)}; for a first difference those of "
            "the exchanged element are enough"
        )
    either = {**{(b, a): part for (a, b), part in partials.items()}, **partials}
    return np.asarray(np.sum([x * either[pair] for pair, x in factors.items()], axis=0))
