"""The report's door: one page and one JSON per case, from whatever is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from implantflow.artifacts import temporary, write_json
from implantflow.jobs import Job, progress
from implantflow.report.page import render_page
from implantflow.report.sources import CaseFiles
from implantflow.report.summary import build_summary


def report_case(job: Job) -> None:
    """Write ``index`` and ``case_json`` for ``job.case_dir`` (job of the rule ``report_case``).

    ``settings["config"]`` is the resolved case config. No stage's file needs to exist.
    """
    write_report(
        job.case_dir, job.settings.get("config"), job.outputs["index"], job.outputs["case_json"], job.threads
    )


def write_report(
    case_dir: Path, config: Mapping[str, Any] | None, index: Path, case_json: Path, processes: int
) -> None:
    """Render a case folder into ``index`` (HTML) and ``case_json``."""
    files = CaseFiles(case_dir, config)
    progress("summary of the stages")
    summary = build_summary(files)
    progress("pictures and page", done=0.1)
    page = render_page(files, summary, processes)
    # Drawing reads files that the summary did not: what was unreadable among them is told as well.
    summary = build_summary(files)
    with temporary(index) as tmp:
        tmp.write_text(page, encoding="utf-8")
    write_json(case_json, summary)
