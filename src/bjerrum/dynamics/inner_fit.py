"""The inner potential of a run: fitted to the model's own forces along a short run, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.dynamics.claims import read_note
from bjerrum.dynamics.integrators import langevin_step, maxwell_boltzmann, start
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import write_json
from bjerrum.potential.fused.inner import fit_inner
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import Model
from bjerrum.potential.protocol import ForceFunction

FILE = "inner.json"
N_STEPS, STRIDE = 400, 20
"""Of 0.5 fs: 200 fs and 20 configurations, 15,000 force components for some 170 coefficients."""
FRICTION_PER_FS = 0.02


def inner_of_run(model: Model, atoms: Atoms, temperature: float, folder: Path) -> dict[str, Any]:
    """Return the inner potential that ``folder`` holds, or fit it and write it there.

    The file says what it was fitted to: the model's weights, the system and the temperature.
    Raises InputError if it is damaged or was fitted to something else.
    """
    path = folder / FILE
    origin = {
        "model_weights_sha256": model.card.weights_sha256,
        "system": atoms.get_chemical_formula(),
        "temperature_K": temperature,
    }
    if path.exists():
        return _read(path, origin)
    symbols = list(atoms.symbols)
    forces = for_dynamics(model).potential.bind(symbols, atoms.cell.array)
    positions, targets = sample(atoms, forces, temperature)
    fit = fit_inner(symbols, atoms.cell.array, positions, targets)
    inner = fit.to_json() | origin | {"n_frames": len(positions)}
    write_json(path, inner)
    return inner


def _read(path: Path, origin: dict[str, Any]) -> dict[str, Any]:
    remedy = "remove it and the chunks beside it to begin again"
    inner = read_note(path, remedy)
    wrong = [name for name, value in origin.items() if inner.get(name) != value]
    if wrong:
        name = wrong[0]
        raise InputError(
            f"{path}: was fitted for another run ({name}: expected {origin[name]}, got "
            f"{inner.get(name)}); {remedy}"
        )
    return inner


def sample(
    atoms: Atoms, forces: ForceFunction, temperature: float, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Return configurations of a short run and their forces, each (n_frames, n_atoms, 3)."""
    random, masses = np.random.default_rng(seed), atoms.get_masses()
    state = start(
        atoms.positions.copy(), maxwell_boltzmann(masses, temperature, random), masses, forces
    )
    positions, targets = [], []
    for step in range(1, N_STEPS + 1):
        state = langevin_step(
            state, masses, forces, timestep=0.5, friction=FRICTION_PER_FS,
            temperature=temperature, noise=random.standard_normal(state.positions.shape),
        )  # fmt: skip
        if step % STRIDE == 0:
            positions.append(state.positions)
            targets.append(state.evaluation.forces)
    return np.array(positions), np.array(targets)
