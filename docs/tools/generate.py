"""Pages that would rot if they were typed: commands, settings, model cards, modules.

Everything here is read from the installed package, so the documentation says what the code does.
"""

from __future__ import annotations

import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

import bjerrum
import coarse_tables
import dynamics_tables
import label_tables
import store_tables
import training_tables
from bjerrum.campaign.spec import CampaignConfig
from bjerrum.cli import app
from bjerrum.configuration import RunConfig
from bjerrum.density import density_model, salts_with_density
from bjerrum.errors import BjerrumError
from bjerrum.execution.profile import LocalProfile, SlurmProfile
from bjerrum.potential.card import ModelCard, shipped_models
from bjerrum.potential.spec import TrainingSpec
from bjerrum.report.document import RunDocument
from bjerrum.system import SALTS
from bjerrum.units import CELSIUS_ZERO_IN_KELVIN
from docstrings import listed_names

METHOD_ORDER = (
    *("system", "density", "literature", "units", "boxes", "electrostatics", "ewald"),
    *("separations", "sampling", "reference", "labelling", "convergence"),
    *(
        "frames",
        "dataset",
        "potential",
        "dynamics",
        "trajectory",
        "properties",
        "thermodynamics",
        "checks",
    ),
    *(
        "estimate",
        "store",
        "configuration",
        "specification",
        "run",
        "pipeline",
        "results",
        "report",
    ),
    *("bench", "installation", "doctor", "errors"),
)
"""Modules in the order of the method; others follow by name."""

COMMAND_LINE = ("__main__", "cli")
"""Documented as commands, not as modules."""

_TYPE_NAMES = {float: "number", int: "whole number", str: "text", Path: "path", bool: "flag"}
_SCHEMA_TYPES = {"number": "number", "integer": "whole number", "string": "text", "null": "none"}
_BOUNDS = {
    "exclusiveMinimum": "> {}",
    "minimum": ">= {}",
    "exclusiveMaximum": "< {}",
    "maximum": "<= {}",
}


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each subcommand with its full name, "bjerrum analyse structure"."""
    yield from _leaves("bjerrum", typer.main.get_command(app))


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child, subcommand in children.items():
        yield from _leaves(f"{name} {child}", subcommand)


def command_reference() -> str:
    """Return a section for each subcommand: usage, what it does, arguments and options."""
    return "\n\n".join(_command(name, command) for name, command in commands())


def _command(name: str, command: Any) -> str:
    hints = typing.get_type_hints(command.callback)
    visible = [p for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
    arguments = [p for p in visible if p.param_type_name == "argument"]
    options = [p for p in visible if p.param_type_name == "option"]
    usage = " ".join([name, *map(_usage, arguments), *(_usage(p) for p in options if p.required)])
    more = " [OPTIONS]" if any(not p.required for p in options) else ""
    rows = [(_spelling(p), _type_name(hints[p.name]), _default(p), p.help or "") for p in visible]
    table = _table(("argument or option", "type", "default", "meaning"), rows)
    return f"## {name}\n\n{command.help}\n\n```text\n{usage}{more}\n```\n\n{table}"


def _usage(param: Any) -> str:
    if param.param_type_name == "option":
        return f"{param.opts[-1]} {param.name.upper()}"
    name = param.name.upper() + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _spelling(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.name.upper()}`"
    return ", ".join(f"`{option}`" for option in [*param.opts, *param.secondary_opts])


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if param.default in (None, False):
        return ""
    return f"`{param.default}`"


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is list:
        return f"{_type_name(typing.get_args(hint)[0])}, several"
    return _TYPE_NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def settings_reference(model: type[BaseModel]) -> str:
    """Return one table for the top level of a TOML file and one for each of its sections."""
    schema = model.model_json_schema()
    parts, top = [], []
    for key, field in model.model_fields.items():
        if section := _section_of(field.annotation):
            needed = "required" if field.is_required() else "optional"
            parts.append(f"### `[{key}]`\n\n{_section(section)}\n\nThis section is {needed}.")
        else:
            top.append(key)
    head = f"### Top level\n\n{_keys(model, schema, top)}" if top else ""
    return "\n\n".join([head, *parts])


def _section_of(hint: Any) -> type[BaseModel] | None:
    found = [part for part in (hint, *typing.get_args(hint)) if inspect.isclass(part)]
    return next((part for part in found if issubclass(part, BaseModel)), None)


def _section(model: type[BaseModel]) -> str:
    summary = (inspect.getdoc(model) or "").split("\n\n")[0]
    return f"{summary}\n\n{_keys(model, model.model_json_schema(), list(model.model_fields))}"


def _keys(model: type[BaseModel], schema: dict[str, Any], keys: list[str]) -> str:
    meanings = listed_names(inspect.getdoc(model) or "")
    rows = [
        (
            f"`{key}`",
            _schema_type(schema["properties"][key], schema),
            _schema_default(schema["properties"][key], key in schema.get("required", ())),
            meanings.get(key, schema["properties"][key].get("description", "")),
        )
        for key in keys
    ]
    if not any(meaning for *_, meaning in rows):
        return _table(("key", "type", "default"), [row[:3] for row in rows])
    return _table(("key", "type", "default", "meaning"), rows)


def _schema_type(schema: dict[str, Any], root: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _schema_type(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
    if "anyOf" in schema:
        return " or ".join(_schema_type(part, root) for part in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_schema_type(schema.get('items', {}), root)}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        of = f" of {_schema_type(inner, root)}" if isinstance(inner, dict) else ""
        return f"table{of}"
    bounds = [text.format(f"{schema[key]:g}") for key, text in _BOUNDS.items() if key in schema]
    return " ".join([_SCHEMA_TYPES.get(kind, kind), ", ".join(bounds)]).strip()


def _schema_default(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default")
    return "" if default in (None, "", []) or isinstance(default, dict) else f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def results_schema() -> str:
    """Return the keys of ``results.json``, part by part."""
    return _parts(RunDocument)


def card_schema() -> str:
    """Return the keys of ``model.json``."""
    return _keys(ModelCard, ModelCard.model_json_schema(), list(ModelCard.model_fields))


def _parts(model: type[BaseModel]) -> str:
    sections = []
    for part in _reachable(model):
        title = (inspect.getdoc(part) or "").split("\n\n")[0]
        keys = _keys(part, part.model_json_schema(), list(part.model_fields))
        sections.append(f"### {part.__name__}\n\n{title}\n\n{keys}")
    return "\n\n".join(sections)


def _reachable(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model and every model in its fields, each once, outermost first."""
    found: list[type[BaseModel]] = []

    def visit(annotation: Any) -> None:
        if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
            if annotation not in found:
                found.append(annotation)
                for field in annotation.model_fields.values():
                    visit(field.annotation)
            return
        for argument in typing.get_args(annotation):
            visit(argument)

    visit(model)
    return found


