"""Active learning: explore with a committee, label where it disagrees, stop when it pays no more.

Exploring is dynamics under the committee's mean, also hotter than the solution, also with an ion
pair pulled together. Of what it visits, frames are chosen one after another by disagreement times
distance from all frames that are there already, so that ten pictures of one event are not labelled
ten times. The method is that of Schran, Brezina & Marsalek, J. Chem. Phys. 153, 104105 (2020), with
farthest-point selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import vesin
from ase import Atoms

from bjerrum.dynamics.integrators import langevin_step, maxwell_boltzmann, start
from bjerrum.dynamics.rigid import rigid_langevin
from bjerrum.errors import FrameError, InputError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.frames import check_frame
from bjerrum.potential.committee import force_spread
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import Model
from bjerrum.potential.protocol import BoundSum, ForceFunction
from bjerrum.separations import PairSpring
from bjerrum.units import BOLTZMANN, EV_IN_MEV, PS_IN_FS

_REACH: Final = 6.0
_WIDTH: Final = 0.3
_HOT: Final = 3.0
"""Kinetic temperature over the target's at which a run is taken as lost."""


@dataclass(frozen=True)
class Exploration:
    """How a box is explored.

    time_ps, timestep_fs, frame_every_fs  of the dynamics
    temperature   K
    friction_per_ps  Langevin
    is_rigid      water is held rigid: the labels say nothing of its vibrations
    pull          distance in angstrom to which the nearest cation and anion are pulled; none: not
    """

    time_ps: float
    temperature: float
    is_rigid: bool
    timestep_fs: float = 1.0
    frame_every_fs: float = 50.0
    friction_per_ps: float = 10.0
    pull: float | None = None


def explore(model: Model, box: Atoms, how: Exploration, *, seed: int) -> list[Atoms]:
    """Return what dynamics under the model's mean visits; the frames before a blow-up if it does.

    A run that is lost before its first frame gives the configuration before that: nothing is
    learnt faster than what a young committee gets wrong at once.

    box  waters first, as O, H, H
    Raises PhysicsCheckFailed if not even one frame is sound.
    """
    symbols, cell = list(box.symbols), box.cell.array
    forces: ForceFunction = for_dynamics(model).potential.bind(symbols, cell)
    if how.pull is not None:
        spring = PairSpring(*nearest_pair(box, model), how.pull)
        forces = BoundSum({"model": forces, "spring": spring.bind(symbols, cell)})
    walk = _rigid_walk if how.is_rigid else _flexible_walk
    positions = walk(box, forces, how, seed)
    if len(positions) == 0:
        raise PhysicsCheckFailed(
            f"exploring at {how.temperature:.0f} K: the committee's first steps blew up; label "
            "more frames before the first round"
        )
    frames = []
    for x in positions:
        frame = Atoms(symbols, x, cell=cell, pbc=True)
        frame.wrap()
        frame.info = {"explored_temperature_K": how.temperature}
        if not _overlaps(frame):
            frames.append(frame)
    return frames


def _overlaps(frame: Atoms) -> bool:
    """Tell whether two nuclei are where no reference can label them."""
    try:
        check_frame(frame, "explored")
    except FrameError:
        return True
    return False


def nearest_pair(box: Atoms, model: Model) -> tuple[int, int]:
    """Return the closest cation and anion of a box, by the charges of the model's baseline."""
    charges = dict(model.baseline.charges)
    cations = [k for k, s in enumerate(box.symbols) if charges.get(s, 0) > 0]
    anions = [k for k, s in enumerate(box.symbols) if charges.get(s, 0) < 0]
    if not cations or not anions:
        raise InputError(f"pulling ions together needs a cation and an anion, got {box.symbols}")
    distance = np.array([[box.get_distance(i, j, mic=True) for j in anions] for i in cations])
    i, j = np.unravel_index(distance.argmin(), distance.shape)
    return cations[i], anions[j]


def _rigid_walk(box: Atoms, forces: ForceFunction, how: Exploration, seed: int) -> FloatArray:
    stride = max(1, round(how.frame_every_fs / how.timestep_fs))
    n_waters = list(box.symbols).count("O")
    frames: list[FloatArray] = []
    x = whole(box, n_waters)
    for part in range(max(1, round(how.time_ps * PS_IN_FS / (stride * how.timestep_fs)))):
        try:
            (x,) = rigid_langevin(
                x,
                box.get_masses(),
                forces,
                n_waters,
                timestep_fs=how.timestep_fs,
                n_steps=stride,
                stride=stride,
                temperature=how.temperature,
                friction_per_ps=how.friction_per_ps,
                seed=[seed, part],
            )
        except PhysicsCheckFailed:
            if part == 0 and stride > 1:
                every_step = replace(how, frame_every_fs=how.timestep_fs)
                return _rigid_walk(box, forces, every_step, seed)[-1:]
            break
        frames.append(x)
    return np.array(frames).reshape(-1, len(box), 3)


