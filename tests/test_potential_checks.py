"""The trust gate is green on a sound model and red on each kind of broken one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from bjerrum.checks import require
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import Evaluation
from bjerrum.potential.checks import check_model
from bjerrum.potential.model import Model, load_model
from bjerrum.potential.protocol import BoundSum

GRADIENT = "forces are the gradient of the energy"


@dataclass(frozen=True)
class Broken:
    """A network with a fault: ``fault(network, symbols, cell)`` is the bound force function."""

    network: Any
    fault: Any

    def bind(self, symbols, cell):
        return self.fault(self.network, symbols, cell)


def after(change):
    """A fault that spoils the result: ``change(evaluation, positions, cell)``."""

    def fault(network, symbols, cell):
        bound = network.bind(symbols, cell)
        return lambda positions: change(bound(positions), positions, cell)

    return fault


def scaled_forces(e, positions, cell):
    return Evaluation(e.energy, 1.01 * e.forces)


def energy_in_kcal_per_mol(e, positions, cell):
    return Evaluation(23.06 * e.energy, e.forces)


def jump_at_a_cutoff(e, positions, cell):
    d = positions[:, None] - positions[None]
    d -= np.round(d @ np.linalg.inv(cell)) @ cell
    n_pairs = np.count_nonzero(np.einsum("ijk,ijk->ij", d, d) < 2.9**2) / 2
    return Evaluation(e.energy + 1e-3 * n_pairs, e.forces)


def net_push(e, positions, cell):
    return Evaluation(e.energy, e.forces + np.array([1e-4, 0, 0]))


def grows_with_the_square_of_size(e, positions, cell):
    return Evaluation(e.energy + 1e-5 * len(positions) ** 2, e.forces)


def not_a_number(e, positions, cell):
    return Evaluation(e.energy, np.where(np.arange(len(positions))[:, None] == 2, np.nan, e.forces))


def elements_by_order_of_appearance(network, symbols, cell):
    names = dict(zip(dict.fromkeys(symbols), ("O", "H", "Li", "Cl"), strict=True))
    return network.bind([names[s] for s in symbols], cell)


def stale_neighbours(network, symbols, cell):
    bound = network.bind(symbols, cell)
    bound.neighbours.skin = np.inf  # does not search again, whatever moves
    return bound


def stretched_along_z(network, symbols, cell):
    stretch = np.array([1.0, 1.0, 1.05])
    bound = network.bind(symbols, cell * stretch)

    def evaluate(positions):
        e = bound(positions * stretch)
        return Evaluation(e.energy, e.forces * stretch)

    return evaluate


@dataclass(frozen=True)
class OtherBaselineInDynamics(Model):
    def bind(self, symbols, cell):
        other = ScreenedCoulomb(self.baseline.charges, 72.0)
        parts = {"network": self.network, "coulomb": other}
        return BoundSum({name: part.bind(symbols, cell) for name, part in parts.items()})


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(str(tiny_model))


def failed(model, box):
    return {check.name for check in check_model(model, box) if not check.passed}


def test_a_sound_model_passes_with_room_to_spare(model, box):
    checks = check_model(model, box)
    require(checks)
    assert len({check.name for check in checks}) == 7
    for check in checks:
        assert check.value < 0.1 * check.limit, check


def test_the_figures_do_not_depend_on_where_the_neighbour_list_stood(model, box):
    assert [c.value for c in check_model(model, box)] == [c.value for c in check_model(model, box)]
    assert check_model(model, box, seed=1)[0].value != check_model(model, box)[0].value


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (after(scaled_forces), GRADIENT),
        (after(energy_in_kcal_per_mol), GRADIENT),
        (after(jump_at_a_cutoff), GRADIENT),
        (after(net_push), "net force"),
        (after(grows_with_the_square_of_size), "extensivity"),
        (elements_by_order_of_appearance, "permutation"),
        (stretched_along_z, "rotation"),
        (stale_neighbours, "translation and wrapping"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_red_on_a_broken_network(model, box, fault, expected):
    broken = replace(model, network=Broken(model.network, fault))
    checks = check_model(broken, box)
    assert {check.name for check in checks if not check.passed} == {expected}
    with pytest.raises(PhysicsCheckFailed, match=expected):
        require(checks)


def test_red_if_dynamics_adds_another_baseline_than_training_subtracted(model, box):
    broken = OtherBaselineInDynamics(model.card, model.network, model.baseline, model.folder)
    assert failed(broken, box) == {"baseline subtracted is baseline added"}


def test_red_on_nan(model, box):
    found = failed(replace(model, network=Broken(model.network, after(not_a_number))), box)
    assert {GRADIENT, "net force", "rotation", "permutation"} <= found
