"""A watch over a run: what no undisturbed solution does is flagged, marked and kept, never dropped.

Every look compares a configuration with what the model can be trusted for: O-H bonds as they were
at the start (a network trained without proton transfer knows nothing of it), ions no closer than
where the model's wall begins, a committee that agrees, an energy that does not run away, a liquid
that is neither frozen nor torn apart. The limits are in :class:`Watch`; what was seen are
:class:`Event` s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from bjerrum.estimate import FloatArray, IntArray
from bjerrum.potential.repulsion import Repulsion

REASONS = (
    "broken O-H bond", "new bond to H", "atoms too close", "committee disagrees",
    "energy runs away", "torn liquid", "frozen",
)  # fmt: skip
"""The number of a reason is its bit in the observable "watchdog" of a trajectory."""

NON_METALS = ("C", "N", "O", "F", "P", "S", "Cl", "Br", "I")

BOND_MARGIN = 0.15
"""Angstrom. HCl, whose bond is 1.27, is seen below 1.48; hydrogen bonds to Cl- stay above 1.6."""


@dataclass(frozen=True)
class Watch:
    """What is looked at, how often, and what is too much.

    stride               steps between looks
    broken_bond          an H farther than this from the O it was nearest to at the start, angstrom
    new_bond             an H nearer than this to another heavy atom, angstrom, or nearer to a
                         non-metal than the sum of covalent radii and BOND_MARGIN
    closest              where the model's wall begins for each pair of elements, angstrom: 0.95 of
                         the shortest distance in the training data, or the contact distance if
                         that is shorter; heavy atoms nearer than that are flagged
    committee_spread     eV/angstrom, of any atom
    energy_sigmas        jump of the potential energy between looks, in units of its thermal
                         standard deviation for harmonic atoms, sqrt(3 N / 2) kT
    isolation            a heavy atom without another one this near, angstrom
    frozen_displacement  root mean square move of O over ``frozen_time_ps`` below which the box is
                         called frozen, angstrom
    on_event             "continue": flag and go on; "stop": end the run
    """

    stride: int = 10
    broken_bond: float = 1.45
    new_bond: float = 1.2
    closest: tuple[tuple[tuple[str, str], float], ...] = ()
    committee_spread: float = 0.5
    energy_sigmas: float = 12.0
    isolation: float = 4.5
    frozen_displacement: float = 0.6
    frozen_time_ps: float = 10.0
    on_event: Literal["continue", "stop"] = "continue"

    def to_json(self) -> dict[str, Any]:
        """Return the limits as JSON values."""
        data = asdict(self)
        data["closest"] = {"-".join(pair): r for pair, r in self.closest}
        return data


@dataclass(frozen=True)
class Event:
    """Something seen at a step.

    atoms  the atoms concerned, at most ten
    value  what was measured, in ``unit``, against ``limit``
    """

    step: int
    reason: str
    atoms: tuple[int, ...]
    value: float
    limit: float
    unit: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"atoms": list(self.atoms)}

    def __str__(self) -> str:
        atoms = " ".join(map(str, self.atoms))
        where = f" (atoms {atoms})" if atoms else ""
        return f"{self.reason}{where}: {self.value:.3g} {self.unit}, limit {self.limit:.3g}"


def watch_for(wall: Repulsion | None, **limits: Any) -> Watch:
    """Return the watch of a model: pairs inside its wall are too close."""
    return Watch(closest=() if wall is None else wall.outer, **limits)


def bit_of(reasons: Sequence[str]) -> int:
    """Return the number that marks a frame with these reasons."""
    return sum(1 << REASONS.index(reason) for reason in set(reasons))


@dataclass
class Observer:
    """A watch bound to the atoms of a run: what is bonded to what, which pairs count.

    Between looks it remembers one energy, which restart points keep.
    """

    watch: Watch
    atoms: Atoms
    temperature: float
    partner: IntArray = field(init=False)

    def __post_init__(self) -> None:
        numbers = self.atoms.numbers
        self._hydrogens = np.flatnonzero(numbers == 1)
        self._heavy = np.flatnonzero(numbers != 1)
        distances = self._distances(self.atoms.positions, self.atoms.cell.array)
        oxygens = numbers[self._heavy] == 8
        if oxygens.any():  # a proton that sits on an ion from the start is not at home there
            distances[:, ~oxygens] = np.inf
        self.partner = np.argmin(distances, axis=1) if len(self._hydrogens) else np.empty(0, int)
        self._limits = self._pair_limits()
        self._energy: float | None = None

    @property
    def energy(self) -> float | None:
        """Potential energy at the last look, eV; None before the first."""
        return self._energy

    def reset(self, energy: float | None = None) -> None:
        """Forget what was seen before, or take the energy of a last look, eV."""
        self._energy = energy

    def look(
        self, step: int, positions: FloatArray, cell: FloatArray, energy: float,
        spread: FloatArray | None = None,
    ) -> list[Event]:  # fmt: skip
        """Return what is wrong with a configuration.

        energy  potential, eV
        spread  of the committee's forces on each atom, eV/angstrom, if there is one
        """
        events = [
            *self._bonds(step, positions, cell),
            *self._contacts(step, positions, cell),
            *self._energy_jump(step, energy),
        ]
        limit = self.watch.committee_spread
        if spread is not None and spread.max() > limit:
            worst = np.argsort(-spread)[:10]
            worst = worst[spread[worst] > limit]
            events.append(
                _event(step, "committee disagrees", worst, spread.max(), limit, "eV/angstrom")
            )
        return events

    def frozen(self, step: int, now: FloatArray, then: FloatArray) -> list[Event]:
        """Compare oxygens with where they were ``frozen_time_ps`` before."""
        oxygens = self.atoms.numbers == 8
        if not oxygens.any():
            return []
        move = now - then - (now - then).mean(axis=0)
        size = float(np.sqrt((move[oxygens] ** 2).sum(axis=1).mean()))
        limit = self.watch.frozen_displacement
        return [_event(step, "frozen", [], size, limit, "angstrom")] if size < limit else []

    def _distances(self, positions: FloatArray, cell: FloatArray) -> FloatArray:
        """Distances of hydrogens to heavy atoms, nearest images, (n_hydrogens, n_heavy)."""
        return _nearest(positions[self._hydrogens], positions[self._heavy], cell)

    def _bonds(self, step: int, positions: FloatArray, cell: FloatArray) -> list[Event]:
        if not len(self._hydrogens):
            return []
        distances = self._distances(positions, cell)
        rows = np.arange(len(self._hydrogens))
        own, events = distances[rows, self.partner], []
        broken = own > self.watch.broken_bond
        if broken.any():
            atoms = self._hydrogens[broken]
            limit = self.watch.broken_bond
            events.append(_event(step, "broken O-H bond", atoms, own.max(), limit, "angstrom"))
        others = distances.copy()
        others[rows, self.partner] = np.inf
        excess = others - self._bond_limits()
        near = excess.min(axis=1) < 0
        if near.any():
            nearest = excess.argmin(axis=1)
            pairs = np.concatenate([self._hydrogens[near], self._heavy[nearest[near]]])
            worst = excess.min(axis=1).argmin()
            value, limit = others[worst, nearest[worst]], self._bond_limits()[nearest[worst]]
            events.append(_event(step, "new bond to H", pairs, value, limit, "angstrom"))
        return events

    def _bond_limits(self) -> FloatArray:
        """Distance of an H from each heavy atom below which they are bonded, angstrom."""
        numbers = self.atoms.numbers[self._heavy]
        bond = covalent_radii[numbers] + covalent_radii[1] + BOND_MARGIN
        non_metal = np.isin(numbers, [atomic_numbers[s] for s in NON_METALS])
        return np.maximum(self.watch.new_bond, np.where(non_metal, bond, 0.0))

    def _pair_limits(self) -> FloatArray:
        """Where the wall between heavy atoms begins, 0 for pairs without one."""
        symbols = [self.atoms.symbols[i] for i in self._heavy]
        known = dict(self.watch.closest)
        kinds = sorted(set(symbols))
        table = np.array([[known.get((min(a, b), max(a, b)), 0.0) for b in kinds] for a in kinds])
        kind = np.array([kinds.index(s) for s in symbols], dtype=int)
        return table[np.ix_(kind, kind)] if len(kind) else np.empty((0, 0))

    def _contacts(self, step: int, positions: FloatArray, cell: FloatArray) -> list[Event]:
        heavy = positions[self._heavy]
        if len(heavy) < 2:
            return []
        distances = _nearest(heavy, heavy, cell)
        np.fill_diagonal(distances, np.inf)
        events = []
        short = np.argwhere(np.triu(distances < self._limits))
        if len(short):
            i, j = min(short, key=lambda pair: distances[tuple(pair)] / self._limits[tuple(pair)])
            pair = self._heavy[[i, j]]
            events.append(
                _event(
                    step, "atoms too close", pair, distances[i, j], self._limits[i, j], "angstrom"
                )
            )
        alone = distances.min(axis=1)
        if alone.max() > self.watch.isolation:
            atoms = self._heavy[alone > self.watch.isolation]
            limit = self.watch.isolation
            events.append(_event(step, "torn liquid", atoms, alone.max(), limit, "angstrom"))
        return events

    def _energy_jump(self, step: int, energy: float) -> list[Event]:
        from bjerrum.units import thermal_energy

        before, self._energy = self._energy, energy
        limit = (
            self.watch.energy_sigmas
            * np.sqrt(1.5 * len(self.atoms))
            * thermal_energy(self.temperature)
        )
        if before is None or abs(energy - before) < limit:
            return []
        return [_event(step, "energy runs away", [], abs(energy - before), limit, "eV")]


def _nearest(a: FloatArray, b: FloatArray, cell: FloatArray) -> FloatArray:
    """Distances of nearest images, (len(a), len(b)); exact below half the box's height."""
    vectors = (b[None, :, :] - a[:, None, :]).reshape(-1, 3)
    fractions = vectors @ np.linalg.inv(cell)
    vectors = (fractions - np.round(fractions)) @ cell
    distances: FloatArray = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return distances.reshape(len(a), len(b))


def _event(step: int, reason: str, atoms: Any, value: float, limit: float, unit: str) -> Event:
    some = tuple(int(atom) for atom in list(atoms)[:10])
    return Event(step, reason, some, float(value), float(limit), unit)
