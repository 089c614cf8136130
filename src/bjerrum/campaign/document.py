"""What a stored run says beside its numbers: checks, constants of others, how to repeat it."""

from __future__ import annotations

import json
from typing import Any

from bjerrum.campaign.measuring import CHECKS, WATCH
from bjerrum.campaign.toml import dumps_toml
from bjerrum.campaign.wiring import Campaign, Measured
from bjerrum.campaign.wiring_thermodynamics import Solved
from bjerrum.density import density_model
from bjerrum.graph import Node
from bjerrum.literature.constants import constant
from bjerrum.reference.classical_force_fields import force_field_of
from bjerrum.store import Store
from bjerrum.system import Solution

Part = Measured | Solved
"""What becomes one run of the database."""

_PLACES = {"output", "database", "profile"}
"""Keys of a campaign that say where, not what; a database's URL may hold a password."""


def document_of(campaign: Campaign, part: Part, store: Store, force_field: str) -> dict[str, Any]:
    """Return plain data: checks, watchdog, constants, how to repeat it, the size of the box."""
    found: dict[str, Any] = {
        "constants": _constants(part, force_field),
        "reproduce": {
            "command": "bjerrum run campaign.toml",
            "config_toml": _config_of(campaign, part.solution),
        },
    }
    if isinstance(part, Solved):
        checked = part.measurements["activity"]
        return found | {"checks": _read(store, checked, CHECKS)}
    watched = [_read(store, node, WATCH) for node in part.trajectories]
    return found | {
        "waters": part.n_waters,
        "checks": _read(store, part.gate, CHECKS),
        "watchdog": [record for record in watched if record is not None],
    }


def _read(store: Store, node: Node | None, name: str) -> Any:
    """Return a file of a finished step; None where there is none."""
    if node is None:
        return None
    path = store.folder_of(node.step) / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _config_of(campaign: Campaign, solution: Solution) -> str:
    """Return the campaign with this salt and temperature alone, as TOML."""
    data = campaign.config.model_dump(mode="json", exclude=_PLACES, exclude_none=True)
    data["solutions"] |= {
        "salts": [solution.salt.formula],
        "temperatures_K": [solution.temperature],
    }
    return dumps_toml(data)


def _constants(part: Part, force_field: str) -> list[dict[str, Any]]:
    solution = part.solution
    density = density_model(solution.salt.formula)
    dielectric = constant("water_dielectric_constant", solution.temperature)
    found: list[dict[str, Any]] = [
        {
            "name": "dielectric constant of water (screened Coulomb part)",
            "value": dielectric.value,
            "unit": "1",
            "source": dielectric.source.citation,
            "doi": dielectric.source.doi or None,
        },
        {
            "name": "density of the solution",
            "value": solution.density,
            "unit": "kg/m3",
            "source": f"{density.name} model: {density.source.citation}",
            "doi": density.source.doi or None,
        },
        {
            "name": "force field of the classical dynamics",
            "value": force_field,
            "unit": "1",
            "source": force_field_of(force_field).citation,
        },
        {
            "name": "atomic masses",
            "value": "standard atomic weights",
            "unit": "u",
            "source": "IUPAC, as tabulated in ASE",
        },
    ]
    if isinstance(part, Solved):
        used = part.ions.step.parameters["dielectric_constant"]
        if abs(used - dielectric.value) > 1e-3:
            found[0] |= {"value": used, "source": "the campaign's own setting", "doi": None}
        found[1] |= {"name": "density of water; of solutions, by the same model"}
    return found
