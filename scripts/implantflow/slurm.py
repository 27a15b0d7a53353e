"""Before anything is submitted to Slurm: could every job start at all?

Slurm takes a job that asks for more than any node has and keeps it waiting for ever, without a word.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from implantflow.errors import MachineError

#: Shown of a list of jobs that cannot start.
_SHOWN = 5


@dataclass(frozen=True)
class Node:
    """What one node offers in one partition."""

    partition: str
    cpus: int
    memory_mb: int


@dataclass(frozen=True)
class Request:
    """What one submitted job (a rule, or a group of them) asks of one node."""

    name: str
    cpus: int
    memory_mb: int
    partition: str | None = None


def nodes() -> list[Node]:
    """The nodes of all partitions, whatever their state now.

    Raises
    ------
    MachineError
        Slurm does not answer.
    """
    try:
        said = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%R %c %m"],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip()
        raise MachineError(
            f"Slurm does not answer: {reason}",
            fix="run this where sinfo and sbatch work (a login node), or without --workflow-profile profiles/slurm",
        ) from error
    return [_node(line) for line in said.splitlines() if line.strip()]


def check_fit(requests: Iterable[Request], offered: list[Node]) -> None:
    """Refuse before submitting what would wait for ever.

    Raises
    ------
    MachineError
        Some job asks for more CPUs or memory than any node (of its partition) has; all such jobs are named.
    """
    lost = [r for r in requests if not any(_fits(r, node) for node in offered)]
    if not lost:
        return
    largest = max(offered, key=lambda node: (node.memory_mb, node.cpus), default=Node("none", 0, 0))
    told = "; ".join(f"{r.name} asks {r.cpus} CPUs and {r.memory_mb} MB" for r in lost[:_SHOWN])
    more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    raise MachineError(
        f"{len(lost)} job(s) could never start: {told}{more}",
        where=f"the largest node has {largest.cpus} CPUs and {largest.memory_mb} MB (partition {largest.partition})",
        fix="fewer --cores (the most a job asks for), another partition (--default-resources "
        "slurm_partition=NAME), or a larger node; nothing was submitted",
    )


def _fits(request: Request, node: Node) -> bool:
    here = request.partition in (None, node.partition)
    return here and request.cpus <= node.cpus and request.memory_mb <= node.memory_mb


def _node(line: str) -> Node:
    partition, cpus, memory = line.split()
    return Node(partition, int(cpus.rstrip("+")), int(memory.rstrip("+")))
