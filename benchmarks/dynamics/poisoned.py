"""Runs that go wrong, and what ``bjerrum simulate`` says of them.

    python benchmarks/dynamics/poisoned.py box.xyz OUT.json [--model licl-nnp1]

One has a time step of 4 fs; in the other a proton of a water molecule has been put on an ion,
as in the published run that was thrown away by eye. Both are run by the command itself, with
``--watch stop`` and (the second) with ``--watch continue``. OUT.json holds what came back: exit
code, message, the reasons in the flagged frames, and how many frames were kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from bjerrum import __version__
from bjerrum.files import write_json
from bjerrum.frames import read_frames, write_frames
from bjerrum.trajectory import read_h5md, without_marked


def with_proton_on_ion(atoms: Atoms, ion: str = "Cl", distance: float = 1.35) -> Atoms:
    """Return a copy in which the H nearest to an ion sits at a distance of it, angstrom."""
    poisoned = atoms.copy()
    poisoned.calc = None
    centre = int(np.flatnonzero(atoms.symbols == ion)[0])
    hydrogens = np.flatnonzero(atoms.symbols == "H")
    nearest = int(hydrogens[np.argmin(atoms.get_distances(centre, hydrogens, mic=True))])
    vector = atoms.get_distance(centre, nearest, mic=True, vector=True)
    poisoned.positions[nearest] = atoms.positions[centre] + distance * vector / np.linalg.norm(
        vector
    )
    return poisoned


def simulate(folder: Path, model: str, box: Path, *options: str) -> dict[str, Any]:
    """Run the command in a folder and tell what it left there."""
    output = folder / "run.h5"
    command = [
        sys.executable, "-m", "bjerrum", "simulate", "--model", model, "--box", str(box),
        "-o", str(output), "--temperature", "300", "--frame-every-fs", "5", *options,
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    partial = folder / "run.h5.partial"
    flagged = [*folder.glob("*flagged.extxyz"), *partial.glob("*.extxyz")]
    frames = [frame for path in flagged for frame in ase.io.read(path, ":")]
    kept = [path for path in (output, partial / "stopped.h5") if path.exists()]
    return {
        "options": list(options),
        "exit_code": result.returncode,
        "message": result.stderr.strip().splitlines()[-1].replace(f"{folder}/", ""),
        "flagged_frames": len(frames),
        "reasons": sorted({frame.info["reason"] for frame in frames}),
        "frames_kept": sum(len(chunk.steps) for path in kept for chunk in read_h5md(path)),
        "frames_left_for_analysis": sum(
            len(chunk.steps) for path in kept for chunk in without_marked(read_h5md(path))
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("box", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="licl-nnp1")
    arguments = parser.parse_args()
    atoms = read_frames(arguments.box)[0]
    cases: dict[str, tuple[Atoms, list[str]]] = {
        "time step of 4 fs": (atoms, ["--time-ps", "0.2", "--timestep-fs", "4"]),
        "proton on Cl, stop": (
            with_proton_on_ion(atoms), ["--time-ps", "0.1", "--watch", "stop"],
        ),
        "proton on Li, stop": (
            with_proton_on_ion(atoms, "Li", 1.6), ["--time-ps", "0.1", "--watch", "stop"],
        ),
        "proton on Cl, continue": (with_proton_on_ion(atoms), ["--time-ps", "0.1"]),
    }  # fmt: skip
    rows = []
    for name, (box, options) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "box.xyz"
            write_frames(path, [box])
            rows.append({"name": name} | simulate(Path(folder), arguments.model, path, *options))
            print(rows[-1], flush=True)
    command = "python benchmarks/dynamics/poisoned.py BOX OUT"
    facts = {"command": command, "code_version": __version__, "model": arguments.model}
    write_json(arguments.output, facts | {"rows": rows})


if __name__ == "__main__":
    main()
