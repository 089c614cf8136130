"""The main chain, wired: from a configuration to a results document and a report page.

Each arrow of the method is one step of the store, a plain function of its inputs that writes into
a folder. Order: box -> trust gate -> plan -> sample -> conservation -> structure -> thermodynamics
from published potentials of mean force, where there are some -> results.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from bjerrum.checks import require
from bjerrum.files import write_json, write_whole
from bjerrum.frames import read_frames, write_frames
from bjerrum.results import compile_results
from bjerrum.run import CONFIG_COPY, Run, skip_ps
from bjerrum.store import Result, Step

if TYPE_CHECKING:
    from bjerrum.dynamics.replicas import Replica

DEFAULT_BUDGET_MINUTES = 8.0
CHUNK_FRAMES = 10
"""Frames between restart points: at most this much is lost to a kill."""
PLANNED_SHARE = 0.9
"""Part of the budget that is planned; the rest absorbs start-up and a busier machine."""


def run_chain(run: Run, config_text: str) -> Path:
    """Bring every step up to date and return the path of ``results.json``.

    config_text  the TOML as the user wrote it, kept beside the results
    """
    boxes = [equilibrated_box(run, replica) for replica in range(run.config.dynamics.replicas)]
    gate = trust_gate(run, boxes[0])
    plan = sampling_plan(run, boxes, gate)
    sampling = sample(run, boxes, plan)
    steps = {
        **{f"box_{index + 1}": box for index, box in enumerate(boxes)},
        "gate": gate,
        "plan": plan,
        "sampling": sampling,
        "conservation": conserve_energy(run, boxes[0], sampling),
        "structure": measure_structure(run, plan, sampling),
    }
    thermodynamics = solve_thermodynamics(run)
    if thermodynamics is not None:
        steps["thermodynamics"] = thermodynamics
    coarse = run_coarse_series(run)
    if coarse is not None:
        steps["coarse_series"] = coarse
    write_whole(run.store.root / CONFIG_COPY, config_text.encode("utf-8"))
    path = run.store.root / "results.json"
    write_json(path, compile_results(run, steps))
    return path


def equilibrated_box(run: Run, replica: int) -> Result:
    """Pack a box and let classical dynamics equilibrate it."""
    box, solution = run.config.box, run.solution
    seed = 1000 * run.config.dynamics.seed + replica
    step = Step(
        "equilibrate_box",
        1,
        {
            "salt": solution.salt.formula,
            "molality_mol_per_kg": solution.molality,
            "temperature_K": solution.temperature,
            "waters": box.waters,
            "classical_equilibration_ps": box.classical_equilibration_ps,
            "seed": seed,
        },
        {},
    )

    def work(folder: Path) -> None:
        from bjerrum.boxes import build_box, check_box, equilibrate_box

        run.announce("Classical equilibration", replica, run.config.dynamics.replicas)
        atoms = equilibrate_box(
            build_box(solution, box.waters, seed=seed),
            solution,
            time_ps=box.classical_equilibration_ps,
            seed=seed,
        )
        distances = check_box(atoms, solution, box.waters)
        write_frames(folder / "box.extxyz", [atoms])
        write_json(folder / "shortest_distances_angstrom.json", distances)
        run.announce("Classical equilibration", replica + 1, run.config.dynamics.replicas)

    return run.store.complete(step, work)


def trust_gate(run: Run, box: Result) -> Result:
    """Check the potential's physics on the first box; nothing runs with a model that fails."""
    step = Step("check_potential", 2, {}, {"box": box.hash, "model": run.card.identity})

    def work(folder: Path) -> None:
        from bjerrum.potential.gate import run_gate
        from bjerrum.potential.model import load_model

        run.announce("Trust gate", 0, 1)
        checks = run_gate(load_model(str(run.model_folder)), _atoms(box))
        require(checks)
        write_json(folder / "checks.json", [check.to_json() for check in checks])
        run.announce("Trust gate", 1, 1)

    return run.store.complete(step, work)


