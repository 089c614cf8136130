"""Trajectories in and out: H5MD, other programs' files, and files that must be refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms

from bjerrum.errors import FrameError, InputError
from bjerrum.trajectory import TrajectoryChunk, iterate_frames, read_h5md, write_trajectory

SYMBOLS = ("Li", "Cl", "O", "H", "H", "O", "H", "H")
EDGE = 9.0


def make_chunk(n_frames: int = 5, first_step: int = 20, seed: int = 0) -> TrajectoryChunk:
    random = np.random.default_rng(seed)
    steps = first_step + 20 * np.arange(n_frames)
    return TrajectoryChunk(
        symbols=SYMBOLS,
        cell=np.full(3, EDGE),
        steps=steps,
        times_ps=steps * 5e-4,
        positions=20 * random.standard_normal((n_frames, len(SYMBOLS), 3)),
        velocities=0.01 * random.standard_normal((n_frames, len(SYMBOLS), 3)),
        observables={
            "potential_energy": -39886.20221 + random.random(n_frames),
            "torque": random.random(n_frames),
        },
        units={"torque": "eV"},
        metadata={"model": "licl", "temperature": 298.15, "seed": 3},
    )


def make_frames(n_frames: int = 6, seed: int = 1, edge: float = EDGE) -> list[Atoms]:
    random = np.random.default_rng(seed)
    return [
        Atoms(SYMBOLS, positions=edge * random.random((8, 3)), cell=[edge] * 3, pbc=True)
        for _ in range(n_frames)
    ]


def joined(chunks: Iterator[TrajectoryChunk]) -> np.ndarray:
    return np.concatenate([chunk.positions for chunk in chunks])


def write_dump(path: Path, frames: list[Atoms], *, columns: str = "id type x y z") -> Path:
    """LAMMPS dump, atoms in reverse order, box from -edge/2, types 1 to 4 as in TYPES."""
    types = {"O": 1, "H": 2, "Li": 3, "Cl": 4}
    lines = []
    for step, atoms in enumerate(frames):
        edges = atoms.cell.lengths()
        lines += ["ITEM: TIMESTEP", str(100 * step), "ITEM: NUMBER OF ATOMS", str(len(atoms))]
        lines += ["ITEM: BOX BOUNDS pp pp pp", *(f"{-e / 2:.9f} {e / 2:.9f}" for e in edges)]
        lines += [f"ITEM: ATOMS {columns}"]
        for i in reversed(range(len(atoms))):
            images = np.floor(atoms.positions[i] / edges).astype(int)
            unwrapped = atoms.positions[i] - edges / 2
            wrapped = unwrapped - images * edges
            known = {"id": i + 1, "type": types[atoms.symbols[i]], "element": atoms.symbols[i]}
            known |= dict(zip(("x", "y", "z"), (f"{x:.7f}" for x in wrapped), strict=True))
            known |= dict(zip(("xu", "yu", "zu"), (f"{x:.7f}" for x in unwrapped), strict=True))
            known |= dict(zip(("ix", "iy", "iz"), images, strict=True))
            scaled = wrapped / edges + 0.5
            known |= dict(zip(("xs", "ys", "zs"), (f"{x:.9f}" for x in scaled), strict=True))
            lines.append(" ".join(str(known[column]) for column in columns.split()))
    path.write_text("\n".join(lines) + "\n")
    return path


TYPES = {"1": "O", "2": "H", "3": "Li", "4": "Cl"}


def write_by_mdanalysis(path: Path, frames: list[Atoms]) -> Path:
    import MDAnalysis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe.empty(len(frames[0]), trajectory=True)
        with MDAnalysis.Writer(str(path), len(frames[0])) as writer:
            for index, atoms in enumerate(frames):
                universe.atoms.positions = atoms.positions
                universe.dimensions = [*atoms.cell.lengths(), 90, 90, 90]
                universe.trajectory.ts.time = 0.5 * index
                writer.write(universe)
    return path


# --- H5MD ---


def test_h5md_round_trip(tmp_path: Path) -> None:
    first, second = make_chunk(), make_chunk(3, first_step=120, seed=5)
    assert write_trajectory(tmp_path / "t.h5", [first, second]) == 8
    chunks = list(read_h5md(tmp_path / "t.h5", chunk_frames=5))
    assert [chunk.n_frames for chunk in chunks] == [5, 3]
    for written, read in zip((first, second), chunks, strict=True):
        assert read.symbols == SYMBOLS
        np.testing.assert_array_equal(read.steps, written.steps)
        np.testing.assert_array_equal(read.times_ps, written.times_ps)
        np.testing.assert_array_equal(read.cell, [EDGE] * 3)
        np.testing.assert_allclose(read.positions, written.positions, atol=1e-5)
        np.testing.assert_allclose(read.velocities, written.velocities, rtol=1e-6)
        np.testing.assert_array_equal(
            read.observables["potential_energy"], written.observables["potential_energy"]
        )
        assert read.unit_of("potential_energy") == "eV"
        assert read.unit_of("torque") == "eV"
        assert read.metadata == written.metadata


def test_what_was_read_can_be_written_again_unchanged(tmp_path: Path) -> None:
    write_trajectory(tmp_path / "a.h5", [make_chunk()])
    write_trajectory(tmp_path / "b.h5", read_h5md(tmp_path / "a.h5"))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_same_frames_same_bytes_at_any_time(tmp_path: Path) -> None:
    digests = set()
    for name in ("first.h5", "second.h5"):
        write_trajectory(tmp_path / name, [make_chunk(), make_chunk(3, 200)])
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
        time.sleep(1.1)  # HDF5 time stamps count seconds
    assert len(digests) == 1


def test_mdanalysis_reads_h5md(tmp_path: Path) -> None:
    from MDAnalysis.coordinates.H5MD import H5MDReader

    chunk = make_chunk()
    write_trajectory(tmp_path / "t.h5", [chunk])
    reader = H5MDReader(str(tmp_path / "t.h5"))
    assert reader.n_frames == chunk.n_frames
    for k, ts in enumerate(reader):
        np.testing.assert_allclose(ts.positions, chunk.positions[k], atol=1e-5)
        np.testing.assert_allclose(ts.velocities, 1000 * chunk.velocities[k], rtol=1e-5)
        np.testing.assert_allclose(ts.dimensions, [EDGE] * 3 + [90] * 3)
        assert ts.time == pytest.approx(chunk.times_ps[k])
        assert ts.data["step"] == chunk.steps[k]
        assert ts.data["potential_energy"] == chunk.observables["potential_energy"][k]
    reader.close()


def test_general_and_changing_cells(tmp_path: Path) -> None:
    cells = (
        np.array([[9.0, 0, 0], [2.0, 8.0, 0], [1.0, -1.0, 9.5]])
        * np.linspace(1, 1.1, 5)[:, None, None]
    )
    chunk = replace(make_chunk(), cell=cells)
    write_trajectory(tmp_path / "t.h5", [chunk])
    (read,) = read_h5md(tmp_path / "t.h5")
    np.testing.assert_array_equal(read.cells, cells)
    growing = replace(make_chunk(), cell=np.eye(3) * np.linspace(9, 10, 5)[:, None, None])
    write_trajectory(tmp_path / "t.h5", [growing])
    (read,) = read_h5md(tmp_path / "t.h5")
    np.testing.assert_array_equal(read.cells, growing.cells)


@pytest.mark.parametrize("chunk_frames", [1, 3, 100])
@pytest.mark.parametrize("stride", [1, 2, 3, 50])
def test_stride_and_chunk_size(tmp_path: Path, stride: int, chunk_frames: int) -> None:
    chunk = make_chunk(11)
    write_trajectory(tmp_path / "t.h5", [chunk])
    ase.io.write(tmp_path / "t.extxyz", frames := make_frames(11))
    read = joined(read_h5md(tmp_path / "t.h5", stride=stride, chunk_frames=chunk_frames))
    np.testing.assert_allclose(read, chunk.positions[::stride], atol=1e-5)
    other = iterate_frames(tmp_path / "t.extxyz", stride=stride, chunk_frames=chunk_frames)
    chunks = list(other)
    expected = np.array([atoms.positions for atoms in frames])[::stride]
    np.testing.assert_allclose(joined(iter(chunks)), expected, atol=1e-7)
    np.testing.assert_array_equal(
        np.concatenate([c.steps for c in chunks]), np.arange(0, 11, stride)
    )


def test_writing_keeps_one_chunk_in_memory(tmp_path: Path) -> None:
    alive: list[weakref.ref[TrajectoryChunk]] = []

    def chunks() -> Iterator[TrajectoryChunk]:
        for k in range(6):
            chunk = make_chunk(first_step=1000 * k)
            alive.append(weakref.ref(chunk))
            assert sum(ref() is not None for ref in alive) <= 3  # the first, the last, the new one
            yield chunk

    assert write_trajectory(tmp_path / "t.h5", chunks()) == 30


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "t.h5"
    write_trajectory(target, [make_chunk()])
    before = target.read_bytes()

    def failing() -> Iterator[TrajectoryChunk]:
        yield make_chunk(seed=9)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_trajectory(target, failing())
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """In a process of its own, with files limited to 100 kB: HDF5 tends to crash at its end."""
    script = """
