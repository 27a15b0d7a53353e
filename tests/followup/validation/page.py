"""The page docs/validation/followup.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.followup.validation.plan import State


def page(readings: list[dict[str, Any]], halves: dict[str, Any], wanted: list[State], state: Path) -> str:
    """Markdown."""
    return ""
