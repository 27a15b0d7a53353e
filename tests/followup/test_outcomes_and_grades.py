"""Outcome table, grades by the written rule, and the config of the follow-up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from small_world import settings

from implantflow.config.followup import FaceRules, FollowupConfig, GradeRules
from implantflow.errors import InputError
from implantflow.followup.grade import face_figures, grade_of, weighted_median
from implantflow.followup.lucency import Reading
from implantflow.followup.outcome import changes, read_outcomes

HEAD = "date,months,measure,value,unit,source\n"
RULES = GradeRules.model_validate(settings()["grade"])


def _table(folder: Path, text: str) -> Path:
    path = folder / "outcomes.csv"
    path.write_text(text)
    return path


def test_outcomes_are_sorted_and_compared(tmp_path: Path) -> None:
    rows = read_outcomes(
        _table(tmp_path, HEAD + ",12,VAS,3,points,clinic\n2030-01-31,0,VAS,8,points,clinic\n")
    )
    assert [row["value"] for row in rows] == [8.0, 3.0] and rows[0]["date"] == "2030-01-31"
    assert changes(rows)[0]["change"] == -5.0
    assert changes(rows[:1])[0]["change"] is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b\n1,2\n", "columns"),
        (HEAD, "empty"),
        (HEAD + ",0,VAS,eight,points,x\n", "not readable"),
        (HEAD + "31.1.2030,0,VAS,8,points,x\n", "not readable"),
        (HEAD + ",0,VAS,nan,points,x\n", "finite"),
        (HEAD + ",0,VAS,8,,x\n", "lacks unit"),
        (HEAD + ",0,VAS,8,points\n", "fields"),
        (HEAD + ",0,VAS,8,points,x\n,0,VAS,7,points,x\n", "twice"),
        (HEAD + ",0,VAS,8,points,x\n,1,VAS,7,cm,x\n", "two units"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        read_outcomes(_table(tmp_path, text))


@pytest.mark.parametrize(
    ("bridged", "seen", "width", "months", "moved", "grade"),
    [
        (95.0, 80.0, 0.0, 12.0, 0.3, "I"),
        (50.0, 50.0, 0.0, 12.0, 0.3, "II"),
        (95.0, 5.0, 0.0, 12.0, 0.3, "contact"),
        (50.0, 5.0, 0.0, 12.0, 0.3, "partial gap"),
        (10.0, 0.0, 2.0, 12.0, 0.3, "III"),
        (45.0, 20.0, 2.0, 12.0, 0.3, "III"),
        (10.0, 0.0, 2.0, 12.0, 3.0, "IV"),
        (10.0, 0.0, 2.0, 12.0, None, "III"),
        (10.0, 0.0, 0.6, 12.0, 0.3, "not bridged"),
        (95.0, 80.0, 0.0, 3.0, 0.3, "too early: contact"),
        (10.0, 0.0, 2.0, 3.0, 0.3, "too early: gap"),
    ],
)
def test_grades(
    bridged: float, seen: float, width: float, months: float, moved: float | None, grade: str
) -> None:
    figures = {"bridged_pct": bridged, "bone_seen_pct": seen, "lucency_mm": width, "detection_limit_mm": 0.8}
    found, text = grade_of(figures | {"lucency_at_least_mm": 0.7 * width}, RULES, months, moved)
    assert found == grade and text


@pytest.mark.parametrize(("bridged", "moved"), [(10.0, 0.3), (45.0, 0.3), (10.0, 3.0)])
def test_a_width_that_may_be_no_lucency_is_a_gap_and_no_grade(bridged: float, moved: float) -> None:
    figures = {"bridged_pct": bridged, "bone_seen_pct": 0.0, "lucency_mm": 1.6, "detection_limit_mm": 1.9}
    found, text = grade_of(figures | {"lucency_at_least_mm": 0.4}, RULES, 12.0, moved)
    assert found == "gap" and "0.4 mm would fit as well" in text


@pytest.mark.parametrize(("patches", "grade"), [(2, "not readable"), (3, "III")])
def test_too_few_patches_are_not_graded(patches: int, grade: str) -> None:
    """All of them show a gap of 2 mm, but one or two agree by chance."""
    ones = np.ones(patches)
    face: Any = SimpleNamespace(
        lines=SimpleNamespace(patch_areas=30.0 * ones), area_mm2=30.0 * patches, mates_with="remaining_bone"
    )
    host: Any = SimpleNamespace(gap_mm=0.3 * ones)
    reading = Reading(2.0 * ones, 50.0 * ones, 1.0 * ones, 0.0 * ones, ones, 0.0 * ones, 1.5 * ones, 1.0)
    rules = FaceRules.model_validate(settings()["faces"])
    figures = face_figures(face, host, reading, rules, RULES, 12.0, 0.0)
    assert figures["patches"] == patches and figures["grade"] == grade, figures["reading"]


def test_bone_is_no_contact_where_no_gap_would_show() -> None:
    """Bone is seen in every patch, but none of them has a detection limit."""
    ones = np.ones(5)
    face: Any = SimpleNamespace(
        lines=SimpleNamespace(patch_areas=30.0 * ones), area_mm2=150.0, mates_with="remaining_bone"
    )
    host: Any = SimpleNamespace(gap_mm=0.3 * ones)
    rules = FaceRules.model_validate(settings()["faces"])
    for limit, grade in ((np.nan, "not readable"), (1.5, "contact")):
        reading = Reading(
            0.0 * ones, 0.0 * ones, limit * ones, 400.0 * ones, 0.0 * ones, ones, 0.0 * ones, 1.0
        )
        figures = face_figures(face, host, reading, rules, RULES, 12.0, 0.0)
        assert figures["grade"] == grade, figures["reading"]
        assert (figures["bridged_pct"] is None) == (grade == "not readable")


def test_weighted_median() -> None:
    import numpy as np

    assert weighted_median(np.array([1.0, 5.0, np.nan]), np.array([1.0, 3.0, 9.0])) == 5.0
    assert weighted_median(np.array([np.nan]), np.array([1.0])) is None


def _config(timepoints: list[dict]) -> FollowupConfig:
    return FollowupConfig.model_validate({**settings(), "timepoints": timepoints})


def test_baseline_must_be_an_earlier_time_point() -> None:
    first = {"name": "m0", "series": "ct_m0", "months": 0, "baseline": None, "artefact_reduction": "none"}
    later = {"name": "m12", "series": "ct_m12", "months": 12, "baseline": "m0", "artefact_reduction": "none"}
    assert _config([first, later]).timepoints[1].baseline == "m0"
    with pytest.raises(ValidationError, match="no earlier one"):
        _config([later, first])
    with pytest.raises(ValidationError, match="twice"):
        _config([first, first])
    with pytest.raises(ValidationError, match="not earlier in months"):
        _config([{**first, "months": 12}, later])
    with pytest.raises(ValidationError):
        _config([{"name": "m0", "series": "ct_m0", "months": 0, "artefact_reduction": "none"}])
    with pytest.raises(ValidationError, match="artefact_reduction"):
        _config([{key: value for key, value in first.items() if key != "artefact_reduction"}])
