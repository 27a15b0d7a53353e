"""Contours of solids whose sections are known, and the places where slicing goes wrong."""

from __future__ import annotations

from pathlib import Path

import manifold3d
import numpy as np
import pytest
from build_bench import LAYER, Mesh, mesh_of, plan_for, write_plan

from implantflow.build.checks import examine_file
from implantflow.build.plan import FIGURES
from implantflow.build.slicer import Slicer
from implantflow.build.solid import Solid
from implantflow.errors import GeometryError


def _column(figures: np.ndarray, name: str) -> np.ndarray:
    return np.asarray(figures[:, FIGURES.index(name)])


def test_box_has_its_area_in_every_layer(box: Mesh, tmp_path: Path) -> None:
    figures = write_plan(tmp_path / "a.cli", plan_for(box))
    assert len(figures) == 60
    np.testing.assert_allclose(_column(figures, "area_mm2"), 120.0, atol=1e-9)
    np.testing.assert_allclose(_column(figures, "contour_mm"), 44.0, atol=1e-9)


def test_ball_has_the_circles_of_a_sphere(ball: Mesh, tmp_path: Path) -> None:
    figures = write_plan(tmp_path / "a.cli", plan_for(ball))
    z = (np.arange(len(figures)) + 0.5) * LAYER - 6.0
    circle = np.pi * (36.0 - z**2)
    middle = np.abs(z) < 5.5
    np.testing.assert_allclose(_column(figures, "area_mm2")[middle], circle[middle], atol=0.15)  # facets
    assert _column(figures, "area_mm2").sum() * LAYER == pytest.approx(4 / 3 * np.pi * 216, rel=0.002)


def test_area_of_every_layer_agrees_with_manifold3d(tmp_path: Path) -> None:
    shape = manifold3d.Manifold.sphere(5.0, 64).scale((1.0, 1.4, 0.7)).rotate((20, 30, 10))
    shape = (shape - manifold3d.Manifold.cylinder(20, 1.2, 1.2, 40, True).rotate((70, 0, 0))).translate(
        (20, 20, 10)
    )
    plan = plan_for(mesh_of(shape))
    figures = write_plan(tmp_path / "a.cli", plan)
    for index in range(5, len(figures) - 5, 7):
        z = (plan.first_layer + index + 0.5) * LAYER
        assert _column(figures, "area_mm2")[index] == pytest.approx(shape.slice(z).area(), rel=0.001)


def test_hole_runs_clockwise_and_outline_counter_clockwise(tube: Mesh) -> None:
    slicer = Slicer(plan_for(tube))
    outline = slicer.outline(10)
    assert len(outline.starts) == 3
    areas = []
    for a, b in zip(outline.starts[:-1], outline.starts[1:], strict=True):
        x, y = outline.x[a:b].astype(float), outline.y[a:b].astype(float)
        areas.append(0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) * 25e-6)
    assert max(areas) == pytest.approx(np.pi * 49, rel=0.002)
    assert min(areas) == pytest.approx(-np.pi * 9, rel=0.004)


def test_vertices_edges_and_faces_on_the_plane_leave_no_gap(tmp_path: Path) -> None:
    # Steps whose treads lie exactly in the middle planes of layers, with vertices and edges on them.
    steps = manifold3d.Manifold.cube((10, 10, 1.025))
    for n, z in enumerate((1.025, 2.025, 2.975)):
        steps += manifold3d.Manifold.cube((8.0 - 2 * n, 8.0 - 2 * n, 1.0)).translate((1, 1, z - 0.5))
    figures = write_plan(tmp_path / "a.cli", plan_for(mesh_of(steps.translate((20, 20, 0)))))
    areas = _column(figures, "area_mm2")
    # A plane in a tread counts as above it or below it, never as a mixture of both.
    assert set(np.round(areas, 6)) <= {100.0, 64.0, 36.0, 16.0}


def test_two_bodies_with_a_gap_give_empty_layers(tmp_path: Path) -> None:
    low = manifold3d.Manifold.cube((5, 5, 1))
    high = manifold3d.Manifold.cube((5, 5, 1)).translate((0, 0, 2))
    mesh = mesh_of((low + high).translate((20, 20, 0)))
    figures = write_plan(tmp_path / "a.cli", plan_for(mesh, ("diamond", 2.5, 0.5)))
    areas = _column(figures, "area_mm2")
    assert (areas[20:40] == 0).all()
    assert (areas[:20] > 0).all()
    assert (areas[40:] > 0).all()


def test_meshes_that_bound_no_solid_are_refused(box: Mesh) -> None:
    vertices, faces = box
    with pytest.raises(GeometryError, match="3 open edges"):
        Solid.of(vertices, faces[1:])
    with pytest.raises(GeometryError, match="inside out"):
        Solid.of(vertices, faces[:, ::-1])
    with pytest.raises(GeometryError, match="not watertight"):
        Solid.of(vertices, np.concatenate([faces, faces[:1]]))
    with pytest.raises(GeometryError, match=r"no volume|not watertight"):
        Solid.of(vertices * [1, 1, 0], faces)
    with pytest.raises(GeometryError, match="encloses nothing"):
        Solid.of(vertices, faces[:2])


