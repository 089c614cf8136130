"""Ewald summation of fixed charges in a fixed cell: torch-pme's sums, our choice of parameters.

E = 1/2 sum q_i q_j erfc(r / sqrt(2) s) / r + (2 pi / V) sum_k exp(-k^2 s^2 / 2) |S(k)|^2 / k^2
    - sum q^2 / (sqrt(2 pi) s), in e^2/angstrom, tin-foil boundary; a net charge Q is neutralised
by a uniform background (Ewald 1921; de Leeuw, Perram & Smith, Proc. R. Soc. A 373, 27 (1980)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torchpme
import vesin

from bjerrum.estimate import FloatArray

_SAFETY = 30.0
"""The sums are cut where single terms are this much below the accuracy: many are left out."""

_CUTOFF_PER_LENGTH = 0.72
"""Real-space cutoff in units of V^(1/3). It balances the cost of the two sums for a few dozen
ions; the result does not depend on it."""


@dataclass(frozen=True)
class EwaldParameters:
    """Splitting width, real-space cutoff and shortest reciprocal wavelength, in angstrom."""

    smearing: float
    cutoff: float
    wavelength: float

    @classmethod
    def for_cell(cls, cell: FloatArray, accuracy: float) -> EwaldParameters:
        """Choose the parameters that truncate both sums at the relative ``accuracy``.

        Real-space terms fall off as erfc(r / (sqrt(2) s)) and reciprocal ones as
        exp(-k^2 s^2 / 2); both reach ``accuracy``/30 at r_c = s t and k_c = t / s with
        t = sqrt(-2 ln(accuracy/30)).

        cell      rows are the cell vectors, shape (3, 3), angstrom
        accuracy  error of the energy relative to sum q^2 / V^(1/3), and of a force relative to
                  |q| sqrt(sum q^2) / V^(2/3)
        """
        t = truncation(accuracy)
        cutoff = _CUTOFF_PER_LENGTH * abs(np.linalg.det(cell)) ** (1 / 3)
        smearing = cutoff / t
        return cls(smearing, cutoff, 2 * math.pi * smearing / t)


def truncation(accuracy: float) -> float:
    """Return t at which both sums are cut: r_c = s t and k_c = t / s for a splitting width s."""
    return math.sqrt(-2.0 * math.log(accuracy / _SAFETY))


class Ewald:
    """Ewald energy in vacuum (e^2/angstrom) and its negative gradient.

    charges   shape (n,), e
    cell      rows are the cell vectors, shape (3, 3), angstrom
    accuracy  see :meth:`EwaldParameters.for_cell`
    """

    def __init__(self, charges: FloatArray, cell: FloatArray, accuracy: float) -> None:
        parameters = EwaldParameters.for_cell(cell, accuracy)
        self._charges = torch.from_numpy(charges)[:, None]
        self._cell = torch.from_numpy(cell)
        self._calculator = torchpme.EwaldCalculator(
            torchpme.CoulombPotential(smearing=parameters.smearing),
            lr_wavelength=parameters.wavelength,
            full_neighbor_list=False,
        ).to(torch.float64)
        self._neighbours = vesin.NeighborList(cutoff=parameters.cutoff, full_list=False)
        self._kvectors = _reciprocal_vectors(self._cell, 2 * math.pi / parameters.wavelength)

    def __call__(self, positions: FloatArray) -> tuple[float, FloatArray]:
        """Return the energy and the forces, shape (n, 3), at positions in angstrom."""
        first, second, shifts = self._neighbours.compute(
            positions, self._cell.numpy(), periodic=True, quantities="ijS"
        )
        pairs = torch.from_numpy(np.stack([first, second], axis=1).astype(np.int64))
        offsets = torch.from_numpy(shifts.astype(np.float64)) @ self._cell
        r = torch.from_numpy(positions.copy()).requires_grad_()
        distances = torch.linalg.norm(r[pairs[:, 1]] - r[pairs[:, 0]] + offsets, dim=1)
        potential = self._calculator(
            self._charges, self._cell, r, pairs, distances, kvectors=self._kvectors
        )
        energy = (self._charges * potential).sum()
        (gradient,) = torch.autograd.grad(energy, r)
        return energy.item(), -gradient.numpy()


def _reciprocal_vectors(cell: torch.Tensor, cutoff: float) -> torch.Tensor:
    """Return all reciprocal vectors up to ``cutoff`` (1/angstrom), shape (n, 3).

    torch-pme's own choice from a wavelength takes ``ns`` mesh points, hence |k| up to half of
    what its name promises, and for even ``ns`` a set that is not symmetric; we ask for an odd
    mesh that holds the whole sphere, and cut the sphere.
    """
    n_max = torch.ceil(cutoff * torch.linalg.norm(cell, dim=1) / (2 * math.pi)).long()
    kvectors = torchpme.lib.generate_kvectors_for_ewald(ns=2 * n_max + 1, cell=cell)
    return kvectors[torch.linalg.norm(kvectors, dim=1) <= cutoff]
