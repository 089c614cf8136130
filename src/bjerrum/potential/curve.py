"""The learning curve: validation error against optimiser step, one CSV per training."""

from __future__ import annotations

import csv
from pathlib import Path

from bjerrum.files import atomic_path

LEARNING_CURVE = "learning_curve.csv"
FORCE_RMSE = "validation_force_rmse_meV_per_angstrom"
ENERGY_RMSE = "validation_energy_rmse_meV_per_atom"


def curve_row(step: int, rate: float, force_rmse: float, energy_rmse: float) -> dict[str, float]:
    """Return a row; errors in meV/angstrom and meV/atom, the latter NaN without energies."""
    return {
        "step": step,
        "learning_rate": rate,
        FORCE_RMSE: force_rmse,
        ENERGY_RMSE: energy_rmse,
    }


def read_learning_curve(folder: Path) -> list[dict[str, float]]:
    """Return the rows of a folder's learning curve; an empty list before the first round."""
    path = folder / LEARNING_CURVE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def write_learning_curve(folder: Path, rows: list[dict[str, float]]) -> None:
    """Write the rows, atomically."""
    with atomic_path(folder / LEARNING_CURVE) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {k: int(v) if k == "step" else f"{v:.6g}" for k, v in row.items()} for row in rows
        )
