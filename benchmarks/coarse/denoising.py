"""Denoising targets beside forces: what each explains of left-out mean-force labels.

    python benchmarks/coarse/denoising.py IONS.xyz > denoising.json

IONS.xyz is a data set that `bjerrum coarsen` writes. Move every ion by a Gaussian step of width s:
the mean of k_B T (R - R')/s^2 at given R' is the mean force of the blurred distribution (Vincent,
Neural Comput. 23, 1661 (2011)), and needs no all-atom forces. Its noise is k_B T/s; a wide step has
little noise and blurs the potential. Each fold of trajectories is left out once; linear terms are
fitted to the rest with either label and with both (weights: one over the variance of the noise),
and the variance of the left-out force labels that they explain is printed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bjerrum.coarse.basis import Basis
from bjerrum.coarse.dataset import IonData, _coulomb, load_ions
from bjerrum.coarse.fit import (
    NormalEquations,
    _options,
    basis_of,
    folds_of,
    normal_equations,
    solve,
    sum_of,
)
from bjerrum.units import thermal_energy

Blocks = dict[str, NormalEquations]


def denoising(data: IonData, width: float, seed: int = 1) -> IonData:
    """Return the data set with moved ions and, as labels, the pull back less the baseline."""
    random, kt = np.random.default_rng(seed), thermal_energy(data.temperature)
    chunks = []
    for chunk in data.chunks:
        steps = random.normal(0.0, width, chunk.positions.shape)
        moved = chunk.positions + steps
        cell = np.diag(chunk.edges[0])
        coulomb = _coulomb(data.baseline, list(chunk.symbols), cell)
        baseline = np.array([coulomb(places).forces for places in moved])
        labels = -kt * steps / width**2 - baseline
        chunks.append(replace(chunk, positions=moved, forces=labels))
    return replace(data, chunks=tuple(chunks))


def scaled(blocks: Blocks, weight: float) -> Blocks:
    """Return the equations with another weight."""
    return {
        name: NormalEquations(b.matrix * weight, b.right * weight, b.square * weight, b.n)
        for name, b in blocks.items()
    }


def explained(fitted: Blocks, tested: Blocks, folds: list[list[str]], basis: Basis) -> list[float]:
    """Return, by fold, the best of what all penalties explain of the left-out force labels."""
    table = []
    for fold in folds:
        rest = sum_of(b for name, b in fitted.items() if name not in fold)
        out = sum_of(tested[name] for name in fold)
        table.append([out.explained(solve(rest, basis, p)) for p in _options(basis)])
    best = int(np.mean(table, axis=0).argmax())
    return [row[best] for row in table]


def main() -> None:
    """Print the table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ions", type=Path)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.1, 0.2, 0.3])
    parser.add_argument("--draws", type=int, default=2, help="steps for each configuration")
    chosen = parser.parse_args()
    data = load_ions(chosen.ions)
    basis = basis_of(data, n_radial=0)
    forces = normal_equations(data, basis)
    folds = folds_of(list(forces))
    noise = sum(b.square for b in forces.values()) / sum(b.n for b in forces.values())
    rows: dict[str, Any] = {"forces": explained(forces, forces, folds, basis)}
    for width in chosen.widths:
        drawn = [normal_equations(denoising(data, width, k), basis) for k in range(chosen.draws)]
        blocks = {
            name: scaled({name: sum_of(d[name] for d in drawn)}, 1 / chosen.draws)[name]
            for name in forces
        }
        variance = (thermal_energy(data.temperature) / width) ** 2
        both = {n: b + scaled(blocks, noise / variance)[n] for n, b in forces.items()}
        rows[f"denoising, {width:g} angstrom"] = explained(blocks, forces, folds, basis)
        rows[f"both, {width:g} angstrom"] = explained(both, forces, folds, basis)
    table = {
        name: {
            "explained_variance_left_out": float(np.mean(v)),
            "less_forces": float(np.mean(np.subtract(v, rows["forces"]))),
            "less_forces_standard_error": float(
                np.std(np.subtract(v, rows["forces"]), ddof=1) / np.sqrt(len(v))
            ),
        }
        for name, v in rows.items()
    }
    print(json.dumps({"n_frames": data.n_frames, "folds": len(folds), "labels": table}, indent=1))


if __name__ == "__main__":
    main()
