"""Procedures, tolerances, tracts and refusals on the pelvis whose planes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_pelvis import FORAMINA, MID_X, PLAN, TUMOUR_CENTRE, changed, plan_job, plane_named, write_bones

from implantflow.artifacts import read_json
from implantflow.config.plan import PlanRevision
from implantflow.errors import ConfigError, GeometryError, QualityGateError
from implantflow.geometry import Plane
from implantflow.plan.margin import worst_margin_mm
from implantflow.plan.stage import plan_resection
from implantflow.solids.mesh import read_solid, write_solid
from implantflow.solids.shapes import sphere

BARE = changed(PLAN, corridors=[])


def test_worst_margin_is_the_brute_force_one() -> None:
    """Planes shifted by 1.5 mm and tilted by 3 degrees about every axis through the pivot."""
    rng = np.random.default_rng(5)
    points = rng.uniform([-40, -40, 12], [40, 40, 40], (300, 3))
    pivot = np.array([5.0, -3.0, 0.0])
    plane = Plane.of([0, 0, 0], [0, 0, 1])
    worst = np.inf
    for turn in np.radians(np.arange(0, 360, 1.0)):
        tilted = np.array(
            [
                np.sin(np.radians(3)) * np.cos(turn),
                np.sin(np.radians(3)) * np.sin(turn),
                np.cos(np.radians(3)),
            ]
        )
        worst = min(worst, float(((points - pivot) @ tilted).min()) - 1.5)
    assert worst_margin_mm(plane, pivot, points, 1.5, 3.0) == pytest.approx(worst, abs=0.01)


def test_tolerances_show_in_the_plan(plan: Path) -> None:
    record = read_json(plan / "plan.json")
    entry = plane_named(plan / "plan.json", "midline")
    assert entry["worst_case_margin_mm"] < entry["tumour_distance_min_mm"] - 1.0
    assert record["osteotomy_margin_worst_case_mm"] <= entry["worst_case_margin_mm"]
    assert entry["seating_gap_worst_mm"] > 1.0
    assert entry["face_area_mm2"] > 1000.0


def test_a_saw_that_may_enter_the_tumour_is_refused(bones: Path, tmp_path: Path) -> None:
    near = {"midline": {"point_lps_mm": [MID_X + 10.5, 20.0, -50.0], "normal_lps": [1.0, 0.0, 0.0]}}
    sloppy = changed(BARE, osteotomy_tolerance_mm=9.0, osteotomy_tolerance_deg=15.0, planes=near)
    with pytest.raises(QualityGateError, match="the saw enters the tumour by"):
        plan_resection(plan_job(bones, tmp_path, sloppy))


def test_tolerances_have_no_default() -> None:
    for key in ("osteotomy_tolerance_mm", "osteotomy_tolerance_deg", "margin_mm"):
        with pytest.raises(ValueError, match=key):
            PlanRevision.model_validate({k: v for k, v in PLAN.items() if k != key})


def _tract(entry: list[float]) -> dict[str, object]:
    return {
        "name": "needle",
        "entry_lps_mm": entry,
        "target_lps_mm": TUMOUR_CENTRE.tolist(),
        "radius_mm": 4.0,
    }


def test_biopsy_tract_inside_the_specimen(bones: Path, tmp_path: Path) -> None:
    plan_resection(plan_job(bones, tmp_path, changed(BARE, biopsy_tracts=[_tract([MID_X + 30, 90, -34])])))
    (entry,) = read_json(tmp_path / "plan.json")["biopsy_tracts"]
    assert entry["osteotomy_distance_mm"]["midline"] == pytest.approx(26.0, abs=0.1)


def test_biopsy_tract_left_behind_is_refused(bones: Path, tmp_path: Path) -> None:
    with pytest.raises(QualityGateError, match="needle does not come out with the specimen: the midline"):
        plan_resection(
            plan_job(bones, tmp_path, changed(BARE, biopsy_tracts=[_tract([MID_X - 20, 60, -34])]))
        )


def test_total_sacrectomy(bones: Path, tmp_path: Path) -> None:
    plan_resection(plan_job(bones, tmp_path, changed(BARE, procedure="total_sacrectomy", caudal_level=None)))
    record = read_json(tmp_path / "plan.json")
    assert record["osteotomy_margin_min_mm"] is None and not record["osteotomy_margins_mm"]
    assert [p["name"] for p in record["resection_planes"]] == ["l5s1", "si_joint", "si_joint_right"]
    assert len(record["roots_sacrificed"]) == 8
    specimen = read_solid(tmp_path / "specimen.stl", "specimen")
    assert specimen.volume_mm3 == pytest.approx(read_solid(bones / "sacrum.stl", "s").volume_mm3, rel=1e-5)


def test_partial_sacrectomy_below_s2(bones: Path, tmp_path: Path) -> None:
    write_bones(tmp_path / "bones")
    write_solid(tmp_path / "bones" / "tumour.stl", sphere([MID_X + 5, 20, -78], 7.0, 48), "tumour")
    low = changed(BARE, procedure="partial_sacrectomy", cranial_level="S3", caudal_level=None, margin_mm=4.0)
    plan_resection(plan_job(tmp_path / "bones", tmp_path / "p", low))
    record = read_json(tmp_path / "p" / "plan.json")
    entry = plane_named(tmp_path / "p" / "plan.json", "cranial")
    assert entry["normal_lps"][2] < -0.9, "the specimen lies below"
    assert entry["point_lps_mm"][2] == pytest.approx(-(FORAMINA[2][0] - 6.0), abs=2.0)
    assert sorted(r["root"] for r in record["roots_sacrificed"]) == [
        "left S3",
        "left S4",
        "right S3",
        "right S4",
    ]
    assert abs(record["volumes"]["volume_error_pct"]) < 0.1


def test_part_of_the_ilium_on_request(tmp_path: Path) -> None:
    """A tumour in the ilium: the refusal names the offset, and the plan with that offset holds."""
    write_bones(tmp_path / "bones")
    write_solid(tmp_path / "bones" / "tumour.stl", sphere([MID_X + 42, 20, -34], 9.0, 48), "tumour")
    with pytest.raises(QualityGateError) as caught:
        plan_resection(plan_job(tmp_path / "bones", tmp_path / "p", BARE))
    offset = float(caught.value.fix.split("ilium_offset_mm: ")[1].split(",")[0])
    plan_resection(plan_job(tmp_path / "bones", tmp_path / "p", changed(BARE, ilium_offset_mm=offset)))
    record = read_json(tmp_path / "p" / "plan.json")
    assert record["osteotomy_margins_mm"]["ilium_left"] >= 10.0
    assert abs(record["volumes"]["left_ilium_volume_error_pct"]) < 0.1
    assert "si_joint" not in [p["name"] for p in record["resection_planes"]]


def test_a_partial_sacrectomy_that_leaves_no_joint_is_refused(bones: Path, tmp_path: Path) -> None:
    """A tumour in S1 that pushes the cranial osteotomy up to the end plate."""
    write_bones(tmp_path / "bones")
    write_solid(tmp_path / "bones" / "tumour.stl", sphere([MID_X + 5, 20, -14], 4.0, 48), "tumour")
    high = changed(BARE, procedure="partial_sacrectomy", cranial_level="S3", caudal_level=None, margin_mm=8.0)
    with pytest.raises(GeometryError, match="has no left sacroiliac joint any more"):
        plan_resection(plan_job(tmp_path / "bones", tmp_path / "p", high))


def test_across_the_midline_the_other_sides_root_is_lost(bones: Path, tmp_path: Path) -> None:
    planes = {"midline": {"point_lps_mm": [MID_X - 25.0, 20.0, -50.0], "normal_lps": [1.0, 0.0, 0.0]}}
    plan_resection(plan_job(bones, tmp_path, changed(BARE, planes=planes)))
    lost = [r["root"] for r in read_json(tmp_path / "plan.json")["roots_sacrificed"]]
    assert "right S1" in lost and "left S1" in lost


def test_a_root_whose_foramen_leaves_cannot_be_kept(bones: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the foramina of left S3 leave with the specimen"):
        plan_resection(plan_job(bones, tmp_path, changed(BARE, roots_sacrificed=["left S1", "left S2"])))
    given = ["left S1", "left S2", "left S3", "left L5"]
    plan_resection(plan_job(bones, tmp_path, changed(BARE, roots_sacrificed=given)))
    record = read_json(tmp_path / "plan.json")
    assert {r["origin"] for r in record["roots_sacrificed"]} == {"surgeon"}
    assert "roots_sacrificed.left L5" in record["origins"]["surgeon"]


def test_specimen_and_rest_do_not_overlap(plan: Path) -> None:
    assert read_json(plan / "plan.json")["volumes"]["interpenetration_mm3"] == 0.0
