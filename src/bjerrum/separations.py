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
import vesin
from ase import Atoms
from ase.optimize import FIRE

from bjerrum.boxes import build_box
from bjerrum.dynamics.integrators import langevin_step, maxwell_boltzmann, start
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.estimate import Evaluation, FloatArray, IntArray
from bjerrum.frames import broken_waters
from bjerrum.potential.calculator import BoundCalculator
from bjerrum.potential.protocol import BoundSum, ForceFunction, Potential
from bjerrum.reference.classical import derived_seed
from bjerrum.system import Solution
from bjerrum.units import BOLTZMANN

SPRING_EV_PER_ANGSTROM2: Final = 1.0
"""At 298 K the distance scatters by 0.16 angstrom about its target."""

WALL_EV_PER_ANGSTROM2: Final = 20.0

CLOSEST_ANGSTROM: Final = {
    "O-O": 2.35,
    "H-O": 1.35,
    "H-H": 1.45,
    "Cl-O": 2.65,
    "Cl-H": 1.65,
    "Cl-Cl": 3.0,
    "Li-O": 1.65,
    "H-Li": 1.9,
    "Li-Li": 2.3,
    "Cl-Li": 1.95,
}
"""Between molecules; 0.1 to 0.2 angstrom below where g(r) of the published LiCl runs begins
(arXiv:2310.12535). Pairs that are not named have no wall."""

_BONDED_ANGSTROM: Final = 2.0
"""Atoms of one molecule farther apart than this are periodic images."""

_TIMESTEP_FS: Final = 0.5
_FRICTION_PER_FS: Final = 0.02
_RELAX_STEPS: Final = 200
_RELAXED_EV_PER_ANGSTROM: Final = 0.5
_SANE_DEPTH_ANGSTROM: Final = 0.3
_ATTEMPTS: Final = 4
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


@dataclass(frozen=True)
class ContactWall:
    """k/2 (r0 - r)^2 for atoms of different molecules closer than r0, all periodic images.

    Networks know no contacts shorter than those they were trained on, and packing leaves such
    contacts across the faces of a small box: without a wall they become wells. Distances r0 are
    below the closest of liquid configurations, so that sound configurations feel nothing.

    molecules  shape (n_atoms,): the molecule that each atom belongs to
    """

    molecules: IntArray
    strength: float = WALL_EV_PER_ANGSTROM2

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> ForceFunction:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        search = vesin.NeighborList(cutoff=max(CLOSEST_ANGSTROM.values()), full_list=False)
        closest = np.array([[closest_contact(a, b) for b in symbols] for a in symbols])

        def evaluate(positions: FloatArray) -> Evaluation:
            first, second, vectors = search.compute(
                positions, cell, periodic=True, quantities="ijD"
            )
            distance = np.linalg.norm(vectors, axis=1)
            depth = closest[first, second] - distance
            same_molecule = self.molecules[first] == self.molecules[second]
            depth = np.where(same_molecule & (distance < _BONDED_ANGSTROM), 0.0, depth.clip(min=0))
            pull = (self.strength * depth / distance)[:, None] * vectors
            forces = np.zeros_like(positions)
            np.add.at(forces, second, pull)
            np.add.at(forces, first, -pull)
            return Evaluation(float(0.5 * self.strength * np.sum(depth**2)), forces)

        return evaluate


def closest_contact(first: str, second: str) -> float:
    """Return the distance below which two atoms of different molecules never are, angstrom."""
    return CLOSEST_ANGSTROM.get("-".join(sorted((first, second))), 0.0)


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

    Each box is packed anew, relaxed with walls against overlaps, and run at the solution's
    temperature (BAOAB) with the cation-anion distance tied to its target; targets are spread
    evenly over the range.

    separations  first and last target, angstrom; the last at most half the body diagonal
    settle_ps    length of each run
    Frames carry ``block`` (each its own: they are independent), ``seed``, and the distance
    reached, ``separation_angstrom``. A box in which a water molecule has broken is packed anew; how
    many were is told by ``boxes_with_broken_water``. Raises InputError for impossible ranges or a
    solution with more than one ion pair in the box, PhysicsCheckFailed if the model is unfit.
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
        for attempt in range(_ATTEMPTS):
            own = derived_seed(seed, index + n_frames * attempt)
            box = build_box(solution, n_waters, seed=own, tolerance_angstrom=1.8)
            frame = _settled(potential, box, solution, float(target), settle_ps, seed + index)
            if not broken_waters(frame):
                break
        else:
            raise PhysicsCheckFailed(
                f"sampling at {target:.2f} angstrom broke a water molecule in each of "
                f"{_ATTEMPTS} boxes; the model is wrong there: check it, or choose another seed"
            )
        frame.info["boxes_with_broken_water"] = attempt
        frames.append(frame)
        announce("Sampling", index + 1, n_frames)
    return frames


def _settled(
    potential: Potential, box: Atoms, solution: Solution, target: float, time_ps: float, seed: int
) -> Atoms:
    cation, anion = len(box) - 2, len(box) - 1
    symbols, cell = box.get_chemical_symbols(), box.cell.array
    n_waters = int(box.info["n_waters"])
    ions = range(n_waters, n_waters + len(box) - 3 * n_waters)
    molecules = np.array([*np.repeat(np.arange(n_waters), 3), *ions])
    forces = BoundSum(
        {
            "model": potential.bind(symbols, cell),
            "wall": ContactWall(molecules).bind(symbols, cell),
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
    depth = float(np.sqrt(2 * state.evaluation.terms["wall"] / WALL_EV_PER_ANGSTROM2))
    if depth > _SANE_DEPTH_ANGSTROM:
        raise PhysicsCheckFailed(
            f"sampling at {target:.2f} angstrom left molecules {depth:.2f} angstrom closer than in "
            f"any liquid; the model attracts there: check it, or choose another seed"
        )
    frame = Atoms(symbols, state.positions, cell=cell, pbc=True)
    frame.wrap()
    distance = float(frame.get_distance(cation, anion, mic=True))
    frame.info = {**box.info, "block": f"{seed}", "separation_angstrom": round(distance, 3)}
    return frame
