"""What is known of the transport in a solution, and its form in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bjerrum.estimate import Estimate
from bjerrum.properties.conductivity import CENTRE_OF_MASS, Conductivity
from bjerrum.properties.diffusion import Diffusion
from bjerrum.properties.finite_size import Viscosity


@dataclass(frozen=True, eq=False, kw_only=True)
class TransportResult:
    """Transport coefficients of one system.

    diffusion        by species; None where it cannot be told
    corrected        of an infinite system, by species; None without a viscosity
    viscosity        with its source, if there is one
    conductivity, nernst_einstein  S/m; None without ions, or where they cannot be told
    reasons          why something is None, by its name
    facts            what went in: temperature, box, masses, frames
    """

    diffusion: Mapping[str, Diffusion | None]
    corrected: Mapping[str, Estimate | None]
    viscosity: Viscosity | None
    conductivity: Conductivity | None
    nernst_einstein: Estimate | None
    reasons: Mapping[str, str]
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the contract's form; unknown numbers are null."""
        return {
            "diffusion_1e-9_m2_per_s": {
                species: {
                    "raw": None if found is None else found.estimate.to_json(),
                    "corrected": _json(self.corrected[species]),
                    "window_ps": None if found is None else list(found.window_ps),
                    "local_exponent": None if found is None else found.exponent,
                    "random_walk_error": None if found is None else found.model_error,
                }
                for species, found in self.diffusion.items()
            },
            **self._conductivity_json(),
            "viscosity_mPa_s": None
            if self.viscosity is None
            else self.viscosity.estimate.to_json(),
            "viscosity_source": None if self.viscosity is None else self.viscosity.source,
            "viscosity_is_borrowed": None if self.viscosity is None else self.viscosity.borrowed,
            "mean_squared_displacement": {
                species: {
                    "time_ps": found.curve.times_ps.tolist(),
                    "msd_angstrom2": found.curve.mean.tolist(),
                }
                for species, found in self.diffusion.items()
                if found is not None
            },
            **self.facts,
            "reasons": self._reasons(),
        }

    def _reasons(self) -> dict[str, str]:
        if self.conductivity is None or self.conductivity.frame != CENTRE_OF_MASS:
            return dict(self.reasons)
        return {
            **self.reasons,
            "transference numbers": "without a solvent in the trajectory the centre of mass of the "
            "ions is at rest, which fixes them by the masses",
        }

    def _conductivity_json(self) -> dict[str, Any]:
        found = self.conductivity
        ratio = None
        if found is not None and self.nernst_einstein is not None:
            ratio = _ratio(found.einstein, self.nernst_einstein).to_json()
        return {
            "conductivity_S_per_m": None if found is None else found.einstein.to_json(),
            "nernst_einstein_S_per_m": _json(self.nernst_einstein),
            "conductivity_over_nernst_einstein": ratio,
            "transference_numbers": None
            if found is None or found.frame == CENTRE_OF_MASS
            else {s: number.to_json() for s, number in found.transference.items()},
            "onsager_S_per_m": None
            if found is None
            else {"-".join(pair): number.to_json() for pair, number in found.onsager.items()},
            "onsager_frame": None if found is None else found.frame,
            "conductivity_window_ps": None if found is None else list(found.window_ps),
        }


def _json(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.to_json()


def _ratio(top: Estimate, bottom: Estimate) -> Estimate:
    """Return a quotient; errors taken as independent, which overstates them here."""
    value = top.value / bottom.value
    relative = np.hypot(top.standard_error / top.value, bottom.standard_error / bottom.value)
    return Estimate(
        value=value,
        standard_error=abs(value) * float(relative),
        unit="1",
        n_effective=min(top.n_effective, bottom.n_effective),
    )
