"""Tables of the campaigns page, from what lies in data/store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data" / "store"


def bench() -> str:
    """Return what ``bjerrum bench store --profile`` printed, beside what was aimed at."""
    result = _read("bench.json")
    if result is None:
        return "*Not measured yet.*"
    found = result["details"]
    rows = ["| | by the clock | of the processor | aim |", "|---|---|---|---|"]
    rows += [
        f"| a step's overhead | {result['ours']:.1f} ms | {found['processor_ms']:.1f} ms "
        f"| < {result['alternative']:.0f} ms |",
        f"| planning a finished campaign of {_many(found['replanned_steps'])} steps again "
        f"| {found['replan_s']:.1f} s | | < {found['replan_limit_s']:.0f} s |",
        *_database(found["database"]),
    ]
    rows += [_pilot_jobs(found)] if "pilot_tasks" in found else []
    facts = f"{found['machine']}, version {found['code_version']}, on a quiet machine"
    rows += ["", f"{facts} (load average {found['load_average']:.1f})."]
    return "\n".join(rows)


def _read(name: str) -> dict[str, Any] | None:
    path = DATA / name
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _pilot_jobs(found: dict[str, Any]) -> str:
    tasks = f"{_many(found['pilot_tasks'])} tasks of {found['pilot_task_s']:g} s"
    return (
        f"| slots of Slurm at work, {tasks} on {found['pilot_slots']} slots "
        f"| {100 * found['pilot_busy']:.1f} % | | > {100 * found['pilot_busy_limit']:.0f} % |"
    )


def _database(data: dict[str, Any]) -> list[str]:
    speeds = (data["insert_estimates_per_s"], data["insert_estimates_per_cpu_s"])
    wall, cpu = (f"{_many(round(speed, -2))} a second" for speed in speeds)
    names = {
        "list": "a page of a list",
        "list_of_salt": "a page of one salt's list",
        "compare": f"{data['compared_estimates']} values beside experiment",
        "overview": "the overview",
    }
    return [
        f"| values inserted | {wall} | {cpu} | > {_many(data['insert_limit_per_s'])} |",
        *(
            f"| {name}, {_many(data['stored_estimates'])} values stored "
            f"| {data[f'{key}_ms']:.1f} ms | {data[f'{key}_cpu_ms']:.1f} ms "
            f"| < {data['question_limit_ms']:g} ms |"
            for key, name in names.items()
        ),
    ]


def _many(number: float) -> str:
    return f"{number:,.0f}"


TABLES = {"store bench": bench}
"""What stands for ``<!-- generated: NAME -->``."""
