"""The forms a model is used in give one answer: plain, compiled for dynamics, exported.

The plain form is NequIP's own module with the sums of Ewald and wall in Python; dynamics uses
generated code (:mod:`bjerrum.potential.fused`); other programs use the file that
:func:`~bjerrum.potential.export.export_aotinductor` writes.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from ase import Atoms

from bjerrum.checks import Check
from bjerrum.errors import ExternalError, ModelError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.export import graph_data
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import Model
from bjerrum.units import EV_IN_MEV

FORCE_LIMIT = 0.05
"""meV/angstrom; single precision leaves 0.001 to 0.01."""

ENERGY_LIMIT = 0.02
"""meV/atom."""


def compiled_equals_plain(model: Model, atoms: Atoms) -> list[Check]:
    """Largest difference of a force component, and that of the energy per atom.

    Dynamics falls back to the plain form where nothing can be compiled: then there is no check.
    """
    fast = for_dynamics(model)
    if fast.how == "plain":
        return []
    arguments = list(atoms.symbols), atoms.cell.array
    plain = model.bind(*arguments)(atoms.positions)
    return _equal("compiled", fast.potential.bind(*arguments)(atoms.positions), plain)


def exported_equals_plain(model: Model, path: Path, atoms: Atoms) -> list[Check]:
    """The same for a network compiled by AOTInductor, without Coulomb part and wall.

    Raises ModelError for a committee or a file of another cutoff or other elements, ExternalError
    if torch cannot load the file.
    """
    if len(model.network.members) > 1:
        raise ModelError(f"{model.card.name}: is a committee; check the export of a member")
    (network,) = model.network.members
    plain = network.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    return _equal("exported", evaluate_exported(model, path, atoms), plain)


def evaluate_exported(model: Model, path: Path, atoms: Atoms) -> Evaluation:
    """Return energy and forces of the network in a file of ``bjerrum export``."""
    from nequip.model.inference_models.aotinductor import load_aotinductor_model

    if not path.is_file():
        raise ExternalError(f"{path}: no such file; write it with bjerrum export")
    try:
        loaded, metadata = load_aotinductor_model(str(path), "cpu")
    except (RuntimeError, OSError, ValueError, KeyError, BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise ExternalError(f"{path}: torch could not load it ({reason})") from error
    found = float(metadata["r_max"]), tuple(metadata["type_names"])
    expected = model.card.cutoff, tuple(model.card.elements)
    if found != expected:
        raise ModelError(
            f"{path}: expected cutoff and elements {expected} of {model.card.name}, got {found}"
        )
    result = loaded(graph_data(model, atoms))
    forces: FloatArray = result["forces"].detach().numpy().astype(np.float64)
    return Evaluation(float(result["atomic_energy"].double().sum()), forces)


def _equal(form: str, one: Evaluation, plain: Evaluation) -> list[Check]:
    n_atoms = len(plain.forces)
    return [
        Check(
            f"{form} = plain: forces",
            EV_IN_MEV * float(np.abs(one.forces - plain.forces).max()),
            FORCE_LIMIT,
            "meV/angstrom",
            f"largest difference of a component over {n_atoms} atoms",
        ),
        Check(
            f"{form} = plain: energy",
            EV_IN_MEV * abs(one.energy - plain.energy) / n_atoms,
            ENERGY_LIMIT,
            "meV/atom",
            f"of {n_atoms} atoms",
        ),
    ]
