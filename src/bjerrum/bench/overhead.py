"""What of a step is not arithmetic: Python's share, and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.dynamics.runner import Extras, run_dynamics
from bjerrum.dynamics.settings import Dynamics
from bjerrum.dynamics.watchdog import watch_for
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.frames import write_frames
from bjerrum.potential.fused.model import BoundFused, for_dynamics
from bjerrum.potential.model import Model

_STEPS, _FRAME_STRIDE = 400, 10


def python_overhead(model: Model, atoms: Atoms, temperature: float) -> dict[str, float]:
    """Return the CPU milliseconds of a step that are not spent in compiled forces.

    run   the whole runner (thermostat, frames every 10 steps, watch, chunks on disk) under forces
          that cost nothing
    call  the force call with its compiled functions replaced by ones that return at once
    """
    run = _run_without_forces(model, atoms, temperature)
    call = _call_without_arithmetic(model, atoms)
    return {"run": run, "call": call, "total": run + call}


def _run_without_forces(model: Model, atoms: Atoms, temperature: float) -> float:
    fixed = Evaluation(0.0, np.zeros((len(atoms), 3)), {"coulomb": 0.0}, np.zeros((3, 3)))
    dynamics = Dynamics(
        timestep_fs=1e-3, n_steps=_STEPS, temperature=temperature, friction_per_ps=5.0,
        frame_stride=_FRAME_STRIDE, chunk_frames=20, seed=1,
    )  # fmt: skip

    def forces(positions: FloatArray) -> Evaluation:
        return fixed

    extras = Extras(watch=watch_for(model.repulsion))
    seconds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.process_time()
            run_dynamics(atoms, forces, dynamics, Path(folder), extras=extras)
            seconds.append(time.process_time() - begin)
    return 1e3 * float(np.median(seconds)) / _STEPS


def _call_without_arithmetic(model: Model, atoms: Atoms) -> float:
    bound = for_dynamics(model, "fused").potential.bind(list(atoms.symbols), atoms.cell.array)
    assert isinstance(bound, BoundFused)
    bound(atoms.positions)
    bound.without_arithmetic()
    begin = time.process_time()
    for _ in range(_STEPS):
        bound(atoms.positions)
    return 1e3 * (time.process_time() - begin) / _STEPS


_ALONE = """
import json, resource, sys
from pathlib import Path
from bjerrum.memory import reuse_freed_memory
from bjerrum.dynamics.single import SimulationSpec, simulate_box
reuse_freed_memory()
spec = SimulationSpec(time_ps=0.0005, temperature=300, timestep_fs=0.05, friction_per_ps=5,
                      frame_every_fs=0.25, seed=1)
simulate_box(sys.argv[1], Path(sys.argv[2]), spec, Path(sys.argv[3]), lambda *a: None)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
"""


def memory_of(model: Model, atoms: Atoms) -> float:
    """Return the peak memory in MiB of a process that simulates these atoms and does nothing else.

    That is what ``simulate`` does, the comparison with the plain network at its start included.
    """
    with tempfile.TemporaryDirectory() as folder:
        box = Path(folder) / "box.extxyz"
        write_frames(box, [atoms])
        arguments = [str(model.folder), str(box), str(Path(folder) / "run.h5")]
        result = subprocess.run(
            [sys.executable, "-c", _ALONE, *arguments], capture_output=True, text=True, check=True
        )
    peak: Any = json.loads(result.stdout)
    return float(peak)
