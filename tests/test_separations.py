"""Ion pairs at chosen distances; the potential is springs in water and soft repulsion."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import Evaluation
from bjerrum.frames import broken_waters, check_frame
from bjerrum.separations import SPRING_EV_PER_ANGSTROM2, PairSpring, sample_separations
from bjerrum.system import Salt, Solution, molality_of

WATERS = 8
SOLUTION = Solution(Salt.parse("LiCl"), molality_of(1, WATERS), 298.15)
EDGE = SOLUTION.box_edge(WATERS)


class Springs:
    """Rigid-like waters (they come first, as O H H) and 3 (1.7 - d)^2 eV between all else."""

    def __init__(self, strength: float = 20.0) -> None:
        self.strength = strength

    def bind(self, symbols, cell):
        oxygen = np.array([k for k, s in enumerate(symbols) if s == "O"])
        bonds = [(o, o + h, 0.97) for o in oxygen for h in (1, 2)]
        bonds += [(o + 1, o + 2, 1.53) for o in oxygen]
        inside = {(i, j) for i, j, _ in bonds}
        others = [p for p in combinations(range(len(symbols)), 2) if p not in inside]
        pairs = np.array([(i, j) for i, j, _ in bonds] + others)
        rest = np.array([length for *_, length in bonds] + [1.7] * len(others))
        strength = np.array([self.strength] * len(bonds) + [6.0] * len(others))
        edges = np.diag(cell)

        def evaluate(positions):
            vector = positions[pairs[:, 1]] - positions[pairs[:, 0]]
            vector -= edges * np.round(vector / edges)
            length = np.linalg.norm(vector, axis=1)
            stretch = length - rest
            stretch[len(bonds) :] = np.minimum(stretch[len(bonds) :], 0.0)
            pull = (strength * stretch / length)[:, None] * vector
            forces = np.zeros_like(positions)
            np.add.at(forces, pairs[:, 0], pull)
            np.add.at(forces, pairs[:, 1], -pull)
            return Evaluation(0.5 * float((strength * stretch**2).sum()), forces)

        return evaluate


def sampled(**changes):
    options = {
        "n_frames": 2,
        "separations": (2.3, 4.5),
        "settle_ps": 0.05,
        "seed": 1,
        "announce": lambda *_: None,
        **changes,
    }
    return sample_separations(Springs(), SOLUTION, WATERS, **options)


@pytest.mark.parametrize("target", [1.5, 3.0, 4.2])
def test_the_spring_is_harmonic_in_the_nearest_image_distance(target):
    spring = PairSpring(0, 2, target).bind(["Li", "O", "Cl"], np.diag([6.0, 7.0, 8.0]))
    positions = np.array([[0.4, 0.5, 0.3], [3.0, 3.0, 3.0], [5.7, 6.3, 6.1]])
    distance = np.linalg.norm([-0.7, -1.2, -2.2])
    found = spring(positions)
    assert found.energy == pytest.approx(
        0.5 * SPRING_EV_PER_ANGSTROM2 * (distance - target) ** 2, rel=1e-12
    )


def test_forces_of_the_spring_are_minus_the_gradient():
    random = np.random.default_rng(2)
    spring = PairSpring(3, 1, 2.7, strength=1.7).bind(["O"] * 4, np.diag([6.0, 7.0, 8.0]))
    positions = random.uniform(0, 6, size=(4, 3))
    forces = spring(positions).forces
    step = 1e-5
    for index in np.ndindex(4, 3):
        below, above = positions.copy(), positions.copy()
        below[index] -= step
        above[index] += step
        slope = (spring(below).energy - spring(above).energy) / (2 * step)
        assert forces[index] == pytest.approx(slope, abs=1e-8)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-14)
    assert not forces[[0, 2]].any()


@pytest.fixture(scope="module")
def frames():
    return sampled()


def test_targets_are_reached(frames):
    """A spring of 1 eV/angstrom^2 scatters by sqrt(kT/k) = 0.16 angstrom at 298 K."""
    for target, frame in zip([2.3, 4.5], frames, strict=True):
        ions = len(frame) - 2, len(frame) - 1
        distance = frame.get_distance(*ions, mic=True)
        assert frame.info["separation_angstrom"] == pytest.approx(distance, abs=1e-3)
        assert distance == pytest.approx(target, abs=5 * 0.16)


def test_frames_can_be_labelled(frames):
    for frame in frames:
        check_frame(frame, "frame")
        assert frame.get_chemical_formula() == "H16ClLiO8"
        assert frame.cell.lengths() == pytest.approx([EDGE] * 3)
        scaled = frame.get_scaled_positions(wrap=False)
        assert (scaled >= 0).all()
        assert (scaled <= 1).all()
    assert len({frame.info["block"] for frame in frames}) == 2


def test_the_same_seed_gives_the_same_frames(frames):
    again = sampled(n_frames=1)
    other = sampled(seed=7, n_frames=1)
    np.testing.assert_array_equal(frames[0].positions, again[0].positions)
    assert np.abs(other[0].positions - frames[0].positions).max() > 0.1


@pytest.mark.parametrize(
    "separations",
    [(0.5, 3.0), (1.0, 3.0), (4.0, 3.0), (2.0, EDGE), (-3.0, 3.0), (2.0, np.nan), (np.nan, 3.0)],
)
def test_impossible_ranges_are_one_line(separations):
    with pytest.raises(InputError, match=r"^separations: expected 1 < first <= last <= \d\.\d\d"):
        sampled(separations=separations)


def test_more_than_one_pair_is_refused():
    two = Solution(Salt.parse("LiCl"), molality_of(2, 16), 298.15)
    options = {"n_frames": 1, "separations": (2.3, 4.0), "settle_ps": 0.0, "seed": 1}
    with pytest.raises(InputError, match="expected a box of one cation and one anion"):
        sample_separations(Springs(), two, 16, **options, announce=lambda *_: None)


class Breaking(Springs):
    """Stretches the first bond of water to 1.9 angstrom in the first ``times`` boxes."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def bind(self, symbols, cell):
        sound, self.times = super().bind(symbols, cell), self.times - 1
        if self.times < 0:
            return sound

        def evaluate(positions):
            e, vector = sound(positions), positions[1] - positions[0]
            length = np.linalg.norm(vector)
            forces = e.forces.copy()
            pull = 200.0 * (length - 1.9) * vector / length
            forces[0] += pull
            forces[1] -= pull
            return Evaluation(e.energy + 100.0 * (length - 1.9) ** 2, forces)

        return evaluate


def test_a_box_with_a_broken_molecule_is_packed_anew():
    """Such frames looked like excited states to the labels: 6 to 13 eV above the others."""
    arguments = {"n_frames": 1, "separations": (3.0, 3.0), "settle_ps": 0.02, "seed": 1}
    (frame,) = sample_separations(
        Breaking(1), SOLUTION, WATERS, announce=lambda *_: None, **arguments
    )
    assert frame.info["boxes_with_broken_water"] == 1
    assert broken_waters(frame) == []
    with pytest.raises(PhysicsCheckFailed, match="broke a water molecule"):
        sample_separations(Breaking(9), SOLUTION, WATERS, announce=lambda *_: None, **arguments)


def test_dynamics_that_blow_up_are_no_frames():
    options = {"n_frames": 1, "separations": (2.3, 4.0), "settle_ps": 0.1, "seed": 1}
    with pytest.raises(PhysicsCheckFailed, match="blew up"):
        sample_separations(Springs(1e6), SOLUTION, WATERS, **options, announce=lambda *_: None)
