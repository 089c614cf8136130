"""The error of a label, measured: what each numerical setting costs and what it changes.

One small frame is labelled with settings that differ from those given in one respect at a
time, each at two positions relative to the grid, so that for every variant

    noise = rms(F(0) - F(u)) / sqrt(2)         scatter of a force component with the grid (egg-box)
    error = rms((F(0) + F(u)) / 2 - F_limit)   against the tightest settings; holds noise / sqrt(2)

Central differences of the energy test forces independently of all that. Costs are CPU seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms

from bjerrum.errors import PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.files import write_whole
from bjerrum.frames import cell_heights
from bjerrum.labelling import label_frames
from bjerrum.reference.cp2k import Cp2kProgram, Cp2kReference
from bjerrum.reference.cp2k_input import exchange_range
from bjerrum.reference.cp2k_settings import (
    PUBLISHED,
    Cp2kSettings,
    ExchangeSpec,
    ScfSpec,
    published_in,
    resolved,
)
from bjerrum.units import EV_IN_MEV

OFFSET: Final = (0.27, 0.41, 0.16)
"""A position between grid points, in units of the grid vectors: no symmetry to the first."""

DIFFERENCE_ANGSTROM: Final = 0.004

CUTOFFS_RY: Final = (600.0, 800.0, 1200.0)


@dataclass(frozen=True)
class Variant:
    """Settings under a name; ``systematic`` if they change the physics, not just its accuracy."""

    name: str
    settings: Cp2kSettings
    systematic: bool = False


@dataclass(frozen=True)
class Measured:
    """What a variant costs and what is wrong with it; forces in meV/angstrom.

    noise, error     rms of a component, see the module's text
    noise_of         the noise per element
    net_force        of one label before it is removed, per square root of the number of atoms
    energy_shift     against the limit, meV/atom; depends on the pseudo-density, cancels in forces
    """

    name: str
    systematic: bool
    cpu_seconds: float
    noise: float
    error: float
    noise_of: dict[str, float]
    net_force: float
    energy_shift: float


@dataclass(frozen=True)
class Difference:
    """A force component beside the central difference of the energy, eV/angstrom."""

    atom: int
    element: str
    component: int
    force: float
    difference: float


def limit_of(settings: Cp2kSettings) -> Variant:
    """Return the tightest settings of the same theory that are affordable for a small frame."""
    tight = settings.exchange.model_copy(update={"eps_schwarz": 1e-6})
    return Variant(
        "limit",
        settings.model_copy(
            update={
                "cutoff_ry": 1600.0,
                "rel_cutoff_ry": 60.0,
                "translations": 4,
                "smoothing": "none",
                "eps_default": 1e-12,
                "response_tolerance": 1e-9,
                "exchange": tight,
            }
        ),
    )


def variants_of(settings: Cp2kSettings, atoms: Atoms) -> list[Variant]:
    """Return the settings as given first, then what differs from them in one respect each.

    Plain 1/r exchange is among them only where the box is large enough for it.
    """

    def changed(name: str, systematic: bool = False, **update: Any) -> Variant:
        return Variant(name, settings.model_copy(update=update), systematic)

    def exchange(**update: Any) -> ExchangeSpec:
        return settings.exchange.model_copy(update=update)

    shorter = round(0.8 * exchange_range(atoms, settings), 3)
    variants = [
        Variant("settings as given", settings),
        changed("one position on the grid", translations=1),
        changed("four positions on the grid", translations=4),
        *(
            changed(f"cutoff {cutoff:g} Ry", cutoff_ry=cutoff)
            for cutoff in CUTOFFS_RY
            if cutoff != settings.cutoff_ry
        ),
        changed("relative cutoff 60 Ry", rel_cutoff_ry=60.0),
        changed("smoothing NN10", smoothing="nn10", translations=1),
        changed("smoothing NN4, 1200 Ry", smoothing="nn4", cutoff_ry=1200.0, translations=1),
        changed("integral screening 1e-3", exchange=exchange(eps_schwarz=1e-3)),
        changed("integral screening 1e-5", exchange=exchange(eps_schwarz=1e-5)),
        changed("response 1e-6", response_tolerance=1e-6),
        changed("SCF 1e-7", scf=ScfSpec(tolerance=1e-7)),
        changed("basis DZVP-MOLOPT-SCAN", systematic=True, basis="DZVP-MOLOPT-SCAN"),
        changed("basis TZV2P-MOLOPT-SCAN", systematic=True, basis="TZV2P-MOLOPT-SCAN"),
        changed("exchange range x 0.8", True, exchange=exchange(range_angstrom=shorter)),
    ]
    height = float(cell_heights(atoms.cell.array).min())
    published = published_in(height)
    if published != PUBLISHED:
        return [*variants, Variant("published, truncated exchange", published, systematic=True)]
    plain = ExchangeSpec(operator="full", eps_schwarz=settings.exchange.eps_schwarz)
    return [
        *variants,
        changed("exchange operator 1/r", systematic=True, exchange=plain),
        Variant("published", published, systematic=True),
    ]


def measure(
    atoms: Atoms,
    variants: Sequence[Variant],
    limit: Variant,
    program: Cp2kProgram,
    folder: Path,
    *,
    jobs: int,
    announce: Callable[[str, int, int], None],
) -> list[Measured]:
    """Measure variants on one frame; every label is a step in ``folder`` and is made once.

    The limit comes first, the variants in their order; a variant that does not converge is left
    out. Raises PhysicsCheckFailed if the limit itself does not converge.
    """
    grid = Cp2kReference(limit.settings, program)
    best = _pair(atoms, grid, folder, jobs, announce)
    if best is None:
        raise PhysicsCheckFailed(f"the limit of the convergence test did not converge: {folder}")
    found = [_measured(limit, atoms, best, best)]
    for index, variant in enumerate(variants):
        labels = _pair(atoms, Cp2kReference(variant.settings, program), folder, jobs, _silent)
        announce("Convergence", index + 1, len(variants))
        if labels is not None:
            found.append(_measured(variant, atoms, labels, best))
    return found


def choose(measured: Sequence[Measured], target: float) -> Measured:
    """Return the cheapest variant of the same theory whose error meets the target.

    target  meV/angstrom. Where none does, the one of least error.
    """
    same = [m for m in measured if not m.systematic and m.name != "limit"]
    good = [m for m in same if m.error <= target]
    return min(good, key=lambda m: m.cpu_seconds) if good else min(same, key=lambda m: m.error)


def central_differences(
    atoms: Atoms,
    settings: Cp2kSettings,
    program: Cp2kProgram,
    folder: Path,
    components: Sequence[tuple[int, int]],
    *,
    jobs: int,
    announce: Callable[[str, int, int], None],
) -> list[Difference]:
    """Compare force components with (E(x - h) - E(x + h)) / 2h, h = DIFFERENCE_ANGSTROM.

    components  (atom, axis)
    """
    frames = [atoms.copy()]
    for atom, axis in components:
        for sign in (-1, 1):
            frame = atoms.copy()
            frame.positions[atom, axis] += sign * DIFFERENCE_ANGSTROM
            frames.append(frame)
    labelled = label_frames(
        frames, Cp2kReference(settings, program), folder, jobs=jobs, announce=announce
    ).frames
    if len(labelled) != len(frames):
        raise PhysicsCheckFailed(f"not all labels of the finite differences converged: {folder}")
    forces = labelled[0].get_forces()
    energies = np.array([frame.get_potential_energy() for frame in labelled[1:]]).reshape(-1, 2)
    slopes = (energies[:, 0] - energies[:, 1]) / (2 * DIFFERENCE_ANGSTROM)
    return [
        Difference(atom, str(atoms.symbols[atom]), axis, float(forces[atom, axis]), float(slope))
        for (atom, axis), slope in zip(components, slopes, strict=True)
    ]


def converge_frame(
    atoms: Atoms,
    settings: Cp2kSettings,
    program: Cp2kProgram,
    folder: Path,
    *,
    target: float,
    jobs: int,
    announce: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Measure all variants on a frame, choose one, and test its forces by finite differences.

    Returns plain data: frame, target, variants (the limit first), chosen, finite_differences.
    """
    base = resolved(settings.model_copy(update={"grid_correction": "average"}), 1)
    candidates = variants_of(base, atoms)
    limit = limit_of(base)
    rows = measure(atoms, candidates, limit, program, folder, jobs=jobs, announce=announce)
    best = choose(rows, target)
    named = {variant.name: variant.settings for variant in candidates}
    differences = central_differences(
        atoms,
        named[best.name],
        program,
        folder,
        _one_component_per_element(atoms),
        jobs=jobs,
        announce=announce,
    )
    return {
        "frame": atoms.get_chemical_formula(),
        "cell_angstrom": [float(x) for x in atoms.cell.lengths()],
        "target_mev_per_angstrom": target,
        "variants": [asdict(row) for row in rows],
        "chosen": best.name,
        "finite_differences": [asdict(row) for row in differences],
    }


