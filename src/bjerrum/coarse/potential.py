"""The effective potential of ions in a continuum: learnt short range, screened Coulomb, a core.

    W = sum_pairs [u_ab(r) + q_a q_b k_e/(epsilon r)] + three-body terms + networks' mean

u and the three-body terms are those of :mod:`bjerrum.coarse.basis`. Where a pair has no data (below
its start r_0) the wall

    u(r) = u(r_0) + f_0 (r_0 - r) + STIFFNESS/2 (r_0 - r)^2,   f_0 = max(-u'(r_0), 0)

continues it. The Coulomb part is that of the baseline that was subtracted from the labels, summed
by Ewald with tin-foil boundaries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import erfc

from bjerrum.coarse.basis import Basis
from bjerrum.coarse.kernel import Engine, Parameters
from bjerrum.coarse.network import IonNetwork, bind_networks
from bjerrum.coarse.reciprocal import balance, mesh_sum, plain_sum
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import InputError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.units import COULOMB_CONSTANT

STIFFNESS: Final = 8.0
"""eV/angstrom^2 of the wall: k_B T at 0.08 angstrom inside it."""
EWALD_ACCURACY: Final = 1e-2
"""Relative cut of the Ewald sums: 0.05 meV/angstrom rms in water, of which k_B T/angstrom is 26."""
TABLE_STEP: Final = 0.004
"""Angstrom between rows of the tables, interpolated linearly."""
SKIN: Final = 2.0


@dataclass(frozen=True, eq=False)
class CoarsePotential:
    """An effective potential for ions.

    basis         which functions
    coefficients  eV, (n_coefficients,)
    baseline      the screened Coulomb interaction that is added
    networks      many-body networks of one form, whose mean is added
    """

    basis: Basis
    coefficients: FloatArray
    baseline: ScreenedCoulomb
    networks: tuple[IonNetwork, ...] = ()

    def short_range(self, pair: int, r: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return u (eV) and du/dr (eV/angstrom) of a pair, wall included, at any r > 0."""
        function, start = self.basis.pair_function(pair, self.coefficients), self.start(pair)
        inside = np.clip(r, start, self.basis.pair_cutoff)
        u, slope = function(inside), function.derivative()(inside)
        depth = np.maximum(start - r, 0.0)
        push = max(-float(function.derivative()(start)), 0.0)
        u = u + depth * push + 0.5 * STIFFNESS * depth**2
        slope = np.where(depth > 0, -push - STIFFNESS * depth, slope)
        beyond = r >= self.basis.pair_cutoff
        return np.where(beyond, 0.0, u), np.where(beyond, 0.0, slope)

    def start(self, pair: int) -> float:
        """Return the distance where the data of a pair begin, angstrom."""
        return self.basis.pair_start[pair]

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> _Bound:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        return _Bound(self.engine(symbols, np.diag(_orthorhombic(cell))))

    def engine(
        self, symbols: Sequence[str], edges: FloatArray, *, accuracy: float = EWALD_ACCURACY
    ) -> Engine:
        """Return the compiled engine for ions in an orthorhombic box.

        edges     angstrom, (3,)
        accuracy  relative, of the Coulomb forces
        Raises InputError for other elements, a net charge, or a box below twice the cutoff.
        """
        edges = np.asarray(edges, dtype=np.float64)
        charge_of = dict(self.baseline.charges)
        unknown = sorted(set(symbols) - set(self.basis.elements))
        if unknown:
            raise InputError(
                f"the coarse-grained model knows {', '.join(self.basis.elements)}, got "
                f"{', '.join(unknown)}; give the ions alone"
            )
        charges = np.array([charge_of.get(symbol, 0.0) for symbol in symbols])
        require_neutral(charges)
        kinds = np.array([self.basis.elements.index(symbol) for symbol in symbols])
        splitting = balance(charges, edges, self.basis.pair_cutoff, accuracy)
        cutoff, width = splitting.cutoff, splitting.width
        table = self._table(cutoff, width)
        strength = COULOMB_CONSTANT / self.baseline.dielectric_constant
        mesh = mesh_sum(edges, splitting, strength)
        vectors, factors, virials = plain_sum(edges, splitting, strength)
        if mesh is not None:
            vectors = vectors[:0]
        return Engine(
            Parameters(
                kind=kinds,
                charge=charges,
                edges=edges,
                cutoff=cutoff,
                skin=min(SKIN, float(edges.min()) / 2 - cutoff + 1e-9),
                table=table,
                n_radial=self.basis.n_radial,
                body_start=self.basis.body_start,
                body_step=(self.basis.body_cutoff - self.basis.body_start)
                / (self.basis.n_radial + 3),
                body_cutoff=self.basis.body_cutoff,
                weights=self.basis.weights(self.coefficients)
                if self.basis.n_radial
                else np.zeros(1),
                vectors=vectors,
                k_factor=factors,
                k_virial=virials,
                mesh=mesh,
                networks=bind_networks(self.networks, symbols),
                self_energy=-strength * width / math.sqrt(math.pi) * float(charges @ charges),
            )
        )

    def _table(self, cutoff: float, splitting: float) -> FloatArray:
        """Return -u'(r)/r and u(r) with the real-space Coulomb part, each with its steps.

        Shape (n_kinds^2, n_rows, 4): value, step to the next row, of both.
        """
        n = math.ceil(cutoff / TABLE_STEP)
        r = np.maximum(np.arange(n + 2) * cutoff / n, 1e-3)
        elements, charge = self.basis.elements, dict(self.baseline.charges)
        strength = COULOMB_CONSTANT / self.baseline.dielectric_constant
        force, energy = np.zeros((2, len(elements) ** 2, n + 2))
        screened = erfc(splitting * r) / r
        gaussian = 2 * splitting / math.sqrt(math.pi) * np.exp(-((splitting * r) ** 2))
        for index, (a, b) in enumerate(self.basis.pairs):
            u, slope = self.short_range(index, r)
            q = strength * charge.get(a, 0.0) * charge.get(b, 0.0)
            for row in _rows(elements, a, b):
                force[row] = (-slope + q * (screened + gaussian) / r) / r
                energy[row] = u + q * screened
        steps = [np.diff(column, axis=1, append=column[:, -1:]) for column in (force, energy)]
        return np.stack([force, steps[0], energy, steps[1]], axis=2)


def _rows(elements: tuple[str, ...], a: str, b: str) -> set[int]:
    i, j = elements.index(a), elements.index(b)
    return {i * len(elements) + j, j * len(elements) + i}


def require_neutral(charges: FloatArray) -> None:
    """Raise InputError for a box with a net charge."""
    net = float(charges.sum())
    if abs(net) > 1e-6:
        raise InputError(
            f"the box holds a net charge of {net:+g} e; coarse-graining needs neutral boxes, as "
            "many cations as anions by charge"
        )


def _orthorhombic(cell: FloatArray) -> FloatArray:
    array = np.asarray(cell, dtype=np.float64)
    if np.abs(array - np.diag(np.diag(array))).max() > 1e-6:
        raise InputError(f"expected an orthorhombic cell, got {array.round(3).tolist()}")
    return array


class _Bound:
    """The force function of fixed ions in a fixed box."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, positions: FloatArray) -> Evaluation:
        forces, energies = self.engine.forces(np.asarray(positions, dtype=np.float64))
        terms = {name: energies[name] for name in ("pair", "body", "reciprocal")}
        return Evaluation(sum(terms.values()), forces, terms)
