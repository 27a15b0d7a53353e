"""Screws of a plan: each one's line and figures, and that no two collide."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from implantflow.config.plan import CorridorConfig, PlanRevision
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray, unit
from implantflow.plan.anatomy import Anatomy
from implantflow.plan.corridors import Corridor, plan_corridor, plan_crossing
from implantflow.plan.roots import foramen_points, nearest_mm
from implantflow.plan.searches import SEARCHES, crossing_search, free_mm
from implantflow.solids.booleans import to_manifold
from implantflow.solids.distance import winding_number
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import frame_of
from implantflow.volumes import Volume

#: An axis that begins this near before the bone was meant to begin on it.
_PICKED_MM = 3.0


def within_scan(
    revision: PlanRevision, anatomy: Anatomy, missing_levels: str
) -> tuple[list[CorridorConfig], list[dict[str, Any]]]:
    """The screws to plan, and those left out because the scan does not hold their vertebra whole.

    ``missing_levels`` is ``refuse`` or ``leave_out``.

    Raises
    ------
    GeometryError
        A vertebra of a planned screw is missing and ``missing_levels`` does not say ``leave_out``.
    """
    missing = {
        config.name: f"{config.name}: {anatomy.vertebrae[str(config.level)].why}"
        for config in revision.corridors
        if config.kind == "pedicle" and anatomy.vertebrae[str(config.level)].solid is None
    }
    # A vertebra that leaves with the specimen is no matter of the scan.
    taken = [name for name, why in missing.items() if "specimen" in why]
    if taken or (missing and missing_levels != "leave_out"):
        raise GeometryError(
            "; ".join(missing.values()),
            where="plan.corridors",
            fix="leave these screws out, scan higher, or say fixation.missing_levels: leave_out",
        )
    left_out = [
        {"name": c.name, "level": c.level, "why": anatomy.vertebrae[str(c.level)].why}
        for c in revision.corridors
        if c.name in missing
    ]
    return [c for c in revision.corridors if c.name not in missing], left_out


def plan_screw(config: CorridorConfig, anatomy: Anatomy) -> dict[str, Any]:
    """Plan one screw, or measure the surgeon's own axis; returns its entry in ``plan.json``.

    Raises
    ------
    GeometryError
        There is no line, or the bone lies outside the scan.
    QualityGateError
        The implant's own screw does not fit with its wall: the implant could not be made.
    """
    try:
        corridor, free, moved = _found(config, anatomy)
    except GeometryError as error:
        raise GeometryError(f"corridor {config.name}: {error.what}", where="plan", fix=error.fix) from error
    needed = config.diameter_mm / 2.0 + config.wall_mm
    reason = _why_not(corridor, needed)
    if reason and config.kind == "implant_s1":
        raise QualityGateError(
            f"corridor {config.name}: {reason}",
            where="plan corridors",
            fix="use a thinner or shorter screw, or a thinner wall",
        )
    start, end = corridor.start_lps_mm, corridor.end_lps_mm
    points = foramen_points(anatomy.axis, anatomy.foramina)
    return {
        "name": config.name,
        "kind": config.kind,
        "side": config.side,
        "level": config.level,
        "start_lps_mm": start,
        "end_lps_mm": end,
        "length_mm": corridor.length_mm,
        "diameter_mm": config.diameter_mm,
        "min_clearance_mm": corridor.min_clearance_mm,
        "needed_clearance_mm": needed,
        "fits": not reason,
        "reason": reason or None,
        "inside_bone_pct": corridor.inside_pct,
        "excluded_below_entry_mm": free,
        # The implant is made to measure: what lies there now is the bone that it replaces.
        "density_hu": None
        if config.kind == "implant_s1" or anatomy.ct is None
        else density_hu(anatomy.ct, start, end, config.diameter_mm / 2.0),
        "foramen_distance_mm": nearest_mm(points, start, end, config.diameter_mm / 2.0),
        "entry_moved_to_bone_mm": moved,
        "source": "computed" if config.axis is None else "surgeon",
        "origin": "computed" if config.axis is None else "surgeon",
    }


def _why_not(corridor: Corridor, needed_mm: float) -> str:
    """Why a screw does not fit, empty when it does: all of its axis lies in bone, and its thread's wall all along."""
    if len(corridor.outside_mm):
        first, last = corridor.outside_mm[0], corridor.outside_mm[-1]
        return (
            f"{100.0 - corridor.inside_pct:.1f} % of the axis lies outside bone, between {first:.1f} and "
            f"{last:.1f} mm below its entry"
        )
    if corridor.min_clearance_mm < needed_mm:
        return f"{corridor.min_clearance_mm:.2f} mm from axis to surface, {needed_mm:.2f} mm needed"
    return ""


