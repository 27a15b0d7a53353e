"""A cluster tries a lost job again; what the attempt before had settled is neither computed nor refused twice.

Jobs that are submitted together fail together: Snakemake then starts all of them again, those that had finished and the
one that refused included. Only the job that was lost (killed, out of memory, its node gone) has something to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from implantflow import artifacts, errors
from implantflow.jobrecord import JobRecord


def settled(record: JobRecord, outputs: Iterable[Path]) -> bool:
    """Whether the attempt before finished this job, with the same inputs, and its outputs still are as it wrote them.

    Raises
    ------
    ImplantflowError
        The attempt before was refused, for a reason that lies in the case: it is said again.
    """
    before = record.same_run_before()
    if before is None:
        return False
    outcome = before["outcome"]
    if outcome["status"] == "done":
        now = {path.as_posix(): artifacts.sha256_path(path) for path in outputs if path.exists()}
        if now == before["outputs"]:
            record.leave_as_it_is()
            return True
        return False
    kind = getattr(errors, str(outcome["error"]), None)
    if kind is None or issubclass(kind, errors.MachineError):
        return False
    raise kind(str(outcome["reason"]), where=str(outcome["where"]), fix=str(outcome["next"]))
