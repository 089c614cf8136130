"""Steps of a campaign from trajectories to activities: ions alone, then a theory of solutions.

coarsen_salt -> model of the ions in a continuum, from the forces on the ions of all solutions
solve_salt   -> osmotic and activity coefficients of its pair potentials of mean force
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bjerrum.campaign.forces import potential_of
from bjerrum.campaign.measuring import CHECKS, trajectories, write_measured
from bjerrum.campaign.preparation import Inputs, Parameters
from bjerrum.errors import InputError
from bjerrum.files import write_json

if TYPE_CHECKING:
    from bjerrum.checks import Check
    from bjerrum.coarse.model import CoarseModel
    from bjerrum.thermodynamics.solution import SolutionPoint
    from bjerrum.thermodynamics.table import PmfTable

MODEL, PMF = "ions", "pmf.csv"
NOISE_ANGSTROM = 0.5
MOST_NAMED = 3
"""Failed checks that a reason names."""
_LINKS = "trajectories"
_QUANTITIES = {
    "osmotic_coefficient": "osmotic_coefficient_lr",
    "ln_activity_coefficient": "ln_gamma_lr",
    "dlna_dlnc": "dlna_dlnc_lr",
}
_SPACING = 0.02
_CURVE = "ions alone at infinite dilution; errors by the committee of force fits"


def coarsen_salt(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Learn a potential of the ions alone from the trajectories of all solutions of a salt."""
    from bjerrum.coarse.dataset import Source
    from bjerrum.coarse.dilution import write_pmf_csv
    from bjerrum.coarse.routine import coarsen
    from bjerrum.coarse.spec import CoarseningSpec
    from bjerrum.electrostatics import ScreenedCoulomb
    from bjerrum.specification import validate_spec

    potential = potential_of(inputs, parameters)
    links = _linked(folder / _LINKS, trajectories(inputs))
    kelvin = parameters["temperature_K"]
    made = coarsen(
        [Source(path=p, model=potential, skip_ps=parameters["skip_ps"]) for p in links],
        folder / MODEL,
        baseline=ScreenedCoulomb.of(parameters["charges_e"], parameters["dielectric_constant"]),
        temperature=kelvin,
        spec=validate_spec(parameters["spec"], CoarseningSpec, "coarsening"),
        announce=_announce(),
    )
    write_pmf_csv(made.potential, folder / PMF, temperature=kelvin)
    shutil.rmtree(folder / _LINKS)


