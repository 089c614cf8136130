"""From a model and a box to what a run needs: compiled forces, a watch, an inner potential."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from bjerrum.dynamics.settings import Dynamics, Setup, require_sound_steps
from bjerrum.dynamics.stepping import Binder, Extras
from bjerrum.dynamics.watchdog import Watch, watch_for
from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.potential.fused.inner import InnerPotential
from bjerrum.potential.fused.model import for_dynamics
from bjerrum.potential.model import Model
from bjerrum.potential.neutrality import require_neutral
from bjerrum.potential.protocol import ForceFunction
from bjerrum.potential.shared_batch import SharedBatch

TRUSTED_DIFFERENCE = 1e-4
"""eV/angstrom: compiled and plain forces of the first configuration differ by less, or the run does
not start. Rounding leaves 1e-5 at most."""


def assemble(
    model: Model, atoms: Atoms, dynamics: Dynamics, setup: Setup, *, unsound: bool = False
) -> tuple[ForceFunction, Extras]:
    """Return bound forces and the extras of a run.

    unsound  allow multiple time steps that are known to fail, to measure that they do

    Raises InputError for such steps, for a charged box, for constant pressure without compiled
    forces, or for multiple time steps without an inner potential; PhysicsCheckFailed if compiled
    and plain forces differ.
    """
    if not unsound:
        require_sound_steps(dynamics)
    require_neutral(model, list(atoms.symbols))
    if setup.evaluation == "batched" or is_batched(model, setup):
        alone = SharedBatch(model, [atoms]).member(0)
        return alone, extras_of(model, atoms, dynamics, setup, alone)
    fast = for_dynamics(model, setup.evaluation)
    symbols = list(atoms.symbols)
    forces = fast.potential.bind(symbols, atoms.cell.array)
    if fast.how == "fused":
        _require_same(model, forces, atoms)
    elif dynamics.pressure_bar is not None:
        reason = "--evaluation plain was given" if setup.evaluation == "plain" else fast.reason
        raise InputError(f"--pressure-bar: constant pressure needs the compiled network: {reason}")
    return forces, Extras(
        rebind=lambda cell: fast.potential.bind(symbols, cell),
        inner=_inner(model, symbols, dynamics, setup),
        watch=_watch(model, setup),
        facts=_facts(model, fast.how),
    )


def is_batched(model: Model, setup: Setup) -> bool:
    """Whether forces come from a batch: asked for, or a graphics card, which likes nothing else."""
    on_card = any(member.device.type != "cpu" for member in model.network.members)
    return setup.evaluation == "batched" or (setup.evaluation == "auto" and on_card)


def extras_of(
    model: Model, atoms: Atoms, dynamics: Dynamics, setup: Setup, forces: ForceFunction
) -> Extras:
    """Return the extras of a run whose forces come from a batch; raises as :func:`assemble`."""
    if dynamics.pressure_bar is not None:
        raise InputError(
            "--pressure-bar: constant pressure needs the compiled network, which is for the CPU "
            "alone: leave out --device cuda and --evaluation batched"
        )
    require_neutral(model, list(atoms.symbols))
    _require_same(model, forces, atoms)
    return Extras(
        inner=_inner(model, list(atoms.symbols), dynamics, setup),
        watch=_watch(model, setup),
        facts=_facts(model, f"batched on {model.network.members[0].device.type}"),
    )


def _inner(model: Model, symbols: list[str], dynamics: Dynamics, setup: Setup) -> Binder | None:
    if dynamics.inner_steps > 1 and setup.inner is None:
        raise InputError("multiple time steps need an inner potential: fit one first")
    if setup.inner is None:
        return None
    inner = InnerPotential.from_json(setup.inner)
    return lambda cell: inner.bind(symbols, cell, model.repulsion)


def _watch(model: Model, setup: Setup) -> Watch | None:
    if setup.on_event == "off":
        return None
    return watch_for(model.repulsion, on_event=setup.on_event)


def _facts(model: Model, evaluation: str) -> tuple[tuple[str, str | int | float], ...]:
    facts: dict[str, str | int | float] = {
        "model": model.card.name,
        "model_weights_sha256": model.card.weights_sha256,
        "evaluation": evaluation,
    }
    return tuple(facts.items())


def _require_same(model: Model, forces: ForceFunction, atoms: Atoms) -> None:
    """Compare the compiled with the plain forces once, on the configuration that is to be run."""
    ours = forces(atoms.positions).forces
    plain = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions).forces
    difference = float(np.abs(ours - plain).max())
    allowed = TRUSTED_DIFFERENCE * max(1.0, float(np.abs(plain).max()) / 10)
    if not difference <= allowed:
        raise PhysicsCheckFailed(
            f"compiled and plain forces differ by {difference:.2g} eV/angstrom (limit "
            f"{allowed:.2g}); run with --evaluation plain and report this"
        )
