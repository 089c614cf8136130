"""Steps without chemistry, for tests of store, pool and cluster; workers import them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.graph import Graph, Kind, Node

MIX = Kind("mix", 1, "toy_steps:mix", unit="numbers")
JOIN = Kind("join", 1, "toy_steps:join", unit="numbers")
MISBEHAVE = Kind("misbehave", 1, "toy_steps:misbehave")
CORES = Kind("cores", 1, "toy_steps:cores")
SEEN = Kind("seen", 1, "toy_steps:seen")


def mix(folder: Path, parameters: dict, inputs: dict[str, Path]) -> None:
    """Hash the parameters and inputs again and again, in two files."""
    state = json.dumps(parameters, sort_keys=True).encode()
    for name in sorted(inputs):
        state += (inputs[name] / "value").read_bytes()
    for _ in range(parameters.get("rounds", 100)):
        state = hashlib.sha256(state).digest()
    time.sleep(parameters.get("seconds", 0))
    (folder / "half").write_bytes(state[:16])
    time.sleep(parameters.get("seconds", 0))
    (folder / "value").write_bytes(state)


join = mix


def seen(folder: Path, parameters: dict, inputs: dict[str, Path]) -> None:
    """Write the parameters that came."""
    (folder / "seen.json").write_text(json.dumps(parameters))


def where(folder: Path, parameters: dict, inputs: dict[str, Path]) -> None:
    """Write which graphics card the worker may see."""
    (folder / "value").write_text(os.environ["CUDA_VISIBLE_DEVICES"])


def cores(folder: Path, parameters: dict, inputs: dict[str, Path]) -> None:
    """Write the cores of this process, and of a thread and a program that it starts."""
    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(os.sched_getaffinity, 0).result()
    command = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
    program = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    time.sleep(1)
    found = [sorted(os.sched_getaffinity(0)), sorted(thread), program, os.getpid()]
    (folder / "value").write_text(json.dumps(found))


def misbehave(folder: Path, parameters: dict, inputs: dict[str, Path]) -> None:
    """Do what ``how`` says; "once" does it only the first time."""
    first = not (folder / "tried").exists()
    (folder / "tried").touch()
    (folder / "value").write_text("done")
    print(f"about to {parameters['how']}", flush=True)
    if parameters.get("once") and not first:
        return
    match parameters["how"]:
        case "refuse":
            raise InputError("the salt is unknown")
        case "check":
            raise PhysicsCheckFailed("too hot")
        case "raise":
            raise ZeroDivisionError("a fault")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "eat":
            eaten = [b"x" * 10**7 for _ in range(100)]
            time.sleep(600)
            del eaten


def diamond(width: int, *, seconds: float = 0.0, seed: int = 0, version: int = 1) -> Graph:
    """A first step, ``width`` that read it, and one that reads them all."""
    graph = Graph()
    kind = Kind("mix", version, "toy_steps:mix", unit="numbers")
    first = graph.add(MIX, {"seed": seed, "seconds": seconds}, title="first")
    middle: dict[str, Node] = {
        f"part_{k}": graph.add(
            kind, {"k": k, "seconds": seconds}, {"first": first}, title=f"part {k}"
        )
        for k in range(width)
    }
    graph.add(JOIN, {"seconds": seconds}, middle, title="join")
    return graph