def _linked(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Return links with a name of its own for each trajectory: blocks are named after them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    links = [folder / f"run_{k + 1:03d}{path.suffix}" for k, path in enumerate(paths)]
    for link, path in zip(links, paths, strict=True):
        link.symlink_to(path)
    return links


def _announce() -> Any:
    """Return a function that prints a stage when it begins and when it ends."""

    def announce(stage: str, done: int, total: int) -> None:
        if done in (0, total):
            print(f"{stage}: {done} of {total}", flush=True)

    return announce


def solve_salt(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Solve a theory for the pair potentials at infinite dilution, at every molality of the salt.

    Error bars: the difference between the theory's routes, and the scatter of the committee of
    force fits. A model of the ions that fails its trust gate has no activities, but a reason; so
    has a molality at which the theory has no solution.
    """
    from bjerrum.coarse.model import load_coarse

    model = load_coarse(str(inputs["ions"] / MODEL))
    checks = check_ions(model)
    write_json(folder / CHECKS, [check.to_json() for check in checks])
    failed = [check for check in checks if not check.passed]
    if failed:
        write_measured(folder, [], [], {"activities": _refusal(failed)})
        return
    tables = _tables(model, parameters["temperature_K"])
    points, reasons = _solved(tables, model, parameters)
    entries = []
    for molality, point in points.items():
        found, why = _entries(molality, point, parameters["theory"], len(model.members))
        entries += found
        reasons |= why
    write_measured(folder, entries, _curves(tables, model), reasons)


def check_ions(model: CoarseModel) -> list[Check]:
    """Return the trust gate of a model of ions: its own checks, and g(r) beside the all-atom one.

    int |g - g_all-atom| dr of each pair must be below 0.2 angstrom, or three times the noise of
    both runs, at every concentration where that noise is below 0.5 angstrom; one there must
    be, or nothing is known of how good the model is.
    """
    from bjerrum.checks import Check
    from bjerrum.coarse.gate import run_coarse_gate
    from bjerrum.coarse.judging import CHANCE, LIMIT, noise_of

    found = model.card.errors.get("integrated_dg", {})
    noises = {where: max(map(noise_of, rows.values())) for where, rows in found.items()}
    least = min(noises.values(), default=math.inf)
    meaning = "noise of the all-atom and the model's g(r) where it is least, int |dg| dr"
    checks = [Check("all-atom g(r) is known", least, NOISE_ANGSTROM, "angstrom", meaning)]
    for where, rows in found.items():
        if noises[where] > NOISE_ANGSTROM:
            continue
        for pair, row in rows.items():
            limit = max(LIMIT, CHANCE * noise_of(row))
            value, meaning = row["difference_angstrom"], "int |g - g_all-atom| dr"
            checks.append(Check(f"g(r) {pair} at {where}", value, limit, "angstrom", meaning))
    return [*run_coarse_gate(model), *checks]


def _refusal(failed: Sequence[Check]) -> str:
    figures = "; ".join(
        f"{check.name} {check.value:.3g} {check.unit} (limit {check.limit:.3g})"
        for check in failed[:MOST_NAMED]
    )
    more = f" and {len(failed) - MOST_NAMED} more" if len(failed) > MOST_NAMED else ""
    return (
        f"the model of the ions alone fails its trust gate: {figures}{more}; longer or more "
        "trajectories are needed"
    )


def _entries(
    molality: float, point: SolutionPoint, theory: str, n_members: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    entries, reasons = [], {}
    for quantity, name in _QUANTITIES.items():
        value, error = getattr(point, name), point.error(name)
        if value is None or error is None:
            reasons[f"{quantity} at {molality:g} mol/kg"] = "no density there, or no error bar"
            continue
        entries.append(
            {
                "quantity": quantity,
                "subject": "",
                "molality_mol_per_kg": molality,
                "estimate": {
                    "value": value,
                    "standard_error": error,
                    "unit": "1",
                    "n_effective": float(n_members),
                },
                "method": f"{theory} with pair potentials of the ions alone, constant pressure",
            }
        )
    return entries, reasons


def _tables(model: CoarseModel, temperature: float) -> list[PmfTable]:
    """Return the short-range potentials of mean force of each member of the committee."""
    from bjerrum.coarse.dilution import ions_of_model, short_range_pmfs
    from bjerrum.thermodynamics.table import PmfTable

    ions = ions_of_model(model.potential)
    r = np.round(np.arange(1.0, model.potential.basis.pair_cutoff + 2.0, _SPACING), 4)
    tables = []
    for member in model.members:
        w = short_range_pmfs(member, r, temperature=temperature, ions=ions)
        pairs = dict(zip(("cc", "ca", "aa"), w, strict=True))
        tables.append(PmfTable(r, pairs, origin="the ions' potential of mean force"))
    return tables


def _solved(
    tables: list[PmfTable], model: CoarseModel, parameters: Parameters
) -> tuple[dict[float, SolutionPoint], dict[str, str]]:
    """Return the points by molality; from the highest down, those without a solution are left."""
    from bjerrum.coarse.dilution import ions_of_model
    from bjerrum.system import Salt, Solution
    from bjerrum.thermodynamics.ions import Ions, ions_from_table
    from bjerrum.thermodynamics.solution import solve_tables
    from bjerrum.units import bjerrum_length

    salt, kelvin = Salt.parse(parameters["salt"]), parameters["temperature_K"]
    charge_of = dict(model.baseline.charges)
    charges = tuple(charge_of[ion] for ion in ions_of_model(model.potential))
    length = bjerrum_length(model.baseline.dielectric_constant, kelvin)

    def make(table: PmfTable) -> Ions:
        return ions_from_table(table, charges, length)

    left, reasons = sorted(parameters["molalities_mol_per_kg"]), dict[str, str]()
    while left:
        molarities = [Solution(salt, m, kelvin).molarity for m in left]
        try:
            points = solve_tables(
                tables,
                make,
                molarities,
                parameters["theory"],
                salt=salt.formula,
                temperature=kelvin,
            )
        except (InputError, ArithmeticError) as error:
            reasons[f"activities at {left.pop():g} mol/kg"] = str(error)
            continue
        return dict(zip(left, points, strict=True)), reasons
    return {}, reasons


def _curves(tables: list[PmfTable], model: CoarseModel) -> list[dict[str, Any]]:
    """Return each pair's full and short-range potential of mean force with its error, in kT."""
    from bjerrum.coarse.dilution import ions_of_model
    from bjerrum.units import bjerrum_length

    cation, anion = ions_of_model(model.potential)
    charge_of = dict(model.baseline.charges)
    kelvin = model.card.temperature_K
    length = bjerrum_length(model.baseline.dielectric_constant, kelvin)
    curves = []
    for key, (a, b) in {
        "cc": (cation, cation),
        "ca": (cation, anion),
        "aa": (anion, anion),
    }.items():
        r, w = tables[0].r, np.array([table.pairs[key] for table in tables])
        shown = np.isfinite(w).all(axis=0) & (r >= 1.5)
        short = w[:, shown].mean(axis=0)
        columns = {
            "r_angstrom": r[shown],
            "w_kT": short + charge_of[a] * charge_of[b] * length / r[shown],
            "w_kT_standard_error": w[:, shown].std(axis=0, ddof=1),
            "w_short_range_kT": short,
        }
        rounded = {name: np.round(column, 5).tolist() for name, column in columns.items()}
        curves.append(
            {"quantity": "pmf", "subject": f"{a}-{b}", "columns": rounded, "method": _CURVE}
        )
    return curves
