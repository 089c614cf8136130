"""The TOML file of ``bjerrum run``: which solution, which potential, how much sampling."""

from __future__ import annotations

import math
from collections.abc import Set
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from bjerrum.errors import InputError
from bjerrum.specification import Count, NotNegative, Positive, Spec, read_spec
from bjerrum.system import Salt, Solution
from bjerrum.units import PS_IN_FS


class SolutionSection(Spec):
    """Which solution; ranges are those of :class:`bjerrum.system.Solution`.

    salt                 formula, such as LiCl
    molality_mol_per_kg  formula units per kg of water; the box holds the nearest whole number
    temperature_K        of the thermostats and of the density
    """

    salt: str
    molality_mol_per_kg: float
    temperature_K: float = 298.15  # noqa: N815

    def build(self) -> Solution:
        """Return the solution; raises InputError for unknown salts and absurd numbers."""
        salt = Salt.parse(self.salt)
        return Solution(salt, self.molality_mol_per_kg, self.temperature_K)


class BoxSection(Spec):
    """How large a box, and how long classical dynamics prepares it.

    waters                      number of water molecules; ions and edge follow from the solution
    classical_equilibration_ps  dynamics with a classical force field before the potential's own
    """

    waters: Count = 80
    classical_equilibration_ps: Positive = 50.0


class PotentialSection(Spec):
    """Which potential, and optionally the baseline that the user believes it has.

    model                model folder, or name of a shipped model
    dielectric_constant  the run is refused if the model's baseline has another one
    """

    model: str = "licl-nnp1"
    dielectric_constant: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None


class DynamicsSection(Spec):
    """How the solution is sampled.

    replicas            independent boxes, run side by side
    friction_per_ps     Langevin; strong, because only configurations count here, and the heat of
                        leaving the classical liquid must go
    frame_every_fs      rounded to whole time steps
    budget_minutes      wall time for the sampling; turned into steps once, after a timing
    length_ps           per replica, instead of a budget
    equilibration_part  first part of each replica that is not analysed
    """

    replicas: Count = 4
    timestep_fs: Annotated[float, Field(gt=0, le=2)] = 1.0
    friction_per_ps: Positive = 20.0
    frame_every_fs: Positive = 10.0
    budget_minutes: Positive | None = None
    length_ps: Positive | None = None
    equilibration_part: Annotated[float, Field(ge=0, lt=1)] = 0.3
    seed: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _consistent(self) -> DynamicsSection:
        if self.budget_minutes is not None and self.length_ps is not None:
            raise ValueError("expected budget_minutes or length_ps, got both")
        if self.frame_every_fs < self.timestep_fs:
            raise ValueError(
                f"expected frame_every_fs of at least timestep_fs ({self.timestep_fs:g}), "
                f"got {self.frame_every_fs:g}"
            )
        return self

    @property
    def frame_stride(self) -> int:
        """Steps between frames."""
        return round(self.frame_every_fs / self.timestep_fs)

    def steps_of_length(self) -> int | None:
        """Return the number of steps if the length is given in ps, rounded up to whole frames."""
        if self.length_ps is None:
            return None
        frames = self.length_ps * PS_IN_FS / (self.timestep_fs * self.frame_stride)
        return math.ceil(round(frames, 6)) * self.frame_stride


class ConservationSection(Spec):
    """The energy-conservation check: constant-energy dynamics after the sampling.

    timestep_fs  of velocity Verlet
    length_ps    at least 20 steps are made
    """

    timestep_fs: Annotated[float, Field(gt=0, le=1)] = 0.5
    length_ps: NotNegative = 0.1


class AnalysisSection(Spec):
    """What is measured.

    pairs               two elements each, "Li-O"; all pairs if there are none
    bin_width_angstrom  of the radial distribution functions
    """

    pairs: list[str] = Field(default_factory=list)
    bin_width_angstrom: Positive = 0.05

    @field_validator("pairs")
    @classmethod
    def _two_elements(cls, pairs: list[str]) -> list[str]:
        for pair in pairs:
            if len(pair.split("-")) != 2:
                raise ValueError(f'expected pairs such as "Li-O", got {pair!r}')
        return pairs

    def require_elements(self, elements: Set[str]) -> None:
        """Raise InputError for a pair of elements that the solution does not hold."""
        for pair in self.pairs:
            if not set(pair.split("-")) <= elements:
                raise InputError(
                    f"analysis.pairs: expected elements of the solution "
                    f"({', '.join(sorted(elements))}), got {pair!r}"
                )


class RunConfig(Spec):
    """A whole run."""

    solution: SolutionSection
    box: BoxSection = BoxSection()
    potential: PotentialSection = PotentialSection()
    dynamics: DynamicsSection = DynamicsSection()
    conservation: ConservationSection = ConservationSection()
    analysis: AnalysisSection = AnalysisSection()
    output: str | None = None


def read_run_config(path: Path) -> RunConfig:
    """Read and validate a run TOML.

    Raises InputError, one line that names the file: for keys and types, a solution that is
    unknown or outside its range, pairs of elements that it does not hold.
    """
    config = read_spec(path, RunConfig)
    try:
        elements = config.solution.build().atom_counts(config.box.waters).keys()
        config.analysis.require_elements(elements)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return config


def output_folder(path: Path, config: RunConfig, chosen: Path | None) -> Path:
    """Return where the run goes: ``-o``, else the file's ``output``, else runs/<file name>.

    Raises InputError if a file is there.
    """
    folder = chosen or Path(config.output or Path("runs") / path.stem)
    if folder.is_file():
        raise InputError(f"{folder}: expected a folder for the run, found a file")
    return folder


def with_budget(config: RunConfig, budget_minutes: float | None) -> RunConfig:
    """Return the configuration with another budget, or as it is if that is None.

    Raises InputError unless the budget is a positive number of minutes.
    """
    if budget_minutes is None:
        return config
    if not 0 < budget_minutes < math.inf:
        raise InputError(f"--budget-minutes: expected a positive number, got {budget_minutes}")
    changes = {"budget_minutes": budget_minutes, "length_ps": None}
    dynamics = config.dynamics.model_copy(update=changes)
    return config.model_copy(update={"dynamics": dynamics})
