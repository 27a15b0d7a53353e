"""Voxels of the field against shapes whose volumes are known, and faces against their areas."""

from __future__ import annotations

import numpy as np
import pytest
from strength_block import block_mesh

from implantflow.errors import GeometryError
from implantflow.field.cells import occupancy
from implantflow.field.field import Field
from implantflow.field.make import make_field
from implantflow.strength import faces
from implantflow.strength.agreement import coarsen
from implantflow.strength.mesh import build_mesh
from implantflow.strength.parts import capsule_distance, voxelise

NOTHING = {"contact_faces": [], "strut": {"segments": []}}


def turned() -> np.ndarray:
    a = 0.4
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    matrix[:3, 3] = [31.0, -7.0, 4.3]
    return matrix


def block_field(regions: dict | None = None, matrix: np.ndarray | None = None) -> Field:
    v, f = block_mesh()
    return make_field(
        v, f, regions or NOTHING, np.eye(4) if matrix is None else matrix, "diamond", 2.5, 0.67, 0.5
    )


@pytest.mark.parametrize("voxel_mm", [1.3, 2.5])
def test_volume_of_a_turned_block(voxel_mm: float) -> None:
    parts = voxelise(block_field(matrix=turned()), voxel_mm)
    assert parts.solid.sum() * voxel_mm**3 == pytest.approx(20 * 20 * 30, rel=0.005)
    assert parts.solid.max() <= 1.0
    assert parts.dense.sum() == 0.0


def test_density_measured_in_the_field_is_that_of_the_cell() -> None:
    parts = voxelise(block_field(matrix=turned()), 1.25)
    inside = parts.solid > 0.999
    wanted = occupancy("diamond", 2.5, 0.67, 32).mean()
    assert parts.density[inside].mean() == pytest.approx(wanted, rel=0.01)
    assert parts.density[inside].std() < 0.05 * wanted


def test_dense_rod_has_its_volume_by_field_and_by_distance() -> None:
    rod = {"start_lps_mm": [10, 10, 5], "end_lps_mm": [10, 10, 25], "radius_mm": 4.0}
    by_field = voxelise(block_field({**NOTHING, "strut": {"segments": [rod]}}), 1.25)
    distance = capsule_distance([(np.array([10.0, 10, 5]), np.array([10.0, 10, 25]), 4.0)])
    by_distance = voxelise(block_field(), 1.25, more_dense=distance, density=0.3)
    exact = np.pi * 16 * 20 + 4 / 3 * np.pi * 64
    for parts in (by_field, by_distance):
        assert parts.dense.sum() * 1.25**3 == pytest.approx(exact, rel=0.02)
        assert (parts.dense + parts.porous) == pytest.approx(parts.solid)


def test_coarsening_keeps_volumes() -> None:
    fine = voxelise(block_field(), 1.25)
    coarse = coarsen(fine, 5.0)
    assert coarse.grid.voxel_mm == 5.0
    for a, b in ((fine.solid, coarse.solid), (fine.porous * fine.density, coarse.porous * coarse.density)):
        assert b.sum() * 125 == pytest.approx(a.sum() * 1.25**3, rel=1e-9)


def test_voxels_too_coarse_are_refused() -> None:
    with pytest.raises(GeometryError, match="too coarse"):
        voxelise(block_field(), 15.0)


def test_sampled_triangles_keep_area_and_centre() -> None:
    v, f = block_mesh()
    points, areas = faces.sample_triangles(v, f[[2, 3]], 1.0)
    assert areas.sum() == pytest.approx(400.0)
    assert areas @ points / areas.sum() == pytest.approx([10, 10, 30])
    assert len(points) > 400


def test_face_load_has_the_right_force_and_moment() -> None:
    parts = voxelise(block_field(matrix=turned()), 2.5)
    mesh = build_mesh(parts.grid, parts.solid > 0.05)
    field = block_field(matrix=turned())
    points, areas = faces.sample_triangles(field.vertices_mm, field.faces[[2, 3]], 1.0)
    contact = faces.attach(mesh, "top", points, areas)
    nodal = contact.spread(mesh, areas[:, None] * np.array([0.0, 0.0, -1.0]))
    assert nodal.sum(axis=0) == pytest.approx([0, 0, -400.0])
    moment = np.cross(mesh.points, nodal).sum(axis=0)
    exact = np.cross(points, areas[:, None] * np.array([0.0, 0.0, -1.0])).sum(axis=0)
    assert moment == pytest.approx(exact, rel=1e-3)
    # A linear field is read back exactly where points were not moved.
    linear = mesh.points @ np.array([[1.0, 2, 3], [0, 1, 0], [0.5, 0, 1]]).T
    wanted = (areas @ points / areas.sum()) @ np.array([[1.0, 2, 3], [0, 1, 0], [0.5, 0, 1]]).T
    assert contact.mean(mesh, linear) == pytest.approx(wanted, rel=1e-2)


def test_a_face_off_the_mesh_is_refused() -> None:
    parts = voxelise(block_field(), 2.5)
    mesh = build_mesh(parts.grid, parts.solid > 0.05)
    with pytest.raises(GeometryError, match="outside"):
        faces.attach(mesh, "far", np.array([[10.0, 10.0, 60.0]]), np.ones(1))
