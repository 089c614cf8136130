"""Ions in a continuum: energies and forces against plain sums, fits against known potentials."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from bjerrum.coarse.basis import Basis, body_energy, force_columns, neighbours
from bjerrum.coarse.dataset import Source, load_ions, make_dataset, merge_ions
from bjerrum.coarse.dilution import pair_energy, short_range_pmfs, three_body_residual
from bjerrum.coarse.fit import (
    basis_of,
    fit_forces,
    normal_equations,
    penalised,
    solve,
    sum_of,
)
from bjerrum.coarse.potential import STIFFNESS, CoarsePotential
from bjerrum.coarse.simulate import IonBox, Sampling, shaken_lattice, simulate_ions
from bjerrum.coarse.sources import ForceFrames, iterate_forces
from bjerrum.coarse.variates import (
    N_FIELDS,
    N_RADIAL,
    solve_multiples,
    water_molecules,
    zero_mean_quantities,
)
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError, PhysicsCheckFailed, SeriesTooShort
from bjerrum.frames import write_frames
from bjerrum.units import thermal_energy

EDGE = 24.0
TEMPERATURE = 300.0
NACL = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 72.0)
BOX = IonBox(cation="Na", anion="Cl", n_cations=20, n_anions=20, edge=EDGE)


def a_basis(n_radial: int = 3) -> Basis:
    return Basis(elements=("Cl", "Na"), pair_start=(3.2, 2.4, 2.8), spacing=0.5, n_radial=n_radial)


def a_potential(seed: int = 1, n_radial: int = 3, size: float = 0.02) -> CoarsePotential:
    basis = a_basis(n_radial)
    coefficients = np.random.default_rng(seed).normal(0, size, basis.n_coefficients)
    coefficients[basis.n_pair :] *= 0.05
    return CoarsePotential(basis, coefficients, NACL)


def places(seed: int = 3) -> np.ndarray:
    return shaken_lattice(BOX, np.random.default_rng(seed))


def plain_energy(potential: CoarsePotential, symbols, edges, positions) -> float:
    """Pair functions by a double loop over images, three-body terms by their definition."""
    basis, total = potential.basis, 0.0
    for i, j, _, r in zip(*neighbours(positions, edges, basis.pair_cutoff), strict=True):
        pair = basis.pairs.index(tuple(sorted((symbols[i], symbols[j]))))
        total += float(potential.short_range(pair, np.array([r]))[0][0])
    if basis.n_radial:
        total += body_energy(basis, potential.coefficients, symbols, edges, positions)
    return total


@pytest.mark.parametrize("n_radial", [0, 3])
def test_engine_is_the_plain_sum_plus_ewald(n_radial):
    potential, positions = a_potential(n_radial=n_radial), places()
    engine = potential.engine(BOX.symbols, BOX.edges, accuracy=1e-8)
    forces, energies = engine.forces(positions)
    coulomb = NACL.bind(list(BOX.symbols), np.diag(BOX.edges))(positions)
    expected = plain_energy(potential, BOX.symbols, BOX.edges, positions)
    found = energies["pair"] + energies["body"] + energies["reciprocal"]
    assert found == pytest.approx(expected + coulomb.energy, abs=2e-5)
    columns = force_columns(potential.basis, BOX.symbols, BOX.edges, positions)
    np.testing.assert_allclose(forces, columns @ potential.coefficients + coulomb.forces, atol=2e-4)


def test_mesh_is_the_ewald_sum():
    """Many ions go on a mesh: forces, energy and virial against the plain sum over waves."""
    potential = a_potential(n_radial=0)
    box = IonBox(cation="Na", anion="Cl", n_cations=300, n_anions=300, edge=58.0)
    places = shaken_lattice(box, np.random.default_rng(6))
    exact, energies = potential.engine(box.symbols, box.edges, accuracy=1e-9).forces(places)
    for accuracy, limit in ((1e-2, 3e-4), (1e-3, 4e-5)):
        engine = potential.engine(box.symbols, box.edges, accuracy=accuracy)
        assert engine.parameters.mesh is not None
        forces, found = engine.forces(places)
        assert np.sqrt(np.mean((forces - exact) ** 2)) < limit
        difference = found["pair"] + found["reciprocal"] - energies["pair"] - energies["reciprocal"]
        assert abs(difference) < 300 * limit
        assert found["virial"] == pytest.approx(energies["virial"], abs=3e3 * limit)
    assert potential.engine(BOX.symbols, BOX.edges).parameters.mesh is None


def test_columns_are_gradients_of_the_energy():
    potential, positions = a_potential(), places()
    columns = force_columns(potential.basis, BOX.symbols, BOX.edges, positions)
    forces = columns @ potential.coefficients
    for ion, axis in ((0, 0), (17, 1), (39, 2)):
        energies = []
        for step in (1e-4, -1e-4):
            moved = positions.copy()
            moved[ion, axis] += step
            energies.append(plain_energy(potential, BOX.symbols, BOX.edges, moved))
        assert forces[ion, axis] == pytest.approx(-(energies[0] - energies[1]) / 2e-4, abs=1e-5)


def test_three_body_terms_are_invariant_under_rotation():
    basis = a_basis()
    potential, random = a_potential(), np.random.default_rng(5)
    cluster = random.uniform(-3, 3, (5, 3))
    symbols = ["Na", "Cl", "Na", "Cl", "Cl"]
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    edges = np.full(3, 60.0)
    energies = [
        body_energy(basis, potential.coefficients, symbols, edges, 30 + cluster @ matrix)
        for matrix in (np.eye(3), rotation)
    ]
    assert energies[0] == pytest.approx(energies[1], rel=1e-10)
    assert abs(energies[0]) > 1e-4


def test_virial_is_the_derivative_with_the_box():
    potential, positions = a_potential(), places()

    def energy(scale: float) -> float:
        engine = potential.engine(BOX.symbols, BOX.edges * scale, accuracy=1e-9)
        found = engine.forces(positions * scale)[1]
        return found["pair"] + found["body"] + found["reciprocal"]

    virial = potential.engine(BOX.symbols, BOX.edges, accuracy=1e-9).forces(positions)[1]["virial"]
    assert virial == pytest.approx(-(energy(1.0001) - energy(0.9999)) / 2e-4, rel=2e-3)


def test_free_ions_are_an_ideal_gas():
    """No interaction at all: g = 1, p = N k T / V, S(k) = 1, and the thermostat's temperature."""
    basis = a_basis(0)
    free = CoarsePotential(
        Basis(elements=basis.elements, pair_start=(0.01, 0.01, 0.01), n_radial=0, spacing=0.5),
        np.zeros(
            Basis(elements=basis.elements, pair_start=(0.01,) * 3, n_radial=0, spacing=0.5).n_pair
        ),
        ScreenedCoulomb.of({}, 72.0),
    )
    sampling = Sampling(
        temperature=TEMPERATURE, time_ps=30, replicas=6, equilibration_ps=10, frame_every_fs=300
    )
    (run,) = simulate_ions(free, [BOX], sampling)
    far = (run.r > 2) & (run.r < EDGE / 2)
    g = np.average(run.g().mean(axis=0)[:, far], axis=1, weights=run.r[far] ** 2)
    assert g == pytest.approx(1.0, abs=0.04)
    pressure = len(BOX.symbols) * thermal_energy(TEMPERATURE) / EDGE**3
    assert run.pressure.mean() == pytest.approx(pressure, rel=1e-9)
    error = run.kinetic.std(ddof=1) / np.sqrt(len(run.kinetic))
    assert run.kinetic.mean() == pytest.approx(1.0, abs=5 * error + 2e-3)
    s_cc = run.modes.mean(axis=0)[0] / BOX.n_cations
    assert s_cc.mean() == pytest.approx(1.0, abs=0.15)


