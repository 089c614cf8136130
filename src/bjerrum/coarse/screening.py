"""How ions of a coarse-grained run screen charges: from S_ZZ(k) at small k.

    S_ZZ(k) = <|sum_i z_i exp(i k r_i)|^2>/sum_i z_i^2  ->  k^2/kappa^2      (k to 0)

with kappa the inverse Debye length at the model's own epsilon (Stillinger and Lovett, J. Chem.
Phys. 49, 1991 (1968)): an identity that a run must meet. How far a charge is felt is in the next
terms,

    k^2/S_ZZ(k) = kappa^2 + b k^2 + d k^4 + ...,

whose zero nearest to the real axis, k = 2 pi/period + i/length, is the slowest decay of the charge
correlations: exp(-r/length), without waves (no period) or with them (Leote de Carvalho and Evans,
Mol. Phys. 83, 619 (1994)). In Debye and Hueckel's theory b = 1, the rest is 0, the length 1/kappa.
Powers to k^8 below 0.8 per angstrom: by the HNC theory of LiCl at 0.5 to 2 mol/L the length is then
2 to 3 % short and the limit 2 to 3 % low, with powers to k^4 40 % and 30 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bjerrum.coarse.simulate import Measured
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.estimate import FloatArray
from bjerrum.properties.screening import inverse_debye_length
from bjerrum.properties.structure_factor import WINDOWS, LatticeShells
from bjerrum.units import bjerrum_length

PAIRS: Final = ("cc", "ca", "aa")
K_MAX: Final = WINDOWS["quadratic"][0]
POWER: Final = 4
"""Of k^2, the highest that is fitted."""


@dataclass(frozen=True, eq=False)
class Screening:
    """Structure factors of the ions and what they say of screening; errors from the replicas.

    s_ij           <rho_i rho_j*>/sqrt(N_i N_j) of cc, ca, aa, (3, n_k)
    s_zz           (n_k,)
    ratio          S_ZZ kappa^2/k^2 for k to 0 and its error: 1 by Stillinger and Lovett
    decay          1/angstrom, and its error
    wave           2 pi/period, 1/angstrom; 0 where charges do not alternate
    kappa          inverse Debye length, 1/angstrom; None for ions without charge
    """

    k: FloatArray
    s_ij: FloatArray
    s_ij_error: FloatArray
    s_zz: FloatArray
    s_zz_error: FloatArray
    kappa: float | None
    ratio: tuple[float, float] | None
    decay: tuple[float, float] | None
    wave: float

    def to_json(self) -> dict[str, Any]:
        """Return lengths in angstrom and structure factors, each with its standard error."""
        names = zip(PAIRS, self.s_ij, self.s_ij_error, strict=True)
        found: dict[str, Any] = {
            "k_per_angstrom": self.k.round(5).tolist(),
            "s_zz": self.s_zz.round(6).tolist(),
            "s_zz_standard_error": self.s_zz_error.round(7).tolist(),
        }
        for pair, s, error in names:
            found[f"s_{pair}"] = s.round(5).tolist()
            found[f"s_{pair}_standard_error"] = error.round(6).tolist()
        length = self.length
        return found | {
            "debye_length_angstrom": None if self.kappa is None else 1 / self.kappa,
            "stillinger_lovett_ratio": _pair(self.ratio),
            "screening_length_angstrom": _pair(length),
            "period_angstrom": 2 * math.pi / self.wave if self.wave > 0 else None,
        }

    @property
    def length(self) -> tuple[float, float] | None:
        """Decay length of charge correlations and its error, angstrom."""
        if self.decay is None:
            return None
        value, error = self.decay
        return 1 / value, error / value**2

    def line(self) -> str:
        """Return what a person reads."""
        if self.kappa is None or self.ratio is None:
            return "no charges, no screening"
        text = f"Debye length {1 / self.kappa:.2f} A, S_ZZ kappa^2/k^2 {_plain(self.ratio)}"
        if self.length is None:
            return f"screening length not resolved; {text}"
        waves = f" in waves of {2 * math.pi / self.wave:.1f} A" if self.wave > 0 else ""
        return f"screening length {_plain(self.length)} A{waves}; {text}"


def _pair(found: tuple[float, float] | None) -> dict[str, float] | None:
    return None if found is None else {"value": found[0], "standard_error": found[1]}


def _plain(found: tuple[float, float]) -> str:
    return f"{found[0]:.3g} +- {found[1]:.1g}"


def screening_of(run: Measured, baseline: ScreenedCoulomb, temperature: float) -> Screening:
    """Return the screening of one box; errors by jackknife over its replicas."""
    charge, box, shells = dict(baseline.charges), run.box, run.shells
    z = np.array([charge.get(box.cation, 0.0), charge.get(box.anion, 0.0)])
    n = np.array([box.n_cations, box.n_anions])
    scale = np.array([n[0], math.sqrt(n[0] * n[1]), n[1]])[:, None]
    s_ij = run.modes / scale
    if not z.any():
        s_zz, kappa = np.zeros(s_ij[:, 0].shape), None
    else:
        factors = np.array([z[0] ** 2, 2 * z[0] * z[1], z[1] ** 2])
        s_zz = np.einsum("p,rpk->rk", factors, run.modes) / float(n @ z**2)
        density = dict(zip(("c", "a"), n / box.edge**3, strict=True))
        length = bjerrum_length(baseline.dielectric_constant, temperature)
        kappa = inverse_debye_length(density, dict(zip(("c", "a"), z, strict=True)), length)
    ratio = decay = None
    wave = 0.0
    if kappa is not None and (shells.k <= K_MAX).sum() > POWER + 1:
        value, error = jackknife(s_zz, lambda s: np.array([kappa**2 / _limit(shells, s)]))
        ratio = (float(value[0]), float(error[0]))
        poles, errors = jackknife(s_zz, lambda s: _pole(shells, s, kappa))
        if np.isfinite(poles).all() and poles[0] > 3 * errors[0]:
            decay, wave = (float(poles[0]), float(errors[0])), float(poles[1])
    return Screening(
        shells.k,
        s_ij.mean(axis=0),
        _error(s_ij),
        s_zz.mean(axis=0),
        _error(s_zz),
        kappa,
        ratio,
        decay,
        wave,
    )


def _error(values: FloatArray) -> FloatArray:
    return np.asarray(values.std(axis=0, ddof=1) / math.sqrt(len(values)))


def _fit(shells: LatticeShells, s_zz: FloatArray, first: int, known: float) -> FloatArray:
    """Fit k^2/S_ZZ - known by powers of k^2 from ``first`` to POWER; relative errors are alike."""
    inside = shells.k <= K_MAX
    x = shells.k[inside] ** 2
    y = x / s_zz[inside]
    weight = np.sqrt(shells.multiplicity[inside]) / y
    columns = x[:, None] ** np.arange(first, POWER + 1) * weight[:, None]
    return np.asarray(np.linalg.lstsq(columns, (y - known) * weight)[0])


def _limit(shells: LatticeShells, s_zz: FloatArray) -> float:
    """Return k^2/S_ZZ for k to 0, 1/angstrom^2."""
    return float(_fit(shells, s_zz, 0, 0.0)[0])


def _pole(shells: LatticeShells, s_zz: FloatArray, kappa: float) -> FloatArray:
    """Return 1/length and 2 pi/period of the slowest decay; NaN where none is near K_MAX."""
    terms = _fit(shells, s_zz, 1, kappa**2)
    zeros = np.sqrt(np.roots([*terms[::-1], kappa**2]).astype(complex))
    zeros = zeros[(np.abs(zeros.imag) > 1e-6 * np.abs(zeros)) & (np.abs(zeros) < 1.5 * K_MAX)]
    if not len(zeros):
        return np.array([np.nan, np.nan])
    slowest = zeros[np.argmin(np.abs(zeros.imag))]
    return np.abs([slowest.imag, slowest.real])


def jackknife(
    replicas: FloatArray, function: Callable[[FloatArray], FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return the values for the mean over replicas and their jackknife errors."""
    n, total = len(replicas), replicas.sum(axis=0)
    left_out = np.array([function((total - each) / (n - 1)) for each in replicas])
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return function(total / n), np.asarray(error)
