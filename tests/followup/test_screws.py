"""Screws in analytic scans: found where they are, breaks and motion seen, and silence where there is nothing to see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from implantflow.config.followup import ScrewRules
from implantflow.followup.design import Blur
from implantflow.followup.found import Found
from implantflow.followup.screws import Earlier, read_screws
from implantflow.volumes import Volume

MM = 0.6
METAL_HU, BONE_HU, SOFT_HU = 8000.0, 400.0, 40.0
RULES = ScrewRules(
    gap_min_mm=1.0, step_min_mm=1.0, moved_min_mm=1.0, rim_drop_hu=150.0, rim_min_pct=30.0, source="tests"
)
START, END = np.array([12.0, 20.0, 14.0]), np.array([44.0, 26.0, 30.0])
DIAMETER = 7.0
AXIS = (END - START) / np.linalg.norm(END - START)
SIDE = np.cross(AXIS, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(AXIS, [0.0, 0.0, 1.0]))
FOUND = Found(np.eye(4), np.eye(4), Blur(0.5, 0.5), 1.0, 0.0)


def plan(**changed: Any) -> dict[str, Any]:
    """One screw in the pelvis."""
    corridor = {"name": "iliac_left", "kind": "iliac", "diameter_mm": DIAMETER}
    corridor |= {"start_lps_mm": START.tolist(), "end_lps_mm": END.tolist()}
    return {"corridors": [corridor | changed]}


def scan(
    parts: list[tuple[np.ndarray, np.ndarray]], rim_mm: float = 0.0, size: tuple[int, ...] = (76, 78, 96)
) -> Volume:
    """Bone with cylinders of metal, blurred and clipped as a CT is; noise from a fixed seed."""
    k, j, i = np.meshgrid(*(np.arange(n) * MM for n in size), indexing="ij")
    places = np.stack([i, j, k], axis=-1).astype(float)
    hu = np.full(size, BONE_HU)
    for reach, value in ((DIAMETER / 2.0 + rim_mm, SOFT_HU), (DIAMETER / 2.0, METAL_HU)):
        for start, end in parts:
            axis, length = (end - start) / np.linalg.norm(end - start), float(np.linalg.norm(end - start))
            along = (places - start) @ axis
            way = np.linalg.norm(places - start - along[..., None] * axis, axis=-1)
            hu[(way < reach) & (along > 0.0) & (along < length)] = value
    hu = ndimage.gaussian_filter(hu, 0.6 / MM) + np.random.default_rng(3).normal(0.0, 15.0, size)
    return Volume(np.clip(hu, -1024, 3071).astype(np.int16), np.diag([MM, MM, MM, 1.0]))


def said(
    volume: Volume, before: Volume | None = None, comparable: bool = True, **changed: Any
) -> dict[str, Any]:
    """What is said of the one screw."""
    earlier = None if before is None else Earlier(before, FOUND, comparable)
    return read_screws(plan(**changed), volume, FOUND, earlier, 2200.0, RULES)[0]


@pytest.fixture(scope="module")
def firm() -> Volume:
    return scan([(START, END)])


def test_a_firm_screw_is_where_it_was_planned_and_shows_no_sign(firm: Volume) -> None:
    entry = said(firm, firm)
    assert entry["status"] == "seen" and entry["free_mm"] > 30.0
    assert entry["against_plan"]["start_across_mm"] < 0.1 and entry["against_plan"]["end_across_mm"] < 0.1
    # Bloom at the level of metal lengthens it by less than the point spread.
    assert abs(entry["against_plan"]["tip_beyond_mm"]) < 0.6
    assert (entry["break"], entry["loosening"]) == ("no sign", "no sign")


@pytest.mark.parametrize(("across", "forward"), [(0.4, 0.0), (2.0, 0.0), (0.0, -3.0)])
def test_motion_since_the_baseline(firm: Volume, across: float, forward: float) -> None:
    shift = across * SIDE + forward * AXIS
    entry = said(scan([(START + shift, END + shift)]), firm)
    assert entry["since_baseline"]["across_mm"] == pytest.approx(across, abs=0.1)
    assert entry["since_baseline"]["tip_advance_mm"] == pytest.approx(forward, abs=0.2)
    assert entry["loosening"] == ("signs" if max(across, -forward) >= 1.0 else "no sign")


@pytest.mark.parametrize(("gap", "step", "broken"), [(3.0, 0.0, True), (0.0, 1.6, True), (0.0, 0.4, False)])
def test_a_break_shows_as_a_gap_or_a_step(firm: Volume, gap: float, step: float, broken: bool) -> None:
    middle = (START + END) / 2.0
    parts = [
        (START, middle - AXIS * gap / 2.0),
        (middle + AXIS * gap / 2.0 + SIDE * step, END + SIDE * step),
    ]
    entry = said(scan(parts), firm)
    assert entry["break"] == ("signs" if broken else "no sign")
    if gap:
        # Bloom closes a gap by about the width of the point spread on both sides.
        assert gap - 2.0 < entry["break_gap_mm"] <= gap
    else:
        assert entry["break_step_mm"] == pytest.approx(step, abs=0.3)


def test_a_rim_that_lost_its_bone(firm: Volume) -> None:
    entry = said(scan([(START, END)], rim_mm=2.0), firm)
    assert entry["since_baseline"]["darker_rim_pct"] > 90.0
    assert entry["loosening"] == "signs" and "darker" in entry["loosening_reason"]
    other = said(scan([(START, END)], rim_mm=2.0), firm, comparable=False)
    assert other["since_baseline"]["darker_rim_pct"] is None and other["loosening"] == "no sign"


def test_no_metal_where_it_was_planned_is_said() -> None:
    assert said(scan([]))["status"] == "no metal found"


def test_outside_the_scan_or_in_other_metal_it_cannot_be_told(firm: Volume) -> None:
    far = (START + 100.0).tolist(), (END + 100.0).tolist()
    entry = said(firm, start_lps_mm=far[0], end_lps_mm=far[1])
    assert entry["status"] == "not determinable" and "outside" in entry["reason"]
    block = firm.like(np.full_like(firm.array, 3071))
    assert said(block)["status"] == "not determinable"


def test_a_screw_whose_tip_is_hidden_may_have_backed_out(firm: Volume) -> None:
    array = firm.array.copy()
    k, j, i = np.indices(array.shape) * MM
    array[np.linalg.norm(np.stack([i, j, k], axis=-1) - END, axis=-1) < 9.0] = 3071
    entry = said(firm.like(array), firm)
    assert entry["against_plan"]["tip_beyond_mm"] is None
    assert entry["loosening"] == "not determinable" and "tip is hidden" in entry["loosening_reason"]


def test_without_baseline_loosening_is_not_determinable(firm: Volume) -> None:
    entry = said(firm)
    assert entry["loosening"] == "not determinable" and entry["loosening_reason"] == "no baseline scan"


def test_screws_of_the_spine_are_not_read(firm: Volume) -> None:
    entry = said(firm, firm, kind="pedicle")
    assert entry["held_by"] == "spine" and "not registered" in entry["reason"]


def test_without_rules_nothing_is_looked_at(firm: Volume) -> None:
    entry = read_screws(plan(), firm, FOUND, None, 2200.0, None)[0]
    assert entry["status"] == "not determinable" and "followup.screws" in entry["reason"]
