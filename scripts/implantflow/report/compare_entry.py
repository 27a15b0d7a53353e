"""One line of the comparison with the truth."""

from __future__ import annotations

from typing import Any

Entries = dict[str, dict[str, Any]]


def entry_of(value: Any, truth: Any, told: str, true: str, error: str, **more: Any) -> dict[str, Any]:
    """A figure, its truth and the error, as values and as the words that the page shows."""
    return {
        "value": value,
        "truth": truth,
        **more,
        "shown_value": told,
        "shown_truth": true,
        "shown_error": error,
        "text": f"{true} ({error})",
    }
