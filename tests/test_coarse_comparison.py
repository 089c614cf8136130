"""A coarse-grained model beside trajectories and PMFs that are known to fit or not to fit it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum.cli.comparing import one_for_each
from bjerrum.coarse.basis import Basis
from bjerrum.coarse.comparison import (
    compare_model,
    compare_pmfs,
    published_differences,
    references_of,
    require_published,
)
from bjerrum.coarse.dataset import IonData
from bjerrum.coarse.dilution import write_pmf_csv
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.refine import (
    N_BLOCKS,
    NOISE_FLOOR,
    Target,
    _score,
    damped_step,
    names_of,
    noise_of_mean,
    refine,
)
from bjerrum.coarse.routine import _better_start
from bjerrum.coarse.simulate import IonBox, Sampling, simulate_ions
from bjerrum.coarse.spec import CoarseningSpec
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError
from bjerrum.frames import write_frames

TEMPERATURE = 300.0
BOX = IonBox(cation="Na", anion="Cl", n_cations=12, n_anions=12, edge=20.6)
SAMPLING = Sampling(temperature=TEMPERATURE, time_ps=60, replicas=6, equilibration_ps=10)


def a_potential(depth: float = 0.03) -> CoarsePotential:
    """Return a well of ``depth`` eV between unlike ions at 3.5 angstrom."""
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.2, 2.6, 2.8), spacing=0.5, n_radial=0)
    coefficients = np.zeros(basis.n_pair)
    coefficients[basis.pair_slices[1]][:3] = -depth
    return CoarsePotential(basis, coefficients, ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 72.0))


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory):
    """Ends of many short runs of the potential: independent configurations."""
    short = replace(SAMPLING, time_ps=0.3, equilibration_ps=12, replicas=160, seed=9)
    (run,) = simulate_ions(a_potential(), [BOX], short)
    path = tmp_path_factory.mktemp("comparison") / "ions.xyz"
    symbols = list(BOX.symbols)
    write_frames(path, [Atoms(symbols, x, cell=BOX.edges, pbc=True) for x in run.frames])
    return path


def test_a_model_fits_its_own_configurations_and_another_does_not(trajectory):
    found = {}
    for depth in (0.03, 0.0):
        potential = a_potential(depth)
        references = references_of([trajectory], potential, topologies=[None])
        assert references[0].box.n_cations == BOX.n_cations
        found[depth] = compare_model(potential, references, SAMPLING)
    own, other = (found[d]["comparisons"][0]["pairs"]["ca"] for d in (0.03, 0.0))
    assert own["difference_angstrom"] < 2.5 * own["all_atom_noise_angstrom"] + 0.15
    assert other["difference_angstrom"] > 2 * own["difference_angstrom"]
    assert not found[0.0]["passed"]
    assert any(line.startswith("ca at") for line in found[0.0]["advice"])


def test_pmfs_are_compared_up_to_their_zero(tmp_path):
    """A table of the model's own PMFs with another zero has the same minima; a deeper one not."""
    path = write_pmf_csv(a_potential(), tmp_path / "own.csv", temperature=TEMPERATURE)
    rows = np.genfromtxt(path, delimiter=",", names=True)
    shifted = tmp_path / "shifted.csv"
    names = ("r_angstrom", "w_cc_kT", "w_ca_kT", "w_aa_kT")
    table = np.stack([rows[n] for n in names], axis=1)
    table[:, 1:] += 3.0
    np.savetxt(shifted, table, delimiter=",", header=",".join(names), comments="")
    contact = compare_pmfs(a_potential(), shifted, temperature=TEMPERATURE)["pmf_minima"]["ca"]
    assert contact["contact"]["difference_kT"] == pytest.approx(0.0, abs=1e-4)
    deeper = compare_pmfs(a_potential(0.1), shifted, temperature=TEMPERATURE)["pmf_minima"]["ca"]
    assert deeper["contact"]["difference_kT"] < -0.5


