"""Fine-tuning: start from the weights of a model instead of random ones, and learn new elements.

Everything that the model knows is kept: architecture, elements, energy constants, baseline. An
element that it does not know begins as a copy of its closest relative (same charge in the
baseline, nearest atomic number: K as Li, Br as Cl), with an energy constant fitted to the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from safetensors import SafetensorError
from safetensors.torch import load_file

from bjerrum.dataset import fit_energy_shifts
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, ModelError
from bjerrum.potential.card import CARD, WEIGHTS, ModelCard, find_model, read_card
from bjerrum.potential.spec import TrainingSpec

_EMBEDDING = "type_embed.embed_module.weight"
_SHIFTS = "per_type_energy_scale_shift.shifts"
_DATA_STATISTICS = ("avg_num_neighbors", "per_type_energy_scales")


@dataclass(frozen=True)
class StartingPoint:
    """A model to start from."""

    card: ModelCard
    folder: Path

    @property
    def baseline(self) -> ScreenedCoulomb:
        """The baseline that was subtracted from its labels."""
        return ScreenedCoulomb.from_json(self.card.baseline)


def starting_point(name: str) -> StartingPoint:
    """Find a model; raises ModelError if it is a committee."""
    folder = find_model(name)
    card = read_card(folder)
    if card.members:
        raise ModelError(
            f"{folder / CARD}: expected one model to start from, got a committee; name one of its "
            f"members: {', '.join(card.members)}"
        )
    return StartingPoint(card, folder)


def extended_elements(start: StartingPoint, elements: Sequence[str]) -> tuple[str, ...]:
    """Return the model's elements in its order, then those that are new to it."""
    known = start.card.elements
    return (*known, *sorted(set(elements) - set(known)))


def extended_baseline(
    start: StartingPoint, spec: TrainingSpec, *, may_change: bool
) -> ScreenedCoulomb:
    """Return the model's baseline with the charges of new elements.

    may_change  take charges and the dielectric constant of the specification where they differ
    Raises ModelError if they differ and may not.
    """
    own, wanted = start.baseline, spec.baseline
    charges = dict(own.charges)
    known = set(start.card.elements)
    changed = [
        f"{e} {charges.get(e, 0.0):+g} e there, {q:+g} e here"
        for e, q in wanted.charges_e.items()
        if e in known and q != charges.get(e, 0.0)
    ]
    if wanted.dielectric_constant != own.dielectric_constant:
        changed.append(
            f"dielectric constant {own.dielectric_constant:.10g} there, "
            f"{wanted.dielectric_constant:.10g} here"
        )
    if changed and not may_change:
        raise ModelError(
            f"model {start.card.name}: was trained with another baseline ({'; '.join(changed)}); "
            "give it the same one, or say --new-baseline"
        )
    merged = charges | wanted.charges_e
    return ScreenedCoulomb(tuple(merged.items()), wanted.dielectric_constant, own.accuracy)


def require_architecture(start: StartingPoint, spec: TrainingSpec) -> None:
    """Raise ModelError that names each setting of [network] that is not the model's."""
    own = start.card.hyperparameters
    wanted = spec.network.hyperparameters(start.card.elements)
    different = [
        f"{key} {own[key]} there, {wanted[key]} here" for key in wanted if own[key] != wanted[key]
    ]
    if different:
        raise ModelError(
            f"model {start.card.name}: is a network of another architecture "
            f"({'; '.join(different)}); give [network] the same"
        )


def relative_of(element: str, start: StartingPoint, baseline: ScreenedCoulomb) -> str:
    """Return the known element from which a new one begins."""
    charges, number = dict(baseline.charges), atomic_numbers[element]
    charge = charges.get(element, 0.0)
    return min(
        start.card.elements,
        key=lambda e: (abs(charges.get(e, 0.0) - charge), abs(atomic_numbers[e] - number)),
    )


def extended_shifts(
    start: StartingPoint, frames: Sequence[Atoms], elements: Sequence[str]
) -> dict[str, float]:
    """Return eV per atom for each element.

    The model's own constants for what it knows; those of new elements are fitted to the rest of
    the energies. Without new elements the constants change by the least that fits the energies:
    another level of theory has other totals. Without energies they stay, and are 0 for new ones.
    """
    own = {e: float(v) for e, v in start.card.hyperparameters["per_type_energy_shifts"].items()}
    new = [e for e in elements if e not in own]
    if any("energy" not in atoms.calc.results for atoms in frames):
        return own | dict.fromkeys(new, 0.0)
    free = new or list(elements)
    remainders = [_remainder(atoms, own, free) for atoms in frames]
    fitted = fit_energy_shifts(remainders, free)
    return {e: own.get(e, 0.0) + fitted.get(e, 0.0) for e in elements}


def _remainder(atoms: Atoms, shifts: dict[str, float], free: Sequence[str]) -> Atoms:
    """Return the atoms of the ``free`` elements with what the constants leave of the energy."""
    known = sum(shifts.get(s, 0.0) for s in atoms.symbols)
    rest = atoms[[s in set(free) for s in atoms.symbols]]
    energy = atoms.calc.results["energy"] - known
    rest.calc = SinglePointCalculator(rest, energy=energy)
    return rest


def data_statistics(start: StartingPoint) -> dict[str, Any]:
    """Return what of the network depends on the data that the model was trained on."""
    return {key: start.card.hyperparameters[key] for key in _DATA_STATISTICS}


def initial_state(
    start: StartingPoint, elements: Sequence[str], relatives: dict[str, str]
) -> dict[str, torch.Tensor]:
    """Return the network's state: the model's, with a row for each new element.

    The energy constants, which are no weights, are left out.
    Raises ModelError if the file does not hold such a network.
    """
    path = start.folder / WEIGHTS
    try:
        state = load_file(path)
        (embedding,) = [key for key in state if key.endswith(_EMBEDDING)]
        rows = {e: state[embedding][k] for k, e in enumerate(start.card.elements)}
    except (OSError, ValueError, IndexError, SafetensorError) as error:
        raise ModelError(f"{path}: expected the weights of a NequIP network ({error})") from error
    for element, relative in relatives.items():
        rows[element] = rows[relative]
    state[embedding] = torch.stack([rows[element] for element in elements])
    return {key: value for key, value in state.items() if not key.endswith(_SHIFTS)}


def load_initial_state(module: Any, state: dict[str, torch.Tensor], where: Path) -> None:
    """Put a state into a training module that has not trained yet, and into its moving average.

    Raises ModelError if the state is that of another network.
    """
    (model,) = module.model.values()
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{where}: does not fit the network described: {reason}") from error
    wrong = [key for key in missing if not key.endswith(_SHIFTS)] + list(unexpected)
    if wrong:
        raise ModelError(f"{where}: does not fit the network described: {', '.join(wrong)[:200]}")
    with torch.no_grad():
        for average, weight in zip(module.ema.ema_weights, module.model.parameters(), strict=True):
            average.copy_(weight)


def require_new_elements_charged(
    start: StartingPoint, elements: Sequence[str], spec: TrainingSpec
) -> None:
    """Raise InputError for an element that neither the model knows nor the baseline names."""
    known = {*start.card.elements, *spec.baseline.charges_e}
    unnamed = sorted(set(elements) - known)
    if unnamed:
        raise InputError(
            f"baseline.charges_e: expected the charge of {', '.join(unnamed)}, new to model "
            f"{start.card.name}; give it, 0 for an uncharged one"
        )
