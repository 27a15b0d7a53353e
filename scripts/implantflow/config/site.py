"""The site: where its data lies, who may sign what, and how old images may be."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from implantflow.config.base import Name, Problems, Section
from implantflow.config.pacs import PacsNode
from implantflow.config.review import GateName

Purpose = Literal["demo", "research", "clinical"]
#: What a case says on every page, picture, label and build header unless its purpose is clinical.
NOT_CLINICAL = "NOT FOR CLINICAL USE"
Role = Literal["surgeon", "engineer", "radiologist", "quality"]

#: At a gate of a clinical case two persons sign (issue 7: two by default, an author cannot approve alone).
MIN_CLINICAL_SIGNATURES = 2


class Reviewer(Section):
    """One person whose signature counts. `python -m implantflow review keygen` prints an entry."""

    id: Name = Field(description="Short name used in records and in review.authors, e.g. a_weber.")
    name: str = Field(
        min_length=1, max_length=100, description="Full name as it appears on gate records and reports."
    )
    role: Role = Field(description="The one role this person signs in.")
    public_key: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="Ed25519 public key, 32 bytes as lower-case hex (RFC 8032). The private key stays with "
        "the person.",
    )
    valid_from: date = Field(description="First day (UTC) on which signatures with this key count.")
    valid_until: date | None = Field(
        default=None,
        description="Last day (UTC) on which signatures count, e.g. when the person left; older ones stay "
        "valid.",
    )
    revoked: bool = Field(
        default=False,
        description="true when the key is lost or known to others: none of its signatures counts any more, "
        "whatever date they claim.",
    )


class ImagingLimits(Section):
    """How many days before the planned surgery the images may have been taken."""

    ct_days: int = Field(
        gt=0,
        le=365,
        description="Maximum age of the planning CT at the planned surgery date, days. The site decides; no "
        "standard states a figure.",
    )
    mr_days: int = Field(
        gt=0,
        le=365,
        description="Maximum age of the last tumour MR at the planned surgery date, days. The site decides; "
        "no standard states a figure. A tumour may grow or shrink within weeks.",
    )


#: One signature of a different person for each role listed.
RequiredRoles = Annotated[list[Role], Field(min_length=1, max_length=4)]


class SiteConfig(Section):
    """What all cases of one site share (config/site.yaml)."""

    when_missing: ClassVar[str] = (
        "this is the site's own file (its people, rules and folders): run in the project's folder, which holds "
        "config/site.yaml, or correct the path that was given with --site"
    )

    data_root: str = Field(
        min_length=1,
        description="Folder of the patients' and reference data, relative to the project or absolute; the "
        "folders in case configs are below it.",
    )
    sealed_root: str = Field(
        default="data/sealed",
        min_length=1,
        description="Folder that leads from a case back to its patient: links to the real files, identities, "
        "what was fetched from a PACS. Outside results/, open to its owner only (mode 0700); better on an "
        "encrypted disk, for its files are not encrypted.",
    )
    pacs: dict[Name, PacsNode] = Field(
        default_factory=dict,
        description="Image archives by neutral name (lower case; the name in IMPLANTFLOW_PACS_NAME_... of the "
        "environment, where credentials are told).",
    )
    reviewers: list[Reviewer] = Field(
        description="Registry of all whose signature counts. Entries are never deleted: set valid_until or "
        "revoked instead, so that old records stay readable."
    )
    signatures: dict[Purpose, dict[GateName, RequiredRoles]] = Field(
        description="Roles that must sign each gate of a case with that purpose, one person each. Clinical "
        f"gates take at least {MIN_CLINICAL_SIGNATURES} different roles."
    )
    imaging_max_age: ImagingLimits = Field(
        description="Limits for the age of images; older ones block the release."
    )

    @model_validator(mode="after")
    def _registry_is_unambiguous(self) -> Self:
        problems = []
        for what, values in (
            ("id", [r.id for r in self.reviewers]),
            ("public_key", [r.public_key for r in self.reviewers]),
        ):
            problems += [
                f"reviewers: {what} {value} is given to {count} entries"
                for value, count in Counter(values).items()
                if count > 1
            ]
        # Two valid entries of one person would let one person give two signatures.
        names = Counter(" ".join(r.name.casefold().split()) for r in self.reviewers if not r.revoked)
        problems += [
            f"reviewers: '{name}' has {count} keys that are not revoked; revoke the old one"
            for name, count in names.items()
            if count > 1
        ]
        if problems:
            raise Problems(problems)
        return self

    @model_validator(mode="after")
    def _every_gate_has_its_signatures(self) -> Self:
        problems = []
        for purpose in get_args(Purpose):
            for gate in get_args(GateName):
                roles = self.signatures.get(purpose, {}).get(gate)
                if roles is None:
                    problems.append(f"signatures.{purpose}.{gate} is missing")
                    continue
                if len(set(roles)) != len(roles):
                    problems.append(f"signatures.{purpose}.{gate} names a role twice")
                if purpose == "clinical" and len(set(roles)) < MIN_CLINICAL_SIGNATURES:
                    problems.append(
                        f"signatures.clinical.{gate} needs at least {MIN_CLINICAL_SIGNATURES} different roles"
                    )
        if problems:
            raise Problems(problems)
        return self
