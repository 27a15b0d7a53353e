"""Solids against analytic shapes: booleans, distances, offsets, letters, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from implantflow.artifacts import read_stl, sha256_file
from implantflow.errors import GeometryError
from implantflow.geometry import Plane
from implantflow.solids import lettering
from implantflow.solids.booleans import (
    crop,
    cut_away,
    difference,
    intersection,
    merged,
    overlap_mm3,
    refined,
    shells,
    simplified,
    trim,
    union,
)
from implantflow.solids.contact import face_figures, facing_triangles, plane_triangles, weighted_percentile
from implantflow.solids.distance import Surface, hausdorff_mm, winding_number
from implantflow.solids.level import level_surface
from implantflow.solids.mesh import (
    Solid,
    even_points,
    open_edges,
    read_solid,
    require_closed,
    shell_count,
    write_solid,
)
from implantflow.solids.offset import distance_grid, inside_grid, offset
from implantflow.solids.shapes import arc, box, capsule, cylinder, frame_of, sphere, tube

UNIT = box([0, 0, 0], [10, 20, 30])


def box_distance(points: np.ndarray) -> np.ndarray:
    q = np.abs(points - [5, 10, 15]) - [5, 10, 15]
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)


def test_box_has_its_volume_and_area() -> None:
    assert UNIT.volume_mm3 == pytest.approx(6000)
    assert UNIT.area_mm2 == pytest.approx(2 * (200 + 300 + 600))
    require_closed(UNIT, "box")
    assert shell_count(UNIT) == 1


def test_booleans_add_up() -> None:
    other = box([5, 5, 5], [15, 15, 15])
    assert union(UNIT, other).volume_mm3 == pytest.approx(6000 + 1000 - 500)
    assert difference(UNIT, other).volume_mm3 == pytest.approx(5500)
    assert intersection(UNIT, other).volume_mm3 == pytest.approx(500)
    assert overlap_mm3(UNIT, other) == pytest.approx(500)
    assert overlap_mm3(UNIT, box([50, 0, 0], [60, 1, 1])) == 0.0


@given(
    st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.floats(2, 8), st.floats(4, 16), st.floats(5, 25)
)
def test_a_plane_divides_the_volume(nx: float, ny: float, nz: float, x: float, y: float, z: float) -> None:
    if np.linalg.norm([nx, ny, nz]) < 0.1:
        return
    plane = Plane.of([x, y, z], [nx, ny, nz])
    one, other = trim(UNIT, [plane]), cut_away(UNIT, [plane])
    assert one.volume_mm3 + other.volume_mm3 == pytest.approx(6000, abs=1e-6)
    assert open_edges(one.faces) == open_edges(other.faces) == 0
    assert plane.distance(one.vertices).min() > -1e-9


def test_crop_keeps_the_box() -> None:
    assert crop(UNIT, [2, 2, 2], [4, 100, 4]).volume_mm3 == pytest.approx(2 * 18 * 2)


def test_shells_come_largest_first() -> None:
    far = box([50, 0, 0], [51, 1, 1])
    parts = shells(merged([far, UNIT]))
    assert [round(p.volume_mm3) for p in parts] == [6000, 1]


def test_an_open_or_inverted_surface_is_refused() -> None:
    with pytest.raises(GeometryError, match="not closed"):
        require_closed(Solid.of(UNIT.vertices, UNIT.faces[1:]), "box")
    with pytest.raises(GeometryError, match="inside out"):
        require_closed(Solid.of(UNIT.vertices, UNIT.faces[:, ::-1]), "box")
    with pytest.raises(GeometryError, match="positive size"):
        box([0, 0, 0], [0, 1, 1])


def test_cylinder_capsule_and_tube_have_their_volumes() -> None:
    rod = cylinder([1, 2, 3], [1, 2, 23], 6.0)
    assert rod.volume_mm3 == pytest.approx(np.pi * 9 * 20, rel=1e-9)
    pill = capsule([0, 0, 0], [10, 0, 0], 3.0)
    assert pill.volume_mm3 == pytest.approx(np.pi * 9 * 10 + 4 / 3 * np.pi * 27, rel=0.02)
    bent = tube([[0, 0, 0], [10, 0, 0], [10, 10, 0]], 4.0)
    require_closed(bent, "tube")
    assert shell_count(bent) == 1


def test_arc_keeps_its_radius() -> None:
    points = arc([0, 0, 0], [20, 0, 0], [0, 1, 0], 30.0)
    assert np.allclose(points[0], 0) and np.allclose(points[-1], [20, 0, 0])
    assert points[6, 1] == pytest.approx(30 - np.sqrt(900 - 100))
    with pytest.raises(GeometryError, match="cannot span"):
        arc([0, 0, 0], [80, 0, 0], [0, 1, 0], 30.0)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_frames_are_rotations(x: float, y: float, z: float) -> None:
    if np.linalg.norm([x, y, z]) < 0.01:
        return
    frame = frame_of([x, y, z])
    assert np.allclose(frame.T @ frame, np.eye(3)) and np.linalg.det(frame) == pytest.approx(1)


def test_signed_distance_is_exact_for_a_box() -> None:
    points = np.random.default_rng(1).uniform([-10, -10, -10], [20, 30, 40], (3000, 3))
    found = Surface(UNIT).nearest(points)
    assert np.abs(found.distance_mm - box_distance(points)).max() < 1e-9
    assert np.abs(np.linalg.norm(points - found.foot_mm, axis=1) - np.abs(found.distance_mm)).max() < 1e-9


def test_signed_distance_survives_slivers() -> None:
    cut = difference(refined(UNIT, 1.0), box([4.99999, -1, -1], [11, 21, 15.000001]))
    points = np.random.default_rng(2).uniform([-5, -5, -5], [15, 25, 35], (1500, 3))
    sign = winding_number(points, cut.triangles_mm) > 0.5
    assert ((Surface(cut).signed_distance_mm(points) < 0) == sign).all()


def test_distance_beyond_the_limit_is_the_limit() -> None:
    found = Surface(UNIT).nearest([[100.0, 0, 0]], 5.0)
    assert found.distance_mm[0] == 5.0 and found.triangle[0] == -1


def test_hausdorff_of_a_shifted_box_is_the_shift() -> None:
    moved = Solid.of(UNIT.vertices + np.array([0.7, 0, 0]), UNIT.faces)
    assert hausdorff_mm(UNIT, moved) == pytest.approx(0.7, abs=1e-9)


def test_offset_of_a_sphere_is_a_sphere() -> None:
    ball = sphere([0, 0, 0], 10.0, 128)
    for distance in (1.5, -2.0):
        grown = offset(ball, distance, 0.6)
        radius = np.linalg.norm(grown.vertices, axis=1)
        assert np.abs(radius - 10.0 - distance).max() < 0.03


def test_grids_agree_about_inside() -> None:
    ball = sphere([0.3, 0.2, 0.1], 6.0, 64)
    low, shape = np.array([-8.0, -8.0, -8.0]), (33, 33, 33)
    signed = distance_grid(ball, low, shape, 0.5, 2.0)
    inside = inside_grid(ball, low, shape, 0.5)
    assert ((signed < 0) == inside)[np.abs(signed) > 0.01].all()
    assert inside.sum() * 0.125 == pytest.approx(ball.volume_mm3, rel=0.01)


def test_inside_grid_may_start_inside() -> None:
    inside = inside_grid(UNIT, [5.0, 5.0, 5.0], (10, 2, 2), 1.0)
    assert inside[:5].all() and not inside[6:].any()


def test_simplified_and_refined_keep_the_shape() -> None:
    fine = refined(UNIT, 1.0)
    assert len(fine.faces) > 5000 and fine.volume_mm3 == pytest.approx(6000)
    assert len(simplified(fine, 0.01).faces) < 200


def test_places_are_even_by_area_however_dense_the_triangles() -> None:
    fine, coarse = refined(UNIT, 0.7), refined(box([20, 0, 0], [30, 20, 30]), 3.0)
    places = even_points(merged([fine, coarse]), 600)
    assert 550 <= len(places) <= 600
    assert (places[:, 0] < 15.0).mean() == pytest.approx(0.5, abs=0.03)
    assert (places[:, 2] == 0.0).mean() == pytest.approx(200 / 2200, abs=0.03)


def test_contact_faces_of_two_boxes() -> None:
    solid = refined(UNIT, 2.0)
    mate = Surface(refined(box([12, 0, 0], [20, 20, 30]), 2.0))
    facing = facing_triangles(solid, mate, 3.0)
    figures = face_figures(solid, facing, mate, (0.0, 1.0, 3.0))
    assert figures["area_mm2"] == pytest.approx(600)
    assert figures["gap_p50_mm"] == pytest.approx(2.0) and figures["gap_p95_mm"] == pytest.approx(2.0)
    assert np.allclose(figures["normal_lps"], [1, 0, 0])
    assert np.allclose(figures["gap_histogram"]["share"], [0, 0, 1, 0])
    top = plane_triangles(solid, Plane.of([0, 0, 30], [0, 0, 1]), -0.1, 0.1)
    assert solid.areas_mm2[top].sum() == pytest.approx(200)


def test_weighted_percentile() -> None:
    assert weighted_percentile([1.0, 2.0, 3.0], [1, 1, 1], 50) == 2.0
    assert weighted_percentile([1.0, 3.0], [1, 99], 50) == pytest.approx(2.98, abs=0.05)
    assert np.isnan(weighted_percentile([], [], 50))


def test_letters_look_like_letters_and_add_their_volume() -> None:
    assert lettering.preview("L").splitlines() == ["#...."] * 6 + ["#####"]
    plate = box([0, 0, 0], [60, 30, 5])
    frame = np.eye(3)
    raised = lettering.emboss(plate, "L RP1", np.array([30.0, 15.0, 5.0]), frame, 1.0, 0.8)
    require_closed(raised, "plate")
    assert shell_count(raised) == 1
    dots = len(lettering.dots("L RP1"))
    assert dots * 0.8 <= raised.volume_mm3 - plate.volume_mm3 <= dots * 0.8 * 1.09
    assert raised.bounds_mm[1, 2] == pytest.approx(5.8)
    with pytest.raises(GeometryError, match="no glyph"):
        lettering.dots("R€")


def test_written_solid_is_what_a_reader_sees(tmp_path: Path) -> None:
    ball = difference(sphere([50, 60, 70], 20.0), sphere([60, 60, 70], 20.0))
    written = write_solid(tmp_path / "a.stl", ball, "ball")
    vertices, faces = read_stl(tmp_path / "a.stl")
    assert np.array_equal(written.faces, faces) and np.array_equal(written.vertices, vertices)
    write_solid(tmp_path / "b.stl", ball, "ball")
    assert sha256_file(tmp_path / "a.stl") == sha256_file(tmp_path / "b.stl")
    assert read_solid(tmp_path / "a.stl", "ball").volume_mm3 == pytest.approx(ball.volume_mm3, rel=1e-5)


def test_points_that_float32_would_weld_are_kept_apart(tmp_path: Path) -> None:
    twin = merged([UNIT, box([10.0000001, 0, 0], [20, 20, 30])])
    written = write_solid(tmp_path / "twin.stl", twin, "twin")
    assert shell_count(written) == 2


def test_level_surface_lies_where_the_values_cross() -> None:
    spacing, origin = 0.5, (-3.0, -4.0, -5.0)
    z, y, x = (np.arange(n) * spacing + low for n, low in zip((21, 17, 13), origin[::-1], strict=True))
    away = np.sqrt(x**2 + y[:, None] ** 2 + z[:, None, None] ** 2)
    points, faces = level_surface(away, 2.0, origin, spacing)
    assert np.linalg.norm(points, axis=1) == pytest.approx(2.0, abs=0.03)
    assert sorted(set(faces.ravel())) == list(range(len(points)))
    indices, same = level_surface(away, 2.0)
    assert indices * spacing + np.array(origin) == pytest.approx(points, abs=1e-5)
    assert (same == faces).all()
    nothing, none = level_surface(away, 100.0)
    assert nothing.shape == none.shape == (0, 3)
