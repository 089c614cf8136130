"""Published potentials of mean force that Bjerrum ships, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from scipy.interpolate import CubicSpline

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray
from bjerrum.files import sha256_of, write_whole
from bjerrum.literature.tables import Source, source
from bjerrum.thermodynamics.ions import Ions, ions_from_table
from bjerrum.thermodynamics.pmf import PairPmf
from bjerrum.thermodynamics.table import DISTANCE, PmfTable, column_names, read_pmf_table
from bjerrum.units import bjerrum_length

RESAMPLED_SPACING: Final = 0.05
TAIL_WIDTH: Final = 1.0
"""Angstrom over which a resampled table goes to zero beyond the original's last row."""


@dataclass(frozen=True)
class PublishedPmf:
    """One shipped table and the conditions it was made for.

    temperature, dielectric_constant  K and 1, of the coarse-grained simulations
    """

    salt: str
    file: str
    charges: tuple[float, float]
    temperature: float
    dielectric_constant: float
    source_key: str
    origin: str

    @property
    def source(self) -> Source:
        """The publication."""
        return source(self.source_key)

    def table(self) -> PmfTable:
        """Return the shipped table."""
        with resources.as_file(resources.files("bjerrum.literature") / "data" / self.file) as path:
            return replace(read_pmf_table(path), origin=self.file)

    @property
    def sha256(self) -> str:
        """Of the shipped file, in hexadecimal digits."""
        with resources.as_file(resources.files("bjerrum.literature") / "data" / self.file) as path:
            return sha256_of(path)

    def ions(self) -> Ions:
        """Return the ions with their screened Coulomb law."""
        length = bjerrum_length(self.dielectric_constant, self.temperature)
        return ions_from_table(self.table(), self.charges, length)


PUBLISHED: Final[dict[str, PublishedPmf]] = {
    "LiCl": PublishedPmf(
        salt="LiCl",
        file="licl_pair_pmf.csv",
        charges=(1.0, -1.0),
        temperature=300.0,
        dielectric_constant=78.3,
        source_key="zhang2023",
        origin="two-ion potentials of the published coarse-grained model of LiCl, trained at "
        "2.4 mol/L on all-atom dynamics of a DC-r2SCAN neural network",
    )
}
"""By formula of the salt."""


def published_pmf(salt: str) -> PublishedPmf:
    """Return the shipped potentials of mean force of a salt; InputError lists the available."""
    if salt not in PUBLISHED:
        raise InputError(
            f"no published potentials of mean force of {salt}; available: {', '.join(PUBLISHED)}"
        )
    return PUBLISHED[salt]


def resample_table(
    table: PmfTable, ions: Ions, *, spacing: float = RESAMPLED_SPACING
) -> dict[str, FloatArray]:
    """Return columns of a table with its core and tail written out.

    Below the wall, where the full potential of mean force exceeds 40 kT, w is inf; between the
    rows it is the cubic spline; beyond the last row it goes to zero within one angstrom as
    w_last (1 + cos(pi (r - r_last)/1 A))/2.
    """
    end = float(table.r[-1])
    last_row = round((end + TAIL_WIDTH) / spacing)
    r = np.round(spacing * np.arange(1, last_row + 1), 6)
    columns = {DISTANCE: r}
    for name, pmf in zip(table.pairs, ions.pmfs, strict=True):
        columns[f"w_{name}_kT"] = _with_ends(pmf, r)
    return columns


def _with_ends(pmf: PairPmf, r: FloatArray) -> FloatArray:
    w = CubicSpline(pmf.r, pmf.w)(np.clip(r, pmf.wall, pmf.end))
    phase = np.clip((r - pmf.end) / TAIL_WIDTH, 0.0, 1.0)
    return np.where(r < pmf.wall, np.inf, w * (1 + np.cos(np.pi * phase)) / 2 + 0.0)


def write_resampled(original: Path, published: PublishedPmf, output: Path) -> Path:
    """Write the shipped form of a published table: resampled, with a header that says so."""
    table = read_pmf_table(original)
    length = bjerrum_length(published.dielectric_constant, published.temperature)
    columns = resample_table(table, ions_from_table(table, published.charges, length))
    text = [
        f"# Short-range pair potentials of mean force in kT at {published.temperature:g} K, "
        f"{published.salt}: {published.origin}.",
        f"# Source: {published.source}; data (MIT licence) from "
        "github.com/timduignan/Scalable-Electrolyte-Simulation.",
        "# Processed by bjerrum.thermodynamics.published.write_resampled: cubic spline on "
        f"{RESAMPLED_SPACING:g} angstrom, inf where the full potential exceeds 40 kT, last value "
        f"taken to zero over {TAIL_WIDTH:g} angstrom.",
        f"# Full potential: add z_i z_j l_B/r, dielectric constant "
        f"{published.dielectric_constant:g}.",
        ",".join([DISTANCE, *column_names(("c", "a")).values()]),
    ]
    values = zip(*(columns[name] for name in text[-1].split(",")), strict=True)
    text += [",".join(f"{value:.6g}" for value in row) for row in values]
    return write_whole(output, ("\n".join(text) + "\n").encode("utf-8"))
