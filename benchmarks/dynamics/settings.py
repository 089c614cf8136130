"""What longer steps do to temperature, energy and g(r): repeated runs of each setting, one box.

    python benchmarks/dynamics/settings.py box.xyz OUT.json [--time-ps 5] [--repeats 4]

Repeats have other velocities and other random forces. For each setting: the kinetic temperature and
the potential energy per atom, and g(r) (O-O, O-H, Li-O, Cl-O) beside that of the 1 fs runs: the
integral of the absolute difference, and what that integral is on average for two means of one
liquid, sqrt(2 / pi) times the integral of the standard error of the difference. Every error is
from the scatter of the repeats, so it covers what is slower than a run only as far as they part.
OUT.json holds the table that docs/dynamics.md shows; runs that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stability import commit

from bjerrum import __version__
from bjerrum.dynamics.assembly import assemble
from bjerrum.dynamics.inner_fit import inner_of_run
from bjerrum.dynamics.runner import run_dynamics
from bjerrum.dynamics.settings import Dynamics, Setup
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.files import write_json
from bjerrum.frames import read_frames
from bjerrum.potential.model import load_model
from bjerrum.properties.structure import analyse_structure
from bjerrum.trajectory import read_h5md

AVERAGES = ["temperature_K", "energy_meV_per_atom"]
PAIRS = ["O-O", "O-H", "Li-O", "Cl-O"]
SETTINGS = [
    ("1 fs", 1.0, 1, None),
    ("2 fs outer, 1 fs inner", 2.0, 2, None),
    ("H 3 amu, 2 fs", 2.0, 1, 3.0),
    ("H 3 amu, 3 fs outer, 1.5 fs inner", 3.0, 2, 3.0),
    ("H 3 amu, 4 fs outer, 2 fs inner", 4.0, 2, 3.0),
    ("0.5 fs", 0.5, 1, None),
]
BIN_WIDTH = 0.1


def mean(values: list[float]) -> dict[str, float]:
    """Return the mean over the repeats and its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return {"value": float(np.mean(values)), "standard_error": float(error)}


def measure(path: Path, skip_ps: float) -> dict[str, Any]:
    """Return the averages of one run, and g(r) of each pair."""
    chunks = list(read_h5md(path))
    late = np.concatenate([c.times_ps for c in chunks]) > skip_ps
    temperature, energy = (
        float(np.concatenate([c.observables[key] for c in chunks])[late].mean())
        for key in ("kinetic_temperature", "potential_energy")
    )
    pairs = analyse_structure(path, pairs=PAIRS, skip_ps=skip_ps, bin_width=BIN_WIDTH).to_json()
    return {
        "temperature_K": temperature,
        "energy_meV_per_atom": 1e3 * energy / len(chunks[0].symbols),
        "rdf": {pair: np.array(data["g"]) for pair, data in pairs["pairs"].items()},
    }


def compare(runs: list[dict], reference: list[dict]) -> dict[str, dict[str, float]]:
    """Return how far the mean g(r) are apart, and how far two of one liquid would be."""
    result = {}
    for pair in PAIRS:
        ours, theirs = (np.array([run["rdf"][pair] for run in set_]) for set_ in (runs, reference))
        variance = ours.var(axis=0, ddof=1) / len(ours) + theirs.var(axis=0, ddof=1) / len(theirs)
        difference = np.abs(ours.mean(axis=0) - theirs.mean(axis=0))
        result[pair] = {
            "integral_of_difference_angstrom": float(BIN_WIDTH * difference.sum()),
            "expected_of_one_liquid_angstrom": float(
                BIN_WIDTH * np.sqrt(2 / np.pi * variance).sum()
            ),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("box", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="licl-nnp1")
    parser.add_argument("--time-ps", type=float, default=5.0)
    parser.add_argument("--skip-ps", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, atoms = load_model(arguments.model), read_frames(arguments.box)[0]
    work = arguments.output.with_suffix(".work")
    rows: list[dict] = []
    reference: list[dict] = []
    for name, timestep, n_inner, mass in SETTINGS:
        stride = max(1, round(12 / timestep))
        n_steps = round(arguments.time_ps * 1e3 / timestep / stride) * stride
        inner = inner_of_run(model, atoms, 300.0, work) if n_inner > 1 else None
        folder, row = work / name.replace(" ", "_").replace(",", ""), {"name": name}
        runs = []
        try:
            for seed in range(1, arguments.repeats + 1):
                dynamics = Dynamics(
                    timestep_fs=timestep, n_steps=n_steps, temperature=300.0, friction_per_ps=5.0,
                    frame_stride=stride, chunk_frames=50, seed=seed, inner_steps=n_inner,
                    hydrogen_mass=mass,
                )  # fmt: skip
                forces, extras = assemble(model, atoms, dynamics, Setup(inner=inner), unsound=True)
                path = run_dynamics(
                    atoms, forces, dynamics, folder / str(seed), extras=replace(extras, watch=None)
                )
                runs.append(measure(path, arguments.skip_ps))
        except PhysicsCheckFailed as error:
            row["stopped"] = str(error).split(";")[0]
        else:
            reference = reference or runs
            row |= {key: mean([run[key] for run in runs]) for key in AVERAGES}
            row["rdf"] = compare(runs, reference)
        rows.append(row)
        print(json.dumps(row), flush=True)
        facts = {"command": "python benchmarks/dynamics/settings.py BOX OUT", "rows": rows}
        facts |= {"code_version": __version__, "commit": commit(), "time_ps": arguments.time_ps}
        facts |= {"skip_ps": arguments.skip_ps, "repeats": arguments.repeats}
        facts |= {"model_weights_sha256": model.card.weights_sha256}
        facts["system"] = atoms.get_chemical_formula()
        write_json(arguments.output, facts)


if __name__ == "__main__":
    main()
