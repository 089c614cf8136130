"""The force between two ions in water, of models beside labels from first principles.

    python benchmarks/training/contact_pairs.py licl-nnp1 licl-nnp2 licl-contact \
      --labels data/licl-dcr2scan/n8-labelled.extxyz -o data/training/contact-pairs.json

Along the line from cation to anion, (F_anion - F_cation).u/2 in eV/angstrom: positive drives the
ions apart. By ranges of the distance the mean of model less label with its standard error; frames
are independent. Negative means that the model holds the pair together too well. Where a model was
trained on some of the frames, its test frames are also given alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from bjerrum.files import write_json
from bjerrum.frames import read_frames
from bjerrum.potential.model import Model, load_model

RANGES = ((2.2, 2.65), (2.65, 3.0), (3.0, 3.5), (3.5, 4.2), (4.2, 5.6))


def apart(atoms: Atoms, forces: np.ndarray) -> tuple[float, float]:
    """Return the distance of the pair, angstrom, and the force that drives it apart."""
    symbols = list(atoms.symbols)
    cation, anion = symbols.index("Li"), symbols.index("Cl")
    line = atoms.get_distance(cation, anion, mic=True, vector=True)
    r = float(np.linalg.norm(line))
    return r, float((forces[anion] - forces[cation]) @ line / (2 * r))


def of_model(model: Model, frames: list[Atoms]) -> np.ndarray:
    """Return the same force by a model for every frame."""
    forces = [model.bind(list(a.symbols), a.cell.array)(a.positions).forces for a in frames]
    return np.array([apart(a, f)[1] for a, f in zip(frames, forces, strict=True)])


def tested(model: Model) -> set[str]:
    """Return the names of the blocks that the model's training and early stopping never saw."""
    return set(model.card.data.get("blocks", {}).get("test", []))


def rows(r: np.ndarray, difference: np.ndarray) -> list[dict[str, Any]]:
    found = []
    for low, high in RANGES:
        chosen = difference[(r >= low) & (r < high)]
        if len(chosen) < 2:
            continue
        found.append(
            {
                "from_angstrom": low,
                "to_angstrom": high,
                "frames": len(chosen),
                "mean_eV_per_angstrom": float(chosen.mean()),
                "standard_error": float(chosen.std(ddof=1) / np.sqrt(len(chosen))),
                "rms_eV_per_angstrom": float(np.sqrt((chosen**2).mean())),
            }
        )
    return found


def main() -> None:
    """Read the arguments and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frames = read_frames(arguments.labels, labelled=True)
    pairs = [apart(atoms, atoms.get_forces()) for atoms in frames]
    r, labels = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    result: dict[str, Any] = {}
    for name in arguments.models:
        model = load_model(name)
        difference = of_model(model, frames) - labels
        result[model.card.name] = {"all": rows(r, difference)}
        unseen = np.array([f"n8-{a.info['seed']}" in tested(model) for a in frames])
        if unseen.any():
            result[model.card.name]["unseen"] = rows(r[unseen], difference[unseen])
    write_json(
        arguments.output,
        {
            "made_by": "benchmarks/training/contact_pairs.py",
            "labels": arguments.labels.name,
            "models": result,
        },
    )


if __name__ == "__main__":
    main()
