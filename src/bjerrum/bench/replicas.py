"""What several replicas at once gain: simulated time per hour of the clock, by all cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from bjerrum.dynamics.integrators import langevin_step, maxwell_boltzmann, start
from bjerrum.errors import ExternalError
from bjerrum.frames import read_frames, write_frames
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import Model, load_model

_TIMESTEP_FS, _FRICTION_PER_PS, _WARM_UP = 1.0, 5.0, 3
_WORKER = "import sys; from bjerrum.bench.replicas import work; work(*sys.argv[1:])"


def replicas_at_once(
    model: Model,
    atoms: Atoms,
    *,
    temperature: float,
    steps: int,
    rounds: int,
    announce: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Return how much more is simulated in an hour of the clock by one process for every core.

    One process alone and as many as there are cores take turns; each has one thread, as replicas
    of `bjerrum simulate` have. All begin together, and the last one counts. Medians of rounds.

    Only an idle machine shows what the cores give; ``load`` is the load average at the start.
    """
    n = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    seconds: dict[int, list[float]] = {1: [], n: []}
    with tempfile.TemporaryDirectory() as folder:
        box = Path(folder) / "box.extxyz"
        write_frames(box, [atoms])
        arguments = [str(model.folder), str(box), str(temperature), str(steps)]
        for index in range(rounds):
            for many in seconds:
                seconds[many].append(_together(many, arguments))
            announce("Replicas at once", index + 1, rounds)
    rate = {
        many: many * steps * _TIMESTEP_FS / 1e3 * 3600 / float(np.median(found))
        for many, found in seconds.items()
    }
    return {
        "processes": n,
        "ps_per_hour_alone": rate[1],
        "ps_per_hour_together": rate[n],
        "gain": rate[n] / rate[1],
        "load": load,
    }


def _together(n: int, arguments: list[str]) -> float:
    """Return the seconds by the clock from a common start to the end of the last of n workers."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(n)
    ]
    try:
        for worker in workers:
            _line(worker)
        begin = time.monotonic()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            _line(worker)
        return time.monotonic() - begin
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _line(worker: subprocess.Popen[str]) -> Any:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise ExternalError(f"bench: a replica ended early with exit code {worker.wait()}")
    return json.loads(line)


def work(folder: str, box: str, temperature: str, steps: str) -> None:
    """Be one replica: get ready, say so, wait for a line, run, say so."""
    torch.set_num_threads(1)
    (atoms,) = read_frames(Path(box))
    forces = for_dynamics(load_model(folder), "fused").potential.bind(
        list(atoms.symbols), atoms.cell.array
    )
    masses, random = atoms.get_masses(), np.random.default_rng(os.getpid())
    velocities = maxwell_boltzmann(masses, float(temperature), random)
    state = start(atoms.positions.copy(), velocities, masses, forces)

    def run(n: int) -> None:
        nonlocal state
        for _ in range(n):
            state = langevin_step(
                state, masses, forces, timestep=_TIMESTEP_FS, friction=_FRICTION_PER_PS / 1e3,
                temperature=float(temperature), noise=random.standard_normal(state.positions.shape),
            )  # fmt: skip

    run(_WARM_UP)
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    run(int(steps))
    print(json.dumps("done"), flush=True)
