"""licl-cg at a concentration that it was not made from, beside all-atom runs of others.

    python benchmarks/coarse/held_back.py --time-ps 1600 > data/licl-cg/held-back.json

The published potentials NNP1 and NNP2 were run at 2.47 and 1.27 mol/L (Zhang, Pagotto, Gould,
Duignan, arXiv 2310.12535); licl-cg knows NNP1 at 2.47 mol/L alone. What is known here of 1.27 mol/L
are the heights of the peaks of g(r), over its value at the end (PEAKS, recomputed from the paper's
data). The two potentials differ in nothing that matters here, so that their difference measures
how well heights of single runs are known.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

import numpy as np

from bjerrum.coarse.model import load_coarse
from bjerrum.coarse.series import box_at
from bjerrum.coarse.simulate import IonBox, Measured, Sampling, simulate_ions

PEAKS: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "2.47": {
        "Li-Li contact": (0.40, 0.21),
        "Li-Li second": (0.94, 0.98),
        "Li-Cl contact": (1.29, 1.17),
        "Li-Cl solvent-shared": (2.94, 2.95),
        "Cl-Cl first": (0.88, 0.89),
    },
    "1.27": {
        "Li-Li contact": (0.30, 0.15),
        "Li-Li second": (0.83, 0.73),
        "Li-Cl contact": (1.33, 1.39),
        "Li-Cl solvent-shared": (3.48, 3.49),
        "Cl-Cl first": (0.68, 0.66),
    },
}
"""Heights of NNP1 and NNP2 at a concentration in mol/L."""
PUBLISHED_COARSE: Final = {"1.27": {"Li-Cl contact": 1.96}}
WINDOWS: Final = {
    "Li-Li contact": (0, 2.5, 4.2),
    "Li-Li second": (0, 4.2, 6.3),
    "Li-Cl contact": (1, 2.0, 3.2),
    "Li-Cl solvent-shared": (1, 3.8, 5.4),
    "Cl-Cl first": (2, 4.6, 6.2),
}
"""Row of g and the angstrom between which a peak lies."""
PAIRS: Final = {"2.47": 24, "1.27": 12}


def heights(run: Measured) -> dict[str, Any]:
    """Return the peaks' places, heights over g's last angstrom, and their standard errors."""
    g, r = run.g(), run.r
    end = (r > run.box.edge / 2 - 1) & (r < run.box.edge / 2)
    found = {}
    for name, (row, low, high) in WINDOWS.items():
        mean = g[:, row].mean(axis=0)
        window = np.flatnonzero((r > low) & (r < high))
        at = window[np.argmax(mean[window])]
        each = g[:, row, at - 1 : at + 2].mean(axis=1)
        tail = mean[end].mean()
        found[name] = {
            "r_angstrom": round(float(r[at]), 3),
            "height": float(each.mean() / tail),
            "standard_error": float(each.std(ddof=1) / np.sqrt(len(each)) / tail),
        }
    return found


def box_of(concentration: str) -> IonBox:
    """Return the box with the published number of ions."""
    return box_at(float(concentration), PAIRS[concentration], ("Li", "Cl"))


def main() -> None:
    """Print the peaks at both concentrations as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="licl-cg")
    parser.add_argument("--time-ps", type=float, default=400.0)
    parser.add_argument("--replicas", type=int, default=16)
    chosen = parser.parse_args()
    model = load_coarse(chosen.model)
    sampling = Sampling(
        temperature=model.card.temperature_K,
        time_ps=chosen.time_ps,
        equilibration_ps=40.0,
        replicas=chosen.replicas,
        jumps=2.0,
    )
    runs = simulate_ions(model.potential, [box_of(c) for c in PAIRS], sampling)
    rows = {}
    for concentration, run in zip(PAIRS, runs, strict=True):
        rows[concentration] = {
            name: peak
            | {"all_atom": list(PEAKS[concentration][name])}
            | {"published_model": PUBLISHED_COARSE.get(concentration, {}).get(name)}
            for name, peak in heights(run).items()
        }
    print(json.dumps({"model": model.card.name, "mol_per_L": rows}, indent=1))


if __name__ == "__main__":
    main()
