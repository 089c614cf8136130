"""From the folder of a finished ``bjerrum run`` to records.

A run folder holds ``results.json`` and ``steps/*/step.json``. Two records come of it: what this
run's own dynamics found, and the osmotic and activity coefficients from published potentials of
mean force, which have another origin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bjerrum.database.records import (
    MAX_FILE_BYTES,
    CurveRecord,
    EstimateRecord,
    FileRecord,
    ModelRecord,
    RunRecord,
    SolutionRecord,
    StepRecord,
)
from bjerrum.errors import InputError
from bjerrum.store import RECORD

RESULTS: Final = "results.json"
KNOWN_VERSION: Final = 1
BOX: Final = "box.extxyz"
_PAIR = re.compile(r"(?P<subject>[A-Z][a-z]?(-[A-Z][a-z]?)?) (?P<quantity>.+)")
_PANELS: Final = {
    "phi": "osmotic_coefficient",
    "ln gamma": "ln_activity_coefficient",
    "d ln a/d ln c": "dlna_dlnc",
}
"""Symbol of a panel of the report to the name of the quantity."""


def read_run_folder(folder: Path) -> list[RunRecord]:
    """Return the records of a finished run.

    Raises InputError where results.json is missing, damaged or of another version.
    """
    folder = Path(folder)
    results = _results(folder)
    try:
        return [_dynamics(folder, results), *_thermodynamics(folder, results)]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / RESULTS}: was written by another version of Bjerrum or is not complete "
            f"({type(error).__name__}: {error}); run again with this version to rewrite it"
        ) from error


def _results(folder: Path) -> dict[str, Any]:
    path = folder / RESULTS
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the folder of a finished run"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); run again to rewrite it") from error
    version = results.get("schema_version", KNOWN_VERSION) if isinstance(results, dict) else None
    if version != KNOWN_VERSION:
        raise InputError(
            f"{path}: expected results of version {KNOWN_VERSION}, got {version!r}; they come "
            "from another version of Bjerrum"
        )
    return dict(results)


def _dynamics(folder: Path, results: dict[str, Any]) -> RunRecord:
    """Return what the run's own dynamics found."""
    question, model, code = results["question"], results["model"], _code_version(results)
    steps = list(_steps(folder))
    structure = _step_hash(results, "measure_structure")
    solution = _solution(question)
    sampling = results.get("sampling") or {}
    method = sampling.get("method", "dynamics")
    return RunRecord(
        name=f"{solution.salt} {solution.molality_mol_per_kg:g} mol/kg, "
        f"{solution.temperature_K:g} K",
        kind="run",
        solution=solution,
        model=_model(model, steps),
        estimates=[
            _estimate(answer, method=method, step=structure, code_version=code)
            for answer in results["answers"]
            if answer["estimate"] is not None
        ],
        curves=[
            CurveRecord(
                quantity="rdf",
                subject=pair,
                columns={name: rdf[name] for name in ("r_angstrom", "g", "g_standard_error")},
                step=structure,
                method=method,
            )
            for pair, rdf in results["rdfs"].items()
        ],
        steps=[*steps, *_labels(model, steps)],
        files=list(_boxes(folder)),
        cost=results["cost"],
        document={name: value for name, value in results.items() if name not in _LARGE},
    )


_LARGE: Final = ("rdfs", "time_series", "nve", "thermodynamics")
"""Parts of the document that are curves, or of no use beside the numbers."""


def _solution(question: dict[str, Any]) -> SolutionRecord:
    return SolutionRecord(
        question["salt"], float(question["molality_mol_per_kg"]), float(question["temperature_K"])
    )


def _estimate(answer: dict[str, Any], *, method: str, step: str, code_version: str) -> Any:
    """Return the record of an answer such as "Li-O first peak"."""
    match = _PAIR.fullmatch(answer["quantity"])
    words = match["quantity"] if match else answer["quantity"]
    found = answer["estimate"]
    return EstimateRecord(
        quantity=re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_"),
        subject=match["subject"] if match else "",
        value=found["value"],
        standard_error=found["standard_error"],
        unit=answer["unit"],
        n_effective=found.get("n_effective"),
        method=method,
        code_version=code_version,
        step=step,
        details={"note": answer["note"]} if answer.get("note") else {},
    )


