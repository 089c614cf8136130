"""``database``: list, show, compare, export, import and migrate what runs have found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, print_results

database = typer.Typer(
    help="A database of runs: what is in it, and in and out of it.", no_args_is_help=True
)

DatabaseName = Annotated[
    str,
    typer.Option(
        "--database",
        "-d",
        help="SQLite file, or URL such as postgresql://user@host/name.",
        envvar="BJERRUM_DATABASE",
    ),
]
Salts = Annotated[list[str] | None, typer.Option("--salt", help="Formula; repeat for several.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Name; repeat for several.")]
Quantity = Annotated[str | None, typer.Option(help="Such as osmotic_coefficient.")]
Subject = Annotated[str | None, typer.Option(help="Pair or species, such as Li-O.")]
Campaign = Annotated[str | None, typer.Option(help="Name of a campaign.")]
MinMolality = Annotated[float | None, typer.Option(help="mol/kg.")]
MaxMolality = Annotated[float | None, typer.Option(help="mol/kg.")]
DEFAULT = "bjerrum.sqlite"


@database.command("list")
def list_(
    place: DatabaseName = DEFAULT,
    salt: Salts = None,
    quantity: Quantity = None,
    subject: Subject = None,
    model: Models = None,
    campaign: Campaign = None,
    min_molality: MinMolality = None,
    max_molality: MaxMolality = None,
    runs: Annotated[bool, typer.Option("--runs", help="Runs instead of estimates.")] = False,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1)] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List estimates (or runs) with experiment and the deviation in standard errors."""
    from bjerrum.database import Database
    from bjerrum.database.comparison import with_experiment
    from bjerrum.database.queries import count_estimates, list_estimates, list_runs

    where = _filter(salt, quantity, subject, model, campaign, (min_molality, max_molality))
    with Database.open(place, read_only=True) as opened:
        if runs:
            one = where.salts[0] if len(where.salts) == 1 else None
            rows = list_runs(opened, salt=one, campaign=campaign, limit=limit)
            _print(rows, _RUN_COLUMNS, as_json, total=len(rows))
            return
        total = count_estimates(opened, where)
        rows = with_experiment(list_estimates(opened, where, limit=limit))
    _print(rows, _COLUMNS, as_json, total=total)


@database.command("show")
def show(
    key: Annotated[str, typer.Argument(help="Hash of a run or an estimate, or its first digits.")],
    place: DatabaseName = DEFAULT,
    as_json: JsonFlag = False,
) -> None:
    """Show a run, or an estimate with the chain of steps back to the labels."""
    from bjerrum.database import Database
    from bjerrum.database.queries import find

    with Database.open(place, read_only=True) as opened:
        kind, found = find(opened, key)
    print_results({"kind": kind, **found}, as_json) if as_json else _print_found(kind, found)


@database.command("report")
def report(
    key: Annotated[str, typer.Argument(help="Hash of a run, or its first digits.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write.")],
    place: DatabaseName = DEFAULT,
) -> None:
    """Write the report of a stored run as one HTML page, such as of a campaign's."""
    from bjerrum.cli.reports import write_report_of
    from bjerrum.database import Database

    with Database.open(place, read_only=True) as opened:
        write_report_of(opened, key, output)
    typer.echo(f"report: {output}")