def sampling_plan(run: Run, boxes: list[Result], gate: Result) -> Result:
    """Turn the budget into a number of steps, once: 20 timed steps, all replicas at work."""
    dynamics = run.config.dynamics
    settings = dynamics.model_dump(mode="json", exclude={"equilibration_part"})
    step = Step("plan_sampling", 2, settings, {"gate": gate.hash, **_numbered("box", boxes)})

    def work(folder: Path) -> None:
        n_steps, seconds = dynamics.steps_of_length(), None
        if n_steps is None:
            seconds = _seconds_per_step(run, boxes, folder)
            minutes = dynamics.budget_minutes or DEFAULT_BUDGET_MINUTES
            n_steps = int(PLANNED_SHARE * 60 * minutes / seconds)
        frames = max(n_steps // dynamics.frame_stride, 1)
        plan = {"n_steps": frames * dynamics.frame_stride, "seconds_per_step": seconds}
        write_json(folder / "plan.json", plan)

    return run.store.complete(step, work)


def _seconds_per_step(run: Run, boxes: list[Result], folder: Path) -> float:
    """Return the wall seconds in which every replica advances by one step."""
    from bjerrum.dynamics.replicas import n_workers, seconds_per_step

    run.announce("Timing 20 steps", 0, 1)
    seconds = seconds_per_step(str(run.model_folder), _replicas(run, boxes, 1, folder))
    run.announce("Timing 20 steps", 1, 1)
    return seconds * -(-len(boxes) // n_workers(len(boxes)))


def sample(run: Run, boxes: list[Result], plan: Result) -> Result:
    """Run the replicas at constant temperature and write one H5MD file each."""
    n_steps = plan.read_json("plan.json")["n_steps"]
    dynamics = run.config.dynamics
    step = Step(
        "sample_solution",
        2,
        {
            "n_steps": n_steps,
            "timestep_fs": dynamics.timestep_fs,
            "friction_per_ps": dynamics.friction_per_ps,
            "frame_stride": dynamics.frame_stride,
            "temperature_K": run.solution.temperature,
            "seed": dynamics.seed,
        },
        {"model": run.card.identity, **_numbered("box", boxes)},
    )

    def work(folder: Path) -> None:
        from bjerrum.dynamics.replicas import run_replicas

        usage = run_replicas(
            str(run.model_folder),
            _replicas(run, boxes, n_steps, folder),
            lambda done: run.announce("Neural network dynamics", done, n_steps * len(boxes)),
        )
        write_json(folder / "usage.json", usage)

    return run.store.complete(step, work)


def conserve_energy(run: Run, box: Result, sampling: Result) -> Result:
    """Continue the first replica at constant energy and measure the drift."""
    conservation = run.config.conservation
    parameters = conservation.model_dump(mode="json")
    step = Step("conserve_energy", 2, parameters, {"sampling": sampling.hash})

    def work(folder: Path) -> None:
        from bjerrum.dynamics.conservation import conserve_energy as conserve
        from bjerrum.dynamics.conservation import require_conservation
        from bjerrum.dynamics.runner import read_end
        from bjerrum.potential.fused.model import for_dynamics
        from bjerrum.potential.model import load_model

        atoms = _atoms(box)
        potential = for_dynamics(load_model(str(run.model_folder))).potential
        outcome = conserve(
            atoms,
            potential.bind(list(atoms.symbols), atoms.cell.array),
            read_end(sampling.folder / "replica-0"),
            timestep_fs=conservation.timestep_fs,
            length_ps=conservation.length_ps,
            on_step=lambda done, total: run.announce("Energy conservation", done, total),
        )
        require_conservation(outcome)
        write_json(folder / "conservation.json", outcome)

    return run.store.complete(step, work)


def measure_structure(run: Run, plan: Result, sampling: Result) -> Result:
    """Radial distribution functions, peaks and coordination numbers with error bars."""
    skip = skip_ps(run, plan)
    parameters = {**run.config.analysis.model_dump(mode="json"), "skip_ps": skip}
    step = Step("measure_structure", 1, parameters, {"sampling": sampling.hash})

    def work(folder: Path) -> None:
        from bjerrum.properties.structure import analyse_structure
        from bjerrum.properties.thermostat import temperature_check

        run.announce("Structure", 0, 1)
        trajectories = sorted(sampling.folder.glob("replica-*/trajectory.h5"))
        temperature = temperature_check(
            trajectories,
            skip_ps=skip,
            target=run.solution.temperature,
            friction_per_ps=run.config.dynamics.friction_per_ps,
        )
        require([temperature])
        write_json(folder / "temperature.json", temperature.to_json())
        result = analyse_structure(
            trajectories,
            pairs=run.config.analysis.pairs or None,
            bin_width=run.config.analysis.bin_width_angstrom,
            skip_ps=skip,
        )
        write_json(folder / "structure.json", result.to_json())
        run.announce("Structure", 1, 1)

    return run.store.complete(step, work)


def solve_thermodynamics(run: Run) -> Result | None:
    """Osmotic and activity coefficients from published pair potentials of mean force.

    Independent of this run's dynamics; None for a salt without published potentials.
    """
    from bjerrum.thermodynamics.published import PUBLISHED

    salt = run.solution.salt.formula
    if salt not in PUBLISHED:
        return None
    step = Step("solve_thermodynamics", 1, {"salt": salt}, {"pmf": PUBLISHED[salt].sha256})

    def work(folder: Path) -> None:
        from bjerrum.thermodynamics.curves import published_curves

        curves = published_curves(
            salt, on_point=lambda done, total: run.announce("Thermodynamics", done, total)
        )
        write_json(folder / "curves.json", curves)

    return run.store.complete(step, work)


def run_coarse_series(run: Run) -> Result | None:
    """Activity derivatives against concentration from the salt's shipped coarse-grained model.

    Independent of this run's dynamics; None for a salt without such a model.
    """
    from bjerrum.coarse.model import load_coarse
    from bjerrum.coarse.summary import SERIES_FILE, coarse_model_of, coarse_series, series_time

    folder = coarse_model_of(run.solution.salt.formula)
    if folder is None:
        return None
    weights = load_coarse(str(folder)).card.weights_sha256
    time_ps = series_time(run.config.dynamics.length_ps)
    step = Step("coarse_series", 2, {"time_ps": time_ps}, {"model": weights})

    def work(folder_of_step: Path) -> None:
        write_json(folder_of_step / SERIES_FILE, coarse_series(folder, time_ps, run.announce))

    return run.store.complete(step, work)


def _replicas(run: Run, boxes: list[Result], n_steps: int, folder: Path) -> list[Replica]:
    from bjerrum.dynamics.replicas import Replica
    from bjerrum.dynamics.runner import Dynamics

    settings = run.config.dynamics
    return [
        Replica(
            atoms=_atoms(box),
            dynamics=Dynamics(
                timestep_fs=settings.timestep_fs,
                n_steps=n_steps,
                temperature=run.solution.temperature,
                friction_per_ps=settings.friction_per_ps,
                frame_stride=settings.frame_stride,
                chunk_frames=CHUNK_FRAMES,
                seed=settings.seed,
                replica=index,
            ),
            folder=folder / f"replica-{index}",
        )
        for index, box in enumerate(boxes)
    ]


def _atoms(box: Result) -> Atoms:
    return read_frames(box.folder / "box.extxyz")[0]


def _numbered(name: str, results: list[Result]) -> dict[str, str]:
    return {f"{name}_{index}": result.hash for index, result in enumerate(results)}