def test_published_distributions_are_compared_as_our_own(trajectory, tmp_path):
    """RDFs that are the model's own with a known step: the integral is the step's area."""
    references = references_of([trajectory], a_potential(), topologies=[None])
    short = replace(SAMPLING, time_ps=6, replicas=2)
    row = compare_model(a_potential(), references, short)["comparisons"][0]
    r = np.array(row["r_angstrom"])
    g = np.array(row["g_model"])
    step = np.where((r > 5) & (r < 7), 0.5, 0.0)
    files = []
    for name, table in (("own", g), ("other", g + step)):
        files.append(tmp_path / f"{name}.csv")
        header = "r_angstrom,g_cc,g_ca,g_aa"
        np.savetxt(
            files[-1], np.column_stack([r, table.T]), delimiter=",", header=header, comments=""
        )
    found = published_differences(row, files[1], files[0])
    for pair in ("cc", "ca", "aa"):
        area = found["published_model_difference_angstrom"][pair]
        assert area == pytest.approx(1.0, abs=0.03)
        assert found["model_difference_angstrom"][pair] == pytest.approx(area, abs=1e-9)
    assert found["own_all_atom_difference_angstrom"]["ca"] > 0.05
    cut = tmp_path / "cut.csv"
    cut.write_text("".join(files[0].read_text().splitlines(keepends=True)[:50]))
    with pytest.raises(InputError, match=r"g\(r\) ends at"):
        published_differences(row, cut)


def test_polish_finds_the_well_and_never_ends_worse_than_it_began(trajectory):
    truth, begin = a_potential(), a_potential(0.0)
    (reference,) = references_of([trajectory], truth, topologies=[None])
    target = Target(BOX, reference.g, 300.0)
    sampling = replace(SAMPLING, time_ps=40, replicas=4)
    refined = refine(begin, [target], sampling, iterations=6)
    first, *rest = (history[next(iter(history))]["ca"] for history in refined.history)
    assert rest[-1] < 0.6 * first, refined.history
    assert len(rest) == 6 + 1, "the last one is of a run that had no part in the choice"
    kept = refined.potential.short_range(1, np.array([3.3]))[0][0]
    assert kept < -0.01


def test_a_damped_step_keeps_the_limit_and_goes_down():
    """Neighbouring splines are nearly the same function: their difference is what must not run."""
    curvature = np.array([[1.0, 0.99, 0.0], [0.99, 1.0, 0.0], [0.0, 0.0, 1.0]])
    gradient = np.array([0.30, 0.20, 0.05])
    newton = np.linalg.solve(curvature, gradient)
    assert np.abs(newton).max() > 4
    free = damped_step(gradient, curvature, 100.0)
    np.testing.assert_allclose((curvature + NOISE_FLOOR * np.eye(3)) @ free, gradient, atol=1e-12)
    step = damped_step(gradient, curvature, 0.3)
    assert 0.1 < np.abs(step).max() <= 0.3
    assert gradient @ step - step @ curvature @ step / 2 > 0
    cut = np.clip(newton, -0.3, 0.3)
    gains = [gradient @ x - x @ curvature @ x / 2 for x in (step, cut)]
    assert gains[0] > gains[1]


def test_a_noisy_concentration_does_not_choose_the_iteration():
    """64 pairs say more than 12 in as large a box: what is better for the many is better."""
    few = replace(BOX, n_cations=12, n_anions=12, edge=25.0)
    many = replace(BOX, n_cations=64, n_anions=64, edge=25.0)
    targets = [Target(box, np.zeros((3, 1)), 100.0) for box in (many, few)]

    def scored(at_many, at_few):
        return _score({"many": {"cc": at_many}, "few": {"cc": at_few}}, targets)

    assert scored(0.2, 1.0) == pytest.approx((64 * 0.2 + 12 * 1.0) / 76)
    assert scored(0.2, 1.2) < scored(0.3, 1.0)


