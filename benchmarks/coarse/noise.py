"""Less noise per frame, measured: solvent bursts at fixed ions, control variates, and both.

    python benchmarks/coarse/noise.py --configurations 24 --samples 16 > noise.json

Classical NaCl (SPC/E with Smith-Dang ions) in a small box by OpenMM. At each configuration of the
ions they are held and the waters run on; forces are kept every --every-ps. The variance of a label
between samples of one configuration is noise, the rest of its variance is signal:

    noise(m) = variance within a configuration of means over m samples in a row
    signal   = variance of all forces - noise(1),     explained = signal/(signal + noise(m))

A label of a method is worth noise(1)/noise(method) plain frames; "per plain frame of dynamics"
divides that by the m samples that it needed. Changes of the hydration slower than a burst count
as signal. The multiples of the control variates come from the other half of the configurations.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import openmm
from openmm import unit

from bjerrum.boxes import build_box
from bjerrum.coarse.sources import ForceFrames
from bjerrum.coarse.variates import fit_control_variates
from bjerrum.reference.classical_force_fields import SPCE_SMITH_DANG
from bjerrum.reference.classical_system import build_system
from bjerrum.system import Salt, Solution
from bjerrum.units import KJ_PER_MOL_IN_EV

TEMPERATURE = 300.0
ELEMENTS = ("Na", "Cl")
MEANS = (1, 4, 16)


def simulation(atoms, frozen: bool, seed: int):
    """Return an OpenMM context of the box; ions without mass do not move."""
    _, system = build_system(atoms, SPCE_SMITH_DANG, hydrogen_mass_amu=4.0)
    if frozen:
        for index, symbol in enumerate(atoms.symbols):
            if symbol in ELEMENTS:
                system.setParticleMass(index, 0.0)
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 1.0, 0.004)
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    return openmm.Context(system, integrator, platform, {"Threads": "1"})


def sample(atoms, n_configurations: int, n_samples: int, every_ps: float, between_ps: float):
    """Return positions and forces, (n_configurations, n_samples, n_atoms, 3)."""
    free, held = simulation(atoms, False, 1), simulation(atoms, True, 2)
    free.setPositions(atoms.positions / 10)
    openmm.LocalEnergyMinimizer.minimize(free, maxIterations=200)
    free.setVelocitiesToTemperature(TEMPERATURE, 3)
    free.getIntegrator().step(10000)
    positions, forces = [], []
    for number in range(n_configurations):
        free.getIntegrator().step(round(between_ps / 0.004))
        held.setPositions(free.getState(getPositions=True).getPositions())
        held.setVelocitiesToTemperature(TEMPERATURE, number + 4)
        held.getIntegrator().step(50)
        for _ in range(n_samples):
            held.getIntegrator().step(round(every_ps / 0.004))
            state = held.getState(getPositions=True, getForces=True)
            positions.append(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
            per_mole = unit.kilojoule_per_mole / unit.angstrom
            forces.append(state.getForces(asNumpy=True).value_in_unit(per_mole) * KJ_PER_MOL_IN_EV)
        print(f"configuration {number + 1} of {n_configurations}", file=sys.stderr, flush=True)
    shape = (n_configurations, n_samples, len(atoms), 3)
    return np.array(positions).reshape(shape), np.array(forces).reshape(shape)


def frames_of(atoms, positions: np.ndarray, forces: np.ndarray) -> ForceFrames:
    """Return frames of all configurations, one after another."""
    n = positions.shape[0] * positions.shape[1]
    flat = positions.reshape(n, -1, 3), forces.reshape(n, -1, 3)
    edges = np.tile(atoms.cell.lengths(), (n, 1))
    return ForceFrames(tuple(atoms.symbols), edges, *flat, ("0",) * n)


def reduced(atoms, positions: np.ndarray, forces: np.ndarray) -> np.ndarray:
    """Return the forces less control variates fitted to the other half of the configurations."""
    result = np.empty_like(forces)
    for part in (0, 1):
        others = frames_of(atoms, positions[1 - part :: 2], forces[1 - part :: 2])
        variates = fit_control_variates([others], ELEMENTS, TEMPERATURE)
        mine = frames_of(atoms, positions[part::2], forces[part::2])
        result[part::2] = variates.reduce(mine, TEMPERATURE).forces.reshape(forces[part::2].shape)
    return result


def noise(forces: np.ndarray, m: int) -> tuple[float, float]:
    """Return the variance within configurations of means over m samples, and its error."""
    groups = forces.shape[1] // m
    means = forces[:, : groups * m].reshape(len(forces), groups, m, *forces.shape[2:]).mean(axis=2)
    if groups == 1:
        raise ValueError(f"means over {m} samples need {2 * m} samples")
    each = means.var(axis=1, ddof=1).mean(axis=(1, 2))
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def rows(plain: np.ndarray, less: np.ndarray) -> list[dict[str, Any]]:
    """Return the table of one kind of ion; forces are (n_configurations, n_samples, n_ions, 3)."""
    single = noise(plain, 1)[0]
    signal = max(float((plain**2).mean()) - single, 0.0)
    table = []
    for name, forces in (("plain", plain), ("control variates", less)):
        for m in (m for m in MEANS if 2 * m <= forces.shape[1]):
            value, error = noise(forces, m)
            table.append(
                {
                    "method": name,
                    "samples": m,
                    "noise_rms_meV_per_angstrom": 1e3 * np.sqrt(value),
                    "noise_variance_relative_error": error / value,
                    "explained_variance": signal / (signal + value),
                    "worth_in_plain_frames": single / value,
                    "worth_per_plain_frame_of_dynamics": single / value / m,
                }
            )
    return table


def main() -> None:
    """Print the table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--every-ps", type=float, default=0.08)
    parser.add_argument("--between-ps", type=float, default=3.0)
    parser.add_argument("--waters", type=int, default=100)
    chosen = parser.parse_args()
    begin = time.process_time()
    solution = Solution(Salt.parse("NaCl"), 4.4, TEMPERATURE)
    atoms = build_box(solution, chosen.waters, seed=1)
    samples = (chosen.configurations, chosen.samples, chosen.every_ps, chosen.between_ps)
    positions, forces = sample(atoms, *samples)
    less = reduced(atoms, positions, forces)
    symbols = np.array(atoms.get_chemical_symbols())
    table = {e: rows(forces[:, :, symbols == e], less[:, :, symbols == e]) for e in ELEMENTS}
    print(
        json.dumps(
            {
                "n_ions": int(np.isin(symbols, ELEMENTS).sum()),
                "n_waters": chosen.waters,
                "edge_angstrom": float(atoms.cell.lengths()[0]),
                "configurations": chosen.configurations,
                "samples": chosen.samples,
                "every_ps": chosen.every_ps,
                "between_ps": chosen.between_ps,
                "cpu_minutes": (time.process_time() - begin) / 60,
                "by_element": table,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
