"""Boxes of several solutions, each with replicas, built and run side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from bjerrum.boxes import build_box, equilibrate_box
from bjerrum.dynamics.assembly import is_batched
from bjerrum.dynamics.inner_fit import inner_of_run
from bjerrum.dynamics.replicas import Replica, run_replicas
from bjerrum.dynamics.settings import Setup, require_sound_steps
from bjerrum.dynamics.single import SimulationSpec, claim_folder
from bjerrum.dynamics.together import run_together
from bjerrum.errors import InputError
from bjerrum.frames import read_frames, require_box, write_frames
from bjerrum.potential.model import Model, load_model
from bjerrum.store import exclusive
from bjerrum.system import Solution

EQUILIBRATION_PS = 50.0
"""Of classical dynamics before the network takes over."""


def simulate_several(
    model: str,
    solutions: Sequence[Solution],
    waters: int,
    replicas: int,
    spec: SimulationSpec,
    folder: Path,
    announce: Callable[[str, int, int], None],
    *,
    device: str = "cpu",
) -> list[Path]:
    """Build boxes, run them as many at once as there are cores; return the trajectories.

    On a CUDA device (or with ``evaluation="batched"``) all run at once, as one batch.
    ``folder`` then holds ``<salt>-<molality>-<replica>/trajectory.h5``. The same call goes on
    after an interruption. Raises InputError if the folder belongs to another call.
    """
    require_sound_steps(spec.dynamics())
    loaded = load_model(model, device=device)
    batched = is_batched(loaded, Setup(spec.evaluation))
    if device != "cpu" and not batched:
        raise InputError(
            f"--device {device}: several boxes run there as one batch, got --evaluation "
            f"{spec.evaluation}; leave it out"
        )
    claim: dict[str, object] = {
        "model": loaded.card.weights_sha256,
        "solutions": [[s.salt.formula, s.molality, s.temperature] for s in solutions],
        "waters": waters,
        "replicas": replicas,
        "settings": spec.model_dump(mode="json"),
    }
    with exclusive(folder):
        claim_folder(folder, claim)
        work: list[Any] = []
        total = len(solutions) * replicas
        for solution in solutions:
            for _ in range(replicas):
                announce("Building boxes", len(work), total)
                number = len(work)
                work.append(
                    _replica(loaded, solution, waters, number, number % replicas, spec, folder)
                )
        announce("Building boxes", total, total)
        n_steps = sum(replica.dynamics.n_steps for replica in work)

        def progress(done: int) -> None:
            announce("Dynamics", done, n_steps)

        if batched:
            run_together(loaded, work, progress)
        else:
            run_replicas(model, work, progress)
    return [replica.folder / "trajectory.h5" for replica in work]


def _replica(
    model: Model, solution: Solution, waters: int, number: int, repeat: int, spec: SimulationSpec,
    folder: Path,
) -> Replica:  # fmt: skip
    own = folder / f"{solution.salt.formula}-{solution.molality:g}-{repeat + 1}"
    atoms = _box(solution, waters, 1000 * spec.seed + number, own)
    require_box(atoms.cell.array, model.card.cutoff)
    inner = inner_of_run(model, atoms, spec.temperature, own) if spec.inner_steps > 1 else None
    return Replica(
        atoms, spec.dynamics(replica=number), own, Setup(spec.evaluation, spec.on_event, inner)
    )


def _box(solution: Solution, waters: int, seed: int, folder: Path) -> Atoms:
    path = folder / "box.extxyz"
    if not path.exists():
        atoms = build_box(solution, waters, seed=seed)
        atoms = equilibrate_box(atoms, solution, time_ps=EQUILIBRATION_PS, seed=seed)
        write_frames(path, [atoms])
    return read_frames(path)[0]
