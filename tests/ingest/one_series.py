"""The reader as most of these tests call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from implantflow.ingest.read import take_series
from implantflow.volumes import Volume


def ingest_folder(
    path: Path, series_uid: str | None = None, modality: str | None = None
) -> tuple[Volume, dict[str, Any]]:
    """Volume and manifest of the one series of a folder, nothing resampled."""
    found = take_series(path, series_uid, modality)
    return found.volume, found.manifest
