"""Concentration series from a coarse-grained model: g(r) and activity derivatives, minutes of CPU.

Every concentration has the same number of ions in a box of its own size. In an ions-only model the
water is a continuum at constant chemical potential, so the derivative is McMillan and Mayer's,
d ln a/d ln c at constant mu_w = 1/(1 + 2 rho G_CC).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from bjerrum.coarse.dilution import ions_of_model
from bjerrum.coarse.members import errors_of_points, run_members
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.screening import PAIRS, Screening, jackknife, screening_of
from bjerrum.coarse.simulate import IonBox, Measured, Sampling, simulate_ions
from bjerrum.errors import InputError
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.kirkwood_buff import Composition, inverse_derivatives
from bjerrum.properties.kirkwood_buff_result import integrals_of
from bjerrum.properties.structure_factor import extrapolation_weights
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

ESTIMATOR: Final = "vegt_u2"
"""The least noisy of g(r) in boxes of 25 angstrom (Ganguly and van der Vegt; Krueger and Vlugt)."""
STRUCTURE_FACTOR: Final = "structure_factor"


@dataclass(frozen=True, eq=False)
class SeriesPoint:
    """One concentration.

    dlna_dlnc   by estimator, at constant chemical potential of water
    pressure    osmotic, MPa; it means something only if W does not depend on concentration
    screening   structure factors and screening length
    model_error  what the spread of the committee adds; None where its members were not run
    """

    molarity: float
    measured: Measured
    dlna_dlnc: dict[str, Estimate]
    pressure: Estimate
    screening: Screening
    model_error: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the concentration, the derivatives, the pressure, g(r) with errors and S(k)."""
        g = self.measured.g()
        error = g.std(axis=0, ddof=1) / np.sqrt(len(g))
        return {
            "concentration_mol_per_L": self.molarity,
            "dlna_dlnc_mcmillan_mayer": {k: e.to_json() for k, e in self.dlna_dlnc.items()},
            "osmotic_pressure_MPa": self.pressure.to_json(),
            "r_angstrom": self.measured.r.round(4).tolist(),
            **{f"g_{p}": g.mean(axis=0)[k].round(5).tolist() for k, p in enumerate(PAIRS)},
            **{f"g_{p}_standard_error": error[k].round(6).tolist() for k, p in enumerate(PAIRS)},
            "screening": self.screening.to_json(),
            "model_error": self.model_error,
        }


def box_at(molarity: float, n_pairs: int, ions: tuple[str, str]) -> IonBox:
    """Return the cubic box that holds n_pairs at a molarity, mol/L."""
    if not 0 < molarity <= 30:
        raise InputError(f"concentration: expected above 0 and up to 30 mol/L, got {molarity:g}")
    edge = (n_pairs / (molarity * MOL_PER_LITRE_IN_PER_ANGSTROM3)) ** (1 / 3)
    return IonBox(
        cation=ions[0], anion=ions[1], n_cations=n_pairs, n_anions=n_pairs, edge=float(edge)
    )


def concentration_series(
    potential: CoarsePotential,
    molarities: Sequence[float],
    sampling: Sampling,
    *,
    n_pairs: int = 24,
    members: Sequence[CoarsePotential] = (),
    threads: int = 1,
    announce: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[SeriesPoint]:
    """Run a box at every concentration, all in one batch, and return what was measured.

    n_pairs  in every box; more where a box would be below twice the model's cutoff
    members  of the model's committee: they are run as long again, for the model's own error
    """
    ions = ions_of_model(potential)
    boxes = [box_at(c, _enough_pairs(c, n_pairs, potential), ions) for c in molarities]
    runs = simulate_ions(potential, boxes, sampling, threads=threads, announce=announce)
    points = _points(molarities, runs, sampling, potential)
    if not members:
        return points
    others = run_members(members, boxes, sampling, threads=threads, announce=announce)
    series = [_points(molarities, found, sampling, potential) for found in others]
    errors = errors_of_points(points, series, sampling.replicas)
    return [replace(p, model_error=error) for p, error in zip(points, errors, strict=True)]


def _points(
    molarities: Sequence[float],
    runs: Sequence[Measured],
    sampling: Sampling,
    potential: CoarsePotential,
) -> list[SeriesPoint]:
    return [_point(c, run, sampling, potential) for c, run in zip(molarities, runs, strict=True)]


def _enough_pairs(molarity: float, n_pairs: int, potential: CoarsePotential) -> int:
    least = 2 * potential.basis.pair_cutoff + 0.2
    volume = least**3 * molarity * MOL_PER_LITRE_IN_PER_ANGSTROM3
    return max(n_pairs, int(np.ceil(volume)))


def _point(
    molarity: float, run: Measured, sampling: Sampling, potential: CoarsePotential
) -> SeriesPoint:
    inverse = {
        ESTIMATOR: _jackknife(run.g(like_n_minus_1=False), lambda g: _from_rdfs(run, g)),
        STRUCTURE_FACTOR: _jackknife(run.modes, lambda modes: _from_modes(run, modes)),
    }
    estimates = {}
    for name, (value, error) in inverse.items():
        if value > 3 * error:
            estimates[name] = _estimate(1 / value, error / value**2, "1", run, sampling)
    pressure = 160217.66 * run.pressure
    return SeriesPoint(
        molarity,
        run,
        estimates,
        _estimate(
            float(pressure.mean()),
            float(pressure.std(ddof=1) / np.sqrt(len(pressure))),
            "MPa",
            run,
            sampling,
        ),
        screening_of(run, potential.baseline, sampling.temperature),
    )


def _estimate(value: float, error: float, unit: str, run: Measured, sampling: Sampling) -> Estimate:
    return Estimate(
        value=float(value),
        standard_error=float(error),
        unit=unit,
        n_effective=float(len(run.counts)),
        provenance={
            "method": "coarse-grained ions, constant chemical potential of water",
            "replicas": sampling.replicas,
            "time_ps_each": sampling.time_ps,
        },
    )


def _from_rdfs(run: Measured, g: FloatArray) -> float:
    box = Composition(run.box.edge, run.box.n_cations)
    integrals = integrals_of(ESTIMATOR, run.r, dict(zip(PAIRS, g, strict=True)), box, False)
    return float(inverse_derivatives(integrals, box)[1])


def _from_modes(run: Measured, modes: FloatArray) -> float:
    """Return 1/A = S_CC(k to 0), S_CC = <|rho_c + rho_a|^2>/N, by a fit quadratic in k^2."""
    total = (modes[0] + 2 * modes[1] + modes[2]) / len(run.box.symbols)
    return float(extrapolation_weights(run.shells, "quadratic") @ total)


def _jackknife(
    replicas: FloatArray, function: Callable[[FloatArray], float]
) -> tuple[float, float]:
    value, error = jackknife(replicas, lambda mean: np.array([function(mean)]))
    return float(value[0]), float(error[0])
