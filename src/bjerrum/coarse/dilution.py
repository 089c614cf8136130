"""Infinite dilution: two ions alone, and what three make of it.

    w_ab(r) = u_ab(r) + W_m(two ions at r),      full PMF = w_ab(r) + z_a z_b l_B/r

without periodic images: the model's terms have finite range and the Coulomb tail is analytic. The
three-body residual is W_m of a triangle less W_m of its pairs, which for pair models is zero; W_m
are the three-body terms and the networks.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

import numpy as np

from bjerrum.coarse.basis import DEGREES, bumps
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path
from bjerrum.units import bjerrum_length, thermal_energy

WALL_KT: Final = 40.0
"""Rows of a PMF table closer in than where w first exceeds this are written as inf."""
CONTACT_BELOW: Final = 4.0
"""Angstrom below which a minimum of the PMF of unlike ions is a contact."""
_WEIGHT_OF_DEGREE: Final = (1.0, 1.0, 2.0 / 3.0)
"""Y.Y of one neighbour with itself: 1, x.x, (x x - 1/3):(x x - 1/3)."""


def pair_energy(potential: CoarsePotential, pair: int, r: FloatArray) -> FloatArray:
    """Return the short-range energy of two ions alone, eV: everything but the Coulomb part."""
    u, _ = potential.short_range(pair, r)
    basis = potential.basis
    for network in potential.networks:
        u = u + network.pair_energy(*basis.pairs[pair], r) / len(potential.networks)
    if not basis.n_radial:
        return u
    weights, radial = basis.weights(potential.coefficients), bumps(basis.body_knots, r)
    first, second = (basis.elements.index(element) for element in basis.pairs[pair])
    for centre, other in ((first, second), (second, first)):
        rows = slice(other * basis.n_radial, (other + 1) * basis.n_radial)
        for degree in DEGREES:
            matrix = weights[centre, degree, rows, rows]
            u = u + _WEIGHT_OF_DEGREE[degree] * np.einsum("rn,nm,rm->r", radial, matrix, radial)
    return np.asarray(u)


def short_range_pmfs(
    potential: CoarsePotential, r: FloatArray, *, temperature: float, ions: tuple[str, str]
) -> FloatArray:
    """Return w_cc, w_ca, w_aa in kT at infinite dilution, (3, n), inf inside the wall.

    ions  cation, anion
    """
    cation, anion = ions
    kt = thermal_energy(temperature)
    rows = []
    for pair in ((cation, cation), (cation, anion), (anion, anion)):
        index = potential.basis.pairs.index(tuple(sorted(pair)))
        w = pair_energy(potential, index, r) / kt
        high = np.flatnonzero(w > WALL_KT)
        if len(high):
            w[: high[-1] + 1] = np.inf
        rows.append(w)
    return np.array(rows)


def ions_of_model(potential: CoarsePotential) -> tuple[str, str]:
    """Return cation and anion of a model of one salt; InputError for another number of ions."""
    charges = dict(potential.baseline.charges)
    order = sorted(potential.basis.elements, key=lambda e: -charges.get(e, 0.0))
    if len(order) != 2:
        raise InputError(f"expected a model of one salt, this one knows {', '.join(order)}")
    return order[0], order[1]


def write_pmf_csv(potential: CoarsePotential, path: Path, *, temperature: float) -> Path:
    """Write the CSV that ``bjerrum solve`` reads: r_angstrom, w_cc_kT, w_ca_kT, w_aa_kT."""
    r = np.round(np.arange(1.0, potential.basis.pair_cutoff + 2.0, 0.02), 4)
    w = short_range_pmfs(potential, r, temperature=temperature, ions=ions_of_model(potential))
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["r_angstrom", "w_cc_kT", "w_ca_kT", "w_aa_kT"])
        for row in np.column_stack([r, w.T]):
            writer.writerow([f"{value:.6g}" for value in row])
    return path


def contact_distance(potential: CoarsePotential, *, temperature: float) -> float | None:
    """Return where the full PMF of unlike ions has its contact minimum, angstrom.

    The deepest minimum below CONTACT_BELOW, Coulomb part included; None where there is none.
    """
    cation, anion = ions_of_model(potential)
    r = np.round(np.arange(1.0, CONTACT_BELOW, 0.01), 4)
    w = short_range_pmfs(potential, r, temperature=temperature, ions=(cation, anion))[1]
    charge = dict(potential.baseline.charges)
    product = charge.get(cation, 0.0) * charge.get(anion, 0.0)
    if product:
        w = w + product * bjerrum_length(potential.baseline.dielectric_constant, temperature) / r
    inner = np.flatnonzero(np.isfinite(w[:-2]) & (w[1:-1] < w[:-2]) & (w[1:-1] < w[2:])) + 1
    return float(r[inner[np.argmin(w[inner])]]) if len(inner) else None


def three_body_residual(
    potential: CoarsePotential, *, temperature: float, distance: float | None = None
) -> dict[str, Any]:
    """Return the three-body energy in kT of triangles with two contacts, by angle.

    Two ions of one kind at ``distance`` (default: :func:`contact_distance`) from one of the other;
    residual = W_3(all three) - W_3(each pair). ``largest_kT`` is the one of largest size among the
    triangles whose two like ions are no nearer than the data know them; None without a contact.
    """
    cation, anion = ions_of_model(potential)
    contact = contact_distance(potential, temperature=temperature) if distance is None else distance
    if contact is None:
        return {"contact_angstrom": None, "largest_kT": None}
    kt = thermal_energy(temperature)
    angles = np.arange(60, 181, 15)
    result: dict[str, Any] = {"contact_angstrom": contact, "angle_degrees": angles.tolist()}
    reached = []
    for centre, other in ((cation, anion), (anion, cation)):
        values = [
            _residual(potential, (centre, other), contact, angle) / kt
            for angle in np.radians(angles)
        ]
        result[f"{other}-{centre}-{other}_kT"] = values
        start = potential.start(potential.basis.pairs.index((other, other)))
        apart = 2 * contact * np.sin(np.radians(angles) / 2)
        reached += [value for value, r in zip(values, apart, strict=True) if r >= start]
    result["largest_kT"] = max(reached, key=abs, default=None)
    return result


def _residual(
    potential: CoarsePotential, kinds: tuple[str, str], contact: float, angle: float
) -> float:
    from bjerrum.coarse.basis import body_energy

    basis, networks = potential.basis, potential.networks
    centre, other = kinds
    edges = np.full(3, 60.0)
    places = 30.0 + contact * np.array(
        [[0, 0, 0], [1, 0, 0], [np.cos(angle), np.sin(angle), 0]], dtype=float
    )
    symbols = (centre, other, other)

    def energy(chosen: list[int]) -> float:
        names, here = [symbols[k] for k in chosen], places[chosen]
        total = sum(network.energy(names, here) for network in networks) / max(1, len(networks))
        if basis.n_radial:
            total += body_energy(basis, potential.coefficients, names, edges, here)
        return float(total)

    return energy([0, 1, 2]) - energy([0, 1]) - energy([0, 2]) - energy([1, 2])
