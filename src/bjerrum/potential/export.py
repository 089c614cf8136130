"""A model for LAMMPS, and a compiled network: what ``bjerrum export`` writes.

LAMMPS adds up the same parts as :class:`~bjerrum.potential.model.Model`: the network (pair style
``nequip`` of github.com/mir-group/pair_nequip_allegro, a build of LAMMPS of one's own), the Coulomb
part (``coul/long`` with ``dielectric`` and an Ewald sum) and the wall (``table``).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io.lammpsdata import write_lammps_data

from bjerrum.errors import ExternalError, InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path
from bjerrum.potential.model import Model

NETWORK_FILE = "network.nequip.pt2"
WALL_FILE = "wall.table"
DATA_FILE = "box.data"

_TABLE_POINTS = 2000
_TABLE_START = 0.3
_ACCURACY = 1e-8

_SYSTEM = """\
# {name}: the system, written by `bjerrum export`; angstrom, eV, e.
units           metal
atom_style      charge
boundary        p p p
newton          off
read_data       {data}
{masses}
{charges}
dielectric      {dielectric:.10g}
"""

_WITHOUT = """\
# {name}: everything but the network, for checks with a LAMMPS that has no pair style nequip.
pair_style      hybrid/overlay coul/long {coulomb_cutoff:g}{wall_style}
pair_coeff      * * coul/long
{wall}
kspace_style    ewald {accuracy:g}
"""

_WITH = """\
# {name}: the whole potential; needs LAMMPS with pair style nequip
# (github.com/mir-group/pair_nequip_allegro) built against the torch that compiled the network.
pair_style      hybrid/overlay nequip coul/long {coulomb_cutoff:g}{wall_style}
pair_coeff      * * nequip {network} {elements}
pair_coeff      * * coul/long
{wall}
kspace_style    ewald {accuracy:g}
"""

_RUN = """\
# {name} in LAMMPS: constant temperature, 1 fs. lmp -in in.lammps
include         system.in
include         potential.in
timestep        0.001
velocity        all create 300.0 4928459
fix             motion all nve
fix             bath all langevin 300.0 300.0 0.2 48279
thermo_style    custom step temp pe ke etotal press
thermo          100
dump            frames all custom 100 frames.lammpstrj id element xu yu zu
dump_modify     frames element {elements} sort id
run             10000
"""


def export_lammps(model: Model, atoms: Atoms, folder: Path) -> list[Path]:
    """Write LAMMPS' input beside the data file of a box; the network is exported separately.

    atoms  a box of the elements that the model knows
    Returns the files. Raises InputError for a box with other elements or a cell that LAMMPS'
    Ewald sum does not take.
    """
    unknown = sorted(set(atoms.symbols) - set(model.card.elements))
    if unknown:
        raise InputError(
            f"export: expected a box of {', '.join(model.card.elements)}, it also holds "
            f"{', '.join(unknown)}"
        )
    if len(model.network.members) > 1:
        raise InputError(
            f"export: {model.card.name} is a committee; export one of its members: "
            f"{', '.join(model.card.members)}"
        )
    elements, charges = list(model.card.elements), dict(model.baseline.charges)
    wall_style, wall = _wall_commands(model, elements)
    words = {
        "name": model.card.name,
        "data": DATA_FILE,
        "network": NETWORK_FILE,
        "elements": " ".join(elements),
        "dielectric": model.baseline.dielectric_constant,
        "coulomb_cutoff": max(model.card.cutoff, 6.0),
        "accuracy": _ACCURACY,
        "wall_style": wall_style,
        "wall": wall,
        "masses": "\n".join(
            f"mass            {k} {atomic_masses[atomic_numbers[e]]:.6f}  # {e}"
            for k, e in enumerate(elements, 1)
        ),
        "charges": "\n".join(
            f"set             type {k} charge {charges.get(e, 0.0):g}"
            for k, e in enumerate(elements, 1)
        ),
    }
    texts = {
        "system.in": _SYSTEM.format(**words),
        "potential.in": _WITH.format(**words),
        "potential-without-network.in": _WITHOUT.format(**words),
        "in.lammps": _RUN.format(**words),
    }
    if model.repulsion is not None:
        texts[WALL_FILE] = _wall_table(model, elements)
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    with atomic_path(folder / DATA_FILE) as temporary:
        write_lammps_data(
            temporary, atoms, specorder=elements, atom_style="charge", units="metal",
            masses=False, write_image_flags=False,
        )  # fmt: skip
    return [folder / name for name in (*texts, DATA_FILE)]


def _wall_pairs(model: Model, elements: list[str]) -> list[tuple[int, int, str, float]]:
    """Return types, name and outer distance of each pair that has a wall or a bar."""
    assert model.repulsion is not None
    index = {element: k for k, element in enumerate(elements, 1)}
    reach = dict(model.repulsion.outer)
    for pair, (_, high) in model.repulsion.gaps:
        reach[pair] = max(high, reach.get(pair, high))
    return [
        (min(index[a], index[b]), max(index[a], index[b]), f"{a}-{b}", outer)
        for (a, b), outer in sorted(reach.items())
    ]


def _wall_commands(model: Model, elements: list[str]) -> tuple[str, str]:
    if model.repulsion is None:
        return "", "# no wall: the network needs none"
    pairs = _wall_pairs(model, elements)
    lines = [
        f"pair_coeff      {i} {j} table {WALL_FILE} {name} {outer:.10g}"
        for i, j, name, outer in pairs
    ]
    return f" table linear {_TABLE_POINTS}", "\n".join(lines)


def _wall_table(model: Model, elements: list[str]) -> str:
    """Return the wall of every pair as a file of LAMMPS' pair style table."""
    assert model.repulsion is not None
    sections = ["# wall at contacts, see model.json; angstrom, eV, eV/angstrom"]
    for _, _, name, outer in _wall_pairs(model, elements):
        r = np.linspace(_TABLE_START, outer, _TABLE_POINTS)
        energy, force = _pair_curve(model, name.split("-"), r)
        rows = [
            f"{k} {x:.10g} {e:.12g} {f:.12g}"
            for k, (x, e, f) in enumerate(zip(r, energy, force, strict=True), 1)
        ]
        head = f"\n{name}\nN {_TABLE_POINTS} R {_TABLE_START:g} {outer:.10g}\n"
        sections.append(head + "\n" + "\n".join(rows))
    return "\n".join(sections) + "\n"


