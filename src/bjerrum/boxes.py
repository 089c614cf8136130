"""Starting boxes: a solution and a size become an equilibrated periodic configuration.

packmol (Martinez et al., J. Comput. Chem. 30, 2157 (2009)) places rigid water and ions at random
in the cubic cell that the density asks for; classical dynamics then lets them find a liquid.
Atom order: waters as O, H, H, then cations, then anions.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Final

import ase.io
import numpy as np
import vesin
from ase import Atoms

from bjerrum.errors import ExternalError, InputError, PhysicsCheckFailed
from bjerrum.estimate import FloatArray
from bjerrum.reference.classical import derived_seed, run_nvt, sample_nvt, with_positions
from bjerrum.reference.classical_force_fields import SPCE_JOUNG_CHEATHAM, ClassicalForceField
from bjerrum.reference.classical_system import whole_molecules
from bjerrum.system import Solution

EQUILIBRATION_PS: Final = 50.0
_HYDRATION_PS: Final = 2.0
_TIMESTEP_FS: Final = 4.0
_HYDROGEN_MASS_AMU: Final = 4.0
_FRICTION_PER_PS: Final = 2.0

_PACKMOL_TIMEOUT_S: Final = 300.0
_MAX_TOLERANCE_ANGSTROM: Final = 2.3
"""Above it nothing packs at the density of a liquid, and packmol searches for minutes."""

_ION_SEPARATION_ANGSTROM: Final = 5.0
_ION_PACKING: Final = 0.7
"""Ions start this far apart, or at this fraction of their mean spacing where they are crowded:
contact pairs live longer than the equilibration, so packing must not make them by chance."""

_WATER_TOLERANCE_ANGSTROM: Final = 0.01
_WATER_TOLERANCE_DEGREES: Final = 1.0
_SEARCH_ANGSTROM: Final = 4.0


def find_packmol() -> Path:
    """Return the packmol program: beside this Python, else on PATH; ExternalError if missing."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("packmol", path=beside) or shutil.which("packmol")
    if found is None:
        raise ExternalError(
            f"packmol is needed to build a box, but is neither in {beside} nor on PATH; "
            "install it with: pip install packmol"
        )
    return Path(found)


def build_box(
    solution: Solution,
    n_waters: int,
    *,
    seed: int,
    tolerance_angstrom: float = 2.0,
    density: float | None = None,
) -> Atoms:
    """Return a periodic cubic box of SPC/E waters and ions, packed at random without overlaps.

    The same arguments give the same box. ``info`` says what is in it: salt,
    molality_mol_per_kg (of the whole particles placed), temperature_kelvin, n_waters, seed.

    tolerance_angstrom  smallest distance between atoms of different molecules
    density             kg/m3, for solutions whose density is not published
    Raises InputError for ions that round to none, ExternalError if
    packmol is missing or finds no packing.
    """
    if not 0.5 <= tolerance_angstrom <= _MAX_TOLERANCE_ANGSTROM:
        raise InputError(
            f"packing tolerance must be between 0.5 and {_MAX_TOLERANCE_ANGSTROM} angstrom, "
            f"got {tolerance_angstrom:g}"
        )
    n_units = solution.n_formula_units(n_waters)
    edge = solution.box_edge(n_waters, density=density)
    ions = _ion_symbols(solution, n_units)
    positions = _pack(n_waters, ions, edge, seed, tolerance_angstrom)
    atoms = Atoms(["O", "H", "H"] * n_waters + ions, positions, cell=[edge] * 3, pbc=True)
    atoms.info = {
        "salt": solution.salt.formula,
        "molality_mol_per_kg": solution.molality_of(n_units, n_waters),
        "temperature_kelvin": solution.temperature,
        "n_waters": n_waters,
        "seed": seed,
    }
    return atoms


def _ion_symbols(solution: Solution, n_units: int) -> list[str]:
    salt = solution.salt
    cations = [salt.cation.symbol] * (n_units * salt.n_cations)
    return cations + [salt.anion.symbol] * (n_units * salt.n_anions)


def _pack(n_waters: int, ions: list[str], edge: float, seed: int, tolerance: float) -> FloatArray:
    """Return packed positions, waters first, angstrom: ions well apart, then water around them."""
    program = find_packmol()
    with tempfile.TemporaryDirectory(prefix="bjerrum-packmol-") as name:
        folder = Path(name)
        water = Atoms("OH2", SPCE_JOUNG_CHEATHAM.water_positions())
        ase.io.write(folder / "water.xyz", water, format="xyz")
        structures = [_structure("water", n_waters)]
        if ions:
            _pack_ions(program, folder, ions, edge, derived_seed(seed, 2), tolerance)
            structures.append(_structure("ions", 1, "fixed 0. 0. 0. 0. 0. 0."))
        _run_packmol(
            program, folder / "box.xyz", structures, edge, derived_seed(seed, 3), tolerance
        )
        return _read_positions(folder / "box.xyz")


