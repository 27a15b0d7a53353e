"""Regions listed on the review sheet: what the final implant may have that the approved model has not.

The S1 screw hole (when no correction drilled it) and the cable passages. Their axes are decided here, so that the
reviewers see them and the implant is made with exactly these.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from implantflow.config.implant import CablePassage, ImplantConfig
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, unit
from implantflow.prototype.body import Hole, Shape
from implantflow.prototype.corrections import corridor_axis
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import IntArray
from implantflow.solids.shapes import arc

S1_HOLE = "s1"
_INSETS_MM = (7.0, 9.0, 11.0, 13.0, 15.0)
_RUN_OUT_MM = 6.0


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
        a, b = [float(x) for x in start], [float(x) for x in end]
        hole = Hole(S1_HOLE, (a[0], a[1], a[2]), (b[0], b[1], b[2]), config.screw_hole.diameter_mm)
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
    """Arc of the passage with the most metal around it, and the distance from its axis to the surface in mm."""
    needed = passage.diameter_mm / 2.0 + passage.wall_mm
    best: tuple[FloatArray, float] | None = None
    for height in (0.0, -0.04, 0.04, -0.08, 0.08):
        for inset in _INSETS_MM:
            line = _arc_at(surface, si_triangles, passage, passage.height_fraction + height, inset, side_sign)
            if line is None or not _free_of(line, taken, needed):
                continue
            room = _room(surface, line, needed)
            if best is None or room > best[1] + 1e-6:
                best = (line, room)
    if best is None or best[1] < needed:
        found = "none" if best is None else f"{best[1] - passage.diameter_mm / 2.0:.1f} mm of metal"
        raise GeometryError(
            f"cable passage {passage.name} has no room: {found} where {passage.wall_mm:.1f} mm are needed",
            where="implant.cable_passages",
            fix="change height_fraction, use a thinner cable, or a larger bend_radius_mm",
        )
    return best


def _arc_at(
    surface: Surface,
    si_triangles: IntArray,
    passage: CablePassage,
    height_fraction: float,
    inset_mm: float,
    side_sign: float,
) -> FloatArray | None:
    """Arc from back to front through the solid at one height, ``inset_mm`` medial of the SI face."""
    solid = surface.solid
    centres = solid.centres_mm[si_triangles]
    area = solid.areas_mm2[si_triangles]
    low, high = centres[:, 2].min(), centres[:, 2].max()
    z = low + np.clip(height_fraction, 0.02, 0.98) * (high - low)
    band = np.abs(centres[:, 2] - z) < 4.0
    if not band.any():
        return None
    middle = np.average(centres[band], axis=0, weights=area[band])
    outward = unit((solid.normals[si_triangles][band] * area[band, None]).sum(axis=0))
    inner = middle - inset_mm * outward
    along = unit(np.cross(outward, [0.0, 0.0, 1.0])) * side_sign
    stations = inner + np.arange(-45.0, 45.5, 0.5)[:, None] * along
    inside = surface.signed_distance_mm(stations, 60.0) < 0
    centre = len(stations) // 2
    if not inside[centre]:
        return None
    outside = np.flatnonzero(~inside)
    before, after = outside[outside < centre], outside[outside > centre]
    if len(before) == 0 or len(after) == 0:
        return None
    start = stations[before[-1]] - _RUN_OUT_MM * along
    end = stations[after[0]] + _RUN_OUT_MM * along
    if np.linalg.norm(end - start) >= 2.0 * passage.bend_radius_mm:
        return None
    return arc(start, end, -outward, passage.bend_radius_mm)


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
    """Smallest depth of the axis below the surface, leaving out its two mouths."""
    points = _dense(line)
    depth = -surface.signed_distance_mm(points, 60.0)
    inner = np.flatnonzero(depth > needed)
    if len(inner) == 0:
        return float(depth.max())
    # Between the first and last place deep enough the passage must stay so; before and after are its mouths.
    return float(depth[inner[0] : inner[-1] + 1].min())
