"""What a periodic box takes from a diffusion coefficient, and the viscosity that says how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from bjerrum.errors import InputError
from bjerrum.estimate import Estimate
from bjerrum.units import ELEMENTARY_CHARGE, thermal_energy

XI_CUBIC: Final = 2.837297
"""Yeh and Hummer (2004): the lattice sum of a cubic array of unit charges."""


@dataclass(frozen=True)
class Viscosity:
    """A viscosity and where it comes from: ``borrowed`` if not from the same model."""

    estimate: Estimate
    source: str
    borrowed: bool


def finite_size_correction(
    temperature: float, viscosity_mPa_s: float, edge_angstrom: float
) -> float:
    """Return what a cubic periodic box takes from a diffusion coefficient, 1e-9 m2/s.

    D_inf - D_L = xi k T/(6 pi eta L), xi = 2.837297 (Yeh and Hummer, J. Phys. Chem. B 108, 15873
    (2004)); the same for every species.
    """
    joule = thermal_energy(temperature) * ELEMENTARY_CHARGE
    shift = XI_CUBIC * joule / (6 * np.pi * viscosity_mPa_s * 1e-3 * edge_angstrom * 1e-10)
    return float(shift * 1e9)


def corrected_diffusion(
    raw: Estimate, temperature: float, viscosity: Viscosity, edge_angstrom: float
) -> Estimate:
    """Return the diffusion coefficient of an infinite system (Yeh and Hummer 2004).

    SE^2 = SE(D_L)^2 + (shift SE(eta)/eta)^2.

    raw            1e-9 m2/s, of a cubic box of ``edge_angstrom``
    """
    eta = viscosity.estimate
    if not eta.value > 2 * eta.standard_error:
        raise InputError(f"the viscosity {eta} is too uncertain for a finite-size correction")
    shift = finite_size_correction(temperature, eta.value, edge_angstrom)
    error = float(np.hypot(raw.standard_error, shift * eta.standard_error / eta.value))
    notes: dict[str, Any] = {
        "finite_size_correction": "Yeh and Hummer (2004)",
        "viscosity_mPa_s": eta.value,
        "viscosity_source": viscosity.source,
    }
    return replace(
        raw,
        value=raw.value + shift,
        standard_error=error,
        provenance={**raw.provenance, **notes},
    )


def viscosity_from_sizes(
    diffusion: Sequence[Estimate], edges_angstrom: Sequence[float], temperature: float
) -> tuple[Estimate, Viscosity]:
    """Return D of an infinite system and the model's viscosity, from boxes of several sizes.

    D_L = D_inf - (xi k T/6 pi eta)/L, a straight line in 1/L weighted by the errors (Yeh and
    Hummer 2004).

    diffusion  of one species in each box, 1e-9 m2/s
    Raises InputError for fewer than two sizes or a slope that is not resolved.
    """
    if len(set(edges_angstrom)) < 2 or len(diffusion) != len(edges_angstrom):
        raise InputError("a viscosity from box sizes needs boxes of at least two sizes")
    weights = 1 / np.array([d.standard_error for d in diffusion]) ** 2
    design = np.stack([np.ones(len(diffusion)), -1 / np.array(edges_angstrom)], axis=1)
    covariance = np.linalg.inv((design * weights[:, None]).T @ design)
    limit, slope = covariance @ (design * weights[:, None]).T @ [d.value for d in diffusion]
    slope_error = float(np.sqrt(covariance[1, 1]))
    if slope < 2 * slope_error:
        raise InputError(
            f"D does not depend on the box beyond its error ({slope:.3g} +- {slope_error:.2g} "
            "1e-9 m2/s angstrom): no viscosity from these sizes: run longer or take a larger box"
        )
    eta = finite_size_correction(temperature, 1.0, 1.0) / slope
    n = min(d.n_effective for d in diffusion)
    return (
        replace(diffusion[0], value=float(limit), standard_error=float(np.sqrt(covariance[0, 0]))),
        Viscosity(
            Estimate(
                value=float(eta),
                standard_error=float(eta * slope_error / slope),
                unit="mPa s",
                n_effective=n,
            ),
            "the size dependence of the diffusion coefficient",
            borrowed=False,
        ),
    )
