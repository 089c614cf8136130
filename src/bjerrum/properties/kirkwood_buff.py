"""Kirkwood-Buff integrals of a 1:1 salt in water, and the activity derivatives that follow.

    G_ij = int_0^inf (g_ij - 1) 4 pi r^2 dr

between cations (c), anions (a) and water oxygen (o). With the ions of both kinds as one species C
of density 2 rho, G_CC = (G_cc + G_aa + 2 G_ca)/4 and G_CO = (G_co + G_ao)/2:

    d ln a/d ln c at constant T, p     = 1/(1 + 2 rho (G_CC - G_CO))     (Lewis-Randall)
    d ln a/d ln c at constant T, mu_w  = 1/(1 + 2 rho G_CC)              (McMillan-Mayer)

a = y c is the mean ionic activity on the scale of molarity (Kusalik and Patey, J. Chem. Phys. 86,
5110 (1987); Chitra and Smith, J. Phys. Chem. B 106, 1491 (2002)).

G is defined for an open system. In a closed box g is too low or too high at large r by terms of
order 1/N, which the factor r^2 turns into an error of order 1 in 1/A: an RDF has to be corrected
(:data:`CORRECTIONS`) before it is integrated to half the box with a weight (:data:`KERNELS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.integrate import quad
from scipy.interpolate import make_interp_spline

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.properties.structure_factor import extrapolation_weights, lattice_shells
from bjerrum.units import AVOGADRO

ION_PAIRS: Final = ("cc", "ca", "aa")
WATER_PAIRS: Final = ("co", "ao")
LIKE_PAIRS: Final = ("cc", "aa", "oo")

ANGSTROM3_IN_CM3_PER_MOL: Final = AVOGADRO * 1e-24
"""From the volume of a particle to that of a mole."""

TAIL_WIDTH: Final = 2.0
"""Angstrom on both sides of half the box over which the published recipe takes the tail's mean."""

QUADPACK_SUBDIVISIONS: Final = 50
"""scipy's default. Fifty adaptive subdivisions do not resolve RDFs of 0.01 angstrom bins; the
published numbers contain that error (up to 0.02 in d ln a/d ln c) and are reproduced with it."""

Integrals = Mapping[str, FloatArray]
"""G_ij in cubic angstrom by pair: "cc", "ca", "aa", and "co", "ao", "oo" where known; of one shape,
() for a single set of RDFs."""


@dataclass(frozen=True)
class Composition:
    """A cubic box of a 1:1 salt: edge in angstrom, ion pairs, waters (0: not needed)."""

    edge: float
    n_pairs: int
    n_waters: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.edge) and self.edge > 0):
            raise InputError(f"the box edge must be positive, got {self.edge:g} angstrom")
        if self.n_pairs < 2:
            raise InputError(f"at least two ion pairs are needed, got {self.n_pairs}")
        if self.n_waters < 0:
            raise InputError(f"the number of waters must not be negative, got {self.n_waters}")

    @property
    def volume(self) -> float:
        """Cubic angstrom."""
        return self.edge**3

    @property
    def salt_density(self) -> float:
        """Cations (or anions) per cubic angstrom."""
        return self.n_pairs / self.volume

    @property
    def water_density(self) -> float:
        """Waters per cubic angstrom."""
        return self.n_waters / self.volume

    def neighbours(self, pair: str) -> int:
        """Return the number of particles of the second species of a pair."""
        return self.n_waters if pair[1] == "o" else self.n_pairs


# --- weights under the integral; x = r / r_max ---


def sharp_cut(r: FloatArray, r_max: float) -> FloatArray:
    """Return 1: the integral is cut at r_max."""
    return np.ones_like(r)


def krueger_u1(r: FloatArray, r_max: float) -> FloatArray:
    """Return 1 - x^3 (Krueger and Vlugt, Phys. Rev. E 97, 051301 (2018))."""
    return 1 - (r / r_max) ** 3


def krueger_u2(r: FloatArray, r_max: float) -> FloatArray:
    """Return 1 - 23 x^3/8 + 3 x^4/4 + 9 x^5/8 (Krueger and Vlugt 2018)."""
    x = r / r_max
    return 1 - 23 * x**3 / 8 + 3 * x**4 / 4 + 9 * x**5 / 8


def fourier_to_zero(r: FloatArray, r_max: float) -> FloatArray:
    """Return sum_k c_k sin(k r)/(k r): the Fourier integral, extrapolated from the box's k to 0.

    c_k are those of :func:`bjerrum.properties.structure_factor.extrapolation_weights` for a cubic
    box of edge 2 r_max, quadratic in k^2.
    """
    shells = lattice_shells(np.eye(3) * 2 * r_max)
    weights = extrapolation_weights(shells, "quadratic")
    return np.sinc(np.outer(r, shells.k) / np.pi) @ weights


KERNELS: Final[Mapping[str, Callable[[FloatArray, float], FloatArray]]] = {
    "cut": sharp_cut,
    "u1": krueger_u1,
    "u2": krueger_u2,
    "fourier": fourier_to_zero,
}

