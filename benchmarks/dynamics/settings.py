"""What longer steps do to temperature, energy and g(r): one run for each setting, from one box.

    python benchmarks/dynamics/settings.py box.xyz OUT.json [--time-ps 6]

For each setting: the kinetic temperature, the potential energy per atom, both with the standard
error of ten blocks, and g(r) (O-O, O-H, Li-O, Cl-O) beside that of the 1 fs run: the root mean
square of the difference in units of its error, which is about one for the same liquid, and the
integral of the absolute difference. OUT.json holds the table that docs/dynamics.md shows.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

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


def mean(series: np.ndarray) -> dict[str, float]:
    """Return the mean and its standard error from ten blocks."""
    blocks = [block.mean() for block in np.array_split(series, 10)]
    return {
        "value": float(series.mean()),
        "standard_error": float(np.std(blocks, ddof=1) / np.sqrt(len(blocks))),
    }


def measure(path: Path, skip_ps: float) -> tuple[dict, dict]:
    """Return averages, and g(r) with its error for each pair."""
    chunks = list(read_h5md(path))
    late = np.concatenate([c.times_ps for c in chunks]) > skip_ps
    temperature, energy = (
        np.concatenate([c.observables[key] for c in chunks])[late]
        for key in ("kinetic_temperature", "potential_energy")
    )
    pairs = analyse_structure(path, pairs=PAIRS, skip_ps=skip_ps, bin_width=BIN_WIDTH).to_json()
    averages = {
        "temperature_K": mean(temperature),
        "energy_meV_per_atom": mean(1e3 * energy / len(chunks[0].symbols)),
    }
    return averages, {
        pair: (np.array(data["g"]), np.array(data["g_standard_error"]))
        for pair, data in pairs["pairs"].items()
    }


def compare(rdf: dict, reference: dict) -> dict[str, dict[str, float]]:
    """Return how far the g(r) are apart."""
    result = {}
    for pair, (g, error) in rdf.items():
        g0, error0 = reference[pair]
        both = np.hypot(error, error0)
        sampled = both > 0
        result[pair] = {
            "rms_difference_in_errors": float(
                np.sqrt((((g - g0)[sampled] / both[sampled]) ** 2).mean())
            ),
            "integral_of_difference_angstrom": float(BIN_WIDTH * np.abs(g - g0).sum()),
            "integral_of_error_angstrom": float(BIN_WIDTH * both.sum()),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("box", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="licl-nnp1")
    parser.add_argument("--time-ps", type=float, default=6.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, atoms = load_model(arguments.model), read_frames(arguments.box)[0]
    work = arguments.output.with_suffix(".work")
    rows: list[dict] = []
    reference: dict = {}
    for name, timestep, n_inner, mass in SETTINGS:
        stride = max(1, round(12 / timestep))
        n_steps = round(arguments.time_ps * 1e3 / timestep / stride) * stride
        dynamics = Dynamics(
            timestep_fs=timestep, n_steps=n_steps, temperature=300.0, friction_per_ps=5.0,
            frame_stride=stride, chunk_frames=50, seed=1, inner_steps=n_inner, hydrogen_mass=mass,
        )  # fmt: skip
        inner = inner_of_run(model, atoms, 300.0, work) if n_inner > 1 else None
        forces, extras = assemble(model, atoms, dynamics, Setup(inner=inner), unsound=True)
        folder, row = work / name.replace(" ", "_").replace(",", ""), {"name": name}
        try:
            path = run_dynamics(atoms, forces, dynamics, folder, extras=replace(extras, watch=None))
            averages, rdf = measure(path, arguments.time_ps / 6)
            row |= averages
            reference = reference or rdf
            row["rdf"] = compare(rdf, reference)
        except PhysicsCheckFailed as error:
            row["stopped"] = str(error).split(";")[0]
        rows.append(row)
        print(json.dumps(row), flush=True)
        facts = {"command": "python benchmarks/dynamics/settings.py BOX OUT", "rows": rows}
        facts |= {"code_version": __version__, "commit": commit(), "time_ps": arguments.time_ps}
        facts |= {"model_weights_sha256": model.card.weights_sha256}
        facts["system"] = atoms.get_chemical_formula()
        write_json(arguments.output, facts)


if __name__ == "__main__":
    main()
