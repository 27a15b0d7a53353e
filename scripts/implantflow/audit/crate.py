"""The ledger as RO-Crate metadata (Workflow Run Crate): the workflow's run, its jobs with their outcome, decisions.

Sources: RO-Crate 1.1; Process Run Crate 0.5 and Workflow Run Crate 0.5 (Workflow Run RO-Crate working group);
Workflow RO-Crate 1.0. Written by hand as
JSON-LD: it is a plain export of what the ledger and the gate records say. The crate's root is the folder
``audit``, so files of the case are named relative to it (``../segment/labels.nii.gz``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from implantflow.audit.gates import GateState
from implantflow.audit.history import Run, mapping, reviews
from implantflow.audit.verify import Verification

METADATA_NAME = "ro-crate-metadata.json"
PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
#: The crate's copy of the workflow; rules and library are those of the recorded commit.
WORKFLOW_ID = "Snakefile"
LANGUAGE_ID = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
]
SOFTWARE_ID = "#implantflow"
LICENCE = (
    "The project's licence covers its code; whoever owns the patient's data decides about these results."
)

Entity = dict[str, Any]

_MEDIA_TYPES = {
    ".json": "application/json",
    ".stl": "model/stl",
    ".3mf": "model/3mf",
    ".html": "text/html",
    ".yaml": "application/yaml",
    ".gz": "application/gzip",
    ".parquet": "application/vnd.apache.parquet",
}


def make_crate(verification: Verification, purpose: str, finals: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON-LD document; every run is an action, failed ones included.

    A file that was made again belongs to the action that made it last; the earlier action says by which one
    it was superseded.

    Parameters
    ----------
    finals : paths relative to the case
        The files in which the case ends: results of the workflow's run as a whole.
    """
    files = _files(verification)
    actions = [_action(run, verification) for run in verification.history.runs]
    decisions = [_decision(state, i) for state in verification.gates for i in _numbers(state)]
    decisions += _signed_events(verification)
    whole = _whole_run(verification, finals)
    people = _people(verification)
    data = [entity for entity in files if entity["@id"].startswith("../")]
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"implantflow case {verification.case}",
        "description": f"Patient-specific implant, purpose: {purpose}."
        + ("" if purpose == "clinical" else " NOT FOR CLINICAL USE."),
        "datePublished": str(verification.records[-1].get("recorded")) if verification.records else _now(),
        "license": LICENCE,
        "conformsTo": [{"@id": profile} for profile, _, _ in PROFILES],
        "mainEntity": {"@id": WORKFLOW_ID},
        "hasPart": [{"@id": WORKFLOW_ID}, *({"@id": entity["@id"]} for entity in data)],
        "mentions": [{"@id": entity["@id"]} for entity in [*whole, *actions, *decisions]],
    }
    descriptor: Entity = {
        "@id": METADATA_NAME,
        "@type": "CreativeWork",
        "conformsTo": [
            {"@id": "https://w3id.org/ro/crate/1.1"},
            {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
        ],
        "about": {"@id": "./"},
    }
    profiles = [{"@id": i, "@type": "CreativeWork", "name": n, "version": v} for i, n, v in PROFILES]
    made_with = [*_workflow(verification), _software(verification)]
    graph = [descriptor, root, *profiles, *made_with, *people, *files, *whole, *actions, *decisions]
    return {"@context": CONTEXT, "@graph": graph}


def _workflow(verification: Verification) -> list[Entity]:
    """The workflow as the crate's main entity, and its language."""
    versions = mapping(verification.records[-1].get("versions")) if verification.records else {}
    workflow: Entity = {
        "@id": WORKFLOW_ID,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "implantflow, from a patient's scans to an implant and its follow-up",
        "programmingLanguage": {"@id": LANGUAGE_ID},
        "version": str(versions.get("implantflow")),
    }
    language: Entity = {
        "@id": LANGUAGE_ID,
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "alternateName": "SMK",
        "identifier": {"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
        "url": {"@id": "https://snakemake.readthedocs.io"},
        "version": str(versions.get("snakemake")),
    }
    return [workflow, language]


def _whole_run(verification: Verification, finals: Sequence[str]) -> list[Entity]:
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
        "instrument": {"@id": WORKFLOW_ID},
        "agent": {"@id": _account_id(runs[0])},
        "startTime": _iso(min(run.started for run in runs)),
        **({"endTime": _iso(max(ended))} if ended else {}),
        "actionStatus": {
            "@id": f"http://schema.org/{'FailedActionStatus' if waiting else 'CompletedActionStatus'}"
        },
        "object": [{"@id": _outside_id(name)} for name in given],
        "result": [{"@id": _file_id(name)} for name in sorted(finals) if name in writers],
    }
    if waiting:
        entity["error"] = f"not finished: {', '.join(waiting)}"
    return [entity]


def _software(verification: Verification) -> Entity:
    versions = mapping(verification.records[-1].get("versions")) if verification.records else {}
    code = mapping(verification.records[-1].get("code")) if verification.records else {}
    return {
        "@id": SOFTWARE_ID,
        "@type": "SoftwareApplication",
        "name": "implantflow",
        "softwareVersion": str(versions.get("implantflow")),
        "identifier": f"git commit {code.get('commit')}",
        "softwareRequirements": [f"{k} {v}" for k, v in sorted(versions.items()) if v and k != "implantflow"],
    }


def _files(verification: Verification) -> list[Entity]:
    """What is in force inside the case, and what it read from outside (those are not part of the crate)."""
    found = {}
    for name, writer in sorted(verification.history.writers.items()):
        path = Path(name)
        found[_file_id(name)] = {
            "@id": _file_id(name),
            "@type": "File",
            "name": name,
            "sha256": writer.outputs[name],
            "encodingFormat": _MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        }
    for run in verification.history.runs:
        for name, sha256 in {**run.outside_inputs, **run.outside_outputs}.items():
            entity_id = _outside_id(name)
            found[entity_id] = {"@id": entity_id, "@type": "CreativeWork", "name": name, "sha256": sha256}
    return list(found.values())


def _action(run: Run, verification: Verification) -> Entity:
    writers = verification.history.writers
    current = [name for name in run.outputs if writers[name] is run]
    superseded = sorted({writers[name].sequence for name in run.outputs if writers[name] is not run})
    entity: Entity = {
        "@id": f"#entry-{run.sequence}",
        "@type": "CreateAction",
        "name": run.key,
        "description": f"{run.function}, code {run.code_digest[:12]}",
        "instrument": {"@id": SOFTWARE_ID},
        "agent": {"@id": _account_id(run)},
        "startTime": _iso(run.started),
        # A job that was killed has no end that anybody saw.
        **({"endTime": _iso(run.ended)} if run.ended >= 0 else {}),
        "actionStatus": {
            "@id": f"http://schema.org/{'CompletedActionStatus' if run.done else 'FailedActionStatus'}"
        },
        "object": [{"@id": _file_id(n)} for n in sorted(run.inputs) if n in writers]
        + [{"@id": _outside_id(n)} for n in sorted(run.outside_inputs)],
        "result": [{"@id": _file_id(n)} for n in sorted(current)]
        + [{"@id": _outside_id(n)} for n in sorted(run.outside_outputs)],
    }
    if not run.done:
        entity["error"] = f"{run.status}: {run.reason}"
    if superseded:
        entity["description"] += f"; files made again by entries {', '.join(map(str, superseded))}"
    return entity


def _numbers(state: GateState) -> range:
    return range(len(state.record.reviewers))


def _decision(state: GateState, number: int) -> Entity:
    """An approval that opened a gate."""
    gate, person = state.record, state.record.reviewers[number]
    return {
        # By the gate's file: two release gates have the same gate and item.
        "@id": f"#gate-{state.path}-{person.id}",
        "@type": "AcceptAction",
        "name": f"{person.decision}: {gate.item}",
        "description": f"{person.meaning} {person.reason}",
        "agent": {"@id": _person_id(person.id)},
        "endTime": person.time,
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        "object": [{"@id": _file_id(name)} for name in gate.subjects],
        "result": {"@id": _file_id(state.path)},
    }


def _signed_events(verification: Verification) -> list[Entity]:
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
                "agent": {"@id": _person_id(str(entry.get("reviewer")))},
                "endTime": str(entry.get("time")),
                "object": [
                    {"@id": _file_id(str(name))}
                    for name in mapping(entry.get("subjects"))
                    if name in verification.history.writers
                ],
            }
        )
    return found