def labelled_frames(potential, n, noise, seed=1):
    """Random configurations with the potential's short-range forces, the Coulomb part and noise."""
    random = np.random.default_rng(seed)
    coulomb = NACL.bind(list(BOX.symbols), np.diag(BOX.edges))
    frames = []
    for number in range(n):
        positions = shaken_lattice(BOX, random) + random.uniform(-0.9, 0.9, (40, 3))
        columns = force_columns(potential.basis, BOX.symbols, BOX.edges, positions)
        forces = columns @ potential.coefficients + coulomb(positions).forces
        atoms = Atoms(list(BOX.symbols), positions, cell=BOX.edges, pbc=True)
        forces = forces + random.normal(0, noise, forces.shape)
        atoms.calc = SinglePointCalculator(atoms, forces=forces)
        atoms.info["block"] = str(number // 10)
        frames.append(atoms)
    return frames


def test_known_pair_forces_are_found_again(tmp_path):
    """The quick sibling of the next one: pairs alone, in about as few frames as are accepted."""
    truth = a_potential(n_radial=0, size=0.05)
    frames = labelled_frames(truth, 40, noise=0.05)
    data = load_ions(ions_written(tmp_path, "a", frames), baseline=NACL)
    fit = fit_forces(normal_equations(data, truth.basis), truth.basis)
    r = np.linspace(4.5, 9.0, 50)
    for pair in range(3):
        found = CoarsePotential(truth.basis, fit.coefficients, NACL).short_range(pair, r)[1]
        expected = truth.short_range(pair, r)[1]
        rms = np.sqrt(np.mean((found - expected) ** 2))
        assert rms < 0.1 * np.sqrt(np.mean(expected**2))


@pytest.mark.slow
def test_known_mean_force_is_found_again(tmp_path):
    """Coarse-graining a system whose mean force is known, under noise larger than the signal."""
    truth = a_potential(size=0.05)
    write_frames(tmp_path / "frames.xyz", labelled_frames(truth, 80, noise=0.1))
    made = make_dataset(
        [Source(path=tmp_path / "frames.xyz")],
        tmp_path / "ions.xyz",
        baseline=NACL,
        temperature=TEMPERATURE,
    )
    assert made["n_frames"] == 80
    data = load_ions(tmp_path / "ions.xyz", baseline=NACL)
    basis = truth.basis
    fit = fit_forces(normal_equations(data, basis), basis)
    r = np.linspace(4.5, 9.0, 50)
    for pair in range(3):
        found = CoarsePotential(basis, fit.coefficients, NACL).short_range(pair, r)[1]
        members = [CoarsePotential(basis, c, NACL).short_range(pair, r)[1] for c in fit.committee]
        expected = truth.short_range(pair, r)[1]
        rms = np.sqrt(np.mean((found - expected) ** 2))
        assert rms < 0.15 * np.sqrt(np.mean(expected**2))
        spread = np.sqrt(np.var(members, axis=0, ddof=1).mean())
        assert 0.3 < rms / spread < 3.0
    assert 0.0 < fit.report["explained_variance_left_out"] < 0.9


def test_wall_continues_the_data_and_is_stiff():
    potential = a_potential()
    for pair in range(3):
        start = potential.start(pair)
        r = np.array([start - 0.5, start - 0.25, start])
        u, slope = potential.short_range(pair, r)
        assert (slope[:2] < 0).all()
        assert u[0] - u[2] >= 0.5 * STIFFNESS * 0.25


def test_two_ions_far_apart_feel_nothing_but_coulomb():
    potential = a_potential()
    w = short_range_pmfs(
        potential, np.array([10.5, 12.0]), temperature=TEMPERATURE, ions=("Na", "Cl")
    )
    np.testing.assert_array_equal(w, 0.0)


def test_pair_energy_of_two_ions_is_that_of_a_box_with_two_ions():
    potential, edges = a_potential(), np.full(3, 60.0)
    positions = np.array([[30.0, 30, 30], [33.7, 30, 30]])
    pair = potential.basis.pairs.index(("Cl", "Na"))
    expected = plain_energy(potential, ("Na", "Cl"), edges, positions)
    assert pair_energy(potential, pair, np.array([3.7]))[0] == pytest.approx(expected, rel=1e-9)


def test_three_body_residual_vanishes_for_pair_models():
    pairs = a_potential(n_radial=0)
    residual = three_body_residual(pairs, temperature=TEMPERATURE, distance=2.8)
    assert set(residual["Cl-Na-Cl_kT"]) == {0.0}
    full = three_body_residual(a_potential(), temperature=TEMPERATURE, distance=2.8)
    assert np.abs(full["Cl-Na-Cl_kT"]).max() > 1e-4


def a_water_box(n_frames: int = 400):
    """An ion at rest and free rigid waters, each in a harmonic field: the distribution is known."""
    random, kt = np.random.default_rng(2), thermal_energy(TEMPERATURE)
    spring, n_waters = 0.05, 3
    ion, edges = np.full(3, 15.0), np.full(3, 30.0)
    symbols = ("O", "H", "H") * n_waters + ("Na",)
    positions, forces = [], []
    homes = ion + np.array([[2.6, 0, 0], [0, 3.0, 0.5], [-1.5, -1.5, 2.5]])
    for _ in range(n_frames):
        x, f = [], []
        for home in homes:
            oxygen = home + random.normal(0, np.sqrt(kt / spring), 3)
            arms = Rotation.random(rng=random).as_matrix()
            x += [oxygen, oxygen + arms[0], oxygen + 0.6 * arms[0] + 0.8 * arms[1]]
            f += [-spring * (oxygen - home), np.zeros(3), np.zeros(3)]
        positions.append([*x, ion])
        forces.append([*f, np.zeros(3)])
    return ForceFrames(
        symbols,
        np.tile(edges, (n_frames, 1)),
        np.array(positions),
        np.array(forces),
        ("0",) * n_frames,
    )


def test_quantities_of_the_noise_reduction_have_zero_mean():
    """The identity behind the noise reduction, for waters whose distribution is known exactly."""
    frames = a_water_box()
    values = np.array(
        [
            zero_mean_quantities(frames, k, np.array([9]), TEMPERATURE)[0].ravel()
            for k in range(len(frames.positions))
        ]
    )
    moving = (values != 0).mean(axis=0) > 0.2
    assert moving.sum() > 60
    score = values.mean(axis=0) / (values.std(axis=0) / np.sqrt(len(values)) + 1e-12)
    assert np.abs(score[moving]).max() < 4.5
    assert 0.6 < np.sqrt(np.mean(score[moving] ** 2)) < 1.5


def test_waters_in_another_order_are_refused():
    with pytest.raises(InputError, match="O, H, H"):
        water_molecules(("O", "O", "H", "H", "H", "H", "Na"))


# --- bad input ---


def test_trajectory_without_forces_is_refused(tmp_path):
    atoms = Atoms(list(BOX.symbols), places(), cell=BOX.edges, pbc=True)
    write_frames(tmp_path / "bare.xyz", [atoms])
    with pytest.raises(InputError, match="expected forces"):
        list(iterate_forces(tmp_path / "bare.xyz"))


def test_net_charge_is_refused(tmp_path):
    frames = labelled_frames(a_potential(), 1, 0.0)
    del frames[0][0]
    write_frames(tmp_path / "charged.xyz", _with_forces(frames))
    with pytest.raises(InputError, match="net charge"):
        make_dataset(
            [Source(path=tmp_path / "charged.xyz")],
            tmp_path / "ions.xyz",
            baseline=NACL,
            temperature=TEMPERATURE,
        )


def _with_forces(frames):
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, forces=np.zeros((len(atoms), 3)))
    return frames


