"""The TOML file of a campaign: which solutions, which reference, what is learned and measured."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from bjerrum.errors import InputError
from bjerrum.potential.spec import NetworkSpec, OptimiserSpec, SplitSpec
from bjerrum.specification import Spec, read_spec
from bjerrum.system import Salt, Solution
from bjerrum.thermodynamics.theories import find_theory
from bjerrum.units import PS_IN_FS

Measurement = Literal["structure", "transport", "kirkwood-buff", "pairing", "force-error"]
Part = Annotated[float, Field(ge=0, lt=1)]
Number = Annotated[int, Field(gt=0, le=10_000)]
Picoseconds = Annotated[float, Field(gt=0, le=1e7)]
"""Ten microseconds: more is a slip of the pen."""


class SolutionsSection(Spec):
    """Which solutions: every salt at every molality and temperature.

    salts                   formulas, such as LiCl
    molalities_mol_per_kg   formula units per kg of water
    temperatures_K          of thermostats and densities
    """

    salts: Annotated[list[str], Field(min_length=1)]
    molalities_mol_per_kg: Annotated[list[float], Field(min_length=1)]
    temperatures_K: Annotated[list[float], Field(min_length=1)] = Field(  # noqa: N815
        default=[298.15]
    )

    @model_validator(mode="after")
    def _each_once(self) -> SolutionsSection:
        for name in ("salts", "molalities_mol_per_kg", "temperatures_K"):
            values = getattr(self, name)
            twice = sorted({str(v) for v in values if values.count(v) > 1})
            if twice:
                raise ValueError(f"{name}: expected each once, got {', '.join(twice)} twice")
        return self


class BoxSection(Spec):
    """How large the boxes are and how many of each.

    waters                      number of water molecules
    replicas                    independent boxes of each solution; error bars rest on them
    classical_equilibration_ps  dynamics with a classical force field before anything else
    seed                        chooses the random numbers
    """

    waters: Annotated[int, Field(gt=0, le=100_000)] = 80
    replicas: Annotated[int, Field(gt=0, le=1000)] = 2
    classical_equilibration_ps: Annotated[float, Field(ge=8, le=1e6)] = 20.0
    seed: Annotated[int, Field(ge=0)] = 1


class ReferenceSection(Spec):
    """Where configurations and labels come from.

    method           of the labels
    settings         TOML with settings other than the method's defaults, beside the campaign file
    sampling         dynamics that makes configurations to label
    sample_ps        length of it in each box; its first ``equilibration_part`` is not used
    frames           labelled in each box, evenly spaced
    blocks           stretches of each trajectory that are kept together when frames are split
    frames_per_task  labelled by one step; 1 for labels that take long
    ranks, threads   of a calculation with CP2K
    """

    method: Literal["classical", "r2scan", "dc-r2scan"]
    settings: str | None = None
    sampling: Literal["classical", "r2scan"] = "classical"
    sample_ps: Picoseconds = 20.0
    equilibration_part: Part = 0.2
    frames: Number = 20
    blocks: Number = 4
    frames_per_task: Number = 1
    ranks: Number = 1
    threads: Number = 1

    @model_validator(mode="after")
    def _consistent(self) -> ReferenceSection:
        if self.blocks > self.frames:
            raise ValueError(f"expected at most {self.frames} blocks (frames), got {self.blocks}")
        return self

    @property
    def tasks(self) -> int:
        """Steps that label the frames of one box."""
        return -(-self.frames // self.frames_per_task)


class TrainingSection(Spec):
    """How the potentials are trained: one committee for each salt, for all its solutions.

    committee  models of other seeds and splits; two or more
    """

    committee: Annotated[int, Field(ge=2, le=100)] = 2
    seed: int = 1
    network: NetworkSpec = NetworkSpec()
    split: SplitSpec = SplitSpec()
    optimiser: OptimiserSpec = OptimiserSpec()


class LearningSection(Spec):
    """Active learning: explore with the committee, label where its members disagree, train on.

    rounds            at most
    explore_ps        dynamics in each box
    frames            labelled of each salt in a round
    pull_pairs        also with a cation and an anion pulled together
    temperature_factor  explored above the solution's temperature as well
    steps             of training in each round, from the models of the round before
    least_gain        a round must lower disagreement or held-out error by this part; else it is
                      the last
    """

    rounds: Annotated[int, Field(gt=0, le=100)] = 3
    explore_ps: Annotated[float, Field(gt=0, le=1e5)] = 1.0
    frames: Number = 10
    pull_pairs: bool = True
    temperature_factor: Annotated[float, Field(ge=1, le=2)] = 1.2
    steps: Annotated[int, Field(gt=0, le=10**8)] = 500
    least_gain: Annotated[float, Field(gt=0, lt=1)] = 0.05


class SimulationSection(Spec):
    """The dynamics whose trajectories are measured.

    potential           "reference": the classical force field itself; "trained": this campaign's
                        committees; else a model folder or the name of a shipped model
    length_ps           in each box
    frame_every_fs      between frames that are kept
    equilibration_part  first part of each trajectory that is not measured
    """

    potential: str = "trained"
    length_ps: Picoseconds = 100.0
    timestep_fs: Annotated[float, Field(gt=0, le=2)] = 1.0
    friction_per_ps: Annotated[float, Field(gt=0, le=1000)] = 1.0
    frame_every_fs: Annotated[float, Field(gt=0, le=1e9)] = 100.0
    equilibration_part: Part = 0.2


class CoarseningSection(Spec):
    """From the trajectories to osmotic and activity coefficients: ions alone, then a theory.

    theory                of solutions: hnc, rhnc, mpb, ...; see ``bjerrum solve``
    dielectric_constant   of the water that simulates; default: that of real water
    pair_cutoff_angstrom  of the ions' potential; default: 10, or half the smallest box
    n_radial              radial functions of the three-body terms; 0: pairs alone
    iterations            of the polish on g(r)
    polish_ps             of each replica in an iteration
    """

    theory: str = "hnc"
    dielectric_constant: Annotated[float, Field(ge=1, le=1000)] | None = None
    pair_cutoff_angstrom: Annotated[float, Field(ge=5, le=20)] | None = None
    n_radial: Annotated[int, Field(ge=0, le=8)] = 4
    iterations: Annotated[int, Field(ge=0, le=1000)] = 6
    polish_ps: Picoseconds = 100.0

    @field_validator("theory")
    @classmethod
    def _known(cls, theory: str) -> str:
        find_theory(theory)
        return theory


class CampaignConfig(Spec):
    """A whole campaign.

    name      of the campaign, in the database as well
    output    folder of the steps; default: campaigns/NAME
    database  file or URL; default: that of BJERRUM_DATABASE, or results.sqlite in that folder
    profile   TOML that says where steps are done, beside this file; default: this machine
    measure   what is measured of each solution; "force-error" is that of the committee on frames
              that it has not seen
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")]
    output: str | None = None
    database: str | None = None
    profile: str | None = None
    solutions: SolutionsSection
    box: BoxSection = BoxSection()
    reference: ReferenceSection
    training: TrainingSection | None = None
    learning: LearningSection | None = None
    simulation: SimulationSection | None = None
    coarsening: CoarseningSection | None = None
    measure: Annotated[list[Measurement], Field(min_length=1)] = Field(
        default=["structure", "transport"]
    )

    @field_validator("measure")
    @classmethod
    def _measured_once(cls, measure: list[Measurement]) -> list[Measurement]:
        if len(set(measure)) < len(measure):
            raise ValueError(f"expected each once, got {', '.join(measure)}")
        return measure

    @model_validator(mode="after")
    def _consistent(self) -> CampaignConfig:
        if self.learning is not None and self.training is None:
            raise ValueError("[learning] needs [training]: there is no committee to explore with")
        if "force-error" in self.measure and self.training is None:
            raise ValueError('measure: "force-error" needs [training]')
        simulation = self.simulation
        if simulation is None:
            measured = [name for name in self.measure if name != "force-error"]
            if measured:
                raise ValueError(
                    f'measure: "{measured[0]}" needs [simulation]; without one, only '
                    '"force-error" can be measured'
                )
            if self.coarsening is not None:
                raise ValueError("[coarsening] needs [simulation]: it learns from trajectories")
            return self
        if simulation.potential == "trained" and self.training is None:
            raise ValueError('simulation.potential = "trained" needs [training]')
        if simulation.potential == "reference" and self.reference.method != "classical":
            raise ValueError(
                'simulation.potential = "reference" needs reference.method = "classical", '
                f'got "{self.reference.method}"'
            )
        if simulation.frame_every_fs < simulation.timestep_fs:
            raise ValueError("simulation.frame_every_fs: expected at least timestep_fs")
        kept = (1 - simulation.equilibration_part) * simulation.length_ps * PS_IN_FS
        if 2 * simulation.frame_every_fs > kept:
            raise ValueError(
                "simulation.frame_every_fs: expected two frames or more after the equilibration, "
                f"at most {kept / 2:g}, got {simulation.frame_every_fs:g}"
            )
        return self

    def grid(self) -> Iterator[Solution]:
        """Yield every solution; raises InputError for unknown salts and absurd numbers."""
        part = self.solutions
        for formula, kelvin, molality in product(
            part.salts, part.temperatures_K, part.molalities_mol_per_kg
        ):
            yield Solution(Salt.parse(formula), molality, kelvin)


