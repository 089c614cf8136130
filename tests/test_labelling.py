"""Many frames through a reference that does what the test tells it: order, failures, resuming."""

from __future__ import annotations

import errno
import json
import shutil
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum import cli
from bjerrum.errors import ExternalError, InputError, Interrupted, LockedError
from bjerrum.frames import check_frame, read_frames
from bjerrum.labelling import ATTEMPTS, label_frames, label_step, write_labelled
from bjerrum.reference.classical import SPCE_JOUNG_CHEATHAM, ClassicalReference
from bjerrum.reference.label import Label, LabelStatus
from bjerrum.store import exclusive


def frames(n: int = 5) -> list[Atoms]:
    """Neon pairs at growing distance: the label of each is known."""
    return [
        Atoms("Ne2", [[0, 0, 0], [2 + 0.1 * k, 0, 0]], cell=[9.0] * 3, pbc=True) for k in range(n)
    ]


def energy_of(atoms: Atoms) -> float:
    return -float(atoms.get_distance(0, 1))


class Fake:
    """Returns -d; ``script`` gives the statuses of the calls for a distance, converged after."""

    name = "fake"

    def __init__(self, script: dict[float, list[LabelStatus]] | None = None) -> None:
        self.script = {k: list(v) for k, v in (script or {}).items()}
        self.calls: Counter[float] = Counter()
        self.delay = lambda _distance: 0.0
        self.stopped = threading.Event()
        self.at_once = self.most_at_once = 0
        self.settings = "a"

    def describe(self) -> dict:
        return {"method": self.name, "settings": self.settings}

    def check(self, atoms: Atoms) -> None:
        check_frame(atoms, "frame")

    def calibration(self, frames):
        return []

    def refine(self, frames, calibration):
        return list(frames)

    def stop(self) -> None:
        self.stopped.set()

    def label(self, atoms: Atoms, folder: Path) -> Label:
        distance = round(-energy_of(atoms), 6)
        self.calls[distance] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        interrupted = self.stopped.wait(self.delay(distance))
        self.at_once -= 1
        if interrupted:
            raise Interrupted("interrupted")
        todo = self.script.get(distance, [])
        status = todo.pop(0) if todo else LabelStatus.CONVERGED
        if status is not LabelStatus.CONVERGED:
            return Label(status, reason=f"told to be {status}")
        forces = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
        return Label(status, -distance, forces, info={"label_cpu_seconds": 1.5})


def run(given: list[Atoms], reference: Fake, folder: Path, **options):
    options.setdefault("announce", lambda *_: None)
    return label_frames(given, reference, folder, **options)


def energies(labelled) -> list[float]:
    return [frame.get_potential_energy() for frame in labelled.frames]


def test_every_frame_is_labelled_in_order(tmp_path):
    given = frames()
    labelled = run(given, Fake(), tmp_path / "work")
    assert energies(labelled) == pytest.approx([energy_of(a) for a in given])
    assert labelled.failures == []
    assert labelled.waiting == 0
    assert labelled.median_cpu_seconds == 1.5
    for frame, atoms in zip(labelled.frames, given, strict=True):
        assert frame.info["label_id"] == label_step(atoms, Fake()).hash
        np.testing.assert_allclose(frame.get_forces(), [[1, 0, 0], [-1, 0, 0]])


def test_two_at_a_time_keep_the_order_too(tmp_path):
    given, fake = frames(6), Fake()
    fake.delay = lambda distance: 0.4 - 0.1 * (distance - 2) / 0.1  # the first take longest
    labelled = run(given, fake, tmp_path / "work", jobs=2)
    assert energies(labelled) == pytest.approx([energy_of(a) for a in given])
    assert fake.most_at_once == 2
    assert max(fake.calls.values()) == 1


