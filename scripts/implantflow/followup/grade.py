"""From the patches of a face to its figures and its grade, by the rule in the case's config."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.followup import FaceRules, GradeRules
from implantflow.followup.faces import Face
from implantflow.followup.lucency import Host, Reading
from implantflow.geometry import FloatArray

NO_BONE = "no bone contact planned"
NOT_READABLE = "not readable"
AS_PLACED = "as placed"


class Shown(IntEnum):
    """What a patch shows under the rule of the case; figures and picture of a face both rest on it.

    A gap of the rule's size is one of ``lucency_min_mm``. Where it would be missed, bone behind it proves no bridge.
    """

    NOT_READABLE = 0
    GAP = 1
    BONE = 2
    NO_GAP = 3
    NO_GAP_NONE_WOULD_SHOW = 4


def shown(reading: Reading, rules: GradeRules) -> NDArray[np.int64]:
    """(P,) :class:`Shown` of each patch."""
    would_show = reading.limit_mm <= rules.lucency_min_mm
    found = np.where(would_show, Shown.NO_GAP, Shown.NO_GAP_NONE_WOULD_SHOW)
    found[would_show & (reading.bone_seen == 1.0)] = Shown.BONE
    found[reading.lucent == 1.0] = Shown.GAP
    found[~reading.readable(rules.limit_max_mm)] = Shown.NOT_READABLE
    return found


def unplanned(face: Face, why: str) -> dict[str, Any]:
    """Figures of a face that no bone was planned to touch."""
    return {
        "bridged_pct": None,
        "lucency_mm": None,
        "detection_limit_mm": None,
        "grade": NO_BONE,
        "reading": why,
        "mates_with": face.mates_with,
        "area_mm2": face.area_mm2,
    }


def face_figures(
    face: Face,
    host: Host,
    reading: Reading,
    rules: FaceRules,
    grade: GradeRules,
    months: float,
    subsidence: float | None,
) -> dict[str, Any]:
    """Figures and grade of a face that mates with bone.

    ``subsidence`` is the migration since the baseline in mm, None where it is not determinable.
    """
    area = face.lines.patch_areas
    opposite = np.isfinite(host.gap_mm)
    found = shown(reading, grade)
    readable, lucent, seen = found != Shown.NOT_READABLE, found == Shown.GAP, found == Shown.BONE
    facing, read = float(area[opposite].sum()), float(area[readable].sum())
    figures: dict[str, Any] = {
        "bridged_pct": None,
        "lucency_mm": None,
        "detection_limit_mm": weighted_median(reading.limit_mm, area),
        "grade": NOT_READABLE,
        "reading": "",
        "mates_with": face.mates_with,
        "area_mm2": face.area_mm2,
        "facing_bone_pct": 100.0 * facing / max(float(area.sum()), 1e-9),
        "readable_pct": 100.0 * read / max(facing, 1e-9),
        "gap_as_found_mm": weighted_median(host.gap_mm, area),
        "patches": int(readable.sum()),
    }
    if months <= rules.baseline_months_max:
        figures["grade"] = AS_PLACED
        figures["reading"] = (
            "nothing has grown or resorbed yet: the gap is the way from the face as found to the bone as planned, "
            "by geometry"
        )
        return figures
    if figures["readable_pct"] < grade.readable_min_pct or read == 0.0:
        figures["reading"] = (
            f"only {figures['readable_pct']:.0f} % of the area opposite bone would show a gap of "
            f"{grade.limit_max_mm:g} mm; {grade.readable_min_pct:g} % are needed"
        )
        return figures
    if figures["patches"] < grade.patches_min:
        figures["reading"] = (
            f"only {figures['patches']} places of the face can be read; {grade.patches_min} are needed"
        )
        return figures
    if figures["detection_limit_mm"] is None and not lucent.any():
        figures["reading"] = "bone is seen, but a gap in front of it would not show, however wide"
        return figures
    figures |= {
        "bridged_pct": 100.0 - 100.0 * float(area[lucent].sum()) / read,
        "lucency_mm": weighted_median(np.where(readable, reading.width_mm, np.nan), area),
        "lucent_pct": 100.0 * float(area[lucent].sum()) / read,
        "lucency_at_least_mm": weighted_median(np.where(readable, reading.at_least_mm, np.nan), area),
        "lucency_where_lucent_mm": weighted_median(np.where(lucent, reading.width_mm, np.nan), area),
        "bone_seen_pct": 100.0 * float(area[seen].sum()) / read,
    }
    figures["grade"], figures["reading"] = grade_of(figures, grade, months, subsidence)
    return figures


def grade_of(
    figures: dict[str, Any], rules: GradeRules, months: float, subsidence: float | None
) -> tuple[str, str]:
    """Grade after Bridwell (I fused, II partly, III lucency, IV lucency and collapse) and what it rests on.

    Not fused is a face of which too little is bridged, or of which half or more shows a lucency. A width that may as
    well be less than a lucency by the rule is a gap and no grade.
    """
    limit = figures["detection_limit_mm"]
    bound = "a gap" if limit is None else f"a gap below {limit:.1f} mm"
    width, bridged = figures["lucency_mm"], figures["bridged_pct"]
    early = months < rules.earliest_months
    if bridged < rules.bridged_min_pct or width >= rules.lucency_min_mm:
        text = f"soft tissue of about {width:.1f} mm between face and bone on {100 - bridged:.0f} % of the area read"
        if early:
            return "too early: gap", text
        if width < rules.lucency_min_mm:
            return "not bridged", f"{text}; under {rules.lucency_min_mm:g} mm it is no lucency by the rule"
        if figures["lucency_at_least_mm"] < rules.lucency_min_mm:
            least = figures["lucency_at_least_mm"]
            return "gap", f"{text}, but {least:.1f} mm would fit as well: not surely a lucency by the rule"
        if subsidence is not None and subsidence > rules.subsidence_max_mm:
            return "IV", f"{text}; moved by {subsidence:.1f} mm since the baseline"
        return "III", text
    if early:
        return (
            "too early: contact",
            f"{bound} cannot be told from contact; before {rules.earliest_months:g} months",
        )
    seen = figures["bone_seen_pct"] >= rules.bridged_min_pct
    gap = f"a gap on {100 - bridged:.0f} %"
    if not seen:
        text = (
            f"{bound} cannot be told from contact, so fusion is not proven: bone is seen, and a gap of "
            f"{rules.lucency_min_mm:g} mm excluded, on {figures['bone_seen_pct']:.0f} %; {gap} of the area read"
        )
        return ("contact" if bridged >= rules.bridged_full_pct else "partial gap"), text
    text = f"bone between face and host on {figures['bone_seen_pct']:.0f} % of the area read; {gap}"
    return ("I" if bridged >= rules.bridged_full_pct else "II"), text


def weighted_median(values: FloatArray, weights: FloatArray) -> float | None:
    """Median of the finite ``values`` by area; None where there is none."""
    good = np.isfinite(values)
    if not good.any():
        return None
    order = np.argsort(values[good], kind="stable")
    total = np.cumsum(weights[good][order])
    return float(values[good][order][int(np.searchsorted(total, total[-1] / 2.0))])
