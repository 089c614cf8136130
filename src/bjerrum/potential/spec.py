"""What to train: a validated specification, and the NequIP input that is generated from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.specification import Count, NotNegative, Positive, Spec


class NetworkSpec(Spec):
    """Shape of the NequIP network; the defaults are the published ones (arXiv:2310.12535)."""

    cutoff_angstrom: Positive = 5.0
    n_layers: Count = 3
    l_max: Annotated[int, Field(ge=0, le=4)] = 2
    n_features: Count = 16
    parity: bool = False
    n_bessels: Count = 8
    radial_depth: Count = 2
    radial_width: Count = 32
    polynomial_cutoff_p: Count = 6

    def hyperparameters(self, elements: tuple[str, ...]) -> dict[str, Any]:
        """Return the arguments of ``nequip.model.NequIPGNNModel`` that fix the architecture."""
        return {
            "model_dtype": "float32",
            "type_names": list(elements),
            "r_max": self.cutoff_angstrom,
            "num_layers": self.n_layers,
            "l_max": self.l_max,
            "parity": self.parity,
            "num_features": self.n_features,
            "num_bessels": self.n_bessels,
            "bessel_trainable": True,
            "radial_mlp_depth": self.radial_depth,
            "radial_mlp_width": self.radial_width,
            "polynomial_cutoff_p": self.polynomial_cutoff_p,
        }


class BaselineSpec(Spec):
    """The screened Coulomb baseline that is subtracted from the labels."""

    charges_e: dict[str, float]
    dielectric_constant: Annotated[float, Field(ge=1, allow_inf_nan=False)]

    def build(self) -> ScreenedCoulomb:
        """Return the baseline itself."""
        return ScreenedCoulomb.of(self.charges_e, self.dielectric_constant)


class SplitSpec(Spec):
    """How many trajectory blocks are set aside, and the seed that chooses them.

    member  number in a committee: another one has other validation blocks, the same test blocks.
            ``train --committee`` counts it up; set it to train one member on its own.
    training_frames  at most this many, spread evenly over the rest: for learning curves
    trained_blocks   how the names of blocks begin that are trained on in any case, such as those of
                     active learning; the rest is split as if they were not there
    """

    validation_blocks: Count = 3
    test_blocks: Annotated[int, Field(ge=0)] = 6
    seed: int = 0
    member: Annotated[int, Field(ge=0)] = 0
    training_frames: Count | None = None
    trained_blocks: list[str] = Field(default_factory=list)


class OptimiserSpec(Spec):
    """Optimiser with warm-up, plateau and cooldown, and a moving average of the weights.

    method         muon (Jordan et al. 2024: orthogonalised updates of the weight matrices, Adam for
                   the rest) or adam
    learning_rate  at the plateau. Four to eight times 0.01 halves the error of short trainings with
                   muon (docs/models.md); adam wants about 0.01, fine-tuning 0.005
    steps          optimiser steps in all, rounded to whole rounds; raise it later to go on
    round_steps    steps between two validations and checkpoints; at most one pass over the frames
    energy_weight  of the squared energy error per atom (eV^2) against the squared force error
    force_weights  relative weight of each element's mean squared force error (default: equal);
                   ions are few and would otherwise hardly count
    """

    method: Literal["muon", "adam"] = "muon"
    learning_rate: Positive = 0.04
    batch_frames: Count = 1
    steps: Count = 15000
    round_steps: Count = 250
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    cooldown_fraction: Annotated[float, Field(gt=0, le=1)] = 0.3
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.998
    energy_weight: NotNegative = 10.0
    force_weights: dict[str, Positive] = Field(default_factory=dict)


class CardSpec(Spec):
    """What the model's card tells a reader that no program can know."""

    labels: str = ""
    licence: str = "MIT"
    limits: list[str] = Field(default_factory=list)


