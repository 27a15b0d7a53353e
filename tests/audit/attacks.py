"""Table of all attacks: runs every test marked ``attack`` and writes what answered it.

python -m tests.audit.attacks --table docs/validation/attacks.md
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

#: Where attacks are tested; each file keeps its attacks beside the part that answers them.
PLACES = ("tests/audit", "tests/review", "tests/ingest/test_fuzz_short.py")

HEAD = """# Attacks

Made by `python -m tests.audit.attacks --table docs/validation/attacks.md`, which runs the tests it lists; a test holds
the list complete. Cases, keys and files are made for the tests (simulated). "detected" is a refusal, or a problem that
`verify` names; "harmless" is an attack without effect. What no technical control here stops: whoever may write the
folder can make up a whole unsigned case; the signatures of persons are the part that cannot be made up, and `verify
--site` holds them against the registry.

"""


@dataclass(eq=False)
class Collector:
    """A pytest plugin: marked tests with their outcome."""

    groups: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            mark = item.get_closest_marker("attack")
            if mark is None:  # deselected a moment later
                continue
            self.groups[item.nodeid] = mark.args[0]
            self.said[item.nodeid] = " ".join((item.function.__doc__ or "").split())

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome
        for name, value in report.user_properties:
            if name == "answer":
                self.said[report.nodeid] = f"says: {value}"


def attack_tests(*, run: bool) -> Collector:
    """Collect, and with ``run`` execute, every test marked ``attack``."""
    found = Collector()
    options = ["-q", "-m", "attack", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    pytest.main([*([] if run else ["--collect-only"]), *options, *PLACES], plugins=[found])
    return found


def table(found: Collector) -> str:
    """The page; one row an attack."""
    lines = []
    for group in sorted(set(found.groups.values())):
        tests = [t for t, g in found.groups.items() if g == group]
        lines += [
            f"## {group[0].upper()}{group[1:]}: {len(tests)}",
            "",
            "| attack | what answers it | result |",
        ]
        lines += ["|---|---|---|"]
        for test in sorted(tests):
            lines.append(f"| {name_of(test)} | {_cell(found.said[test])} | {_result(found, test)} |")
        lines.append("")
    total = len(found.groups)
    passed = sum(outcome == "passed" for outcome in found.outcomes.values())
    summary = f"{total} attacks, {passed} detected or harmless, {total - passed} not.\n\n"
    return HEAD + summary + "\n".join(lines)


def name_of(test: str) -> str:
    """A test's id in words, e.g. ``attack is found: edit entry``."""
    name, _, variant = test.rpartition("::")[2].removeprefix("test_").partition("[")
    words = f"{name}: {variant.removesuffix(']')}" if variant else name
    return re.sub(r"[^\w\s:./-]", " ", words.replace("_", " ").replace("\\n", " ")).strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _result(found: Collector, test: str) -> str:
    outcome = found.outcomes.get(test, "not run")
    if outcome != "passed":
        return f"**{outcome}**"
    return "harmless" if "Harmless" in found.said[test] or found.groups[test] in _HARMLESS else "detected"


#: Groups whose tests show that nothing happens, rather than that something is refused.
_HARMLESS = {"hostile text", "secrets"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    options = parser.parse_args()
    found = attack_tests(run=True)
    options.table.write_text(table(found), encoding="utf-8")
    good = all(found.outcomes.get(test) == "passed" for test in found.groups)
    print(f"{options.table}: {len(found.groups)} attacks")
    return 0 if good and len(found.groups) >= 40 else 1


if __name__ == "__main__":
    sys.exit(main())
