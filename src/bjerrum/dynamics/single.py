"""One box, one model, one trajectory file: what ``bjerrum simulate`` does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from ase import Atoms
from pydantic import Field

from bjerrum.dynamics.assembly import assemble
from bjerrum.dynamics.claims import claim_folder, read_note
from bjerrum.dynamics.inner_fit import inner_of_run
from bjerrum.dynamics.planning import planned_ps
from bjerrum.dynamics.recording import FLAGGED, RECORD, told
from bjerrum.dynamics.runner import Extras, run_dynamics
from bjerrum.dynamics.settings import Dynamics, ForceEvaluation, Setup, require_sound_steps
from bjerrum.dynamics.stepping import motion_of
from bjerrum.dynamics.telling import Forecast, Say, silent
from bjerrum.errors import InputError
from bjerrum.files import sha256_of, unwritable
from bjerrum.frames import read_frames, require_box
from bjerrum.potential.model import load_model
from bjerrum.potential.protocol import ForceFunction
from bjerrum.specification import NotNegative, Positive, Spec
from bjerrum.store import exclusive

CHUNK_FRAMES = 20
H5MD_SUFFIXES = (".h5", ".h5md", ".hdf5")


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

    @property
    def frame_stride(self) -> int:
        """Steps between frames: the whole number nearest to ``frame_every_fs``, at least one."""
        return max(1, round(self.frame_every_fs / self.timestep_fs))

    def rounded_interval(self) -> str | None:
        """Return one line where frames cannot be kept as often as asked; None where they can."""
        kept = self.frame_stride * self.timestep_fs
        if abs(kept - self.frame_every_fs) < 1e-6 * self.timestep_fs:
            return None
        return (
            f"frames every {kept:g} fs: {self.frame_every_fs:g} fs are no whole number of steps of "
            f"{self.timestep_fs:g} fs"
        )

    def dynamics(self, chunk_frames: int = CHUNK_FRAMES, replica: int = 0) -> Dynamics:
        """Return what the runner needs; the length is rounded to whole frames.

        chunk_frames  what an interruption loses at most
        Raises InputError for a length of less than a frame.
        """
        stride = self.frame_stride
        n_frames = round(self.time_ps * 1e3 / (self.timestep_fs * stride))
        if self.time_ps * 1e3 < 0.999 * self.timestep_fs * stride:
            raise InputError(
                f"--time-ps: expected at least one frame ({self.timestep_fs * stride / 1e3:g} ps), "
                f"got {self.time_ps:g} ps; give a longer time or a smaller --frame-every-fs"
            )
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
    say: Say = silent,
) -> None:
    """Run dynamics and write an H5MD file; go on in ``<output>.partial`` if that exists.

    budget_minutes  replaces the length: what so many minutes of this machine reach
    device          cpu or cuda; a run may go on on another
    say             is told a forecast, what the watch saw, and which frame of several is used

    Raises InputError if the partial folder belongs to another model, box or settings, if the
    output exists already, or for a box that is too small or not neutral.
    """
    require_trajectory_name(output)
    work = partial_folder(output)
    _refuse_overwriting(output, work)
    dynamics = spec.dynamics()
    require_sound_steps(dynamics)
    atoms = first_frame(box, say)
    loaded = load_model(model, device=device)
    require_box(atoms.cell.array, loaded.card.cutoff)
    claim: dict[str, Any] = {
        "model": loaded.card.weights_sha256,
        "box": sha256_of(box),
        "settings": spec.model_dump(mode="json"),
        "budget_minutes": budget_minutes,
    }
    if work.exists() or spec.inner_steps > 1:
        claim_folder(work, claim)  # before anything is read or written there
    inner = None
    if spec.inner_steps > 1:
        inner = inner_of_run(loaded, atoms, spec.temperature, work)
    setup = Setup(spec.evaluation, spec.on_event, inner)
    forces, extras = assemble(loaded, atoms, dynamics, setup)
    if budget_minutes is not None:
        motion = motion_of(atoms, forces, dynamics, extras)
        length = planned_ps(motion, budget_minutes, work, lambda: claim_folder(work, claim))
        spec = spec.model_copy(update={"time_ps": length})
    write_run(atoms, forces, spec, output, claim, announce, extras=extras, say=say)


def write_run(
    atoms: Atoms,
    forces: ForceFunction,
    spec: SimulationSpec,
    output: Path,
    claim: dict[str, Any],
    announce: Callable[[str, int, int], None],
    *,
    chunk_frames: int = CHUNK_FRAMES,
    extras: Extras | None = None,
    say: Say = silent,
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
        forecast = Forecast(say, dynamics.n_steps)

        def on_step(step: int) -> None:
            forecast(step)
            announce("Dynamics", step, dynamics.n_steps)

        trajectory = run_dynamics(atoms, forces, dynamics, work, on_step=on_step, extras=extras)
        if trajectory.exists():  # else an earlier call was killed after the move
            try:
                trajectory.replace(output)
            except OSError as error:
                raise unwritable(output, error) from error
        _keep_record(work, output, say)
        shutil.rmtree(work)


def first_frame(box: Path, say: Say = silent) -> Atoms:
    """Return the first frame of a file, and say so if it holds others."""
    frames = read_frames(box)
    if len(frames) > 1:
        say(f"{box}: holds {len(frames)} frames; the first one is used")
    return frames[0]


def require_trajectory_name(output: Path) -> None:
    """Raise InputError unless the name is one that is read as H5MD later."""
    if output.suffix not in H5MD_SUFFIXES:
        raise InputError(
            f"{output}: expected a name that ends in {', '.join(H5MD_SUFFIXES)} for the "
            "trajectory of one box"
        )


def _refuse_overwriting(output: Path, work: Path) -> None:
    """Raise InputError for outputs that are not the end of an unfinished run."""
    if work.exists():
        return
    if output.exists():
        raise InputError(f"{output}: exists already; choose another output or remove it")
    for name in (RECORD, FLAGGED):
        old = _beside(output, name)
        if old.exists():
            raise InputError(
                f"{old}: is of an earlier run; move or remove it, or choose another output"
            )


def partial_folder(output: Path) -> Path:
    """Return where a run is kept until it is finished."""
    return output.with_name(output.name + ".partial")


def _beside(output: Path, name: str) -> Path:
    return output.with_name(f"{output.stem}-{name}")


def _keep_record(work: Path, output: Path, say: Say) -> None:
    """Put what the watch saw beside the trajectory; that nothing was seen, the latter says."""
    if not (work / FLAGGED).exists():
        return
    line = seen_in(work)
    for name in (RECORD, FLAGGED):
        if (work / name).exists():
            (work / name).replace(_beside(output, name))
    if line:
        say(f"{line}; see {_beside(output, FLAGGED)}")


def seen_in(folder: Path) -> str:
    """Return what the watch of a finished run saw, in one line; empty if that is nothing."""
    path = folder / RECORD
    return told(read_note(path, "remove it")) if path.exists() else ""