def test_triangles_collapsed_by_welding_are_left_out(box: Mesh) -> None:
    vertices, faces = box
    doubled = np.concatenate([faces, [[0, 0, 1]]])
    assert len(Solid.of(vertices, doubled).faces) == len(faces)


def test_a_surface_that_cuts_through_itself_is_metal_once(tmp_path: Path) -> None:
    # Two closed boxes in one mesh, pushed 2 mm into each other: watertight, but not simple.
    one = mesh_of(manifold3d.Manifold.cube((6, 5, 1)).translate((20, 20, 0)))
    two = mesh_of(manifold3d.Manifold.cube((6, 5, 1)).translate((24, 21.5, 0)))
    joined = (np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1] + len(one[0])]))
    figures = write_plan(tmp_path / "solid.cli", plan_for(joined))
    np.testing.assert_allclose(_column(figures, "area_mm2"), 60.0 - 2.0 * 3.5, atol=1e-9)
    lattice = write_plan(tmp_path / "lattice.cli", plan_for(joined, ("diamond", 2.5, 0.67)))
    assert (_column(lattice, "area_mm2") < 30).all()
    for name in ("solid.cli", "lattice.cli"):
        _, found = examine_file(tmp_path / name, 200.0, 0.05, 0.01)
        assert (found.open_loops, found.winding_errors, found.overlap_layers) == (0, 0, 0)


def _joined(*meshes: Mesh) -> Mesh:
    moved = np.cumsum([0, *(len(vertices) for vertices, _ in meshes[:-1])])
    return (
        np.concatenate([vertices for vertices, _ in meshes]),
        np.concatenate([faces + first for (_, faces), first in zip(meshes, moved, strict=True)]),
    )


@pytest.mark.parametrize(
    "lattice", [None, ("diamond", 2.5, 0.5), ("diamond", 2.5, 0.67), ("gyroid", 2.5, 0.5)]
)
def test_a_body_pushed_into_another_is_metal_once_where_no_contours_cross(
    lattice: tuple[str, float, float] | None, tmp_path: Path
) -> None:
    # A pin that stands out of the top of a plate: within the plate its outline lies in the plate's and crosses nothing.
    cube = manifold3d.Manifold.cube
    plate, pin = cube((12, 12, 2)).translate((20, 20, 0)), cube((3, 3, 3)).translate((24, 24, 1))
    figures = write_plan(tmp_path / "a.cli", plan_for(_joined(mesh_of(plate), mesh_of(pin)), lattice))
    once = write_plan(tmp_path / "b.cli", plan_for(mesh_of(plate + pin), lattice))
    np.testing.assert_allclose(_column(figures, "area_mm2"), _column(once, "area_mm2"), rtol=1e-6)


def test_bodies_that_lie_wrongly_in_each_other_are_refused(box: Mesh) -> None:
    small = mesh_of(manifold3d.Manifold.cube((1, 1, 1)).translate((25, 24, 1)))
    away = (small[0] + [20, 0, 0], small[1])
    cavity, tiny = (small[0], small[1][:, ::-1]), (small[0] * 0.5 + [12.75, 12.25, 0.75], small[1])
    with pytest.raises(GeometryError, match="2 bodies lies in the metal of another"):
        Solid.of(*_joined(box, small))
    with pytest.raises(GeometryError, match=r"2 bodies is inside out \(volume -1.00 mm3\)"):
        Solid.of(*_joined(box, (away[0], away[1][:, ::-1])))
    with pytest.raises(GeometryError, match="3 bodies is inside out"):
        Solid.of(*_joined(box, cavity, (tiny[0], tiny[1][:, ::-1])))
    sliver = (
        small[0] * 0.03 + [24.25, 23.28, 0.97],
        small[1],
    )  # in the metal, but nothing that a layer shows
    for sound in ((box, away), (box, cavity), (box, cavity, tiny), (cavity, box), (box, sliver)):
        assert len(Solid.of(*_joined(*sound)).faces) == 12 * len(sound)


def test_walls_that_touch_are_no_mistake(tmp_path: Path) -> None:
    # Two boxes that share a face but not its triangles: their walls run along each other.
    one = mesh_of(manifold3d.Manifold.cube((6, 5, 1)).translate((20, 20, 0)))
    two = mesh_of(manifold3d.Manifold.cube((6, 5, 1)).translate((26, 20, 0)))
    joined = (np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1] + len(one[0])]))
    figures = write_plan(tmp_path / "a.cli", plan_for(joined, ("diamond", 2.5, 0.67)))
    whole = mesh_of(manifold3d.Manifold.cube((12, 5, 1)).translate((20, 20, 0)))
    once = write_plan(tmp_path / "b.cli", plan_for(whole, ("diamond", 2.5, 0.67)))
    np.testing.assert_allclose(_column(figures, "area_mm2"), _column(once, "area_mm2"), rtol=0.002)
