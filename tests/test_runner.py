"""One trajectory in chunks: what is written, what a kill changes (nothing), what is refused.

The force function is a toy: every atom in a harmonic well, with a memory whose last digits
depend on how often it was called since it was reset, like those of a neighbour list do.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import signal
from dataclasses import replace

import ase.io
import numpy as np
import pytest

from bjerrum.dynamics import runner
from bjerrum.dynamics.integrators import (
    langevin_step,
    maxwell_boltzmann,
    start,
    verlet_step,
)
from bjerrum.dynamics.runner import BLOWN_UP, END, Dynamics, read_end, run_dynamics
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import Evaluation
from bjerrum.trajectory import read_h5md
from bjerrum.units import BOLTZMANN
from conftest import water_box

STIFFNESS = 2.0  # eV/angstrom^2; hydrogen then has omega = 0.14/fs
DYNAMICS = Dynamics(
    timestep_fs=1.0,
    n_steps=49,
    temperature=300.0,
    friction_per_ps=20.0,
    frame_stride=4,
    chunk_frames=5,
    seed=3,
)
ATOMS = water_box()


class Wells:
    """Harmonic wells around the first positions, with a memory."""

    def __init__(self):
        self.n_calls = 0

    def reset(self):
        self.n_calls = 0

    def __call__(self, positions):
        self.n_calls += 1
        d = positions - ATOMS.positions
        energy = 0.5 * STIFFNESS * float((d**2).sum())
        forces = -STIFFNESS * d + 1e-9 * self.n_calls
        return Evaluation(energy, forces, {"network": 0.75 * energy, "coulomb": 0.25 * energy})


def run(folder, dynamics=DYNAMICS, forces=None, **options):
    return run_dynamics(ATOMS.copy(), forces or Wells(), dynamics, folder, **options)


def everything(folder):
    """Hash of every file of a folder."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder)
    return folder


