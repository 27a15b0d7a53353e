"""Simulated radiographs of the planned construct: line integrals through the CT, and metal in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from implantflow.report import canvas, raster
from implantflow.report.figures import base, screws
from implantflow.report.figures.base import Context, Figure, Float, Image
from implantflow.report.figures.planning import corridors
from implantflow.report.meshes import Mesh, section, tube
from implantflow.report.views import VIEWS, Camera, thickness_mm
from implantflow.volumes import Volume

#: Attenuation used to draw radiographs, 1/mm at some 70 keV: water, and titanium alloy above it.
_WATER_PER_MM = 0.0193
_TITANIUM_PER_MM = 0.24
#: What lies where the specimen was, but for the implant.
_SOFT_HU = 40
#: The field reaches this far beyond metal, to the sides and up and down, mm; size of a pixel, mm.
_BESIDE_MM, _BEYOND_MM, _PIXEL_MM = 60.0, 45.0, 0.45


def radiographs(context: Context) -> Figure | None:
    """Antero-posterior and lateral radiographs computed from CT, implant and planned screws."""
    ct = context.ct
    metal, told = _metal(context)
    if ct is None or not metal:
        return None
    specimen = context.files.mesh(context.plan_file("specimen.stl"))
    if specimen is not None:
        ct = _without(ct, specimen)
    panels = []
    for view in ("anterior", "left lateral"):
        image, camera = _radiograph(ct, metal, view)
        image = screws.named(image, camera, screws.heads(context), dark=True)
        image = canvas.letters(image, camera.markers, dark=True)
        image = canvas.scale_bar(image, camera.mm_per_px, dark=True)
        panels.append(
            canvas.titled(image, "antero-posterior" if view == "anterior" else "lateral, from the left")
        )
    return base.finish(
        context,
        "radiographs",
        "Construct as simulated radiographs",
        "Computed from the planning CT (parallel beam). The specimen's bone is taken out of it, the implant put in as "
        f"metal of its mean density, and {told}. A simulation of how the plan would look, not an image of the patient; "
        "soft tissue lies as it did in the CT. Each screw has the name that it has in the plan.",
        "Simulated antero-posterior and lateral radiographs of the pelvis with implant and screws.",
        canvas.row(panels),
        photo=True,
        stamp="SIMULATED RADIOGRAPH",
    )


def _metal(context: Context) -> tuple[list[tuple[Mesh, float]], str]:
    """Meshes of metal with their share of solid titanium, and what they are besides the implant."""
    found: list[tuple[Mesh, float]] = []
    # Before the implant is made its place is taken by the specimen's shape.
    implant = context.files.mesh("implant/implant.stl") or context.files.mesh(
        context.plan_file("specimen.stl")
    )
    if implant is not None:
        density = context.summary["lattice"].get("relative_density")
        found.append((implant, float(density) if isinstance(density, int | float) else 0.35))
    construct = context.files.mesh(context.plan_file("construct.stl"))
    if construct is not None:
        return [*found, (construct, 1.0)], "screws, heads, rods, connectors and cables as planned"
    plan = context.summary["plan"]
    names = ", ".join(str(c.get("name")) for c in plan.get("corridors") or []) or "none"
    screws = [(tube([a, b], radius), 1.0) for a, b, radius in corridors(plan)]
    return found + screws, f"screws in the planned corridors ({names}); this plan has no rods"


def _without(ct: Volume, bone: Mesh) -> Volume:
    """``ct`` with soft tissue where ``bone`` is."""
    array = np.array(ct.array)
    index = Mesh(ct.lps_to_index(bone.vertices), bone.faces)
    low, high = np.floor(index.vertices[:, 2].min()), np.ceil(index.vertices[:, 2].max())
    for k in range(max(0, int(low)), min(array.shape[0] - 1, int(high)) + 1):
        # A hair off the slice: corners that lie on it exactly would open the outline.
        lines = section(index, np.array([0.0, 0.0, k + 1e-4]), np.array([0.0, 0.0, 1.0]))
        inside = np.zeros(array.shape[1:], dtype=np.uint8)
        if len(lines):
            raster.fill_even_odd(np.ascontiguousarray(lines[:, :, :2].reshape(-1, 4)), inside)
        array[k][inside > 0] = np.minimum(array[k][inside > 0], _SOFT_HU)
    return replace(ct, array=array)


def _radiograph(ct: Volume, metal: list[tuple[Mesh, float]], view: str) -> tuple[Image, Camera]:
    axis = 1 if view == "anterior" else 0
    camera = _field(ct, [mesh for mesh, _ in metal], view)
    path = _water_path_mm(ct, camera, axis)
    exposure = _WATER_PER_MM * path
    # Exposed for what lies about the metal: skin, air and couch at the field's edge would flatten bone to one grey.
    edge = round(0.75 * _BEYOND_MM / camera.mm_per_px)
    body = exposure[edge:-edge, edge:-edge]
    body = body[(body > 0.2) & (body > 0.4 * np.percentile(body, 95.0))] if body.size else body
    dark, bright = np.percentile(body, [10.0, 99.0]) if len(body) else (0.0, 1.0)
    for mesh, share in metal:
        exposure = exposure + _TITANIUM_PER_MM * share * thickness_mm(camera, [mesh])
    # Bone fills seven tenths of the greys; what is denser is compressed into the rest, as film does.
    share_of_bone = np.clip((exposure - dark) / max(bright - dark, 1e-6), 0.0, None)
    denser = np.maximum(share_of_bone - 1.0, 0.0)
    grey = 0.7 * np.minimum(share_of_bone, 1.0) + 0.3 * denser / (denser + 3.0)
    return np.repeat(np.rint(255 * grey).astype(np.uint8)[:, :, None], 3, axis=2), camera


def _field(ct: Volume, metal: list[Mesh], view: str) -> Camera:
    """A field about the metal, within the scan."""
    size = np.array(ct.array.shape[::-1])
    first, last = np.sort(ct.index_to_lps(np.array([[0, 0, 0], size - 1])), axis=0)
    margin = np.array([_BESIDE_MM, _BESIDE_MM, _BEYOND_MM])
    low = np.maximum(first, np.min([mesh.vertices.min(axis=0) for mesh in metal], axis=0) - margin)
    high = np.minimum(last, np.max([mesh.vertices.max(axis=0) for mesh in metal], axis=0) + margin)
    forward, up, markers = VIEWS[view]
    middle = (low + high) / 2.0
    across = 0 if view == "anterior" else 1
    return Camera(
        forward,
        up,
        (float(middle[0]), float(middle[1]), float(middle[2])),
        _PIXEL_MM,
        round(float(high[across] - low[across]) / _PIXEL_MM),
        round(float(high[2] - low[2]) / _PIXEL_MM),
        markers,
    )


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
