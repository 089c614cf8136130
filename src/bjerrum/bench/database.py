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
from bjerrum.database.queries import Filter, count_estimates, list_estimates
from bjerrum.system import SALTS

QUANTITIES: Final = ("osmotic_coefficient", "activity_coefficient", "viscosity", "conductivity")
PER_RUN: Final = 500
REPEATS: Final = 7
INSERT_LIMIT_PER_S: Final = 5000
QUESTION_LIMIT_MS: Final = 50


def bench_database(
    *,
    estimates: int = 20_000,
    stored: int = 100_000,
    url: str | None = None,
    announce: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Return estimates inserted per second, and milliseconds of list, compare and overview.

    By the clock, and of the processor: on a machine that does other things as well, they differ.

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
        asked: dict[str, Callable[[], Any]] = {
            "list": lambda: list_estimates(database),
            "list_of_salt": lambda: list_estimates(database, one),
            "compare": lambda: compare(database, one),
            "overview": lambda: overview(database),
        }
        times = {name: _best(ask) for name, ask in asked.items()}
        return {
            "insert_estimates_per_s": n_timed * PER_RUN / wall,
            "insert_estimates_per_cpu_s": n_timed * PER_RUN / cpu,
            "insert_limit_per_s": INSERT_LIMIT_PER_S,
            "stored_estimates": len(runs) * PER_RUN,
            "compared_estimates": count_estimates(database, one),
            "question_limit_ms": QUESTION_LIMIT_MS,
            **{f"{name}_ms": wall for name, (wall, _) in times.items()},
            **{f"{name}_cpu_ms": cpu for name, (_, cpu) in times.items()},
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


def _best(ask: Callable[[], Any]) -> tuple[float, float]:
    """Return the least milliseconds of a question, by the clock and of the processor."""
    times = []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        ask()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return 1e3 * min(wall for wall, _ in times), 1e3 * min(cpu for _, cpu in times)
