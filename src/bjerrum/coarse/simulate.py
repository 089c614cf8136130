"""Ions in a continuum, many replicas of several solutions at once, measured as they run.

Only configurations count here: time is no time of the real solution. Masses are therefore free (all
ions get the same), steps long (BAOAB is exact for harmonic wells at any stable step), and every
replica is an independent block for the error bars. Memory holds a stretch of frames at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bjerrum.coarse.kernel import Engine
from bjerrum.coarse.moves import jump_ions
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.systems import IonBox, Sampling
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.properties.rdf import shell_volumes
from bjerrum.properties.structure_factor import LatticeShells, density_modes, lattice_shells
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2, PS_IN_FS, thermal_energy

BIN_WIDTH: Final = 0.05
FRAME_REACH: Final = 10.0
"""Angstrom to which pairs are also kept frame by frame, for the covariances of the polish."""
COLLAPSE: Final = 0.6
"""Angstrom inside the shortest distance of the data: the wall stands there at 1.4 eV."""
_CHUNK_FRAMES: Final = 200
JUMP_FRAMES: Final = 20
HEAT_STEPS: Final = 500
_MODES_EVERY: Final = 4
"""Frames of which one is measured for S(k): long waves change slowly, and many ions have many."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of one box.

    r         bin centres, angstrom, (n_bins,)
    counts    pairs found, (n_replicas, 3, n_bins): cc, ca, aa
    n_frames  of each replica
    shells    wave vectors
    modes     <rho_a rho_b*> of each replica, (n_replicas, 3, n_shells): cc, ca, aa
    pressure  osmotic, eV/angstrom^3, of each replica
    energy    eV, of each replica
    kinetic   kinetic temperature over the thermostat's, of each replica
    frames    last configuration of each replica, (n_replicas, n, 3)
    frame_counts  pairs of a thinned set of frames, all replicas, up to FRAME_REACH, (n, 3, n_bins)
    accepted  part of the Monte Carlo jumps; None where none were tried
    """

    box: IonBox
    r: FloatArray
    counts: IntArray
    n_frames: int
    shells: LatticeShells
    modes: FloatArray
    pressure: FloatArray
    energy: FloatArray
    kinetic: FloatArray
    frames: FloatArray
    frame_counts: FloatArray
    accepted: float | None = None

    def g(self, *, like_n_minus_1: bool = True) -> FloatArray:
        """Return the distribution functions of each replica, (n_replicas, 3, n_bins).

        like_n_minus_1  like pairs over the density of the N - 1 others, else of N
        """
        g = self.counts / (ideal_counts(self.box, self.r) * self.n_frames)
        if not like_n_minus_1:
            g[:, 0] *= (self.box.n_cations - 1) / self.box.n_cations
            g[:, 2] *= (self.box.n_anions - 1) / self.box.n_anions
        return np.asarray(g)


@dataclass
class _Replica:
    engine: Engine
    masses: FloatArray
    positions: FloatArray
    velocities: FloatArray
    random: IntArray
    closest: FloatArray
    counts: IntArray
    modes: FloatArray
    jumps: np.random.Generator
    accepted: list[int] = field(default_factory=lambda: [0, 0])
    sums: FloatArray = field(default_factory=lambda: np.zeros(4))
    frame_counts: list[IntArray] = field(default_factory=list)
    n_frames: int = 0


def simulate_ions(
    potential: CoarsePotential,
    boxes: Sequence[IonBox],
    sampling: Sampling,
    *,
    start: Sequence[FloatArray] | None = None,
    threads: int = 1,
    announce: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Measured]:
    """Run all replicas of all boxes and return what was measured of each box.

    start    positions to begin with, one array per box, for all replicas (n, 3) or for each
             (n_replicas, n, 3); default: a shaken lattice
    threads  replicas at once; the compiled engine runs outside Python's lock
    Raises PhysicsCheckFailed, which names the pair and the distance, where ions fall into a well
    inside the shortest distance of the training data.
    """
    work = [
        (box, _replica(potential, box, sampling, number, _start_of(start, index, number)))
        for index, box in enumerate(boxes)
        for number in range(sampling.replicas)
    ]
    shells = {box: lattice_shells(np.diag(box.edges)) for box in boxes}
    for box, replica in work:
        replica.modes = np.zeros((3, len(shells[box].k)))
    total, kt = len(work), thermal_energy(sampling.temperature)

    def one(item: tuple[IonBox, _Replica]) -> None:
        box, replica = item
        _run(potential, box, replica, sampling, shells[box])

    with ThreadPoolExecutor(threads) as pool:
        for done, _ in enumerate(pool.map(one, work), start=1):
            announce("Ions in a continuum", done, total)
    return [_measured(box, [r for b, r in work if b is box], shells[box], kt) for box in boxes]


def _start_of(start: Sequence[FloatArray] | None, index: int, number: int) -> FloatArray | None:
    if start is None:
        return None
    return start[index] if start[index].ndim == 2 else start[index][number]


def _replica(
    potential: CoarsePotential,
    box: IonBox,
    sampling: Sampling,
    number: int,
    start: FloatArray | None,
) -> _Replica:
    random = np.random.default_rng([sampling.seed, number, len(box.symbols)])
    engine = potential.engine(box.symbols, box.edges)
    positions = shaken_lattice(box, random) if start is None else np.array(start, dtype=float)
    masses = AMU_IN_EV_FS2_PER_ANGSTROM2 * sampling.masses_of(box.symbols)
    speed = np.sqrt(thermal_energy(sampling.temperature) / masses)[:, None]
    return _Replica(
        engine,
        masses,
        np.ascontiguousarray(positions),
        speed * random.standard_normal(positions.shape),
        random.integers(1, 2**63, 4, dtype=np.uint64),
        engine.new_closest(),
        np.zeros((engine.n_kinds, engine.n_kinds, n_bins(box.edge)), dtype=np.int64),
        np.zeros((3, 1)),
        random,
    )


def n_bins(edge: float) -> int:
    """Return the number of bins of g(r): to half the box plus 2 angstrom, as analyses need it."""
    return math.ceil((edge / 2 + 2.0) / BIN_WIDTH)


def shaken_lattice(box: IonBox, random: np.random.Generator) -> FloatArray:
    """Return ions at random on the sites of a simple cubic lattice, shaken a little."""
    n = len(box.symbols)
    side = math.ceil(n ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = grid[random.permutation(len(grid))[:n]]
    return np.asarray((chosen + random.uniform(-0.1, 0.1, (n, 3))) * box.edge / side)


def _run(
    potential: CoarsePotential,
    box: IonBox,
    replica: _Replica,
    sampling: Sampling,
    shells: LatticeShells,
) -> None:
    stride = max(1, round(sampling.frame_every_fs / sampling.timestep_fs))
    _heat(replica, sampling)
    equilibration = round(sampling.equilibration_ps * PS_IN_FS / sampling.timestep_fs)
    if equilibration:
        _advance(replica, sampling, equilibration, stride=max(1, equilibration))
    replica.closest[:] = np.inf
    left = max(1, round(sampling.time_ps * PS_IN_FS / (sampling.timestep_fs * stride)))
    while left > 0:
        n = min(left, JUMP_FRAMES if sampling.jumps else _CHUNK_FRAMES)
        frames, energies, kinetic = _advance(replica, sampling, n * stride, stride=stride)
        require_no_collapse(potential, box, replica.closest)
        _measure(replica, box, shells, frames, energies, kinetic)
        _jump(replica, box, sampling)
        left -= n


def _jump(replica: _Replica, box: IonBox, sampling: Sampling) -> None:
    trials = round(sampling.jumps * len(box.symbols))
    if trials:
        kt = thermal_energy(sampling.temperature)
        replica.accepted[0] += jump_ions(
            replica.engine, replica.positions, box.edges, kt, replica.jumps, trials
        )
        replica.accepted[1] += trials


def _heat(replica: _Replica, sampling: Sampling) -> None:
    """Let a lattice or a crystal find its feet: short steps, strong friction."""
    _advance(replica, sampling, HEAT_STEPS, stride=HEAT_STEPS, timestep=1.0, friction=50.0)


def _advance(
    replica: _Replica,
    sampling: Sampling,
    n_steps: int,
    *,
    stride: int,
    timestep: float | None = None,
    friction: float | None = None,
) -> tuple[NDArray[np.float32], FloatArray, FloatArray]:
    dt = sampling.timestep_fs if timestep is None else timestep
    per_ps = sampling.friction_per_ps if friction is None else friction
    return replica.engine.run(
        replica.positions,
        replica.velocities,
        replica.random,
        n_steps=n_steps,
        stride=stride,
        timestep=dt,
        keep=math.exp(-per_ps * dt / PS_IN_FS),
        half_kick=dt / (2 * replica.masses),
        thermal=np.sqrt(thermal_energy(sampling.temperature) / replica.masses),
        closest=replica.closest,
    )


def require_no_collapse(potential: CoarsePotential, box: IonBox, closest: FloatArray) -> None:
    """Raise PhysicsCheckFailed if a pair came further inside its data than the wall allows."""
    elements = potential.basis.elements
    shortest = closest.reshape(len(elements), len(elements))
    for index, (a, b) in enumerate(potential.basis.pairs):
        i, j = elements.index(a), elements.index(b)
        found = float(min(shortest[i, j], shortest[j, i]))
        if found < potential.start(index) - COLLAPSE:
            raise PhysicsCheckFailed(
                f"{a} and {b} came {found:.2f} angstrom close, where the training data of this "
                f"model end at {potential.start(index):.2f}: an unphysical well; train on frames "
                "with this pair in contact, or with a smaller many-body part"
            )


def _measure(
    replica: _Replica,
    box: IonBox,
    shells: LatticeShells,
    frames: NDArray[Any],
    energies: FloatArray,
    kinetic: FloatArray,
) -> None:
    n_c = box.n_cations
    for frame in frames:
        counts = np.zeros_like(replica.counts)
        replica.engine.count(frame[None], BIN_WIDTH, counts.shape[2], counts)
        replica.counts += counts
        replica.frame_counts.append(counts[:, :, : round(FRAME_REACH / BIN_WIDTH)].astype(np.int16))
    thin = frames[::_MODES_EVERY]
    fractional = thin / np.float32(box.edge)
    c = density_modes(fractional[:, :n_c], shells.vectors)
    a = density_modes(fractional[:, n_c:], shells.vectors)
    products = np.stack([(x * y.conj()).real for x, y in ((c, c), (c, a), (a, a))], axis=1)
    replica.modes += (np.add.reduceat(products, shells.starts, axis=2) / shells.multiplicity).sum(
        axis=0
    )
    replica.sums += (
        energies[:, 3].sum(),
        energies[:, :3].sum(),
        kinetic.sum(),
        len(thin),
    )
    replica.n_frames += len(frames)


def _measured(
    box: IonBox, replicas: Sequence[_Replica], shells: LatticeShells, kt: float
) -> Measured:
    n_frames = replicas[0].n_frames
    names = sorted({box.cation, box.anion})
    c, a = names.index(box.cation), names.index(box.anion)
    order = [(c, c), (min(c, a), max(c, a)), (a, a)]
    sums = np.array([replica.sums for replica in replicas])
    n_modes = sums[:, 3, None, None]
    sums = sums / n_frames
    volume = box.edge**3
    bins = replicas[0].counts.shape[2]
    return Measured(
        box=box,
        r=np.asarray((np.arange(bins) + 0.5) * BIN_WIDTH, np.float64),
        counts=np.array([[r.counts[i, j] for i, j in order] for r in replicas]),
        n_frames=n_frames,
        shells=shells,
        modes=np.array([r.modes for r in replicas]) / n_modes,
        pressure=sums[:, 0] / (3 * volume) + len(box.symbols) * kt / volume,
        energy=sums[:, 1],
        kinetic=sums[:, 2],
        frames=np.array([r.positions for r in replicas]),
        frame_counts=np.array(
            [[c[i, j] for i, j in order] for r in replicas for c in r.frame_counts], dtype=np.int16
        ),
        accepted=_accepted(replicas),
    )


def _accepted(replicas: Sequence[_Replica]) -> float | None:
    done, tried = np.sum([replica.accepted for replica in replicas], axis=0)
    return float(done / tried) if tried else None


def ideal_counts(box: IonBox, r: FloatArray) -> FloatArray:
    """Return the pairs that an ideal gas has in each bin, (3, n_bins), like pairs N (N - 1)/2."""
    width = r[1] - r[0]
    volumes = shell_volumes(np.append(r - width / 2, r[-1] + width / 2), box.edge)
    n_c, n_a = box.n_cations, box.n_anions
    pairs = np.array([n_c * (n_c - 1) / 2, n_c * n_a, n_a * (n_a - 1) / 2])
    return np.asarray(pairs[:, None] * volumes / box.edge**3)


__all__ = [
    "BIN_WIDTH",
    "FRAME_REACH",
    "IonBox",
    "Measured",
    "Sampling",
    "ideal_counts",
    "n_bins",
    "require_no_collapse",
    "shaken_lattice",
    "simulate_ions",
]
