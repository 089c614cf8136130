"""What a run of the chain takes from a shipped coarse-grained model of its salt.

After the all-atom part: activity derivatives and ion-ion g(r) at several concentrations from
nanoseconds of ions in a continuum, in half a CPU minute.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bjerrum.coarse.kernel import library
from bjerrum.coarse.model import coarse_models, load_coarse
from bjerrum.coarse.series import ESTIMATOR, concentration_series
from bjerrum.coarse.systems import Sampling
from bjerrum.errors import ExternalError
from bjerrum.store import Result

SERIES_FILE: Final = "series.json"
CONCENTRATIONS: Final = (0.5, 1.25, 2.5)
REPLICAS: Final = 8
TIME_PS: Final = 100.0
LEAST_PS: Final = 20.0
N_PAIRS: Final = 24


def coarse_model_of(salt: str) -> Path | None:
    """Return the folder of the shipped coarse-grained model of a salt.

    None without such a model, and without the C compiler that its engine needs.
    """
    folder = coarse_models().get(f"{salt.lower()}-cg")
    if folder is None:
        return None
    try:
        library()
    except ExternalError:
        return None
    return folder


def series_time(all_atom_ps: float | None) -> float:
    """Return the time of each replica: TIME_PS, less where the all-atom run is a trial run.

    all_atom_ps  the length that the user asked for; None where a time budget decides
    """
    return TIME_PS if all_atom_ps is None else min(TIME_PS, max(LEAST_PS, 100 * all_atom_ps))


def coarse_series(
    folder: Path,
    time_ps: float = TIME_PS,
    announce: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Return the series of the shipped model, as plain data, with what the model is.

    time_ps  of each replica
    """
    model = load_coarse(str(folder))
    sampling = Sampling(
        temperature=model.card.temperature_K,
        time_ps=time_ps,
        replicas=REPLICAS,
    )
    points = concentration_series(
        model.potential, CONCENTRATIONS, sampling, n_pairs=N_PAIRS, announce=announce
    )
    return {
        "model": model.card.name,
        "limits": model.card.limits,
        "temperature_K": model.card.temperature_K,
        "total_time_ns": len(points) * REPLICAS * time_ps / 1e3,
        "points": [point.to_json() for point in points],
    }


def coarse_answers(result: Result | None) -> list[dict[str, Any]]:
    """Return the activity derivatives of a finished step as answers of the results document."""
    if result is None:
        return []
    series = result.read_json(SERIES_FILE)
    note = (
        f"model {series['model']} at {series['temperature_K']:g} K, ions in a continuum; at "
        "constant chemical potential of water (McMillan-Mayer), not at constant pressure"
    )
    return [
        {
            "quantity": f"d ln a/d ln c at {point['concentration_mol_per_L']:g} mol/L, ions alone",
            "unit": "1",
            "estimate": point["dlna_dlnc_mcmillan_mayer"].get(ESTIMATOR),
            "reason": None
            if ESTIMATOR in point["dlna_dlnc_mcmillan_mayer"]
            else "not resolved by this run",
            "note": note,
            "headline": False,
            "references": [],
        }
        for point in series["points"]
    ]
