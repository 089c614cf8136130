"""Labels beside the published settings: CPU seconds and force noise of one frame, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.errors import InputError, PhysicsCheckFailed
from bjerrum.frames import cell_heights
from bjerrum.labelling import label_frames
from bjerrum.reference.cp2k import Cp2kProgram, Cp2kReference
from bjerrum.reference.cp2k_settings import Cp2kSettings, published_in, resolved
from bjerrum.reference.egg_box import OFFSETS_ANGSTROM, fit_egg_box
from bjerrum.units import EV_IN_MEV


def bench_label(
    frames: Sequence[Atoms],
    program: Cp2kProgram,
    folder: Path,
    *,
    announce: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Label frames with our settings and the published ones, at two positions on the grid each.

    ours         defaults of :class:`Cp2kSettings`, one calculation per label, egg-box error fitted
                 to two frames; the noise is that of a frame which was not fitted to
    alternative  :func:`published_in` that box, on the first frame: 1200/60 Ry, NN4 smoothing,
                 EPS_DEFAULT 1e-12

    All labels start from scratch. Noise is the rms scatter of a force component with the position
    on the grid. Averaging n labels lowers noise by sqrt(n), so that the ratio of costs at equal
    noise, ``ratio``, is (CPU seconds x noise^2), alternative over ours.
    """
    if len(frames) < 2:
        raise InputError(f"bench label: expected at least 2 frames of one cell, got {len(frames)}")
    moved = [frame.copy() for frame in frames[:2]]
    for frame in moved:
        frame.positions += OFFSETS_ANGSTROM[0]
    settings = resolved(Cp2kSettings(grid_correction="fit"), 2)
    configurations = [frames[0], moved[0], frames[1], moved[1]]
    ours = _labels(configurations, settings, program, folder, announce)
    height = float(cell_heights(frames[0].cell.array).min())
    theirs = published_in(height)
    published = _labels([frames[0], moved[0]], theirs, program, folder, announce)
    fit = fit_egg_box([ours[:2], ours[2:]])
    difference = published[0].get_forces() - published[1].get_forces()
    noise = float(EV_IN_MEV * np.sqrt(np.mean(difference**2) / 2))
    cost = {"ours": _cost(ours[:2]), "alternative": _cost(published)}
    cheaper, quieter = cost["alternative"] / cost["ours"], noise / fit.noise_after
    return {
        "what": "label",
        "ratio": cheaper * quieter**2,
        "ours": cost["ours"] * fit.noise_after**2,
        "alternative": cost["alternative"] * noise**2,
        "unit": "CPU s (meV/angstrom)^2",
        "details": {
            "frame": frames[0].get_chemical_formula(),
            "cpu_seconds_per_label": cost,
            "noise_mev_per_angstrom": {"ours": fit.noise_after, "alternative": noise},
            "noise_without_correction": fit.noise_before,
            "ratio_of_cost": cheaper,
            "ratio_of_noise": quieter,
            "ratio_of_noise_at_equal_cost": quieter * np.sqrt(cheaper),
            "settings": {"ours": settings.hash, "alternative": theirs.hash},
            "exchange_of_alternative": theirs.exchange.operator,
            "cp2k_version": published[0].info["program"],
        },
    }


def _labels(
    frames: Sequence[Atoms],
    settings: Cp2kSettings,
    program: Cp2kProgram,
    folder: Path,
    announce: Callable[[str, int, int], None],
) -> list[Atoms]:
    """Return raw labels, grid error and net force included."""
    raw = settings.model_copy(update={"grid_correction": "none"})
    done = label_frames(frames, Cp2kReference(raw, program), folder, announce=announce)
    if len(done.frames) != len(frames):
        raise PhysicsCheckFailed(f"not all labels of the benchmark converged: {folder}")
    return done.frames


def _cost(frames: Sequence[Atoms]) -> float:
    return float(np.mean([frame.info["label_cpu_seconds"] for frame in frames]))
