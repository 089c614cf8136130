"""One line of the trust gate: a figure, its limit, a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bjerrum.errors import PhysicsCheckFailed


@dataclass(frozen=True)
class Check:
    """A figure, such as the size of an error, that must not exceed its limit.

    value  not negative; NaN and infinity fail
    limit  not negative, same unit

    Raises ValueError if the limit is not a finite number of at least 0.
    """

    name: str
    value: float
    limit: float
    unit: str
    explanation: str

    def __post_init__(self) -> None:
        if not 0 <= self.limit < math.inf:
            raise ValueError(f"check {self.name!r}: expected a limit >= 0, got {self.limit}")

    @property
    def passed(self) -> bool:
        """Whether the figure lies between 0 and its limit."""
        return bool(0 <= self.value <= self.limit)

    def to_json(self) -> dict[str, Any]:
        """Return the contract's form; a figure that is not finite becomes null."""
        value = float(self.value) if math.isfinite(self.value) else None
        return {**asdict(self), "value": value, "limit": float(self.limit), "passed": self.passed}


def require(checks: Sequence[Check]) -> None:
    """Raise PhysicsCheckFailed that names each failed check with its figure and limit."""
    failed = [c for c in checks if not c.passed]
    if failed:
        figures = "; ".join(f"{c.name} {c.value:.3g} {c.unit} (limit {c.limit:g})" for c in failed)
        raise PhysicsCheckFailed(f"trust gate: {figures}; these results must not be used")
