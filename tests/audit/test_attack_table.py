"""docs/validation/attacks.md lists every attack that is tested, and each was answered."""

from __future__ import annotations

import subprocess
import sys

from tests.audit.attacks import PLACES, ROOT, name_of


def test_table_is_complete() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-m",
        "attack",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run([*command, "-o", "addopts=", *PLACES], cwd=ROOT, capture_output=True, text=True)
    tests = [line for line in done.stdout.splitlines() if "::" in line]
    page = (ROOT / "docs/validation/attacks.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")]
    listed = sorted(row for row in rows if row != "attack")
    assert sorted(name_of(test) for test in tests) == listed, "python -m tests.audit.attacks makes it anew"
    assert len(listed) >= 40 and "**" not in page
