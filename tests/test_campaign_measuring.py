"""What a campaign measures of a trajectory: never the frames that the watchdog marked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bjerrum.campaign import measuring
from bjerrum.campaign.measuring import CURVES, ESTIMATES, REASONS
from bjerrum.coarse.sources import iterate_forces
from bjerrum.estimate import Evaluation
from bjerrum.trajectory import TrajectoryChunk, write_trajectory

N_FRAMES, EDGE = 200, 14.0
MEASURES = {
    "structure": {"skip_ps": 0.0, "pairs": ["Li-O"]},
    "transport": {"skip_ps": 0.0, "temperature_K": 300.0},
    "kirkwood_buff": {"skip_ps": 0.0},
    "pairing": {"skip_ps": 0.0},
}


def walk(seed: int, n: int = N_FRAMES) -> TrajectoryChunk:
    """Four LiCl in 24 waters on a lattice, each atom on a random walk, seeded."""
    random = np.random.default_rng(seed)
    symbols = ("O", "H", "H") * 24 + ("Li", "Cl") * 4
    sites = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    start = random.permutation(sites)[: len(symbols)] * (EDGE / 5)
    steps = random.normal(0, 0.1, (n, len(symbols), 3)).cumsum(axis=0)
    return TrajectoryChunk(
        symbols=symbols,
        cell=np.array([EDGE, EDGE, EDGE]),
        steps=np.arange(n) * 50,
        times_ps=np.arange(n) * 0.05,
        positions=start + steps,
        observables={"watchdog": np.zeros(n)},
    )


def damaged(sound: TrajectoryChunk, marked: np.ndarray) -> TrajectoryChunk:
    """The same with everything on one line where the watchdog spoke."""
    positions, marks = np.array(sound.positions), np.zeros(sound.n_frames)
    positions[marked] *= np.array([0.2, 0.2, 1.0])
    marks[marked] = 3.0
    return sound.__class__(
        **{**sound.__dict__, "positions": positions, "observables": {"watchdog": marks}}
    )


def measured(name: str, chunks: list[TrajectoryChunk], folder: Path) -> dict[str, object]:
    """What a measurement writes of trajectories, one for each chunk."""
    inputs = {}
    for number, chunk in enumerate(chunks):
        inputs[f"trajectory_{number}"] = folder / f"in-{number}"
        inputs[f"trajectory_{number}"].mkdir(parents=True)
        path = inputs[f"trajectory_{number}"] / measuring.TRAJECTORY
        write_trajectory(path, iter([chunk]))
    out = folder / "out"
    out.mkdir()
    getattr(measuring, f"measure_{name}")(out, MEASURES[name], inputs)
    return {file: json.loads((out / file).read_text()) for file in (ESTIMATES, CURVES, REASONS)}


def cut(chunk: TrajectoryChunk, keep: np.ndarray) -> TrajectoryChunk:
    from bjerrum.trajectory.chunk import frames_of

    return frames_of(chunk, keep)


@pytest.mark.parametrize("name", MEASURES)
def test_frames_that_the_watchdog_marked_are_not_measured(name, tmp_path):
    """A run whose end is marked gives what the run without its end gives, to the last digit."""
    sound, *others = map(walk, range(4))
    end = np.arange(150, N_FRAMES)
    found = measured(name, [damaged(sound, end), *others], tmp_path / "marked")
    expected = measured(name, [cut(sound, np.arange(150)), *others], tmp_path / "cut")
    whole = measured(name, [damaged(sound, end[:0]), *others], tmp_path / "whole")
    assert found == expected
    assert found != whole, "the marked frames would have changed something"
    assert found[ESTIMATES] or found[CURVES], found[REASONS]


@pytest.mark.parametrize("name", ["structure", "kirkwood_buff", "pairing"])
def test_marked_frames_in_the_middle_are_left_out_as_well(name, tmp_path):
    sound, *others = map(walk, range(4))
    middle = np.arange(50, 100)
    keep = np.delete(np.arange(N_FRAMES), middle)
    found = measured(name, [damaged(sound, middle), *others], tmp_path / "marked")
    assert found == measured(name, [cut(sound, keep), *others], tmp_path / "cut")


def test_displacements_across_a_gap_are_refused_with_the_reason(tmp_path):
    sound, *others = map(walk, range(4))
    found = measured("transport", [damaged(sound, np.arange(50, 100)), *others], tmp_path)
    assert found[ESTIMATES] == []
    assert "ps" in found[REASONS]["transport"]


class NoForces:
    """A potential without forces."""

    def bind(self, symbols, cell):
        return lambda positions: Evaluation(0.0, np.zeros_like(positions))


def test_ions_alone_do_not_learn_from_marked_frames(tmp_path):
    sound = walk(0, 40)
    path = tmp_path / "trajectory.h5"
    write_trajectory(path, iter([damaged(sound, np.arange(10, 20))]))
    frames = list(iterate_forces(path, model=NoForces()))
    found = np.concatenate([part.positions for part in frames])
    expected = np.delete(np.array(sound.positions), np.arange(10, 20), axis=0)
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("timestep_fs", [0.5, 2.0])
def test_rigid_dynamics_takes_the_campaigns_time_step(tmp_path, timestep_fs):
    """The number of force calls is the length by the time step; frames lie where they should."""
    from ase.build import molecule

    from bjerrum.trajectory import iterate_frames

    waters = molecule("H2O", cell=[20.0] * 3, pbc=True)
    waters += waters.copy()
    waters.positions[3:] += 6.0
    calls = []

    def forces(positions):
        calls.append(positions.copy())
        return Evaluation(0.0, np.zeros_like(positions))

    run = {
        "time_ps": 0.1,
        "temperature": 300.0,
        "timestep_fs": timestep_fs,
        "friction_per_ps": 1.0,
        "frame_every_fs": 10.0,
        "seed": 3,
    }
    measuring._simulate_rigid(tmp_path, {"run": run}, waters, forces)
    chunks = list(iterate_frames(tmp_path / "trajectory.h5"))
    times = np.concatenate([chunk.times_ps for chunk in chunks])
    assert times == pytest.approx(0.01 * np.arange(1, 11))
    assert 100 / timestep_fs <= len(calls) <= 100 / timestep_fs + 2