def test_one_at_a_time_is_one_at_a_time(tmp_path):
    fake = Fake()
    fake.delay = lambda _: 0.02
    run(frames(3), fake, tmp_path / "work", jobs=1)
    assert fake.most_at_once == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_frame_given_twice_is_labelled_once_and_returned_twice(tmp_path, jobs):
    given = [*frames(2), *frames(2), *frames(1)]
    fake = Fake()
    fake.delay = lambda _: 0.1
    labelled = run(given, fake, tmp_path / "work", jobs=jobs)
    assert energies(labelled) == pytest.approx([energy_of(a) for a in given])
    assert fake.calls == {2.0: 1, 2.1: 1}


FINAL = [
    LabelStatus.SCF_NOT_CONVERGED,
    LabelStatus.RESPONSE_NOT_CONVERGED,
    LabelStatus.GEOMETRY_MISMATCH,
]
TRANSIENT = [LabelStatus.CRASHED, LabelStatus.TRUNCATED]


@pytest.mark.parametrize("status", FINAL)
def test_a_failure_is_recorded_with_its_reason_and_is_not_in_the_output(tmp_path, status):
    given, fake = frames(4), Fake({2.1: [status]})
    labelled = run(given, fake, tmp_path / "work")
    assert energies(labelled) == pytest.approx([-2.0, -2.2, -2.3])
    (failure,) = labelled.failures
    assert failure["index"] == 1
    assert failure["status"] == status
    assert failure["reason"] == f"told to be {status}"
    assert failure["attempts"] == 1
    assert Path(failure["log"]).is_dir()
    assert fake.calls[2.1] == 1
    assert json.loads((tmp_path / "work" / "failures.json").read_text()) == labelled.failures
    output = tmp_path / "labelled.extxyz"
    write_labelled(output, labelled)
    assert len(read_frames(output, labelled=True)) == 3


@pytest.mark.parametrize("status", TRANSIENT)
def test_what_died_is_tried_once_more(tmp_path, status):
    fake = Fake({2.1: [status]})
    labelled = run(frames(3), fake, tmp_path / "work")
    assert len(labelled.frames) == 3
    assert labelled.failures == []
    assert fake.calls == {2.0: 1, 2.1: 2, 2.2: 1}


@pytest.mark.parametrize("status", TRANSIENT)
def test_what_dies_again_is_marked(tmp_path, status):
    fake = Fake({2.1: [status] * 5})
    labelled = run(frames(3), fake, tmp_path / "work")
    assert energies(labelled) == pytest.approx([-2.0, -2.2])
    assert fake.calls[2.1] == ATTEMPTS == 2
    assert labelled.failures[0]["attempts"] == 2
    again = run(frames(3), fake, tmp_path / "work")
    assert fake.calls[2.1] == 2
    assert again.failures == labelled.failures


def test_nothing_is_computed_twice(tmp_path):
    fake = Fake({2.2: [FINAL[0]]})
    first = run(frames(3), fake, tmp_path / "work")
    second = run(frames(5), fake, tmp_path / "work")
    assert set(fake.calls.values()) == {1}
    assert energies(first) == energies(second)[:2]
    assert len(second.frames) == 4


def test_the_output_alone_is_enough(tmp_path):
    fake, output = Fake(), tmp_path / "labelled.extxyz"
    write_labelled(output, run(frames(3), fake, tmp_path / "work"))
    shutil.rmtree(tmp_path / "work")
    known = read_frames(output, labelled=True)
    labelled = run(frames(5)[::-1], fake, tmp_path / "work", known=known)
    assert set(fake.calls.values()) == {1}
    assert energies(labelled) == pytest.approx([-2.4, -2.3, -2.2, -2.1, -2.0])


def test_frames_as_they_come_from_the_output_are_known(tmp_path):
    """Positions are written to eight decimals: the identity must survive that."""
    random = np.random.default_rng(1)
    given = frames(3)
    for atoms in given:
        atoms.positions += random.normal(scale=0.01, size=(2, 3))
    fake, output = Fake(), tmp_path / "labelled.extxyz"
    write_labelled(output, run(given, fake, tmp_path / "work"))
    again = run(read_frames(output), fake, tmp_path / "work")
    assert sum(fake.calls.values()) == 3
    assert len(again.frames) == 3


