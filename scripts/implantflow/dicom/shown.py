"""Names of files as messages, logs and terminals can show them."""

from __future__ import annotations

from pathlib import Path

#: Longer names are cut: a message must stay readable.
_LONGEST = 80


def shown_name(path: Path) -> str:
    """Base name of ``path`` with everything that is not printable written as an escape."""
    name = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in path.name)
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
