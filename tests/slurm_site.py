"""A real Slurm of one node on this machine, in a folder of its own; needs root and munge.

    python tests/slurm_site.py --slots 8 COMMAND ARGUMENTS...

runs a command beside one, as ``bjerrum bench store --profile`` needs it, and ends it afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
CONFIG = """\
ClusterName=bjerrum
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
InactiveLimit=0
KillWait=2
MinJobAge=60
SchedulerTimeSlice=5
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={slots} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def require_programs() -> None:
    """Skip where there is no Slurm to start; fail where continuous integration promised one."""
    missing = [name for name in PROGRAMS if _find(name) is None]
    if missing or os.geteuid() != 0:
        reason = f"missing: {', '.join(missing)}" if missing else "needs root"
        if os.environ.get("BJERRUM_NEEDS_SLURM"):
            pytest.fail(f"Slurm was promised, but {reason}")
        pytest.skip(f"no Slurm to start: {reason}")


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Site:
    """The daemons; commands of Slurm find them through SLURM_CONF."""

    def __init__(self, folder: Path, slots: int) -> None:
        self.folder, self.slots = folder, slots
        self.host = socket.gethostname().split(".")[0]
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        ports = {"port": free_port(), "node_port": free_port()}
        config = self.folder / "slurm.conf"
        config.write_text(
            CONFIG.format(host=self.host, folder=self.folder, slots=self.slots, **ports)
        )
        os.environ["SLURM_CONF"] = str(config)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self._munge(key)
        self._daemon("slurmctld", "-D", "-i", "-f", str(config))
        self._daemon("slurmd", "-D", "-N", self.host, "-f", str(config))
        self.wait_until_up()

    def _munge(self, key: Path) -> None:
        (self.folder / "munge").mkdir(mode=0o700)
        self._daemon(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={self.folder}/munge.socket",
            f"--pid-file={self.folder}/munge/munged.pid",
            f"--log-file={self.folder}/munge/munged.log",
            f"--seed-file={self.folder}/munge/munged.seed",
        )

    def _daemon(self, name: str, *arguments: str) -> None:
        program = _find(name)
        assert program is not None
        with (self.folder / f"{name}.out").open("wb") as out:
            self.processes.append(subprocess.Popen([program, *arguments], stdout=out, stderr=out))

    def wait_until_up(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.state() in {"idle", "mixed", "allocated"}:
                return
            time.sleep(0.3)
        logs = "\n".join(p.read_text(errors="replace")[-1500:] for p in self.folder.glob("*.log"))
        raise AssertionError(f"Slurm did not start: {self.state()}\n{logs}")

    def state(self) -> str:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False
        )
        return done.stdout.strip().rstrip("*$~#")

    def command(self, *words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def jobs(self) -> list[str]:
        listed = self.command("squeue", "--noheader", "--states=R,PD,CG", "--format=%i")
        return listed.split()

    def running(self) -> list[str]:
        return self.command("squeue", "--noheader", "--states=R", "--format=%i").split()

    def stop(self) -> None:
        for job in self.jobs():
            subprocess.run(["scancel", "--signal=KILL", job], check=False)
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        os.environ.pop("SLURM_CONF", None)


def main() -> int:
    """Run the command of the arguments beside a Slurm; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bjerrum-slurm-") as folder:
        site = Site(Path(folder) / "site", slots=given.slots)
        try:
            site.start()
            return subprocess.run(given.command, check=False).returncode
        finally:
            site.stop()


if __name__ == "__main__":
    sys.exit(main())
