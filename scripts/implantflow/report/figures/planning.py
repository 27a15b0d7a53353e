"""Pictures of the plan: what is removed and what stays, in 3-D and in three planes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implantflow.report import canvas, slicing
from implantflow.report.figures import base
from implantflow.report.figures.base import Context, Figure, Float
from implantflow.report.meshes import plane_patch
from implantflow.report.palette import JOINT, PLANE, SPECIMEN, TUMOUR, Rgb, unit_rgb
from implantflow.report.views import Part

_REMAINING: Rgb = (150, 170, 185)


def plan_3d(context: Context) -> Figure | None:
    """Specimen and remaining bone from four sides, with the resection planes."""
    specimen = context.files.mesh(context.plan_file("specimen.stl"))
    remaining = context.files.mesh(context.plan_file("remaining_bone.stl"))
    if specimen is None or remaining is None:
        return None
    parts = [Part(remaining, unit_rgb(_REMAINING)), Part(specimen, unit_rgb(SPECIMEN))]
    entries: list[tuple[str, Rgb]] = [("remaining bone", _REMAINING), ("specimen", SPECIMEN)]
    if context.tumour is not None:
        parts.append(Part(context.tumour, unit_rgb(TUMOUR)))
        entries.append(("tumour", TUMOUR))
    for plane in base.planes_of(context.summary["plan"]):
        if plane.osteotomy:
            patch = plane_patch(plane.foot_mm(specimen.centre), plane.normal, 90.0)
            parts.append(Part(patch, unit_rgb(PLANE), alpha=0.28))
    entries.append(("osteotomy planes", PLANE))
    shown = [remaining, specimen]
    image = base.legend_of(base.four_views(parts, shown), entries)
    return base.finish(
        context,
        "plan-3d",
        "Resection: specimen and remaining bone",
        f"Plan {context.summary['plan'].get('revision', '')}, {context.summary['side']} side. The specimen leaves the "
        "body in one piece along the green planes; the implant is to take its place.",
        "Shaded pictures of the specimen and the remaining bone from four sides with the resection planes.",
        image,
    )


def plan_planes(context: Context) -> Figure | None:
    """The plan on the CT in three planes."""
    specimen = context.files.mesh(context.plan_file("specimen.stl"))
    if context.ct is None or specimen is None or context.focus_mm is None:
        return None
    remaining = context.files.mesh(context.plan_file("remaining_bone.stl"))
    panels = []
    for plane in slicing.three_planes(context.focus_mm, 200.0, 170.0, 0.5):
        image = base.scan_panel(context.ct, plane, *base.BONE_WINDOW_HU)
        image = base.tint(image, plane, specimen, SPECIMEN, 0.35)
        if remaining is not None:
            image = base.outline(image, plane, remaining, _REMAINING)
        if context.tumour is not None:
            image = base.outline(image, plane, context.tumour, TUMOUR, 2.0)
        for cut in base.planes_of(context.summary["plan"]):
            trace = base.plane_trace_px(plane, cut.point_mm, cut.normal, specimen.centre, 60.0)
            image = canvas.lines(
                image, trace, PLANE if cut.osteotomy else JOINT, 1.4 if cut.osteotomy else 1.0
            )
        panels.append(base.dressed(image, plane))
    entries = [
        ("specimen", SPECIMEN),
        ("remaining bone", _REMAINING),
        ("tumour", TUMOUR),
        ("osteotomy planes", PLANE),
        ("joint planes (taken apart, not cut)", JOINT),
    ]
    margin = context.summary["plan"].get("osteotomy_margin_min_mm")
    told = f" Least bone margin {margin:.1f} mm." if isinstance(margin, int | float) else ""
    return base.finish(
        context,
        "plan-planes",
        "Resection plan on the CT",
        "Planning CT through the middle of the tumour, bone window." + told,
        "Axial, coronal and sagittal CT slices with specimen, remaining bone, tumour and the traces of the planes.",
        base.legend_of(canvas.row(panels), entries),
        photo=True,
    )


def corridors(plan: Mapping[str, Any]) -> list[tuple[Float, Float, float]]:
    """Planned screw corridors as start, end (3,) in mm and radius in mm."""
    found = []
    for entry in plan.get("corridors") or []:
        if not isinstance(entry, Mapping):
            continue
        ends = base.segment_of(entry)
        if ends is not None:
            found.append((ends[0], ends[1], float(entry["diameter_mm"]) / 2.0))
    return found
