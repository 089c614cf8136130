"""Print the measured numbers that the README shows, from a finished run and a model's card.

python docs/tools/readme_numbers.py runs/licl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ELEMENTS = ("all", "O", "H", "Li", "Cl")
CARD = Path(__file__).parents[2] / "src" / "bjerrum" / "models" / "licl-nnp1" / "model.json"


def error_rows(card: dict[str, Any]) -> list[str]:
    """Return the rows of the table of force errors, and the sentence on energies."""
    errors = card["errors"]
    rows = []
    for name, key in (("RMSE", "force_rmse"), ("MAE", "force_mae")):
        values = errors[f"{key}_meV_per_angstrom"]
        cells = " | ".join(f"{values[element]:.1f}" for element in ELEMENTS)
        rows.append(f"| force {name}, meV/angstrom | {cells} |")
    rows.append(
        f"Energy RMSE: {errors['energy_rmse_meV_per_atom']:.2f} meV/atom, on "
        f"{errors['n_frames']} frames."
    )
    return rows


def run_sentences(results: dict[str, Any]) -> list[str]:
    """Return what the figure's caption says of the run, and its cost."""
    sampling, cost, question = results["sampling"], results["cost"], results["question"]
    length = sampling["equilibration_ps"] + sampling["production_ps"]
    seconds = sum(step["wall_seconds"] for step in cost["steps"])
    return [
        f"{sampling['n_replicas']} replicas of {length:.2f} ps, "
        f"{sampling['production_ps']:.2f} ps of each analysed, {seconds / 60:.0f} minutes.",
        f"{cost['md_steps']} steps of {question['n_atoms']} atoms, "
        f"{cost['atom_steps_per_second']:.0f} atom-steps/s, "
        f"{cost['peak_memory_MiB'] / 1024:.1f} GiB at most.",
    ]


def main() -> None:
    """Print everything."""
    print("\n".join(error_rows(json.loads(CARD.read_text()))))
    if len(sys.argv) > 1:
        results = json.loads((Path(sys.argv[1]) / "results.json").read_text())
        print("\n".join(run_sentences(results)))


if __name__ == "__main__":
    main()
