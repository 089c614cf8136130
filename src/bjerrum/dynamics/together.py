"""Replicas that take every step together, so that one batch holds the forces of all of them.

A graphics card is busy with many boxes at once and idle with one. Here each replica runs as always
(:func:`~bjerrum.dynamics.runner.run_dynamics`: its own chunks, random numbers, watch) in a thread
of its own, and its force call waits until every other replica has asked
(:mod:`bjerrum.potential.shared_batch`). Replicas may be of unlike salts, sizes and lengths; one
that has ended leaves the batch.

Sums are made in another order in another batch. A run that goes on after an interruption is
therefore the undisturbed one within rounding only, which a liquid magnifies within a picosecond;
a process for each replica (:mod:`~bjerrum.dynamics.replicas`) gives the same bits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from bjerrum.dynamics.assembly import extras_of
from bjerrum.dynamics.failures import together as combined
from bjerrum.dynamics.replicas import Replica
from bjerrum.dynamics.runner import run_dynamics
from bjerrum.errors import BjerrumError
from bjerrum.potential.model import Model
from bjerrum.potential.shared_batch import Abandoned, SharedBatch


def run_together(
    model: Model, replicas: Sequence[Replica], on_progress: Callable[[int], None]
) -> float:
    """Run all replicas to their ends as one batch on the model's device; return wall seconds.

    on_progress  called every half second with the number of steps done by all together

    A replica that fails leaves the batch and the others go on; its error is raised when they are
    done, as by :func:`~bjerrum.dynamics.replicas.run_replicas`. What is wrong with the batch itself
    ends all, at their last chunks: ModelError for a committee, InputError for constant pressure,
    ExternalError if the boxes do not fit into the device's memory.
    """
    begin = time.perf_counter()
    batch = SharedBatch(model, [replica.atoms for replica in replicas])
    steps = [0] * len(replicas)
    failures: dict[int, BjerrumError] = {}

    def run(slot: int) -> None:
        try:
            _run(model, batch, slot, replicas[slot], steps, failures)
        except Abandoned:
            return  # the batch knows why
        except BaseException as error:
            batch.abandon(error)

    threads = [threading.Thread(target=run, args=(slot,)) for slot in range(len(replicas))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)
                on_progress(sum(steps))
    except BaseException as error:  # an interruption: nobody may go on alone
        batch.abandon(error)
        for thread in threads:
            thread.join()
        raise
    if batch.failure is not None:
        raise batch.failure
    if failures:
        found = [(replicas[slot].folder, error) for slot, error in sorted(failures.items())]
        raise combined(found, len(replicas))
    return time.perf_counter() - begin


def _run(
    model: Model, batch: SharedBatch, slot: int, replica: Replica, steps: list[int],
    failures: dict[int, BjerrumError],
) -> None:  # fmt: skip
    forces = batch.member(slot)
    extras = extras_of(model, replica.atoms, replica.dynamics, replica.setup, forces)

    def on_step(step: int) -> None:
        steps[slot] = step

    try:
        run_dynamics(
            replica.atoms, forces, replica.dynamics, replica.folder, on_step=on_step, extras=extras
        )
    except BjerrumError as error:
        failures[slot] = error
    batch.leave(slot)
