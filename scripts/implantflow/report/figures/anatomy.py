"""Pictures of scans: the segmentation in three planes, both SI joints near by, the tumour before and after."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.report import canvas, slicing
from implantflow.report.figures import base
from implantflow.report.figures.base import Context, Figure, Float, Image
from implantflow.report.meshes import Mesh
from implantflow.report.palette import BONES, TUMOUR, TUMOUR_AFTER, Rgb, unit_rgb
from implantflow.report.slicing import Slice
from implantflow.report.views import Part
from implantflow.volumes import Volume

_NAMES = {"sacrum": "sacrum", "hip_left": "left hip bone", "hip_right": "right hip bone", "l5": "L5"}


def segmentation_planes(context: Context) -> Figure | None:
    """Outlines of the bone surfaces on the CT they were made from."""
    ct, bones, focus = context.ct, context.bones, context.focus_mm
    if ct is None or not bones or focus is None:
        return None
    centre = focus if "sacrum" not in bones else np.array([bones["sacrum"].centre[0], *focus[1:]])
    planes = slicing.three_planes(centre, 300.0, 240.0, 0.75)
    # The sagittal plane through the body's middle shows canal and promontory; the others pass the tumour.
    images = [base.dressed(_with_bones(context, ct, plane), plane) for plane in planes]
    image = canvas.row(images)
    entries = [(_NAMES[name], BONES[name]) for name in bones]
    if context.tumour is not None:
        entries.append(("tumour", TUMOUR))
    image = base.legend_of(image, entries)
    caption = (
        "CT in the bone window (level 450, width 1900 HU). Lines: where each bone surface (STL, local half-maximum) "
        "meets the plane; tint: label map. Axial seen from the feet, sagittal from the patient's left."
    )
    return base.finish(
        context,
        "segmentation-planes",
        "Segmentation in three planes",
        caption,
        "Axial, coronal and sagittal CT slices with coloured outlines of sacrum, hip bones and L5.",
        image,
        photo=True,
    )


def _with_bones(context: Context, ct: Volume, plane: Slice) -> Image:
    image = base.scan_panel(ct, plane, *base.BONE_WINDOW_HU)
    for name, mesh in context.bones.items():
        image = base.tint(image, plane, mesh, BONES[name], 0.16)
        image = base.outline(image, plane, mesh, BONES[name])
    if context.tumour is not None:
        image = base.outline(image, plane, context.tumour, TUMOUR)
    return image


def joint_closeups(context: Context) -> Figure | None:
    """Both sacro-iliac joints, twice enlarged: where a wrong cut between the bones would show first."""
    ct, bones = context.ct, context.bones
    if ct is None or "sacrum" not in bones:
        return None
    rows = []
    for hip, label in (("hip_right", "right SI joint"), ("hip_left", "left SI joint")):
        if hip not in bones:
            continue
        centre = _joint_centre(bones["sacrum"], bones[hip])
        if centre is None:
            continue
        panels = []
        for orientation in ("axial", "coronal"):
            plane = Slice(orientation, centre, 0.3, 300, 260)
            image = base.scan_panel(ct, plane, *base.BONE_WINDOW_HU)
            for name in ("sacrum", hip):
                image = base.outline(image, plane, bones[name], BONES[name], 1.8)
            dressed = base.dressed(image, plane)
            panels.append(canvas.text(dressed, (dressed.shape[1] - 6, 5), label, size=13, anchor="ra"))
        rows.append(canvas.row(panels))
    if not rows:
        return None
    image = base.legend_of(canvas.row(rows), [(_NAMES[n], BONES[n]) for n in bones if n != "l5"])
    caption = (
        "Each joint at the middle of the zone in which the two surfaces come within 4 mm of each other. The lines must "
        "follow the two bony plates and leave the joint space between them; confirm this at the labels gate."
    )
    return base.finish(
        context,
        "si-joints",
        "Sacro-iliac joints, close up",
        caption,
        "Enlarged axial and coronal CT slices of the right and left sacro-iliac joint with bone outlines.",
        image,
        photo=True,
    )


def labels_checklist(context: Context) -> Figure | None:
    """Every place that a person confirms at the labels gate, close up, numbered as in the caption."""
    ct, bones = context.ct, context.bones
    asked = [i for i in context.summary.get("segment", {}).get("checklist", []) if i.get("place_lps_mm")]
    if ct is None or not bones or not asked:
        return None
    tiles = []
    for number, item in enumerate(asked, start=1):
        x, y, z = (float(v) for v in item["place_lps_mm"])
        orientation = "sagittal" if item["id"] in ("level_count", "caudal_end") else "axial"
        plane = Slice(orientation, (x, y, z), 0.25, 320, 260)
        image = base.scan_panel(ct, plane, *base.BONE_WINDOW_HU)
        for name, mesh in bones.items():
            image = base.outline(image, plane, mesh, BONES[name], 1.6)
        dressed = base.dressed(image, plane)
        words = f"{number} {item['id'].replace('_', ' ')}"
        tiles.append(canvas.text(dressed, (dressed.shape[1] - 6, 5), words, size=13, anchor="ra"))
    rows = [canvas.row(tiles[n : n + 3]) for n in range(0, len(tiles), 3)]
    questions = " ".join(f"{number}: {item['question']}" for number, item in enumerate(asked, start=1))
    return base.finish(
        context,
        "labels-checklist",
        "Places to confirm at the labels gate",
        f"Each picture is centred on its place. {questions} A stroke in segment.corrections mends a label.",
        "Close-up CT slices with bone outlines at both sacro-iliac joints, both facets, bridges and the ends.",
        base.legend_of(canvas.column(rows), [(_NAMES[name], BONES[name]) for name in bones]),
        photo=True,
    )


def _joint_centre(sacrum: Mesh, hip: Mesh) -> tuple[float, float, float] | None:
    """Middle of the hip's vertices within 4 mm of the sacrum; None when the bones do not meet."""
    from scipy.spatial import cKDTree

    ours, theirs = (m.vertices[:: 3 if len(m.vertices) > 20_000 else 1] for m in (sacrum, hip))
    distance, _ = cKDTree(ours).query(theirs, distance_upper_bound=4.0)
    near = theirs[np.isfinite(distance)]
    if len(near) < 10:
        return None
    x, y, z = np.median(near, axis=0)
    return float(x), float(y), float(z)


