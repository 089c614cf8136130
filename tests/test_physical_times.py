"""Runs with heavy hydrogens: populations are given, times and transport are refused with a line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bjerrum.cli import app
from bjerrum.errors import InputError
from bjerrum.properties.physical_times import why_times_mean_nothing
from bjerrum.trajectory import TrajectoryChunk, write_trajectory

HEAVY = {"temperature_K": 300.0, "configurational_only": 1, "repartitioned_hydrogen_mass_amu": 3.0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same walk of ions and waters, once as of natural masses, once as of heavy hydrogens."""
    folder, random = tmp_path_factory.mktemp("runs"), np.random.default_rng(1)
    symbols = ("Li",) * 4 + ("Cl",) * 4 + ("O",) * 30
    steps = np.cumsum(0.3 * random.standard_normal((200, 38, 3)), axis=0)
    chunk = TrajectoryChunk(
        symbols=symbols, cell=np.array([17.0] * 3), steps=np.arange(200),
        times_ps=0.5 * np.arange(200), positions=17 * random.random((38, 3)) + steps,
    )  # fmt: skip
    for name, facts in (("natural", {"temperature_K": 300.0}), ("heavy", HEAVY)):
        write_trajectory(folder / f"{name}.h5", [chunk], facts)
    return folder


def analyse(what, *paths):
    return CliRunner().invoke(app, ["analyse", what, *map(str, paths), "--json"])


def test_the_reason_is_told():
    assert why_times_mean_nothing({"temperature_K": 300.0}) is None
    assert why_times_mean_nothing({"configurational_only": 0}) is None
    assert why_times_mean_nothing(HEAVY).startswith("was run with hydrogens of 3.0 amu")


@pytest.mark.parametrize("names", [("heavy",), ("natural", "heavy")])
def test_residence_times_are_left_out_and_populations_stay(runs, names):
    found = {}
    for given in (("natural",) * len(names), names):
        done = analyse("pairing", *[runs / f"{name}.h5" for name in given])
        assert done.exit_code == 0, done.output
        found[given] = json.loads(done.stdout)
    natural, heavy = found[("natural",) * len(names)], found[names]
    assert natural["residence_time_ps"]["Li-O"]["survival"] is not None
    assert heavy["residence_time_ps"] == {}
    assert "hydrogens of 3.0 amu" in heavy["reasons"]["residence times"]
    assert heavy["pairs_per_cation"] == natural["pairs_per_cation"]
    assert heavy["association_constant_L_per_mol"] == natural["association_constant_L_per_mol"]


def test_the_line_is_in_the_table_too(runs):
    done = CliRunner().invoke(app, ["analyse", "pairing", str(runs / "heavy.h5")])
    assert "not determined: residence times: a trajectory was run with hydrogens" in done.output
    assert "residence time Li" not in done.output


def test_transport_is_refused(runs):
    done = analyse("transport", runs / "heavy.h5")
    assert isinstance(done.exception, InputError)
    assert "heavy.h5: was run with hydrogens of 3.0 amu" in str(done.exception)
    assert analyse("transport", runs / "natural.h5").exit_code == 0
