"""Records for the tests of the database and of its web page."""

from __future__ import annotations

import random

from bjerrum.database import (
    CurveRecord,
    Database,
    EstimateRecord,
    FileRecord,
    ModelRecord,
    RunRecord,
    SolutionRecord,
    StepRecord,
)

QUANTITIES = ("osmotic_coefficient", "activity_coefficient", "viscosity", "conductivity", "density")
UNITS = {"viscosity": "mPa s", "conductivity": "S/m", "density": "kg/m3"}
BOX = b"""3
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="T T T"
O 1.0 1.0 1.0
H 1.76 1.59 1.0
H 0.24 1.59 1.0
"""


def model(name: str = "licl-nnp1") -> ModelRecord:
    return ModelRecord(name, f"{sum(name.encode()):064x}", "DC-r2SCAN", "0.1.0")


def steps() -> list[StepRecord]:
    return [
        StepRecord("label0", "labels", 1, {"method": "DC-r2SCAN"}),
        StepRecord("weights0", "model", 1, {"name": "licl-nnp1"}, {"labels": "label0"}),
        StepRecord("box0", "equilibrate_box", 1, {"waters": 80}),
        StepRecord("md0", "sample_solution", 2, {}, {"model": "weights0", "box": "box0"}),
        StepRecord("analysis0", "measure", 1, {}, {"sampling": "md0"}),
    ]


def estimate(value: float = 0.95, **changes: object) -> EstimateRecord:
    fields: dict[str, object] = {
        "quantity": "osmotic_coefficient",
        "value": value,
        "standard_error": 0.01,
        "unit": "1",
        "n_effective": 12.5,
        "method": "HNC",
        "code_version": "0.1.0",
        "step": "analysis0",
    }
    return EstimateRecord(**{**fields, **changes})  # type: ignore[arg-type]


def run(number: int = 0, *, salt: str = "LiCl", n: int = 3, name: str = "") -> RunRecord:
    """One run with n estimates, a g(r), a potential of mean force, its steps and its box."""
    r = [0.5 * index for index in range(1, 20)]
    return RunRecord(
        name=name or f"{salt} {number}",
        kind="run",
        campaign="halides",
        solution=SolutionRecord(salt, 1.0 + number, 298.15),
        model=model(),
        estimates=[estimate(0.9 + 0.01 * index + number) for index in range(n)],
        curves=[
            CurveRecord(
                "rdf", {"r_angstrom": r, "g": r, "g_standard_error": [None, *r[1:]]}, "Li-O"
            ),
            CurveRecord("pmf", {"r_angstrom": r, "w_kT": [-x for x in r]}, "Li-Cl"),
        ],
        steps=steps(),
        files=[FileRecord("box.extxyz", "chemical/x-xyz", BOX)],
        cost={"wall_seconds": 12.0},
    )


def many(n: int, *, salts: tuple[str, ...] = ("LiCl", "NaCl", "KBr"), seed: int = 1):
    """Return runs with n estimates altogether, of several salts, models and quantities."""
    rng = random.Random(seed)
    runs = []
    models = [model(name) for name in ("classical", "licl-nnp1")]
    share = -(-n // (len(salts) * len(models)))
    for salt in salts:
        for used in models:
            wanted = min(share, n - sum(len(r.estimates) for r in runs))
            runs.append(
                RunRecord(
                    name=f"{salt} by {used.name}",
                    kind="campaign",
                    campaign="many",
                    solution=SolutionRecord(salt, 1.0, 298.15),
                    model=used,
                    estimates=[_random(rng, salt) for _ in range(wanted)],
                    steps=steps(),
                )
            )
    return runs


def _random(rng: random.Random, salt: str) -> EstimateRecord:
    quantity = rng.choice(QUANTITIES)
    return estimate(
        rng.uniform(0.5, 1.5),
        quantity=quantity,
        unit=UNITS.get(quantity, "1"),
        solution=SolutionRecord(salt, round(rng.uniform(0.1, 4.0), 2), 298.15),
    )


def write(place: str, writer: int, n_runs: int) -> None:
    """Insert runs one by one; every other one is the same for all writers."""
    with Database.open(place, create=True) as opened:
        for number in range(n_runs):
            opened.insert([run(number, name="" if number % 2 else f"writer {writer}")])
