"""Steps of a campaign after the potential: dynamics, and what is measured of them.

A measurement writes ``estimates.json`` (quantity, subject, Estimate, method), ``curves.json`` and
``reasons.json``: what a trajectory does not resolve is absent, with its reason, and no failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bjerrum.campaign.forces import model_folder
from bjerrum.campaign.preparation import BOX, TRAJECTORY, Inputs, Parameters
from bjerrum.errors import InputError
from bjerrum.files import write_json
from bjerrum.frames import read_frames

ESTIMATES, CURVES, REASONS = "estimates.json", "curves.json", "reasons.json"
CHECKS, WATCH = "checks.json", "watchdog.json"
_CHUNK_FRAMES = 20


def simulate_model(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Run dynamics with a model from a box, watched; goes on where it was stopped."""
    from bjerrum.dynamics.assembly import assemble
    from bjerrum.dynamics.runner import END, run_dynamics
    from bjerrum.dynamics.settings import Setup
    from bjerrum.dynamics.single import SimulationSpec
    from bjerrum.frames import require_box
    from bjerrum.potential.model import load_model
    from bjerrum.specification import validate_spec

    atoms = read_frames(inputs["box"] / BOX)[0]
    model = load_model(str(model_folder(inputs, parameters)))
    require_box(atoms.cell.array, model.card.cutoff)
    spec = validate_spec(parameters["run"], SimulationSpec, "simulation")
    dynamics = spec.dynamics(_CHUNK_FRAMES)
    forces, extras = assemble(model, atoms, dynamics, Setup(spec.evaluation, spec.on_event))
    if parameters["is_rigid"]:
        _simulate_rigid(folder, parameters, atoms, forces)
        return
    run_dynamics(atoms, forces, dynamics, folder, extras=extras)
    (folder / END).unlink()


def _simulate_rigid(folder: Path, parameters: Parameters, atoms: Any, forces: Any) -> None:
    """Run dynamics with rigid water, for a model that was trained on it."""
    import numpy as np

    from bjerrum.active_learning import whole
    from bjerrum.dynamics.rigid import rigid_langevin
    from bjerrum.trajectory import TrajectoryChunk, write_trajectory

    run = parameters["run"]
    timestep = run["timestep_fs"]
    stride = max(1, round(run["frame_every_fs"] / timestep))
    n_frames = max(1, round(run["time_ps"] * 1e3 / (stride * timestep)))
    n_waters = list(atoms.symbols).count("O")
    positions = rigid_langevin(
        whole(atoms, n_waters),
        atoms.get_masses(),
        forces,
        n_waters,
        timestep_fs=timestep,
        n_steps=n_frames * stride,
        stride=stride,
        temperature=run["temperature"],
        friction_per_ps=run["friction_per_ps"],
        seed=run["seed"],
    )
    steps = stride * np.arange(1, n_frames + 1)
    chunk = TrajectoryChunk(
        symbols=tuple(atoms.symbols),
        cell=atoms.cell.array,
        steps=steps,
        times_ps=steps * timestep / 1e3,
        positions=positions,
    )
    write_trajectory(folder / TRAJECTORY, iter([chunk]))


def trajectories(inputs: Inputs) -> list[Path]:
    """Return the trajectory files among a step's inputs, in order."""
    names = sorted(name for name in inputs if name.startswith("trajectory_"))
    return [inputs[name] / TRAJECTORY for name in names]


def _runs(parameters: Parameters, inputs: Inputs) -> list[Callable[[], Iterator[Any]]]:
    from bjerrum.properties.structure import after
    from bjerrum.trajectory import iterate_frames, without_marked

    def opened(path: Path) -> Iterator[Any]:
        return after(without_marked(iterate_frames(path)), parameters["skip_ps"], str(path))

    return [partial(opened, path) for path in trajectories(inputs)]


