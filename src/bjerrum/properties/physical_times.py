"""Runs whose masses were changed: their configurations are right, their times mean nothing."""

from __future__ import annotations

from collections.abc import Mapping


def why_times_mean_nothing(metadata: Mapping[str, str | int | float]) -> str | None:
    """Return why the times of a trajectory are not physical; None if they are.

    metadata  of the trajectory, as :mod:`bjerrum.dynamics` writes it
    """
    if not metadata.get("configurational_only"):
        return None
    mass = metadata.get("repartitioned_hydrogen_mass_amu", "?")
    return f"was run with hydrogens of {mass} amu, for configurations only"
