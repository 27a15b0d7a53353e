"""Sections of the field that is built: lattice, strut, contact faces, screw hole, each in its colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import invert_rigid, segment_distance, transform_points
from implantflow.report import canvas
from implantflow.report.figures import base
from implantflow.report.figures.base import Context, Figure, Float
from implantflow.report.meshes import Mesh
from implantflow.report.palette import CABLE, CONTACT, DENSE, HOLE, Rgb
from implantflow.report.slicing import Slice

if TYPE_CHECKING:
    from implantflow.field.field import Field

_AIR: Rgb = (255, 255, 255)
_PORE: Rgb = (233, 238, 243)
_NET: Rgb = (86, 150, 200)
_STOCK: Rgb = (0, 158, 115)
_STOCK_NAME = "machining stock, cut away after printing"
#: Scale of the sections and of the detail (mm a pixel), room about the implant and edge of the detail (mm).
_MM_PER_PX, _DETAIL_MM_PER_PX, _ROOM_MM, _DETAIL_MM = 0.2, 0.04, 8.0, 16.0

#: A dense part: name, colour, its rods (start, end in patient LPS, radius in mm).
Rods = tuple[str, Rgb, list[tuple[Float, Float, float]]]


def lattice_sections(context: Context) -> Figure | None:
    """Metal of the field in three planes, through the strut and the screw hole where there are any, and a detail."""
    if not context.files.exists("lattice/field.json") or not context.files.exists("lattice/field.npz"):
        return None
    from implantflow.field.field import Field

    field = Field.load(context.files.path("lattice/field.json"), context.files.path("lattice/field.npz"))
    rods = _dense_rods(context.files.json("implant/regions.json") or {})
    surface = transform_points(invert_rigid(field.build_from_patient), field.vertices_mm)
    planes, spot = _planes(surface, rods)
    used: set[str] = set()
    stock = None
    if field.stock is not None:
        stock = Mesh(transform_points(invert_rigid(field.build_from_patient), field.stock[0]), field.stock[1])
    panels = [_panel(field, plane, rods, used, stock) for plane in planes]
    side = round(_DETAIL_MM / _DETAIL_MM_PER_PX)
    place = (float(spot[0]), float(spot[1]), float(spot[2]))
    close = _panel(field, Slice("sagittal", place, _DETAIL_MM_PER_PX, side, side), rods, used, stock)
    panels.append(canvas.text(close, (close.shape[1] - 6, 5), "detail", size=13, anchor="ra"))
    entries = [("lattice strut", _NET), ("open pore", _PORE), ("dense contact face or shell", CONTACT)]
    entries += [(name, colour) for name, colour, _ in rods if name in used]
    entries += [(_STOCK_NAME, _STOCK)] if _STOCK_NAME in used else []
    struts = " to ".join(f"{s:.2f}" for s in sorted(set(field.lattice.strut_range_mm)))
    return base.finish(
        context,
        "lattice-sections",
        "Inner structure of the implant",
        f"Sections of the field that is built ({field.cell}, cell {field.cell_mm:g} mm, lattice strut {struts} mm), in "
        "patient planes through the dense strut and along the screw hole, computed point by point without a mesh.",
        "Sections through the implant showing lattice struts, dense strut, contact faces and screw hole.",
        base.legend_of(canvas.row(panels), entries),
    )


def _dense_rods(regions: Mapping[str, Any]) -> list[Rods]:
    """Dense rods of ``regions.json``; what else is dense is a face or the shell."""

    def rods(entries: Any, radius: Any) -> list[tuple[Float, Float, float]]:
        ends = [(base.segment_of(entry), entry) for entry in entries]
        return [(line[0], line[1], float(radius(entry))) for line, entry in ends if line is not None]

    passages = []
    for passage in regions.get("cable_passages") or []:
        line = np.asarray(passage.get("polyline_lps_mm") or [], dtype=np.float64).reshape(-1, 3)
        radius = float(passage["diameter_mm"]) / 2.0 + float(passage.get("wall_mm") or 0.0)
        passages += [(line[n], line[n + 1], radius) for n in range(len(line) - 1)]
    holes = regions.get("screw_holes") or []
    segments = (regions.get("strut") or {}).get("segments") or []
    return [
        ("screw boss", HOLE, rods(holes, lambda e: (e.get("boss_diameter_mm") or e["diameter_mm"]) / 2.0)),
        ("wall of cable passage", CABLE, passages),
        ("dense strut", DENSE, rods(segments, lambda e: e["radius_mm"])),
    ]


def _planes(surface: Float, rods: list[Rods]) -> tuple[list[Slice], Float]:
    """Axial and coronal plane through the strut, sagittal one along the screw hole, and where the detail lies.

    Each is as large as the implant, whose vertices are ``surface`` (N, 3) in patient LPS.
    """
    low, high = surface.min(axis=0), surface.max(axis=0)
    middle = (low + high) / 2.0
    inside = {name: found for name, _, found in rods if found}
    strut = middle.copy()
    if "dense strut" in inside:
        start, end, _ = inside["dense strut"][0]
        strut = 0.5 * (start + end)
    hole = middle.copy()
    if "screw boss" in inside:
        # A hole starts outside the bone; its end lies in the implant.
        hole = inside["screw boss"][0][1]
    size = high - low + 2.0 * _ROOM_MM
    planes = []
    for name, across, down, at in (
        ("axial", 0, 1, (middle[0], middle[1], strut[2])),
        ("coronal", 0, 2, (middle[0], strut[1], middle[2])),
        ("sagittal", 1, 2, (hole[0], middle[1], middle[2])),
    ):
        width, height = (round(float(size[a]) / _MM_PER_PX) for a in (across, down))
        planes.append(Slice(name, (float(at[0]), float(at[1]), float(at[2])), _MM_PER_PX, width, height))
    return planes, hole


def _panel(
    field: Field, plane: Slice, rods: list[Rods], used: set[str], stock: Mesh | None
) -> NDArray[np.uint8]:
    """The plane in colours; names of the dense parts that it shows are added to ``used``.

    ``stock`` : the printed surface in patient LPS, where machining takes some of it away.
    """
    places = plane.grid_mm()
    points = transform_points(field.build_from_patient, places)
    region = field.region(points)
    metal = np.zeros(len(points), bool)
    inside = region > 0
    metal[inside] = field.value(points[inside]) < 0
    colours = np.full((len(points), 3), _AIR, np.uint8)
    colours[inside] = _PORE
    colours[metal & (region == 1)] = _NET
    dense = metal & (region == 2)
    colours[dense] = CONTACT
    for name, colour, parts in reversed(rods):
        own = np.zeros(len(points), bool)
        for start, end, radius in parts:
            own[dense] |= segment_distance(places[dense], start, end) <= radius + 0.05
        colours[own] = colour
        if own.any():
            used.add(name)
    if stock is not None:
        extra = plane.mask_of(stock).ravel() & (region == 0)
        colours[extra] = _STOCK
        if extra.any():
            used.add(_STOCK_NAME)
    return base.dressed(colours.reshape(plane.height_px, plane.width_px, 3), plane, dark=False)
