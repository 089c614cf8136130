"""Pilot jobs of a Slurm site, through Parsl: jobs that stay and take one step after another.

The driver runs on the login node. Inside a job, each Parsl worker keeps one worker process of ours
for the limits of time and memory, so that a step that hangs or grows takes nothing else with it.
Batch scripts hold nothing but validated names, numbers and quoted paths.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from bjerrum.errors import ExternalError, InputError
from bjerrum.execution.process import Limits, WorkerProcess
from bjerrum.execution.profile import PilotJobs, SlurmProfile
from bjerrum.execution.task import Outcome, Task

_POLL_SECONDS = 0.25
_AHEAD = 2
"""Tasks handed to Parsl for each slot: those that run, and those that follow at once."""

_COMMAND_SECONDS = 60

_worker: WorkerProcess | None = None  # of this Parsl worker; it lives as long


def perform_in_job(task: str, limits: dict[str, Any]) -> str:
    """Do a task in the job's own worker process; what a Parsl worker calls.

    Text in and text out, so that nothing else is carried between the machines.
    """
    global _worker
    chosen = Limits(**{**limits, "cores": tuple(limits["cores"])})
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpu:
        chosen = Limits(**{**chosen.__dict__, "gpu": gpu})
    if _worker is None or _worker.limits != chosen:
        if _worker is not None:
            _worker.stop()
        _worker = WorkerProcess(chosen)
    _worker.send(Task.loads(task))
    while True:
        outcome = _worker.poll()
        if outcome is not None:
            return outcome.dumps()
        _worker.wait(_POLL_SECONDS)


class ClusterExecutor:
    """Steps in pilot jobs of Slurm.

    Jobs that an earlier driver of the same folder left behind are cancelled first. Raises
    InputError if Parsl is not installed, ExternalError if Slurm does not answer.
    """

    def __init__(self, profile: SlurmProfile, root: Path) -> None:
        _require_slurm()
        parsl = _parsl()
        self._profile = profile
        self._name = f"bjerrum_{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}"
        cancel_jobs(self._name)
        self._slots = {False: profile.cpu.slots}
        executors = [self._jobs("cpu", profile.cpu, root)]
        if profile.gpu is not None:
            self._slots[True] = profile.gpu.slots
            executors.append(self._jobs("gpu", profile.gpu, root))
        self.slots = sum(self._slots.values())
        self._futures: dict[Future[str], tuple[str, bool]] = {}
        self._known_expired: set[str] = set()
        logging.getLogger("parsl").setLevel(logging.ERROR)
        self._kernel = parsl.DataFlowKernel(
            parsl.Config(
                executors=executors,
                run_dir=str(root.resolve() / "parsl"),
                strategy="simple",
                strategy_period=2,
                retries=0,
                initialize_logging=False,
                usage_tracking=0,
                exit_mode="skip",
            )
        )

    def _jobs(self, label: str, jobs: PilotJobs, root: Path) -> Any:
        from parsl.executors import HighThroughputExecutor
        from parsl.launchers import SimpleLauncher, SrunLauncher

        profile = self._profile
        return HighThroughputExecutor(
            label=f"{self._name}_{label}",
            address=profile.address,
            interchange_launch_cmd=[
                *(sys.executable, "-m", "bjerrum.execution.tethered"),
                str(Path(sys.executable).parent / "interchange.py"),
            ],
            max_workers_per_node=jobs.gpus_per_node or jobs.workers_per_node,
            cores_per_worker=jobs.cores_per_worker,
            available_accelerators=jobs.gpus_per_node,
            cpu_affinity="none",
            prefetch_capacity=jobs.workers_per_node,
            drain_period=drain_seconds(jobs, profile),
            heartbeat_period=profile.heartbeat_seconds,
            heartbeat_threshold=4 * profile.heartbeat_seconds,
            block_error_handler=False,  # lost jobs are replaced as long as there is work
            encrypted=True,
            provider=_provider_that_looks_every(profile.heartbeat_seconds)(
                partition=jobs.partition,
                account=jobs.account,
                qos=jobs.qos,
                constraint=jobs.constraint,
                nodes_per_block=jobs.nodes,
                cores_per_node=jobs.workers_per_node * jobs.cores_per_worker,
                mem_per_node=_memory(jobs),
                gpus_per_node=jobs.gpus_per_node or None,
                init_blocks=0,
                min_blocks=0,
                max_blocks=jobs.jobs,
                walltime=jobs.walltime,
                worker_init=worker_init(profile),
                cmd_timeout=_COMMAND_SECONDS,
                exclusive=False,
                launcher=SrunLauncher() if jobs.nodes > 1 else SimpleLauncher(),
            ),
        )

    def _kind(self, gpu: bool) -> bool:
        return gpu and True in self._slots

    def free(self, *, gpu: bool) -> int:
        """Return how many more tasks to hand over: twice the slots are kept on their way."""
        kind = self._kind(gpu)
        if kind is not gpu:  # counted with the others
            return max(0, self._ahead(False))
        return max(0, self._ahead(kind))

    def _ahead(self, kind: bool) -> int:
        on_their_way = sum(own is kind for _, own in self._futures.values())
        return _AHEAD * self._slots[kind] - on_their_way

    def submit(self, task: Task) -> None:
        """Hand a task to Parsl."""
        kind = self._kind(task.needs_gpu)
        jobs = self._profile.gpu if kind and self._profile.gpu else self._profile.cpu
        label = f"{self._name}_{'gpu' if kind else 'cpu'}"
        future = self._kernel.submit(
            perform_in_job,
            app_args=(task.dumps(), limits_in_job(jobs, self._profile)),
            executors=[label],
            cache=False,
            ignore_for_cache=(),
            app_kwargs={},
        )
        self._futures[future] = (task.as_step.hash, kind)

    def collect(self) -> list[Outcome]:
        """Return what has ended; a task whose job was lost has the outcome "lost"."""
        if not self._futures:
            time.sleep(_POLL_SECONDS)
            return []
        done, _ = wait(self._futures, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        outcomes = [_outcome(future, self._futures.pop(future)[0]) for future in done]
        return self._expired(outcomes) if any(o.kind == "lost" for o in outcomes) else outcomes

    def _expired(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Tell steps whose job came to the end of its wall time from those that were lost."""
        try:
            ended = set(expired_jobs(self._name))
        except ExternalError:
            return outcomes
        if not ended - self._known_expired:
            return outcomes
        self._known_expired |= ended
        reason = "its job came to the end of its wall time"
        return [
            Outcome(o.hash, "expired", reason, o.wall_seconds) if o.kind == "lost" else o
            for o in outcomes
        ]

    def close(self) -> None:
        """Cancel the jobs and end Parsl."""
        with contextlib.suppress(Exception):  # what Parsl says of jobs that are gone already
            self._kernel.cleanup()
        cancel_jobs(self._name)