def _flexible_walk(box: Atoms, forces: ForceFunction, how: Exploration, seed: int) -> FloatArray:
    random, masses = np.random.default_rng(seed), box.get_masses()
    velocities = maxwell_boltzmann(masses, how.temperature, random)
    state = start(box.positions.copy(), velocities, masses, forces)
    stride = max(1, round(how.frame_every_fs / how.timestep_fs))
    limit = _HOT * start_energy(len(box), how.temperature)
    frames: list[FloatArray] = []
    for step in range(1, round(how.time_ps * PS_IN_FS / how.timestep_fs) + 1):
        before = state.positions
        state = langevin_step(
            state,
            masses,
            forces,
            timestep=how.timestep_fs,
            friction=how.friction_per_ps / PS_IN_FS,
            temperature=how.temperature,
            noise=random.standard_normal(state.positions.shape),
        )
        if not state.kinetic_energy < limit:
            frames = frames or [before][: step - 1]
            break
        if step % stride == 0:
            frames.append(state.positions.copy())
    return np.array(frames).reshape(-1, len(box), 3)


def start_energy(n_atoms: int, temperature: float) -> float:
    """Return the mean kinetic energy of n atoms, 3 n kT / 2, eV."""
    return 1.5 * n_atoms * BOLTZMANN * temperature


def whole(box: Atoms, n_waters: int) -> FloatArray:
    """Return the positions with every water whole, shape (n_atoms, 3), angstrom."""
    x, cell = box.positions.copy(), box.cell.array
    waters = x[: 3 * n_waters].reshape(-1, 3, 3)
    arms = waters - waters[:, :1]
    arms -= np.round(arms @ np.linalg.inv(cell)) @ cell
    x[: 3 * n_waters] = (waters[:, :1] + arms).reshape(-1, 3)
    return x


def disagreement(model: Model, frames: Sequence[Atoms]) -> FloatArray:
    """Return the largest spread of the members' forces on an atom of each frame, (n,), eV/angstrom.

    The standard deviation over the members, see :func:`bjerrum.potential.committee.force_spread`.
    """
    found, members = [], [for_dynamics(member).potential for member in model.members]
    for frame in frames:
        symbols, cell = list(frame.symbols), frame.cell.array
        forces = [m.bind(symbols, cell)(frame.positions).forces for m in members]
        found.append(float(force_spread(forces).max()))
    return np.array(found)


def fingerprints(frames: Sequence[Atoms], species: Sequence[str]) -> FloatArray:
    """Return a vector of each frame that says how its ions are surrounded, shape (n, n_features).

    For every pair of a kind of ion and an element: the distances up to 6 angstrom as a histogram of
    Gaussians of width 0.3, divided by the number of ions. Frames that differ by a shift, a
    turn or the names of equal atoms have the same vector.

    species  the kinds of ions
    """
    elements = sorted({s for frame in frames for s in frame.symbols})
    centres = np.arange(1.5, _REACH, _WIDTH)
    search = vesin.NeighborList(cutoff=_REACH, full_list=True)
    rows = []
    for frame in frames:
        symbols = np.array(frame.get_chemical_symbols())
        first, second, distance = search.compute(
            frame.positions, frame.cell.array, periodic=True, quantities="ijd"
        )
        row = []
        for ion in species:
            n_ions = max(1, int((symbols == ion).sum()))
            for element in elements:
                near = distance[(symbols[first] == ion) & (symbols[second] == element)]
                bell = np.exp(-0.5 * ((near[:, None] - centres) / _WIDTH) ** 2)
                row.append(bell.sum(0) / n_ions)
        rows.append(np.concatenate(row))
    return np.array(rows)


def choose(spread: FloatArray, vectors: FloatArray, known: FloatArray, n: int) -> list[int]:
    """Return the indices of n frames, by disagreement times distance from all that is there.

    Greedy: each frame taken maximises s_i min_j |v_i - v_j| over the known frames and those taken
    before it; without any known frame the first is that of the largest spread.

    spread   s, (n_candidates,)
    vectors  v, (n_candidates, n_features)
    known    vectors of the frames that are labelled, (n_known, n_features)
    """
    taken: list[int] = []
    if len(spread) == 0:
        return taken
    apart = np.full(len(spread), np.inf)
    for vector in known:
        apart = np.minimum(apart, np.linalg.norm(vectors - vector, axis=1))
    for _ in range(min(n, len(spread))):
        distance = np.where(np.isfinite(apart), apart, 1.0)
        score = spread * distance
        score[taken] = -1.0
        best = int(score.argmax())
        if score[best] <= 0:
            break
        taken.append(best)
        apart = np.minimum(apart, np.linalg.norm(vectors - vectors[best], axis=1))
    return taken


@dataclass(frozen=True)
class Round:
    """What a round of learning has come to.

    disagreement  mean over the frames explored of the largest spread, eV/angstrom
    error         force RMSE on held-out blocks, eV/angstrom
    """

    disagreement: float
    error: float

    def __str__(self) -> str:
        return (
            f"disagreement {EV_IN_MEV * self.disagreement:.0f}, held-out error "
            f"{EV_IN_MEV * self.error:.0f} meV/angstrom"
        )


def should_stop(rounds: Sequence[Round], least_gain: float) -> bool:
    """Tell whether the last round lowered neither disagreement nor error by ``least_gain``.

    least_gain  relative to the round before, such as 0.05
    """
    if len(rounds) < 2:
        return False
    before, last = rounds[-2:]
    return (
        last.disagreement > (1 - least_gain) * before.disagreement
        and last.error > (1 - least_gain) * before.error
    )
