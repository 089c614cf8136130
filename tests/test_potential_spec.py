"""A training TOML becomes NequIP's input; what cannot be meant is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError
from bjerrum.potential.spec import TrainingSpec, nequip_input
from bjerrum.specification import read_spec, validate_spec

BASELINE = {"charges_e": {"Li": 1, "Cl": -1}, "dielectric_constant": 78.3}
EXAMPLE = Path(__file__).parents[1] / "examples" / "train_licl.toml"


def spec_of(**sections) -> TrainingSpec:
    return validate_spec({"baseline": BASELINE, **sections}, TrainingSpec, "t.toml")


def test_the_example_is_valid_and_has_the_published_architecture():
    """Cutoff, layers, l_max, features and Bessel functions of arXiv:2310.12535."""
    spec = read_spec(EXAMPLE, TrainingSpec)
    parameters = spec.network.hyperparameters(("Cl", "H", "Li", "O"))
    assert parameters["r_max"] == 5.0
    assert (parameters["num_layers"], parameters["l_max"], parameters["num_features"]) == (3, 2, 16)
    assert spec.baseline.build() == ScreenedCoulomb.of({"Li": 1, "Cl": -1}, 78.304)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"optimiser": {"learning_rates": 0.1}}, "unknown key 'optimiser.learning_rates'"),
        ({"optimiser": {"method": "sgd"}}, "optimiser.method"),
        ({"optimiser": {"steps": 0}}, "optimiser.steps"),
        ({"optimiser": {"force_weights": {"H": -1}}}, "optimiser.force_weights.H"),
        ({"optimiser": {"learning_rate": float("nan")}}, "optimiser.learning_rate"),
        ({"network": {"cutoff_angstrom": "far"}}, "network.cutoff_angstrom"),
        ({"baseline": {"charges_e": {"Li": 1}}}, "baseline.dielectric_constant"),
        ({"split": {"validation_blocks": 0}}, "split.validation_blocks"),
    ],
)
def test_refuses_what_cannot_be_meant(sections, message):
    with pytest.raises(InputError, match=f"^t.toml: .*{message}"):
        spec_of(**sections)


def test_only_the_horizon_and_the_words_on_the_card_may_change():
    settings = spec_of().settings_that_must_match()
    for same in (
        {"optimiser": {"steps": 99, "cooldown_fraction": 0.9}},
        {"card": {"labels": "words"}},
    ):
        assert spec_of(**same).settings_that_must_match() == settings
    for other in (
        {"optimiser": {"round_steps": 99}},
        {"network": {"l_max": 1}},
        {"seed": 2},
        {"split": {"seed": 2}},
        {"baseline": {**BASELINE, "dielectric_constant": 72.0}},
    ):
        assert spec_of(**other).settings_that_must_match() != settings


def test_nequips_input_carries_the_specification():
    spec = spec_of(
        seed=5,
        optimiser={"method": "adam", "learning_rate": 0.03, "force_weights": {"H": 4.5}},
    )
    shifts = {"H": -1.0, "O": -2.0}
    data = nequip_input(spec, elements=("H", "O"), energy_shifts=shifts)
    module = data["training_module"]
    assert module["loss"]["per_type_forces_coeffs"] == {"H": 4.5, "O": 1.0}
    assert module["loss"]["coeffs"] == {"total_energy": 10.0, "forces": 1.0}
    assert module["optimizer"] == {"_target_": "torch.optim.Adam", "lr": 0.03}
    assert module["model"]["seed"] == data["data"]["seed"] == 5
    assert module["model"]["per_type_energy_shifts"] == shifts
    assert module["model"]["type_names"] == ["H", "O"]
    assert data["data"]["transforms"][1]["r_max"] == module["model"]["r_max"] == 5.0


def test_members_of_a_committee_differ_in_seed_and_validation_blocks_alone():
    first = read_spec(EXAMPLE, TrainingSpec)
    second = first.of_member(1)
    assert (second.seed, second.split.member) == (first.seed + 1, 1)
    assert second.of_member(0) == second
    changed = second.model_copy(update={"seed": first.seed, "split": first.split})
    assert changed == first
