"""Osmotic coefficient straight from dynamics of the ions alone: the virial with its Ewald part.

    phi = 1 + <W>/(3 N k T),   W = sum_{i<j} r_ij . f_ij

over all N ions. For 1/r potentials the virial of the Ewald sum is its energy, W_C = E_C/epsilon.
A potential that depends on concentration, as a coarse-grained one trained at one concentration
does, lacks a term -<dW/dV>: the number is then a check, not the osmotic coefficient of the
solution (methods: compare Kirkwood-Buff). The box adds an error of order 1/(2 N).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import vesin

from bjerrum.errors import InputError
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.ewald import Ewald
from bjerrum.properties.statistics import estimate_mean
from bjerrum.thermodynamics.ions import Ions
from bjerrum.units import COULOMB_CONSTANT, thermal_energy


def osmotic_coefficient_from_virial(
    virial: FloatArray, coulomb_energy: FloatArray, *, n_ions: int, temperature: float
) -> Estimate:
    """Return phi with its error bar from the series of a run.

    virial          sum of r_ij . f_ij of the short-range forces, eV, shape (n_frames,)
    coulomb_energy  Ewald energy over epsilon, eV, shape (n_frames,)
    Raises InputError for unequal lengths, SeriesTooShort.
    """
    short, coulomb = np.asarray(virial, dtype=float), np.asarray(coulomb_energy, dtype=float)
    if short.shape != coulomb.shape or short.ndim != 1:
        raise InputError(f"expected two series of one length, got {short.shape}, {coulomb.shape}")
    if n_ions < 1 or temperature <= 0:
        raise InputError(f"expected ions and a temperature, got {n_ions} and {temperature:g} K")
    phi = 1 + (short + coulomb) / (3 * n_ions * thermal_energy(temperature))
    return estimate_mean(phi, "1", provenance={"method": "virial of the ions"})


def short_range_virial(
    frames: FloatArray, edge: float, species: Sequence[int], ions: Ions, temperature: float
) -> FloatArray:
    """Return sum r_ij . f_ij in eV of the tabulated pair potentials, per frame, cubic box.

    frames   positions, shape (n_frames, n_ions, 3), angstrom
    edge     of the box, angstrom; at least twice the table's length
    species  index of each ion's species in ``ions``
    Raises InputError where the box is too small.
    """
    reach = max(pmf.end for pmf in ions.pmfs)
    if edge < 2 * reach:
        raise InputError(
            f"a box of {edge:g} angstrom is smaller than twice the potentials' {reach:g} angstrom"
        )
    kind = np.asarray(species)
    neighbours = vesin.NeighborList(cutoff=reach, full_list=False)
    box = np.eye(3) * edge
    virials = np.zeros(len(frames))
    for n, positions in enumerate(frames):
        first, second, distance = neighbours.compute(
            np.ascontiguousarray(positions), box, periodic=True, quantities="ijd"
        )
        low, high = np.minimum(kind[first], kind[second]), np.maximum(kind[first], kind[second])
        for pair, pmf in zip(ions.pairs, ions.pmfs, strict=True):
            r = distance[(low == pair[0]) & (high == pair[1])]
            virials[n] -= float(np.sum(r * pmf.slope(r)))
    return virials * thermal_energy(temperature)


def coulomb_energies(
    frames: FloatArray,
    edge: float,
    charges: FloatArray,
    dielectric_constant: float,
    *,
    accuracy: float = 1e-6,
) -> FloatArray:
    """Return the Ewald energy over epsilon of each frame in eV: also the Coulomb virial.

    frames   positions, shape (n_frames, n_ions, 3), angstrom
    charges  e, shape (n_ions,)
    """
    ewald = Ewald(np.asarray(charges, dtype=float), np.eye(3) * edge, accuracy)
    scale = COULOMB_CONSTANT / dielectric_constant
    return np.array([scale * ewald(np.ascontiguousarray(frame))[0] for frame in frames])
