"""Whether everything that is installed works: one calculation of a few atoms with each part.

Nothing here changes anything: calculations run in temporary folders that are removed. What is
installed: :mod:`bjerrum.installation`. A library is imported by the check that needs it: a missing
one is a finding, not the end.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bjerrum.errors import BjerrumError, ExternalError, InputError, Interrupted
from bjerrum.installation import Part, examine_libraries, examine_machine, examine_programs
from bjerrum.units import COULOMB_CONSTANT

if TYPE_CHECKING:
    from ase import Atoms

    from bjerrum.estimate import FloatArray

Announce = Callable[[str, int, int], None]

_WATER_EDGE_ANGSTROM: Final = 6.0
_WATER_ENERGY_EV: Final = -467.86
"""r2SCAN, DZVP-MOLOPT-SR, of one_water at 800 Ry (CP2K 2023.1)."""
_LARGEST_WATER_FORCE: Final = 5.0
"""eV/angstrom, for a water within 0.02 angstrom of its equilibrium bond length."""
_LARGEST_MIRROR_ERROR: Final = 0.5
"""eV/angstrom: the two O-H bonds are alike but for where the coarse grid cuts them."""
_LARGEST_NET_FORCE: Final = 1e-3
"""eV/angstrom; sum of a network's single-precision forces."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A one-molecule calculation: passed, failed, or skipped (None) without its program."""

    name: str
    required: bool
    passed: bool | None
    detail: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Diagnosis:
    """Everything that the doctor found."""

    machine: dict[str, Any]
    programs: list[Part]
    libraries: list[Part]
    checks: list[Trial]

    @property
    def failures(self) -> list[str]:
        """Names of what is required and is missing or does not work."""
        parts = [p.name for p in (*self.programs, *self.libraries) if p.required and not p.found]
        return parts + [t.name for t in self.checks if t.required and not t.passed]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; ``passed`` is the verdict."""
        return {"passed": not self.failures, "failures": self.failures, **asdict(self)}


def one_water(edge: float = _WATER_EDGE_ANGSTROM) -> Atoms:
    """Return a water at its gas-phase geometry, symmetric in x, in a periodic cube."""
    import numpy as np
    from ase import Atoms

    positions = np.array([[0, 0, 0], [0.757, 0.586, 0], [-0.757, 0.586, 0]]) + edge / 2
    return Atoms("OH2", positions, cell=[edge] * 3, pbc=True)


def _try_packmol() -> str:
    from bjerrum.boxes import build_box
    from bjerrum.system import Salt, Solution

    box = build_box(Solution(Salt.parse("LiCl"), 0.0, 298.15), 4, seed=1)
    return f"packed 4 waters into {box.cell[0, 0]:.2f} angstrom"


def _try_openmm() -> str:
    """Compare the energy of two distant ions with Coulomb's law."""
    from ase import Atoms

    from bjerrum.reference.classical import ClassicalReference

    energy, _ = ClassicalReference().energy_and_forces(Atoms("NaCl", [[0, 0, 0], [200.0, 0, 0]]))
    expected = -COULOMB_CONSTANT / 200.0
    _expect(abs(energy / expected - 1) < 1e-4, f"energy {energy:.6f} eV, expected {expected:.6f}")
    return f"Na+ and Cl- 200 angstrom apart: {1e3 * energy:.3f} meV, as Coulomb's law says"


def _try_model() -> str:
    """Call the first shipped model once for a water and the other elements that it knows."""
    from ase import Atoms

    from bjerrum.potential.card import shipped_models
    from bjerrum.potential.model import load_model

    models = shipped_models()
    _expect(bool(models), "no model is shipped with this installation")
    name, folder = next(iter(models.items()))
    model = load_model(str(folder))
    atoms = one_water(12.0)
    for k, symbol in enumerate(s for s in model.card.elements if s not in {"H", "O"}):
        atoms += Atoms(symbol, [[6.0, 3.7 - 2.4 * k, 6.0]])
    evaluation = model.bind(list(atoms.symbols), atoms.cell.array)(atoms.positions)
    _expect_forces(evaluation.energy, evaluation.forces)
    net = float(abs(evaluation.forces.sum(axis=0)).max())
    _expect(net < _LARGEST_NET_FORCE, f"net force {net:.2g} eV/angstrom, expected none")
    largest = float(abs(evaluation.forces).max())
    return f"{name}: {atoms.symbols}, forces up to {largest:.2f} eV/angstrom, net {net:.1g}"


