"""g(r) of a long run beside the published curves: figure and numbers.

    python benchmarks/dynamics/published.py RUN... --published DIR -o data/dynamics/licl-2.47M.json
           --figure docs/figures/licl_2.47M_rdf.png [--skip-ps 3]

RUN is a trajectory, or the ``.partial`` folder of one that still runs; several are stretches
of one run, each continuing the one before. DIR holds licl_2.47M_rdf_*.csv (the four
all-atom runs of Zhang, Pagotto, Gould & Duignan, arXiv 2310.12535). Bands are standard errors from
blocks, as everywhere in this package. Per pair the JSON holds g(r) and its error, first peak and
coordination number where they are resolved, and the integral of |g - published| beside the same for
the published runs among themselves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from stability import commit

from bjerrum import __version__
from bjerrum.dynamics.chunks import read_chunks
from bjerrum.dynamics.claims import CLAIM
from bjerrum.files import write_json
from bjerrum.frames import read_frames
from bjerrum.properties.structure import analyse_structure
from bjerrum.trajectory import TrajectoryChunk, read_h5md

mpl.use("Agg")
import matplotlib.pyplot as plt

IONS, WATER = ["Li-Cl", "Li-Li", "Cl-Cl"], ["Li-O", "Cl-O", "Li-H", "Cl-H"]
PAIRS = [*IONS, *WATER]
BIN_WIDTHS = dict.fromkeys(IONS, 0.2) | dict.fromkeys(WATER, 0.05)
PUBLISHED_BIN = 0.01
R_MAX = 12.5
CONTACT = 3.3
"""Angstrom; between contact and the pairs with water between them."""


def stretches(runs: list[Path], box: Path) -> Iterator[TrajectoryChunk]:
    """Yield the chunks of all runs, times going on from one to the next."""
    atoms, begin = read_frames(box)[0], 0.0
    for run in runs:
        end = begin
        for chunk in _chunks(run, atoms):
            times = chunk.times_ps + begin
            end = float(times[-1])
            yield replace(chunk, times_ps=times, velocities=None)
        begin = end


def _chunks(run: Path, atoms: Any) -> Iterator[TrajectoryChunk]:
    if run.is_file():
        yield from read_h5md(run)
        return
    import json

    timestep = json.loads((run / CLAIM).read_text())["settings"]["timestep_fs"]
    for chunk in read_chunks(run):
        yield TrajectoryChunk(
            symbols=tuple(atoms.symbols), cell=atoms.cell.array, steps=chunk.steps,
            times_ps=chunk.steps * timestep / 1e3, positions=chunk.positions,
            observables=chunk.observables,
        )  # fmt: skip


def published(folder: Path) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return r and g of each pair in each published run, in bins as wide as ours."""
    runs = {}
    for path in sorted(folder.glob("licl_2.47M_rdf_nnp?_run?.csv")):
        table = np.genfromtxt(path, delimiter=",", names=True)
        names = {pair: "g_" + pair.replace("-", "") for pair in PAIRS}
        runs[path.stem.removeprefix("licl_2.47M_rdf_")] = {
            pair: rebinned(table["r_angstrom"], table[name], BIN_WIDTHS[pair])
            for pair, name in names.items()
            if name in (table.dtype.names or ())
        }
    return runs


