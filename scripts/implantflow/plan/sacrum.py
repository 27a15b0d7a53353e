"""Resections of the sacrum: hemi-, total and partial, with part of the ilium where the tumour needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane
from implantflow.plan import cuts as cutting
from implantflow.plan.anatomy import Anatomy
from implantflow.plan.axis import SacralAxis, find_axis, find_foramina
from implantflow.plan.joints import JointPlane, fit_disc, fit_si_joint
from implantflow.plan.margin import joint_room, require_tracts_inside
from implantflow.plan.midplane import find_midplane
from implantflow.plan.osteotomy import beyond_mm3, resect, resect_ilium
from implantflow.plan.resection import Case, Planned
from implantflow.plan.roots import SIGNS, foramen_points, roots
from implantflow.plan.sides import agree_on_side
from implantflow.plan.spine import Vertebra, vertebrae_above, vertebral_frame
from implantflow.solids.booleans import merged, refined
from implantflow.solids.mesh import Solid

_EVEN_MM = 3.0
#: A sacrum that the scan cuts off and whose axis is shorter than this ends within S3: S4 is not in it.
_WHOLE_AXIS_MM = 88.0


def plan(case: Case) -> tuple[Planned, Anatomy]:
    """Resection of the sacrum of ``case``, and the anatomy that its screws are planned in."""
    revision, sign = case.revision, SIGNS[case.side]
    other = "right" if case.side == "left" else "left"
    # Landmarks are read off triangles, so a flat part must not be one large triangle.
    even = refined(case.sacrum, _EVEN_MM)
    middle = find_midplane(even)
    two_sided = revision.procedure != "hemisacrectomy"
    tumour_side_mm = (
        agree_on_side(case.side, "tumour", case.tumour, middle.plane)
        if not two_sided
        else float(middle.plane.distance(case.tumour.centres_mm.mean(axis=0)[None])[0])
    )
    axis = find_axis(even, middle.plane)
    complete = not case.sacrum_cut_off or axis.length_mm >= _WHOLE_AXIS_MM
    foramina = {side: find_foramina(even, axis, SIGNS[side], complete) for side in SIGNS}
    joints = _joints(case, even, axis, [case.side, other] if two_sided else [case.side])
    planes = {name: joint.plane for name, joint in joints.items()}

    cuts = cutting.sacral_cuts(revision, middle.plane, axis, foramina[other], case.tumour.vertices, sign)
    sides = {case.side: planes["si_joint"]} | ({other: planes[f"si_joint_{other}"]} if two_sided else {})
    ilia = cutting.ilium_cuts(revision, sides)
    resected = resect(case.sacrum, cuts, revision.kerf_mm, "sacrum")
    if revision.procedure == "partial_sacrectomy" and resected.remaining is not None:
        _require_hold(resected.remaining, case.hips, axis)
    volumes, specimen, hips = dict(resected.volumes), resected.specimen, dict(case.hips)
    for cut in ilia:
        side = cut.name.removeprefix("ilium_")
        specimen_part, hips[side], figures = resect_ilium(case.hips[side], cut, revision.kerf_mm, case.sacrum)
        specimen = merged([specimen, specimen_part])
        # That joint stays closed.
        joints.pop("si_joint" if side == case.side else f"si_joint_{side}")
        volumes |= {f"{side}_{name}": value for name, value in figures.items()}
    cuts += ilia
    volumes["specimen_volume_mm3"] = specimen.volume_mm3
    neighbours = {"hip": hips[case.side]} | ({f"hip_{other}": hips[other]} if two_sided else {})
    if case.l5 is not None:
        neighbours["l5"] = case.l5
    leaves_disc = revision.procedure != "partial_sacrectomy" and "l5s1" in planes
    if not leaves_disc:
        planes.pop("l5s1", None)
        joints.pop("l5s1", None)
    room = joint_room(case.tumour, planes, neighbours, revision.margin_mm)
    rest = {} if resected.remaining is None else {"remaining sacrum": resected.remaining}
    points = foramen_points(axis, foramina)
    listed, lost = roots(points, foramina, cuts, revision.roots_sacrificed)
    facts: dict[str, Any] = {
        "tumour_side_mm": tumour_side_mm,
        "caudal_s_mm": next((cut.s_mm for cut in cuts if cut.name == "caudal"), None),
        "sacral_axis": {
            "length_mm": axis.length_mm,
            "whole_sacrum_in_scan": complete,
            "foramina": foramina[other].as_json(),
        },
        "foramina": listed,
        "roots_sacrificed": lost,
        "biopsy_tracts": require_tracts_inside(revision.biopsy_tracts, cuts, specimen, neighbours | rest),
        "facet_beyond_disc_plane_mm3": beyond_mm3(specimen, planes["l5s1"]) if leaves_disc else None,
    }
    planned = Planned(middle, cuts, joints, specimen, resected.remaining, hips, room, volumes, facts)
    return planned, _anatomy(case, planned, axis, foramina)


def _require_hold(remaining: Solid, hips: dict[str, Solid], axis: SacralAxis) -> None:
    """Refuse a partial sacrectomy that leaves the spine without a sacroiliac joint on both sides."""
    for side, hip in hips.items():
        try:
            fit_si_joint(refined(remaining, _EVEN_MM), hip, SIGNS[side] * axis.left_lps)
        except GeometryError as error:
            raise GeometryError(
                f"what this plan leaves of the sacrum ({remaining.volume_mm3 / 1000.0:.1f} cm3) has no {side} "
                "sacroiliac joint any more, so it does not carry the spine",
                where=f"plan; {error.what}",
                fix="procedure: total_sacrectomy, or a lower cranial osteotomy",
            ) from error


def _joints(case: Case, sacrum: Solid, axis: SacralAxis, sides: list[str]) -> dict[str, JointPlane]:
    """Planes of the joints, fitted or as the surgeon gives them; the operated side's is called ``si_joint``."""
    given = case.revision.planes
    found: dict[str, JointPlane] = {}
    if given.l5s1 is not None:
        found["l5s1"] = JointPlane.given(cutting.plane_of(given.l5s1))
    elif case.l5 is not None:
        found["l5s1"] = fit_disc(sacrum, case.l5, axis)
    for side in sides:
        name = "si_joint" if side == case.side else f"si_joint_{side}"
        if side == case.side and given.si_joint is not None:
            found[name] = JointPlane.given(cutting.plane_of(given.si_joint))
        else:
            found[name] = fit_si_joint(sacrum, case.hips[side], SIGNS[side] * axis.left_lps)
    return found


