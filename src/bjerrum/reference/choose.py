"""Reference methods by name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import numpy as np
from ase import Atoms

from bjerrum.errors import InputError
from bjerrum.files import write_json
from bjerrum.reference.classical_force_fields import ClassicalSettings, force_field_of
from bjerrum.reference.cp2k_settings import Cp2kSettings, Method, resolved
from bjerrum.reference.egg_box import EggBox
from bjerrum.reference.label import Reference
from bjerrum.specification import read_spec, validate_spec

METHODS: Final = (*get_args(Method), "classical")


def reference_of(
    method: str,
    frames: Sequence[Atoms],
    config: Path | None = None,
    *,
    ranks: int = 1,
    threads: int = 1,
    corrections: Path | None = None,
) -> Reference:
    """Return the reference of a name, with settings from a TOML file or the defaults.

    frames       what it will label: how the grid error is corrected depends on how many there are
    corrections  file of :func:`write_corrections`, used where it fits
    Raises InputError for an unknown name or settings of another method, ExternalError if the
    program that it needs is missing.
    """
    if method == "classical":
        from bjerrum.reference.classical import ClassicalReference

        chosen = read_spec(config, ClassicalSettings) if config else ClassicalSettings()
        return ClassicalReference(force_field_of(chosen.force_field))
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got '{method}'")
    from bjerrum.reference.cp2k import Cp2kProgram, Cp2kReference, find_cp2k

    settings = cp2k_settings_of(method, config)
    known = corrections is not None and corrections.is_file()
    boxes = json.loads(corrections.read_text()) if corrections and known else []
    return Cp2kReference(
        resolved(settings, _frames_per_cell(frames)),
        Cp2kProgram(find_cp2k(), ranks, threads),
        [EggBox.from_json(box) for box in boxes],
    )


def cp2k_settings_of(method: str, config: Path | None = None) -> Cp2kSettings:
    """Return CP2K settings from a TOML file, or the method's defaults.

    Raises InputError for settings of another method.
    """
    if config is None:
        return validate_spec({"method": method}, Cp2kSettings, "method")
    settings = read_spec(config, Cp2kSettings)
    if settings.method != method:
        raise InputError(f"{config}: holds settings of {settings.method}, asked for {method}")
    return settings


def write_corrections(path: Path, reference: Reference) -> None:
    """Write the corrections that a reference has measured, so that they need not be again."""
    boxes: Sequence[EggBox] = getattr(reference, "egg_boxes", ())
    if boxes:
        write_json(path, [box.to_json() for box in boxes])


def _frames_per_cell(frames: Sequence[Atoms]) -> int:
    if not all(atoms.cell.orthorhombic for atoms in frames):
        return 0  # the egg-box fit is for orthorhombic cells
    cells = Counter(tuple(np.round(atoms.cell.array.ravel(), 6)) for atoms in frames)
    return min(cells.values(), default=0)
