"""A coarse-grained model beside all-atom trajectories that it was not made from.

For every composition int |g_model - g_all-atom| dr between 1.5 angstrom and half the box, with the
noise of both means beside it and a verdict (:mod:`bjerrum.coarse.judging`). Where a pair does not
agree, it and the concentration are named: more all-atom data there is what the model needs before
it is trusted further (recursion).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bjerrum.coarse.dilution import ions_of_model, short_range_pmfs
from bjerrum.coarse.judging import advice, frames_g, pair_rows
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.refine import LOW, N_BLOCKS, PAIRS, integrated_difference, molarity_of, names_of
from bjerrum.coarse.simulate import BIN_WIDTH, IonBox, Measured, Sampling, simulate_ions
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray, IntArray
from bjerrum.properties.kirkwood_buff_rdf import read_partial_rdfs
from bjerrum.trajectory import iterate_frames, without_marked
from bjerrum.units import bjerrum_length

_NAMES: Final = {"OW": "O", "H1": "H", "H2": "H", "HW1": "H", "HW2": "H", "NA": "Na", "CL": "Cl"}
"""What GROMACS and AMBER call the atoms."""
_CONSTANT: Final = 1e-3
"""Angstrom by which the vectors of one box may differ."""
_ALIGN: Final = (8.0, 9.0)
"""Angstrom over which PMFs are shifted to the same mean."""
_CORE_KT: Final = 4.0
"""Below where a reference PMF last exceeds this it was not sampled."""
_WINDOWS: Final = {"contact": (2.0, 4.0), "solvent-shared": (4.0, 6.5)}


@dataclass(frozen=True, eq=False)
class Reference:
    """The distribution functions of an all-atom run.

    g       of cc, ca, aa on the engine's bins, (3, n_bins), like pairs over (N - 1)/V
    blocks  of its blocks, (N_BLOCKS, 3, n_bins)
    """

    box: IonBox
    g: FloatArray
    blocks: FloatArray
    n_frames: int
    source: tuple[str, ...]


def references_of(
    paths: Sequence[Path],
    potential: CoarsePotential,
    *,
    topologies: Sequence[Path | None],
    skip_ps: float = 0.0,
    stride: int = 1,
) -> list[Reference]:
    """Return one reference for each composition and box among the trajectories.

    topologies  one for each trajectory
    Raises InputError for files without ions of the model, or with fewer than two frames.
    """
    groups: dict[IonBox, list[tuple[FloatArray, str]]] = {}
    for path, topology in zip(paths, topologies, strict=True):
        chunks = iterate_frames(
            path, topology=topology, elements=_NAMES if topology else None, stride=stride
        )
        for chunk in without_marked(chunks):
            late = np.ones(chunk.n_frames, bool)
            if chunk.times_ps is not None:
                late = np.asarray(chunk.times_ps) >= skip_ps
            elif skip_ps > 0:
                raise InputError(
                    f"{path}: tells no times, --skip-ps {skip_ps:g} cannot be left out; cut the "
                    "file, or leave the option out"
                )
            if np.ptp(chunk.cells, axis=0).max() > _CONSTANT:
                raise InputError(f"{path}: expected a box of constant size, got one that changes")
            box, order = _box_of(chunk.symbols, chunk.cells[0], potential, path)
            found = np.asarray(chunk.positions, np.float64)[late][:, order]
            if len(found):
                groups.setdefault(box, []).append((found, path.name))
    if not groups:
        raise InputError("no frames to compare with: shorten --skip-ps or lower --stride")
    return [
        _reference(
            box, np.concatenate([f for f, _ in parts]), sorted({s for _, s in parts}), potential
        )
        for box, parts in groups.items()
    ]


def _box_of(
    symbols: Sequence[str], cell: FloatArray, potential: CoarsePotential, path: Path
) -> tuple[IonBox, IntArray]:
    """Return the box and the indices of its ions, cations first."""
    cation, anion = ions_of_model(potential)
    names = np.array(symbols)
    order = np.concatenate([np.flatnonzero(names == ion) for ion in (cation, anion)])
    n_cations, edge = int((names == cation).sum()), float(cell[0, 0])
    if not 0 < n_cations < len(order):
        raise InputError(f"{path}: expected ions {cation} and {anion}, found {len(order)} of them")
    if np.abs(cell - edge * np.eye(3)).max() > _CONSTANT:
        raise InputError(f"{path}: the comparison of g(r) needs a cubic box")
    box = IonBox(
        cation=cation,
        anion=anion,
        n_cations=n_cations,
        n_anions=len(order) - n_cations,
        edge=round(edge, 4),
    )
    return box, order


def _reference(
    box: IonBox, frames: FloatArray, source: Sequence[str], potential: CoarsePotential
) -> Reference:
    if len(frames) < N_BLOCKS:
        raise InputError(
            f"{', '.join(source)}: expected {N_BLOCKS} frames or more for an error bar, got "
            f"{len(frames)}; use a longer run, or shorten --skip-ps"
        )
    symbols = tuple(box.symbols)
    parts = np.array_split(frames, N_BLOCKS)
    blocks = np.array([frames_g(part, symbols, box, potential) for part in parts])
    g = frames_g(frames, symbols, box, potential)
    return Reference(box, g, blocks, len(frames), tuple(source))


def compare_model(
    potential: CoarsePotential,
    references: Sequence[Reference],
    sampling: Sampling,
    *,
    announce: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Run the model in every reference's box and return the differences and the advice."""
    boxes = list(dict.fromkeys(reference.box for reference in references))
    runs = dict(
        zip(boxes, simulate_ions(potential, boxes, sampling, announce=announce), strict=True)
    )
    rows = [_row(runs[reference.box], reference) for reference in references]
    names = names_of([reference.box for reference in references])
    lines = advice({name: row["pairs"] for name, row in zip(names, rows, strict=True)})
    return {"passed": not lines, "comparisons": rows, "advice": lines}


