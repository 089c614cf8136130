"""The example files are what they say: valid, runnable with what ships, and what was used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bjerrum.configuration import RunConfig, read_run_config
from bjerrum.literature.water import water_dielectric_constant
from bjerrum.potential.card import find_model, read_card, shipped_models
from bjerrum.potential.spec import OptimiserSpec, TrainingSpec
from bjerrum.run import Run
from bjerrum.specification import read_spec

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
OTHERS = ("train_", "campaign")
RUNS = sorted(p for p in EXAMPLES.glob("*.toml") if not p.name.startswith(OTHERS))
TRAININGS = sorted(EXAMPLES.glob("train_*.toml"))


def by_name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", RUNS, ids=by_name)
def test_run_example_fits_the_model_that_it_names(path, tmp_path):
    config = read_run_config(path)
    assert config.potential.model in shipped_models()
    run = Run.open(config, tmp_path, lambda stage, done, total: None)
    assert run.solution.n_formula_units(config.box.waters) > 0
    assert not list(tmp_path.iterdir()), "opening a run writes nothing"


@pytest.mark.parametrize("path", RUNS, ids=by_name)
def test_run_example_shows_every_setting_that_sizes_a_run(path):
    written = set(re.findall(r"^(\w+) =", path.read_text(), re.MULTILINE))
    sections = (RunConfig.model_fields[name].annotation for name in ("box", "conservation"))
    assert not {key for section in sections for key in section.model_fields} - written


@pytest.mark.parametrize("path", TRAININGS, ids=by_name)
def test_training_example_is_valid_and_neutral(path):
    spec = read_spec(path, TrainingSpec)
    assert sum(spec.baseline.charges_e.values()) == 0
    water = water_dielectric_constant(298.15)
    assert spec.baseline.dielectric_constant == pytest.approx(water, abs=0.01)
    assert spec.card.labels, "a card says what the labels are"


def test_training_example_is_the_shipped_model_with_a_better_learning_rate():
    example = read_spec(EXAMPLES / "train_licl.toml", TrainingSpec)
    folder = find_model("licl-nnp1")
    shipped = read_spec(folder / "training.toml", TrainingSpec)
    assert read_card(folder).training["settings"] == shipped.settings_that_must_match()
    changed = example.settings_that_must_match()
    assert changed["optimiser"]["learning_rate"] == OptimiserSpec().learning_rate
    changed["optimiser"]["learning_rate"] = shipped.optimiser.learning_rate
    assert changed == shipped.settings_that_must_match()


@pytest.mark.slow
def test_main_example_runs_to_its_report_and_then_answers_at_once(tmp_path):
    def call() -> subprocess.CompletedProcess[str]:
        command = [
            "run",
            "examples/licl.toml",
            "--budget-minutes",
            "1",
            "-o",
            str(tmp_path / "run"),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-m", "bjerrum", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )

    page = tmp_path / "run" / "report.html"
    assert call().stdout.splitlines()[-1] == f"report: {page}"
    results = (tmp_path / "run" / "results.json").read_bytes()
    sampled = [path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("trajectory.h5")]
    call()
    assert (tmp_path / "run" / "results.json").read_bytes() == results
    again = [path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("trajectory.h5")]
    assert sampled == again