def test_wrong_baseline_and_too_few_frames_are_refused(tmp_path):
    write_frames(tmp_path / "frames.xyz", labelled_frames(a_potential(), 4, 0.1))
    make_dataset(
        [Source(path=tmp_path / "frames.xyz")],
        tmp_path / "ions.xyz",
        baseline=NACL,
        temperature=TEMPERATURE,
    )
    other = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 78.3)
    with pytest.raises(InputError, match="baseline subtracted"):
        load_ions(tmp_path / "ions.xyz", baseline=other)
    data = load_ions(tmp_path / "ions.xyz", baseline=NACL)
    basis = basis_of(data, spacing=0.25)
    with pytest.raises(SeriesTooShort, match="times as many frames"):
        fit_forces(normal_equations(data, basis), basis)


def test_the_fit_is_the_minimum_of_its_penalised_loss(tmp_path):
    """The quadratic term that the polish keeps has its minimum where the fit ended."""
    data = load_ions(ions_written(tmp_path, "a", labelled_frames(a_potential(), 6, 0.1)))
    basis = a_basis(2)
    total = sum_of(normal_equations(data, basis).values())
    random = np.random.default_rng(2)
    for penalties in ((1e-3, 1e-2), (1e-1, np.inf)):
        size = basis.n_coefficients if np.isfinite(penalties[1]) else basis.n_pair
        matrix = penalised(total, basis, penalties)[:size, :size]
        found = solve(total, basis, penalties)
        assert not found[size:].any()

        def loss(c, matrix=matrix, size=size):
            return c @ matrix @ c / 2 - c @ total.right[:size] / total.n

        least = loss(found[:size])
        for _ in range(5):
            assert loss(found[:size] + random.normal(0, 1e-3, size)) > least