def _pack_ions(
    program: Path, folder: Path, ions: list[str], edge: float, seed: int, tolerance: float
) -> None:
    """Write folder/ions.xyz: ions as far apart as the module's constants say, inside the cell."""
    structures = []
    for symbol in dict.fromkeys(ions):
        ase.io.write(folder / f"{symbol}.xyz", Atoms([symbol], [[0, 0, 0]]), format="xyz")
        structures.append(_structure(symbol, ions.count(symbol)))
    spacing = edge / len(ions) ** (1 / 3)
    apart = max(tolerance, min(_ION_SEPARATION_ANGSTROM, _ION_PACKING * spacing))
    path = folder / "ions.xyz"
    _run_packmol(program, path, structures, edge, seed, apart)
    ase.io.write(path, Atoms(ions, _read_positions(path) % edge), format="xyz")


def _read_positions(path: Path) -> FloatArray:
    return np.loadtxt(path, skiprows=2, usecols=(1, 2, 3), ndmin=2)


def _structure(name: str, number: int, placement: str = "") -> str:
    return f"structure {name}.xyz\n  number {number}\n  {placement}\nend structure\n"


def _run_packmol(
    program: Path,
    output: Path,
    structures: list[str],
    edge: float,
    seed: int,
    tolerance: float,
) -> None:
    """Write the file ``output`` with packmol; ExternalError, with its log, unless it succeeds."""
    script = output.with_suffix(".inp")
    script.write_text(
        f"tolerance {tolerance:.6f}\nseed {seed}\nfiletype xyz\noutput {output.name}\n"
        f"pbc {edge:.10f} {edge:.10f} {edge:.10f}\n\n" + "\n".join(structures)
    )
    log = _printed_by(program, script)
    if "Success!" not in log:
        raise ExternalError(
            f"packmol placed no molecules {tolerance:g} angstrom apart in a box of "
            f"{edge:.2f} angstrom; lower the tolerance or take more waters",
            log=_keep_log(log),
        )


