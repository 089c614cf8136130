"""Constant-energy dynamics as a check: a conservative, smooth potential keeps its energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from scipy import stats

from bjerrum.dynamics.integrators import start, verlet_step
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.potential.protocol import ForceFunction
from bjerrum.units import EV_IN_MEV, PS_IN_FS

DRIFT_LIMIT = 5.0
"""meV per atom and ps: a fifth of k_B T at room temperature in a picosecond."""
FLUCTUATION_LIMIT = 1.0
"""meV per atom: rms fluctuation of the total energy that velocity Verlet may show."""


def conserve_energy(
    atoms: Atoms,
    forces: ForceFunction,
    point: tuple[FloatArray, FloatArray],
    *,
    timestep_fs: float,
    length_ps: float,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Run velocity Verlet from ``point`` and measure how the total energy changes.

    point      positions (angstrom) and velocities (angstrom/fs), each shape (n_atoms, 3)
    length_ps  of the run; it has 20 steps at least
    Returns time_ps and total_energy_meV_per_atom (relative to the start), their linear drift, the
    rms fluctuation about it, and the limits of both.
    """
    masses = atoms.get_masses()
    n_steps = max(20, round(length_ps * PS_IN_FS / timestep_fs))
    state = start(*point, masses, forces)
    energies = [state.total_energy]
    for step in range(1, n_steps + 1):
        state = verlet_step(state, masses, forces, timestep=timestep_fs)
        energies.append(state.total_energy)
        on_step(step, n_steps)
    energy = EV_IN_MEV * (np.array(energies) - energies[0]) / len(atoms)
    time = np.arange(n_steps + 1) * timestep_fs / PS_IN_FS
    line = stats.linregress(time, energy)
    residual = energy - line.intercept - line.slope * time
    return {
        "timestep_fs": timestep_fs,
        "time_ps": time.tolist(),
        "total_energy_meV_per_atom": energy.tolist(),
        "drift_meV_per_atom_per_ps": float(line.slope),
        "fluctuation_meV_per_atom": float(np.std(residual)),
        "drift_limit": DRIFT_LIMIT,
        "fluctuation_limit": FLUCTUATION_LIMIT,
    }


def require_conservation(outcome: dict[str, Any]) -> None:
    """Raise PhysicsCheckFailed if the drift or the fluctuation is above its limit."""
    drift, fluctuation = outcome["drift_meV_per_atom_per_ps"], outcome["fluctuation_meV_per_atom"]
    if not (abs(drift) <= DRIFT_LIMIT and fluctuation <= FLUCTUATION_LIMIT):
        raise PhysicsCheckFailed(
            f"energy conservation: drift {drift:.2f} meV/atom/ps (limit {DRIFT_LIMIT:g}), "
            f"fluctuation {fluctuation:.3f} meV/atom (limit {FLUCTUATION_LIMIT:g}) at "
            f"{outcome['timestep_fs']:g} fs; use a smaller time step or a better potential"
        )