def _people(verification: Verification) -> list[Entity]:
    found: dict[str, Entity] = {}
    for run in verification.history.runs:
        user, host = run.record.get("user"), run.record.get("host")
        account = _account_id(run)
        found[account] = {"@id": account, "@type": "Person", "name": f"account {user} on {host}"}
    for state in verification.gates:
        for person in state.record.reviewers:
            found[_person_id(person.id)] = _person(person.id, person.name, person.role)
    for entry in reviews(verification.records):
        reviewer = str(entry.get("reviewer"))
        found[_person_id(reviewer)] = _person(reviewer, str(entry.get("name")), str(entry.get("role")))
    return list(found.values())


def _person(reviewer: str, name: str, role: str) -> Entity:
    return {"@id": _person_id(reviewer), "@type": "Person", "name": name, "jobTitle": role}


def _file_id(name: str) -> str:
    return f"../{quote(name)}"


def _outside_id(name: str) -> str:
    return f"#outside/{quote(name.lstrip('/'))}"


def _person_id(reviewer: str) -> str:
    return f"#person-{reviewer}"


def _account_id(run: Run) -> str:
    return f"#account-{quote(str(run.record.get('user')))}-{quote(str(run.record.get('host')))}"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(max(seconds, 0.0), UTC).isoformat(timespec="seconds")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