def test_other_settings_are_other_labels(tmp_path):
    fake = Fake()
    write_labelled(tmp_path / "a.extxyz", run(frames(2), fake, tmp_path / "work"))
    fake.settings = "b"
    known = read_frames(tmp_path / "a.extxyz", labelled=True)
    run(frames(2), fake, tmp_path / "work", known=known)
    assert fake.calls == {2.0: 2, 2.1: 2}


def test_time_that_runs_out_leaves_frames_waiting(tmp_path):
    fake = Fake()
    fake.delay = lambda _: 0.2
    first = run(frames(6), fake, tmp_path / "work", max_hours=0.7 / 3600)
    assert 1 <= len(first.frames) <= 3
    assert first.waiting == 6 - len(first.frames)
    second = run(frames(6), fake, tmp_path / "work")
    assert len(second.frames) == 6
    assert second.waiting == 0
    assert set(fake.calls.values()) == {1}


def test_no_time_at_all_begins_nothing(tmp_path):
    fake = Fake()
    labelled = run(frames(2), fake, tmp_path / "work", max_hours=0.0)
    assert not fake.calls
    assert labelled.waiting == 2
    with pytest.raises(InputError, match="expected at least one converged label, got none"):
        write_labelled(tmp_path / "labelled.extxyz", labelled)
    assert not (tmp_path / "labelled.extxyz").exists()


def test_a_bad_frame_is_named_before_anything_starts(tmp_path):
    given, fake = frames(4), Fake()
    given[2].positions[1] = [0.1, 0, 0]
    with pytest.raises(InputError, match=r"^frame 2: atoms 0 \(Ne\) and 1 \(Ne\) overlap"):
        run(given, fake, tmp_path / "work")
    assert not fake.calls
    assert not (tmp_path / "work").exists()


def test_two_runs_in_one_folder_are_refused(tmp_path):
    fake = Fake()
    with exclusive(tmp_path / "work"), pytest.raises(LockedError, match="another process"):
        run(frames(2), fake, tmp_path / "work")
    assert not fake.calls
    assert len(run(frames(2), fake, tmp_path / "work").frames) == 2


