"""Every atom of a labelled set with what a model says of it: the raw material of ``evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import vesin
from ase import Atoms
from numpy.typing import NDArray

from bjerrum.errors import InputError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.committee import force_spread
from bjerrum.potential.model import Model
from bjerrum.potential.protocol import Potential

NEAREST_WITHIN = 8.0
"""Angstrom up to which the nearest ion is looked for."""


@dataclass(frozen=True)
class Residuals:
    """All atoms of all frames, one after another.

    elements             shape (n,)
    reference, predicted forces, shape (n, 3), eV/angstrom
    spread               of a committee's forces, shape (n,), eV/angstrom; none for a single model
    nearest              for each kind of ion the distance to the nearest one that is not the atom
                         itself, shape (n,), angstrom; infinite beyond NEAREST_WITHIN
    energy_errors        shape (n_frames with energies,), eV/atom
    """

    n_frames: int
    elements: NDArray[np.str_]
    reference: FloatArray
    predicted: FloatArray
    spread: FloatArray | None
    nearest: dict[str, FloatArray]
    energy_errors: FloatArray

    @property
    def errors(self) -> FloatArray:
        """Predicted minus reference forces, shape (n, 3), eV/angstrom."""
        return self.predicted - self.reference


def collect_residuals(
    model: Potential,
    frames: Sequence[Atoms],
    *,
    ions: Sequence[str] = (),
    on_frame: Callable[[int], None] = lambda done: None,
) -> Residuals:
    """Evaluate a model on labelled frames; of a committee also the spread of its members.

    Raises InputError if there are no frames or one has no forces.
    """
    if not frames:
        raise InputError("evaluate: expected labelled frames, got none")
    members = model.members if isinstance(model, Model) else []
    elements, reference, predicted, spread, energies = [], [], [], [], []
    nearest: dict[str, list[FloatArray]] = {ion: [] for ion in ions}
    for done, atoms in enumerate(frames):
        labels = atoms.calc.results if atoms.calc is not None else {}
        if "forces" not in labels:
            raise InputError(f"evaluate: expected forces (eV/angstrom), frame {done} has none")
        if len(members) > 1:
            evaluation, apart = _mean_and_spread(members, atoms)
            spread.append(apart)
        else:
            evaluation = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
        elements.append(np.array(atoms.get_chemical_symbols()))
        reference.append(np.asarray(labels["forces"]))
        predicted.append(evaluation.forces)
        if "energy" in labels:
            energies.append((evaluation.energy - labels["energy"]) / len(atoms))
        for ion, distances in _nearest_ions(atoms, ions).items():
            nearest[ion].append(distances)
        on_frame(done + 1)
    return Residuals(
        len(frames),
        np.concatenate(elements),
        np.concatenate(reference),
        np.concatenate(predicted),
        np.concatenate(spread) if spread else None,
        {ion: np.concatenate(parts) for ion, parts in nearest.items()},
        np.array(energies, dtype=float),
    )


def _mean_and_spread(members: Sequence[Model], atoms: Atoms) -> tuple[Evaluation, FloatArray]:
    symbols, cell = list(atoms.symbols), atoms.cell.array
    results = [member.bind(symbols, cell)(atoms.positions) for member in members]
    forces = [result.forces for result in results]
    energy = float(np.mean([result.energy for result in results]))
    return Evaluation(energy, np.mean(forces, axis=0)), force_spread(forces)


def _nearest_ions(atoms: Atoms, ions: Sequence[str]) -> dict[str, FloatArray]:
    """Return the distance of every atom to the nearest other atom of each kind of ion."""
    if not ions:
        return {}
    search = vesin.NeighborList(cutoff=NEAREST_WITHIN, full_list=True)
    first, second, distance = search.compute(
        atoms.positions, atoms.cell.array, periodic=True, quantities="ijd"
    )
    symbols = np.array(atoms.get_chemical_symbols())
    nearest = {}
    for ion in ions:
        is_ion = (symbols[second] == ion) & (first != second)
        closest = np.full(len(atoms), np.inf)
        np.minimum.at(closest, first[is_ion], distance[is_ion])
        nearest[ion] = closest
    return nearest
