"""S(k) that is stored and taken up again is the S(k) of an undisturbed run, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from bjerrum.errors import FrameError
from bjerrum.properties.accumulators import feed, load_accumulators
from bjerrum.properties.structure_accumulator import StructureFactorAccumulator
from bjerrum.trajectory import TrajectoryChunk

SYMBOLS = ("Li",) * 3 + ("Cl",) * 3
CELL = np.diag([9.0, 9.0, 9.0])


def chunks(n_frames: int = 90, size: int = 10) -> list[TrajectoryChunk]:
    positions = np.random.default_rng(2).random((n_frames, 6, 3)) * 9.0
    return [
        TrajectoryChunk(
            symbols=SYMBOLS,
            cell=np.full(3, 9.0),
            steps=np.arange(start, start + size),
            times_ps=None,
            positions=positions[start : start + size],
        )
        for start in range(0, n_frames, size)
    ]


def test_it_is_the_mean_of_the_definition():
    accumulator = StructureFactorAccumulator(SYMBOLS, CELL, 2.0)
    feed(chunks(), [accumulator])
    positions = np.concatenate([chunk.positions for chunk in chunks()])
    shells = accumulator.modes.shells
    vectors = 2 * np.pi * shells.vectors[: shells.multiplicity[0]] / 9.0
    rho = np.exp(1j * positions[:, :3] @ vectors.T).sum(axis=1)
    pair = accumulator.modes.pairs.index(("Li", "Li"))
    assert accumulator.modes.sums.mean()[pair, 0] == pytest.approx((np.abs(rho) ** 2).mean())


def test_stored_and_taken_up_again(tmp_path):
    whole = StructureFactorAccumulator(SYMBOLS, CELL, 2.0)
    feed(chunks(), [whole])
    state = tmp_path / "state.npz"
    part = StructureFactorAccumulator(SYMBOLS, CELL, 2.0)
    feed(chunks()[:4], [part], checkpoint=state, names=["structure_factor"])
    loaded = load_accumulators(state)["structure_factor"]
    assert loaded.n_frames == 40
    feed(chunks(), [loaded])
    assert loaded.n_frames == whole.n_frames == 90
    assert isinstance(loaded, StructureFactorAccumulator)
    assert np.array_equal(loaded.modes.sums.mean(), whole.modes.sums.mean())
    assert np.array_equal(loaded.modes.sums.means(), whole.modes.sums.means())


def test_other_atoms_are_refused():
    accumulator = StructureFactorAccumulator(("Na",) * 6, CELL, 2.0)
    with pytest.raises(FrameError, match="atoms change"):
        accumulator.add(chunks()[0])