def test_a_full_disk_is_one_line_and_the_work_goes_on_later(tmp_path):
    fake = Fake()
    label = fake.label

    def full(atoms: Atoms, folder: Path) -> Label:
        if energy_of(atoms) < -2.15:
            raise OSError(errno.ENOSPC, "No space left on device")
        return label(atoms, folder)

    fake.label = full
    with pytest.raises(ExternalError, match="the disk is full; free some space and run again"):
        run(frames(4), fake, tmp_path / "work")
    assert fake.stopped.is_set()
    later = Fake()
    assert len(run(frames(4), later, tmp_path / "work").frames) == 4
    assert later.calls == {2.2: 1, 2.3: 1}


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_stops_what_is_under_way_and_keeps_what_is_finished(tmp_path, jobs):
    fake = Fake()
    fake.delay = lambda distance: 0.0 if distance < 2.05 else 60.0

    def announce(_stage: str, done: int, _total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(frames(4), fake, tmp_path / "work", jobs=jobs, announce=announce)
    assert time.monotonic() - begin < 20
    assert fake.stopped.is_set()
    later = Fake()
    labelled = run(frames(4), later, tmp_path / "work")
    assert len(labelled.frames) == 4
    assert later.calls == {2.1: 1, 2.2: 1, 2.3: 1}


def test_a_damaged_result_is_made_again(tmp_path):
    fake = Fake()
    run(frames(2), fake, tmp_path / "work")
    written = sorted((tmp_path / "work" / "steps").glob("*/frame.extxyz"))[0]
    written.write_text(written.read_text().replace("-", "+", 1))
    labelled = run(frames(2), fake, tmp_path / "work")
    assert sum(fake.calls.values()) == 3
    assert energies(labelled) == pytest.approx([-2.0, -2.1])


def test_progress_counts_every_frame_once(tmp_path):
    told = []
    run(frames(3), Fake(), tmp_path / "work", announce=lambda *a: told.append(a), jobs=2)
    assert [done for _, done, _ in told] == [0, 1, 2, 3]
    assert {total for *_, total in told} == {3}


class Calibrated(Fake):
    """Labels one more configuration, moved, whose energy is what the others lack."""

    def calibration(self, frames):
        moved = frames[0].copy()
        moved.positions[1, 0] += 5.0
        return [(0, moved)]

    def refine(self, frames, calibration):
        ((index, moved),) = calibration
        assert index == 0
        if moved is None:
            return [None] * len(frames)
        for frame in frames:
            if frame is not None:
                frame.info["correction"] = moved.get_potential_energy()
        return list(frames)


def test_a_correction_waits_for_its_own_labels(tmp_path):
    fake = Calibrated()
    labelled = run(frames(3), fake, tmp_path / "work")
    assert [frame.info["correction"] for frame in labelled.frames] == pytest.approx([-7.0] * 3)
    assert fake.calls[7.0] == 1


def test_labels_wait_for_a_correction_that_time_did_not_allow_yet(tmp_path):
    fake = Calibrated()
    fake.delay = lambda distance: 0.3 if distance == 7.0 else 0.0
    cut = run(frames(3), fake, tmp_path / "work", max_hours=0.2 / 3600)
    assert (cut.frames, cut.failures, cut.waiting) == ([], [], 3)
    assert len(run(frames(3), fake, tmp_path / "work").frames) == 3


def test_labels_whose_correction_failed_for_good_are_failures_not_waiting(tmp_path):
    spoiled = Calibrated({7.0: [FINAL[0]]})
    ended = run(frames(3), spoiled, tmp_path / "work")
    assert (ended.frames, ended.waiting) == ([], 0)
    assert [failure["index"] for failure in ended.failures] == [0, 1, 2]
    assert all("could not be measured" in failure["reason"] for failure in ended.failures)


def test_a_label_whose_energy_does_not_belong_with_the_others_is_set_aside(tmp_path):
    """Energies are -2.0 ... -2.8 eV; one is 6 eV higher, as an excited density's would be."""
    given = frames(9)
    excited = energy_of(given[4])

    class Excited(Fake):
        def label(self, atoms, folder):
            label = super().label(atoms, folder)
            wrong = abs(label.energy - excited) < 1e-9
            return replace(label, energy=label.energy + 6.0) if wrong else label

    labelled = run(given, Excited(), tmp_path / "work")
    assert len(labelled.frames) == 8
    assert [failure["index"] for failure in labelled.failures] == [4]
    assert "an excited state" in labelled.failures[0]["reason"]
    assert len(run(given, Fake(), tmp_path / "other").frames) == 9
    few = run(given[:5], Excited(), tmp_path / "few")  # too few to tell
    assert len(few.frames) == 5


def spce(n: int = 6) -> list[Atoms]:
    """A rigid water and an ion pair, in boxes that differ."""
    water = SPCE_JOUNG_CHEATHAM.water_positions()
    found = []
    for k in range(n):
        positions = [*water + 6.0, [1.0, 1.0, 1.0], [3.0 + 0.2 * k, 1.0, 1.0]]
        found.append(Atoms("OH2LiCl", positions, cell=[12.0] * 3, pbc=True))
    return found


@pytest.fixture
def bjerrum(monkeypatch, capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bjerrum", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.mark.parametrize("jobs", [1, 3])
def test_classical_labels_on_the_command_line(tmp_path, bjerrum, jobs):
    given = spce(12)
    ase.io.write(tmp_path / "in.extxyz", given)
    command = ("label", tmp_path / "in.extxyz", "-o", tmp_path / "out.extxyz")
    options = ("--method", "classical", "--json", "--jobs", jobs)
    code, out, err = bjerrum(*command, *options)
    assert code == 0, err
    summary = json.loads(out)
    assert summary["n_frames"] == summary["n_labelled"] == 12
    assert summary["failures"] == []
    labelled = read_frames(tmp_path / "out.extxyz", labelled=True)
    reference = ClassicalReference()
    for atoms, frame in zip(given, labelled, strict=True):
        energy, forces = reference.energy_and_forces(atoms)
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-8)
        assert frame.get_potential_energy() == pytest.approx(energy, abs=1e-6)
        np.testing.assert_allclose(frame.get_forces(), forces, atol=1e-6)
    before = (tmp_path / "out.extxyz").read_bytes()
    code, _, err = bjerrum(*command, *options)
    assert code == 0, err
    assert (tmp_path / "out.extxyz").read_bytes() == before


def assert_one_line(code: int, err: str, expected: int, *words: str) -> None:
    assert code == expected, err
    assert len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err


def test_wrong_input_on_the_command_line(tmp_path, bjerrum):
    good, bad, out = (tmp_path / name for name in ("good.extxyz", "bad.extxyz", "out.extxyz"))
    given = spce(3)
    ase.io.write(good, given)
    given[1].positions[4] = given[1].positions[3] + [0.2, 0, 0]
    ase.io.write(bad, given)
    classical = ("--method", "classical")
    code, _, err = bjerrum("label", bad, "-o", out, *classical)
    assert_one_line(code, err, 2, "frame 1", "overlap")
    code, _, err = bjerrum("label", tmp_path / "none.extxyz", "-o", out, *classical)
    assert_one_line(code, err, 2, "none.extxyz")
    code, _, err = bjerrum("label", good, "-o", out, "--method", "pbe")
    assert_one_line(code, err, 2, "dc-r2scan, r2scan, classical", "'pbe'")
    code, _, err = bjerrum("label", good, "-o", tmp_path / "out.csv", *classical)
    assert_one_line(code, err, 2, "out.csv", ".extxyz")
    with exclusive(tmp_path / "out.extxyz.labels"):
        code, _, err = bjerrum("label", good, "-o", out, *classical)
    assert_one_line(code, err, 2, "another process is running in this folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "bad.extxyz", "good.extxyz", "out.extxyz.labels",
    ]  # fmt: skip
    config = tmp_path / "label.toml"
    config.write_text('force_field = "opls"\n')
    code, _, err = bjerrum("label", good, "-o", out, *classical, "--config", config)
    assert_one_line(code, err, 2, "force_field", "opls")


def test_another_file_where_the_output_goes_is_not_overwritten(tmp_path, bjerrum):
    ase.io.write(tmp_path / "in.extxyz", spce(2))
    out = tmp_path / "out.extxyz"
    out.write_text("3\nnotes of mine\n")
    code, _, err = bjerrum("label", tmp_path / "in.extxyz", "-o", out, "--method", "classical")
    assert_one_line(code, err, 2, "out.extxyz")
    assert out.read_text() == "3\nnotes of mine\n"


def test_without_cp2k_the_line_that_installs_it_is_told(tmp_path, bjerrum, monkeypatch):
    ase.io.write(tmp_path / "in.extxyz", spce(1))
    monkeypatch.setenv("PATH", str(tmp_path))
    for method in ("dc-r2scan", "r2scan"):
        command = ("label", tmp_path / "in.extxyz", "-o", tmp_path / "out.extxyz")
        code, _, err = bjerrum(*command, "--method", method)
        assert_one_line(code, err, 4, "apt-get install cp2k cp2k-data")
    code, _, err = bjerrum("sample", tmp_path / "in.extxyz", "-o", tmp_path / "out.extxyz")
    assert_one_line(code, err, 4, "apt-get install cp2k cp2k-data")
    code, _, err = bjerrum("label", "--converge", tmp_path / "in.extxyz", "-o", tmp_path / "a.toml")
    assert_one_line(code, err, 4, "apt-get install cp2k cp2k-data")
    assert [path.name for path in tmp_path.iterdir()] == ["in.extxyz"]
