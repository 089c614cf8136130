"""A box must be neutral: an Ewald sum would add a uniform background for the rest in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bjerrum.errors import InputError
from bjerrum.potential.model import Model


def require_neutral(model: Model, symbols: Sequence[str]) -> None:
    """Raise InputError if the formal charges of the model's ions do not add up to zero."""
    charges, counts = dict(model.baseline.charges), Counter(symbols)
    ions = {element: counts[element] for element in sorted(charges) if counts[element]}
    total = sum(charges[element] * count for element, count in ions.items())
    if abs(total) > 1e-6:
        listed = ", ".join(f"{count} {element}" for element, count in ions.items())
        raise InputError(
            f"box: expected a neutral box, got {total:+g} e ({listed}); add the missing ions or "
            "remove the others"
        )
