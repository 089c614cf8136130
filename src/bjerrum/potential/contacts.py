"""Do atoms that come closer than any data push each other away? Pairs in vacuum, pressed together.

Distances from 0.7 down to 0.5 of the contact distance of the pair: no liquid at ambient conditions
gets there, so no data say anything, and only a potential that repels there is safe in long runs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bjerrum.checks import Check
from bjerrum.estimate import FloatArray
from bjerrum.frames import contact_distance
from bjerrum.potential.model import Model
from bjerrum.potential.protocol import Potential
from bjerrum.potential.repulsion import Repulsion

FRACTIONS = np.linspace(0.7, 0.5, 9)
"""Of the contact distance."""

SAFE_REPULSION = 1.0
"""eV/angstrom. What a wall is made to reach: other neighbours pull as well, by less than this."""

_STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
_EDGE = 30.0


def contact_pairs(model: Model) -> list[tuple[str, str]]:
    """Return the pairs that are pressed: O-H, cations with each other and O, anions, both kinds."""
    charges, elements = dict(model.baseline.charges), model.card.elements
    cations = [e for e in elements if charges.get(e, 0) > 0]
    anions = [e for e in elements if charges.get(e, 0) < 0]
    pairs = [("O", "H"), *((c, "O") for c in cations), *((c, a) for c in cations for a in anions)]
    pairs += [(a, b) for ions in (cations, anions) for k, a in enumerate(ions) for b in ions[k:]]
    return [pair for pair in pairs if set(pair) <= set(elements)]


def axial_forces(potential: Potential, first: str, second: str) -> FloatArray:
    """Return the force that parts a pressed pair at each of FRACTIONS, eV/angstrom; > 0 repels."""
    forces = potential.bind([first, second], _EDGE * np.eye(3))
    along = []
    for fraction in FRACTIONS:
        positions = np.zeros((2, 3))
        positions[1, 0] = fraction * contact_distance(first, second)
        along.append(forces(positions).forces[1, 0])
    return np.array(along)


def contact_check(model: Model) -> Check:
    """Return the strongest attraction of any pressed pair; the limit is none."""
    weakest = {pair: float(axial_forces(model, *pair).min()) for pair in contact_pairs(model)}
    if not weakest:
        return Check("contacts repel", 0.0, 0.0, "eV/angstrom", "the model knows no such pair")
    (a, b), force = min(weakest.items(), key=lambda item: item[1])
    named = ", ".join("-".join(pair) for pair in weakest)
    return Check(
        "contacts repel",
        max(0.0, -force) if np.isfinite(force) else np.inf,
        0.0,
        "eV/angstrom",
        f"attraction of two atoms at 0.7 to 0.5 of their contact distance ({named}); "
        f"weakest repulsion: {a}-{b}, {force:.2f} eV/angstrom",
    )


def with_safe_contacts(model: Model, wall: Repulsion) -> Model:
    """Return the model with the bars of the wall, and the weakest wall that makes contacts safe.

    wall  its strength is replaced by the least of 1, 2, 4, 8, 16 that will do; if none will, by the
          last, and the model fails the gate. If every contact is safe, only its bars are kept.
    """
    unit, needed = replace(wall, strength=1.0), 0.0
    for pair in contact_pairs(model):
        missing = SAFE_REPULSION - axial_forces(model, *pair)
        given = axial_forces(unit, *pair)
        is_missing = missing > 0
        if is_missing.any():
            ratio = missing[is_missing] / np.maximum(given[is_missing], 1e-9)
            needed = max(needed, float(ratio.max()))
    if needed == 0:
        if model.repulsion is not None or not wall.gaps:
            return model
        return replace(model, repulsion=replace(wall, outer=()))
    strength = next((s for s in _STRENGTHS if s >= needed), _STRENGTHS[-1])
    return replace(model, repulsion=replace(wall, strength=strength))
