"""Validated settings from TOML: unknown keys and wrong types are one clear line, not a surprise.

Values are not converted: ``waters = "80"``, ``waters = 80.5`` and ``seed = true`` are refused. Only
a whole number is also taken where a real one is expected.
"""

from __future__ import annotations

import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bjerrum.errors import InputError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class Spec(BaseModel):
    """Base of all settings: immutable, and strict about keys and types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


SpecT = TypeVar("SpecT", bound=Spec)


def read_spec(path: Path, model: type[SpecT]) -> SpecT:
    """Read a TOML file into ``model``.

    Raises InputError, one line that names the file, the key, what was expected and what came.
    """
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: expected a TOML file, but it cannot be read ({error.strerror})"
        ) from error
    except (ValueError, RecursionError) as error:  # syntax, encoding, numbers of 5000 digits
        raise InputError(f"{path}: is not valid TOML: {error}") from error
    return validate_spec(data, model, str(path))


def validate_spec(data: dict[str, Any], model: type[SpecT], where: str) -> SpecT:
    """Validate ``data``; one problem becomes an InputError that starts with ``where``.

    Unknown keys come before missing ones, of which they are often the reason. A validator of a
    model that raises ValueError says itself what it expected and what it got.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}: {_first_problem(error, model)}") from error


def _first_problem(error: ValidationError, model: type[Spec]) -> str:
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location) or "the file"
    match problem["type"]:
        case "extra_forbidden":
            known = ", ".join(_known_keys(model, location[:-1]))
            return f"unknown key {key!r}; expected one of: {known}"
        case "missing":
            return f"key {key!r} is missing"
        case "value_error":
            return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
        case "model_type" | "dict_type":
            expected = "expected a table"
        case _:
            expected = problem["msg"].replace("Input should be", "expected")
    return f"{key}: {expected}, got {_short.repr(problem['input'])}"


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    for name in location:
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return sorted(model.model_fields)
