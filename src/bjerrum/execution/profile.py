"""The TOML file that says where steps are done: this machine, or a Slurm site.

Values end up in Slurm's batch scripts, so that each is held to the few characters that names and
times are made of: nothing in a profile can start a command.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bjerrum.errors import InputError
from bjerrum.specification import Count, Positive, Spec, read_spec

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:,+-]*$", max_length=100)]
"""What partitions, accounts and modules are called; no blanks, quotes, dollars or semicolons."""

Module = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./+-]*$", max_length=100)]
WallTime = Annotated[str, Field(pattern=r"^([0-9]{1,3}-)?[0-9]{1,2}:[0-5][0-9]:[0-5][0-9]$")]


class LocalProfile(Spec):
    """Worker processes of this machine.

    workers                 at once; 0: as many as the cores allow
    cores_per_worker        and threads of numerical libraries
    memory_GiB_per_worker   a step that uses more is ended and not tried again; none: no limit
    gpus                    one further worker for each; they train
    timeout_hours           of one step
    oversubscribe           allow more workers than cores
    tie_to_cores            each worker keeps to its own cores; not where others use them
    """

    kind: Literal["local"] = "local"
    workers: Annotated[int, Field(ge=0)] = 0
    cores_per_worker: Count = 1
    memory_GiB_per_worker: Positive | None = None  # noqa: N815
    gpus: Annotated[int, Field(ge=0)] = 0
    timeout_hours: Positive = 24.0
    oversubscribe: bool = False
    tie_to_cores: bool = True


class PilotJobs(Spec):
    """Slurm jobs that stay and take one step after another.

    partition         as `sinfo` lists it
    account, qos      where the site asks for them
    constraint        of nodes
    nodes             of each job
    workers_per_node  steps at once on each node
    cores_per_worker  of each step
    memory_GiB_per_worker  asked of Slurm, and the limit of a step
    gpus_per_node     each GPU serves one worker
    walltime          of a job, "[days-]hours:minutes:seconds"
    jobs              at most at once
    """

    partition: Name
    account: Name | None = None
    qos: Name | None = None
    constraint: Name | None = None
    nodes: Count = 1
    workers_per_node: Count
    cores_per_worker: Count = 1
    memory_GiB_per_worker: Positive | None = None  # noqa: N815
    gpus_per_node: Annotated[int, Field(ge=0)] = 0
    walltime: WallTime = "04:00:00"
    jobs: Count = 1

    @property
    def slots(self) -> int:
        """Steps that the jobs do at once."""
        return self.jobs * self.nodes * (self.gpus_per_node or self.workers_per_node)

    @property
    def hours(self) -> float:
        """The wall time of a job."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return 24 * int(days or 0) + hours + minutes / 60 + seconds / 3600


class SlurmProfile(Spec):
    """A Slurm site; the driver runs where `sbatch` works and stays there.

    cpu            jobs for all steps
    gpu            jobs for training, which uses a GPU; none: it goes to the others
    modules        loaded by `module load` on the nodes before the workers start
    address        of this machine as the nodes see it; none: found out
    timeout_hours  of one step, at most the wall time of its jobs; none: that wall time
    heartbeat_seconds  a job that is silent for four times this is given up
    """

    kind: Literal["slurm"]
    cpu: PilotJobs
    gpu: PilotJobs | None = None
    modules: list[Module] = Field(default_factory=list)
    address: Name | None = None
    timeout_hours: Positive | None = None
    heartbeat_seconds: Count = 30

    @model_validator(mode="after")
    def _ends_before_its_job(self) -> SlurmProfile:
        for name, jobs in (("cpu", self.cpu), ("gpu", self.gpu)):
            if jobs is None:
                continue
            if jobs.hours == 0:
                raise ValueError(f"{name}.walltime: expected more than 0, got {jobs.walltime}")
            if self.timeout_hours is not None and self.timeout_hours > jobs.hours:
                raise ValueError(
                    f"timeout_hours: expected at most {name}.walltime ({jobs.walltime}), got "
                    f"{self.timeout_hours:g}: a longer step could never end"
                )
        return self

    def timeout_of(self, jobs: PilotJobs) -> float:
        """Return after how many hours a step of these jobs is ended."""
        return jobs.hours if self.timeout_hours is None else self.timeout_hours


Profile = LocalProfile | SlurmProfile
_KINDS: dict[str, type[LocalProfile] | type[SlurmProfile]] = {
    "local": LocalProfile,
    "slurm": SlurmProfile,
}


def read_profile(path: Path | None) -> Profile:
    """Read a profile; without a file, this machine with one worker per core.

    Raises InputError, one line, for keys, types and characters that do not belong there.
    """
    if path is None:
        return LocalProfile()
    try:
        kind = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("kind", "local")
    except (OSError, ValueError):
        kind = "local"  # the same problem comes again below, with its message
    if kind not in _KINDS:
        raise InputError(f"{path}: kind: expected {' or '.join(_KINDS)}, got {kind!r}")
    return read_spec(path, _KINDS[kind])
