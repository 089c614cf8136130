"""Labels beside the published settings: CPU seconds and force noise of one frame, in one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from bjerrum.convergence import Measured, Variant, measure
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.reference.cp2k import Cp2kProgram
from bjerrum.reference.cp2k_settings import PUBLISHED, Cp2kSettings, resolved


def bench_label(
    atoms: Atoms,
    program: Cp2kProgram,
    folder: Path,
    *,
    announce: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Label one frame with our settings and the published ones, at two positions on the grid each.

    ours         defaults of :class:`Cp2kSettings`, averaged over two positions ("average")
    alternative  :data:`PUBLISHED`: 1200/60 Ry, NN4 smoothing, EPS_DEFAULT 1e-12, 1/r exchange

    Both start from scratch. Noise is the scatter of a force component with the position on the
    grid. ratio is that of cost at equal noise: noise falls as the root of the number of
    independent labels, so it is (CPU seconds x noise^2), alternative over ours.
    """
    ours = resolved(Cp2kSettings(grid_correction="average"), 1)
    variants = [Variant("ours", ours), Variant("published", PUBLISHED, systematic=True)]
    reference = Variant("single", ours.model_copy(update={"translations": 1}))
    rows = {
        row.name: row
        for row in measure(atoms, variants, reference, program, folder, jobs=1, announce=announce)
    }
    if not {"ours", "published"} <= set(rows):
        raise PhysicsCheckFailed(f"not all labels of the benchmark converged: {folder}")
    first, second, single = rows["ours"], rows["published"], rows["single"]
    return {
        "what": "label",
        "ratio": _worth(second) / _worth(first),
        "ours": first.cpu_seconds,
        "alternative": second.cpu_seconds,
        "unit": "CPU s per label",
        "details": {
            "frame": atoms.get_chemical_formula(),
            "ratio_of_cost": second.cpu_seconds / first.cpu_seconds,
            "ratio_of_noise": second.noise / first.noise,
            "noise_mev_per_angstrom": {"ours": first.noise, "alternative": second.noise},
            "noise_per_element": {"ours": first.noise_of, "alternative": second.noise_of},
            "single_position": {"cpu_seconds": single.cpu_seconds, "noise": single.noise},
            "settings": {"ours": ours.hash, "alternative": PUBLISHED.hash},
        },
    }


def _worth(row: Measured) -> float:
    return row.cpu_seconds * float(np.square(row.noise))
