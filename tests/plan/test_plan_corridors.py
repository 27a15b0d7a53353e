"""Corridors and screws against shapes whose best line is known, and planted collisions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_pelvis import MID_X, PLAN, changed, plan_job

from implantflow.artifacts import read_json
from implantflow.errors import GeometryError, QualityGateError
from implantflow.plan.corridors import (
    Corridor,
    Crossing,
    Search,
    _best_inside,
    plan_corridor,
    plan_crossing,
)
from implantflow.plan.cortex import Cortex
from implantflow.plan.screws import between_segments_mm, density_hu, require_apart
from implantflow.plan.stage import plan_resection
from implantflow.plan.way import Way
from implantflow.solids.booleans import refined
from implantflow.solids.shapes import box
from implantflow.volumes import Volume


def test_corridor_finds_the_middle_of_a_bar() -> None:
    """A bar of 20 x 16 mm: the line along its middle keeps 8 mm."""
    bar = refined(box([-10, 0, -8], [10, 80, 8]), 2.0)
    rng = np.random.default_rng(1)
    entry = np.column_stack([rng.uniform(-8, 8, 60), np.zeros(60), rng.uniform(-6, 6, 60)])
    found = plan_corridor(Search([bar], entry, np.array([0.1, 1.0, 0.1]), 15.0, 50.0, 60.0, 9.0))
    assert found.min_clearance_mm == pytest.approx(8.0, abs=0.15)
    assert found.length_mm == pytest.approx(60.0, abs=0.01)
    assert found.start_lps_mm[1] == pytest.approx(0.0, abs=0.05), "it starts on the surface"
    assert found.inside_pct == 100.0


def test_a_line_without_a_way_for_the_driver_is_not_taken() -> None:
    """A wide slab would take the slanting line; a neighbour behind its entries leaves the straight one only."""
    slab = refined(box([-40, 0, -10], [40, 50, 10]), 2.5)
    entry = np.array([[x, 0.0, z] for x in (-4.0, 0.0, 4.0) for z in (-3.0, 0.0, 3.0)])
    lean = np.array([-0.6, 0.8, 0.0])
    free = Search([slab], entry, lean, 36.0, 40.0, 40.0, 9.0)
    # It stands 12 mm beside the entries, where a line that leans comes from.
    neighbour = box([16, -60, -30], [30, -3, 30])
    search = dataclasses.replace(free, way=Way.about(entry, slab, [neighbour]))
    steepest = []
    for made in (free, search):
        found = plan_corridor(made)
        out = (found.start_lps_mm - found.end_lps_mm) / found.length_mm
        back = found.start_lps_mm + np.arange(2.0, 60.0)[:, None] * out
        steepest.append(float(out[0]))
        if made is search:
            beside = np.maximum(np.array([16, -60, -30]) - back, back - np.array([30, -3, 30]))
            # Refinement may turn a line by a degree or two after the grid's check of 6.5 mm.
            assert np.linalg.norm(np.maximum(beside, 0.0), axis=1).min() > 5.0
    assert steepest[1] < 0.35
    walled = dataclasses.replace(free, way=Way.about(entry, slab, [box([-60, -30, -60], [60, -20, 60])]))
    with pytest.raises(GeometryError, match="that a driver reaches"):
        plan_corridor(walled)


def test_crossing_bridges_both_joints() -> None:
    """Three blocks of 16 x 16 mm, 2 mm apart: the line through their middles keeps 8 mm."""
    sacrum = refined(box([-40, -8, -8], [40, 8, 8]), 3.0)
    hips = [refined(box([low, -8, -8], [low + 18, 8, 8]), 3.0) for low in (-60, 42)]
    places = np.array([[0.0, y, z] for y in range(-5, 6, 2) for z in range(-5, 6, 2)])
    found = plan_crossing(Crossing(sacrum, hips, places, np.array([1.0, 0.0, 0.0]), 12.0, 10.0))
    assert found.length_mm == pytest.approx(120.0, abs=0.1)
    assert found.min_clearance_mm == pytest.approx(8.0, abs=0.1)
    assert found.inside_pct == 100.0 and len(found.outside_mm) == 0


@pytest.mark.parametrize(
    ("start", "end", "pct", "out"),
    [
        ([-30, 10, 10], [32, 10, 10], 100.0, None),  # across the joint
        ([1, 10, 10], [32, 10, 10], 100.0 * 30 / 31, (0.25, 0.75)),  # begins in the joint
        ([-30, 10, 10], [36, 10, 10], 100.0 * 62 / 66, (62.25, 65.75)),  # the tip comes out
        ([-30, 25, 10], [32, 25, 10], 0.0, (0.25, 61.75)),  # beside the bones, 5 mm from their cortex
    ],
)
def test_an_axis_that_leaves_bone_has_no_clearance(
    start: list[float], end: list[float], pct: float, out: tuple[float, float] | None
) -> None:
    bones = [refined(box([-30, 0, 0], [0, 20, 20]), 2.0), refined(box([2, 0, 0], [32, 20, 20]), 2.0)]
    found = Corridor.measured(bones, np.array(start, float), np.array(end, float), 8.0, 8.0)
    assert found.inside_pct == pytest.approx(pct, abs=1e-6)
    if out is None:
        assert found.min_clearance_mm == pytest.approx(8.0, abs=1e-6) and len(found.outside_mm) == 0
    else:
        assert found.min_clearance_mm == 0.0
        assert (found.outside_mm[0], found.outside_mm[-1]) == pytest.approx(out)


def test_the_roomiest_line_inside_bone_is_taken() -> None:
    outside = Corridor(np.zeros(3), np.ones(3), 0.0, np.array([0.25]), 99.0)
    whole = Corridor(np.zeros(3), np.ones(3), 2.0, np.empty(0), 100.0)
    roomier = Corridor(np.zeros(3), np.ones(3), 2.2, np.empty(0), 100.0)
    assert _best_inside(iter([outside, whole, roomier])) is roomier
    assert _best_inside(iter([outside, outside])) is outside


def test_a_gap_too_wide_for_a_joint_is_no_bone() -> None:
    sacrum = refined(box([-40, -15, -15], [40, 15, 15]), 3.0)
    hips = [refined(box([low, -15, -15], [low + 18, 15, 15]), 3.0) for low in (-78, 60)]
    with pytest.raises(GeometryError, match="no straight line"):
        plan_crossing(Crossing(sacrum, hips, np.zeros((1, 3)), np.array([1.0, 0.0, 0.0]), 6.0, 10.0))


def test_the_front_beside_a_joint_is_cortex() -> None:
    """Faces that look at each other are the joint; the front of the same bones is not."""
    a, b = refined(box([-30, 0, 0], [0, 20, 20]), 2.0), refined(box([2, 0, 0], [32, 20, 20]), 2.0)
    start, end = np.array([-29.0, 4.0, 10.0]), np.array([31.0, 4.0, 10.0])
    assert Cortex.around([a, b], start, end).clearance_mm(start, end, 10.0, 10.0) == pytest.approx(
        4.0, abs=1e-6
    )


def test_distance_of_segments_is_the_brute_force_one() -> None:
    rng = np.random.default_rng(3)
    share = np.linspace(0.0, 1.0, 201)[:, None]
    for _ in range(30):
        p, q, r, s = rng.uniform(-30, 30, (4, 3))
        a, b = p + share * (q - p), r + share * (s - r)
        brute = np.linalg.norm(a[:, None] - b[None], axis=2).min()
        assert between_segments_mm(p, q, r, s) == pytest.approx(brute, abs=0.15)


def _screw(name: str, start: list[float], end: list[float]) -> dict[str, Any]:
    return {"name": name, "start_lps_mm": start, "end_lps_mm": end, "diameter_mm": 6.0}


def test_colliding_screws_are_refused() -> None:
    apart = [_screw("a", [0, 0, 0], [0, 40, 0]), _screw("b", [8, 20, 0], [40, 20, 0])]
    require_apart(apart)
    assert apart[0]["screw_distance_mm"] == {"b": pytest.approx(2.0)}
    with pytest.raises(QualityGateError, match=r"a and b collide: .* 1\.0 mm"):
        require_apart([apart[0], _screw("b", [5, 20, 0], [40, 20, 0])])


def test_density_is_read_along_the_path() -> None:
    array = np.zeros((40, 40, 40), dtype=np.int16)
    array[:, 20:, :] = 400
    ct = Volume(array, np.eye(4))
    found = density_hu(ct, np.array([20.0, 5.0, 20.0]), np.array([20.0, 35.0, 20.0]), 3.0)
    assert found["per_5_mm"][0] == 0.0 and found["per_5_mm"][-1] == 400.0
    assert 180.0 < found["mean"] < 220.0
    outside = density_hu(ct, np.array([20.0, 5.0, 20.0]), np.array([20.0, 55.0, 20.0]), 3.0)
    assert outside == {"note": "part of the path lies outside the scan"}


def test_the_surgeons_axis_is_measured_and_named(bones: Path, plan: Path, tmp_path: Path) -> None:
    found = read_json(plan / "plan.json")["corridors"][0]
    moved = {
        key: [found[key][0], found[key][1], found[key][2] - 2.0] for key in ("start_lps_mm", "end_lps_mm")
    }
    screw = changed(PLAN["corridors"][0], axis=moved)
    plan_resection(plan_job(bones, tmp_path, changed(PLAN, corridors=[screw])))
    record = read_json(tmp_path / "plan.json")
    entry = record["corridors"][0]
    assert entry["origin"] == "surgeon" and entry["start_lps_mm"] == moved["start_lps_mm"]
    assert entry["min_clearance_mm"] < found["min_clearance_mm"]
    assert "corridors.s1_implant.axis" in record["origins"]["surgeon"]
    assert "corridors.s1_implant.axis" not in record["origins"]["computed"]


def test_a_screw_that_leaves_bone_or_is_too_thick_does_not_fit(bones: Path, tmp_path: Path) -> None:
    """In the left ilium's block, whose back is at y = 45: one in its middle, one out of its front, one near a face."""
    iliac = {
        "kind": "iliac",
        "side": "implant",
        "diameter_mm": 6.0,
        "length_min_mm": 60.0,
        "length_max_mm": 90.0,
        "wall_mm": 1.0,
    }
    x, z = MID_X + 75.0, -60.0
    axes = {"good": ([x, 45.0, z], [x, -15.0, z]), "long": ([x - 9, 45.0, z], [x - 9, -45.0, z])}
    axes["near"] = ([MID_X + 92.0, 45.0, z], [MID_X + 92.0, -15.0, z])
    # Picked half a millimetre, and five, behind the bone.
    axes["picked"] = ([x, 45.5, z + 20.0], [x, -15.0, z + 20.0])
    axes["beside"] = ([x - 9, 50.0, z + 20.0], [x - 9, -15.0, z + 20.0])
    screws = [
        {"name": name, **iliac, "axis": {"start_lps_mm": a, "end_lps_mm": b}} for name, (a, b) in axes.items()
    ]
    plan_resection(plan_job(bones, tmp_path, changed(PLAN, corridors=screws)))
    found = {entry["name"]: entry for entry in read_json(tmp_path / "plan.json")["corridors"]}
    assert found["good"]["fits"] and found["good"]["reason"] is None
    assert not found["long"]["fits"]
    assert found["long"]["reason"].endswith("between 80.2 and 89.8 mm below its entry")
    assert found["long"]["inside_bone_pct"] == pytest.approx(100.0 * 80 / 90, abs=0.6)
    assert found["picked"]["fits"] and found["picked"]["entry_moved_to_bone_mm"] == pytest.approx(
        0.5, abs=1e-3
    )
    assert found["picked"]["start_lps_mm"][1] == pytest.approx(45.0, abs=1e-3)
    assert found["picked"]["length_mm"] == pytest.approx(60.0, abs=1e-3)
    assert not found["beside"]["fits"] and found["beside"]["entry_moved_to_bone_mm"] == 0.0
    assert not found["near"]["fits"]
    assert found["near"]["reason"] == "3.00 mm from axis to surface, 4.00 mm needed"


def test_the_implants_own_screw_must_stay_inside(bones: Path, plan: Path, tmp_path: Path) -> None:
    found = read_json(plan / "plan.json")["corridors"][0]
    beside = {key: [found[key][0] + 60.0, *found[key][1:]] for key in ("start_lps_mm", "end_lps_mm")}
    screw = changed(PLAN["corridors"][0], axis=beside)
    with pytest.raises(QualityGateError, match=r"s1_implant: 100.0 % of the axis lies outside bone"):
        plan_resection(plan_job(bones, tmp_path, changed(PLAN, corridors=[screw])))
    assert not (tmp_path / "plan.json").exists()
