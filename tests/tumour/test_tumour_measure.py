"""Measurements against solids whose size is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from implantflow.errors import GeometryError
from implantflow.tumour.measure import axial_diameters, measure, surface
from implantflow.tumour.planning import common_grid, resample_mask
from implantflow.volumes import Volume

SEMI_MM = (17.0, 23.5, 25.0)


def ellipsoid(
    spacing: tuple[float, float, float], semi: tuple[float, float, float] = SEMI_MM, turn_deg: float = 0.0
) -> Volume:
    """Bool mask of an ellipsoid about (3.3, -4.1, 7.7), turned about the head-foot axis."""
    shape = [int(2.6 * max(semi) / s) for s in spacing]
    affine = np.diag([*spacing, 1.0])
    centre = np.array([3.3, -4.1, 7.7])
    affine[:3, 3] = centre - (np.array(shape) - 1) / 2 * spacing
    k, j, i = np.indices(shape[::-1])
    points = np.stack([i, j, k], axis=-1) * np.array(spacing) + affine[:3, 3] - centre
    angle = np.radians(turn_deg)
    x = points[..., 0] * np.cos(angle) + points[..., 1] * np.sin(angle)
    y = -points[..., 0] * np.sin(angle) + points[..., 1] * np.cos(angle)
    inside = (x / semi[0]) ** 2 + (y / semi[1]) ** 2 + (points[..., 2] / semi[2]) ** 2 <= 1
    return Volume(inside, affine)


@pytest.mark.parametrize("spacing", [(0.9, 0.9, 0.9), (1.0, 1.0, 1.0), (0.9, 0.9, 4.0)])
def test_volume_and_axes_of_an_ellipsoid(spacing: tuple[float, float, float]) -> None:
    size = measure(ellipsoid(spacing))
    truth = 4 / 3 * np.pi * np.prod(SEMI_MM)
    assert size.volume_mm3 == pytest.approx(truth, rel=0.01)
    assert size.mesh_volume_mm3 == pytest.approx(truth, rel=0.03)
    assert abs(size.volume_mm3 - truth) < size.uncertainty_mm3
    assert size.axes_mm[0] == pytest.approx(47.0, abs=1.2)
    assert size.axes_mm[1] == pytest.approx(34.0, abs=1.2)
    assert size.axes_mm[2] == pytest.approx(50.0, abs=spacing[2] + 0.1)
    assert size.as_json()["ellipsoid_mm3"] == pytest.approx(np.pi / 6 * np.prod(size.axes_mm))
    assert "fall-back" in size.as_json()["ellipsoid_note"]


@given(turn_deg=st.floats(0, 180), a=st.floats(8, 25), b=st.floats(8, 25))
def test_diameters_do_not_depend_on_how_the_ellipse_lies(turn_deg: float, a: float, b: float) -> None:
    mask = ellipsoid((1.0, 1.0, 4.0), (a, b, 25.0), turn_deg)
    longest, perpendicular = axial_diameters(mask.array, mask.spacing_mm)
    assert longest == pytest.approx(2 * max(a, b), abs=1.8)
    assert perpendicular == pytest.approx(2 * min(a, b), abs=2.0)


def test_surface_is_closed_and_points_outward() -> None:
    vertices, faces = surface(ellipsoid((1.0, 1.0, 1.0)))
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * np.prod(SEMI_MM), rel=0.01)
    assert np.allclose(mesh.centroid, [3.3, -4.1, 7.7], atol=0.1)
    assert mesh.area_faces.min() > 0


def test_surface_of_a_left_handed_grid_still_points_outward() -> None:
    mask = ellipsoid((1.0, 1.0, 1.0))
    flipped = mask.affine_lps.copy()
    flipped[:3, 0] *= -1
    vertices, faces = surface(Volume(mask.array, flipped))
    assert trimesh.Trimesh(vertices, faces, process=False).volume > 0


@pytest.mark.parametrize("spacing", [(0.9, 0.9, 0.9), (0.9, 0.9, 4.0)])
def test_resampling_keeps_volume_and_place(spacing: tuple[float, float, float]) -> None:
    mask = ellipsoid(spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = trimesh.transformations.rotation_matrix(0.2, [1, 2, 3])[:3, :3]
    matrix[:3, 3] = (12.0, -30.0, 5.5)
    grid = common_grid([mask], [matrix])
    moved = resample_mask(mask, matrix, grid)
    assert np.allclose(grid.spacing_mm, 1.0) and np.allclose(grid.affine_lps[:3, 3] % 1, 0)
    assert moved.array.sum() == pytest.approx(4 / 3 * np.pi * np.prod(SEMI_MM), rel=0.03)
    points = moved.index_to_lps(np.argwhere(moved.array)[:, ::-1])
    centre = matrix[:3, :3] @ [3.3, -4.1, 7.7] + matrix[:3, 3]
    assert np.allclose(points.mean(axis=0), centre, atol=0.1)
    border = moved.array.copy()
    border[1:-1, 1:-1, 1:-1] = False
    assert not border.any()


def test_slices_that_are_not_axial_take_the_planning_grid() -> None:
    mask = ellipsoid((1.0, 1.0, 1.0))
    swap = np.eye(4)[[0, 2, 1, 3]]
    coronal = Volume(np.swapaxes(mask.array, 0, 1), mask.affine_lps @ swap)
    with pytest.raises(GeometryError, match="not axial"):
        measure(coronal)
    assert measure(coronal, mask).axes_mm == measure(mask).axes_mm


def test_empty_mask_is_refused() -> None:
    mask = ellipsoid((1.0, 1.0, 1.0))
    with pytest.raises(GeometryError, match="empty"):
        measure(mask.like(np.zeros_like(mask.array)))
