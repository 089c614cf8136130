"""Less noise per frame: zero-mean combinations of the water's forces, subtracted from an ion's.

The force that an all-atom configuration exerts on an ion is its mean force plus the kicks of the
nearest waters, ten times larger. For every vector field v that moves waters and no ion,

    < F . v + k_B T div v >_(ions fixed) = 0

(integrate exp(-U/k_B T) v by parts), so that multiples of these quantities may be added to the
force on an ion without changing its conditional mean: aggregation of forces over the hydration
shell (Kraemer et al., JPCL 14, 3970 (2023)), with the divergence that keeps it exact
for weights that depend on the configuration. With x = r/r the direction from the ion to the oxygen
of a water, F the force on the whole water, t the torque about its oxygen, m the direction of its
dipole and c(r) a smooth function, the fields and the quantities are, for component a,

    c e_a        (the water moves along a)           c F_a + k_B T c' x_a
    c x x_a      (it moves along the line)           c (F.x) x_a + k_B T (c' + 2 c/r) x_a
    c x X e_a    (it turns about its oxygen)         c (t X x)_a
    c m X e_a    (its dipole turns towards a)        c [(t X m)_a - 2 k_B T m_a]

The multiples are those that leave the least variance, by linear least squares over all frames:
a few dozen numbers against thousands of force components. Forces of constraints within a water
drop out of F and t; the water may be rigid or flexible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from bjerrum.coarse.basis import bumps, gather
from bjerrum.coarse.sources import ForceFrames
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray, IntArray

REACH: Final = 7.0
"""Angstrom: waters further away have no part."""
N_RADIAL: Final = 12
N_FIELDS: Final = 4
RARE: Final = 1e-2
"""Size of a radial function, over the largest of its field, below which its multiple is damped."""
RIDGE: Final = 1e-3
_NEAREST: Final = 1.4
"""Angstrom where the first radial function begins; no oxygen comes as close to an ion."""


@dataclass(frozen=True, eq=False)
class ControlVariates:
    """Multiples of the quantities of each kind of ion, (N_FIELDS * N_RADIAL,)."""

    multiples: dict[str, FloatArray]

    def reduce(self, frames: ForceFrames, temperature: float) -> ForceFrames:
        """Return the frames with less noise in the forces on the ions."""
        forces = frames.forces.copy()
        for element, multiples in self.multiples.items():
            ions = np.flatnonzero(np.array(frames.symbols) == element)
            for index in range(len(frames.positions)):
                quantities = zero_mean_quantities(frames, index, ions, temperature)
                forces[index, ions] -= np.einsum("iaq,q->ia", quantities, multiples)
        return ForceFrames(frames.symbols, frames.edges, frames.positions, forces, frames.blocks)


def water_molecules(symbols: tuple[str, ...]) -> IntArray:
    """Return the indices of O, H, H of every water, (n_waters, 3); InputError for another order."""
    oxygen = np.flatnonzero(np.array(symbols) == "O")
    waters = oxygen[:, None] + np.arange(3)
    if len(oxygen) and (
        waters.max() >= len(symbols)
        or any(symbols[k] != "H" for k in waters[:, 1:].ravel())
        or symbols.count("H") != 2 * len(oxygen)
    ):
        raise InputError("noise reduction needs every water as O, H, H in this order")
    return waters


def fit_control_variates(
    chunks: Iterable[ForceFrames], elements: tuple[str, ...], temperature: float
) -> ControlVariates:
    """Return the multiples that leave the least variance in the forces on each kind of ion.

    chunks  all-atom frames; a few hundred ion positions suffice
    """
    size = N_FIELDS * N_RADIAL
    normal = {e: np.zeros((size, size)) for e in elements}
    right = {e: np.zeros(size) for e in elements}
    for frames in chunks:
        for element in elements:
            ions = np.flatnonzero(np.array(frames.symbols) == element)
            for index in range(len(frames.positions)):
                columns = zero_mean_quantities(frames, index, ions, temperature).reshape(-1, size)
                normal[element] += columns.T @ columns
                right[element] += columns.T @ frames.forces[index, ions].ravel()
    return ControlVariates({e: solve_multiples(normal[e], right[e]) for e in elements})


def solve_multiples(normal: FloatArray, right: FloatArray) -> FloatArray:
    """Return the multiples, small where a radial function was hardly ever visited.

    Each function is scaled by its own size, or a hundredth of the largest of its field: without
    this floor a function inside the closest approach gets a multiple from a handful of waters and
    blows up in other frames.
    """
    own = np.diag(normal).reshape(N_FIELDS, N_RADIAL)
    largest = np.maximum(own.max(axis=1, keepdims=True), 1e-30)
    scale = np.sqrt(np.maximum(own, RARE * largest)).ravel()
    scaled = normal / np.outer(scale, scale) + RIDGE * np.eye(len(right))
    return np.asarray(np.linalg.solve(scaled, right / scale) / scale)


def zero_mean_quantities(
    frames: ForceFrames, index: int, ions: IntArray, temperature: float
) -> FloatArray:
    """Return the quantities of the module's table, (n_ions, 3, N_FIELDS * N_RADIAL), eV/angstrom.

    ions  indices of the ions
    """
    from bjerrum.units import thermal_energy

    kt = thermal_energy(temperature)
    waters = water_molecules(frames.symbols)
    positions, forces, edges = frames.positions[index], frames.forces[index], frames.edges[index]
    arms = positions[waters[:, 1:]] - positions[waters[:, :1]]
    arms -= edges * np.round(arms / edges)
    total = forces[waters].sum(axis=1)
    torque = np.cross(arms, forces[waters[:, 1:]]).sum(axis=1)
    dipole = arms.sum(axis=1)
    dipole /= np.linalg.norm(dipole, axis=1, keepdims=True)
    return _sum_over_waters(
        positions[ions], positions[waters[:, 0]], edges, (total, torque, dipole), kt
    )


def _sum_over_waters(
    ions: FloatArray,
    oxygens: FloatArray,
    edges: FloatArray,
    water: tuple[FloatArray, FloatArray, FloatArray],
    kt: float,
) -> FloatArray:
    line = oxygens[None] - ions[:, None]
    line -= edges * np.round(line / edges)
    distance = np.linalg.norm(line, axis=2)
    who, which = np.nonzero(distance < REACH)
    r = distance[who, which]
    x = line[who, which] / r[:, None]
    force, torque, dipole = (column[which] for column in water)
    c, slope = radial_functions(r)
    along = np.einsum("pa,pa->p", force, x)
    fields = (
        c[:, None] * force[:, :, None] + kt * slope[:, None] * x[:, :, None],
        (c * along[:, None] + kt * (slope + 2 * c / r[:, None]))[:, None] * x[:, :, None],
        c[:, None] * np.cross(torque, x)[:, :, None],
        c[:, None] * (np.cross(torque, dipole) - 2 * kt * dipole)[:, :, None],
    )
    return gather(who, len(ions), np.concatenate(fields, axis=2))


def radial_functions(r: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return cubic B-splines that vanish smoothly at REACH, and slopes, each (n, N_RADIAL)."""
    knots = np.linspace(_NEAREST, REACH, N_RADIAL + 4)
    return bumps(knots, r), bumps(knots, r, 1)
