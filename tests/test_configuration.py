"""The run file: what it means, and what is refused before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bjerrum.configuration import DynamicsSection, output_folder, read_run_config, with_budget
from bjerrum.errors import InputError

EXAMPLE = Path(__file__).parents[1] / "examples" / "licl.toml"
SOLUTION = '[solution]\nsalt = "LiCl"\nmolality_mol_per_kg = 2.78\n'


@pytest.fixture
def save(tmp_path):
    def to_file(text: str) -> Path:
        path = tmp_path / "run.toml"
        path.write_text(text)
        return path

    return to_file


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_run_config(path)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_the_example():
    config = read_run_config(EXAMPLE)
    solution = config.solution.build()
    assert (str(solution.salt), solution.molality, solution.temperature) == ("LiCl", 2.78, 298.15)
    assert solution.atom_counts(config.box.waters) == {"O": 80, "H": 160, "Li": 4, "Cl": 4}
    assert config.dynamics.budget_minutes == 8
    assert output_folder(EXAMPLE, config, None) == Path("runs/licl")


def test_the_solution_is_enough(save):
    config = read_run_config(save(SOLUTION))
    assert config.solution.temperature_K == 298.15
    assert config.dynamics.budget_minutes is None
    assert config.dynamics.length_ps is None
    assert config.output is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"LiCl"', '"LiXx"', "unknown salt 'LiXx'"),
        ('"LiCl"', '"LiCI"', "unknown salt 'LiCI'; did you mean LiCl? Known: LiF, LiCl, "),
        ("2.78", "-1.0", "molality must be between 0 and 27.75 mol/kg"),
        ("2.78", "500", "molality must be between 0 and 27.75 mol/kg"),
        ("2.78", "nan", "molality must be a finite number, got nan"),
        ("2.78\n", "2.78\ntemperature_K = 25\n", "temperature must be between 273.15 and 373.15 K"),
        ("2.78\n", "2.78\ntemperature_K = inf\n", "temperature must be a finite number, got inf"),
        ("molality_mol_per_kg", "molarity_mol_per_L", "unknown key 'solution.molarity_mol_per_L'"),
        ('salt = "LiCl"\n', "", "key 'solution.salt' is missing"),
        ("[solution]", "[solvent]", "unknown key 'solvent'; expected one of: analysis, box, "),
    ],
)
def test_solutions_that_do_not_exist(save, old, new, message):
    assert old in SOLUTION
    assert refused(save(SOLUTION.replace(old, new))).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[box]\nwaters = "80"', "box.waters: expected a valid integer, got '80'"),
        ("[box]\nwaters = 80.5", "box.waters: expected a valid integer, got 80.5"),
        ("[box]\nwaters = 0", "box.waters: expected greater than 0, got 0"),
        ("[box]\nwaters = 2", "2.78 mol/kg in 2 waters is 0.1 formula units"),
        ("[box]\nwater = 80", "unknown key 'box.water'; expected one of: classical_equ"),
        ("[dynamics]\nseed = true", "dynamics.seed: expected a valid integer, got True"),
        ("[dynamics]\nseed = -1", "dynamics.seed: expected greater than or equal to 0, got -1"),
        ("[dynamics]\nreplicas = 0", "dynamics.replicas: expected greater than 0, got 0"),
        ("[dynamics]\ntimestep_fs = 3.0", "dynamics.timestep_fs: expected less than or equal to 2"),
        ("[dynamics]\ntimestep_fs = nan", "dynamics.timestep_fs: expected "),
        ("[dynamics]\ntimestep_ps = 0.001", "unknown key 'dynamics.timestep_ps'; expected one of"),
        ("[dynamics]\nequilibration_part = 1.0", "dynamics.equilibration_part: expected less than"),
        (
            "[dynamics]\nbudget_minutes = 5\nlength_ps = 10",
            "dynamics: expected budget_minutes or length_ps, got both",
        ),
        (
            "[dynamics]\nframe_every_fs = 0.5",
            "dynamics: expected frame_every_fs of at least timestep_fs (1), got 0.5",
        ),
        (
            '[analysis]\npairs = ["Li-O", "LiO"]',
            "analysis.pairs: expected pairs such as \"Li-O\", got 'LiO'",
        ),
        (
            '[analysis]\npairs = ["Li-O", "Na-O"]',
            "analysis.pairs: expected elements of the solution (Cl, H, Li, O), got 'Na-O'",
        ),
        ("[potential]\ndielectric_constant = 0.5", "potential.dielectric_constant: expected gre"),
        ("[conservation]\nlength_ps = -1", "conservation.length_ps: expected greater than or eq"),
    ],
)
def test_settings_that_cannot_be(save, text, message):
    assert refused(save(SOLUTION + text)).startswith(message)


def test_missing_and_broken_files(save, tmp_path):
    with pytest.raises(InputError, match="expected a TOML file, but it cannot be read"):
        read_run_config(tmp_path / "absent.toml")
    assert refused(save("[solution")).startswith("is not valid TOML")


@pytest.mark.parametrize(
    ("timestep", "frame_every", "length", "stride", "steps"),
    [
        (1.0, 10.0, 1.0, 10, 1000),
        (1.0, 10.0, 1.001, 10, 1010),  # rounded up to whole frames
        (0.5, 10.0, 0.57, 20, 1140),
        (0.1, 10.0, 4.03, 100, 40300),  # 403 frames, though 4030 / (0.1 * 100) is a little more
        (2.0, 2.0, 0.002, 1, 1),
        (0.75, 10.0, 1.0, 13, 1339),
    ],
)
def test_steps_of_a_length(timestep, frame_every, length, stride, steps):
    dynamics = DynamicsSection(timestep_fs=timestep, frame_every_fs=frame_every, length_ps=length)
    assert (dynamics.frame_stride, dynamics.steps_of_length()) == (stride, steps)


def test_no_length_no_steps():
    assert DynamicsSection(budget_minutes=1).steps_of_length() is None


def test_output_folder(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(SOLUTION)
    config = read_run_config(path)
    assert output_folder(path, config, None) == Path("runs/run")
    assert output_folder(path, config, Path("here")) == Path("here")
    named = read_run_config(save('output = "out"\n' + SOLUTION))
    assert output_folder(path, named, None) == Path("out")
    assert output_folder(path, named, Path("here")) == Path("here")
    Path("out").touch()
    Path("here").touch()
    for chosen in (None, Path("here")):
        with pytest.raises(InputError, match="expected a folder for the run, found a file"):
            output_folder(path, named, chosen)


def test_another_budget(save):
    config = read_run_config(save(SOLUTION + "[dynamics]\nlength_ps = 10\nseed = 3"))
    assert with_budget(config, None) is config
    changed = with_budget(config, 2.5)
    assert (changed.dynamics.budget_minutes, changed.dynamics.length_ps) == (2.5, None)
    assert changed.dynamics.seed == 3
    assert config.dynamics.length_ps == 10


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_no_budget(save, minutes):
    with pytest.raises(InputError, match="--budget-minutes: expected a positive number"):
        with_budget(read_run_config(save(SOLUTION)), minutes)
