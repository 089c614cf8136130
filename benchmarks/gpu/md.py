"""Atom-steps per second on a graphics card: batched boxes of 248 atoms, single boxes of 1584.

    python benchmarks/gpu/md.py [--device cuda] [--boxes 1,16,64,256] [--large 1,8,32] [--steps 50]

"batched": all boxes as one graph, Coulomb part and wall on the device, BAOAB in torch. "simulate":
the same batch as `bjerrum simulate --device cuda` runs it, every replica with its own integrator,
watch and files on the host. The alternative: the same network, one box at a time, neighbour list
every step. Prints JSON. Published for comparison: 3.3e5 atom-steps/s of a batched MACE on an H100.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bjerrum.boxes import build_box, equilibrate_box
from bjerrum.dynamics.replicas import Replica
from bjerrum.dynamics.settings import Dynamics
from bjerrum.dynamics.together import run_together
from bjerrum.potential.batched import BatchedModel
from bjerrum.potential.model import load_model
from bjerrum.system import Salt, Solution
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2, thermal_energy


def run(forces, positions, masses, steps: int, timestep: float = 1.0, friction: float = 0.005):
    """BAOAB on the device; returns positions."""
    inverse = (1 / (masses * AMU_IN_EV_FS2_PER_ANGSTROM2))[:, None]
    speed = (thermal_energy(298.15) * inverse).sqrt()
    velocities = speed * torch.randn_like(positions)
    keep = math.exp(-friction * timestep)
    _, force = forces(positions)
    for _ in range(steps):
        velocities = velocities + 0.5 * timestep * inverse * force
        positions = positions + 0.5 * timestep * velocities
        velocities = keep * velocities + math.sqrt(1 - keep**2) * speed * torch.randn_like(
            positions
        )
        positions = positions + 0.5 * timestep * velocities
        _, force = forces(positions)
        velocities = velocities + 0.5 * timestep * inverse * force
    return positions


def rate(model, boxes, steps: int, *, every_step: bool = False) -> float:
    """Return atom-steps per second of boxes together."""
    batched = BatchedModel(model, [(list(b.symbols), b.cell.array) for b in boxes])
    device = batched.device
    positions = torch.from_numpy(np.concatenate([b.positions for b in boxes])).to(device)
    masses = torch.from_numpy(np.concatenate([b.get_masses() for b in boxes])).to(device)

    def forces(r):
        if every_step:
            batched.reset()
        return batched(r)

    positions = run(forces, positions, masses, 5)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    begin = time.perf_counter()
    run(forces, positions, masses, steps)
    wait()
    return len(positions) * steps / (time.perf_counter() - begin)


def simulated(model, boxes, steps: int) -> float:
    """Return atom-steps per second of whole runs, from two lengths: what a start costs cancels."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for times in (1, 3):
            dynamics = Dynamics(
                timestep_fs=0.5, n_steps=times * steps, temperature=298.15, friction_per_ps=50.0,
                frame_stride=steps, chunk_frames=1, seed=1,
            )  # fmt: skip
            replicas = [
                Replica(box, replace(dynamics, replica=k), Path(folder) / f"{times}-{k}")
                for k, box in enumerate(boxes)
            ]
            seconds.append(run_together(model, replicas, lambda done: None))
    return 2 * steps * sum(map(len, boxes)) / (seconds[1] - seconds[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--boxes", default="1,16,64,256")
    parser.add_argument("--large", default="1,8,32")
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    torch.manual_seed(1)
    model = load_model("licl-nnp1", device=arguments.device)
    solution = Solution(Salt.parse("LiCl"), 2.78, 298.15)
    result: dict = {"device": arguments.device, "unit": "atom-steps/s"}
    if arguments.device == "cuda":
        result["card"] = torch.cuda.get_device_name()
    for name, waters, counts in (
        ("248 atoms", 80, arguments.boxes),
        ("1584 atoms", 512, arguments.large),
    ):
        if not counts:
            continue
        box, numbers = build_box(solution, waters, seed=1), counts.split(",")
        box = equilibrate_box(box, solution, time_ps=10, seed=1)
        result[name] = {
            "alternative": rate(model, [box], arguments.steps, every_step=True),
            "batched": {n: rate(model, [box] * int(n), arguments.steps) for n in numbers},
            "simulate": {n: simulated(model, [box] * int(n), arguments.steps) for n in numbers},
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
