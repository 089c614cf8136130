"""Density and pressure of a run at constant pressure, beside the measured density.

    python benchmarks/dynamics/density.py run.h5 data/dynamics/constant-pressure.json

The run starts from a wrong density; the mean is over its last half, with the error of eight blocks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from stability import commit

from bjerrum import __version__
from bjerrum.density import solution_density
from bjerrum.files import write_json
from bjerrum.trajectory import read_h5md

AMU_PER_ANGSTROM3 = 1660.53906660
"""kg/m3, CODATA 2018."""
WATER_KG_PER_MOL = 0.01801528


def estimate(series: np.ndarray) -> dict[str, float]:
    """Return the mean and its standard error from eight blocks."""
    blocks = [block.mean() for block in np.array_split(series, 8)]
    error = float(np.std(blocks, ddof=1) / np.sqrt(len(blocks)))
    return {"value": float(series.mean()), "standard_error": error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--salt", default="LiCl")
    parser.add_argument("--cation", default="Li", help="one in each formula unit of the salt")
    arguments = parser.parse_args()
    chunks = list(read_h5md(arguments.run))
    symbols = list(chunks[0].symbols)
    mass = sum(atomic_masses[atomic_numbers[symbol]] for symbol in symbols)
    volumes = np.concatenate([np.linalg.det(chunk.cell) for chunk in chunks])
    times = np.concatenate([chunk.times_ps for chunk in chunks])
    pressure = np.concatenate([chunk.observables["pressure"] for chunk in chunks])
    density = AMU_PER_ANGSTROM3 * mass / volumes
    molality = symbols.count(arguments.cation) / (symbols.count("O") * WATER_KG_PER_MOL)
    temperature = float(chunks[0].metadata["temperature_K"])
    late = times > times[-1] / 2
    early = times < 0.5
    write_json(
        arguments.output,
        {
            "command": "python benchmarks/dynamics/density.py RUN OUT",
            "code_version": __version__,
            "commit": commit(),
            "system": "".join(f"{s}{symbols.count(s)}" for s in sorted(set(symbols))),
            "molality_mol_per_kg": molality,
            "temperature_K": temperature,
            "time_ps": float(times[-1]),
            "averaged_ps": float(times[-1] - times[late][0]),
            "first_density_kg_per_m3": float(density[0]),
            "first_pressure_bar": estimate(pressure[early]),
            "pressure_bar": estimate(pressure[late]),
            "density_kg_per_m3": estimate(density[late]),
            "experiment_kg_per_m3": solution_density(arguments.salt, molality, temperature),
            "time_series": {
                "time_ps": times[::20].round(3).tolist(),
                "density_kg_per_m3": density[::20].round(2).tolist(),
            },
        },
    )


if __name__ == "__main__":
    main()
