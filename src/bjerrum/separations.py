"""Configurations of one ion pair in a little water, from contact to apart: frames worth labelling.

A trained potential samples; a harmonic spring on the cation-anion distance visits the separations
that a free run of picoseconds would not. The bias only chooses which configurations are labelled:
the labels themselves are of the configuration without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.optimize import FIRE

from bjerrum.boxes import build_box
from bjerrum.dynamics.integrators import langevin_step, maxwell_boltzmann, start
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.calculator import BoundCalculator
from bjerrum.potential.protocol import BoundSum, ForceFunction, Potential
from bjerrum.reference.classical import derived_seed
from bjerrum.system import Solution
from bjerrum.units import BOLTZMANN

SPRING_EV_PER_ANGSTROM2: Final = 1.0
"""At 298 K the distance scatters by 0.16 angstrom about its target."""

_TIMESTEP_FS: Final = 0.5
_FRICTION_PER_FS: Final = 0.02
_RELAX_STEPS: Final = 200
_RELAXED_EV_PER_ANGSTROM: Final = 0.5
_SANE_KELVIN: Final = 3.0
"""Times the temperature asked for: above it the dynamics has gone wrong."""


@dataclass(frozen=True)
class PairSpring:
    """k/2 (d - d0)^2 on the nearest-image distance of two atoms.

    first, second  indices
    target         d0, angstrom
    strength       k, eV/angstrom^2
    """

    first: int
    second: int
    target: float
    strength: float = SPRING_EV_PER_ANGSTROM2

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        edges = np.diag(cell)

        def evaluate(positions: FloatArray) -> Evaluation:
            vector = positions[self.second] - positions[self.first]
            vector = vector - edges * np.round(vector / edges)
            distance = float(np.linalg.norm(vector))
            stretch = distance - self.target
            forces = np.zeros_like(positions)
            forces[self.first] = self.strength * stretch * vector / distance
            forces[self.second] = -forces[self.first]
            return Evaluation(0.5 * self.strength * stretch**2, forces)

        return evaluate


def sample_separations(
    potential: Potential,
    solution: Solution,
    n_waters: int,
    *,
    n_frames: int,
    separations: tuple[float, float],
    settle_ps: float,
    seed: int,
    announce: Callable[[str, int, int], None],
) -> list[Atoms]:
    """Return one frame of each of ``n_frames`` independent boxes of one ion pair.

    Each box is packed anew, relaxed, and run at the solution's temperature (BAOAB) with the
    cation-anion distance tied to its target; targets are spread evenly over the range.

    separations  first and last target, angstrom; the last at most half the body diagonal
    settle_ps    length of each run
    Frames carry ``block`` (each its own: they are independent), ``seed``, and the distance
    reached, ``separation_angstrom``. Raises InputError for impossible ranges or a solution with
    more than one ion pair in the box.
    """
    edge = solution.box_edge(n_waters)
    near, far = separations
    if not 1.0 < near <= far <= edge * np.sqrt(3) / 2:
        raise InputError(
            f"separations: expected 1 < first <= last <= {edge * np.sqrt(3) / 2:.2f} angstrom "
            f"(half the body diagonal of the box), got {near:g} to {far:g}"
        )
    salt = solution.salt
    if solution.n_formula_units(n_waters) != 1 or salt.n_cations * salt.n_anions != 1:
        raise InputError(
            f"expected a box of one cation and one anion, got {solution.atom_counts(n_waters)}; "
            f"lower the number of waters or the molality"
        )
    frames = []
    for index, target in enumerate(np.linspace(near, far, n_frames)):
        box = build_box(solution, n_waters, seed=derived_seed(seed, index), tolerance_angstrom=1.8)
        frames.append(_settled(potential, box, solution, float(target), settle_ps, seed + index))
        announce("Sampling", index + 1, n_frames)
    return frames


def _settled(
    potential: Potential, box: Atoms, solution: Solution, target: float, time_ps: float, seed: int
) -> Atoms:
    cation, anion = len(box) - 2, len(box) - 1
    symbols, cell = box.get_chemical_symbols(), box.cell.array
    forces = BoundSum(
        {
            "model": potential.bind(symbols, cell),
            "spring": PairSpring(cation, anion, target).bind(symbols, cell),
        }
    )
    box.calc = BoundCalculator(forces)
    FIRE(box, logfile=None).run(fmax=_RELAXED_EV_PER_ANGSTROM, steps=_RELAX_STEPS)
    random = np.random.default_rng(seed)
    masses, temperature = box.get_masses(), solution.temperature
    velocities = maxwell_boltzmann(masses, temperature, random)
    state = start(box.positions.copy(), velocities, masses, forces)
    for _ in range(round(time_ps * 1e3 / _TIMESTEP_FS)):
        state = langevin_step(
            state,
            masses,
            forces,
            timestep=_TIMESTEP_FS,
            friction=_FRICTION_PER_FS,
            temperature=temperature,
            noise=random.standard_normal(state.positions.shape),
        )
    kinetic = 2 * state.kinetic_energy / (3 * len(box) * BOLTZMANN)
    if not kinetic < _SANE_KELVIN * temperature:
        raise PhysicsCheckFailed(f"sampling at {target:.2f} angstrom blew up ({kinetic:.0f} K)")
    frame = Atoms(symbols, state.positions, cell=cell, pbc=True)
    frame.wrap()
    distance = float(frame.get_distance(cation, anion, mic=True))
    frame.info = {**box.info, "block": f"{seed}", "separation_angstrom": round(distance, 3)}
    return frame
