"""The compiled engine: ``engine.c`` beside this file, built once with the machine's C compiler.

Pairs through a table on a Verlet list, three-body terms by moments of the neighbours, the
reciprocal part of the Ewald sum by products of one-dimensional phases (real and reciprocal space
balanced for 50 to 1000 ions), and the BAOAB integrator around them, all in one call per stretch of
a trajectory: at 50 ions a step takes tens of microseconds, which no call from Python would leave.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bjerrum.coarse.reciprocal import Mesh
from bjerrum.errors import ExternalError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.files import atomic_path, sha256_of
from bjerrum.potential.fused.compiler import processor

SOURCE: Final = Path(__file__).with_name("engine.c")
_PARTS: Final = (SOURCE, SOURCE.with_name("mesh.h"), SOURCE.with_name("network.h"))
_FLAGS: Final = ("-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-fPIC")
"""Of the compilation alone: linked with ``-ffast-math``, by gcc before 13, the engine would set the
whole process to flush subnormal numbers to zero when it is loaded."""
_Double = ctypes.POINTER(ctypes.c_double)
_Int = ctypes.POINTER(ctypes.c_int64)
_Float = ctypes.POINTER(ctypes.c_float)
_TYPES: Final = {
    np.dtype(np.int64): _Int,
    np.dtype(np.float64): _Double,
    np.dtype(np.float32): _Float,
}


class _Setup(ctypes.Structure):
    _fields_ = (
        ("n", ctypes.c_int64),
        ("n_kinds", ctypes.c_int64),
        ("kind", _Int),
        ("charge", _Double),
        ("edges", _Double),
        ("cutoff", ctypes.c_double),
        ("skin", ctypes.c_double),
        ("n_table", ctypes.c_int64),
        ("table", _Float),
        ("n_radial", ctypes.c_int64),
        ("body_start", ctypes.c_double),
        ("body_step", ctypes.c_double),
        ("body_cutoff", ctypes.c_double),
        ("weights", _Double),
        ("n_vectors", ctypes.c_int64),
        ("vectors", _Int),
        ("k_factor", _Double),
        ("k_virial", _Double),
        ("self_energy", ctypes.c_double),
        ("n_max", ctypes.c_int64 * 3),
        ("mesh_points", ctypes.c_int64 * 3),
        ("mesh_reach", ctypes.c_int64 * 3),
        ("mesh_influence", _Double),
        ("mesh_virial", _Double),
        ("network_evaluate", ctypes.c_void_p),
        ("n_networks", ctypes.c_int64),
        ("network_handles", ctypes.POINTER(ctypes.c_void_p)),
        ("network_type", ctypes.POINTER(ctypes.c_int32)),
        ("network_reach", ctypes.c_double),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundNetworks:
    """Compiled networks of one system; see ``network_t`` in ``network.h``.

    evaluate  address of the compiled function
    handles   one per network, of this engine alone
    types     index of each ion's element, (n,)
    cutoff    angstrom
    owner     what keeps library and handles alive
    """

    evaluate: int
    handles: tuple[int, ...]
    types: NDArray[np.int32]
    cutoff: float
    owner: Any


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What the compiled engine needs to know of one system; see ``setup_t`` in ``engine.c``."""

    kind: IntArray
    charge: FloatArray
    edges: FloatArray
    cutoff: float
    skin: float
    table: FloatArray
    n_radial: int
    body_start: float
    body_step: float
    body_cutoff: float
    weights: FloatArray
    vectors: IntArray
    k_factor: FloatArray
    k_virial: FloatArray
    self_energy: float
    mesh: Mesh | None = None
    networks: BoundNetworks | None = None


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """Return the compiled engine, built at the first use; ExternalError without a C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ExternalError(
            "the engine for coarse-grained ions is compiled at its first use, and no C compiler "
            "was found; install one (on Debian: apt-get install gcc)"
        )
    of = [*(sha256_of(part) for part in _PARTS), compiler, *_FLAGS, processor()]
    code = hashlib.sha256("\n".join(of).encode()).hexdigest()[:24]
    path = _cache() / f"coarse-{code}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not path.is_file():
        with atomic_path(path) as temporary:
            unit = f"{temporary}.o"
            try:
                _call([compiler, *_FLAGS, "-c", str(SOURCE), "-o", unit])
                _call([compiler, "-shared", unit, "-o", str(temporary), "-lm"])
            finally:
                Path(unit).unlink(missing_ok=True)
    return ctypes.CDLL(str(path))


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExternalError(f"{command[0]} cannot compile {SOURCE}: {done.stderr.strip()}")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "bjerrum"


def _pointer(array: Any, kind: Any) -> Any:
    return array.ctypes.data_as(kind)


class Engine:
    """The compiled engine for one system.

    Arrays of the parameters are kept alive here for as long as the C code may read them.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.n = len(parameters.kind)
        self.n_kinds = int(np.sqrt(len(parameters.table)))
        self._library = library()
        self._held = {
            name: np.ascontiguousarray(getattr(parameters, name), dtype=dtype)
            for name, dtype in _ARRAYS.items()
        }
        self._kept: list[Any] = []
        self._setup = self._fill()

    def _fill(self) -> _Setup:
        p, setup = self.parameters, _Setup()
        setup.n, setup.n_kinds = self.n, self.n_kinds
        for name, array in self._held.items():
            setattr(setup, name, _pointer(array, _TYPES[array.dtype]))
        for name in ("cutoff", "skin", "body_start", "body_step", "body_cutoff", "self_energy"):
            setattr(setup, name, float(getattr(p, name)))
        setup.n_table, setup.n_radial = p.table.shape[1], p.n_radial
        setup.n_vectors = len(p.vectors)
        self._fill_mesh(setup)
        self._fill_networks(setup)
        setup.n_max[:] = [int(np.abs(p.vectors[:, a]).max(initial=0)) for a in range(3)]
        return setup

    def _fill_mesh(self, setup: _Setup) -> None:
        mesh = self.parameters.mesh
        if mesh is None:
            return
        setup.mesh_points[:], setup.mesh_reach[:] = mesh.points, mesh.reach
        for name in ("influence", "virial"):
            array = np.ascontiguousarray(getattr(mesh, name), dtype=np.float64)
            self._kept.append(array)
            setattr(setup, f"mesh_{name}", _pointer(array, _Double))

    def _fill_networks(self, setup: _Setup) -> None:
        networks = self.parameters.networks
        if networks is None:
            return
        handles = (ctypes.c_void_p * len(networks.handles))(*networks.handles)
        types = np.ascontiguousarray(networks.types, dtype=np.int32)
        self._kept += [handles, types, networks.owner]
        setup.network_evaluate, setup.n_networks = networks.evaluate, len(handles)
        setup.network_handles = handles
        setup.network_type = _pointer(types, ctypes.POINTER(ctypes.c_int32))
        setup.network_reach = networks.cutoff + self.parameters.skin

    def forces(self, positions: FloatArray) -> tuple[FloatArray, dict[str, float]]:
        """Return the forces (eV/angstrom) and energies (eV): pair, body, reciprocal, virial.

        "pair" holds the real-space part of the Coulomb energy, "reciprocal" its rest.
        """
        x = np.ascontiguousarray(positions, dtype=np.float64)
        forces, energies, closest = np.empty_like(x), np.empty(4), self.new_closest()
        failed = self._library.coarse_forces(
            ctypes.byref(self._setup),
            *(_pointer(a, _Double) for a in (x, forces, energies, closest)),
        )
        _require_memory(failed)
        names = ("pair", "body", "reciprocal", "virial")
        return forces, dict(zip(names, map(float, energies), strict=True))

    def new_closest(self) -> FloatArray:
        """Return the array in which runs note the shortest distance of each pair of kinds."""
        return np.full(self.n_kinds**2, np.inf)

    def run(
        self,
        positions: FloatArray,
        velocities: FloatArray,
        random: IntArray,
        *,
        n_steps: int,
        stride: int,
        timestep: float,
        keep: float,
        half_kick: FloatArray,
        thermal: FloatArray,
        closest: FloatArray,
    ) -> tuple[NDArray[np.float32], FloatArray, FloatArray]:
        """Advance positions, velocities and the state of the random numbers in place.

        Returns frames (n_frames, n, 3) float32, energies (n_frames, 4) and kinetic temperatures
        over the thermostat's. Raises PhysicsCheckFailed if the dynamics explode.
        """
        n_frames = n_steps // stride
        frames = np.empty((n_frames, self.n, 3), dtype=np.float32)
        energies, kinetic = np.empty((n_frames, 4)), np.empty(n_frames)
        failed = self._library.coarse_run(
            ctypes.byref(self._setup),
            _pointer(positions, _Double),
            _pointer(velocities, _Double),
            _pointer(random, ctypes.POINTER(ctypes.c_uint64)),
            ctypes.c_int64(n_steps),
            ctypes.c_int64(stride),
            ctypes.c_double(timestep),
            ctypes.c_double(keep),
            _pointer(half_kick, _Double),
            _pointer(thermal, _Double),
            _pointer(frames, ctypes.POINTER(ctypes.c_float)),
            _pointer(energies, _Double),
            _pointer(kinetic, _Double),
            _pointer(closest, _Double),
        )
        if failed == 2:
            raise PhysicsCheckFailed(
                f"coarse-grained dynamics broke down at a time step of {timestep:g} fs; use a "
                "shorter one, or train on more frames"
            )
        _require_memory(failed)
        return frames, energies, kinetic

    def count(self, frames: FloatArray, width: float, n_bins: int, counts: IntArray) -> None:
        """Add the distances of frames to ``counts``, (n_kinds, n_kinds, n_bins), upper triangle."""
        frames = np.ascontiguousarray(frames, dtype=np.float32)
        self._library.coarse_count(
            ctypes.c_int64(self.n),
            ctypes.c_int64(self.n_kinds),
            self._setup.kind,
            self._setup.edges,
            ctypes.c_int64(len(frames)),
            _pointer(frames, ctypes.POINTER(ctypes.c_float)),
            ctypes.c_double(width),
            ctypes.c_int64(n_bins),
            _pointer(counts, _Int),
        )


_ARRAYS: Final = {
    "kind": np.int64,
    "charge": np.float64,
    "edges": np.float64,
    "table": np.float32,
    "weights": np.float64,
    "vectors": np.int64,
    "k_factor": np.float64,
    "k_virial": np.float64,
}


def _require_memory(failed: int) -> None:
    if failed:
        raise MemoryError("the coarse-grained engine ran out of memory")
