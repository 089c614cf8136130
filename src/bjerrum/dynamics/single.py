"""One box, one model, one trajectory file: what ``bjerrum simulate`` does."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from bjerrum.dynamics.assembly import assemble
from bjerrum.dynamics.inner_fit import inner_of_run
from bjerrum.dynamics.recording import FLAGGED, RECORD
from bjerrum.dynamics.runner import Extras, run_dynamics
from bjerrum.dynamics.settings import Dynamics, ForceEvaluation, Setup, require_sound_steps
from bjerrum.errors import InputError
from bjerrum.files import sha256_of, unwritable, write_json
from bjerrum.frames import read_frames, require_box
from bjerrum.potential.model import load_model
from bjerrum.potential.protocol import ForceFunction
from bjerrum.specification import NotNegative, Positive, Spec
from bjerrum.store import exclusive

CHUNK_FRAMES = 20
CLAIM, PLAN = "simulation.json", "plan.json"
TIMED_CALLS = 20
PLANNED_SHARE = 0.9
"""Part of a budget that is planned; the rest is for frames, the watch and a busier machine."""


class SimulationSpec(Spec):
    """Length, ensemble and random numbers of a single run."""

    time_ps: Positive
    temperature: Annotated[float, Field(gt=0, le=2000)]
    timestep_fs: Annotated[float, Field(gt=0, le=8)]
    friction_per_ps: NotNegative
    frame_every_fs: Positive
    seed: Annotated[int, Field(ge=0)]
    inner_steps: Annotated[int, Field(ge=1, le=16)] = 1
    hydrogen_mass: Annotated[float, Field(ge=1, le=5)] | None = None
    pressure_bar: float | None = None
    keep_velocities: bool = False
    evaluation: ForceEvaluation = "auto"
    on_event: Literal["continue", "stop", "off"] = "continue"

    def dynamics(self, chunk_frames: int = CHUNK_FRAMES, replica: int = 0) -> Dynamics:
        """Return what the runner needs; the length is rounded to whole frames.

        chunk_frames  what an interruption loses at most
        """
        stride = max(1, round(self.frame_every_fs / self.timestep_fs))
        n_frames = max(1, round(self.time_ps * 1e3 / (self.timestep_fs * stride)))
        return Dynamics(
            timestep_fs=self.timestep_fs,
            n_steps=n_frames * stride,
            temperature=self.temperature,
            friction_per_ps=self.friction_per_ps or None,
            frame_stride=stride,
            chunk_frames=chunk_frames,
            seed=self.seed,
            replica=replica,
            inner_steps=self.inner_steps,
            hydrogen_mass=self.hydrogen_mass,
            pressure_bar=self.pressure_bar,
            keep_velocities=self.keep_velocities,
        )


def simulate_box(
    model: str,
    box: Path,
    spec: SimulationSpec,
    output: Path,
    announce: Callable[[str, int, int], None],
    *,
    budget_minutes: float | None = None,
    device: str = "cpu",
) -> None:
    """Run dynamics and write an H5MD file; go on in ``<output>.partial`` if that exists.

    budget_minutes  replaces the length: what so many minutes of this machine reach
    device          cpu or cuda; a run may go on on another

    Raises InputError if the partial folder belongs to another model, box or settings, or if the
    output exists already.
    """
    work = partial_folder(output)
    _refuse_overwriting(output, work)
    require_sound_steps(spec.dynamics())
    atoms = read_frames(box)[0]
    loaded = load_model(model, device=device)
    require_box(atoms.cell.array, loaded.card.cutoff)
    claim: dict[str, object] = {
        "model": loaded.card.weights_sha256,
        "box": sha256_of(box),
        "settings": spec.model_dump(mode="json"),
        "budget_minutes": budget_minutes,
    }
    inner = None
    if spec.inner_steps > 1:
        claim_folder(work, claim)  # before anything is written there
        inner = inner_of_run(loaded, atoms, spec.temperature, work)
    setup = Setup(spec.evaluation, spec.on_event, inner)
    forces, extras = assemble(loaded, atoms, spec.dynamics(), setup)
    if budget_minutes is not None:
        claim_folder(work, claim)
        length = planned_ps(atoms, forces, spec.timestep_fs, budget_minutes, work)
        spec = spec.model_copy(update={"time_ps": length})
    write_run(atoms, forces, spec, output, claim, announce, extras=extras)


def write_run(
    atoms: Atoms,
    forces: ForceFunction,
    spec: SimulationSpec,
    output: Path,
    claim: dict[str, object],
    announce: Callable[[str, int, int], None],
    *,
    chunk_frames: int = CHUNK_FRAMES,
    extras: Extras | None = None,
) -> None:
    """Run dynamics of ``atoms`` under ``forces`` into an H5MD file, resumably.

    claim         JSON values that determine the run; an unfinished run of another is refused
    chunk_frames  what an interruption loses at most
    """
    work = partial_folder(output)
    _refuse_overwriting(output, work)
    with exclusive(work):
        claim_folder(work, claim)
        dynamics = spec.dynamics(chunk_frames)
        trajectory = run_dynamics(
            atoms,
            forces,
            dynamics,
            work,
            on_step=lambda step: announce("Dynamics", step, dynamics.n_steps),
            extras=extras,
        )
        if trajectory.exists():  # else an earlier call was killed after the move
            try:
                trajectory.replace(output)
            except OSError as error:
                raise unwritable(output, error) from error
        _keep_record(work, output)
        shutil.rmtree(work)


def _refuse_overwriting(output: Path, work: Path) -> None:
    """Raise InputError for an output that is not the end of an unfinished run."""
    if output.exists() and not work.exists():
        raise InputError(f"{output}: exists already; choose another output or remove it")


def planned_ps(
    atoms: Atoms, forces: ForceFunction, timestep_fs: float, minutes: float, folder: Path
) -> float:
    """Return how many picoseconds fit into a time, planned once: later calls find the plan."""
    path = folder / PLAN
    if path.exists():
        return float(json.loads(path.read_text(encoding="utf-8"))["time_ps"])
    seconds = []
    for _ in range(TIMED_CALLS):
        begin = time.perf_counter()
        forces(atoms.positions)
        seconds.append(time.perf_counter() - begin)
    step = float(np.median(seconds))
    time_ps = PLANNED_SHARE * 60 * minutes / step * timestep_fs / 1e3
    write_json(path, {"time_ps": time_ps, "seconds_per_step": step, "minutes": minutes})
    return time_ps


def partial_folder(output: Path) -> Path:
    """Return where a run is kept until it is finished."""
    return output.with_name(output.name + ".partial")


def _keep_record(work: Path, output: Path) -> None:
    """Put what the watch saw beside the trajectory."""
    if not (work / FLAGGED).exists():
        return  # the trajectory itself says that nothing was seen
    for name in (RECORD, FLAGGED):
        if (work / name).exists():
            (work / name).replace(output.with_name(f"{output.stem}-{name}"))


def claim_folder(work: Path, claim: dict[str, object]) -> None:
    """Write down what the partial folder is for, or refuse one that is for something else."""
    path = work / CLAIM
    if path.exists():
        if json.loads(path.read_text()) != claim:
            raise InputError(
                f"{work}: holds an unfinished run of another model, box or settings; finish it "
                "with its own command, choose another output, or remove it"
            )
        return
    write_json(path, claim)
