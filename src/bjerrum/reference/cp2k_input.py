"""CP2K inputs written from settings and a configuration; never edited by hand.

An input is a nested dictionary: keys with dictionaries are sections, other keys keywords; a list
repeats its section or keyword. Key "_" is a section's own parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from ase import Atoms

from bjerrum.errors import InputError
from bjerrum.frames import cell_heights
from bjerrum.reference.cp2k_elements import BASIS_FILES, POTENTIAL_FILE, kind_of
from bjerrum.reference.cp2k_settings import Cp2kSettings

PROJECT: Final = "bjerrum"
COORDINATES: Final = "positions.xyz"
WAVEFUNCTION: Final = f"{PROJECT}-RESTART.wfn"

Section = Mapping[str, Any]

_SMOOTHING: Final = {
    "none": {"XC_SMOOTH_RHO": "NONE", "XC_DERIV": "PW"},
    "nn4": {"XC_SMOOTH_RHO": "NN4", "XC_DERIV": "NN4_SMOOTH"},
    "nn10": {"XC_SMOOTH_RHO": "NN10", "XC_DERIV": "SPLINE2_SMOOTH"},
}
_R2SCAN: Final[Section] = {"MGGA_X_R2SCAN": {}, "MGGA_C_R2SCAN": {}}
"""Furness, Kaplan, Ning, Perdew & Sun, J. Phys. Chem. Lett. 11, 8208 (2020), through libxc."""

_MAX_RANGE_ANGSTROM: Final = 6.0
_RANGE_PER_HEIGHT: Final = 0.49


def single_point_input(atoms: Atoms, settings: Cp2kSettings) -> str:
    """Return the input of one energy with forces; the configuration is read from COORDINATES.

    Raises InputError if the exchange range does not fit into the cell.
    """
    return "\n".join(
        _lines({"GLOBAL": _global("ENERGY_FORCE"), "FORCE_EVAL": _force_eval(atoms, settings)})
    )


def session_input(atoms: Atoms, settings: Cp2kSettings) -> str:
    """Return what a CP2K shell session needs besides elements, cell and positions.

    The session extrapolates the density from step to step (ASPC; Kolafa, J. Comput. Chem. 25, 335
    (2004)), so that a step of dynamics takes a few SCF steps.
    """
    force_eval = _force_eval(atoms, settings)
    del force_eval["SUBSYS"]["CELL"], force_eval["SUBSYS"]["TOPOLOGY"]
    del force_eval["DFT"]["WFN_RESTART_FILE_NAME"]
    force_eval["DFT"]["SCF"]["SCF_GUESS"] = "ATOMIC"
    force_eval["DFT"]["QS"].update(EXTRAPOLATION="ASPC", EXTRAPOLATION_ORDER=3)
    return "\n".join(_lines({"FORCE_EVAL": force_eval}))


def exchange_range(atoms: Atoms, settings: Cp2kSettings) -> float:
    """Return the range of the truncated exchange operator in angstrom.

    Raises InputError if the range that was asked for reaches beyond half of the cell.
    """
    limit = float(cell_heights(atoms.cell.array).min()) / 2
    wanted = settings.exchange.range_angstrom
    if wanted is None:
        return round(min(2 * _RANGE_PER_HEIGHT * limit, _MAX_RANGE_ANGSTROM), 3)
    if wanted > limit:
        raise InputError(
            f"exchange range: expected at most half of the shortest cell height "
            f"({limit:.2f} angstrom), got {wanted:g}; lower exchange.range_angstrom or use a "
            f"larger box"
        )
    return wanted


def _global(run_type: str) -> dict[str, Any]:
    return {"PROJECT": PROJECT, "RUN_TYPE": run_type, "PRINT_LEVEL": "MEDIUM"}


def _force_eval(atoms: Atoms, settings: Cp2kSettings) -> dict[str, Any]:
    cell = {
        name: " ".join(f"{x:.10f}" for x in row)
        for name, row in zip("ABC", np.asarray(atoms.cell.array), strict=True)
    }
    kinds = [_kind(element, settings) for element in sorted(set(atoms.get_chemical_symbols()))]
    return {
        "METHOD": "QS",
        "PRINT": {"FORCES": {"_": "ON"}},
        "SUBSYS": {
            "CELL": {**cell, "PERIODIC": "XYZ"},
            "TOPOLOGY": {"COORD_FILE_FORMAT": "XYZ", "COORD_FILE_NAME": COORDINATES},
            "KIND": kinds,
        },
        "DFT": _dft(atoms, settings),
    }


def _kind(element: str, settings: Cp2kSettings) -> dict[str, Any]:
    kind = kind_of(element, settings.basis)
    bases = [f"ORB {kind.orbital_basis}"]
    if settings.method == "dc-r2scan":
        bases += [f"HARRIS {kind.orbital_basis}", f"AUX_FIT {kind.auxiliary_basis}"]
    return {"_": element, "BASIS_SET": bases, "POTENTIAL": kind.potential}


def _dft(atoms: Atoms, settings: Cp2kSettings) -> dict[str, Any]:
    grid = {"XC_GRID": _SMOOTHING[settings.smoothing]}
    r2scan = {"XC_FUNCTIONAL": _R2SCAN, **grid}
    dft: dict[str, Any] = {
        "BASIS_SET_FILE_NAME": list(BASIS_FILES),
        "POTENTIAL_FILE_NAME": POTENTIAL_FILE,
        "WFN_RESTART_FILE_NAME": WAVEFUNCTION,
        "CHARGE": 0,
        "MGRID": {
            "CUTOFF": settings.cutoff_ry,
            "REL_CUTOFF": settings.rel_cutoff_ry,
            "NGRIDS": settings.n_grids,
        },
        "QS": {"EPS_DEFAULT": settings.eps_default},
        "SCF": _scf(settings),
    }
    if settings.method == "r2scan":
        return {**dft, "XC": r2scan}
    dft["XC"] = {"XC_FUNCTIONAL": {"_": "NONE"}, **grid, "HF": _exact_exchange(atoms, settings)}
    dft["AUXILIARY_DENSITY_MATRIX_METHOD"] = {
        "METHOD": "BASIS_PROJECTION",
        "ADMM_PURIFICATION_METHOD": "NONE",
        "EXCH_SCALING_MODEL": "NONE",
        "EXCH_CORRECTION_FUNC": settings.exchange.admm_correction.upper(),
    }
    dft["ENERGY_CORRECTION"] = {
        "ENERGY_FUNCTIONAL": "DCDFT",
        "XC": r2scan,
        "RESPONSE_SOLVER": {
            "METHOD": "MO_SOLVER",
            "PRECONDITIONER": "FULL_ALL",
            "EPS": settings.response_tolerance,
        },
    }
    return dft


def _scf(settings: Cp2kSettings) -> dict[str, Any]:
    scf = settings.scf
    common = {
        "SCF_GUESS": "RESTART",
        "EPS_SCF": scf.tolerance,
        "PRINT": {"RESTART": {"BACKUP_COPIES": 0}, "RESTART_HISTORY": {"_": "OFF"}},
    }
    if scf.method == "diis":
        return {
            **common,
            "MAX_SCF": scf.max_steps,
            "MAX_DIIS": 8,
            "EPS_DIIS": 1.0,
            "DIAGONALIZATION": {"ALGORITHM": "STANDARD"},
            "MIXING": {"METHOD": "DIRECT_P_MIXING", "ALPHA": 0.4},
        }
    return {
        **common,
        "MAX_SCF": 20,
        "OT": {
            "PRECONDITIONER": "FULL_ALL",
            "ENERGY_GAP": 0.2,
            "STEPSIZE": 0.15,
            "MINIMIZER": "DIIS",
        },
        "OUTER_SCF": {"EPS_SCF": scf.tolerance, "MAX_SCF": max(1, scf.max_steps // 20)},
    }


def _exact_exchange(atoms: Atoms, settings: Cp2kSettings) -> dict[str, Any]:
    exchange = settings.exchange
    section: dict[str, Any] = {
        "FRACTION": 1.0,
        "SCREENING": {"EPS_SCHWARZ": exchange.eps_schwarz},
        "MEMORY": {"MAX_MEMORY": exchange.memory_mib, "EPS_STORAGE_SCALING": 0.1},
    }
    if exchange.operator == "truncated":
        section["INTERACTION_POTENTIAL"] = {
            "POTENTIAL_TYPE": "TRUNCATED",
            "CUTOFF_RADIUS": exchange_range(atoms, settings),
            "T_C_G_DATA": "t_c_g.dat",
        }
    return section


def _lines(section: Section, indent: str = "") -> Iterator[str]:
    for key, value in section.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield f"{indent}&{key} {item.get('_', '')}".rstrip()
                yield from _lines({k: v for k, v in item.items() if k != "_"}, indent + "  ")
                yield f"{indent}&END {key}"
            else:
                yield f"{indent}{key} {_value(item)}"


def _value(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
