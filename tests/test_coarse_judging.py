"""The verdict on a coarse-grained model: its rule, and how often chance fools it."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from bjerrum.coarse.judging import CHANCE, LIMIT, advice, noise_of, pair_rows, verdict
from bjerrum.coarse.refine import N_BLOCKS
from bjerrum.coarse.simulate import BIN_WIDTH, IonBox, n_bins

BOX = IonBox(cation="Na", anion="Cl", n_cations=12, n_anions=12, edge=20.0)
R = (np.arange(n_bins(BOX.edge)) + 0.5) * BIN_WIDTH


def row(difference, all_atom, model=0.0):
    return {
        "difference_angstrom": difference,
        "all_atom_noise_angstrom": all_atom,
        "model_noise_angstrom": model,
    }


@pytest.mark.parametrize(
    ("difference", "all_atom", "model", "expected"),
    [
        (0.19, 0.1, 0.1, "agrees"),
        (0.21, 0.05, 0.03, "differs"),
        (0.21, 0.08, 0.0, "undecided"),
        (0.21, 0.0, 0.08, "undecided"),
        (0.10, 0.25, 0.0, "undecided"),
        (0.80, 0.25, 0.0, "differs"),
        (0.21, None, 0.0, "undecided"),
        (0.19, None, 0.0, "undecided"),
        (0.90, math.nan, 0.1, "undecided"),
    ],
)
def test_the_rule(difference, all_atom, model, expected):
    assert verdict(row(difference, all_atom, model)) == expected


def test_advice_names_pair_concentration_and_what_to_do():
    rows = {
        "cc": row(0.1, 0.1),
        "ca": row(0.5, 0.1),
        "aa": row(0.3, 0.2, 0.1),
    }
    lines = advice({"2.6 mol/L": rows, "4 mol/L": {"ca": row(0.3, 0.1, 0.2)}})
    assert [line.split(":")[0] for line in lines] == [
        "ca at 2.6 mol/L",
        "aa at 2.6 mol/L",
        "ca at 4 mol/L",
    ]
    assert "training" in lines[0]
    assert "more all-atom data" in lines[1]
    assert "longer runs of the model" in lines[2]
    (line,) = advice({"1.3 mol/L": {"ca": row(0.3, None, 0.2)}})
    assert "noise not known" in line
    assert "more all-atom data" in line
    assert noise_of(rows["aa"]) == pytest.approx(math.hypot(0.2, 0.1))


def test_equal_potentials_rarely_differ_and_a_shift_does():
    """g that are one function and noise: its share called wrong is small, a true step is seen.

    The noise is one number a block that lifts a contact peak, the worst case for an integral of
    absolute values.
    """
    rng = np.random.default_rng(5)
    peak = np.exp(-(((R - 2.8) / 0.2) ** 2))
    area = float(peak.sum() * BIN_WIDTH)
    found = {"equal": [], "off": []}
    for _ in range(400):
        blocks = 1 + 0.8 * rng.normal(size=(N_BLOCKS, 3, 1)) * peak
        for name, step in (("equal", 0.0), ("off", 1.5 / area)):
            replicas = 1 + (0.8 * rng.normal(size=(N_BLOCKS, 3, 1)) + step) * peak
            run = SimpleNamespace(r=R, g=lambda replicas=replicas: replicas)
            rows = pair_rows(run, blocks.mean(axis=0), blocks, BOX)
            found[name] += [pair["verdict"] for pair in rows.values()]
    assert found["equal"].count("differs") < 0.02 * len(found["equal"])
    assert found["off"].count("differs") > 0.98 * len(found["off"])


def test_the_difference_and_the_noise_are_what_they_are_called():
    """A step of known area; replicas of known spread: sqrt(2/pi) s/sqrt(B) times the width."""
    rng = np.random.default_rng(6)
    inside = (R > 3) & (R < 5)
    width = float(inside.sum() * BIN_WIDTH)
    found = []
    for _ in range(200):
        replicas = 1 + 0.3 + 0.05 * rng.normal(size=(12, 3, 1)) * inside
        run = SimpleNamespace(r=R, g=lambda replicas=replicas: replicas - 0.3 * ~inside)
        rows = pair_rows(run, np.ones((3, len(R))), np.ones((N_BLOCKS, 3, len(R))), BOX)
        found.append(rows["ca"])
    differences = [one["difference_angstrom"] for one in found]
    assert np.mean(differences) == pytest.approx(0.3 * width, rel=0.02)
    expected = math.sqrt(2 / math.pi) * 0.05 / math.sqrt(12) * width
    noise = np.mean([one["model_noise_angstrom"] for one in found])
    assert noise == pytest.approx(expected, rel=0.06)
    assert {one["all_atom_noise_angstrom"] for one in found} == {0.0}
    assert CHANCE * noise < LIMIT < 0.3 * width
