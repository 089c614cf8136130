"""A run that is being worked on: its question, its model, its store; checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bjerrum.configuration import RunConfig
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import ModelError
from bjerrum.potential.card import ModelCard, find_model, read_card
from bjerrum.store import Result, Store
from bjerrum.system import Solution

Announce = Callable[[str, int, int], None]
"""Called with (stage, done, total) while long work goes on."""

CONFIG_COPY = "config.toml"
"""The user's TOML as it was read, beside the results."""


@dataclass(frozen=True)
class Run:
    """A run that is being worked on: its question, its model, its store."""

    config: RunConfig
    solution: Solution
    model_folder: Path
    card: ModelCard
    store: Store
    announce: Announce

    @classmethod
    def open(cls, config: RunConfig, root: Path, announce: Announce) -> Run:
        """Check the whole configuration before anything is computed.

        Raises InputError or ModelError for a solution, model or baseline that cannot be used.
        """
        solution = config.solution.build()
        folder = find_model(config.potential.model)
        card = read_card(folder)
        _require_fit(config, solution, card)
        return cls(config, solution, folder, card, Store(root), announce)


def _require_fit(config: RunConfig, solution: Solution, card: ModelCard) -> None:
    """Refuse a model that lacks an element, another baseline, or a box below twice the cutoff."""
    elements = {solution.salt.cation.symbol, solution.salt.anion.symbol, "H", "O"}
    missing = sorted(elements - set(card.elements))
    if missing:
        raise ModelError(
            f"model {card.name}: knows {', '.join(card.elements)}, {solution.salt} in water also "
            f"needs {', '.join(missing)}; choose or train another model"
        )
    own = ScreenedCoulomb.from_json(card.baseline)
    wanted = config.potential.dielectric_constant
    if wanted is not None and not np.isclose(wanted, own.dielectric_constant, rtol=1e-6):
        raise ModelError(
            f"potential.dielectric_constant: model {card.name} was trained with "
            f"{own.dielectric_constant:g}, got {wanted:g}; remove the key or choose another model"
        )
    edge = solution.box_edge(config.box.waters)
    if edge < 2 * card.cutoff:
        least = int(np.ceil(config.box.waters * (2 * card.cutoff / edge) ** 3))
        raise ModelError(
            f"box.waters: {config.box.waters} waters make a box of {edge:.2f} angstrom, expected "
            f"at least twice the model's cutoff ({2 * card.cutoff:g}); use at least {least}"
        )


def skip_ps(run: Run, plan: Result) -> float:
    """Return the length of each replica's start that is not analysed, in ps."""
    dynamics = run.config.dynamics
    length = plan.read_json("plan.json")["n_steps"] * dynamics.timestep_fs / 1e3
    return round(length * dynamics.equilibration_part, 6)
