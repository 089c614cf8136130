"""The egg-box error fitted and subtracted: one calculation per label instead of an average.

The energy of an atom of element e at u, its position in units of the grid vectors, has the periodic
error

    E_egg(u) = sum_t a_t S_t(u),   S_t(u) = sum over permutations p of t of prod_d cos(2 pi p_d u_d)

(cubic grids: permutations share a coefficient). The true forces do not change when everything is
translated, so that labels of the same configurations at several positions give the coefficients by
least squares; then every label of that cell and those settings is corrected. What the fit leaves in
configurations that it was not made from is the noise of a corrected label.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.reference.grid_noise import without_net_force
from bjerrum.units import EV_IN_MEV

TERMS: Final = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 0, 0))
ELEMENTS: Final = ("O", "F")
"""Those that carry the error."""

OFFSETS_ANGSTROM: Final = ((0.0137, 0.0253, 0.0311), (0.0319, 0.0089, 0.0178))
"""Displacements of the calibration; grid spacings are 0.04 to 0.07 angstrom."""

CALIBRATION_FRAMES: Final = 3
"""Configurations of each cell that are labelled at every offset too."""


@dataclass(frozen=True)
class EggBox:
    """Coefficients for one grid in one cell.

    settings_hash of the labels
    grid          points along the cell vectors
    cell_angstrom edges of the cell
    coefficients  element to one coefficient per term of TERMS, eV
    noise_before, noise_after   rms error of a force component of one label, meV/angstrom,
                  estimated from the scatter over translations; the second for configurations
                  that were left out of the fit
    """

    settings_hash: str
    grid: tuple[int, ...]
    cell_angstrom: tuple[float, ...]
    coefficients: dict[str, tuple[float, ...]]
    noise_before: float
    noise_after: float

    @property
    def hash(self) -> str:
        """Identity, for provenance: 16 digits."""
        content = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "settings_hash": self.settings_hash,
            "grid": list(self.grid),
            "cell_angstrom": list(self.cell_angstrom),
            "coefficients_ev": {k: list(v) for k, v in self.coefficients.items()},
            "noise_before_mev_per_angstrom": self.noise_before,
            "noise_after_mev_per_angstrom": self.noise_after,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EggBox:
        """Return what :meth:`to_json` described."""
        return cls(
            data["settings_hash"],
            tuple(data["grid"]),
            tuple(data["cell_angstrom"]),
            {k: tuple(v) for k, v in data["coefficients_ev"].items()},
            data["noise_before_mev_per_angstrom"],
            data["noise_after_mev_per_angstrom"],
        )

    def error(self, atoms: Atoms) -> tuple[float, FloatArray]:
        """Return the egg-box energy (eV) and forces (eV/angstrom, shape (n_atoms, 3))."""
        symbols = np.array(atoms.get_chemical_symbols())
        energy, forces = 0.0, np.zeros((len(atoms), 3))
        for element, coefficients in self.coefficients.items():
            waves, slopes = _waves(atoms, self.grid, element)
            energy += float(np.tensordot(coefficients, waves, 1).sum())
            forces[symbols == element] = -np.tensordot(coefficients, slopes, 1)
        return energy, forces

    def correct(self, frame: Atoms) -> Atoms:
        """Return a labelled frame without its egg-box error and net force.

        Raises InputError for a label of another grid or cell.
        """
        if not self.fits(frame):
            raise InputError(
                f"egg-box correction: was measured for {self.grid} points in "
                f"{self.cell_angstrom} angstrom, the label is of another grid or cell"
            )
        energy, forces = self.error(frame)
        corrected = frame.copy()
        corrected.calc = SinglePointCalculator(
            corrected,
            energy=frame.get_potential_energy() - energy,
            forces=without_net_force(frame.get_forces() - forces, frame.get_chemical_symbols()),
        )
        corrected.info["egg_box"] = self.hash
        corrected.info["force_noise_mev_per_angstrom"] = round(self.noise_after, 2)
        return corrected

    def fits(self, frame: Atoms) -> bool:
        """Tell whether a labelled frame has the grid and the cell of this correction."""
        same = frame.info["settings_hash"] == self.settings_hash
        return same and tuple(frame.info["grid"]) == self.grid and self.is_of(frame)

    def is_of(self, atoms: Atoms) -> bool:
        """Tell whether a configuration has the cell of this correction, which is orthorhombic."""
        return np.allclose(atoms.cell.array, np.diag(self.cell_angstrom), atol=1e-6)


def fit_egg_box(groups: Sequence[Sequence[Atoms]]) -> EggBox:
    """Fit the correction to labelled configurations, each at several positions on the grid.

    groups  one sequence of labelled frames per configuration: the same but for a translation
    Raises InputError for fewer than two groups or groups of other grids or cells.
    """
    whole = [list(group) for group in groups if len(group) > 1]
    if len(whole) < 2:
        raise InputError(
            f"egg-box correction: expected at least 2 configurations at 2 positions, "
            f"got {len(whole)}"
        )
    first = whole[0][0]
    draft = EggBox(
        first.info["settings_hash"],
        tuple(int(n) for n in first.info["grid"]),
        tuple(float(x) for x in first.cell.lengths()),
        {},
        0.0,
        0.0,
    )
    if not all(draft.fits(frame) for group in whole for frame in group):
        raise InputError("egg-box correction: expected labels of one grid and cell")
    left_out = [
        _scatter([group], _solve([g for g in whole if g is not group], draft.grid), draft)
        for group in whole
    ]
    return replace(
        draft,
        coefficients=_solve(whole, draft.grid),
        noise_before=_rms(_scatter(whole, {}, draft)),
        noise_after=_rms(np.concatenate(left_out)),
    )


def _spacing(atoms: Atoms, grid: Sequence[int]) -> FloatArray:
    return np.asarray(atoms.cell.array / np.array(grid)[:, None])


def _waves(atoms: Atoms, grid: Sequence[int], element: str) -> tuple[FloatArray, FloatArray]:
    """Return S_t, shape (n_terms, n), and dS_t/dr, shape (n_terms, n, 3), 1/angstrom."""
    inverse = np.linalg.inv(_spacing(atoms, grid))
    chosen = np.array(atoms.get_chemical_symbols()) == element
    u = atoms.positions[chosen] @ inverse
    values, slopes = np.zeros((len(TERMS), len(u))), np.zeros((len(TERMS), len(u), 3))
    for t, term in enumerate(TERMS):
        for indices in sorted(set(itertools.permutations(term))):
            angle = 2 * np.pi * u * np.array(indices)
            cosine, sine = np.cos(angle), np.sin(angle)
            values[t] += cosine.prod(axis=1)
            for d in range(3):
                others = [k for k in range(3) if k != d]
                slopes[t, :, d] -= (
                    2 * np.pi * indices[d] * sine[:, d] * cosine[:, others].prod(axis=1)
                )
    return values, slopes @ inverse.T


def _solve(groups: Sequence[Sequence[Atoms]], grid: Sequence[int]) -> dict[str, tuple[float, ...]]:
    """Least squares over all groups; the mean of each force over its group is free."""
    coefficients = {}
    for element in ELEMENTS:
        matrix, target = [], []
        for group in groups:
            chosen = np.array(group[0].get_chemical_symbols()) == element
            if not chosen.any():
                continue
            design = np.array([-_waves(frame, grid, element)[1] for frame in group])
            forces = np.array([frame.get_forces()[chosen] for frame in group])
            design, forces = design - design.mean(axis=0), forces - forces.mean(axis=0)
            matrix.append(np.moveaxis(design, 1, -1).reshape(-1, len(TERMS)))
            target.append(forces.ravel())
        if matrix:
            found = np.linalg.lstsq(np.vstack(matrix), np.concatenate(target), rcond=None)[0]
            coefficients[element] = tuple(float(a) for a in found)
    return coefficients


def _scatter(
    groups: Sequence[Sequence[Atoms]], coefficients: dict[str, tuple[float, ...]], draft: EggBox
) -> FloatArray:
    """Return the variance of every force component over its group, (meV/angstrom)^2."""
    box = replace(draft, coefficients=coefficients)
    variances = []
    for group in groups:
        forces = np.array([box.correct(frame).get_forces() for frame in group])
        variances.append(forces.var(axis=0, ddof=1).ravel())
    return EV_IN_MEV**2 * np.concatenate(variances)


def _rms(variance: FloatArray) -> float:
    return float(np.sqrt(variance.mean()))
