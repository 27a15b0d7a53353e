"""From the records of one item to a decision: whose signature counts, whose does not, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from implantflow.config.site import Reviewer, Role
from implantflow.errors import AwaitingReview, ReviewError
from implantflow.review.record import REFUSED_FIX, RecordFile
from implantflow.review.statement import Review, Statement, key_id, open_envelope, signing_key_id


@dataclass(frozen=True)
class Question:
    """What is to be decided, about exactly which bytes, and who has to agree.

    Attributes
    ----------
    subjects : mapping
        Path relative to the case -> sha256 of the file as it is now.
    roles : sequence
        One signature of a different person for each.
    authors : collection of reviewer ids
        They cannot open a gate among themselves.
    command : str
        What a person runs to decide, shown when somebody must.
    """

    case: str
    gate: str
    item: str
    subjects: Mapping[str, str]
    roles: Sequence[Role]
    authors: frozenset[str]
    command: str

    @property
    def place(self) -> str:
        return f"case {self.case}, gate {self.gate}, item {self.item}"


@dataclass(frozen=True)
class Heard:
    """One authentic record: what it says, by whom, and why it does not count (empty when it does)."""

    file: RecordFile
    review: Review
    reviewer: Reviewer
    not_counted: str = ""


@dataclass(frozen=True)
class Verdict:
    """All authentic records of an item, and those of them that approve it as it is now."""

    heard: Sequence[Heard]
    approvals: Sequence[Heard] = field(default=())


def hear(question: Question, files: Sequence[RecordFile], registry: Sequence[Reviewer]) -> Verdict:
    """Check every record and find the approvals that stand.

    Each person's latest decision on the present bytes counts; earlier ones, and those on other bytes, are
    history.

    Raises
    ------
    ReviewError
        A record is forged, by an unknown key, taken from another case or item, or somebody's latest decision
        on these bytes is not an approval.
    """
    keys = {key_id(r.public_key): r for r in registry}
    heard = [_hear_one(question, file, keys) for file in sorted(files, key=lambda f: f.number)]
    current = [h for h in heard if not h.not_counted]
    approvals = {h.reviewer.id: h for h in current if h.review.decision == "approve"}
    for h in current:
        if h.review.decision != "approve" and not _taken_back(h, current):
            verb = {"reject": "rejected", "revise": "sent back for correction"}[h.review.decision]
            raise ReviewError(
                f"{verb} by {h.reviewer.name} ({h.reviewer.role}) on {h.review.time}: {h.review.reason}",
                where=f"{question.place}, record {h.file.name}",
                fix="correct what was asked for; the changed files are then reviewed again",
            )
    return Verdict(heard, list(approvals.values()))


def require(question: Question, verdict: Verdict) -> None:
    """Return when the approvals suffice.

    Raises
    ------
    AwaitingReview
        Nobody, or not everybody who must, has decided yet.
    ReviewError
        The records there are do not count (stale, revoked, wrong role), or only authors approve.
    """
    approved = {h.reviewer.role for h in verdict.approvals}
    missing = [role for role in question.roles if role not in approved]
    if not missing:
        _not_by_authors_alone(question, verdict)
        return
    refused = [f"{h.file.name}: {h.not_counted}" for h in verdict.heard if h.not_counted]
    refused += [
        f"{h.file.name}: signed as {h.reviewer.role}, which is not asked for here"
        for h in verdict.approvals
        if h.reviewer.role not in question.roles
    ]
    have = len(question.roles) - len(missing)
    what = f"{have} of {len(question.roles)} signatures; missing: {', '.join(missing)}"
    if refused:
        raise ReviewError(f"{what}. {'; '.join(refused)}", where=question.place, fix=question.command)
    raise AwaitingReview(what, where=question.place, fix=question.command)


def _hear_one(question: Question, file: RecordFile, keys: Mapping[str, Reviewer]) -> Heard:
    where = f"{question.place}, record {file.name}"
    try:
        reviewer = keys.get(signing_key_id(file.envelope))
        if reviewer is None:
            raise ReviewError("signed with a key that is not in the registry: forged, or never registered")
        statement = open_envelope(file.envelope, reviewer.public_key)
        review = statement.predicate
        if (review.case, review.gate, review.item) != (question.case, question.gate, question.item):
            raise ReviewError(
                f"this record was signed for case {review.case}, gate {review.gate}, item {review.item}, "
                "not for this one"
            )
        if (review.reviewer, review.name, review.role) != (reviewer.id, reviewer.name, reviewer.role):
            raise ReviewError(
                f"signed as {review.name} ({review.role}) with the key of {reviewer.name} ({reviewer.role})"
            )
    except ReviewError as error:
        raise ReviewError(error.what, where=where, fix=REFUSED_FIX) from error
    reason = _key_problem(review, reviewer) or _stale(question, statement)
    return Heard(file, review, reviewer, reason)


def _taken_back(refusal: Heard, current: Sequence[Heard]) -> bool:
    """True when the same person approved later, by record number and by signed time.

    Both, because a file can be renamed and a clock can be wrong: in doubt the refusal stands.
    """
    return any(
        h.reviewer.id == refusal.reviewer.id
        and h.review.decision == "approve"
        and h.file.number > refusal.file.number
        and h.review.moment >= refusal.review.moment
        for h in current
    )


def _key_problem(review: Review, reviewer: Reviewer) -> str:
    if reviewer.revoked:
        return f"the key of {reviewer.name} is revoked"
    day = review.moment.date()
    if day < reviewer.valid_from:
        return f"signed on {day}, before the key of {reviewer.name} became valid ({reviewer.valid_from})"
    if reviewer.valid_until is not None and day > reviewer.valid_until:
        return f"signed on {day}, after the key of {reviewer.name} ended ({reviewer.valid_until})"
    return ""


def _stale(question: Question, statement: Statement) -> str:
    signed, present = statement.subjects, question.subjects
    if signed == present:
        return ""
    changed = sorted(n for n in signed.keys() & present.keys() if signed[n] != present[n])
    other = sorted(signed.keys() ^ present.keys())
    parts = [f"changed after signing: {', '.join(changed)}"] if changed else []
    parts += [f"signed over another list of files: {', '.join(other)}"] if other else []
    return f"stale, {'; '.join(parts)}"


def _not_by_authors_alone(question: Question, verdict: Verdict) -> None:
    # Counting only asked-for roles: a bystander's signature must not lift the authors' own over the bar.
    counted = [h for h in verdict.approvals if h.reviewer.role in question.roles]
    if question.authors and all(h.reviewer.id in question.authors for h in counted):
        raise ReviewError(
            f"approved only by {', '.join(sorted(h.reviewer.name for h in counted))}, who made it "
            "(review.authors): an author cannot approve alone",
            where=question.place,
            fix=f"somebody else signs as well: {question.command}",
        )