def chosen_settings(settings: Cp2kSettings, atoms: Atoms, result: dict[str, Any]) -> Cp2kSettings:
    """Return the settings that a convergence test chose, with the noise that it measured."""
    base = resolved(settings.model_copy(update={"grid_correction": "average"}), 1)
    named = {variant.name: variant.settings for variant in variants_of(base, atoms)}
    row = next(row for row in result["variants"] if row["name"] == result["chosen"])
    noise = {"noise_mev_per_angstrom": round(row["noise"], 2)}
    return named[result["chosen"]].model_copy(update=noise)


def write_settings(path: Path, settings: Cp2kSettings, result: dict[str, Any]) -> None:
    """Write settings as TOML, headed by what was measured."""
    lines = ["# Chosen by `bjerrum label --converge` on " + result["frame"]]
    lines += [
        f"# {row['name']}: {row['cpu_seconds']:.0f} CPU s, noise {row['noise']:.1f}, "
        f"error {row['error']:.1f} meV/angstrom"
        for row in result["variants"]
    ]
    nested = settings.model_dump(mode="json", exclude_none=True)
    tables = {key: nested.pop(key) for key in list(nested) if isinstance(nested[key], dict)}
    lines += [f"{key} = {_toml(value)}" for key, value in nested.items()]
    for name, values in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    write_whole(path, ("\n".join(lines) + "\n").encode())


