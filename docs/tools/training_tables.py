"""Tables of the models page, from what lies in data/training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data" / "training"


def learning_curves() -> str:
    """Return the errors of every training beside its number of frames, a table per file."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(DATA.glob("curve-*.json"))}
    if not found:
        return "*Not measured yet.*"
    return "\n\n".join(_table(name.removeprefix("curve-"), data) for name, data in found.items())


def selected_frames() -> str:
    """Return the errors with frames that a committee chose beside frames taken evenly."""
    path = DATA / "selected-licl.json"
    if not path.is_file():
        return "*Not measured yet.*"
    data = json.loads(path.read_text())
    ratio = data["spread_of_chosen_over_others"]
    return _table("licl", data) + f"\n\nSpread of the chosen frames over the mean: {ratio:.2f}."


def _table(name: str, data: dict[str, Any]) -> str:
    variants = data["variants"]
    elements = list(next(iter(variants.values()))["force_rmse_meV_per_angstrom"])
    rows = [
        f"**{name}**: {data['steps']} steps of one frame; meV/Å on frames of unseen blocks.",
        "",
        "| training | frames | " + " | ".join(elements) + " | CPU min |",
        "|---" * (len(elements) + 3) + "|",
    ]
    for label, row in variants.items():
        errors = " | ".join(f"{row['force_rmse_meV_per_angstrom'][e]:.1f}" for e in elements)
        rows.append(f"| {label} | {row['n_frames']} | {errors} | {row['cpu_seconds'] / 60:.0f} |")
    return "\n".join(rows)


def fine_tuning() -> str:
    """Return the errors of models before and after they were continued on other labels."""
    found = [json.loads(path.read_text()) for path in sorted(DATA.glob("before-*.json"))]
    if not found:
        return "*Not measured yet.*"
    elements = list(found[0]["before"])
    rows = ["| model | test frames | | " + " | ".join(elements) + " |"]
    rows.append("|---" * (len(elements) + 3) + "|")
    for data in found:
        for when in ("before", "after"):
            errors = " | ".join(f"{data[when].get(e, float('nan')):.1f}" for e in elements)
            rows.append(f"| {data['model']} | {data['n_test']} | {when} | {errors} |")
    return "\n".join(rows)


def calibration() -> str:
    """Return the true error beside the spread of the shipped committee, tenth by tenth."""
    card = DATA.parents[1] / "src" / "bjerrum" / "models" / "licl" / "model.json"
    data = json.loads(card.read_text())["errors"]
    own = data["committee"]
    rows = [
        f"`licl` on {data['n_frames']} frames that neither member has seen, by spread: "
        f"factor {own['factor']:.2f}, within {own['within']:.2f}, "
        f"rank correlation {own['rank_correlation']:.2f}.",
        "",
        "| spread, meV/Å | true error, meV/Å |",
        "|---|---|",
    ]
    rows += [
        f"| {each['spread_meV_per_angstrom']:.1f} | {each['error_meV_per_angstrom']:.1f} |"
        for each in own["bins"]
    ]
    return "\n".join(rows)


def training_bench() -> str:
    """Return what ``bjerrum bench training --json`` measured."""
    path = DATA / "bench.json"
    if not path.is_file():
        return "*Not measured yet.*"
    result = json.loads(path.read_text())
    details = result["details"]
    reach = details["seconds_to_reach_meV_per_angstrom"]
    times = ", ".join(f"{k} in {v / 60:.0f} min" for k, v in reach.items() if v is not None)
    gain = details["compiled_training_over_plain"]
    rows = [
        f"{result['ours']:.1f} frames of {details['n_atoms']} atoms a second, forward and "
        f"backward, on {details['threads']} thread(s): {gain:.0f} times "
        "NequIP's own pass in the same run; published, on a GPU: "
        f"{result['alternative']:.1f}. Validation errors of `licl-nnp1` at that rate, meV/Å: "
        f"{times}. Peak memory {details['peak_memory_MiB']:.0f} MiB.",
        "",
        "| atoms | eager, atom-steps/s | generated code | ratio |",
        "|---|---|---|---|",
    ]
    rows += [
        f"| {each['n_atoms']} | {each['eager_atom_steps_per_s']:.0f} "
        f"| {each['generated_atom_steps_per_s']:.0f} | {each['generated_over_eager']:.0f} |"
        for each in details["inference"]
    ]
    return "\n".join(rows)


def pressed_pairs() -> str:
    """Return the weakest repulsion of pressed pairs, with the models' walls and without."""
    path = DATA / "contacts.json"
    if not path.is_file():
        return "*Not measured yet.*"
    rows = ["| model | wall | pair | network and Coulomb part | with wall |", "|---" * 5 + "|"]
    for name, model in json.loads(path.read_text())["models"].items():
        strength = "none" if model["strength"] is None else f"{model['strength']:g}"
        rows += [
            f"| {name} | {strength} | {pair} "
            f"| {force['network_and_coulomb']:.1f} | {force['with_wall']:.1f} |"
            for pair, force in model["pairs"].items()
        ]
    return "\n".join(rows)


def contact_pairs() -> str:
    """Return by how much models hold a pair of ions together too well, by their distance."""
    path = DATA / "contact-pairs.json"
    if not path.is_file():
        return "*Not measured yet.*"
    models = json.loads(path.read_text())["models"]
    columns = [
        (name if kind == "all" else f"{name}, unseen frames", found)
        for name, model in models.items()
        for kind, found in model.items()
    ]
    rows = [
        "| Li-Cl, Å | frames | " + " | ".join(name for name, _ in columns) + " |",
        "|---|---" + "|---" * len(columns) + "|",
    ]
    for first in columns[0][1]:
        cells = [
            f"{row['mean_eV_per_angstrom']:+.3f} ± {row['standard_error']:.3f}"
            f"{'' if row['frames'] == first['frames'] else ' (' + str(row['frames']) + ')'}"
            if row is not None
            else "-"
            for row in (_at(found, first["from_angstrom"]) for _, found in columns)
        ]
        where = f"{first['from_angstrom']:g} to {first['to_angstrom']:g}"
        rows.append(f"| {where} | {first['frames']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _at(rows: list[dict[str, Any]], begin: float) -> dict[str, Any] | None:
    return next((row for row in rows if row["from_angstrom"] == begin), None)


TABLES = {
    "learning curves": learning_curves,
    "selected frames": selected_frames,
    "fine tuning": fine_tuning,
    "calibration": calibration,
    "training bench": training_bench,
    "pressed pairs": pressed_pairs,
    "contact pairs": contact_pairs,
}
"""What stands for ``<!-- generated: NAME -->``."""
