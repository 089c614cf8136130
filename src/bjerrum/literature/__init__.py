"""Published values, each with its uncertainty, range and citation."""

from bjerrum.literature.tables import Source, source, sources
from bjerrum.literature.water import water_density, water_dielectric_constant

__all__ = ["Source", "source", "sources", "water_density", "water_dielectric_constant"]
