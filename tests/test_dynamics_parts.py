"""Constant pressure, multiple time steps, heavy hydrogens: closed forms and conservation."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum.dynamics.assembly import assemble
from bjerrum.dynamics.barostat import pressure_tensor, volume_step
from bjerrum.dynamics.inner_fit import inner_of_run
from bjerrum.dynamics.integrators import kinetic_tensor, langevin_step, start, verlet_step
from bjerrum.dynamics.multiple import multiple_step
from bjerrum.dynamics.runner import Extras, run_dynamics
from bjerrum.dynamics.settings import Dynamics, Setup, masses_of, require_sound_steps
from bjerrum.errors import InputError
from bjerrum.estimate import Evaluation
from bjerrum.potential.model import load_model
from bjerrum.properties.structure import analyse_structure
from bjerrum.trajectory import read_h5md
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2, EV_PER_ANGSTROM3_IN_BAR, thermal_energy

KT = thermal_energy(300.0)
FRAMES = Path(__file__).parents[2] / "shared" / "data" / "licl_nnp1" / "frames.extxyz"


def nothing(positions):
    return Evaluation(0.0, np.zeros_like(positions), virial=np.zeros((3, 3)))


def test_ideal_gas_has_the_volume_of_its_law_and_its_fluctuation():
    """p(V) ~ V^N exp(-P0 V / kT): mean (N + 1) kT / P0, variance (N + 1) (kT / P0)^2."""
    n, pressure, random = 20, 200.0, np.random.default_rng(1)
    unit = KT / (pressure / EV_PER_ANGSTROM3_IN_BAR)
    volume, volumes = (n + 1) * unit, []
    for step in range(60_000):
        noise = random.standard_normal()
        factor = volume_step(
            volume, np.zeros((3, 3)), n, temperature=300.0, pressure_bar=pressure, time_ps=1.0,
            interval_fs=800.0, noise=noise,
        )  # fmt: skip
        volume *= factor**3
        if step >= 1000:
            volumes.append(volume)
    blocks = np.reshape(volumes[: len(volumes) // 20 * 20], (20, -1)).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(20)
    assert error < 0.03 * (n + 1) * unit
    assert blocks.mean() == pytest.approx((n + 1) * unit, abs=4 * error)
    assert np.std(volumes) == pytest.approx(np.sqrt(n + 1) * unit, rel=0.15)


def test_pressure_of_an_ideal_gas():
    random, masses = np.random.default_rng(2), np.full(5000, 16.0)
    speeds = np.sqrt(KT / (masses * AMU_IN_EV_FS2_PER_ANGSTROM2))[:, None]
    kinetic = kinetic_tensor(speeds * random.standard_normal((5000, 3)), masses)
    tensor = pressure_tensor(kinetic, np.zeros((3, 3)), 1e5)
    assert np.trace(tensor) / 3 == pytest.approx(5000 * KT / 1e5, rel=4 * np.sqrt(2 / 15000))


class Solid:
    """Atoms in wells at fixed fractions of the box, and an energy k (L - L0)^2 / 2 of the box."""

    def __init__(self, cell, fractions, stiffness, box_stiffness, length):
        self.edge = cell[0, 0]
        self.sites, self.stiffness = fractions * self.edge, stiffness
        self.box_stiffness, self.length = box_stiffness, length

    def __call__(self, positions):
        d = positions - self.sites
        stretch = self.edge - self.length
        energy = 0.5 * self.stiffness * (d**2).sum() + 0.5 * self.box_stiffness * stretch**2
        forces = -self.stiffness * d
        virial = d.T @ forces  # of d under scaling, d scales with the box
        virial -= np.eye(3) / 3 * self.box_stiffness * stretch * self.edge
        return Evaluation(float(energy), forces, virial=virial)


def test_harmonic_solid_at_constant_pressure(tmp_path):
    """Its volume has a density that is known in closed form; the mean comes from quadrature.

    After the atoms are integrated out (their wells follow the box) p(V) ~ exp(-(u(L) + P0 V)/kT).
    """
    n, stiffness, box_stiffness, length, pressure = 12, 1.0, 0.5, 9.0, 300.0
    fractions = np.random.default_rng(3).random((n, 3))
    atoms = Atoms("O" * n, fractions * length, cell=[length] * 3, pbc=True)

    def bind(cell):
        return Solid(cell, fractions, stiffness, box_stiffness, length)

    dynamics = Dynamics(
        timestep_fs=2.0, n_steps=40_000, temperature=300.0, friction_per_ps=50.0, frame_stride=20,
        chunk_frames=500, seed=5, pressure_bar=pressure, barostat_stride=5, barostat_time_ps=0.02,
    )  # fmt: skip
    path = run_dynamics(
        atoms, bind(atoms.cell.array), dynamics, tmp_path, extras=Extras(rebind=bind)
    )
    chunks = list(read_h5md(path))
    volumes = np.concatenate([np.linalg.det(chunk.cells) for chunk in chunks])[200:]
    pressures = np.concatenate([chunk.observables["pressure"] for chunk in chunks])[200:]
    edges = np.linspace(5, 12, 4000)
    work = pressure / EV_PER_ANGSTROM3_IN_BAR * edges**3
    density = np.exp(-(0.5 * box_stiffness * (edges - length) ** 2 + work) / KT) * edges**2
    expected = (density * edges**3).sum() / density.sum()
    blocks = volumes[: len(volumes) // 15 * 15].reshape(15, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(15)
    assert error < 0.02 * expected
    assert blocks.mean() == pytest.approx(expected, abs=4 * error)
    spread = pressures.std() / np.sqrt(len(pressures) / 20)
    assert pressures.mean() == pytest.approx(pressure, abs=5 * spread + 30)
    assert chunks[0].metadata["pressure_bar"] == pressure


def stiff_and_soft(ratio):
    """Oscillators of a stiff and a soft spring: (whole, inner) forces; exact inner if asked."""

    def whole(x):
        return Evaluation(float(0.5 * (x**2).sum() * (2.0 + 0.05)), -(2.0 + 0.05) * x)

    def inner(x):
        return Evaluation(float(0.5 * 2.0 * ratio * (x**2).sum()), -2.0 * ratio * x)

    return whole, inner


@pytest.mark.parametrize("ratio", [1.0, 0.9])
def test_multiple_steps_sample_the_whole_potential(ratio):
    """Position variance kT/k of the whole spring, at an outer step where single steps explode."""
    whole, inner = stiff_and_soft(ratio)
    masses, random = np.full(3000, 1.008), np.random.default_rng(4)
    x = np.sqrt(KT / 2.05) * random.standard_normal((3000, 3))
    v = np.sqrt(KT / (1.008 * AMU_IN_EV_FS2_PER_ANGSTROM2)) * random.standard_normal((3000, 3))
    state, squares = start(x, v, masses, whole), []
    for step in range(300):
        state = multiple_step(
            state, masses, whole, inner, timestep=4.0, n_inner=4, friction=0.05,
            temperature=300.0, noise=random.standard_normal((4, 3000, 3)),
        )  # fmt: skip
        if step > 60:
            squares.append((state.positions**2).mean())
    assert np.mean(squares) == pytest.approx(KT / 2.05, rel=0.03)


def test_an_inner_potential_that_is_the_whole_gives_small_steps():
    whole, _ = stiff_and_soft(1.0)
    masses, random = np.array([1.0, 16.0, 7.0]), np.random.default_rng(5)
    x, v = random.standard_normal((3, 3)), 0.01 * random.standard_normal((3, 3))
    many, noise = start(x, v, masses, whole), random.standard_normal((2, 4, 3, 3))
    single = many
    for outer in range(2):
        many = multiple_step(
            many, masses, whole, whole, timestep=2.0, n_inner=4, friction=0.01, temperature=300.0,
            noise=noise[outer],
        )  # fmt: skip
        for small in range(4):
            single = langevin_step(
                single, masses, whole, timestep=0.5, friction=0.01, temperature=300.0,
                noise=noise[outer, small],
            )  # fmt: skip
    assert np.allclose(many.positions, single.positions, atol=1e-12)
    assert np.allclose(many.velocities, single.velocities, atol=1e-12)


def drift(timestep):
    """Largest change of energy of stiff and soft oscillators, no noise, multiple steps."""
    whole, inner = stiff_and_soft(0.95)
    masses = np.array([1.0, 16.0])
    state = start(np.ones((2, 3)) * 0.1, np.zeros((2, 3)), masses, whole)
    first, worst = state.total_energy, 0.0
    for _ in range(int(400 / timestep)):
        state = multiple_step(
            state, masses, whole, inner, timestep=timestep, n_inner=4, friction=None,
            temperature=300.0, noise=np.zeros((4, 2, 3)),
        )  # fmt: skip
        state = replace(state, kinetic_tensor=kinetic_tensor(state.velocities, masses))
        worst = max(worst, abs(state.total_energy - first))
    return worst


def test_energy_error_of_multiple_steps_falls_with_the_square_of_the_step():
    assert drift(2.0) / drift(1.0) == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize(
    ("timestep", "n_inner", "mass", "sound"),
    [(2.0, 2, None, True), (3.0, 3, None, False), (2.0, 1, None, True), (2.4, 2, 2.0, False),
     (3.0, 2, 3.0, True), (4.0, 4, 3.0, False), (1.5, 1, None, True)],
)  # fmt: skip
def test_multiple_steps_that_are_known_to_fail_are_refused(timestep, n_inner, mass, sound):
    """Single steps are not: the watch and the temperature see to them."""
    dynamics = Dynamics(
        timestep_fs=timestep, n_steps=1, temperature=300, friction_per_ps=1, frame_stride=1,
        chunk_frames=1, seed=1, inner_steps=n_inner, hydrogen_mass=mass,
    )  # fmt: skip
    if sound:
        require_sound_steps(dynamics)
    else:
        with pytest.raises(InputError, match="multiple time steps"):
            require_sound_steps(dynamics)


def test_heavy_hydrogens_take_their_mass_from_their_oxygens():
    atoms = Atoms(
        "OHHLi", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [4, 4, 4]], cell=[9] * 3, pbc=True
    )
    natural, heavy = masses_of(atoms, None), masses_of(atoms, 3.0)
    assert heavy.sum() == pytest.approx(natural.sum())
    assert heavy.tolist() == pytest.approx(
        [natural[0] - 2 * (3 - 1.008), 3, 3, natural[3]], abs=1e-9
    )
    with pytest.raises(InputError, match="1 to 5"):
        Dynamics(
            timestep_fs=1.0, n_steps=1, temperature=300, friction_per_ps=1, frame_stride=1,
            chunk_frames=1, seed=1, hydrogen_mass=9.0,
        )  # fmt: skip


def test_configurations_do_not_depend_on_the_masses(tmp_path):
    """Wells at two hydrogen masses: the same variance, and the file says what it is."""
    atoms = Atoms("OHH" * 20, np.random.default_rng(6).random((60, 3)) * 9, cell=[9] * 3, pbc=True)

    def wells(positions):
        d = positions - atoms.positions
        return Evaluation(float((d**2).sum()), -2.0 * d)

    dynamics = Dynamics(
        timestep_fs=1.0, n_steps=6000, temperature=300.0, friction_per_ps=100.0, frame_stride=10,
        chunk_frames=300, seed=1, hydrogen_mass=1.5,
    )  # fmt: skip
    path = run_dynamics(atoms, wells, dynamics, tmp_path)
    chunks = list(read_h5md(path))
    d = np.concatenate([chunk.positions for chunk in chunks])[50:] - atoms.positions
    assert (d**2).mean() == pytest.approx(KT / 2.0, rel=0.03)
    assert chunks[0].metadata["configurational_only"] == 1


def test_constant_pressure_asks_for_what_it_needs(tmp_path):
    atoms = Atoms("O", [[1, 1, 1]], cell=[9] * 3, pbc=True)
    dynamics = Dynamics(
        timestep_fs=1.0, n_steps=20, temperature=300.0, friction_per_ps=1.0, frame_stride=1,
        chunk_frames=5, seed=1, pressure_bar=1.0,
    )  # fmt: skip
    with pytest.raises(InputError, match="rebind"):
        run_dynamics(atoms, nothing, dynamics, tmp_path)
    with pytest.raises(InputError, match="thermostat"):
        replace(dynamics, friction_per_ps=None)
    without = lambda x: Evaluation(0.0, np.zeros_like(x))  # noqa: E731
    with pytest.raises(InputError, match="virial"):
        run_dynamics(atoms, without, dynamics, tmp_path, extras=Extras(rebind=lambda cell: without))


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_inner_potential_recovers_pair_forces_and_is_a_gradient():
    """Fitted to a potential of its own form it leaves nothing; its forces are its gradient."""
    from bjerrum.potential.fused.inner import InnerPotential, fit_inner

    random = np.random.default_rng(7)
    sites = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) * 3.1
    symbols, cell = ["O"] * 20 + ["Li"] * 7, np.eye(3) * 9.3

    def reference(x):
        d = x[None] - x[:, None]
        d -= 9.3 * np.round(d / 9.3)
        r = np.sqrt((d**2).sum(-1)) + np.eye(27) * 99
        near = r < 3.6
        slope = np.where(near, -3 * (3.6 - r) ** 2, 0.0)  # of (3.6 - r)^3
        return (slope / r)[..., None] * d

    frames = sites + 0.3 * random.standard_normal((6, 27, 3))
    forces = np.array([reference(x).sum(axis=1) for x in frames])
    inner = fit_inner(symbols, cell, frames, forces)
    assert inner.rms < 0.02 * inner.rms_whole
    bound = InnerPotential.from_json(inner.to_json()).bind(symbols, cell)
    evaluation = bound(frames[0])
    assert np.abs(evaluation.forces - forces[0]).max() < 0.1 * np.abs(forces).max()
    direction, h = random.standard_normal((27, 3)), 1e-5
    numerical = bound(frames[0] - h * direction).energy - bound(frames[0] + h * direction).energy
    assert (evaluation.forces * direction).sum() == pytest.approx(numerical / (2 * h), rel=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_inner_potential_has_no_holes_beyond_its_data():
    """Springs fitted within 0.05 angstrom of their rest pull back at 0.3, as springs do.

    With coefficients pulled to zero there, molecules came apart between two steps of 2 fs.
    """
    from bjerrum.potential.fused.inner import InnerPotential, fit_inner

    random, water = np.random.default_rng(8), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    frames, forces = [], []
    for _ in range(30):
        x = water + 0.02 * random.standard_normal((3, 3))
        force = np.zeros((3, 3))
        for i, j, rest, stiffness in ((0, 1, 0.96, 45.0), (0, 2, 0.96, 45.0), (1, 2, 1.52, 10.0)):
            d = x[j] - x[i]
            r = np.linalg.norm(d)
            force[i] += stiffness * (r - rest) * d / r
            force[j] -= stiffness * (r - rest) * d / r
        frames.append(x + 4)
        forces.append(force)
    inner = fit_inner(["O", "H", "H"], np.eye(3) * 9, np.array(frames), np.array(forces))
    bound = InnerPotential.from_json(inner.to_json()).bind(["O", "H", "H"], np.eye(3) * 9)
    bound(water + 4)
    for stretch in (-0.15, 0.15, 0.3):
        x = water + 4
        x[1, 0] += stretch
        r = np.linalg.norm(x[1] - x[2])
        expected = -45.0 * stretch - 10.0 * (r - 1.52) * (x[1, 0] - x[2, 0]) / r
        assert bound(x).forces[1, 0] == pytest.approx(expected, rel=0.2)


def test_verlet_keeps_its_order():
    """A guard for the kinetic tensor: half its trace is the kinetic energy."""
    masses = np.array([1.0, 16.0])
    state = start(np.zeros((2, 3)), np.ones((2, 3)) * 0.01, masses, nothing)
    after = verlet_step(state, masses, nothing, timestep=1.0)
    expected = 0.5 * AMU_IN_EV_FS2_PER_ANGSTROM2 * 17.0 * 3e-4
    assert after.kinetic_energy == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_multiple_steps_give_the_g_of_r_of_plain_steps(tmp_path):
    """The shipped model, 2 ps each: g_OO and g_OH within their errors, and the same temperature."""
    if not FRAMES.exists():
        pytest.skip(f"needs {FRAMES}")
    model, atoms = load_model("licl-nnp1"), ase.io.read(FRAMES, 10, format="extxyz")
    results = []
    for timestep, n_inner in ((1.0, 1), (2.0, 2)):
        dynamics = Dynamics(
            timestep_fs=timestep, n_steps=int(2000 / timestep), temperature=300.0,
            friction_per_ps=5.0, frame_stride=int(10 / timestep), chunk_frames=50, seed=n_inner,
            inner_steps=n_inner,
        )  # fmt: skip
        inner = inner_of_run(model, atoms, 300.0, tmp_path) if n_inner > 1 else None
        forces, extras = assemble(model, atoms, dynamics, Setup(inner=inner))
        path = run_dynamics(atoms, forces, dynamics, tmp_path / str(n_inner), extras=extras)
        temperature = np.concatenate(
            [c.observables["kinetic_temperature"] for c in read_h5md(path)]
        )
        pairs = analyse_structure(path, pairs=["O-O", "O-H"], skip_ps=0.5, bin_width=0.1).pairs
        results.append((temperature[50:].mean(), pairs))
    (plain, many) = results
    assert many[0] == pytest.approx(plain[0], abs=20)
    for name in ("O-O", "O-H"):
        one, two = plain[1][name], many[1][name]
        error = np.hypot(one.g_standard_error, two.g_standard_error)
        assert np.sqrt(np.nanmean(((one.g - two.g) / error) ** 2)) < 4
        assert 0.1 * np.abs(one.g - two.g).sum() < 0.5
