"""The plan of a pelvis whose planes and margins are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_pelvis import (
    DISC_MM,
    FORAMINA,
    JOINT_MM,
    MID_X,
    PLAN,
    TUMOUR_CENTRE,
    TUMOUR_RADIUS,
    changed,
    plan_job,
    plane_named,
    sacrum,
    side_plane,
    write_bones,
)

from implantflow.artifacts import read_json, sha256_file
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import Plane
from implantflow.plan.midplane import find_midplane
from implantflow.plan.stage import plan_resection
from implantflow.solids.booleans import union
from implantflow.solids.mesh import read_solid
from implantflow.solids.shapes import sphere


@pytest.fixture(scope="module")
def record(plan: Path) -> dict[str, Any]:
    data: dict[str, Any] = read_json(plan / "plan.json")
    return data


def test_midplane_is_found(record: dict[str, Any]) -> None:
    plane = Plane.from_json(record["midline_plane"])
    corners = np.array([[MID_X, y, z] for y in (0, 40) for z in (0, -100)], dtype=float)
    assert np.abs(plane.distance(corners)).max() < 0.1


def test_midplane_is_robust_to_a_one_sided_mass() -> None:
    lump = sphere([MID_X + 45, 20, -20], 17.0, 48)
    found = find_midplane(union(sacrum(), lump))
    assert abs(found.plane.distance(np.array([[MID_X, 20.0, -50.0]]))[0]) < 0.5
    assert found.plane.normal[0] > np.cos(np.radians(0.5))


def test_foramina_and_roots(record: dict[str, Any]) -> None:
    for i, (depth, _, _) in enumerate(FORAMINA):
        level = record["sacral_axis"]["foramina"][f"S{i + 1}"]
        assert level["source"] == "surface"
        assert level["s_mm"] == pytest.approx(depth, abs=1.5)
    assert [r["root"] for r in record["roots_sacrificed"]] == ["left S1", "left S2", "left S3"]


@pytest.mark.requirement("margin-kept")
def test_margin_is_the_brute_force_distance(record: dict[str, Any], bones: Path, plan: Path) -> None:
    vertices = read_solid(bones / "tumour.stl", "tumour").vertices
    margins = []
    for name in ("midline", "caudal"):
        entry = plane_named(plan / "plan.json", name)
        away = (vertices - entry["point_lps_mm"]) @ np.array(entry["normal_lps"])
        margins.append(away.min())
        assert record["osteotomy_margins_mm"][name] == pytest.approx(away.min(), abs=1e-4)
    assert record["osteotomy_margin_min_mm"] == pytest.approx(min(margins), abs=1e-4)
    assert record["osteotomy_margins_mm"]["midline"] == pytest.approx(
        TUMOUR_CENTRE[0] - TUMOUR_RADIUS - MID_X, abs=0.15
    )


def test_volumes_add_up(record: dict[str, Any], plan: Path) -> None:
    volumes = record["volumes"]
    assert abs(volumes["volume_error_pct"]) < 0.001
    specimen = read_solid(plan / "specimen.stl", "specimen").volume_mm3
    remaining = read_solid(plan / "remaining_bone.stl", "remaining").volume_mm3
    assert specimen == pytest.approx(record["specimen_volume_mm3"], rel=1e-4)
    total = specimen + remaining + volumes["kerf_volume_mm3"]
    assert total == pytest.approx(volumes["sacrum_volume_mm3"], rel=1e-3)


def test_kerf_lies_on_the_side_that_stays(plan: Path) -> None:
    specimen = read_solid(plan / "specimen.stl", "s").vertices
    remaining = read_solid(plan / "remaining_bone.stl", "r").vertices
    plane = Plane.from_json(plane_named(plan / "plan.json", "midline"))
    assert plane.distance(specimen).min() == pytest.approx(0.0, abs=1e-3)
    above = remaining[remaining[:, 2] > -65]
    assert plane.distance(above).max() == pytest.approx(-1.0, abs=1e-3)


def test_joint_planes(plan: Path) -> None:
    disc = plane_named(plan / "plan.json", "l5s1")
    assert disc["normal_lps"][2] > 0.999
    assert disc["point_lps_mm"][2] == pytest.approx(DISC_MM / 2, abs=0.2)
    joint = plane_named(plan / "plan.json", "si_joint")
    truth = side_plane(1, JOINT_MM / 2)
    assert np.dot(joint["normal_lps"], truth.normal) > np.cos(np.radians(0.5))
    assert abs(truth.distance(np.array([joint["point_lps_mm"]]))[0]) < 0.1


def test_screw_lies_in_the_specimen(record: dict[str, Any], plan: Path) -> None:
    (screw,) = record["corridors"]
    assert screw["fits"] and 25.0 <= screw["length_mm"] <= 30.0
    start, end = np.array(screw["start_lps_mm"]), np.array(screw["end_lps_mm"])
    stations = start + np.linspace(screw["excluded_below_entry_mm"] / screw["length_mm"], 1, 60)[:, None] * (
        end - start
    )
    # brute force: distance to densely sampled surface points
    surface = read_solid(plan / "specimen.stl", "s")
    near = np.min([np.linalg.norm(surface.centres_mm - p, axis=1).min() for p in stations])
    assert screw["min_clearance_mm"] <= near + 1e-6
    assert screw["min_clearance_mm"] > 8.0
    assert start[1] > end[1], "the screw enters from behind"


def test_caudal_plane_follows_the_margin(bones: Path, tmp_path: Path) -> None:
    plan_resection(plan_job(bones, tmp_path, changed(PLAN, caudal_level="S1", corridors=[])))
    entry = plane_named(tmp_path / "plan.json", "caudal")
    assert entry["source"] == "margin, below S1"
    assert 10.0 <= entry["tumour_distance_min_mm"] < 10.6


@pytest.mark.requirement("margin-kept")
def test_margin_not_kept_says_by_how_much(bones: Path, tmp_path: Path) -> None:
    with pytest.raises(QualityGateError) as caught:
        plan_resection(plan_job(bones, tmp_path, changed(PLAN, margin_mm=25.0, corridors=[])))
    assert "midline osteotomy leaves 21." in caught.value.what
    assert "across the midline" in caught.value.fix and "point_lps_mm" in caught.value.fix
    assert not list(tmp_path.glob("*.stl"))


def test_the_least_change_keeps_the_margin(bones: Path, tmp_path: Path) -> None:
    planes = {"midline": {"point_lps_mm": [MID_X - 5.0, 20.0, -50.0], "normal_lps": [1.0, 0.0, 0.0]}}
    plan_resection(plan_job(bones, tmp_path, changed(PLAN, margin_mm=25.0, planes=planes, corridors=[])))
    record = read_json(tmp_path / "plan.json")
    assert record["osteotomy_margins_mm"]["midline"] >= 25.0
    assert plane_named(tmp_path / "plan.json", "midline")["source"] == "surgeon"


@pytest.mark.requirement("right-side")
def test_wrong_side_is_one_clear_error(bones: Path, tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"config says side: right, but the tumour lies .* left"):
        plan_resection(plan_job(bones, tmp_path, side="right"))


def test_right_side_works_too(tmp_path: Path) -> None:
    write_bones(tmp_path / "bones", side="right")
    plan_resection(plan_job(tmp_path / "bones", tmp_path / "p", side="right"))
    record = read_json(tmp_path / "p" / "plan.json")
    assert record["side_evidence_mm"]["specimen_centroid"] < 0
    assert record["roots_sacrificed"][0]["root"] == "right S1"
    assert record["corridors"][0]["fits"]


def test_tumour_in_the_ilium_is_refused(bones: Path, tmp_path: Path) -> None:
    write_bones(tmp_path / "bones")
    from implantflow.solids.mesh import write_solid

    write_solid(tmp_path / "bones" / "tumour.stl", sphere([MID_X + 42, 20, -34], 9.0, 48), "tumour")
    with pytest.raises(QualityGateError, match="tumour enters the hip"):
        plan_resection(plan_job(tmp_path / "bones", tmp_path / "p"))


def test_same_bytes_twice(bones: Path, plan: Path, tmp_path: Path) -> None:
    plan_resection(plan_job(bones, tmp_path))
    for name in ("plan.json", "specimen.stl", "remaining_bone.stl"):
        assert sha256_file(tmp_path / name) == sha256_file(plan / name)
