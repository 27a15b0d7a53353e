"""Milled faces and bored holes of the machined part against the design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.inspect import InspectSettings, MachinedScan
from implantflow.geometry import FloatArray, unit
from implantflow.inspect.deviation import statistics
from implantflow.inspect.regions import Hole
from implantflow.inspect.verdict import OUTSIDE, UNJUDGED, WITHIN
from implantflow.solids.shapes import frame_of

#: Points further from the milled plane than this (mm) do not tilt it: rounded rims.
_NEAR_PLANE_MM = 1.0
#: A scanned point is of a bore's wall when it lies within this of it (mm) and looks at the axis (cosine).
_NEAR_WALL_MM, _TO_AXIS = 1.2, 0.7
#: What is further from the fitted cylinder does not count in the next round (mm).
_ROUNDS_MM = (1.2, 0.5, 0.25, 0.25)
#: The wall is divided into strips of this length (mm) and so many sectors; one counts as seen with this many points.
_STRIP_MM, _SECTORS, _STRIP_POINTS = 2.0, 8, 3
#: Less of a bore's wall does not tell its diameter (percent): then a gauge must.
BORE_SEEN_MIN_PCT = 40.0


@dataclass(frozen=True)
class Placed:
    """The scan on the design: points (N, 3), their outward normals (N, 3), areas (N,) mm2, build_xyz."""

    points_mm: FloatArray
    normals: FloatArray
    areas_mm2: FloatArray


def face_figures(
    scan: Placed, mine: NDArray[np.bool_], deviation_mm: FloatArray, normal: FloatArray, tolerance_mm: float
) -> dict[str, Any]:
    """How a milled face lies: statistics of its deviation, its plane's shift and tilt, and how flat it is.

    Parameters
    ----------
    mine : (N,) which points are of the face. deviation_mm : (N,) signed, too much metal is positive.
    normal : (3,) of the design.

    Returns
    -------
    ``shift_mm`` of the plane through the face's middle, ``tilt_deg`` against the design, ``flat_p95_mm`` distance of 95
    of 100 parts from that plane; each None where too little was seen.
    """
    figures = statistics(deviation_mm[mine], scan.areas_mm2[mine], tolerance_mm)
    near = mine & (np.abs(deviation_mm) < _NEAR_PLANE_MM)
    if near.sum() < 10:
        return {**figures, "shift_mm": None, "tilt_deg": None, "flat_p95_mm": None}
    places = scan.points_mm[near] @ frame_of(normal)[:, :2]
    places -= places.mean(0)
    columns = np.column_stack([np.ones(len(places)), places])
    plane = np.linalg.lstsq(columns, deviation_mm[near], rcond=None)[0]
    return {
        **figures,
        "shift_mm": float(plane[0]),
        "tilt_deg": float(np.degrees(np.arctan(np.linalg.norm(plane[1:])))),
        "flat_p95_mm": float(np.percentile(np.abs(deviation_mm[near] - columns @ plane), 95.0)),
    }


def bore_figures(scan: Placed, hole: Hole, wall_mm: FloatArray) -> dict[str, Any]:
    """Diameter and axis of a bore from what is seen of its wall.

    Parameters
    ----------
    hole : its axis and radius, build_xyz. wall_mm : (M, 3) places on its designed wall.

    Returns
    -------
    ``diameter_mm``, ``diameter_error_mm``, ``axis_error_mm`` (greatest distance of the two axes over the length of the
    wall), each None where less than :data:`BORE_SEEN_MIN_PCT` of the wall was seen; ``seen_pct``.
    """
    start, end = hole.path_mm[0], hole.path_mm[-1]
    along = unit(end - start)
    frame = frame_of(along).T
    wall, points = (wall_mm - start) @ frame.T, (scan.points_mm - start) @ frame.T
    low, high = wall[:, 2].min(), wall[:, 2].max()
    radial = np.hypot(points[:, 0], points[:, 1])
    inwards = -((scan.normals @ frame[:2].T) * points[:, :2]).sum(axis=1) / np.maximum(radial, 1e-9)
    on_wall = (np.abs(radial - hole.radius_mm) < _NEAR_WALL_MM) & (inwards > _TO_AXIS)
    points = points[on_wall & (points[:, 2] > low) & (points[:, 2] < high)]
    asked = np.unique(_strips(wall, low))
    strips, counts = np.unique(_strips(points, low), return_counts=True)
    seen_pct = 100.0 * float(np.isin(asked, strips[counts >= _STRIP_POINTS]).mean())
    figures: dict[str, Any] = {"design_diameter_mm": 2.0 * hole.radius_mm, "seen_pct": seen_pct}
    if seen_pct < BORE_SEEN_MIN_PCT:
        return {**figures, "diameter_mm": None, "diameter_error_mm": None, "axis_error_mm": None}
    radius, shift, slope = _cylinder(points)
    ends = [np.linalg.norm(shift + slope * z) for z in (low, high)]
    return {
        **figures,
        "diameter_mm": 2.0 * radius,
        "diameter_error_mm": 2.0 * (radius - hole.radius_mm),
        "axis_error_mm": float(max(ends)),
    }


def _strips(points: FloatArray, low: float) -> NDArray[np.int64]:
    """Number of the piece of wall (strip and sector) that each point (N, 3), axis along z, belongs to."""
    strip = np.floor((points[:, 2] - low) / _STRIP_MM).astype(np.int64)
    turn = np.arctan2(points[:, 1], points[:, 0]) / (2.0 * np.pi) + 0.5
    return strip * _SECTORS + np.minimum((turn * _SECTORS).astype(np.int64), _SECTORS - 1)


def _cylinder(points: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Radius, place (2,) of the axis at z = 0 and its slope (2,) of a cylinder nearly along z through (N, 3) points."""
    angle = np.arctan2(points[:, 1], points[:, 0])
    radial = np.hypot(points[:, 0], points[:, 1])
    c, s, z = np.cos(angle), np.sin(angle), points[:, 2]
    columns = np.column_stack([np.ones(len(z)), c, s, c * z, s * z])
    found = np.array([np.median(radial), 0.0, 0.0, 0.0, 0.0])
    for cutoff in _ROUNDS_MM:
        keep = np.abs(radial - columns @ found) < cutoff
        found = np.linalg.lstsq(columns[keep], radial[keep], rcond=None)[0]
    return float(found[0]), found[1:3], found[3:5]


