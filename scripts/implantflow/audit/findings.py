"""What a verification found: problems (the trail does not hold) and notes (worth knowing, but it holds)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

Kind = Literal["ledger", "file", "stale", "unaccounted", "gate", "signature", "input", "code"]


@dataclass(frozen=True)
class Finding:
    """One thing found, at one place."""

    kind: Kind
    where: str
    what: str

    def __str__(self) -> str:
        return f"[{self.kind}] {self.where}: {self.what}"

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass
class Findings:
    """Collected in the order the checks run."""

    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def problem(self, kind: Kind, where: str, what: str) -> None:
        """Add what makes the trail not hold."""
        self.problems.append(Finding(kind, where, what))

    def note(self, kind: Kind, where: str, what: str) -> None:
        """Add what is worth knowing."""
        self.notes.append(Finding(kind, where, what))
