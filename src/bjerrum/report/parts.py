"""What every part of the results document is made of: types, rules and checks."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Doi = Annotated[
    Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$")] | None,
    BeforeValidator(lambda doi: None if doi == "" else doi),
]
Series = Annotated[list[float], Field(min_length=1)]
Kind = Literal["experiment", "simulation"]


def require_equal_lengths(**series: list[float]) -> None:
    """Raise ValueError unless all arrays have one length."""
    lengths = {name: len(values) for name, values in series.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"arrays must have equal lengths, got {listed}")


def require_increasing(name: str, values: list[float]) -> None:
    """Raise ValueError unless each value is above the one before it."""
    if any(after <= before for before, after in pairwise(values)):
        raise ValueError(f"{name} must increase")


class Part(BaseModel):
    """Common rules: unknown keys and non-finite numbers are errors, nothing is converted."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