class TrainingSpec(Spec):
    """A whole training run, as written in a training TOML."""

    backend: Literal["nequip"] = "nequip"
    seed: int = 1
    network: NetworkSpec = NetworkSpec()
    baseline: BaselineSpec
    split: SplitSpec = SplitSpec()
    optimiser: OptimiserSpec = OptimiserSpec()
    card: CardSpec = CardSpec()

    def settings_that_must_match(self) -> dict[str, Any]:
        """Return everything that a checkpoint depends on; only the horizon may change."""
        data = self.model_dump(mode="json", exclude={"card"})
        for horizon in ("steps", "cooldown_fraction"):
            del data["optimiser"][horizon]
        for chosen in ("member", "training_frames", "trained_blocks"):
            del data["split"][chosen]  # the blocks and the number of frames are compared themselves
        return data

    def of_member(self, member: int) -> TrainingSpec:
        """Return the settings of a committee's member: other seed, other validation blocks."""
        split = self.split.model_copy(update={"member": self.split.member + member})
        return self.model_copy(update={"seed": self.seed + member, "split": split})


def _adam(rate: float) -> dict[str, Any]:
    return {"_target_": "torch.optim.Adam", "lr": rate}


def _muon(rate: float) -> dict[str, Any]:
    groups = {
        "_target_": "nequip.model.MuonParamGroups",
        "muon": {"lr": rate},
        "adam": {"lr": rate},
    }
    return {"_target_": "nequip.train.MuonWithAuxAdam", "param_groups": groups}


_OPTIMISERS = {"adam": _adam, "muon": _muon}


def nequip_input(
    spec: TrainingSpec,
    *,
    elements: tuple[str, ...],
    energy_shifts: dict[str, float],
    with_energies: bool = True,
) -> dict[str, Any]:
    """Return NequIP's own description of the data, the model and its training.

    elements       the network's atom types, in order
    energy_shifts  eV per atom, constant, added to the network's output
    with_energies  whether the labels have energies beside the forces
    File names are relative to the training folder. The model still lacks avg_num_neighbors and
    per_type_energy_scales, which are statistics of the data.
    """
    optimiser = spec.optimiser
    weights = {element: optimiser.force_weights.get(element, 1.0) for element in elements}
    return {
        "data": _data(spec, elements),
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": optimiser.ema_decay,
            **_measures(optimiser.energy_weight, weights, with_energies=with_energies),
            "optimizer": _OPTIMISERS[optimiser.method](optimiser.learning_rate),
            "model": {
                "_target_": "nequip.model.NequIPGNNModel",
                "seed": spec.seed,
                **spec.network.hyperparameters(elements),
                "per_type_energy_shifts": energy_shifts,
            },
        },
    }


def _measures(
    energy_weight: float, force_weights: dict[str, float], *, with_energies: bool
) -> dict[str, Any]:
    """Return the loss and what is measured in validation."""
    if with_energies:
        return {
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "per_atom_energy": True,
                "coeffs": {"total_energy": energy_weight, "forces": 1.0},
                "per_type_forces_coeffs": force_weights,
            },
            "val_metrics": {
                "_target_": "nequip.train.EnergyForceMetrics",
                "coeffs": {"per_atom_energy_rmse": None, "forces_rmse": 1.0},
            },
        }
    per_type = {"per_type": True, "per_type_coeffs": force_weights}
    return {
        "loss": _force_metric("forces_mse", "MeanSquaredError", per_type),
        "val_metrics": _force_metric("forces_rmse", "RootMeanSquaredError", {}),
    }


def _force_metric(name: str, metric: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return a NequIP manager of one measure of the forces."""
    entry = {
        "name": name,
        "field": "forces",
        "coeff": 1.0,
        "metric": {"_target_": f"nequip.train.{metric}"},
    }
    return {"_target_": "nequip.train.MetricsManager", "metrics": [entry | options]}


def _data(spec: TrainingSpec, elements: tuple[str, ...]) -> dict[str, Any]:
    loader = {"_target_": "torch.utils.data.DataLoader"}
    mapper = "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper"
    neighbours = "nequip.data.transforms.NeighborListTransform"
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": spec.seed,
        "train_file_path": "train.extxyz",
        "val_file_path": "validation.extxyz",
        "transforms": [
            {"_target_": mapper, "model_type_names": list(elements)},
            {"_target_": neighbours, "r_max": spec.network.cutoff_angstrom},
        ],
        "train_dataloader": {
            **loader,
            "batch_size": spec.optimiser.batch_frames,
            "shuffle": True,
        },
        "val_dataloader": {**loader, "batch_size": 5},
        "stats_manager": {
            "_target_": "nequip.data.CommonDataStatisticsManager",
            "type_names": list(elements),
            "dataloader_kwargs": {"batch_size": 10},
        },
    }