def bones_3d(context: Context) -> Figure | None:
    """The separated bone surfaces from four sides."""
    bones = context.bones
    if "sacrum" not in bones:
        return None
    parts = [Part(mesh, unit_rgb(BONES[name])) for name, mesh in bones.items()]
    if context.tumour is not None:
        parts.append(Part(context.tumour, unit_rgb(TUMOUR)))
    image = base.four_views(parts, [p.mesh for p in parts])
    entries = [(_NAMES[name], BONES[name]) for name in bones]
    if context.tumour is not None:
        entries.append(("tumour", TUMOUR))
    return base.finish(
        context,
        "bones-3d",
        "Bone surfaces",
        "One surface per bone in patient space, drawn in parallel projection at one scale.",
        "Shaded pictures of sacrum, hip bones and L5 from the front, the back, the left and above.",
        base.legend_of(image, entries),
    )


def tumour_over_time(context: Context) -> Figure | None:
    """Each time point's image with the outline of the tumour: the counterpart of the published figure 1."""
    shown: list[tuple[str, Rgb, Volume]] = []
    rows = []
    for number, entry in enumerate(context.summary["tumour"].get("timepoints") or []):
        name = str(entry.get("name"))
        mask = context.files.volume(f"tumour/{name}_mask.nii.gz")
        if mask is not None:
            shown.append((name, (TUMOUR, TUMOUR_AFTER)[number % 2], mask))
            rows.append(_timepoint_row(context, entry, shown))
    drawn = [row for row in rows if row is not None]
    if not drawn:
        return None
    image = base.legend_of(canvas.column(drawn), [(f"tumour at {name}", colour) for name, colour, _ in shown])
    virtual = " The tumour is virtual: put in by the config, not seen in any image."
    caption = (
        "Each time point's scan, brought into planning space by its registration to the CT and cut through the "
        "middle of the tumour's whole extent. Lines: border of the measured mask, with the earlier one for comparison."
    )
    return base.finish(
        context,
        "tumour-over-time",
        "Tumour over time",
        caption + (virtual if context.summary["tumour"].get("virtual") else ""),
        f"Slices in three planes with the outline of the tumour at {', '.join(n for n, _, _ in shown)}.",
        image,
        photo=True,
    )


def _timepoint_row(
    context: Context, entry: dict[str, Any], masks: list[tuple[str, Rgb, Volume]]
) -> Image | None:
    """Three planes of one time point's scan with the masks so far; the planning CT where it has no scan."""
    series = str(entry.get("series") or "")
    scan = context.files.volume(f"ingest/{series}/volume.nii.gz") if series else None
    grey = in_planning_space(scan, entry) if scan is not None else context.ct
    if grey is None or context.focus_mm is None:
        return None
    planes = slicing.three_planes(context.focus_mm, 200.0, 160.0, 0.5)
    values = [slicing.sample(grey, plane) for plane in planes]
    window = _window(values, planes, masks[-1][2]) if scan is not None else (60.0, 500.0)
    panels = []
    for plane, slice_values in zip(planes, values, strict=True):
        image = slicing.windowed(slice_values, *window)
        for _, colour, mask in masks:
            image = base.mask_edge(image, plane, mask, colour)
        panels.append(base.dressed(image, plane))
    what = f"{entry.get('name')}: {series or 'outline on the planning CT'}"
    return canvas.titled(canvas.row(panels), what)


def _window(values: list[Float], planes: list[Slice], mask: Volume) -> tuple[float, float]:
    """Level and width for an MR: from dark to a little above the tumour, which enhances and must not burn out."""
    seen = np.concatenate([v[np.isfinite(v)] for v in values])
    inside = [
        v[(slicing.sample(mask, p, outside=0.0) >= 0.5) & np.isfinite(v)]
        for v, p in zip(values, planes, strict=True)
    ]
    bright = np.concatenate(inside)
    low, high = np.percentile(seen, [1.0, 99.0]) if len(seen) else (0.0, 1.0)
    if len(bright):
        high = max(float(high), 1.1 * float(np.percentile(bright, 95.0)))
    return float(low + high) / 2.0, float(max(high - low, 1.0))


def in_planning_space(scan: Volume, entry: dict[str, Any]) -> Volume:
    """The scan with its affine moved by the time point's registration, so that it lies on the CT.

    ``entry["registration"]["ct_from_series"]`` is a rigid 4x4 from the scan's patient space to the CT's; without
    one the scan is taken to share the CT's frame.
    """
    registration = entry.get("registration") or {}
    if "ct_from_series" not in registration:
        return scan
    matrix = np.asarray(registration["ct_from_series"], dtype=np.float64)
    return Volume(scan.array, matrix @ scan.affine_lps)
