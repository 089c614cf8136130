"""Boxes of ions, and how long they are sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray

MASS_AMU: Final = 30.0
"""Of every ion: only configurations count."""
EQUILIBRATION_PS: Final = 80.0
"""Of every run that is measured. From a lattice, which has next to no ion pairs, the population of
Na-Cl contacts at 2.5 mol/L takes 60 ps to settle (0.91 in the first 10 ps, then 1.7, 2, 2.1, 2.2).
"""


@dataclass(frozen=True, kw_only=True)
class IonBox:
    """Ions and the cubic box they are in.

    n_cations, n_anions  by element
    edge                 angstrom
    """

    cation: str
    anion: str
    n_cations: int
    n_anions: int
    edge: float

    @property
    def symbols(self) -> tuple[str, ...]:
        """Cations first."""
        return (self.cation,) * self.n_cations + (self.anion,) * self.n_anions

    @property
    def edges(self) -> FloatArray:
        """The edge three times."""
        return np.full(3, self.edge)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How long and how.

    replicas          independent starting points
    time_ps           of each replica, after equilibration_ps
    frame_every_fs    configurations that are measured
    masses            amu by element; default: MASS_AMU for every ion
    jumps             trials of Monte Carlo jumps for each ion after every JUMP_FRAMES frames
    """

    temperature: float
    time_ps: float
    equilibration_ps: float = EQUILIBRATION_PS
    replicas: int = 64
    timestep_fs: float = 15.0
    friction_per_ps: float = 2.0
    frame_every_fs: float = 300.0
    seed: int = 1
    masses: tuple[tuple[str, float], ...] = ()
    jumps: float = 0.0

    def masses_of(self, symbols: Sequence[str]) -> FloatArray:
        """Return the mass of every ion, amu."""
        mass = dict(self.masses)
        return np.array([mass.get(symbol, MASS_AMU) for symbol in symbols])

    def __post_init__(self) -> None:
        """Refuse numbers that make no run."""
        times = 0 < self.time_ps < math.inf and 0 <= self.equilibration_ps < math.inf
        if not (0 < self.timestep_fs <= 50 and times and self.replicas >= 2):
            raise InputError(
                "coarse-grained run: expected a step up to 50 fs, a positive time and two or more "
                f"replicas, got {self.timestep_fs:g} fs, {self.time_ps:g} ps, {self.replicas}"
            )
        if not 0 < self.temperature < math.inf:
            raise InputError(
                f"coarse-grained run: expected a temperature above 0 K, got {self.temperature:g}"
            )
        if self.seed < 0:
            raise InputError(f"coarse-grained run: expected a seed of 0 or more, got {self.seed}")
        if not 0 <= self.jumps < math.inf:
            raise InputError(f"coarse-grained run: expected 0 or more jumps, got {self.jumps:g}")
        if any(not mass > 0 for _, mass in self.masses):
            raise InputError(f"coarse-grained run: expected positive masses, got {self.masses}")
