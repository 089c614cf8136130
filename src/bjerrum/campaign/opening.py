"""A campaign file that has been read: its graph, its folder, its database, where steps are done."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from bjerrum.campaign.spec import CampaignConfig, beside, output_of, read_campaign
from bjerrum.campaign.toml import dumps_toml
from bjerrum.campaign.wiring import Campaign, wire
from bjerrum.errors import InputError
from bjerrum.execution.pool import limits_of
from bjerrum.execution.profile import LocalProfile, Profile, read_profile
from bjerrum.files import write_json, write_whole
from bjerrum.store import Store

CLAIM, CONFIG_COPY, DATABASE = "campaign.json", "campaign.toml", "results.sqlite"
DATABASE_VARIABLE = "BJERRUM_DATABASE"


@dataclass(frozen=True)
class Open:
    """A campaign file that has been read.

    database  path or URL, which may hold a password; :attr:`database_shown` never does
    """

    path: Path
    campaign: Campaign
    store: Store
    profile: Profile
    database: str

    @property
    def database_shown(self) -> str:
        """Path or URL of the database, its password masked."""
        from bjerrum.database.connection import shown_place

        return shown_place(self.database)


def open_campaign(
    path: Path, output: Path | None = None, profile: Path | None = None, *, adopt: bool = False
) -> Open:
    """Read a campaign file and wire its graph; computes and writes nothing.

    The database is that of the file, else of the variable BJERRUM_DATABASE, else results.sqlite in
    the campaign's folder.

    adopt  take a folder over that another campaign file of the same name has filled
    Raises InputError, one line that names the file, for whatever cannot be used, and for an output
    folder that belongs to another campaign.
    """
    config = read_campaign(path)
    root = output_of(path, config, output)
    chosen = read_profile(profile or beside(path, config.profile))
    if isinstance(chosen, LocalProfile):
        limits_of(chosen)
    _require_cores(path, config, chosen)
    campaign = wire(path, config)
    _require_own(root, path, config, adopt)
    place = config.database or os.environ.get(DATABASE_VARIABLE) or str(root / DATABASE)
    return Open(path, campaign, Store(root), chosen, place)


def _require_cores(path: Path, config: CampaignConfig, profile: Profile) -> None:
    """Refuse calculations with CP2K that are larger than the workers that do them."""
    reference = config.reference
    if {reference.method, reference.sampling} == {"classical"}:
        return
    if isinstance(profile, LocalProfile) and profile.oversubscribe:
        return
    jobs = profile if isinstance(profile, LocalProfile) else profile.cpu
    cores = jobs.cores_per_worker
    if reference.ranks * reference.threads > cores:
        raise InputError(
            f"{path}: reference: {reference.ranks} ranks of {reference.threads} threads need "
            f"{reference.ranks * reference.threads} cores, a worker of the profile has {cores}; "
            "raise the profile's cores_per_worker, or lower ranks or threads"
        )


def _require_own(root: Path, path: Path, config: CampaignConfig, adopt: bool) -> None:
    """Refuse a folder whose steps belong to a run, or to another campaign that is still there."""
    try:
        claim = json.loads((root / CLAIM).read_text(encoding="utf-8"))
        name, file = claim["name"], claim.get("file")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        if (root / "steps").is_dir():
            raise InputError(
                f"{root}: holds steps that are not this campaign's; choose another output"
            ) from None
        return
    if name != config.name:
        raise InputError(
            f"{root}: belongs to the campaign {name!r}, not to {config.name!r}; choose another "
            "output or another name"
        )
    if isinstance(file, str) and not adopt and _is_another(Path(file), path):
        raise InputError(
            f"{root}: belongs to {file}, a campaign of the same name; choose another output or "
            "another name, or run this one with --adopt, which takes the folder over"
        )


def _is_another(recorded: Path, path: Path) -> bool:
    """Tell whether a recorded campaign file is there and is not this one."""
    try:
        return recorded.is_file() and not recorded.samefile(path)
    except OSError:
        return False


def claim(opened: Open) -> None:
    """Write whose folder it is, and a copy of the campaign file without a database's password."""
    root, config = opened.store.root, opened.campaign.config
    write_json(root / CLAIM, {"name": config.name, "file": str(opened.path.resolve())})
    content = opened.path.read_bytes()
    if config.database is not None and opened.database_shown != config.database:
        data = config.model_dump(mode="json", exclude_none=True)
        content = dumps_toml({**data, "database": opened.database_shown}).encode()
    write_whole(root / CONFIG_COPY, content)
