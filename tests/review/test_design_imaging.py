"""The design gate and the age of the images: what is too old on the day of surgery is not built from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from review_room import Room

from implantflow import artifacts
from implantflow.errors import ConfigError, InputError, QualityGateError, ReviewError
from implantflow.review.subjects import design_subjects

LIMITS = {"ct_days": 90, "mr_days": 42}


@pytest.fixture
def design(room: Room) -> Room:
    """A signed design whose plan uses two MR time points and whose planning CT is of 24 April."""
    room.write_files(
        "demo", [n for n in design_subjects("rp2") if "prototype" not in n], "design", "design_implant"
    )
    for who in ("anna", "emil"):
        room.sign(who, item="design", approved="rp2")
    points = [
        {"name": "first", "series": "mr_1", "acquired": "2025-01-13"},
        {"name": "last", "series": "mr_2", "acquired": "2025-04-22"},
    ]
    files: dict[str, Any] = {
        "manifest": {"name": "ct", "acquired": "2025-04-24"},
        "tumour": {"timepoints": points},
        "ingest": {"series": [{"name": n, "modality": "MR", "acquired": None} for n in ("mr_1", "mr_2")]},
        "plan": {"imaging": points},
    }
    for name, content in files.items():
        room.extra_inputs[name] = Path(f"results/demo/{name}.json")
        artifacts.write_json(room.extra_inputs[name], content)
    plan_surgery(room, "2025-05-20")
    return room


def plan_surgery(room: Room, day: str | None, limits: dict[str, int] | None = None) -> None:
    room.settings["imaging"] = {"surgery_date": day, "limits": limits, "site": LIMITS}


def test_recent_images_open_the_gate(design: Room) -> None:
    record = design.gate(item="design")
    assert record["imaging"]["verdict"] == "within the limits"
    assert {e["name"]: e["age_days"] for e in record["imaging"]["images"]} == {"ct": 26, "mr_2": 28}


def test_signatures_do_not_make_an_old_mr_younger(design: Room) -> None:
    plan_surgery(design, "2025-06-10")
    with pytest.raises(QualityGateError, match=r"MR mr_2 will be 49 days old, limit 42"):
        design.gate(item="design")
    plan_surgery(design, "2025-05-20", {"ct_days": 20, "mr_days": 42})
    with pytest.raises(QualityGateError, match=r"CT ct will be 26 days old, limit 20"):
        design.gate(item="design", policy="auto")


def test_a_newer_mr_that_the_plan_does_not_use_does_not_count(design: Room) -> None:
    artifacts.write_json(design.extra_inputs["plan"], {"imaging": [{"name": "first"}]})
    with pytest.raises(QualityGateError, match=r"MR mr_1 will be 127 days old"):
        design.gate(item="design")


def test_case_cannot_be_looser_than_its_site(design: Room) -> None:
    plan_surgery(design, "2025-05-20", {"ct_days": 91, "mr_days": 42})
    with pytest.raises(ConfigError, match="the site allows 90"):
        design.gate(item="design")


def test_unknown_age_is_said_and_stops_a_clinical_case(design: Room) -> None:
    plan_surgery(design, None)
    assert design.gate(item="design")["imaging"]["verdict"] == "cannot be determined"
    with pytest.raises(InputError, match="cannot be determined"):
        design.gate(item="design", purpose="clinical")
    del design.settings["imaging"]
    with pytest.raises(ReviewError, match="how old the images may be"):
        design.gate(item="design", purpose="clinical")


def test_other_gates_do_not_ask(room: Room) -> None:
    room.sign("anna")
    room.sign("emil")
    assert room.gate()["imaging"] is None
