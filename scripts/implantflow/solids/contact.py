"""Contact faces of a solid: which triangles look at a neighbour, and how wide the gap is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.geometry import FloatArray, Plane, unit
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import (
    IntArray,
    Solid,
)


def plane_triangles(
    solid: Solid, plane: Plane, low_mm: float, high_mm: float, tilt_deg: float = 8.0
) -> IntArray:
    """Triangles that lie in a slab about ``plane`` and look along its normal.

    Parameters
    ----------
    plane : Plane
        Normal pointing out of the solid.
    low_mm, high_mm : float
        Bounds of the signed distance of a triangle's three corners to the plane.
    tilt_deg : float
        Largest angle between the triangle's normal and the plane's.
    """
    distance = plane.distance(solid.vertices)[solid.faces]
    level = (distance >= low_mm).all(axis=1) & (distance <= high_mm).all(axis=1)
    looking = solid.normals @ np.asarray(plane.normal) > np.cos(np.radians(tilt_deg))
    return np.flatnonzero(level & looking)


def facing_triangles(
    solid: Solid,
    mate: Surface,
    max_gap_mm: float,
    tilt_deg: float = 50.0,
    min_share: float = 0.1,
    among: IntArray | None = None,
) -> IntArray:
    """Triangles that look at ``mate`` across at most ``max_gap_mm``, in connected patches.

    A triangle counts when its own normal and that of the nearest point of the mate are opposed within
    ``tilt_deg``. Patches below ``min_share`` of the largest one's area are dropped as specks. ``among`` limits
    the search to some triangles.
    """
    asked = np.arange(len(solid.faces)) if among is None else among
    found = mate.nearest(solid.centres_mm[asked], max_gap_mm, signed=False)
    hit = found.triangle >= 0
    mate_normal = mate.solid.normals[found.triangle]
    opposed = -np.einsum("ij,ij->i", solid.normals[asked], mate_normal)
    chosen = asked[hit & (opposed > np.cos(np.radians(tilt_deg)))]
    return _large_patches(solid, chosen, min_share)


def _large_patches(solid: Solid, chosen: IntArray, min_share: float) -> IntArray:
    if len(chosen) == 0:
        return chosen
    label = patch_labels(solid.faces[chosen])
    area = np.bincount(label, weights=solid.areas_mm2[chosen])
    large: IntArray = chosen[(area >= min_share * area.max())[label]]
    return large


def patch_labels(faces: IntArray) -> NDArray[np.int64]:
    """Number of the edge-connected patch of each triangle, (M,) int."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    base = int(faces.max()) + 1
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    key = edges[:, 0] * base + edges[:, 1]
    order = np.argsort(key, kind="stable")
    owner = np.tile(np.arange(len(faces)), 3)[order]
    same = np.flatnonzero(np.diff(key[order]) == 0)
    a, b = owner[same], owner[same + 1]
    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(len(faces), len(faces)))
    _, label = connected_components(graph, directed=False)
    return np.asarray(label, dtype=np.int64)


def weighted_percentile(values: ArrayLike, weights: ArrayLike, percent: float) -> float:
    """Value below which ``percent`` of the weight lies (nan when there is no weight)."""
    v, w = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if len(v) == 0 or w.sum() <= 0.0:
        return float("nan")
    order = np.argsort(v, kind="stable")
    cumulative = (np.cumsum(w[order]) - 0.5 * w[order]) / w.sum()
    return float(np.interp(percent / 100.0, cumulative, v[order]))


def gaps(solid: Solid, triangles: IntArray, mate: Surface, limit_mm: float = 50.0) -> FloatArray:
    """Signed gap (T,) in mm from the centre of each of ``triangles`` to the mate, negative inside it."""
    return mate.signed_distance_mm(solid.centres_mm[triangles], limit_mm)


def face_figures(
    solid: Solid, triangles: IntArray, mate: Surface, bins_mm: tuple[float, ...]
) -> dict[str, Any]:
    """Area, mean place and normal, and the area-weighted gaps of one contact face.

    Returns
    -------
    dict
        ``area_mm2``, ``point_lps_mm``, ``normal_lps``, ``gap_p50_mm``, ``gap_p95_mm``, ``gap_min_mm``,
        ``gap_histogram`` with ``edges_mm`` (the last bin is open) and ``share`` of the area per bin.
    """
    area = solid.areas_mm2[triangles]
    gap = gaps(solid, triangles, mate)
    centre = np.average(solid.centres_mm[triangles], axis=0, weights=area)
    normal = unit((solid.normals[triangles] * area[:, None]).sum(axis=0))
    edges = np.array([-np.inf, *bins_mm, np.inf])
    share, _ = np.histogram(gap, bins=edges, weights=area / area.sum())
    return {
        "area_mm2": float(area.sum()),
        "point_lps_mm": centre,
        "normal_lps": normal,
        "gap_p50_mm": weighted_percentile(gap, area, 50),
        "gap_p95_mm": weighted_percentile(gap, area, 95),
        "gap_min_mm": float(gap.min()),
        "gap_histogram": {"edges_mm": list(bins_mm), "share": share},
    }
