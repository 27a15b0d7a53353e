"""Planes of the two joints that are taken apart, not sawn: the L5/S1 disc and the sacroiliac joint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane
from implantflow.plan.axis import SacralAxis
from implantflow.solids.contact import facing_triangles
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import (
    IntArray,
    Solid,
)

#: A lumbosacral disc is 6-14 mm high in front; the fitted pairs may be this far apart.
_DISC_MAX_MM = 18.0
#: Widest sacroiliac joint space searched; adults have 1.5-5 mm.
_JOINT_MAX_MM = 7.0


@dataclass(frozen=True)
class JointPlane:
    """A plane fitted to the middle of a joint space.

    Attributes
    ----------
    plane : Plane
        Normal pointing away from the sacrum.
    residual_rms_mm : float
        Root mean square distance of the space's mid-points to the plane (a joint is not flat).
    area_mm2 : float
        Area of the sacrum that faces the neighbour.
    space_p50_mm : float
        Median height of the space.
    origin : str
        ``computed`` or ``surgeon``.
    """

    plane: Plane
    residual_rms_mm: float
    area_mm2: float
    space_p50_mm: float
    origin: str = "computed"

    @classmethod
    def given(cls, plane: Plane) -> JointPlane:
        """A plane that the surgeon gives: nothing is known of the joint space."""
        return cls(plane, 0.0, 0.0, 0.0, "surgeon")

    def facts(self) -> dict[str, Any]:
        """What ``plan.json`` says of it."""
        if self.origin == "surgeon":
            return {"source": "surgeon", "origin": "surgeon"}
        return {
            "source": "fitted to the joint space",
            "origin": "computed",
            "residual_rms_mm": self.residual_rms_mm,
            "facing_area_mm2": self.area_mm2,
            "space_p50_mm": self.space_p50_mm,
        }


def fit_disc(sacrum: Solid, l5: Solid, axis: SacralAxis) -> JointPlane:
    """Plane midway between the end plates of L5 and S1, normal pointing cranially.

    ``sacrum`` must have triangles of a few millimetres. Only those in front of the canal count, so that the facets
    do not tilt it.

    Raises
    ------
    GeometryError
        Less than 300 mm2 of the sacrum faces L5.
    """
    centres, normals = sacrum.centres_mm, sacrum.normals
    promontory, caudal, anterior = axis.at(0.0)
    # S1's end plate reaches about 32 mm behind the promontory; the facets begin at 35 mm.
    behind = -(centres - promontory) @ anterior
    upward = normals @ -caudal > 0.5
    near = np.linalg.norm(centres - promontory, axis=1) < 45.0
    candidates = np.flatnonzero(upward & near & (behind < 30.0) & (behind > -8.0))
    return _fit(
        sacrum, candidates, Surface(l5), _DISC_MAX_MM, -caudal, 300.0, "L5 and the sacrum's end plate"
    )


def fit_si_joint(sacrum: Solid, hip: Solid, outward: FloatArray) -> JointPlane:
    """Plane midway in the sacroiliac joint space, normal pointing laterally (along ``outward`` (3,)).

    ``sacrum`` must have triangles of a few millimetres.

    Raises
    ------
    GeometryError
        Less than 300 mm2 of the sacrum faces the ilium.
    """
    candidates = np.arange(len(sacrum.faces))
    return _fit(sacrum, candidates, Surface(hip), _JOINT_MAX_MM, outward, 300.0, "the ilium and the sacrum")


def _fit(
    sacrum: Solid,
    candidates: IntArray,
    mate: Surface,
    widest_mm: float,
    outward: FloatArray,
    least_area_mm2: float,
    who: str,
) -> JointPlane:
    facing = facing_triangles(sacrum, mate, widest_mm, among=candidates)
    area = sacrum.areas_mm2[facing]
    if area.sum() < least_area_mm2:
        raise GeometryError(
            f"{who} face each other over {area.sum():.0f} mm2 only: the joint plane is not determined",
            fix="check the bone labels, or give the plane in plan.revisions[].planes",
        )
    found = mate.nearest(sacrum.centres_mm[facing], widest_mm + 1.0, signed=False)
    middle = (sacrum.centres_mm[facing] + found.foot_mm) / 2.0
    plane = _trimmed_plane(middle, area, outward)
    residual = float(np.sqrt(np.average(plane.distance(middle) ** 2, weights=area)))
    return JointPlane(plane, residual, float(area.sum()), float(np.median(np.abs(found.distance_mm))))


def _trimmed_plane(points: FloatArray, weights: FloatArray, outward: FloatArray) -> Plane:
    """Weighted least-squares plane through the 90 % of ``points`` (N, 3) nearest to it."""
    keep = np.ones(len(points), dtype=bool)
    plane = Plane.of(points.mean(axis=0), outward)
    for _ in range(10):
        w = weights[keep]
        centre = np.average(points[keep], axis=0, weights=w)
        _, _, axes = np.linalg.svd((points[keep] - centre) * np.sqrt(w)[:, None], full_matrices=False)
        normal = axes[2] if axes[2] @ outward > 0 else -axes[2]
        plane = Plane.of(centre, normal)
        off = np.abs(plane.distance(points))
        keep = off <= np.quantile(off, 0.9)
    return plane
