"""The audit of a case: verify it, and write the trail for a person (HTML) and for machines (RO-Crate)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pydantic import ConfigDict

from implantflow import artifacts
from implantflow.audit import ledger, page
from implantflow.audit.crate import make_crate
from implantflow.audit.verify import Verification, examine_running
from implantflow.config.base import Section
from implantflow.config.site import Purpose, Reviewer
from implantflow.errors import ProvenanceError
from implantflow.jobs import Job, progress

#: Findings spelled out in the error; `verify` lists them all.
_SHOWN = 8


class AuditSettings(Section):
    """What the audit is told; with ``site`` (the site config) it compares keys with the registry."""

    class Site(Section):
        """The part of the site config that is needed; it may be given the whole."""

        model_config = ConfigDict(extra="ignore")

        reviewers: list[Reviewer]

    case: str
    purpose: Purpose
    site: Site | None = None


def audit_case(job: Job) -> None:
    """Write ``verify.json``, ``trace.html``, ``ro-crate-metadata.json`` and the crate's copy of the Snakefile.

    The job's inputs are the files in which the case ends; what they rest on is followed through the ledger.

    Raises
    ------
    ProvenanceError
        The trail does not hold; the message says what differs, and where.
    """
    settings = AuditSettings.model_validate(dict(job.settings))
    verification = examine_running(
        job.case_dir, _finals(job), registry=settings.site.reviewers if settings.site else None
    )
    progress(f"{len(verification.records)} ledger entries, {verification.files_hashed} files hashed")
    if not verification.verified:
        raise _refusal(job.case_dir, verification)
    artifacts.write_json(job.outputs["verify"], verification.as_json())
    artifacts.write_json(job.outputs["crate"], make_crate(verification, settings.purpose, _finals(job)))
    job.outputs["trace"].write_text(
        page.render(verification, settings.purpose, job.case_dir), encoding="utf-8"
    )
    shutil.copyfile(ledger.PROJECT_DIR / "Snakefile", job.outputs["workflow"])


def _finals(job: Job) -> list[str]:
    paths = [path for name in job.inputs for path in job.input_list(name)]
    return [Path(os.path.relpath(path, job.case_dir)).as_posix() for path in paths]


def _refusal(case_dir: Path, verification: Verification) -> ProvenanceError:
    problems = [str(problem) for problem in verification.findings.problems]
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return ProvenanceError(
        f"the audit trail does not hold, {len(problems)} problem(s): {'; '.join(problems[:_SHOWN])}{more}",
        where=case_dir.as_posix(),
        fix=f"`python -m implantflow verify {case_dir.as_posix()}` lists all; a changed result is made again "
        "by removing it and running the pipeline",
    )
