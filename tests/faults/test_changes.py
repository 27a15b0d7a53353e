"""docs/validation/changes.md: each change causes the jobs of its own stage, and one of them is measured again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.faults.changes import CHANGES, HIDDEN, ROOT, jobs_of, workspace

PAGE = ROOT / "docs/validation/changes.md"


def listed() -> dict[str, dict[str, int]]:
    rows = re.findall(r"^\| (.+?) \| \d+ \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    found = {}
    for what, which in rows:
        jobs = [re.match(r"(\w+)(?: x(\d+))?", part) for part in which.split(", ") if which != "none"]
        found[what] = {m.group(1): int(m.group(2) or 1) for m in jobs if m}
    return found


def test_every_change_concerns_its_own_stage() -> None:
    table = listed()
    for change in CHANGES:
        if change.what in table:
            rules = {rule.removesuffix("_tiny") for rule in table[change.what]}
            assert change.first <= rules, change.what
    assert len(table) >= 20


@pytest.mark.slow
def test_table_is_what_a_dry_run_says(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "w")
    for change in CHANGES:
        if change.what in {"followup.grade.lucency_min_mm", "a function in `build/themes.py`"}:
            jobs = {rule: count for rule, count in jobs_of(folder, change).items() if rule not in HIDDEN}
            assert jobs == listed()[change.what]
