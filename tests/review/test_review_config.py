"""The config of gates and site: what may not be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from review_room import Room

from implantflow.config.load import load
from implantflow.config.review import ReviewConfig
from implantflow.config.site import SiteConfig

ROOT = Path(__file__).parents[2]


def test_site_config_of_the_project_is_valid() -> None:
    site = load(SiteConfig, ROOT / "config" / "site.yaml")
    for purpose in ("demo", "research", "clinical"):
        assert set(site.signatures[purpose]) == {"labels", "review", "design", "release"}  # type: ignore[index]
    assert min(len(roles) for roles in site.signatures["clinical"].values()) == 2


def test_policy_of_a_gate() -> None:
    config = ReviewConfig.model_validate({"policy": "auto", "gates": {"design": "signed"}})
    assert (config.policy_of("labels"), config.policy_of("design")) == ("auto", "signed")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"policy": "auto", "authors": ["anna"]}, "review.policy"),
        ({"policy": "signed", "gates": {"design": "auto"}, "authors": ["anna"]}, "review.gates"),
        ({"policy": "signed"}, "review.authors"),
    ],
)
def test_clinical_case_refuses(data: dict[str, Any], said: str) -> None:
    problems = ReviewConfig.model_validate(data).clinical_problems()
    assert len(problems) == 1 and said in problems[0]


def test_clinical_case_accepts_signatures() -> None:
    assert ReviewConfig(policy="signed", authors=["anna"]).clinical_problems() == []


@pytest.mark.parametrize("data", [{}, {"policy": "none"}, {"policy": "auto", "gates": {"final": "auto"}}])
def test_policy_has_no_default_and_no_other_values(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReviewConfig.model_validate(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["signatures"]["clinical"].update(review=["surgeon"]), "at least 2 different roles"),
        (lambda d: d["signatures"]["clinical"].update(review=["surgeon", "surgeon"]), "names a role twice"),
        (lambda d: d["signatures"]["demo"].pop("design"), "signatures.demo.design is missing"),
        (lambda d: d["signatures"].pop("research"), "signatures.research.labels is missing"),
        (lambda d: d["signatures"]["demo"].update(labels=[]), "at least 1 item"),
        (lambda d: d["reviewers"][1].update(id="anna"), "id anna is given to 2 entries"),
        (lambda d: d["reviewers"][1].update(public_key=d["reviewers"][0]["public_key"]), "public_key"),
        (lambda d: d["reviewers"][1].update(name="anna  WEBER"), "2 keys that are not revoked"),
        (lambda d: d["reviewers"][0].update(role="patient"), "surgeon"),
        (lambda d: d["reviewers"][0].update(public_key="ABC"), "pattern"),
        (lambda d: d["imaging_max_age"].update(mr_days=0), "greater than 0"),
        (lambda d: d.update(password="x"), "Extra inputs"),
    ],
)
def test_site_refuses(room: Room, change: Any, said: str) -> None:
    data = room.site.model_dump(mode="json")
    change(data)
    with pytest.raises(ValidationError, match=said):
        SiteConfig.model_validate(data)
