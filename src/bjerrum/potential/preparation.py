"""What a training needs before its first step: a split, residual labels, energy constants.

:func:`prepare` writes them into the training folder and refuses a folder that belongs to other
data, settings or another starting point.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bjerrum.dataset import (
    Dataset,
    Split,
    fit_energy_shifts,
    require_training_frames,
    split_blocks,
    spread_evenly,
    subtract_baseline,
)
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError
from bjerrum.files import write_json
from bjerrum.frames import write_frames
from bjerrum.potential.spec import TrainingSpec
from bjerrum.potential.starting import (
    StartingPoint,
    extended_baseline,
    extended_elements,
    extended_shifts,
    relative_of,
    require_architecture,
    require_new_elements_charged,
)

PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class PreparedTraining:
    """A training folder that is ready to run.

    start      the model to start from, none for random weights
    relatives  the known element from which each new one begins
    """

    folder: Path
    spec: TrainingSpec
    elements: tuple[str, ...]
    split: Split
    baseline: ScreenedCoulomb
    energy_shifts: dict[str, float]
    n_train: int
    with_energies: bool = True
    start: StartingPoint | None = None
    relatives: dict[str, str] = field(default_factory=dict)

    @property
    def round_steps(self) -> int:
        """Optimiser steps between two validations; at most one pass over the frames."""
        batches = -(-self.n_train // self.spec.optimiser.batch_frames)
        return min(self.spec.optimiser.round_steps, batches)

    @property
    def n_rounds(self) -> int:
        """Rounds in all."""
        return max(1, round(self.spec.optimiser.steps / self.round_steps))

    @property
    def n_steps(self) -> int:
        """Optimiser steps in all."""
        return self.n_rounds * self.round_steps

    @property
    def n_plateau_rounds(self) -> int:
        """Rounds before the learning rate begins to fall."""
        return max(1, round((1 - self.spec.optimiser.cooldown_fraction) * self.n_rounds))


def prepare(
    dataset: Dataset,
    spec: TrainingSpec,
    folder: Path,
    *,
    start: StartingPoint | None = None,
    new_baseline: bool = False,
) -> PreparedTraining:
    """Split the data, subtract the baseline and write the training folder.

    start         a model to start from
    new_baseline  the specification's baseline may differ from that model's
    Raises InputError if the folder belongs to other data or settings, or if the frames have no
    energies or lack an element that the settings name; ModelError if the model does not fit.
    """
    split = choose_split(dataset, spec, start=start)
    elements, baseline, relatives = dataset.elements, spec.baseline.build(), {}
    if start is not None:
        elements = extended_elements(start, dataset.elements)
        baseline = extended_baseline(start, spec, may_change=new_baseline)
        new = [e for e in elements if e not in start.card.elements]
        relatives = {e: relative_of(e, start, baseline) for e in new}
    chosen = {name: dataset.of_blocks(blocks) for name, blocks in asdict(split).items()}
    chosen["train"] = spread_evenly(chosen["train"], spec.split.training_frames)
    parts = {name: subtract_baseline(frames, baseline) for name, frames in chosen.items()}
    provenance = {
        "dataset": {
            "source": dataset.source,
            "sha256": dataset.sha256,
            "method": dataset.method,
            "n_frames": {name: len(frames) for name, frames in parts.items()},
            "blocks": {name: list(blocks) for name, blocks in asdict(split).items()},
        },
        "settings": spec.settings_that_must_match(),
    }
    if start is not None:
        provenance["start"] = {
            "model": start.card.name,
            "weights_sha256": start.card.weights_sha256,
            "new_elements": relatives,
            "baseline": baseline.to_json(),
        }
    _claim(folder, provenance)
    for name in ("train", "validation"):
        write_frames(folder / f"{name}.extxyz", parts[name])
    if start is None:
        shifts = fit_energy_shifts(parts["train"], elements)
    else:
        shifts = extended_shifts(start, parts["train"], elements)
    return PreparedTraining(
        folder,
        spec,
        elements,
        split,
        baseline,
        shifts,
        len(parts["train"]),
        with_energies=_has_energies(dataset),
        start=start,
        relatives=relatives,
    )


def choose_split(
    dataset: Dataset, spec: TrainingSpec, *, start: StartingPoint | None = None
) -> Split:
    """Check that data, settings and starting point fit together, and split the data.

    Writes nothing; arguments and errors as for :func:`prepare`.
    """
    _require_fit(dataset, spec, start)
    split = split_blocks(
        dataset,
        n_validation=spec.split.validation_blocks,
        n_test=spec.split.test_blocks,
        seed=spec.split.seed,
        member=spec.split.member,
        trained=spec.split.trained_blocks,
    )
    require_training_frames(dataset, split)
    return split


def _has_energies(dataset: Dataset) -> bool:
    return all("energy" in atoms.calc.results for atoms in dataset.frames)


def _require_fit(dataset: Dataset, spec: TrainingSpec, start: StartingPoint | None) -> None:
    elements = set(dataset.elements)
    if start is not None:
        require_architecture(start, spec)
        require_new_elements_charged(start, dataset.elements, spec)
        elements |= set(start.card.elements)
    for key, named in (
        ("baseline.charges_e", spec.baseline.charges_e),
        ("optimiser.force_weights", spec.optimiser.force_weights),
    ):
        unknown = sorted(set(named) - elements)
        if unknown:
            raise InputError(
                f"{key}: {', '.join(unknown)} not in {dataset.source}, "
                f"which holds {', '.join(dataset.elements)}"
            )
    if start is None and not _has_energies(dataset):
        raise InputError(
            f"{dataset.source}: expected energies beside the forces, found none; forces alone are "
            "enough to go on from a trained model (--from)"
        )


def _claim(folder: Path, provenance: dict[str, Any]) -> None:
    """Write the folder's provenance, or refuse a folder that was started from something else."""
    path = folder / PROVENANCE
    if path.exists():
        earlier = json.loads(path.read_text())
        for part, named in (("dataset", "dataset"), ("settings", "settings"), ("start", "model")):
            if earlier.get(part) != provenance.get(part):
                raise InputError(
                    f"{folder}: was started with another {named}; choose another output folder "
                    "or remove this one"
                )
        return
    write_json(path, provenance)
