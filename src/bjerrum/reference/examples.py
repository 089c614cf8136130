"""A small box to try labels on: one LiCl and eight water molecules."""

from __future__ import annotations

from importlib import resources

from ase import Atoms

from bjerrum.frames import read_frames


def example_frames() -> list[Atoms]:
    """Return two frames of 1 LiCl + 8 H2O in 6.49 angstrom, from licl-nnp1 at 298 K."""
    source = resources.files("bjerrum.reference") / "data" / "licl_8_waters.extxyz"
    with resources.as_file(source) as path:
        return read_frames(path)
