"""Moving part of a surface: offset of a contact face, local smoothing. The rest keeps its very vertices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from implantflow.config.corrections import Stroke
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, polyline_distance
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import IntArray, Solid

_NORMAL_PASSES = 30
_TOUCH_MM = 0.05


def offset_patch(solid: Solid, triangles: IntArray, distance_mm: float, blend_mm: float) -> Solid:
    """``solid`` with the patch ``triangles`` moved outwards by ``distance_mm``.

    The direction at each vertex is the patch's normal averaged over its surroundings (a flat face moves exactly
    along its normal, a rough one as a whole). Within ``blend_mm`` of the patch's border the movement fades to
    nothing; with 0 the border moves too and its neighbours stretch.

    Raises
    ------
    GeometryError
        The moved surface folds or runs into another part of the solid.
    """
    direction = _smooth_directions(solid, triangles)
    inside = np.unique(solid.faces[triangles])
    weight = np.zeros(len(solid.vertices))
    weight[inside] = 1.0
    if blend_mm > 0.0:
        weight[inside] = _fade(solid, triangles, inside, blend_mm)
    moved = solid.vertices + distance_mm * weight[:, None] * direction
    result = Solid.of(moved, solid.faces)
    _require_no_fold(solid, result, abs(distance_mm) * weight, float(np.sign(distance_mm)))
    return result


def painted(solid: Solid, strokes: Sequence[Stroke]) -> IntArray:
    """Triangles whose centre lies within a stroke's radius of its line.

    Raises
    ------
    GeometryError
        The paint misses the surface, or covers all of it.
    """
    centres = solid.centres_mm
    covered = np.zeros(len(centres), dtype=bool)
    for stroke in strokes:
        line = np.asarray(stroke.points_lps_mm, dtype=np.float64)
        line = line if len(line) > 1 else np.repeat(line, 2, axis=0)
        covered |= polyline_distance(centres, line) <= stroke.radius_mm
    if not covered.any() or covered.all():
        raise GeometryError(
            "the painted region has no border on the surface"
            if covered.any()
            else "the strokes touch no part of the surface",
            where="prototype corrections",
            fix="paint points on the implant's surface (patient LPS, mm)",
        )
    return np.flatnonzero(covered)


def _smooth_directions(solid: Solid, triangles: IntArray) -> FloatArray:
    normal = solid.normals[triangles] * solid.areas_mm2[triangles, None]
    direction = np.zeros_like(solid.vertices)
    for c in range(3):
        np.add.at(direction, solid.faces[triangles, c], normal)
    used = np.unique(solid.faces[triangles])
    matrix = _neighbour_mean(solid.faces[triangles], len(solid.vertices))
    for _ in range(_NORMAL_PASSES):
        length = np.linalg.norm(direction[used], axis=1, keepdims=True)
        direction[used] /= np.maximum(length, 1e-12)
        direction = 0.5 * direction + 0.5 * (matrix @ direction)
    length = np.linalg.norm(direction, axis=1, keepdims=True)
    return np.asarray(np.divide(direction, length, out=np.zeros_like(direction), where=length > 1e-9))


def _neighbour_mean(faces: IntArray, count: int) -> Any:
    """Sparse matrix (count, count) that replaces a vertex value by the mean over its neighbours."""
    from scipy.sparse import coo_matrix, diags

    a = np.concatenate([faces[:, 0], faces[:, 1], faces[:, 2]])
    b = np.concatenate([faces[:, 1], faces[:, 2], faces[:, 0]])
    ones = np.ones(2 * len(a))
    graph = coo_matrix((ones, (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(count, count)).tocsr()
    graph.data[:] = 1.0
    degree = np.asarray(graph.sum(axis=1)).ravel()
    return diags(1.0 / np.maximum(degree, 1.0)) @ graph


def _fade(solid: Solid, triangles: IntArray, inside: IntArray, blend_mm: float) -> FloatArray:
    """Weight of each patch vertex: 0 on the patch's border, 1 from ``blend_mm`` inwards, smooth between."""
    from scipy.spatial import cKDTree

    outer = np.setdiff1d(np.arange(len(solid.faces)), triangles)
    border = np.intersect1d(inside, np.unique(solid.faces[outer]))
    if len(border) == 0:
        return np.ones(len(inside))
    away, _ = cKDTree(solid.vertices[border]).query(solid.vertices[inside])
    t = np.clip(away / blend_mm, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def _require_no_fold(before: Solid, after: Solid, moved_mm: FloatArray, sign: float) -> None:
    """Refuse when triangles turn over, or when points moved outwards enter the solid (inwards: leave it)."""
    touched = np.flatnonzero((moved_mm[before.faces] > 1e-9).any(axis=1))
    area = before.areas_mm2[touched]
    turned = np.einsum("ij,ij->i", before.normals[touched], after.normals[touched])
    flipped = float(area[turned < 0.0].sum())
    moved = np.flatnonzero(moved_mm > 0.2)
    surface = Surface(before)
    collided = 0
    for share in (0.5, 1.0):
        points = before.vertices[moved] + share * (after.vertices[moved] - before.vertices[moved])
        collided += int((sign * surface.signed_distance_mm(points, 20.0) < -_TOUCH_MM).sum())
    if flipped > 0.005 * max(area.sum(), 1e-9) or collided > 0.01 * max(len(moved), 1):
        raise GeometryError(
            f"moving the face folds it: {flipped:.1f} mm2 turned over, {collided} points ran into the part",
            where="prototype corrections",
            fix="use a smaller distance_mm or a larger blend_mm",
        )


def smooth_ball(solid: Solid, centre_mm: FloatArray, radius_mm: float, passes: int, fixed: IntArray) -> Solid:
    """``solid`` smoothed within a ball, fading to its border; vertices of the triangles ``fixed`` stay.

    Taubin's pair of a shrinking and a growing step (0.5, -0.53; DOI 10.1145/218380.218473) keeps the volume.
    """
    away = np.linalg.norm(solid.vertices - centre_mm, axis=1)
    weight = np.clip(1.0 - (away / radius_mm) ** 2, 0.0, 1.0)
    weight[np.unique(solid.faces[fixed])] = 0.0
    matrix = _neighbour_mean(solid.faces, len(solid.vertices))
    vertices = solid.vertices
    for _ in range(passes):
        for step in (0.5, -0.53):
            vertices = vertices + step * weight[:, None] * (matrix @ vertices - vertices)
    return Solid.of(vertices, solid.faces)
