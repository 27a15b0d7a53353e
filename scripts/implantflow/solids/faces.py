"""The named contact faces of an implant and its fit to the bones around it.

Prototype and implant both need the same answer to "which triangles are the midline face": it is found on the shape
itself, from the plan's planes and the neighbouring bones, so it survives every correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import Plane
from implantflow.solids.booleans import crop, overlap_mm3
from implantflow.solids.contact import (
    face_figures,
    facing_triangles,
    gaps,
    plane_triangles,
    weighted_percentile,
)
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import (
    IntArray,
    Solid,
)

#: Face -> the neighbour it mates with.
MATES = {"midline": "remaining_bone", "caudal": "remaining_bone", "si_joint": "hip", "l5s1": "l5"}
#: Faces that touch bone; across l5s1 lies the disc space, which a cage or graft fills.
BONE_FACES = ("midline", "caudal", "si_joint")
#: How far an osteotomy face may have been moved by clearances and corrections.
_SAW_FACE_SLAB_MM = 7.0
_NEAR_MM = 15.0
_BINS_MM = (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Neighbours:
    """Bones around the implant, cropped to its surroundings and ready for distance queries."""

    remaining_bone: Surface
    hip: Surface
    l5: Surface

    @classmethod
    def around(cls, specimen: Solid, remaining: Solid, hip: Solid, l5: Solid) -> Neighbours:
        """Keep what lies within 15 mm of the box of ``specimen``."""
        low, high = specimen.bounds_mm
        near = [crop(bone, low - _NEAR_MM, high + _NEAR_MM) for bone in (remaining, hip, l5)]
        for name, bone in zip(("remaining bone", "hip", "L5"), near, strict=True):
            if len(bone.faces) == 0:
                raise GeometryError(f"there is no {name} near the specimen", where="plan")
        return cls(*[Surface(bone) for bone in near])

    def by_name(self, name: str) -> Surface:
        """Surface called ``remaining_bone``, ``hip`` or ``l5``."""
        found: Surface = getattr(self, name)
        return found


def plan_plane(plan: dict[str, Any], name: str) -> Plane:
    """The plane ``name`` of ``plan.json`` with its normal as the plan holds it."""
    for entry in plan["resection_planes"]:
        if entry["name"] == name:
            return Plane.from_json(entry)
    raise GeometryError(f"the plan has no plane called {name}", where="plan.json")


def contact_faces(
    solid: Solid,
    plan: dict[str, Any],
    neighbours: Neighbours,
    joint_space_max_mm: float,
    disc_space_max_mm: float,
) -> dict[str, IntArray]:
    """Triangle numbers of each of the four contact faces of ``solid``.

    Raises
    ------
    GeometryError
        A face has no triangle: the shape does not fit the plan.
    """
    faces = {name: _saw_face(solid, plan_plane(plan, name)) for name in ("midline", "caudal")}
    faces["si_joint"] = facing_triangles(solid, neighbours.hip, joint_space_max_mm, min_share=0.2)
    disc = plan_plane(plan, "l5s1")
    centres = solid.centres_mm
    near_disc = np.abs(disc.distance(centres)) < disc_space_max_mm / 2.0 + 4.0
    upward = solid.normals @ np.asarray(disc.normal) > 0.6
    among = np.flatnonzero(near_disc & upward)
    faces["l5s1"] = facing_triangles(solid, neighbours.l5, disc_space_max_mm, min_share=0.5, among=among)
    for name, triangles in faces.items():
        if len(triangles) == 0:
            raise GeometryError(
                f"the implant has no {name} face",
                where="contact faces",
                fix="check the plan revision and the corrections of this iteration",
            )
    return {name: faces[name] for name in MATES}


def _saw_face(solid: Solid, into_specimen: Plane) -> IntArray:
    """Triangles of the one flat level, parallel to an osteotomy, that holds the most area."""
    outward = Plane.of(into_specimen.point, -np.asarray(into_specimen.normal))
    found = plane_triangles(solid, outward, -_SAW_FACE_SLAB_MM, _SAW_FACE_SLAB_MM, tilt_deg=2.0)
    if len(found) == 0:
        return found
    level = outward.distance(solid.centres_mm[found])
    bins = np.round(level / 0.02).astype(np.int64)
    area = np.bincount(bins - bins.min(), weights=solid.areas_mm2[found])
    top = (int(np.argmax(area)) + bins.min()) * 0.02
    kept: IntArray = found[np.abs(level - top) < 0.05]
    return kept


def fit_figures(solid: Solid, faces: dict[str, IntArray], neighbours: Neighbours) -> dict[str, Any]:
    """Gap, contact area and interpenetration, per face and over the faces that touch bone.

    Returns
    -------
    dict
        ``gap_p50_mm``, ``gap_p95_mm``, ``contact_area_mm2`` over midline, caudal and SI face (area-weighted; the
        L5/S1 face is left out, a disc space is not a gap), ``interpenetration_mm3`` with all neighbours,
        ``interpenetration_by_neighbour_mm3`` and ``faces`` with the figures of each.
    """
    area = solid.areas_mm2
    gap = np.concatenate([gaps(solid, faces[n], neighbours.by_name(MATES[n])) for n in BONE_FACES])
    weight = np.concatenate([area[faces[n]] for n in BONE_FACES])
    overlap = {
        name: overlap_mm3(solid, neighbours.by_name(name).solid) for name in sorted(set(MATES.values()))
    }
    return {
        "gap_p50_mm": weighted_percentile(gap, weight, 50),
        "gap_p95_mm": weighted_percentile(gap, weight, 95),
        "contact_area_mm2": float(weight.sum()),
        "interpenetration_mm3": sum(overlap.values()),
        "interpenetration_by_neighbour_mm3": overlap,
        "faces": {
            name: {
                "mates_with": MATES[name],
                **face_figures(solid, triangles, neighbours.by_name(MATES[name]), _BINS_MM),
            }
            for name, triangles in faces.items()
        },
    }