# --- corrections of g(r) for the closed box ---


def tail_normalised(
    r: FloatArray, g: FloatArray, pair: str, box: Composition, like_n_minus_1: bool
) -> FloatArray:
    """Return g over its mean within 2 angstrom of half the box (the published recipe).

    Zhang, Pagotto, Gould and Duignan, arXiv:2310.12535. Needs g beyond half the box, normalised
    there by the volume of the shell that lies inside the box.

    r     (n_bins,)
    g     (..., n_bins); the other arguments are not used
    Raises InputError if r does not reach half the box plus 2 angstrom, or g is zero there.
    """
    require_tail(r, box)
    tail = np.abs(r - box.edge / 2) <= TAIL_WIDTH
    mean = g[..., tail].mean(axis=-1, keepdims=True)
    if (mean <= 0).any():
        raise InputError(f"no pairs {pair} around half the box: the run is too short")
    return g / mean


def van_der_vegt(
    r: FloatArray, g: FloatArray, pair: str, box: Composition, like_n_minus_1: bool
) -> FloatArray:
    """Return g corrected for the particles that are missing elsewhere in a closed box.

    g N_j f/(N_j f - DN_ij(r) - delta_ij), f = 1 - (4/3) pi r^3/V,
    DN_ij = (N_j/V) int_0^r 4 pi s^2 (g - 1) ds (Ganguly and van der Vegt, J. Chem. Theory Comput.
    9, 1347 (2013)), for g normalised by N_j/V, like pairs too.

    r               (n_bins,)
    g               (..., n_bins)
    pair            "cc", "ca", ...
    like_n_minus_1  like pairs come normalised by (N - 1)/V
    """
    n, like = box.neighbours(pair), pair in LIKE_PAIRS
    known = r < box.edge / 2 + _spacing(r)
    if like and like_n_minus_1:
        g = g * (n - 1) / n
    excess = n / box.volume * (g - 1) * shell_volumes(r, np.inf)
    within = np.cumsum(excess, axis=-1) - excess / 2
    room = n * np.where(known, 1 - 4 / 3 * np.pi * r**3 / box.volume, 1.0)
    return np.where(known, g * room / np.where(known, room - within - like, 1.0), g)


def uncorrected(
    r: FloatArray, g: FloatArray, pair: str, box: Composition, like_n_minus_1: bool
) -> FloatArray:
    """Return g as it is, right for an infinite system only."""
    return g


Correction = Callable[[FloatArray, FloatArray, str, Composition, bool], FloatArray]
CORRECTIONS: Final[Mapping[str, Correction]] = {
    "none": uncorrected,
    "tail": tail_normalised,
    "vegt": van_der_vegt,
}

# --- from g to integrals to derivatives ---


def kirkwood_buff_integral(r: FloatArray, g: FloatArray, r_max: float, kernel: str) -> FloatArray:
    """Return G = sum_shells (g - 1) u(r) dV up to r_max, cubic angstrom, (...).

    r       bin centres, equally spaced, (n_bins,)
    g       (..., n_bins)
    kernel  a key of KERNELS
    Raises InputError if r does not reach r_max.
    """
    require_reach(r, r_max)
    inside = r < r_max + _spacing(r)
    volumes = shell_volumes(r[inside], r_max)
    weight = KERNELS[kernel](np.minimum(r[inside], r_max), r_max)
    return np.asarray((g[..., inside] - 1) @ (weight * volumes))


def published_integral(r: FloatArray, g: FloatArray, box: Composition) -> float:
    """Return G by the published recipe, digit by digit.

    A cubic spline through g, its mean over half the box +- 2 angstrom by QUADPACK, then
    int 4 pi r^2 (g/mean - 1) dr from the first point to half the box, by QUADPACK with
    QUADPACK_SUBDIVISIONS (the notebook of Zhang et al., arXiv:2310.12535).

    r, g  (n_bins,)
    Raises InputError if r does not reach half the box plus 2 angstrom.
    """
    require_tail(r, box)
    half = box.edge / 2
    spline = make_interp_spline(r, g, k=3)
    tail = _quadpack(spline, half - TAIL_WIDTH, half + TAIL_WIDTH) / (2 * TAIL_WIDTH)
    normalised = make_interp_spline(r, g / tail, k=3)
    return _quadpack(lambda s: 4 * np.pi * (normalised(s) - 1) * s**2, float(r[0]), half)


def _quadpack(function: Callable[[float], float], low: float, high: float) -> float:
    return float(quad(function, low, high, limit=QUADPACK_SUBDIVISIONS, full_output=1)[0])


def inverse_derivatives(
    integrals: Integrals, box: Composition
) -> tuple[FloatArray | None, FloatArray]:
    """Return 1/A at constant pressure (None without water) and at constant mu_w.

    1 + 2 rho (G_CC - G_CO) and 1 + 2 rho G_CC (Kusalik and Patey 1987): additive quantities, whose
    errors are symmetric where those of A are not.
    """
    ions = _ion_ion(integrals)
    constant_mu = 1 + 2 * box.salt_density * ions
    if "co" not in integrals:
        return None, constant_mu
    return constant_mu - 2 * box.salt_density * _ion_water(integrals), constant_mu


