"""One line of the trust gate: a figure, its limit, a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bjerrum.errors import PhysicsCheckFailed


@dataclass(frozen=True)
class Check:
    """A figure that must not exceed its limit (both not negative)."""

    name: str
    value: float
    limit: float
    unit: str
    explanation: str

    @property
    def passed(self) -> bool:
        """Whether the figure is finite and within its limit."""
        return bool(np.isfinite(self.value)) and self.value <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Return the contract's form; a figure that is not finite becomes null."""
        value = self.value if np.isfinite(self.value) else None
        return {**asdict(self), "value": value, "passed": self.passed}


def require(checks: list[Check]) -> None:
    """Raise PhysicsCheckFailed that names each failed check with its figure and limit."""
    failed = [c for c in checks if not c.passed]
    if failed:
        figures = "; ".join(f"{c.name} {c.value:.3g} {c.unit} (limit {c.limit:g})" for c in failed)
        raise PhysicsCheckFailed(f"trust gate: {figures}; these results must not be used")
