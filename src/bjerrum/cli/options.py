"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]
ModelName = Annotated[str, typer.Option("--model", help="Model folder or name of a shipped model.")]


def print_results(data: dict[str, Any], as_json: bool, indent: str = "") -> None:
    """Print as JSON, or as indented lines for a person."""
    if as_json:
        typer.echo(json.dumps(data, indent=1, allow_nan=False))
        return
    for key, value in data.items():
        if isinstance(value, dict):
            typer.echo(f"{indent}{key}")
            print_results(value, as_json, indent + "  ")
        else:
            typer.echo(
                f"{indent}{key}  {value:.6g}"
                if isinstance(value, float)
                else f"{indent}{key}  {value}"
            )