def model_cards() -> str:
    """Return the card of every shipped model, as it lies beside the weights."""
    cards = [
        _demote((folder / "README.md").read_text(encoding="utf-8"))
        for folder in shipped_models().values()
    ]
    return "\n\n".join(cards) or "No model is shipped with this version."


def _demote(text: str) -> str:
    """Make every heading two levels deeper."""
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in text.splitlines())


def salts() -> str:
    """Return the salts, the density model of each and the range that it holds in."""
    rows: list[tuple[str, ...]] = []
    sources: dict[str, str] = {}
    for salt in (name for name in SALTS if name in salts_with_density()):
        model = density_model(salt)
        low, high = (
            f"{t - CELSIUS_ZERO_IN_KELVIN:.0f}"
            for t in (model.min_temperature, model.max_temperature)
        )
        rows.append((salt, model.name, f"{model.highest_molality:.3g}", f"{low} to {high}"))
        sources[model.name] = model.source.citation
    table = _table(("salt", "density model", "highest mol/kg", "degrees Celsius"), rows)
    return "\n".join([table, "", *(f"- {name}: {text}" for name, text in sources.items())])


def error_classes() -> str:
    """Return every error, its exit code and what it means."""
    rows = [
        (f"`{error.__name__}`", str(error.exit_code), (inspect.getdoc(error) or "").split("\n")[0])
        for error in subclasses(BjerrumError)
    ]
    return _table(("error", "exit code", "meaning"), rows)


def subclasses(error: type[BjerrumError]) -> Iterator[type[BjerrumError]]:
    """Yield every error of the package that derives from ``error``."""
    for child in error.__subclasses__():
        if child.__module__.startswith("bjerrum."):
            yield child
            yield from subclasses(child)


def modules() -> dict[str, list[str]]:
    """Return the top-level modules in the order of the method, each with what it contains."""
    found = (info.name for info in pkgutil.iter_modules(bjerrum.__path__))
    names = [name for name in found if name not in COMMAND_LINE]
    order = {name: position for position, name in enumerate(METHOD_ORDER)}
    names.sort(key=lambda name: (order.get(name, len(order)), name))
    return {name: _submodules(name) for name in names}


def _submodules(name: str) -> list[str]:
    folder = Path(next(iter(bjerrum.__path__))) / name
    inner = sorted(info.name for info in pkgutil.iter_modules([str(folder)]))
    return [f"bjerrum.{name}", *(f"bjerrum.{name}.{child}" for child in inner)]


def api_page(name: str, members: list[str]) -> str:
    """Return the page of a module: a mkdocstrings block for it and for each of its parts."""
    blocks = "\n\n".join(f"::: {member}" for member in members if has_content(member))
    return f"# {name}\n\n{blocks}\n"


def has_content(module: str) -> bool:
    """Tell whether a module is more than an empty file."""
    relative = Path(*module.split(".")[1:])
    root = Path(next(iter(bjerrum.__path__)))
    file = root / relative.with_suffix(".py")
    return (file if file.exists() else root / relative / "__init__.py").read_text().strip() != ""


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


GENERATORS: dict[str, Callable[[], str]] = {
    "commands": command_reference,
    "run settings": partial(settings_reference, RunConfig),
    "training settings": partial(settings_reference, TrainingSpec),
    "campaign settings": partial(settings_reference, CampaignConfig),
    "local profile": partial(settings_reference, LocalProfile),
    "slurm profile": partial(settings_reference, SlurmProfile),
    "results": results_schema,
    "card": card_schema,
    "models": model_cards,
    "salts": salts,
    "errors": error_classes,
    **label_tables.TABLES,
    **training_tables.TABLES,
    **store_tables.TABLES,
    **dynamics_tables.TABLES,
    **coarse_tables.TABLES,
}
"""What ``<!-- generated: NAME -->`` in a page stands for."""
