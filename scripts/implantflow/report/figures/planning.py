"""Pictures of the plan: what is removed and what stays, in 3-D and in three planes, and simulated radiographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from implantflow.report import canvas, slicing
from implantflow.report.figures import base
from implantflow.report.figures.anatomy import four_views
from implantflow.report.figures.base import Context, Figure, Float, Image
from implantflow.report.meshes import Mesh, plane_patch, tube
from implantflow.report.palette import JOINT, PLANE, SPECIMEN, TUMOUR, Rgb, unit_rgb
from implantflow.report.views import VIEWS, Camera, Part, thickness_mm
from implantflow.volumes import Volume

_REMAINING: Rgb = (150, 170, 185)

#: Attenuation used to draw radiographs, 1/mm at some 70 keV: water, and titanium alloy above it.
_WATER_PER_MM = 0.0193
_TITANIUM_PER_MM = 0.24


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
    image = base.legend_of(four_views(parts, shown), entries)
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


def radiographs(context: Context) -> Figure | None:
    """Antero-posterior and lateral radiographs computed from CT, implant and planned screws."""
    ct = context.ct
    metal = _metal(context)
    if ct is None or not metal:
        return None
    panels = []
    for view in ("anterior", "left lateral"):
        image, camera = _radiograph(ct, metal, view)
        image = canvas.letters(image, camera.markers, dark=True)
        image = canvas.scale_bar(image, camera.mm_per_px, dark=True)
        panels.append(canvas.titled(image, "antero-posterior" if view == "anterior" else "lateral"))
    names = [str(c.get("name")) for c in context.summary["plan"].get("corridors") or []]
    return base.finish(
        context,
        "radiographs",
        "Construct as simulated radiographs",
        "Computed from the planning CT (parallel beam), the implant as solid metal at its mean density and screws in "
        f"the planned corridors ({', '.join(names) or 'none'}). A simulation of how the plan would look, not an image "
        "of the patient.",
        "Simulated antero-posterior and lateral radiographs of the pelvis with implant and screws.",
        canvas.row(panels),
        photo=True,
        stamp="SIMULATED RADIOGRAPH",
    )


def _metal(context: Context) -> list[tuple[Mesh, float]]:
    """Meshes of metal with their share of solid titanium."""
    found: list[tuple[Mesh, float]] = []
    implant = context.files.mesh("implant/implant.stl")
    if implant is not None:
        density = context.summary["lattice"].get("relative_density")
        found.append((implant, float(density) if isinstance(density, int | float) else 0.35))
    found += [(tube([a, b], radius), 1.0) for a, b, radius in corridors(context.summary["plan"])]
    return found


def corridors(plan: Mapping[str, Any]) -> list[tuple[Float, Float, float]]:
    """Planned screw corridors as start, end (3,) in mm and radius in mm."""
    found = []
    for entry in plan.get("corridors") or []:
        if not isinstance(entry, Mapping):
            continue
        start = base.as_points(entry.get("start_lps_mm", entry.get("entry_lps_mm")))
        end = base.as_points(entry.get("end_lps_mm", entry.get("target_lps_mm")))
        if start is None or end is None:
            continue
        radius = float(entry.get("diameter_mm", 6.0)) / 2.0
        found.append((start, end, radius))
    return found


def _radiograph(ct: Volume, metal: list[tuple[Mesh, float]], view: str) -> tuple[Image, Camera]:
    axis = 1 if view == "anterior" else 0
    size = np.array(ct.array.shape[::-1])
    low, high = np.sort(ct.index_to_lps(np.array([[0, 0, 0], size - 1])), axis=0)
    forward, up, markers = VIEWS[view]
    middle = (low + high) / 2.0
    across = 0 if axis == 1 else 1
    camera = Camera(
        forward,
        up,
        (float(middle[0]), float(middle[1]), float(middle[2])),
        0.6,
        round(float(high[across] - low[across]) / 0.6),
        round(float(high[2] - low[2]) / 0.6),
        markers,
    )
    path = _water_path_mm(ct, camera, axis)
    exposure = _WATER_PER_MM * path
    body = exposure[exposure > 0.2]
    dark, bright = np.percentile(body, [10.0, 99.5]) if len(body) else (0.0, 1.0)
    for mesh, share in metal:
        exposure = exposure + _TITANIUM_PER_MM * share * thickness_mm(camera, [mesh])
    # Bone fills three quarters of the greys; what is denser is compressed into the rest, as film does.
    share_of_bone = np.clip((exposure - dark) / max(bright - dark, 1e-6), 0.0, None)
    grey = np.where(
        share_of_bone <= 1.0, 0.75 * share_of_bone, 1.0 - 0.25 * np.exp(-0.75 * (share_of_bone - 1.0))
    )
    return np.repeat(np.rint(255 * grey).astype(np.uint8)[:, :, None], 3, axis=2), camera


def _water_path_mm(ct: Volume, camera: Camera, axis: int) -> Float:
    """Water-equivalent length along the viewing axis for every pixel; bone is stressed as film does."""
    from scipy.ndimage import map_coordinates

    array_axis = {0: 2, 1: 1}[axis]
    total = np.zeros(tuple(s for a, s in enumerate(ct.array.shape) if a != array_axis))
    for index in range(ct.array.shape[array_axis]):
        hu = np.take(ct.array, index, axis=array_axis).astype(np.float64)
        density = np.clip(hu + 1000.0, 0.0, None) / 1000.0
        total += np.where(hu > 150.0, density * (1.0 + 0.5 * (hu - 150.0) / 1000.0), density)
    total *= float(ct.spacing_mm[axis])
    columns = np.arange(camera.width_px) - (camera.width_px - 1) / 2.0
    rows = np.arange(camera.height_px) - (camera.height_px - 1) / 2.0
    right, down, _ = camera.axes
    place = (
        np.asarray(camera.centre_mm)
        + (columns[None, :, None] * right + rows[:, None, None] * down) * camera.mm_per_px
    ).reshape(-1, 3)
    places = ct.lps_to_index(place)
    kept = [2, 0] if axis == 1 else [2, 1]  # array rows are k; columns are i (AP) or j (lateral)
    values = map_coordinates(total, places[:, kept].T, order=1, mode="constant", cval=0.0)
    return np.asarray(values.reshape(camera.height_px, camera.width_px))
