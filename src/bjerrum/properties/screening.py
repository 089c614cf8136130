"""Ionic screening: the charge structure factor and its limit, from positions of the ions alone.

    S_ZZ(k) = <|sum_i z_i exp(i k r_i)|^2>/sum_i z_i^2  ->  k^2/kappa^2,   kappa^2 = 4 pi l_B rho_Z

for k to 0, with rho_Z = sum_a rho_a z_a^2 (Stillinger and Lovett, J. Chem. Phys. 49, 1991 (1968)).
It holds exactly where the ions interact at long range by z z' l_B/r: with the screened Coulomb
baseline of a Bjerrum model, epsilon is the one of the baseline, and S_ZZ kappa^2/k^2 -> 1 tests
that baseline. In a model whose water carries charges, the limit measures the epsilon that screens
the ions there. It is no dielectric constant of water.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bjerrum.errors import FrameError, InputError
from bjerrum.estimate import Estimate, FloatArray
from bjerrum.properties.statistics import estimate_mean, mean_statistics
from bjerrum.properties.structure_factor import (
    K_MAX,
    LatticeShells,
    ModeAccumulator,
    extrapolation_weights,
    lattice_shells,
    replica_means,
    species_groups,
)
from bjerrum.trajectory import TrajectoryChunk
from bjerrum.units import bjerrum_length

FORMAL_CHARGES: Final[Mapping[str, float]] = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs"), 1.0),
    **dict.fromkeys(("Mg", "Ca", "Sr", "Ba"), 2.0),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1.0),
}


@dataclass(frozen=True, eq=False)
class ScreeningResult:
    """Charge structure factor and its limit.

    k                    1/angstrom, (n_shells,)
    s_zz                 S_ZZ(k), (n_shells,)
    s_zz_standard_error  NaN where there is no error bar
    ratio                S_ZZ kappa^2/k^2 for k to 0: 1 where screening is perfect
    dielectric_constant  the one that was assumed
    kappa                1/angstrom
    """

    k: FloatArray
    s_zz: FloatArray
    s_zz_standard_error: FloatArray
    ratio: Estimate
    dielectric_constant: float
    bjerrum_length: float
    kappa: float

    @property
    def effective_dielectric_constant(self) -> Estimate:
        """The epsilon for which the limit would be exact: epsilon times ``ratio``."""
        factor = self.dielectric_constant
        return Estimate(
            value=factor * self.ratio.value,
            standard_error=factor * self.ratio.standard_error,
            unit="1",
            n_effective=self.ratio.n_effective,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        scaled = (self.kappa / self.k) ** 2
        error = self.s_zz_standard_error
        return {
            "debye_length_angstrom": 1 / self.kappa,
            "bjerrum_length_angstrom": self.bjerrum_length,
            "dielectric_constant": self.dielectric_constant,
            "stillinger_lovett_ratio": self.ratio.to_json(),
            "effective_dielectric_constant": self.effective_dielectric_constant.to_json(),
            "k_per_angstrom": self.k.tolist(),
            "s_zz": self.s_zz.tolist(),
            "s_zz_standard_error": [None if math.isnan(e) else e for e in error.tolist()],
            "s_zz_kappa2_over_k2": (self.s_zz * scaled).tolist(),
        }


def inverse_debye_length(
    densities: Mapping[str, float], charges: Mapping[str, float], length: float
) -> float:
    """Return kappa = sqrt(4 pi l_B sum rho z^2), 1/angstrom (Debye and Hueckel 1923).

    densities  per cubic angstrom
    charges    in e
    length     Bjerrum length, angstrom
    """
    strength = sum(densities[name] * charges[name] ** 2 for name in densities)
    return math.sqrt(4 * math.pi * length * strength)


class ScreeningAccumulator:
    """Charge modes of independent runs of one system.

    charges  of the charged species, in e; None: formal charges of the ions that are there
    k_max    1/angstrom
    """

    def __init__(self, charges: Mapping[str, float] | None = None, k_max: float = K_MAX) -> None:
        self._asked = charges
        self._k_max = k_max
        self._runs: list[ModeAccumulator] = []
        self._symbols: tuple[str, ...] = ()
        self._shells: LatticeShells | None = None
        self.charges: Mapping[str, float] = {}
        self.volume = 0.0

    def add_run(self, chunks: Iterable[TrajectoryChunk]) -> None:
        """Add all frames of one run.

        Raises InputError for a charged or empty system, FrameError if the atoms change.
        """
        run: ModeAccumulator | None = None
        for chunk in chunks:
            if self._shells is None:
                self._begin(chunk)
            if run is None and self._shells is not None:
                groups = species_groups(self._symbols, list(self.charges))
                run = ModeAccumulator(groups, self._shells)
            if chunk.symbols != self._symbols:
                raise FrameError("the atoms change within the trajectory or between the runs")
            if run is not None:
                run.add(chunk.positions, chunk.cells)
        if run is None:
            raise InputError("the trajectory holds no frames after the time to skip")
        self._runs.append(run)

    def _begin(self, chunk: TrajectoryChunk) -> None:
        present = dict.fromkeys(chunk.symbols)
        formal = {name: FORMAL_CHARGES[name] for name in present if name in FORMAL_CHARGES}
        self.charges = dict(formal if self._asked is None else self._asked)
        total = sum(self.charges.get(name, 0.0) for name in chunk.symbols)
        n_ions = sum(self.charges.get(name, 0.0) != 0 for name in chunk.symbols)
        if n_ions < 4 or abs(total) > 1e-6:
            raise InputError(
                f"screening needs a neutral system of at least four ions; got {n_ions} with a "
                f"total charge of {total:g} e: give the charges (--charge Li=1 --charge Cl=-1)"
            )
        self._symbols = chunk.symbols
        self.volume = float(abs(np.linalg.det(chunk.cells[0])))
        self._shells = lattice_shells(chunk.cells[0], self._k_max)

    def result(self, dielectric_constant: float, temperature: float) -> ScreeningResult:
        """Return S_ZZ(k) and the Stillinger-Lovett ratio.

        The ratio is S_ZZ kappa^2/k^2, extrapolated by the quadratic window of structure_factor.

        dielectric_constant  of the long-range interaction
        temperature          K
        Raises SeriesTooShort where no error bar is honest, InputError for a small box.
        """
        if not (dielectric_constant >= 1 and temperature > 0):
            raise InputError(
                "expected a dielectric constant of at least 1 and a positive temperature, got "
                f"{dielectric_constant:g} and {temperature:g} K"
            )
        first = self._runs[0]
        blocks = [self._s_zz(block) for block in replica_means([run.sums for run in self._runs])]
        statistics = mean_statistics(blocks)
        length = bjerrum_length(dielectric_constant, temperature)
        densities = {name: first.counts[name] / self.volume for name in self.charges}
        kappa = inverse_debye_length(densities, self.charges, length)
        k = first.shells.k
        weights = extrapolation_weights(first.shells, "quadratic") * (kappa / k) ** 2
        return ScreeningResult(
            k=k,
            s_zz=statistics.mean,
            s_zz_standard_error=statistics.standard_error,
            ratio=estimate_mean([block @ weights for block in blocks], "1"),
            dielectric_constant=dielectric_constant,
            bjerrum_length=length,
            kappa=kappa,
        )

    def _s_zz(self, products: FloatArray) -> FloatArray:
        """Return S_ZZ(k) of each block from products of modes, (n_blocks, n_shells)."""
        first = self._runs[0]
        factors = [self.charges[a] * self.charges[b] * (1 if a == b else 2) for a, b in first.pairs]
        norm = sum(first.counts[name] * self.charges[name] ** 2 for name in self.charges)
        return np.einsum("p,bpk->bk", np.array(factors), products) / norm
