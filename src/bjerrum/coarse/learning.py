"""Training of networks of ions on what the linear terms leave of the forces.

    minimise  mean (F_label - F_linear - F_network)^2 over the ions of a batch

with Adam, a moving average of the weights, and early stopping on other blocks than those of the
training. Forces only. Most of the loss is the noise of the solvent, so that errors are quoted as
explained variance against the linear terms on the same frames. The network begins at zero: one
that learns nothing changes nothing. Kernels and gradients are those of the all-atom training
(:mod:`bjerrum.potential.fused.learning`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bjerrum.coarse.basis import Basis, force_columns
from bjerrum.coarse.dataset import IonData
from bjerrum.coarse.fit import Fit, NormalEquations, folds_of, solve, sum_of
from bjerrum.coarse.network import IonNetwork
from bjerrum.coarse.spec import NetworkTraining
from bjerrum.estimate import FloatArray


@dataclass(frozen=True, eq=False)
class Residual:
    """A frame as the kernels take it, and the forces that are left to learn, eV/angstrom."""

    frame: Any
    forces: FloatArray
    block: str


def residuals(
    data: IonData, basis: Basis, coefficients: FloatArray, cutoff: float
) -> list[Residual]:
    """Return every frame with its labels less the forces of the linear terms.

    cutoff  of the network, angstrom
    """
    import vesin  # loads torch: late, so that planning does without

    from bjerrum.potential.fused.learning import Frame

    found = []
    search = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    for chunk in data.chunks:
        types = np.array([basis.elements.index(s) for s in chunk.symbols], np.int32)
        for edges, places, forces, block in zip(
            chunk.edges, chunk.positions, chunk.forces, chunk.blocks, strict=True
        ):
            first, second, shifts = search.compute(
                places, np.diag(edges), periodic=True, quantities="ijS"
            )
            linear = force_columns(basis, chunk.symbols, edges, places) @ coefficients
            frame = Frame(
                types,
                np.ascontiguousarray(places, np.float64),
                first.astype(np.int64),
                second.astype(np.int64),
                np.ascontiguousarray(shifts * edges, np.float64),
            )
            found.append(Residual(frame, forces - linear, block))
    return found


class _Trainer:
    """A network, its compiled kernels, optimiser and moving average."""

    def __init__(self, elements: Sequence[str], settings: NetworkTraining, seed: int) -> None:
        import torch
        from nequip.model import NequIPGNNModel
        from nequip.utils.global_state import set_global_state

        from bjerrum.potential.fused.learning import CompiledTraining

        set_global_state()
        self.settings = settings
        self.hyperparameters = settings.form.hyperparameters(tuple(elements))
        self.hyperparameters |= {
            "avg_num_neighbors": 10.0,
            "per_type_energy_scales": 0.1,
            "per_type_energy_shifts": dict.fromkeys(elements, 0.0),
        }
        self.network = NequIPGNNModel(seed=seed, **self.hyperparameters)
        self.kernels = CompiledTraining(self.network, self.hyperparameters)
        with torch.no_grad():
            for name, weights in self.network.named_parameters():
                if "per_atom_energy_readout" in name:
                    weights.zero_()
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.steps = 0
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )

    def forces(self, batch: Sequence[Residual]) -> Any:
        """Return the forces of a batch as a tensor with gradients, (n_ions, 3)."""
        from bjerrum.potential.fused.learning import _EnergyForces

        arrays = self.kernels.derive(self.network)
        frames = [item.frame for item in batch]
        return _EnergyForces.apply(
            self.kernels, frames, arrays.matrices, arrays.scales, arrays.shifts, *arrays.tables
        )[1]

    def step(self, batch: Sequence[Residual], scale: float) -> None:
        """Make one step of the optimiser; ``scale`` is the variance of the labels."""
        import torch

        wanted = torch.from_numpy(np.concatenate([item.forces for item in batch]))
        loss = ((self.forces(batch) - wanted) ** 2).mean() / scale
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        keep = min(self.settings.ema_decay, self.steps / (self.steps + 10))
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].lerp_(value, 1 - keep)

    def gain(self, items: Sequence[Residual]) -> float:
        """Return the variance of the residuals that the averaged weights explain, eV^2/A^2."""
        import torch

        own = copy.deepcopy(self.network.state_dict())
        self.network.load_state_dict(self.average)
        with torch.no_grad():
            total = sum(_gain(self.forces([item]).numpy(), item.forces) for item in items)
        self.network.load_state_dict(own)
        return float(total) / sum(item.forces.size for item in items)


def _gain(found: FloatArray, wanted: FloatArray) -> float:
    return float((2 * found * wanted - found**2).sum())


def train_network(
    training: Sequence[Residual],
    validation: Sequence[Residual],
    elements: Sequence[str],
    settings: NetworkTraining,
    *,
    seed: int = 1,
    on_epoch: Callable[[int, float], None] = lambda epoch, explained: None,
) -> tuple[IonNetwork, dict[str, Any]]:
    """Train one network with early stopping; return it and how it went.

    on_epoch  is told the variance explained of the validation's residuals
    Raises NoCompiler without a C++ compiler.
    """
    trainer, random = _Trainer(elements, settings, seed), np.random.default_rng(seed)
    scale = float(np.mean(np.concatenate([item.forces for item in training]) ** 2))
    best, best_state, history = 0.0, copy.deepcopy(trainer.average), []
    for epoch in range(settings.epochs):
        order = random.permutation(len(training))
        for k in range(0, len(order), settings.batch_frames):
            chosen = order[k : k + settings.batch_frames]
            trainer.step([training[i] for i in chosen], scale)
        explained = trainer.gain(validation) / scale
        history.append(explained)
        on_epoch(epoch + 1, explained)
        if explained > best:
            best, best_state = explained, copy.deepcopy(trainer.average)
        elif epoch - int(np.argmax(history)) >= settings.patience:
            break
    state = {name: value.numpy() for name, value in best_state.items()}
    report = {"epochs": len(history), "explained_validation_residual": best, "history": history}
    return IonNetwork(trainer.hyperparameters, state), report


def explained_by(network: IonNetwork, items: Iterable[Residual]) -> tuple[float, float, int]:
    """Return the sums over frames: variance gained, squared residuals, and components."""
    from bjerrum.potential.fused.network import address

    handle, gain, square, n = network.new_handle(), 0.0, 0.0, 0
    for item in items:
        frame = item.frame
        forces, virial, energy = np.empty_like(item.forces), np.empty((3, 3)), np.empty(1)
        handle.library.network_evaluate(
            handle.address,
            len(frame.types),
            address(frame.types),
            address(frame.positions),
            len(frame.first),
            address(frame.first),
            address(frame.second),
            address(frame.offsets),
            address(energy),
            address(forces),
            address(virial),
        )
        gain += _gain(forces, item.forces)
        square += float((item.forces**2).sum())
        n += item.forces.size
    return gain, square, n


def of_blocks(items: Iterable[Residual], blocks: Iterable[str]) -> list[Residual]:
    """Return the frames of some blocks."""
    wanted = set(blocks)
    return [item for item in items if item.block in wanted]


def train_committee(
    data: IonData,
    blocks: Mapping[str, NormalEquations],
    basis: Basis,
    fit: Fit,
    settings: NetworkTraining,
    seed: int,
    announce: Callable[[str, int, int], None],
) -> tuple[tuple[IonNetwork, ...], dict[str, Any] | None]:
    """Train the committee on what the linear terms leave; return it and what it gains.

    Each member has another fold of trajectories left out, on which its gain is measured beside
    linear terms that have not seen it either, and another one that stops its training.
    """
    if settings.members == 0:
        return (), None
    folds, networks, reports = folds_of(list(blocks)), [], []
    for k in range(settings.members):
        left_out, stopping = (set(folds[(k + i) % len(folds)]) for i in (0, 1))
        rest = sum_of(part for name, part in blocks.items() if name not in left_out)
        items = residuals(
            data, basis, solve(rest, basis, fit.penalties), settings.form.cutoff_angstrom
        )
        network, report = train_network(
            of_blocks(items, set(blocks) - left_out - stopping),
            of_blocks(items, stopping),
            basis.elements,
            settings,
            seed=seed + k,
            on_epoch=lambda epoch, explained: announce("Training", epoch, settings.epochs),
        )
        gain = explained_by(network, of_blocks(items, left_out))[0]
        square = sum(blocks[name].square for name in left_out)
        networks.append(network)
        reports.append({**report, "explained_variance_gained_left_out": gain / square})
    return tuple(networks), {"training": settings.model_dump(mode="json"), **_summary(reports)}


def _summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean gain of members on blocks that each has not seen, with its error."""
    gains = np.array([report["explained_variance_gained_left_out"] for report in reports])
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else None
    return {
        "explained_variance_gained_left_out": float(gains.mean()),
        "explained_variance_gained_left_out_standard_error": error,
        "members": list(reports),
    }
