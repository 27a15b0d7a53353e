"""The field of a simple implant: its regions, its file, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implantflow.artifacts import read_json, write_json
from implantflow.errors import GeometryError, InputError, ProvenanceError
from implantflow.field.cells import cell_value
from implantflow.field.field import DENSE, OUTSIDE, POROUS, Field
from implantflow.field.make import make_field
from implantflow.field.material import Texture
from implantflow.field.placement import build_rotation, place_on_plate
from implantflow.field.shaping import Filling, Grading
from implantflow.field.volume import DENSE_METAL, label_grid, mesh_volume_mm3, volumes_of
from implantflow.geometry import transform_points

CORNERS = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
BOX_FACES = np.array(
    [
        [0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4],
        [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5],
    ]
)  # fmt: skip


def _box(low: list[float], high: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(low) + CORNERS * (np.array(high) - np.array(low)), BOX_FACES


def _field(
    regions: dict[str, Any], matrix: np.ndarray | None = None, cell: str | Filling = "diamond"
) -> Field:
    vertices, faces = _box([0, 0, 0], [20, 16, 12])
    return make_field(vertices, faces, regions, np.eye(4) if matrix is None else matrix, cell, 2.5, 0.67, 0.5)


FACE = {"contact_faces": [{"name": "midline", "triangles": [8, 9], "thickness_mm": 0.0}]}


def test_struts_grow_from_the_named_face_or_from_the_skin() -> None:
    grading = Grading(0.8, 0.4, 8.0, ("midline",))
    field = _field(FACE, cell=Filling("diamond", 2.5, 0.5, grading=grading))
    assert field.lattice.strut_range_mm == (0.4, 0.8)
    assert not field.material.stampable
    x = np.array([0.0, 4.0, 8.0, 19.0])
    points = np.column_stack([x, np.full(4, 8.0), np.full(4, 6.0)])
    i = np.round((x - field.origin_mm[0]) / 0.5).astype(int)
    j, k = (np.round((v - field.origin_mm[a]) / 0.5).astype(int) for v, a in ((8.0, 1), (6.0, 2)))
    assert field.grade is not None
    np.testing.assert_allclose(field.grade[k, j, i] * 1e-4, [0.8, 0.6, 0.4, 0.4], atol=0.03)
    thick = cell_value("diamond", 2.5, 0.6, points[1:2])[0]
    assert field.lattice_value(points[1:2])[0] == pytest.approx(thick, abs=0.015)
    skin = _field(FACE, cell=Filling("gyroid", 2.5, 0.5, grading=Grading(0.4, 0.8, 3.0)))
    assert skin.grade is not None
    assert skin.grade[k, j, i].tolist() == pytest.approx([4000, 8000, 8000, 5333], abs=700)
    with pytest.raises(InputError, match="no contact face caudal"):
        _field(FACE, cell=Filling("diamond", 2.5, 0.5, grading=Grading(0.8, 0.4, 8.0, ("caudal",))))


def test_strut_is_read_from_a_stored_grid() -> None:
    values = np.broadcast_to(np.linspace(0.4, 0.8, 5), (3, 3, 5))
    stored = values, np.array([0.0, -1.0, -1.0]), np.array([5.0, 10.0, 10.0])
    field = _field({}, cell=Filling("diamond", 2.5, 0.5, grading=Grading(0, 0, 1, stored=stored)))
    points = np.random.default_rng(1).uniform([1, 1, 1], [19, 15, 11], (50, 3))
    uniform = [cell_value("diamond", 2.5, 0.4 + 0.02 * p[0], p[None])[0] for p in points]
    np.testing.assert_allclose(field.lattice_value(points), uniform, atol=1e-3)


def test_texture_lies_on_the_face_and_nowhere_near_a_passage() -> None:
    regions = {
        "contact_faces": [{"name": "midline", "triangles": [8, 9], "thickness_mm": 1.5}],
        "strut": {"segments": [{"start_lps_mm": [0, 8, 6], "end_lps_mm": [18, 8, 6], "radius_mm": 2.0}]},
        "cable_passages": [
            {"polyline_lps_mm": [[-1, 13, 3], [21, 13, 3]], "diameter_mm": 2.0, "wall_mm": 1.0}
        ],
    }
    texture = Texture(0.2, 1.5, 1)
    field = _field(regions, cell=Filling("diamond", 2.5, 0.67, texture=texture, fillet_mm=0.2))
    smooth = _field(regions, cell=Filling("diamond", 2.5, 0.67, fillet_mm=0.2))
    random = np.random.default_rng(4)
    face = np.column_stack([np.full(500, 0.05), random.uniform(2, 9, 500), random.uniform(2, 11, 500)])
    assert (field.value(face) > 0).mean() > 0.4
    assert (smooth.value(face) < 0).all()
    deep = face + np.array([0.2, 0.0, 0.0])
    assert (field.value(deep) < 0).all()
    for x in ([10.0, 13.0, 4.95], [19.95, 3.0, 3.0], [0.1, 13.0, 3.0]):
        around = np.array(x) + random.normal(0, 0.05, (200, 3))
        np.testing.assert_allclose(field.material.value(around), smooth.material.value(around), atol=1e-9)


def test_every_kind_of_field_comes_back_from_its_file(tmp_path: Path) -> None:
    points = np.random.default_rng(5).uniform([0, 0, 0], [20, 16, 12], (300, 3))
    for cell in (
        Filling("voronoi", 3.0, 0.5, seed=3, grading=Grading(0.7, 0.4, 4.0), fillet_mm=0.25),
        Filling("gyroid_sheet", 4.0, 0.45, texture=Texture(0.15, 2.0, 9)),
    ):
        field = _field(FACE | {"shell": {"thickness_mm": 0.8}}, cell=cell)
        field.save(tmp_path / "field.json", tmp_path / "field.npz", {"purpose": "demo"})
        again = Field.load(tmp_path / "field.json", tmp_path / "field.npz")
        np.testing.assert_array_equal(again.value(points), field.value(points))
        assert again.lattice.is_struts == (cell.cell == "voronoi")
        once = (tmp_path / "field.npz").read_bytes()
        again.save(tmp_path / "field.json", tmp_path / "field.npz", {"purpose": "demo"})
        assert (tmp_path / "field.npz").read_bytes() == once


def test_regions_of_a_box_with_face_strut_and_boss() -> None:
    field = _field(
        {
            "contact_faces": [{"name": "midline", "triangles": [8, 9], "thickness_mm": 2.0}],
            "strut": {"segments": [{"start_lps_mm": [2, 8, 6], "end_lps_mm": [18, 8, 6], "radius_mm": 2.0}]},
            "screw_holes": [
                {
                    "start_lps_mm": [14, 3, 0],
                    "end_lps_mm": [14, 3, 12],
                    "diameter_mm": 2,
                    "boss_diameter_mm": 4,
                }
            ],
            "cable_passages": [
                {"polyline_lps_mm": [[6, 13, 0], [6, 13, 12]], "diameter_mm": 1.0, "wall_mm": 0.5}
            ],
        }
    )
    probes = {
        (1.9, 1.0, 1.0): DENSE,  # in the face's layer
        (2.2, 1.0, 1.0): POROUS,
        (10.0, 8.0, 7.9): DENSE,  # in the strut
        (10.0, 8.0, 8.2): POROUS,
        (14.0, 4.8, 6.0): DENSE,  # in the boss
        (6.0, 13.9, 6.0): DENSE,  # in the passage's wall
        (6.0, 14.2, 6.0): POROUS,
        (21.0, 8.0, 6.0): OUTSIDE,
    }
    found = field.region(np.array(list(probes)))
    assert found.tolist() == list(probes.values())
    dense = np.array([p for p, kind in probes.items() if kind == DENSE])
    assert (field.value(dense) < 0).all()


def test_shell_keeps_its_thickness() -> None:
    field = _field({"shell": {"thickness_mm": 1.0}})
    inside = field.region(np.array([[10, 8, 0.9], [10, 8, 1.1], [0.9, 8, 6], [1.1, 8, 6]]))
    assert inside.tolist() == [DENSE, POROUS, DENSE, POROUS]


def test_value_is_the_lattice_deep_inside_and_the_solid_outside() -> None:
    field = _field({})
    points = np.random.default_rng(0).uniform([3, 3, 3], [17, 13, 9], (500, 3))
    np.testing.assert_allclose(field.value(points), field.lattice_value(points), atol=1e-9)
    assert field.value(np.array([[10, 8, 13.0]]))[0] == pytest.approx(1.0, abs=1e-3)


def test_volumes_of_a_box() -> None:
    field = _field({"shell": {"thickness_mm": 1.0}})
    dense = (field.dense, field.origin_mm, np.full(3, field.spacing_mm))
    lattice = (field.cell, field.cell_mm, field.strut_mm)
    solid_mm3 = mesh_volume_mm3(field.vertices_mm, field.faces)
    assert solid_mm3 == pytest.approx(20 * 16 * 12)
    volumes = volumes_of(field.vertices_mm, field.faces, solid_mm3, dense, lattice)
    assert volumes.porous_mm3 == pytest.approx(18 * 14 * 10, rel=0.001)
    assert volumes.relative_density == pytest.approx(0.2966, rel=0.01)
    labels, _ = label_grid(field.vertices_mm, field.faces, dense, lattice, 0.21)
    assert (labels > 0).sum() * 0.21**3 == pytest.approx(solid_mm3, rel=0.03)
    assert (labels == DENSE_METAL).mean() > 0
    assert not labels[0].any()
    assert volumes.material_mm3 == pytest.approx(volumes.dense_mm3 + volumes.lattice_mm3)


def test_file_round_trip_and_tampering(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = build_rotation((0, 1, 0.3), (1, 0, 0))
    matrix[:3, 3] = (3.0, 4.0, 5.0)
    field = _field({"shell": {"thickness_mm": 0.8}}, matrix)
    field.save(tmp_path / "field.json", tmp_path / "field.npz", {"purpose": "demo"})
    again = Field.load(tmp_path / "field.json", tmp_path / "field.npz")
    points = np.random.default_rng(5).uniform(*field.bounds_mm, (300, 3))
    np.testing.assert_array_equal(again.value(points), field.value(points))
    np.testing.assert_array_equal(again.build_from_patient, matrix)
    first = (tmp_path / "field.npz").read_bytes()
    field.save(tmp_path / "field.json", tmp_path / "field.npz", {})
    assert (tmp_path / "field.npz").read_bytes() == first
    with (tmp_path / "field.npz").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(ProvenanceError, match="not the file"):
        Field.load(tmp_path / "field.json", tmp_path / "field.npz")
    write_json(tmp_path / "bad.json", {"cell": "diamond"})
    with pytest.raises(InputError, match="cannot be read"):
        Field.load(tmp_path / "bad.json", tmp_path / "field.npz")
    assert read_json(tmp_path / "field.json")["frame"] == "build_xyz"


def test_an_open_solid_is_refused() -> None:
    vertices, faces = _box([0, 0, 0], [5, 5, 5])
    with pytest.raises(GeometryError, match="not closed"):
        make_field(vertices, faces[2:], {}, np.eye(4), "diamond", 2.5, 0.5, 0.5)


def test_regions_of_another_implant_are_refused() -> None:
    with pytest.raises(InputError, match="names triangles"):
        _field({"contact_faces": [{"name": "si", "triangles": [99], "thickness_mm": 1.0}]})
    with pytest.raises(GeometryError, match="thicker"):
        _field({"shell": {"thickness_mm": 2.9}})


def test_placement_is_rigid_centred_and_on_whole_layers() -> None:
    vertices, _ = _box([-40, 7, 1000], [10, 60, 1100])
    matrix = place_on_plate(vertices, (0, 1, 0.2), (1, 0.1, 0), 5.01, (200, 200, 180), 0.05)
    rotation = matrix[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    placed = transform_points(matrix, vertices)
    assert placed[:, 2].min() == pytest.approx(5.0, abs=2e-6)
    assert placed[:, 2].min() >= 5.0
    np.testing.assert_allclose((placed.min(0) + placed.max(0))[:2] / 2, [100, 100], atol=1e-5)
    with pytest.raises(GeometryError, match="does not fit"):
        place_on_plate(vertices * 5, (0, 0, 1), (1, 0, 0), 0.0, (200, 200, 180), 0.05)
