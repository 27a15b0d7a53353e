"""Machining stock: as thick as stated, on flat faces and in bores only, and gone when it is cut away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implantflow.errors import GeometryError
from implantflow.field.field import Field
from implantflow.field.make import make_field
from implantflow.field.volume import mesh_volume_mm3, volumes_of
from implantflow.solids.booleans import difference, shells
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import box, cylinder, sphere
from implantflow.solids.stock import with_stock

HOLE = {"name": "s1", "start_lps_mm": [10, 10, 40], "end_lps_mm": [10, 10, 12], "diameter_mm": 6.0}


def _part() -> tuple[Solid, dict[str, Any]]:
    """A block of 20 x 20 x 30 mm with a blind hole from its top, its two end faces named."""
    part = difference(box([0, 0, 0], [20, 20, 30]), cylinder(HOLE["start_lps_mm"], HOLE["end_lps_mm"], 6.0))
    top, bottom = (np.flatnonzero(np.abs(part.centres_mm[:, 2] - z) < 1e-6).tolist() for z in (30.0, 0.0))
    faces = [{"name": "l5s1", "triangles": top}, {"name": "caudal", "triangles": bottom}]
    return part, {"contact_faces": faces, "screw_holes": [HOLE]}


def test_stock_is_as_thick_as_stated() -> None:
    part, regions = _part()
    regions["machining"] = {"faces": {"l5s1": 0.5, "caudal": 0.0}, "bores_mm": 0.4}
    printed, figures = with_stock(part, regions)
    assert len(shells(printed)) == 1
    hole_mm2, lining_mm2 = np.pi * 9.0, np.pi * (9.0 - 2.6**2)
    assert figures["faces"]["l5s1"]["volume_mm3"] == pytest.approx(0.5 * (400.0 - hole_mm2), rel=2e-3)
    assert list(figures["faces"]) == ["l5s1"]
    assert figures["bores"]["s1"]["volume_mm3"] == pytest.approx(lining_mm2 * 18.0, rel=0.03)
    total = figures["faces"]["l5s1"]["volume_mm3"] + figures["bores"]["s1"]["volume_mm3"]
    # The lining runs into the slab at the rim.
    assert figures["volume_mm3"] == pytest.approx(total, rel=0.005)
    surface = Surface(printed)
    # 0.3 mm above the top is metal, 0.6 mm above is not; the bore is narrower by the stock, the bottom untouched.
    places = np.array([[3, 3, 30.3], [3, 3, 30.6], [12.7, 10, 20], [12.5, 10, 20], [3, 3, -0.1]], dtype=float)
    assert (surface.signed_distance_mm(places) < 0).tolist() == [True, False, True, False, False]


def test_machining_leaves_nothing_at_an_oblique_mouth() -> None:
    start, end = [10.0, 2.0, 40.0], [10.0, 14.0, 12.0]
    part = difference(box([0, 0, 0], [20, 20, 30]), cylinder(start, end, 6.0))
    top = np.flatnonzero(np.abs(part.centres_mm[:, 2] - 30.0) < 1e-6).tolist()
    hole = {"name": "s1", "start_lps_mm": start, "end_lps_mm": end, "diameter_mm": 6.0}
    regions = {"contact_faces": [{"name": "l5s1", "triangles": top}], "screw_holes": [hole]}
    regions["machining"] = {"faces": {"l5s1": 0.5}, "bores_mm": 0.5}
    printed, _ = with_stock(part, regions)
    milled = difference(printed, box([-5, -5, 30], [25, 25, 60]), cylinder(start, end, 6.0))
    # A burr 0.02 mm thick where the lining met the oblique mouth is all that may be left, and nothing is missing.
    assert difference(milled, part).volume_mm3 < 0.02 * np.pi * 6.0 * 4.0
    assert difference(part, milled).volume_mm3 < 0.01


def test_without_machining_nothing_is_added() -> None:
    part, regions = _part()
    printed, figures = with_stock(part, regions)
    assert printed is part
    assert figures == {"faces": {}, "bores": {}, "volume_mm3": 0.0}


def test_a_curved_face_is_refused() -> None:
    ball = sphere([0, 0, 0], 10.0)
    upper = np.flatnonzero(ball.centres_mm[:, 2] > 3.0).tolist()
    regions = {
        "contact_faces": [{"name": "si_joint", "triangles": upper}],
        "screw_holes": [],
        "machining": {"faces": {"si_joint": 0.5}, "bores_mm": 0.0},
    }
    with pytest.raises(GeometryError, match="not flat"):
        with_stock(ball, regions)


def test_the_field_prints_stock_as_dense_metal() -> None:
    part, regions = _part()
    regions |= {"machining": {"faces": {"l5s1": 0.5, "caudal": 0.0}, "bores_mm": 0.4}}
    regions["contact_faces"][0]["thickness_mm"] = 2.0
    regions["contact_faces"][1]["thickness_mm"] = 0.0
    regions["screw_holes"] = [{**HOLE, "boss_diameter_mm": 10.0}]
    printed, figures = with_stock(part, regions)
    field = make_field(
        part.vertices,
        part.faces,
        regions,
        np.eye(4),
        "diamond",
        2.5,
        0.67,
        0.5,
        (printed.vertices, printed.faces),
    )
    metal = []
    for vertices, faces in ((field.vertices_mm, field.faces), field.printed):
        solid_mm3 = mesh_volume_mm3(vertices, faces)
        metal.append(volumes_of(vertices, faces, solid_mm3, field.material).material_mm3)
    assert metal[1] - metal[0] == pytest.approx(figures["volume_mm3"], rel=0.02)


def test_stock_is_saved_with_the_field(tmp_path: Path) -> None:
    part, regions = _part()
    for face in regions["contact_faces"]:
        face["thickness_mm"] = 0.0
    regions["screw_holes"] = []
    high = box([0, 0, 0], [20, 20, 31])
    shape = part.vertices, part.faces, regions, np.eye(4), "diamond", 2.5, 0.67, 1.0
    field = make_field(*shape, (high.vertices, high.faces))
    field.save(tmp_path / "field.json", tmp_path / "field.npz", {})
    read = Field.load(tmp_path / "field.json", tmp_path / "field.npz")
    assert read.stock is not None
    assert read.printed[0][:, 2].max() == 31.0
    assert read.vertices_mm[:, 2].max() == 30.0
    make_field(*shape).save(tmp_path / "field.json", tmp_path / "field.npz", {})
    assert Field.load(tmp_path / "field.json", tmp_path / "field.npz").stock is None