def naive(dynamics):
    """The same trajectory without chunks on disk, classes or watch: (positions, observables)."""
    forces, masses = Wells(), ATOMS.get_masses()
    random = np.random.default_rng([dynamics.seed, dynamics.replica])
    v = maxwell_boltzmann(masses, dynamics.temperature, random)
    v -= (masses[:, None] * v).sum(axis=0) / masses.sum()
    r, frames = ATOMS.positions, []
    for step in range(dynamics.n_steps // dynamics.frame_stride * dynamics.frame_stride):
        chunk, within = divmod(step, dynamics.frame_stride * dynamics.chunk_frames)
        if within == 0:
            forces.reset()
            random = np.random.default_rng([dynamics.seed, dynamics.replica, chunk + 1])
            state = start(r, v, masses, forces)
        state = langevin_step(
            state,
            masses,
            forces,
            timestep=dynamics.timestep_fs,
            friction=dynamics.friction_per_ps / 1e3,
            temperature=dynamics.temperature,
            noise=random.standard_normal((len(masses), 3)),
        )
        r, v = state.positions, state.velocities
        if (step + 1) % dynamics.frame_stride == 0:
            frames.append(state)
    return frames, (r, v)


def test_keeps_the_frames_of_a_plain_integration(undisturbed):
    frames, end = naive(DYNAMICS)
    (chunk,) = read_h5md(undisturbed / "trajectory.h5")
    assert chunk.steps.tolist() == list(range(4, 49, 4))
    assert np.allclose(chunk.times_ps, chunk.steps / 1e3)
    assert chunk.symbols == tuple(ATOMS.symbols)
    assert (chunk.cells == ATOMS.cell.array).all()
    assert np.array_equal(chunk.positions, np.float32([s.positions for s in frames]))
    expected = {
        "potential_energy": [s.evaluation.energy for s in frames],
        "coulomb_energy": [0.25 * s.evaluation.energy for s in frames],
        "total_energy": [s.evaluation.energy + s.kinetic_energy for s in frames],
        "kinetic_temperature": [2 * s.kinetic_energy / (78 * BOLTZMANN) for s in frames],
    }
    assert set(chunk.observables) == set(expected)
    for name, series in expected.items():
        assert np.allclose(chunk.observables[name], series, rtol=1e-14), name
    for ours, theirs in zip(read_end(undisturbed), end, strict=True):
        assert np.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_only_trajectory_and_end_remain(undisturbed):
    assert set(everything(undisturbed)) == {"trajectory.h5", END}


def test_a_finished_run_is_not_run_again(undisturbed):
    before, steps = everything(undisturbed), []

    def fail(positions):
        raise AssertionError

    path = run(undisturbed, forces=fail, on_step=steps.append)
    assert path == undisturbed / "trajectory.h5"
    assert steps == [49]
    assert everything(undisturbed) == before


def killed_at(folder, moment):
    """Run in a child process that kills itself: at a step, in a write, or between the last two."""

    def kill(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def work():
        if moment == "in a chunk's write":
            chunks, real = itertools.count(), np.savez
            np.savez = lambda *a, **k: kill() if next(chunks) == 1 else real(*a, **k)
        elif moment == "before the end is written":
            real_write = runner.write_trajectory
            runner.write_trajectory = lambda *a: (real_write(*a), kill())
        elif moment == "before chunks are removed":
            runner.remove_chunks = kill
        elif moment == "while chunks are removed":
            runner.remove_chunks = lambda f: ((f / "chunk-000000.npz").unlink(), kill())
        run(folder, on_step=lambda step: kill() if step == moment else None)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


RANDOM_STEPS = np.random.default_rng(8).choice(range(2, 48), 4, replace=False).tolist()


@pytest.mark.parametrize(
    "moment",
    [
        1,
        20,
        21,
        48,
        *RANDOM_STEPS,
        "in a chunk's write",
        "before the end is written",
        "before chunks are removed",
        "while chunks are removed",
    ],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(moment, undisturbed, tmp_path):
    killed_at(tmp_path, moment)
    run(tmp_path)
    ours = {k: v for k, v in everything(tmp_path).items() if not k.startswith(".")}
    assert ours == everything(undisturbed)


def test_a_run_killed_again_and_again_ends_with_the_same_bits(undisturbed, tmp_path):
    for step in (7, 22, 25, 43):
        killed_at(tmp_path, step)
    run(tmp_path)
    assert everything(tmp_path) == everything(undisturbed)


@pytest.mark.parametrize(("n_steps", "n_frames"), [(4, 1), (7, 1), (8, 2), (20, 5), (41, 10)])
def test_number_of_frames(n_steps, n_frames, tmp_path):
    steps = []
    dynamics = replace(DYNAMICS, n_steps=n_steps)
    run(tmp_path, dynamics, on_step=steps.append)
    kept = [step for chunk in read_h5md(tmp_path / "trajectory.h5") for step in chunk.steps]
    assert kept == [4 * (k + 1) for k in range(n_frames)]
    assert dynamics.n_frames == n_frames
    assert steps == [*range(1, 4 * n_frames + 1), n_steps]


def end_of(folder, **changes):
    run(folder, replace(DYNAMICS, **changes))
    return read_end(folder)[0]


def test_seed_and_replica_choose_the_random_numbers(tmp_path):
    choices = [{}, {"seed": 4}, {"replica": 1}, {"seed": 4, "replica": 1}]
    ends = [end_of(tmp_path / str(k), **choice) for k, choice in enumerate(choices)]
    for a, b in itertools.combinations(ends, 2):
        assert np.abs(a - b).max() > 0.01
    assert np.array_equal(end_of(tmp_path / "again", seed=4), ends[1])


def test_chunks_do_not_repeat_random_numbers(tmp_path):
    class Free:
        def __call__(self, positions):
            return Evaluation(0.0, np.zeros_like(positions))

    dynamics = replace(DYNAMICS, friction_per_ps=1e6, n_steps=60)
    run(tmp_path, dynamics, forces=Free())
    (chunk,) = read_h5md(tmp_path / "trajectory.h5")
    moves = np.diff(chunk.positions.reshape(15, -1), axis=0)
    assert np.abs(np.corrcoef(moves) - np.eye(14)).max() < 0.6


def test_first_velocities_have_no_net_momentum_unless_given(tmp_path):
    nve = replace(DYNAMICS, friction_per_ps=None, n_steps=8)
    masses = ATOMS.get_masses()

    def nothing(positions):
        return Evaluation(0.0, np.zeros_like(positions))

    run(tmp_path / "drawn", nve, forces=nothing)
    drawn = read_end(tmp_path / "drawn")[1]
    assert np.allclose(masses @ drawn, 0, atol=1e-12)
    variance = (masses[:, None] * drawn**2).mean() * 103.642697 / (BOLTZMANN * 300)
    assert variance == pytest.approx(1, abs=4 * np.sqrt(2 / 78))
    given = np.full((26, 3), 0.001)
    run(tmp_path / "given", nve, forces=nothing, velocities=given)
    positions, velocities = read_end(tmp_path / "given")
    assert np.array_equal(velocities, given)
    assert np.allclose(positions, ATOMS.positions + 0.008)


def test_without_friction_the_total_energy_stays(tmp_path):
    class Conservative(Wells):
        def __call__(self, positions):
            self.n_calls = -1
            return super().__call__(positions)

    nve = replace(DYNAMICS, friction_per_ps=None, timestep_fs=0.25, n_steps=400)
    run(tmp_path, nve, forces=Conservative())
    (chunk,) = read_h5md(tmp_path / "trajectory.h5")
    energy = chunk.observables["total_energy"]
    assert np.ptp(energy) < 1e-3 * energy.mean()
    assert np.ptp(chunk.observables["potential_energy"]) > 0.1 * energy.mean()
    masses, forces = ATOMS.get_masses(), Conservative()
    random = np.random.default_rng([nve.seed, nve.replica])
    v = maxwell_boltzmann(masses, 300.0, random)
    state = start(ATOMS.positions, v - masses @ v / masses.sum(), masses, forces)
    for _ in range(400):
        state = verlet_step(state, masses, forces, timestep=0.25)
    assert np.array_equal(read_end(tmp_path)[0], state.positions)


def test_does_not_move_the_atoms_it_was_given(tmp_path):
    atoms = ATOMS.copy()
    run_dynamics(atoms, Wells(), replace(DYNAMICS, n_steps=8), tmp_path)
    assert np.array_equal(atoms.positions, ATOMS.positions)


def test_a_too_long_time_step_is_caught_and_leaves_the_frame(tmp_path):
    dynamics = replace(DYNAMICS, timestep_fs=16.0, n_steps=4000)  # omega h = 2.2 for hydrogen
    with pytest.raises(PhysicsCheckFailed, match=r"blew up at step \d+: \d+ K") as caught:
        run(tmp_path, dynamics)
    assert "16 fs" in str(caught.value)
    (frame,) = ase.io.read(tmp_path / BLOWN_UP, index=":")
    assert str(tmp_path / BLOWN_UP) in str(caught.value)
    assert frame.get_chemical_symbols() == ATOMS.get_chemical_symbols()
    assert np.array_equal(frame.cell.array, ATOMS.cell.array)
    assert np.abs(frame.positions - ATOMS.positions).max() > 0.5
    assert not (tmp_path / END).exists()


@pytest.mark.parametrize("spoilt", ["energy", "forces", "everything"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("step", [13, 20])
def test_nan_is_caught_at_once_and_not_written(spoilt, value, step, tmp_path):
    class Failing(Wells):
        def __call__(self, positions):
            result = super().__call__(positions)
            if self.n_calls < step + 1:
                return result
            energy = result.energy if spoilt == "forces" else value
            forces = result.forces.copy()
            if spoilt != "energy":
                forces[5, 1] = value
            return Evaluation(energy, forces)

    with pytest.raises(PhysicsCheckFailed, match=f"step {step}:") as caught:
        run(tmp_path, forces=Failing())
    if spoilt != "energy":
        assert "atom 5 (H)" in str(caught.value)
    assert np.isfinite(ase.io.read(tmp_path / BLOWN_UP).positions).all()
    assert list(tmp_path.glob("chunk*")) == []


def test_refuses_a_run_without_a_frame(tmp_path):
    with pytest.raises(InputError, match="at least 4 steps"):
        run(tmp_path / "x", replace(DYNAMICS, n_steps=3))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"timestep_fs": 0.0},
        {"timestep_fs": np.nan},
        {"temperature": -1.0},
        {"friction_per_ps": -5.0},
        {"frame_stride": 0},
        {"chunk_frames": 0},
        {"seed": -1},
        {"replica": -1},
    ],
)
def test_refuses_numbers_that_mean_nothing(change):
    with pytest.raises(InputError, match="dynamics: expected"):
        replace(DYNAMICS, **change)
