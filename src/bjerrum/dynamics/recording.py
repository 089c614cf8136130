"""Frames of a chunk as they are gathered, and what the watch saw in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.dynamics.barostat import pressure_tensor
from bjerrum.dynamics.chunks import Chunk, End, read_chunks
from bjerrum.dynamics.integrators import State
from bjerrum.dynamics.watchdog import REASONS, Event, Watch, bit_of
from bjerrum.estimate import FloatArray
from bjerrum.files import write_json
from bjerrum.frames import write_frames
from bjerrum.units import EV_PER_ANGSTROM3_IN_BAR, PS_IN_FS

FLAGGED = "flagged.extxyz"
RECORD = "watchdog.json"
MAX_FLAGGED = 20
"""Configurations kept of a chunk; every event is recorded, whether its configuration is or not."""
_STRESS = (("xx", 0, 0), ("yy", 1, 1), ("zz", 2, 2), ("xy", 0, 1), ("xz", 0, 2), ("yz", 1, 2))


@dataclass
class Recorder:
    """Gathers the frames of one chunk.

    keep_velocities, keep_cells  whether frames hold them
    """

    keep_velocities: bool
    keep_cells: bool
    steps: list[int] = field(default_factory=list)
    positions: list[FloatArray] = field(default_factory=list)
    velocities: list[FloatArray] = field(default_factory=list)
    cells: list[FloatArray] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    flagged: list[tuple[FloatArray, FloatArray]] = field(default_factory=list)
    _since: set[str] = field(default_factory=set)
    _spread: float | None = None

    def add(self, step: int, state: State, temperature: float, cell: FloatArray, *,
            watched: bool) -> None:  # fmt: skip
        """Keep a frame; it carries the marks of all looks since the frame before."""
        row = {
            "potential_energy": state.evaluation.energy,
            "coulomb_energy": state.evaluation.terms.get("coulomb", 0.0),
            "total_energy": state.total_energy,
            "kinetic_temperature": temperature,
        }
        if state.evaluation.virial is not None:
            row |= _pressures(state, state.evaluation.virial, cell)
        if watched:
            row["watchdog"] = float(bit_of(sorted(self._since)))
            if self._spread is not None:
                row["committee_spread"] = self._spread
        self._since = set()
        self.steps.append(step)
        self.positions.append(state.positions)
        self.velocities.append(state.velocities)
        self.cells.append(cell)
        self.rows.append(row)

    def saw(self, events: list[Event], state: State, cell: FloatArray) -> None:
        """Keep what a look found."""
        self.events += events
        self._since |= {event.reason for event in events}
        if events and len(self.flagged) < MAX_FLAGGED:
            self.flagged.append((state.positions, cell))

    def saw_in_all(self, events: list[Event], state: State, cell: FloatArray) -> None:
        """Keep what a look back over the whole chunk found: all its frames carry the mark."""
        self.saw(events, state, cell)
        self._since -= {event.reason for event in events}
        mark = bit_of([event.reason for event in events])
        for row in self.rows:
            row["watchdog"] = float(int(row["watchdog"]) | mark)

    def spread(self, value: float) -> None:
        """Keep the largest spread of the committee at the last look, eV/angstrom."""
        self._spread = value

    def so_far(self) -> Chunk:
        """Return what there is of a chunk that does not reach its end, frames or none."""
        nothing = np.empty((0, 3))
        return self._chunk(End(nothing, nothing, np.zeros((3, 3))))

    def close(self, state: State, cell: FloatArray, seen_energy: float | None) -> Chunk:
        """Return the chunk."""
        return self._chunk(End(state.positions, state.velocities, cell, seen_energy))

    def _chunk(self, end: End) -> Chunk:
        flagged = [p for p, _ in self.flagged]
        names = self.rows[0] if self.rows else {}
        return Chunk(
            np.array(self.steps),
            np.array(self.positions),
            {name: np.array([row[name] for row in self.rows]) for name in names},
            end,
            cells=np.array(self.cells) if self.keep_cells else None,
            velocities=np.array(self.velocities) if self.keep_velocities else None,
            events=[event.to_json() for event in self.events],
            flagged=np.array(flagged) if flagged else None,
            flagged_cells=np.array([c for _, c in self.flagged]) if flagged else None,
        )


def _pressures(state: State, virial: FloatArray, cell: FloatArray) -> dict[str, float]:
    """Return the pressure in bar and the stress, the negative of the pressure tensor."""
    tensor = pressure_tensor(state.kinetic_tensor, virial, abs(float(np.linalg.det(cell))))
    row = {"pressure": float(np.trace(tensor)) / 3 * EV_PER_ANGSTROM3_IN_BAR}
    return row | {f"stress_{name}": -float(tensor[a, b]) for name, a, b in _STRESS}


def write_record(
    folder: Path, atoms: Atoms, watch: Watch, timestep_fs: float, unfinished: Chunk | None = None
) -> dict[str, Any]:
    """Write and return what the watch saw in all chunks; keep configurations for relabelling.

    unfinished  a chunk that is not on disk, of a run that was stopped
    """
    events: list[dict[str, Any]] = []
    frames: list[Atoms] = []
    n_frames = n_marked = 0
    for chunk in chain(read_chunks(folder), () if unfinished is None else (unfinished,)):
        events += chunk.events
        frames += _flagged_frames(atoms, chunk)
        n_frames += len(chunk.steps)
        n_marked += int(np.count_nonzero(chunk.observables.get("watchdog", np.empty(0))))
    record = summarise(events, watch, timestep_fs)
    record |= {"n_frames": n_frames, "n_frames_marked": n_marked}
    write_json(folder / RECORD, record)
    if frames:
        write_frames(folder / FLAGGED, frames)
    else:
        (folder / FLAGGED).unlink(missing_ok=True)
    return record


def told(record: dict[str, Any]) -> str:
    """Return in one line what a watch saw; empty if that is nothing.

    record  of :func:`write_record`
    """
    parts = [
        f"{reason}, {found['n_looks']} look{'s' * (found['n_looks'] > 1)}, "
        f"{_when(found['spans_ps'])}"
        for reason, found in record["reasons"].items()
    ]
    if not parts:
        return ""
    marked = f"{record['n_frames_marked']} of {record['n_frames']} frames marked"
    return f"watch: {'; '.join(parts)}; {marked}"


def _when(spans: list[list[float]]) -> str:
    first, last = spans[0][0], spans[-1][1]
    return f"at {first:g} ps" if first == last else f"{first:g} to {last:g} ps"


def _flagged_frames(atoms: Atoms, chunk: Chunk) -> list[Atoms]:
    if chunk.flagged is None or chunk.flagged_cells is None:
        return []
    steps = sorted({event["step"] for event in chunk.events})
    return [
        flagged_frame(atoms, positions, cell, [e for e in chunk.events if e["step"] == step])
        for step, positions, cell in zip(steps, chunk.flagged, chunk.flagged_cells, strict=False)
    ]


def flagged_frame(
    atoms: Atoms, positions: FloatArray, cell: FloatArray, events: list[dict[str, Any]]
) -> Atoms:
    """Return a configuration with step and reasons in its ``info``."""
    frame = atoms.copy()
    frame.set_cell(cell)
    frame.positions = positions
    frame.info["step"] = events[0]["step"]
    frame.info["reason"] = "; ".join(event["reason"] for event in events)
    return frame


def summarise(events: list[dict[str, Any]], watch: Watch, timestep_fs: float) -> dict[str, Any]:
    """Return the record of a watch: limits, number and spans of each kind of event, examples.

    A span is a stretch of looks that all saw the same; [first, last] in ps.
    """
    reasons = {}
    for reason in REASONS:
        own = [event for event in events if event["reason"] == reason]
        if own:
            steps = [event["step"] for event in own]
            worst = max(own, key=lambda event: abs(event["value"] - event["limit"]))
            reasons[reason] = {
                "n_looks": len(own),
                "spans_ps": _spans(steps, watch.stride, timestep_fs),
                "worst": worst,
            }
    return {"watch": watch.to_json(), "n_events": len(events), "reasons": reasons}


def _spans(steps: list[int], stride: int, timestep_fs: float) -> list[list[float]]:
    spans: list[list[int]] = []
    for step in sorted(set(steps)):
        if spans and step - spans[-1][1] <= stride:
            spans[-1][1] = step
        else:
            spans.append([step, step])
    return [[a * timestep_fs / PS_IN_FS, b * timestep_fs / PS_IN_FS] for a, b in spans]