def _found(config: CorridorConfig, anatomy: Anatomy) -> tuple[Corridor, float, float]:
    """A screw's line, the length below the entry that does not count, and how far a surgeon's entry was moved, mm."""
    free = free_mm(config)
    if config.kind == "iliosacral":
        hips = [anatomy.hips["healthy"], anatomy.hips["implant"]]
        left, right = anatomy.foramina["left"], anatomy.foramina["right"]
        crossing = crossing_search(anatomy.sacrum(), hips, anatomy.axis, left, right, str(config.level), free)
        bones: Sequence[Solid] = [anatomy.sacrum(), *hips]
        if config.axis is None:
            return plan_crossing(crossing), free, 0.0
    else:
        search = SEARCHES[config.kind](config, anatomy)
        bones = search.bones
        if config.axis is None:
            return plan_corridor(search), free, 0.0
    start, end = np.array(config.axis.start_lps_mm), np.array(config.axis.end_lps_mm)
    moved = above_bone_mm(bones, start, end)
    entry = start + moved * unit(end - start)
    if config.kind != "iliosacral":
        return Corridor.measured(bones, entry, end, free), free, moved
    tip = end + above_bone_mm(bones, end, start) * unit(start - end)
    return Corridor.measured(bones, entry, tip, free, free), free, moved


def above_bone_mm(bones: Sequence[Solid], start: FloatArray, end: FloatArray) -> float:
    """How far before the bone a surgeon's axis begins, mm; 0 when in it, or farther off than a point set by hand is.

    A point picked on a picture of the surface lies beside it by a fraction of a voxel, to either side. Such a screw
    does not leave the bone: it has not entered it yet.
    """
    if any(winding_number(start[None], bone.triangles_mm)[0] > 0.5 for bone in bones):
        return 0.0
    along = unit(end - start)
    far = start + _PICKED_MM * along
    hits = [
        _PICKED_MM * hit.distance
        for bone in bones
        for hit in to_manifold(bone).ray_cast(start.tolist(), far.tolist())
    ]
    return float(min(hits, default=0.0))


def density_hu(ct: Volume, start: FloatArray, end: FloatArray, radius_mm: float) -> dict[str, Any]:
    """CT numbers in a screw's cylinder: mean, lowest tenth, and the mean of each 5 mm from the entry on.

    Stations 1 mm apart, on the axis and on six places at 0.7 of the radius; HU of the planning CT, no bone density.
    """
    from scipy.ndimage import map_coordinates

    length = float(np.linalg.norm(end - start))
    frame = frame_of(end - start)
    turns = np.arange(6) * np.pi / 3.0
    ring = 0.7 * radius_mm * (np.cos(turns)[:, None] * frame[:, 0] + np.sin(turns)[:, None] * frame[:, 1])
    stations = np.arange(0.5, length, 1.0)
    places = start + stations[:, None, None] * frame[:, 2] + np.vstack([np.zeros(3), ring])
    index = ct.lps_to_index(places.reshape(-1, 3))[:, ::-1]
    inside = ((index >= 0) & (index <= np.array(ct.array.shape) - 1)).all(axis=1)
    if not inside.all():
        return {"note": "part of the path lies outside the scan"}
    value = map_coordinates(ct.array, index.T, order=1, output=np.float64).reshape(len(stations), -1)
    mean = value.mean(axis=1)
    return {
        "mean": float(value.mean()),
        "p10": float(np.quantile(value, 0.1)),
        "per_5_mm": [float(mean[i : i + 5].mean()) for i in range(0, len(mean), 5)],
    }


def require_apart(corridors: list[dict[str, Any]]) -> None:
    """Put into each entry the distance between its thread and the others'; refuse screws that collide.

    Raises
    ------
    QualityGateError
        Two threads overlap.
    """
    for entry in corridors:
        entry["screw_distance_mm"] = {}
    for a, b in itertools.combinations(corridors, 2):
        apart = between_segments_mm(
            np.array(a["start_lps_mm"]),
            np.array(a["end_lps_mm"]),
            np.array(b["start_lps_mm"]),
            np.array(b["end_lps_mm"]),
        )
        room = apart - (a["diameter_mm"] + b["diameter_mm"]) / 2.0
        a["screw_distance_mm"][b["name"]] = b["screw_distance_mm"][a["name"]] = room
        if room < 0.0:
            raise QualityGateError(
                f"the screws {a['name']} and {b['name']} collide: their threads overlap by {-room:.1f} mm",
                where="plan corridors",
                fix="make one shorter or thinner, or give one an axis of your own (corridors[].axis)",
            )


def between_segments_mm(p: FloatArray, q: FloatArray, r: FloatArray, s: FloatArray) -> float:
    """Shortest distance between the segments pq and rs."""
    u, v, w = q - p, s - r, p - r
    a, b, c, d, e = u @ u, u @ v, v @ v, u @ w, v @ w
    denominator = a * c - b * b
    t = np.clip((b * e - c * d) / denominator, 0.0, 1.0) if denominator > 1e-12 else 0.0
    # Each clamped parameter once more from the other: exact for segments.
    for _ in range(2):
        k = np.clip((b * t + e) / c, 0.0, 1.0)
        t = np.clip((b * k - d) / a, 0.0, 1.0)
    return float(np.linalg.norm(w + t * u - k * v))
