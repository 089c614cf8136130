"""From labelled frames to a model folder, or to several and a committee of them: ``train``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bjerrum.dataset import Dataset
from bjerrum.errors import InputError
from bjerrum.potential.card import CARD, read_card
from bjerrum.potential.packing import pack_committee, pack_model
from bjerrum.potential.preparation import choose_split, prepare
from bjerrum.potential.rounds import Progress
from bjerrum.potential.spec import TrainingSpec
from bjerrum.potential.starting import StartingPoint
from bjerrum.potential.training import train
from bjerrum.store import exclusive

Announce = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrainingRequest:
    """What to train, from what, and where to.

    config        the TOML of ``spec``, copied beside the weights
    work          folder of checkpoints
    start         a model to start from
    new_baseline  its baseline may be another
    max_minutes   stop after this time; the same request goes on later
    compiled      train with compiled code on the CPU if that is possible
    """

    spec: TrainingSpec
    config: Path
    output: Path
    work: Path
    start: StartingPoint | None = None
    new_baseline: bool = False
    max_minutes: float | None = None
    compiled: bool = True


def train_model(
    dataset: Dataset,
    request: TrainingRequest,
    progress: Progress,
    announce: Announce,
    *,
    member: int = 0,
) -> dict[str, Any]:
    """Train, or go on training, and write the model folder; return the measured errors.

    member  number in a committee, which changes the seed and the validation blocks
    Raises InputError if the output is a committee's folder.
    """
    if _is_committee(request.output):
        raise InputError(
            f"{request.output}: holds a committee; give --committee, or choose another output"
        )
    spec = request.spec.of_member(member)
    choose_split(dataset, spec, start=request.start)
    with exclusive(request.work):
        prepared = prepare(
            dataset,
            spec,
            request.work,
            start=request.start,
            new_baseline=request.new_baseline,
        )
        train(
            prepared,
            progress=progress,
            max_minutes=request.max_minutes,
            compiled=request.compiled,
        )
        n_test = len(dataset.of_blocks(prepared.split.test))
        return pack_model(
            prepared,
            dataset,
            request.config,
            request.output,
            on_frame=lambda done: announce("Measuring errors", done, n_test),
        )


def train_committee(
    dataset: Dataset,
    request: TrainingRequest,
    n_members: int,
    progress: Progress,
    announce: Announce,
) -> dict[str, Any]:
    """Train members one after another into ``member-1``, ``member-2``, ...; then their committee.

    Members differ in the seed of their weights and in the validation blocks; the test blocks are
    the same, so that the errors of their mean are of frames that none has seen. The time is
    shared out evenly among the members that are left.
    """
    output = request.output
    if (output / CARD).is_file() and not _is_committee(output):
        raise InputError(f"{output}: holds a model that is no committee; choose another output")
    begin = time.monotonic()
    for k in range(n_members):
        left = None
        if request.max_minutes is not None:
            used = (time.monotonic() - begin) / 60
            left = max(0.0, request.max_minutes - used) / (n_members - k)
        own = replace(
            request,
            output=output / f"member-{k + 1}",
            work=request.work / f"member-{k + 1}",
            max_minutes=left,
        )
        train_model(dataset, own, progress, announce, member=k)
        announce("Members", k + 1, n_members)
    members = [output / f"member-{k + 1}" for k in range(n_members)]
    test = dataset.of_blocks(read_card(members[0]).data["blocks"]["test"])
    return pack_committee(
        members,
        output,
        test,
        on_frame=lambda done: announce("Measuring the committee", done, len(test)),
    )


def _is_committee(folder: Path) -> bool:
    return (folder / CARD).is_file() and bool(read_card(folder).members)