def measure_structure(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Radial distribution functions, first peaks, coordination numbers."""
    from bjerrum.properties.structure import analyse_structure

    estimates, curves, reasons = [], [], {}
    skip, pairs = parameters["skip_ps"], parameters["pairs"]
    found = analyse_structure(trajectories(inputs), pairs=pairs, skip_ps=skip).to_json()
    for pair, data in found["pairs"].items():
        columns = {key: data[key] for key in ("r_angstrom", "g", "g_standard_error")}
        curves.append({"quantity": "rdf", "subject": pair, "columns": columns, "method": _RDF})
        for key, name in (
            ("peak_angstrom", "first_peak"),
            ("coordination_number", "coordination_number"),
        ):
            if data[key] is None:
                reasons[f"{name} {pair}"] = data.get("reason") or "not determined"
            else:
                estimates.append(_estimate(name, pair, data[key], _METHODS[name]))
    write_measured(folder, estimates, curves, reasons)


_RDF = "histogram of distances, errors by blocks and replicas"
_METHODS = {
    "first_peak": "cubic fit of g(r) about its first maximum",
    "coordination_number": "integral of g(r) to its first minimum",
}


def measure_transport(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Diffusion coefficients and conductivity."""
    from bjerrum.properties.transport import analyse_transport

    estimates: list[dict[str, Any]] = []
    try:
        runs = [run() for run in _runs(parameters, inputs)]
        found = analyse_transport(runs, temperature=parameters["temperature_K"]).to_json()
    except InputError as error:
        write_measured(folder, [], [], {"transport": str(error)})
        return
    for species, data in found["diffusion_1e-9_m2_per_s"].items():
        if data["raw"] is not None:
            method = "Einstein, this box: no finite-size correction"
            estimates.append(_estimate("diffusion_coefficient", species, data["raw"], method))
    if found["conductivity_S_per_m"] is not None:
        method = "Einstein-Helfand, collective displacement of charge"
        estimates.append(_estimate("conductivity", "", found["conductivity_S_per_m"], method))
    write_measured(folder, estimates, [], found["reasons"])


def measure_kirkwood_buff(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Activity derivatives by Kirkwood-Buff integrals, by the recommended estimator."""
    from bjerrum.properties.kirkwood_buff_trajectory import KirkwoodBuffAccumulator

    accumulator, estimates, reasons = KirkwoodBuffAccumulator(), [], {}
    try:
        for run in _runs(parameters, inputs):
            accumulator.add_run(run())
        result = accumulator.result()
    except InputError as error:
        write_measured(folder, [], [], {"kirkwood-buff": str(error)})
        return
    best = result.estimators[result.recommended]
    for name in ("dlna_dlnc", "dlna_dlnm", "dlna_dlnc_mcmillan_mayer"):
        derived = getattr(best, name)
        if derived is None or derived.standard_error is None:
            reasons[name] = "not resolved, or without an error bar"
        else:
            estimates.append(_estimate(name, "", derived.to_json(), best.method))
    if result.note:
        reasons["note"] = result.note
    write_measured(folder, estimates, [], reasons)


def measure_pairing(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Populations of ion pairs and the association constant."""
    from bjerrum.properties.pairing_result import analyse_pairing

    estimates = []
    try:
        found = analyse_pairing(_runs(parameters, inputs)).to_json()
    except InputError as error:
        write_measured(folder, [], [], {"pairing": str(error)})
        return
    ions = f"{found['cation']}-{found['anion']}"
    for name, data in found["pairs_per_cation"].items():
        if data is not None:
            key = f"{name.lower().replace('-', '_').replace(' ', '_')}_pairs_per_cation"
            estimates.append(_estimate(key, ions, data, "classes by distance"))
    for name, data in found["association_constant_L_per_mol"].items():
        if data is not None:
            method = f"association by {name.replace('_', ' ')}"
            estimates.append(_estimate("association_constant", ions, data, method))
    write_measured(folder, estimates, [], found["reasons"])


def check_model(folder: Path, parameters: Parameters, inputs: Inputs) -> None:
    """Put a committee, or the model that a campaign names, through the trust gate.

    Raises PhysicsCheckFailed, which names the checks that failed: nothing is simulated with it.
    """
    from bjerrum.checks import require
    from bjerrum.potential.gate import run_gate
    from bjerrum.potential.model import load_model

    model = load_model(str(model_folder(inputs, parameters)))
    atoms = read_frames(inputs["box"] / BOX)[0]
    checks = run_gate(model, atoms, seed=parameters["seed"])
    write_json(folder / CHECKS, [check.to_json() for check in checks])
    require(checks)


def _estimate(quantity: str, subject: str, data: dict[str, Any], method: str) -> dict[str, Any]:
    return {"quantity": quantity, "subject": subject, "estimate": data, "method": method}


def write_measured(
    folder: Path,
    estimates: list[dict[str, Any]],
    curves: list[dict[str, Any]],
    reasons: dict[str, str],
) -> None:
    """Write what a measurement found, and why it did not find the rest."""
    write_json(folder / ESTIMATES, estimates)
    write_json(folder / CURVES, curves)
    write_json(folder / REASONS, reasons)