import resource, sys
from test_trajectory import make_chunk, write_trajectory
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_trajectory(sys.argv[1], (make_chunk(400, 10**5 * k) for k in range(1, 9)))
except Exception as error:
    print(type(error).__name__, error.exit_code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "t.h5")],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ExternalError 4\n", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (make_chunk(first_step=60), "must increase"),
        (replace(make_chunk(first_step=900), symbols=SYMBOLS[::-1]), "atoms change"),
        (replace(make_chunk(first_step=900), observables={}), "observables change"),
        (replace(make_chunk(first_step=900), velocities=None), "velocities"),
        (replace(make_chunk(first_step=900), times_ps=None), "times_ps is None"),
        (replace(make_chunk(first_step=900), cell=np.eye(3) + 0.1), "cell changes"),
    ],
)
def test_chunks_that_do_not_continue_are_refused(
    tmp_path: Path, second: TrajectoryChunk, message: str
) -> None:
    with pytest.raises(FrameError, match=message):
        write_trajectory(tmp_path / "t.h5", [make_chunk(), second])
    assert not list(tmp_path.iterdir())


def test_nothing_to_write_and_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="at least one frame"):
        write_trajectory(tmp_path / "t.h5", [])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        write_trajectory(tmp_path / "file" / "t.h5", [make_chunk()])


