"""Structure files: what ASE lets pass and would later show up as a strange number is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bjerrum.errors import FrameError, InputError
from bjerrum.frames import (
    OVERLAP_DISTANCE,
    broken_waters,
    check_frame,
    read_frames,
    require_box,
    write_frames,
)

FRAME = """\
2
Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 pbc="T T T"
Li 0.0 0.0 0.0 0.1 0.2 0.3
Cl 2.0 2.0 2.0 -0.1 -0.2 -0.3
"""


@pytest.fixture
def save(tmp_path):
    def to_file(content: str | bytes, name: str = "frames.extxyz") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def refused(path: Path, message: str, *, labelled: bool = True) -> None:
    with pytest.raises(FrameError, match=message) as caught:
        read_frames(path, labelled=labelled)
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frames_come_back_as_they_were_written(tmp_path):
    random = np.random.default_rng(0)
    apart = 3.0 * np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1]])
    frames = []
    for k in range(3):
        atoms = Atoms("LiClOH2", apart + random.random((5, 3)), cell=[9, 8, 7], pbc=True)
        labels = {"energy": -39886.123456789 - k, "forces": random.standard_normal((5, 3))}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info.update({"seed": k, "method": "r2SCAN on a grid"})
        frames.append(atoms)
    write_frames(tmp_path / "f.extxyz", frames)
    for read, given_ in zip(read_frames(tmp_path / "f.extxyz", labelled=True), frames, strict=True):
        assert list(read.symbols) == list(given_.symbols)
        assert read.info == given_.info
        assert read.get_potential_energy() == given_.get_potential_energy()
        np.testing.assert_allclose(read.positions, given_.positions, atol=5e-9)
        np.testing.assert_allclose(read.get_forces(), given_.get_forces(), atol=5e-9)
        np.testing.assert_array_equal(read.cell.array, given_.cell.array)


def test_names_and_compression_do_not_matter(save):
    for name in ("f.xyz", "f.XYZ", "f@1.extxyz"):
        assert len(read_frames(save(2 * FRAME, name))) == 2
    assert len(read_frames(save(gzip.compress((2 * FRAME).encode()), "f.extxyz.gz"))) == 2


LINES = (3 * FRAME).splitlines(keepends=True)


@pytest.mark.parametrize("kept", range(len(LINES)))
def test_a_file_cut_at_any_line_is_refused_or_ends_with_a_frame(save, kept):
    path = save("".join(LINES[:kept]))
    if kept == 0:
        refused(path, "found an empty file")
    elif kept % 4 == 0:
        assert len(read_frames(path)) == kept // 4
    else:
        refused(path, f"frame {kept // 4}: the file ends inside this frame; it was cut short")


def test_a_file_cut_at_any_byte_never_loses_a_frame_that_it_began(save):
    """A cut within the last number of all cannot be seen; each other one is refused."""
    content = (2 * FRAME).encode()
    for kept in range(len(FRAME), len(content)):
        path = save(content[:kept])
        begun = content[len(FRAME) : kept].strip() != b""
        try:
            n = len(read_frames(path, labelled=True))
        except FrameError:
            continue
        assert n == 1 + begun


def test_a_compressed_file_that_was_cut_is_refused(save):
    packed = gzip.compress((2 * FRAME).encode())
    refused(save(packed[:-12], "f.xyz.gz"), "cannot be read as a structure file")
    cut = gzip.compress((2 * FRAME)[:-60].encode())
    refused(save(cut, "g.xyz.gz"), "frame 1: the file ends inside this frame")


def test_capital_suffixes_hide_no_cut(save):
    refused(save((2 * FRAME)[:-60], "f.XYZ"), "frame 1: the file ends inside this frame")


def test_a_blank_line_between_frames_hides_nothing(save):
    refused(save(FRAME + "\n" + FRAME), "frame 1: expected a number of atoms, got a blank line")
    assert len(read_frames(save(FRAME + "\n \n"))) == 1


@pytest.mark.parametrize("header", ["two", "-2", "2.0", "O 0.0 0.0 0.0"])
def test_a_frame_begins_with_a_number(save, header):
    path = save(FRAME + FRAME.replace("2\n", header + "\n", 1))
    refused(path, f"frame 1: expected a number of atoms, got '{header}'")


def test_missing_and_empty_files(save, tmp_path):
    refused(tmp_path / "absent.xyz", "expected a structure file, found none")
    refused(tmp_path, "expected a structure file, found none")
    refused(save(""), "found an empty file")
    refused(save("\n\n"), "expected at least one frame, found none")


@pytest.mark.parametrize("name", ["f.xyz", "f.extxyz", "f.cif", "f.data", "f.traj", "f"])
def test_garbage(save, name):
    content = b"\x93\xff" + np.random.default_rng(1).bytes(500)
    refused(save(content, name), "cannot be read as a structure file")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Li 0.0", "Li nan", "frame 1: positions hold NaN or infinity"),
        ("Li 0.0", "Li inf", "frame 1: positions hold NaN or infinity"),
        ('"5 0', '"nan 0', "frame 1: the cell holds NaN"),
        ('Lattice="5 0 0 0 5 0 0 0 5" ', "", "frame 1: expected a periodic cell, found none"),
        ('"5 0 0 0 5', '"5 0 0 5 0', "frame 1: expected a periodic cell, found none"),
        ("T T T", "T T F", "frame 1: expected periodicity in x, y and z"),
        ("0.3\nCl", "nan\nCl", "frame 1: the forces label holds NaN"),
        ("-0.3\n", "-inf\n", "frame 1: the forces label holds NaN or infinity"),
        ("energy=-1.5", "energy=nan", "frame 1: the energy label holds NaN"),
        ("energy=-1.5", "energy=low", "frame 1: expected energy to be one number"),
        ("energy=-1.5", 'energy="1 2"', "frame 1: expected energy to be one number"),
        ("forces:R:3", "force:R:3", "frame 1: expected forces"),
        ("forces:R:3", "forces:R:2", "frame 1: expected forces to be three numbers per atom"),
        ("Li 0.0 0.0 0.0", "Qq 0.0 0.0 0.0", "cannot be read as a structure file"),
        (" -0.2 -0.3\n", "\n", "cannot be read as a structure file"),
        ("Cl 2.0", "Cl 2.O", "cannot be read as a structure file"),
    ],
)
def test_frames_that_cannot_be_used(save, old, new, message):
    assert old in FRAME
    refused(save(FRAME + FRAME.replace(old, new, 1)), message)


def test_no_atoms(save):
    refused(save('0\nLattice="5 0 0 0 5 0 0 0 5"\n'), "frame 0: expected atoms, found none")


def test_labels_are_required_only_when_asked_for(save):
    bare = FRAME.replace(":forces:R:3", "").replace("energy=-1.5 ", "")
    assert len(read_frames(save(bare))) == 1
    refused(save(bare), "frame 0: expected forces")
    without_energy = FRAME.replace("energy=-1.5 ", "")
    assert len(read_frames(save(without_energy), labelled=True)) == 1


@pytest.mark.parametrize(
    "second",
    [(0, 0, 0), (0.3, 0.3, 0.2), (4.8, 0.1, 0), (5, 10, -15), (4.9, 4.9, 4.9), (-4.7, 0, 0)],
)
def test_overlapping_atoms_across_any_boundary(save, second):
    line = "Cl {} {} {}".format(*second)
    refused(
        save(FRAME.replace("Cl 2.0 2.0 2.0", line)),
        r"frame 0: atoms 0 \(Li\) and 1 \(Cl\) overlap, 0\.\d* angstrom apart \(limit 0\.5\)",
    )


def test_overlap_across_a_sheared_boundary():
    cell = np.array([[6.0, 0, 0], [3.0, 5.0, 0], [-2.0, 1.0, 7.0]])
    corner = cell.sum(axis=0)
    check_frame(Atoms("OH", [[0, 0, 0], corner - [0.6, 0, 0]], cell=cell, pbc=True), "box")
    with pytest.raises(FrameError, match=r"overlap, 0\.400 angstrom apart"):
        check_frame(Atoms("OH", [[0, 0, 0], corner - [0.4, 0, 0]], cell=cell, pbc=True), "box")


def test_an_atom_and_its_own_image():
    with pytest.raises(FrameError, match=r"atoms 0 \(O\) and 0 \(O\) overlap"):
        check_frame(Atoms("O", cell=[9, 9, 0.4], pbc=True), "box")


@settings(max_examples=40, deadline=None)
@given(
    distance=st.floats(0.0, 1.0),
    turn=st.integers(0, 10**6),
    jump=st.tuples(*[st.integers(-2, 2)] * 3),
)
def test_the_limit_of_overlap(distance, turn, jump):
    if abs(distance - OVERLAP_DISTANCE) < 1e-6:
        return
    random = np.random.default_rng(turn)
    cell = np.diag([4.0, 5.0, 6.0]) + np.tril(random.uniform(-1, 1, (3, 3)), -1)
    direction = Rotation.from_quat(random.standard_normal(4)).apply([1.0, 0.0, 0.0])
    first = random.random(3) @ cell
    atoms = Atoms("LiCl", [first, first + distance * direction + jump @ cell], cell=cell, pbc=True)
    if distance > OVERLAP_DISTANCE:
        check_frame(atoms, "box")
    else:
        with pytest.raises(FrameError, match="overlap"):
            check_frame(atoms, "box")


def test_broken_water_is_an_oxygen_without_exactly_two_hydrogens():
    """Water across a face of the box is whole; OH-, H3O+ and a bond of 1.6 angstrom are not."""
    positions = [[0.1, 0, 0], [9.6, 0.8, 0], [0.1, -0.3, 0.9]]
    whole = Atoms("OH2", positions, cell=[10.0] * 3, pbc=True)
    assert broken_waters(whole) == []
    hydroxide = whole[:2]
    hydronium = whole + Atoms("H", [[0.9, 0.5, 0.2]])
    stretched = whole.copy()
    stretched.positions[2] *= 1.7
    for atoms in (hydroxide, hydronium, stretched):
        assert broken_waters(atoms) == [0]
    assert broken_waters(Atoms("LiCl", [[0, 0, 0], [2, 0, 0]])) == []


def test_hydrogen_molecules_are_no_overlap():
    check_frame(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], cell=[4, 4, 4], pbc=True), "box")


def test_boxes_and_cutoffs():
    require_box(np.diag([10.0, 11.0, 12.0]), 5.0)
    with pytest.raises(InputError, match=r"at least twice .* \(10 angstrom\).*got 9\.900 ang"):
        require_box(np.diag([10.0, 9.9, 12.0]), 5.0)


@pytest.mark.parametrize("angle", [90, 60, 45, 30, 120])
def test_a_sheared_cell_is_as_thick_as_its_height(angle):
    """Two vectors of 12 angstrom with an angle a: the height is 12 sin a, whatever the turn."""
    radians = np.radians(angle)
    cell = 12 * np.array([[1, 0, 0], [np.cos(radians), np.sin(radians), 0], [0, 0, 1]])
    cell = cell @ Rotation.from_euler("xyz", [0.4, 1.1, -2.0]).as_matrix().T
    height = 12 * np.sin(radians)
    require_box(cell, height / 2 - 1e-6)
    with pytest.raises(InputError, match=f"got {height:.3f} angstrom"):
        require_box(cell, height / 2 + 1e-3)


def test_nothing_is_written_where_nothing_can_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_frames(tmp_path / "file" / "f.xyz", [Atoms("O", cell=[5, 5, 5], pbc=True)])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