def _toml(value: object) -> str:
    return json.dumps(value)


def _one_component_per_element(atoms: Atoms) -> list[tuple[int, int]]:
    """Return (atom, axis) of the first atom of each element, axes in turn."""
    symbols = atoms.get_chemical_symbols()
    return [(symbols.index(e), k % 3) for k, e in enumerate(sorted(set(symbols)))]


def _pair(
    atoms: Atoms,
    reference: Cp2kReference,
    folder: Path,
    jobs: int,
    announce: Callable[[str, int, int], None],
) -> list[Atoms] | None:
    """Return the frame labelled at two positions on the grid; None if one did not converge."""
    first = label_frames([atoms], reference, folder, jobs=1, announce=announce).frames
    if not first:
        return None
    grid = np.array(first[0].info["grid"])
    moved = atoms.copy()
    moved.positions += np.array(OFFSET) @ (atoms.cell.array / grid[:, None])
    second = label_frames([moved], reference, folder, jobs=jobs, announce=announce).frames
    return [*first, *second] if second else None


def _measured(
    variant: Variant, atoms: Atoms, labels: Sequence[Atoms], best: Sequence[Atoms]
) -> Measured:
    forces = EV_IN_MEV * np.array([frame.get_forces() for frame in labels])
    limit = EV_IN_MEV * np.mean([frame.get_forces() for frame in best], axis=0)
    scatter = (forces[0] - forces[1]) / np.sqrt(2)
    symbols = np.array(atoms.get_chemical_symbols())
    energy = np.mean([frame.get_potential_energy() for frame in labels])
    energy -= np.mean([frame.get_potential_energy() for frame in best])
    return Measured(
        name=variant.name,
        systematic=variant.systematic,
        cpu_seconds=float(np.mean([frame.info["label_cpu_seconds"] for frame in labels])),
        noise=_rms(scatter),
        error=_rms(forces.mean(axis=0) - limit),
        noise_of={e: _rms(scatter[symbols == e]) for e in sorted(set(symbols.tolist()))},
        net_force=float(labels[0].info["net_force_mev_per_angstrom"] / np.sqrt(3 * len(atoms))),
        energy_shift=float(EV_IN_MEV * energy / len(atoms)),
    )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _silent(stage: str, done: int, total: int) -> None:
    pass
