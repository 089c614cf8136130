"""Steps of a campaign up to the labels: boxes, sampled configurations, labels.

Each is a function of (folder, parameters, inputs) that writes into the folder; the folder holds
what the step wrote before it was stopped.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.errors import ExternalError
from bjerrum.files import write_json
from bjerrum.frames import read_frames, write_frames
from bjerrum.reference.label import LabelStatus, Reference
from bjerrum.store import RECORD, Store
from bjerrum.system import Salt, Solution

BOX, TRAJECTORY, FRAMES, LABELLED = (
    "box.extxyz",
    "trajectory.h5",
    "frames.extxyz",
    "labelled.extxyz",
)
FAILURES, STOPPED = "failures.json", "stopped.json"
LABELS = "labels"
LARGEST_FORCE = 20.0
"""eV/angstrom. Thermal forces stay below half of it; a committee that knows little may explore what
no liquid visits, and one such label would outweigh all others."""
Inputs = dict[str, Path]
Parameters = dict[str, Any]


def solution_of(parameters: Parameters) -> Solution:
    """Return the solution that a step's parameters name."""
    return Solution(
        Salt.parse(parameters["salt"]),
        parameters["molality_mol_per_kg"],
        parameters["temperature_K"],
    )


def build_box(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Pack a box and let classical dynamics equilibrate it."""
    from bjerrum.boxes import build_box as pack
    from bjerrum.boxes import check_box, equilibrate_box

    solution, waters, seed = solution_of(parameters), parameters["waters"], parameters["seed"]
    atoms = equilibrate_box(
        pack(solution, waters, seed=seed),
        solution,
        time_ps=parameters["equilibration_ps"],
        seed=seed,
    )
    check_box(atoms, solution, waters)
    write_frames(folder / BOX, [atoms])


def sample_classical(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Run rigid classical dynamics from a box."""
    from bjerrum.sampling import SampleSpec
    from bjerrum.sampling import sample_classical as sample
    from bjerrum.specification import validate_spec

    (folder / TRAJECTORY).unlink(missing_ok=True)
    spec = validate_spec(parameters["run"], SampleSpec, "sampling")
    sample(inputs["box"] / BOX, spec, folder / TRAJECTORY)


def sample_r2scan(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Run short dynamics with r2SCAN itself from a box; goes on where it was stopped."""
    from bjerrum.reference.cp2k import Cp2kProgram, find_cp2k
    from bjerrum.sampling import SampleSpec
    from bjerrum.sampling import sample_r2scan as sample
    from bjerrum.specification import validate_spec

    spec = validate_spec(parameters["run"], SampleSpec, "sampling")
    program = Cp2kProgram(find_cp2k(), parameters["ranks"], parameters["threads"])
    sample(inputs["box"] / BOX, spec, program, folder / TRAJECTORY, _quietly)


def _quietly(stage: str, done: int, total: int) -> None:
    print(f"{stage}: {done} of {total}", flush=True)


def choose_frames(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Take evenly spaced frames of a trajectory, in blocks that name their stretch of it."""
    from bjerrum.trajectory import iterate_frames

    chunks = list(iterate_frames(inputs["trajectory"] / TRAJECTORY))
    positions = np.concatenate([chunk.positions for chunk in chunks])
    cells = np.concatenate([chunk.cells for chunk in chunks])
    n, blocks = parameters["frames"], parameters["blocks"]
    chosen = np.linspace(0, len(positions) - 1, n).round().astype(int)
    frames = []
    for rank, index in enumerate(chosen):
        frame = Atoms(chunks[0].symbols, positions[index], cell=cells[index], pbc=True)
        frame.wrap()
        frame.info = {"block": f"{parameters['block']}-{blocks * rank // n + 1}"}
        frames.append(frame)
    write_frames(folder / FRAMES, frames)


def reference_for(parameters: Parameters, frames: Sequence[Atoms], folder: Path) -> Reference:
    """Return the reference of a labelling step; its settings are written into ``folder``."""
    from bjerrum.campaign.toml import write_toml
    from bjerrum.reference.choose import reference_of

    config = None
    if parameters["settings"]:
        config = write_toml(folder / "settings.toml", parameters["settings"])
    return reference_of(
        parameters["method"],
        frames,
        config,
        ranks=parameters["ranks"],
        threads=parameters["threads"],
    )


def label_frames(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Label one part of the frames: every ``parts``-th, calibration frames first.

    A label that is finished is kept if the step is stopped, and taken from wherever the campaign
    has it already: other parts, of another ``frames_per_task``, hold the same labels. Labels that
    do not converge are no failure of the step: they are counted when the labels are collected.
    """
    if (inputs["frames"] / STOPPED).is_file():
        write_json(folder / STOPPED, {"stopped": True})
        return
    frames = read_frames(inputs["frames"] / FRAMES)
    reference = reference_for(parameters, frames, folder)
    work = [atoms for _, atoms in reference.calibration(frames)] + frames
    store, others = Store(folder / LABELS), _other_labels(folder)
    for atoms in work[parameters["part"] :: parameters["parts"]]:
        reference.check(atoms)
        _complete_label(atoms, reference, store, others)
    write_json(folder / "part.json", {"part": parameters["part"], "parts": parameters["parts"]})


def _other_labels(folder: Path) -> list[Store]:
    """Return the labels of the campaign's other labelling steps, stopped ones included."""
    found = (path / LABELS for path in sorted(folder.parent.glob("label_*")) if path != folder)
    return [Store(labels) for labels in found if labels.is_dir()]


def _complete_label(
    atoms: Atoms, reference: Reference, store: Store, others: Sequence[Store]
) -> None:
    """Copy a frame's label from another step that has it; else compute it."""
    from bjerrum.labelling import complete_label, label_step

    step = label_step(atoms, reference)
    known = next((found for other in others if (found := other.find(step))), None)
    if known is not None:
        source = known.folder
        with contextlib.suppress(OSError):  # its step ended meanwhile, and was renamed
            store.complete(step, lambda folder: _copy(source, folder))
    complete_label(atoms, reference, store)


def _copy(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(RECORD), dirs_exist_ok=True)


def collect_labels(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Bring the labels of all parts together, corrected; raise ExternalError if none converged.

    inputs  "earlier" (none in the first round), "frames_<k>", "frames_<k>_part_<j>"
    """
    labelled: list[Atoms] = []
    failures: list[dict[str, Any]] = []
    if "earlier" in inputs:
        labelled += read_frames(inputs["earlier"] / LABELLED, labelled=True)
    for name in sorted(
        name for name in inputs if name.startswith("frames_") and "part" not in name
    ):
        if (inputs[name] / STOPPED).is_file():
            continue
        parts = [path for key, path in sorted(inputs.items()) if key.startswith(f"{name}_part_")]
        found, failed = _collected(read_frames(inputs[name] / FRAMES), parts, parameters, folder)
        labelled += found
        failures += failed
    if not labelled:
        first = failures[0]["reason"] if failures else "there were no frames"
        raise ExternalError(f"none of {len(failures)} labels converged: {first}")
    write_frames(folder / LABELLED, labelled)
    write_json(folder / FAILURES, failures)


def _collected(
    frames: list[Atoms], parts: list[Path], parameters: Parameters, folder: Path
) -> tuple[list[Atoms], list[dict[str, Any]]]:
    from bjerrum.labelling import LABEL, label_step, read_label

    reference = reference_for(parameters, frames, folder)
    extra = reference.calibration(frames)
    stores = [Store(part / LABELS) for part in parts]
    raw, failures = [], []
    for atoms in [*(atoms for _, atoms in extra), *frames]:
        step = label_step(atoms, reference)
        result = next((found for store in stores if (found := store.find(step))), None)
        raw.append(None if result is None else read_label(result))
        if result is not None and raw[-1] is None:
            outcome = result.read_json(LABEL)
            assert outcome["status"] != LabelStatus.CONVERGED
            failures.append({**outcome, "log": str(result.folder)})
    calibration = [(k, frame) for (k, _), frame in zip(extra, raw, strict=False)]
    refined = reference.refine(raw[len(extra) :], calibration)
    kept = []
    for frame in refined:
        if frame is None:
            continue
        largest = float(np.abs(frame.get_forces()).max())
        if largest > LARGEST_FORCE:
            reason = f"a force of {largest:.3g} eV/angstrom (limit {LARGEST_FORCE:g})"
            failures.append({"status": "absurd", "reason": reason, "log": ""})
        else:
            kept.append(frame)
    return kept, failures
