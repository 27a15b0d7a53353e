"""Gates of a case: open where they must be, by genuine signatures over the files that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from implantflow.audit.files import Disk
from implantflow.audit.findings import Findings
from implantflow.audit.history import History, Record, Run, mapping, reviews
from implantflow.config.site import MIN_CLINICAL_SIGNATURES, Reviewer
from implantflow.errors import ImplantflowError, ReviewError
from implantflow.review.gate import APPROVED, REJECTED, SHUT, GateRecord, auto_decision, read_gate
from implantflow.review.inspection import read_inspection
from implantflow.review.statement import Statement, open_envelope, signing_key_id
from implantflow.review.subjects import inspections

GATE_FUNCTION = "implantflow.review.gate:check_gate"
RELEASE_FUNCTION = "implantflow.release.stage:release_case"

#: Stages whose work may only be done behind a gate (docs/architecture.md), whatever the pipeline's rules say.
GATE_BEFORE: Mapping[str, str] = {
    "tumour": "labels",
    "plan": "labels",
    "implant": "review",
    "build": "design",
}


@dataclass(frozen=True)
class GateState:
    """One gate as its record says, with the number of signatures that proved genuine."""

    record: GateRecord
    path: str
    signatures: int

    def as_json(self) -> dict[str, Any]:
        return {
            "gate": self.record.gate,
            "item": self.record.item,
            "path": self.path,
            "decision": self.record.decision,
            "unsigned": self.record.unsigned,
            "reviewers": [r.model_dump(mode="json") for r in self.record.reviewers],
            "valid_signatures": self.signatures,
        }


def check_gates(
    disk: Disk,
    history: History,
    records: Sequence[Record],
    in_force: Mapping[str, Run],
    registry: Sequence[Reviewer] | None,
    findings: Findings,
) -> list[GateState]:
    """Check each gate that stands, and that nothing was made without the gate it needs.

    Parameters
    ----------
    registry : sequence of Reviewer, or None
        To hold the signing keys against; see :func:`implantflow.audit.verify.examine_case`.
    """
    states = []
    for run in history.last.values():
        if run.function == GATE_FUNCTION and run.done:
            for path in run.outputs:
                if disk.sha256(path) is not None:
                    states.append(_check_gate(disk, records, path, registry, findings))
    found = sorted((s for s in states if s is not None), key=lambda s: s.path)
    _check_gates_passed(history, in_force, findings)
    _check_released(found, in_force, findings)
    if registry is None and any(s.record.envelopes for s in found):
        findings.note(
            "signature", "gates", "signing keys were not compared with the registry of a site config"
        )
    return found


def _check_gate(
    disk: Disk,
    records: Sequence[Record],
    path: str,
    registry: Sequence[Reviewer] | None,
    findings: Findings,
) -> GateState | None:
    try:
        gate = read_gate(disk.case_dir / path)
    except ImplantflowError as error:
        findings.problem("gate", path, error.what)
        return None
    for name, sha256 in gate.subjects.items():
        if disk.sha256(name) != sha256:
            findings.problem("gate", path, f"{name} is not the file that was decided about")
    if gate.gate == "release":
        _check_inspection(disk, gate, path, findings)
        if gate.decision in SHUT:
            _check_shut(gate, path, findings)
            return GateState(gate, path, 0)
    if gate.decision != (auto_decision(gate.purpose) if gate.unsigned else APPROVED):
        findings.problem("gate", path, f"the gate stands open with the decision '{gate.decision}'")
    if gate.unsigned and gate.purpose == "clinical":
        findings.problem("gate", path, "a gate of a clinical case was passed without a signature")
    statements = [] if gate.unsigned else _opened(gate, path, findings)
    for statement in statements:
        _check_statement(statement, gate, path, findings)
    if not gate.unsigned:
        _check_signatures_suffice(gate, statements, path, findings)
        _check_anchors(statements, records, path, findings)
    if registry is not None:
        _check_registry(gate, registry, path, findings)
    _check_nothing_passed_over(records, gate, path, findings)
    return GateState(gate, path, len(statements))


def _check_inspection(disk: Disk, gate: GateRecord, path: str, findings: Findings) -> None:
    """The decision of a release gate against what the inspections among its subjects say."""
    names = inspections(gate.subjects)
    if not names:
        findings.problem("gate", path, "a release gate without the inspection of a print")
    if not names or any(disk.sha256(name) is None for name in names):
        return
    try:
        rejected = any(read_inspection(disk.case_dir / name).rejected for name in names)
    except ImplantflowError as error:
        findings.problem("gate", path, error.what)
        return
    if rejected != (gate.decision == REJECTED):
        said = "rejected" if rejected else "accepted"
        findings.problem("gate", path, f"says '{gate.decision}', though the inspection {said} the print")


def _check_shut(gate: GateRecord, path: str, findings: Findings) -> None:
    if gate.unsigned or gate.reviewers or gate.envelopes:
        findings.problem("gate", path, f"says '{gate.decision}' and yet names approvals")


def _opened(gate: GateRecord, path: str, findings: Findings) -> list[Statement]:
    found = []
    for envelope in gate.envelopes:
        try:
            public_key = gate.public_keys.get(signing_key_id(envelope))
            if public_key is None:
                raise ReviewError("signed with a key that the gate record does not hold")
            found.append(open_envelope(envelope, public_key))
        except ReviewError as error:
            findings.problem("signature", path, error.what)
    return found


def _check_statement(statement: Statement, gate: GateRecord, path: str, findings: Findings) -> None:
    review = statement.predicate
    if (review.case, review.gate, review.item) != (gate.case, gate.gate, gate.item):
        findings.problem(
            "signature", path, f"{review.name} signed for {review.case}/{review.gate}/{review.item}, not this"
        )
    if review.decision != "approve":
        findings.problem("signature", path, f"{review.name} did not approve: {review.decision}")
    if statement.subjects != gate.subjects:
        findings.problem("signature", path, f"{review.name} signed for other files than the gate names")


def _check_signatures_suffice(
    gate: GateRecord, statements: Sequence[Statement], path: str, findings: Findings
) -> None:
    signed = {(s.predicate.reviewer, s.predicate.name, s.predicate.role) for s in statements}
    if signed != {(r.id, r.name, r.role) for r in gate.reviewers}:
        findings.problem("gate", path, "the reviewers it names are not those who signed")
    roles = {role for _, _, role in signed}
    missing = [role for role in gate.required_roles if role not in roles]
    if missing or not roles:
        findings.problem("gate", path, f"signatures are missing: {', '.join(missing) or 'all'}")
    if gate.purpose == "clinical" and len(set(gate.required_roles)) < MIN_CLINICAL_SIGNATURES:
        findings.problem(
            "gate", path, f"a clinical gate asked for {len(gate.required_roles)} signature(s) only"
        )


def _check_anchors(
    statements: Sequence[Statement], records: Sequence[Record], path: str, findings: Findings
) -> None:
    chain = {record.get("sha256") for record in records}
    for statement in statements:
        anchor = statement.predicate.ledger
        if anchor is None or anchor.sha256 in chain:
            continue
        said = (
            f"{statement.predicate.name} signed when the ledger ended with entry {anchor.sequence} "
            f"({anchor.sha256[:12]}), which is not in this ledger: the case was computed again since "
            "(with the same files), or the history was rewritten"
        )
        # Until the release a case may be computed again; what was released has one history, the signed one.
        if statement.predicate.gate == "release":
            findings.problem(
                "signature", path, f"{said}; a release must be signed on the ledger it is part of"
            )
        else:
            findings.note("signature", path, said)


def _check_registry(gate: GateRecord, registry: Sequence[Reviewer], path: str, findings: Findings) -> None:
    known = {r.public_key: r for r in registry}
    for public_key in gate.public_keys.values():
        reviewer = known.get(public_key)
        if reviewer is None:
            findings.problem(
                "signature", path, f"signed with a key that is not in the registry: {public_key}"
            )
        elif reviewer.revoked:
            findings.problem("signature", path, f"signed with the revoked key of {reviewer.name}")
        elif reviewer.name not in {r.name for r in gate.reviewers}:
            findings.problem("signature", path, f"the key of {reviewer.name} signed under another name")


def _check_nothing_passed_over(
    records: Sequence[Record], gate: GateRecord, path: str, findings: Findings
) -> None:
    """A refusal that the ledger recorded must not have been left out when the gate was checked."""
    latest = {}
    for entry in reviews(records):
        about = (entry.get("gate"), entry.get("item"), entry.get("subjects"))
        if about == (gate.gate, gate.item, gate.subjects):
            latest[str(entry.get("reviewer"))] = entry
    for entry in latest.values():
        if entry.get("decision") != "approve":
            said = f"{entry.get('name')} decided '{entry.get('decision')}' on these files"
            findings.problem("gate", path, f"stands open, though {said}")


def _check_gates_passed(history: History, in_force: Mapping[str, Run], findings: Findings) -> None:
    for run in in_force.values():
        needed = GATE_BEFORE.get(run.function.removeprefix("implantflow.").partition(".")[0])
        if needed is None:
            continue
        passed = set()
        for name in run.inputs:
            writer = history.writers.get(name)
            if writer is not None and writer.function == GATE_FUNCTION:
                gate = writer.settings.get("gate")
                passed.add(gate.get("name") if isinstance(gate, Mapping) else None)
        if needed not in passed:
            findings.problem(
                "gate", f"{run.key} (entry {run.sequence})", f"was not behind the gate '{needed}'"
            )


def _check_released(states: Sequence[GateState], in_force: Mapping[str, Run], findings: Findings) -> None:
    """What was released must have passed the release gate of that very revision."""
    opened = {s.path for s in states if s.record.gate == "release" and s.record.decision not in SHUT}
    for run in in_force.values():
        if run.function != RELEASE_FUNCTION:
            continue
        revision = mapping(run.settings.get("release")).get("revision")
        gate = f"inspect/{revision}/gate.json"
        if gate not in run.inputs or gate not in opened:
            findings.problem(
                "gate",
                f"{run.key} (entry {run.sequence})",
                f"released revision {revision}, whose release gate did not open",
            )