def _thermodynamics(folder: Path, results: dict[str, Any]) -> Iterator[RunRecord]:
    """Yield what theories make of published potentials of mean force, if the run has them."""
    document = results.get("thermodynamics")
    if not document:
        return
    step = _step_hash(results, "solve_thermodynamics")
    steps = [record for record in _steps(folder) if record.name == "solve_thermodynamics"]
    salt, temperature = document["salt"], float(document["temperature_K"])
    source = (steps[0].inputs.get("pmf") if steps else None) or document["pmf_source"]
    yield RunRecord(
        name=f"{salt}: osmotic and activity coefficients",
        kind="solve",
        solution=SolutionRecord(salt, 0.0, temperature),
        model=ModelRecord(
            name=f"published PMF of {salt}", sha256=source, labels=document["pmf_source"]
        ),
        estimates=list(_points(document, step, _code_version(results))),
        curves=[
            CurveRecord(
                quantity="pmf",
                subject=potential["pair"],
                columns={
                    "r_angstrom": potential["r_angstrom"],
                    "w_kT": potential["full_kT"],
                    "w_short_range_kT": potential["short_range_kT"],
                },
                step=step,
                method=document["pmf_source"],
            )
            for potential in document["potentials"]
        ],
        steps=steps,
        document={"notes": document["notes"], "doi": document.get("pmf_doi")},
    )


def _points(document: dict[str, Any], step: str, code_version: str) -> Iterator[EstimateRecord]:
    """Yield the points of the theories; their bands are no standard errors, so they are details."""
    if document["axis"] != "molality_mol_per_kg":
        return  # points against molarity are points of no known solution
    for panel in document["panels"]:
        for curve in panel["curves"]:
            if curve["kind"] != "computed":
                continue
            bands = curve["band"] or [None] * len(curve["x"])
            for molality, value, band in zip(curve["x"], curve["value"], bands, strict=True):
                yield EstimateRecord(
                    quantity=_PANELS[panel["symbol"]],
                    value=value,
                    standard_error=None,
                    unit="1",
                    method=f"{curve['label']} on published potentials of mean force",
                    step=step,
                    details={} if band is None else {"difference_between_routes": band},
                    code_version=code_version,
                    solution=SolutionRecord(
                        document["salt"], float(molality), float(document["temperature_K"])
                    ),
                )


def _steps(folder: Path) -> Iterator[StepRecord]:
    """Yield the finished steps of the folder."""
    for path in sorted(folder.glob(f"steps/*/{RECORD}")):
        if path.parent.suffix == ".partial":
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        key = path.parent.name.rpartition("-")[2]
        names = ("name", "version", "parameters", "inputs")
        yield StepRecord(hash=key, **{name: record[name] for name in names})


def _labels(model: dict[str, Any], steps: list[StepRecord]) -> list[StepRecord]:
    """Return the ends of the chain: the weights, and the labels that they were trained on."""
    labels = StepRecord(
        hash=model["dataset_hash"],
        name="labels",
        parameters={"method": model["labels"], "n_frames": model["n_train_frames"]},
    )
    weights = StepRecord(
        hash=_weights(steps),
        name="model",
        parameters={
            "name": model["name"],
            "code_version": model["code_version"],
            "test_force_rmse_meV_per_angstrom": model["test_force_rmse_meV_per_angstrom"],
        },
        inputs={"labels": labels.hash},
    )
    return [weights, labels]


def _model(model: dict[str, Any], steps: list[StepRecord]) -> ModelRecord:
    return ModelRecord(
        name=model["name"],
        sha256=_weights(steps),
        labels=model["labels"],
        code_version=model["code_version"],
        document={key: value for key, value in model.items() if key != "learning_curve"},
    )


def _weights(steps: list[StepRecord]) -> str:
    """Return the hash of the weights that the dynamics read."""
    for step in steps:
        if "model" in step.inputs:
            return step.inputs["model"]
    raise InputError(
        f"{RESULTS}: none of the steps beside it reads a model; give the whole folder of a run"
    )


def _step_hash(results: dict[str, Any], name: str) -> str:
    """Return the hash of the step of that name, "" where the run has none."""
    hashes: dict[str, str] = results["reproduce"]["step_hashes"]
    found = (key for folder, key in hashes.items() if folder.startswith(f"{name}-"))
    return next(found, "")


def _code_version(results: dict[str, Any]) -> str:
    version: str = results["reproduce"]["versions"]["bjerrum"]
    return version


def _boxes(folder: Path) -> Iterator[FileRecord]:
    """Yield the first equilibrated box, for the picture; nothing where it is too large."""
    for path in sorted(folder.glob(f"steps/equilibrate_box-*/{BOX}"))[:1]:
        content = path.read_bytes()
        if len(content) <= MAX_FILE_BYTES:
            yield FileRecord("box.extxyz", "chemical/x-xyz", content)
