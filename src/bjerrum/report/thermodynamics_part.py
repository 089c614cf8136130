"""The part of the results document that holds osmotic and activity coefficients."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bjerrum.report.parts import (
    Doi,
    NonNegative,
    Part,
    Positive,
    Series,
    Text,
    require_equal_lengths,
    require_increasing,
)


class SolutionCurve(Part):
    """One curve of a panel."""

    label: Text
    kind: Literal["computed", "experiment"]
    x: Series
    value: Series
    band: Annotated[list[NonNegative], Field(min_length=1)] | None = None
    """Half the height of the error band."""
    citation: str | None = None
    doi: Doi = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_equal_lengths(x=self.x, value=self.value, band=self.band or self.value)
        require_increasing("x", self.x)
        return self


class SolutionPanel(Part):
    """One quantity against concentration."""

    title: Text
    symbol: Text
    curves: Annotated[list[SolutionCurve], Field(min_length=1)]


class PairPotential(Part):
    """Potentials of mean force of one pair, with where the table was continued."""

    pair: Text
    r_angstrom: Series
    short_range_kT: Series  # noqa: N815
    full_kT: Series  # noqa: N815
    coulomb_kT: Series  # noqa: N815
    core_angstrom: Positive
    """A wall stands here: closer in the table is not used."""
    end_angstrom: Positive
    """Beyond this the full potential is the screened Coulomb law."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_equal_lengths(
            r_angstrom=self.r_angstrom,
            short_range_kT=self.short_range_kT,
            full_kT=self.full_kT,
            coulomb_kT=self.coulomb_kT,
        )
        require_increasing("r_angstrom", self.r_angstrom)
        return self


class Thermodynamics(Part):
    """Osmotic and activity coefficients along concentration, and what they were made from."""

    salt: str | None
    temperature_K: Positive  # noqa: N815
    axis: Literal["molality_mol_per_kg", "concentration_mol_per_L"]
    panels: Annotated[list[SolutionPanel], Field(min_length=1)]
    potentials: Annotated[list[PairPotential], Field(min_length=1)]
    pmf_source: Text
    pmf_doi: Doi = None
    notes: list[Text] = Field(default_factory=list)
    """What a reader must know beside the curves, a sentence each."""
