"""Speed of the database: inserts per second, and how long questions take on a full one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from bjerrum.database import Database, EstimateRecord, ModelRecord, RunRecord, SolutionRecord
from bjerrum.database.comparison import compare, overview
from bjerrum.database.queries import Filter, list_estimates
from bjerrum.system import SALTS

QUANTITIES: Final = ("osmotic_coefficient", "activity_coefficient", "viscosity", "conductivity")
PER_RUN: Final = 500
REPEATS: Final = 7


def bench_database(
    *,
    estimates: int = 20_000,
    stored: int = 100_000,
    url: str | None = None,
    announce: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Return estimates inserted per second, and milliseconds of list, compare and overview.

    estimates  that are inserted while the clock runs, in runs of 500, a transaction each
    stored     in the database when the questions are asked
    url        of an empty database; a temporary SQLite file if None
    The questions are the best of seven; the records of the insert are made beforehand.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        Database.open(url or Path(folder) / "bench.sqlite", create=True) as database,
    ):
        runs = list(_runs(max(estimates, stored)))
        wall, cpu = time.perf_counter(), time.process_time()
        n_timed = -(-estimates // PER_RUN)
        for number, run in enumerate(runs[:n_timed]):
            database.insert([run])
            announce("Inserting", number + 1, len(runs))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        database.insert(runs[n_timed:])
        announce("Inserting", len(runs), len(runs))
        one = Filter(quantity=QUANTITIES[0], salts=("NaCl",))
        return {
            "insert_estimates_per_s": n_timed * PER_RUN / wall,
            "insert_estimates_per_cpu_s": n_timed * PER_RUN / cpu,
            "stored_estimates": len(runs) * PER_RUN,
            "list_ms": _best(lambda: list_estimates(database)),
            "list_of_salt_ms": _best(lambda: list_estimates(database, one)),
            "compare_ms": _best(lambda: compare(database, one)),
            "overview_ms": _best(lambda: overview(database)),
        }


def _runs(n: int) -> Iterator[RunRecord]:
    """Yield runs of made-up numbers, all different, over salts, models and quantities."""
    rng = np.random.default_rng(1)
    models = [ModelRecord(f"model {k}", f"{k:064x}") for k in range(4)]
    salts = sorted(SALTS)
    for number in range(-(-n // PER_RUN)):
        salt = salts[number % len(salts)]
        places = [SolutionRecord(salt, float(m), 298.15) for m in rng.uniform(0.1, 5.0, 10)]
        yield RunRecord(
            name=f"run {number}",
            kind="run",
            solution=places[0],
            model=models[number % len(models)],
            estimates=[
                EstimateRecord(
                    quantity=QUANTITIES[index % len(QUANTITIES)],
                    value=float(value),
                    standard_error=0.01,
                    unit="1",
                    method="made up for the benchmark",
                    solution=places[index % len(places)],
                )
                for index, value in enumerate(rng.random(PER_RUN))
            ],
        )


def _best(ask: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begin)
    return 1e3 * min(times)
