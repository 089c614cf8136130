"""The temperature of a run is judged by theory: equilibrium passes, a run still hot fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bjerrum.properties.thermostat import temperature_check
from bjerrum.trajectory import TrajectoryChunk, write_trajectory

N_ATOMS, TARGET, FRICTION_PER_PS = 248, 298.15, 20.0


def trajectory(path: Path, temperatures: np.ndarray) -> Path:
    n = len(temperatures)
    chunk = TrajectoryChunk(
        symbols=("O",) * N_ATOMS,
        cell=np.full(3, 13.6),
        steps=np.arange(1, n + 1),
        times_ps=0.01 * np.arange(1, n + 1),
        positions=np.zeros((n, N_ATOMS, 3)),
        observables={"kinetic_temperature": temperatures},
    )
    write_trajectory(path, [chunk])
    return path


def canonical(seed: int, n: int) -> np.ndarray:
    """Ornstein-Uhlenbeck temperatures with the canonical variance and decay time 1/(2 gamma)."""
    random = np.random.default_rng(seed)
    keep = np.exp(-0.01 * 2 * FRICTION_PER_PS)
    spread = TARGET * np.sqrt(2 / (3 * N_ATOMS))
    series = [spread * random.standard_normal()]
    for noise in random.standard_normal(n - 1):
        series.append(keep * series[-1] + spread * np.sqrt(1 - keep**2) * noise)
    return TARGET + np.array(series)


def check(paths: list[Path], skip_ps: float = 0.0):
    return temperature_check(paths, skip_ps=skip_ps, target=TARGET, friction_per_ps=FRICTION_PER_PS)


def test_runs_in_equilibrium_pass_and_the_limit_is_that_of_theory(tmp_path):
    for seed in range(20):
        paths = [
            trajectory(tmp_path / f"{seed}-{k}.h5", canonical(10 * seed + k, 100)) for k in (0, 1)
        ]
        found = check(paths)
        assert found.passed, found
    independent = 2 * 1.0 * 2 * FRICTION_PER_PS
    error = TARGET * np.sqrt(2 / (3 * N_ATOMS * independent))
    assert found.limit == pytest.approx(0.02 * TARGET + 4 * error)


def test_a_run_that_is_still_hot_fails_however_much_it_scatters(tmp_path):
    cooling = TARGET + 80 * np.exp(-np.arange(100) / 40) + canonical(1, 100) - TARGET
    found = check([trajectory(tmp_path / "hot.h5", cooling)])
    assert not found.passed
    assert "K against 298.15 K" in found.explanation


def test_the_skipped_part_is_not_judged(tmp_path):
    start = np.where(np.arange(100) < 50, 600.0, TARGET)
    path = trajectory(tmp_path / "late.h5", start)
    assert not check([path]).passed
    assert check([path], skip_ps=0.5).value == pytest.approx(0, abs=1e-9)
