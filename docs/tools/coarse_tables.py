"""Tables of the coarse-graining page, from what lies in data/nacl-classical."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data" / "nacl-classical"
PAIRS = ("cc", "ca", "aa")
PS_PER_FRAME = 0.4
"""Of the comparisons: every second frame of the trajectories."""
TITLE = ("head", "line")
MODELS = {
    "compare-4M.json": "4 mol/L",
    "compare-two.json": "4 and 1.3 mol/L",
    "compare-three.json": "4, 2.6 and 1.3 mol/L",
}
"""Files of comparisons and the concentrations that their models were made from."""
PUBLISHED = {"4.0": (0.14, 0.12, 0.17), "2.6": (0.30, 0.38, 0.21), "1.3": (0.26, 0.59, 0.26)}
"""The published models beside their all-atom runs, 2 to 14 angstrom; at 1.3 made at 4 mol/L."""
NAMES = {"cc": "Na-Na", "ca": "Na-Cl", "aa": "Cl-Cl"}


def nacl_table() -> str:
    """Return int |dg| of the NaCl models, with the all-atom noise beside it."""
    found = {title: data for name, title in MODELS.items() if (data := _read(name)) is not None}
    if not found:
        return "*Not measured yet.*"
    rows = ["| made from | beside | Na-Na | Na-Cl | Cl-Cl |", "|---|---|---|---|---|"]
    for where, values in PUBLISHED.items():
        cells = " | ".join(f"{x:.2f}" for x in values)
        rows.append(f"| published model, as published | published run, {where} | {cells} |")
    beside = next(iter(found.values())).get("published", {})
    for name, key in (
        ("published model", "published_model"),
        ("our all-atom runs", "own_all_atom"),
    ):
        if line := beside.get(f"{key}_difference_angstrom"):
            rows.append(f"| {name} | published run, 4.0 | {_cells(line)} |")
    for title, data in found.items():
        line = data.get("published", {}).get("model_difference_angstrom")
        if line is not None:
            rows.append(f"| {title} | published run, 4.0 | {_cells(line)} |")
        rows += [_row_of_run(title, row) for row in data["comparisons"]]
    note = "Å; in brackets the noise of both means. Bold: the model differs. With a question mark:"
    return "\n".join([*rows, "", f"{note} not decided. Without either: it agrees."])


def _cells(line: dict[str, float]) -> str:
    return " | ".join(f"{line[p]:.2f}" for p in PAIRS)


def _row_of_run(title: str, row: dict[str, Any]) -> str:
    cells = " | ".join(_judged(row["pairs"][p]) for p in PAIRS)
    time_ns = row["all_atom_frames"] * PS_PER_FRAME / 1e3
    where = f"our runs, {row['concentration_mol_per_L']:.1f}, {time_ns:.1f} ns"
    return f"| {title} | {where} | {cells} |"


def _judged(pair: dict[str, Any]) -> str:
    """Return difference, noise and verdict of a pair, as in ``bjerrum.coarse.judging``."""
    value = f"{pair['difference_angstrom']:.2f}"
    noise = math.hypot(pair["all_atom_noise_angstrom"], pair["model_noise_angstrom"])
    shown = {"agrees": value, "undecided": f"{value}?", "differs": f"**{value}**"}
    return f"{shown[pair['verdict']]} ({noise:.2f})"


def pmf_table() -> str:
    """Return the minima of the PMFs at infinite dilution beside metadynamics."""
    found = {title: data for name, title in MODELS.items() if (data := _read(name)) is not None}
    if not found:
        return "*Not measured yet.*"
    head = ["pair", "minimum", "metadynamics", *(f"from {title}" for title in found)]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    first = next(iter(found.values()))["pmf_minima"]
    for pair in PAIRS:
        for name, row in first[pair].items():
            cells = [
                f"{other['difference_kT']:+.2f}"
                for data in found.values()
                for other in [data["pmf_minima"][pair][name]]
            ]
            known = f"{row['reference_kT']:.2f} at {row['reference_at_angstrom']:.1f} Å"
            rows.append(f"| {NAMES[pair]} | {name} | {known} | {' | '.join(cells)} |")
    note = "kT; the full PMF, Coulomb part included; then the differences of the models from it."
    return "\n".join([*rows, "", note])


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


def lammps_table() -> str:
    """Return what runs of licl-cg by LAMMPS and by the engine differ by."""
    data = _read("../licl-cg/lammps.json")
    if data is None:
        return "*Not measured yet.*"
    rows = ["| | Li-Li | Li-Cl | Cl-Cl |", "|---|---|---|---|"]
    for name, key in (
        ("difference of g(r), ∫ dr, Å", "difference_angstrom"),
        ("expected by chance", "expected_by_chance_angstrom"),
    ):
        cells = " | ".join(f"{data['pairs'][p][key]:.2f}" for p in PAIRS)
        rows.append(f"| {name} | {cells} |")
    lammps, engine = (data["pressure_MPa"][name] for name in ("lammps", "engine"))
    note = (
        f"{data['n_ions']} ions at {data['concentration_mol_per_L']:g} mol/L, {data['replicas']} "
        f"runs of {data['time_ps_each']:g} ps each, {data['ranks']} ranks. Pressure "
        f"{lammps['value']:.2f} ± {lammps['standard_error']:.2f} MPa by LAMMPS, "
        f"{engine['value']:.2f} ± {engine['standard_error']:.2f} MPa by the engine."
    )
    return "\n".join([*rows, "", note])


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
    "coarse lammps": lammps_table,
}
"""What stands for ``<!-- generated: NAME -->``."""
