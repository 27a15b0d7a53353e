"""A cluster tries lost jobs again; what the attempt before was refused is not computed a second time.

Jobs that are submitted together fail together, and Snakemake starts all of them again. A refusal lies in the case: it
would only be found once more.
"""

from __future__ import annotations

from implantflow import errors
from implantflow.audit.history import mapping
from implantflow.jobrecord import JobRecord


def refuse_again(record: JobRecord) -> None:
    """Say what the attempt before said, if that had the same inputs, settings and code.

    Raises
    ------
    ImplantflowError
        The attempt before was refused, for a reason that lies in the case.
    """
    before = record.same_run_before()
    if before is None or before.done:
        return
    outcome = mapping(mapping(before.record["entry"]).get("outcome"))
    kind = getattr(errors, str(outcome.get("error")), None)
    if kind is not None and not issubclass(kind, errors.MachineError):
        raise kind(before.reason, where=str(outcome.get("where")), fix=str(outcome.get("next")))
