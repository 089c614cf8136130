"""One box, one model, one trajectory file: what ``bjerrum simulate`` does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from ase import Atoms
from pydantic import Field

from bjerrum.dynamics.runner import Dynamics, run_dynamics
from bjerrum.errors import InputError
from bjerrum.files import sha256_of, unwritable, write_json
from bjerrum.frames import read_frames, require_box
from bjerrum.potential.model import load_model
from bjerrum.potential.protocol import ForceFunction
from bjerrum.specification import NotNegative, Positive, Spec
from bjerrum.store import exclusive

CHUNK_FRAMES = 20
CLAIM = "simulation.json"


class SimulationSpec(Spec):
    """Length, ensemble and random numbers of a single run."""

    time_ps: Positive
    temperature: Annotated[float, Field(gt=0, le=2000)]
    timestep_fs: Annotated[float, Field(gt=0, le=4)]
    friction_per_ps: NotNegative
    frame_every_fs: Positive
    seed: Annotated[int, Field(ge=0)]

    def dynamics(self, chunk_frames: int = CHUNK_FRAMES) -> Dynamics:
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
        )


def simulate_box(
    model: str,
    box: Path,
    spec: SimulationSpec,
    output: Path,
    announce: Callable[[str, int, int], None],
) -> None:
    """Run dynamics and write an H5MD file; go on in ``<output>.partial`` if that exists.

    Raises InputError if the partial folder belongs to another model, box or settings, or if the
    output exists already.
    """
    atoms = read_frames(box)[0]
    loaded = load_model(model)
    require_box(atoms.cell.array, loaded.card.cutoff)
    forces = loaded.bind(list(atoms.symbols), atoms.cell.array)
    claim: dict[str, object] = {
        "model": loaded.card.weights_sha256,
        "box": sha256_of(box),
        "settings": spec.model_dump(mode="json"),
    }
    write_run(atoms, forces, spec, output, claim, announce)


def write_run(
    atoms: Atoms,
    forces: ForceFunction,
    spec: SimulationSpec,
    output: Path,
    claim: dict[str, object],
    announce: Callable[[str, int, int], None],
    *,
    chunk_frames: int = CHUNK_FRAMES,
) -> None:
    """Run dynamics of ``atoms`` under ``forces`` into an H5MD file, resumably.

    claim         JSON values that determine the run; an unfinished run of another is refused
    chunk_frames  what an interruption loses at most
    """
    work = output.with_name(output.name + ".partial")
    if output.exists() and not work.exists():
        raise InputError(f"{output}: exists already; choose another output or remove it")
    with exclusive(work):
        _claim(work, claim)
        dynamics = spec.dynamics(chunk_frames)
        trajectory = run_dynamics(
            atoms,
            forces,
            dynamics,
            work,
            on_step=lambda step: announce("Dynamics", step, dynamics.n_steps),
        )
        if trajectory.exists():  # else an earlier call was killed after the move
            try:
                trajectory.replace(output)
            except OSError as error:
                raise unwritable(output, error) from error
        shutil.rmtree(work)


def _claim(work: Path, claim: dict[str, object]) -> None:
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
