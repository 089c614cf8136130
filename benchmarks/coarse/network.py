"""What a network adds to pairs and three-body terms: variance explained of left-out trajectories.

    python benchmarks/coarse/network.py IONS.xyz --cutoff 8 --features 8 > network.json

IONS.xyz is the data set that `bjerrum coarsen` writes. Each fold of trajectories is left out once:
linear terms and network are fitted to the others (the next fold stops the network early), and the
variance of the left-out labels that they explain is printed, with the error over folds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bjerrum.coarse.basis import Basis
from bjerrum.coarse.dataset import IonData, load_ions
from bjerrum.coarse.fit import (
    Fit,
    NormalEquations,
    basis_of,
    fit_forces,
    folds_of,
    normal_equations,
)
from bjerrum.coarse.learning import (
    explained_by,
    of_blocks,
    residuals,
    train_network,
)
from bjerrum.coarse.network import DEFAULT_FORM
from bjerrum.coarse.spec import NetworkTraining

Blocks = dict[str, NormalEquations]


def linear(blocks: Blocks, basis: Basis, fold: list[str]) -> tuple[Fit, float]:
    """Return the linear terms fitted without a fold, and what they explain of it."""
    fit = fit_forces({k: v for k, v in blocks.items() if k not in fold}, basis)
    gains = [blocks[k].explained(fit.coefficients) * blocks[k].square for k in fold]
    return fit, sum(gains) / sum(blocks[k].square for k in fold)


def with_network(
    data: IonData, basis: Basis, fit: Fit, folds: list[list[str]], k: int, form: NetworkTraining
) -> tuple[float, dict[str, Any]]:
    """Return the variance of fold k's labels that a network explains beyond the linear terms."""
    items = residuals(data, basis, fit.coefficients, form.form.cutoff_angstrom)
    after = (k + 1) % len(folds)
    rest = [b for i, fold in enumerate(folds) if i not in (k, after) for b in fold]
    network, report = train_network(
        of_blocks(items, rest),
        of_blocks(items, folds[after]),
        basis.elements,
        form,
        seed=k + 1,
        on_epoch=lambda epoch, explained: print(f"fold {k} epoch {epoch} {explained:.5f}",
                                                file=sys.stderr, flush=True),
    )  # fmt: skip
    gain, _, _ = explained_by(network, of_blocks(items, folds[k]))
    return gain, report


def main() -> None:
    """Print the ladder as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ions", type=Path)
    parser.add_argument("--cutoff", type=float, default=DEFAULT_FORM.cutoff_angstrom)
    parser.add_argument("--features", type=int, default=DEFAULT_FORM.n_features)
    parser.add_argument("--layers", type=int, default=DEFAULT_FORM.n_layers)
    parser.add_argument("--degree", type=int, default=DEFAULT_FORM.l_max)
    parser.add_argument("--rate", type=float, default=NetworkTraining().learning_rate)
    parser.add_argument("--epochs", type=int, default=NetworkTraining().epochs)
    parser.add_argument("--folds", type=int, default=5, help="of which so many are done")
    chosen = parser.parse_args()
    form = DEFAULT_FORM.model_copy(
        update={
            "cutoff_angstrom": chosen.cutoff,
            "n_features": chosen.features,
            "n_layers": chosen.layers,
            "l_max": chosen.degree,
        }
    )
    training = NetworkTraining(form=form, learning_rate=chosen.rate, epochs=chosen.epochs)
    print(json.dumps(ladder(load_ions(chosen.ions), training, chosen.folds), indent=1))


def ladder(data: IonData, training: NetworkTraining, n_folds: int) -> dict[str, Any]:
    """Return the explained variance of the four forms."""
    rows: dict[str, list[float]] = {}
    reports, seconds = [], []
    parts = {name: basis_of(data, n_radial=n) for name, n in (("pairs", 0), ("three-body", 4))}
    blocks = {name: normal_equations(data, basis) for name, basis in parts.items()}
    folds = folds_of(list(blocks["pairs"]))
    for k, fold in enumerate(folds[:n_folds]):
        square = sum(blocks["pairs"][b].square for b in fold)
        for name, basis in parts.items():
            fit, explained = linear(blocks[name], basis, fold)
            begin = time.process_time()
            gain, report = with_network(data, basis, fit, folds, k, training)
            seconds.append(time.process_time() - begin)
            rows.setdefault(name, []).append(explained)
            rows.setdefault(f"{name} + network", []).append(explained + gain / square)
            reports.append(report["epochs"])
    return {
        "n_frames": data.n_frames,
        "source": data.source,
        "form": training.model_dump(mode="json"),
        "explained_variance_left_out": {
            name: {
                "standard_error": float(np.std(v, ddof=1) / np.sqrt(len(v)))
                if len(v) > 1
                else None,
                "by_fold": v,
            }
            for name, v in rows.items()
        },
        "gain_of_network": {
            name: _difference(rows[f"{name} + network"], rows[name]) for name in parts
        },
        "gain_of_three_body_terms": _difference(rows["three-body"], rows["pairs"]),
        "epochs": reports,
        "cpu_seconds_of_a_training": float(np.mean(seconds)),
    }


def _difference(new: list[float], old: list[float]) -> dict[str, float | None]:
    return _mean([a - b for a, b in zip(new, old, strict=True)])


def _mean(values: list[float]) -> dict[str, float | None]:
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"value": float(np.mean(values)), "standard_error": error}


if __name__ == "__main__":
    main()
