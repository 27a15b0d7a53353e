"""Pictures of the implant: iterations and their differences, the final design, its fit, its inner structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from implantflow.geometry import segment_distance
from implantflow.report import canvas, palette, slicing
from implantflow.report.figures import base
from implantflow.report.figures.base import Context, Figure, Float
from implantflow.report.meshes import Mesh, tube
from implantflow.report.palette import (
    CABLE,
    CONTACT,
    DENSE,
    HOLE,
    IMPLANT,
    POROUS,
    Rgb,
    unit_rgb,
)
from implantflow.report.views import Part

#: Full colour of the difference maps in mm.
_DIFFERENCE_LIMIT_MM = 3.0
#: A contact face without dense metal below it: the lattice meets the bone.
_POROUS_FACE: Rgb = (0, 158, 115)


def iterations(context: Context) -> Figure | None:
    """Prototype iterations side by side, coloured by the signed distance to the parent."""
    names = [str(i["id"]) for i in context.summary["prototype"].get("iterations") or []]
    meshes = {n: context.files.mesh(f"prototype/{n}/implant.stl") for n in names}
    shown = {n: m for n, m in meshes.items() if m is not None}
    if not shown:
        return None
    entries = {str(i["id"]): i for i in context.summary["prototype"]["iterations"]}
    rows = []
    for name, mesh in shown.items():
        parent = shown.get(str(entries[name].get("parent")))
        colour = _difference_colours(mesh, parent)
        part = Part(mesh, colour if colour is not None else unit_rgb(palette.BONE))
        views = base.four_views(
            [part], list(shown.values()), ("anterior", "left lateral", "posterior", "right lateral")
        )
        title = f"{name}: {entries[name].get('decision')}"
        if parent is not None:
            title += f", against {entries[name]['parent']}"
        rows.append(canvas.titled(views, title))
    image = canvas.column(rows)
    limit = f"{_DIFFERENCE_LIMIT_MM:g}"
    image = canvas.colour_bar(
        image,
        palette.DIVERGING,
        f"-{limit} mm",
        "0",
        f"+{limit} mm",
        "signed distance to the parent: + outside, - inside",
    )
    return base.finish(
        context,
        "iterations",
        "Rapid-prototype iterations",
        "Each iteration from four sides at one scale. Colour: distance of its surface from its "
        "parent's, orange where material was added, blue where it was taken away; the first has no parent.",
        "Shaded pictures of the prototype iterations; the later ones are coloured by their difference to the parent.",
        image,
    )


def _difference_colours(mesh: Mesh, parent: Mesh | None) -> Float | None:
    if parent is None:
        return None
    return np.asarray(palette.diverging(signed_distance_mm(mesh, parent), _DIFFERENCE_LIMIT_MM) / 255.0)


def signed_distance_mm(mesh: Mesh, reference: Mesh) -> Float:
    """(N,) distance of the vertices of ``mesh`` from ``reference``, positive outside it.

    To the plane of the nearest of the reference's triangle centres: exact on flat areas, and within the square of
    the triangle's size over the radius of curvature elsewhere; good for colours, not for acceptance.
    """
    from scipy.spatial import cKDTree

    centres = reference.vertices[reference.faces].mean(axis=1)
    distance, nearest = cKDTree(centres).query(mesh.vertices)
    along = np.einsum("ij,ij->i", mesh.vertices - centres[nearest], reference.face_normals[nearest])
    # On a far vertex the plane of the nearest triangle says nothing about how far, only about the side.
    return np.asarray(np.where(np.abs(along) > 0.5 * distance, along, np.sign(along) * distance))


def implant_and_specimen(context: Context) -> Figure | None:
    """The implant (dense and porous parts) beside the specimen: the counterpart of the published figure 3."""
    implant = context.files.mesh("implant/implant.stl")
    specimen = context.files.mesh(context.plan_file("specimen.stl"))
    if implant is None:
        return None
    regions = context.files.json("implant/regions.json") or {}
    shown = [implant] + ([specimen] if specimen is not None else [])
    views = ("anterior", "left lateral", "posterior")
    rows = []
    if specimen is not None:
        rows.append(
            canvas.titled(
                base.four_views([Part(specimen, unit_rgb(palette.BONE))], shown, views, 400, 320), "specimen"
            )
        )
    outer = [Part(implant, _region_colours(implant, regions), per_face=True)]
    rows.append(canvas.titled(base.four_views(outer, shown, views, 400, 320), "implant, outer surface"))
    inner = [Part(implant, unit_rgb(IMPLANT), alpha=0.3), *_dense_parts(regions, implant)]
    rows.append(
        canvas.titled(base.four_views(inner, shown, views, 400, 320), "implant, see-through: dense parts")
    )
    entries: list[tuple[str, Rgb]] = [
        ("specimen", palette.BONE),
        ("porous", POROUS),
        ("dense contact face", CONTACT),
        ("porous contact face", _POROUS_FACE),
    ]
    entries += [("dense strut", DENSE), ("screw hole with boss", HOLE), ("cable passage", CABLE)]
    image = base.legend_of(canvas.column(rows), entries)
    return base.finish(
        context,
        "implant-specimen",
        "Implant beside the resected specimen",
        "Same views, same scale. The surface is porous (its open cells are not drawn here) but for the dense "
        "contact faces; below, the dense strut, screw boss and passage walls seen through it.",
        "Shaded pictures of the specimen above the implant, with dense faces, strut and screw hole in colour.",
        image,
    )


def _region_colours(implant: Mesh, regions: Mapping[str, Any]) -> Float:
    colours = np.tile(np.array(unit_rgb(POROUS)), (len(implant.faces), 1))
    centres = implant.vertices[implant.faces].mean(axis=1)
    for face in regions.get("contact_faces") or []:
        ids = np.asarray(face.get("triangles") or [], dtype=np.int64)
        dense = float(face.get("thickness_mm") or 0.0) > 0
        colours[ids[(ids >= 0) & (ids < len(colours))]] = unit_rgb(CONTACT if dense else _POROUS_FACE)
    for hole in regions.get("screw_holes") or []:
        ends = base.segment_of(hole)
        if ends is not None:
            radius = float(hole.get("boss_diameter_mm") or hole["diameter_mm"]) / 2.0
            colours[segment_distance(centres, ends[0], ends[1]) <= radius] = unit_rgb(HOLE)
    return colours


def _dense_parts(regions: Mapping[str, Any], implant: Mesh) -> list[Part]:
    parts = []
    for segment in (regions.get("strut") or {}).get("segments") or []:
        line = base.segment_of(segment)
        if line is not None:
            parts.append(Part(tube(line, float(segment["radius_mm"])), unit_rgb(DENSE)))
    for hole in regions.get("screw_holes") or []:
        line = base.segment_of(hole)
        if line is not None:
            line = _in_the_implant(line, implant, float(hole["diameter_mm"]) / 2.0)
            radius = float(hole.get("boss_diameter_mm") or hole["diameter_mm"]) / 2.0
            parts.append(Part(tube(line, radius), unit_rgb(HOLE), alpha=0.6))
    for passage in regions.get("cable_passages") or []:
        path = np.asarray(passage.get("polyline_lps_mm") or [], dtype=np.float64)
        if path.ndim == 2 and len(path) >= 2:
            parts.append(Part(tube(path, float(passage["diameter_mm"]) / 2.0), unit_rgb(CABLE)))
    return parts


def _in_the_implant(line: Float, implant: Mesh, radius_mm: float) -> Float:
    """The part of a hole's axis (2, 3) that lies in the implant: where the hole's wall is about its radius away."""
    points = line[0] + np.linspace(0.0, 1.0, 121)[:, None] * (line[1] - line[0])
    near = np.flatnonzero(
        np.abs(signed_distance_mm(Mesh(points, implant.faces[:0]), implant)) <= radius_mm + 0.5
    )
    return line if len(near) < 2 else points[[near[0], near[-1]]]


def fit_planes(context: Context) -> Figure | None:
    """The implant in its bed on the CT, in three planes."""
    implant = context.files.mesh("implant/implant.stl")
    if implant is None or context.ct is None:
        return None
    remaining = context.files.mesh(context.plan_file("remaining_bone.stl"))
    hip = context.bones.get(f"hip_{context.summary['side']}")
    panels = []
    for plane in slicing.three_planes(implant.centre, 160.0, 140.0, 0.4):
        image = base.scan_panel(context.ct, plane, *base.BONE_WINDOW_HU)
        image = base.tint(image, plane, implant, IMPLANT, 0.4)
        image = base.outline(image, plane, implant, POROUS, 2.0)
        for mesh in (remaining, hip, context.bones.get("l5")):
            if mesh is not None:
                image = base.outline(image, plane, mesh, palette.SACRUM)
        panels.append(base.dressed(image, plane))
    entries = [("implant", IMPLANT), ("remaining bone, hip bone, L5", palette.SACRUM)]
    return base.finish(
        context,
        "fit-planes",
        "Fit of the implant",
        "Implant as designed (outer solid) over the planning CT, with the bone surfaces it meets.",
        "CT slices in three planes with the implant's outline between the remaining sacrum and the hip bone.",
        base.legend_of(canvas.row(panels), entries),
        photo=True,
    )


def preview(context: Context) -> Figure | None:
    """The porous structure itself, from the lattice's preview surface."""
    mesh = context.files.mesh("lattice/preview.stl")
    if mesh is None:
        return None
    parts = [Part(mesh, unit_rgb((168, 176, 186)))]
    image = base.four_views(parts, [mesh], ("anterior", "left lateral", "posterior"), 420, 420)
    return base.finish(
        context,
        "lattice-preview",
        "Porous structure (preview surface)",
        "Surface drawn from the same field that is sliced for the build, on a coarser grid.",
        "Shaded pictures of the lattice implant from three sides.",
        image,
    )
