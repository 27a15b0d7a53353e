"""The ledger as RO-Crate metadata (Workflow Run Crate): the workflow's run, its jobs with their outcome, decisions.

Sources: RO-Crate 1.1; Process Run Crate 0.5 and Workflow Run Crate 0.5 (Workflow Run RO-Crate working group);
Workflow RO-Crate 1.0. Written by hand as
JSON-LD: it is a plain export of what the ledger and the gate records say.

The crate's root is the folder ``audit``. A crate may hold only what lies below its root, so files of the case are
entities by their digest (``ni`` URIs, RFC 6920, with the path): every version that a job read or wrote is one, and
``contentUrl`` says where those in force lie (``../segment/labels.nii.gz``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from implantflow.audit.crate_actions import (
    SOFTWARE_ID,
    WORKFLOW_ID,
    Entity,
    account_id,
    action,
    decision,
    file_id,
    now,
    outside_id,
    person_id,
    signed_events,
    subjects,
    whole_run,
)
from implantflow.audit.history import mapping, reviews
from implantflow.audit.verify import Verification
from implantflow.config.site import NOT_CLINICAL

METADATA_NAME = "ro-crate-metadata.json"
PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
LANGUAGE_ID = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
]
LICENCE = {
    "@id": "#licence",
    "@type": "CreativeWork",
    "name": "No licence is granted on these results",
    "description": "The project's licence covers its code; who owns the patient's data decides about these results.",
}

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
    """The JSON-LD document; every run is an action, failed ones included, on the versions of the files it had.

    Parameters
    ----------
    finals : paths relative to the case
        The files in which the case ends: results of the workflow's run as a whole.
    """
    writers = verification.history.writers
    files = _files(verification)
    actions = [action(run) for run in verification.history.runs]
    decisions = [
        decision(state, person, writers) for state in verification.gates for person in state.record.reviewers
    ]
    decisions += signed_events(verification)
    whole = whole_run(verification, finals)
    people = _people(verification)
    data = [entity for entity in files if entity["@type"] == "File"]
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"implantflow case {verification.case}",
        "description": f"Patient-specific implant, purpose: {purpose}."
        + ("" if purpose == "clinical" else f" {NOT_CLINICAL}."),
        "datePublished": str(verification.records[-1].get("recorded")) if verification.records else now(),
        "license": {"@id": LICENCE["@id"]},
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
    graph = [descriptor, root, LICENCE, *profiles, *made_with, *people, *files, *whole, *actions, *decisions]
    return {"@context": CONTEXT, "@graph": [_plain(entity) for entity in graph]}


def _plain(entity: Entity) -> Entity:
    """Lists of one as the one, no empty lists: as RO-Crate 1.1 recommends."""
    return {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in entity.items() if v != []}


def _workflow(verification: Verification) -> list[Entity]:
    """The workflow as the crate's main entity, and its language."""
    versions = mapping(verification.records[-1].get("versions")) if verification.records else {}
    workflow: Entity = {
        "@id": WORKFLOW_ID,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "implantflow, from a patient's scans to an implant and its follow-up",
        "encodingFormat": "text/plain",
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
    """Every version of a file that a record names, and what the case read from outside (not part of the crate)."""
    writers = verification.history.writers
    found: dict[str, Entity] = {}
    for name, sha256 in _versions(verification):
        entity_id = file_id(name, sha256)
        found[entity_id] = {
            "@id": entity_id,
            "@type": "File",
            "name": name,
            "sha256": sha256,
            "encodingFormat": _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream"),
        }
        if name in writers and writers[name].outputs[name] == sha256:
            found[entity_id]["contentUrl"] = f"../{quote(name)}"
    for run in verification.history.runs:
        for name, sha256 in {**run.outside_inputs, **run.outside_outputs}.items():
            entity_id = outside_id(name)
            found[entity_id] = {"@id": entity_id, "@type": "CreativeWork", "name": name, "sha256": sha256}
    return list(found.values())


def _versions(verification: Verification) -> list[tuple[str, str]]:
    """(path in the case, sha256) that runs, gates and decisions name, sorted."""
    named: set[tuple[str, str]] = set()
    for run in verification.history.runs:
        named |= {*run.inputs.items(), *run.outputs.items()}
    for state in verification.gates:
        named |= set(state.record.subjects.items())
    for entry in reviews(verification.records):
        named |= set(subjects(entry))
    return sorted(named)


def _people(verification: Verification) -> list[Entity]:
    found: dict[str, Entity] = {}
    for run in verification.history.runs:
        user, host = run.record.get("user"), run.record.get("host")
        account = account_id(run)
        found[account] = {"@id": account, "@type": "Person", "name": f"account {user} on {host}"}
    for state in verification.gates:
        for person in state.record.reviewers:
            found[person_id(person.id)] = _person(person.id, person.name, person.role)
    for entry in reviews(verification.records):
        reviewer = str(entry.get("reviewer"))
        found[person_id(reviewer)] = _person(reviewer, str(entry.get("name")), str(entry.get("role")))
    return list(found.values())


def _person(reviewer: str, name: str, role: str) -> Entity:
    return {"@id": person_id(reviewer), "@type": "Person", "name": name, "jobTitle": role}