def _printed_by(program: Path, script: Path) -> str:
    """Return what packmol prints for an input script; ExternalError if it cannot run to an end."""
    try:
        with script.open() as seekable:  # packmol rewinds its standard input
            done = subprocess.run(
                [program],
                stdin=seekable,
                cwd=script.parent,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_PACKMOL_TIMEOUT_S,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout.decode(errors="replace") if error.stdout else ""
        raise ExternalError(
            f"packmol did not finish within {_PACKMOL_TIMEOUT_S:g} s", log=_keep_log(printed)
        ) from error
    except OSError as error:
        raise ExternalError(f"{program} cannot be run: {error}") from error
    return done.stdout


def _keep_log(text: str) -> Path:
    """Write packmol's output to a file that outlives its temporary directory."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="bjerrum-packmol-", suffix=".log", delete=False
    ) as log:
        log.write(text)
    return Path(log.name)


def equilibrate_box(
    atoms: Atoms,
    solution: Solution,
    *,
    time_ps: float = EQUILIBRATION_PS,
    seed: int,
    force_field: ClassicalForceField = SPCE_JOUNG_CHEATHAM,
) -> Atoms:
    """Return the box after classical dynamics at its volume and the solution's temperature.

    Rigid SPC/E water, 4 fs steps with hydrogens of 4 amu (positions at equilibrium do not depend
    on masses). Water first turns towards the ions while these are held: bare ions attract through
    the unordered water and would pair. The numbers below are of Joung-Cheatham ions.

    How long: in 80 waters with 4 LiCl (six seeds of 60 ps, samples of 0.2 ps) potential energy and
    Li-O coordination (4.2) are level within their errors from 5 ps on; the default is ten times
    that, about 16 s on one core (3 ps per second). First peaks then: Li-O 1.98, O-O 2.73,
    Cl-O 3.13 angstrom. Contact pairs are beyond it: of five that packing once made, two outlived
    300 ps, and two boxes without any made none in 300 ps. Every box therefore starts with
    solvent-separated ions where there is room; their pairing is for the production run to find.

    Raises InputError for less than 8 ps, PhysicsCheckFailed if temperature or energy has not
    settled.
    """
    hydrated = sample_nvt(
        atoms,
        force_field,
        temperature=solution.temperature,
        time_ps=_HYDRATION_PS,
        seed=derived_seed(seed, 4),
        timestep_fs=_TIMESTEP_FS,
        friction_per_ps=_FRICTION_PER_PS,
        hydrogen_mass_amu=_HYDROGEN_MASS_AMU,
        hold_ions=True,
    )
    result = run_nvt(
        with_positions(atoms, hydrated.positions[-1]),
        force_field,
        temperature=solution.temperature,
        time_ps=time_ps,
        seed=seed,
        timestep_fs=_TIMESTEP_FS,
        friction_per_ps=_FRICTION_PER_PS,
        hydrogen_mass_amu=_HYDROGEN_MASS_AMU,
    )
    result.info |= {
        "equilibration": force_field.name,
        "equilibration_ps": float(time_ps),
        "equilibration_seed": seed,
    }
    return result


def check_box(
    atoms: Atoms, solution: Solution, n_waters: int, *, density: float | None = None
) -> dict[str, float]:
    """Check composition, volume, water geometry and distances between molecules.

    Returns the shortest distance in angstrom between atoms of different molecules for each pair
    of elements that comes within 4 angstrom, such as {"Li-O": 1.93}.
    Raises PhysicsCheckFailed naming what is wrong, the figure and its limit.
    """
    _check_composition(atoms, solution, n_waters)
    volume = solution.box_edge(n_waters, density=density) ** 3
    if abs(atoms.get_volume() / volume - 1) > 1e-9 or not atoms.pbc.all():
        raise PhysicsCheckFailed(
            f"box: expected a periodic cell of {volume:.6f} cubic angstrom, "
            f"got {atoms.get_volume():.6f} with pbc {atoms.pbc.tolist()}"
        )
    _check_waters(whole_molecules(atoms, n_waters)[: 3 * n_waters].reshape(-1, 3, 3))
    shortest = shortest_distances(atoms, n_waters)
    limits = {pair: _smallest_allowed(pair, solution) for pair in shortest}
    worst = min(shortest, key=lambda pair: shortest[pair] / limits[pair])
    if shortest[worst] < limits[worst]:
        raise PhysicsCheckFailed(
            f"box: {worst} of different molecules {shortest[worst]:.3f} angstrom apart, "
            f"limit {limits[worst]} angstrom"
        )
    return shortest


def _check_composition(atoms: Atoms, solution: Solution, n_waters: int) -> None:
    ions = _ion_symbols(solution, solution.n_formula_units(n_waters))
    expected = ["O", "H", "H"] * n_waters + ions
    if atoms.get_chemical_symbols() != expected:
        raise PhysicsCheckFailed(
            f"box: expected {n_waters} waters as O, H, H, then {len(ions)} ions "
            f"({Atoms(expected).symbols}), got {atoms.symbols}"
        )


def _check_waters(waters: FloatArray) -> None:
    """Raise unless every water, shape (n_waters, 3, 3), has the rigid model's geometry."""
    model = SPCE_JOUNG_CHEATHAM
    arms = waters[:, 1:] - waters[:, :1]
    bonds = np.linalg.norm(arms, axis=2)
    cosines = (arms[:, 0] * arms[:, 1]).sum(axis=1) / bonds.prod(axis=1)
    angles = np.degrees(np.arccos(cosines))
    for figures, expected, tolerance, name in (
        (bonds.ravel(), model.oh_bond_angstrom, _WATER_TOLERANCE_ANGSTROM, "O-H in angstrom"),
        (angles, model.hoh_angle_degrees, _WATER_TOLERANCE_DEGREES, "H-O-H in degrees"),
    ):
        worst = figures[np.argmax(np.abs(figures - expected))]
        if not abs(worst - expected) <= tolerance:
            raise PhysicsCheckFailed(
                f"box: a water has {name} {worst:.3f}, expected {expected:.3f} +- {tolerance}"
            )


def shortest_distances(atoms: Atoms, n_waters: int) -> dict[str, float]:
    """Return the shortest distance between different molecules per pair of elements, angstrom.

    Periodic images count, a molecule's own images too. Pairs farther than 4 angstrom are absent.
    """
    molecule = np.arange(len(atoms))
    molecule[: 3 * n_waters] //= 3
    search = vesin.NeighborList(cutoff=_SEARCH_ANGSTROM, full_list=True)
    positions = whole_molecules(atoms, n_waters)
    first, second, shift, distance = search.compute(
        positions, atoms.cell.array, periodic=True, quantities="ijSd"
    )
    between = (molecule[first] != molecule[second]) | (shift != 0).any(axis=1)
    elements = np.array(atoms.get_chemical_symbols())
    kinds = [*dict.fromkeys(elements[3 * n_waters :]), "O", "H"]
    shortest = {}
    for a, b in combinations_with_replacement(kinds, 2):
        chosen = distance[between & (elements[first] == a) & (elements[second] == b)]
        if len(chosen):
            shortest[f"{a}-{b}"] = float(chosen.min())
    return shortest


def _smallest_allowed(pair: str, solution: Solution) -> float:
    """Return a distance in angstrom that two atoms of different molecules do not go below.

    Attracting pairs: 1.3 with hydrogen (strong hydrogen bonds are 1.5), 1.5 with a cation (the
    gas-phase LiF molecule is 1.56); all others repel or touch at more than 1.9.
    """
    elements = pair.split("-")
    if "H" in elements:
        return 1.3
    return 1.5 if elements.count(solution.salt.cation.symbol) == 1 else 1.9