def judged(
    limits: InspectSettings, scan: MachinedScan, faces: dict[str, Any], bores: dict[str, Any]
) -> tuple[str, list[str], list[str]]:
    """The verdict on the machined part, the reasons, and the bores that only a gauge can tell."""
    unseen, wrong, to_gauge = [], [], []
    for name, face in faces.items():
        share = face["coverage_pct"]
        if share is None or share < limits.coverage_min_pct or face["within_tolerance_pct"] is None:
            unseen.append(
                f"{name}: {0.0 if share is None else share:.1f} % of the milled face was scanned, "
                f"{limits.coverage_min_pct:g} % are needed"
            )
        elif face["within_tolerance_pct"] < limits.within_tolerance_min_pct:
            wrong.append(
                f"{name}: {face['within_tolerance_pct']:.1f} % of the milled face lie within "
                f"{scan.face_tolerance_mm:g} mm, {limits.within_tolerance_min_pct:g} % are needed; it stands "
                f"{face['mean_mm']:+.3f} mm off on average, {face['stock_mm']:g} mm of stock were printed"
            )
    for name, bore in bores.items():
        if bore["diameter_mm"] is None:
            to_gauge.append(name)
            continue
        for what in ("diameter", "axis"):
            if abs(bore[f"{what}_error_mm"]) > scan.bore_tolerance_mm:
                wrong.append(
                    f"bore {name}: its {what} is off by {bore[f'{what}_error_mm']:+.3f} mm, allowed "
                    f"{scan.bore_tolerance_mm:g} mm"
                )
    if unseen:
        return UNJUDGED, [*unseen, *wrong], to_gauge
    return (OUTSIDE if wrong else WITHIN), wrong, to_gauge
