"""Plan and scores of the validation set: what it covers, and that its figures can come out bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.followup.validation import nmar
from tests.followup.validation.page import page
from tests.followup.validation.plan import CASES, EXTRA_CASE, FACES, PROTOCOLS, State, months, states
from tests.followup.validation.read import soft_width
from tests.followup.validation.score import clustered, kappa, score, share


def test_plan_covers_what_was_asked() -> None:
    planned = [s for s in states() if s.case != EXTRA_CASE]
    later = [s for s in planned if s.half != "baseline"]
    assert states() == states() and len({s.key for s in planned}) == len(planned)
    assert len(later) * len(PROTOCOLS) >= 40
    for case in CASES:
        halves = [s.half for s in later if s.case == case]
        assert abs(halves.count("development") - halves.count("held_out")) <= 1
        assert sum(s.half == "baseline" for s in planned if s.case == case) == 1
    moved = [np.linalg.norm(s.truth.migration.shift_mm) for s in later]
    turned = [np.linalg.norm(s.truth.migration.turns_deg) for s in later]
    assert min(moved) == 0 and max(moved) > 4.5 and min(turned) == 0 and max(turned) > 4.5
    grown = [i.at_face_fraction for s in later for i in s.truth.pores.ingrowth.values()]
    assert max(grown) > 0.35 and min(grown) < 0.1
    fills = {s.truth.pores.fill_hu for s in later}
    assert 25.0 in fills and min(fills) <= -90 and max(fills) >= 45
    for face in FACES:
        widths = [s.truth.faces[face].width_mm for s in later if _lucent(s, face)]
        assert min(w for w in widths if w) < 1.0 and max(w for w in widths if w) > 2.5


def _lucent(state: State, face: Any) -> bool:
    return face in state.truth.faces and state.truth.faces[face].state == "lucent"


def test_halves_do_not_depend_on_what_is_true() -> None:
    """Both halves hold equal and changed pore contents."""
    for half in ("development", "held_out"):
        fills = {s.truth.pores.fill_hu == 25.0 for s in states() if s.half == half and months(s) > 6}
        assert fills == {True, False}


def test_true_width_of_soft_tissue() -> None:
    way = np.array([0.05, 1.3, 7.99])
    fused = {"faces": {"midline": {"state": "fused", "width_mm": 3.0}}}
    lucent = {"faces": {"midline": {"state": "lucent", "width_mm": 2.0}}}
    left: dict[str, Any] = {"faces": {}}

    def width(scan: dict[str, Any]) -> list[float]:
        return soft_width(State("demo", "s", "development", scan, 0.1), "midline", way).tolist()

    assert width(fused)[:2] == [0.0, 0.0] and np.isnan(width(fused)[2])
    assert width(lucent)[:2] == [2.0, 2.0]
    assert width(left)[:2] == [0.0, 1.3]


def _reading(state: str, error_mm: float, read: float, grade: str, true_grade: str) -> dict[str, Any]:
    """One scan with one face of one patch and one region; the truth: bone 0.1."""
    gap = 0.0 if true_grade == "I" else 2.0
    figures = {"grade": grade, "bridged_pct": 0.0, "lucency_mm": 2.0 if grade == "III" else 0.0}
    patch = {
        "area": [30.0], "soft_mm": [gap], "limit_mm": [0.8], "width_mm": [figures["lucency_mm"]],
        "lucent": [float(grade == "III")], "bone_seen": [0.0], "readable": [True], "threshold_mm": [0.0],
    }  # fmt: skip
    motion = {
        "error_mm": error_mm, "error_deg": 0.1, "repeatability_mm": 0.2, "repeatability_deg": 0.2,
        "found_mm": 1.0, "true_mm": 1.0,
    }  # fmt: skip
    region = {
        "region": "whole", "status": "determined", "read": read, "interval": [read - 0.05, read + 0.05],
        "interval_same_filler": [read - 0.005, read + 0.05], "true": 0.1, "mixed": 0.5, "difference": 0.05,
        "noise_limited": False,
    }  # fmt: skip
    face = {
        "figures": {**figures, "detection_limit_mm": 0.8},
        "truth": {"grade": true_grade, "lucency_mm": gap, "bridged_pct": 100.0 if gap == 0 else 0.0},
        "patches": patch,
    }
    return {
        "case": "demo", "state": state, "half": "development", "protocol": "thin", "months": 12.0,
        "fill_changed": False, "cpu_s": {"locate": 1.0, "rest": 1.0}, "motion": motion,
        "faces": {"midline": face}, "lattice": [region],
    }  # fmt: skip


def test_good_readings_score_well_and_bad_ones_badly() -> None:
    good = score([_reading("s01", 0.05, 0.11, "I", "I"), _reading("s02", 0.1, 0.09, "III", "III")])
    assert good["wrong"] == [] and good["grades"]["kappa"][0] == 1.0
    assert good["bone"]["coverage"][0] == 1.0 and good["bone"]["p95_error_same_contents"] < 0.011
    assert good["bone"]["coverage_same_contents"][0] == 0.5
    assert good["bone"]["median_width_same_contents"] == pytest.approx(0.055)
    assert good["lucency"]["sensitivity"][0] == 1.0 and good["lucency"]["specificity"][0] == 1.0
    assert good["motion"]["within_repeatability"][0] == 1.0
    bad = score([_reading("s01", 0.9, 0.3, "III", "I"), _reading("s02", 0.3, 0.3, "I", "III")])
    assert len(bad["wrong"]) == 3 and bad["grades"]["kappa"][0] < 0
    assert bad["bone"]["coverage"][0] == 0.0 and bad["lucency"]["sensitivity"][0] == 0.0
    assert bad["lucency"]["specificity"][0] == 0.0 and bad["motion"]["p95_mm"] > 0.3


def test_whole_clusters_are_drawn() -> None:
    """Ten equal readings of one state are one finding, not ten."""
    items = [{"cluster": f"s{n % 4}", "hit": n % 4 != 0} for n in range(40)]
    whole, low, high = clustered(items, share)
    assert whole == 0.75 and low <= 0.26 and high == 1.0


def test_kappa_of_chance_is_nought() -> None:
    pairs = [("I", "I"), ("I", "III"), ("III", "I"), ("III", "III")]
    assert kappa([{"true_grade": a, "grade": b} for a, b in pairs]) == pytest.approx(0.0)


def test_page_shows_both_halves_and_refusals(tmp_path: Path) -> None:
    refused = {
        "case": "demo",
        "state": "s03",
        "half": "development",
        "protocol": "thin",
        "refused": "no bone",
    }
    readings = [_reading("s01", 0.05, 0.11, "I", "I"), refused]
    text = page(
        readings,
        {"development": score(readings), "held_out": score(readings)},
        states(),
        tmp_path,
        {"0.01 more metal": (3, 4)},
        1,
    )
    assert "| figure | aim | development | held out |" in text
    assert (
        "demo_s03 thin: no bone" in text
        and "2 (1)" in text
        and "SIMULATED" in text
        and "0.01 more metal: 3 of 4" in text
    )


def _second(
    state: str, soft_mm: float, original: float, reduced: float, thresholds: tuple[float, float]
) -> Any:
    """The second reading of one scan with one face of one patch."""

    def patch(lucent: float, threshold_mm: float) -> dict[str, list[Any]]:
        return {"limit_mm": [1.0], "lucent": [lucent], "readable": [True], "threshold_mm": [threshold_mm]}

    readings = {"original": patch(original, thresholds[0]), "reduced": patch(reduced, thresholds[1])}
    return {
        "code": nmar.code(), "case": "demo", "state": state, "half": "development", "protocol": "thin",
        "cpu_s": {"reduce_one_scan": 3.0}, "faces": {"midline": {"soft_mm": [soft_mm], **readings}},
    }  # fmt: skip


def test_second_reading_is_scored_on_the_same_patches() -> None:
    found = nmar.score([_second("s01", 2.0, 1.0, 0.0, (0.0, 2.0)), _second("s02", 0.0, 0.0, 1.0, (1.0, 0.0))])
    assert found["original"]["sensitivity"][0] == 1.0 and found["original"]["specificity"][0] == 1.0
    assert found["reduced"]["sensitivity"][0] == 0.0 and found["reduced"]["specificity"][0] == 0.0
    assert found["threshold"]["sensitivity"][0] == 0.0 and found["threshold"]["specificity"][0] == 0.0
    assert found["reduced_threshold"]["sensitivity"][0] == 1.0
    assert found["own"]["patches_with_gap"] == 1 and found["own"]["patches_bridged"] == 1
    unread = _second("s01", 2.0, 1.0, 1.0, (0.0, 0.0))
    unread["faces"]["midline"]["reduced"]["readable"] = [False]
    assert nmar.score([unread])["reduced"]["sensitivity"][0] == 0.0
    assert nmar.score([unread])["own"]["patches_with_gap"] == 0


def test_second_readings_of_an_older_reduction_are_left_out(tmp_path: Path) -> None:
    one = next(s for s in states() if s.half == "development")
    path = nmar.kept(tmp_path, one, "thin")
    path.parent.mkdir()
    kept = _second("s01", 2.0, 1.0, 1.0, (0.0, 0.0))
    path.write_text(json.dumps(kept))
    assert nmar.scores([one], tmp_path)["development"]["scans"] == 1
    path.write_text(json.dumps(kept | {"code": "older"}))
    assert nmar.scores([one], tmp_path) == {}
