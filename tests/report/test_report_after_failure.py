"""A page that was made after a failure does not stand for the finished report: a dry run of the project's rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.e2e.conftest import new_workspace

from implantflow.report.command import render


@pytest.mark.slow
def test_next_run_goes_on_though_the_page_is_there(tmp_path: Path) -> None:
    work = new_workspace(tmp_path / "w")
    (work.path / "results/tiny").mkdir(parents=True)
    page = render("tiny", work.path / "results")
    assert page.exists() and page.with_name("case.json").exists()
    done = work.snakemake("report", "--dry-run")
    assert done.returncode == 0, done.stderr[-3000:]
    planned = set(re.findall(r"^(\w+) +\d+ *$", done.stdout + done.stderr, flags=re.M))
    assert {"simulate_patient", "segment_bones", "build_part", "release_case", "report_case"} <= planned
