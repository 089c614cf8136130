"""Reference methods by name."""

from __future__ import annotations

from pathlib import Path
from typing import Final, get_args

from bjerrum.errors import InputError
from bjerrum.reference.classical_force_fields import ClassicalSettings, force_field_of
from bjerrum.reference.cp2k_settings import Cp2kSettings, Method
from bjerrum.reference.label import Reference
from bjerrum.specification import read_spec

METHODS: Final = (*get_args(Method), "classical")


def reference_of(
    method: str, config: Path | None = None, *, ranks: int = 1, threads: int = 1
) -> Reference:
    """Return the reference of a name, with settings from a TOML file or the defaults.

    Raises InputError for an unknown name or settings of another method, ExternalError if the
    program that it needs is missing.
    """
    if method == "classical":
        from bjerrum.reference.classical import ClassicalReference

        chosen = read_spec(config, ClassicalSettings) if config else ClassicalSettings()
        return ClassicalReference(force_field_of(chosen.force_field))
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got '{method}'")
    from bjerrum.reference.cp2k import Cp2kProgram, Cp2kReference, find_cp2k

    default = Cp2kSettings.model_validate({"method": method})
    settings = read_spec(config, Cp2kSettings) if config else default
    if settings.method != method:
        raise InputError(f"{config}: holds settings of {settings.method}, asked for {method}")
    return Cp2kReference(settings, Cp2kProgram(find_cp2k(), ranks, threads))
