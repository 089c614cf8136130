"""How far a model is from labels: per element, in meV, against frames it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.estimate import FloatArray
from bjerrum.potential.protocol import Potential
from bjerrum.units import EV_IN_MEV


def evaluate(
    model: Potential,
    frames: Sequence[Atoms],
    *,
    on_frame: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Compare a model with labelled frames.

    model   gives totals, baseline included
    frames  with forces (eV/angstrom) and, if known, energies (eV) in ``atoms.calc``
    Returns n_frames, force_rmse_meV_per_angstrom and force_mae_meV_per_angstrom (all elements and
    each; root mean square over Cartesian components), force_max_error_meV_per_angstrom, and
    energy_rmse_meV_per_atom with energy_offset_meV_per_atom (the mean error, which no force and no
    property of a solution at fixed composition feels; the RMSE includes it).
    """
    errors: dict[str, list[FloatArray]] = {}
    energy_errors = []
    for done, atoms in enumerate(frames):
        predicted = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
        difference = predicted.forces - atoms.calc.results["forces"]
        symbols = np.array(atoms.get_chemical_symbols())
        for element in np.unique(symbols):
            errors.setdefault(str(element), []).append(difference[symbols == element])
        if "energy" in atoms.calc.results:
            energy_errors.append((predicted.energy - atoms.calc.results["energy"]) / len(atoms))
        on_frame(done + 1)
    by_element = {element: np.concatenate(parts) for element, parts in errors.items()}
    every = np.concatenate(list(by_element.values()))
    groups = {"all": every, **by_element}
    energy = EV_IN_MEV * np.array(energy_errors)
    return {
        "n_frames": len(frames),
        "force_rmse_meV_per_angstrom": _each(groups, lambda e: np.sqrt(np.mean(e**2))),
        "force_mae_meV_per_angstrom": _each(groups, lambda e: np.mean(np.abs(e))),
        "force_max_error_meV_per_angstrom": _each(groups, lambda e: np.max(np.abs(e))),
        "energy_rmse_meV_per_atom": float(np.sqrt(np.mean(energy**2))) if len(energy) else None,
        "energy_offset_meV_per_atom": float(np.mean(energy)) if len(energy) else None,
    }


def _each(
    groups: dict[str, FloatArray], measure: Callable[[FloatArray], np.floating[Any]]
) -> dict[str, float]:
    return {name: EV_IN_MEV * float(measure(values)) for name, values in groups.items()}
