"""Tables of the coarse-graining page, from what lies in data/nacl-classical."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data" / "nacl-classical"
PAIRS = ("cc", "ca", "aa")
NAMES = {"cc": "Na-Na", "ca": "Na-Cl", "aa": "Cl-Cl"}


def nacl_table() -> str:
    """Return int |dg| of the NaCl model trained at 4 mol/L, with the all-atom noise beside it."""
    data = _read("compare-4M.json")
    if data is None:
        return "*Not measured yet.*"
    rows = ["| mol/L | all-atom frames | Na-Na | Na-Cl | Cl-Cl |", "|---|---|---|---|---|"]
    for row in data["comparisons"]:
        cells = [
            f"{row['pairs'][p]['difference_angstrom']:.2f} "
            f"({row['pairs'][p]['all_atom_noise_angstrom']:.2f})"
            for p in PAIRS
        ]
        rows.append(
            f"| {row['concentration_mol_per_L']:.2f} | {row['all_atom_frames']} "
            f"| {' | '.join(cells)} |"
        )
    published = data["published_difference_angstrom"]
    own = data["own_all_atom_against_published_angstrom"]
    for name, line in (("published model, 4", published), ("our all-atom, published's, 4", own)):
        rows.append(f"| {name} | | {' | '.join(f'{line[p]:.2f}' for p in PAIRS)} |")
    return "\n".join([*rows, "", "Å, in brackets the noise of the all-atom run's mean."])


def pmf_table() -> str:
    """Return the minima of the PMFs at infinite dilution beside metadynamics."""
    data = _read("compare-4M.json")
    if data is None:
        return "*Not measured yet.*"
    rows = ["| pair | minimum | metadynamics | model | difference |", "|---|---|---|---|---|"]
    for pair in PAIRS:
        for name, row in data["pmf_minima"][pair].items():
            rows.append(
                f"| {NAMES[pair]} | {name} | {row['reference_kT']:.2f} at "
                f"{row['reference_at_angstrom']:.1f} Å | {row['model_kT']:.2f} at "
                f"{row['model_at_angstrom']:.1f} Å | {row['difference_kT']:+.2f} |"
            )
    return "\n".join([*rows, "", "kT; the full PMF, Coulomb part included."])


def bench_table() -> str:
    """Return the speed of the engine beside the published form."""
    data = _read("bench-cg.json")
    if data is None:
        return "*Not measured yet.*"
    details = data["details"]
    growth = details["growth_over_n_log_n"]
    rows = ["| | |", "|---|---|"]
    rows += [
        f"| simulated time per CPU hour | {data['ours']:.0f} ns, published form "
        f"{data['alternative']:.3f} ns: {data['ratio']:.0f} times |",
        f"| of which cheaper steps | {details['ratio_of_steps']:.0f} times |",
        f"| of which longer steps | {details['ratio_of_time_steps']:.0f} times |",
    ]
    rows += [
        f"| step of {n} ions | {us:.0f} µs"
        + (f", {growth[n]:.2f} of N log N from 48 ions |" if n in growth else " |")
        for n, us in details["step_us_by_ions"].items()
    ]
    series = details.get("series")
    if series is None:
        return "\n".join(rows)
    rows += ["", f"Series of five concentrations, {series['cpu_minutes']:.2f} CPU minutes:", ""]
    rows += ["| mol/L | from g(r) | from S(k) |", "|---|---|---|"]
    for point in series["points"]:
        found = point["dlna_dlnc_mcmillan_mayer"]
        cells = [
            f"{found[k]['value']:.3f} ± {found[k]['standard_error']:.3f}" if k in found else "-"
            for k in ("vegt_u2", "structure_factor")
        ]
        rows.append(f"| {point['concentration_mol_per_L']:g} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _read(name: str) -> dict[str, Any] | None:
    path = DATA / name
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


TABLES = {
    "coarse nacl": nacl_table,
    "coarse pmf": pmf_table,
    "coarse bench": bench_table,
}
"""What stands for ``<!-- generated: NAME -->``."""
