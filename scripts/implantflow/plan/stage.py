"""Door of the stage plan: bones and tumour in, planes, solids and corridors out."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np

from implantflow import artifacts
from implantflow.config.plan import PlanRevision
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane
from implantflow.jobs import Job, progress
from implantflow.parallel import side_by_side
from implantflow.plan import osteotomy
from implantflow.plan.axis import SacralAxis, find_axis, find_foramina
from implantflow.plan.joints import JointPlane, fit_disc, fit_si_joint
from implantflow.plan.midplane import MidPlane, find_midplane
from implantflow.plan.screws import Anatomy, plan_screw
from implantflow.plan.sides import agree_on_side
from implantflow.plan.tumour_room import joint_room, planned_on, read_tumour, timepoint_margins
from implantflow.solids.booleans import refined
from implantflow.solids.mesh import EDGE_MM, Solid, read_solid, write_solid

Side = Literal["left", "right"]
_EVEN_MM = 3.0


def plan_resection(job: Job) -> None:
    """Plan one revision of the resection (rule ``plan_resection``).

    Inputs ``sacrum``, ``hip_left``, ``hip_right``, ``l5``, ``tumour_stl`` (one or several STL, patient LPS mm; their
    union is kept clear of), ``tumour`` (JSON), ``masks`` (tumour masks in planning space). Outputs ``plan`` (JSON),
    ``specimen`` and
    ``remaining_bone`` (STL). Settings ``plan`` (one revision), ``side``, ``purpose``.

    Raises
    ------
    GeometryError
        Sides disagree, a plane is not determined, volumes do not add up.
    QualityGateError
        The margin is not kept, or the implant's screw does not fit.
    """
    revision = PlanRevision.model_validate(job.settings["plan"])
    side: Side = job.settings["side"]
    sign = 1.0 if side == "left" else -1.0
    sacrum, l5 = read_solid(job.input("sacrum"), "sacrum"), read_solid(job.input("l5"), "L5")
    hips = {name: read_solid(job.input(f"hip_{name}"), f"hip {name}") for name in ("left", "right")}
    tumour = read_tumour(job.input_list("tumour_stl"))

    progress("sacral mid-plane and axis", done=0.1)
    # Landmarks are read off triangles, so a flat part must not be one large triangle.
    even = refined(sacrum, _EVEN_MM)
    middle = find_midplane(even)
    tumour_side_mm = agree_on_side(side, "tumour", tumour, middle.plane)
    axis = find_axis(even, middle.plane)
    foramina = find_foramina(sacrum, axis, -sign)
    hip = hips[side]
    healthy = hips["right" if side == "left" else "left"]
    joints = _joints(revision, even, l5, hip, axis, sign)

    progress("osteotomies", done=0.4)
    planes = osteotomy.place_planes(revision, middle.plane, axis, foramina, tumour.vertices, sign)
    margins = osteotomy.require_margin(planes, tumour.vertices, revision)
    room = joint_room(tumour, joints["l5s1"][0], {"hip": hip, "l5": l5})
    resected = osteotomy.resect(sacrum, planes, revision.kerf_mm)
    specimen_side_mm = agree_on_side(side, "specimen", resected.specimen, middle.plane)
    specimen = write_solid(
        job.outputs["specimen"], resected.specimen, f"implantflow specimen {side} patient LPS mm", EDGE_MM
    )
    remaining = write_solid(
        job.outputs["remaining_bone"],
        resected.remaining,
        "implantflow remaining sacrum patient LPS mm",
        EDGE_MM,
    )

    progress("screw corridors", done=0.6)
    anatomy = Anatomy(specimen, remaining, {"implant": hip, "healthy": healthy}, axis, foramina, sign)
    tasks = [partial(plan_screw, config, anatomy) for config in revision.corridors]
    corridors = side_by_side(tasks, job.threads)
    soft = _soft_tissue(tumour, remaining, room)
    artifacts.write_json(
        job.outputs["plan"],
        {
            "revision": revision.id,
            "frame": "patient_lps",
            "purpose": job.settings["purpose"],
            "side": side,
            "side_evidence_mm": {"tumour_centroid": tumour_side_mm, "specimen_centroid": specimen_side_mm},
            "midline_plane": middle.plane.as_json(),
            "midline_fit": _fit(middle),
            "resection_planes": _plane_list(planes, joints, margins, tumour.vertices),
            "caudal_s_mm": planes.caudal_s_mm,
            "kerf_mm": revision.kerf_mm,
            "margin_mm": revision.margin_mm,
            "imaging": planned_on(artifacts.read_json(job.input("tumour")), revision),
            "osteotomy_margin_min_mm": min(margins.values()),
            "osteotomy_margins_mm": margins,
            "timepoint_margins_mm": timepoint_margins(job, planes),
            **soft,
            "sacral_axis": {"length_mm": axis.length_mm, "foramina": foramina.as_json()},
            "roots_sacrificed": osteotomy.roots_sacrificed(planes, foramina, axis, side),
            "specimen_volume_mm3": resected.volumes["specimen_volume_mm3"],
            "volumes": resected.volumes,
            "facet_beyond_disc_plane_mm3": osteotomy.beyond_mm3(specimen, joints["l5s1"][0]),
            "corridors": corridors,
            "notes": _NOTES,
        },
    )


_NOTES = [
    "L5/S1 and the sacroiliac joint are taken apart: no bone is cut there. What the specimen has beyond the disc "
    "plane is the S1 facet; the saw kerf lies on the side that remains.",
    "The soft-tissue margin is the room between the tumour and the bones that stay. It is shown, not promised: "
    "muscle, vessels and nerves are not segmented.",
    "L3-L5 pedicle screws are not planned in this version.",
]


def _joints(
    revision: PlanRevision, sacrum: Solid, l5: Solid, hip: Solid, axis: SacralAxis, sign: float
) -> dict[str, tuple[Plane, dict[str, Any]]]:
    """Plane and facts of the two joints, fitted or as the surgeon gives them."""
    found: dict[str, tuple[Plane, dict[str, Any]]] = {}
    given = {"l5s1": revision.planes.l5s1, "si_joint": revision.planes.si_joint}
    for name, override in given.items():
        if override is not None:
            plane = Plane.of(override.point_lps_mm, override.normal_lps)
            found[name] = (plane, {"source": "surgeon"})
            continue
        if name == "l5s1":
            fit = fit_disc(sacrum, l5, axis)
        else:
            fit = fit_si_joint(sacrum, hip, sign * axis.left_lps)
        found[name] = (fit.plane, _joint_facts(fit))
    return found


def _joint_facts(fit: JointPlane) -> dict[str, Any]:
    return {
        "source": "fitted to the joint space",
        "residual_rms_mm": fit.residual_rms_mm,
        "facing_area_mm2": fit.area_mm2,
        "space_p50_mm": fit.space_p50_mm,
    }


def _fit(middle: MidPlane) -> dict[str, float]:
    return {
        "residual_rms_mm": middle.residual_rms_mm,
        "starts_agree_mm": middle.agreement_mm,
        "starts_agree_deg": middle.agreement_deg,
    }


def _plane_list(
    planes: osteotomy.ResectionPlanes,
    joints: dict[str, tuple[Plane, dict[str, Any]]],
    margins: dict[str, float],
    tumour_mm: FloatArray,
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for name in ("midline", "caudal"):
        plane: Plane = getattr(planes, name)
        out.append(
            {
                "name": name,
                "kind": "osteotomy",
                **plane.as_json(),
                "source": planes.sources[name],
                "tumour_distance_min_mm": margins[name],
            }
        )
    for name, (plane, facts) in joints.items():
        # Joint normals point out of the sacrum: room is how far the tumour stays below the plane.
        room = -float(np.max(plane.distance(tumour_mm)))
        out.append(
            {
                "name": name,
                "kind": "disarticulation",
                **plane.as_json(),
                **facts,
                "tumour_distance_min_mm": room,
            }
        )
    return out


def _soft_tissue(tumour: Solid, remaining: Solid, room: dict[str, float]) -> dict[str, Any]:
    from implantflow.solids.booleans import overlap_mm3
    from implantflow.solids.distance import Surface

    to_sacrum = float(np.abs(Surface(remaining).signed_distance_mm(tumour.vertices, 200.0)).min())
    distances = {**room, "remaining_sacrum": to_sacrum}
    if overlap_mm3(tumour, remaining) > 0:
        raise GeometryError(
            "the tumour reaches into the bone that remains",
            where="plan",
            fix="extend the resection: the tumour's part outside the specimen must come out with it",
        )
    return {
        "soft_tissue_margin_min_mm": min(distances.values()),
        "soft_tissue_room_mm": distances,
        "soft_tissue_margin_meaning": "shortest way from the tumour to a bone that stays; shown, not promised",
    }
