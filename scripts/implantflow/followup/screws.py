"""Screws after the operation: where each is, whether it is whole, whether it has moved in its bone.

A screw is read where it stands free of other metal: in planes across its planned axis every piece of metal of about its
size is a candidate, and a straight line through most of them is the screw. Screws of the spine are not read, because
the spine moves against the pelvis from scan to scan and is not registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.followup import ScrewRules
from implantflow.followup.found import Found
from implantflow.followup.shank import (
    LEAST_MM,
    NO_METAL,
    OF_THE_SPINE,
    STEP_MM,
    Planned,
    Shank,
    look_for,
    planned_screws,
)
from implantflow.volumes import Volume


@dataclass(frozen=True)
class Earlier:
    """The scan that this one is compared with, its poses, and whether HU of the two may be compared."""

    volume: Volume
    found: Found
    hu_comparable: bool


def read_screws(
    plan: Mapping[str, Any],
    volume: Volume,
    found: Found,
    baseline: Earlier | None,
    metal_hu: float,
    rules: ScrewRules | None,
) -> list[dict[str, Any]]:
    """One entry a screw for followup.json.

    Parameters
    ----------
    volume, found : the scan (HU, scan LPS) and its poses.
    baseline : the scan it is compared with, or None.
    metal_hu : from here on a voxel is metal.
    rules : what is called moved, broken; None where the case does not ask for screws.
    """
    return [_entry(screw, volume, found, baseline, metal_hu, rules) for screw in planned_screws(plan)]


def _entry(
    screw: Planned,
    volume: Volume,
    found: Found,
    baseline: Earlier | None,
    metal_hu: float,
    rules: ScrewRules | None,
) -> dict[str, Any]:
    head = {"name": screw.name, "kind": screw.kind, "held_by": screw.held_by}
    if rules is None:
        return head | _unread("followup.screws is not configured")
    if screw.kind == OF_THE_SPINE:
        return head | _unread("the spine moves against the pelvis and is not registered")
    shank, reason = look_for(screw, volume, screw.pose(found), metal_hu)
    if shank is None:
        status = "no metal found" if reason == NO_METAL else "not determinable"
        return head | {"status": status, "reason": reason}
    before, why = None, "no baseline scan"
    if baseline is not None:
        before, reason = look_for(screw, baseline.volume, screw.pose(baseline.found), metal_hu)
        why = f"at the baseline: {reason}"
    comparable = baseline is not None and baseline.hu_comparable
    return head | {
        "status": "seen",
        "reason": None,
        "free_mm": round(len(shank.along) * STEP_MM, 6),
        "against_plan": _against_plan(screw, shank),
        **_whole(shank, rules),
        **_loosening(screw, shank, before, why, comparable, rules),
    }


def _unread(reason: str) -> dict[str, Any]:
    return {"status": "not determinable", "reason": reason}


def _against_plan(screw: Planned, shank: Shank) -> dict[str, Any]:
    """Offset across the planned axis at the planned ends (mm), turn (deg), tip beyond the planned one (mm)."""
    length = float(np.linalg.norm(screw.end_lps - screw.start_lps))
    return {
        "start_across_mm": float(np.linalg.norm(shank.at(0.0)[0])),
        "end_across_mm": float(np.linalg.norm(shank.at(length)[0])),
        "angle_deg": float(np.degrees(np.arctan(np.linalg.norm(shank.line()[1])))),
        "tip_beyond_mm": None if shank.tip_mm is None else shank.tip_mm - length,
    }


def _whole(shank: Shank, rules: ScrewRules) -> dict[str, Any]:
    """Signs of a break: metal missing between two parts, or parts that do not lie on one line."""
    step = shank.step_mm()
    broken = shank.gap_mm >= rules.gap_min_mm or (step is not None and step >= rules.step_min_mm)
    return {
        "break": "signs" if broken else "no sign",
        "break_gap_mm": shank.gap_mm,
        "break_step_mm": step,
        "break_meaning": f"a gap of {rules.gap_min_mm:g} mm in its metal, or parts offset by {rules.step_min_mm:g} mm; "
        "a crack, or a break where other metal hides it, shows neither",
    }


def _loosening(
    screw: Planned,
    shank: Shank,
    before: Shank | None,
    why: str | None,
    comparable: bool,
    rules: ScrewRules,
) -> dict[str, Any]:
    """Motion since the baseline and a rim that has become darker: signs of loosening."""
    if before is None:
        return {"since_baseline": None, "loosening": "not determinable", "loosening_reason": why}
    across, error = _across_since(shank, before)
    advance = None if shank.tip_mm is None or before.tip_mm is None else shank.tip_mm - before.tip_mm
    rim = _darker_pct(shank, before, rules.rim_drop_hu) if comparable else None
    signs = []
    if max(across - error, abs(advance or 0.0)) >= rules.moved_min_mm:
        signs.append(f"moved by {rules.moved_min_mm:g} mm or more against the {screw.held_by}")
    if rim is not None and rim >= rules.rim_min_pct:
        signs.append(f"the rim is darker by {rules.rim_drop_hu:g} HU over {rim:.0f} % of what is seen")
    return {
        "since_baseline": {
            "across_mm": across,
            "across_error_mm": error,
            "tip_advance_mm": advance,
            "darker_rim_pct": rim,
            "meaning": f"against the {screw.held_by}; across at the worse end of what stands free in this scan; the "
            "rim lies 1 to 2 mm off the metal and is compared with bone 4 to 6 mm off (no figure where HU of the two "
            "scans cannot be compared); of six simulated rims one was found, so a firm screw is not proven",
        },
        **_verdict(signs, advance),
    }


def _verdict(signs: list[str], advance_mm: float | None) -> dict[str, Any]:
    """A screw whose tip is hidden may have backed out along its own line without a sign."""
    if signs:
        return {"loosening": "signs", "loosening_reason": "; ".join(signs)}
    if advance_mm is None:
        reason = "its tip is hidden: backing out cannot be told; across its axis it has not moved"
        return {"loosening": "not determinable", "loosening_reason": reason}
    return {"loosening": "no sign", "loosening_reason": None}


def _across_since(shank: Shank, before: Shank) -> tuple[float, float]:
    """Motion across the axis at the end that moved more, and its 95 % error from the scatter of the centres, mm."""
    found = []
    for place in (float(shank.along[0]), float(shank.along[-1])):
        (now, now_se), (then, then_se) = shank.at(place), before.at(place)
        found.append((float(np.linalg.norm(now - then)), float(1.96 * np.hypot(now_se, then_se).max())))
    return max(found)


def _darker_pct(shank: Shank, before: Shank, drop_hu: float) -> float | None:
    """Share of the planes free in both scans whose rim has lost ``drop_hu`` against the bone around it, percent."""
    _, now, then = np.intersect1d(shank.along, before.along, return_indices=True)
    if len(now) * STEP_MM < LEAST_MM:
        return None
    return float(100.0 * (before.rim_hu[then] - shank.rim_hu[now] >= drop_hu).mean())