def _try_cp2k() -> str:
    """Label one water on a coarse grid: its energy is within 1 eV of that on a fine one."""
    from bjerrum.reference.cp2k import Cp2kReference
    from bjerrum.reference.cp2k_settings import Cp2kSettings

    settings = Cp2kSettings(method="r2scan", cutoff_ry=200, translations=1)
    reference, atoms = Cp2kReference(settings), one_water()
    reference.check(atoms)
    with tempfile.TemporaryDirectory(prefix="bjerrum-doctor-") as folder:
        label = reference.label(atoms, Path(folder))
    if label.energy is None or label.forces is None:
        raise ExternalError(f"{label.status}: {label.reason}")
    _expect_forces(label.energy, label.forces)
    deviation = abs(label.energy - _WATER_ENERGY_EV)
    _expect(deviation < 1, f"energy {label.energy:.2f} eV, expected {_WATER_ENERGY_EV} +- 1")
    largest = float(abs(label.forces).max())
    _expect(largest < _LARGEST_WATER_FORCE, f"a force of {largest:.1f} eV/angstrom in one water")
    mirror = float(abs(label.forces[1] * [-1, 1, 1] - label.forces[2]).max())
    _expect(mirror < _LARGEST_MIRROR_ERROR, f"forces on H differ by {mirror:.2f} eV/angstrom")
    return f"r2SCAN energy of one water {label.energy:.2f} eV, forces symmetric"


def _expect_forces(energy: float, forces: FloatArray) -> None:
    import numpy as np

    _expect(bool(np.isfinite(energy) and np.isfinite(forces).all()), "energy or forces not finite")


def _expect(condition: bool, failure: str) -> None:
    if not condition:
        raise ExternalError(failure)


_TRIALS: Final[dict[str, tuple[Callable[[], str], tuple[str, ...]]]] = {
    "packmol: a few waters": (_try_packmol, ("packmol",)),
    "OpenMM: one energy": (_try_openmm, ()),
    "shipped model: one force call": (_try_model, ()),
    "CP2K: one water": (_try_cp2k, ("CP2K", "CP2K data")),
}
"""Each check with the programs that it needs; without programs it is always required."""


def _run_trial(name: str, programs: dict[str, Part]) -> Trial:
    work, needed = _TRIALS[name]
    parts = [programs[program] for program in needed]
    required = any(part.required for part in parts) or not parts
    missing = [part.name for part in parts if not part.found]
    if missing:
        detail = f"skipped: {', '.join(missing)} not found"
        return Trial(name=name, required=required, passed=None, detail=detail)
    begin = time.perf_counter()
    try:
        detail, passed = work(), True
    except Interrupted:
        raise
    except Exception as error:  # whatever a broken library raises is the finding
        known = isinstance(error, BjerrumError)
        detail, passed = _one_line(error, "" if known else f"{type(error).__name__}: "), False
    seconds = round(time.perf_counter() - begin, 2)
    return Trial(name=name, required=required, passed=passed, detail=detail, seconds=seconds)


def _one_line(error: Exception, before: str = "") -> str:
    return before + " ".join(str(error).split())[:300]


def diagnose(
    *, quick: bool = False, require: Collection[str] = (), announce: Announce | None = None
) -> Diagnosis:
    """Look for programs and libraries, then try each part that matters with a few atoms.

    quick    leave the calculations out
    require  names of optional programs or libraries that this user needs
    Raises InputError for a name that is not among them.
    """
    programs, libraries = examine_programs(), examine_libraries()
    known = [part.name for part in (*programs, *libraries)]
    for name in require:
        if name not in known:
            raise InputError(f"require: expected one of {', '.join(known)}, got '{name}'")
    programs, libraries = (
        [replace(part, required=part.required or part.name in require) for part in parts]
        for parts in (programs, libraries)
    )
    checks: list[Trial] = []
    for k, name in enumerate(() if quick else _TRIALS):
        if announce:
            announce("Checks", k, len(_TRIALS))
        checks.append(_run_trial(name, {part.name: part for part in programs}))
    if announce and checks:
        announce("Checks", len(checks), len(checks))
    return Diagnosis(examine_machine(), programs, libraries, checks)
