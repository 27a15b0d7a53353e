"""Requirement -> code -> tests -> what this run did: one row a requirement, for the audit page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from implantflow import artifacts
from implantflow.audit.verify import Verification
from implantflow.config.base import Section
from implantflow.errors import ImplantflowError

REQUIREMENTS = Path(__file__).parent / "requirements.yaml"


class Requirement(Section):
    """One promise; ``figures`` are ``file: dotted.key`` below the case, ``*`` standing for any folder."""

    id: str
    text: str
    code: str
    rules: list[str]
    figures: tuple[str, ...] = ()
    tests: list[str]


@dataclass(frozen=True)
class TraceRow:
    """A requirement beside what this run did about it."""

    requirement: Requirement
    result: str
    met: bool
    entries: list[int]
    figures: list[tuple[str, str]]


def requirements() -> list[Requirement]:
    """All requirements, in the order of a case."""
    return [
        Requirement.model_validate(item) for item in yaml.safe_load(REQUIREMENTS.read_text(encoding="utf-8"))
    ]


def trace(verification: Verification, case_dir: Path) -> list[TraceRow]:
    """Every requirement with the jobs of this case that fulfil it and the figures they left."""
    return [_row(requirement, verification, case_dir) for requirement in requirements()]


def _row(requirement: Requirement, verification: Verification, case_dir: Path) -> TraceRow:
    if not requirement.rules:
        count = len(verification.in_force)
        return TraceRow(requirement, f"in force for all {count} jobs", True, [], [])
    if requirement.rules == ["audit_case"]:
        said = "verified" if verification.verified else "NOT verified"
        return TraceRow(requirement, said, verification.verified, [], [])
    runs = [run for run in verification.history.last.values() if run.rule in requirement.rules]
    entries = sorted(run.sequence for run in runs)
    figures = [found for figure in requirement.figures for found in _figures(figure, case_dir)]
    if not runs:
        return TraceRow(requirement, "not part of this case so far", False, [], figures)
    open_ = sorted({f"{run.key} {run.status}" for run in runs if not run.done})
    result = "; ".join(open_) if open_ else f"done ({len(runs)} job{'s' * (len(runs) != 1)})"
    return TraceRow(requirement, result, not open_, entries, figures)


def _figures(figure: str, case_dir: Path) -> list[tuple[str, str]]:
    pattern, _, key = figure.partition(": ")
    found = []
    for path in sorted(case_dir.glob(pattern)):
        try:
            value: Any = artifacts.read_json(path)
            for part in key.split("."):
                value = value[part]
        except (ImplantflowError, KeyError, TypeError, IndexError):
            continue
        name = path.relative_to(case_dir).as_posix()
        found.append((f"{name}: {key}", f"{value:g}" if isinstance(value, float) else str(value)))
    return found
