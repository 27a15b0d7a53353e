"""The trail as one offline HTML page that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implantflow.audit.chain import describe
from implantflow.audit.history import Run, mapping
from implantflow.audit.trace import trace
from implantflow.audit.verify import Verification


@dataclass(frozen=True)
class Row:
    """One ledger entry as the page shows it."""

    sequence: int
    what: str
    outcome: str
    reason: str
    when: str
    seconds: str
    who: str
    code: str
    digest: str
    in_force: bool
    read: list[tuple[str, str]]
    wrote: list[tuple[str, str]]


def render(verification: Verification, purpose: str, case_dir: Path) -> str:
    """The page; everything from outside (names, reasons, error texts) is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    runs = {run.sequence: run for run in verification.history.runs}
    return environment.get_template("trace.html.j2").render(
        v=verification,
        purpose=purpose,
        rows=[_row(record, runs, verification) for record in verification.records],
        trace=trace(verification, case_dir),
        versions=mapping(verification.records[-1].get("versions")) if verification.records else {},
    )


def _row(record: dict[str, Any], runs: dict[int, Run], verification: Verification) -> Row:
    entry = mapping(record.get("entry"))
    sequence = int(record.get("sequence", -1))
    run = runs.get(sequence)
    return Row(
        sequence=sequence,
        what=run.key if run else describe(record),
        outcome=run.status if run else str(entry.get("event")),
        reason=run.reason if run else str(entry.get("reason") or entry.get("what") or ""),
        when=str(record.get("recorded"))[:19].replace("T", " "),
        seconds=f"{run.seconds:.1f}" if run and run.seconds >= 0 else "",
        who=_who(record, entry),
        code=_code(record, run),
        digest=str(record.get("sha256")),
        in_force=run is not None and verification.in_force.get(run.key) is run,
        read=sorted({**run.inputs, **run.outside_inputs}.items()) if run else [],
        wrote=sorted({**run.outputs, **run.outside_outputs}.items() if run else _review_files(entry)),
    )


def _review_files(entry: Any) -> list[tuple[str, str]]:
    if "record" not in entry:
        return []
    return [(str(entry["record"]), str(entry.get("record_sha256")))]


def _who(record: dict[str, Any], entry: Any) -> str:
    account = f"{record.get('user')} on {record.get('host')}"
    if entry.get("event") == "review":
        return f"{entry.get('name')} ({entry.get('role')}), {account}"
    return account


def _code(record: dict[str, Any], run: Run | None) -> str:
    state = mapping(record.get("code"))
    commit = str(state.get("commit") or "no commit")[:10]
    changed = ", changed" if state.get("dirty") else ""
    return f"{commit}{changed}" + (f"; {run.code_digest[:8]}" if run else "")
