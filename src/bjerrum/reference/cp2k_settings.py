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
    translations   labels are averages over this many positions relative to the grid, which cancels
                   most of the grid noise (:mod:`.grid_noise`)
    subtract_net_force   the net force is grid error: no external field acts
    """

    method: Method = "dc-r2scan"
    basis: BasisName = "DZVP-MOLOPT-SR"
    cutoff_ry: Annotated[float, Field(ge=100, le=5000)] = 800.0
    rel_cutoff_ry: Annotated[float, Field(ge=20, le=500)] = 40.0
    n_grids: Annotated[int, Field(ge=1, le=8)] = 5
    eps_default: Tolerance = 1e-10
    smoothing: Smoothing = "none"
    scf: ScfSpec = ScfSpec()
    exchange: ExchangeSpec = ExchangeSpec()
    response_tolerance: Tolerance = 1e-8
    translations: Literal[1, 2, 4] = 2
    subtract_net_force: bool = True
    noise_mev_per_angstrom: NotNegative | None = None

    @property
    def hash(self) -> str:
        """Identity of what determines a label: SHA-256 of the canonical JSON, 16 digits."""
        content = self.model_dump(mode="json", exclude={"noise_mev_per_angstrom"})
        del content["exchange"]["memory_mib"]
        canonical = json.dumps(content, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


PUBLISHED: Final = Cp2kSettings(
    cutoff_ry=1200.0,
    rel_cutoff_ry=60.0,
    eps_default=1e-12,
    smoothing="nn4",
    scf=ScfSpec(method="ot", tolerance=1e-6),
    exchange=ExchangeSpec(operator="full", admm_correction="pbex", eps_schwarz=1e-5),
    response_tolerance=1e-6,
    translations=1,
    subtract_net_force=False,
)
"""Grid, smoothing, screening and exchange of arXiv:2310.12535 (shared inputs of its repository)."""
