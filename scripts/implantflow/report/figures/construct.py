"""Pictures of the construct: metal and bone from four sides and on the CT, and the margin on the specimen's skin."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.report import canvas, slicing
from implantflow.report.figures import base, screws
from implantflow.report.figures.base import Context, Figure, Float, Image
from implantflow.report.meshes import Mesh
from implantflow.report.palette import (
    BONE,
    CABLE,
    DIVERGING,
    HIP_LEFT,
    HIP_RIGHT,
    IMPLANT,
    SEQUENTIAL,
    SPECIMEN,
    Rgb,
    diverging,
    sequential,
    unit_rgb,
)
from implantflow.report.views import Part

_METAL: Rgb = (96, 104, 112)
#: Full colour of the margin's scale, as a multiple of the margin that the plan keeps.
_SCALE = 2.0


def _metal_parts(context: Context) -> dict[str, Mesh]:
    """The construct's parts by kind: ``screws``, ``rods`` (with heads and connectors), ``cables``."""
    whole = context.files.mesh(context.plan_file("construct.stl"))
    record = context.files.json(context.plan_file("construct.json"))
    if whole is None or record is None:
        return {}
    from implantflow.solids.mesh import shell_labels

    label = shell_labels(whole.faces, len(whole.vertices))
    boxes = np.array([[*part["low_lps_mm"], *part["high_lps_mm"]] for part in record["parts"]])
    kind_of = {"screw": "screws", "cable": "cables"}
    names = [kind_of.get(str(part["name"]).split()[0], "rods") for part in record["parts"]]
    kinds = np.empty(label.max() + 1, dtype=object)
    for number in range(len(kinds)):
        mine = whole.vertices[label == number]
        box = np.concatenate([mine.min(axis=0), mine.max(axis=0)])
        kinds[number] = names[int(np.argmin(np.abs(boxes - box).max(axis=1)))]
    of_face = kinds[label[whole.faces[:, 0]]]
    return {
        kind: Mesh(whole.vertices, whole.faces[of_face == kind])
        for kind in ("screws", "rods", "cables")
        if (of_face == kind).any()
    }


def bones_that_stay(context: Context) -> list[Mesh]:
    """What of sacrum (or L5), ilia and L5 is left; where part of an ilium leaves, the rest of it is the plan's."""
    rest = {f"hip_{context.summary['side']}": context.files.mesh(context.plan_file("remaining_hip.stl"))}
    found = [context.files.mesh(context.plan_file("remaining_bone.stl"))]
    found += [rest.get(name) or context.bones.get(name) for name in ("hip_left", "hip_right", "l5")]
    return [mesh for mesh in found if mesh is not None]


def construct_3d(context: Context) -> Figure | None:
    """Screws, rods, connectors and cables on the bones that stay, from four sides."""
    metal = _metal_parts(context)
    if not metal:
        return None
    shown = context.files.mesh("implant/implant.stl")
    specimen = context.files.mesh(context.plan_file("specimen.stl"))
    body, colour, name = (
        (shown, IMPLANT, "implant")
        if shown is not None
        else (specimen, SPECIMEN, "specimen, for the implant")
    )
    bones = bones_that_stay(context)
    parts = [Part(mesh, unit_rgb(BONE), alpha=0.35) for mesh in bones]
    parts += [Part(mesh, unit_rgb(CABLE if kind == "cables" else _METAL)) for kind, mesh in metal.items()]
    if body is not None:
        parts.append(Part(body, unit_rgb(colour), alpha=0.75))
    places = screws.heads(context)
    image = base.four_views(
        parts,
        [*metal.values(), *bones],
        ("anterior", "posterior", "left lateral", "right lateral"),
        400,
        330,
        lambda panel, camera: screws.named(panel, camera, places, dark=False),
    )
    record = context.files.json(context.plan_file("construct.json")) or {}
    entries: list[tuple[str, Rgb]] = [
        ("bone that stays", BONE),
        (name, colour),
        ("screws, rods, connectors", _METAL),
    ]
    if "cables" in metal:
        entries.append(("cables", CABLE))
    return base.finish(
        context,
        "construct-3d",
        "Construct",
        "Screws in their corridors with heads, rods, connectors and cables as simple solids; L4 and above are in the "
        f"check for collisions but not drawn. {_told(record)}",
        "Shaded pictures of the pelvis with the construct from the front, the back, the left and the right.",
        base.legend_of(image, entries),
    )


def _told(record: dict[str, Any]) -> str:
    missing = [f"{level}: {why}" for level, why in (record.get("levels") or {}).items() if why != "held"]
    least = record.get("rod_bone_distance_min_mm")
    words = [f"Rods keep {least:.1f} mm from bone."] if isinstance(least, int | float) else []
    if missing:
        words.append("NOT held: " + "; ".join(missing) + ".")
    return " ".join(words)


def construct_planes(context: Context) -> Figure | None:
    """The construct on the CT: axial and sagittal through the implant's screw, coronal through the screws' middle."""
    metal = _metal_parts(context)
    ct = context.ct
    corridors = context.summary["plan"].get("corridors") or []
    place = _screw_middle(corridors)
    if not metal or ct is None or place is None:
        return None
    specimen = context.files.mesh(context.plan_file("specimen.stl"))
    panels = []
    for plane in slicing.three_planes(place, 200.0, 190.0, 0.5):
        image = base.scan_panel(ct, plane, *base.BONE_WINDOW_HU)
        if specimen is not None:
            image = base.outline(image, plane, specimen, SPECIMEN)
        panels.append(base.dressed(_with_metal(image, plane, metal), plane))
    entries = [
        ("screws", IMPLANT),
        ("rods, heads, connectors", _METAL),
        ("cables", CABLE),
        ("specimen, for the implant", SPECIMEN),
    ]
    return base.finish(
        context,
        "construct-planes",
        "Construct on the CT",
        "Planning CT through the middle of the screw into the implant (or of the first screw), bone window; what the "
        "planes cut of the metal is filled.",
        "Axial, coronal and sagittal CT slices with the planned screws, rods and cables.",
        base.legend_of(canvas.row(panels), entries),
        photo=True,
    )


