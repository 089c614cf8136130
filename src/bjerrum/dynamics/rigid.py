"""Langevin dynamics of rigid water under any forces: for potentials that learned from rigid water.

LFMiddle (Zhang, Liu et al., J. Phys. Chem. A 123, 6056 (2019)), with distances held by SHAKE
(Ryckaert, Ciccotti & Berendsen, J. Comput. Phys. 23, 327 (1977)) and velocities by RATTLE
(Andersen, J. Comput. Phys. 52, 24 (1983)), all waters at once:

    v += dt F/m;  x += dt v/2;  v = c v + sqrt((1 - c^2) kT/m) xi;  x += dt v/2,  c = exp(-gamma dt)

Waters are the first atoms, as O, H, H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.potential.protocol import ForceFunction
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2, BOLTZMANN

_BONDS: Final = ((0, 1), (0, 2), (1, 2))
_TOLERANCE: Final = 1e-9
_ITERATIONS: Final = 60
_HOT: Final = 3.0
"""Kinetic energy over that of free atoms at the temperature, at which a run is taken as lost."""


@dataclass(frozen=True)
class RigidWaters:
    """The geometry of the waters: squared distances O-H, O-H, H-H, angstrom^2, and their number."""

    n_waters: int
    squared: FloatArray

    @classmethod
    def of(cls, positions: FloatArray, n_waters: int) -> RigidWaters:
        """Take the geometry of the waters as they are; whole molecules, angstrom."""
        waters = positions[: 3 * n_waters].reshape(-1, 3, 3)
        squared = np.stack([((waters[:, i] - waters[:, j]) ** 2).sum(-1) for i, j in _BONDS], -1)
        return cls(n_waters, squared)

    def shake(self, new: FloatArray, old: FloatArray, masses: FloatArray) -> FloatArray:
        """Return positions with the waters' distances restored along the bonds of ``old``."""
        count = 3 * self.n_waters
        inverse = 1 / masses[:count].reshape(-1, 3)
        x, reference = new[:count].reshape(-1, 3, 3).copy(), old[:count].reshape(-1, 3, 3)
        for _ in range(_ITERATIONS):
            worst = 0.0
            for k, (i, j) in enumerate(_BONDS):
                bond, along = x[:, i] - x[:, j], reference[:, i] - reference[:, j]
                excess = (bond**2).sum(-1) - self.squared[:, k]
                worst = max(worst, float(np.abs(excess / self.squared[:, k]).max()))
                weight = 2 * (inverse[:, i] + inverse[:, j]) * (bond * along).sum(-1)
                shift = (excess / weight)[:, None] * along
                x[:, i] -= inverse[:, i, None] * shift
                x[:, j] += inverse[:, j, None] * shift
            if worst < _TOLERANCE:
                return np.concatenate([x.reshape(-1, 3), new[count:]])
        raise PhysicsCheckFailed("dynamics: the waters could not be held rigid; the run blew up")

    def rattle(self, velocities: FloatArray, x: FloatArray, masses: FloatArray) -> FloatArray:
        """Return velocities without the parts along the waters' bonds."""
        count = 3 * self.n_waters
        inverse = 1 / masses[:count].reshape(-1, 3)
        v, waters = velocities[:count].reshape(-1, 3, 3).copy(), x[:count].reshape(-1, 3, 3)
        bonds = np.stack([waters[:, i] - waters[:, j] for i, j in _BONDS], 1)
        along = np.stack([v[:, i] - v[:, j] for i, j in _BONDS], 1)
        rate = (bonds * along).sum(-1)
        matrix = np.empty((self.n_waters, 3, 3))
        for a, (i, j) in enumerate(_BONDS):
            for b, (k, m) in enumerate(_BONDS):
                factor = inverse[:, i] * (i == k) - inverse[:, i] * (i == m)
                factor = factor - inverse[:, j] * (j == k) + inverse[:, j] * (j == m)
                matrix[:, a, b] = factor * (bonds[:, a] * bonds[:, b]).sum(-1)
        lagrange = np.linalg.solve(matrix, rate[..., None])[..., 0]
        for a, (i, j) in enumerate(_BONDS):
            change = lagrange[:, a, None] * bonds[:, a]
            v[:, i] -= inverse[:, i, None] * change
            v[:, j] += inverse[:, j, None] * change
        return np.concatenate([v.reshape(-1, 3), velocities[count:]])


def rigid_langevin(
    positions: FloatArray,
    masses: FloatArray,
    forces: ForceFunction,
    n_waters: int,
    *,
    timestep_fs: float,
    n_steps: int,
    stride: int,
    temperature: float,
    friction_per_ps: float,
    seed: int | list[int],
) -> FloatArray:
    """Return the positions of every ``stride``-th step, shape (n_frames, n_atoms, 3), angstrom.

    positions  whole molecules, angstrom
    masses     amu
    Raises PhysicsCheckFailed if the run blows up.
    """
    waters, random = RigidWaters.of(positions, n_waters), np.random.default_rng(seed)
    mass = masses[:, None] * AMU_IN_EV_FS2_PER_ANGSTROM2
    thermal = np.sqrt(BOLTZMANN * temperature / mass)
    keep = np.exp(-friction_per_ps * timestep_fs / 1e3)
    kick = np.sqrt(1 - keep**2) * thermal
    x = positions.copy()
    v = waters.rattle(thermal * random.standard_normal(x.shape), x, masses)
    frames = []
    for step in range(1, n_steps + 1):
        found = forces(x).forces
        if not (np.isfinite(found).all() and np.abs(found).max() < 1e3):
            raise PhysicsCheckFailed(f"dynamics: the run blew up at step {step}")
        v = waters.rattle(v + timestep_fs * found / mass, x, masses)
        half = x + 0.5 * timestep_fs * v
        v = keep * v + kick * random.standard_normal(x.shape)
        v = waters.rattle(v, x, masses)
        if float((mass * v**2).sum()) > _HOT * v.size * BOLTZMANN * temperature:
            raise PhysicsCheckFailed(f"dynamics: the run blew up at step {step}: too hot")
        free = half + 0.5 * timestep_fs * v
        new = waters.shake(free, x, masses)
        v = v + (new - free) / timestep_fs
        x = new
        if step % stride == 0:
            frames.append(x.copy())
    return np.array(frames).reshape(-1, *positions.shape)
