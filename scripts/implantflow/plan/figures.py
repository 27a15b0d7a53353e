"""What ``plan.json`` says of a resection."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.plan.cuts import as_json
from implantflow.plan.margin import cut_figures
from implantflow.plan.resection import Case, Planned
from implantflow.solids.booleans import overlap_mm3
from implantflow.solids.distance import Surface

_NOTES = [
    "Joints (L5/S1, sacroiliac) are taken apart: no bone is cut there, unless the plan takes part of the ilium. What "
    "the specimen has beyond the disc plane is the S1 facet; the saw kerf lies on the side that remains.",
    "The soft-tissue margin is the room between the tumour and the bones that stay. It is shown, not promised: "
    "muscle, vessels and nerves are not segmented.",
    "Distances to foramina are to the middle of their anterior openings.",
    "L3 and L4 are surfaces of the label map, good to about half a voxel; density is the planning CT's HU.",
]


def figures(case: Case, planned: Planned, margins: dict[str, float]) -> dict[str, Any]:
    """Planes, margins, volumes and landmarks of ``plan.json``."""
    revision, middle = case.revision, planned.middle
    tumour_mm = case.tumour.vertices
    planes = [
        as_json(cut, cut_figures(cut, planned.specimen, tumour_mm, margins[cut.name], revision))
        for cut in planned.cuts
    ]
    worst = [p["worst_case_margin_mm"] for p in planes if "worst_case_margin_mm" in p]
    planes += [
        {
            "name": name,
            "kind": "disarticulation",
            **joint.plane.as_json(),
            **joint.facts(),
            # Joint normals point out of the specimen: room is how far the tumour stays below the plane.
            "tumour_distance_min_mm": -float(np.max(joint.plane.distance(tumour_mm))),
        }
        for name, joint in planned.joints.items()
    ]
    return {
        "tumour_extent": revision.timepoints or "union of all time points",
        "tumour_extent_origin": "computed" if revision.timepoints is None else "surgeon",
        "midline_plane": middle.plane.as_json(),
        "midline_fit": {
            "residual_rms_mm": middle.residual_rms_mm,
            "starts_agree_mm": middle.agreement_mm,
            "starts_agree_deg": middle.agreement_deg,
            "asymmetry_p50_mm": middle.asymmetry_p50_mm,
            "asymmetry_p95_mm": middle.asymmetry_p95_mm,
            "asymmetric_pct": middle.asymmetric_pct,
        },
        "resection_planes": planes,
        "kerf_mm": revision.kerf_mm,
        "margin_mm": revision.margin_mm,
        "osteotomy_tolerance_mm": revision.osteotomy_tolerance_mm,
        "osteotomy_tolerance_deg": revision.osteotomy_tolerance_deg,
        # None: nothing is sawn, the bone is taken out at its joints.
        "osteotomy_margin_min_mm": min(margins.values(), default=None),
        "osteotomy_margin_worst_case_mm": min(worst, default=None),
        "osteotomy_margins_mm": margins,
        **_soft_tissue(case, planned),
        **planned.facts,
        "specimen_volume_mm3": planned.volumes["specimen_volume_mm3"],
        "volumes": planned.volumes,
        "notes": _NOTES,
    }


def _soft_tissue(case: Case, planned: Planned) -> dict[str, Any]:
    rest = planned.remaining
    distances = dict(planned.room)
    if rest is not None:
        away = np.abs(Surface(rest).signed_distance_mm(case.tumour.vertices, 200.0)).min()
        distances[f"remaining_{planned.bone}"] = float(away)
        if overlap_mm3(case.tumour, rest) > 0:
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


def origins(record: dict[str, Any]) -> dict[str, list[str]]:
    """Names of the figures that the surgeon gave, and of those that were computed."""
    found: dict[str, list[str]] = {"surgeon": [], "computed": []}
    given = ["margin_mm", "kerf_mm", "osteotomy_tolerance_mm", "osteotomy_tolerance_deg", "procedure"]
    found["surgeon"] += given
    found[record["tumour_extent_origin"]].append("tumour_extent")
    found["computed"] += ["midline_plane", "osteotomy_margin_min_mm", "soft_tissue_margin_min_mm", "foramina"]
    for plane in record["resection_planes"]:
        found[plane["origin"]].append(f"resection_planes.{plane['name']}")
    for corridor in record["corridors"]:
        found[corridor["origin"]].append(f"corridors.{corridor['name']}.axis")
        found["surgeon"].append(f"corridors.{corridor['name']}.needed_clearance_mm")
    for root in record["roots_sacrificed"]:
        found[root["origin"]].append(f"roots_sacrificed.{root['root']}")
    return {key: sorted(names) for key, names in found.items()}
