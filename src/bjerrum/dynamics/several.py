"""Several boxes side by side: of solutions, which are built, or of one file; with replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.boxes import build_box, equilibrate_box
from bjerrum.dynamics.assembly import is_batched
from bjerrum.dynamics.claims import claim_folder
from bjerrum.dynamics.inner_fit import inner_of_run
from bjerrum.dynamics.replicas import Replica, n_workers, run_replicas
from bjerrum.dynamics.settings import Setup, require_sound_steps
from bjerrum.dynamics.single import SimulationSpec, first_frame, seen_in
from bjerrum.dynamics.telling import Forecast, Say, silent
from bjerrum.dynamics.together import run_together
from bjerrum.errors import InputError, ModelError
from bjerrum.files import sha256_of
from bjerrum.frames import read_frames, require_box, write_frames
from bjerrum.potential.model import Model, load_model
from bjerrum.potential.neutrality import require_neutral
from bjerrum.store import exclusive
from bjerrum.system import Solution

EQUILIBRATION_PS = 50.0
"""Of classical dynamics before the network takes over."""

Announce = Callable[[str, int, int], None]


def simulate_several(
    model: str,
    solutions: Sequence[Solution],
    waters: int,
    replicas: int,
    spec: SimulationSpec,
    folder: Path,
    announce: Announce,
    *,
    device: str = "cpu",
    say: Say = silent,
) -> list[Path]:
    """Build boxes, run them as many at once as there are cores; return the trajectories.

    On a CUDA device (or with ``evaluation="batched"``) all run at once, as one batch.
    ``folder`` then holds ``<salt>-<molality>-<replica>/trajectory.h5``. The same call goes on
    after an interruption. A run that fails does not stop the others.
    Raises InputError if the folder belongs to another call, for a solution given twice, or, before
    a box is built, if the model does not know the elements or the boxes would be too small for it.
    """
    require_sound_steps(spec.dynamics())
    names = [_name(solution) for solution in solutions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"expected every solution once, got {', '.join(twice)} more than once; --replicas N "
            "runs a solution several times"
        )
    loaded = load_model(model, device=device)
    for solution in solutions:
        _require_fit(loaded, solution, waters)
    claim = {
        "solutions": [[s.salt.formula, s.molality, s.temperature] for s in solutions],
        "waters": waters,
        "replicas": replicas,
    }
    total = len(solutions) * replicas

    def replica(number: int) -> Replica:
        announce("Building boxes", number, total)
        solution = solutions[number // replicas]
        name = f"{_name(solution)}-{number % replicas + 1}"
        atoms = _box(solution, waters, 1000 * spec.seed + number, folder / name)
        return _replica(loaded, atoms, number, spec, folder / name, folder / name)

    return _run_all(
        _Work(model, loaded, spec, folder, device), claim, total, replica, announce, say
    )


def _name(solution: Solution) -> str:
    return f"{solution.salt.formula}-{solution.molality:g}"


def simulate_replicas(
    model: str,
    box: Path,
    replicas: int,
    spec: SimulationSpec,
    folder: Path,
    announce: Announce,
    *,
    device: str = "cpu",
    say: Say = silent,
) -> list[Path]:
    """Run one box several times, with other random numbers each; return the trajectories.

    ``folder`` then holds ``<name of the box>-<replica>/trajectory.h5``; all else is as for
    :func:`simulate_several`.
    """
    require_sound_steps(spec.dynamics())
    atoms = first_frame(box, say)
    loaded = load_model(model, device=device)

    def replica(number: int) -> Replica:
        return _replica(loaded, atoms, number, spec, folder / f"{box.stem}-{number + 1}", folder)

    claim = {"box": sha256_of(box), "replicas": replicas}
    return _run_all(
        _Work(model, loaded, spec, folder, device), claim, replicas, replica, announce, say
    )


@dataclass(frozen=True)
class _Work:
    """What all runs of a call have in common."""

    name: str
    model: Model
    spec: SimulationSpec
    folder: Path
    device: str


def _run_all(
    common: _Work, claim: dict[str, Any], total: int, replica: Callable[[int], Replica],
    announce: Announce, say: Say,
) -> list[Path]:  # fmt: skip
    spec, folder = common.spec, common.folder
    batched = is_batched(common.model, Setup(spec.evaluation))
    if common.device != "cpu" and not batched:
        raise InputError(
            f"--device {common.device}: several boxes run there as one batch, got --evaluation "
            f"{spec.evaluation}; leave it out"
        )
    claim |= {
        "model": common.model.card.weights_sha256,
        "settings": spec.model_dump(mode="json"),
    }
    with exclusive(folder):
        claim_folder(folder, claim)
        work = [replica(number) for number in range(total)]
        announce("Building boxes", total, total)
        n_steps = sum(replica.dynamics.n_steps for replica in work)
        forecast = Forecast(say, n_steps, total if batched else n_workers(total))

        def progress(done: int) -> None:
            forecast(done)
            announce("Dynamics", done, n_steps)

        try:
            if batched:
                run_together(common.model, work, progress)
            else:
                run_replicas(common.name, work, progress)
        finally:
            _tell_seen(work, say)
    return [replica.folder / "trajectory.h5" for replica in work]


def _tell_seen(work: Sequence[Replica], say: Say) -> None:
    for replica in work:
        line = seen_in(replica.folder)
        if line:
            say(f"{line}; see {replica.folder}")


def _require_fit(model: Model, solution: Solution, waters: int) -> None:
    """Refuse what the model cannot run before a box is built."""
    salt, known = solution.salt, set(model.card.elements)
    unknown = {"H", "O", salt.cation.symbol, salt.anion.symbol} - known
    if unknown:
        raise ModelError(
            f"model {model.card.name}: expected only {', '.join(sorted(known))}, {salt.formula} in "
            f"water also holds {', '.join(sorted(unknown))}; use a model that was trained with them"
        )
    require_box(np.eye(3) * solution.box_edge(waters), model.card.cutoff)


def _replica(
    model: Model, atoms: Atoms, number: int, spec: SimulationSpec, own: Path, inner_folder: Path
) -> Replica:  # fmt: skip
    require_box(atoms.cell.array, model.card.cutoff)
    require_neutral(model, list(atoms.symbols))
    inner = None
    if spec.inner_steps > 1:
        inner = inner_of_run(model, atoms, spec.temperature, inner_folder)
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