def test_other_data_sets_are_refused(tmp_path):
    write_frames(tmp_path / "frames.xyz", labelled_frames(a_potential(), 1, 0.1))
    with pytest.raises(InputError, match="bjerrum coarsen"):
        load_ions(tmp_path / "frames.xyz")


def ions_written(folder, name, frames, baseline=NACL):
    write_frames(folder / f"{name}.xyz", frames)
    output = folder / f"ions-{name}.xyz"
    source = Source(path=folder / f"{name}.xyz")
    make_dataset([source], output, baseline=baseline, temperature=TEMPERATURE)
    return output


def test_two_data_sets_are_as_good_as_one(tmp_path):
    """Trajectories of one box go together; the same ions in a larger box are another system."""
    frames = labelled_frames(a_potential(), 6, 0.1)
    large = labelled_frames(a_potential(), 2, 0.1, seed=7)
    for atoms in large:
        atoms.set_cell(BOX.edges + 2)
    paths = [
        ions_written(tmp_path, name, part)
        for name, part in (("a", frames[:4]), ("b", frames[4:]), ("large", large))
    ]
    merged = merge_ions([load_ions(path) for path in paths])
    assert [len(chunk.positions) for chunk in merged.chunks] == [6, 2]
    (both,) = load_ions(ions_written(tmp_path, "both", frames)).chunks
    np.testing.assert_allclose(merged.chunks[0].forces, both.forces, atol=1e-7)
    assert set(merged.chunks[0].blocks) == {"a:0", "b:0"}
    other = ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 78.3)
    with pytest.raises(InputError, match="one baseline"):
        merge_ions([load_ions(paths[0]), load_ions(ions_written(tmp_path, "other", frames, other))])


