"""Signed deviation of every scanned point: too much metal is positive, too little negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.inspect.reference import FAR_MM, Reference
from implantflow.inspect.regions import Regions
from implantflow.inspect.scan import thinned
from implantflow.inspect.shape import Fit

#: Names of what lies inside the outer surface.
STRUTS, INSIDE = "struts", "dense_inside"
#: Points that are laid on the design, and rounds of doing so.
_POSE_POINTS_MM, _POSE_ROUNDS = 2.0, 5
#: What deviates by more than this does not pull at the pose (mm): supports, powder that was not blasted off.
_FOREIGN_MM = 2.0
#: This share of the scan at least lies within half a millimetre of what the file draws, or it is another part.
_SAME_PART_MM, _SAME_PART_SHARE = 0.5, 0.75


@dataclass(frozen=True)
class Deviations:
    """The scan laid on the design, and its deviations.

    Attributes
    ----------
    build_from_scan : (4, 4) rigid. placed_mm : (N, 3) scanned points in build_xyz of the design.
    deviation_mm : (N,) signed. region : (N,) index into ``names``. names : regions of the outer surface, then
    :data:`STRUTS` and :data:`INSIDE`. depth_mm : (N,) distance to the drawn outer surface, negative inside.
    """

    build_from_scan: FloatArray
    placed_mm: FloatArray
    deviation_mm: FloatArray
    region: NDArray[np.int64]
    names: list[str]
    depth_mm: FloatArray

    @property
    def on_outer(self) -> NDArray[np.bool_]:
        """(N,) points on the outer surface: what meets bone, and what the verdict is about."""
        return self.region < len(self.names) - 2


def deviations(points_mm: FloatArray, fit: Fit, reference: Reference, regions: Regions) -> Deviations:
    """Lay the scan rigidly on the designed outer surface and measure every point.

    A point on the outer surface is measured against the **design**: distance to the implant's exact surface. A point
    in the pores is measured against struts and dense walls **where the build file draws them**, carried over by the
    fitted shape: a strut's place in the pore space is not a dimension of the design, its thickness is.

    Parameters
    ----------
    points_mm : (N, 3) scanned points, scanner's frame. fit : the fitted shape.

    Raises
    ------
    GeometryError
        Too much of the scan lies away from everything the file draws.
    """
    drawn = fit.shape.drawn(points_mm)
    dense, lattice = reference.dense(drawn), reference.field.lattice_value(drawn)
    inner = np.minimum(dense, lattice)
    depth, triangle = reference.outer(drawn, inner)
    on_outer = (triangle >= 0) & (depth >= inner)
    names = [*regions.names, STRUTS, INSIDE]
    region = np.where(lattice < dense, names.index(STRUTS), names.index(INSIDE))
    region[on_outer] = regions.of_triangle[triangle[on_outer]]
    share = float((np.abs(np.where(on_outer, depth, inner)) < _SAME_PART_MM).mean())
    if share < _SAME_PART_SHARE:
        raise GeometryError(
            f"only {100 * share:.0f} % of the scan lie on the part that the build file draws",
            where="inspect: deviations",
            fix="is it the scan of this part and revision, in millimetres, and not mirrored?",
        )
    pose = rigid_pose(points_mm[on_outer], fit, reference)
    placed = transform_points(pose, points_mm)
    deviation = inner
    deviation[on_outer] = reference.design_surface.signed_distance_mm(placed[on_outer], FAR_MM)
    return Deviations(pose, placed, deviation, region, names, depth)


def rigid_pose(
    points: FloatArray, fit: Fit, reference: Reference, strut_ends: NDArray[np.bool_] | None = None
) -> FloatArray:
    """The rigid pose (scanner to build_xyz) that lays points of the outer surface best on the design.

    ``strut_ends`` (N,) marks points on the cut ends of struts: they may lie off by a length of their own, for a CT
    blurs half of a strut's end away, and where one side of the part is porous that would pull the part over.
    """
    kept = thinned(points, _POSE_POINTS_MM)
    points, ends = points[kept], np.zeros(len(kept)) if strut_ends is None else strut_ends[kept]
    shared = np.zeros((len(kept), 1)) - ends[:, None]
    pose = np.eye(4)
    pose[:3, :3] = fit.shape.rotation
    place = reference.designed(fit.shape.place_mm[None])[0]
    pose[:3, 3] = place - pose[:3, :3] @ fit.shape.pivot_mm
    surface = reference.design_surface
    for _ in range(_POSE_ROUNDS):
        placed = transform_points(pose, points)
        found = surface.nearest(placed, limit_mm=FAR_MM)
        normal = surface.solid.normals[found.triangle]
        middle = placed.mean(0)
        jacobian = np.hstack([np.cross(placed - middle, normal), normal, shared])
        keep = np.abs(found.distance_mm) < _FOREIGN_MM
        step = np.linalg.lstsq(jacobian[keep], -found.distance_mm[keep], rcond=None)[0]
        pose = _turned(step[:3], step[3:6], middle) @ pose
    return pose


def _turned(turn: FloatArray, shift: FloatArray, middle: FloatArray) -> FloatArray:
    """Rigid 4x4: rotation vector about ``middle``, then a shift."""
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle > 0 else np.array([0.0, 0.0, 1.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    out = np.eye(4)
    out[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    out[:3, 3] = middle + shift - out[:3, :3] @ middle
    return out


def statistics(deviation_mm: FloatArray, weight: FloatArray, tolerance_mm: float) -> dict[str, Any]:
    """Figures of some points, weighted by the area each stands for; None where there is nothing."""
    total = float(weight.sum())
    if total <= 0:
        return {
            "area_mm2": 0.0,
            "rms_mm": None,
            "mean_mm": None,
            "p95_mm": None,
            "within_tolerance_pct": None,
        }
    size = np.abs(deviation_mm)
    order = np.argsort(size, kind="stable")
    reached = np.cumsum(weight[order])
    p95 = order[min(int(np.searchsorted(reached, 0.95 * total)), len(order) - 1)]
    return {
        "area_mm2": total,
        "rms_mm": float(np.sqrt((weight * deviation_mm**2).sum() / total)),
        "mean_mm": float((weight * deviation_mm).sum() / total),
        "p95_mm": float(size[p95]),
        "within_tolerance_pct": 100.0 * float(weight[size <= tolerance_mm].sum()) / total,
        "lowest_mm": float(deviation_mm.min()),
        "highest_mm": float(deviation_mm.max()),
    }