def test_chunks_check_themselves() -> None:
    chunk = make_chunk()
    wrong = chunk.positions.copy()
    wrong[3, 2, 1] = np.nan
    for changes, message in (
        ({"positions": wrong}, "step 80"),
        ({"positions": chunk.positions[:, 1:]}, "shape"),
        ({"symbols": ("OW", *SYMBOLS[1:])}, "OW"),
        ({"cell": np.zeros(3)}, "volume"),
        ({"cell": np.ones(2)}, "shape"),
        ({"units": {}}, "torque"),
    ):
        with pytest.raises(FrameError, match=message):
            replace(chunk, **changes)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_truncated_h5md_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "t.h5"
    write_trajectory(path, [make_chunk(400)])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(FrameError, match=r"t\.h5"):
        list(read_h5md(path))


def test_foreign_h5_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_group("h5md/creator").attrs["name"] = "LAMMPS"
    with pytest.raises(FrameError, match="topology"):
        list(iterate_frames(tmp_path / "t.h5"))


# --- other programs ---


def test_extended_xyz(tmp_path: Path) -> None:
    frames = make_frames()
    for k, atoms in enumerate(frames):
        atoms.info["time_ps"] = 0.25 * k
    ase.io.write(tmp_path / "t.extxyz", frames)
    (chunk,) = iterate_frames(tmp_path / "t.extxyz")
    np.testing.assert_allclose(chunk.positions, [a.positions for a in frames], atol=1e-7)
    np.testing.assert_array_equal(chunk.times_ps, 0.25 * np.arange(6))
    np.testing.assert_array_equal(chunk.cell, [EDGE] * 3)
    assert chunk.symbols == SYMBOLS


