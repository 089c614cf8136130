"""How far a model is from labels: per element, in meV, against frames it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.estimate import FloatArray
from bjerrum.potential.protocol import Potential
from bjerrum.potential.residuals import Residuals, collect_residuals
from bjerrum.units import EV_IN_MEV

DISTANCE_EDGES = (1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
"""Angstrom, of the bins of the distance to the nearest ion."""

CALIBRATION_BINS = 10
_LEAST_ATOMS_PER_BIN = 20


def evaluate(
    model: Potential,
    frames: Sequence[Atoms],
    *,
    ions: Sequence[str] = (),
    on_frame: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Compare a model with labelled frames.

    model   gives totals, baseline included
    frames  with forces (eV/angstrom) and, if known, energies (eV) in ``atoms.calc``
    ions    elements for the errors near ions
    Returns what :func:`summarise` returns.
    """
    return summarise(collect_residuals(model, frames, ions=ions, on_frame=on_frame))


def summarise(residuals: Residuals) -> dict[str, Any]:
    """Return the errors as plain numbers.

    n_frames, force_rmse_meV_per_angstrom and force_mae_meV_per_angstrom (all elements and each;
    root mean square over Cartesian components), force_max_error_meV_per_angstrom, and
    energy_rmse_meV_per_atom with energy_offset_meV_per_atom (the mean error, which no force and no
    property of a solution at fixed composition feels; the RMSE includes it). With ions also
    force_rmse_by_nearest_ion, with a committee also committee (:func:`calibration`).
    """
    errors = residuals.errors
    groups = {"all": errors}
    for element in np.unique(residuals.elements):
        groups[str(element)] = errors[residuals.elements == element]
    energy = EV_IN_MEV * residuals.energy_errors
    summary: dict[str, Any] = {
        "n_frames": residuals.n_frames,
        "force_rmse_meV_per_angstrom": _each(groups, lambda e: np.sqrt(np.mean(e**2))),
        "force_mae_meV_per_angstrom": _each(groups, lambda e: np.mean(np.abs(e))),
        "force_max_error_meV_per_angstrom": _each(groups, lambda e: np.max(np.abs(e))),
        "energy_rmse_meV_per_atom": float(np.sqrt(np.mean(energy**2))) if len(energy) else None,
        "energy_offset_meV_per_atom": float(np.mean(energy)) if len(energy) else None,
    }
    if residuals.nearest:
        summary["force_rmse_by_nearest_ion"] = by_nearest_ion(residuals)
    if residuals.spread is not None:
        summary["committee"] = calibration(residuals)
    return summary


def by_nearest_ion(residuals: Residuals) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Return the force RMSE of each element against the distance to the nearest ion of each kind.

    ``result["Li"]["Cl"]`` is a list of bins (from_angstrom, to_angstrom, n_atoms,
    force_rmse_meV_per_angstrom) of the Li atoms, by their nearest Cl; empty bins are left out.
    """
    return {
        str(element): {
            ion: _bins(residuals, residuals.elements == element, distances)
            for ion, distances in residuals.nearest.items()
        }
        for element in np.unique(residuals.elements)
    }


def _bins(residuals: Residuals, chosen: Any, distances: FloatArray) -> list[dict[str, float]]:
    rows = []
    for low, high in pairwise(DISTANCE_EDGES):
        inside = chosen & (distances >= low) & (distances < high)
        if inside.any():
            rmse = np.sqrt(np.mean(residuals.errors[inside] ** 2))
            rows.append(
                {
                    "from_angstrom": low,
                    "to_angstrom": high,
                    "n_atoms": int(inside.sum()),
                    "force_rmse_meV_per_angstrom": EV_IN_MEV * float(rmse),
                }
            )
    return rows


def calibration(residuals: Residuals) -> dict[str, Any]:
    """Return how a committee's spread compares with its true error.

    factor    rms error over rms spread: what to multiply the spread by
    within    share of force components whose error is below that multiple of their atom's spread;
              0.68 if errors were Gaussian with it
    rank_correlation  Spearman's, of spread and size of the error, atom by atom
    bins      atoms sorted by their spread: rms spread and rms error of each tenth
    All in meV/angstrom per Cartesian component; of at least 20 atoms a bin.
    """
    from scipy import stats

    assert residuals.spread is not None
    size = np.sqrt(np.mean(residuals.errors**2, axis=1))
    spread = residuals.spread
    rms_error, rms_spread = _rms(size), _rms(spread)
    factor = rms_error / rms_spread if rms_spread > 0 else None
    is_defined = len(size) > 2 and np.ptp(size) > 0 and np.ptp(spread) > 0
    within = None
    if factor is not None:
        within = float(np.mean(np.abs(residuals.errors) <= factor * spread[:, None]))
    groups = {"all": np.full(len(spread), fill_value=True)}
    groups |= {str(e): residuals.elements == e for e in np.unique(residuals.elements)}
    n_bins = max(1, min(CALIBRATION_BINS, len(spread) // _LEAST_ATOMS_PER_BIN))
    return {
        "force_spread_meV_per_angstrom": {
            name: EV_IN_MEV * _rms(spread[chosen]) for name, chosen in groups.items()
        },
        "factor": factor,
        "within": within,
        "rank_correlation": float(stats.spearmanr(spread, size).statistic) if is_defined else None,
        "bins": [
            {
                "n_atoms": len(part),
                "spread_meV_per_angstrom": EV_IN_MEV * _rms(spread[part]),
                "error_meV_per_angstrom": EV_IN_MEV * _rms(size[part]),
            }
            for part in np.array_split(np.argsort(spread, kind="stable"), n_bins)
        ],
    }


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _each(
    groups: dict[str, FloatArray], measure: Callable[[FloatArray], np.floating[Any]]
) -> dict[str, float]:
    return {name: EV_IN_MEV * float(measure(values)) for name, values in groups.items()}
