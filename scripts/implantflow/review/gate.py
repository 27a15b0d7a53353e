"""A gate of the pipeline: opens when the right persons signed for exactly these files, or says why not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from implantflow import artifacts
from implantflow.config.base import Name, Section
from implantflow.config.review import GateName, ReviewConfig
from implantflow.config.site import MIN_CLINICAL_SIGNATURES, Purpose, RequiredRoles, Reviewer
from implantflow.errors import ReviewError
from implantflow.jobs import Job, progress
from implantflow.review.decide import Heard, Question, Verdict, hear, require
from implantflow.review.imaging import ImagingRule, check_age, planned_images
from implantflow.review.inspection import REJECTED_FIX, Inspection, read_inspection
from implantflow.review.record import read_record
from implantflow.review.statement import key_id
from implantflow.review.subjects import check_name, inspections, release_subjects

APPROVED = "approved"
#: Decisions of a release gate that stays shut though its job succeeds: the normal course of a revision that
#: was rejected, or that lies in tolerance but is not the one to be released.
REJECTED = "rejected"
NOT_PUT_FORWARD = "accepted, not put forward for release"
SHUT = (REJECTED, NOT_PUT_FORWARD)


class GateSettings(Section):
    """What a gate job is told: which gate, whose case, the case's policy and the site's rules."""

    class Gate(Section):
        """Which gate, and of what."""

        name: GateName
        item: str
        revision: Name | None = Field(default=None, description="Release only: which build revision.")
        put_forward: bool = Field(
            default=True, description="Release only: whether it is the revision that the case releases."
        )
        machined: bool = Field(
            default=False, description="Release only: whether its machined part was inspected too."
        )

    class Site(Section):
        """The part of the site config that a gate needs; it is given the whole."""

        model_config = ConfigDict(extra="ignore")

        reviewers: list[Reviewer]
        signatures: dict[Purpose, dict[GateName, RequiredRoles]]

    gate: Gate
    case: str
    purpose: Purpose
    review: ReviewConfig
    site: Site
    imaging: ImagingRule | None = Field(
        default=None, description="Design only, and needed there: how old the images of the plan may be."
    )


class Approver(Section):
    """One person whose signature opened the gate."""

    id: str
    name: str
    role: str
    decision: str
    reason: str
    meaning: str
    time: str
    record: str


class Considered(Section):
    """One record that was there when the gate was checked, counted or not."""

    record: str
    sha256: str
    reviewer: str
    decision: str
    time: str
    counted: bool
    note: str


class GateRecord(Section):
    """What ``gate.json`` holds: enough to check the decision again with nothing but the case's folder."""

    status: Literal["done"] = "done"
    gate: str
    item: str
    case: str
    purpose: str
    decision: str
    unsigned: bool
    required_roles: list[str]
    reviewers: list[Approver]
    subject_sha256: str = Field(
        description="Digest of the main file reviewed, the first subject, as `sha256sum` prints it."
    )
    subjects: dict[str, str] = Field(description="Path relative to the case -> sha256.")
    reasons: list[str] = Field(
        default=[], description="Release only: why the inspection rejected the print, and how to go on."
    )
    records: list[Considered]
    envelopes: list[dict[str, Any]] = Field(description="The DSSE envelopes that counted.")
    imaging: dict[str, Any] | None = Field(
        default=None, description="Design only: age of the images on the planned date of surgery."
    )
    public_keys: dict[str, str] = Field(description="Key id -> Ed25519 public key (hex) of those who signed.")


