"""What longer steps do to temperature, energy and g(r): one run for each setting, from one box.

    python benchmarks/dynamics/settings.py box.xyz OUT.json [--time-ps 20]

Prints, for each setting, the mean kinetic temperature, the mean potential energy per atom and the
largest difference of g(r) (O-O, O-H, Li-O, Cl-O) from the 0.5 fs run, in units of its error bar.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from bjerrum.dynamics.assembly import assemble
from bjerrum.dynamics.inner_fit import inner_of_run
from bjerrum.dynamics.runner import run_dynamics
from bjerrum.dynamics.settings import Dynamics, Setup
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.frames import read_frames
from bjerrum.potential.model import load_model
from bjerrum.properties.structure import analyse_structure
from bjerrum.trajectory import read_h5md

PAIRS = ["O-O", "O-H", "Li-O", "Cl-O"]
SETTINGS = [
    ("0.5 fs", 0.5, 1, None),
    ("1 fs", 1.0, 1, None),
    ("2 fs outer, 1 fs inner", 2.0, 2, None),
    ("3 fs outer, 1 fs inner", 3.0, 3, None),
    ("4 fs outer, 1 fs inner", 4.0, 4, None),
    ("6 fs outer, 1 fs inner", 6.0, 6, None),
    ("H 3 amu, 2 fs", 2.0, 1, 3.0),
    ("H 3 amu, 4 fs outer, 2 fs inner", 4.0, 2, 3.0),
]


def measure(path: Path, skip_ps: float) -> dict:
    chunks = list(read_h5md(path))
    late = np.concatenate([c.times_ps for c in chunks]) > skip_ps
    series = {
        key: np.concatenate([c.observables[key] for c in chunks])[late]
        for key in ("kinetic_temperature", "potential_energy")
    }
    n_atoms = len(chunks[0].symbols)
    result = analyse_structure(path, pairs=PAIRS, skip_ps=skip_ps, bin_width=0.05)
    return {
        "temperature_K": float(series["kinetic_temperature"].mean()),
        "energy_meV_per_atom": 1e3 * float(series["potential_energy"].mean()) / n_atoms,
        "rdf": {pair: data["g"] for pair, data in result.to_json()["pairs"].items()},
        "rdf_error": {
            pair: data["g_standard_error"] for pair, data in result.to_json()["pairs"].items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("box", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--time-ps", type=float, default=20.0)
    arguments = parser.parse_args()
    model, atoms = load_model("licl-nnp1"), read_frames(arguments.box)[0]
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, timestep, n_inner, mass in SETTINGS:
            stride = max(1, round(12 / timestep))
            n_steps = round(arguments.time_ps * 1e3 / timestep / stride) * stride
            dynamics = Dynamics(
                timestep_fs=timestep, n_steps=n_steps, temperature=300.0, friction_per_ps=5.0,
                frame_stride=stride, chunk_frames=50, seed=1, inner_steps=n_inner,
                hydrogen_mass=mass,
            )  # fmt: skip
            inner = inner_of_run(model, atoms, 300.0, Path(folder)) if n_inner > 1 else None
            forces, extras = assemble(model, atoms, dynamics, Setup(inner=inner))
            extras = replace(extras, watch=None)
            row: dict = {"name": name}
            try:
                path = run_dynamics(
                    atoms, forces, dynamics, Path(folder) / name.replace(" ", "_"), extras=extras
                )
                row |= measure(path, arguments.time_ps / 5)
            except PhysicsCheckFailed as error:
                row["stopped"] = str(error).split(";")[0]
            if rows and "rdf" in row:
                row["largest_rdf_difference_in_errors"] = {
                    pair: float(
                        np.nanmax(
                            np.abs(np.array(row["rdf"][pair]) - rows[0]["rdf"][pair])
                            / np.hypot(row["rdf_error"][pair], rows[0]["rdf_error"][pair]).clip(
                                0.01
                            )
                        )
                    )
                    for pair in PAIRS
                }
            rows.append(row)
            shown = {k: v for k, v in row.items() if not k.startswith("rdf")}
            print(json.dumps(shown), flush=True)
            arguments.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