def test_times_are_unknown_unless_said(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "t.extxyz", make_frames())
    (chunk,) = iterate_frames(tmp_path / "t.extxyz")
    assert chunk.times_ps is None
    (chunk,) = iterate_frames(tmp_path / "t.extxyz", frame_interval_ps=0.1, stride=2)
    np.testing.assert_allclose(chunk.times_ps, [0, 0.2, 0.4])


def test_ase_trajectory_with_velocities(tmp_path: Path) -> None:
    import ase.units

    frames = make_frames()
    for atoms in frames:
        atoms.set_velocities(np.full((8, 3), 0.02 / ase.units.fs))
    ase.io.write(tmp_path / "t.traj", frames)
    (chunk,) = iterate_frames(tmp_path / "t.traj")
    np.testing.assert_allclose(chunk.positions, [a.positions for a in frames])
    np.testing.assert_allclose(chunk.velocities, 0.02)


@pytest.mark.parametrize(
    "columns",
    ["id type x y z", "id type xs ys zs", "type id xu yu zu", "id element x y z ix iy iz"],
)
def test_lammps_dump(tmp_path: Path, columns: str) -> None:
    frames = make_frames()
    for atoms in frames:
        atoms.positions += 3 * EDGE * (np.arange(8)[:, None] - 2)
    dump = write_dump(tmp_path / "t.lammpstrj", frames, columns=columns)
    (chunk,) = iterate_frames(dump, elements=TYPES)
    assert chunk.symbols == SYMBOLS
    np.testing.assert_array_equal(chunk.steps, 100 * np.arange(6))
    np.testing.assert_allclose(chunk.cell, [EDGE] * 3)
    expected = np.array([a.positions for a in frames])
    if not any(name in columns for name in ("xu", "ix")):
        expected = expected % EDGE
    shift = chunk.positions[0, 0] - expected[0, 0]
    if "xs" in columns:  # MDAnalysis shifts scaled coordinates by the box origin
        expected = expected + np.round(shift, 4)
    np.testing.assert_allclose(chunk.positions, expected, atol=2e-5)


def test_lammps_types_need_elements(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "dump.nvt", make_frames())
    with pytest.raises(FrameError, match=r"4, 2, 1|3, 4, 1, 2.*--element"):
        list(iterate_frames(dump))
    with pytest.raises(FrameError, match="names 4 are"):
        list(iterate_frames(dump, elements={"1": "O", "2": "H", "3": "Li"}))
    with pytest.raises(FrameError, match="no chemical elements"):
        list(iterate_frames(dump, elements={**TYPES, "4": "Chloride"}))


@pytest.mark.parametrize("lines_cut", [1, 8, 9, 16])
def test_truncated_lammps_dump_is_refused(tmp_path: Path, lines_cut: int) -> None:
    dump = write_dump(tmp_path / "t.dump", make_frames())
    lines = dump.read_text().splitlines(keepends=True)
    dump.write_text("".join(lines[:-lines_cut]))
    with pytest.raises(FrameError, match="frame 5: cut short"):
        list(iterate_frames(dump, elements=TYPES))


@pytest.mark.parametrize("suffix", ["dcd", "xtc", "trr"])
def test_binary_trajectories_with_a_topology(tmp_path: Path, suffix: str) -> None:
    frames = make_frames()
    ase.io.write(tmp_path / "top.xyz", frames[0], format="xyz")
    path = write_by_mdanalysis(tmp_path / f"t.{suffix}", frames)
    chunks = list(iterate_frames(path, topology=tmp_path / "top.xyz", chunk_frames=4))
    assert chunks[0].symbols == SYMBOLS
    precision = 0.006 if suffix == "xtc" else 1e-5
    np.testing.assert_allclose(joined(iter(chunks)), [a.positions for a in frames], atol=precision)
    np.testing.assert_allclose(chunks[0].cell, [EDGE] * 3, rtol=1e-6)
    if suffix != "dcd":
        np.testing.assert_allclose(np.concatenate([c.times_ps for c in chunks]), 0.5 * np.arange(6))
    with pytest.raises(FrameError, match="topology"):
        list(iterate_frames(path))