@database.command("compare")
def compare(
    quantity: Annotated[str, typer.Option(help="Such as osmotic_coefficient.")],
    place: DatabaseName = DEFAULT,
    salt: Salts = None,
    subject: Subject = None,
    model: Models = None,
    campaign: Campaign = None,
    min_molality: MinMolality = None,
    max_molality: MaxMolality = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare salts and models: every value of a quantity beside experiment."""
    from bjerrum.database import Database
    from bjerrum.database.comparison import compare as compare_values

    where = _filter(salt, quantity, subject, model, campaign, (min_molality, max_molality))
    with Database.open(place, read_only=True) as opened:
        rows = compare_values(opened, where)
    if as_json:
        print_results({"rows": rows}, as_json)
        return
    flat = [{**row, **estimate} for row in rows for estimate in row["estimates"]]
    _print(flat, _COLUMNS, as_json, total=len(flat))


@database.command("export")
def export(
    output: Annotated[Path, typer.Argument(help="File to write: .csv, .parquet or .json.")],
    place: DatabaseName = DEFAULT,
    salt: Salts = None,
    quantity: Quantity = None,
    model: Models = None,
    campaign: Campaign = None,
    as_json: JsonFlag = False,
) -> None:
    """Write estimates to CSV or Parquet, or whole runs to JSON, from which all comes back."""
    from bjerrum.database import Database
    from bjerrum.database.exchange import export_file

    where = _filter(salt, quantity, None, model, campaign, (None, None))
    with Database.open(place, read_only=True) as opened:
        n = export_file(opened, output, where)
    what = "runs" if output.suffix.lower() == ".json" else "estimates"
    print_results({"file": str(output), what: n}, as_json)


@database.command("import")
def import_(
    sources: Annotated[
        list[Path], typer.Argument(help="Run folders, or .json, .csv or .parquet files.")
    ],
    place: DatabaseName = DEFAULT,
    as_json: JsonFlag = False,
) -> None:
    """Put the results of runs into a database; what is there already is recognised."""
    from bjerrum.database import Database
    from bjerrum.database.exchange import import_records, read_records

    records = [record for source in sources for record in read_records(source)]
    with Database.open(place, create=True) as opened:
        done = import_records(opened, records)
        name = opened.name
    print_results(
        {
            "database": name,
            "new_runs": done.runs,
            "new_estimates": done.estimates,
            "known_estimates": done.known_estimates,
        },
        as_json,
    )


@database.command("migrate")
def migrate(place: DatabaseName = DEFAULT, as_json: JsonFlag = False) -> None:
    """Bring a database of an older version to this version's schema."""
    from bjerrum.database.connection import migrate as migrate_schema

    before, after = migrate_schema(place)
    print_results({"before": before, "after": after}, as_json)


def _filter(
    salts: Sequence[str] | None,
    quantity: str | None,
    subject: str | None,
    models: Sequence[str] | None,
    campaign: str | None,
    molality: tuple[float | None, float | None],
) -> Any:
    from bjerrum.database.queries import Filter
    from bjerrum.system import Salt

    return Filter(
        salts=tuple(Salt.parse(salt).formula for salt in salts or ()),
        quantity=quantity,
        subject=subject,
        models=tuple(models or ()),
        campaign=campaign,
        molality=molality,
    )


_COLUMNS = {
    "hash": lambda row: row["hash"][:12],
    "salt": lambda row: row["salt"],
    "mol/kg": lambda row: f"{row['molality_mol_per_kg']:.4g}",
    "K": lambda row: f"{row['temperature_K']:g}",
    "quantity": lambda row: " ".join(filter(None, (row["subject"], row["quantity"]))),
    "value": lambda row: _value(row["value"], row["standard_error"], row["unit"]),
    "experiment": lambda row: _experiment(row["experiment"]),
    "sigma": lambda row: _sigma(row["deviation_sigma"]),
    "model": lambda row: row["model"] or "",
    "method": lambda row: row["method"],
}
_RUN_COLUMNS = {
    "hash": lambda row: row["hash"][:12],
    "run": lambda row: row["name"],
    "campaign": lambda row: row["campaign"],
    "model": lambda row: row["model"] or "",
    "estimates": lambda row: str(row["n_estimates"]),
    "added": lambda row: row["added_at"][:16],
}


def _value(value: float, error: float | None, unit: str) -> str:
    text = f"{value:.4g}" if error is None else f"{value:.4g} +- {error:.2g}"
    return text if unit == "1" else f"{text} {unit}"


def _experiment(found: dict[str, Any] | None) -> str:
    if not found:
        return ""
    text = _value(found["value"], found["uncertainty"], "1")
    return text if found["uncertainty"] is not None else f"{text} (error not stated)"


def _sigma(deviation: float | None) -> str:
    return "" if deviation is None else f"{deviation:+.1f}"


def _print(rows: list[dict[str, Any]], columns: dict[str, Any], as_json: bool, total: int) -> None:
    if as_json:
        print_results({"total": total, "rows": rows}, as_json)
        return
    lines = [list(columns), *([_plain(cell(row)) for cell in columns.values()] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        typer.echo("  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip())
    if total > len(rows):
        typer.echo(f"{len(rows)} of {total}; --limit shows more", err=True)


def _plain(text: str) -> str:
    """Keep what others named from steering the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _print_found(kind: str, found: dict[str, Any]) -> None:
    solution, model = found["solution"], found["model"]
    place = f"{solution['molality_mol_per_kg']:g} mol/kg, {solution['temperature_K']:g} K"
    lines = [f"{kind} {found['hash']}", f"solution  {solution['salt']} {place}"]
    if model:
        lines.append(f"model  {model['name']} (sha256 {model['sha256'][:12]}): {model['labels']}")
    if kind == "estimate":
        name = " ".join(filter(None, (found["subject"], found["quantity"])))
        value = _value(found["value"], found["standard_error"], found["unit"])
        lines += [f"{name}  {value}", f"method  {found['method']}"]
        lines += [f"run  {run['hash'][:12]}  {run['name']}" for run in found["runs"]]
        lines += ["provenance"]
        lines += [f"  {'  ' * step['depth']}{_step_text(step)}" for step in found["chain"]]
    else:
        lines += [f"name  {found['name']}", f"added  {found['added_at']}"]
        lines += [f"step  {_step_text(step)}" for step in found["steps"]]
        lines += [f"file  {file['name']} ({file['bytes']} bytes)" for file in found["files"]]
    for line in lines:
        typer.echo(_plain(line))


def _step_text(step: dict[str, Any]) -> str:
    if not step.get("known", True):
        return f"{step['hash']} (not recorded)"
    return f"{step['name']} (version {step['version']}) {step['hash'][:16]}"