def _pair_curve(model: Model, pair: list[str], r: FloatArray) -> tuple[FloatArray, FloatArray]:
    assert model.repulsion is not None
    forces = model.repulsion.bind(pair, 30.0 * np.eye(3))
    results = [forces(np.array([[0.0, 0, 0], [x, 0, 0]])) for x in r]
    return (
        np.array([result.energy for result in results]),
        np.array([result.forces[1, 0] for result in results]),
    )


def export_aotinductor(
    model: Model, atoms: Atoms, path: Path, *, device: str = "cpu", target: str = "pair_nequip"
) -> Path:
    """Compile the network ahead of time with AOTInductor (minutes); NequIP's own tools do it.

    atoms   a box of realistic size, from which shapes are traced
    device  cpu or cuda
    target  pair_nequip (LAMMPS), ase or batch
    The file holds the network alone; Coulomb part and wall are added where it is used. NequIP
    compares its outputs with those of the network before it returns.
    Raises InputError for a committee or a name without .nequip.pt2, ExternalError if torch cannot
    compile here.
    """
    import torch
    from nequip.data import AtomicDataDict
    from nequip.scripts._compile_utils import COMPILE_TARGET_DICT
    from nequip.utils.aot import aot_export_model
    from nequip.utils.global_state import get_latest_global_state

    if not path.name.endswith(".nequip.pt2"):
        raise InputError(f"{path}: expected a name that ends in .nequip.pt2")
    if len(model.network.members) > 1:
        raise InputError(f"export: {model.card.name} is a committee; export one of its members")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("export: expected a GPU for --device cuda, this machine has none")
    (network,) = model.network.members
    settings = COMPILE_TARGET_DICT[target]
    graph = network.network.to(device)
    data = settings["data_settings"](AtomicDataDict.to_(graph_data(model, atoms), device))
    sizes = {
        "graph": torch.export.Dim.STATIC,
        "node": torch.export.dynamic_shapes.Dim("num_nodes", min=2),
        "edge": torch.export.dynamic_shapes.Dim("num_edges", min=2),
    }
    state = get_latest_global_state(only_metadata_related=True)
    metadata = {
        key: str(int(value)) if isinstance(value, bool) else str(value)
        for key, value in {**graph.metadata, **state}.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's compiler, about torch's compiler
            aot_export_model(
                model=graph.requires_grad_(requires_grad=True),
                device=torch.device(device),
                input_fields=settings["input"],
                output_fields=settings["output"],
                data=data,
                batch_map=settings["batch_map_settings"](sizes),
                output_path=str(path),
                inductor_configs={"aot_inductor.metadata": _with_fields(metadata, settings)},
            )
    except (RuntimeError, OSError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ExternalError(f"export: torch could not compile the network ({reason})") from error
    finally:
        graph.requires_grad_(requires_grad=False)
    return path


def _with_fields(metadata: dict[str, str], settings: dict[str, Any]) -> dict[str, str]:
    from nequip.utils.aoti_metadata import (
        NEQUIP_AOTI_INPUTS_KEY,
        NEQUIP_AOTI_OUTPUTS_KEY,
        serialize_aoti_keys,
    )

    return metadata | {
        NEQUIP_AOTI_INPUTS_KEY: serialize_aoti_keys(settings["input"]),
        NEQUIP_AOTI_OUTPUTS_KEY: serialize_aoti_keys(settings["output"]),
    }


def graph_data(model: Model, atoms: Atoms) -> dict[str, Any]:
    """Return a box as NequIP's graph."""
    from nequip.data import compute_neighborlist_, from_ase
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper

    bare = atoms.copy()
    bare.calc = None
    mapper = ChemicalSpeciesToAtomTypeMapper(model_type_names=list(model.card.elements))
    return dict(compute_neighborlist_(mapper(from_ase(bare)), r_max=model.card.cutoff))
