"""``doctor``: what is installed, what is missing, and whether it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.console import Console
from bjerrum.errors import ExternalError

if TYPE_CHECKING:
    from bjerrum.doctor import Diagnosis
    from bjerrum.installation import Part


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave the calculations out.")] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(help="A program or library that must be there, such as CP2K; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say which programs and libraries are there, and try each with a few atoms.

    Ends with exit code 4 if something required is missing or does not work.
    """
    from bjerrum.doctor import diagnose

    with Console() as console:
        found = diagnose(quick=quick, require=require or (), announce=console.announce)
    if as_json:
        print_results(found.to_json(), as_json)
    else:
        _print_tables(found)
    if found.failures:
        raise ExternalError(f"required, but missing or broken: {', '.join(found.failures)}")


def _print_tables(found: Diagnosis) -> None:
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    out = RichConsole()
    machine = found.machine
    gpus = ", ".join(f"{g['name']} ({g['memory_MiB'] / 1024:.0f} GiB)" for g in machine["gpus"])
    out.print(
        f"{machine['system']}, Python {machine['python']}, {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_MiB'] / 1024:.1f} GiB memory, "
        f"{machine['free_disk_MiB'] / 1024:.0f} GiB free disk, GPU: {gpus or 'none'}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for title, parts in (("Programs", found.programs), ("Python libraries", found.libraries)):
        table = Table("", title, "version", "for", box=None, pad_edge=False)
        for part in parts:
            table.add_row(*map(Text, (_mark(part), part.name, part.version or "", part.purpose)))
        out.print()
        out.print(table)
    if found.checks:
        table = Table("", "Checks", "seconds", "result", box=None, pad_edge=False)
        for check in found.checks:
            mark = {True: "ok", False: "FAIL", None: "skipped"}[check.passed]
            table.add_row(*map(Text, (mark, check.name, f"{check.seconds:.1f}", check.detail)))
        out.print()
        out.print(table)
    missing = [part for part in (*found.programs, *found.libraries) if not part.found]
    if missing:
        typer.echo("\nMissing, and how to get it:")
    for part in missing:
        need = "required" if part.required else "optional"
        seen = part.path or part.version
        typer.echo(f"  {part.name} ({need}{f': {part.problem}' if seen else ''}): {part.install}")


def _mark(part: Part) -> str:
    if part.found:
        return "ok"
    return "MISSING" if part.required else "missing"
