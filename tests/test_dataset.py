"""Datasets: what is refused, splits by block, baseline subtraction, energy shifts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given, settings
from hypothesis import strategies as st

from bjerrum.dataset import (
    ABSURD_FORCE,
    Dataset,
    add_baseline,
    fit_energy_shifts,
    load_dataset,
    require_training_frames,
    split_blocks,
    spread_evenly,
    subtract_baseline,
)
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import FrameError, InputError
from bjerrum.files import sha256_of
from bjerrum.frames import write_frames

LICL = ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 78.304)
DATA = Path(__file__).parents[2] / "shared" / "data"
EDGE = 8.0


def frame(number=0, *, energy=-39886.20221, formula="Li2Cl2OH2", **info) -> Atoms:
    """Frame ``number`` with random forces; atoms on a grid, so that none overlap."""
    random = np.random.default_rng(number)
    atoms = Atoms(formula, cell=[EDGE] * 3, pbc=True)
    sites = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * 2.0
    atoms.positions = random.permutation(sites)[: len(atoms)] + random.uniform(
        -0.3, 0.3, (len(atoms), 3)
    )
    labels = {"forces": random.standard_normal((len(atoms), 3))}
    if energy is not None:
        labels["energy"] = energy + random.standard_normal()
    atoms.calc = SinglePointCalculator(atoms, **labels)
    atoms.info.update({"method": "invented", **info})
    return atoms


def written(path: Path, frames: list[Atoms]) -> Path:
    write_frames(path, frames)
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "frames.extxyz"


def test_a_file_becomes_a_dataset(path):
    frames = [frame(k, seed=k // 2) for k in range(6)]
    dataset = load_dataset(written(path, frames))
    assert dataset.blocks == ("0", "0", "1", "1", "2", "2")
    assert (dataset.method, dataset.source) == ("invented", "frames.extxyz")
    assert dataset.sha256 == sha256_of(path)
    assert dataset.elements == ("Cl", "H", "Li", "O")
    for ours, given_ in zip(dataset.frames, frames, strict=True):
        assert ours.calc.results["energy"] == given_.calc.results["energy"]  # to the last bit
        np.testing.assert_allclose(ours.get_forces(), given_.get_forces(), atol=1e-8)
    picked = dataset.of_blocks(["2", "0"])
    assert [a.info["seed"] for a in picked] == [0, 0, 2, 2]


def test_the_key_named_block_comes_first(path):
    frames = [frame(k, seed=k, block=f"part {k // 3}") for k in range(6)]
    assert load_dataset(written(path, frames)).blocks == ("part 0",) * 3 + ("part 1",) * 3


@pytest.mark.parametrize("n", [3, 20, 50])
def test_frames_without_blocks_are_cut_into_contiguous_stretches(path, n):
    blocks = load_dataset(written(path, [frame(k) for k in range(n)])).blocks
    assert len(set(blocks)) == min(n, 20)
    changes = sum(a != b for a, b in pairwise(blocks))
    assert changes == min(n, 20) - 1


def test_nan_forces_are_refused(path):
    frames = [frame(k) for k in range(3)]
    frames[1].calc.results["forces"][2, 0] = np.nan
    with pytest.raises(FrameError, match="frame 1: the forces label holds NaN"):
        load_dataset(written(path, frames))


@pytest.mark.parametrize(("bad", "named"), [([4], "frame 4 has"), ([1, 3], "frames 1, 3 have")])
def test_absurd_forces_are_refused(path, bad, named):
    frames = [frame(k) for k in range(6)]
    for k in bad:
        frames[k].calc.results["forces"][0] = [0, -2 * ABSURD_FORCE, 0]
    with pytest.raises(InputError, match=f"{named} forces above 100 eV/angstrom; check"):
        load_dataset(written(path, frames))


def test_many_absurd_frames_are_not_all_listed(path):
    frames = [frame(k) for k in range(12)]
    for atoms in frames:
        atoms.calc.results["forces"] *= 1e4
    with pytest.raises(InputError, match=r"frames 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\. have") as e:
        load_dataset(written(path, frames))
    assert "\n" not in str(e.value)


def test_collapsed_pairs_are_refused_unless_told(path):
    """One seed of the KCl frames holds two K+ at 1.4 angstrom, in a well of the published model."""
    frames = [frame(k) for k in range(5)]
    first, second = [k for k, s in enumerate(frames[3].symbols) if s == "Li"]
    frames[3].positions[second] = frames[3].positions[first] + [1.38, 0, 0]
    written(path, frames)
    with pytest.raises(InputError, match=r"frame 3 has Li-Li as near as 1\.38"):
        load_dataset(path)
    assert len(load_dataset(path, close_pairs=True).frames) == len(frames)
    frames[3].positions[second] += [0.1, 0, 0]
    assert len(load_dataset(written(path, frames)).frames) == len(frames)


def test_two_methods_are_refused(path):
    frames = [frame(0), frame(1, method="r2SCAN")]
    with pytest.raises(InputError, match=r"one level of theory, got \['invented', 'r2SCAN'\]"):
        load_dataset(written(path, frames))


def test_every_frame_with_nan_is_named(path):
    frames = [frame(k) for k in range(5)]
    frames[1].calc.results["forces"][2, 0] = np.nan
    frames[4].calc.results["energy"] = np.inf
    with pytest.raises(FrameError, match="frames 1, 4 have NaN or infinity") as caught:
        load_dataset(written(path, frames))
    assert "\n" not in str(caught.value)


def test_two_settings_of_one_method_are_refused_unless_told(path):
    frames = [frame(k, settings_hash="abc" if k else "def") for k in range(3)]
    with pytest.raises(InputError, match=r"settings_hash \['abc', 'def'\] \(frame 0 has the"):
        load_dataset(written(path, frames))
    assert load_dataset(path, mixed=True).method == "invented"
    frames = [frame(0), frame(1, method="r2SCAN")]
    assert load_dataset(written(path, frames), mixed=True).method == "invented + r2SCAN"


def test_too_few_training_frames_are_refused(path):
    dataset = load_dataset(written(path, [frame(k, seed=k) for k in range(5)]))
    with pytest.raises(InputError, match=r"at least 4 frames.* 2 for validation.*got 3"):
        require_training_frames(dataset, split_blocks(dataset, n_validation=1, n_test=1, seed=0))
    require_training_frames(dataset, split_blocks(dataset, n_validation=1, n_test=0, seed=0))


def test_an_element_that_only_the_test_blocks_hold_is_refused(path):
    frames = [frame(k, seed=k, formula="Li2Cl2OH2" if k else "K2Cl2OH2") for k in range(6)]
    dataset = load_dataset(written(path, frames))
    for seed in range(40):
        split = split_blocks(dataset, n_validation=1, n_test=1, seed=seed)
        if "0" in split.train:
            require_training_frames(dataset, split)
        else:
            with pytest.raises(InputError, match="training blocks hold no K"):
                require_training_frames(dataset, split)


def test_missing_forces_are_refused(path):
    frames = [frame(0), frame(1)]
    del frames[1].calc.results["forces"]
    with pytest.raises(FrameError, match="frame 1: expected forces"):
        load_dataset(written(path, frames))


def test_energies_are_there_for_all_or_for_none(path):
    with pytest.raises(InputError, match="frame 1 has no energy, the others have"):
        load_dataset(written(path, [frame(0), frame(1, energy=None)]))
    dataset = load_dataset(written(path, [frame(0, energy=None), frame(1, energy=None)]))
    assert len(dataset.frames) == 2


def test_blocks_are_named_for_all_or_for_none(path):
    with pytest.raises(InputError, match="frame 2 has no key 'seed', the others have"):
        load_dataset(written(path, [frame(0, seed=0), frame(1, seed=0), frame(2)]))


def test_no_cell_is_refused(path):
    atoms = frame()
    atoms.cell, atoms.pbc = None, False
    with pytest.raises(FrameError, match="frame 0: expected a periodic cell"):
        load_dataset(written(path, [atoms]))


def test_a_truncated_file_is_refused(path):
    written(path, [frame(k) for k in range(3)])
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(FrameError, match="frame 2: the file ends inside this frame"):
        load_dataset(path)


BLOCKS = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(
    blocks=BLOCKS, n_validation=st.integers(1, 5), n_test=st.integers(0, 5), seed=st.integers(0, 99)
)
def test_no_block_is_on_two_sides_of_a_split(blocks, n_validation, n_test, seed):
    frames = tuple(Atoms("H", info={"index": k}) for k in range(len(blocks)))
    dataset = Dataset(frames, tuple(blocks), "invented", "none", "")
    sizes = {"n_validation": n_validation, "n_test": n_test}
    if n_validation + n_test >= len(set(blocks)):
        with pytest.raises(InputError, match=f"got {len(set(blocks))}"):
            split_blocks(dataset, seed=seed, **sizes)
        return
    split = split_blocks(dataset, seed=seed, **sizes)
    parts = (split.train, split.validation, split.test)
    assert sorted(name for part in parts for name in part) == sorted(set(blocks))
    assert (len(split.validation), len(split.test)) == (n_validation, n_test)
    indices = [{a.info["index"] for a in dataset.of_blocks(part)} for part in parts]
    assert sum(map(len, indices)) == len(blocks)
    assert set().union(*indices) == set(range(len(blocks)))
    assert split_blocks(dataset, seed=seed, **sizes) == split


def test_another_seed_chooses_other_blocks():
    names = tuple(map(str, range(30)))
    dataset = Dataset(tuple(Atoms("H") for _ in names), names, "invented", "none", "")
    splits = {split_blocks(dataset, n_validation=3, n_test=6, seed=seed) for seed in range(10)}
    assert len(splits) == 10


def test_frames_are_chosen_evenly():
    frames = list(range(10))
    assert spread_evenly(frames, None) == frames
    assert spread_evenly(frames, 99) == frames
    assert spread_evenly(frames, 5) == [0, 2, 4, 6, 8]
    assert spread_evenly(frames, 3) == [0, 3, 6]


@pytest.mark.parametrize(("n_validation", "n_test"), [(0, 1), (1, -1)])
def test_no_split_without_validation(n_validation, n_test):
    dataset = Dataset((Atoms("H"),) * 5, tuple("abcde"), "invented", "none", "")
    with pytest.raises(InputError, match="trajectory blocks"):
        split_blocks(dataset, n_validation=n_validation, n_test=n_test, seed=0)


def test_subtracting_and_adding_back_changes_nothing():
    """Totals of -39,886 eV are resolved to 7e-12 eV in double precision."""
    frames = [frame(k) for k in range(5)]
    back = add_baseline(subtract_baseline(frames, LICL), LICL)
    for before, after in zip(frames, back, strict=True):
        change = after.calc.results["energy"] - before.calc.results["energy"]
        assert abs(change) < 1e-10
        np.testing.assert_allclose(after.get_forces(), before.get_forces(), atol=1e-14)


def test_what_is_subtracted_is_the_screened_coulomb_energy():
    atoms = frame()
    short = subtract_baseline([atoms], LICL)[0]
    coulomb = LICL.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    assert abs(coulomb.energy) > 1e-3
    difference = atoms.calc.results["energy"] - short.calc.results["energy"]
    assert difference == pytest.approx(coulomb.energy, abs=2e-11)
    np.testing.assert_allclose(atoms.get_forces() - short.get_forces(), coulomb.forces, atol=1e-14)


def test_totals_do_not_depend_on_the_baseline():
    frames = [frame(k) for k in range(2)]
    for charges, eps in (({}, 1.0), ({"Li": 1, "Cl": -1}, 1.0), ({"Li": 1, "Cl": -1}, 50.0)):
        baseline = ScreenedCoulomb.of(charges, eps)
        totals = add_baseline(subtract_baseline(frames, baseline), baseline)
        for before, after in zip(frames, totals, strict=True):
            energies = [a.calc.results["energy"] for a in (before, after)]
            assert energies[1] == pytest.approx(energies[0], abs=1e-10)


def test_frames_are_copied_with_their_keys():
    atoms = frame(seed=7)
    before = atoms.get_forces().copy()
    short = subtract_baseline([atoms], LICL)[0]
    np.testing.assert_array_equal(atoms.get_forces(), before)
    assert short.info["method"] == "invented"
    short.positions += 1.0
    assert abs(atoms.positions - short.positions).min() > 0.5


def test_forces_alone_stay_alone():
    short = subtract_baseline([frame(energy=None)], LICL)[0]
    assert set(short.calc.results) == {"forces"}


SHIFTS = {"Cl": -415.2, "H": -16.7, "Li": -203.5, "O": -432.1}


def labelled_with(energy: float, formula: str) -> Atoms:
    atoms = Atoms(formula)
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


def test_energy_shifts_are_found_again():
    formulas = ["Li2O", "LiCl", "Cl2O3H", "LiClOH2", "H5O", "Li4Cl4(OH2)80"]
    frames = [labelled_with(sum(SHIFTS[s] for s in Atoms(f).symbols), f) for f in formulas]
    found = fit_energy_shifts(frames, tuple(SHIFTS))
    assert found == pytest.approx(SHIFTS, rel=1e-10)


def test_energy_shifts_of_one_composition_keep_the_sum():
    """The shifts are then proportional to the counts: least norm."""
    counts = {"Li": 4, "Cl": 4, "O": 80, "H": 160}
    formula = "Li4Cl4(OH2)80"
    energies = np.array([-39886.2, -39885.1, -39887.6])
    found = fit_energy_shifts([labelled_with(e, formula) for e in energies], tuple(counts))
    assert sum(found[e] * n for e, n in counts.items()) == pytest.approx(energies.mean(), rel=1e-13)
    for element, n in counts.items():
        assert found[element] / n == pytest.approx(found["Li"] / 4, rel=1e-9)


def test_energy_shifts_need_every_energy_and_element():
    with pytest.raises(InputError, match="frame 1 has no energy"):
        fit_energy_shifts([frame(0), frame(1, energy=None)], tuple(SHIFTS))
    with pytest.raises(InputError, match="frame 0 also holds Cl, O"):
        fit_energy_shifts([frame(0)], ("H", "Li"))


@pytest.fixture(scope="module")
def published_frames(tmp_path_factory) -> Path:
    """The first frame of each of the 66 seeds, and the second of some."""
    source = DATA / "licl_nnp1" / "frames.extxyz"
    if not source.is_file():
        pytest.skip(f"{source} is absent")
    head = tmp_path_factory.mktemp("data") / "head.extxyz"
    with source.open() as lines:
        head.write_text("".join(line for line, _ in zip(lines, range(80 * 250), strict=False)))
    return head


def test_published_licl_frames(published_frames):
    dataset = load_dataset(published_frames)
    assert len(dataset.frames) == 80
    assert dataset.elements == ("Cl", "H", "Li", "O")
    assert dataset.method == "published NNP1 + screened Coulomb"
    assert len(set(dataset.blocks)) == 66
    split = split_blocks(dataset, n_validation=3, n_test=6, seed=0)
    seeds = {str(atoms.info["seed"]) for atoms in dataset.of_blocks(split.train)}
    assert not seeds & {*split.validation, *split.test}
    back = add_baseline(subtract_baseline(dataset.frames, LICL), LICL)
    for before, after in zip(dataset.frames, back, strict=True):
        total = before.get_potential_energy()
        assert total == pytest.approx(-39886, abs=10)
        assert after.get_potential_energy() == pytest.approx(total, rel=0, abs=1e-10)
    shifts = fit_energy_shifts(dataset.frames, dataset.elements)
    counts = {"Li": 4, "Cl": 4, "O": 80, "H": 160}
    mean = np.mean([atoms.get_potential_energy() for atoms in dataset.frames])
    assert sum(shifts[e] * n for e, n in counts.items()) == pytest.approx(mean, abs=1e-6)


def test_published_forces_without_energies():
    source = DATA / "licl_dc_r2scan_dzvp" / "frames.extxyz"
    if not source.is_file():
        pytest.skip(f"{source} is absent")
    dataset = load_dataset(source)
    assert len(dataset.frames) == 50
    assert "energy" not in dataset.frames[0].calc.results
