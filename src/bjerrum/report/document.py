"""The results document of a run: what ``results.json`` holds and the report page shows.

``RunDocument.model_validate(json)`` accepts exactly these keys: an unknown key, a missing one, a
number that is not finite or arrays of unequal length are errors. Every quantity carries its unit
in its key, except where a ``unit`` stands beside the value; "1" is the unit of a pure number.
``RunDocument.model_json_schema()`` prints the same description for other programs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bjerrum.report.parts import (
    Count,
    Doi,
    Kind,
    NonNegative,
    Part,
    Positive,
    Series,
    Text,
    require_equal_lengths,
    require_increasing,
)
from bjerrum.report.thermodynamics_part import Thermodynamics
from bjerrum.report.watch_part import WatchRecord


class Question(Part):
    """What was asked and the box that answers it."""

    salt: Text
    molality_mol_per_kg: NonNegative
    molarity_mol_per_L: NonNegative  # noqa: N815
    temperature_K: Positive  # noqa: N815
    n_waters: Count
    n_pairs: Count
    n_atoms: Count
    box_edge_angstrom: Positive
    model: Text
    """Name of the potential."""


class Sampling(Part):
    """How long and how the solution was simulated."""

    n_replicas: Annotated[int, Field(ge=1)]
    timestep_fs: Positive
    equilibration_ps: NonNegative
    """Discarded at the start of each replica."""
    production_ps: NonNegative
    """Analysed, per replica."""
    method: Text
    """Ensemble and thermostat in words."""


class EstimateDocument(Part):
    """An ``Estimate`` as ``Estimate.to_json`` writes it."""

    value: float
    standard_error: NonNegative
    unit: Text
    n_effective: NonNegative
    provenance: dict[str, Any] | None = None
    """Kept in the file, not shown on the page."""


class Source(Part):
    """Where a published number comes from."""

    kind: Kind
    citation: Text
    doi: Doi = None


class Reference(Source):
    """A published value of the quantity of an answer, in the unit of that answer."""

    value: float
    uncertainty: NonNegative | None = None
    """One standard error; null where the source gives none."""
    conditions: str | None = None
    """Concentration, temperature, method."""
    status: str | None = None
    """A remark on how well the value is known."""


class Answer(Part):
    """One quantity: the estimate of this run and the published values beside it."""

    quantity: Text
    """As printed, for example "Li-O first peak"."""
    unit: Text
    estimate: EstimateDocument | None
    reason: str | None = None
    """Why there is no estimate; required then."""
    note: str | None = None
    """What a reader must know beside the number, such as the integration limit."""
    headline: bool = False
    """True for the quantities of the sentence at the top of the page."""
    references: list[Reference] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.estimate is None and not self.reason:
            raise ValueError(f"'{self.quantity}' has no estimate, so it needs a reason")
        if self.estimate is not None and self.estimate.unit != self.unit:
            raise ValueError(
                f"'{self.quantity}' is in {self.unit} but its estimate in {self.estimate.unit}"
            )
        return self


class PeakMarker(Source):
    """A published peak position to draw into a radial distribution function."""

    r_angstrom: Positive
    uncertainty_angstrom: NonNegative | None = None
    conditions: str | None = None


class ReferenceCurve(Source):
    """A published radial distribution function."""

    label: Text
    r_angstrom: Series
    g: Series

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_equal_lengths(r_angstrom=self.r_angstrom, g=self.g)
        require_increasing("r_angstrom", self.r_angstrom)
        return self


class Rdf(Part):
    """A radial distribution function with one standard error per bin, where there is one."""

    r_angstrom: Series
    g: Series
    g_standard_error: Annotated[list[NonNegative | None], Field(min_length=1)]
    """Null in bins whose series is too short for an honest error bar."""
    markers: list[PeakMarker] = Field(default_factory=list)
    reference_curves: list[ReferenceCurve] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_equal_lengths(r_angstrom=self.r_angstrom, g=self.g, g_standard_error=self.band)
        require_increasing("r_angstrom", self.r_angstrom)
        return self

    @property
    def band(self) -> list[float]:
        """Half the height of the drawn error band: zero where there is no error bar."""
        return [0.0 if error is None else error for error in self.g_standard_error]


class ReplicaSeries(Part):
    """Temperature and potential energy of one replica along the run."""

    replica: Text
    time_ps: Series
    kinetic_temperature_K: Series  # noqa: N815
    potential_energy_eV: Series  # noqa: N815
    """Of the whole box."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_equal_lengths(
            time_ps=self.time_ps,
            kinetic_temperature_K=self.kinetic_temperature_K,
            potential_energy_eV=self.potential_energy_eV,
        )
        require_increasing("time_ps", self.time_ps)
        return self


