"""From finished steps to the results document: answers beside published values, and provenance."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from bjerrum import __version__
from bjerrum.coarse.summary import coarse_answers
from bjerrum.density import density_model
from bjerrum.literature.constants import constant
from bjerrum.literature.values import ReferenceValue, reference_values
from bjerrum.literature.water import water_dielectric_constant
from bjerrum.potential.curve import FORCE_RMSE, read_learning_curve
from bjerrum.reference.classical_force_fields import SPCE_JOUNG_CHEATHAM
from bjerrum.run import CONFIG_COPY, Run, skip_ps
from bjerrum.store import Result
from bjerrum.trajectory import read_h5md

QUANTITIES = {
    "first_peak_angstrom": ("first peak", "angstrom", "peak_angstrom"),
    "coordination_number": ("coordination number", "1", "coordination_number"),
}
PACKAGES = ("torch", "nequip", "torch-pme", "vesin", "numpy", "ase", "openmm", "MDAnalysis")


def compile_results(run: Run, steps: dict[str, Result]) -> dict[str, Any]:
    """Return the document that ``results.json`` holds and the report shows."""
    structure = steps["structure"].read_json("structure.json")
    plan = steps["plan"].read_json("plan.json")
    skip = skip_ps(run, steps["plan"])
    return {
        "question": _question(run),
        "sampling": _sampling(run, plan, skip),
        "answers": [*_answers(run, structure), *coarse_answers(steps.get("coarse_series"))],
        "rdfs": _rdfs(run, structure),
        "time_series": _time_series(steps["sampling"], skip),
        "nve": _nve(steps["conservation"]),
        "thermodynamics": _thermodynamics(steps),
        "checks": _checks(run, steps),
        "watchdog": _watchdog(steps["sampling"]),
        "model": _model(run),
        "constants": _constants(run),
        "caveats": _caveats(run, plan),
        "cost": _cost(run, steps, plan),
        "reproduce": _reproduce(run, steps),
    }


def _question(run: Run) -> dict[str, Any]:
    solution, waters = run.solution, run.config.box.waters
    pairs = solution.n_formula_units(waters)
    return {
        "salt": solution.salt.formula,
        "molality_mol_per_kg": round(solution.molality_of(pairs, waters), 4),
        "molarity_mol_per_L": round(solution.molarity, 4),
        "temperature_K": solution.temperature,
        "n_waters": waters,
        "n_pairs": pairs,
        "n_atoms": 3 * waters + pairs * (solution.salt.n_cations + solution.salt.n_anions),
        "box_edge_angstrom": solution.box_edge(waters),
        "model": run.card.name,
    }


def _sampling(run: Run, plan: dict[str, Any], skip: float) -> dict[str, Any]:
    dynamics = run.config.dynamics
    length = plan["n_steps"] * dynamics.timestep_fs / 1e3
    return {
        "n_replicas": dynamics.replicas,
        "timestep_fs": dynamics.timestep_fs,
        "equilibration_ps": skip,
        "production_ps": length - skip,
        "method": f"NVT, Langevin (BAOAB), friction {dynamics.friction_per_ps:g}/ps",
    }


def _answers(run: Run, structure: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        _answer(run, pair, quantity, result)
        for quantity in QUANTITIES
        for pair, result in structure["pairs"].items()
        if not _is_intramolecular(pair)
    ]


def _is_intramolecular(pair: str) -> bool:
    """Tell whether the first peak is a bond of the water molecule, not structure of the liquid."""
    return set(pair.split("-")) <= {"O", "H"} and "H" in pair.split("-")


def _answer(run: Run, pair: str, quantity: str, result: dict[str, Any]) -> dict[str, Any]:
    name, unit, key = QUANTITIES[quantity]
    estimate = result[key]
    note = None
    if quantity == "coordination_number" and result.get("minimum_angstrom") is not None:
        note = (
            f"integrated to the first minimum, {result['minimum_angstrom']:.2f} +- "
            f"{result['minimum_uncertainty_angstrom']:.2f} angstrom; its uncertainty is in the "
            "error bar"
        )
    return {
        "quantity": f"{pair} {name}",
        "unit": unit,
        "estimate": estimate,
        "reason": None if estimate else result.get("reason") or "not determined",
        "note": note,
        "headline": pair == f"{run.solution.salt.cation.symbol}-O",
        "references": [_reference(value) for value in _published(run, quantity, pair)],
    }


def _published(run: Run, quantity: str, pair: str) -> list[ReferenceValue]:
    """Return published values near this concentration; for O-O also those of pure water."""
    salt, molality = run.solution.salt.formula, run.solution.molality
    values = reference_values(quantity, pair=pair, salt=salt, molality=molality)
    if pair == "O-O":
        values += reference_values(quantity, pair=pair, salt="water")
    return values


def _reference(value: ReferenceValue) -> dict[str, Any]:
    return {
        "value": value.value,
        "uncertainty": value.uncertainty,
        "kind": value.kind,
        "conditions": _conditions(value),
        "citation": value.source.citation,
        "doi": value.source.doi or None,
        "status": None if value.is_verified else value.status_text,
    }


def _conditions(value: ReferenceValue) -> str:
    parts = [value.method]
    if value.salt == "water":
        parts.append("pure water")
    if value.molality_min is not None and value.molality_max:
        low, high = value.molality_min, value.molality_max
        span = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        parts.append(f"{span} mol/kg")
    if value.temperature is not None:
        parts.append(f"{value.temperature:g} K")
    return ", ".join(part for part in (*parts, value.note) if part)


def _rdfs(run: Run, structure: dict[str, Any]) -> dict[str, Any]:
    return {
        pair: {
            "r_angstrom": result["r_angstrom"],
            "g": result["g"],
            "g_standard_error": result["g_standard_error"],
            "markers": [
                {
                    "kind": value.kind,
                    "citation": value.source.citation,
                    "doi": value.source.doi or None,
                    "r_angstrom": value.value,
                    "uncertainty_angstrom": value.uncertainty,
                    "conditions": _conditions(value),
                }
                for value in _published(run, "first_peak_angstrom", pair)
            ],
        }
        for pair, result in structure["pairs"].items()
    }


def _time_series(sampling: Result, skip: float) -> dict[str, Any]:
    replicas = []
    for index, path in enumerate(sorted(sampling.folder.glob("replica-*/trajectory.h5"))):
        chunks = list(read_h5md(path))

        def series(name: str, chunks: list[Any] = chunks) -> list[float]:
            return np.concatenate([chunk.observables[name] for chunk in chunks]).tolist()

        replicas.append(
            {
                "replica": str(index + 1),
                "time_ps": np.concatenate([chunk.times_ps for chunk in chunks]).tolist(),
                "kinetic_temperature_K": series("kinetic_temperature"),
                "potential_energy_eV": series("potential_energy"),
            }
        )
    return {"skip_ps": skip, "replicas": replicas}


def _nve(conservation: Result) -> dict[str, Any]:
    outcome = conservation.read_json("conservation.json")
    keys = ("time_ps", "total_energy_meV_per_atom", "drift_meV_per_atom_per_ps", "timestep_fs")
    return {key: outcome[key] for key in keys}


def _thermodynamics(steps: dict[str, Result]) -> dict[str, Any] | None:
    if "thermodynamics" not in steps:
        return None
    curves: dict[str, Any] = steps["thermodynamics"].read_json("curves.json")
    return curves


def _checks(run: Run, steps: dict[str, Result]) -> list[dict[str, Any]]:
    checks = [{**check, "relation": "at_most"} for check in steps["gate"].read_json("checks.json")]
    outcome = steps["conservation"].read_json("conservation.json")
    at = f"constant-energy dynamics at {outcome['timestep_fs']:g} fs after the sampling"
    for name, key, limit, unit in (
        ("energy drift", "drift_meV_per_atom_per_ps", "drift_limit", "meV/atom/ps"),
        ("energy fluctuation", "fluctuation_meV_per_atom", "fluctuation_limit", "meV/atom"),
    ):
        checks.append(
            {
                "name": name,
                "value": outcome[key],
                "limit": outcome[limit],
                "unit": unit,
                "passed": abs(outcome[key]) <= outcome[limit],
                "relation": "magnitude_at_most",
                "explanation": at,
            }
        )
    return [*checks, steps["structure"].read_json("temperature.json")]


def _watchdog(sampling: Result) -> list[Any] | None:
    """Return what the watch saw, by replica; None where none was kept."""
    records = sorted(sampling.folder.glob("replica-*/watchdog.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in records] or None


def _model(run: Run) -> dict[str, Any]:
    card = run.card
    curve = read_learning_curve(run.model_folder)
    return {
        "name": card.name,
        "labels": card.labels,
        "n_train_frames": card.data["n_frames"]["train"],
        "n_validation_frames": card.data["n_frames"]["validation"],
        "n_test_frames": card.data["n_frames"]["test"],
        "test_force_rmse_meV_per_angstrom": card.errors.get("force_rmse_meV_per_angstrom", {}),
        "baseline_charges_e": card.baseline["charges_e"],
        "dielectric_constant": card.baseline["dielectric_constant"],
        "dataset_hash": card.data["sha256"],
        "code_version": card.code_version,
        "learning_curve": {
            "progress": [row["step"] for row in curve],
            "progress_name": "step",
            FORCE_RMSE: [row[FORCE_RMSE] for row in curve],
        }
        if curve
        else None,
    }


def _constants(run: Run) -> list[dict[str, Any]]:
    temperature, card = run.solution.temperature, run.card
    dielectric = constant("water_dielectric_constant", temperature)
    model = density_model(run.solution.salt.formula)
    return [
        {
            "name": "dielectric constant of the screened Coulomb baseline",
            "value": card.baseline["dielectric_constant"],
            "unit": "1",
            "source": f"model {card.name}; water at {temperature:g} K has {dielectric.value:.2f} "
            f"({dielectric.source.citation})",
            "doi": dielectric.source.doi or None,
        },
        {
            "name": "density of the solution (sets the box)",
            "value": run.solution.density,
            "unit": "kg/m3",
            "source": f"{model.name} model: {model.source.citation}",
            "doi": model.source.doi or None,
        },
        {
            "name": "force field of the classical equilibration",
            "value": SPCE_JOUNG_CHEATHAM.name,
            "unit": "1",
            "source": SPCE_JOUNG_CHEATHAM.citation,
        },
        {
            "name": "atomic masses",
            "value": "standard atomic weights",
            "unit": "u",
            "source": "IUPAC, as tabulated in ASE",
        },
    ]


def _caveats(run: Run, plan: dict[str, Any]) -> list[str]:
    length = plan["n_steps"] * run.config.dynamics.timestep_fs / 1e3
    errors = run.card.errors.get("force_rmse_meV_per_angstrom", {})
    caveats = [
        f"Each replica is {length:.2f} ps long and starts from a classical force field's "
        "liquid. The error bars cover fluctuations within and between the replicas; they do not "
        "cover rearrangements slower than the run, such as the exchange of water around Li+ (tens "
        "of ps) or the forming and parting of ion pairs: the starting boxes hold no contact ion "
        "pairs, so the contact part of cation-anion g(r) is not converged.",
        f"The potential's own error ({errors.get('all', float('nan')):.1f} meV/angstrom per force "
        "component on unseen frames) is not part of the error bars.",
        "Nuclei are classical: zero-point motion, which broadens O-H and shifts hydrogen "
        "positions, is not included.",
        "g(r) of a closed box is used as it is; no finite-size correction has been applied.",
    ]
    own, water = run.card.baseline["dielectric_constant"], _water_dielectric(run)
    if abs(own / water - 1) > 0.005:
        caveats.append(
            f"The baseline's dielectric constant ({own:.2f}) is that of the model; water at "
            f"{run.solution.temperature:g} K has {water:.2f}."
        )
    return [*caveats, *run.card.limits]


def _water_dielectric(run: Run) -> float:
    return water_dielectric_constant(run.solution.temperature)


def _cost(run: Run, steps: dict[str, Result], plan: dict[str, Any]) -> dict[str, Any]:
    usage = steps["sampling"].read_json("usage.json")
    atom_steps = plan["n_steps"] * run.config.dynamics.replicas * _question(run)["n_atoms"]
    return {
        "steps": [
            {"name": name.replace("_", " "), "wall_seconds": result.wall_seconds}
            for name, result in steps.items()
        ],
        "md_steps": plan["n_steps"] * run.config.dynamics.replicas,
        "atom_steps_per_second": atom_steps / max(steps["sampling"].wall_seconds, 1e-9),
        "peak_memory_MiB": usage["peak_memory_MiB"],
    }


def _reproduce(run: Run, steps: dict[str, Result]) -> dict[str, Any]:
    return {
        "command": f"bjerrum run {CONFIG_COPY}",
        "config_toml": (run.store.root / CONFIG_COPY).read_text(encoding="utf-8"),
        "versions": {
            "bjerrum": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        "seeds": {"dynamics.seed": run.config.dynamics.seed},
        "step_hashes": {result.folder.name: result.hash for result in steps.values()},
    }