def check_gate(job: Job) -> None:
    """Write ``gate.json`` if the gate may open (job of the rules ``gate_*``).

    A release gate asks the inspection first: of a print that was rejected, or that nobody puts forward, it
    records just that (:data:`SHUT`), whatever was signed.

    Inputs ``subjects`` (the files reviewed) and ``review`` (the records there are, possibly none); settings
    as in :class:`GateSettings`. The output depends on these alone: the same files and records give the same
    bytes.

    Raises
    ------
    AwaitingReview
        Somebody has to decide; the message is the command to run.
    ReviewError
        A record is forged, stale, foreign, revoked, in the wrong role, or a rejection; a clinical case asks
        to pass automatically; only authors approved.
    QualityGateError, InputError
        Design: images that are too old on the planned date of surgery, or (clinical) of unknown age.
    """
    settings = GateSettings.model_validate(dict(job.settings))
    item = check_name(settings.gate.item, "gate or iteration")
    _check_case(job, settings.case)
    subjects = _subject_digests(job)
    question = Question(
        case=settings.case,
        gate=settings.gate.name,
        item=item,
        subjects=subjects,
        roles=settings.site.signatures[settings.purpose][settings.gate.name],
        authors=frozenset(settings.review.authors),
        command=review_command(settings.case, item),
    )
    if settings.gate.name == "release" and (shut := _shut(job, settings)):
        artifacts.write_json(job.outputs["gate"], _shut_record(question, settings.purpose, *shut))
        return
    imaging = _imaging(job, settings)
    files = [read_record(path) for path in job.input_list("review")]
    verdict = hear(question, files, settings.site.reviewers)
    unsigned = settings.review.policy_of(settings.gate.name) == "auto"
    _fit_for_purpose(question, settings.purpose, unsigned)
    if not unsigned:
        require(question, verdict)
    progress(f"gate {settings.gate.name} of {item}: {'passed unsigned' if unsigned else APPROVED}")
    record = _gate_record(question, settings.purpose, verdict, unsigned).model_copy(
        update={"imaging": imaging}
    )
    artifacts.write_json(job.outputs["gate"], record.model_dump(mode="json"))


def review_command(case: str, item: str) -> str:
    """The command with which a person decides about ``item``."""
    return (
        f'python -m implantflow review {case} {item} --decision approve --reason "..." --key KEYFILE '
        "(or --decision revise | reject)"
    )


def auto_decision(purpose: str) -> str:
    """How a gate record names a decision that nobody took."""
    return f"auto-approved ({purpose}, unsigned)"


def _imaging(job: Job, settings: GateSettings) -> dict[str, Any] | None:
    """Of a design gate: the age of the images, refused when too old; signatures do not make them younger."""
    if settings.gate.name != "design":
        return None
    clinical = settings.purpose == "clinical"
    if settings.imaging is None:
        if clinical:
            raise ReviewError("a clinical design gate needs to know how old the images may be", where=job.key)
        return None
    records = [artifacts.read_json(job.input(name)) for name in ("manifest", "tumour", "ingest", "plan")]
    return check_age(planned_images(*records), settings.imaging, clinical=clinical)


def _shut(job: Job, settings: GateSettings) -> tuple[str, list[str]] | None:
    """Decision and reasons of a release gate that stays shut; None when persons are to decide."""
    revision = settings.gate.revision
    reasons = [
        reason for found in _inspections(job, settings.gate) if found.rejected for reason in found.reasons
    ]
    if reasons:
        progress(f"print {revision} was rejected by its inspection: {'; '.join(reasons)}")
        return REJECTED, [*reasons, f"to go on: {REJECTED_FIX}"]
    if not settings.gate.put_forward:
        progress(f"print {revision} is in tolerance; another revision is to be released")
        return NOT_PUT_FORWARD, []
    return None


def _inspections(job: Job, gate: GateSettings.Gate) -> list[Inspection]:
    """Of the print, and of the machined part where there is one; each must be of the gate's revision."""
    paths = {_name(job, path): path for path in job.input_list("subjects")}
    found = []
    for name in inspections(release_subjects(gate.revision or "", machined=gate.machined)):
        if name not in paths:
            raise ReviewError(f"{name} is not among the files reviewed", where=job.key)
        inspection = read_inspection(paths[name])
        if inspection.id != gate.revision:
            raise ReviewError(
                f"the inspection is of revision {inspection.id}, the gate of {gate.revision}",
                where=str(paths[name]),
            )
        found.append(inspection)
    return found