def test_ions_in_an_unphysical_well_are_caught():
    """A force that pulls sodium and chloride through their contact distance."""
    potential = a_potential(n_radial=0)
    pair = potential.basis.pairs.index(("Cl", "Na"))
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.2, 4.6, 2.8), spacing=0.5, n_radial=0)
    coefficients = np.zeros(basis.n_pair)
    well = CoarsePotential(basis, coefficients, ScreenedCoulomb.of({"Na": 4, "Cl": -4}, 1.0))
    assert well.start(pair) == 4.6
    sampling = Sampling(temperature=TEMPERATURE, time_ps=5, replicas=2, equilibration_ps=0)
    with pytest.raises(PhysicsCheckFailed, match=r"came \d\.\d\d angstrom close"):
        simulate_ions(well, [BOX], sampling)


def test_rarely_visited_functions_get_no_large_multiples():
    """A radial function that a few waters touched in the fit must not blow up elsewhere."""
    random = np.random.default_rng(8)
    size = N_FIELDS * N_RADIAL
    columns = random.normal(size=(3000, size))
    columns[:, 1] *= 1e-4 * (random.random(3000) < 2e-3)
    forces = columns[:, 5] + random.normal(size=3000)
    multiples = solve_multiples(columns.T @ columns, columns.T @ forces)
    assert multiples[5] == pytest.approx(1.0, abs=0.1)
    new = np.zeros((500, size))
    new[:, 1] = 1e-2
    assert np.abs(new @ multiples).max() < 0.5


def test_loading_the_engine_leaves_the_process_its_subnormal_numbers():
    code = """
import numpy as np
from bjerrum.coarse.kernel import library
library()
assert (np.array([1e-310]) / 3)[0] > 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
