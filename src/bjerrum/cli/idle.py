"""Options of ``coarsen`` that would be without effect: refused, not ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import typer

from bjerrum.errors import InputError

_OF_TRAJECTORIES: Final = ("topology", "stride", "skip_ps", "noise_reduction")
_OF_MODELS: Final = (
    *("pairs_alone", "networks", "network_cutoff", "iterations", "polish_ps", "replicas"),
    *("polish_on", "edge", "n_pairs"),
)
IDLE: Final = {
    "--datasets": (*_OF_TRAJECTORIES, "device", "model", "temperature"),
    "--rdf": (*_OF_TRAJECTORIES, "networks", "network_cutoff", "polish_on"),
    "--dataset-only": _OF_MODELS,
}
"""Without effect in each way of working."""
NEEDS: Final = {
    "edge": {"polish_on", "rdf"},
    "n_pairs": {"polish_on", "rdf"},
    "network_cutoff": {"networks"},
    "device": {"model"},
}
"""Without effect unless one of these is given too."""
_SPELT: Final = {"networks": "--network", "n_pairs": "--pairs"}


def refuse_idle_options(context: typer.Context, modes: Sequence[str]) -> None:
    """Raise InputError for an option that would be without effect, and for two ways at once.

    modes  the ways of working that were chosen, out of IDLE
    """
    if len(modes) > 1:
        raise InputError(f"{' and '.join(modes)}: expected one of them at most")
    given = {name for name in context.params if _is_given(context, name)}
    for mode in modes:
        for name in IDLE[mode]:
            if name in given:
                raise InputError(f"{_option(name)} has no effect with {mode}; leave it out")
    for name, needed in NEEDS.items():
        if name in given and not needed & given:
            others = " or ".join(sorted(map(_option, needed)))
            raise InputError(f"{_option(name)} has no effect without {others}; leave it out")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _option(name: str) -> str:
    return _SPELT.get(name, "--" + name.replace("_", "-"))
