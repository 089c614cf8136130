"""Forces on pressed pairs of a model, with its wall and without: what the wall is for.

    python benchmarks/training/contacts.py licl-nnp1 licl-nnp2 licl-dcr2scan kcl-nnp1 \
      -o data/training/contacts.json

Two atoms in vacuum at 0.7 to 0.5 of their contact distance, as in the gate
(:mod:`bjerrum.potential.contacts`); the weakest repulsion on the way, eV/angstrom, < 0 attracts.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bjerrum.files import write_json
from bjerrum.potential.contacts import FRACTIONS, axial_forces, contact_pairs
from bjerrum.potential.model import Model, load_model


def pressed(model: Model) -> dict[str, Any]:
    """Return the weakest repulsion of every pair, and the wall that the model has."""
    bare = replace(model, repulsion=None)
    wall = model.repulsion
    return {
        "strength": None if wall is None else wall.strength,
        "pairs": {
            "-".join(pair): {
                "network_and_coulomb": float(axial_forces(bare, *pair).min()),
                "with_wall": float(axial_forces(model, *pair).min()),
            }
            for pair in contact_pairs(model)
        },
    }


def main() -> None:
    """Press every pair of every model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    write_json(
        arguments.output,
        {
            "made_by": "benchmarks/training/contacts.py",
            "fractions_of_contact_distance": [float(FRACTIONS[0]), float(FRACTIONS[-1])],
            "models": {name: pressed(load_model(name)) for name in arguments.models},
        },
    )


if __name__ == "__main__":
    main()
