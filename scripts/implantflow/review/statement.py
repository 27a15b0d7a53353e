"""A review as an in-toto statement (v1) in a DSSE envelope, signed with Ed25519.

Sources: in-toto attestation framework, Statement v1; DSSE 1.0 (pre-authentication encoding over payload type
and payload); RFC 8032. The signature covers case, gate, item and the sha256 of every file reviewed,
so a record can neither be moved to another case or iteration nor survive a change of what it approves.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from implantflow import artifacts
from implantflow.config.base import NAME_PATTERN
from implantflow.config.review import GateName
from implantflow.errors import ReviewError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Literal["urn:implantflow:review:v1"] = "urn:implantflow:review:v1"

Decision = Literal["approve", "revise", "reject"]

#: What the signature means, in words; part of what is signed (21 CFR 11.50 asks for it).
MEANINGS: dict[Decision, str] = {
    "approve": "I have examined the files listed and approve them for the next step.",
    "revise": "I have examined the files listed and ask for corrections before the next step.",
    "reject": "I have examined the files listed and reject them.",
}

#: An envelope is some kilobytes; more is a mistake or an attack.
MAX_ENVELOPE_BYTES = 200_000

Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class DigestSet(_Strict):
    """Digest of one subject."""

    sha256: str = Sha256


class Subject(_Strict):
    """One reviewed file, named relative to ``results/{case}``."""

    name: str = Field(min_length=1, max_length=300)
    digest: DigestSet


class LedgerHead(_Strict):
    """Last entry of the case's ledger when the review was signed: history before it cannot be rewritten."""

    sequence: int = Field(ge=0)
    sha256: str = Sha256


class Review(_Strict):
    """The predicate: who decided what about which item, why and when."""

    case: str = Field(pattern=NAME_PATTERN)
    gate: GateName
    item: str = Field(pattern=NAME_PATTERN)
    decision: Decision
    reason: str = Field(min_length=1, max_length=2000)
    reviewer: str = Field(pattern=NAME_PATTERN)
    name: str = Field(min_length=1, max_length=100)
    role: str = Field(min_length=1, max_length=40)
    meaning: str = Field(min_length=1, max_length=300)
    time: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    ledger: LedgerHead | None

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ")
        return value

    @property
    def moment(self) -> datetime:
        """Claimed time of signing, UTC."""
        return datetime.strptime(self.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


class Statement(_Strict):
    """in-toto statement v1 about a set of files."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type", default=STATEMENT_TYPE)
    subject: list[Subject] = Field(min_length=1, max_length=100)
    predicate_type: Literal["urn:implantflow:review:v1"] = Field(
        alias="predicateType", default=PREDICATE_TYPE
    )
    predicate: Review

    @field_validator("subject")
    @classmethod
    def _each_file_once(cls, value: list[Subject]) -> list[Subject]:
        if len({s.name for s in value}) != len(value):
            raise ValueError("a subject is named twice")
        return value

    @property
    def subjects(self) -> dict[str, str]:
        """Reviewed path (relative to the case) -> sha256."""
        return {s.name: s.digest.sha256 for s in self.subject}


def make_statement(subjects: dict[str, str], review: Review) -> Statement:
    """The statement that binds ``review`` to ``subjects`` (path relative to the case -> sha256)."""
    return Statement(
        subject=[Subject(name=name, digest=DigestSet(sha256=sha)) for name, sha in subjects.items()],
        predicate=review,
    )


def seal(statement: Statement, private_key: Any) -> dict[str, Any]:
    """Sign ``statement`` with an Ed25519 private key of ``cryptography``; return the envelope as JSON."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

    payload = artifacts.canonical_json(statement.model_dump(mode="json", by_alias=True))
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private_key))
    sealed: dict[str, Any] = envelope.to_dict()
    return sealed


def key_id(public_key: str) -> str:
    """Id under which a signature names the Ed25519 key with these 32 bytes (hex)."""
    return str(_verifier(public_key).keyid)


def signing_key_id(envelope: dict[str, Any]) -> str:
    """Id of the one key that an envelope claims to be signed with; ReviewError when there is not one."""
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise ReviewError("a review record must carry exactly one signature")
    claimed = signatures[0].get("keyid") if isinstance(signatures[0], dict) else None
    if not isinstance(claimed, str):
        raise ReviewError("the signature of a review record names no key")
    return claimed


def open_envelope(envelope: dict[str, Any], public_key: str) -> Statement:
    """Check the signature with ``public_key`` (hex) and return what was signed.

    Raises
    ------
    ReviewError
        The signature does not belong to this key and payload, or the payload is no review statement.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error

    try:
        # from_dict changes what it is given.
        opened = Envelope.from_dict(copy.deepcopy(envelope))
        opened.verify([_verifier(public_key)], threshold=1)
    except (Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReviewError("the signature is not genuine: forged, or changed after signing") from error
    if opened.payload_type != PAYLOAD_TYPE:
        raise ReviewError(f"the envelope holds {opened.payload_type!r}, not an in-toto statement")
    return _parse_payload(opened.payload)


def parse_envelope(data: bytes) -> dict[str, Any]:
    """Read an envelope's JSON without trusting it; ReviewError when it is malformed or far too large."""
    if len(data) > MAX_ENVELOPE_BYTES:
        raise ReviewError(f"a review record of {len(data)} bytes; more than {MAX_ENVELOPE_BYTES} is none")
    try:
        envelope = json.loads(data, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"not a DSSE envelope: {error}") from error
    if not isinstance(envelope, dict) or set(envelope) != {"payload", "payloadType", "signatures"}:
        raise ReviewError("not a DSSE envelope: it must hold payload, payloadType and signatures, no more")
    return envelope


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _parse_payload(payload: bytes) -> Statement:
    try:
        data = json.loads(payload, object_pairs_hook=_no_duplicates)
        return Statement.model_validate(data)
    except (ValidationError, ValueError, RecursionError) as error:
        raise ReviewError(f"what was signed is not a review statement: {error}") from error


def _verifier(public_key: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)))