@pytest.mark.parametrize("suffix", ["xtc", "trr"])
def test_truncated_binary_trajectory_is_refused(tmp_path: Path, suffix: str) -> None:
    frames = [atoms.repeat((8, 1, 1)) for atoms in make_frames()]  # XTC compresses from 10 atoms
    ase.io.write(tmp_path / "top.xyz", frames[0], format="xyz")
    path = write_by_mdanalysis(tmp_path / f"t.{suffix}", frames)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FrameError, match=rf"t\.{suffix}"):
        list(iterate_frames(path, topology=tmp_path / "top.xyz", stride=4))


def test_names_that_are_no_elements(tmp_path: Path) -> None:
    path = tmp_path / "t.xyz"
    text = '3\nLattice="9 0 0 0 9 0 0 0 9"\nOW 0 0 0\nHW1 1 0 0\nCL 3 3 3\n'
    path.write_text(text * 2)
    with pytest.raises(FrameError, match=r"OW, HW1 are no chemical elements.*--element OW="):
        list(iterate_frames(path))
    (chunk,) = iterate_frames(path, elements={"OW": "O", "HW1": "H"})
    assert chunk.symbols == ("O", "H", "Cl")


def test_plain_xyz_needs_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "pos-1.xyz"
    path.write_text(" 2\n i = 0, time = 0.000, E = -17.1\n O 0 0 0\n H 1 0 0\n" * 3)
    with pytest.raises(FrameError, match="frame 0: no periodic cell"):
        list(iterate_frames(path))
    for cell in (10.0, np.full(3, 10.0), 10.0 * np.eye(3)):
        (chunk,) = iterate_frames(path, cell=cell)
        np.testing.assert_array_equal(chunk.cell, [10.0] * 3)
    with pytest.raises(InputError):
        list(iterate_frames(path, cell=0.0))


def test_cell_without_periodicity_is_no_cell(tmp_path: Path) -> None:
    frames = make_frames()
    for atoms in frames:
        atoms.pbc = (True, True, False)
    ase.io.write(tmp_path / "t.extxyz", frames)
    with pytest.raises(FrameError, match="no periodic cell"):
        list(iterate_frames(tmp_path / "t.extxyz"))


def test_every_cut_of_an_xyz_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.extxyz"
    ase.io.write(path, make_frames(3))
    content = path.read_bytes()
    frame = len(content) // 3
    for kept in range(2 * frame + 1, len(content), 7):
        path.write_bytes(content[:kept])
        with pytest.raises(FrameError, match=r"t\.extxyz"):
            list(iterate_frames(path, stride=2))


def test_blank_line_hides_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "t.extxyz"
    ase.io.write(path, make_frames(3))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:10], "\n", *lines[10:]]))
    with pytest.raises(FrameError, match="blank line"):
        list(iterate_frames(path))


def test_damaged_frames_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.extxyz"
    for change, message in (
        (lambda a: a.positions.__setitem__((4, 1), np.nan), "frame 2: positions hold NaN"),
        (lambda a: a.__delitem__(0), "frame 2: 7 atoms, 8 in the first"),
        (lambda a: a.symbols.__setitem__(0, "Na"), "frame 2: the atoms or their order"),
        (lambda a: a.set_cell(None), "frame 2: no periodic cell"),
    ):
        frames = make_frames(4)
        change(frames[2])
        ase.io.write(path, frames)
        with pytest.raises(FrameError, match=message):
            list(iterate_frames(path, chunk_frames=2))


@pytest.mark.parametrize("content", ["", "no trajectory\n", "\n\n"])
@pytest.mark.parametrize("suffix", ["xyz", "dump", "dcd", "h5", "unknown"])
def test_rubbish_is_refused(tmp_path: Path, content: str, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_text(content)
    with pytest.raises(FrameError):
        list(iterate_frames(path))


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "lammpstrj"])
def test_empty_files_are_called_empty(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(b"")
    with pytest.raises(FrameError, match="is empty"):
        list(iterate_frames(path))


def test_missing_files_and_wrong_strides(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(iterate_frames(tmp_path / "none.xyz"))
    ase.io.write(tmp_path / "t.xyz", make_frames())
    with pytest.raises(InputError, match="stride"):
        list(iterate_frames(tmp_path / "t.xyz", stride=0))
    with pytest.raises(InputError, match="topology"):
        list(iterate_frames(tmp_path / "t.xyz", topology=tmp_path / "none.gro"))
