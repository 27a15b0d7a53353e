"""Walk the hash chain of a ledger line by line and say exactly where it breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from implantflow import artifacts
from implantflow.audit import ledger
from implantflow.audit.findings import Findings
from implantflow.errors import ProvenanceError


def check_chain(case_dir: Path, findings: Findings) -> list[dict[str, Any]]:
    """Check every line and the head; return the records that can be read.

    An entry edited, removed, inserted, reordered, taken from another case, or cut off at the end is a
    problem.
    """
    path = case_dir / "audit" / ledger.LEDGER
    if not path.is_file():
        findings.problem("ledger", f"audit/{ledger.LEDGER}", "there is no ledger: nothing can be verified")
        return []
    records: list[dict[str, Any]] = []
    expected, previous = 0, ledger.GENESIS
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            where = f"audit/{ledger.LEDGER}, line {number}"
            record = _readable(line, where, findings)
            if record is None:
                # The next line names a digest that can no longer be followed; its own sequence shows the gap.
                expected, previous = expected + 1, ""
                continue
            _check_line(record, line, where, findings)
            _check_link(record, expected, previous, where, findings)
            sequence = record.get("sequence")
            expected = (sequence if isinstance(sequence, int) else expected) + 1
            previous = str(record.get("sha256"))
            records.append(record)
    _check_one_case(case_dir, records, findings)
    _check_end(case_dir, records, findings)
    return records


def _readable(line: bytes, where: str, findings: Findings) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        findings.problem(
            "ledger", where, "the last line has no end: a writer was killed (the next job sets it aside)"
        )
        return None
    try:
        return ledger.parse_line(line, where)
    except ProvenanceError as error:
        findings.problem("ledger", where, error.what)
        return None


def _check_line(record: dict[str, Any], line: bytes, where: str, findings: Findings) -> None:
    said = f"entry {record.get('sequence')} ({describe(record)})"
    try:
        genuine = ledger.digest(record) == record.get("sha256")
        canonical = artifacts.canonical_json(record) + b"\n" == line
    except (ValueError, TypeError, RecursionError):
        genuine = canonical = False
    if not genuine:
        findings.problem("ledger", where, f"{said} was edited: it does not have the digest it carries")
    elif not canonical:
        findings.problem("ledger", where, f"{said} was rewritten: it is not in canonical form")


def _check_link(record: dict[str, Any], expected: int, previous: str, where: str, findings: Findings) -> None:
    sequence = record.get("sequence")
    if sequence != expected:
        findings.problem(
            "ledger",
            where,
            f"entry {sequence} where entry {expected} belongs: removed, inserted or reordered",
        )
    elif previous and record.get("previous") != previous:
        findings.problem(
            "ledger", where, f"entry {sequence} does not follow the entry above it: one of them was exchanged"
        )


def _check_one_case(case_dir: Path, records: list[dict[str, Any]], findings: Findings) -> None:
    names = sorted({str(record.get("case")) for record in records})
    if len(names) > 1:
        findings.problem(
            "ledger", f"audit/{ledger.LEDGER}", f"entries of more than one case: {', '.join(names)}"
        )
    elif names and names[0] != case_dir.resolve().name:
        findings.note(
            "ledger", f"audit/{ledger.LEDGER}", f"the ledger of case {names[0]}, in a renamed folder"
        )


def _check_end(case_dir: Path, records: list[dict[str, Any]], findings: Findings) -> None:
    where = f"audit/{ledger.HEAD}"
    try:
        head = ledger.read_head(case_dir)
    except ProvenanceError as error:
        findings.problem("ledger", where, error.what)
        return
    if head is None:
        findings.problem("ledger", where, "the file that names the last entry is missing")
        return
    last = records[-1] if records else {}
    if last.get("sequence") == head.sequence and last.get("sha256") == head.sha256:
        return
    end = f"the ledger ends with entry {last['sequence']}" if "sequence" in last else "the ledger is empty"
    findings.problem(
        "ledger",
        where,
        f"{end}, but its last entry should be {head.sequence} with digest {head.sha256[:12]}: "
        "truncated, or exchanged for another",
    )


def describe(record: dict[str, Any]) -> str:
    """An entry in two or three words, e.g. ``segment_bones done``."""
    entry = record.get("entry")
    if not isinstance(entry, dict):
        return "unknown"
    if entry.get("event") == "job":
        outcome = entry.get("outcome")
        status = outcome.get("status") if isinstance(outcome, dict) else None
        return f"{entry.get('rule')} {status}"
    if entry.get("event") == "review":
        return f"review of {entry.get('item')}: {entry.get('decision')}"
    return str(entry.get("event"))
