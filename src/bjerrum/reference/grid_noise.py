"""The egg-box error of real-space grids, and how labels are freed of it.

An energy that is summed on a grid of spacing h changes by a periodic function when everything is
moved by less than h. Nearly all of it comes from the tight valence density of oxygen and fluorine,
each atom alone, and its largest waves are cos(2 pi u_x) + cos(2 pi u_y) + cos(2 pi u_z), u the
atom's position in units of the grid vectors. So

* averaging over translations that form a lattice cancels whole families of waves: two of them,
  none and (1/2, 1/2, 1/2), cancel every wave whose indices have an odd sum; four, the face-centred
  set, leave only waves whose indices are all odd or all even (docs/labels.md: measured);
* the net force, which the true forces do not have, is the sum of the atoms' egg-box forces, and is
  taken back from the atoms in proportion to the variances of their errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray

_SHIFTS: Final = {
    1: ((0.0, 0.0, 0.0),),
    2: ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
    4: ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
}

_ERROR_VARIANCE: Final = {"O": 1.0, "F": 1.0}
_SMALL_ERROR_VARIANCE: Final = 1e-3
"""Relative variances of the force error: measured for one LiCl in water at 800 to 1200 Ry, 20 to 35
meV/angstrom for O and 0.3 to 0.6 for H, Li and Cl."""


def grid_shifts(n: int) -> FloatArray:
    """Return the translations of an average over n, in units of the grid vectors, shape (n, 3).

    Raises InputError for other numbers than 1, 2 and 4.
    """
    if n not in _SHIFTS:
        raise InputError(f"translations: expected one of {', '.join(map(str, _SHIFTS))}, got {n}")
    return np.array(_SHIFTS[n])


def without_net_force(forces: FloatArray, symbols: Sequence[str]) -> FloatArray:
    """Return the forces nearest to those given that add up to zero.

    f_i - v_i / sum_j v_j * sum_j f_j: least squares under the constraint, v the variance of an
    atom's error. One element alone shares the net force equally.

    forces   eV/angstrom, shape (n_atoms, 3)
    symbols  elements
    """
    weights = np.array([_ERROR_VARIANCE.get(s, _SMALL_ERROR_VARIANCE) for s in symbols])
    return np.asarray(forces - np.outer(weights / weights.sum(), forces.sum(axis=0)))
