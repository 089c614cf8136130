"""Settings of first-principles labels and dynamics, validated; every CP2K input comes from these.

Defaults are what ``bjerrum label --converge`` measured to give the least error for its cost
(docs/labels.md holds the table). :data:`PUBLISHED` are the settings of arXiv:2310.12535.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from bjerrum.reference.cp2k_elements import BasisName
from bjerrum.specification import Count, NotNegative, Positive, Spec

Method = Literal["dc-r2scan", "r2scan"]
Smoothing = Literal["none", "nn4", "nn10"]
Tolerance = Annotated[float, Field(gt=0, lt=1)]


class ExchangeSpec(Spec):
    """Exact exchange: ADMM, integral screening and the range of the operator.

    range_angstrom   of the truncated Coulomb operator (Guidon, Hutter & VandeVondele, J. Chem.
                     Theory Comput. 5, 3010 (2009)); at most half the shortest cell height. None:
                     just below that half, at most 6 angstrom.
    operator         "full" is plain 1/r at the Gamma point, as published. It is not smooth where
                     an atom passes the nearest-image boundary: only for edges of 13 A and more.
    admm_correction  "none", or "pbex": the first-order correction with PBE exchange that the
                     published labels have; CP2K 2023.1 has its response for "full" alone.
    eps_schwarz      integrals below this are skipped
    """

    operator: Literal["truncated", "full"] = "truncated"
    range_angstrom: Positive | None = None
    admm_correction: Literal["none", "pbex"] = "none"
    eps_schwarz: Tolerance = 1e-4
    memory_mib: Count = 3000

    @model_validator(mode="after")
    def _operator_and_correction_fit(self) -> Self:
        if self.operator == "truncated" and self.admm_correction == "pbex":
            raise ValueError(
                "exchange: expected admm_correction 'none' with the truncated operator, got "
                "'pbex', which has no second derivative there; use operator = 'full' or 'none'"
            )
        if self.operator == "full" and self.range_angstrom is not None:
            raise ValueError("exchange: a range belongs to the truncated operator only")
        return self


class ScfSpec(Spec):
    """How the density is converged.

    method     "diis" diagonalises and extrapolates the Kohn-Sham matrix (fewest steps for
               Hartree-Fock); "ot" is the orbital transformation, the fallback for hard cases
    tolerance  of the largest element of the commutator (diis) or the gradient (ot)
    """

    method: Literal["diis", "ot"] = "diis"
    tolerance: Tolerance = 1e-5
    max_steps: Count = 60


class Cp2kSettings(Spec):
    """One level of theory with its numerical settings.

    cutoff_ry      plane waves of the density grid
    rel_cutoff_ry  which grid a Gaussian goes to
    smoothing      of the density in the exchange-correlation functional. It lowers grid noise by
                   replacing the functional: forces move by tens of meV/angstrom.
    grid_correction  of the egg-box error. "fit" measures it on a few frames and subtracts it from
                   all (:mod:`.egg_box`): one calculation per label, many frames in one cell.
                   "average" labels each frame at two positions on the grid (:mod:`.grid_noise`).
                   "auto" is the first from FRAMES_FOR_FIT frames per cell on, else the second.
    translations   positions on the grid that a label is the average of
    subtract_net_force   the net force is grid error: no external field acts
    """

    method: Method = "dc-r2scan"
    basis: BasisName = "DZVP-MOLOPT-SR"
    cutoff_ry: Annotated[float, Field(ge=100, le=5000)] = 1200.0
    rel_cutoff_ry: Annotated[float, Field(ge=20, le=500)] = 40.0
    n_grids: Annotated[int, Field(ge=1, le=8)] = 5
    eps_default: Tolerance = 1e-8
    smoothing: Smoothing = "none"
    scf: ScfSpec = ScfSpec()
    exchange: ExchangeSpec = ExchangeSpec()
    response_tolerance: Tolerance = 1e-8
    grid_correction: Literal["auto", "fit", "average", "none"] = "auto"
    translations: Literal[1, 2, 4] = 1
    subtract_net_force: bool = False
    noise_mev_per_angstrom: NotNegative | None = None

    @property
    def hash(self) -> str:
        """Identity of what determines a label: SHA-256 of the canonical JSON, 16 digits."""
        content = self.model_dump(
            mode="json", exclude={"noise_mev_per_angstrom", "grid_correction"}
        )
        del content["exchange"]["memory_mib"]
        canonical = json.dumps(content, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


FRAMES_FOR_FIT: Final = 8


def resolved(settings: Cp2kSettings, frames_per_cell: int) -> Cp2kSettings:
    """Return the settings with "auto" decided and what the correction needs set.

    frames_per_cell  the least number of frames that share a cell
    """
    correction = settings.grid_correction
    if correction == "auto":
        correction = "fit" if frames_per_cell >= FRAMES_FOR_FIT else "average"
    if correction == "none":
        return settings
    fit = correction == "fit"
    return settings.model_copy(
        update={
            "grid_correction": correction,
            "translations": 1 if fit else max(2, settings.translations),
            "subtract_net_force": not fit,
        }
    )


PUBLISHED: Final = Cp2kSettings(
    cutoff_ry=1200.0,
    rel_cutoff_ry=60.0,
    eps_default=1e-12,
    smoothing="nn4",
    scf=ScfSpec(method="ot", tolerance=1e-6),
    exchange=ExchangeSpec(operator="full", admm_correction="pbex", eps_schwarz=1e-5),
    response_tolerance=1e-6,
    grid_correction="none",
)
"""Grid, smoothing, screening and exchange of arXiv:2310.12535 (shared inputs of its repository)."""

FULL_OPERATOR_EDGE_ANGSTROM: Final = 13.0
"""Shortest cell height at which plain 1/r exchange was seen to converge and to be smooth."""


def published_in(height_angstrom: float) -> Cp2kSettings:
    """Return the published settings as far as a box of this shortest height allows.

    In boxes below FULL_OPERATOR_EDGE_ANGSTROM plain 1/r exchange at the Gamma point is not smooth
    and its density seldom converges: there the truncated operator without correction stands in,
    and grid, smoothing, screening, density and response remain the published ones.
    """
    if height_angstrom >= FULL_OPERATOR_EDGE_ANGSTROM:
        return PUBLISHED
    exchange = ExchangeSpec(eps_schwarz=PUBLISHED.exchange.eps_schwarz)
    return PUBLISHED.model_copy(update={"exchange": exchange})