def _shut_record(question: Question, purpose: str, decision: str, reasons: list[str]) -> dict[str, Any]:
    record = GateRecord(
        gate=question.gate,
        item=question.item,
        case=question.case,
        purpose=purpose,
        decision=decision,
        unsigned=False,
        required_roles=[],
        reviewers=[],
        subject_sha256=next(iter(question.subjects.values())),
        subjects=dict(question.subjects),
        reasons=reasons,
        records=[],
        envelopes=[],
        public_keys={},
    )
    return record.model_dump(mode="json")


def _check_case(job: Job, case: str) -> None:
    if job.wildcards.get("case", case) != case:
        raise ReviewError(
            f"the gate is checked with the settings of case {case}", where=f"case {job.wildcards['case']}"
        )


def _subject_digests(job: Job) -> dict[str, str]:
    """Path relative to the case -> sha256, in the order of the input list."""
    found = {}
    for path in job.input_list("subjects"):
        name = _name(job, path)
        if name.startswith("../"):
            raise ReviewError("a reviewed file lies outside its case", where=str(path))
        found[name] = artifacts.sha256_path(path)
    if not found:
        raise ReviewError("a gate without files to review", where=job.key)
    return found


def _name(job: Job, path: Path) -> str:
    """Path within the case."""
    # os.path.relpath, not Path.relative_to: both may be given relative to the project or absolute.
    return Path(os.path.relpath(path, job.case_dir)).as_posix()


def _fit_for_purpose(question: Question, purpose: str, unsigned: bool) -> None:
    if purpose != "clinical":
        return
    if unsigned:
        raise ReviewError(
            "a clinical case cannot pass a gate automatically",
            where=question.place,
            fix="write review.policy: signed in the case config and remove 'auto' from review.gates",
        )
    if len(set(question.roles)) < MIN_CLINICAL_SIGNATURES:
        raise ReviewError(
            f"a clinical gate needs at least {MIN_CLINICAL_SIGNATURES} signatures in different roles",
            where=question.place,
            fix="correct signatures.clinical in config/site.yaml",
        )


def _gate_record(question: Question, purpose: str, verdict: Verdict, unsigned: bool) -> GateRecord:
    approvals = list(verdict.approvals)
    return GateRecord(
        gate=question.gate,
        item=question.item,
        case=question.case,
        purpose=purpose,
        decision=auto_decision(purpose) if unsigned else APPROVED,
        unsigned=unsigned,
        required_roles=[] if unsigned else list(question.roles),
        reviewers=[_approver(h) for h in approvals],
        subject_sha256=next(iter(question.subjects.values())),
        subjects=dict(question.subjects),
        records=[_considered(h, approvals) for h in verdict.heard],
        envelopes=[h.file.envelope for h in approvals],
        public_keys={key_id(h.reviewer.public_key): h.reviewer.public_key for h in approvals},
    )


def _approver(heard: Heard) -> Approver:
    review = heard.review
    return Approver(
        id=heard.reviewer.id,
        name=review.name,
        role=review.role,
        decision=review.decision,
        reason=review.reason,
        meaning=review.meaning,
        time=review.time,
        record=heard.file.name,
    )


def _considered(heard: Heard, approvals: list[Heard]) -> Considered:
    counted = heard in approvals
    superseded = "" if counted else "superseded by a later decision of the same person"
    return Considered(
        record=heard.file.name,
        sha256=heard.file.sha256,
        reviewer=heard.reviewer.id,
        decision=heard.review.decision,
        time=heard.review.time,
        counted=counted,
        note=heard.not_counted or superseded,
    )


def read_gate(path: Path) -> GateRecord:
    """Read a ``gate.json``; ReviewError when it is not one."""
    try:
        return GateRecord.model_validate(artifacts.read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ReviewError(f"not a gate record: {where}: {problem['msg']}", where=str(path)) from error
