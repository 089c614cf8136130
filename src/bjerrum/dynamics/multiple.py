"""Multiple time steps: BAOAB with a cheap inner potential, the rest as an outer kick (r-RESPA).

Tuckerman, Berne & Martyna, J. Chem. Phys. 97, 1990 (1992), with Langevin noise in the inner steps.
One outer step is half a kick by F - f, n BAOAB steps by the cheap forces f, half a kick by F - f.
"""

from __future__ import annotations

from bjerrum.dynamics.integrators import State, langevin_step, verlet_step
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.protocol import ForceFunction
from bjerrum.units import AMU_IN_EV_FS2_PER_ANGSTROM2


def multiple_step(
    state: State,
    masses: FloatArray,
    forces: ForceFunction,
    inner: ForceFunction,
    *,
    timestep: float,
    n_inner: int,
    friction: float | None,
    temperature: float,
    noise: FloatArray,
) -> State:
    """Advance by one outer step.

    inner     the cheap potential; any one gives the right averages as the steps go to zero
    timestep  outer, fs
    friction  1/fs; None for constant energy
    noise     standard normal numbers, shape (n_inner, n_atoms, 3)
    """
    fast = inner(state.positions) if state.inner is None else state.inner
    kick = timestep / (2 * masses[:, None] * AMU_IN_EV_FS2_PER_ANGSTROM2)
    velocities = state.velocities + kick * (state.evaluation.forces - fast.forces)
    inside = State(state.positions, velocities, fast, state.kinetic_tensor)
    step = timestep / n_inner
    for number in range(n_inner):
        if friction is None:
            inside = verlet_step(inside, masses, inner, timestep=step)
        else:
            inside = langevin_step(
                inside, masses, inner, timestep=step, friction=friction, temperature=temperature,
                noise=noise[number],
            )  # fmt: skip
    evaluation = forces(inside.positions)
    velocities = inside.velocities + kick * (evaluation.forces - inside.evaluation.forces)
    return State(
        inside.positions, velocities, evaluation, inside.kinetic_tensor, inner=inside.evaluation
    )


def slow_part(whole: Evaluation, fast: Evaluation) -> FloatArray:
    """Return what the outer kick leaves to itself, eV/angstrom: how good the inner potential is."""
    return whole.forces - fast.forces
