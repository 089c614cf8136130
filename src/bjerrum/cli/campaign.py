"""``plan``, ``status``, ``clean``, and ``run`` of a campaign file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.console import Console

CampaignFile = Annotated[Path, typer.Argument(help="Campaign TOML, see examples/campaign.toml.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the campaign.")]
ProfileFile = Annotated[
    Path | None, typer.Option("--profile", help="TOML that says where steps are done.")
]


def run_file(
    config: Path, output: Path | None, profile: Path | None, *, retry: bool, adopt: bool
) -> None:
    """Run a campaign file: what ``bjerrum run`` does with one."""
    from bjerrum.campaign.opening import open_campaign
    from bjerrum.campaign.running import run_campaign
    from bjerrum.cli.reports import write_campaign_reports

    opened = open_campaign(config, output, profile, adopt=adopt)
    with Console() as console:
        done = run_campaign(opened, console.announce, retry=retry, at_end=write_campaign_reports)
    typer.echo(
        f"{done['steps']} steps done; database: {done['database']}; reports: {done['at_end']}"
    )


def plan(
    config: CampaignFile,
    output: Output = None,
    profile: ProfileFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what a campaign would do and cost: steps, core hours, disk; submits nothing."""
    from bjerrum.campaign.looking import plan as planned
    from bjerrum.campaign.opening import open_campaign

    found = planned(open_campaign(config, output, profile))
    if as_json:
        print_results(found, as_json)
        return
    typer.echo(f"{found['campaign']}: {found['solutions']} solutions, {found['steps']} steps")
    typer.echo(f"{'step':<24}{'steps':>7}{'left':>7}{'core hours':>13}{'GB':>9}  cost of a unit")
    for row in found["kinds"]:
        typer.echo(
            f"{row['kind']:<24}{row['n_steps']:>7}{row['n_left']:>7}{row['core_hours']:>13.3g}"
            f"{row['gigabytes']:>9.2g}  {row['certainty']}: {row['source']}"
        )
    typer.echo(
        f"left: {found['core_hours']:.3g} core hours, {found['gigabytes']:.2g} GB "
        f"({found['free_gigabytes']:.0f} GB free); at least {found['wall_hours']:.2g} h with "
        f"{found['slots']} workers"
    )
    if found["gigabytes"] > found["free_gigabytes"]:
        typer.echo("the disk is too small for it", err=True)


def status(
    config: CampaignFile,
    output: Output = None,
    profile: ProfileFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what of a campaign is done, running, failed or waiting, and why."""
    from bjerrum.campaign.looking import status as looked_at
    from bjerrum.campaign.opening import open_campaign

    found = looked_at(open_campaign(config, output, profile))
    if as_json:
        print_results(found, as_json)
        return
    typer.echo(f"{found['campaign']}: {found['done']} of {found['steps']} steps done")
    typer.echo(f"driver: {found['driver']}")
    for entry in found["running"]:
        typer.echo(f"running {entry['seconds']:.0f} s: {entry['step']}")
    if found["handed_over"]:
        typer.echo(f"handed over, waiting for a slot: {len(found['handed_over'])}")
    for entry in found["failed"]:
        typer.echo(f"failed ({entry['kind']}): {entry['step']}: {entry['reason']}")
        typer.echo(f"  log: {entry['log']}")
    for reason, number in found["waiting_for"].items():
        typer.echo(f"waiting: {number} for {reason}")
    if found["blocked"]:
        typer.echo(f"blocked: {found['blocked']} need a step that failed")
    typer.echo(f"time left: at least {_duration(found['hours_left'])}")


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def clean(
    config: CampaignFile,
    output: Output = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without: only say what.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Find, and with --yes remove, results that a campaign as it now is does not need."""
    from bjerrum.campaign.cleaning import find_garbage, remove_garbage
    from bjerrum.campaign.opening import open_campaign

    opened = open_campaign(config, output)
    graph, store = opened.campaign.graph, opened.store
    garbage = find_garbage(graph, store)
    size = garbage.bytes()
    if yes:
        garbage = remove_garbage(graph, store)
    found: dict[str, Any] = {
        "campaign": opened.campaign.config.name,
        "folder": str(store.root),
        "removed": yes,
        "stale": [path.name for path in garbage.stale],
        "partial": [path.name for path in garbage.partial],
        "rest": len(garbage.rest),
        "bytes": size,
    }
    if as_json:
        print_results(found, as_json)
        return
    typer.echo(f"{found['campaign']} ({config}) in {found['folder']}")
    for name in [*found["stale"], *found["partial"]]:
        typer.echo(name)
    verb = "removed" if yes else "can go (--yes removes them)"
    n = len(garbage.stale) + len(garbage.partial)
    typer.echo(f"{n} folders and {found['rest']} logs, {size / 1e6:.1f} MB: {verb}")