def is_campaign(path: Path) -> bool:
    """Tell whether a TOML file is a campaign: it has a table [solutions]."""
    try:
        return "solutions" in tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False


def read_campaign(path: Path) -> CampaignConfig:
    """Read and validate a campaign TOML.

    Raises InputError, one line that names the file: for keys and types, for a solution that is
    unknown or outside its range, for a grid on which two solutions would be the same box.
    """
    config = read_spec(path, CampaignConfig)
    try:
        _check_grid(config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return config


def _check_grid(config: CampaignConfig) -> None:
    """Every solution has a density, whole ions in its box, and a box of its own."""
    waters = config.box.waters
    boxes: dict[tuple[str, float, int], Solution] = {}
    for solution in config.grid():
        units = solution.n_formula_units(waters)
        if units == 0:
            raise InputError(
                "solutions.molalities_mol_per_kg: expected more than 0: without ions there is "
                "nothing to measure"
            )
        edge = solution.box_edge(waters)
        _check_coarsening(config, solution, units, edge)
        key = solution.salt.formula, solution.temperature, units
        if key in boxes:
            raise InputError(
                f"{boxes[key]} and {solution} are the same box: {waters} waters with {units} "
                f"{solution.salt}; take more waters or molalities that lie farther apart"
            )
        boxes[key] = solution


def _check_coarsening(config: CampaignConfig, solution: Solution, units: int, edge: float) -> None:
    """Ions alone need two of each in every box, and a cutoff of at most half the box."""
    section = config.coarsening
    if section is None:
        return
    if units < 2:
        raise InputError(
            f"coarsening: {solution} has {units} {solution.salt} in {config.box.waters} waters, "
            "expected 2 or more: like ions never meet; take more waters"
        )
    cutoff = section.pair_cutoff_angstrom
    if cutoff is not None and cutoff > edge / 2:
        raise InputError(
            f"coarsening.pair_cutoff_angstrom: expected at most half the box of {solution}, "
            f"{edge / 2:.1f}, got {cutoff:g}"
        )


def output_of(path: Path, config: CampaignConfig, chosen: Path | None) -> Path:
    """Return the campaign's folder: ``-o``, else the file's ``output``, else campaigns/<name>.

    Raises InputError if a file is there.
    """
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", config.name)
    folder = chosen or Path(config.output or Path("campaigns") / slug)
    if folder.is_file():
        raise InputError(f"{folder}: expected a folder for the campaign, found a file")
    return folder


def beside(path: Path, name: str | None) -> Path | None:
    """Return a file that a campaign names, relative to it; InputError if there is none."""
    if name is None:
        return None
    found = path.parent / name
    if not found.is_file():
        raise InputError(f"{path}: names {name}, but {found} does not exist")
    return found
