"""A Slurm of one node on this machine, from Debian's packages slurm-wlm and munge, for tests and measurements.

Needs root: Slurm's programs read ``/etc/slurm/slurm.conf`` whatever the environment says (its inner ``srun`` drops
``SLURM_CONF``), so a link to ours lies there while the cluster is up.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SETTINGS = Path("/etc/slurm/slurm.conf")
START_S = 30.0

TEXT = """\
ClusterName=implantflow
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdTimeout=10
InactiveLimit=0
KillWait=5
MinJobAge=600
ReturnToService=2
SchedulerParameters=sched_interval=5,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP OverTimeLimit=0
"""


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurm-wlm, munge)"
    if os.geteuid() != 0:
        return "the one-node Slurm of the tests needs root"
    if SETTINGS.exists() and not SETTINGS.is_symlink():
        return f"{SETTINGS} belongs to a cluster of this machine"
    return None


@dataclass
class Cluster:
    """A running cluster; its files lie in ``folder``."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_node(self) -> None:
        """Start slurmd (again) and wait until the node takes jobs."""
        host = socket.gethostname().split(".")[0]
        self.processes["slurmd"] = _spawn("slurmd", "-D", "-N", host)
        self._wait(("sinfo", "-h", "-o", "%T"), lambda said: said.strip() in ("idle", "mixed", "allocated"))

    def kill_node(self) -> None:
        """kill -9 slurmd and everything that runs below it, as when a node loses its power."""
        self.processes.pop("slurmd").kill()
        subprocess.run(["pkill", "-9", "slurmstepd"], check=False)

    def squeue(self, *arguments: str) -> str:
        return subprocess.run(["squeue", "-h", *arguments], capture_output=True, text=True, check=True).stdout

    def submitted(self) -> int:
        """How many jobs have been submitted since the start."""
        said = subprocess.run(["scontrol", "-o", "show", "jobs"], capture_output=True, text=True, check=True)
        return sum(line.startswith("JobId=") for line in said.stdout.splitlines())

    def _wait(self, command: tuple[str, ...], ready) -> None:  # type: ignore[no-untyped-def]
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            said = subprocess.run(command, capture_output=True, text=True)
            if said.returncode == 0 and ready(said.stdout):
                return
            time.sleep(0.2)
        logs = "\n".join(path.read_text()[-1500:] for path in sorted(self.folder.glob("*.log")))
        raise RuntimeError(f"{command[0]} is not ready after {START_S:.0f} s:\n{logs}")


@contextlib.contextmanager
def running(folder: Path, *, cpus: int = 2, memory_mb: int = 8000) -> Iterator[Cluster]:
    """Start munged, slurmctld and slurmd in ``folder``; end them, and whatever they run, on the way out."""
    folder.mkdir(parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    settings = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    facts = {"host": host, "folder": folder, "cpus": cpus, "memory_mb": memory_mb, "ports": _free_ports(2)}
    settings.write_text(TEXT.format(**facts))
    SETTINGS.parent.mkdir(exist_ok=True)
    SETTINGS.unlink(missing_ok=True)
    SETTINGS.symlink_to(settings)
    cluster = Cluster(folder)
    try:
        cluster.processes["munged"] = _spawn("munged", "-F", "-f", f"--socket={folder}/munge.socket",
            f"--key-file={folder}/munge.key", f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed")  # fmt: skip
        cluster._wait(("munge", f"--socket={folder}/munge.socket", "-n"), lambda said: bool(said))
        cluster.processes["slurmctld"] = _spawn("slurmctld", "-D", "-c")
        cluster._wait(("scontrol", "ping"), lambda said: "UP" in said)
        cluster.start_node()
        yield cluster
    finally:
        subprocess.run(["scancel", "--user", "root"], capture_output=True)
        for process in reversed(cluster.processes.values()):
            process.terminate()
        for process in cluster.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        SETTINGS.unlink(missing_ok=True)


def _spawn(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
