"""Tables of the labels page, from what lies in data/licl-dcr2scan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

DATA = Path(__file__).parents[2] / "data" / "licl-dcr2scan"


def convergence_table() -> str:
    """Return cost and error of every variant, and the finite differences."""
    result = _read("convergence.json")
    if result is None:
        return "*Not measured yet.*"
    rows = [
        "| settings | CPU s | noise | of O | of H | error | net force |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["variants"]:
        of = row["noise_of"]
        rows.append(
            f"| {row['name']}{' †' if row['systematic'] else ''} | {row['cpu_seconds']:.0f} "
            f"| {row['noise']:.1f} | {of['O']:.1f} | {of['H']:.1f} | {row['error']:.1f} "
            f"| {row['net_force']:.1f} |"
        )
    rows += ["", "meV/Å, rms per component. † changes the physics, not only its accuracy.", ""]
    rows += ["Forces beside central differences of the energy, eV/Å:", ""]
    rows += ["| atom | force | difference |", "|---|---|---|"]
    rows += [
        f"| {row['element']} {'xyz'[row['component']]} | {row['force']:.4f} "
        f"| {row['difference']:.4f} |"
        for row in result["finite_differences"]
    ]
    return "\n".join(rows)


def data_table() -> str:
    """Return what the labelled files hold."""
    files = sorted(DATA.glob("*-labelled.extxyz"))
    if not files:
        return "*None yet: data/licl-dcr2scan/README.md says how they are made.*"
    rows = ["| file | frames | box | Li-Cl, Å | noise, meV/Å | CPU s per label |"]
    rows.append("|---|---|---|---|---|---|")
    for path in files:
        frames = ase.io.read(path, ":")
        info = [frame.info for frame in frames]
        apart = [i["separation_angstrom"] for i in info]
        rows.append(
            f"| `{path.name}` | {len(frames)} | {frames[0].get_chemical_formula()}, "
            f"{frames[0].cell.lengths()[0]:.2f} Å | {min(apart):.2f}-{max(apart):.2f} "
            f"| {np.median([i['force_noise_mev_per_angstrom'] for i in info]):.1f} "
            f"| {np.median([i['label_cpu_seconds'] for i in info]):.0f} |"
        )
    return "\n".join(rows)


def bench_table() -> str:
    """Return cost and noise beside the published settings, a row per benchmark kept here."""
    found = [json.loads(path.read_text()) for path in DATA.glob("bench-*.json")]
    found.sort(key=lambda result: result["details"]["cpu_seconds_per_label"]["ours"])
    if not found:
        return "*Not measured yet.*"
    rows = [
        "| box | CPU s per label | published | noise, meV/Å | published | cost at equal noise |",
        "|---|---|---|---|---|---|",
    ]
    for result in found:
        details = result["details"]
        cost, noise = details["cpu_seconds_per_label"], details["noise_mev_per_angstrom"]
        rows.append(
            f"| {details['frame']} | {cost['ours']:.0f} | {cost['alternative']:.0f} "
            f"| {noise['ours']:.1f} | {noise['alternative']:.1f} | 1/{result['ratio']:.1f} |"
        )
    return "\n".join(rows)


def comparison_table() -> str:
    """Return force differences from a published label, per element."""
    result = _read("published.json")
    if result is None:
        return "*Not measured yet.*"
    rows = ["| element | rms difference, meV/Å | rms force, meV/Å |", "|---|---|---|"]
    for element, row in result["per_element"].items():
        rows.append(f"| {element} | {row['difference']:.1f} | {row['force']:.0f} |")
    return "\n".join([result["text"], "", *rows])


def _read(name: str) -> dict[str, Any] | None:
    path = DATA / name
    return json.loads(path.read_text()) if path.is_file() else None


TABLES = {
    "label convergence": convergence_table,
    "label data": data_table,
    "label bench": bench_table,
    "label comparison": comparison_table,
}
"""What stands for ``<!-- generated: NAME -->``."""
