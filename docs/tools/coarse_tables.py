"""Tables of the coarse-graining page, from what lies in data/nacl-classical."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data" / "nacl-classical"
PAIRS = ("cc", "ca", "aa")
PS_PER_FRAME = 0.08
TITLE = ("head", "line")
MODELS = {
    "compare-4M.json": "4 mol/L, forces and published g(r)",
    "compare-mixed.json": "three concentrations, forces and published g(r)",
}
"""Files of comparisons and what their models were made from."""
NAMES = {"cc": "Na-Na", "ca": "Na-Cl", "aa": "Cl-Cl"}


def nacl_table() -> str:
    """Return int |dg| of the NaCl models, with the all-atom noise beside it."""
    rows = ["| model | mol/L | all-atom ps | Na-Na | Na-Cl | Cl-Cl |", "|---|---|---|---|---|---|"]
    for name, title in MODELS.items():
        data = _read(name)
        if data is not None:
            rows += _rows_of_model(title, data)
    if len(rows) == len(TITLE):
        return "*Not measured yet.*"
    return "\n".join([*rows, "", "Å, in brackets the noise of the all-atom run's mean."])


def _rows_of_model(title: str, data: dict[str, Any]) -> list[str]:
    rows, published = [], data.get("published", {})
    where = f"{published.get('concentration_mol_per_L', 0):.1f}, published run"
    for key, name in (
        ("published_model_difference_angstrom", "the published model"),
        ("own_all_atom_difference_angstrom", "our all-atom run"),
        ("model_difference_angstrom", title),
    ):
        line = published.get(key)
        if line is not None:
            cells = " | ".join(f"{line[p]:.2f}" for p in PAIRS)
            rows.append(f"| {name} | {where} | | {cells} |")
    for row in data["comparisons"]:
        cells = " | ".join(
            f"{row['pairs'][p]['difference_angstrom']:.2f} "
            f"({row['pairs'][p]['all_atom_noise_angstrom']:.2f})"
            for p in PAIRS
        )
        rows.append(
            f"| {title} | {row['concentration_mol_per_L']:.1f}, our run "
            f"| {row['all_atom_frames'] * PS_PER_FRAME:.0f} | {cells} |"
        )
    return rows


def pmf_table() -> str:
    """Return the minima of the PMFs at infinite dilution beside metadynamics."""
    data = _read(next(iter(MODELS)))
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
        f"{data['alternative']:.3f} ns: {details['ratio_of_simulated_time']:.0f} times |",
        f"| CPU time for equal errors of g(r) | {_hours(details)} |",
    ]
    rows += [f"| of which {name} | {_times(x)} |" for name, x in details["levers"].items()]
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


def _hours(details: dict[str, Any]) -> str:
    error = details["error_of_g"]
    ours, theirs = error["cpu_hours_ours"], error["cpu_hours_published"]
    return (
        f"{3600 * ours:.1f} s for ∫ error dr = {error['target_angstrom']:g} Å, published way "
        f"{theirs:.1f} h: {theirs / ours:.0f} times"
    )


def _times(x: float) -> str:
    return f"{x:.0f} times" if x > 9.5 else f"{x:.2g} times"


def noise_table() -> str:
    """Return what bursts and control variates take off the noise of a label."""
    data = _read("noise.json")
    if data is None:
        return "*Not measured yet.*"
    rows = [
        "| ion | label | noise, meV/Å | explained | worth frames | worth per frame of dynamics |",
        "|---|---|---|---|---|---|",
    ]
    for element, table in data["by_element"].items():
        for row in table:
            burst = "" if row["samples"] == 1 else f", mean of {row['samples']} at held ions"
            rows.append(
                f"| {element} | {row['method']}{burst} | {row['noise_rms_meV_per_angstrom']:.0f} "
                f"| {100 * row['explained_variance']:.0f} % | {row['worth_in_plain_frames']:.1f} "
                f"| {row['worth_per_plain_frame_of_dynamics']:.2f} |"
            )
    note = (
        f"{data['n_ions']} ions in {data['n_waters']} waters, {data['configurations']} "
        f"configurations, {data['samples']} samples each, {data['every_ps']:g} ps apart."
    )
    return "\n".join([*rows, "", note])


def crystal_table() -> str:
    """Return what became of crystals and of supersaturated solutions."""
    rows = [
        "| model | start | mol/L | ns | ordered, start | end | verdict | lattice, Å | experiment |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(DATA.glob("crystal-*.json")):
        data = _read(path.name) or {"model": "", "runs": []}
        for run in data["runs"]:
            found = run["lattice_constant_angstrom"]
            rows.append(
                f"| {data['model']} | {run['start']} | {run['concentration_mol_per_L']:g} "
                f"| {run['time_ps'] / 1e3:g} "
                f"| {run['ordered_start']:.2f} | {run['ordered_end']:.2f} | {run['verdict']} "
                f"| {'-' if found is None else f'{found:.2f}'} "
                f"| {run['experimental_lattice_constant_angstrom']:.2f} |"
            )
    return "\n".join(rows) if len(rows) > len(TITLE) else "*Not measured yet.*"


def held_back_table() -> str:
    """Return the peaks of licl-cg at two concentrations beside those of all-atom runs."""
    data = _read("../licl-cg/held-back.json")
    if data is None:
        return "*Not measured yet.*"
    rows = [
        "| mol/L | peak | licl-cg | all-atom, NNP1 and NNP2 | published coarse-grained |",
        "|---|---|---|---|---|",
    ]
    for concentration, peaks in data["mol_per_L"].items():
        for name, peak in peaks.items():
            other = peak["published_model"]
            all_atom = ", ".join(f"{height:.2f}" for height in peak["all_atom"])
            rows.append(
                f"| {concentration} | {name} | {peak['height']:.2f} ± "
                f"{peak['standard_error']:.2f} at {peak['r_angstrom']:.1f} Å | {all_atom} "
                f"| {'' if other is None else f'{other:.2f}'} |"
            )
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
    "coarse noise": noise_table,
    "coarse crystal": crystal_table,
    "coarse held back": held_back_table,
}
"""What stands for ``<!-- generated: NAME -->``."""
