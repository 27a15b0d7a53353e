"""Regions listed on the review sheet: what the final implant may have that the approved model has not.

The S1 screw hole (when no correction drilled it) and the cable passages. Their axes are decided here, so that the
reviewers see them and the implant is made with exactly these.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from implantflow.config.implant import S1_HOLE, CablePassage, ImplantConfig
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, unit
from implantflow.prototype.body import Shape
from implantflow.prototype.features import along, corridor_axis
from implantflow.solids.contact import weighted_percentile
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import IntArray
from implantflow.solids.shapes import arc

_INSETS_MM = (7.0, 9.0, 11.0, 13.0, 15.0)
_RUN_OUT_MM = 6.0
#: Half height of the part of the SI face that a passage is placed against.
_BAND_MM = 3.0
#: Room that makes a place e times as heavy as another.
_SHARPNESS_MM = 0.5
#: Places this far apart (fraction of the height, mm of inset) are neighbours.
_NEIGHBOURS = np.array([0.04, 2.0])


def listed_regions(
    shape: Shape, si_triangles: IntArray, plan: dict[str, Any], config: ImplantConfig, side_sign: float
) -> dict[str, Any]:
    """``screw_holes`` still to be drilled and ``cable_passages``, with their axes in patient LPS mm.

    Raises
    ------
    GeometryError
        A passage has no room, or runs into a hole or another passage.
    """
    holes = list(shape.holes)
    missing = []
    if all(hole.name != S1_HOLE for hole in holes):
        start, end = corridor_axis(plan, config.screw_hole.corridor)
        hole = along(S1_HOLE, start, end, config.screw_hole.diameter_mm)
        holes.append(hole)
        missing.append(hole.as_json())
    surface = Surface(shape.body)
    taken = [(np.array([h.start_lps_mm, h.end_lps_mm]), h.diameter_mm / 2.0 + 1.0) for h in holes]
    passages = []
    for passage in config.cable_passages:
        line, room = _place(passage, surface, si_triangles, taken, side_sign)
        taken.append((line, passage.diameter_mm / 2.0 + passage.wall_mm))
        passages.append(
            {
                "name": passage.name,
                "polyline_lps_mm": line,
                "diameter_mm": passage.diameter_mm,
                "wall_mm": passage.wall_mm,
                "bend_radius_mm": passage.bend_radius_mm,
                "least_metal_beside_mm": room - passage.diameter_mm / 2.0,
            }
        )
    return {"screw_holes": missing, "cable_passages": passages}


def _place(
    passage: CablePassage,
    surface: Surface,
    si_triangles: IntArray,
    taken: list[tuple[FloatArray, float]],
    side_sign: float,
) -> tuple[FloatArray, float]:
    """Arc of the passage where there is most metal around it, and the distance from its axis to the surface in mm.

    Taking the best of a list of places would jump from one to another with the last digits of the surface. The places
    are averaged instead, each weighted by its room, so that the passage moves no more than the surface does, unless
    there are good places on both sides of a bad one.
    """
    needed = passage.diameter_mm / 2.0 + passage.wall_mm
    tried: list[tuple[float, float, float, float]] = []
    for height in (0.0, -0.04, 0.04, -0.08, 0.08):
        for inset in _INSETS_MM:
            line = _arc_at(surface, si_triangles, passage, passage.height_fraction + height, inset, side_sign)
            if line is None:
                continue
            spare = min([_gap(line, other) - needed - radius for other, radius in taken], default=np.inf)
            tried.append((height, inset, _room(surface, line, needed), spare))
    most = max((room for _, _, room, spare in tried if spare >= 0.0), default=-np.inf)
    weights = [
        np.exp((room - most) / _SHARPNESS_MM)
        * np.clip((room - needed) / _SHARPNESS_MM, 0.0, 1.0)
        * np.clip(spare / _SHARPNESS_MM, 0.0, 1.0)
        if most > needed
        else 0.0
        for _, _, room, spare in tried
    ]
    places, share = np.array([(h, i) for h, i, _, _ in tried]).reshape(-1, 2), np.array(weights)
    if share.sum() > 0.0:
        # Between two good places may lie a bad one (a foramen): then only those about the best are averaged, at last
        # the best alone.
        best = places[int(np.argmax(share))]
        apart = np.abs(places - best) / _NEIGHBOURS
        for about in (np.inf, 1.0, 0.0):
            near = np.where((apart <= about + 1e-9).all(axis=1), share, 0.0)
            height, inset = np.average(places, axis=0, weights=near)
            line = _arc_at(surface, si_triangles, passage, passage.height_fraction + height, inset, side_sign)
            if line is None or not _free_of(line, taken, needed):
                continue
            room = _room(surface, line, needed)
            if room >= needed:
                return line, room
    found = f"{most - passage.diameter_mm / 2.0:.1f} mm of metal" if np.isfinite(most) else "none"
    raise GeometryError(
        f"cable passage {passage.name} has no room: {found} where {passage.wall_mm:.1f} mm are needed",
        where="implant.cable_passages",
        fix="change height_fraction, use a thinner cable, or a larger bend_radius_mm",
    )


def _arc_at(
    surface: Surface,
    si_triangles: IntArray,
    passage: CablePassage,
    height_fraction: float,
    inset_mm: float,
    side_sign: float,
) -> FloatArray | None:
    """Arc from back to front through the solid at one height, ``inset_mm`` medial of the SI face.

    Every step follows the surface without jumps: heights are shares of the face's area, the face's middle and direction
    are weighted means, the mouths lie where the distance is interpolated to zero. Ends are rounded to 0.1 mm.
    """
    solid = surface.solid
    centres = solid.centres_mm[si_triangles]
    area = solid.areas_mm2[si_triangles]
    low, high = (weighted_percentile(centres[:, 2], area, percent) for percent in (2.0, 98.0))
    z = low + np.clip(height_fraction, 0.02, 0.98) * (high - low)
    near = area * np.exp(-(((centres[:, 2] - z) / _BAND_MM) ** 2))
    middle = np.average(centres, axis=0, weights=near)
    outward = unit((solid.normals[si_triangles] * near[:, None]).sum(axis=0))
    inner = np.array([middle[0], middle[1], z]) - inset_mm * outward
    along = unit(np.cross(outward, [0.0, 0.0, 1.0])) * side_sign
    place = np.arange(-45.0, 45.5, 0.5)
    depth = -surface.signed_distance_mm(inner + place[:, None] * along, 60.0)
    centre = len(place) // 2
    if depth[centre] <= 0:
        return None
    outside = np.flatnonzero(depth <= 0)
    before, after = outside[outside < centre], outside[outside > centre]
    if len(before) == 0 or len(after) == 0:
        return None
    back, front = _zero(place, depth, before[-1]), _zero(place, depth, after[0] - 1)
    start = np.round(inner + (back - _RUN_OUT_MM) * along, 1)
    end = np.round(inner + (front + _RUN_OUT_MM) * along, 1)
    if np.linalg.norm(end - start) >= 2.0 * passage.bend_radius_mm:
        return None
    return arc(start, end, -np.round(outward, 2), passage.bend_radius_mm)


def _zero(place: FloatArray, value: FloatArray, n: int) -> float:
    """Where the value, linear between places ``n`` and ``n + 1``, is zero."""
    return float(place[n] + (place[n + 1] - place[n]) * value[n] / (value[n] - value[n + 1]))


def _free_of(line: FloatArray, taken: list[tuple[FloatArray, float]], needed: float) -> bool:
    return all(_gap(line, other) >= needed + radius for other, radius in taken)


def _gap(a: FloatArray, b: FloatArray) -> float:
    """Smallest distance in mm between two polylines, sampled every 0.5 mm."""
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(_dense(a)).query(_dense(b))
    return float(distance.min())


def _dense(line: FloatArray) -> FloatArray:
    parts = []
    for p, q in itertools.pairwise(line):
        count = max(2, int(np.linalg.norm(q - p) / 0.5) + 1)
        parts.append(p + np.linspace(0.0, 1.0, count)[:, None] * (q - p))
    return np.concatenate(parts)


def _room(surface: Surface, line: FloatArray, needed: float) -> float:
    """Smallest depth of the axis below the surface, two needed depths (at most a third) away from its two mouths.

    At the mouths the axis comes up to the surface whatever the place, so they say nothing about it.
    """
    points = _dense(line)
    depth = -surface.signed_distance_mm(points, 60.0)
    inside = np.flatnonzero(depth > 0)
    if len(inside) == 0:
        return float(depth.max())
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    run = np.concatenate([[0.0], np.cumsum(step)])
    first, last = inside[0], inside[-1]
    begin = run[0] if first == 0 else _zero(run, depth, first - 1)
    end = run[-1] if last == len(run) - 1 else _zero(run, depth, last)
    mouth = min(2.0 * needed, (end - begin) / 3.0)
    inner = np.linspace(begin + mouth, end - mouth, 81)
    return float(np.interp(inner, run, depth).min())
