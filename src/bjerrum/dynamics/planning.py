"""From a budget of wall time to a length, by timing real steps; planned once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bjerrum.dynamics.claims import read_note
from bjerrum.dynamics.stepping import Motion, seconds_per_step
from bjerrum.errors import InputError
from bjerrum.files import write_json
from bjerrum.units import PS_IN_FS

PLAN = "plan.json"
PLANNED_SHARE = 0.9
"""Part of a budget that is planned; the rest is for frames, chunks and a busier machine."""


def planned_ps(
    motion: Motion, minutes: float, folder: Path, claim: Callable[[], None] = lambda: None
) -> float:
    """Return how many picoseconds fit into a time, planned once: later calls find the plan.

    motion  as it will be run: 20 of its steps are timed, watch and inner steps included
    claim   called before the plan is written into the folder
    Raises InputError for a budget that is too short for a frame, or a damaged plan.
    """
    path = folder / PLAN
    if path.exists():
        return _read(path)
    step = seconds_per_step(motion)
    timestep = motion.dynamics.timestep_fs / PS_IN_FS
    time_ps = PLANNED_SHARE * 60 * minutes / step * timestep
    frame = motion.dynamics.frame_stride * timestep
    if time_ps < frame:
        raise InputError(
            f"--budget-minutes {minutes:g}: lasts for {time_ps:.2g} ps at {step:.2g} s a step, "
            f"less than one frame ({frame:g} ps); give more, or a smaller --frame-every-fs"
        )
    claim()
    write_json(path, {"time_ps": time_ps, "seconds_per_step": step, "minutes": minutes})
    return time_ps


def _read(path: Path) -> float:
    remedy = "remove it to plan again"
    value = read_note(path, remedy).get("time_ps")
    if not isinstance(value, float | int) or not value > 0:
        raise InputError(f"{path}: is damaged (time_ps is {value!r}); {remedy}")
    return float(value)
