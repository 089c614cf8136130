"""Why a run was stopped: the configuration that shows it, and one line that says it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

from bjerrum.dynamics.integrators import State
from bjerrum.dynamics.recording import FLAGGED, flagged_frame
from bjerrum.dynamics.settings import Dynamics
from bjerrum.dynamics.watchdog import Event
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.frames import write_frames

TEMPERATURE_LIMIT = 3.0
"""Kinetic temperature over the target's at which a run is stopped. The temperature of N atoms has
a relative standard deviation of sqrt(2 / 3N): for 248 atoms the limit is 38 of them away."""

BLOWN_UP = "blown-up.extxyz"
USUAL_STEP_FS, USUAL_STEP_HEAVY_FS = 1.0, 2.0
"""Single steps that were measured to be sound, for natural and for 3 amu hydrogens."""
SOON_FS = 50.0
"""A run that fails within this time with a sound step began from a bad configuration."""


def stopped(
    atoms: Atoms, folder: Path, cell: FloatArray, state: State, events: list[Event]
) -> PhysicsCheckFailed:
    """Leave the configuration that the watch stopped at; return the error."""
    frame = flagged_frame(atoms, state.positions, cell, [e.to_json() for e in events])
    path = folder / FLAGGED
    write_frames(path, [frame])
    seen = "; ".join(str(event) for event in events)
    return PhysicsCheckFailed(
        f"dynamics: stopped by the watch at step {events[0].step}: {seen}; frame in {path}; to go "
        "on past it, run the same command with --watch continue, which marks such frames"
    )


def blown_up(
    atoms: Atoms, folder: Path, dynamics: Dynamics, cell: FloatArray, before: State,
    state: State, temperature: float, step: int,
) -> PhysicsCheckFailed:  # fmt: skip
    """Leave the frame that shows why, the last one with finite positions; return the error."""
    frame = atoms.copy()
    frame.set_cell(cell)
    frame.positions = state.positions if np.isfinite(state.positions).all() else before.positions
    path = folder / BLOWN_UP
    frame.info["step"] = step
    frame.info["reason"] = f"blown up: {temperature:.0f} K"
    write_frames(path, [frame])
    size = np.nan_to_num(np.abs(state.evaluation.forces), nan=np.inf).max(axis=1)
    culprit = int(np.argmax(size))
    return PhysicsCheckFailed(
        f"dynamics: the run blew up at step {step}: {temperature:.0f} K (limit "
        f"{TEMPERATURE_LIMIT * dynamics.temperature:.0f} K), "
        f"energy {state.evaluation.energy:.6g} eV, "
        f"largest force {size[culprit]:.3g} eV/angstrom on atom {culprit} "
        f"({frame.symbols[culprit]}); frame in {path}; {likely_cause(dynamics, step)}"
    )


def likely_cause(dynamics: Dynamics, step: int) -> str:
    """Return what probably went wrong and what to do."""
    heavy = dynamics.hydrogen_mass is not None and dynamics.hydrogen_mass >= 3
    usual = USUAL_STEP_HEAVY_FS if heavy else USUAL_STEP_FS
    if dynamics.inner_steps == 1 and dynamics.timestep_fs > usual:
        return (
            f"likely the time step of {dynamics.timestep_fs:g} fs: use a smaller time step, "
            f"{usual:g} fs or less"
        )
    if step * dynamics.timestep_fs < SOON_FS:
        return (
            "likely the first configuration: equilibrate it (bjerrum build), or start with a "
            f"smaller time step than {dynamics.timestep_fs:g} fs"
        )
    return (
        "likely the potential, outside what it was trained on: label such configurations and train "
        f"again, or try a smaller time step than {dynamics.timestep_fs:g} fs"
    )