def electroneutral_inverse(integrals: Integrals, box: Composition) -> FloatArray:
    """Return 1/A at constant pressure from the unlike integrals, 2 rho (G_ca - G_CO).

    Equal to 1 + 2 rho (G_CC - G_CO) where electroneutrality holds (methods: a consistency check in
    boxes of 25 angstrom, the least noisy route in boxes of 50 and more).
    """
    return 2 * box.salt_density * (integrals["ca"] - _ion_water(integrals))


def electroneutrality_residual(integrals: Integrals, box: Composition) -> FloatArray:
    """Return 1 + rho ((G_cc + G_aa)/2 - G_ca): zero in the limit of a large box.

    Around an ion the others carry the opposite charge: 1 + rho G_cc = rho G_ca = 1 + rho G_aa.
    """
    like = (integrals["cc"] + integrals["aa"]) / 2
    return 1 + box.salt_density * (like - integrals["ca"])


def partial_molar_volumes(integrals: Integrals, box: Composition) -> tuple[FloatArray, FloatArray]:
    """Return the partial molar volumes of salt and water, cm3/mol.

    With D = rho_C + rho_w + rho_C rho_w (G_CC + G_OO - 2 G_CO):
    V_ion = (1 + rho_w (G_OO - G_CO))/D, V_w = (1 + rho_C (G_CC - G_CO))/D, V_salt = 2 V_ion
    (Kirkwood and Buff, J. Chem. Phys. 19, 774 (1951)).

    integrals  with "oo"
    """
    ions, mixed, water = _ion_ion(integrals), _ion_water(integrals), integrals["oo"]
    n_ions, n_water = 2 * box.salt_density, box.water_density
    divisor = n_ions + n_water + n_ions * n_water * (ions + water - 2 * mixed)
    of_ion = (1 + n_water * (water - mixed)) / divisor
    of_water = (1 + n_ions * (ions - mixed)) / divisor
    return 2 * of_ion * ANGSTROM3_IN_CM3_PER_MOL, of_water * ANGSTROM3_IN_CM3_PER_MOL


def molal_factor(salt_volume: FloatArray | float, box: Composition) -> FloatArray:
    """Return d ln c/d ln m = 1 - c V_salt; it turns d ln a/d ln c into d ln a/d ln m.

    salt_volume  partial molar volume of the salt, cm3/mol
    """
    return np.asarray(1 - box.salt_density * salt_volume / ANGSTROM3_IN_CM3_PER_MOL)


def like_pairs_per_n_minus_1(
    r: FloatArray, g: Mapping[str, FloatArray], box: Composition
) -> bool | None:
    """Tell whether like-ion g are normalised by (N - 1)/V; None where it cannot be told.

    Far from an ion the solution is neutral, so the densities of like and unlike ions agree:
    g_like/g_unlike is N/(N - 1) if like pairs were normalised by (N - 1)/V, and 1 if by N/V.

    g  by pair, each (n_bins,)
    """
    half = box.edge / 2
    tail = np.abs(r - half) <= TAIL_WIDTH
    counts = r[tail] ** 2
    like = counts @ (g["cc"][tail] + g["aa"][tail]) / 2
    excess = (like / (counts @ g["ca"][tail]) - 1) * (box.n_pairs - 1)
    if 0.3 < excess < 0.7 or not -1 < excess < 2:
        return None
    return bool(excess > 0.5)


def shell_volumes(r: FloatArray, r_max: float) -> FloatArray:
    """Return the volumes of shells around bin centres, the last one cut at r_max, (n_bins,)."""
    half = _spacing(r) / 2
    edges = np.append(np.maximum(r - half, 0.0), r[-1] + half)
    return 4 / 3 * np.pi * np.diff(np.minimum(edges, r_max) ** 3)


def require_reach(r: FloatArray, r_max: float) -> None:
    """Raise InputError unless the bins reach r_max."""
    if r[-1] + _spacing(r) / 2 < r_max * (1 - 1e-6):
        raise InputError(f"g(r) must reach {r_max:.3f} angstrom, it ends at {r[-1]:.3f}")


def require_tail(r: FloatArray, box: Composition) -> None:
    """Raise InputError unless the bins reach half the box plus TAIL_WIDTH."""
    try:
        require_reach(r, box.edge / 2 + TAIL_WIDTH)
    except InputError as error:
        raise InputError(f"the tail beyond half the box is needed: {error}") from error


def _spacing(r: FloatArray) -> float:
    return float(r[1] - r[0])


def _ion_ion(integrals: Integrals) -> FloatArray:
    return (integrals["cc"] + integrals["aa"] + 2 * integrals["ca"]) / 4


def _ion_water(integrals: Integrals) -> FloatArray:
    return (integrals["co"] + integrals["ao"]) / 2
