"""Solubility of salts in water at 25 C, to say where a solution is supersaturated."""

from __future__ import annotations

from dataclasses import dataclass

from bjerrum.literature.tables import Source, read_table, source


@dataclass(frozen=True)
class Solubility:
    """Molality (mol/kg) of the saturated solution at 25 C; ``status`` as of reference values."""

    salt: str
    molality: float
    source: Source
    status: str


def solubility(salt: str) -> Solubility | None:
    """Return the solubility of a salt ("LiCl"); None where there is none in the table."""
    for row in read_table("solubility.csv"):
        if row["salt"] == salt:
            return Solubility(
                salt, float(row["molality_mol_per_kg"]), source(row["source"]), row["status"]
            )
    return None
