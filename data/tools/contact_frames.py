"""The training frames of licl-contact: those of licl-nnp1, and pairs from contact to apart.

    python data/tools/contact_frames.py FRAMES.extxyz data/licl-dcr2scan/n8-labelled.extxyz \
      --model licl-nnp1 -o frames.extxyz

FRAMES are those that the model was trained on. Forces alone: the energies of both kinds of label
have no common zero. Frames that the model was tested on keep their own blocks ("held-"), so that
only they can be held back again; the others are trained on ("t-"). The small boxes are blocks of
their own ("n8-").
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.frames import read_frames, write_frames
from bjerrum.potential.model import load_model


def forces_alone(atoms: Atoms, block: str) -> Atoms:
    """Return the frame with its forces, block and method, and nothing else."""
    found = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
    found.info = {"block": block, "method": atoms.info["method"]}
    found.calc = SinglePointCalculator(found, forces=atoms.get_forces())
    return found


def main() -> None:
    """Read the arguments and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", default="licl-nnp1")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    tested = set(load_model(arguments.model).card.data["blocks"]["test"])
    frames = []
    for atoms in read_frames(arguments.frames, labelled=True):
        seed = str(atoms.info["seed"])
        frames.append(forces_alone(atoms, f"{'held' if seed in tested else 't'}-{seed}"))
    pairs = read_frames(arguments.pairs, labelled=True)
    frames += [forces_alone(atoms, f"n8-{atoms.info['seed']}") for atoms in pairs]
    write_frames(arguments.output, frames)


if __name__ == "__main__":
    main()
