"""Many frames, one reference: each frame a resumable step, only converged labels in the data set.

A working folder beside the output holds every calculation: input, log, and what became of it. The
same command goes on after an interruption; frames that are finished are never computed again, nor
those that an earlier output already holds (by ``label_id``), with or without its working folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms

from bjerrum.errors import FrameError, InputError
from bjerrum.files import write_json
from bjerrum.frames import broken_waters, read_frames, write_frames
from bjerrum.reference.label import Label, LabelStatus, Reference
from bjerrum.store import Result, Step, Store, exclusive

ATTEMPTS: Final = 2
"""A calculation that was killed or died is tried this often before it is marked."""

LABEL: Final = "label.json"
FRAME: Final = "frame.extxyz"
LABEL_ID: Final = "label_id"
UNCORRECTED: Final = (
    "its grid error could not be measured, because too few displaced labels of its cell converged; "
    'use grid_correction = "average"'
)
LEAST_TO_COMPARE: Final = 8
STATE_GAP_EV: Final = 2.0
_VERSION: Final = 1
_DECIMALS: Final = 8


@dataclass(frozen=True)
class Labelled:
    """What became of the frames.

    frames    those with converged labels, in the order given
    failures  index, status, reason and log folder of those without
    waiting   how many were not begun because time ran out
    """

    frames: list[Atoms]
    failures: list[dict[str, Any]]
    waiting: int

    @property
    def median_cpu_seconds(self) -> float:
        """CPU time of a label; 0 without any."""
        times = [frame.info.get("label_cpu_seconds", 0.0) for frame in self.frames]
        return float(np.median(times)) if times else 0.0


def label_step(atoms: Atoms, reference: Reference) -> Step:
    """Return the step that labels a frame: named by method, settings and configuration."""
    content = {
        "numbers": atoms.numbers.tolist(),
        "positions": np.round(atoms.positions, _DECIMALS).tolist(),
        "cell": np.round(atoms.cell.array, _DECIMALS).tolist(),
    }
    frame = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Step("label", _VERSION, reference.describe(), {"frame": frame})


def label_frames(
    frames: Sequence[Atoms],
    reference: Reference,
    folder: Path,
    *,
    known: Sequence[Atoms] = (),
    jobs: int = 1,
    max_hours: float | None = None,
    announce: Callable[[str, int, int], None],
) -> Labelled:
    """Label frames, several at a time; what is already in ``folder`` is not computed again.

    All frames are checked before the first calculation starts, so that a bad one costs nothing.

    folder     holds a step per frame and the lock; one process at a time
    known      frames labelled earlier
    jobs       calculations at the same time
    max_hours  begin no frame that is not expected to end within this time
    Raises InputError that names the frame, ExternalError if the program or disk fails as such.
    """
    for index, atoms in enumerate(frames):
        try:
            reference.check(atoms)
        except (InputError, FrameError) as error:
            raise InputError(f"frame {index}: {str(error).removeprefix('frame: ')}") from error
    earlier = {frame.info[LABEL_ID]: frame for frame in known if LABEL_ID in frame.info}
    fresh = [atoms for atoms in frames if label_step(atoms, reference).hash not in earlier]
    extra = reference.calibration(fresh)
    with exclusive(folder):
        store = Store(folder)
        work = [atoms for _, atoms in extra] + fresh
        steps = [label_step(atoms, reference) for atoms in work]
        _compute(work, steps, reference, store, jobs, max_hours, announce)
        raw = [_labelled(step, store) for step in steps]
        refined = reference.refine(
            raw[len(extra) :], [(k, frame) for (k, _), frame in zip(extra, raw, strict=False)]
        )
        for frame in refined:
            if frame is not None:
                earlier[frame.info[LABEL_ID]] = frame
        ended = all(store.find(step) is not None for step in steps)
        wanted = [label_step(atoms, reference) for atoms in frames]
        labelled = _collect(wanted, store, earlier, ended=ended)
        write_json(folder / "failures.json", labelled.failures)
    return labelled


def complete_label(atoms: Atoms, reference: Reference, store: Store) -> Result:
    """Return the finished step that labels a frame; compute it only if there is none yet."""
    step = label_step(atoms, reference)
    return store.complete(step, _work(atoms, reference, step.hash))


def read_label(result: Result) -> Atoms | None:
    """Return a finished step's frame with its label; None if it did not converge."""
    path = result.folder / FRAME
    return read_frames(path, labelled=True)[0] if path.is_file() else None


def write_labelled(path: Path, labelled: Labelled) -> None:
    """Write the converged frames as extended XYZ; InputError if there is none."""
    if not labelled.frames:
        first = labelled.failures[0]["reason"] if labelled.failures else "none was begun"
        raise InputError(f"{path}: expected at least one converged label, got none ({first})")
    write_frames(path, labelled.frames)


