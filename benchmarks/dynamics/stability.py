"""How long outer and single time steps may be: energy drift and temperatures against the step.

    python benchmarks/dynamics/stability.py box.xyz OUT.json [--time-ps 2]

For each setting, from the same configuration: the drift and the fluctuation of the total energy
without a thermostat (velocity Verlet, or r-RESPA around it), then, with one, the kinetic
temperature of each element. A resonance heats the light atoms first. OUT.json holds the table
that docs/dynamics.md shows; rows that are there already are not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from scipy import stats

from bjerrum import __version__
from bjerrum.dynamics.inner_fit import inner_of_run
from bjerrum.dynamics.integrators import (
    State,
    langevin_step,
    maxwell_boltzmann,
    start,
    verlet_step,
)
from bjerrum.dynamics.multiple import multiple_step
from bjerrum.dynamics.settings import masses_of
from bjerrum.files import write_json
from bjerrum.frames import read_frames
from bjerrum.potential.fused.inner import InnerPotential
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import load_model
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2, BOLTZMANN, EV_IN_MEV

TEMPERATURE, FRICTION = 300.0, 0.005
SETTINGS = [
    *((1.0, 1, None), (2.0, 1, None), (2.0, 2, None), (2.5, 3, None), (3.0, 3, None)),
    *((4.0, 4, None), (2.0, 1, 3.0), (3.0, 1, 3.0), (3.0, 2, 3.0), (4.0, 2, 3.0), (5.0, 3, 3.0)),
]
"""Outer step in fs, inner steps, mass of hydrogen in amu."""


class Bench:
    """Forces, whole and inner, and one equilibrated configuration."""

    def __init__(self, model: str, atoms: Atoms, folder: Path) -> None:
        loaded, symbols, cell = load_model(model), list(atoms.symbols), atoms.cell.array
        self.atoms, self.weights = atoms, loaded.card.weights_sha256
        self.forces = for_dynamics(loaded, "fused").potential.bind(symbols, cell)
        self.fit = inner_of_run(loaded, atoms, TEMPERATURE, folder)
        self.inner = InnerPotential.from_json(self.fit).bind(symbols, cell, loaded.repulsion)
        self.random = np.random.default_rng(1)
        masses = atoms.get_masses()
        state = self.begin(atoms.positions, masses)
        for _ in range(500):
            state = self.step(state, masses, 1.0, 1, 0.02)
        self.positions = state.positions

    def begin(self, positions: np.ndarray, masses: np.ndarray) -> State:
        self.forces.reset()
        self.inner.reset()
        velocities = maxwell_boltzmann(masses, TEMPERATURE, self.random)
        return start(positions.copy(), velocities, masses, self.forces)

    def step(
        self, state: State, masses: np.ndarray, timestep: float, n_inner: int,
        friction: float | None,
    ) -> State:  # fmt: skip
        shape = (n_inner, *state.positions.shape)
        noise = self.random.standard_normal(shape)
        if n_inner > 1:
            return multiple_step(
                state, masses, self.forces, self.inner, timestep=timestep, n_inner=n_inner,
                friction=friction, temperature=TEMPERATURE, noise=noise,
            )  # fmt: skip
        if friction is None:
            return verlet_step(state, masses, self.forces, timestep=timestep)
        return langevin_step(
            state, masses, self.forces, timestep=timestep, friction=friction,
            temperature=TEMPERATURE, noise=noise[0],
        )  # fmt: skip

    def conserved(self, masses: np.ndarray, timestep: float, n_inner: int, ps: float) -> dict:
        """Energy with end-of-step velocities, which r-RESPA conserves."""
        state, energies = self.begin(self.positions, masses), []
        for _ in range(round(ps * 1e3 / timestep)):
            state = self.step(state, masses, timestep, n_inner, None)
            square = (masses[:, None] * state.velocities**2).sum()
            kinetic = 0.5 * AMU_IN_EV_FS2_PER_ANGSTROM2 * square
            energies.append(state.evaluation.energy + kinetic)
            if not np.isfinite(kinetic) or kinetic > 10 * 1.5 * len(masses) * BOLTZMANN * 300:
                return {
                    "drift_meV_per_atom_per_ps": None,
                    "blown_up_after_fs": len(energies) * timestep,
                }
        energy = EV_IN_MEV * np.array(energies) / len(masses)
        times = timestep * np.arange(len(energy)) / 1e3
        line = stats.linregress(times, energy)
        rest = energy - line.intercept - line.slope * times
        return {
            "drift_meV_per_atom_per_ps": float(line.slope),
            "fluctuation_meV_per_atom": float(rest.std()),
        }

    def temperatures(self, masses: np.ndarray, timestep: float, n_inner: int, ps: float) -> dict:
        """Kinetic temperature of each element and its standard error, the first fifth left out.

        From the velocities half a kick before the end of a step, which for harmonic forces and
        single steps are exact.
        """
        state, rows = self.begin(self.positions, masses), []
        kick = timestep / (2 * masses[:, None] * AMU_IN_EV_FS2_PER_ANGSTROM2)
        for _ in range(round(ps * 1e3 / timestep)):
            state = self.step(state, masses, timestep, n_inner, FRICTION)
            inner = state.inner
            half = state.velocities - kick * state.evaluation.forces
            if inner is not None:
                small = kick / n_inner
                half = state.velocities - kick * (state.evaluation.forces - inner.forces)
                half = half - small * inner.forces
            each = AMU_IN_EV_FS2_PER_ANGSTROM2 * masses * (half**2).sum(axis=1) / (3 * BOLTZMANN)
            if not np.isfinite(each).all() or each.mean() > 10 * TEMPERATURE:
                return {"temperature_K": None}
            rows.append([each.mean(), *(each[self.atoms.symbols == e].mean() for e in ("H", "O"))])
        late = np.array(rows[len(rows) // 5 :])
        blocks = np.array([part.mean(axis=0) for part in np.array_split(late, 8)])
        mean, error = blocks.mean(axis=0), blocks.std(axis=0, ddof=1) / np.sqrt(8)
        names = ("temperature_K", "temperature_H_K", "temperature_O_K")
        return {
            name: {"value": float(m), "standard_error": float(e)}
            for name, m, e in zip(names, mean, error, strict=True)
        }


def commit() -> str:
    """Return the commit that is checked out, "+" appended where files of the package differ."""
    run = ["git", "-C", str(Path(__file__).parent)]
    head = subprocess.run([*run, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    same = subprocess.run([*run, "diff", "--quiet", "HEAD", "--", ":/src/bjerrum/dynamics",
                           ":/src/bjerrum/potential"], check=False)  # fmt: skip
    return head.stdout.strip() + ("+" if same.returncode else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("box", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="licl-nnp1")
    parser.add_argument("--time-ps", type=float, default=2.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(arguments.model, read_frames(arguments.box)[0], arguments.output.parent)
    result: dict[str, Any] = {"rows": []}
    if arguments.output.exists():
        result = json.loads(arguments.output.read_text())
    result |= {
        "command": "python benchmarks/dynamics/stability.py BOX OUT",
        "code_version": __version__,
        "commit": commit(),
        "model_weights_sha256": bench.weights,
        "system": bench.atoms.get_chemical_formula(),
        "time_ps": arguments.time_ps,
        "inner_rms_left_eV_per_angstrom": bench.fit["rms_left_eV_per_angstrom"],
        "inner_rms_whole_eV_per_angstrom": bench.fit["rms_whole_eV_per_angstrom"],
    }
    done = {(r["timestep_fs"], r["inner_steps"], r["hydrogen_mass"]) for r in result["rows"]}
    for setting in SETTINGS:
        if setting in done:
            continue
        timestep, n_inner, heavy = setting
        masses = masses_of(bench.atoms, heavy)
        row = {"timestep_fs": timestep, "inner_steps": n_inner, "hydrogen_mass": heavy}
        row |= bench.conserved(masses, timestep, n_inner, arguments.time_ps / 2)
        row |= bench.temperatures(masses, timestep, n_inner, arguments.time_ps)
        print(json.dumps(row), flush=True)
        result["rows"].append(row)
        write_json(arguments.output, result)


if __name__ == "__main__":
    main()