def _row(run: Measured, reference: Reference) -> dict[str, Any]:
    half, r = reference.box.edge / 2, run.r
    inside = (r >= LOW) & (r <= half)
    return {
        "concentration_mol_per_L": molarity_of(reference.box),
        "n_pairs": reference.box.n_cations,
        "edge_angstrom": reference.box.edge,
        "all_atom": list(reference.source),
        "all_atom_frames": reference.n_frames,
        "pairs": pair_rows(run, reference.g, reference.blocks, reference.box),
        "r_angstrom": r[inside].round(3).tolist(),
        "g_model": run.g().mean(axis=0)[:, inside].round(4).tolist(),
        "g_all_atom": reference.g[:, inside].round(4).tolist(),
    }


def published_differences(
    comparison: dict[str, Any], all_atom: Path, model: Path | None = None
) -> dict[str, Any]:
    """Compare one row of :func:`compare_model` with RDFs of somebody's long run in the same box.

    all_atom  CSV of partial RDFs, like pairs over (N - 1)/V
    model     the same of somebody's coarse-grained model
    Returns int |dg| dr by pair between the all-atom run and our model, ours all-atom, their model.
    """
    r, half = np.array(comparison["r_angstrom"]), comparison["edge_angstrom"] / 2
    known = _on_bins(all_atom, r)
    others = {"model": comparison["g_model"], "own_all_atom": comparison["g_all_atom"]}
    if model is not None:
        others["published_model"] = _on_bins(model, r)
    return {
        "all_atom": all_atom.name,
        "concentration_mol_per_L": comparison["concentration_mol_per_L"],
        **{
            f"{name}_difference_angstrom": {
                pair: integrated_difference(r, np.array(g[k]), known[k], LOW, half)
                for k, pair in enumerate(PAIRS)
            }
            for name, g in others.items()
        },
    }


def require_published(paths: Sequence[Path], box: IonBox) -> None:
    """Raise InputError unless every CSV holds RDFs of ions that reach as far as the box's own."""
    for path in paths:
        _on_bins(path, np.array([box.edge / 2 - BIN_WIDTH]))


def _on_bins(path: Path, r: FloatArray) -> FloatArray:
    """Return g of cc, ca, aa at distances, (3, n)."""
    rdfs = read_partial_rdfs(path, ions_only=True)
    if rdfs.r[-1] < r[-1]:
        raise InputError(f"{path}: g(r) ends at {rdfs.r[-1]:g} angstrom, expected {r[-1]:.1f}")
    return np.array([np.interp(r, rdfs.r, rdfs.g[pair]) for pair in PAIRS])


def compare_pmfs(potential: CoarsePotential, path: Path, *, temperature: float) -> dict[str, Any]:
    """Compare the pair PMFs at infinite dilution with a table of short-range ones (kT).

    Both get the analytic Coulomb part z z l_B/r; the table's unknown zero is shifted so that both
    have the same mean between 8 and 9 angstrom. Depths are those of the full PMF, each at its own
    minimum within the window of the table's.
    """
    r, table = read_pmfs(path)
    cation, anion = ions_of_model(potential)
    mine = short_range_pmfs(potential, r, temperature=temperature, ions=(cation, anion))
    length = bjerrum_length(potential.baseline.dielectric_constant, temperature)
    charge = dict(potential.baseline.charges)
    result = {}
    for k, (a, b) in enumerate(((cation, cation), (cation, anion), (anion, anion))):
        coulomb = charge[a] * charge[b] * length / r
        tail = (r >= _ALIGN[0]) & (r <= _ALIGN[1])
        shift = float((mine[k][tail] - table[k][tail]).mean())
        known, own = table[k] + shift + coulomb, mine[k] + coulomb
        result[PAIRS[k]] = _minima(r, own, known)
    return {"pmf_minima": result, "reference": path.name}


def _minima(r: FloatArray, own: FloatArray, known: FloatArray) -> dict[str, Any]:
    found = {}
    core = np.flatnonzero((r < _WINDOWS["contact"][1]) & ~(known < _CORE_KT))
    first = float(r[core[-1]]) if len(core) else 0.0
    for name, (low, high) in _WINDOWS.items():
        window = np.flatnonzero((r >= max(low, first)) & (r <= high) & np.isfinite(own))
        if not len(window):
            continue
        at = window[np.argmin(known[window])]
        if at in (window[0], window[-1]):
            continue
        mine = window[np.argmin(own[window])]
        found[name] = {
            "reference_at_angstrom": float(r[at]),
            "reference_kT": float(known[at]),
            "model_at_angstrom": float(r[mine]),
            "model_kT": float(own[mine]),
            "difference_kT": float(own[mine] - known[at]),
        }
    return found


def read_pmfs(path: Path) -> tuple[FloatArray, FloatArray]:
    """Return r (angstrom) and w_cc, w_ca, w_aa (kT), (3, n), of a CSV as `ions pmf` writes it."""
    wanted = ("r_angstrom", "w_cc_kT", "w_ca_kT", "w_aa_kT")
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        table = np.array([[float(row[name]) for name in wanted] for row in rows])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected a CSV with columns {', '.join(wanted)}") from error
    return table[:, 0], table[:, 1:].T
