"""What the records of a ledger say about a case: which run of each job is the last, who wrote which file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One recorded run of a job.

    Attributes
    ----------
    inputs, outputs : mapping
        Path relative to the case -> sha256.
    seconds : float
        By a clock that does not jump; -1 where the run was killed.
    outside_inputs, outside_outputs : mapping
        Path as the job was given it -> sha256, for files that do not lie in the case's folder.
    """

    sequence: int
    key: str
    rule: str
    function: str
    status: str
    reason: str
    code_digest: str
    started: float
    ended: float
    seconds: float
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    outside_inputs: Mapping[str, str]
    outside_outputs: Mapping[str, str]
    record: Record = field(repr=False)

    @property
    def done(self) -> bool:
        return self.status == "done"

    def read(self, case_dir: Path) -> dict[str, str]:
        """Path as the job was given it -> sha256 of everything it read."""
        return {(case_dir / n).as_posix(): s for n, s in self.inputs.items()} | dict(self.outside_inputs)

    def wrote(self, case_dir: Path) -> dict[str, str]:
        """Path as the job was given it -> sha256 of everything it wrote."""
        return {(case_dir / n).as_posix(): s for n, s in self.outputs.items()} | dict(self.outside_outputs)


@dataclass(frozen=True)
class History:
    """A ledger read as the story of its case."""

    runs: Sequence[Run]
    #: job key -> its last run, whatever its outcome
    last: Mapping[str, Run]
    #: path relative to the case -> the last successful run that wrote it
    writers: Mapping[str, Run]

    def runs_of_record(self, path: str, sha256: str) -> list[Run]:
        """All successful runs that wrote ``path`` with that content, oldest first."""
        return [run for run in self.runs if run.done and run.outputs.get(path) == sha256]

    def fallen(self, path: str) -> Run | None:
        """The later failed run that took the file away again, or None when its maker's last run succeeded."""
        writer = self.writers[path]
        last = self.last[writer.key]
        return last if not last.done and last.sequence > writer.sequence else None


def job_key(entry: Mapping[str, Any]) -> str:
    """Rule and wildcards, as in :attr:`implantflow.jobs.Job.key`."""
    wildcards = mapping(entry.get("wildcards"))
    values = [str(value) for name, value in sorted(wildcards.items()) if name != "case"]
    return ".".join([str(entry.get("rule")), *values])


def read_history(records: Iterable[Record]) -> History:
    """Order the job entries of a ledger; entries of other kinds and of odd shape are passed over."""
    runs = [_run(r) for r in records if mapping(r.get("entry")).get("event") == "job"]
    last = {run.key: run for run in runs}
    writers = {path: run for run in runs if run.done for path in run.outputs}
    return History(runs, last, writers)


def reviews(records: Iterable[Record]) -> list[Mapping[str, Any]]:
    """The entries that :func:`implantflow.review.command.sign` made, oldest first."""
    entries = [mapping(record.get("entry")) for record in records]
    return [entry for entry in entries if entry.get("event") == "review"]


def _run(record: Record) -> Run:
    entry = mapping(record.get("entry"))
    outcome = mapping(entry.get("outcome"))
    inputs, outputs = mapping(entry.get("inputs")), mapping(entry.get("outputs"))
    return Run(
        sequence=int(_number(record.get("sequence"))),
        key=job_key(entry),
        rule=str(entry.get("rule")),
        function=str(entry.get("function")),
        status=str(outcome.get("status")),
        reason=str(outcome.get("reason") or ""),
        code_digest=str(entry.get("code_digest")),
        started=_number(entry.get("started")),
        ended=_number(entry.get("ended")),
        seconds=_number(entry.get("seconds")),
        settings=mapping(entry.get("settings")),
        inputs=_digests(inputs.get("case")),
        outputs=_digests(outputs.get("case")),
        outside_inputs=_digests(inputs.get("outside")),
        outside_outputs=_digests(outputs.get("outside")),
        record=record,
    )


def _digests(value: Any) -> dict[str, str]:
    return {str(path): str(sha256) for path, sha256 in mapping(value).items()}


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one."""
    # A ledger may have been tampered with: what is not a mapping reads as empty, and the chain check tells.
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else -1.0