def rebinned(r: np.ndarray, g: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Average bins to a width, by volume."""
    size = round(width / PUBLISHED_BIN)
    n = len(r) // size * size
    volume = r[:n] ** 2
    share = (g[:n] * volume).reshape(-1, size).sum(axis=1)
    total = volume.reshape(-1, size).sum(axis=1)
    return r[:n].reshape(-1, size).mean(axis=1), share / total


def distance(r: np.ndarray, g: np.ndarray, other: tuple[np.ndarray, np.ndarray]) -> float:
    """Integral of |g - g'| up to R_MAX, angstrom."""
    near = r < R_MAX
    return float((r[1] - r[0]) * np.abs(g[near] - np.interp(r[near], *other)).sum())


def contacts(chunks: list[TrajectoryChunk], window_ps: float) -> list[dict[str, float]]:
    """Return the mean number of Li-Cl pairs within CONTACT in each stretch of a run."""
    symbols, edge = np.array(chunks[0].symbols), float(chunks[0].cells[0][0, 0])
    lithium, chloride = (np.flatnonzero(symbols == name) for name in ("Li", "Cl"))
    times, found = [], []
    for chunk in chunks:
        apart = chunk.positions[:, lithium, None] - chunk.positions[:, None, chloride]
        apart -= edge * np.round(apart / edge)
        found.append((np.linalg.norm(apart, axis=-1) < CONTACT).sum(axis=(1, 2)))
        times.append(chunk.times_ps)
    number, window = np.concatenate(found), (np.concatenate(times) // window_ps).astype(int)
    return [
        {"from_ps": k * window_ps, "pairs": float(number[window == k].mean())}
        for k in np.unique(window)
    ]


def published_contacts(runs: dict[str, dict[str, Any]], box_edge: float, pairs: int) -> list[float]:
    """Return the same of the published runs, from their g(r)."""
    found = []
    for run in runs.values():
        r, g = run["Li-Cl"]
        near = r < CONTACT
        shells = 4 * np.pi * r[near] ** 2 * g[near] * (r[1] - r[0])
        found.append(float(pairs**2 / box_edge**3 * shells.sum()))
    return found


def draw(ours: dict, theirs: dict, label: str, path: Path) -> None:
    figure, axes = plt.subplots(2, 4, figsize=(13, 6), constrained_layout=True)
    for axis, pair in zip(axes.flat, PAIRS, strict=False):
        data = ours[pair]
        r, g, error = (
            np.array(data[k], dtype=float) for k in ("r_angstrom", "g", "g_standard_error")
        )
        for number, (name, curves) in enumerate(theirs.items()):
            style = {"color": "#b5651d" if "nnp1" in name else "#808080", "lw": 1.0}
            label_it = "published " + name[:4].upper() if number % 2 == 0 else None
            axis.plot(*curves[pair], label=label_it, **style)
        axis.fill_between(r, g - error, g + error, color="#1f6fb2", alpha=0.35, lw=0)
        axis.plot(r, g, color="#1f6fb2", lw=1.2, label=label)
        axis.set(xlim=(1.5, 10), xlabel="r / Å", ylabel="g(r)")
        axis.set_ylim(0, 1.15 * max(g.max(), *(c[pair][1].max() for c in theirs.values())))
        axis.set_title(pair.replace("-", "–"), fontsize=10)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    axes.flat[-1].axis("off")
    axes.flat[-1].legend(handles, labels, loc="center", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--box", type=Path, required=True, help="symbols and cell of the runs")
    parser.add_argument("--published", type=Path, required=True)
    parser.add_argument("--skip-ps", type=float, default=3.0)
    parser.add_argument(
        "--with-marked", action="store_true", help="keep the frames that the watch marked"
    )
    parser.add_argument("--window-ps", type=float, default=20.0, help="of the count of contacts")
    parser.add_argument("--began-at-ps", type=float, default=0.0, help="of another run")
    parser.add_argument("--name", default="licl-nnp1", help="in the figure")
    parser.add_argument("--note", default="", help="how the runs were made, kept in the JSON")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True)
    arguments = parser.parse_args()
    chunks = list(stretches(arguments.runs, arguments.box))
    result: dict[str, Any] = {}
    kept = [
        replace(c, observables={k: v for k, v in c.observables.items() if k != "watchdog"})
        if arguments.with_marked
        else c
        for c in chunks
    ]
    for pairs in (IONS, WATER):
        structure = analyse_structure(
            [iter(kept)], pairs=pairs, r_max=R_MAX, bin_width=BIN_WIDTHS[pairs[0]],
            skip_ps=arguments.skip_ps,
        )  # fmt: skip
        result |= structure.to_json()["pairs"]
    theirs = published(arguments.published)
    length = float(chunks[-1].times_ps[-1]) - arguments.skip_ps
    for pair, data in result.items():
        r, g = np.array(data["r_angstrom"]), np.array(data["g"])
        error = np.nan_to_num(np.array(data["g_standard_error"], dtype=float))
        curves = [run[pair] for run in theirs.values()]
        data["integral_of_difference_angstrom"] = {
            name: distance(r, g, run[pair]) for name, run in theirs.items()
        }
        data["integral_of_error_angstrom"] = float((r[1] - r[0]) * error[r < R_MAX].sum())
        data["published_among_themselves_angstrom"] = [
            distance(r, np.interp(r, *a), b) for k, a in enumerate(curves) for b in curves[:k]
        ]
        for name in ("r_angstrom", "g", "g_standard_error"):
            data[name] = [None if v is None or v != v else round(v, 4) for v in data[name]]
    facts = {"command": "python benchmarks/dynamics/published.py", "note": arguments.note}
    facts |= {"code_version": __version__, "commit": commit()}
    temperature = np.concatenate([c.observables["kinetic_temperature"] for c in chunks])
    times = np.concatenate([c.times_ps for c in chunks])
    late = times > arguments.skip_ps
    marks = np.concatenate([c.observables["watchdog"] for c in chunks])[late]
    write_json(
        arguments.output,
        facts
        | {
            "length_ps": length,
            "skipped_ps": arguments.skip_ps,
            "began_at_ps": arguments.began_at_ps,
            "temperature_K": float(temperature[late].mean()),
            "marked_share": float((marks > 0).mean()),
            "with_marked": arguments.with_marked,
            "contact_pairs": contacts(chunks, arguments.window_ps),
            "contact_pairs_published": published_contacts(
                theirs, float(chunks[0].cells[0][0, 0]), list(chunks[0].symbols).count("Li")
            ),
            "pairs": result,
        },
    )
    for data in result.values():
        for name in ("g", "g_standard_error"):
            data[name] = [np.nan if v is None else v for v in data[name]]
    draw(result, theirs, f"{arguments.name}, {length:.0f} ps", arguments.figure)


if __name__ == "__main__":
    main()