def _compute(
    frames: Sequence[Atoms],
    steps: Sequence[Step],
    reference: Reference,
    store: Store,
    jobs: int,
    max_hours: float | None,
    announce: Callable[[str, int, int], None],
) -> None:
    distinct = {step.hash: index for index, step in reversed(list(enumerate(steps)))}
    todo = [index for index in sorted(distinct.values()) if store.find(steps[index]) is None]
    total, begin, slowest = len(distinct), time.monotonic(), 0.0
    done = total - len(todo)
    announce("Labelling", done, total)
    running: dict[Future[Result], float] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while todo or running:
                while todo and len(running) < jobs and _fits(begin, slowest, max_hours):
                    index = todo.pop(0)
                    work = _work(frames[index], reference, steps[index].hash)
                    future = pool.submit(store.complete, steps[index], work)
                    running[future] = time.monotonic()
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    slowest = max(slowest, time.monotonic() - running.pop(future))
                    future.result()
                    done += 1
                    announce("Labelling", done, total)
        except BaseException:
            reference.stop()
            raise


def _fits(begin: float, slowest: float, max_hours: float | None) -> bool:
    return max_hours is None or time.monotonic() - begin + slowest < 3600 * max_hours


def _work(atoms: Atoms, reference: Reference, label_id: str) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        label, attempts = reference.label(atoms, folder), 1
        while label.status.retryable and attempts < ATTEMPTS:
            label, attempts = reference.label(atoms, folder), attempts + 1
        _record(atoms, label.with_info(**{LABEL_ID: label_id}), attempts, folder)

    return work


def _record(atoms: Atoms, label: Label, attempts: int, folder: Path) -> None:
    outcome = {"status": label.status, "reason": label.reason, "attempts": attempts}
    if label.status is LabelStatus.CONVERGED:
        write_frames(folder / FRAME, [label.attach(atoms)])
    write_json(folder / LABEL, {**outcome, **label.info})


def _labelled(step: Step, store: Store) -> Atoms | None:
    """Return a step's frame with its label; None if there is none or it did not converge."""
    result = store.find(step)
    return None if result is None else read_label(result)


def _collect(
    steps: Sequence[Step], store: Store, earlier: Mapping[str, Atoms], *, ended: bool
) -> Labelled:
    """Sort the frames; ``ended`` tells that no calculation is left that could still help one."""
    found: dict[int, Atoms] = {}
    failures, waiting = [], 0
    for index, step in enumerate(steps):
        if step.hash in earlier:
            found[index] = earlier[step.hash]
            continue
        result = store.find(step)
        if result is None:
            waiting += 1
            continue
        outcome = result.read_json(LABEL)
        if outcome["status"] == LabelStatus.CONVERGED and not ended:
            waiting += 1  # for the labels that its correction needs
        else:
            outcome["reason"] = outcome["reason"] or UNCORRECTED
            failures.append({"index": index, **outcome, "log": str(result.folder)})
    for index, reason in outliers(found).items():
        del found[index]
        result = store.find(steps[index])
        log = "an earlier output" if result is None else str(result.folder)
        status = LabelStatus.CONVERGED
        failures.append({"index": index, "status": status, "reason": reason, "log": log})
    return Labelled(list(found.values()), failures, waiting)


def outliers(frames: Mapping[int, Atoms]) -> dict[int, str]:
    """Return which labels do not belong with the others, by their energy, and why.

    A Hartree-Fock density can converge to an excited state, and a model that sampled the frames can
    have broken a molecule, which closed shells describe badly: either energy is electronvolts from
    those of the same atoms in the same cell. Looked for among at least LEAST_TO_COMPARE labels of
    one composition and cell: farther from their median than STATE_GAP_EV and than ten robust
    standard deviations (1.4826 x median absolute deviation).
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, atoms in frames.items():
        cell = tuple(np.round(atoms.cell.array.ravel(), 6))
        groups.setdefault((atoms.get_chemical_formula(), cell), []).append(index)
    found = {}
    for members in groups.values():
        if len(members) < LEAST_TO_COMPARE:
            continue
        energies = np.array([frames[index].get_potential_energy() for index in members])
        apart = energies - np.median(energies)
        limit = max(STATE_GAP_EV, 14.826 * float(np.median(np.abs(apart))))
        for index, difference in zip(members, apart, strict=True):
            if abs(difference) > limit:
                broken = broken_waters(frames[index])
                cause = f"water of atom {broken[0]} is broken" if broken else "an excited state"
                found[index] = (
                    f"its energy is {difference:.1f} eV from the median of {len(members)} labels "
                    f"of the same atoms and cell (limit {limit:.1f}): {cause}"
                )
    return found
