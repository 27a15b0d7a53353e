"""Margins: tumour to each osteotomy as planned and at the tolerances' worst, tracts, joints, neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from implantflow.config.plan import BiopsyTract, PlanRevision
from implantflow.errors import QualityGateError
from implantflow.geometry import FloatArray, Plane
from implantflow.jobs import Job
from implantflow.plan.cuts import Cut, least_change
from implantflow.solids.booleans import intersection, overlap_mm3
from implantflow.solids.contact import plane_triangles
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import capsule
from implantflow.volumes import read_volume

#: A tumour that touches a neighbour by less than this may be no more than the partial volume of one voxel.
_TOUCH_MM = 1.0


def require_margin(cuts: Sequence[Cut], tumour_mm: FloatArray, revision: PlanRevision) -> dict[str, float]:
    """Smallest signed distance in mm of the tumour to each osteotomy; refuses when one is below the margin.

    The tumour's surface is made of triangles, so its nearest point to a plane is a vertex: the figure is exact.

    Raises
    ------
    QualityGateError
        A margin is not kept; the message says by how much and the least change that keeps it.
    """
    found = {cut.name: float(cut.plane.distance(tumour_mm).min()) for cut in cuts}
    short = {
        cut: revision.margin_mm - found[cut.name] for cut in cuts if found[cut.name] < revision.margin_mm
    }
    if short:
        raise QualityGateError(
            "; ".join(
                f"the {cut.name} osteotomy leaves {found[cut.name]:.1f} mm, {missing:.1f} mm short of "
                f"{revision.margin_mm:.1f} mm"
                for cut, missing in short.items()
            ),
            where=f"plan revision {revision.id}",
            fix=" ".join(least_change(cut, missing) for cut, missing in short.items()),
        )
    return found


def worst_margin_mm(
    plane: Plane, pivot_mm: FloatArray, points_mm: FloatArray, shift_mm: float, tilt_deg: float
) -> float:
    """Smallest distance of ``points_mm`` (N, 3) to the plane shifted and tilted at worst.

    The tilt is about any axis in the plane through ``pivot_mm``. A point at height h over the plane and r beside the
    pivot comes nearest when the axis is at right angles to its arm: h cos t - r sin t. Tilts up to ``tilt_deg`` only
    lower it further, as long as h > -r / tan t, which the worst point of a kept margin obeys.
    """
    height = plane.distance(points_mm)
    arm = (
        points_mm
        - pivot_mm
        - np.outer(plane.distance(points_mm) - plane.distance(pivot_mm[None]), plane.normal)
    )
    tilt = np.radians(tilt_deg)
    return float((height * np.cos(tilt) - np.linalg.norm(arm, axis=1) * np.sin(tilt)).min() - shift_mm)


def cut_figures(
    cut: Cut, specimen: Solid, tumour_mm: FloatArray, margin_mm: float, revision: PlanRevision
) -> dict[str, Any]:
    """Margin of one osteotomy as planned and at worst, and how far its implant's seat may then gape.

    Raises
    ------
    QualityGateError
        Within its tolerances the saw may enter the tumour.
    """
    shift, tilt = revision.osteotomy_tolerance_mm, revision.osteotomy_tolerance_deg
    outward = Plane.of(cut.plane.point, -np.asarray(cut.plane.normal))
    face = plane_triangles(specimen, outward, -1e-3, 1e-3, tilt_deg=1.0)
    if len(face) == 0:
        return {"tumour_distance_min_mm": margin_mm, "face_area_mm2": 0.0}
    area = specimen.areas_mm2[face]
    middle = np.average(specimen.centres_mm[face], axis=0, weights=area)
    reach = float(np.linalg.norm(specimen.vertices[np.unique(specimen.faces[face])] - middle, axis=1).max())
    worst = worst_margin_mm(cut.plane, middle, tumour_mm, shift, tilt)
    if worst < 0.0:
        raise QualityGateError(
            f"the {cut.name} osteotomy keeps {margin_mm:.1f} mm as planned, but {shift:g} mm and {tilt:g} degrees "
            f"beside its plan the saw enters the tumour by {-worst:.1f} mm",
            where=f"plan revision {revision.id}",
            fix="guide the saw better (smaller osteotomy_tolerance_mm and _deg), or "
            + least_change(cut, -worst),
        )
    return {
        "tumour_distance_min_mm": margin_mm,
        "worst_case_margin_mm": worst,
        "face_area_mm2": float(area.sum()),
        "seating_gap_worst_mm": shift + reach * float(np.tan(np.radians(tilt))),
    }


def joint_room(
    tumour: Solid,
    joints: Mapping[str, Plane],
    neighbours: Mapping[str, Solid],
    margin_mm: float,
) -> dict[str, float]:
    """Shortest signed distance in mm from the tumour to each neighbouring bone that stays, negative when it enters.

    Raises
    ------
    QualityGateError
        The tumour enters a bone that stays by more than 1 mm, or crosses the disc plane.
    """
    found = {}
    for name, bone in neighbours.items():
        found[name] = float(Surface(bone).signed_distance_mm(tumour.vertices, 200.0).min())
        if found[name] < -_TOUCH_MM:
            raise QualityGateError(
                f"the tumour enters the {name} by {-found[name]:.1f} mm, which this plan leaves in place",
                where="plan",
                fix=_way_out(name, tumour, joints, margin_mm),
            )
    over = float(joints["l5s1"].distance(tumour.vertices).max()) if "l5s1" in joints else 0.0
    if over > 0.0:
        raise QualityGateError(
            f"the tumour reaches {over:.1f} mm above the L5/S1 disc plane",
            where="plan",
            fix=_way_out("l5", tumour, joints, margin_mm),
        )
    return found


def _way_out(name: str, tumour: Solid, joints: Mapping[str, Plane], margin_mm: float) -> str:
    if name == "l5":
        return (
            "take the L5/S1 disc and part of L5 (a resection of both bones in one is not planned), or correct the "
            "tumour's outline"
        )
    if not name.startswith("hip"):
        return f"plan a resection that takes the {name}'s part too, or correct the tumour's outline"
    side = name.removeprefix("hip").strip("_ ")
    joint = joints.get(f"si_joint_{side}", joints.get("si_joint"))
    if joint is None:
        return "take part of the ilium, or correct the tumour's outline"
    beyond = float(joint.distance(tumour.vertices).max()) + margin_mm + 0.1
    return f"take part of the ilium: ilium_offset_mm: {beyond:.1f}, or correct the tumour's outline"


def require_tracts_inside(
    tracts: Sequence[BiopsyTract], cuts: Sequence[Cut], specimen: Solid, staying: Mapping[str, Solid]
) -> list[dict[str, Any]]:
    """Entries of the biopsy tracts; refuses one that an osteotomy or a bone that stays would share.

    Raises
    ------
    QualityGateError
        A tract is cut by an osteotomy, runs through bone that stays, or does not end in the specimen.
    """
    found = []
    for tract in tracts:
        ends = np.array([tract.entry_lps_mm, tract.target_lps_mm])
        solid = capsule(ends[0], ends[1], tract.radius_mm)
        room = {cut.name: float(cut.plane.distance(ends).min()) - tract.radius_mm for cut in cuts}
        shared = {name: overlap_mm3(solid, bone) for name, bone in staying.items()}
        wrong = [
            f"the {name} osteotomy cuts it ({value:.1f} mm)" for name, value in room.items() if value < 0.0
        ]
        wrong += [
            f"it runs through {value:.0f} mm3 of the {name}" for name, value in shared.items() if value > 0.01
        ]
        if len(intersection(solid, specimen).faces) == 0:
            wrong.append("it does not reach the specimen")
        if wrong:
            raise QualityGateError(
                f"the biopsy tract {tract.name} does not come out with the specimen: {'; '.join(wrong)}",
                where="plan.biopsy_tracts",
                fix="move the osteotomy beyond the tract (planes), or correct the tract",
            )
        found.append({"name": tract.name, "osteotomy_distance_mm": room, "origin": "surgeon"})
    return found


def timepoint_margins(job: Job, cuts: Sequence[Cut]) -> dict[str, dict[str, float]]:
    """Margin in mm of each time point's mask to the osteotomies, to the centres of its voxels."""
    out = {}
    for path in job.input_list("masks"):
        mask = read_volume(path)
        points = mask.index_to_lps(np.argwhere(mask.array > 0)[:, ::-1])
        if len(points):
            name = path.name.split("_mask")[0]
            out[name] = {cut.name: float(cut.plane.distance(points).min()) for cut in cuts}
    return out