class TimeSeries(Part):
    """What the thermostatted run did, replica by replica."""

    skip_ps: NonNegative
    """Equilibration: discarded, shaded in the figure."""
    replicas: Annotated[list[ReplicaSeries], Field(min_length=1)]


class Nve(Part):
    """The energy-conservation run: total energy relative to its start."""

    time_ps: Series
    total_energy_meV_per_atom: Series  # noqa: N815
    drift_meV_per_atom_per_ps: float  # noqa: N815
    timestep_fs: Positive

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_equal_lengths(
            time_ps=self.time_ps, total_energy_meV_per_atom=self.total_energy_meV_per_atom
        )
        require_increasing("time_ps", self.time_ps)
        return self


class Check(Part):
    """One line of the trust gate."""

    name: Text
    value: float | None
    """Null where the check could not be made; it has not passed then."""
    limit: float
    unit: Text
    passed: bool
    relation: Literal["at_most", "at_least", "magnitude_at_most"] | None = None
    """How value and limit compare in a passed check; tested against ``passed`` where given."""
    explanation: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.value is None:
            if self.passed:
                raise ValueError(f"check '{self.name}' has no value and cannot have passed")
        elif self.relation is not None:
            holds = {
                "at_most": self.value <= self.limit,
                "at_least": self.value >= self.limit,
                "magnitude_at_most": abs(self.value) <= self.limit,
            }[self.relation]
            if holds != self.passed:
                raise ValueError(
                    f"check '{self.name}' says passed = {self.passed}, but {self.value} "
                    f"{self.relation.replace('_', ' ')} {self.limit} is {holds}"
                )
        return self


class LearningCurve(Part):
    """Force error on the validation frames along the training."""

    progress: Series
    progress_name: Literal["epoch", "step"]
    validation_force_rmse_meV_per_angstrom: Annotated[list[Positive], Field(min_length=1)]  # noqa: N815

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_equal_lengths(
            progress=self.progress,
            validation_force_rmse_meV_per_angstrom=self.validation_force_rmse_meV_per_angstrom,
        )
        require_increasing("progress", self.progress)
        return self


class ModelCard(Part):
    """Facts about the potential that produced the numbers."""

    name: Text
    labels: Text
    """What energies and forces it was trained on, in plain words."""
    n_train_frames: Count
    n_validation_frames: Count
    n_test_frames: Count
    test_force_rmse_meV_per_angstrom: dict[str, NonNegative]  # noqa: N815
    """Per element and "all", on frames held out of training."""
    baseline_charges_e: dict[str, float]
    dielectric_constant: Positive
    dataset_hash: Text
    code_version: Text
    learning_curve: LearningCurve | None = None


class Constant(Part):
    """A number taken from elsewhere."""

    name: Text
    value: float | str
    unit: Text
    source: Text
    doi: Doi = None


class StepCost(Part):
    """Wall time of one step of the chain."""

    name: Text
    wall_seconds: NonNegative
    reused: bool = False
    """True where a stored result was used instead of a new run."""


class Cost(Part):
    """What the run took."""

    steps: list[StepCost]
    md_steps: Count
    """Molecular-dynamics steps of all replicas together."""
    atom_steps_per_second: NonNegative
    peak_memory_MiB: NonNegative  # noqa: N815


class Reproduce(Part):
    """How to get the same numbers again."""

    command: Text
    config_toml: str
    versions: dict[str, str]
    seeds: dict[str, int]
    step_hashes: dict[str, str]


class RunDocument(Part):
    """Everything the report page shows; stored by the pipeline as ``results.json``."""

    schema_version: Literal[1] = 1
    question: Question
    sampling: Sampling | None = None
    answers: list[Answer]
    rdfs: dict[str, Rdf]
    """By pair, for example "Li-O"."""
    time_series: TimeSeries | None = None
    nve: Nve | None = None
    thermodynamics: Thermodynamics | None = None
    """Osmotic and activity coefficients from published potentials of mean force."""
    checks: list[Check]
    watchdog: list[WatchRecord] | None = None
    """By replica; null where no watch was kept."""
    model: ModelCard
    constants: list[Constant]
    caveats: list[Text]
    """What the numbers do not include, a sentence each."""
    cost: Cost
    reproduce: Reproduce
