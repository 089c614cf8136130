"""Tables of the dynamics page, from what lies in data/dynamics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data" / "dynamics"
_NOT_YET = "*Not measured yet.*"


def bench() -> str:
    """Return the ways of running and the facts of ``bjerrum bench md``."""
    result = _read("bench-md.json")
    if result is None:
        return _NOT_YET
    details = result["details"]
    rows = ["| way | step, fs | CPU ms a step | ps per CPU hour | ratio |", "|---|---|---|---|---|"]
    rows += [
        f"| {way['name']}{'' if way['physical_dynamics'] else ' †'} | {way['timestep_fs']:g} "
        f"| {way['cpu_ms_per_step']:.2f} | {way['ps_per_cpu_hour']:.0f} | {way['ratio']:.1f} |"
        for way in details["ways"]
    ]
    rows += [
        "",
        "† configurations only: times mean nothing.",
        "",
        "| lever | factor |",
        "|---|---|",
    ]
    rows += [f"| {name} | {factor:.2f} |" for name, factor in details["levers"].items()]
    return "\n".join([*rows, "", *_facts(details)])


def _facts(details: dict[str, Any]) -> list[str]:
    overhead, floor, scaling = (details[k] for k in ("python_overhead_ms", "floor", "scaling"))
    cost = scaling["cpu_us_per_atom"]
    atoms = " and ".join(f"{value:.0f} µs at {n} atoms" for n, value in cost.items())
    ewald = " and ".join(f"{100 * v:.1f} %" for v in scaling["ewald_share"].values())
    return [
        f"- Python's share of a step: {overhead['total']:.2f} ms ({overhead['run']:.2f} the run "
        f"with its thermostat, frames and watch, {overhead['call']:.2f} the force call's own).",
        f"- The Coulomb part is {ewald} of a force call.",
        f"- Cost per atom: {atoms}, a factor of {scaling['large_over_small']:.2f}. Peak memory of "
        f"`simulate` with the larger box: {scaling['large_peak_memory_MiB']:.0f} MiB, most of it "
        "for the one comparison with the plain network before the first step.",
        f"- The network is {floor['operations_per_call'] / 1e6:.0f} million additions and "
        "multiplications a call. At this core's best in that run, "
        f"{floor['best_operations_per_second'] / 1e9:.0f} thousand million a second, they take "
        f"{floor['floor_ms']:.1f} ms; the call takes {floor['network_ms']:.1f} ms, "
        f"{floor['network_over_floor']:.1f} times that. What fills the gap: gathering "
        "neighbours' features, sums across vectors, exponentials, and additions "
        "that no multiplication goes with.",
        *_together(details.get("replicas_at_once")),
        f"- {details['machine']}, {details['threads']} thread, model `{details['model']}` "
        f"(weights {details['model_weights_sha256'][:8]}), version {details['code_version']}.",
    ]


def _together(found: dict[str, Any] | None) -> list[str]:
    """Return what one process for every core gained, or nothing of older files."""
    if found is None:
        return []
    return [
        f"- Replicas at once: {found['processes']} processes simulate "
        f"{found['ps_per_hour_together']:.0f} ps in an hour of the clock, one alone "
        f"{found['ps_per_hour_alone']:.0f}: {found['gain']:.2f} times (load average before the "
        f"start {found['load']:.1f})."
    ]


def stability() -> str:
    """Return drift and temperatures against the step."""
    result = _read("stability.json")
    if result is None:
        return _NOT_YET
    rows = [
        "| H, amu | step, fs | inner steps | drift, meV/atom/ps | T, K | T of H | T of O |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        drift = row["drift_meV_per_atom_per_ps"]
        temperatures = [
            _estimate(row.get(key))
            for key in ("temperature_K", "temperature_H_K", "temperature_O_K")
        ]
        shown = (
            f"{drift:.2f}" if drift is not None else f"lost after {row['blown_up_after_fs']:g} fs"
        )
        rows.append(
            f"| {row['hydrogen_mass'] or 1.008:g} | {row['timestep_fs']:g} | {row['inner_steps']} "
            f"| {shown} | {' | '.join(temperatures)} |"
        )
    inner, whole = (result[f"inner_rms_{k}_eV_per_angstrom"] for k in ("left", "whole"))
    return "\n".join(
        [*rows, "", f"{result['system']}, {result['time_ps']:g} ps each (half for the drift), "
         f"target 300 K. The inner potential leaves {inner:.2f} of {whole:.2f} eV/Å (rms) to the "
         "outer step."]
    )  # fmt: skip


def settings() -> str:
    """Return temperature, energy and g(r) for each setting."""
    result = _read("settings.json")
    if result is None:
        return _NOT_YET
    pairs = list(result["rows"][0]["rdf"])
    header = " | ".join(f"{pair}, Å" for pair in pairs)
    rows = [f"| setting | T, K | energy, meV/atom | {header} |", "|---" * (3 + len(pairs)) + "|"]
    first = result["rows"][0]["energy_meV_per_atom"]["value"]
    for row in result["rows"]:
        if "stopped" in row:
            rows.append(f"| {row['name']} | stopped |" + " |" * (1 + len(pairs)))
            continue
        energy = row["energy_meV_per_atom"]
        relative = {"value": energy["value"] - first, "standard_error": energy["standard_error"]}
        shown = [
            f"{row['rdf'][pair]['integral_of_difference_angstrom']:.2f} "
            f"({row['rdf'][pair]['expected_of_one_liquid_angstrom']:.2f})"
            for pair in pairs
        ]
        rows.append(
            f"| {row['name']} | {_estimate(row['temperature_K'])} | {_estimate(relative)} "
            f"| {' | '.join(shown)} |"
        )
    note = (
        f"{result['system']}, {result['repeats']} runs of {result['time_ps']:g} ps for each "
        f"setting, the first {result['skip_ps']:g} ps left out, errors from their scatter. "
        "Energies beside the first row. Columns of g(r): ∫|Δg| dr beside the first row, and in "
        "brackets what it would be on average for two such sets of runs of one liquid."
    )
    return "\n".join([*rows, "", note])


def poisoned() -> str:
    """Return what the command said of two runs that go wrong."""
    result = _read("poisoned.json")
    if result is None:
        return _NOT_YET
    rows = ["| run | exit code | reason in the flagged frames | frames kept, usable |"]
    rows.append("|---|---|---|---|")
    rows += [
        f"| {row['name']} | {row['exit_code']} | {'; '.join(row['reasons'])} "
        f"| {row['frames_kept']}, {row['frames_left_for_analysis']} |"
        for row in result["rows"]
    ]
    return "\n".join(rows)


def long_run() -> str:
    """Return the numbers of the run at 2.47 mol/L beside the published ones."""
    result = _read("licl-2.47M.json")
    if result is None:
        return _NOT_YET
    rows = [
        "| pair | first peak, Å | coordination number | ∫\\|Δg\\|dr, Å | its error | published |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for pair, data in result["pairs"].items():
        apart = data["integral_of_difference_angstrom"].values()
        among = data["published_among_themselves_angstrom"]
        rows.append(
            f"| {pair} | {_estimate(data['peak_angstrom'], 3)} "
            f"| {_estimate(data['coordination_number'], 2)} | {min(apart):.2f}-{max(apart):.2f} "
            f"| {data['integral_of_error_angstrom']:.2f} | {min(among):.2f}-{max(among):.2f} |"
        )
    fate = "kept" if result.get("with_marked") else "left out"
    note = (
        f"{result['length_ps']:.1f} ps after {result['skipped_ps']:g} ps left out, "
        f"{result['temperature_K']:.1f} K; {100 * result['marked_share']:.1f} % of the frames "
        f"carried marks of the watch and were {fate}. The last column compares the four published "
        f"runs with each other. {result['note']}."
    )
    return "\n".join([*rows, "", note])


def contacts() -> str:
    """Return the number of contact pairs in the course of the runs at 2.47 mol/L."""
    result = _read("licl-2.47M.json")
    if result is None or "contact_pairs" not in result:
        return _NOT_YET
    rows = ["| run | Li-Cl pairs within 3.3 Å, of 24 |", "|---|---|"]
    course = result["contact_pairs"]
    rows.append(f"| `licl-nnp1`, stretches of 20 ps from its start | {_course(course)} |")
    after = _read("licl-contact.json")
    if after is not None:
        step = after["contact_pairs"][1]["from_ps"] - after["contact_pairs"][0]["from_ps"]
        rows.append(
            f"| `licl-contact`, {step:g} ps each, begun at {after['began_at_ps']:g} ps of it "
            f"| {_course(after['contact_pairs'])} |"
        )
    published = ", ".join(f"{n:.1f}" for n in result["contact_pairs_published"])
    return "\n".join([*rows, f"| published runs, means | {published} |"])


def _course(rows: list[dict[str, float]]) -> str:
    return ", ".join(f"{row['pairs']:.1f}" for row in rows)


def constant_pressure() -> str:
    """Return the density of the run at constant pressure."""
    result = _read("constant-pressure.json")
    if result is None:
        return _NOT_YET
    return (
        f"From {result['first_density_kg_per_m3']:.0f} kg/m³ the density of {result['system']} "
        f"went to {_estimate(result['density_kg_per_m3'])} kg/m³ (mean of the last "
        f"{result['averaged_ps']:.1f} of {result['time_ps']:.1f} ps); the measured one is "
        f"{result['experiment_kg_per_m3']:.0f} kg/m³ at {result['molality_mol_per_kg']:.2f} mol/kg "
        f"and {result['temperature_K']:.0f} K. Near the first volume the pressure was"
        f" {_estimate(result['first_pressure_bar'])} bar."
    )


def _estimate(value: dict[str, Any] | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    return f"{value['value']:.{digits}f} ± {value['standard_error']:.{digits}f}"


def _read(name: str) -> dict[str, Any] | None:
    path = DATA / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


TABLES = {
    "dynamics bench": bench,
    "dynamics stability": stability,
    "dynamics settings": settings,
    "dynamics poisoned": poisoned,
    "dynamics long run": long_run,
    "dynamics pressure": constant_pressure,
    "dynamics contacts": contacts,
}
"""What stands for ``<!-- generated: NAME -->``."""