def _anatomy(case: Case, planned: Planned, axis: SacralAxis, foramina: dict[str, Any]) -> Anatomy:
    other = "right" if case.side == "left" else "left"
    hips = {"implant": planned.hips[case.side], "healthy": planned.hips[other]}
    front, up, vertebrae = spine_of(case, planned.middle.plane, axis)
    return Anatomy(
        planned.specimen,
        planned.remaining,
        hips,
        axis,
        foramina,
        SIGNS[case.side],
        vertebrae,
        front,
        up,
        case.ct,
    )


def spine_of(
    case: Case, midplane: Plane, axis: SacralAxis
) -> tuple[FloatArray, FloatArray, dict[str, Vertebra]]:
    """Front and up of L5, and the vertebrae that may carry screws."""
    vertebrae = {f"L{n}": Vertebra(None, f"L{n} lies outside the scan") for n in (3, 4, 5)}
    _, caudal, anterior = axis.at(0.0)
    if case.l5 is None:
        return np.asarray(anterior), -np.asarray(caudal), vertebrae
    disc = fit_disc(refined(case.sacrum, _EVEN_MM), case.l5, axis)
    front, up = vertebral_frame(midplane, disc.plane)
    vertebrae["L5"] = Vertebra(case.l5, "")
    wanted = {corridor.level for corridor in case.revision.corridors if corridor.kind == "pedicle"}
    if case.labels is not None and case.above_l5 is not None and wanted & {"L3", "L4"}:
        vertebrae |= vertebrae_above(case.labels, case.above_l5, case.l5, up, front)
    return front, up, vertebrae
