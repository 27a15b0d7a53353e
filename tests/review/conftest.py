"""A prototype iteration waiting for its review, three persons with keys, and the gate's job."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from review_room import CASES, Room

from implantflow.config.site import SiteConfig
from implantflow.review import command


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Cases demo and other, each with iterations rp1 and rp2 on disk and in its ledger."""
    reviewers: list[dict[str, Any]] = []
    keys = {}
    for who, role in (
        ("anna", "surgeon"),
        ("sven", "surgeon"),
        ("emil", "engineer"),
        ("rita", "radiologist"),
    ):
        keys[who] = tmp_path / "home" / f"{who}.pem"
        entry = yaml.safe_load(command.keygen(keys[who], who, f"{who.title()} Weber", role))[0]  # type: ignore[arg-type]
        reviewers.append({**entry, "valid_from": "2026-01-01"})
    gates = {gate: ["surgeon", "engineer"] for gate in ("labels", "review", "design", "release")}
    site = SiteConfig.model_validate(
        {
            "data_root": "data",
            "reviewers": reviewers,
            "signatures": {"demo": gates, "research": gates, "clinical": gates},
            "imaging_max_age": {"ct_days": 90, "mr_days": 42},
        }
    )
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    made = Room(site, keys, datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    for case in CASES:
        for iteration in ("rp1", "rp2"):
            made.write_iteration(case, iteration, f"{case} {iteration}")
    return made