def test_polish_begins_where_distributions_are_nearer_and_counts_nothing_twice(trajectory):
    """Pairs of RDFs hold what many-body terms do: they are never put together."""
    guess = a_potential()
    (reference,) = references_of([trajectory], guess, topologies=[None])
    target = Target(BOX, reference.g, 300.0)
    basis = replace(guess.basis, n_radial=2)
    body = np.full(basis.n_body, 1e-3)
    forces = np.concatenate([a_potential(0.15).coefficients, body])
    data = IonData((), guess.baseline, TEMPERATURE, "made", "0")
    spec = CoarseningSpec(polish_ps=20.0, replicas=4)
    bad = replace(guess, basis=basis, coefficients=forces)
    chosen = _better_start(bad, guess, [target], data, spec)
    np.testing.assert_array_equal(chosen.coefficients[: basis.n_pair], guess.coefficients)
    assert not chosen.coefficients[basis.n_pair :].any()
    good = replace(bad, coefficients=np.concatenate([guess.coefficients, 0 * body]))
    assert _better_start(good, a_potential(0.15), [target], data, spec) is good


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_the_noise_of_a_mean_covers_blocks_with_memory(memory):
    """Blocks of a first-order autoregressive process, whose error of the mean is known exactly.

    The spread of 16 blocks alone gives half of it at a memory of 0.6. The largest of four
    estimates is above the truth where there is no memory, but not by much.
    """
    random, n, runs = np.random.default_rng(3), N_BLOCKS, 400
    r = np.arange(2.0, 6.0, 0.05)
    times = np.arange(n)
    covariance = memory ** np.abs(times[:, None] - times)
    g = np.linalg.cholesky(covariance) @ random.standard_normal((runs * len(r), n, 1))
    blocks = g[..., 0].reshape(runs, len(r), n).transpose(0, 2, 1)[:, :, None]
    found = np.mean([noise_of_mean(part, r, 0, 9) for part in blocks])
    wanted = np.abs(blocks.mean(axis=1)).sum(axis=2).mean() * 0.05
    alone = blocks.std(axis=1, ddof=1).sum(axis=2).mean() * 0.05 * np.sqrt(2 / np.pi / n)
    assert 0.75 * wanted < found < 1.35 * wanted
    if memory:
        assert alone < 0.6 * wanted


def test_foreign_ions_and_broken_tables_are_refused(trajectory, tmp_path):
    other = CoarsePotential(
        Basis(elements=("K", "Li"), pair_start=(3.0, 3.0, 3.0), n_radial=0, spacing=0.5),
        np.zeros(
            Basis(elements=("K", "Li"), pair_start=(3.0,) * 3, n_radial=0, spacing=0.5).n_pair
        ),
        ScreenedCoulomb.of({"Li": 1, "K": -1}, 72.0),
    )
    with pytest.raises(InputError, match="expected ions Li and K"):
        references_of([trajectory], other, topologies=[None])
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="expected a CSV with columns"):
        compare_pmfs(a_potential(), tmp_path / "bad.csv", temperature=TEMPERATURE)


def test_topologies_are_one_for_all_or_one_for_each():
    files = [Path("a.trr"), Path("b.trr"), Path("c.trr")]
    assert one_for_each(None, files) == [None] * 3
    assert one_for_each([Path("t.gro")], files) == [Path("t.gro")] * 3
    assert one_for_each(files, files) == files
    with pytest.raises(InputError, match="one for each of 3 trajectories, got 2"):
        one_for_each(files[:2], files)


def test_boxes_of_one_concentration_are_judged_each(trajectory, tmp_path):
    """Two boxes that "1.37 mol/L" does not tell apart: one agrees, the other not; both count."""
    potential = a_potential()
    frames = ase.io.read(trajectory, ":")
    for atoms in frames:
        atoms.set_cell(BOX.edges + 2e-3)
        atoms.positions = np.random.default_rng(len(atoms)).uniform(0, BOX.edge, (24, 3))
    write_frames(tmp_path / "wrong.xyz", frames)
    references = references_of(
        [tmp_path / "wrong.xyz", trajectory], potential, topologies=[None, None]
    )
    found = compare_model(potential, references, replace(SAMPLING, time_ps=6, replicas=2))
    assert len(found["comparisons"]) == 2
    assert not found["passed"]
    assert any(line.startswith("ca at") and ", box 1:" in line for line in found["advice"])
    assert names_of([BOX]) == ["2.28 mol/L"]


def test_what_cannot_be_compared_is_refused(trajectory, tmp_path):
    potential = a_potential()
    with pytest.raises(InputError, match="tells no times"):
        references_of([trajectory], potential, topologies=[None], skip_ps=1.0)
    frames = ase.io.read(trajectory, ":20")
    for number, atoms in enumerate(frames):
        atoms.set_cell(BOX.edges + 0.1 * number)
    write_frames(tmp_path / "grows.xyz", frames)
    with pytest.raises(InputError, match="constant size"):
        references_of([tmp_path / "grows.xyz"], potential, topologies=[None])
    with pytest.raises(InputError, match="no such file"):
        compare_pmfs(potential, tmp_path / "none.csv", temperature=TEMPERATURE)
    short = tmp_path / "short.csv"
    short.write_text("r_angstrom,g_cc,g_ca,g_aa\n" + "".join(f"{r},1,1,1\n" for r in range(1, 10)))
    with pytest.raises(InputError, match="ends at 9 angstrom"):
        require_published([short], BOX)