def _provider_that_looks_every(seconds: int) -> Any:
    """Return Parsl's provider for Slurm, which looks at its jobs once a minute, with another time.

    A job that is lost, cancelled or drained away is replaced when that is seen, not before.
    """
    from parsl.providers import SlurmProvider

    class Provider(SlurmProvider):
        @property
        def status_polling_interval(self) -> int:
            return seconds

    return Provider


def _outcome(future: Future[str], digest: str) -> Outcome:
    error = future.exception()
    if error is None:
        return Outcome.loads(future.result())
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return Outcome(digest, "lost", reason[:300])


def limits_in_job(jobs: PilotJobs, profile: SlurmProfile) -> dict[str, Any]:
    """Return the limits of a step in a job, as plain data."""
    memory = jobs.memory_GiB_per_worker
    return {
        "cores": (),
        "threads": jobs.cores_per_worker,
        "memory_MiB": None if memory is None else 1024 * memory,
        "timeout_seconds": 3600 * profile.timeout_of(jobs),
        "gpu": None,
    }


def drain_seconds(jobs: PilotJobs, profile: SlurmProfile) -> int:
    """Return after how long a job takes no more steps: none is then cut by the job's end.

    A step ends within its limit of time; where that is longer than half the job, half the job.
    """
    hours = max(jobs.hours - profile.timeout_of(jobs), jobs.hours / 2)
    return max(1, round(3600 * hours))


def _memory(jobs: PilotJobs) -> int | None:
    """Return GiB per node, a whole number as Slurm takes it."""
    if jobs.memory_GiB_per_worker is None:
        return None
    return max(1, round(jobs.memory_GiB_per_worker * jobs.workers_per_node))


def worker_init(profile: SlurmProfile) -> str:
    """Return the lines of a batch script before its workers: this Python, and the modules.

    Modules are validated names, paths are quoted.
    """
    lines = [f"module load {shlex.quote(name)}" for name in profile.modules]
    path = shlex.quote(str(Path(sys.executable).parent))
    lines.append(f"export PATH={path}:$PATH")
    inherited = os.environ.get("PYTHONPATH")
    if inherited:
        lines.append(f"export PYTHONPATH={shlex.quote(inherited)}")
    return "\n".join(lines)


def cancel_jobs(name: str) -> list[str]:
    """Cancel this user's jobs whose names hold ``name``; return their numbers."""
    listed = _slurm("squeue", "--me", "--noheader", "--format=%i %j")
    jobs = [line.split()[0] for line in listed.splitlines() if name in line]
    if jobs:
        _slurm("scancel", *jobs)
    return jobs


def expired_jobs(name: str) -> list[str]:
    """Return the numbers of this user's jobs of that name that Slurm ended for their wall time.

    Slurm remembers them for some minutes (MinJobAge).
    """
    listed = _slurm("squeue", "--me", "--noheader", "--states=TIMEOUT", "--format=%i %j")
    return [line.split()[0] for line in listed.splitlines() if name in line]


def _slurm(*command: str) -> str:
    """Run a command of Slurm, without a shell; ExternalError if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExternalError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise ExternalError(f"{command[0]} failed: {' '.join(done.stderr.split())[:300]}")
    return done.stdout


def _require_slurm() -> None:
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise ExternalError(
            f"the profile is for Slurm, but {', '.join(missing)} is not on PATH; run where jobs "
            "can be submitted, or choose a local profile"
        )


def _parsl() -> Any:
    try:
        import parsl
    except ImportError as error:
        raise InputError(
            "a Slurm profile needs Parsl; install it with: pip install 'bjerrum[cluster]'"
        ) from error
    return parsl
