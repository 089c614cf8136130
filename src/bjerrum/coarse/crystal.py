"""Rock salt in the coarse-grained model: does a crystal stay, does a solution nucleate one?

An ion is ordered if three or more unlike ions are in its first shell and stand at right angles or
opposite each other, as in rock salt: with theta the angles between its bonds,

    order = 1 - 4 mean(cos^2 theta sin^2 theta) > ORDERED

(1 in rock salt, 0.47 for bonds at random). Three bonds fix the axes, so that faces, edges and
corners of a crystal count as its inside does. The crystal is the largest group of ordered ions that
are neighbours; its lattice constant is twice the mean distance of these neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from bjerrum.coarse.basis import neighbours
from bjerrum.coarse.dilution import ions_of_model
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.simulate import IonBox, Sampling, simulate_ions
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.literature.solutions import lattice_constant
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

SHELL: Final = 1.25
"""First-shell radius in units of half the lattice constant; the next unlike ions are at 1.73."""
ORDERED: Final = 0.75
"""Between bonds at random and a crystal of thermal ions, which has 0.9."""
LEAST_BONDS: Final = 3
STRETCHES: Final = 10
STAYS, DISSOLVES = 0.5, 0.1
"""Ordered part of the ions above which a crystal counts as there, below which as gone."""


@dataclass(frozen=True, eq=False)
class CrystalRun:
    """What became of a crystal or of a solution.

    ordered_start, ordered_end  part of the ions in the largest crystal
    lattice_constant            at the end, angstrom; None where there is no crystal
    course                      ordered part after each of STRETCHES equal parts of time_ps
    """

    salt: str
    start: str
    molarity: float
    ordered_start: float
    ordered_end: float
    lattice_constant: float | None
    time_ps: float
    course: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """What happened, in a word."""
        if self.start == "crystal":
            if self.ordered_end > STAYS * self.ordered_start:
                return "stays"
            return "dissolves" if self.ordered_end < DISSOLVES else "melts in part"
        return "nucleates" if self.ordered_end > DISSOLVES else "stays dissolved"

    def to_json(self) -> dict[str, Any]:
        """Return everything, with the experimental lattice constant beside."""
        return {
            "salt": self.salt,
            "start": self.start,
            "concentration_mol_per_L": self.molarity,
            "ordered_start": self.ordered_start,
            "ordered_end": self.ordered_end,
            "time_ps": self.time_ps,
            "ordered_course": list(self.course),
            "verdict": self.verdict,
            "lattice_constant_angstrom": self.lattice_constant,
            "experimental_lattice_constant_angstrom": lattice_constant(self.salt).value,
        }


def rock_salt(
    ions: tuple[str, str], cells: int, constant: float, molarity: float
) -> tuple[IonBox, FloatArray]:
    """Return a cube of cells^3 rock-salt cells in the middle of a box of the given molarity.

    constant  lattice constant, angstrom
    """
    if not 0 < molarity < math.inf:
        raise InputError(f"concentration: expected above 0 mol/L, got {molarity:g}")
    sites = np.stack(np.meshgrid(*[np.arange(2 * cells)] * 3, indexing="ij"), axis=-1)
    sites = sites.reshape(-1, 3)
    is_cation = sites.sum(axis=1) % 2 == 0
    n = int(is_cation.sum())
    edge = (n / (molarity * MOL_PER_LITRE_IN_PER_ANGSTROM3)) ** (1 / 3)
    if edge < cells * constant:
        raise InputError(
            f"{molarity:g} mol/L is denser than the crystal itself; expected at most "
            f"{n / (cells * constant) ** 3 / MOL_PER_LITRE_IN_PER_ANGSTROM3:.1f} mol/L"
        )
    places = sites * constant / 2 + (edge - cells * constant) / 2
    box = IonBox(cation=ions[0], anion=ions[1], n_cations=n, n_anions=n, edge=float(edge))
    return box, np.concatenate([places[is_cation], places[~is_cation]]).astype(float)


def ordered_part(positions: FloatArray, box: IonBox, constant: float) -> tuple[float, float | None]:
    """Return the part of the ions in the largest crystal, and its lattice constant."""
    first, second, bonds, r = neighbours(positions % box.edge, box.edges, SHELL * constant / 2)
    is_cation = np.arange(len(positions)) < box.n_cations
    unlike = is_cation[first] != is_cation[second]
    first, second, r = first[unlike], second[unlike], r[unlike]
    ordered = _order(first, second, bonds[unlike] / r[:, None], len(positions)) > ORDERED
    both = ordered[first] & ordered[second]
    group = _groups(first[both], second[both], len(positions))
    largest = np.bincount(group[ordered]).argmax() if ordered.any() else -1
    inside = both & (group[first] == largest)
    mean = 2 * float(r[inside].mean()) if inside.sum() >= 12 else None
    return float((ordered & (group == largest)).mean()), mean


def _order(first: IntArray, second: IntArray, bonds: FloatArray, n: int) -> FloatArray:
    """Return the order of every ion from its unit bonds, 0 for fewer than LEAST_BONDS."""
    ends = np.concatenate([first, second])
    vectors = np.concatenate([bonds, -bonds])
    order = np.zeros(n)
    for ion in np.flatnonzero(np.bincount(ends, minlength=n) >= LEAST_BONDS):
        own = vectors[ends == ion]
        square = (own @ own.T)[np.triu_indices(len(own), 1)] ** 2
        order[ion] = 1 - 4 * float((square * (1 - square)).mean())
    return order


def _groups(first: IntArray, second: IntArray, n: int) -> IntArray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1])


def crystal_run(
    potential: CoarsePotential,
    *,
    temperature: float,
    time_ps: float,
    molarity: float,
    cells: int = 3,
    start: str = "crystal",
    constant: float | None = None,
    seed: int = 1,
    announce: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> CrystalRun:
    """Run a rock-salt cube in solution, or a solution of the same ions, and say what became of it.

    Raises InputError for a salt whose lattice constant is neither known nor given.
    """
    ions = ions_of_model(potential)
    salt = "".join(ions)
    lattice = constant or lattice_constant(salt).value
    box, places = rock_salt(ions, cells, lattice, molarity)
    sampling = Sampling(
        temperature=temperature,
        time_ps=time_ps / STRETCHES,
        equilibration_ps=0.0,
        replicas=2,
        seed=seed,
    )
    begin, course, ends = places if start == "crystal" else None, [], []
    for number in range(STRETCHES):
        announce(f"Rock salt from {start}", number, STRETCHES)
        (run,) = simulate_ions(
            potential,
            [box],
            replace(sampling, seed=seed + number),
            start=None if begin is None else [begin],
        )
        begin = run.frames
        ends = [ordered_part(frame, box, lattice) for frame in run.frames]
        course.append(float(np.mean([part for part, _ in ends])))
    found = [value for _, value in ends if value is not None]
    return CrystalRun(
        salt,
        start,
        molarity,
        ordered_part(places, box, lattice)[0] if start == "crystal" else 0.0,
        course[-1],
        float(np.mean(found)) if found else None,
        time_ps,
        tuple(course),
    )


def crystal_report(runs: Sequence[CrystalRun]) -> dict[str, Any]:
    """Return the runs as plain data."""
    return {"runs": [run.to_json() for run in runs]}
