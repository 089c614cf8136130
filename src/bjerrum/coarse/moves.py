"""Monte Carlo moves between stretches of dynamics: an ion jumps to a random place in the box.

    accept with probability min(1, exp(-(W_new - W_old)/k_B T))

The proposal is symmetric, so the Boltzmann distribution is kept (Metropolis and others, J. Chem.
Phys. 21, 1087 (1953)); velocities stay as they are. There is no water in the way, which makes jumps
into the gaps likely: pairs bound by a well that dynamics leave rarely part, and meet, at once.
"""

from __future__ import annotations

import math

import numpy as np

from bjerrum.coarse.kernel import Engine
from bjerrum.estimate import FloatArray


def jump_ions(
    engine: Engine,
    positions: FloatArray,
    edges: FloatArray,
    kt: float,
    random: np.random.Generator,
    n_trials: int,
) -> int:
    """Try jumps of single ions, in place; return how many were accepted.

    positions  angstrom, (n_ions, 3)
    kt         eV
    """
    energy, accepted = _energy(engine, positions), 0
    for _ in range(n_trials):
        ion = int(random.integers(len(positions)))
        old = positions[ion].copy()
        positions[ion] = edges * random.random(3)
        new = _energy(engine, positions)
        if new <= energy or random.random() < math.exp(-(new - energy) / kt):
            energy, accepted = new, accepted + 1
        else:
            positions[ion] = old
    return accepted


def _energy(engine: Engine, positions: FloatArray) -> float:
    parts = engine.forces(positions)[1]
    return parts["pair"] + parts["body"] + parts["reciprocal"]
