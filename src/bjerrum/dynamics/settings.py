"""What to integrate: the numbers that determine a trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray


@dataclass(frozen=True)
class Dynamics:
    """What to integrate. Without friction the energy is conserved (velocity Verlet).

    timestep_fs         time step; with ``inner_steps`` the outer one
    n_steps             length of the run; it ends with its last whole frame
    temperature         K, of the thermostat and of the first velocities
    friction_per_ps     Langevin friction; None for constant energy
    frame_stride        steps between frames that are kept
    chunk_frames        frames between restart points
    seed, replica       choose the random numbers
    inner_steps         steps of the cheap inner potential in one of the whole; 1 for none
    hydrogen_mass       amu; None for the natural one. What is added is taken from the heavy atom
                        that is nearest: configurations are the same, times mean nothing
    pressure_bar        for constant pressure; None for constant volume
    barostat_time_ps    relaxation time of the volume
    barostat_stride     steps between changes of the volume
    keep_velocities     whether frames hold velocities
    Raises InputError for numbers that mean nothing.
    """

    timestep_fs: float
    n_steps: int
    temperature: float
    friction_per_ps: float | None
    frame_stride: int
    chunk_frames: int
    seed: int
    replica: int = 0
    inner_steps: int = 1
    hydrogen_mass: float | None = None
    pressure_bar: float | None = None
    barostat_time_ps: float = 1.0
    barostat_stride: int = 10
    keep_velocities: bool = False

    def __post_init__(self) -> None:
        for name in ("timestep_fs", "temperature", "barostat_time_ps"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"dynamics: expected {name} > 0, got {getattr(self, name)}")
        for name in ("frame_stride", "chunk_frames", "inner_steps", "barostat_stride"):
            if getattr(self, name) < 1:
                raise InputError(f"dynamics: expected {name} >= 1, got {getattr(self, name)}")
        if self.friction_per_ps is not None and not 0 <= self.friction_per_ps < np.inf:
            raise InputError(f"dynamics: expected friction >= 0, got {self.friction_per_ps}")
        if min(self.seed, self.replica) < 0:
            raise InputError(f"dynamics: expected a seed >= 0, got {self.seed}, {self.replica}")
        self._check_ensemble()

    def _check_ensemble(self) -> None:
        if self.hydrogen_mass is not None and not 1 <= self.hydrogen_mass <= 5:
            raise InputError(
                f"dynamics: expected a hydrogen mass of 1 to 5 amu, got {self.hydrogen_mass}"
            )
        if self.pressure_bar is None:
            return
        if not np.isfinite(self.pressure_bar):
            raise InputError(f"dynamics: expected a finite pressure, got {self.pressure_bar}")
        if self.friction_per_ps is None:
            raise InputError(
                "dynamics: constant pressure needs a thermostat: give a friction "
                "(--friction-per-ps) above 0"
            )

    @property
    def n_frames(self) -> int:
        """Number of frames that the run keeps."""
        return self.n_steps // self.frame_stride

    @property
    def n_chunks(self) -> int:
        """Number of files that the run writes."""
        return -(-self.n_frames // self.chunk_frames)

    @property
    def metadata(self) -> dict[str, str | int | float]:
        """What the trajectory file says of how it was made."""
        facts: dict[str, str | int | float] = {
            "temperature_K": self.temperature,
            "timestep_fs": self.timestep_fs,
            "inner_steps": self.inner_steps,
            "seed": self.seed,
            "replica": self.replica,
            "friction_per_ps": 0.0 if self.friction_per_ps is None else self.friction_per_ps,
        }
        if self.hydrogen_mass is not None:
            facts["repartitioned_hydrogen_mass_amu"] = self.hydrogen_mass
            facts["configurational_only"] = 1
        if self.pressure_bar is not None:
            facts["pressure_bar"] = self.pressure_bar
        return facts


ForceEvaluation = Literal["auto", "fused", "plain", "batched"]


@dataclass(frozen=True)
class Setup:
    """How forces are evaluated and what is watched.

    evaluation  "fused" (compiled, CPU), "plain", "batched" (all boxes at once, CPU or CUDA), or
                "auto": the fastest that works
    on_event    what the watch does: "continue", "stop" or "off"
    inner       the cheap potential of multiple time steps, as JSON values
    """

    evaluation: ForceEvaluation = "auto"
    on_event: Literal["continue", "stop", "off"] = "continue"
    inner: dict[str, Any] | None = None


LONGEST_OUTER_FS = 2.0
LONGEST_OUTER_HEAVY_FS = 3.0
LONGEST_INNER_FS = 1.0
"""Of multiple time steps, for hydrogens of natural mass and of 3 amu; the third is of the inner
steps, twice that long for 3 amu. Longer ones heat up or blow up: benchmarks/dynamics/stability.py
measures it, docs/dynamics.md has the table."""


def require_sound_steps(dynamics: Dynamics) -> None:
    """Raise InputError for multiple time steps that are known to heat up or to blow up."""
    if dynamics.inner_steps == 1:
        return
    heavy = dynamics.hydrogen_mass is not None and dynamics.hydrogen_mass >= 3
    outer = LONGEST_OUTER_HEAVY_FS if heavy else LONGEST_OUTER_FS
    inner = LONGEST_INNER_FS * (2 if heavy else 1)
    own = dynamics.timestep_fs / dynamics.inner_steps
    if dynamics.timestep_fs > outer * (1 + 1e-9) or own > inner * (1 + 1e-9):
        whose = "3 amu or more" if heavy else "less than 3 amu"
        raise InputError(
            f"multiple time steps: expected at most {outer:g} fs and inner steps of at most "
            f"{inner:g} fs for hydrogens of {whose}, got {dynamics.timestep_fs:g} and {own:g} fs; "
            "longer ones heat the liquid or blow up (docs/dynamics.md)"
        )


def masses_of(atoms: Atoms, hydrogen_mass: float | None) -> FloatArray:
    """Return the masses in amu, hydrogens made heavier at the cost of their neighbours.

    Averages over configurations do not depend on masses (Feenstra, Hess & Berendsen, J. Comput.
    Chem. 20, 786 (1999)). Raises InputError if a heavy atom would weigh less than 4 amu.
    """
    masses: FloatArray = atoms.get_masses()
    if hydrogen_mass is None:
        return masses
    hydrogens = np.flatnonzero(atoms.numbers == 1)
    heavy = np.flatnonzero(atoms.numbers != 1)
    for hydrogen in hydrogens:
        nearest = heavy[np.argmin(atoms.get_distances(hydrogen, heavy, mic=True))]
        masses[nearest] -= hydrogen_mass - masses[hydrogen]
        masses[hydrogen] = hydrogen_mass
    if masses[heavy].min(initial=np.inf) < 4:
        raise InputError(f"hydrogen mass {hydrogen_mass:g} amu leaves a heavy atom below 4 amu")
    return masses
