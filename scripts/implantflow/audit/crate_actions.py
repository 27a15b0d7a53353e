"""Actions of the crate: the workflow's run, its jobs, the decisions, each on the versions of the files it had."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from implantflow.audit.gates import GateState
from implantflow.audit.history import Run, mapping, reviews
from implantflow.audit.verify import Verification
from implantflow.review.gate import Approver

SOFTWARE_ID = "#implantflow"
#: The crate's copy of the workflow; rules and library are those of the recorded commit.
WORKFLOW_ID = "Snakefile"

Entity = dict[str, Any]


def whole_run(verification: Verification, finals: Sequence[str]) -> list[Entity]:
    """The run of the workflow as one action: what came from outside, and where the case ends."""
    runs = verification.history.runs
    if not runs:
        return []
    writers = verification.history.writers
    made = {name for run in runs for name in run.outside_outputs}
    given = sorted({name for run in runs for name in run.outside_inputs} - made)
    ended = [run.ended for run in runs if run.ended >= 0]
    waiting = sorted(run.key for run in verification.history.last.values() if not run.done)
    entity: Entity = {
        "@id": "#workflow-run",
        "@type": "CreateAction",
        "name": f"case {verification.case}",
        "description": "The run of the workflow as a whole, from its first job to its last.",
        "instrument": {"@id": WORKFLOW_ID},
        "agent": {"@id": account_id(runs[0])},
        "startTime": iso(min(run.started for run in runs)),
        **({"endTime": iso(max(ended))} if ended else {}),
        "actionStatus": status(not waiting),
        "object": [{"@id": outside_id(name)} for name in given],
        "result": [in_force(name, writers) for name in sorted(finals) if name in writers],
    }
    if waiting:
        entity["error"] = f"not finished: {', '.join(waiting)}"
    return [entity]


def action(run: Run) -> Entity:
    """One run of a job, failed ones with the reason."""
    entity: Entity = {
        "@id": f"#entry-{run.sequence}",
        "@type": "CreateAction",
        "name": run.key,
        "description": f"{run.function}, code {run.code_digest[:12]}",
        "instrument": {"@id": SOFTWARE_ID},
        "agent": {"@id": account_id(run)},
        "startTime": iso(run.started),
        # A job that was killed has no end that anybody saw.
        **({"endTime": iso(run.ended)} if run.ended >= 0 else {}),
        "actionStatus": status(run.done),
        "object": named(run.inputs) + [{"@id": outside_id(n)} for n in sorted(run.outside_inputs)],
        "result": named(run.outputs) + [{"@id": outside_id(n)} for n in sorted(run.outside_outputs)],
    }
    if not run.done:
        entity["error"] = f"{run.status}: {run.reason}"
    return entity


def decision(state: GateState, person: Approver, writers: Mapping[str, Run]) -> Entity:
    """An approval that opened a gate."""
    gate = state.record
    return {
        # By the gate's file: two release gates have the same gate and item.
        "@id": f"#gate-{state.path}-{person.id}",
        "@type": "AcceptAction",
        "name": f"{person.decision}: {gate.item}",
        "description": f"{person.meaning} {person.reason}",
        "agent": {"@id": person_id(person.id)},
        "endTime": person.time,
        "actionStatus": status(True),
        "object": named(gate.subjects),
        **({"result": in_force(state.path, writers)} if state.path in writers else {}),
    }


def signed_events(verification: Verification) -> list[Entity]:
    """Every decision the ledger recorded, refusals and corrections included."""
    found = []
    for number, entry in enumerate(reviews(verification.records)):
        accepted = entry.get("decision") == "approve"
        found.append(
            {
                "@id": f"#review-{number}",
                "@type": "AcceptAction" if accepted else "RejectAction",
                "name": f"{entry.get('decision')}: {entry.get('item')}",
                "description": str(entry.get("reason")),
                "agent": {"@id": person_id(str(entry.get("reviewer")))},
                "endTime": str(entry.get("time")),
                "object": named(dict(subjects(entry))),
            }
        )
    return found


def subjects(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path in the case and sha256 of every file that a recorded decision was about."""
    for name, sha256 in mapping(entry.get("subjects")).items():
        yield str(name), str(sha256)


def named(files: Mapping[str, str]) -> list[dict[str, str]]:
    """References to files by path and digest."""
    return [{"@id": file_id(name, sha256)} for name, sha256 in sorted(files.items())]


def in_force(name: str, writers: Mapping[str, Run]) -> dict[str, str]:
    """Reference to the version of a file that its last successful job wrote."""
    return {"@id": file_id(name, writers[name].outputs[name])}


def file_id(name: str, sha256: str) -> str:
    """RFC 6920: the digest in base64url without padding; the path tells files of the same content apart."""
    try:
        digest = base64.urlsafe_b64encode(bytes.fromhex(sha256)).rstrip(b"=").decode()
    except ValueError:  # no digest: a ledger may have been tampered with, and the chain check tells
        digest = quote(sha256, safe="")
    return f"ni:///sha-256;{digest}?path={quote(name)}"


def outside_id(name: str) -> str:
    """Id of what the case read or wrote outside its folder, by its path as recorded."""
    return f"#outside/{quote(name.lstrip('/'))}"


def person_id(reviewer: str) -> str:
    """Id of a reviewer, by the short name in the registry."""
    return f"#person-{reviewer}"


def account_id(run: Run) -> str:
    """Id of the account that ran a job, by user and host."""
    return f"#account-{quote(str(run.record.get('user')))}-{quote(str(run.record.get('host')))}"


def status(done: bool) -> str:
    """schema.org's ActionStatusType."""
    return f"http://schema.org/{'CompletedActionStatus' if done else 'FailedActionStatus'}"


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(max(seconds, 0.0), UTC).isoformat(timespec="seconds")


def now() -> str:
    """The present as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