def _with_metal(image: Image, plane: slicing.Slice, metal: dict[str, Mesh]) -> Image:
    colours = {"screws": IMPLANT, "cables": CABLE}
    for kind, mesh in metal.items():
        colour = colours.get(kind, _METAL)
        image = base.outline(base.tint(image, plane, mesh, colour, 0.75), plane, mesh, colour)
    return image


def _screw_middle(corridors: list[Any]) -> Float | None:
    """Middle (3,) of the implant's screw, else of the first one."""
    entries = [c for c in corridors if isinstance(c, dict)]
    entries.sort(key=lambda c: c.get("kind") != "implant_s1")
    for entry in entries:
        ends = base.segment_of(entry)
        if ends is not None:
            return np.asarray((ends[0] + ends[1]) / 2.0)
    return None


def margin_3d(context: Context) -> Figure | None:
    """The specimen coloured by its distance to the tumour, with the tumour seen through it."""
    specimen = context.files.mesh(context.plan_file("specimen.stl"))
    tumour = context.tumour
    kept = context.summary["plan"].get("margin_mm")
    if specimen is None or tumour is None or not isinstance(kept, int | float) or kept <= 0:
        return None
    from implantflow.solids.distance import Surface
    from implantflow.solids.mesh import Solid

    away = (
        Surface(Solid.of(tumour.vertices, tumour.faces)).nearest(specimen.vertices, signed=False).distance_mm
    )
    full = _SCALE * float(kept)
    colours = sequential(away, 0.0, full).astype(np.float64) / 255.0
    # Nearer than the margin: where the tumour reaches the bone's own surface, or a cut that must not be there.
    image = base.four_views(
        [Part(specimen, colours)], [specimen], ("anterior", "posterior", "left lateral", "right lateral")
    )
    image = canvas.colour_bar(
        image,
        SEQUENTIAL,
        "0 mm",
        f"{kept:.0f} mm: the margin",
        f"{full:.0f} mm or more",
        "distance to the tumour",
    )
    least = context.summary["plan"].get("osteotomy_margin_min_mm")
    told = f" The saw's planes keep {least:.1f} mm or more." if isinstance(least, int | float) else ""
    return base.finish(
        context,
        "margin-3d",
        "Margin on the specimen",
        "Surface of the specimen, coloured by its distance to the tumour of all time points. Flat faces are cut or "
        f"parted; on the bone's own surface the tumour may come up to the cortex, and what covers it is soft "
        f"tissue.{told}",
        "Specimen from four sides, its surface coloured by the distance to the tumour.",
        image,
    )


def outer_shape(context: Context) -> Figure | None:
    """Where the outer shape is the bone's own, mirrored or blended, and how far it was moved."""
    shape = context.files.mesh(context.plan_file("outer.stl"))
    facts = context.files.json(context.plan_file("outer.json"))
    path = context.files.path(context.plan_file("outer_map.npz"))
    if shape is None or facts is None or not path.exists():
        return None
    with np.load(path) as stored:
        places, source, moved = (stored[n] for n in ("vertices_lps_mm", "source", "displacement_mm"))
    found = _rows_of(shape, places)
    codes = facts["codes"]
    table = {codes["own"]: BONE, codes["mirrored"]: HIP_LEFT, codes["blended"]: HIP_RIGHT}
    colours = np.array([unit_rgb(table[int(code)]) for code in source[found]])
    views = (
        "anterior",
        "posterior",
        "left lateral" if context.summary["side"] == "left" else "right lateral",
    )
    kinds = base.legend_of(
        base.four_views([Part(shape, colours)], [shape], views, 400, 330),
        [("own", BONE), ("mirrored", HIP_LEFT), ("blended", HIP_RIGHT)],
    )
    limit = max(1.0, float(np.ceil(facts["displacement_max_mm"])))
    shades = diverging(moved[found].astype(np.float64), limit).astype(np.float64) / 255.0
    shifts = canvas.colour_bar(
        base.four_views([Part(shape, shades)], [shape], views, 400, 330),
        DIVERGING,
        f"{limit:.0f} mm inwards",
        "0",
        f"{limit:.0f} mm outwards",
        "moved off the bone as segmented",
    )
    area = facts["area_mm2"]
    return base.finish(
        context,
        "outer-shape",
        "Outer shape: own, mirrored, blended",
        f"Within {facts['changed_within_mm']:g} mm of the tumour the surface is the mirrored healthy side's, moved "
        f"onto the intact bone about it (median {facts['pattern']['residual_p50_mm']:.2f} mm off there), and passes "
        f"into the own one over {facts['blend_mm']:g} mm: {area['mirrored'] / 100.0:.0f} cm² mirrored, "
        f"{area['blended'] / 100.0:.0f} cm² blended, moved by up to {facts['displacement_max_mm']:.1f} mm. Nobody has "
        "seen the bone that it stands for.",
        "Sacrum from three sides, coloured by where its surface comes from and by how far it was moved.",
        canvas.column([kinds, shifts]),
    )


def _rows_of(shape: Mesh, places: Float) -> Any:
    """Row of the map for every corner of the mesh: the reader may number corners in another order."""
    from scipy.spatial import cKDTree

    return cKDTree(places).query(shape.vertices)[1]
